// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/engine_switch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/rpc.h"
#include "daemon/group/engine_etcd.h"
#include "daemon/group/state_json.h"
#include "daemon/log.h"
#include "daemon/net/creds_internal.h"

#define ENGINE_FILE	"engine.json"

struct engine_switch {
	struct engine en;
	char state_dir[256], creds_dir[300], path[300], self[64];
	uint32_t lease_ms;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	struct engine *inner;
	unsigned users;
	bool changing;
	pthread_mutex_t use_lock;	/* one change at once */
	pthread_mutex_t call_lock;	/* of changed and ctx, held while it runs */
};

static const struct engine_ops switch_ops;

static struct engine_switch *to_switch(struct engine *en)
{
	return (struct engine_switch *)en;
}

static struct engine *get(struct engine *en)
{
	struct engine_switch *sw = to_switch(en);
	struct engine *inner;

	pthread_mutex_lock(&sw->lock);
	while (sw->changing)
		pthread_cond_wait(&sw->idle, &sw->lock);
	sw->users++;
	inner = sw->inner;
	pthread_mutex_unlock(&sw->lock);
	return inner;
}

static void put(struct engine *en)
{
	struct engine_switch *sw = to_switch(en);

	pthread_mutex_lock(&sw->lock);
	if (!--sw->users)
		pthread_cond_broadcast(&sw->idle);
	pthread_mutex_unlock(&sw->lock);
}

struct engine *engine_switch_get(struct engine *en, const char *kind)
{
	struct engine *inner;

	if (en->ops != &switch_ops)
		return NULL;
	inner = get(en);
	if (!strcmp(inner->ops->name, kind))
		return inner;
	put(en);
	return NULL;
}

void engine_switch_put(struct engine *en)
{
	put(en);
}

static void inner_changed(void *ctx)
{
	struct engine_switch *sw = ctx;

	pthread_mutex_lock(&sw->call_lock);
	if (sw->en.changed)
		sw->en.changed(sw->en.ctx);
	pthread_mutex_unlock(&sw->call_lock);
}

/* ---- which one --------------------------------------------------------------- */

static int open_inner(struct engine_switch *sw, const char *kind, const char *url,
		      struct engine **ret)
{
	struct engine_file_conf fc = { .path = sw->path, .self = sw->self,
				       .lease_ms = sw->lease_ms };
	struct engine_etcd_conf ec = { .state_dir = sw->state_dir, .creds_dir = sw->creds_dir,
				       .self = sw->self, .url = url, .changed = inner_changed,
				       .ctx = sw };
	int r;

	if (!strcmp(kind, "etcd"))
		return engine_etcd_open(&ec, ret);
	if (strcmp(kind, "file"))
		return -EINVAL;
	r = engine_file_open(&fc, ret);
	if (!r) {
		(*ret)->ctx = sw;
		(*ret)->changed = inner_changed;
	}
	return r;
}

static int store_kind(struct engine_switch *sw, const char *kind, const char *url)
{
	struct json_object *obj = json_object_new_object();
	const char *text;
	int r;

	json_object_object_add(obj, "engine", json_object_new_string(kind));
	json_object_object_add(obj, "url", json_object_new_string(url));
	text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY |
					      JSON_C_TO_STRING_NOSLASHESCAPE);
	r = creds_file_write(sw->state_dir, ENGINE_FILE, 0600, text, strlen(text));
	json_object_put(obj);
	return r;
}

static int load_kind(struct engine_switch *sw, char kind[16], char url[ETCD_URLS_MAX])
{
	const char *k = "file", *u = "";
	struct json_object *obj;
	char err[200] = "", *text;
	int r;

	strcpy(kind, "file");
	url[0] = '\0';
	r = creds_file_read(sw->state_dir, ENGINE_FILE, false, &text);
	if (r == -ENOENT)
		return 0;
	if (r)
		return r;
	obj = json_parse_strict(text, strlen(text), err, sizeof(err));
	free(text);
	if (!obj || rpc_str(obj, "engine", &k, err, sizeof(err)) ||
	    rpc_str_opt(obj, "url", &u, err, sizeof(err)) || strlen(k) >= 16 ||
	    strlen(u) >= ETCD_URLS_MAX) {
		/* guessing could bring a group back to life that has gone on elsewhere */
		log_err("engine file=%s/%s msg=\"damaged\" err=\"%s\"", sw->state_dir, ENGINE_FILE, err);
		r = -EINVAL;
	} else {
		strcpy(kind, k);
		strcpy(url, u);
	}
	json_object_put(obj);
	return r;
}

