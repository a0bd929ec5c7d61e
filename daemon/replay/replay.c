// SPDX-License-Identifier: GPL-2.0
/*
 * The replay thread: take a batch, submit it, take the next while it is being
 * written; at a checkpoint let everything end, flush the device, then store how
 * far it is whole.
 *
 * Failure modes: a record that does not verify, a log that cannot be read, a
 * device that fails. Each stops the replay at its last checkpoint, tells it, and
 * waits for replay_retry(), which goes on from there.
 */
#include "daemon/replay/replay.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/replay/replay_int.h"
#include "daemon/store/copystate.h"

void replay_fail(struct replay *rp, int error, uint64_t lsn)
{
	if (rp->info.error)
		return;
	rp->info.error = error;
	rp->info.error_lsn = lsn;
}

bool replay_held(const struct replay *rp)
{
	return rp->cur.lsn == rp->young_lsn && !lag_may_replay(&rp->limit, rp->young_lsn, rp->young_ns);
}

/* Lock held: there is a record that may be taken. */
static bool may_take(const struct replay *rp)
{
	return rp->cur.lsn < rp->durable && rp->cur.lsn < rp->hold && !replay_held(rp);
}

static bool batch_left(const struct replay *rp)
{
	return rp->next_piece < rp->batch.nr_pieces;
}

/* Back to what the device certainly holds. */
static void rewind_to_checkpoint(struct replay *rp)
{
	struct copystate_data d;

	copystate_get(rp->conf.state, &d);
	rp->cur = (struct rec_cursor){
		.lsn = d.replayed_lsn,
		.prev_crc = d.replayed_crc,
		.any_prev = !d.replayed_crc,
	};
	rp->applied = rp->cur;
	batch_clear(&rp->batch, rp->cur.lsn);
	rp->next_piece = 0;
	rp->batch_pin = NO_PIN;
	rp->log_len = 0;
	rp->young_lsn = UINT64_MAX;
	rp->torn = false;
}

/* What other threads see and wait for. */
static void publish(struct replay *rp)
{
	uint64_t pin = slots_pin(rp);
	struct replay_info show;

	rp->info.applied_lsn = slots_lsn(rp, rp->applied.lsn);
	show = rp->info;
	if (!rp->settled)
		show.error = show.error_lsn = 0;
	pthread_mutex_lock(&rp->lock);
	if (pin != rp->pin || show.error != rp->shown.error ||
	    show.replayed_lsn != rp->shown.replayed_lsn)
		pthread_cond_broadcast(&rp->cond);
	show.held = replay_held(rp);
	show.behind = rp->inflight || batch_left(rp) || may_take(rp);
	rp->pin = pin;
	rp->shown = show;
	pthread_mutex_unlock(&rp->lock);
}

/* ---- checkpoints -------------------------------------------------------- */

struct flush {
	struct loop_op op;
	bool done;
	int res;
};

static void flush_done(struct loop_op *op, int res)
{
	struct flush *f = (struct flush *)op;

	f->done = true;
	f->res = res;
}

static int flush_device(struct replay *rp)
{
	struct flush f = { .op.done = flush_done };
	int rc = loop_fdatasync(rp->loop, &f.op, rp->dev.fd);

	while (!rc && !f.done) {
		int n = loop_run(rp->loop, -1);

		if (n < 0 && n != -EINTR)
			rc = n;
	}
	return rc ? rc : f.res;
}

static void edit_replayed(struct copystate_data *data, void *ctx)
{
	const struct rec_cursor *at = ctx;

	data->replayed_lsn = at->lsn;
	data->replayed_crc = at->any_prev ? 0 : at->prev_crc;
	if (data->inconsistent_until <= at->lsn)
		data->inconsistent_until = 0;
}

static void tell(struct replay *rp)
{
	if (rp->conf.progress)
		rp->conf.progress(rp->conf.ctx, rp->info.replayed_lsn, rp->applied.seq,
				  rp->applied.time_ns, rp->info.error);
}

/* Nothing is in flight. */
static void checkpoint(struct replay *rp)
{
	int rc = flush_device(rp);

	if (!rc)
		rc = copystate_update(rp->conf.state, edit_replayed, &rp->applied);
	if (rc) {
		log_err("replay device=%s lsn=%llu checkpoint: %s", rp->conf.device,
			(unsigned long long)rp->applied.lsn, strerror(-rc));
		rp->torn = true;
		replay_fail(rp, rc, rp->info.replayed_lsn);
		return;
	}
	rp->info.replayed_lsn = rp->applied.lsn;
	rp->info.checkpoints++;
	publish(rp);
	rp->checkpoint_at_ms = now_ms() + rp->conf.checkpoint_ms;
	if (!rp->info.error)
		tell(rp);
}

