// SPDX-License-Identifier: GPL-2.0
/*
 * A member's copy before it is activated at a point of its log. What takes long, reading
 * the log, is done without the lock: no other store of this member waits for it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/store/passive_point.h"
#include "daemon/store/stores_internal.h"

/* Lock held. */
static struct passive *find_passive(struct stores *ss, const uint8_t uuid[16], char *err, size_t errlen)
{
	struct local *lo = stores_find(ss, uuid);

	if (lo && lo->passive)
		return lo->passive;
	snprintf(err, errlen, "member %s has no passive copy of the store that runs", ss->self);
	return NULL;
}

static bool all_digits(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

int stores_point_hold(struct stores *ss, const uint8_t uuid[16], const char *at, unsigned ms,
		      struct point_status *ret, char *err, size_t errlen)
{
	struct point_range range;
	struct point_pick pick = { 0 };
	struct passive *p;
	int rc = -ENOENT;

	memset(ret, 0, sizeof(*ret));
	pthread_rwlock_rdlock(&ss->lock);
	p = find_passive(ss, uuid, err, errlen);
	if (p && all_digits(at))
		rc = passive_point_hold(p, NULL, strtoull(at, NULL, 10), ms, ret, err, errlen);
	if (p && rc == -ENOENT)
		rc = passive_point_look(p, &range, err, errlen);
	else
		p = NULL;
	pthread_rwlock_unlock(&ss->lock);
	if (!p || rc)
		return rc;
	rc = point_find(&range, at, NULL, &pick, err, errlen);
	pthread_rwlock_rdlock(&ss->lock);
	p = find_passive(ss, uuid, err, errlen);
	if (!p)
		rc = -ENOENT;
	else if (rc)
		passive_point_release(p);
	else
		rc = passive_point_hold(p, &range, pick.lsn, ms, ret, err, errlen);
	pthread_rwlock_unlock(&ss->lock);
	if (!rc)
		ret->time_ns = pick.time_ns ? pick.time_ns : range.from_ns;
	return rc;
}

struct shape {
	uint64_t sectors, seg_bytes, quota_bytes;
	uint32_t region_bytes;
};

/* Into a branch of its own; the log goes on to be appended to and cut by its owner. */
static int keep(const struct point_range *r, const struct shape *sh, struct branch *ret)
{
	struct seglog_conf conf = {
		.dir = r->dir, .seg_bytes = sh->seg_bytes, .quota_bytes = sh->quota_bytes,
		.read_only = true, .verify_bytes = 4096,
	};
	struct branch list[BRANCHES_MAX];
	struct seglog *log = NULL;
	unsigned n;
	int rc;

	memcpy(conf.uuid, r->uuid, 16);
	rc = seglog_open(&conf, &log);
	if (!rc)
		rc = branch_keep(log, r->from);
	if (log)
		seglog_close(log);
	if (rc <= 0)
		return rc;
	n = branch_list(r->dir, list, BRANCHES_MAX);
	for (unsigned i = 0; i < n; i++)
		if (list[i].first_lsn == r->from)
			*ret = list[i];
	return 0;
}

int stores_point_keep(struct stores *ss, const uint8_t uuid[16], uint64_t lsn, uint64_t end_lsn,
		      char *err, size_t errlen)
{
	struct regionset tail = { 0 };
	struct branch kept = { 0 };
	struct point_range range;
	struct group_store *st;
	struct shape sh = { 0 };
	struct passive *p;
	int rc = -ENOENT;

	pthread_rwlock_rdlock(&ss->lock);
	p = find_passive(ss, uuid, err, errlen);
	st = group_find_store_uuid(&ss->gs, uuid);
	if (p && st) {
		rc = passive_point_stands(p, lsn, end_lsn, &range, err, errlen);
		sh = (struct shape){ .sectors = st->sectors, .region_bytes = st->region_bytes,
				     .seg_bytes = (uint64_t)st->segment_mib << 20,
				     .quota_bytes = st->quota_bytes };
	}
	pthread_rwlock_unlock(&ss->lock);
	if (rc)
		return rc;
	rc = point_tail(range.dir, lsn, end_lsn, sh.sectors, sh.region_bytes, &tail);
	rc = rc ? rc : keep(&range, &sh, &kept);
	if (rc)
		snprintf(err, errlen, "member %s: the log from LSN %llu to %llu cannot be kept: %s", ss->self,
			 (unsigned long long)lsn, (unsigned long long)end_lsn, rc == -ENODATA ?
			 "a part of it is not there" : strerror(-rc));
	pthread_rwlock_rdlock(&ss->lock);
	p = rc ? NULL : find_passive(ss, uuid, err, errlen);
	if (p && passive_point_told(p, &range, &tail, &kept)) {
		snprintf(err, errlen, "member %s: the copy does not stand at the point any more", ss->self);
		rc = -EXDEV;
	} else if (!rc && !p) {
		rc = -ENOENT;
	}
	pthread_rwlock_unlock(&ss->lock);
	if (rc && kept.first_lsn)
		branch_drop(range.dir, &kept);
	regionset_free(&tail);
	return rc;
}

void stores_point_release(struct stores *ss, const uint8_t uuid[16])
{
	struct local *lo;

	pthread_rwlock_rdlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (lo && lo->passive)
		passive_point_release(lo->passive);
	pthread_rwlock_unlock(&ss->lock);
}