/* Nobody is in a group now: the two do not want the same files. */
static int replace(struct engine_switch *sw, const char *kind, const char *url)
{
	struct engine *old, *next = NULL;
	int r;

	pthread_mutex_lock(&sw->lock);
	sw->changing = true;
	while (sw->users)
		pthread_cond_wait(&sw->idle, &sw->lock);
	old = sw->inner;
	pthread_mutex_unlock(&sw->lock);
	r = open_inner(sw, kind, url, &next);
	if (!r)
		r = store_kind(sw, kind, url);
	if (r && next)
		next->ops->close(next);
	pthread_mutex_lock(&sw->lock);
	if (!r)
		sw->inner = next;
	sw->changing = false;
	pthread_cond_broadcast(&sw->idle);
	pthread_mutex_unlock(&sw->lock);
	if (!r)
		old->ops->close(old);
	return r;
}

static bool in_group(struct engine *inner)
{
	struct group_state gs;
	bool in = true;

	if (group_state_init(&gs))
		return in;
	if (!inner->ops->snapshot(inner, &gs))
		in = gs.uuid[0];
	group_state_free(&gs);
	return in;
}

static int op_use(struct engine *en, const char *kind, const char *url, char *err, size_t errlen)
{
	struct engine_switch *sw = to_switch(en);
	struct engine *inner;
	bool busy;
	int r = 0;

	if (strlen(url) >= ETCD_URLS_MAX || (url[0] && strcmp(kind, "etcd"))) {
		snprintf(err, errlen, "engine: the url is too long, or not for this kind of engine");
		return -EINVAL;
	}
	pthread_mutex_lock(&sw->use_lock);
	inner = get(en);
	busy = in_group(inner);
	put(en);
	if (busy)
		r = -EBUSY;
	else
		r = replace(sw, kind, url);
	pthread_mutex_unlock(&sw->use_lock);
	if (r)
		snprintf(err, errlen, "engine %s: %s", kind, r == -EINVAL ? "no such kind; use file or "
			 "etcd" : strerror(-r));
	return r;
}

/* ---- ops ----------------------------------------------------------------------- */

static int op_snapshot(struct engine *en, struct group_state *ret)
{
	struct engine *in = get(en);
	int r = in->ops->snapshot(in, ret);

	put(en);
	return r;
}

static int op_txn_group(struct engine *en, int (*edit)(struct group_state *gs, void *ctx), void *ctx,
			char *err, size_t errlen)
{
	struct engine *in = get(en);
	int r = in->ops->txn_group(in, edit, ctx, err, errlen);

	put(en);
	return r;
}

static int op_txn_store(struct engine *en, const uint8_t uuid[16], uint32_t expect_epoch,
			int (*edit)(struct group_store *st, void *ctx), void *ctx, char *err,
			size_t errlen)
{
	struct engine *in = get(en);
	int r = in->ops->txn_store(in, uuid, expect_epoch, edit, ctx, err, errlen);

	put(en);
	return r;
}

static int op_learn(struct engine *en, const struct group_state *from)
{
	struct engine *in = get(en);
	int r = in->ops->learn(in, from);

	put(en);
	return r;
}

/* Back to where a daemon without a group begins. */
static int op_forget(struct engine *en, bool refused)
{
	struct engine *in = get(en);
	bool file = !strcmp(in->ops->name, "file");
	char err[200];
	int r = in->ops->forget(in, refused);

	put(en);
	if (!r && !file)
		r = op_use(en, "file", "", err, sizeof(err));
	if (!r && !file)
		inner_changed(to_switch(en));
	return r;
}

static int op_renew(struct engine *en, uint64_t *ret_deadline_boot_ns, uint64_t *ret_fence)
{
	struct engine *in = get(en);
	int r = in->ops->renew(in, ret_deadline_boot_ns, ret_fence);

	put(en);
	return r;
}

static void op_facts(struct engine *en, const struct engine_fact *facts, unsigned nr)
{
	struct engine *in = get(en);

	if (in->ops->facts)
		in->ops->facts(in, facts, nr);
	put(en);
}

static int op_fence(struct engine *en, uint64_t *ret)
{
	struct engine *in = get(en);
	int r = in->ops->fence ? in->ops->fence(in, ret) : -EOPNOTSUPP;

	put(en);
	return r;
}

static int op_accept_fence(struct engine *en, uint64_t fence)
{
	struct engine *in = get(en);
	int r = in->ops->accept_fence ? in->ops->accept_fence(in, fence) : -EOPNOTSUPP;

	put(en);
	return r;
}