/* ---- the thread --------------------------------------------------------- */

struct wish {
	bool stop, retry, urgent, more;
};

static struct wish look(struct replay *rp)
{
	struct wish w;

	pthread_mutex_lock(&rp->lock);
	w.stop = rp->stop;
	w.retry = rp->retry;
	if (!rp->info.error)
		rp->retry = false;
	w.urgent = rp->waiters;
	w.more = may_take(rp);
	pthread_mutex_unlock(&rp->lock);
	return w;
}

/* Milliseconds until a checkpoint is due, 0: now, -1: none is needed. */
static int checkpoint_due(struct replay *rp, const struct wish *w)
{
	uint64_t now = now_ms(), due = rp->checkpoint_at_ms;

	if (rp->applied.lsn == rp->info.replayed_lsn)
		return -1;
	if (w->stop)
		return 0;
	if (!w->more && !batch_left(rp) && !rp->inflight) {
		if (w->urgent)
			return 0;
		if (!rp->idle_since_ms)
			rp->idle_since_ms = now;
		if (rp->idle_since_ms + IDLE_MS < due)
			due = rp->idle_since_ms + IDLE_MS;
	} else {
		rp->idle_since_ms = 0;
	}
	return due <= now ? 0 : (int)(due - now);
}

/* Takes and submits what it can; the writes in flight end in loop_run(). */
static int work(struct replay *rp, bool take)
{
	int rc = 0;

	for (;;) {
		slots_submit(rp);
		if (rp->info.error || batch_left(rp) || !take)
			break;
		rc = source_fill(rp);
		if (rc <= 0)
			break;
	}
	publish(rp);
	return rc;
}

/*
 * After an error: let the rest end, keep what is good, tell it once, wait for
 * retry. A record that cannot be had is met when all before it is written.
 */
static void stand_still(struct replay *rp, const struct wish *w)
{
	if (batch_left(rp)) {
		rp->next_piece = rp->batch.nr_pieces;
		rp->torn = true;
	}
	if (rp->inflight) {
		publish(rp);
		return;
	}
	if (!rp->settled) {
		if (!rp->torn && rp->applied.lsn != rp->info.replayed_lsn)
			checkpoint(rp);
		rp->settled = true;
		publish(rp);
		tell(rp);
	}
	if (w->retry) {
		rewind_to_checkpoint(rp);
		rp->info.error = 0;
		rp->info.error_lsn = 0;
		rp->settled = false;
		pthread_mutex_lock(&rp->lock);
		rp->retry = false;
		pthread_mutex_unlock(&rp->lock);
		publish(rp);
		loop_wake(rp->loop);
	}
}

static void *replay_thread(void *arg)
{
	struct replay *rp = arg;

	pthread_setname_np(pthread_self(), "dag-replay");
	rp->checkpoint_at_ms = now_ms() + rp->conf.checkpoint_ms;
	for (;;) {
		struct wish w = look(rp);
		int due = -1, rc;

		if (rp->info.error) {
			stand_still(rp, &w);
			if (w.stop && !rp->inflight && rp->info.error)
				break;
		} else {
			due = checkpoint_due(rp, &w);
			if (rp->applied.lsn == rp->info.replayed_lsn && !batch_left(rp))
				rp->checkpoint_at_ms = now_ms() + rp->conf.checkpoint_ms;
			if (w.stop && due < 0 && !rp->inflight && !batch_left(rp))
				break;
			if (!due && !rp->inflight && !batch_left(rp)) {
				checkpoint(rp);
				continue;
			}
			w.more = work(rp, due && !w.stop) > 0;
			if (rp->info.error || (!rp->inflight && batch_left(rp)))
				continue;
			/* replay_advance() has woken the loop if there is more by now */
			due = checkpoint_due(rp, &w);
			if (!rp->inflight && !due)
				continue;
		}
		rc = loop_run(rp->loop, rp->inflight ? -1 : due);
		if (rc < 0 && rc != -EINTR && !rp->info.error)
			replay_fail(rp, rc, rp->info.replayed_lsn);
		publish(rp);
	}
	return NULL;
}

/* ---- what others call --------------------------------------------------- */

static void replay_free(struct replay *rp)
{
	if (rp->loop)
		loop_destroy(rp->loop);
	if (rp->dev.fd >= 0)
		close(rp->dev.fd);
	slots_free(rp);
	batch_free(&rp->batch);
	pthread_mutex_destroy(&rp->lock);
	pthread_cond_destroy(&rp->cond);
	free(rp->log_buf);
	free(rp->wrap_buf);
	free((char *)rp->conf.device);
	free(rp);
}

