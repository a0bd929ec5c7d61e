// SPDX-License-Identifier: GPL-2.0
/*
 * engine_etcd - life of the engine, the thread that polls, the copy on disk.
 *
 * Poll: a range over the group's keys that were changed since the last one, of
 * whatever etcd member answers, several times within a period of the lease. Until a
 * majority has confirmed the copy, once a second after that, and whenever somebody
 * needs the newest state, the same range is asked linearizable: this finds an etcd
 * that answers but is cut off from the others.
 */
#include "daemon/group/engine_etcd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "daemon/group/engine_etcd_int.h"
#include "daemon/group/lease.h"
#include "daemon/group/state_json.h"
#include "daemon/net/relay.h"
#include "daemon/log.h"
#include "daemon/net/creds_internal.h"

#define CACHE_FILE	"engine-state.json"
#define CACHE_BYTES_MAX	(16u << 20)
#define POLL_MS_MAX	500
#define POLL_MS_MIN	20
#define LINEAR_MS_MIN	1000	/* a majority is asked once in a period of the lease, */
#define LINEAR_MS_MAX	2000	/* within these bounds */
#define SAVE_MS		200	/* not more often: a copy, for the next start */
#define PARTS		4	/* attempts within a lease */

uint64_t etcd_boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

static void default_profile(struct group_state *gs)
{
	if (!gs->profile.lease_ms || !gs->profile.lease_period_ms)
		lease_profile_named("lan", &gs->profile);
}

unsigned etcd_attempt_ms(struct engine_etcd *ee)
{
	unsigned ms = ee->vw.gs.profile.lease_ms / PARTS;

	return ms ? ms : 1;
}

/* ---- handles -------------------------------------------------------------- */

struct etcd_http *etcd_handle_get(struct engine_etcd *ee)
{
	struct etcd_http *eh = NULL;
	int i;

	pthread_mutex_lock(&ee->lock);
	while (!eh && !ee->stop) {
		for (i = 0; i < HANDLES_MAX && ee->handles[i].busy; i++)
			;
		if (i == HANDLES_MAX) {
			pthread_cond_wait(&ee->handle_free, &ee->lock);
			continue;
		}
		if (!ee->handles[i].eh && etcd_http_open(ee->ee, false, &ee->handles[i].eh))
			break;
		ee->handles[i].busy = true;
		eh = ee->handles[i].eh;
	}
	pthread_mutex_unlock(&ee->lock);
	return eh;
}

void etcd_handle_put(struct engine_etcd *ee, struct etcd_http *eh)
{
	int i;

	pthread_mutex_lock(&ee->lock);
	for (i = 0; i < HANDLES_MAX; i++)
		if (ee->handles[i].eh == eh)
			ee->handles[i].busy = false;
	pthread_cond_broadcast(&ee->handle_free);
	pthread_mutex_unlock(&ee->lock);
}

/* ---- reading -------------------------------------------------------------- */

void etcd_note_contact(struct engine_etcd *ee, uint64_t t0_ns)
{
	if (t0_ns > ee->contact_ns)
		ee->contact_ns = t0_ns;
	ee->error[0] = '\0';
}

void etcd_state_changed(struct engine_etcd *ee)
{
	void (*changed)(void *ctx);
	void *ctx;

	pthread_mutex_lock(&ee->lock);
	default_profile(&ee->vw.gs);
	etcd_set_endpoints(ee);
	ee->dirty = true;
	pthread_cond_broadcast(&ee->wake);
	changed = ee->en.changed;
	ctx = ee->en.ctx;
	pthread_mutex_unlock(&ee->lock);
	if (changed)
		changed(ctx);
}

