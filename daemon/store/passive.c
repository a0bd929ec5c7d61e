// SPDX-License-Identifier: GPL-2.0
/*
 * A passive copy: start and stop, and what other threads ask of it. The
 * invariants stand in passive.h; its log and replay are in passive_log.c, how a
 * connection begins in passive_begin.c.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/store/passive_internal.h"

#define FAILED_MS_MAX	600000

void passive_error(struct passive *p, int error, const char *fmt, ...)
{
	va_list ap;

	p->error = error;
	va_start(ap, fmt);
	vsnprintf(p->error_text, sizeof(p->error_text), fmt, ap);
	va_end(ap);
	log_err("store=%s error=%d %s: %s", p->name, error, p->error_text, strerror(-error));
}

void passive_wake_receiver(struct passive *p)
{
	if (p->loop)
		loop_wake(p->loop);
}

static int map_ring(struct passive *p)
{
	p->ring = mmap(NULL, p->ring_size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (p->ring == MAP_FAILED) {
		p->ring = NULL;
		return -errno;
	}
	return 0;
}

static void passive_free(struct passive *p)
{
	forks_end(p->forks);
	regionset_free(&p->point.tail);
	if (p->ring)
		munmap(p->ring, p->ring_size);
	pthread_cond_destroy(&p->cond);
	pthread_rwlock_destroy(&p->replay_lock);
	pthread_mutex_destroy(&p->conn_lock);
	pthread_mutex_destroy(&p->lock);
	free(p->name);
	free(p->device);
	free(p->log_dir);
	free(p);
}

/*
 * The log must begin where the image ends, and it need not: the log was lost or
 * cut at recovery, or a full seed was about to begin. Then everything here is
 * forgotten already, and the old log may be another history at these LSNs. So may
 * that of a branch for which no seed has begun.
 */
static int fit_log(struct passive *p, const struct copystate_data *d)
{
	struct seglog_info info;
	bool forgotten = d->inconsistent_until == UINT64_MAX && !d->have_image && !d->nr_history;

	seglog_info(p->conf.log, &info);
	if (d->branch && !passive_branch_seeded(d, &info))
		return info.first_lsn == d->replayed_lsn && info.end_lsn == d->replayed_lsn ?
		       0 : seglog_reset(p->conf.log, d->replayed_lsn);
	if (info.end_lsn < d->replayed_lsn || (forgotten && info.first_lsn < info.end_lsn))
		return seglog_reset(p->conf.log, d->replayed_lsn);
	return 0;
}

/* What stands on disk, before anything moves. */
static int recover(struct passive *p)
{
	struct copystate_data d;
	struct seglog_info info;
	int rc;

	copystate_get(p->conf.state, &d);
	rc = fit_log(p, &d);
	if (rc)
		return rc;
	seglog_info(p->conf.log, &info);
	p->epoch = d.promised_epoch;
	p->suspended = d.suspended;
	p->given_up = d.failed_suspended;
	p->replayed = d.replayed_lsn;
	p->durable = info.end_lsn > d.replayed_lsn ? info.end_lsn : d.replayed_lsn;
	p->received = p->durable;
	p->seq = info.end_seq;
	p->inspected_time_ns = info.end_time_ns;
	p->hold = PASSIVE_NONE;
	return seeding_recover(p);
}

int passive_start(const struct passive_conf *conf, struct passive **ret)
{
	struct passive *p = calloc(1, sizeof(*p));
	int rc = -ENOMEM;

	if (!p)
		return -ENOMEM;
	p->conf = *conf;
	p->ring_size = conf->ring_bytes;
	p->ack_received = conf->ack_received;
	p->lag = conf->lag;
	p->others_low = UINT64_MAX;
	p->fork_hold = p->fork_pin = p->point.hold = PASSIVE_NONE;
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->conn_lock, NULL);
	pthread_cond_init(&p->cond, NULL);
	pthread_rwlock_init(&p->replay_lock, NULL);
	p->name = strdup(conf->name);
	p->device = strdup(conf->device);
	p->log_dir = strdup(conf->log_dir);
	if (!p->name || !p->device || !p->log_dir)
		goto fail;
	rc = map_ring(p);
	rc = rc ? rc : recover(p);
	if (!rc && conf->forks)
		rc = forks_create(p, conf->forks, &p->forks);
	if (rc)
		goto fail;
	pthread_mutex_lock(&p->lock);
	rc = passive_resume_replay(p);
	if (!rc && p->seed.end_lsn && p->durable >= p->seed.end_lsn) {
		rc = seeding_finish(p);
		if (!rc)
			replay_advance(p->replay, p->durable, passive_hold_now(p));
	}
	pthread_mutex_unlock(&p->lock);
	if (!rc)
		rc = -pthread_create(&p->log_thread, NULL, passive_log_main, p);
	if (rc) {
		if (p->replay)
			replay_stop(p->replay);
		goto fail;
	}
	*ret = p;
	return 0;
fail:
	passive_free(p);
	return rc;
}

