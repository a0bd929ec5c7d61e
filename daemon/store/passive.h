/* SPDX-License-Identifier: GPL-2.0 */
/*
 * passive - a copy that receives: inspect, store, replay (receive -> log -> device).
 *
 * Three threads: receiver (one connection at a time, ship/receiver.c), log
 * (durable batches) and replay. The receive ring between them is the only place
 * where the bytes stand; LSNs say who may touch what.
 *
 * Invariants:
 *  P1 nothing is acknowledged as received that was not inspected, nothing as
 *     durable that is not in the segments on stable storage;
 *  P2 the promise of an epoch is durable before anything is acked under it;
 *  P3 the device is the log up to replayed_lsn, or copystate says since when and
 *     until when it is not (inconsistent_until), durably, before the first write
 *     that makes it so;
 *  P4 replay never passes a gap: it holds there until the seed that closes it is
 *     wholly in the segments.
 */
#ifndef DAG_PASSIVE_H
#define DAG_PASSIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/candidate.h"
#include "daemon/log/seglog.h"
#include "daemon/net/stream.h"
#include "daemon/replay/lag.h"
#include "daemon/ship/compress.h"
#include "daemon/ship/frame.h"
#include "daemon/store/copystate.h"
#include "daemon/tap/tap.h"

struct passive;

struct passive_conf {
	const char *name;		/* of the store */
	const char *self;		/* member; it outlives the passive */
	uint8_t uuid[16];
	const char *device;
	uint64_t sectors;
	uint32_t tag;
	uint64_t ring_bytes;		/* power of two */
	enum loop_backend backend;
	bool no_codec;			/* the log comes as it is, whatever is offered */
	bool ack_received;		/* as passive_ack_received() */
	uint64_t keep_bytes;		/* of replayed log, for copies that have less */
	struct lag_rule lag;		/* as passive_lag_set() */
	uint64_t quota_bytes, seg_bytes;	/* of the log */
	unsigned failed_ms_max;		/* Failed so long: FailedAndSuspended; 0: 10 min */
	struct copystate *state;	/* these stay the caller's, and outlive the passive */
	struct seglog *log;
	const struct tap_ops *ops;
	struct tap *tap;		/* of its intent bits; NULL: there are none */
	const char *log_dir;
	const struct forkdev_ops *forks;	/* NULL: it cannot be opened */
};

struct passive_status {
	enum dag_copy_state state;
	bool connected;
	uint32_t epoch;
	uint64_t received_lsn, durable_lsn, replayed_lsn;
	uint32_t seq, replayed_seq;
	uint64_t inspected_time_ns, replayed_time_ns;
	uint64_t active_end_lsn;	/* as the hello said */
	struct lag_rule lag;
	enum lag_cause lag_cause;	/* why it replays without it; LAG_NONE: it does not */
	bool lag_held;			/* records are held back by it, or would be */
	uint64_t lag_late_ms;		/* what may be replayed has waited for so long */
	uint64_t log_bytes, space_left;
	uint64_t seed_done, seed_total;
	uint64_t staged_since_lsn;	/* replay holds here; UINT64_MAX: it does not */
	int error;
	char error_text[160];
	char peer[64];
	char security[64];
	enum dag_codec codec;		/* while connected */
	struct compress_count packed;
};

int passive_start(const struct passive_conf *conf, struct passive **ret);
void passive_stop(struct passive *p);
/*
 * The active's connection; takes over st. Answers with a welcome or a refusal.
 * allowed: what the group's state says of this caller (DAG_OK or why not).
 */
void passive_accept(struct passive *p, struct stream *st, const struct frame_hello *hello,
		    enum dag_refusal allowed);
void passive_status(struct passive *p, struct passive_status *ret);
/*
 * Before a take-over: promise the epoch, durably, end the stream of a lower one
 * and make what it brought durable. -ESTALE: more has been promised;
 * -ETIMEDOUT, error of the log: the promise stands, but where the log ends
 * cannot be said. Equal: nothing but the wait.
 */
int passive_seal(struct passive *p, uint32_t epoch);
/* What a candidate is, as far as the copy itself knows; the rest stays untouched. */
void passive_report(struct passive *p, struct candidate *ret);
/* 0 when the whole log up to lsn is on the device, -ETIMEDOUT, -EUCLEAN: seeding. */
/*
 * The last logs, between copies that promised the same epoch. The puller names
 * the other end; what arrives is inspected as from an active, and durable when it
 * returns 0: the log reaches up_to. -ENODATA: the other has less; -EXDEV: the
 * histories part before our end; -EUCLEAN: this copy is not whole; -EBUSY: it is
 * connected to an active; -ECONNREFUSED, -ETIMEDOUT, … What came before a failure
 * stays: it is a part of the log like any other.
 */
struct passive_source {
	const struct stream_conf *stream;	/* timeout_ms is of all */
	const struct sockaddr *addr;
	socklen_t addrlen;
	const char *member;		/* whose certificate it must show */
	const uint8_t *group;
	uint64_t group_generation;
};
int passive_fetch(struct passive *p, const struct passive_source *from, uint64_t up_to);
/* The other end: takes over st, answers, sends its log. For as long as 30 s. */
void passive_feed(struct passive *p, struct stream *st, const struct frame_hello *hello);
int passive_wait_replayed(struct passive *p, uint64_t lsn, unsigned timeout_ms);
void passive_suspend(struct passive *p, bool suspended);
/* Held from now on by this rule; a lag that ends is made up for at once. */
void passive_lag_set(struct passive *p, const struct lag_rule *rule);
/*
 * What is known of the store's other copies: have too few of them been healthy for
 * long, and from where on do they still need the log (UINT64_MAX: nothing)?
 */
void passive_others(struct passive *p, bool few, uint64_t low_lsn);
/* Somebody waits for the replay: no lag for so long, 0: a minute. */
void passive_catch_up(struct passive *p, unsigned ms);
/* Somebody waits for what is received, not only for what is durable. */
void passive_ack_received(struct passive *p, bool at_once);
/* Forget image and log and ask for everything anew, once for each request. */
void passive_reseed(struct passive *p, uint32_t request);
/* FailedAndSuspended no more: the cause is mended, try again. */
void passive_retry(struct passive *p);
/* Once a second: truncation, retries. */
void passive_tick(struct passive *p);

#endif
