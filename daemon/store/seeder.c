// SPDX-License-Identifier: GPL-2.0
/*
 * Seeding: regions of the device go into the log, read under the tap's range
 * lock, between SEED_BEGIN and SEED_END. One session runs at a time; copies that
 * call while it runs wait for the next, which covers them all. It goes no faster
 * than the copies, waits for one whose link is cut, and ends when all that it was
 * for are gone: regions that nobody takes would only drive the log on, until no
 * copy that calls finds what it was told when it called.
 *
 * The set is taken after SEED_BEGIN is in the log: a write before it has left
 * its intent bit, a write after it is in the log. So nothing slips between.
 *
 * Of everything, what the file system on the store does not use is left out: it goes into
 * the log as zeroes and is not read. It is asked after SEED_BEGIN too, and the tap refuses
 * what was written since (Documentation/design.md).
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "daemon/log.h"
#include "daemon/store/active_internal.h"

#define FULL_WAIT_MS	5	/* the ring leaves room to writers first */
#define STILL_MS	5000	/* a copy whose acks did not move for that long */
#define RETRY_MS	1000
#define PACE_MS		50	/* a rate that changes, or an end, is noticed after */
#define REGIONS_CALL	(8u << 20)	/* bits per ioctl */

struct session {
	struct active *a;
	uint64_t since, first;
	uint64_t regions, region_sectors;
	uint8_t *bits;
	uint8_t *told;		/* what copies told us of their branches; the same all along */
	uint64_t total;
	uint8_t *unused;	/* regions that no file system uses; none: all are read */
	uint64_t begin;		/* end of SEED_BEGIN */
	struct pace pace;
	bool settles;		/* commits in the tap wait for its end */
};

void seeder_want(struct active *a, uint64_t since, uint64_t first)
{
	struct copystate_data d;

	copystate_get(a->conf.state, &d);
	if (since && since < a->bits_gone)
		log_warn("store=%s a copy has lost log that it had acknowledged, behind lsn=%llu: it is seeded "
			 "in full", a->name, (unsigned long long)since);
	if (since < d.bits_since_lsn || since < a->bits_gone)
		since = 0;	/* the bits do not go back that far */
	if (!a->want.pending) {
		a->want = (struct seed_want){ true, since, first };
	} else {
		a->want.since = since < a->want.since ? since : a->want.since;
		a->want.first = first < a->want.first ? first : a->want.first;
	}
	pthread_cond_broadcast(&a->cond);
}

uint64_t seeder_first(const struct active *a, const struct frame_welcome *w)
{
	return w->resume_lsn > a->w.gap ? w->seed_cursor : 0;
}

/* A set that a session was begun without is mended by it only if it is of everything. */
static bool includes(const struct active *a, uint64_t set)
{
	bool found = !set || !a->seed_since;

	for (unsigned i = 0; i < SEED_SETS; i++)
		found |= a->seed_sets[i] == set;
	return found;
}

bool seeder_serves(const struct active *a, const struct frame_welcome *w, uint64_t set, bool whole)
{
	static const uint8_t no_id[16];
	uint64_t since = w->resume == DAG_RESUME_FULL ? 0 : w->have_lsn;

	if (a->seed_begin < a->w.gap)
		return false;	/* the gap ended what a copy had of it */
	if (whole && a->seed_leaves_out)
		return false;
	/* Its SEED_END is on the way: this one was begun, or ended, in its log. */
	if (memcmp(a->seed_id, no_id, 16) && !memcmp(w->seed, a->seed_id, 16))
		return true;
	return a->seed_runs && a->seed_begin >= w->resume_lsn && a->seed_since <= since &&
	       includes(a, set) && a->seed_first <= seeder_first(a, w);
}

static bool stopping(struct active *a)
{
	bool stop;

	pthread_mutex_lock(&a->lock);
	stop = a->stop;
	pthread_mutex_unlock(&a->lock);
	return stop;
}

