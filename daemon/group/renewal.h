/* SPDX-License-Identifier: GPL-2.0 */
/*
 * renewal - this host's lease: renewed in the engine, handed to the module.
 *
 * A thread of its own that waits for nobody but the engine. Each committed
 * renewal becomes the deadline of all stores of the host, in one call; without
 * one the module fences by itself.
 *
 * Invariants:
 *  R1 the module gets no deadline that was not committed under the fence that
 *     this host has accepted;
 *  R2 a new fence is accepted only when every store that the group has given to
 *     somebody else is closed here (hooks.settled);
 *  R3 the lease is released in the engine only when the module has been told that it
 *     is over and has had time to take what was being completed back: from there on
 *     it completes nothing. So others may take over without waiting.
 */
#ifndef DAG_RENEWAL_H
#define DAG_RENEWAL_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/engine.h"

struct renewal;

struct renewal_conf {
	struct engine *engine;
	int (*lease)(uint64_t fence, uint64_t deadline_boot_ns);	/* the tap's */
	uint32_t period_ms;		/* until renewal_set_period() */
};

/* Called by the renewal's thread; they must not wait for disk or network. */
struct renewal_hooks {
	/* End of the log of each store that is active here; how many. */
	unsigned (*facts)(void *ctx, struct engine_fact *ret, unsigned max);
	/* Is every store closed here that is active elsewhere, as the newest state says? */
	bool (*settled)(void *ctx);
	/* The lease was lost (rc < 0) or is there again (0); for log and history. */
	void (*changed)(void *ctx, int rc);
};

int renewal_start(const struct renewal_conf *conf, struct renewal **ret);
void renewal_stop(struct renewal *rn);
/* NULL: none any more; returns when no call is running. */
void renewal_set_hooks(struct renewal *rn, const struct renewal_hooks *hooks, void *ctx);
void renewal_set_period(struct renewal *rn, uint32_t period_ms);
/* Why the lease is let go (a hung disk, say): ended in the module, released in the
 * engine, so that others take over at once; NULL: it is renewed again. Copies the text. */
void renewal_withhold(struct renewal *rn, const char *why);
/* The same for good: returns when it has been released, or could not be. */
void renewal_let_go(struct renewal *rn, const char *why);
/* Something changed that a renewal waits for. */
void renewal_kick(struct renewal *rn);
/* Does the lease hold now? */
bool renewal_holds(struct renewal *rn);
uint64_t renewal_deadline_ns(struct renewal *rn);
/* Grows with each turn of the thread: the watchdog's proof of life. */
unsigned long renewal_beats(struct renewal *rn);

#endif
