// SPDX-License-Identifier: GPL-2.0
/*
 * The forks of a passive copy: who may do something with them, what the replay writes to
 * while there are any, closing them, and what becomes of them when the copy stops.
 */
#include "daemon/store/passive_fork.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/store/passive_fork_int.h"

#define END_WAIT_MS	500	/* a copy that is stopped waits for its forks so long */
#define SPACE_MAX	(1ull << 30)

bool fork_name_valid(const char *name)
{
	static const char *const chars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "0123456789._-+@";
	size_t len = strlen(name);

	return len && len < FORK_NAME_BYTES && strspn(name, chars) == len && name[0] != '.' &&
	       name[0] != '-';
}

uint64_t fork_space(uint64_t store_bytes)
{
	uint64_t most = store_bytes + store_bytes / 64 + FORK_SPACE_MIN;	/* nothing needs more */

	return most < SPACE_MAX ? most : SPACE_MAX;
}

/* ---- life --------------------------------------------------------------------- */

int forks_create(struct passive *p, const struct forkdev_ops *ops, struct forks **ret)
{
	struct forks *fk = calloc(1, sizeof(*fk));

	if (!fk)
		return -ENOMEM;
	fk->ops = ops;
	fk->p = p;
	fk->refs = 1;
	memcpy(fk->uuid, p->conf.uuid, 16);
	pthread_mutex_init(&fk->lock, NULL);
	pthread_cond_init(&fk->cond, NULL);
	*ret = fk;
	return 0;
}

static void forks_free(struct forks *fk)
{
	pthread_mutex_destroy(&fk->lock);
	pthread_cond_destroy(&fk->cond);
	free(fk);
}

struct forks *passive_forks(struct passive *p)
{
	struct forks *fk = p->forks;

	if (fk) {
		pthread_mutex_lock(&fk->lock);
		fk->refs++;
		pthread_mutex_unlock(&fk->lock);
	}
	return fk;
}

void forks_put(struct forks *fk)
{
	bool last;

	if (!fk)
		return;
	pthread_mutex_lock(&fk->lock);
	last = !--fk->refs;
	pthread_mutex_unlock(&fk->lock);
	if (last)
		forks_free(fk);
}

/* 0, or why this caller may not begin. */
static int enter(struct forks *fk)
{
	int rc = 0;

	pthread_mutex_lock(&fk->lock);
	if (fk->shut)
		rc = -ESHUTDOWN;
	else if (fk->busy)
		rc = -EBUSY;
	else
		fk->busy = true;
	pthread_mutex_unlock(&fk->lock);
	return rc;
}

static void leave(struct forks *fk)
{
	pthread_mutex_lock(&fk->lock);
	fk->busy = false;
	pthread_cond_broadcast(&fk->cond);
	pthread_mutex_unlock(&fk->lock);
}

void forks_hurry(struct forks *fk)
{
	if (fk && atomic_load(&fk->holds))
		atomic_store(&fk->hurry, true);
}

/* Before the passive stops anything: no call is at work in it afterwards, none begins. */
void forks_shut(struct forks *fk)
{
	if (!fk)
		return;
	pthread_mutex_lock(&fk->lock);
	fk->shut = true;
	atomic_store(&fk->hurry, true);
	while (fk->busy)
		pthread_cond_wait(&fk->cond, &fk->lock);
	pthread_mutex_unlock(&fk->lock);
}

void fork_free(struct forks *fk, struct fork *f)
{
	int rc = f->dev ? fk->ops->remove(f->dev, true) : 0;

	if (rc)
		log_err("device=%s cannot be removed: %s", f->info.path, strerror(-rc));
	if (f->dev)
		fk->ops->free(f->dev);
	free(f);
}

static void origin_down(struct forks *fk)
{
	int rc = fk->ops->origin_down(fk->uuid);

	if (rc)
		log_err("device=%s cannot be removed: %s", fk->origin_path, strerror(-rc));
}

static void *end_main(void *arg)
{
	struct fork *list[FORKS_MAX];
	struct forks *fk = arg;
	unsigned n;

	pthread_mutex_lock(&fk->lock);
	n = fk->nr;
	memcpy(list, fk->list, sizeof(list));
	fk->nr = 0;
	pthread_mutex_unlock(&fk->lock);
	for (unsigned i = 0; i < n; i++)
		fork_free(fk, list[i]);
	if (fk->origin)
		origin_down(fk);
	pthread_mutex_lock(&fk->lock);
	fk->ended = true;
	pthread_cond_broadcast(&fk->cond);
	pthread_mutex_unlock(&fk->lock);
	forks_put(fk);
	return NULL;
}

/*
 * The replay has stopped for good: devices go by a thread of their own, which is waited
 * for a moment only. The copy's device is right without them.
 */
void forks_end(struct forks *fk)
{
	struct timespec until = clock_after_ms(END_WAIT_MS);
	pthread_t thread;
	int rc = 0;

	if (!fk)
		return;
	pthread_mutex_lock(&fk->lock);
	fk->p = NULL;
	for (unsigned i = 0; i < fk->nr; i++)
		log_warn("device=%s lsn=%llu is closed: its copy is stopped or activated",
			 fk->list[i]->info.path, (unsigned long long)fk->list[i]->info.lsn);
	if (fk->nr || fk->origin) {
		fk->refs++;
		pthread_mutex_unlock(&fk->lock);
		rc = pthread_create(&thread, NULL, end_main, fk);
		if (rc)
			end_main(fk);
		else
			pthread_detach(thread);
		pthread_mutex_lock(&fk->lock);
		rc = 0;
		while (!rc && !fk->ended)
			rc = pthread_cond_clockwait(&fk->cond, &fk->lock, CLOCK_MONOTONIC, &until);
	}
	pthread_mutex_unlock(&fk->lock);
	forks_put(fk);
}