static int op_release(struct engine *en)
{
	struct engine *in = get(en);
	int r = in->ops->release ? in->ops->release(in) : 0;

	put(en);
	return r;
}

static unsigned op_hosts(struct engine *en, struct engine_host *ret, unsigned max)
{
	struct engine *in = get(en);
	unsigned n = in->ops->hosts ? in->ops->hosts(in, ret, max) : 0;

	put(en);
	return n;
}

static int op_claim(struct engine *en, const struct engine_claim *claim,
		    int (*edit)(struct group_state *gs, void *ctx), void *ctx, char *err,
		    size_t errlen)
{
	struct engine *in = get(en);
	int r = -EOPNOTSUPP;

	if (in->ops->claim)
		r = in->ops->claim(in, claim, edit, ctx, err, errlen);
	else
		snprintf(err, errlen, "engine %s: has no leases", in->ops->name);
	put(en);
	return r;
}

static int op_confirm(struct engine *en, unsigned timeout_ms)
{
	struct engine *in = get(en);
	int r = in->ops->confirm ? in->ops->confirm(in, timeout_ms) : 0;

	put(en);
	return r;
}

static int op_restore(struct engine *en, const struct group_state *gs, char *err, size_t errlen)
{
	struct engine *in = get(en);
	int r = -EOPNOTSUPP;

	if (in->ops->restore)
		r = in->ops->restore(in, gs, err, errlen);
	else
		snprintf(err, errlen, "engine %s: has no majority that could be lost", in->ops->name);
	put(en);
	return r;
}

static void op_health(struct engine *en, struct engine_health *ret)
{
	struct engine *in = get(en);

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->kind, sizeof(ret->kind), "%s", in->ops->name);
	if (in->ops->health)
		in->ops->health(in, ret);
	else
		ret->confirmed = true;
	put(en);
}

static void op_listen(struct engine *en, void (*changed)(void *ctx), void *ctx)
{
	struct engine_switch *sw = to_switch(en);

	pthread_mutex_lock(&sw->call_lock);
	en->changed = changed;
	en->ctx = ctx;
	pthread_mutex_unlock(&sw->call_lock);
}

static void op_close(struct engine *en)
{
	struct engine_switch *sw = to_switch(en);

	op_listen(en, NULL, NULL);
	if (sw->inner)
		sw->inner->ops->close(sw->inner);
	pthread_mutex_destroy(&sw->lock);
	pthread_mutex_destroy(&sw->use_lock);
	pthread_mutex_destroy(&sw->call_lock);
	pthread_cond_destroy(&sw->idle);
	free(sw);
}

static const struct engine_ops switch_ops = {
	.name = "switch",
	.snapshot = op_snapshot,
	.txn_group = op_txn_group,
	.txn_store = op_txn_store,
	.learn = op_learn,
	.forget = op_forget,
	.renew = op_renew,
	.facts = op_facts,
	.fence = op_fence,
	.accept_fence = op_accept_fence,
	.release = op_release,
	.hosts = op_hosts,
	.claim = op_claim,
	.confirm = op_confirm,
	.restore = op_restore,
	.health = op_health,
	.use = op_use,
	.listen = op_listen,
	.close = op_close,
};

int engine_switch_open(const struct engine_switch_conf *conf, struct engine **ret)
{
	struct engine_switch *sw = calloc(1, sizeof(*sw));
	char kind[16], url[ETCD_URLS_MAX];
	int r;

	if (!sw)
		return -ENOMEM;
	sw->en.ops = &switch_ops;
	snprintf(sw->state_dir, sizeof(sw->state_dir), "%s", conf->state_dir);
	snprintf(sw->creds_dir, sizeof(sw->creds_dir), "%s/creds", conf->state_dir);
	snprintf(sw->path, sizeof(sw->path), "%s/group.json", conf->state_dir);
	snprintf(sw->self, sizeof(sw->self), "%s", conf->self);
	sw->lease_ms = conf->lease_ms;
	pthread_mutex_init(&sw->lock, NULL);
	pthread_mutex_init(&sw->use_lock, NULL);
	pthread_mutex_init(&sw->call_lock, NULL);
	pthread_cond_init(&sw->idle, NULL);
	r = load_kind(sw, kind, url);
	if (!r)
		r = open_inner(sw, kind, url, &sw->inner);
	if (r) {
		op_close(&sw->en);
		return r;
	}
	*ret = &sw->en;
	return 0;
}
