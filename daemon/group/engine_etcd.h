/* SPDX-License-Identifier: GPL-2.0 */
/*
 * engine_etcd - the agreed state in etcd: our own, hidden (etcd_child), or one that
 * the user runs already.
 *
 * Opened without a group it waits for one: txn_group() founds it (its edit fills an
 * empty state), learn() takes over what the join brought. A thread polls; the copy
 * that it keeps answers without a quorum, and is stored beside for the next start.
 *
 * Invariants:
 *  E1 a lease is extended only by an answer to a renewal that compared the accepted
 *     fence and the generation, and is counted from before that renewal was sent;
 *  E2 none is extended before a fence was accepted by this process, and none is
 *     accepted that the copy does not know;
 *  E3 a change is reported as done only if it is known to be in; one that may still
 *     come in is -EAGAIN, and comes in only if nothing it compared with has changed;
 *  E4 nothing that was read before the start of this process counts as the newest
 *     state: group_state.unconfirmed until a majority has confirmed a copy.
 */
#ifndef DAG_ENGINE_ETCD_H
#define DAG_ENGINE_ETCD_H

#include "daemon/group/engine.h"
#include "daemon/group/etcd_child.h"

struct engine_etcd_conf {
	const char *state_dir;		/* engine-state.json, engine/ */
	const char *creds_dir;
	const char *self;		/* name of this member */
	const char *url;		/* endpoints of the user's etcd, "": our own */
	void (*changed)(void *ctx);	/* as of struct engine, from the first poll on */
	void *ctx;
};

int engine_etcd_open(const struct engine_etcd_conf *conf, struct engine **ret);
/* Close, but leave etcd running, as a kill -9 would: for tests. */
void engine_etcd_abandon(struct engine *en);

#define ETCD_URLS_MAX	512

#endif
