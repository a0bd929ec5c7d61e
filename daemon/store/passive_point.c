// SPDX-License-Identifier: GPL-2.0
#include "daemon/store/passive_point.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"
#include "daemon/log/logdump.h"
#include "daemon/store/passive_internal.h"

#define WALK_MS_MAX	20000	/* the replay holds for so long at most */
#define GO_MS		60000	/* of an activation; renewed while it waits */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static uint64_t boot_ms(void)
{
	return clock_ns(CLOCK_BOOTTIME) / 1000000;
}

/* ---- which points there are ------------------------------------------------------- */

int point_check_whole(const struct passive *p, char *err, size_t errlen)
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
	snprintf(err, errlen, "store %s: the copy here %s; that needs one that is Healthy, see dagctl copy "
		 "status %s", p->name, why, p->name);
	return -EUCLEAN;
}

void point_range_fill(const struct passive *p, struct point_range *ret)
{
	snprintf(ret->name, sizeof(ret->name), "%s", p->name);
	snprintf(ret->dir, sizeof(ret->dir), "%s", p->log_dir);
	memcpy(ret->uuid, p->conf.uuid, 16);
	ret->from = p->replayed;
	ret->from_ns = p->replayed_time_ns;
	ret->to = p->durable;
	ret->known_ns = p->connected && p->received >= p->active_end ? clock_ns(CLOCK_REALTIME) :
								       p->inspected_time_ns;
	ret->cuts = p->log_cuts;
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

int point_out_of_range(const struct point_range *r, const char *at, const char *why, char *err,
		       size_t errlen)
{
	char from[40], to[40];

	fmt_time(r->from_ns, from);
	fmt_time(r->known_ns, to);
	snprintf(err, errlen, "store %s: %s %s; from LSN %llu (%s) to LSN %llu (%s) can be reached, see "
		 "dagctl log list %s", r->name, at, why, (unsigned long long)r->from, from,
		 (unsigned long long)r->to, to, r->name);
	return -ERANGE;
}

static int judge(const struct point_range *r, enum point_answer answer, const char *at, char *err,
		 size_t errlen)
{
	switch (answer) {
	case POINT_OK:
		return 0;
	case POINT_REPLAYED:
		return point_out_of_range(r, at, "is replayed already", err, errlen);
	case POINT_AHEAD:
		return point_out_of_range(r, at, "is not here yet", err, errlen);
	case POINT_UNKNOWN:
		return point_out_of_range(r, at, "is no mark among the records", err, errlen);
	}
	return -EINVAL;
}

struct walk {
	struct point_pick pick;
	const atomic_bool *hurry;
	uint64_t deadline_ns;
};

static int walk_record(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	struct walk *w = ctx;

	if (w->pick.seen % 256 == 0) {
		if (w->hurry && atomic_load(w->hurry))
			return -ECANCELED;
		if (clock_ns(CLOCK_MONOTONIC) > w->deadline_ns)
			return -ETIMEDOUT;
	}
	/* behind a gap the copy is no image before a seed has ended */
	if (rec->type == DAGTAP_REC_STATE && rec->kind == DAGTAP_STATE_GAP)
		return 1;
	return !point_see(&w->pick, rec, payload);
}

int point_find(const struct point_range *r, const char *at, const atomic_bool *hurry,
	       struct point_pick *ret, char *err, size_t errlen)
{
	struct walk w = { .hurry = hurry,
			  .deadline_ns = clock_ns(CLOCK_MONOTONIC) + WALK_MS_MAX * 1000000ull };
	struct point_range shown = *r;
	struct point_spec spec;
	uint64_t end;
	int rc = point_parse(at, clock_ns(CLOCK_REALTIME), &spec);

	if (rc) {
		snprintf(err, errlen, "--at %s: not a point; write an LSN, the name of a mark, -10min or "
			 "2026-01-31 18:00", at);
		return rc;
	}
	point_begin(&w.pick, &spec, r->from);
	rc = logdump_walk(r->dir, r->from, r->to, walk_record, &w, &end);
	if (rc == -ECANCELED)
		snprintf(err, errlen, "store %s: given up, the copy is being activated or stopped", r->name);
	else if (rc == -ETIMEDOUT)
		snprintf(err, errlen, "store %s: %llu records were not enough to find %s, and the replay must "
			 "go on; name an earlier point", r->name, (unsigned long long)w.pick.seen, at);
	else if (rc < 0)
		snprintf(err, errlen, "store %s: log %s: %s", r->name, r->dir, strerror(-rc));
	if (rc < 0)
		return rc;
	*ret = w.pick;
	shown.to = w.pick.past ? r->to : end;
	return judge(&shown, point_end(&w.pick, r->from_ns, shown.to, r->known_ns), at, err, errlen);
}

/* ---- the hold ---------------------------------------------------------------------- */

/* Lock held. */
static void set_hold(struct passive *p, uint64_t lsn, unsigned ms)
{
	p->point.hold = lsn;
	p->point.until_ms = boot_ms() + ms;
	if (p->replay)
		replay_advance(p->replay, p->durable, passive_hold_now(p));
}

/* Lock held. What was kept for an activation that did not come is no branch. */
static void let_go(struct passive *p, struct branch *ret_kept)
{
	*ret_kept = p->point.kept;
	regionset_free(&p->point.tail);
	p->point = (struct passive_point){ .hold = PASSIVE_NONE };
	if (p->replay)
		replay_advance(p->replay, p->durable, passive_hold_now(p));
}

static void drop_kept(struct passive *p, const struct branch *kept)
{
	int rc = kept->first_lsn ? branch_drop(p->log_dir, kept) : 0;

	if (rc)
		log_warn("store=%s lsn=%llu the branch of a move that did not happen stays: %s", p->name,
			 (unsigned long long)kept->first_lsn, strerror(-rc));
}

int passive_point_look(struct passive *p, struct point_range *ret, char *err, size_t errlen)
{
	int rc;

	pthread_mutex_lock(&p->lock);
	rc = point_check_whole(p, err, errlen);
	if (!rc && !p->replay) {
		snprintf(err, errlen, "store %s: the copy here does not replay; see dagctl copy status",
			 p->name);
		rc = -EAGAIN;
	}
	if (!rc) {
		set_hold(p, p->replayed, 2 * WALK_MS_MAX);
		point_range_fill(p, ret);
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

/* Lock held. How far has the replay come, or will it have when its writes have ended? */
static uint64_t applied(const struct passive *p)
{
	struct replay_info info = { 0 };

	if (p->replay)
		replay_info(p->replay, &info);
	return info.applied_lsn > p->replayed ? info.applied_lsn : p->replayed;
}

/* Lock held. */
static int check_held(struct passive *p, uint64_t lsn, char *err, size_t errlen)
{
	struct point_range now = { 0 };
	int rc = point_check_whole(p, err, errlen);

	if (rc || applied(p) <= lsn)
		return rc;
	point_range_fill(p, &now);
	return point_out_of_range(&now, "the point", "is replayed already", err, errlen);
}

int passive_point_hold(struct passive *p, const struct point_range *r, uint64_t lsn, unsigned ms,
		       struct point_status *ret, char *err, size_t errlen)
{
	int rc = 0;

	pthread_mutex_lock(&p->lock);
	if (!r && p->point.hold != lsn)
		rc = -ENOENT;
	else if (r && (p->log_cuts != r->cuts || p->point.hold == PASSIVE_NONE))
		rc = -EXDEV;
	if (rc == -EXDEV)
		snprintf(err, errlen, "store %s: its log changed meanwhile; try again", p->name);
	rc = rc ? rc : check_held(p, lsn, err, errlen);
	if (!rc) {
		set_hold(p, lsn, ms);
		p->catch_up_until_ms = p->point.until_ms;
		passive_lag_apply(p);
		ret->lsn = lsn;
		ret->replayed_lsn = p->replayed;
		ret->end_lsn = p->durable;
		ret->end_ns = p->inspected_time_ns;
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

int passive_point_stands(struct passive *p, uint64_t lsn, uint64_t end_lsn, struct point_range *ret,
			 char *err, size_t errlen)
{
	int rc;

	pthread_mutex_lock(&p->lock);
	rc = check_held(p, lsn, err, errlen);
	if (!rc && (p->point.hold != lsn || p->replayed != lsn || p->durable != end_lsn)) {
		snprintf(err, errlen, "store %s: the copy here is at LSN %llu of %llu, not held at %llu of "
			 "%llu", p->name, (unsigned long long)p->replayed,
			 (unsigned long long)p->durable, (unsigned long long)lsn,
			 (unsigned long long)end_lsn);
		rc = -EAGAIN;
	}
	if (!rc)
		point_range_fill(p, ret);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

int passive_point_told(struct passive *p, const struct point_range *r, struct regionset *tail,
		       const struct branch *kept)
{
	int rc = -EXDEV;

	pthread_mutex_lock(&p->lock);
	if (p->point.hold == r->from && p->replayed == r->from && p->log_cuts == r->cuts) {
		regionset_free(&p->point.tail);
		p->point.tail = *tail;
		p->point.end_lsn = r->to;
		p->point.kept = *kept;
		memset(tail, 0, sizeof(*tail));
		rc = 0;
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

void passive_point_release(struct passive *p)
{
	struct branch kept;

	pthread_mutex_lock(&p->lock);
	if (p->point.hold != PASSIVE_NONE)
		p->catch_up_until_ms = 0;
	passive_lag_apply(p);	/* first: between the two nothing would hold it */
	let_go(p, &kept);
	pthread_mutex_unlock(&p->lock);
	drop_kept(p, &kept);
}

void passive_point_tick(struct passive *p)
{
	bool over;

	pthread_mutex_lock(&p->lock);
	over = p->point.hold != PASSIVE_NONE && boot_ms() >= p->point.until_ms;
	pthread_mutex_unlock(&p->lock);
	if (!over)
		return;
	log_notice("store=%s the hold at a point is over, nobody came for it", p->name);
	passive_point_release(p);
}

int passive_point_go(struct passive *p, uint64_t lsn)
{
	char ignored[400];
	int rc;

	pthread_mutex_lock(&p->lock);
	rc = check_held(p, lsn, ignored, sizeof(ignored));
	if (!rc) {
		set_hold(p, lsn, GO_MS);
		p->catch_up_until_ms = p->point.until_ms;
		passive_lag_apply(p);
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

void passive_point_take(struct passive *p, uint64_t lsn, uint64_t end_lsn, struct regionset *ret)
{
	memset(ret, 0, sizeof(*ret));
	pthread_mutex_lock(&p->lock);
	if (p->point.hold == lsn && p->point.end_lsn == end_lsn) {
		*ret = p->point.tail;
		memset(&p->point.tail, 0, sizeof(p->point.tail));
	}
	pthread_mutex_unlock(&p->lock);
}

/* ---- the tail ------------------------------------------------------------------------ */

static int mark_extent(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	uint64_t sector = le64toh(rec->sector), sectors = le32toh(rec->sectors), size, last;
	struct regionset *set = ctx;

	/* writes that no record tells of stand behind a gap */
	if (rec->type == DAGTAP_REC_STATE && rec->kind == DAGTAP_STATE_GAP)
		return 1;
	if (!sectors)
		return 0;
	size = set->region_bytes / DAGTAP_SECTOR;
	last = (sector + sectors - 1) / size;
	if (sector + sectors < sector || last >= set->regions)
		return 1;
	for (uint64_t r = sector / size; r <= last; r++)
		set->bits[r / 8] |= 1 << r % 8;
	return 0;
}

int point_tail(const char *dir, uint64_t from, uint64_t to, uint64_t sectors, uint32_t region_bytes,
	       struct regionset *ret)
{
	uint64_t size = region_bytes / DAGTAP_SECTOR, end;
	struct regionset set = { .region_bytes = region_bytes };
	int rc;

	if (!size)
		return -EINVAL;
	set.regions = (sectors + size - 1) / size;
	set.bits = calloc(1, regionset_bytes(set.regions) + 8);
	if (!set.bits)
		return -ENOMEM;
	rc = logdump_walk(dir, from, to, mark_extent, &set, &end);
	if (rc > 0 || (!rc && end < to))
		rc = -ENODATA;
	if (rc)
		regionset_free(&set);
	else
		*ret = set;
	return rc;
}