static void nap(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

static bool has(const uint8_t *bits, uint64_t r)
{
	return bits[r / 8] >> r % 8 & 1;
}

/* The set: everything, or what the tap says has changed since, and what copies told. */
static int take_set(struct session *s)
{
	struct active *a = s->a;
	size_t bytes = (s->regions + 7) / 8;
	int rc;

	if (!s->since) {
		memset(s->bits, 0xff, bytes);
	} else {
		for (uint64_t r = 0; r < s->regions; r += REGIONS_CALL) {
			uint64_t n = s->regions - r < REGIONS_CALL ? s->regions - r : REGIONS_CALL;
			struct dagtap_regions rg = {
				.first = r,
				.count = n,
				.since_lsn = s->since,
				.bitmap = (uintptr_t)(s->bits + r / 8),
			};

			rc = a->conf.ops->regions(a->conf.tap, &rg);
			if (rc)
				return rc;
		}
		for (size_t i = 0; i < bytes; i++)
			s->bits[i] |= s->told[i];
	}
	s->total = 0;
	for (uint64_t r = 0; r < s->regions; r++)
		if (has(s->bits, r) && (r + 1) * s->region_sectors > s->first)
			s->total++;
	s->total *= s->region_sectors * DAGTAP_SECTOR;
	return 0;
}

static int put_mark(struct session *s, uint32_t kind, uint64_t *ret_lsn)
{
	struct active *a = s->a;
	struct dagtap_state_payload sp = {
		.from_lsn = htole64(s->since),
		.bytes = htole64(s->total),
		.arg = htole64(s->first),
	};
	struct dagtap_mark mk = {
		.type = DAGTAP_REC_STATE,
		.kind = kind,
		.bytes = sizeof(sp),
	};
	int rc;

	memcpy(sp.uuid, a->seed_id, 16);
	for (unsigned i = 0; i < SEED_SETS && kind == DAGTAP_STATE_SEED_BEGIN; i++)
		sp.sets[i] = htole64(a->seed_sets[i]);
	memcpy(mk.payload, &sp, sizeof(sp));
	for (;;) {
		rc = a->conf.ops->mark(a->conf.tap, &mk);
		if (rc != -EAGAIN || stopping(a))
			break;
		nap(FULL_WAIT_MS);
	}
	if (!rc)
		*ret_lsn = mk.lsn;
	return rc;
}

/*
 * Lock held. 0: go on, -EAGAIN: wait, -ECANCELED: nobody is left whom the session
 * is for, or only some that stand still while others call. No copy may lose its
 * place in the log for the sake of a seed, so all that move are waited for.
 */
static int seed_pace(const struct active *a)
{
	uint64_t commit = active_commit(a), now = active_now_ms();
	bool any = false, near = false, behind = false;

	for (unsigned i = 0; i < WINDOW_COPIES_MAX; i++) {
		const struct window_copy *c = &a->w.copy[i];
		const struct peer *p = &a->peers[i];
		bool ours = c->missing && p->seeded;
		bool far = commit - c->durable > a->view->size / 8 * 3;

		if (!c->in_use || c->given_up)
			continue;
		any |= ours;
		if (p->state != PEER_STREAM)
			continue;
		near |= ours && !far;
		behind |= far && now - p->moved_ms < STILL_MS;
	}
	if (!any || (!near && !behind && a->want.pending))
		return -ECANCELED;
	return near && !behind ? 0 : -EAGAIN;
}

uint64_t seeder_rate(const struct active *a)
{
	uint64_t lowest = 0;

	for (unsigned i = 0; i < WINDOW_COPIES_MAX; i++) {
		const struct peer *p = &a->peers[i];
		uint64_t rate = p->seed_rate ? p->seed_rate : a->seed_rate;

		if (p->seeded && rate && (!lowest || rate < lowest))
			lowest = rate;
	}
	return lowest == GROUP_RATE_NONE ? 0 : lowest;
}

/* Lock held. A person's limit is not for commits that wait for the seed's end. */
static uint64_t limit_wait_ms(struct session *s)
{
	uint64_t now = active_now_ms();
	bool waited_for = s->settles && s->a->mode != DAGTAP_MODE_ASYNC;

	pace_set(&s->pace, waited_for ? 0 : seeder_rate(s->a), now);
	return pace_wait_ms(&s->pace, now);
}

static int keep_pace(struct session *s)
{
	struct active *a = s->a;
	uint64_t wait;
	int rc;

	for (;;) {
		pthread_mutex_lock(&a->lock);
		rc = a->stop ? -ESHUTDOWN : seed_pace(a);
		wait = rc ? FULL_WAIT_MS : limit_wait_ms(s);
		pthread_mutex_unlock(&a->lock);
		if (rc != -EAGAIN && (rc || !wait))
			return rc;
		nap(wait < PACE_MS ? wait : PACE_MS);
	}
}

static void count_done(struct active *a, uint64_t bytes, bool read)
{
	pthread_mutex_lock(&a->lock);
	a->seed_done += bytes;
	a->seed_unused += read ? 0 : bytes;
	meter_note(&a->seed_meter, a->seed_done, active_now_ms());
	pthread_mutex_unlock(&a->lock);
}

/*
 * A piece of a region of which nobody needs what it held at *since; 0: somebody may. When
 * the tap says that it was written since, the rest of the region is read like any other.
 */
static int log_piece(struct session *s, uint64_t sector, uint64_t n, uint64_t *since)
{
	struct active *a = s->a;
	uint32_t bytes = (uint32_t)(n * DAGTAP_SECTOR);
	uint64_t lsn;
	int rc;

	if (*since) {
		rc = a->conf.ops->unused(a->conf.tap, sector, bytes, *since, &lsn);
		if (!rc) {
			*since = lsn;
			count_done(a, bytes, false);
			return 0;
		}
		if (rc != -EBUSY && rc != -EINVAL)
			return rc;
		*since = 0;
	}
	rc = a->conf.ops->resync(a->conf.tap, sector, bytes, &lsn);
	if (rc)
		return rc;
	pace_take(&s->pace, bytes);
	count_done(a, bytes, true);
	return 0;
}

static int seed_extent(struct session *s, uint64_t sector, uint64_t end, bool unused)
{
	uint64_t since = unused ? s->begin : 0;
	int rc;

	while (sector < end) {
		uint64_t n;

		rc = keep_pace(s);
		if (rc)
			return rc;
		n = pace_piece(&s->pace, DAGTAP_PAYLOAD_MAX) / DAGTAP_SECTOR;
		if (n > end - sector)
			n = end - sector;
		rc = log_piece(s, sector, n, &since);
		if (rc == -EAGAIN) {
			nap(FULL_WAIT_MS);
			continue;
		}
		if (rc)
			return rc;
		sector += n;
	}
	return 0;
}

static int seed_regions(struct session *s)
{
	for (uint64_t r = 0; r < s->regions; r++) {
		uint64_t from = r * s->region_sectors, to = from + s->region_sectors;
		int rc;

		if (!has(s->bits, r) || to <= s->first)
			continue;
		if (to > s->a->conf.sectors)
			to = s->a->conf.sectors;
		rc = seed_extent(s, from, to, has(s->unused, r));
		if (rc)
			return rc;
	}
	return 0;
}

/* Lock held. One of those whom the session is for is to have everything. */
static bool whole_wanted(const struct active *a)
{
	bool wanted = false;

	for (unsigned i = 0; i < WINDOW_COPIES_MAX; i++)
		wanted |= a->peers[i].seeded && a->peers[i].seed_whole;
	return wanted;
}

/*
 * Not for the sake of commits that wait: the file system may be what waits for them. Who
 * joins the session later is told whether it leaves something out (seeder_serves()).
 */
static void ask_unused(struct session *s)
{
	struct active *a = s->a;
	bool known;

	pthread_mutex_lock(&a->lock);
	known = !s->since && !s->settles && !whole_wanted(a);
	pthread_mutex_unlock(&a->lock);
	if (known)
		known = !a->conf.ops->free_regions(a->conf.tap, s->unused, a->seed_cancel);
	pthread_mutex_lock(&a->lock);
	a->seed_leaves_out = known && !whole_wanted(a);
	if (!a->seed_leaves_out)
		memset(s->unused, 0, (s->regions + 7) / 8);
	pthread_mutex_unlock(&a->lock);
}

static void new_id(struct active *a)
{
	if (getrandom(a->seed_id, 16, 0) != 16)
		memcpy(a->seed_id, &a->w.commit, 8);
}

/*
 * Lock held. Whom the session is for: everybody who misses something and is there, but
 * for those whose sets have no room in SEED_BEGIN. They wait for the next one.
 */
static bool gather(struct session *s)
{
	struct active *a = s->a;
	unsigned sets = 0;
	bool all = true;

	memset(a->seed_sets, 0, sizeof(a->seed_sets));
	for (unsigned i = 0; i < WINDOW_COPIES_MAX; i++) {
		struct peer *p = &a->peers[i];

		p->seeded = p->state == PEER_STREAM && a->w.copy[i].missing;
		p->seed_begun |= p->seeded;
		if (!p->seeded || !p->set.id || !s->since)
			continue;
		if (sets == SEED_SETS) {
			p->seeded = all = false;
			continue;
		}
		regionset_merge(&p->set, s->told, s->regions, a->conf.region_bytes);
		a->seed_sets[sets++] = p->set.id;
	}
	return all;
}

static void begin(struct session *s)
{
	struct active *a = s->a;

	pthread_mutex_lock(&a->lock);
	s->since = a->want.since;
	a->want.pending = !gather(s);
	s->first = a->want.first & ~(s->region_sectors - 1);
	new_id(a);
	a->seed_since = s->since;
	a->seed_first = s->first;
	a->seed_done = a->seed_unused = 0;
	a->seed_leaves_out = false;
	a->seed_start_ms = active_now_ms();
	meter_begin(&a->seed_meter, a->seed_start_ms);
	pthread_mutex_unlock(&a->lock);
}

/* Lock held. Somebody is there to take it. */
static bool seed_wanted(const struct active *a)
{
	for (unsigned i = 0; i < WINDOW_COPIES_MAX; i++)
		if (a->want.pending && a->w.copy[i].in_use && a->w.copy[i].missing &&
		    a->peers[i].state == PEER_STREAM)
			return true;
	return false;
}

/* The session ended early. What nobody waits for any more is not begun again. */
static void give_up_session(struct session *s, int why)
{
	struct active *a = s->a;
	bool again = why != -ECANCELED;

	memset(a->seed_id, 0, 16);
	for (unsigned i = 0; i < WINDOW_COPIES_MAX; i++) {
		const struct window_copy *c = &a->w.copy[i];

		again |= c->in_use && !c->given_up && c->missing && a->peers[i].seeded;
		a->peers[i].seeded = false;
	}
	if (again)
		seeder_want(a, s->since, s->first);
	log_warn("store=%s seed ends early, %s: %s", a->name,
		 again ? "begins again" : "no copy waits for it", strerror(-why));
}

/*
 * Commits that were made while the log was given up wait in the tap for the next
 * SEED_END. With no copy to be seeded there is none, so here is one by itself: of a
 * seed that never began, which no copy takes for its own, and acked by the same
 * rule as any commit.
 */
static int settle_commits(struct active *a)
{
	struct session s = { .a = a };
	uint64_t lsn;
	int rc;

	pthread_mutex_lock(&a->lock);
	new_id(a);
	pthread_mutex_unlock(&a->lock);
	rc = put_mark(&s, DAGTAP_STATE_SEED_END, &lsn);
	pthread_mutex_lock(&a->lock);
	memset(a->seed_id, 0, 16);
	pthread_mutex_unlock(&a->lock);
	return rc;
}

static int run_session(struct active *a, bool settles)
{
	struct session s = {
		.a = a,
		.settles = settles,
		.region_sectors = a->conf.region_bytes / DAGTAP_SECTOR,
	};
	uint64_t lsn;
	int rc;

	s.regions = (a->conf.sectors + s.region_sectors - 1) / s.region_sectors;
	s.bits = calloc(3, (s.regions + 7) / 8 + 8);
	if (!s.bits)
		return -ENOMEM;
	s.told = s.bits + (s.regions + 7) / 8 + 8;
	s.unused = s.told + (s.regions + 7) / 8 + 8;
	begin(&s);
	rc = take_set(&s);	/* for the total only; see the top of the file */
	rc = rc ? rc : put_mark(&s, DAGTAP_STATE_SEED_BEGIN, &lsn);
	if (!rc) {
		pthread_mutex_lock(&a->lock);
		a->seed_runs = true;
		a->seeds++;
		a->seed_begin = lsn - sizeof(struct dagtap_rec) - sizeof(struct dagtap_state_payload);
		a->seed_total = s.total;
		pthread_mutex_unlock(&a->lock);
		log_notice("store=%s seed begins since lsn=%llu bytes=%llu", a->name,
			   (unsigned long long)s.since, (unsigned long long)s.total);
		s.begin = lsn;
		rc = take_set(&s);
		if (!rc)
			ask_unused(&s);
	}
	rc = rc ? rc : seed_regions(&s);
	rc = rc ? rc : put_mark(&s, DAGTAP_STATE_SEED_END, &lsn);
	free(s.bits);
	pthread_mutex_lock(&a->lock);
	a->seed_runs = false;
	if (rc && !a->stop)
		give_up_session(&s, rc);
	pthread_mutex_unlock(&a->lock);
	if (!rc)
		log_notice("store=%s seed ends bytes=%llu unused=%llu ms=%llu", a->name,
			   (unsigned long long)a->seed_done, (unsigned long long)a->seed_unused,
			   (unsigned long long)(active_now_ms() - a->seed_start_ms));
	return rc;
}

void *seeder_main(void *arg)
{
	struct active *a = arg;

	pthread_setname_np(pthread_self(), "dag-seed");
	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		bool wanted = seed_wanted(a), mark = a->seed_mark;
		int rc;

		if (!wanted && !mark) {
			pthread_cond_wait(&a->cond, &a->lock);
			continue;
		}
		a->seed_mark = false;
		pthread_mutex_unlock(&a->lock);
		rc = wanted ? run_session(a, mark) : settle_commits(a);
		if (rc && rc != -ECANCELED && !stopping(a))
			nap(RETRY_MS);
		pthread_mutex_lock(&a->lock);
		a->seed_mark |= mark && rc;
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}
