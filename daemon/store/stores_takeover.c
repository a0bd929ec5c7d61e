// SPDX-License-Identifier: GPL-2.0
/* What a copy on this member does for a take-over: promise, report, fetch. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/store/active_internal.h"
#include "daemon/store/stepper.h"
#include "daemon/store/stores_internal.h"

/* Lock held. A short time ago, and the steps have not been changed since. */
static bool steps_failed(struct stores *ss, struct local *lo)
{
	struct group_store *st = group_find_store_uuid(&ss->gs, lo->uuid);
	struct stepper_status s;
	struct steps_plan plan;
	char ignored[200];

	if (!lo->steps || !st)
		return false;
	stepper_status(lo->steps, &s);
	return s.retry_ms && !steps_plan_make(st, &plan, ignored, sizeof(ignored)) &&
	       steps_plan_crc(&plan) == s.failed_plan;
}

/* Lock held. What the agreed state and this member know of the copy. */
static void fill_report(struct stores *ss, struct local *lo, struct candidate *ret)
{
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->member, sizeof(ret->member), "%s", ss->self);
	ret->reachable = true;
	ret->status = CAND_OTHER;
	if (lo->passive)
		passive_report(lo->passive, ret);
	if (lo->error)
		ret->status = CAND_OTHER;
	ret->blocked = ret->blocked || lo->cp.activation_blocked || lo->cp.suspended;
	ret->failed = steps_failed(ss, lo) || attempt_left_ms(&lo->gate, active_now_ms());
}

int stores_seal(struct stores *ss, const uint8_t uuid[16], uint32_t epoch, struct candidate *ret)
{
	struct local *lo;
	int rc;

	pthread_rwlock_rdlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (!lo) {
		rc = -ENOENT;
	} else if (lo->active || lo->role == LOCAL_ACTIVE) {
		rc = -EBUSY;
	} else if (!lo->passive) {
		rc = lo->error ? lo->error : -EAGAIN;
	} else {
		rc = passive_seal(lo->passive, epoch);
		if (!rc) {
			fill_report(ss, lo, ret);
			ret->sealed = true;
		}
	}
	pthread_rwlock_unlock(&ss->lock);
	return rc;
}

int stores_report(struct stores *ss, const uint8_t uuid[16], struct candidate *ret)
{
	struct local *lo;
	int rc = 0;

	pthread_rwlock_rdlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (!lo)
		rc = -ENOENT;
	else if (lo->active || lo->role == LOCAL_ACTIVE)
		rc = -EBUSY;
	else if (!lo->passive)
		rc = lo->error ? lo->error : -EAGAIN;
	else
		fill_report(ss, lo, ret);
	pthread_rwlock_unlock(&ss->lock);
	return rc;
}

int stores_fetch(struct stores *ss, const uint8_t uuid[16], const struct group_member *from,
		 uint64_t up_to_lsn, unsigned timeout_ms)
{
	struct stream_conf sc = { .creds = ss->conf.creds, .security = ss->conf.security,
				  .timeout_ms = timeout_ms, .ktls = ss->conf.ktls };
	struct sockaddr_storage addr;
	struct passive_source src = {
		.stream = &sc,
		.addr = (struct sockaddr *)&addr,
		.member = from->name,
	};
	struct local *lo;
	int rc = active_addr(from, &addr, &src.addrlen);

	if (rc)
		return rc;
	pthread_rwlock_rdlock(&ss->lock);
	src.group = ss->group;
	src.group_generation = ss->gs.generation;
	lo = stores_find(ss, uuid);
	if (!lo)
		rc = -ENOENT;
	else if (!lo->passive)
		rc = lo->active ? -EBUSY : -EAGAIN;
	else
		rc = passive_fetch(lo->passive, &src, up_to_lsn);
	pthread_rwlock_unlock(&ss->lock);
	return rc;
}

/* Lock held. May the caller have our last logs? */
static enum dag_refusal judge_fetch(struct stores *ss, const struct stream *st,
				    const struct frame_hello *h, struct local **ret)
{
	struct group_store *gst;

	if (memcmp(h->group, ss->group, 16) || h->group_generation != ss->gs.generation)
		return DAG_REFUSE_GROUP;
	gst = group_find_store_uuid(&ss->gs, h->store);
	*ret = stores_find(ss, h->store);
	if (!gst || !*ret)
		return DAG_REFUSE_STORE;
	if (!group_find_copy(gst, stream_peer(st)))
		return DAG_REFUSE_MEMBER;
	return (*ret)->passive ? DAG_OK : DAG_REFUSE_NOT_READY;
}

enum dag_refusal stores_feed(struct stores *ss, struct stream *st, const struct frame_hello *hello)
{
	struct local *lo = NULL;
	enum dag_refusal why;

	pthread_rwlock_rdlock(&ss->lock);
	why = judge_fetch(ss, st, hello, &lo);
	if (why == DAG_OK)
		passive_feed(lo->passive, st, hello);
	pthread_rwlock_unlock(&ss->lock);
	return why;
}
