// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/renewal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"

#define PERIOD_MS_MIN	20
#define PERIOD_MS_MAX	60000
#define SETTLE_MS	20	/* for completions that passed the check before */

struct renewal {
	struct renewal_conf conf;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop, kicked;
	char withheld[128];		/* why; "": it is not */
	bool final;			/* for good */
	bool let_go;			/* it was; for renewal_let_go() and the thread */
	uint64_t fence;			/* the module has it; the thread's */
	uint32_t period_ms;

	pthread_mutex_t hook_lock;	/* held while a hook runs */
	struct renewal_hooks hooks;
	void *ctx;
	struct engine_fact *facts;

	atomic_ulong beats;
	atomic_uint_least64_t deadline_ns;
	int last;			/* result of the last turn; 1: none yet */
};

static uint64_t boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

static void tell_facts(struct renewal *rn)
{
	const struct engine_ops *ops = rn->conf.engine->ops;
	unsigned n;

	if (!ops->facts || !rn->hooks.facts)
		return;
	n = rn->hooks.facts(rn->ctx, rn->facts, GROUP_STORES_MAX);
	ops->facts(rn->conf.engine, rn->facts, n);
}

/*
 * R2. The fence is read first, the state that `settled` looks at after it: so
 * nothing that was claimed under that fence is missed. Without hooks nothing is
 * known of the stores, and nothing is accepted.
 */
static int accept_fence(struct renewal *rn)
{
	struct engine *en = rn->conf.engine;
	uint64_t fence;
	int r;

	if (!en->ops->accept_fence || !rn->hooks.settled)
		return -ESTALE;
	r = en->ops->fence(en, &fence);
	if (r)
		return r;
	if (!rn->hooks.settled(rn->ctx))
		return -ESTALE;
	return en->ops->accept_fence(en, fence);
}

/*
 * R3. Once for each time that it is withheld: tried once, since a lease that is not
 * released just ends. Only the thread renews, so nothing is renewed after it.
 */
static void let_go(struct renewal *rn)
{
	const struct timespec settle = { .tv_nsec = SETTLE_MS * 1000000l };
	struct engine *en = rn->conf.engine;
	int r = 0;

	if (rn->fence)
		r = rn->conf.lease(rn->fence, 0);
	if (!r) {
		atomic_store(&rn->deadline_ns, 0);
		nanosleep(&settle, NULL);
	}
	if (!r && en->ops->release)
		r = en->ops->release(en);
	if (r)
		log_warn("lease msg=\"not released, it runs out\" err=\"%s\"", strerror(-r));
	pthread_mutex_lock(&rn->lock);
	rn->let_go = true;
	pthread_cond_broadcast(&rn->wake);
	pthread_mutex_unlock(&rn->lock);
}

static bool withheld(struct renewal *rn)
{
	bool is, done;

	pthread_mutex_lock(&rn->lock);
	is = rn->withheld[0];
	done = rn->let_go;
	rn->let_go = is && done;
	pthread_mutex_unlock(&rn->lock);
	if (is && !done)
		let_go(rn);
	return is;
}

static int renew(struct renewal *rn)
{
	struct engine *en = rn->conf.engine;
	uint64_t deadline, fence;
	int r;

	if (withheld(rn))
		return -ECANCELED;
	r = en->ops->renew(en, &deadline, &fence);
	if (r == -ESTALE) {
		r = accept_fence(rn);
		if (!r)
			r = en->ops->renew(en, &deadline, &fence);
	}
	if (r)
		return r;
	rn->fence = fence;
	r = rn->conf.lease(fence, deadline);
	if (r)
		return r;
	atomic_store(&rn->deadline_ns, deadline);
	return 0;
}

static void note(struct renewal *rn, int r)
{
	/* One late answer is no news: the deadline says when it is. */
	if (r == -EAGAIN && boot_ns() < atomic_load(&rn->deadline_ns))
		return;
	/* -ENODATA: no group, and nothing that a lease would be for */
	if (r && r != rn->last && r != -ENODATA)
		log_err("lease msg=\"not renewed\" err=\"%s\"%s", strerror(-r),
			r == -ENOENT || r == -ENODEV ? " next=\"modprobe dagtap\"" : "");
	else if (!r && rn->last)
		log_info("lease msg=\"given to the module\"");
	if ((!r) != (!rn->last) && rn->hooks.changed)
		rn->hooks.changed(rn->ctx, r);
	rn->last = r;
}

/*
 * When the next turn is due: a late one does not shift those after it, and one that came
 * early, because something was changed, does not put it off. So no turn is ever further
 * away than a period, however often it is kicked: the lease depends on that.
 */
