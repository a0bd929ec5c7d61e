// SPDX-License-Identifier: GPL-2.0
/*
 * Opening a fork:
 *   1 the replay holds: it takes no record that it has not taken yet;
 *   2 the log is walked for the point, header by header;
 *   3 everything that takes time is prepared;
 *   4 log thread and replay stop: the device is the log up to B, exactly. The snapshot
 *     is made, and the origin, if there is none; the replay goes on, onto the origin;
 *   5 a replay of its own applies the records from B to the point onto the snapshot.
 *
 * 1 to 4 end early when somebody waits for the replay or the copy is stopped. A failure
 * at any step takes away what was made, and the replay goes on as before.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/logdump.h"
#include "daemon/log/point.h"
#include "daemon/store/passive_fork_int.h"

#define WALK_MS_MAX	20000	/* the replay holds for so long at most */
#define APPLY_DEPTH	16
#define APPLY_SLICE_MS	200
#define NAME_TRIES	100

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- which point -------------------------------------------------------------------- */

struct walk {
	struct forks *fk;
	struct point_pick pick;
	uint64_t deadline_ns;
	uint64_t last_ns;
};

static int walk_record(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	struct walk *w = ctx;

	if (w->pick.seen % 256 == 0) {
		if (atomic_load(&w->fk->hurry))
			return -ECANCELED;
		if (clock_ns(CLOCK_MONOTONIC) > w->deadline_ns)
			return -ETIMEDOUT;
	}
	/* behind a gap the copy is no image before a seed has ended */
	if (rec->type == DAGTAP_REC_STATE && rec->kind == DAGTAP_STATE_GAP)
		return 1;
	w->last_ns = le64toh(rec->time_ns);
	return !point_see(&w->pick, rec, payload);
}

static void fmt_time(uint64_t ns, char ret[40])
{
	time_t s = ns / 1000000000;
	struct tm tm;
	size_t n;

	snprintf(ret, 40, "time not known");
	if (!ns || !gmtime_r(&s, &tm))
		return;
	n = strftime(ret, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret + n, 40 - n, ".%03uZ", (unsigned)(ns / 1000000 % 1000));
}

/* What a copy can be opened at. */
struct range {
	uint64_t from, to;
	uint64_t from_ns, known_ns;
};

static int out_of_range(const struct passive *p, const struct range *r, const char *at, const char *why,
			char *err, size_t errlen)
{
	char from[40], to[40];

	fmt_time(r->from_ns, from);
	fmt_time(r->known_ns, to);
	snprintf(err, errlen, "store %s: %s %s; from LSN %llu (%s) to LSN %llu (%s) can be reached, see "
		 "dagctl log list %s", p->name, at, why, (unsigned long long)r->from, from,
		 (unsigned long long)r->to, to, p->name);
	return -ERANGE;
}

static int judge_point(const struct passive *p, enum point_answer answer, const struct range *r,
		       const char *at, char *err, size_t errlen)
{
	switch (answer) {
	case POINT_OK:
		return 0;
	case POINT_REPLAYED:
		return out_of_range(p, r, at, "is replayed already", err, errlen);
	case POINT_AHEAD:
		return out_of_range(p, r, at, "is not here yet", err, errlen);
	case POINT_UNKNOWN:
		return out_of_range(p, r, at, "is no mark among the records", err, errlen);
	}
	return -EINVAL;
}

/* Lock held. Is the device an image, and the log its continuation? */
static int check_whole(const struct passive *p, char *err, size_t errlen)
{
	struct copystate_data d;
	const char *why = NULL;

	copystate_get(p->conf.state, &d);
	if (p->given_up || p->replay_stopped || passive_log_failed(p))
		why = "has failed";
	else if (p->need_seed || p->direct || p->former || p->branch_id || p->hold != PASSIVE_NONE ||
		 d.inconsistent_until > d.replayed_lsn || !d.nr_history)
		why = "is being made whole";
	if (!why)
		return 0;
	snprintf(err, errlen, "store %s: the copy here %s; it can be opened when it is Healthy, see dagctl "
		 "copy status %s", p->name, why, p->name);
	return -EUCLEAN;
}

