/* SPDX-License-Identifier: GPL-2.0 */
/*
 * engine_etcd_tend - the engine's voters follow the group.
 *
 * The manager moves one voter at a time (quorum.h): it writes into the agreed state
 * that a member is to vote, adds it to etcd as a learner, and promotes it when it has
 * caught up; it takes a vote away in etcd, and then from the state. Each member looks
 * after its own etcd by that: one that is to vote, and that etcd knows, runs; one that
 * is not to vote any more is ended and its data removed. One that has left the group
 * runs on until etcd has let it go: its vote may be needed for that. So nobody needs to
 * be asked, and whoever dies in between leaves something that the next turn goes on with.
 *
 * Invariants:
 *  V1 a member's mark is taken away only when etcd, asked for its newest state after
 *     the group was read, does not have it, and the group has not changed since: so a
 *     voter never removes data while it votes;
 *  V2 before each addition the mark is written, even if it is there: this is what
 *     makes V1 hold between two managers;
 *  V3 an etcd that has voted never starts again under its id without its data.
 */
#ifndef DAG_ENGINE_ETCD_TEND_H
#define DAG_ENGINE_ETCD_TEND_H

#include <stdbool.h>

#include "daemon/group/engine.h"

#define TEND_SILENT_MS	10000	/* not answering for so long: no vote is given to it */
#define TEND_DEAD_MS	600000	/* its vote goes to another, if there is one */

/* For the manager, about once a second; may take seconds. alive: does this member (or
 * the witness) answer now? 1: something was done, 0: nothing to do, -errno. */
int engine_etcd_tend(struct engine *en, bool (*alive)(void *ctx, const char *name), void *ctx);
/* For every member and the witness, about once a second; may take seconds. */
int engine_etcd_care(struct engine *en);
/* When its last turn ended: did etcd count nobody who is not in this state? */
bool engine_etcd_settled(struct engine *en, struct group_state *gs);

#endif
