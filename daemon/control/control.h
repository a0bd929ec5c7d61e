/* SPDX-License-Identifier: GPL-2.0 */
/*
 * control - what a member answers and whom it talks to.
 *
 * Threads: `apply` brings the stores to the agreed state after each change (so
 * nobody who makes a change needs to care about locks of the stores); two
 * listeners (UNIX sockets, replication port) with bounded threads for their
 * connections; one thread per other member for heartbeats and the exchange of
 * the state; a join listener while an invitation is open.
 */
#ifndef DAG_CONTROL_H
#define DAG_CONTROL_H

#include "daemon/config.h"
#include "daemon/group/engine.h"

struct control;
struct history;
struct renewal;
struct tap_ops;

struct control_conf {
	const struct config *cf;	/* must outlive the control */
	struct engine *engine;
	const struct tap_ops *tap;
	struct renewal *renewal;	/* must outlive the control */
	struct history *history;	/* the same; NULL: none is kept */
};

/* The process must ignore SIGPIPE: a peer may go away under a TLS write. */
int control_start(const struct control_conf *conf, struct control **ret);
/*
 * Before an orderly end, where others can take over: says so to them, hands over every
 * store that can go (20 s at most to begin with one) and the manager's role. What is
 * left goes down with control_stop(), and others take it when the lease is let go.
 */
void control_leave(struct control *ct);
struct watchdog_signs;
/* Of the threads here and of the stores; never waits. */
void control_signs(struct control *ct, struct watchdog_signs *ret);
/* Orderly: no new work, running requests are cut, stores closed in order. */
void control_stop(struct control *ct);

#endif
