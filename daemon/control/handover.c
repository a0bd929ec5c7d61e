// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/handover.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/control/choose.h"
#include "daemon/control/clientwatch.h"
#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/control/pass_on.h"
#include "daemon/group/renewal.h"
#include "daemon/net/heartbeat_udp.h"

#define LOOK_MS		500
#define RETRY_MS	5000	/* after a move that nobody could take or that failed */
#define MOVE_MS		30000
#define HUNG_MS		10000	/* a disk that ends nothing for so long hangs */
#define CLIENT_MS	1000	/* a client network that comes back sooner was not lost */

enum cause { CAUSE_GATE, CAUSE_STOP, CAUSE_DISK, CAUSE_CLIENT, CAUSE_STEPS };

struct wish {
	uint8_t uuid[16];
	char name[STORE_NAME_MAX];
	bool used, seen;
	bool alerted;			/* nobody may take it, and that was said */
	enum cause cause;
	enum client_state client;	/* CAUSE_CLIENT: of this member */
	uint64_t retry_ms;		/* CAUSE_STEPS: when it may be tried here again; 0: now */
	char reason[400];
	uint64_t not_before_ms;
};

struct spared {
	uint8_t uuid[16];
	uint64_t until_ms;		/* 0: free */
};

struct handover {
	struct control *ct;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake, left;
	bool stop;
	bool leaving, gone;		/* the daemon stops; all that can go has gone */
	uint64_t leave_until_ms;
	struct wish wishes[GROUP_STORES_MAX];
	struct spared spared[GROUP_STORES_MAX];
	/* the thread's */
	struct stores_failure failed[GROUP_STORES_MAX];
	struct stores_failure shut[GROUP_STORES_MAX];	/* their gates do not open */
	bool had_client;
	struct group_state gs;
};

/* ---- wishes, with the lock ---------------------------------------------------- */

static struct wish *find_wish(struct handover *ho, const uint8_t uuid[16])
{
	struct wish *free_one = NULL;

	for (int i = 0; i < GROUP_STORES_MAX; i++) {
		struct wish *w = &ho->wishes[i];

		if (w->used && !memcmp(w->uuid, uuid, 16))
			return w;
		if (!w->used && !free_one)
			free_one = w;
	}
	if (!free_one)
		return NULL;
	memset(free_one, 0, sizeof(*free_one));
	memcpy(free_one->uuid, uuid, 16);
	return free_one;
}

/* Of several causes the first in their order counts. NULL: one came before. */
static struct wish *want(struct handover *ho, const uint8_t uuid[16], enum cause cause,
			 unsigned hold_ms, const char *reason)
{
	struct wish *w = find_wish(ho, uuid);

	if (!w || (w->seen && w->cause < cause))
		return NULL;
	if (!w->used || w->cause != cause)
		w->not_before_ms = now_ms() + hold_ms;
	w->used = w->seen = true;
	w->cause = cause;
	snprintf(w->reason, sizeof(w->reason), "%s", reason);
	return w;
}

static bool is_spared(const struct handover *ho, const uint8_t uuid[16], uint64_t now)
{
	for (int i = 0; i < GROUP_STORES_MAX; i++)
		if (ho->spared[i].until_ms > now && !memcmp(ho->spared[i].uuid, uuid, 16))
			return true;
	return false;
}

void handover_spare(struct handover *ho, const uint8_t uuid[16], unsigned ms)
{
	struct spared *at = NULL;
	uint64_t now = now_ms();

	pthread_mutex_lock(&ho->lock);
	for (int i = 0; i < GROUP_STORES_MAX && (!at || memcmp(at->uuid, uuid, 16)); i++)
		if (!memcmp(ho->spared[i].uuid, uuid, 16) || (!at && ho->spared[i].until_ms <= now))
			at = &ho->spared[i];
	if (at) {
		memcpy(at->uuid, uuid, 16);
		at->until_ms = ms ? now + ms : 0;
	}
	pthread_mutex_unlock(&ho->lock);
}

/* ---- acting ---------------------------------------------------------------------- */

/* As a person would: dagctl store move STORE --to TARGET --unmount. lagged: the target's
 * copy replays late; a better one would have been chosen, so it has to catch up. */
