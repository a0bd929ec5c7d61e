// SPDX-License-Identifier: GPL-2.0
/*
 * The copies of this member. One manager thread brings them to what the agreed
 * state wants, after each change and once a second; everybody else only looks at
 * them, under a read lock.
 */
#include "daemon/store/stores.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/control/history.h"
#include "daemon/fork/forkdev.h"
#include "daemon/group/uuid.h"
#include "daemon/log.h"
#include "daemon/store/active_internal.h"
#include "daemon/store/passive_fork.h"
#include "daemon/store/stepper.h"
#include "daemon/store/stores_internal.h"
#include "daemon/tap/dm.h"

#define TICK_MS		1000
#define SOON_MS		2
#define POLL_MS		20

struct local *stores_find(struct stores *ss, const uint8_t uuid[16])
{
	for (int i = 0; i < GROUP_STORES_MAX; i++)
		if (ss->local[i] && !memcmp(ss->local[i]->uuid, uuid, 16))
			return ss->local[i];
	return NULL;
}

/* ---- manager --------------------------------------------------------------------- */

static struct local *add_local(struct stores *ss, const struct group_store *st)
{
	struct local *lo;

	for (int i = 0; i < GROUP_STORES_MAX; i++) {
		if (ss->local[i])
			continue;
		lo = calloc(1, sizeof(*lo));
		if (!lo)
			return NULL;
		snprintf(lo->name, sizeof(lo->name), "%s", st->name);
		memcpy(lo->uuid, st->uuid, 16);
		ss->local[i] = lo;
		return lo;
	}
	return NULL;
}

static bool wanted_here(struct stores *ss, const struct local *lo)
{
	struct group_store *st = group_find_store_uuid(&ss->gs, lo->uuid);

	return st && !st->removed && group_find_copy(st, ss->self);
}

/* The group took the copy away: unmap it, empty its log; its data stays. A
 * device that is still open keeps the rest until it is closed. */
static int drop_local(struct stores *ss, int i)
{
	struct local_env env = { .conf = &ss->conf, .gs = &ss->gs, .group = ss->group };
	struct dagtap_role_set rs = { .role = DAGTAP_ROLE_PASSIVE };
	struct local *lo = ss->local[i];
	char err[200] = "";
	int rc;

	if (lo->error && active_now_ms() < lo->retry_ms)
		return lo->error;
	if (lo->steps && lo->tap && ss->conf.tap->role(lo->tap, &rs))
		log_warn("store=%s the tap does not close", lo->name);
	if (!local_steps_cleared(lo, &env, NULL)) {
		local_error(lo, -EBUSY, "its steps are being taken down");
		return -EBUSY;
	}
	rc = local_forget(lo, &ss->conf, err, sizeof(err));
	if (rc) {
		local_error(lo, rc, "cannot remove the copy: %s", err);
		return rc;
	}
	stepper_put(lo->steps);
	log_notice("store=%s no copy here any more", lo->name);
	free(lo);
	ss->local[i] = NULL;
	return 0;
}

/* An activation is an epoch in which the store serves here. */
static void count_activation(struct local *lo)
{
	if (lo->role == LOCAL_ACTIVE && lo->epoch != lo->counted_epoch)
		lo->activations++;
	lo->counted_epoch = lo->role == LOCAL_ACTIVE ? lo->epoch : 0;
}

static void reconcile(struct stores *ss)
{
	struct local_env env = {
		.conf = &ss->conf,
		.gs = &ss->gs,
		.group = ss->group,
		.held_back = __atomic_load_n(&ss->held_back, __ATOMIC_ACQUIRE),
	};

	for (int i = 0; i < GROUP_STORES_MAX; i++) {
		struct local *lo = ss->local[i];

		if (lo && !wanted_here(ss, lo))
			drop_local(ss, i);
	}
	for (uint32_t i = 0; i < ss->gs.nr_stores; i++) {
		struct group_store *st = &ss->gs.stores[i];
		struct local *lo;

		if (st->removed || !group_find_copy(st, ss->self))
			continue;
		lo = stores_find(ss, st->uuid);
		if (!lo)
			lo = add_local(ss, st);
		if (lo)
			local_reconcile(lo, &env, st);
		if (lo)
			count_activation(lo);
	}
}

