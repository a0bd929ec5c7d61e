// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/handover.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/control/choose.h"
#include "daemon/control/control_int.h"
#include "daemon/group/renewal.h"

#define LOOK_MS		500
#define RETRY_MS	10000	/* after a move that nobody could take or that failed */
#define MOVE_MS		30000
#define HUNG_MS		10000	/* a disk that ends nothing for so long hangs */

struct wish {
	uint8_t uuid[16];
	bool used;
	char reason[400];
	uint64_t not_before_ms;
};

struct handover {
	struct control *ct;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	struct wish wishes[GROUP_STORES_MAX];
	struct stores_failure failed[GROUP_STORES_MAX];	/* the thread's */
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void handover_ask(struct handover *ho, const uint8_t uuid[16], const char *reason)
{
	struct wish *free_one = NULL;

	pthread_mutex_lock(&ho->lock);
	for (int i = 0; i < GROUP_STORES_MAX; i++) {
		struct wish *w = &ho->wishes[i];

		if (w->used && !memcmp(w->uuid, uuid, 16))
			goto out;	/* it is on its way, or waits for its retry */
		if (!w->used && !free_one)
			free_one = w;
	}
	if (free_one) {
		free_one->used = true;
		free_one->not_before_ms = 0;
		memcpy(free_one->uuid, uuid, 16);
		snprintf(free_one->reason, sizeof(free_one->reason), "%s", reason);
		pthread_cond_signal(&ho->wake);
	}
out:
	pthread_mutex_unlock(&ho->lock);
}

/* As a person would: dagctl store move STORE --to TARGET --unmount. */
static int move(struct handover *ho, const struct group_store *st, const char *target, const char *reason)
{
	struct rpc_request rq = { .id = 1 };
	struct rpc_call call = { .ct = ho->ct, .rq = &rq };
	struct json_object *params = json_object_new_object(), *result = NULL;
	int r;

	json_object_object_add(params, "store", json_object_new_string(st->name));
	json_object_object_add(params, "to", json_object_new_string(target));
	json_object_object_add(params, "unmount", json_object_new_boolean(true));
	json_object_object_add(params, "timeout_ms", json_object_new_int(MOVE_MS));
	json_object_object_add(params, "comment", json_object_new_string(reason));
	call.params = rq.params = params;
	r = verb_store_move(&call, &result);
	if (r)
		log_err("store=%s msg=\"not handed over\" target=%s reason=\"%s\" err=\"%s\"", st->name,
			target, reason, call.err[0] ? call.err : strerror(-r));
	json_object_put(result);
	json_object_put(params);
	return r;
}

/* 0: done, or no longer ours to do. */
static int hand_over(struct handover *ho, const struct wish *w)
{
	const struct candidate_rule rule = { .skip_lag = true };
	struct json_object *verdicts = NULL;
	struct group_state gs;
	struct group_store *st;
	char target[64];
	int r;

	r = group_state_init(&gs);
	if (!r)
		r = ho->ct->engine->ops->snapshot(ho->ct->engine, &gs);
	st = r ? NULL : group_find_store_uuid(&gs, w->uuid);
	if (!r && st && !st->removed && !strcmp(st->active, ho->ct->cf->member)) {
		r = choose_target(ho->ct, &gs, st, &rule, target, &verdicts);
		if (r)
			log_err("store=%s msg=\"must go, but no copy may be activated\" reason=\"%s\" candidates=%s",
				st->name, w->reason,
				verdicts ? json_object_to_json_string(verdicts) : "none");
		else
			r = move(ho, st, target, w->reason);
	}
	json_object_put(verdicts);
	group_state_free(&gs);
	return r;
}

/* What no other part would tell us. */
static void look(struct handover *ho)
{
	uint8_t uuids[GROUP_STORES_MAX][16];
	char name[STORE_NAME_MAX] = "", why[128];
	uint64_t hung = 0;
	unsigned n = 0, nr_failed = 0;

	pthread_rwlock_rdlock(&ho->ct->use);
	if (ho->ct->stores) {
		n = stores_troubled(ho->ct->stores, uuids, GROUP_STORES_MAX);
		nr_failed = stores_failed(ho->ct->stores, ho->failed, GROUP_STORES_MAX);
		hung = stores_hung_ms(ho->ct->stores, now_ms(), name);
	}
	pthread_rwlock_unlock(&ho->ct->use);
	/* A gate above a hung disk cannot be shut in order: the lease runs out instead,
	 * for all stores of this host, and is taken up when the disk answers. */
	snprintf(why, sizeof(why), "disk of store %s ends no request for %llu s", name,
		 (unsigned long long)hung / 1000);
	renewal_withhold(ho->ct->renewal, hung >= HUNG_MS ? why : NULL);
	for (unsigned i = 0; i < n; i++)
		handover_ask(ho, uuids[i], "its disk fails");
	for (unsigned i = 0; i < nr_failed; i++)
		handover_ask(ho, ho->failed[i].uuid, ho->failed[i].reason);
}

static struct wish *due(struct handover *ho, uint64_t now)
{
	for (int i = 0; i < GROUP_STORES_MAX; i++)
		if (ho->wishes[i].used && ho->wishes[i].not_before_ms <= now)
			return &ho->wishes[i];
	return NULL;
}

static void *handover_main(void *arg)
{
	struct handover *ho = arg;
	struct timespec until;
	struct wish *w, mine;
	int r;

	pthread_mutex_lock(&ho->lock);
	while (!ho->stop) {
		w = due(ho, now_ms());
		if (w) {
			mine = *w;
			pthread_mutex_unlock(&ho->lock);
			r = hand_over(ho, &mine);
			pthread_mutex_lock(&ho->lock);
			w->used = r != 0;
			w->not_before_ms = now_ms() + RETRY_MS;
			continue;
		}
		pthread_mutex_unlock(&ho->lock);
		look(ho);
		pthread_mutex_lock(&ho->lock);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += LOOK_MS * 1000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		if (!ho->stop && !due(ho, now_ms()))
			pthread_cond_timedwait(&ho->wake, &ho->lock, &until);
	}
	pthread_mutex_unlock(&ho->lock);
	return NULL;
}

int handover_start(struct control *ct, struct handover **ret)
{
	struct handover *ho = calloc(1, sizeof(*ho));
	pthread_condattr_t attr;
	int r;

	if (!ho)
		return -ENOMEM;
	ho->ct = ct;
	pthread_mutex_init(&ho->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ho->wake, &attr);
	pthread_condattr_destroy(&attr);
	r = -pthread_create(&ho->thread, NULL, handover_main, ho);
	if (r) {
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
	pthread_mutex_destroy(&ho->lock);
	free(ho);
}