static int move(struct handover *ho, const struct wish *w, const char *target, bool lagged)
{
	struct rpc_request rq = { .id = 1 };
	struct rpc_call call = { .ct = ho->ct, .rq = &rq };
	struct json_object *params = json_object_new_object(), *result = NULL;
	int r;

	json_object_object_add(params, "store", json_object_new_string(w->name));
	json_object_object_add(params, "to", json_object_new_string(target));
	json_object_object_add(params, "unmount", json_object_new_boolean(true));
	json_object_object_add(params, "handover", json_object_new_boolean(true));
	json_object_object_add(params, "skip_lag", json_object_new_boolean(lagged));
	json_object_object_add(params, "timeout_ms", json_object_new_int(MOVE_MS));
	json_object_object_add(params, "comment", json_object_new_string(w->reason));
	call.params = rq.params = params;
	r = verb_store_move(&call, &result);
	if (r)
		log_err("store=%s msg=\"not handed over\" target=%s reason=\"%s\" err=\"%s\"", w->name,
			target, w->reason, call.err[0] ? call.err : strerror(-r));
	json_object_put(result);
	json_object_put(params);
	return r;
}

/* Said once, until the cause has gone or somebody took it. */
static void alert(struct handover *ho, struct wish *w, struct json_object *verdicts)
{
	struct json_object *fields;

	if (w->alerted)
		return;
	w->alerted = true;
	log_err("store=%s msg=\"must go, but no copy may be activated\" reason=\"%s\" candidates=%s",
		w->name, w->reason, verdicts ? json_object_to_json_string(verdicts) : "none");
	fields = json_object_new_object();
	json_object_object_add(fields, "reason", json_object_new_string(w->reason));
	json_object_object_add(fields, "candidates", json_object_get(verdicts));
	if (w->cause == CAUSE_STEPS)
		json_object_object_add(fields, "next", json_object_new_string(
				       "mend the step, then dagctl store mount"));
	history_add(ho->ct->history, "alert", w->name, fields, "%s; no other copy may be activated, it "
		    "stays here", w->reason);
}

/* The steps may be mended by now, or be nobody's but ours to try. */
static void try_here(struct handover *ho, const struct wish *w)
{
	log_notice("store=%s msg=\"its steps are tried here again\"", w->name);
	pthread_rwlock_rdlock(&ho->ct->use);
	if (ho->ct->stores)
		stores_retry(ho->ct->stores, w->uuid, false);
	pthread_rwlock_unlock(&ho->ct->use);
}

/* 0: done, or no longer ours to do. */
static int hand_over(struct handover *ho, struct wish *w)
{
	const struct candidate_rule rule = {
		.skip_lag = true, .client_above = w->cause == CAUSE_CLIENT ? w->client : CLIENT_NONE,
	};
	struct json_object *verdicts = NULL;
	struct group_state *gs = &ho->gs;
	struct group_copy *cp;
	struct group_store *st;
	char target[64];
	int r;

	r = ho->ct->engine->ops->snapshot(ho->ct->engine, gs);
	st = r ? NULL : group_find_store_uuid(gs, w->uuid);
	if (!r && st && !st->removed && w->cause == CAUSE_GATE &&
	    !strcmp(st->active, ho->ct->cf->member)) {
		r = pass_on(ho->ct, gs, st, w->reason, &verdicts);
		if (r == -ENOENT)
			alert(ho, w, verdicts);
	} else if (!r && st && !st->removed && !strcmp(st->active, ho->ct->cf->member)) {
		r = choose_target(ho->ct, gs, st, &rule, target, &verdicts);
		cp = r ? NULL : group_find_copy(st, target);
		if (!r)
			r = move(ho, w, target, cp && group_copy_lagged(cp));
		else if (w->cause == CAUSE_STEPS && !w->retry_ms)
			try_here(ho, w);
		else
			alert(ho, w, verdicts);
	}
	json_object_put(verdicts);
	return r;
}

/* ---- looking --------------------------------------------------------------------- */

