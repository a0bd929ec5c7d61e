// SPDX-License-Identifier: GPL-2.0
/*
 * control - life of the control plane, and the thread that applies the state.
 *
 * The stores exist while this member is in a group: `apply` makes them when a
 * group with a valid certificate appears and takes them away when this member
 * was removed from its group.
 */
#include "daemon/control/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/control/authority.h"
#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/control/group_addr.h"
#include "daemon/control/handover.h"
#include "daemon/control/health_watch.h"
#include "daemon/control/invite.h"
#include "daemon/control/manager.h"
#include "daemon/control/networks.h"
#include "daemon/control/serve_metrics.h"
#include "daemon/group/renewal.h"
#include "daemon/net/heartbeat_udp.h"
#include "daemon/watchdog.h"

#define LEAVE_MS	20000	/* no store is begun with after that */
#define CAST_OUT_MS	5000	/* no majority answered for so long */

struct stores *control_use(struct rpc_call *call)
{
	struct control *ct = call->ct;

	pthread_rwlock_rdlock(&ct->use);
	if (ct->stores)
		return ct->stores;
	if (ct->stopped)
		call_fail(call, -ENOENT, "member %s: is stopped; run dagctl group start %s",
			  ct->cf->member, ct->cf->member);
	else
		call_fail(call, -ENOENT,
			  "member %s: in no group; run dagctl group create or group join",
			  ct->cf->member);
	pthread_rwlock_unlock(&ct->use);
	return NULL;
}

void control_unuse(struct control *ct)
{
	pthread_rwlock_unlock(&ct->use);
}

int control_state(struct rpc_call *call, struct group_state *ret)
{
	struct group_state gs;
	int r;

	r = group_state_init(&gs);
	if (r)
		return r;
	r = call->ct->engine->ops->snapshot(call->ct->engine, &gs);
	if (!r && !gs.uuid[0])
		r = call_fail(call, -ENOENT,
			      "member %s: in no group; run dagctl group create or group join",
			      call->ct->cf->member);
	if (r)
		group_state_free(&gs);
	else
		*ret = gs;
	return r;
}

void control_changed(void *ctx)
{
	struct control *ct = ctx;

	pthread_mutex_lock(&ct->lock);
	ct->changes++;
	pthread_cond_broadcast(&ct->wake);
	pthread_mutex_unlock(&ct->lock);
}

void control_wait_applied(struct control *ct)
{
	uint64_t want;

	pthread_mutex_lock(&ct->lock);
	want = ct->changes;
	while (ct->applied < want && !ct->stopping)
		pthread_cond_wait(&ct->wake, &ct->lock);
	pthread_mutex_unlock(&ct->lock);
}

bool control_sleep(struct control *ct, unsigned ms)
{
	struct pollfd pfd = { .fd = ct->stop_fd, .events = POLLIN };

	return poll(&pfd, 1, ms) > 0;
}

void control_allow(struct control *ct, bool may)
{
	pthread_rwlock_rdlock(&ct->use);
	if (ct->stores)
		stores_allow(ct->stores, may);
	pthread_rwlock_unlock(&ct->use);
}

/* By the heartbeats, or where there are none by the calls of the peers. */
bool control_reachable(struct control *ct, const char *member)
{
	struct heartbeats *hs;
	struct peer_view pv;

	if (!strcmp(member, ct->cf->member))
		return true;
	hs = control_heartbeats(ct);
	if (hs && heartbeats_on(hs))
		return heartbeats_reachable(hs, member);
	peers_view(ct, member, &pv);
	return pv.reachable;
}

/* Who stops, or whose disk hangs and whose lease is let go for it, activates nothing. */
bool control_may_take(struct control *ct, const char *member)
{
	struct heartbeats *hs = control_heartbeats(ct);
	struct heartbeats_member hm;

	if (!control_reachable(ct, member))
		return false;
	return !hs || heartbeats_member(hs, member, &hm) || !(hm.flags & DAG_BEAT_LEAVING);
}

/* ---- heartbeats ---------------------------------------------------------------- */

static const struct { uint32_t flag; const char *text; } beat_words[] = {
	{ DAG_BEAT_STOPPING, "its daemon is being stopped" },
	{ DAG_BEAT_PANIC, "its kernel panics" },
	{ DAG_BEAT_DISK, "a disk hangs, it lets its lease go" },
};

