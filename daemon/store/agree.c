// SPDX-License-Identifier: GPL-2.0
/*
 * The thread of an active copy that asks the group: changes of the in-sync set, the end
 * of what was asked for of one seed, and the next epoch. The engine may take its time, or
 * not answer at all; nobody but the commits that must wait for the answer waits with it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/store/active_internal.h"
#include "daemon/store/local.h"

#define IDLE_MS	200
#define ASK_MS	500	/* between two questions for an epoch */

/* ---- in-sync set ---------------------------------------------------------- */

struct sync_edit {
	const char *member;
	bool in_sync;
};

static int edit_sync(struct group_store *st, void *ctx)
{
	const struct sync_edit *e = ctx;
	struct group_copy *cp = group_find_copy(st, e->member);

	if (!cp)
		return -ENOENT;
	cp->in_sync = e->in_sync;
	return 0;
}

static struct peer *txn_asked(struct active *a)
{
	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		if (a->peers[i].txn)
			return &a->peers[i];
	return NULL;
}

/*
 * A1: acks wait for a copy before the state names it and until the state does not
 * any more. Whether a failed change has landed is not known: nothing changes here
 * then, and it is asked for again.
 */
static void change_sync(struct active *a, struct peer *p)
{
	struct sync_edit e = { .in_sync = p->txn > 0 };
	char member[64], err[160] = "";
	uint32_t epoch = a->conf.epoch;
	int rc;

	memcpy(member, p->member, sizeof(member));
	e.member = member;
	pthread_mutex_unlock(&a->lock);
	rc = a->conf.engine->ops->txn_store(a->conf.engine, a->conf.uuid, epoch, edit_sync, &e, err,
					    sizeof(err));
	pthread_mutex_lock(&a->lock);
	p->txn = 0;
	if (rc) {
		active_set_error(a, "in-sync set: %s", err[0] ? err : strerror(-rc));
		return;
	}
	if (!strcmp(member, p->member)) {
		a->w.copy[p->slot].in_sync = e.in_sync;
		a->w.copy[p->slot].joining = false;
	}
	log_notice("store=%s peer=%s %s the in-sync set", a->name, member,
		   e.in_sync ? "joins" : "leaves");
	active_kick(a);
}

/* ---- seeds ----------------------------------------------------------------- */

struct seed_edit {
	const char *member;
	uint32_t request;
};

static int edit_seed_over(struct group_store *st, void *ctx)
{
	const struct seed_edit *e = ctx;
	struct group_copy *cp = group_find_copy(st, e->member);

	if (cp && cp->seed_request == e->request)
		cp->seed_rate = 0;
	return 0;
}

/* One whose seed has begun and ended since its rate was agreed. */
static struct peer *seed_over(struct active *a)
{
	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		struct peer *p = &a->peers[i];

		if (p->member[0] && p->seed_rate && p->seed_begun && p->state == PEER_STREAM &&
		    !a->w.copy[i].missing)
			return p;
	}
	return NULL;
}

static void end_seed(struct active *a, struct peer *p)
{
	char member[64], err[160] = "";
	struct seed_edit e = { .member = member, .request = p->seed_request };
	uint32_t epoch = a->conf.epoch;
	int rc;

	memcpy(member, p->member, sizeof(member));
	a->ask_ms = active_now_ms() + ASK_MS;
	pthread_mutex_unlock(&a->lock);
	rc = a->conf.engine->ops->txn_store(a->conf.engine, a->conf.uuid, epoch, edit_seed_over, &e,
					    err, sizeof(err));
	pthread_mutex_lock(&a->lock);
	if (rc)
		log_warn("store=%s peer=%s the rate of its seed stays agreed: %s", a->name, member,
			 err[0] ? err : strerror(-rc));
	else if (!strcmp(member, p->member) && p->seed_request == e.request)
		p->seed_rate = 0;
}

/* ---- epoch ------------------------------------------------------------------ */

/*
 * A copy promised a higher epoch to somebody who wanted to take over, and takes
 * nothing under ours. If the store is still ours by the agreed state, that take-over
 * lost: the next epoch is asked for, and begins when it is agreed (local_epoch.c).
 */
static void ask_epoch(struct active *a)
{
	uint32_t epoch = a->conf.epoch;
	char err[160] = "";
	int rc;

	a->ask_ms = active_now_ms() + ASK_MS;
	pthread_mutex_unlock(&a->lock);
	rc = local_ask_epoch(a->conf.engine, a->conf.uuid, epoch, a->self, err, sizeof(err));
	pthread_mutex_lock(&a->lock);
	if (rc)
		log_warn("store=%s epoch=%u a copy promised epoch %u, ours cannot be raised: %s",
			 a->name, epoch, a->promised, err[0] ? err : strerror(-rc));
	else
		log_notice("store=%s epoch=%u a copy promised epoch %u, the next is agreed", a->name,
			   epoch, a->promised);
}

/* ---- thread ---------------------------------------------------------------- */

static void wait_work(struct active *a)
{
	struct timespec until = clock_after_ms(IDLE_MS);

	pthread_cond_clockwait(&a->cond, &a->lock, CLOCK_MONOTONIC, &until);
}

void *agree_main(void *arg)
{
	struct active *a = arg;
	struct peer *p;

	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		p = txn_asked(a);
		if (p)
			change_sync(a, p);
		else if (a->promised > a->conf.epoch && !a->turning &&
			 active_now_ms() >= a->ask_ms)
			ask_epoch(a);
		else if (active_now_ms() >= a->ask_ms && (p = seed_over(a)))
			end_seed(a, p);
		else
			wait_work(a);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}