/* Returns for how long a disk under an active store has ended nothing. */
static uint64_t look_at_disks(struct handover *ho, char name[STORE_NAME_MAX])
{
	uint8_t uuids[GROUP_STORES_MAX][16];
	uint64_t hung = 0;
	unsigned n = 0, nr_failed = 0, nr_shut = 0;

	pthread_rwlock_rdlock(&ho->ct->use);
	if (ho->ct->stores) {
		n = stores_troubled(ho->ct->stores, uuids, GROUP_STORES_MAX);
		nr_shut = stores_gates_failed(ho->ct->stores, ho->shut, GROUP_STORES_MAX);
		nr_failed = stores_failed(ho->ct->stores, ho->failed, GROUP_STORES_MAX);
		hung = stores_hung_ms(ho->ct->stores, now_ms(), name);
	}
	pthread_rwlock_unlock(&ho->ct->use);
	pthread_mutex_lock(&ho->lock);
	for (unsigned i = 0; i < n; i++)
		want(ho, uuids[i], CAUSE_DISK, 0, "its disk fails");
	for (unsigned i = 0; i < nr_failed; i++) {
		struct wish *w = is_spared(ho, ho->failed[i].uuid, now_ms()) ? NULL :
				 want(ho, ho->failed[i].uuid, CAUSE_STEPS, 0, ho->failed[i].reason);

		if (w)
			w->retry_ms = ho->failed[i].retry_ms;
	}
	for (unsigned i = 0; i < nr_shut; i++)
		if (!is_spared(ho, ho->shut[i].uuid, now_ms()))
			want(ho, ho->shut[i].uuid, CAUSE_GATE, 0, ho->shut[i].reason);
	pthread_mutex_unlock(&ho->lock);
	return hung;
}

/* A gate above a hung disk cannot be shut in order: the lease is given up instead, for
 * all stores of this host, and is taken up when the disk answers. */
static void judge_hang(struct handover *ho, uint64_t hung, const char *name)
{
	struct heartbeats *hs = control_heartbeats(ho->ct);
	bool hangs = hung >= HUNG_MS;
	char why[128];

	snprintf(why, sizeof(why), "disk of store %s ends no request for %llu s", name,
		 (unsigned long long)hung / 1000);
	renewal_withhold(ho->ct->renewal, hangs ? why : NULL);
	if (hs)
		heartbeats_say(hs, DAG_BEAT_DISK, hangs);
}

static void look_at_store(struct handover *ho, const struct clientwatch *cw,
			  const struct group_store *st)
{
	enum client_state state = CLIENT_NONE;
	char why[160];
	struct wish *w;

	if (client_matters(&ho->gs, st))
		state = clientwatch_state(cw, &ho->gs, st, &ho->had_client);
	snprintf(why, sizeof(why), "the client network of %s is lost: %s", ho->ct->cf->member,
		 client_state_name(state));
	pthread_mutex_lock(&ho->lock);
	if (ho->leaving && !st->manual && !st->dismounted) {
		want(ho, st->uuid, CAUSE_STOP, 0, "dagd is stopped here");
	} else if (state == CLIENT_DOWN || state == CLIENT_ALONE) {
		w = want(ho, st->uuid, CAUSE_CLIENT, CLIENT_MS, why);
		if (w)
			w->client = state;
	}
	w = find_wish(ho, st->uuid);
	if (w && w->used)
		memcpy(w->name, st->name, sizeof(w->name));
	pthread_mutex_unlock(&ho->lock);
}

static void look_at_stores(struct handover *ho)
{
	struct clientwatch *cw = NULL;

	if (ho->ct->engine->ops->snapshot(ho->ct->engine, &ho->gs) || ho->gs.unconfirmed)
		return;
	for (uint32_t i = 0; i < ho->gs.nr_stores; i++) {
		const struct group_store *st = &ho->gs.stores[i];

		if (st->removed || !st->epoch || strcmp(st->active, ho->ct->cf->member))
			continue;
		if (!cw && client_matters(&ho->gs, st))
			cw = clientwatch_look(ho->ct);
		look_at_store(ho, cw, st);
	}
	clientwatch_free(cw);
}

