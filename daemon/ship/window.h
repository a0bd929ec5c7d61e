/* SPDX-License-Identifier: GPL-2.0 */
/*
 * window - what the active may free, acknowledge and forget, from what its
 * copies have. Pure: LSNs in, LSNs out; times are given by the caller.
 *
 * Invariants:
 *  W1 no ring byte is freed that a copy does not have durably (a copy that is
 *     killed comes back without the rest), unless the spool holds it or the copy
 *     has been given up (it will be caught up by regions); nor one that was
 *     promised to a copy that has not answered yet, unless the spool holds it;
 *  W2 no ring byte is freed that a zero-copy send still refers to;
 *  W3 a commit is acknowledged only up to what every copy of the in-sync set has,
 *     and only while that set has min_in_sync copies. The agreed set is never more
 *     than what acks wait for: a copy leaves it before acks go on without it, and
 *     enters it after acks wait for it and it has all that was acknowledged before;
 *  W4 an intent bit may be cleared only below what every configured copy, present
 *     or not, is known to have durably, without a hole that a seed must close.
 */
#ifndef DAG_WINDOW_H
#define DAG_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define WINDOW_COPIES_MAX	15
#define WINDOW_NONE		UINT64_MAX

struct window_copy {
	bool in_use;		/* a configured passive copy */
	bool in_sync;		/* acks wait for it: in the agreed set, or … */
	bool joining;		/* … about to be: the agreed set does not name it yet */
	bool given_up;		/* its missing part of the log is gone */
	bool known;		/* its LSNs below were reported in this activation */
	uint64_t received;	/* newest report; what it has it keeps */
	uint64_t durable;
	uint64_t replayed;
	bool missing;		/* it waits for a seed: regions changed since … */
	uint64_t missing_since;	/* … are not there, whatever it reports */
	uint64_t held;		/* lowest LSN of an unfinished zero-copy send */
	uint64_t promised;	/* it was called and told that the log ends here */
	uint64_t late_since_ms;	/* since when a commit waits for it; 0: none does */
	bool stands;		/* it was late, and has not moved since */
};

struct window {
	uint64_t commit;	/* end of the log */
	uint64_t freed;		/* ring bytes below are gone */
	uint64_t spooled;	/* segments hold [.., spooled) without a hole up to freed */
	uint64_t gap;		/* newest GAP record: writes before it have no record … */
	uint64_t gap_since;	/* … from here on; of several the oldest. No gap: 0 */
	uint64_t acked;		/* highest ack_lsn given */
	uint64_t cleared;
	bool commit_mode;	/* commit or sync */
	bool ack_durable;
	uint32_t min_in_sync;
	uint32_t late_ms_max;
	struct window_copy copy[WINDOW_COPIES_MAX];
};

void window_init(struct window *w, uint64_t freed, uint64_t commit);

/*
 * A copy begins to receive at lsn. since: regions changed since then are not
 * there, until it is whole again; WINDOW_NONE: the log goes on. A copy whose log
 * goes on in front of a gap misses what the gap hides, although it says Healthy.
 */
void window_begin(struct window *w, unsigned i, uint64_t lsn, uint64_t durable, uint64_t replayed,
		  uint64_t since);
/* The log ended at since and goes on with a GAP record at lsn: every copy misses. */
void window_gap(struct window *w, uint64_t since, uint64_t lsn);
/* The copy says that it is whole; before it knows of the last gap that means nothing. */
void window_healthy(struct window *w, unsigned i);
/* The slot is free for another copy. */
void window_forget(struct window *w, unsigned i);

/* Each returns the new value, never below the old one, never above commit. */
uint64_t window_free_lsn(const struct window *w);
uint64_t window_ack_lsn(const struct window *w);
uint64_t window_clear_lsn(const struct window *w);

/* A report; values below the last ones are an error of the peer: -EPROTO. */
int window_report(struct window *w, unsigned i, uint64_t received, uint64_t durable, uint64_t replayed);

/*
 * Which copy of the in-sync set must leave it: one that a commit has waited for
 * longer than late_ms_max, if the set stays at min_in_sync or above without it.
 * -1: none. Updates late_since_ms. The one that is named may not join again before it
 * has moved: commits would wait for it for the same time once more.
 */
int window_late(struct window *w, uint64_t now_ms);
/* Copies in the agreed set. */
unsigned window_in_sync(const struct window *w);
/* May acks wait for the copy from now on: known and whole, no standstill, durable within
 * `near` bytes of commit. */
bool window_may_join(const struct window *w, unsigned i, uint64_t near);
/* May the agreed set name it: acks wait for it and it has all that was acknowledged. */
bool window_joined(const struct window *w, unsigned i);

#endif
