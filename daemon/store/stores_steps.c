// SPDX-License-Identifier: GPL-2.0
/*
 * What others may ask of the steps of a store. A stepper is referred to under the
 * lock and waited for without it: the copies go on meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"
#include "daemon/store/stepper.h"
#include "daemon/store/stores_internal.h"
#include "daemon/systemd.h"

#define SYNC_S		10
#define SHUTDOWN_MS	60000

/* NULL: the store has no steps here. */
static struct stepper *get(struct stores *ss, const uint8_t uuid[16])
{
	struct stepper *sp = NULL;
	struct local *lo;

	pthread_rwlock_rdlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (lo && lo->steps)
		sp = stepper_ref(lo->steps);
	pthread_rwlock_unlock(&ss->lock);
	return sp;
}

int stores_hold(struct stores *ss, const uint8_t uuid[16], const char *reason, unsigned timeout_ms,
		char *err, size_t errlen)
{
	struct stepper *sp = get(ss, uuid);
	int rc;

	if (!sp)
		return 0;
	stepper_hold(sp, reason);
	rc = stepper_wait(sp, false, timeout_ms, err, errlen);
	if (rc)
		stepper_release(sp);
	stepper_put(sp);
	return rc;
}

void stores_release(struct stores *ss, const uint8_t uuid[16])
{
	struct stepper *sp = get(ss, uuid);

	if (sp)
		stepper_release(sp);
	stepper_put(sp);
}

void stores_retry(struct stores *ss, const uint8_t uuid[16], bool forget)
{
	struct stepper *sp = get(ss, uuid);

	if (sp)
		stepper_retry(sp, forget);
	stepper_put(sp);
}

int stores_wait_steps(struct stores *ss, const uint8_t uuid[16], bool up, unsigned timeout_ms,
		      char *err, size_t errlen)
{
	struct stepper *sp = get(ss, uuid);
	int rc = sp ? stepper_wait(sp, up, timeout_ms, err, errlen) : 0;

	stepper_put(sp);
	return rc;
}

void stores_sync(struct stores *ss)
{
	struct timespec until;
	uint64_t posts;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += SYNC_S;
	pthread_mutex_lock(&ss->post_lock);
	posts = ss->posts;
	while (ss->looked < posts && !ss->stop)
		if (pthread_cond_clockwait(&ss->post_cond, &ss->post_lock, CLOCK_MONOTONIC, &until))
			break;
	pthread_mutex_unlock(&ss->post_lock);
}

unsigned stores_failed(struct stores *ss, struct stores_failure *ret, unsigned max)
{
	struct stepper_status s;
	unsigned n = 0;

	pthread_rwlock_rdlock(&ss->lock);
	for (int i = 0; i < GROUP_STORES_MAX && n < max; i++) {
		struct local *lo = ss->local[i];

		if (!lo || !lo->steps || lo->role != LOCAL_ACTIVE)
			continue;
		stepper_status(lo->steps, &s);
		/* one that did not go down yet cannot be given away without force */
		if (!s.failed || s.state != STEPS_DISMOUNTED)
			continue;
		memcpy(ret[n].uuid, lo->uuid, 16);
		ret[n].epoch = s.epoch;
		ret[n].retry_ms = s.retry_ms;
		snprintf(ret[n].reason, sizeof(ret[n].reason), "%s", s.error);
		n++;
	}
	pthread_rwlock_unlock(&ss->lock);
	return n;
}

void stores_steps_end(struct stores *ss)
{
	char err[STEP_WHY_MAX];
	bool any = false;

	for (int i = 0; i < GROUP_STORES_MAX; i++)
		any |= ss->local[i] && ss->local[i]->steps && !stepper_is_down(ss->local[i]->steps);
	/* a daemon that is only restarted leaves everything up */
	if (!any || !systemd_host_stops())
		return;
	for (int i = 0; i < GROUP_STORES_MAX; i++)
		if (ss->local[i] && ss->local[i]->steps)
			stepper_hold(ss->local[i]->steps, "shutdown");
	for (int i = 0; i < GROUP_STORES_MAX; i++)
		if (ss->local[i] && ss->local[i]->steps &&
		    stepper_wait(ss->local[i]->steps, false, SHUTDOWN_MS, err, sizeof(err)))
			log_err("store=%s msg=\"still up at the end\" err=\"%s\"",
				ss->local[i]->name, err);
}