void passive_stop(struct passive *p)
{
	forks_shut(p->forks);
	pthread_mutex_lock(&p->conn_lock);
	passive_stop_receiver(p);
	passive_settle_log(p);
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->log_thread, NULL);
	if (p->replay)
		replay_stop(p->replay);
	pthread_mutex_unlock(&p->conn_lock);
	passive_free(p);
}

static enum dag_copy_state state_now(const struct passive *p, const struct copystate_data *d)
{
	if (p->given_up)
		return DAG_COPY_FAILED_SUSPENDED;
	if (p->suspended)
		return DAG_COPY_SUSPENDED;
	if (p->error && p->error != -ENOSPC && p->error != -EDQUOT)
		return DAG_COPY_FAILED;
	if (!p->epoch)		/* no active has called yet */
		return DAG_COPY_INITIALIZING;
	if (p->direct && !p->former)
		return DAG_COPY_SEEDING;
	if (p->need_seed || d->inconsistent_until > p->replayed)
		return DAG_COPY_RESYNCHRONIZING;
	return DAG_COPY_HEALTHY;
}

void passive_status(struct passive *p, struct passive_status *ret)
{
	struct copystate_data d;
	struct seglog_info info;

	memset(ret, 0, sizeof(*ret));
	copystate_get(p->conf.state, &d);
	seglog_info(p->conf.log, &info);
	pthread_mutex_lock(&p->lock);
	ret->space_left = p->space_left;
	ret->state = state_now(p, &d);
	ret->connected = p->connected;
	ret->epoch = p->epoch;
	ret->received_lsn = p->received;
	ret->durable_lsn = p->durable;
	ret->replayed_lsn = p->replayed;
	ret->seq = p->seq;
	ret->replayed_seq = p->replayed_seq;
	ret->inspected_time_ns = p->inspected_time_ns;
	ret->replayed_time_ns = p->replayed_time_ns;
	ret->active_end_lsn = p->active_end;
	ret->lag = p->lag;
	ret->lag_cause = p->lag_is.cause;
	ret->lag_held = p->lag_is.held;
	ret->lag_late_ms = p->lag_late_ms;
	ret->log_bytes = info.bytes;
	ret->seed_done = p->seed.done;
	ret->seed_total = p->seed.total;
	ret->staged_since_lsn = p->hold;
	ret->error = p->error;
	snprintf(ret->error_text, sizeof(ret->error_text), "%.159s", p->error ? p->error_text :
		 p->given_up ? d.comment : "");
	snprintf(ret->peer, sizeof(ret->peer), "%s", p->peer);
	snprintf(ret->security, sizeof(ret->security), "%s", p->security);
	if (p->connected) {
		ret->codec = p->codec;
		ret->packed = p->packed;
	}
	pthread_mutex_unlock(&p->lock);
}

int passive_wait_replayed(struct passive *p, uint64_t lsn, unsigned timeout_ms)
{
	struct timespec until = clock_after_ms(timeout_ms);
	int rc = 0;

	/* Somebody waits: the checkpoint is made as soon as all is written. */
	forks_hurry(p->forks);
	pthread_rwlock_rdlock(&p->replay_lock);
	if (p->replay)
		replay_wait(p->replay, lsn, timeout_ms);
	pthread_rwlock_unlock(&p->replay_lock);
	pthread_mutex_lock(&p->lock);
	while (!rc && !p->need_seed && !p->error && p->replayed < lsn)
		rc = -pthread_cond_clockwait(&p->cond, &p->lock, CLOCK_MONOTONIC, &until);
	if (p->need_seed)
		rc = -EUCLEAN;
	else if (p->replayed >= lsn)
		rc = 0;
	else if (p->error)
		rc = p->error;
	pthread_mutex_unlock(&p->lock);
	return rc;
}

static void edit_suspend(struct copystate_data *d, void *ctx)
{
	d->suspended = *(bool *)ctx;
}

void passive_suspend(struct passive *p, bool suspended)
{
	bool change;
	int rc;

	pthread_mutex_lock(&p->lock);
	change = p->suspended != suspended;
	pthread_mutex_unlock(&p->lock);
	if (!change)
		return;
	rc = copystate_update(p->conf.state, edit_suspend, &suspended);
	pthread_mutex_lock(&p->lock);
	if (rc)
		passive_error(p, rc, "cannot store suspension");
	else
		p->suspended = suspended;
	if (p->replay)
		replay_advance(p->replay, p->durable, passive_hold_now(p));
	passive_wake_receiver(p);
	pthread_mutex_unlock(&p->lock);
	log_notice("store=%s copy is %s", p->name, suspended ? "suspended" : "resumed");
}

void passive_ack_received(struct passive *p, bool at_once)
{
	pthread_mutex_lock(&p->lock);
	p->ack_received = at_once;
	passive_wake_receiver(p);
	pthread_mutex_unlock(&p->lock);
}

/* ---- FailedAndSuspended ------------------------------------------------------- */

static void edit_give_up(struct copystate_data *d, void *ctx)
{
	d->failed_suspended = true;
	snprintf(d->comment, sizeof(d->comment), "%s", (const char *)ctx);
}