/* The replay holds where it is. */
static int hold(struct forks *fk, struct range *ret, char *err, size_t errlen)
{
	struct passive *p = fk->p;
	int rc;

	pthread_mutex_lock(&fk->lock);
	atomic_store(&fk->hurry, fk->shut);
	atomic_store(&fk->holds, true);
	pthread_mutex_unlock(&fk->lock);
	pthread_mutex_lock(&p->lock);
	rc = check_whole(p, err, errlen);
	if (!rc) {
		fk->cuts = p->log_cuts;
		p->fork_hold = p->replayed;
		ret->from = p->replayed;
		ret->from_ns = p->replayed_time_ns;
		ret->to = p->durable;
		ret->known_ns = p->connected && p->received >= p->active_end ?
				clock_ns(CLOCK_REALTIME) : p->inspected_time_ns;
		if (p->replay)
			replay_advance(p->replay, p->durable, passive_hold_now(p));
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

/* Lock held. */
static void let_go(struct forks *fk)
{
	struct passive *p = fk->p;

	p->fork_hold = PASSIVE_NONE;
	if (p->replay)
		replay_advance(p->replay, p->durable, passive_hold_now(p));
	atomic_store(&fk->holds, false);
}

static int find_point(struct forks *fk, const char *at, const struct range *r, struct point_pick *ret,
		      char *err, size_t errlen)
{
	struct walk w = { .fk = fk, .deadline_ns = clock_ns(CLOCK_MONOTONIC) + WALK_MS_MAX * 1000000ull };
	struct range shown = *r;
	struct point_spec spec;
	uint64_t end;
	int rc = point_parse(at, clock_ns(CLOCK_REALTIME), &spec);

	if (rc) {
		snprintf(err, errlen, "--at %s: not a point; write an LSN, the name of a mark, -10min or "
			 "2026-01-31 18:00", at);
		return rc;
	}
	point_begin(&w.pick, &spec, r->from);
	rc = logdump_walk(fk->p->log_dir, r->from, r->to, walk_record, &w, &end);
	if (rc == -ECANCELED)
		snprintf(err, errlen, "store %s: given up, the copy is being activated or stopped",
			 fk->p->name);
	else if (rc == -ETIMEDOUT)
		snprintf(err, errlen, "store %s: %llu records were not enough to find %s, and the replay must "
			 "go on; name an earlier point", fk->p->name, (unsigned long long)w.pick.seen, at);
	else if (rc < 0)
		snprintf(err, errlen, "store %s: log %s: %s", fk->p->name, fk->p->log_dir, strerror(-rc));
	if (rc < 0)
		return rc;
	*ret = w.pick;
	shown.to = w.pick.past ? r->to : end;
	rc = judge_point(fk->p, point_end(&w.pick, r->from_ns, shown.to, r->known_ns), &shown, at, err,
			 errlen);
	return rc;
}

/* ---- onto the snapshot ------------------------------------------------------------- */

static void edit_begin(struct copystate_data *d, void *ctx)
{
	const struct copystate_data *from = ctx;

	*d = *from;
}

/* A state of its own, which nobody reads after a crash. */
static int make_state(const struct passive *p, const char *name, struct copystate **ret)
{
	struct copystate_data d;
	char path[4096];
	int rc;

	snprintf(path, sizeof(path), "%s/fork-%s.state", p->log_dir, name);
	unlink(path);
	rc = copystate_open(path, p->conf.uuid, true, ret);
	unlink(path);
	if (rc)
		return rc;
	copystate_get(p->conf.state, &d);
	rc = copystate_update(*ret, edit_begin, &d);
	if (rc)
		copystate_close(*ret);
	return rc;
}

static int wait_applied(struct forks *fk, struct replay *rp, uint64_t from, uint64_t to,
			const struct fork_ask *ask)
{
	struct replay_info info;
	int rc = -ETIMEDOUT;

	for (unsigned n = 1; rc == -ETIMEDOUT; n++) {
		rc = replay_wait(rp, to, APPLY_SLICE_MS);
		if (rc == -ETIMEDOUT && atomic_load(&fk->hurry))
			return -ECANCELED;
		replay_info(rp, &info);
		if (ask->progress && n % 10 == 0)
			ask->progress(ask->ctx, info.applied_lsn - from, to - from);
	}
	return rc;
}

static int apply(struct forks *fk, struct fork *f, struct copystate *cs, const struct fork_ask *ask)
{
	struct passive *p = fk->p;
	struct replay_conf rc = {
		.device = fk->ops->path(f->dev),
		.sectors = p->conf.sectors,
		.log = p->conf.log,
		.state = cs,
		.depth = APPLY_DEPTH,
		.backend = p->conf.backend,
		.checkpoint_ms = 1000,
		.zero_discards = true,
	};
	struct copystate_data d;
	struct replay *rp;
	int err;

	copystate_get(cs, &d);
	if (d.replayed_lsn == f->info.lsn)
		return 0;
	err = replay_start(&rc, &rp);
	if (err)
		return err;
	replay_advance(rp, f->info.lsn, f->info.lsn);
	err = wait_applied(fk, rp, d.replayed_lsn, f->info.lsn, ask);
	replay_stop(rp);
	return err;
}

/* ---- open -------------------------------------------------------------------------- */

static int choose_name(struct forks *fk, const struct fork_ask *ask, char ret[FORK_NAME_BYTES],
		       char *err, size_t errlen)
{
	if (ask->name && !fork_name_valid(ask->name)) {
		snprintf(err, errlen, "--name %s: use up to %d letters, digits and . _ - + @", ask->name,
			 FORK_NAME_BYTES - 1);
		return -EINVAL;
	}
	if (ask->name) {
		snprintf(ret, FORK_NAME_BYTES, "%s", ask->name);
		return 0;
	}
	for (int i = 1; i < NAME_TRIES; i++) {
		snprintf(ret, FORK_NAME_BYTES, "%.40s-fork%d", fk->p->name, i);
		if (!forks_find(fk, ret))
			return 0;
	}
	return -EEXIST;
}

static int check_space(const struct passive *p, uint64_t space, char *err, size_t errlen)
{
	struct statvfs vfs;
	uint64_t left;

	if (space < FORK_SPACE_MIN) {
		snprintf(err, errlen, "--space: at least %llu MiB", FORK_SPACE_MIN >> 20);
		return -EINVAL;
	}
	if (statvfs(p->log_dir, &vfs))
		return -errno;
	left = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (space <= left / 2)
		return 0;
	snprintf(err, errlen, "log directory %s: %llu MiB are left, a fork may have half of it and wants %llu "
		 "MiB; give less with --space", p->log_dir, (unsigned long long)left >> 20,
		 (unsigned long long)space >> 20);
	return -ENOSPC;
}

/* Frozen, lock held: the device is the log up to replayed_lsn. Is that where it must be? */
static int check_frozen(struct forks *fk, const struct fork *f, char *err, size_t errlen)
{
	struct passive *p = fk->p;
	struct range r = { .to = p->durable, .from_ns = p->replayed_time_ns,
			   .known_ns = p->inspected_time_ns };
	int rc = check_whole(p, err, errlen);

	if (rc)
		return rc;
	if (atomic_load(&fk->hurry)) {
		snprintf(err, errlen, "store %s: given up, the copy is being activated or stopped", p->name);
		return -ECANCELED;
	}
	r.from = p->replayed;
	return r.from <= f->info.lsn ? 0 :
	       out_of_range(p, &r, "the point", "is replayed already", err, errlen);
}

/* Frozen; conn_lock and the log thread's rest keep it so, lock is not held. */
static int make_devices(struct forks *fk, struct fork *f, const struct forkdev_conf *conf,
			struct copystate **ret_state, char *err, size_t errlen)
{
	int rc = make_state(fk->p, f->info.name, ret_state);

	if (rc) {
		snprintf(err, errlen, "log directory %s: %s", conf->dir, strerror(-rc));
		return rc;
	}
	rc = fk->ops->make(f->dev, err, errlen);
	if (!rc && !fk->origin) {
		rc = fk->ops->origin_up(conf, fk->origin_path, sizeof(fk->origin_path), err, errlen);
		pthread_mutex_lock(&fk->lock);
		fk->origin = !rc;
		pthread_mutex_unlock(&fk->lock);
	}
	if (rc)
		copystate_close(*ret_state);
	return rc;
}

/* Busy. Nothing stays of it, come what may. */
static void undo(struct forks *fk, struct fork *f)
{
	forks_unlist(fk, f);
	fork_free(fk, f);
	forks_settle(fk, true);
}

/* Steps 1 to 4. */
static int begin(struct forks *fk, struct fork *f, const struct fork_ask *ask,
		 struct copystate **ret_state, char *err, size_t errlen)
{
	struct passive *p = fk->p;
	struct forkdev_conf conf = {
		.name = f->info.name, .uuid = fk->uuid, .device = p->device,
		.sectors = p->conf.sectors, .dir = p->log_dir, .space = f->info.space,
	};
	struct point_pick pick;
	struct range r = { 0 };
	int rc = hold(fk, &r, err, errlen), thawed;

	rc = rc ? rc : find_point(fk, ask->at, &r, &pick, err, errlen);
	if (!rc) {
		f->info.lsn = pick.lsn;
		f->info.time_ns = pick.time_ns ? pick.time_ns : r.from_ns;
		rc = fk->ops->prepare(&conf, &f->dev, err, errlen);
	}
	if (rc) {
		pthread_mutex_lock(&p->lock);
		let_go(fk);
		pthread_mutex_unlock(&p->lock);
		return rc;
	}
	forks_freeze(p, true);
	rc = check_frozen(fk, f, err, errlen);
	if (!rc) {
		p->fork_pin = p->replayed;
		pthread_mutex_unlock(&p->lock);
		rc = make_devices(fk, f, &conf, ret_state, err, errlen);
		pthread_mutex_lock(&p->lock);
	}
	if (rc)
		p->fork_pin = PASSIVE_NONE;
	let_go(fk);
	thawed = forks_thaw(fk);
	if (!rc && thawed) {
		snprintf(err, errlen, "store %s: the replay does not go on through %s: %s", p->name,
			 fk->origin_path, strerror(-thawed));
		copystate_close(*ret_state);
		pthread_mutex_lock(&p->lock);
		p->fork_pin = PASSIVE_NONE;
		pthread_mutex_unlock(&p->lock);
		rc = thawed;
	}
	return rc;
}

static int finish(struct forks *fk, struct fork *f, struct copystate *cs, const struct fork_ask *ask,
		  char *err, size_t errlen)
{
	struct passive *p = fk->p;
	int rc = apply(fk, f, cs, ask);

	pthread_mutex_lock(&p->lock);
	p->fork_pin = PASSIVE_NONE;
	if (p->log_cuts != fk->cuts)
		rc = -EXDEV;	/* what was applied may be of another history */
	pthread_mutex_unlock(&p->lock);
	copystate_close(cs);
	if (!rc && fk->ops->state(f->dev, &f->info.used) == -ENOSPC)
		rc = -ENOSPC;
	if (!rc && !f->info.writable)
		rc = fk->ops->read_only(f->dev);
	if (rc == -ENOSPC || rc == -EIO)
		snprintf(err, errlen, "store %s: the point needs more than the %llu MiB for what is "
			 "overwritten, or the disk failed (dmesg); give more with --space", p->name,
			 (unsigned long long)f->info.space >> 20);
	else if (rc == -ECANCELED)
		snprintf(err, errlen, "store %s: given up, the copy is being activated or stopped", p->name);
	else if (rc == -EXDEV)
		snprintf(err, errlen, "store %s: its log was cut meanwhile by a new active; open it again",
			 p->name);
	else if (rc)
		snprintf(err, errlen, "store %s: the records up to LSN %llu cannot be applied: %s", p->name,
			 (unsigned long long)f->info.lsn, strerror(-rc));
	return rc;
}

int fork_open_one(struct forks *fk, const struct fork_ask *ask, struct fork_info *ret, char *err,
		    size_t errlen)
{
	struct passive *p = fk->p;
	struct copystate *cs = NULL;
	struct fork *f;
	int rc;

	if (fk->nr == FORKS_MAX) {
		snprintf(err, errlen, "store %s: %d forks are open here, the most there can be; close one",
			 p->name, FORKS_MAX);
		return -ENOSPC;
	}
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->info.writable = ask->writable;
	f->info.opening = true;
	f->info.space = ask->space ? ask->space : fork_space(p->conf.sectors * 512);
	f->info.space &= ~(uint64_t)4095;
	rc = choose_name(fk, ask, f->info.name, err, errlen);
	rc = rc ? rc : check_space(p, f->info.space, err, errlen);
	if (rc) {
		free(f);
		return rc;
	}
	snprintf(f->info.path, sizeof(f->info.path), "/dev/mapper/%s", f->info.name);
	pthread_mutex_lock(&fk->lock);
	fk->list[fk->nr++] = f;
	pthread_mutex_unlock(&fk->lock);
	rc = begin(fk, f, ask, &cs, err, errlen);
	rc = rc ? rc : finish(fk, f, cs, ask, err, errlen);
	if (rc) {
		log_warn("store=%s not opened at %s: %s", p->name, ask->at, err);
		undo(fk, f);
		return rc;
	}
	pthread_mutex_lock(&fk->lock);
	snprintf(f->info.path, sizeof(f->info.path), "%s", fk->ops->path(f->dev));
	f->info.opened_ns = clock_ns(CLOCK_REALTIME);
	f->info.opening = false;
	*ret = f->info;
	pthread_mutex_unlock(&fk->lock);
	log_notice("store=%s device=%s is open at lsn=%llu %s", p->name, f->info.path,
		   (unsigned long long)f->info.lsn, f->info.writable ? "writable" : "read-only");
	return 0;
}