/* True: there is a new state, or the time has passed. False: stop. */
static bool wait_post(struct stores *ss, unsigned ms, bool *ret_new)
{
	struct timespec until = clock_after_ms(ms);
	bool go;

	pthread_mutex_lock(&ss->post_lock);
	while (!ss->stop && !ss->have_posted && !ss->poked)
		if (pthread_cond_clockwait(&ss->post_cond, &ss->post_lock, CLOCK_MONOTONIC, &until))
			break;
	ss->poked = false;
	*ret_new = ss->have_posted;
	go = !ss->stop;
	pthread_mutex_unlock(&ss->post_lock);
	return go;
}

static uint64_t take_post(struct stores *ss)
{
	uint64_t posts;

	pthread_mutex_lock(&ss->post_lock);
	posts = ss->posts;
	if (group_state_copy(&ss->gs, &ss->posted))
		log_err("out of memory, the newest group state is not applied");
	ss->have_posted = false;
	pthread_mutex_unlock(&ss->post_lock);
	uuid_parse_text(ss->gs.uuid, ss->group);
	return posts;
}

static void note_looked(struct stores *ss, uint64_t posts)
{
	pthread_mutex_lock(&ss->post_lock);
	ss->looked = posts;
	pthread_cond_broadcast(&ss->post_cond);
	pthread_mutex_unlock(&ss->post_lock);
}

static void *manager_main(void *arg)
{
	struct stores *ss = arg;
	uint64_t posts = 0;
	bool fresh, tick, soon = false;
	uint64_t ticked_ms = 0;

	while (wait_post(ss, soon ? SOON_MS : TICK_MS, &fresh)) {
		pthread_rwlock_wrlock(&ss->lock);
		if (fresh)
			posts = take_post(ss);
		reconcile(ss);
		soon = false;
		tick = active_now_ms() - ticked_ms >= TICK_MS || fresh;
		if (tick)
			ticked_ms = active_now_ms();
		for (int i = 0; i < GROUP_STORES_MAX; i++) {
			if (!ss->local[i])
				continue;
			soon |= ss->local[i]->soon;
			if (tick)
				local_tick(ss->local[i], &ss->conf);
		}
		pthread_rwlock_unlock(&ss->lock);
		note_looked(ss, posts);
	}
	return NULL;
}

void stores_apply(struct stores *ss, const struct group_state *gs)
{
	pthread_mutex_lock(&ss->post_lock);
	if (group_state_copy(&ss->posted, gs))
		log_err("out of memory, the newest group state is not applied");
	else
		ss->have_posted = true;
	ss->posts += ss->have_posted;
	pthread_cond_broadcast(&ss->post_cond);
	pthread_mutex_unlock(&ss->post_lock);
}

/* ---- life ------------------------------------------------------------------------- */

int stores_create(const struct stores_conf *conf, struct stores **ret)
{
	struct stores *ss = calloc(1, sizeof(*ss));
	int rc = -ENOMEM;

	if (!ss)
		return -ENOMEM;
	ss->conf = *conf;
	ss->self = strdup(conf->self);
	ss->conf.self = ss->self;
	pthread_mutex_init(&ss->post_lock, NULL);
	pthread_cond_init(&ss->post_cond, NULL);
	pthread_rwlock_init(&ss->lock, NULL);
	/* before a replay writes past them */
	if (!conf->forks && conf->tap == &tap_kernel_ops)
		ss->conf.forks = &forkdev_dm;
	if (ss->conf.forks)
		ss->conf.forks->sweep();
	if (ss->self && !group_state_init(&ss->gs) && !group_state_init(&ss->posted))
		rc = -pthread_create(&ss->manager, NULL, manager_main, ss);
	if (rc) {
		group_state_free(&ss->gs);
		group_state_free(&ss->posted);
		free(ss->self);
		free(ss);
		return rc;
	}
	*ret = ss;
	return 0;
}

/* A device that somebody holds open stays active: the daemon may come back in
 * time for its lease. An unused one is closed clean. */
static bool device_in_use(const struct local *lo)
{
	struct dm_dev dev;

	if (lo->steps && !stepper_is_down(lo->steps))
		return true;
	return !dm_dev_get(lo->name, &dev) && dev.exists && dev.open_count > 0;
}

