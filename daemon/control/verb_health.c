// SPDX-License-Identifier: GPL-2.0
/*
 * verb_health - the health of the group: fill the snapshot that the checks judge
 * (daemon/health), from what this member knows and what the others say of themselves.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control/ask_all.h"
#include "daemon/control/authority.h"
#include "daemon/control/jsonval.h"
#include "daemon/control/manager.h"
#include "daemon/group/netaddr.h"
#include "daemon/group/quorum.h"
#include "daemon/group/renewal.h"
#include "daemon/health/checks.h"
#include "daemon/net/heartbeat_udp.h"
#include "daemon/tap/tap.h"
#include "include/dag/version.h"

#define ERR		call->err, sizeof(call->err)
#define KNOCK_MS	1000

#define TEXT(to, from)	snprintf(to, sizeof(to), "%.*s", (int)sizeof(to) - 1, from)

/* ---- what a member says of itself -------------------------------------------------- */

static void put_s(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static void put_i(struct json_object *o, const char *key, int64_t value)
{
	json_object_object_add(o, key, json_object_new_int64(value));
}

static void put_b(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

static double seconds_of(const struct timespec *ts)
{
	return ts->tv_sec + ts->tv_nsec / 1e9;
}

static bool clock_synced(void)
{
	struct timex tx = { .modes = 0 };
	int state = adjtimex(&tx);

	return state >= 0 && state != TIME_ERROR && !(tx.status & STA_UNSYNC);
}

static void say_lease(struct control *ct, struct json_object *o)
{
	uint64_t deadline = renewal_deadline_ns(ct->renewal), now = peer_now_ns();
	int64_t left_ms = deadline == DAGTAP_LEASE_FOREVER ? INT32_MAX :
			  ((int64_t)(deadline - now)) / 1000000;
	struct json_object *mg = ct->manager ? manager_status(ct->manager) : NULL;

	put_i(o, "lease_ms", renewal_holds(ct->renewal) ? left_ms : 0);
	put_b(o, "may_activate", !mg || val_flag(mg, "may_activate"));
	put_s(o, "dac", mg ? val_str(mg, "dac") : "");
	json_object_put(mg);
}

static void say_engine(struct control *ct, struct json_object *o)
{
	struct engine_health h = { .confirmed = true };

	if (ct->engine->ops->health)
		ct->engine->ops->health(ct->engine, &h);
	put_b(o, "engine_confirmed", h.confirmed);
	put_i(o, "engine_age_ms", h.age_ms);
	put_s(o, "engine_error", h.error);
}

int verb_health_local(struct rpc_call *call, struct json_object **ret)
{
	struct control *ct = call->ct;
	struct json_object *o;
	struct timespec ts;
	struct statvfs sv;
	int64_t left = 0;

	if (!control_use(call))
		return -ENOENT;
	if (ct->creds)
		left = creds_seconds_left(ct->creds);
	control_unuse(ct);
	o = json_object_new_object();
	put_s(o, "version", DAG_VERSION);
	put_b(o, "listens", ct->tcp_fd >= 0);
	put_b(o, "module", strcmp(ct->tap->name, "module") || !access("/dev/dagtap", F_OK));
	put_b(o, "clock_synced", clock_synced());
	put_i(o, "cert_left_s", left);
	put_i(o, "space_left", statvfs(ct->cf->state_dir, &sv) ? 0 :
	      (int64_t)sv.f_bavail * (int64_t)sv.f_frsize);
	say_lease(ct, o);
	say_engine(ct, o);
	clock_gettime(CLOCK_REALTIME, &ts);
	json_object_object_add(o, "time", json_object_new_double(seconds_of(&ts)));
	*ret = o;
	return 0;
}

/* ---- the snapshot -------------------------------------------------------------------- */

static void take_said(struct health_member *m, const struct ask_report *rp)
{
	double sent = seconds_of(&rp->sent), came = seconds_of(&rp->came);
	struct json_object *o = rp->result;

	m->said = json_object_is_type(o, json_type_object);
	if (!m->said)
		return;
	TEXT(m->version, val_str(o, "version"));
	m->listens = val_flag(o, "listens");
	m->module = val_flag(o, "module");
	m->clock_synced = val_flag(o, "clock_synced");
	m->clock_ahead_s = val_num(o, "time") - (sent + came) / 2;
	m->clock_within_s = (came - sent) / 2;
	m->cert_left_s = val_whole(o, "cert_left_s");
	m->space_left = val_count(o, "space_left");
	m->lease_ms = val_whole(o, "lease_ms");
	m->may_activate = val_flag(o, "may_activate");
	TEXT(m->dac, val_str(o, "dac"));
	m->engine_confirmed = val_flag(o, "engine_confirmed");
	m->engine_age_ms = val_whole(o, "engine_age_ms");
	TEXT(m->engine_error, val_str(o, "engine_error"));
}

static int take_members(struct rpc_call *call, struct group_state *gs, struct health_snapshot *s)
{
	struct ask_report *reports = calloc(GROUP_MEMBERS_MAX, sizeof(*reports));
	struct heartbeats *hs = control_heartbeats(call->ct);
	uint32_t i;

	if (!reports)
		return -ENOMEM;
	ask_all(call, gs, "health.local", verb_health_local, reports);
	for (i = 0; i < gs->nr_members; i++) {
		const struct group_member *mb = &gs->members[i];
		struct health_member *m = &s->members[s->nr_members++];
		bool self = !strcmp(mb->name, s->self);
		struct peer_view pv;

		TEXT(m->name, mb->name);
		m->reachable = self || reports[i].result;
		m->beats = !self && hs && heartbeats_on(hs) && heartbeats_reachable(hs, mb->name);
		TEXT(m->why, reports[i].call.err);
		m->voter = mb->voter;
		m->maintenance = mb->maintenance;
		m->stopped = mb->stopped;
		peers_view(call->ct, mb->name, &pv);
		if (self ? authority_held(call->ct) : pv.authority) {
			TEXT(s->holder, mb->name);
			s->holders++;
		}
		m->blocked = mb->policy == POLICY_BLOCKED;
		take_said(m, &reports[i]);
		json_object_put(reports[i].result);
	}
	free(reports);
	return 0;
}

/* Does somebody take a connection there? */
static bool knock(const char *address, uint16_t port)
{
	struct sockaddr_storage ss;
	struct netaddr na;
	struct pollfd pfd = { .events = POLLOUT };
	socklen_t len, elen = sizeof(int);
	int error = 0;

	if (netaddr_parse(address, &na))
		return false;
	len = netaddr_to_sockaddr(&na, port, &ss);
	pfd.fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (pfd.fd < 0)
		return false;
	if (connect(pfd.fd, (struct sockaddr *)&ss, len) && errno != EINPROGRESS)
		error = errno;
	else if (poll(&pfd, 1, KNOCK_MS) != 1)
		error = ETIMEDOUT;
	else if (getsockopt(pfd.fd, SOL_SOCKET, SO_ERROR, &error, &elen))
		error = errno;
	close(pfd.fd);
	return !error;
}

static bool planned(const struct quorum_plan *plan, const char *name)
{
	for (unsigned i = 0; i < plan->nr; i++)
		if (!strcmp(plan->voter[i], name))
			return true;
	return false;
}

static void take_quorum(struct group_state *gs, struct health_snapshot *s)
{
	struct quorum_plan plan;

	s->quorum = !strcmp(gs->engine, "etcd");
	s->etcd_outside = gs->engine_url[0];
	TEXT(s->manager, gs->manager);
	if (!s->quorum)
		return;
	quorum_plan(gs, &plan);
	s->planned_voters = plan.nr;
	s->manual_only = plan.manual_only;
	for (uint32_t i = 0; i < gs->nr_members; i++)
		s->model_differs |= gs->members[i].voter != planned(&plan, gs->members[i].name);
	if (!gs->witness.name[0])
		return;
	TEXT(s->witness, gs->witness.name);
	s->witness_votes = gs->witness.voter;
	s->witness_needed = plan.model == QUORUM_MAJORITY_AND_WITNESS;
	s->witness_answers = knock(gs->witness.address, gs->witness.port);
}

static void take_networks(struct rpc_call *call, struct health_snapshot *s)
{
	struct json_object *all = NULL, *list, *subnets;
	size_t i, k, n;

	if (verb_network_list(call, &all))
		return;
	if (!val_flag(all, "heartbeats")) {		/* nobody looks: nothing is known */
		json_object_put(all);
		return;
	}
	n = val_length(all, "networks", &list);
	for (i = 0; i < n; i++) {
		struct json_object *nw = json_object_array_get_idx(list, i);
		size_t nr = val_length(nw, "subnets", &subnets);

		for (k = 0; k < nr && s->nr_subnets < HEALTH_SUBNETS_MAX; k++) {
			struct json_object *sn = json_object_array_get_idx(subnets, k);
			struct health_subnet *hn = &s->subnets[s->nr_subnets++];

			TEXT(hn->network, val_str(nw, "name"));
			TEXT(hn->subnet, val_str(sn, "subnet"));
			TEXT(hn->state, val_str(sn, "state"));
			hn->replication = val_flag(nw, "replication");
			hn->client = val_flag(nw, "client");
			hn->ignored = val_flag(nw, "ignore");
		}
	}
	json_object_put(all);
}

static void take_store(const struct group_store *st, struct health_snapshot *s)
{
	struct health_store *h = &s->stores[s->nr_stores++];

	TEXT(h->name, st->name);
	TEXT(h->active, st->active);
	h->commits = st->mode != DAGTAP_MODE_ASYNC;
	h->min_in_sync = st->min_in_sync;
	h->dismounted = st->dismounted;
	h->manual = st->manual;
	h->segment_bytes = (uint64_t)st->segment_mib << 20;
	h->quota_bytes = st->quota_bytes;
	h->nr_copies = st->nr_copies;
}

static void take_copy(struct json_object *o, struct health_copy *c)
{
	struct json_object *list;
	double total = val_num(o, "seed_total");

	TEXT(c->store, val_str(o, "store"));
	TEXT(c->member, val_str(o, "member"));
	c->active = !strcmp(val_str(o, "role"), "active");
	c->status = copy_status_parse(val_str(o, "status"));
	TEXT(c->error, val_str(o, "error"));
	TEXT(c->comment, val_str(o, "comment"));
	c->activation_blocked = val_flag(o, "activation_blocked");
	c->in_sync = val_flag(o, "in_sync");
	c->queues = !c->active && json_object_object_get_ex(o, "copy_queue_records", NULL);
	c->copy_records = val_count(o, "copy_queue_records");
	c->copy_bytes = val_count(o, "copy_queue_bytes");
	c->copy_seconds = val_num(o, "copy_queue_seconds");
	c->replay_records = val_count(o, "replay_queue_records");
	c->replay_bytes = val_count(o, "replay_queue_bytes");
	c->replay_seconds = val_num(o, "replay_queue_seconds");
	c->lag_seconds = val_num(o, "replay_lag_seconds");
	c->late_seconds = val_num(o, "replay_late_seconds");
	c->space_left = val_count(o, "space_left");
	c->seed_done = total > 0 ? val_num(o, "seed_done") / total : 0;
	c->tracking = val_flag(o, "tracking");
	c->steps_failed = val_flag(o, "steps_failed");
	c->spool_bytes = val_count(o, "spool_bytes");
	c->branches = val_length(o, "branches", &list);
}

int health_collect(struct rpc_call *call, struct group_state *gs, struct health_snapshot *s)
{
	struct json_object *list;
	uint32_t i;
	int r;

	s->service = true;
	TEXT(s->self, call->ct->cf->member);
	r = take_members(call, gs, s);
	if (r)
		return r;
	take_quorum(gs, s);
	take_networks(call, s);
	for (i = 0; i < gs->nr_stores; i++)
		if (!gs->stores[i].removed)
			take_store(&gs->stores[i], s);
	list = copies_obj(call, gs, NULL);
	for (i = 0; i < json_object_array_length(list) && s->nr_copies < HEALTH_COPIES_MAX; i++)
		take_copy(json_object_array_get_idx(list, i), &s->copies[s->nr_copies++]);
	json_object_put(list);
	return 0;
}

int verb_health_test(struct rpc_call *call, struct json_object **ret)
{
	struct health_report *report = calloc(1, sizeof(*report));
	struct health_snapshot *s = calloc(1, sizeof(*s));
	struct health_scope scope = { .member = call->ct->cf->member };
	struct group_store *st;
	struct group_state gs;
	int r, all = rpc_bool(call->params, "all", ERR);

	r = !report || !s ? -ENOMEM : all < 0 ? all :
	    rpc_str_opt(call->params, "store", &scope.store, ERR);
	if (!r)
		r = control_state(call, &gs);
	if (r)
		goto out;
	scope.all = all;
	st = scope.store ? call_store(call, &gs) : NULL;
	if (scope.store && !st) {
		r = -ENOENT;
	} else {
		if (st)
			scope.store = st->name;
		r = health_collect(call, &gs, s);
	}
	if (!r) {
		health_run(s, report);
		health_limit(report, s, &scope);
		*ret = health_to_obj(report, s);
	}
	group_state_free(&gs);
out:
	free(report);
	free(s);
	return r;
}
