/* SPDX-License-Identifier: GPL-2.0 */
/*
 * clientwatch - what group/clientnet.h asks of this host: interfaces, links, paths.
 */
#ifndef DAG_CLIENTWATCH_H
#define DAG_CLIENTWATCH_H

#include <stdbool.h>

#include "daemon/group/clientnet.h"

struct control;

/*
 * Can clients reach the store here? *had (may be NULL): kept by the caller; an address
 * in the client network was seen once, so that its absence is a loss.
 */
enum client_state clientwatch_state(struct control *ct, struct group_state *gs,
				    const struct group_store *st, bool *had);

#endif