void stores_destroy(struct stores *ss)
{
	pthread_mutex_lock(&ss->post_lock);
	ss->stop = true;
	pthread_cond_broadcast(&ss->post_cond);
	pthread_mutex_unlock(&ss->post_lock);
	pthread_join(ss->manager, NULL);
	stores_steps_end(ss);
	for (int i = 0; i < GROUP_STORES_MAX; i++) {
		struct local *lo = ss->local[i];

		if (!lo)
			continue;
		local_close(lo, &ss->conf, ss->conf.tap != &tap_kernel_ops || device_in_use(lo));
		stepper_put(lo->steps);
		free(lo);
	}
	group_state_free(&ss->gs);
	group_state_free(&ss->posted);
	pthread_rwlock_destroy(&ss->lock);
	pthread_cond_destroy(&ss->post_cond);
	pthread_mutex_destroy(&ss->post_lock);
	free(ss->self);
	free(ss);
}

/* ---- connections ------------------------------------------------------------------- */

static void refuse(struct stores *ss, struct stream *st, const struct frame_hello *hello, enum dag_refusal why)
{
	struct frame_welcome w = { .refusal = why, .nonce = hello ? hello->nonce : 0 };
	struct dag_welcome frame;

	log_warn("peer=%s log connection refused: %s", stream_peer(st), frame_refusal_text(why));
	if (why != DAG_REFUSE_NOT_READY)
		history_add(ss->conf.history, "refused", "", NULL, "log of %s: %s", stream_peer(st),
			    frame_refusal_text(why));
	frame_welcome_encode(&w, &frame);
	stream_write_full(st, &frame, sizeof(frame), 2000);
	stream_close(st);
}

/* What the agreed state says of a caller that claims to be a store's active. */
static enum dag_refusal judge(struct stores *ss, const struct stream *st, const struct frame_hello *h,
			      struct local **ret)
{
	struct group_store *gst;

	if (memcmp(h->group, ss->group, 16) || h->group_generation != ss->gs.generation)
		return DAG_REFUSE_GROUP;
	gst = group_find_store_uuid(&ss->gs, h->store);
	*ret = stores_find(ss, h->store);
	if (!gst || !*ret)
		return DAG_REFUSE_STORE;
	if (h->epoch < gst->epoch)
		return DAG_REFUSE_EPOCH;
	if (h->epoch > gst->epoch)
		return DAG_REFUSE_NOT_READY;	/* the state is on its way here */
	if (strcmp(gst->active, stream_peer(st)))
		return DAG_REFUSE_MEMBER;
	return (*ret)->passive ? DAG_OK : DAG_REFUSE_NOT_READY;
}

void stores_accept(struct stores *ss, struct stream *st, const struct dag_hello *frame)
{
	struct frame_hello hello;
	struct local *lo = NULL;
	enum dag_refusal why;
	int rc = frame_hello_decode(frame, &hello);

	if (!rc && hello.kind == DAG_KIND_FETCH) {
		why = stores_feed(ss, st, &hello);
		if (why != DAG_OK)
			refuse(ss, st, &hello, why);
		return;
	}
	if (rc || hello.kind != DAG_KIND_LOG) {
		refuse(ss, st, NULL, rc == -EPROTONOSUPPORT ? DAG_REFUSE_VERSION : DAG_REFUSE_NOT_READY);
		return;
	}
	pthread_rwlock_rdlock(&ss->lock);
	why = judge(ss, st, &hello, &lo);
	if (why != DAG_OK)
		refuse(ss, st, &hello, why);
	else
		passive_accept(lo->passive, st, &hello, DAG_OK);
	pthread_rwlock_unlock(&ss->lock);
}

/* ---- moves --------------------------------------------------------------------------- */

int stores_drain(struct stores *ss, const uint8_t uuid[16], const char *target, uint64_t replayed_lsn,
		 unsigned timeout_ms, uint64_t *ret_end_lsn, char *err, size_t errlen)
{
	struct local *lo;
	bool closed = false;
	int rc = -ENOENT;

	pthread_rwlock_rdlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (!lo || !lo->active)
		snprintf(err, errlen, "the store is not active on %s", ss->self);
	else
		rc = active_drain(lo->active, target, replayed_lsn, timeout_ms, ret_end_lsn, &closed, err,
				  errlen);
	pthread_rwlock_unlock(&ss->lock);
	return rc;
}

static void pause_ms(unsigned ms)
{
	struct timespec ts = { .tv_nsec = ms * 1000000L };

	nanosleep(&ts, NULL);
}