/* Take an answer in; with the lock. Bits of what changed, or why it cannot be taken. */
static int take(struct engine_etcd *ee, struct etcd_reply *rp, bool full, bool linear, uint64_t t0)
{
	char err[200] = "";
	uint64_t cluster = ee->vw.cluster;
	bool first;
	int r;

	if (!ee->vw.uuid[0])
		return -ENOENT;
	r = etcd_view_read(&ee->vw, rp, full, etcd_boot_ns(), err, sizeof(err));
	if (r == -EREMCHG || (r < 0 && !full))
		ee->asked_all = true;
	if (r < 0) {
		if (err[0] && strcmp(err, ee->error))
			log_err("group=%s engine=%016" PRIx64 " err=\"%s\"", ee->vw.gs.name,
				rp->cluster, err);
		snprintf(ee->error, sizeof(ee->error), "%s", err);
		return r;
	}
	default_profile(&ee->vw.gs);
	if (cluster && cluster != ee->vw.cluster) {
		log_notice("group=%s generation=%" PRIu64 " engine=%016" PRIx64
			   " msg=\"the group was restored\"", ee->vw.gs.name, ee->vw.generation,
			   ee->vw.cluster);
		ee->accepted = ee->granted_ms = 0;
		ee->confirmed = false;
	}
	if (full)
		ee->asked_all = false;
	first = linear && !ee->confirmed;
	if (linear) {
		etcd_note_contact(ee, t0);
		ee->confirmed = true;
	}
	if (first)
		log_info("group=%s engine=%016" PRIx64 " revision=%" PRIu64 " msg=\"state is confirmed\"",
			 ee->vw.gs.name, rp->cluster, rp->revision);
	return r | (first ? VIEW_STATE : 0);
}

static int read_keys(struct engine_etcd *ee, struct etcd_http *eh, bool linear, unsigned timeout_ms)
{
	char from[VIEW_KEY_MAX], to[VIEW_KEY_MAX], uuid[37];
	struct etcd_reply rp = { .nr = 0 };
	uint64_t min_mod, t0;
	bool full;
	int r;

	pthread_mutex_lock(&ee->lock);
	memcpy(uuid, ee->vw.uuid, sizeof(uuid));
	full = ee->asked_all || !ee->vw.revision;
	min_mod = full ? 0 : ee->vw.revision + 1;
	pthread_mutex_unlock(&ee->lock);
	if (!uuid[0])
		return -ENOENT;
	etcd_key_range(uuid, NULL, from, to);
	t0 = etcd_boot_ns();
	r = etcd_range(eh, from, to, !linear, min_mod, timeout_ms, &rp);
	pthread_mutex_lock(&ee->lock);
	if (r) {
		snprintf(ee->error, sizeof(ee->error), "%.199s", etcd_http_error(eh));
		r = -EAGAIN;
	} else if (strcmp(uuid, ee->vw.uuid)) {
		r = -ENOENT;
	} else {
		r = take(ee, &rp, full, linear, t0);
		/* a former generation's, which answers well and would be asked for ever */
		if (r == -ESTALE || r == -ENODATA)
			etcd_http_avoid(eh);
	}
	pthread_mutex_unlock(&ee->lock);
	etcd_reply_free(&rp);
	if (r > 0 && r & VIEW_STATE)
		etcd_state_changed(ee);
	return r;
}

int etcd_refresh(struct engine_etcd *ee, struct etcd_http *eh, unsigned timeout_ms)
{
	int r = read_keys(ee, eh, true, timeout_ms);

	if (r == -EREMCHG)
		r = read_keys(ee, eh, true, timeout_ms);
	return r < 0 ? r == -ENOENT ? r : -EAGAIN : 0;
}

int etcd_refresh_within(struct engine_etcd *ee, struct etcd_http *eh, unsigned timeout_ms)
{
	uint64_t end = etcd_boot_ns() + (uint64_t)timeout_ms * 1000000u, now;
	const struct timespec pause = { .tv_nsec = 10000000 };
	int r = -EAGAIN;

	while (r == -EAGAIN && (now = etcd_boot_ns()) < end) {
		unsigned left = (end - now) / 1000000u + 1, one;

		pthread_mutex_lock(&ee->lock);
		one = 2 * etcd_attempt_ms(ee);
		pthread_mutex_unlock(&ee->lock);
		r = etcd_refresh(ee, eh, one < left ? one : left);
		if (r == -EAGAIN)
			nanosleep(&pause, NULL);
	}
	return r;
}