/* What nobody has a reason for any more is not done. */
static void forget(struct handover *ho)
{
	for (int i = 0; i < GROUP_STORES_MAX; i++) {
		struct wish *w = &ho->wishes[i];

		if (!w->used || w->seen)
			continue;
		if (w->alerted)
			history_add(ho->ct->history, "alert", w->name, NULL, "no longer: %s", w->reason);
		w->used = false;
	}
}

/* What no other part would tell us. */
static void look(struct handover *ho)
{
	char name[STORE_NAME_MAX] = "";
	uint64_t hung;

	pthread_mutex_lock(&ho->lock);
	for (int i = 0; i < GROUP_STORES_MAX; i++)
		ho->wishes[i].seen = false;
	pthread_mutex_unlock(&ho->lock);
	hung = look_at_disks(ho, name);
	judge_hang(ho, hung, name);
	look_at_stores(ho);
	pthread_mutex_lock(&ho->lock);
	forget(ho);
	pthread_mutex_unlock(&ho->lock);
}

/* ---- the thread -------------------------------------------------------------------- */

static struct wish *due(struct handover *ho, uint64_t now)
{
	for (int i = 0; i < GROUP_STORES_MAX; i++)
		if (ho->wishes[i].used && ho->wishes[i].name[0] && ho->wishes[i].not_before_ms <= now)
			return &ho->wishes[i];
	return NULL;
}

/* All that are due, each once. Lock held, and let go of meanwhile. */
static void act(struct handover *ho)
{
	struct wish *w, mine;
	int r;

	while (!ho->stop && (w = due(ho, now_ms()))) {
		if (ho->leaving && now_ms() >= ho->leave_until_ms)
			return;
		mine = *w;
		pthread_mutex_unlock(&ho->lock);
		r = hand_over(ho, &mine);
		pthread_mutex_lock(&ho->lock);
		w->alerted = mine.alerted;
		w->used = r != 0;
		w->not_before_ms = now_ms() + RETRY_MS;
	}
}

static void *handover_main(void *arg)
{
	struct handover *ho = arg;
	struct timespec until;

	pthread_mutex_lock(&ho->lock);
	while (!ho->stop && !ho->gone) {
		bool leaving = ho->leaving;

		pthread_mutex_unlock(&ho->lock);
		look(ho);
		pthread_mutex_lock(&ho->lock);
		act(ho);
		/* each was tried once: what stays is closed with the daemon */
		ho->gone = leaving;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += LOOK_MS * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		if (!ho->stop && !ho->leaving)
			pthread_cond_timedwait(&ho->wake, &ho->lock, &until);
	}
	ho->gone = true;
	pthread_cond_broadcast(&ho->left);
	pthread_mutex_unlock(&ho->lock);
	return NULL;
}

void handover_leave(struct handover *ho, unsigned ms)
{
	pthread_mutex_lock(&ho->lock);
	ho->leaving = true;
	ho->leave_until_ms = now_ms() + ms;
	pthread_cond_broadcast(&ho->wake);
	while (!ho->gone)
		pthread_cond_wait(&ho->left, &ho->lock);
	pthread_mutex_unlock(&ho->lock);
}

int handover_start(struct control *ct, struct handover **ret)
{
	struct handover *ho = calloc(1, sizeof(*ho));
	pthread_condattr_t attr;
	int r;

	if (!ho)
		return -ENOMEM;
	ho->ct = ct;
	r = group_state_init(&ho->gs);
	if (r) {
		free(ho);
		return r;
	}
	pthread_mutex_init(&ho->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ho->wake, &attr);
	pthread_cond_init(&ho->left, &attr);
	pthread_condattr_destroy(&attr);
	r = -pthread_create(&ho->thread, NULL, handover_main, ho);
	if (r) {
		group_state_free(&ho->gs);
		free(ho);
		return r;
	}
	*ret = ho;
	return 0;
}

void handover_stop(struct handover *ho)
{
	pthread_mutex_lock(&ho->lock);
	ho->stop = true;
	pthread_cond_broadcast(&ho->wake);
	pthread_mutex_unlock(&ho->lock);
	pthread_join(ho->thread, NULL);
	pthread_cond_destroy(&ho->wake);
	pthread_cond_destroy(&ho->left);
	pthread_mutex_destroy(&ho->lock);
	group_state_free(&ho->gs);
	free(ho);
}