static struct timespec next_due(struct timespec due, uint64_t period_ms)
{
	uint64_t at = (uint64_t)due.tv_sec * 1000000000u + due.tv_nsec, now;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	now = (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
	at += period_ms * 1000000u;
	if (at < now)
		at = now;
	if (at > now + period_ms * 1000000u)
		at = now + period_ms * 1000000u;
	return (struct timespec){ .tv_sec = at / 1000000000u, .tv_nsec = at % 1000000000u };
}

static bool wait_turn(struct renewal *rn, struct timespec *due)
{
	bool go;

	pthread_mutex_lock(&rn->lock);
	*due = next_due(*due, rn->period_ms);
	while (!rn->stop && !rn->kicked)
		if (pthread_cond_timedwait(&rn->wake, &rn->lock, due))
			break;
	rn->kicked = false;
	go = !rn->stop;
	pthread_mutex_unlock(&rn->lock);
	return go;
}

static void *renewal_main(void *arg)
{
	struct renewal *rn = arg;
	struct timespec due;

	clock_gettime(CLOCK_MONOTONIC, &due);
	do {
		pthread_mutex_lock(&rn->hook_lock);
		tell_facts(rn);
		note(rn, renew(rn));
		pthread_mutex_unlock(&rn->hook_lock);
		atomic_fetch_add(&rn->beats, 1);
	} while (wait_turn(rn, &due));
	return NULL;
}

int renewal_start(const struct renewal_conf *conf, struct renewal **ret)
{
	struct renewal *rn = calloc(1, sizeof(*rn));
	pthread_condattr_t attr;
	int r = -ENOMEM;

	if (!rn)
		return -ENOMEM;
	rn->conf = *conf;
	rn->last = 1;
	pthread_mutex_init(&rn->lock, NULL);
	pthread_mutex_init(&rn->hook_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&rn->wake, &attr);
	pthread_condattr_destroy(&attr);
	renewal_set_period(rn, conf->period_ms);
	rn->facts = calloc(GROUP_STORES_MAX, sizeof(*rn->facts));
	if (rn->facts)
		r = -pthread_create(&rn->thread, NULL, renewal_main, rn);
	if (r) {
		free(rn->facts);
		free(rn);
		return r;
	}
	*ret = rn;
	return 0;
}

void renewal_stop(struct renewal *rn)
{
	pthread_mutex_lock(&rn->lock);
	rn->stop = true;
	pthread_cond_broadcast(&rn->wake);
	pthread_mutex_unlock(&rn->lock);
	pthread_join(rn->thread, NULL);
	pthread_cond_destroy(&rn->wake);
	pthread_mutex_destroy(&rn->lock);
	pthread_mutex_destroy(&rn->hook_lock);
	free(rn->facts);
	free(rn);
}

void renewal_set_hooks(struct renewal *rn, const struct renewal_hooks *hooks, void *ctx)
{
	static const struct renewal_hooks none;

	pthread_mutex_lock(&rn->hook_lock);
	rn->hooks = hooks ? *hooks : none;
	rn->ctx = ctx;
	pthread_mutex_unlock(&rn->hook_lock);
}

void renewal_set_period(struct renewal *rn, uint32_t period_ms)
{
	if (period_ms < PERIOD_MS_MIN)
		period_ms = PERIOD_MS_MIN;
	if (period_ms > PERIOD_MS_MAX)
		period_ms = PERIOD_MS_MAX;
	pthread_mutex_lock(&rn->lock);
	rn->period_ms = period_ms;
	pthread_mutex_unlock(&rn->lock);
}

void renewal_withhold(struct renewal *rn, const char *why)
{
	pthread_mutex_lock(&rn->lock);
	if (rn->final) {
		pthread_mutex_unlock(&rn->lock);
		return;
	}
	if (why && !rn->withheld[0])
		log_err("lease msg=\"let go, others take over\" why=\"%s\"", why);
	else if (!why && rn->withheld[0])
		log_notice("lease msg=\"taken up again\"");
	snprintf(rn->withheld, sizeof(rn->withheld), "%s", why ? why : "");
	pthread_mutex_unlock(&rn->lock);
}

void renewal_let_go(struct renewal *rn, const char *why)
{
	pthread_mutex_lock(&rn->lock);
	snprintf(rn->withheld, sizeof(rn->withheld), "%s", why);
	rn->final = rn->kicked = true;
	rn->let_go = false;
	pthread_cond_broadcast(&rn->wake);
	while (!rn->let_go)
		pthread_cond_wait(&rn->wake, &rn->lock);
	pthread_mutex_unlock(&rn->lock);
}

void renewal_kick(struct renewal *rn)
{
	pthread_mutex_lock(&rn->lock);
	rn->kicked = true;
	pthread_cond_broadcast(&rn->wake);
	pthread_mutex_unlock(&rn->lock);
}

uint64_t renewal_deadline_ns(struct renewal *rn)
{
	return atomic_load(&rn->deadline_ns);
}

bool renewal_holds(struct renewal *rn)
{
	return boot_ns() < renewal_deadline_ns(rn);
}

unsigned long renewal_beats(struct renewal *rn)
{
	return atomic_load(&rn->beats);
}
