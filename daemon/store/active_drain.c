// SPDX-License-Identifier: GPL-2.0
/*
 * A planned end of an active copy, before another member takes over: the gate is
 * shut, and the copies get the rest of the log. And marks, which name a place in
 * the log.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/log/record_walk.h"
#include "daemon/store/active_internal.h"

#define OTHERS_MS	2000		/* a drain waits this long for the others */

/* Lock held. Has every connected copy but `target` replayed up to lsn? */
static bool others_there(const struct active *a, uint64_t lsn)
{
	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		const struct peer *p = &a->peers[i];

		if (p->state == PEER_STREAM && p->ack.durable_lsn < lsn)
			return false;
	}
	return true;
}

static void wait_a_little(struct active *a)
{
	struct timespec until = clock_after_ms(20);

	pthread_cond_clockwait(&a->moved, &a->lock, CLOCK_MONOTONIC, &until);
}

static int wait_target(struct active *a, struct peer *t, uint64_t end, uint64_t replayed,
		       uint64_t until_ms)
{
	int rc = 0;

	if (replayed > end)
		replayed = end;
	pthread_mutex_lock(&a->lock);
	while (t->ack.replayed_lsn < replayed || t->ack.durable_lsn < end ||
	       t->ack.state != DAG_COPY_HEALTHY) {
		if (active_now_ms() >= until_ms) {
			rc = -ETIMEDOUT;
			break;
		}
		wait_a_little(a);
	}
	until_ms = active_now_ms() + OTHERS_MS;
	while (!rc && !others_there(a, end) && active_now_ms() < until_ms)
		wait_a_little(a);
	pthread_mutex_unlock(&a->lock);
	return rc;
}

/* Before the gate is shut: the target must be a copy that can take over. */
static int check_target(struct active *a, const char *target, struct peer **ret, char *err,
			size_t errlen)
{
	struct peer *t;
	int rc = 0;

	pthread_mutex_lock(&a->lock);
	t = active_peer(a, target);
	if (!t) {
		snprintf(err, errlen, "%s has no copy of the store", target);
		rc = -ENOENT;
	} else if (!t->connected) {
		snprintf(err, errlen, "copy on %s is not connected: %s", target,
			 t->error[0] ? t->error : "still connecting");
		rc = -ENOTCONN;
	} else if (t->ack.state != DAG_COPY_HEALTHY) {
		snprintf(err, errlen, "copy on %s is not Healthy, see dagctl copy status", target);
		rc = -EAGAIN;
	}
	pthread_mutex_unlock(&a->lock);
	*ret = t;
	return rc;
}

/*
 * A log that was given up (TRACKING) gets no CLOSE: writes went to the device
 * behind its end, and neither copies nor this device are the log up to there.
 */
bool active_closed(const struct tap_view *v, uint64_t end, uint32_t epoch)
{
	const uint64_t bytes = sizeof(struct dagtap_rec) + sizeof(struct dagtap_state_payload);
	struct rec_cursor cur = { .lsn = end - bytes, .any_prev = true };
	struct dagtap_rec rec;

	if (end < bytes)
		return false;
	memcpy(&rec, v->base + (cur.lsn & (v->size - 1)), sizeof(rec));
	return !rec_cursor_check(&cur, &rec) && rec.type == DAGTAP_REC_STATE &&
	       rec.kind == DAGTAP_STATE_CLOSE && le32toh(rec.epoch) == epoch;
}

int active_drain(struct active *a, const char *target, uint64_t replayed_lsn, unsigned timeout_ms,
		 uint64_t *ret_end_lsn, bool *ret_closed, char *err, size_t errlen)
{
	struct dagtap_role_set rs = { .role = DAGTAP_ROLE_PASSIVE };
	uint64_t until = active_now_ms() + timeout_ms, end;
	struct peer *t;
	int rc;

	*ret_closed = false;
	rc = check_target(a, target, &t, err, errlen);
	if (rc)
		return rc;
	rc = a->conf.ops->role(a->conf.tap, &rs);
	if (rc) {
		snprintf(err, errlen, "the tap does not close: %s", strerror(-rc));
		return rc;
	}
	*ret_closed = true;
	end = active_commit(a);
	if (!active_closed(a->view, end, a->conf.epoch)) {
		snprintf(err, errlen, "the log was given up (state tracking): the copies must be "
			 "seeded first");
		return -EAGAIN;
	}
	pthread_mutex_lock(&a->lock);
	active_kick(a);
	pthread_mutex_unlock(&a->lock);
	rc = wait_target(a, t, end, replayed_lsn, until);
	if (rc)
		snprintf(err, errlen, "copy on %s has not %s to the end in %u ms", target,
			 replayed_lsn < end ? "come" : "replayed", timeout_ms);
	else
		*ret_end_lsn = end;
	return rc;
}

int active_mark(struct active *a, const char *name, uint64_t *ret_lsn)
{
	struct dagtap_mark mk = { .type = DAGTAP_REC_MARK, .bytes = strlen(name) };
	int rc;

	if (!mk.bytes || mk.bytes > DAGTAP_MARK_MAX)
		return -EINVAL;
	memcpy(mk.payload, name, mk.bytes);
	rc = a->conf.ops->mark(a->conf.tap, &mk);
	if (!rc)
		*ret_lsn = mk.lsn;
	return rc;
}
