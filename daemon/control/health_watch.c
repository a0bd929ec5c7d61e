// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/health_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/control/jsonval.h"
#include "daemon/health/copystatus.h"
#include "daemon/health/others.h"
#include "daemon/health/redundancy.h"

#define LOOK_MS_MAX	30000
#define LOOK_MS_MIN	100

_Static_assert(STORE_NAME_MAX == 32, "health_watch_store()");

struct watched {
	char name[STORE_NAME_MAX];	/* "": free */
	uint8_t uuid[16];
	bool seen;			/* in this look */
	struct redundancy red;
	struct lag_copies few;		/* healthy copies without lag */
	struct others others;
};

struct health_watch {
	struct control *ct;
	pthread_t thread;
	pthread_mutex_t lock;		/* of the rest */
	struct watched stores[GROUP_STORES_MAX];
};

static uint64_t now_ms(void)
{
	return peer_now_ns() / 1000000;
}

static struct watched *watched_of(struct health_watch *hw, const struct group_store *st)
{
	struct watched *empty = NULL;

	for (unsigned i = 0; i < GROUP_STORES_MAX; i++) {
		struct watched *w = &hw->stores[i];

		if (w->name[0] && !memcmp(w->uuid, st->uuid, 16))
			return w;
		if (!w->name[0] && !empty)
			empty = w;
	}
	if (empty) {
		memset(empty, 0, sizeof(*empty));
		memcpy(empty->name, st->name, sizeof(empty->name));
		memcpy(empty->uuid, st->uuid, 16);
	}
	return empty;
}

static unsigned count_healthy(struct json_object *copies, const char *store)
{
	unsigned n = 0;

	for (size_t i = 0; i < json_object_array_length(copies); i++) {
		struct json_object *o = json_object_array_get_idx(copies, i);

		n += !strcmp(val_str(o, "store"), store) &&
		     copy_status_healthy(copy_status_parse(val_str(o, "status")));
	}
	return n;
}

static void tell(struct health_watch *hw, const struct group_store *st, enum redundancy_event ev,
		 unsigned healthy, uint64_t seconds)
{
	static const char *const states[] = { "", "alert", "again", "mended" };
	struct json_object *fields;

	if (ev == REDUNDANCY_NOTHING)
		return;
	fields = json_object_new_object();
	json_object_object_add(fields, "state", json_object_new_string(states[ev]));
	json_object_object_add(fields, "healthy", json_object_new_int(healthy));
	json_object_object_add(fields, "configured", json_object_new_int(st->nr_copies));
	json_object_object_add(fields, "seconds", json_object_new_int64(seconds));
	if (ev == REDUNDANCY_MENDED) {
		log_notice("store=%s redundancy=%u msg=\"enough healthy copies again\"", st->name, healthy);
		history_add(hw->ct->history, "redundancy", st->name, fields, "mended: %u healthy copies of "
			    "%u", healthy, st->nr_copies);
		return;
	}
	log_warn("store=%s redundancy=%u seconds=%llu msg=\"fewer than %d healthy copies\" "
		 "next=\"dagctl test %s\"", st->name, healthy, (unsigned long long)seconds,
		 REDUNDANCY_COPIES, st->name);
	history_add(hw->ct->history, "redundancy", st->name, fields, "%u healthy copies of %u for %llu s; "
		    "see dagctl test %s", healthy, st->nr_copies, (unsigned long long)seconds, st->name);
}

static bool answers(void *ctx, const char *member)
{
	return control_reachable(ctx, member);
}

/* What the members say of a store's copies; nothing of it is believed beyond that. */
static unsigned take_others(const struct group_store *st, struct json_object *copies, const char *self,
			    struct other_copy *ret)
{
	unsigned n = 0;

	for (size_t i = 0; i < json_object_array_length(copies) && n < GROUP_MEMBERS_MAX; i++) {
		struct json_object *o = json_object_array_get_idx(copies, i);
		struct group_copy *cp = group_find_copy((struct group_store *)st, val_str(o, "member"));
		enum copy_status status = copy_status_parse(val_str(o, "status"));
		const char *key;

		if (!cp || strcmp(val_str(o, "store"), st->name))
			continue;
		ret[n] = (struct other_copy){
			.self = !strcmp(cp->member, self),
			.active = !strcmp(cp->member, st->active),
			.healthy = copy_status_healthy(status),
			.answers = status != COPY_SERVICE_DOWN && status != COPY_STATUSES,
			.suspended = cp->suspended,
		};
		ret[n].lagged = !ret[n].active && group_copy_lagged(cp);
		snprintf(ret[n].member, sizeof(ret[n].member), "%s", cp->member);
		key = ret[n].lagged ? "durable_lsn" : "replayed_lsn";
		ret[n].known = json_object_object_get_ex(o, key, NULL);
		ret[n++].lsn = val_count(o, key);
	}
	return n;
}

/* The copy here truncates its log, and holds its lag, by what the others have. */
static void look_at_others(struct health_watch *hw, const struct group_store *st,
			   struct json_object *copies)
{
	struct other_copy list[GROUP_MEMBERS_MAX];
	unsigned n = take_others(st, copies, hw->ct->cf->member, list);
	struct watched *w;
	uint64_t low = UINT64_MAX;
	bool few = false;

