/* SPDX-License-Identifier: GPL-2.0 */
/*
 * lag - how far the replay of a copy may go, and how much of its log it keeps
 * (semantics 22 and 23). Pure: no I/O, times are the caller's.
 *
 * A record is held back until its own time (CLOCK_REALTIME of the active's host) is
 * so long ago by the clock of the copy's host. Neither clock is believed in
 * everything:
 *  - the copy's clock goes on by CLOCK_BOOTTIME; where the wall clock is stepped
 *    back it is followed at once, where it is stepped ahead slowly, so that a wrong
 *    hour does not set free an hour of held records at a blow;
 *  - a record whose time lies in the future is held for the lag from its arrival, by
 *    CLOCK_BOOTTIME; after a restart of the daemon, from that.
 * Whatever the clocks do, records are applied in their order and up to a boundary
 * between two of them, which is a state that the active's device has had (K1): a
 * wrong clock makes the lag shorter or longer, never the copy wrong. While the device
 * is no such state (a seed is being applied), no lag holds.
 *
 * A copy plays down (replays as if it had no lag) while it is about to serve, while
 * it has to be repaired, while space is short, and while too few others are healthy.
 */
#ifndef DAG_LAG_H
#define DAG_LAG_H

#include <stdbool.h>
#include <stdint.h>

#define LAG_MS_MAX		(14ull * 86400 * 1000)	/* of either lag */
/* Fewer healthy copies without lag than this, for so long, and the lag is played down. */
#define LAG_COPIES_MIN		3
#define LAG_COPIES_AFTER_MS	(24ull * 3600 * 1000)
/* How finely times of arrival are remembered: at most a 64th of the lag too late. */
#define LAG_ARRIVALS		64

/* As agreed of one copy. */
struct lag_rule {
	uint64_t replay_ms, truncation_ms;
	bool off;			/* neither counts, for now */
};

/* Why a copy that has a lag replays without it; the first that applies is named. */
enum lag_cause { LAG_NONE, LAG_ACTIVATION, LAG_REPAIR, LAG_COPIES, LAG_SPACE, LAG_CAUSES };
/* "none", "activation", "repair", "copies", "space" */
const char *lag_cause_name(enum lag_cause cause);
/* What a person reads: "space is short on its log directory" ... */
const char *lag_cause_text(enum lag_cause cause);

/* ---- the clock ---------------------------------------------------------------- */

struct lag_clock {
	bool runs;
	uint64_t ns, boot_ns;		/* as of the last look */
};

/* What is missing to a wall clock that was stepped ahead is gained by an eighth of what
 * passes. A clock that was behind until then holds nothing too long: see arrivals. */
#define LAG_CLOCK_GAIN	8

/* lag_clock_ns - the time by which records are held, ns since 1970. */
uint64_t lag_clock_ns(struct lag_clock *c, uint64_t wall_ns, uint64_t boot_ns);

/* ---- arrivals -------------------------------------------------------------------- */

struct lag_arrivals {
	unsigned nr;			/* oldest first */
	struct {
		uint64_t lsn, boot_ns;	/* all below lsn had arrived by then */
	} at[LAG_ARRIVALS];
};

/* lag_arrived - the log ends at lsn now; lag_ns says how far apart points need be. */
void lag_arrived(struct lag_arrivals *a, uint64_t lsn, uint64_t boot_ns, uint64_t lag_ns);
/* lag_arrived_by - end of what had arrived by then, 0: nothing that is remembered. */
uint64_t lag_arrived_by(const struct lag_arrivals *a, uint64_t boot_ns);

/* ---- space --------------------------------------------------------------------- */

struct lag_space {
	uint64_t log_bytes, quota_bytes;	/* of the log directory; quota 0: none */
	uint64_t left_bytes, total_bytes;	/* of its file system; total 0: not known */
	uint64_t segment_bytes;
	bool full;				/* an append has found no room */
};

/*
 * lag_space_short - bytes of log that must go, the rest of a segment included; 0:
 * space is not short. was: it was short before, and is until there is half as much
 * again.
 *
 * Short is: less than a fifth of the quota left, or two segments if those are more
 * (half of the quota at most); or less than two segments and a twentieth (1 GiB at
 * most) of the file system left; or an append that found no room.
 */
uint64_t lag_space_short(const struct lag_space *s, bool was);

/* ---- other copies -------------------------------------------------------------- */

struct lag_copies {
	bool below;			/* fewer than enough, since since_ms */
	uint64_t since_ms;
};

/*
 * lag_copies_few - have there been too few healthy copies without lag for long enough?
 * configured: copies without lag that the store has. Where those are fewer than
 * LAG_COPIES_MIN, all of them are enough: else a lag could never last in a group
 * of three. now_ms: any clock that does not jump.
 */
bool lag_copies_few(struct lag_copies *c, unsigned healthy, unsigned configured, uint64_t now_ms,
		    uint64_t after_ms);

/* ---- what follows ---------------------------------------------------------------- */

/* Records below free_lsn may be replayed, and those that are not later than until_ns. */
struct lag_limit {
	uint64_t free_lsn;
	uint64_t until_ns;
};

#define LAG_NO_LIMIT	((struct lag_limit){ .free_lsn = 0, .until_ns = UINT64_MAX })

static inline bool lag_may_replay(const struct lag_limit *l, uint64_t lsn, uint64_t time_ns)
{
	return lsn < l->free_lsn || time_ns <= l->until_ns;
}

struct lag_view {
	const struct lag_rule *rule;
	uint64_t now_ns;		/* lag_clock_ns() */
	uint64_t arrived_lsn;		/* lag_arrived_by(boot_ns - lag) */
	uint64_t whole_lsn;		/* below it the device is no image: on to there */
	uint64_t oldest_lsn;		/* of the log */
	bool activation, repair, few;
	uint64_t short_bytes;		/* lag_space_short() */
};

struct lag_verdict {
	struct lag_limit limit;
	enum lag_cause cause;		/* LAG_NONE: not played down */
	bool held;			/* the lag counts */
	struct lag_limit keep;		/* of the log that is replayed, only this may go */
};

void lag_decide(const struct lag_view *v, struct lag_verdict *ret);

#endif