static void beat_heard(void *ctx, const char *member, uint64_t generation, bool dac_bit)
{
	struct control *ct = ctx;

	if (ct->manager)
		manager_heard(ct->manager, member, generation, dac_bit);
}

/* It says so itself: its lease, not this, tells when its stores may be taken. */
static void beat_says(void *ctx, const char *member, uint32_t flags)
{
	struct control *ct = ctx;

	for (unsigned i = 0; i < sizeof(beat_words) / sizeof(beat_words[0]); i++) {
		if (!(flags & beat_words[i].flag))
			continue;
		log_notice("member=%s says=\"%s\"", member, beat_words[i].text);
		history_add(ct->history, "peer", "", NULL, "%s says: %s", member, beat_words[i].text);
	}
}

/* They begin with the first state that has a key, and end with the control. */
static void beat(struct control *ct, struct group_state *gs)
{
	struct heartbeats_conf conf = {
		.self = ct->cf->member,
		.port = ct->cf->port,
		.bind = networks_local(ct) ? ct->cf->address : "",
		.ctx = ct,
		.heard = beat_heard,
		.says = beat_says,
		.path = networks_path,
		.moved = networks_moved,
		.refused = networks_refused,
	};

	struct heartbeats *hs = ct->heartbeats;
	int r = 0;

	if (!gs->heartbeat_key[0])
		return;
	if (!hs)
		r = heartbeats_start(&conf, &hs);
	if (!r)
		r = heartbeats_update(hs, gs);
	if (r)
		log_err("heartbeat msg=\"not sent\" err=\"%s\"", strerror(-r));
	__atomic_store_n(&ct->heartbeats, hs, __ATOMIC_RELEASE);
}

struct heartbeats *control_heartbeats(struct control *ct)
{
	return __atomic_load_n(&ct->heartbeats, __ATOMIC_ACQUIRE);
}

/* ---- hooks of the lease: `use` is only tried, they may not wait -------------- */

static unsigned lease_facts(void *ctx, struct engine_fact *ret, unsigned max)
{
	struct control *ct = ctx;
	unsigned n = 0;

	if (pthread_rwlock_tryrdlock(&ct->use))
		return 0;
	if (ct->stores)
		n = stores_facts(ct->stores, ret, max);
	pthread_rwlock_unlock(&ct->use);
	return n;
}

static bool lease_settled(void *ctx)
{
	struct control *ct = ctx;
	struct group_state gs;
	bool settled = false;

	if (group_state_init(&gs))
		return false;
	if (!ct->engine->ops->snapshot(ct->engine, &gs) && !pthread_rwlock_tryrdlock(&ct->use)) {
		settled = ct->stores ? stores_settled(ct->stores, &gs) : !gs.nr_stores;
		pthread_rwlock_unlock(&ct->use);
	}
	group_state_free(&gs);
	return settled;
}

static void lease_changed(void *ctx, int rc)
{
	struct control *ct = ctx;

	if (rc)
		history_add(ct->history, "lease-lost", "", NULL, "%s", strerror(-rc));
	control_changed(ct);
}

static const struct renewal_hooks lease_hooks = {
	.facts = lease_facts,
	.settled = lease_settled,
	.changed = lease_changed,
};

/* With `use` held for writing. The newest list is taken again (authority_apply). */
static int load_creds(struct control *ct)
{
	int r = ct->creds ? 0 : creds_load(ct->creds_dir, &ct->creds);

	if (r)
		ct->creds = NULL;	/* it has said why */
	ct->crl[0] = '\0';
	return r;
}

/* With `use` held for writing. */
static int make_stores(struct control *ct)
{
	struct stores_conf conf = {
		.self = ct->cf->member,
		.engine = ct->engine,
		.tap = ct->tap,
		.security = ct->cf->security,
		.ktls = ct->cf->ktls,
		.no_codec = !ct->cf->compression,
		.backend = ct->cf->io,
		.park_timeout_ms = ct->cf->park_timeout_ms,
		.receive_ring_bytes = (uint64_t)ct->cf->receive_ring_mib << 20,
		.state_dir = ct->cf->state_dir,
		.step_retry_ms = ct->cf->step_retry_s * 1000,
		.history = ct->history,
		.way = networks_find_way,
		.way_ctx = ct,
	};
	int r;

	r = load_creds(ct);
	if (r)
		return r;
	conf.creds = ct->creds;
	r = stores_create(&conf, &ct->stores);
	if (!r)
		stores_allow(ct->stores, !ct->manager || manager_allows(ct->manager));
	if (r) {
		log_err("control msg=\"stores not started\" err=\"%s\"", strerror(-r));
		creds_free(ct->creds);
		ct->creds = NULL;
		ct->stores = NULL;
	}
	return r;
}