int etcd_put_in(struct engine_etcd *ee, const char *key, const char *value, uint64_t mod)
{
	struct etcd_kv kv = { .mod = mod, .value = (char *)value, .len = strlen(value) };
	char err[200];
	int r;

	snprintf(kv.key, sizeof(kv.key), "%s", key);
	r = etcd_view_take(&ee->vw, &kv, etcd_boot_ns(), err, sizeof(err));
	if (r < 0)	/* it was parsed before it was sent: the next poll will tell */
		log_err("group=%s err=\"%s\"", ee->vw.gs.name, err);
	return r;
}

static unsigned poll_ms(struct engine_etcd *ee)
{
	unsigned ms = ee->vw.gs.profile.lease_period_ms / 3;

	return ms > POLL_MS_MAX ? POLL_MS_MAX : ms < POLL_MS_MIN ? POLL_MS_MIN : ms;
}

/* What it finds out is told by the own renewal, too, which fails without a majority. */
static unsigned linear_ms(struct engine_etcd *ee)
{
	unsigned ms = ee->vw.gs.profile.lease_period_ms;

	return ms > LINEAR_MS_MAX ? LINEAR_MS_MAX : ms < LINEAR_MS_MIN ? LINEAR_MS_MIN : ms;
}

static void nap(struct engine_etcd *ee, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ms * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (!ee->stop && !ee->kicked)
		if (pthread_cond_timedwait(&ee->wake, &ee->lock, &until))
			break;
	ee->kicked = false;
}

static void *poll_main(void *arg)
{
	struct engine_etcd *ee = arg;
	struct etcd_http *eh = NULL;
	uint64_t linear_ns = 0;
	unsigned ms;
	bool linear, group;

	if (etcd_http_open(ee->ee, false, &eh))
		abort();	/* out of memory at the start */
	pthread_mutex_lock(&ee->lock);
	while (!ee->stop) {
		linear = !ee->confirmed || etcd_boot_ns() - linear_ns > linear_ms(ee) * 1000000ull;
		if (linear)
			linear_ns = etcd_boot_ns();
		group = ee->vw.uuid[0];
		/* nothing waits for one that only follows, and its first handshake with
		 * the later generation may take a while */
		ms = ee->vw.least ? LINEAR_MS_MIN : etcd_attempt_ms(ee);
		pthread_mutex_unlock(&ee->lock);
		if (group)
			read_keys(ee, eh, linear, ms);
		pthread_mutex_lock(&ee->lock);
		nap(ee, group ? poll_ms(ee) : 1000);
	}
	pthread_mutex_unlock(&ee->lock);
	etcd_http_close(eh);
	return NULL;
}

/* ---- the copy on disk ------------------------------------------------------ */

int etcd_save(struct engine_etcd *ee)
{
	struct json_object *obj = json_object_new_object();
	struct group_state gs = { .stores = NULL };
	const char *text;
	int r;

	pthread_mutex_lock(&ee->save_lock);
	pthread_mutex_lock(&ee->lock);
	ee->dirty = false;
	r = group_state_copy(&gs, &ee->vw.gs);
	pthread_mutex_unlock(&ee->lock);
	if (!r) {
		json_object_object_add(obj, "state", group_state_to_obj(&gs));
		text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY |
						      JSON_C_TO_STRING_NOSLASHESCAPE);
		r = creds_file_write(ee->state_dir, CACHE_FILE, 0600, text, strlen(text));
	}
	pthread_mutex_unlock(&ee->save_lock);
	group_state_free(&gs);
	json_object_put(obj);
	return r;
}

static void *save_main(void *arg)
{
	struct engine_etcd *ee = arg;
	const struct timespec pause = { .tv_nsec = SAVE_MS * 1000000l };

	pthread_mutex_lock(&ee->lock);
	while (!ee->stop) {
		if (!ee->dirty || !ee->vw.uuid[0]) {
			pthread_cond_wait(&ee->wake, &ee->lock);
			continue;
		}
		pthread_mutex_unlock(&ee->lock);
		etcd_save(ee);
		nanosleep(&pause, NULL);
		pthread_mutex_lock(&ee->lock);
	}
	pthread_mutex_unlock(&ee->lock);
	return NULL;
}

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = f ? malloc(CACHE_BYTES_MAX + 1) : NULL;
	size_t n = text ? fread(text, 1, CACHE_BYTES_MAX, f) : 0;

	if (f)
		fclose(f);
	if (text)
		text[n] = '\0';
	return text;
}

