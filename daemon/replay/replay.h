/* SPDX-License-Identifier: GPL-2.0 */
/*
 * replay - applies verified, durable records to the device of a passive copy.
 *
 * One thread per copy. It takes records in LSN order from the receive ring while
 * they stand there, else from the segments, writes them with as much
 * concurrency as non-overlap allows (a record that overlaps one in flight waits
 * for it; a write that is wholly overwritten within the batch is left out), and
 * at checkpoints flushes the device and then stores replayed_lsn (copystate). So
 * after a crash the device holds every record below replayed_lsn, and some
 * above it, which replaying again from replayed_lsn makes whole.
 */
#ifndef DAG_REPLAY_H
#define DAG_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/loop/loop.h"
#include "daemon/log/seglog.h"
#include "daemon/replay/lag.h"

struct replay;
struct copystate;

struct replay_conf {
	const char *device;		/* opened O_DIRECT; size is checked */
	uint64_t sectors;		/* of the store */
	struct seglog *log;
	struct copystate *state;	/* replayed_lsn is read from and stored here */
	struct seglog_ring ring;	/* receive ring; base NULL: none */
	unsigned depth;			/* writes in flight */
	enum loop_backend backend;
	bool zero_discards;		/* it takes none: zeroes are written instead */
	unsigned checkpoint_ms;		/* longest time between checkpoints while busy */
	/* Called from the replay thread after each checkpoint and on failure. */
	void (*progress)(void *ctx, uint64_t replayed_lsn, uint32_t seq, uint64_t time_ns, int error);
	void *ctx;
};

int replay_start(const struct replay_conf *conf, struct replay **ret);
/* Stop after the writes in flight, with a checkpoint; frees. */
void replay_stop(struct replay *rp);

/*
 * Records below `durable` may be applied, but nothing at or above `hold`
 * (a gap or a running seed; UINT64_MAX: no hold). Any thread; wakes the replay.
 */
void replay_advance(struct replay *rp, uint64_t durable, uint64_t hold);
/*
 * Beyond that, of the records from limit->free_lsn on only those up to the first
 * whose time is later than limit->until_ns. Until it is called: no limit. Any
 * thread; wakes the replay.
 */
void replay_lag(struct replay *rp, const struct lag_limit *limit);

/*
 * The receiver wants ring bytes below `low` for new data. After the call the
 * replay reads nothing below low from the ring (it goes to the segments for it).
 * Waits at most for the writes in flight from there. Returns at once when the
 * replay is beyond low.
 */
void replay_unpin(struct replay *rp, uint64_t low);

struct replay_info {
	uint64_t replayed_lsn;		/* checkpointed */
	uint64_t applied_lsn;		/* written, not yet flushed */
	uint64_t records, bytes, skipped_bytes, from_ring_bytes, from_log_bytes, checkpoints;
	uint64_t overlap_waits;
	bool behind;			/* what may be applied is not yet written */
	bool held;			/* the next record is there, but too young */
	int error;			/* sticky until replay_retry() */
	uint64_t error_lsn;
};
void replay_info(struct replay *rp, struct replay_info *ret);
void replay_retry(struct replay *rp);
/* Wait until replayed_lsn >= lsn: 0, -ETIMEDOUT, or the error. */
int replay_wait(struct replay *rp, uint64_t lsn, unsigned timeout_ms);

#endif