int stores_wait_active(struct stores *ss, const uint8_t uuid[16], uint32_t epoch, unsigned timeout_ms,
		       char *err, size_t errlen)
{
	uint64_t until = active_now_ms() + timeout_ms;
	struct local *lo;
	bool there;

	for (;;) {
		pthread_rwlock_rdlock(&ss->lock);
		lo = stores_find(ss, uuid);
		there = lo && lo->role == LOCAL_ACTIVE && lo->epoch >= epoch;
		snprintf(err, errlen, "%s", lo && lo->error ? lo->error_text : "still starting");
		pthread_rwlock_unlock(&ss->lock);
		if (there)
			return 0;
		if (active_now_ms() >= until)
			return -ETIMEDOUT;
		pause_ms(POLL_MS);
	}
}

int stores_reopen(struct stores *ss, const uint8_t uuid[16], char *err, size_t errlen)
{
	struct dagtap_info info;
	struct local *lo;
	uint32_t epoch;

	pthread_rwlock_wrlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (!lo || lo->role != LOCAL_ACTIVE) {
		pthread_rwlock_unlock(&ss->lock);
		snprintf(err, errlen, "the store is not active on %s", ss->self);
		return -ENOENT;
	}
	epoch = lo->epoch;
	/* A target that could not take over at all left the gate open. */
	if (!ss->conf.tap->info(lo->tap, &info) && info.role == DAGTAP_ROLE_ACTIVE) {
		pthread_rwlock_unlock(&ss->lock);
		return 0;
	}
	local_close(lo, &ss->conf, true);
	pthread_rwlock_unlock(&ss->lock);
	return stores_wait_active(ss, uuid, epoch + 1, 10000, err, errlen);
}

int stores_mark(struct stores *ss, const uint8_t uuid[16], const char *name, uint64_t *ret_lsn)
{
	struct local *lo;
	int rc = -ENOENT;

	pthread_rwlock_rdlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (lo && lo->active)
		rc = active_mark(lo->active, name, ret_lsn);
	pthread_rwlock_unlock(&ss->lock);
	return rc;
}

/* ---- copies ---------------------------------------------------------------------------- */

int stores_prepare_copy(struct stores *ss, const struct group_store *st, const struct group_copy *cp,
			bool force, char *err, size_t errlen)
{
	return local_prepare(&ss->conf, st, cp, force, err, errlen);
}

int stores_retry_copy(struct stores *ss, const uint8_t uuid[16])
{
	struct local *lo;
	int rc = -ENOENT;

	pthread_rwlock_rdlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (lo && lo->passive) {
		passive_retry(lo->passive);
		rc = 0;
	}
	pthread_rwlock_unlock(&ss->lock);
	return rc;
}

int stores_catch_up(struct stores *ss, const uint8_t uuid[16], unsigned ms)
{
	struct local *lo;
	int rc = -ENOENT;

	pthread_rwlock_rdlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (lo && lo->passive) {
		passive_catch_up(lo->passive, ms);
		rc = 0;
	}
	pthread_rwlock_unlock(&ss->lock);
	return rc;
}

int stores_others(struct stores *ss, const uint8_t uuid[16], bool few, uint64_t low_lsn)
{
	struct local *lo;
	int rc = -ENOENT;

	pthread_rwlock_rdlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (lo && lo->passive) {
		passive_others(lo->passive, few, low_lsn);
		rc = 0;
	}
	pthread_rwlock_unlock(&ss->lock);
	return rc;
}

struct forks *stores_forks(struct stores *ss, const uint8_t uuid[16], char *err, size_t errlen)
{
	struct forks *fk = NULL;
	struct local *lo;

	pthread_rwlock_rdlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (!lo)
		snprintf(err, errlen, "no copy here; run it on a member that has a passive one");
	else if (!lo->passive)
		snprintf(err, errlen, lo->active ? "it is active here; run it on a member that has a passive "
			 "copy" : "the copy here does not run; see dagctl copy status");
	else if (!(fk = passive_forks(lo->passive)))
		snprintf(err, errlen, "its copy here cannot be opened without the module");
	pthread_rwlock_unlock(&ss->lock);
	return fk;
}

int stores_forget_copy(struct stores *ss, const uint8_t uuid[16], char *err, size_t errlen)
{
	int rc = 0;

	pthread_rwlock_wrlock(&ss->lock);
	for (int i = 0; i < GROUP_STORES_MAX; i++) {
		if (!ss->local[i] || memcmp(ss->local[i]->uuid, uuid, 16))
			continue;
		ss->local[i]->retry_ms = 0;
		rc = drop_local(ss, i);
		if (rc)
			snprintf(err, errlen, "%s", ss->local[i]->error_text);
	}
	pthread_rwlock_unlock(&ss->lock);
	return rc;
}