/* A damaged copy is no harm where the group is known otherwise: but here it is not. */
static int load(struct engine_etcd *ee)
{
	struct json_object *obj, *state;
	char path[340], err[200] = "", *text;
	int r = -EINVAL;

	snprintf(path, sizeof(path), "%s/%s", ee->state_dir, CACHE_FILE);
	if (access(path, F_OK))
		return errno == ENOENT ? 0 : -errno;
	text = read_file(path);
	if (!text)
		return -EIO;
	obj = json_parse_strict(text, strlen(text), err, sizeof(err));
	free(text);
	if (obj && json_object_object_get_ex(obj, "state", &state))
		r = group_state_from_obj(state, &ee->vw.gs, err, sizeof(err));
	json_object_put(obj);
	if (r) {
		log_err("state file=%s err=\"%s\" msg=\"restore it from another member\"", path, err);
		return r;
	}
	memcpy(ee->vw.uuid, ee->vw.gs.uuid, sizeof(ee->vw.uuid));
	ee->vw.generation = ee->vw.gs.generation;
	return 0;
}

/* ---- ops ------------------------------------------------------------------- */

static int op_snapshot(struct engine *en, struct group_state *ret)
{
	struct engine_etcd *ee = to_etcd(en);
	int r;

	pthread_mutex_lock(&ee->lock);
	r = group_state_copy(ret, &ee->vw.gs);
	ret->unconfirmed = !ee->confirmed;
	pthread_mutex_unlock(&ee->lock);
	return r;
}

static bool is_newer(const struct group_state *gs, const struct group_state *than)
{
	return gs->generation > than->generation ||
	       (gs->generation == than->generation && gs->version > than->version);
}

/*
 * From a join: the group to be in. Later: what another member knows counts for
 * nothing here but as a place where etcd may be found.
 */
static int op_learn(struct engine *en, const struct group_state *from)
{
	struct engine_etcd *ee = to_etcd(en);
	bool join;
	int r = 0;

	if (!from->uuid[0])
		return 0;
	pthread_mutex_lock(&ee->lock);
	join = !ee->vw.uuid[0];
	if (!join && strcmp(ee->vw.uuid, from->uuid)) {
		r = -EXDEV;
	} else if (join) {
		r = group_state_copy(&ee->vw.gs, from);
		if (!r)
			memcpy(ee->vw.uuid, from->uuid, sizeof(ee->vw.uuid));
		ee->vw.generation = from->generation;
		default_profile(&ee->vw.gs);
	} else if (is_newer(from, &ee->vw.gs) && !(ee->hint.uuid[0] && is_newer(&ee->hint, from))) {
		r = group_state_copy(&ee->hint, from);
	}
	if (!r)
		etcd_set_endpoints(ee);
	ee->kicked = true;
	pthread_cond_broadcast(&ee->wake);
	pthread_mutex_unlock(&ee->lock);
	if (!r && join)
		r = etcd_save(ee);
	if (!r && join)
		etcd_state_changed(ee);
	return r;
}

static int op_forget(struct engine *en, bool refused)
{
	struct engine_etcd *ee = to_etcd(en);
	char path[340];
	int r = 0;

	/* until the manager has taken its vote away, the others may need it */
	if (!refused && etcd_counted(ee))
		return -EBUSY;
	pthread_mutex_lock(&ee->lock);
	if (!refused && (group_find_member(&ee->vw.gs, ee->self) || !ee->confirmed ||
			 !strcmp(ee->vw.gs.witness.name, ee->self))) {
		r = -EBUSY;
	} else {
		ee->vw.uuid[0] = '\0';
		ee->vw.revision = ee->vw.generation = ee->vw.cluster = 0;
		ee->vw.nr_hosts = 0;
		ee->accepted = 0;
		ee->confirmed = false;
		group_state_free(&ee->vw.gs);
		r = group_state_init(&ee->vw.gs);
	}
	pthread_mutex_unlock(&ee->lock);
	if (r)
		return r;
	if (ee->child)
		r = etcd_child_end(ee->child);
	snprintf(path, sizeof(path), "%s/%s", ee->state_dir, CACHE_FILE);
	if (unlink(path) && errno != ENOENT)
		r = -errno;
	return r;
}

