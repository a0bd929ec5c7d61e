// SPDX-License-Identifier: GPL-2.0
/*
 * The log of a passive copy: its thread makes what was inspected durable, batch
 * by batch, and lets the replay go on.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"
#include "daemon/store/passive_internal.h"

#define REPLAY_DEPTH		32
#define CHECKPOINT_MS		1000
#define NO_ROOM_RETRY_MS	500
#define BATCH_MAX		(2u << 20)	/* of one durable write; half the least segment */

/* ---- replay ------------------------------------------------------------- */

static void on_replay(void *ctx, uint64_t replayed, uint32_t seq, uint64_t time_ns, int error)
{
	struct passive *p = ctx;

	pthread_mutex_lock(&p->lock);
	if (error) {
		p->replay_stopped = true;
		passive_error(p, error, "replay stops at lsn=%llu", (unsigned long long)replayed);
	}
	if (!error) {
		p->replayed = replayed;
		if (seq || time_ns) {
			p->replayed_seq = seq;
			p->replayed_time_ns = time_ns;
		}
	}
	passive_wake_receiver(p);
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
}

uint64_t passive_hold_now(const struct passive *p)
{
	uint64_t hold = p->hold < p->fork_hold ? p->hold : p->fork_hold;

	hold = hold < p->point.hold ? hold : p->point.hold;
	return p->suspended || p->given_up || p->former ? p->replayed : hold;
}

/* Lock held. */
int passive_start_replay(struct passive *p)
{
	struct replay_conf rc = {
		.device = p->target ? p->target : p->device,
		.zero_discards = p->target != NULL,
		.sectors = p->conf.sectors,
		.log = p->conf.log,
		.state = p->conf.state,
		.ring = { .base = p->ring, .size = p->ring_size },
		.depth = REPLAY_DEPTH,
		.backend = p->conf.backend,
		.checkpoint_ms = CHECKPOINT_MS,
		.progress = on_replay,
		.ctx = p,
	};
	int err = replay_start(&rc, &p->replay);

	if (err) {
		p->replay = NULL;
		passive_error(p, err, "cannot start the replay to %s", p->device);
	}
	passive_lag_apply(p);
	return err;
}

void passive_stop_replay(struct passive *p)
{
	struct replay *rp = p->replay;

	pthread_mutex_unlock(&p->lock);
	pthread_rwlock_wrlock(&p->replay_lock);
	pthread_mutex_lock(&p->lock);
	p->replay = NULL;
	pthread_mutex_unlock(&p->lock);
	if (rp)
		replay_stop(rp);	/* its last checkpoint takes the lock */
	pthread_rwlock_unlock(&p->replay_lock);
	pthread_mutex_lock(&p->lock);
}

int passive_resume_replay(struct passive *p)
{
	uint64_t durable = p->durable;
	int rc = passive_start_replay(p);

	if (rc)
		return rc;
	pthread_mutex_unlock(&p->lock);
	replay_unpin(p->replay, durable);
	pthread_mutex_lock(&p->lock);
	replay_advance(p->replay, durable, passive_hold_now(p));
	return 0;
}

/* ---- log thread --------------------------------------------------------- */

static void sleep_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

/*
 * What is replayed may go, once a checkpoint says so: have one now. True: it has
 * moved. Lock held on entry and return.
 */
static bool replay_more(struct passive *p)
{
	uint64_t hold = passive_hold_now(p), to = p->durable < hold ? p->durable : hold;
	uint64_t before = p->replayed;
	bool lagged = p->lag_is.held;
	struct replay *rp = p->replay;
	int rc;

	/* With a lag no further than room is needed for. */
	if (lagged && p->lag_is.limit.free_lsn < to)
		to = p->lag_is.limit.free_lsn;
	if (!rp || before >= to)
		return false;
	pthread_mutex_unlock(&p->lock);
	rc = replay_wait(rp, to, NO_ROOM_RETRY_MS);
	pthread_mutex_lock(&p->lock);
	to = rc ? p->replayed : to;
	if (to <= before)
		return false;
	pthread_mutex_unlock(&p->lock);
	passive_lag_truncate(p, to);
	pthread_mutex_lock(&p->lock);
	return true;
}

