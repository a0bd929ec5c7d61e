// SPDX-License-Identifier: GPL-2.0
/*
 * The lag of a passive copy: once a second, and when something changes, what
 * replay/lag.h decides is handed to the replay; and what of the replayed log may go.
 */
#include <errno.h>
#include <time.h>

#include "daemon/log.h"
#include "daemon/store/passive_internal.h"

#define CATCH_UP_MS	60000	/* of an activation; renewed while it waits */

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* The image is none, or the log is not what it should be. */
static bool needs_repair(const struct passive *p, const struct copystate_data *d)
{
	return p->need_seed || p->direct || p->former || p->branch_id || p->error == -EBADMSG ||
	       d->inconsistent_until == UINT64_MAX;
}

static uint64_t short_bytes(const struct passive *p, const struct seglog_info *info)
{
	const struct lag_space s = {
		.log_bytes = info->bytes,
		.quota_bytes = p->conf.quota_bytes,
		.left_bytes = p->space_left,
		.total_bytes = p->space_total,
		.segment_bytes = p->conf.seg_bytes,
		.full = p->log_full,
	};

	return lag_space_short(&s, p->lag_is.cause == LAG_SPACE);
}

void passive_lag_apply(struct passive *p)
{
	uint64_t boot_ns = clock_ns(CLOCK_BOOTTIME), lag_ns = p->lag.replay_ms * 1000000;
	struct copystate_data d;
	struct seglog_info info;
	struct lag_view v = {
		.rule = &p->lag,
		.now_ns = lag_clock_ns(&p->lag_clock, clock_ns(CLOCK_REALTIME), boot_ns),
		.activation = boot_ns / 1000000 < p->catch_up_until_ms,
		.few = p->few_copies,
	};

	copystate_get(p->conf.state, &d);
	seglog_info(p->conf.log, &info);
	if (lag_ns) {
		lag_arrived(&p->lag_arrivals, p->durable, boot_ns, lag_ns);
		v.arrived_lsn = boot_ns < lag_ns ? 0 : lag_arrived_by(&p->lag_arrivals, boot_ns - lag_ns);
	}
	v.whole_lsn = d.inconsistent_until == UINT64_MAX ? 0 : d.inconsistent_until;
	v.oldest_lsn = info.first_lsn;
	v.repair = needs_repair(p, &d);
	v.short_bytes = short_bytes(p, &info);
	lag_decide(&v, &p->lag_is);
	if (p->replay)
		replay_lag(p->replay, &p->lag_is.limit);
}

void passive_lag_tick(struct passive *p)
{
	uint64_t now_ms = clock_ns(CLOCK_BOOTTIME) / 1000000;
	struct replay_info info = { .behind = true };

	/* Has it applied what the last tick let it? */
	if (p->replay)
		replay_info(p->replay, &info);
	if (!info.behind || !p->lag_met_ms)
		p->lag_met_ms = now_ms;
	p->lag_late_ms = now_ms - p->lag_met_ms;
	passive_lag_apply(p);
}

int passive_lag_truncate(struct passive *p, uint64_t below)
{
	struct lag_limit keep;

	pthread_mutex_lock(&p->lock);
	keep = p->lag_is.keep;
	pthread_mutex_unlock(&p->lock);
	return seglog_truncate_aged(p->conf.log, below, keep.free_lsn, keep.until_ns);
}

void passive_lag_set(struct passive *p, const struct lag_rule *rule)
{
	pthread_mutex_lock(&p->lock);
	if (p->lag.replay_ms != rule->replay_ms || p->lag.truncation_ms != rule->truncation_ms ||
	    p->lag.off != rule->off) {
		p->lag = *rule;
		log_notice("store=%s replay_lag_ms=%llu truncation_lag_ms=%llu lag=%s", p->name,
			   (unsigned long long)rule->replay_ms,
			   (unsigned long long)rule->truncation_ms, rule->off ? "off" : "on");
		passive_lag_apply(p);
	}
	pthread_mutex_unlock(&p->lock);
}

void passive_others(struct passive *p, bool few, uint64_t low_lsn)
{
	pthread_mutex_lock(&p->lock);
	p->others_low = low_lsn;
	if (p->few_copies != few) {
		p->few_copies = few;
		passive_lag_apply(p);
	}
	pthread_mutex_unlock(&p->lock);
}

static bool held(struct passive *p)
{
	bool yes;

	pthread_mutex_lock(&p->lock);
	yes = p->point.hold != PASSIVE_NONE;
	pthread_mutex_unlock(&p->lock);
	return yes;
}

void passive_catch_up(struct passive *p, unsigned ms)
{
	uint64_t now_ms = clock_ns(CLOCK_BOOTTIME) / 1000000, until = now_ms + (ms ? ms : CATCH_UP_MS);

	forks_hurry(p->forks);
	if (held(p))
		passive_point_release(p);	/* all of the log is wanted */
	pthread_mutex_lock(&p->lock);
	/* Who waits asks often: renewed when half of it is over. */
	if (p->catch_up_until_ms < now_ms + (until - now_ms) / 2) {
		p->catch_up_until_ms = until;
		passive_lag_apply(p);
	}
	pthread_mutex_unlock(&p->lock);
}
