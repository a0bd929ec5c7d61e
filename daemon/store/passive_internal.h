/* SPDX-License-Identifier: GPL-2.0 */
/* What passive*.c, seeding.c and ship/receiver.c share: one passive copy. */
#ifndef DAG_PASSIVE_INTERNAL_H
#define DAG_PASSIVE_INTERNAL_H

#include <pthread.h>

#include "daemon/replay/replay.h"
#include "daemon/ship/compress.h"
#include "daemon/ship/inspect.h"
#include "daemon/ship/regionset.h"
#include "daemon/store/passive.h"
#include "daemon/store/passive_point.h"
#include "include/uapi/dagtap.h"

#define PASSIVE_NONE	UINT64_MAX

/* A seed that this copy takes part in; under lock. */
struct passive_seed {
	uint8_t id[16];			/* zero: none has begun */
	uint64_t total, done;		/* bytes */
	uint64_t resync_base;		/* inspect.resync_bytes at its begin */
	uint64_t cursor;		/* sectors below are here */
	uint64_t end_lsn;		/* 0: not seen yet */
};

struct passive {
	struct passive_conf conf;
	char *name, *device, *log_dir;
	pthread_mutex_t lock;
	pthread_cond_t cond;		/* received or durable moved, stop */
	struct replay *replay;		/* changes under lock and replay_lock */
	pthread_rwlock_t replay_lock;	/* the receiver reads while it unpins */
	struct inspect in;		/* receiver thread only, but for snapshots */
	void *ring;
	uint64_t ring_size;

	/* under lock */
	uint64_t received;		/* inspected, whole records below */
	uint64_t durable;
	uint64_t replayed;
	uint32_t seq, replayed_seq;
	uint64_t inspected_time_ns, replayed_time_ns;
	uint64_t hold;			/* P4; PASSIVE_NONE: none */
	uint64_t jump;			/* log goes on here behind the hold; 0: no gap */
	bool need_seed;
	bool have_image;
	bool former;			/* was active last: its log is not for its device */
	bool direct;			/* seed goes to the device as it arrives */
	uint64_t branch_id;		/* the image is a branch, this its set; 0: it is none */
	struct passive_seed seed;
	bool suspended, stop;
	bool ack_received;		/* at once; else with the durable batch */
	bool log_busy;			/* the log thread is at work */
	bool quiesce;			/* it must not begin another batch */
	bool replay_stopped;		/* the replay met an error, and waits */
	uint64_t failed_since_ms;	/* nothing went well since; 0: it does */
	bool given_up;			/* it has lasted too long: a person must mend it */
	int error;
	char error_text[160];
	uint32_t epoch;
	uint64_t active_end;
	uint64_t space_left, space_total; /* of the log's file system, once a second */
	bool log_full;			/* the last append found no room */

	/* replay/lag.h; under lock */
	struct lag_rule lag;		/* as agreed */
	struct lag_verdict lag_is;	/* as of the last look */
	struct lag_clock lag_clock;
	struct lag_arrivals lag_arrivals;
	uint64_t catch_up_until_ms;	/* CLOCK_BOOTTIME; 0: nobody waits for the replay */
	uint64_t lag_met_ms;		/* all that was allowed had been replayed; 0: not yet */
	uint64_t lag_late_ms;		/* since then */
	bool few_copies;		/* of the others, and for long enough */
	uint64_t others_low;		/* they need the log from here on; UINT64_MAX: none does */

	struct passive_point point;	/* under lock */

	/* opened forks; the rest under lock */
	struct forks *forks;		/* NULL: there can be none */
	const char *target;		/* what the replay writes to; NULL: the device */
	uint64_t log_cuts;		/* +1 when a stream began with less than was there */
	uint64_t fork_hold, fork_pin;	/* replay and truncation stop here; PASSIVE_NONE: no */

