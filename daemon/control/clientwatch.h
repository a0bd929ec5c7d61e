/* SPDX-License-Identifier: GPL-2.0 */
/*
 * clientwatch - what group/clientnet.h asks of this host: interfaces, links, paths.
 */
#ifndef DAG_CLIENTWATCH_H
#define DAG_CLIENTWATCH_H

#include <stdbool.h>

#include "daemon/group/clientnet.h"

struct control;
struct clientwatch;

/* As it is now; NULL: it cannot be told, which is no news of a loss. */
struct clientwatch *clientwatch_look(struct control *ct);
void clientwatch_free(struct clientwatch *cw);	/* NULL is fine */
/*
 * Can clients reach the store here? *had (may be NULL): kept by the caller; an address
 * in the client network was seen once, so that its absence is a loss.
 */
enum client_state clientwatch_state(const struct clientwatch *cw, struct group_state *gs,
				    const struct group_store *st, bool *had);

#endif