static void end_stores(struct control *ct, bool stopped)
{
	pthread_rwlock_wrlock(&ct->use);
	if (ct->stores)
		stores_destroy(ct->stores);
	ct->stores = NULL;
	ct->stopped = stopped;
	if (stopped)
		load_creds(ct);
	pthread_rwlock_unlock(&ct->use);
}

static void drop_stores(struct control *ct)
{
	end_stores(ct, false);
	pthread_rwlock_wrlock(&ct->use);
	creds_free(ct->creds);
	ct->creds = NULL;
	pthread_rwlock_unlock(&ct->use);
}

/*
 * A stopped member has no stores: their gates are shut, or (a device in use) shut by
 * the module when the lease ends, which is not renewed. In a new generation all of them
 * begin anew, with the connections to it. True: there are to be none.
 */
static bool stop_stores(struct control *ct, struct group_state *gs)
{
	const struct group_member *self = group_find_member(gs, ct->cf->member);
	bool stopped = self && self->stopped;

	if (gs->unconfirmed)
		return false;
	if (ct->stores && !stopped && ct->generation != gs->generation)
		log_notice("group=%s generation=%llu msg=\"the group was restored, stores begin anew\"",
			   gs->name, (unsigned long long)gs->generation);
	else if (stopped && !ct->stopped)
		log_notice("group=%s member=%s msg=\"stopped\"", gs->name, ct->cf->member);
	if ((ct->stores && ct->generation != gs->generation) || stopped != ct->stopped)
		end_stores(ct, stopped);
	ct->generation = gs->generation;
	return stopped;
}

/* The founder has taken this member out of the group. */
static void leave_group(struct control *ct, const char *group, bool refused)
{
	static const char *const files[] = { "member.key", "member.crt", "ca.crt", "ca.key",
					     "crl.pem" };
	struct group_state none = { .generation = 0 };	/* no key: silence */
	char path[400];
	size_t i;

	if (ct->heartbeats)
		heartbeats_update(ct->heartbeats, &none);
	peers_sync(ct, NULL);
	group_addr_apply(ct, NULL);
	drop_stores(ct);
	/* it may take a while until the engine lets it go; it is asked again (voters.c) */
	if (ct->engine->ops->forget(ct->engine, refused)) {
		log_info("group=%s member=%s msg=\"removed, the engine is not done with it yet\"",
			 group, ct->cf->member);
		return;
	}
	log_notice("group=%s member=%s msg=\"removed from the group\"", group, ct->cf->member);
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", ct->creds_dir, files[i]);
		if (unlink(path) && errno != ENOENT)
			log_warn("file=%s msg=\"not removed\" err=\"%m\"", path);
	}
	invite_drop_all(ct);
	ct->crl[0] = '\0';
	__atomic_store_n(&ct->refused, false, __ATOMIC_RELEASE);
}

void control_refused(struct control *ct, const char *member)
{
	if (!__atomic_exchange_n(&ct->refused, true, __ATOMIC_ACQ_REL))
		log_warn("member=%s says=\"our certificate is revoked\"", member);
}

/*
 * Removed while it was away: nobody lets it read that any more, but a member said so in
 * the handshake. A majority that answers is believed before that, and what was said
 * while one did counts for nothing later.
 */
static bool is_cast_out(struct control *ct, const struct group_state *gs)
{
	struct engine_health h = { .age_ms = 0 };

	if (!__atomic_load_n(&ct->refused, __ATOMIC_ACQUIRE) || strcmp(gs->engine, "etcd") ||
	    gs->engine_url[0] || peer_now_ns() - ct->started_ns < CAST_OUT_MS * 1000000ull)
		return false;
	ct->engine->ops->health(ct->engine, &h);
	if (h.age_ms < 0 || h.age_ms > CAST_OUT_MS)
		return true;
	__atomic_store_n(&ct->refused, false, __ATOMIC_RELEASE);
	return false;
}

