/* SPDX-License-Identifier: GPL-2.0 */
/* way - between which addresses a connection to a member goes. */
#ifndef DAG_WAY_H
#define DAG_WAY_H

#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/net/stream.h"
#include "include/dag/wire.h"

struct way {
	struct sockaddr_storage to, from;
	socklen_t tolen, fromlen;	/* fromlen 0: as the routes say */
	char network[32];		/* "": in none */
	bool sure;			/* known to be good; else as configured */
	enum stream_security security;	/* by the group's policy */
	enum dag_codec codec;		/* of the log; the same */
	bool seed_only;			/* codec: only while a copy is not whole */
};

/* Addresses come from netaddr_to_sockaddr(), which leaves no byte to chance; a way
 * that leaves the choice of `from` to the routes equals any to the same place. */
static inline bool way_equal(const struct way *a, const struct way *b)
{
	return a->tolen == b->tolen && !memcmp(&a->to, &b->to, sizeof(a->to)) &&
	       (!a->fromlen || !b->fromlen || !memcmp(&a->from, &b->from, sizeof(a->from)));
}

/* Who knows it: 0, or -ENOENT where nothing is known of the member. */
typedef int (*way_finder)(void *ctx, const char *member, struct way *ret);

#endif