	/* the receiver's connection; conn_lock orders connects and stops */
	pthread_mutex_t conn_lock;
	pthread_t receiver;
	bool receiver_runs;
	bool conn_stop;
	bool connected;
	struct stream *stream;
	struct unpacker *unpacker;	/* NULL: the log comes as it is */
	enum dag_codec codec;		/* of this connection, or the last one; under lock */
	struct compress_count packed;	/* by it; under lock */
	struct loop *loop;		/* of the receiver, for wake-ups; under lock */
	char peer[64], security[64];

	pthread_t log_thread;
};

/* passive.c */
void passive_error(struct passive *p, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void passive_wake_receiver(struct passive *p);	/* lock held */

/* passive_log.c */
uint64_t passive_hold_now(const struct passive *p);	/* replay stops here; lock held */
int passive_start_replay(struct passive *p);	/* lock held */
void passive_stop_replay(struct passive *p);	/* lock held, dropped meanwhile */
/* Lock held, dropped meanwhile: start it and let it run; the ring is not its yet. */
int passive_resume_replay(struct passive *p);
/* An error that more room in the log directory does not mend; lock held. */
bool passive_log_failed(const struct passive *p);
void *passive_log_main(void *arg);
/*
 * What was inspected but not yet durable becomes so, or is taken back; log and
 * replay are the caller's until passive_let_log_go(). The receiver has stopped.
 */
void passive_settle_log(struct passive *p);
void passive_let_log_go(struct passive *p);

/* passive_lag.c */
void passive_lag_apply(struct passive *p);	/* lock held: look, and tell the replay */
void passive_lag_tick(struct passive *p);	/* lock held: the same, once a second */
/* Lock not held: drop replayed log below, except what the lag keeps. */
int passive_lag_truncate(struct passive *p, uint64_t below);

/* passive_fork.c; NULL is fine but for create */
struct forkdev_ops;
int forks_create(struct passive *p, const struct forkdev_ops *ops, struct forks **ret);
void forks_hurry(struct forks *fk);	/* somebody waits for the replay */
void forks_tick(struct forks *fk);	/* once a second; no lock held */
void forks_shut(struct forks *fk);	/* no lock held: before the passive stops anything */
void forks_end(struct forks *fk);	/* the replay has stopped; and put */

/* passive_begin.c */
/* Lock held: what comes stands at `from`, of epochs up to epoch_max. */
void passive_start_inspect(struct passive *p, uint32_t epoch_max, uint64_t from);
void passive_stop_receiver(struct passive *p);	/* conn_lock held */

/* passive_branch.c: all with the lock held */
/*
 * The regions in which the device may differ from the log at the last common LSN.
 * -ENOENT: there is no tap; -EUCLEAN: its bits are not of this image; errors of it.
 */
int passive_branch_set(struct passive *p, struct regionset *ret);
/* Durably: the image is a branch of the log at `at`, the log is of no use any more. */
int passive_branch_turn(struct passive *p, uint32_t epoch, uint64_t at, uint64_t id);
/* Does the log hold the seed that the state of a branch speaks of? */
bool passive_branch_seeded(const struct copystate_data *d, const struct seglog_info *info);
int passive_branch_send(struct passive *p, struct stream *st, const struct regionset *set);

/* seeding.c: all with the lock held */
int seeding_record(struct passive *p, const struct dagtap_rec *rec, const void *payload);
int seeding_recover(struct passive *p);
/* Lock held, dropped meanwhile: the seed is durable, apply it. Log thread only. */
int seeding_finish(struct passive *p);
/* The log has no room for staging: give the older image up. Log thread only. */
int seeding_unstage(struct passive *p);

/* ship/receiver.c */
void *receiver_main(void *arg);
/* inspect_fn of what arrives; ctx is the passive */
int receiver_state(void *ctx, const struct dagtap_rec *rec, const void *payload);
/* Room at lsn for bytes that touch neither undurable log nor the replay; 0: none now. */
size_t receiver_room(struct passive *p, uint64_t lsn);
/* What was inspected is there: the log thread goes on. */
void receiver_publish(struct passive *p);
void receiver_fill_ack(struct passive *p, struct frame_ack *ret);	/* takes the lock */

#endif