/* What is kept for others makes room first. Lock held, dropped meanwhile. */
static bool drop_kept(struct passive *p)
{
	uint64_t replayed = p->replayed;
	struct seglog_info before, after;

	pthread_mutex_unlock(&p->lock);
	seglog_info(p->conf.log, &before);
	passive_lag_truncate(p, replayed);
	seglog_info(p->conf.log, &after);
	pthread_mutex_lock(&p->lock);
	return after.first_lsn != before.first_lsn;
}

/* The log directory is full. Lock held on entry and return. */
static void make_room(struct passive *p, int why)
{
	p->log_full = true;
	passive_lag_apply(p);
	if (drop_kept(p) || replay_more(p))
		return;
	if (p->error != why)
		passive_error(p, why, "log directory %s has no room, shipping waits", p->log_dir);
	if (p->need_seed && p->hold != PASSIVE_NONE && !p->direct && p->replayed >= p->hold &&
	    !seeding_unstage(p))
		replay_advance(p->replay, p->durable, passive_hold_now(p));
	pthread_mutex_unlock(&p->lock);
	passive_lag_truncate(p, p->replayed);
	sleep_ms(NO_ROOM_RETRY_MS);
	pthread_mutex_lock(&p->lock);
}

/* One durable batch: all that was inspected while the last one was written. */
static void log_batch(struct passive *p)
{
	struct seglog_ring ring = { .base = p->ring, .size = p->ring_size };
	uint64_t from = p->durable, to = seglog_piece(&ring, from, p->received, BATCH_MAX);
	int rc;

	pthread_mutex_unlock(&p->lock);
	rc = seglog_append(p->conf.log, &ring, from, to);
	pthread_mutex_lock(&p->lock);
	if (rc == -ENOSPC || rc == -EDQUOT) {
		make_room(p, rc);
		return;
	}
	if (rc) {
		passive_error(p, rc, "cannot write the log in %s", p->log_dir);
		return;
	}
	p->log_full = false;
	if (p->error == -ENOSPC || p->error == -EDQUOT) {
		log_notice("store=%s log directory has room again", p->name);
		p->error = 0;
	}
	p->durable = to;
	if (p->seed.end_lsn && p->durable >= p->seed.end_lsn)
		seeding_finish(p);
	if (p->replay)
		replay_advance(p->replay, p->durable, passive_hold_now(p));
	passive_wake_receiver(p);
	pthread_cond_broadcast(&p->cond);
}

bool passive_log_failed(const struct passive *p)
{
	return p->error && p->error != -ENOSPC && p->error != -EDQUOT;
}

void *passive_log_main(void *arg)
{
	struct passive *p = arg;

	pthread_setname_np(pthread_self(), "dag-log");
	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		if (p->quiesce || p->received <= p->durable || passive_log_failed(p)) {
			pthread_cond_wait(&p->cond, &p->lock);
			continue;
		}
		p->log_busy = true;
		log_batch(p);
		p->log_busy = false;
		pthread_cond_broadcast(&p->cond);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

void passive_settle_log(struct passive *p)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 2;
	pthread_mutex_lock(&p->lock);
	while (p->durable < p->received && !p->error)
		if (pthread_cond_clockwait(&p->cond, &p->lock, CLOCK_MONOTONIC, &until))
			break;
	/* Its batch is bounded; it begins no other, or a full log directory would
	 * keep us here for ever. Until passive_let_log_go() log and replay are ours. */
	p->quiesce = true;
	while (p->log_busy)
		pthread_cond_wait(&p->cond, &p->lock);
	p->received = p->durable;
	pthread_mutex_unlock(&p->lock);
}

void passive_let_log_go(struct passive *p)
{
	pthread_mutex_lock(&p->lock);
	p->quiesce = false;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
}
