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
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store/passive_fork_int.h"
#include "daemon/store/passive_point.h"

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

/* The replay holds where it is. */
static int hold(struct forks *fk, struct point_range *ret, char *err, size_t errlen)
{
	struct passive *p = fk->p;
	int rc;

	pthread_mutex_lock(&fk->lock);
	atomic_store(&fk->hurry, fk->shut);
	atomic_store(&fk->holds, true);
	pthread_mutex_unlock(&fk->lock);
	pthread_mutex_lock(&p->lock);
	rc = point_check_whole(p, err, errlen);
	if (!rc) {
		fk->cuts = p->log_cuts;
		p->fork_hold = p->replayed;
		point_range_fill(p, ret);
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
	struct point_range r = { 0 };
	int rc = point_check_whole(p, err, errlen);

	if (rc)
		return rc;
	if (atomic_load(&fk->hurry)) {
		snprintf(err, errlen, "store %s: given up, the copy is being activated or stopped", p->name);
		return -ECANCELED;
	}
	point_range_fill(p, &r);
	return r.from <= f->info.lsn ? 0 :
	       point_out_of_range(&r, "the point", "is replayed already", err, errlen);
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
	struct point_range r = { 0 };
	int rc = hold(fk, &r, err, errlen), thawed;

	rc = rc ? rc : point_find(&r, ask->at, &fk->hurry, &pick, err, errlen);
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