struct fork *forks_find(struct forks *fk, const char *name)
{
	for (unsigned i = 0; i < fk->nr; i++)
		if (!strcmp(fk->list[i]->info.name, name))
			return fk->list[i];
	return NULL;
}

void forks_unlist(struct forks *fk, struct fork *f)
{
	pthread_mutex_lock(&fk->lock);
	for (unsigned i = 0; i < fk->nr; i++)
		if (fk->list[i] == f)
			fk->list[i] = fk->list[--fk->nr];
	pthread_mutex_unlock(&fk->lock);
}

/* ---- the replay's device --------------------------------------------------------- */

bool forks_freeze(struct passive *p, bool wait)
{
	if (wait)
		pthread_mutex_lock(&p->conn_lock);
	else if (pthread_mutex_trylock(&p->conn_lock))
		return false;
	pthread_mutex_lock(&p->lock);
	if (!wait && p->log_busy) {
		pthread_mutex_unlock(&p->lock);
		pthread_mutex_unlock(&p->conn_lock);
		return false;
	}
	p->quiesce = true;
	while (p->log_busy)
		pthread_cond_wait(&p->cond, &p->lock);
	passive_stop_replay(p);
	return true;
}

int forks_thaw(struct forks *fk)
{
	struct passive *p = fk->p;
	int rc;

	p->target = fk->origin ? fk->origin_path : NULL;
	rc = passive_resume_replay(p);
	if (!rc && fk->stuck)
		p->error = 0;
	fk->stuck = rc;	/* the next tick tries again, too */
	p->quiesce = false;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
	pthread_mutex_unlock(&p->conn_lock);
	return rc;
}

static unsigned alive(const struct forks *fk)
{
	unsigned n = 0;

	for (unsigned i = 0; i < fk->nr; i++)
		n += fk->list[i]->dev != NULL;
	return n;
}

void forks_settle(struct forks *fk, bool wait)
{
	if (!fk->origin || alive(fk))
		return;
	if (!forks_freeze(fk->p, wait))
		return;
	pthread_mutex_lock(&fk->lock);
	fk->origin = false;
	pthread_mutex_unlock(&fk->lock);
	forks_thaw(fk);
	origin_down(fk);
}

/* ---- open, close, look ------------------------------------------------------------ */

static int cannot_enter(int rc, char *err, size_t errlen)
{
	snprintf(err, errlen, rc == -EBUSY ? "another fork is being opened or closed; try again" :
		 "the copy is being activated or stopped");
	return rc;
}

int forks_open(struct forks *fk, const struct fork_ask *ask, struct fork_info *ret, char *err,
	       size_t errlen)
{
	int rc = enter(fk);

	if (rc)
		return cannot_enter(rc, err, errlen);
	err[0] = '\0';
	rc = fork_open_one(fk, ask, ret, err, errlen);
	leave(fk);
	return rc;
}

static int close_one(struct forks *fk, struct fork *f, bool force)
{
	int rc = f->dev ? fk->ops->remove(f->dev, force) : 0;

	if (rc)
		return rc;
	log_notice("store=%s device=%s is closed", fk->p->name, f->info.path);
	if (f->dev)
		fk->ops->free(f->dev);
	forks_unlist(fk, f);
	free(f);
	forks_settle(fk, true);
	return 0;
}

int forks_close(struct forks *fk, const char *name, bool force, char *err, size_t errlen)
{
	struct fork *f;
	int rc = enter(fk);

	if (rc)
		return cannot_enter(rc, err, errlen);
	f = forks_find(fk, name);
	if (!f) {
		rc = -ENOENT;
		snprintf(err, errlen, "store %s: no fork %s is open here; see dagctl copy status --full",
			 fk->p->name, name);
	} else {
		rc = close_one(fk, f, force);
		if (rc)
			snprintf(err, errlen, "%s: %s", f->info.path, rc == -EBUSY ? "it is in use; unmount "
				 "it, or pass --force" : strerror(-rc));
	}
	leave(fk);
	return rc;
}

unsigned forks_list(struct forks *fk, struct fork_info *ret, unsigned max)
{
	unsigned n;

	pthread_mutex_lock(&fk->lock);
	for (n = 0; n < fk->nr && n < max; n++)
		ret[n] = fk->list[n]->info;
	pthread_mutex_unlock(&fk->lock);
	return n;
}

/* Once a second: a fork that lost something is let go, and said so. */
void forks_tick(struct forks *fk)
{
	if (!fk || (!fk->nr && !fk->origin) || enter(fk))
		return;
	for (unsigned i = 0; i < fk->nr; i++) {
		struct fork *f = fk->list[i];
		uint64_t used = f->info.used;
		int rc = f->dev ? fk->ops->state(f->dev, &used) : 0;

		pthread_mutex_lock(&fk->lock);
		f->info.used = used;
		f->info.error = rc ? rc : f->info.error;
		pthread_mutex_unlock(&fk->lock);
		if (!rc)
			continue;
		log_err("store=%s device=%s is lost: %s", fk->p->name, f->info.path, rc == -ENOSPC ?
			"more was overwritten than it has space for" : strerror(-rc));
		if (!fk->ops->remove(f->dev, true)) {
			fk->ops->free(f->dev);
			f->dev = NULL;
		}
	}
	forks_settle(fk, false);
	leave(fk);
}
