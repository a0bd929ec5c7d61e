// SPDX-License-Identifier: GPL-2.0
/*
 * The disk thread of an active copy, for all that may block on a disk:
 *  - spool: ring bytes that a copy still needs are written to segments before
 *    the ring recycles them, up to a quota, past which the copy that lags most is
 *    given up (it is caught up by regions), then the next;
 *  - feed: segments are read back for copies in segment mode.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/store/active_internal.h"

#define SPOOL_MIN	(64u << 10)	/* a batch is worth a durable write */
#define BATCH_MAX	(2u << 20)	/* half the least segment */
#define IDLE_MS		200

/* ---- spool --------------------------------------------------------------- */

/* Lock held. What the copy needs of the log begins here. */
static uint64_t needs_from(const struct window_copy *c)
{
	uint64_t from = WINDOW_NONE;

	if (c->in_use && !c->given_up)
		from = c->known ? c->durable : 0;
	return c->promised < from ? c->promised : from;
}

static uint64_t needed_from(const struct active *a)
{
	uint64_t low = active_commit(a);

	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		if (needs_from(&a->w.copy[i]) < low)
			low = needs_from(&a->w.copy[i]);
	return low;
}

bool spool_wanted(const struct active *a, uint64_t commit)
{
	uint64_t used = commit - a->w.freed;

	if (commit - a->spool_end < SPOOL_MIN || needed_from(a) >= commit)
		return false;
	return a->spooling ? used > a->view->size / 4 : used > a->view->size / 2;
}

/* Lock held, dropped for the work. True: something has gone. */
static bool spool_trim(struct active *a)
{
	uint64_t low = needed_from(a), from = low < a->w.freed ? low : a->w.freed;
	struct seglog_info before, after;

	if (low >= a->spool_end && a->spooling) {
		a->spooling = false;
		a->oldest = a->w.freed;
		log_notice("store=%s spool ends, every copy is in stream mode", a->name);
	}
	if (a->oldest < from)
		a->oldest = from;	/* before somebody is told otherwise */
	pthread_mutex_unlock(&a->lock);
	seglog_info(a->conf.spool, &before);
	seglog_truncate_before(a->conf.spool, low);
	seglog_info(a->conf.spool, &after);
	pthread_mutex_lock(&a->lock);
	return after.first_lsn != before.first_lsn;
}

/*
 * No room: the copy that needs the oldest part is caught up by regions instead.
 * The others keep their place; there may be room for them now.
 */
static void give_up_last(struct active *a, int why)
{
	uint64_t low = needed_from(a);

	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		struct window_copy *c = &a->w.copy[i];
		struct peer *p = &a->peers[i];

		if (needs_from(c) > low)
			continue;
		c->promised = WINDOW_NONE;	/* it is called again */
		if (!c->in_use || c->given_up)
			continue;
		c->given_up = true;
		p->close_wanted = true;
		log_warn("store=%s peer=%s spool %s: given up, it will be caught up by regions",
			 a->name, p->member, why == -EDQUOT ? "quota exceeded" : "has no room");
	}
	if (needed_from(a) < active_commit(a))
		return;
	a->oldest = a->w.freed;
	a->spooling = false;
	a->w.spooled = a->w.freed;
}

/*
 * Does the spool go on where it ended? It does not when the copies have overtaken
 * it: then nobody needs what it holds, and it begins anew at the ring's oldest
 * record.
 */
static bool spool_goes_on(const struct active *a)
{
	struct seglog_info info;

	seglog_info(a->conf.spool, &info);
	return info.end_lsn == a->spool_end;
}

/* Lock held, dropped for the write; nothing is freed meanwhile. */
static void spool_batch(struct active *a, uint64_t commit)
{
	struct seglog_ring ring = { .base = a->view->base, .size = a->view->size };
	bool goes_on = spool_goes_on(a);
	uint64_t from = goes_on ? a->spool_end : a->w.freed;
	int rc = 0;

	commit = seglog_piece(&ring, from, commit, BATCH_MAX);
	if (!a->spooling)
		log_notice("store=%s spool begins at lsn=%llu", a->name, (unsigned long long)from);
	a->spool_busy = true;
	pthread_mutex_unlock(&a->lock);
	if (!goes_on)
		rc = seglog_reset(a->conf.spool, from);
	rc = rc ? rc : seglog_append(a->conf.spool, &ring, from, commit);
	pthread_mutex_lock(&a->lock);
	a->spool_busy = false;
	if (rc) {
		if (rc != -ENOSPC && rc != -EDQUOT)
			active_set_error(a, "cannot write the spool: %s", strerror(-rc));
		if (!spool_trim(a))
			give_up_last(a, rc);
		active_kick(a);
		return;
	}
	if (!goes_on)
		a->oldest = from;
	a->spooling = true;
	a->w.spooled = commit;
	a->spool_end = commit;
	active_kick(a);
}

/* ---- feed ---------------------------------------------------------------- */

static struct peer *feed_asked(struct active *a)
{
	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		if (a->peers[i].feed_ask)
			return &a->peers[i];
	return NULL;
}

static void feed(struct active *a, struct peer *p)
{
	uint64_t at = p->sent;
	int64_t n;

	pthread_mutex_unlock(&a->lock);
	n = seglog_read(a->conf.spool, at, p->feed, FEED_BYTES);
	pthread_mutex_lock(&a->lock);
	p->feed_len = n ? n : -ENODATA;
	p->feed_off = 0;
	p->feed_ask = false;
	active_kick(a);
}

/* ---- thread ---------------------------------------------------------------- */

static void wait_work(struct active *a)
{
	struct timespec until = clock_after_ms(IDLE_MS);

	pthread_cond_clockwait(&a->cond, &a->lock, CLOCK_MONOTONIC, &until);
}

void *spool_main(void *arg)
{
	struct active *a = arg;
	uint64_t trimmed_ms = 0;
	bool fed = false;	/* spool and feed take turns: neither starves the other */
	struct peer *p;

	pthread_setname_np(pthread_self(), "dag-spool");
	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		uint64_t commit = active_commit(a), now = active_now_ms();

		if (a->spool_end < a->w.freed)
			a->spool_end = a->w.freed;
		p = feed_asked(a);
		if (now - trimmed_ms > 1000) {	/* first, or a busy spool never shrinks */
			trimmed_ms = now;
			spool_trim(a);
		} else if (p && (!fed || !spool_wanted(a, commit))) {
			feed(a, p);
			fed = true;
		} else if (spool_wanted(a, commit)) {
			spool_batch(a, commit);
			fed = false;
		} else {
			wait_work(a);
		}
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}