static void edit_retry(struct copystate_data *d, void *ctx)
{
	d->failed_suspended = false;
	d->comment[0] = '\0';
}

/*
 * Nothing has gone well for too long: stop trying, durably, until a person has mended
 * the cause. What the copy has stays as it is; nothing is received or replayed.
 */
static void give_up(struct passive *p, const char *why)
{
	int rc = copystate_update(p->conf.state, edit_give_up, (void *)why);

	pthread_mutex_lock(&p->lock);
	p->given_up = !rc;
	passive_wake_receiver(p);
	pthread_mutex_unlock(&p->lock);
	if (!rc)
		log_err("store=%s copy is FailedAndSuspended: %s next=\"mend the cause, then dagctl "
			"copy resume\"", p->name, why);
}

void passive_retry(struct passive *p)
{
	int rc;

	pthread_mutex_lock(&p->lock);
	rc = p->given_up ? 0 : -EALREADY;
	pthread_mutex_unlock(&p->lock);
	if (!rc)
		rc = copystate_update(p->conf.state, edit_retry, NULL);
	if (rc)
		return;
	pthread_mutex_lock(&p->lock);
	p->given_up = false;
	p->failed_since_ms = 0;
	p->replay_stopped = true;	/* the next tick tries it again */
	if (p->replay)
		replay_advance(p->replay, p->durable, passive_hold_now(p));
	pthread_mutex_unlock(&p->lock);
	log_notice("store=%s copy is tried again", p->name);
}

/* Lock held. Has it failed for too long, now that it fails, or does not? */
static bool failed_too_long(struct passive *p, bool fails, uint64_t now_ms)
{
	unsigned max = p->conf.failed_ms_max ? p->conf.failed_ms_max : FAILED_MS_MAX;

	if (!fails)
		p->failed_since_ms = 0;
	else if (!p->failed_since_ms)
		p->failed_since_ms = now_ms;
	return p->failed_since_ms && now_ms - p->failed_since_ms >= max;
}

/* It may be stopped at any time, by who opens or closes a fork. */
static void retry_replay(struct passive *p)
{
	pthread_rwlock_rdlock(&p->replay_lock);
	if (p->replay)
		replay_retry(p->replay);
	pthread_rwlock_unlock(&p->replay_lock);
}

/* A replay that could not start (device gone, say) is tried again. */
static void restart_replay(struct passive *p)
{
	if (pthread_mutex_trylock(&p->conn_lock))
		return;
	pthread_mutex_lock(&p->lock);
	if (!p->replay && !p->log_busy && !passive_resume_replay(p)) {
		p->error = 0;
		log_notice("store=%s replay runs again", p->name);
	}
	pthread_mutex_unlock(&p->lock);
	pthread_mutex_unlock(&p->conn_lock);
}

static uint64_t boot_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Zero: it cannot be told. */
static void look_at_space(const struct passive *p, uint64_t *ret_left, uint64_t *ret_total)
{
	struct statvfs vfs;
	bool ok = !statvfs(p->log_dir, &vfs);

	*ret_left = ok ? (uint64_t)vfs.f_bavail * vfs.f_frsize : 0;
	*ret_total = ok ? (uint64_t)vfs.f_blocks * vfs.f_frsize : 0;
}

/*
 * Lock held: of what is replayed, the log below may go. Another copy may have less
 * when this one is to feed it, as its next active or with the last logs. A copy without
 * lag waits for what the others are known to need; one with a lag keeps by age.
 */
static uint64_t not_needed(const struct passive *p)
{
	uint64_t below = p->durable > p->conf.keep_bytes ? p->durable - p->conf.keep_bytes : 0;

	if (p->lag_is.keep.until_ns == UINT64_MAX && p->others_low < below)
		below = p->others_low;
	return below < p->replayed ? below : p->replayed;
}

void passive_tick(struct passive *p)
{
	bool retry, fails, enough;
	char why[sizeof(p->error_text)];
	uint64_t below, left, total;

	passive_point_tick(p);
	look_at_space(p, &left, &total);
	pthread_mutex_lock(&p->lock);
	p->space_left = left;
	p->space_total = total;
	passive_lag_tick(p);
	fails = passive_log_failed(p) || p->replay_stopped || !p->replay;
	enough = !p->given_up && failed_too_long(p, fails, boot_ms());
	memcpy(why, p->error_text, sizeof(why));
	if (enough || p->given_up) {
		pthread_mutex_unlock(&p->lock);
		if (enough)
			give_up(p, why);
		return;
	}
	below = not_needed(p);
	retry = p->replay && (p->replay_stopped || passive_log_failed(p));
	if (passive_log_failed(p) || p->replay_stopped)
		p->error = 0;
	p->replay_stopped = false;
	below = below < p->fork_pin ? below : p->fork_pin;
	pthread_mutex_unlock(&p->lock);
	passive_lag_truncate(p, below);
	if (retry)
		retry_replay(p);
	restart_replay(p);
	forks_tick(p->forks);
}