static int op_confirm(struct engine *en, unsigned timeout_ms)
{
	struct engine_etcd *ee = to_etcd(en);
	struct etcd_http *eh = etcd_handle_get(ee);
	int r;

	if (!eh)
		return -ESHUTDOWN;
	r = etcd_refresh_within(ee, eh, timeout_ms);
	etcd_handle_put(ee, eh);
	return r;
}

static void op_health(struct engine *en, struct engine_health *ret)
{
	struct engine_etcd *ee = to_etcd(en);
	struct etcd_child_view cv = { .pid = 0 };
	struct relay_view rv;
	uint64_t now;

	memset(ret, 0, sizeof(*ret));
	snprintf(ret->kind, sizeof(ret->kind), "etcd");
	if (ee->child)
		etcd_child_look(ee->child, &cv);
	pthread_mutex_lock(&ee->lock);
	now = etcd_boot_ns();
	ret->confirmed = ee->confirmed;
	ret->age_ms = ee->contact_ns ? (int64_t)((now - ee->contact_ns) / 1000000u) : -1;
	ret->revision = ee->vw.revision;
	ret->pid = cv.pid;
	ret->voters = ee->voters;
	ret->learners = ee->learners;
	if (ee->relay) {
		relay_look(ee->relay, &rv);
		ret->connections = rv.bonds;
		ret->ways = rv.ways;
	}
	snprintf(ret->error, sizeof(ret->error), "%.150s%s%.150s", cv.error,
		 cv.error[0] && ee->error[0] ? "; " : "", ee->error);
	pthread_mutex_unlock(&ee->lock);
}

static void finish(struct engine_etcd *ee, bool abandon)
{
	int i;

	pthread_mutex_lock(&ee->lock);
	ee->stop = true;
	pthread_cond_broadcast(&ee->wake);
	pthread_cond_broadcast(&ee->handle_free);
	pthread_mutex_unlock(&ee->lock);
	if (ee->threads) {
		pthread_join(ee->poll_thread, NULL);
		pthread_join(ee->save_thread, NULL);
	}
	if (ee->dirty && ee->vw.uuid[0] && !abandon)
		etcd_save(ee);
	if (abandon)
		etcd_child_abandon(ee->child);
	else
		etcd_child_close(ee->child);
	for (i = 0; i < HANDLES_MAX; i++)
		etcd_http_close(ee->handles[i].eh);
	etcd_http_close(ee->renew_eh);
	etcd_endpoints_free(ee->ee);
	/* last: until etcd has ended, it hands over through it */
	relay_close(ee->relay);
	etcd_view_free(&ee->vw);
	group_state_free(&ee->hint);
	pthread_mutex_destroy(&ee->lock);
	pthread_mutex_destroy(&ee->renew_lock);
	pthread_mutex_destroy(&ee->save_lock);
	pthread_mutex_destroy(&ee->tend_lock);
	pthread_cond_destroy(&ee->wake);
	pthread_cond_destroy(&ee->handle_free);
	free(ee);
}

static void op_close(struct engine *en)
{
	finish(to_etcd(en), false);
}

void engine_etcd_abandon(struct engine *en)
{
	finish(to_etcd(en), true);
}

static const struct engine_ops etcd_ops = {
	.name = "etcd",
	.snapshot = op_snapshot,
	.txn_group = etcd_txn_group_op,
	.txn_store = etcd_txn_store_op,
	.learn = op_learn,
	.forget = op_forget,
	.renew = etcd_renew_op,
	.facts = etcd_facts_op,
	.fence = etcd_fence_op,
	.accept_fence = etcd_accept_fence_op,
	.release = etcd_release_op,
	.hosts = etcd_hosts_op,
	.claim = etcd_claim_op,
	.confirm = op_confirm,
	.restore = etcd_restore_op,
	.health = op_health,
	.close = op_close,
};

/* ---- open ------------------------------------------------------------------ */