	pthread_mutex_lock(&hw->lock);
	w = watched_of(hw, st);
	if (w) {
		low = others_low(&w->others, list, n, st->quota_bytes);
		few = others_few(&w->few, list, n, now_ms(), LAG_COPIES_AFTER_MS);
	}
	pthread_mutex_unlock(&hw->lock);
	pthread_rwlock_rdlock(&hw->ct->use);
	if (hw->ct->stores)
		stores_others(hw->ct->stores, st->uuid, few, low);
	pthread_rwlock_unlock(&hw->ct->use);
}

static void look_at(struct health_watch *hw, const struct group_store *st, struct json_object *copies)
{
	const struct config *cf = hw->ct->cf;
	const char *speaker = redundancy_speaker(st, answers, hw->ct);
	unsigned healthy = count_healthy(copies, st->name);
	enum redundancy_event ev = REDUNDANCY_NOTHING;
	uint64_t now = now_ms(), since = now;
	struct watched *w;

	pthread_mutex_lock(&hw->lock);
	w = watched_of(hw, st);
	if (w) {
		w->seen = true;
		since = w->red.below ? w->red.since_ms : now;
		ev = redundancy_note(&w->red, healthy, now, cf->redundancy_alert_s * 1000ull,
				     cf->redundancy_repeat_s * 1000ull,
				     speaker && !strcmp(speaker, cf->member));
	}
	pthread_mutex_unlock(&hw->lock);
	tell(hw, st, ev, healthy, (now - since) / 1000);
}

static void look(struct health_watch *hw)
{
	struct rpc_request rq = { .id = 0 };
	struct rpc_call call = { .ct = hw->ct, .rq = &rq };
	struct json_object *copies;
	struct group_state gs;

	if (control_state(&call, &gs))
		return;
	copies = group_find_member(&gs, hw->ct->cf->member) ? copies_obj(&call, &gs, NULL) : NULL;
	for (uint32_t i = 0; copies && i < gs.nr_stores; i++)
		if (!gs.stores[i].removed && group_find_copy(&gs.stores[i], hw->ct->cf->member)) {
			look_at(hw, &gs.stores[i], copies);
			look_at_others(hw, &gs.stores[i], copies);
		}
	json_object_put(copies);
	group_state_free(&gs);
	pthread_mutex_lock(&hw->lock);
	for (unsigned i = 0; i < GROUP_STORES_MAX; i++) {
		if (!hw->stores[i].seen)
			hw->stores[i].name[0] = '\0';
		hw->stores[i].seen = false;
	}
	pthread_mutex_unlock(&hw->lock);
}

/* Often enough for the times that are set. */
static unsigned look_ms(const struct config *cf)
{
	uint64_t ms = cf->redundancy_alert_s * 1000ull / 40;

	return ms > LOOK_MS_MAX ? LOOK_MS_MAX : ms < LOOK_MS_MIN ? LOOK_MS_MIN : ms;
}

static void *watch_main(void *arg)
{
	struct health_watch *hw = arg;

	while (!control_sleep(hw->ct, look_ms(hw->ct->cf)))
		look(hw);
	return NULL;
}

int health_watch_start(struct control *ct, struct health_watch **ret)
{
	struct health_watch *hw = calloc(1, sizeof(*hw));
	int r;

	if (!hw)
		return -ENOMEM;
	hw->ct = ct;
	pthread_mutex_init(&hw->lock, NULL);
	r = -pthread_create(&hw->thread, NULL, watch_main, hw);
	if (r) {
		pthread_mutex_destroy(&hw->lock);
		free(hw);
		return r;
	}
	*ret = hw;
	return 0;
}

void health_watch_stop(struct health_watch *hw)
{
	if (!hw)
		return;
	pthread_join(hw->thread, NULL);
	pthread_mutex_destroy(&hw->lock);
	free(hw);
}

bool health_watch_store(struct health_watch *hw, unsigned i, char name[32], unsigned *ret_healthy,
			bool *ret_alert)
{
	bool found = false;

	pthread_mutex_lock(&hw->lock);
	for (unsigned k = 0; k < GROUP_STORES_MAX && !found; k++) {
		const struct watched *w = &hw->stores[k];

		if (!w->name[0] || i--)
			continue;
		found = true;
		memcpy(name, w->name, sizeof(w->name));
		*ret_healthy = w->red.healthy;
		*ret_alert = redundancy_alert(&w->red, now_ms(),
					      hw->ct->cf->redundancy_alert_s * 1000ull);
	}
	pthread_mutex_unlock(&hw->lock);
	return found;
}

struct json_object *health_watch_obj(struct health_watch *hw)
{
	struct json_object *list = json_object_new_array();
	uint64_t after = hw->ct->cf->redundancy_alert_s * 1000ull, now;

	pthread_mutex_lock(&hw->lock);
	now = now_ms();
	for (unsigned i = 0; i < GROUP_STORES_MAX; i++) {
		const struct watched *w = &hw->stores[i];
		struct json_object *o;

		if (!w->name[0] || !w->red.below)
			continue;
		o = json_object_new_object();
		json_object_object_add(o, "store", json_object_new_string(w->name));
		json_object_object_add(o, "healthy", json_object_new_int(w->red.healthy));
		json_object_object_add(o, "seconds",
				       json_object_new_int64((now - w->red.since_ms) / 1000));
		json_object_object_add(o, "alert",
				       json_object_new_boolean(redundancy_alert(&w->red, now, after)));
		json_object_array_add(list, o);
	}
	pthread_mutex_unlock(&hw->lock);
	return list;
}