static void apply_state(struct control *ct, struct group_state *gs)
{
	bool stopped;
	int r = 0;

	if (!gs->uuid[0])
		return;
	/* waits until a restore needs it (semantics 4) */
	if (!strcmp(gs->alternate.name, ct->cf->member))
		return;
	/*
	 * The witness votes in the engine, and remembers by its heartbeats whether
	 * members may activate: one that comes back alone learns it from nobody else.
	 */
	if (!strcmp(gs->witness.name, ct->cf->member)) {
		beat(ct, gs);
		if (ct->manager && !gs->unconfirmed)
			manager_apply(ct->manager, gs);
		return;
	}
	if (!gs->unconfirmed && !group_find_member(gs, ct->cf->member)) {
		leave_group(ct, gs->name, false);
		return;
	}
	if (is_cast_out(ct, gs)) {
		history_add(ct->history, "member-remove", "", NULL, "this member was removed while it "
			    "was away: its certificate is revoked");
		leave_group(ct, gs->name, true);
		return;
	}
	beat(ct, gs);
	networks_apply(ct->networks, gs);
	group_addr_apply(ct, gs);
	/* the manager first: it says whether stores may be activated */
	if (ct->manager && !gs->unconfirmed)
		manager_apply(ct->manager, gs);
	/* Only this thread makes the stores and takes them away, so it may look
	 * without the lock, and must not wait for it: whoever shakes hands holds it
	 * for seconds, and somebody always does where a link is bad. */
	stopped = stop_stores(ct, gs);
	if (!ct->stores && !stopped) {
		pthread_rwlock_wrlock(&ct->use);
		r = make_stores(ct);
		pthread_rwlock_unlock(&ct->use);
		if (!r)
			ct->generation = gs->generation;
	}
	if (r)
		return;
	authority_apply(ct, gs);
	/* nothing is opened or closed by what may be an old state */
	if (!gs->unconfirmed && !stopped)
		stores_apply(ct->stores, gs);
	peers_sync(ct, gs);
	if (gs->profile.lease_period_ms)
		renewal_set_period(ct->renewal, gs->profile.lease_period_ms);
	renewal_kick(ct->renewal);
}

static void *apply_thread(void *arg)
{
	struct control *ct = arg;
	struct group_state gs;
	uint64_t seen;

	if (group_state_init(&gs))
		abort();
	pthread_mutex_lock(&ct->lock);
	while (!ct->stopping) {
		if (ct->applied == ct->changes) {
			pthread_cond_wait(&ct->wake, &ct->lock);
			continue;
		}
		seen = ct->changes;
		pthread_mutex_unlock(&ct->lock);
		if (!ct->engine->ops->snapshot(ct->engine, &gs))
			apply_state(ct, &gs);
		pthread_mutex_lock(&ct->lock);
		ct->applied = seen;
		pthread_cond_broadcast(&ct->wake);
	}
	pthread_mutex_unlock(&ct->lock);
	group_state_free(&gs);
	return NULL;
}

static void begin_stop(struct control *ct)
{
	uint64_t one = 1;

	pthread_mutex_lock(&ct->lock);
	ct->stopping = true;
	pthread_cond_broadcast(&ct->wake);
	pthread_mutex_unlock(&ct->lock);
	if (write(ct->stop_fd, &one, sizeof(one)) < 0)
		abort();	/* cannot be: the counter is far from full */
}

static void listen_to(struct control *ct, void (*changed)(void *ctx))
{
	if (ct->engine->ops->listen) {
		ct->engine->ops->listen(ct->engine, changed, ct);
	} else {
		ct->engine->ctx = ct;
		ct->engine->changed = changed;
	}
}

static void destroy(struct control *ct)
{
	listen_to(ct, NULL);
	if (ct->unix_fd >= 0)
		serve_unix_close(ct);
	serve_tcp_close(ct);
	networks_stop(ct->networks);
	free(ct->peers);
	if (ct->stop_fd >= 0)
		close(ct->stop_fd);
	pthread_rwlock_destroy(&ct->use);
	pthread_mutex_destroy(&ct->lock);
	pthread_cond_destroy(&ct->wake);
	free(ct);
}