/* The user's etcd has an authority of its own, if any. */
static void tls_of(const struct engine_etcd_conf *conf, struct etcd_tls *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!conf->url[0]) {
		snprintf(ret->ca, sizeof(ret->ca), "%s/%s", conf->creds_dir, CREDS_CA_CRT);
		snprintf(ret->cert, sizeof(ret->cert), "%s/%s", conf->creds_dir, CREDS_CRT);
		snprintf(ret->key, sizeof(ret->key), "%s/%s", conf->creds_dir, CREDS_KEY);
		return;
	}
	snprintf(ret->ca, sizeof(ret->ca), "%s/engine-url/ca.crt", conf->state_dir);
	snprintf(ret->cert, sizeof(ret->cert), "%s/engine-url/client.crt", conf->state_dir);
	snprintf(ret->key, sizeof(ret->key), "%s/engine-url/client.key", conf->state_dir);
	if (access(ret->ca, F_OK))
		ret->ca[0] = '\0';
	if (access(ret->cert, F_OK) || access(ret->key, F_OK))
		ret->cert[0] = ret->key[0] = '\0';
}

static int open_parts(struct engine_etcd *ee, const struct engine_etcd_conf *conf)
{
	struct etcd_child_conf cc = { .creds_dir = conf->creds_dir, .name = conf->self };
	struct etcd_tls tls;
	char dir[320];
	int r;

	tls_of(conf, &tls);
	r = etcd_view_init(&ee->vw);
	if (!r && getrandom(&ee->tag_seed, sizeof(ee->tag_seed), 0) != sizeof(ee->tag_seed))
		r = -EIO;
	if (!r)
		r = etcd_endpoints_create(&tls, &ee->ee);
	if (!r)
		etcd_endpoints_socket(ee->ee, etcd_socket, ee);
	if (!r)
		r = etcd_http_open(ee->ee, true, &ee->renew_eh);
	if (!r)
		r = load(ee);
	if (r)
		return r;
	default_profile(&ee->vw.gs);
	etcd_set_endpoints(ee);
	if (!conf->url[0]) {
		snprintf(dir, sizeof(dir), "%s/engine", conf->state_dir);
		cc.dir = dir;
		r = etcd_child_open(&cc, &ee->child);
	}
	return r;
}

static int start_threads(struct engine_etcd *ee)
{
	int r = -pthread_create(&ee->poll_thread, NULL, poll_main, ee);

	if (r)
		return r;
	r = -pthread_create(&ee->save_thread, NULL, save_main, ee);
	if (!r) {
		ee->threads = true;
		return 0;
	}
	pthread_mutex_lock(&ee->lock);
	ee->stop = true;
	pthread_cond_broadcast(&ee->wake);
	pthread_mutex_unlock(&ee->lock);
	pthread_join(ee->poll_thread, NULL);
	return r;
}

int engine_etcd_open(const struct engine_etcd_conf *conf, struct engine **ret)
{
	struct engine_etcd *ee = calloc(1, sizeof(*ee));
	pthread_condattr_t attr;
	int r;

	if (!ee)
		return -ENOMEM;
	ee->en.ops = &etcd_ops;
	ee->en.changed = conf->changed;
	ee->en.ctx = conf->ctx;
	snprintf(ee->state_dir, sizeof(ee->state_dir), "%s", conf->state_dir);
	snprintf(ee->creds_dir, sizeof(ee->creds_dir), "%s", conf->creds_dir);
	snprintf(ee->self, sizeof(ee->self), "%s", conf->self);
	snprintf(ee->url, sizeof(ee->url), "%s", conf->url);
	pthread_mutex_init(&ee->lock, NULL);
	pthread_mutex_init(&ee->renew_lock, NULL);
	pthread_mutex_init(&ee->save_lock, NULL);
	pthread_mutex_init(&ee->tend_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ee->wake, &attr);
	pthread_cond_init(&ee->handle_free, NULL);
	pthread_condattr_destroy(&attr);
	r = open_parts(ee, conf);
	if (!r)
		r = start_threads(ee);
	if (r) {
		log_err("engine dir=%s msg=\"not opened\" err=\"%s\"", conf->state_dir, strerror(-r));
		finish(ee, false);
		return r;
	}
	*ret = &ee->en;
	return 0;
}
