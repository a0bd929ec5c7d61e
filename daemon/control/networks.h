/* SPDX-License-Identifier: GPL-2.0 */
/*
 * networks - this host's addresses, published in the agreed state as they change,
 * and the networks that follow from all members' lists. Only where there are
 * heartbeats (a group with a heartbeat key).
 */
#ifndef DAG_NETWORKS_H
#define DAG_NETWORKS_H

#include "daemon/group/state.h"
#include "daemon/net/stream.h"
#include "daemon/net/way.h"

struct control;
struct networks;

int networks_start(struct control *ct, struct networks **ret);
void networks_stop(struct networks *nw);	/* NULL is fine */
/* The agreed state changed. */
void networks_apply(struct networks *nw, struct group_state *gs);
/*
 * Look at the interfaces again, and at all members' lists, by hand or not; waits
 * until that is agreed. -errno with a message.
 */
int networks_rediscover(struct networks *nw, char *err, size_t errlen);

/* Callbacks of the heartbeats; ctx is the control. */
struct net_path;
void networks_path(void *ctx, const char *member, const struct net_path *at, bool up);
void networks_moved(void *ctx, const char *member);
void networks_refused(void *ctx, const char *from, const char *why, uint64_t count);

/* A member on the loopback: a test on one host, with neighbours that have our addresses. */
bool networks_local(const struct control *ct);

/* What a connection that came in must speak, by its addresses. */
enum stream_security networks_security(struct control *ct, int fd);
/* The way to a member: over the best network, else between the configured addresses. */
int networks_way(struct control *ct, const struct group_member *mb, struct way *ret);
/* stores_conf.way: ctx is the control; -ENOENT: no member of that name is known. */
int networks_find_way(void *ctx, const char *member, struct way *ret);

#endif
