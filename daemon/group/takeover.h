/* SPDX-License-Identifier: GPL-2.0 */
/*
 * takeover - what one member does about a host whose lease has ended. Pure: a
 * state machine; the shell (group/manager.c) and the simulator carry its wishes out.
 *
 *	WATCH   the lease is renewed, or has not certainly ended
 *	RANK    it has ended: the manager goes on at once, others wait by rank
 *	SEAL    every reachable copy of its stores promises epoch + 1, durably, and
 *	        reports where its log ends
 *	FETCH   a winner that has less than another reachable copy gets the rest
 *	CLAIM   one transaction for all its stores and its fence
 *	DONE    claimed; stores without an eligible copy stay as they are
 *
 * Invariants:
 *  T1 nothing is sealed before the lease has certainly ended or was released;
 *  T2 nothing is claimed that was not sealed under the promise of the claim;
 *  T3 the claim names the lease revision, fence and generation that were seen, so
 *     a host that lives, or a faster claimer, makes it fail and changes nothing;
 *  T4 the new in-sync set holds only sealed copies that end where the winner ends.
 *
 * What the shell, and the copy that is asked, must keep to:
 *  - WISH_RECHECK is answered from a confirmed read: takeover_lease(), then
 *    takeover_state(). It comes before sealing, so that a member that has fallen
 *    behind the group does not seal the copies of a host that lives.
 *  - A copy seals durably before it answers, ends what it receives under a lower
 *    epoch, and reports only what is durable. Sealing again is no change. An
 *    active copy refuses while it has not been closed.
 *  - A fetch only adds to the winner's log; one that would have to cut it, or that
 *    comes when the winner has been activated, is refused.
 *  - A seal outlives its round: where the host renews its lease after all, its
 *    copies refuse the old epoch. The active that is told so (DAG_REFUSE_EPOCH)
 *    while its lease holds and the state still says that it is active agrees on
 *    the next epoch itself and goes on under that.
 *  - Two rounds can overlap, and the claim of the first may land after the second
 *    has let the winner fetch more. So a winner opens only after takeover_fit().
 *  - A transaction of which nobody knows whether it landed may land later. It is
 *    made harmless only by another change of what it compares: an active whose move
 *    is ambiguous must not open again under its old epoch.
 */
#ifndef DAG_TAKEOVER_H
#define DAG_TAKEOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/candidate.h"
#include "daemon/group/engine.h"
#include "daemon/group/lease.h"
#include "daemon/group/state.h"

#define TAKEOVER_SEAL_MS	400	/* silent members are not waited for longer */
#define TAKEOVER_FETCH_MS	5000	/* async: what is not fetched is lost */
#define TAKEOVER_FETCH_SYNC_MS	400	/* commit, sync: nothing acknowledged is at stake */
#define TAKEOVER_RANK_MS	300	/* between two ranks */
#define TAKEOVER_RETRY_MS	1000	/* stores that nobody could take */
#define TAKEOVER_RECHECK_MS	500	/* asked again without an answer */

enum takeover_phase {
	TAKEOVER_WATCH, TAKEOVER_RANK, TAKEOVER_SEAL, TAKEOVER_FETCH, TAKEOVER_CLAIM, TAKEOVER_DONE,
};

/* What the shell is asked to do; answers come back by the calls below. */
enum takeover_wish {
	WISH_NONE,
	WISH_SEAL,		/* store, member, epoch: promise and report */
	WISH_FETCH,		/* store, member (winner), from (source), lsn (up to) */
	WISH_CLAIM,		/* engine claim with takeover_edit() */
	WISH_RECHECK,		/* confirmed read, then takeover_lease(), takeover_state() */
};

struct takeover_action {
	enum takeover_wish wish;
	unsigned store;			/* index into takeover.stores */
	uint8_t uuid[16];
	char member[64], from[64];
	uint32_t epoch;
	uint64_t lsn;
};

/* One store of the dead host. */
struct takeover_store {
	uint8_t uuid[16];
	uint32_t epoch;			/* that it had; the claim makes it epoch + 1 */
	bool held;			/* manual or dismounted: fenced, not activated */
	struct candidate_rule rule;
	unsigned nr;
	struct candidate cand[GROUP_MEMBERS_MAX];
	bool asked[GROUP_MEMBERS_MAX], answered[GROUP_MEMBERS_MAX];
	int winner;			/* index into cand; -1: none */
	int source;			/* has more than the winner; -1 */
	bool fetching, fetched;
	struct candidate_verdict verdict[GROUP_MEMBERS_MAX];	/* for the history */
	uint64_t lost_bytes;
};

struct takeover_times {			/* boot ns, 0: not yet; the activation's time line */
	uint64_t seen, over, sealed, fetched, claimed;
};

struct takeover {
	char host[64];			/* whose lease is watched */
	enum takeover_phase phase;
	struct group_profile profile;
	struct lease_watch watch;
	uint64_t generation;
	uint64_t since_ns;		/* of the phase */
	bool checked;			/* the state was read again in this round */
	uint64_t asked_ns;		/* when WISH_RECHECK was; 0: not yet */
	uint64_t claim_rev, claim_fence;	/* as seen when sealing began */
	bool claim_sent;
	bool ambiguous;			/* nobody knows whether a claim landed, … */
	bool stale;			/* … but the last one did not */
	bool landed;			/* found in the state */
	uint64_t fenced_rev;		/* the host was fenced at this revision; 0: no */
	unsigned nr_facts;		/* the host's last words */
	struct engine_fact facts[GROUP_STORES_MAX];
	unsigned nr_stores;
	struct takeover_store *stores;	/* GROUP_STORES_MAX; the caller's */
	struct takeover_times times;
	char why[160];			/* what it waits for, for people */
};

struct takeover_view {			/* what the shell knows now */
	const struct group_state *gs;
	const char *self;
	bool may_activate;		/* dac_may_activate() and our own lease holds */
	unsigned rank;			/* 0: the manager or nobody else is */
	/* by member of gs: answers heartbeats now */
	bool reachable[GROUP_MEMBERS_MAX];
};

void takeover_init(struct takeover *t, const char *host, struct takeover_store *stores);
/* The lease as read at now. */
void takeover_lease(struct takeover *t, const struct engine_host *host, uint64_t now_ns);
/* The agreed state changed (or was read again). */
void takeover_state(struct takeover *t, const struct group_state *gs);
/* Time passes. Returns the next wish; call again until WISH_NONE. */
void takeover_step(struct takeover *t, const struct takeover_view *v, uint64_t now_ns,
		   struct takeover_action *ret);
/* A copy promised (rc 0) and reported, or could not. */
void takeover_sealed(struct takeover *t, const uint8_t uuid[16], const char *member, int rc,
		     const struct candidate *report, uint64_t now_ns);
void takeover_fetched(struct takeover *t, const uint8_t uuid[16], int rc, const struct candidate *report,
		      uint64_t now_ns);
void takeover_claimed(struct takeover *t, int rc, uint64_t now_ns);
/* Body of the claim's transaction: winners, epochs, start LSNs, in-sync sets. -ESTALE. */
int takeover_edit(struct group_state *gs, void *takeover);

/*
 * takeover_fit - may the copy whose durable log ends at end_lsn open the epoch that
 * begins at start_lsn? 0: yes. -EAGAIN: it holds more, agree first on the next epoch
 * by takeover_edit_anew() (txn_store, ctx: uint64_t end_lsn). -ENODATA: it holds
 * less than was claimed for it, it must not open.
 */
int takeover_fit(uint64_t start_lsn, uint64_t end_lsn);
int takeover_edit_anew(struct group_store *st, void *end_lsn);

#endif