static int start_thread(pthread_t *ret, void *(*fn)(void *), struct control *ct)
{
	return -pthread_create(ret, NULL, fn, ct);
}

int control_start(const struct control_conf *conf, struct control **ret)
{
	struct control *ct = calloc(1, sizeof(*ct));
	int r;

	if (!ct)
		return -ENOMEM;
	ct->cf = conf->cf;
	ct->started_ns = peer_now_ns();
	ct->engine = conf->engine;
	ct->tap = conf->tap;
	ct->renewal = conf->renewal;
	ct->history = conf->history;
	ct->unix_fd = ct->unix_ro_fd = ct->tcp_fd = -1;
	snprintf(ct->creds_dir, sizeof(ct->creds_dir), "%s/creds", conf->cf->state_dir);
	pthread_rwlock_init(&ct->use, NULL);
	pthread_mutex_init(&ct->lock, NULL);
	pthread_cond_init(&ct->wake, NULL);
	conns_init(&ct->unix_conns, 64);
	conns_init(&ct->shakes, 32);
	conns_init(&ct->rpcs, 96);
	ct->stop_fd = eventfd(0, EFD_CLOEXEC);
	r = ct->stop_fd < 0 ? -errno : 0;
	if (!r)
		r = serve_unix_open(ct);
	if (!r)
		r = serve_tcp_open(ct);
	if (!r)
		r = peers_start(ct);
	if (!r)
		r = invites_start(ct);
	if (!r)
		r = networks_start(ct, &ct->networks);
	if (!r && ct->engine->ops->hosts)
		r = manager_start(ct, ct->renewal, &ct->manager);
	if (!r && ct->manager)
		r = handover_start(ct, &ct->handover);
	if (!r)
		r = health_watch_start(ct, &ct->health_watch);
	if (!r)
		r = serve_metrics_start(ct, &ct->metrics);
	if (r) {
		destroy(ct);
		return r;
	}
	listen_to(ct, control_changed);
	renewal_set_hooks(ct->renewal, &lease_hooks, ct);
	ct->changes = 1;	/* apply what the file holds */
	if (start_thread(&ct->apply_thread, apply_thread, ct) ||
	    start_thread(&ct->unix_thread, serve_unix_thread, ct) ||
	    start_thread(&ct->tcp_thread, serve_tcp_thread, ct) || voters_start(ct)) {
		log_err("control msg=\"cannot start threads\"");
		abort();
	}
	*ret = ct;
	return 0;
}

void control_signs(struct control *ct, struct watchdog_signs *ret)
{
	ret->has_manager = ct->manager;
	ret->manager = ct->manager ? manager_turns(ct->manager) : 0;
	if (pthread_rwlock_tryrdlock(&ct->use))
		return;
	ret->shut = !ct->stores || stores_shut(ct->stores);
	pthread_rwlock_unlock(&ct->use);
}

void control_leave(struct control *ct)
{
	if (!ct->handover)
		return;
	if (ct->heartbeats)
		heartbeats_say(ct->heartbeats, DAG_BEAT_STOPPING, true);
	handover_leave(ct->handover, LEAVE_MS);
	manager_leave(ct->manager);
}

void control_stop(struct control *ct)
{
	if (ct->heartbeats)
		heartbeats_say(ct->heartbeats, DAG_BEAT_STOPPING, true);
	begin_stop(ct);
	pthread_join(ct->unix_thread, NULL);
	pthread_join(ct->tcp_thread, NULL);
	pthread_join(ct->apply_thread, NULL);
	voters_stop(ct);
	serve_metrics_stop(ct->metrics);
	health_watch_stop(ct->health_watch);
	ct->health_watch = NULL;
	invites_stop(ct);
	if (ct->handover)
		handover_stop(ct->handover);
	if (ct->manager)
		manager_stop(ct->manager);
	peers_stop(ct);
	conns_close(&ct->unix_conns);
	conns_close(&ct->shakes);
	conns_close(&ct->rpcs);
	renewal_set_hooks(ct->renewal, NULL, NULL);
	group_addr_stop(ct);
	drop_stores(ct);
	/* last: the stores ask them for the way */
	heartbeats_stop(ct->heartbeats);
	ct->heartbeats = NULL;
	destroy(ct);
}