static int replay_init(struct replay *rp, const struct replay_conf *conf)
{
	int rc;

	rp->conf = *conf;
	rp->conf.device = strdup(conf->device);
	if (rp->conf.depth < 1 || rp->conf.depth > DEPTH_MAX)
		rp->conf.depth = rp->conf.depth ? DEPTH_MAX : 1;
	rp->log_buf = aligned_alloc(4096, READ_BYTES);
	rp->wrap_buf = aligned_alloc(4096, DAGTAP_PAYLOAD_MAX);
	if (!rp->conf.device || !rp->log_buf || !rp->wrap_buf)
		return -ENOMEM;
	rc = device_open(rp);
	if (!rc)
		rc = batch_init(&rp->batch, BATCH_RECS);
	if (!rc)
		rc = slots_init(rp);
	if (!rc)
		rc = loop_create(conf->backend, rp->conf.depth + 1, &rp->loop);
	if (rc)
		return rc;
	rewind_to_checkpoint(rp);
	rp->info.replayed_lsn = rp->info.applied_lsn = rp->cur.lsn;
	rp->shown = rp->info;
	rp->durable = rp->hold = rp->cur.lsn;
	rp->limit = LAG_NO_LIMIT;
	return 0;
}

int replay_start(const struct replay_conf *conf, struct replay **ret)
{
	struct replay *rp = calloc(1, sizeof(*rp));
	pthread_condattr_t attr;
	int rc;

	if (!rp)
		return -ENOMEM;
	rp->dev.fd = -1;
	rp->pin = NO_PIN;
	pthread_mutex_init(&rp->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&rp->cond, &attr);
	pthread_condattr_destroy(&attr);
	rc = replay_init(rp, conf);
	if (!rc)
		rc = -pthread_create(&rp->thread, NULL, replay_thread, rp);
	if (rc) {
		replay_free(rp);
		return rc;
	}
	*ret = rp;
	return 0;
}

void replay_stop(struct replay *rp)
{
	pthread_mutex_lock(&rp->lock);
	rp->stop = true;
	pthread_mutex_unlock(&rp->lock);
	loop_wake(rp->loop);
	pthread_join(rp->thread, NULL);
	replay_free(rp);
}

void replay_advance(struct replay *rp, uint64_t durable, uint64_t hold)
{
	pthread_mutex_lock(&rp->lock);
	/* what was durable before this replay began may have left the ring */
	if (!rp->advanced && rp->ring_low < durable)
		rp->ring_low = durable;
	rp->advanced = true;
	if (durable > rp->durable)
		rp->durable = durable;
	rp->hold = hold;
	pthread_mutex_unlock(&rp->lock);
	loop_wake(rp->loop);
}

void replay_lag(struct replay *rp, const struct lag_limit *limit)
{
	pthread_mutex_lock(&rp->lock);
	rp->limit = *limit;
	pthread_mutex_unlock(&rp->lock);
	loop_wake(rp->loop);
}

void replay_unpin(struct replay *rp, uint64_t low)
{
	pthread_mutex_lock(&rp->lock);
	if (rp->ring_low < low)
		rp->ring_low = low;
	while (rp->pin < low)
		pthread_cond_wait(&rp->cond, &rp->lock);
	pthread_mutex_unlock(&rp->lock);
}

void replay_info(struct replay *rp, struct replay_info *ret)
{
	pthread_mutex_lock(&rp->lock);
	*ret = rp->shown;
	pthread_mutex_unlock(&rp->lock);
}

void replay_retry(struct replay *rp)
{
	pthread_mutex_lock(&rp->lock);
	rp->retry = true;
	pthread_mutex_unlock(&rp->lock);
	loop_wake(rp->loop);
}

int replay_wait(struct replay *rp, uint64_t lsn, unsigned timeout_ms)
{
	struct timespec until = clock_after_ms(timeout_ms);
	int rc = 0;

	pthread_mutex_lock(&rp->lock);
	rp->waiters++;
	loop_wake(rp->loop);
	while (rp->shown.replayed_lsn < lsn && (!rp->shown.error || rp->retry) && !rc)
		rc = pthread_cond_timedwait(&rp->cond, &rp->lock, &until);
	rp->waiters--;
	if (rp->shown.replayed_lsn >= lsn)
		rc = 0;
	else if (rp->shown.error && !rp->retry)
		rc = rp->shown.error;
	else
		rc = -rc;
	pthread_mutex_unlock(&rp->lock);
	return rc;
}
