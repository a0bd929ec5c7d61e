// SPDX-License-Identifier: GPL-2.0
/*
 * verb_metrics - fill the snapshot of health/metrics.h: from what this member knows
 * itself. No other member is asked, so a scrape costs the same whatever is down.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/control/health_watch.h"
#include "daemon/control/history.h"
#include "daemon/control/jsonval.h"
#include "daemon/control/manager.h"
#include "daemon/control/serve_metrics.h"
#include "daemon/group/renewal.h"
#include "daemon/health/copystatus.h"
#include "daemon/net/heartbeat_udp.h"
#include "daemon/store/stores_metrics.h"
#include "include/dag/version.h"

#define TEXT(to, from)	snprintf(to, sizeof(to), "%.*s", (int)sizeof(to) - 1, from)

static void take_copy(struct json_object *o, struct metrics_copy *c)
{
	TEXT(c->store, val_str(o, "store"));
	TEXT(c->member, val_str(o, "member"));
	TEXT(c->role, val_str(o, "role"));
	TEXT(c->status, val_str(o, "status"));
	c->healthy = copy_status_healthy(copy_status_parse(c->status));
	c->packed = json_object_object_get_ex(o, "compression_log_bytes", NULL);
	c->packed_log = val_num(o, "compression_log_bytes");
	c->packed_wire = val_num(o, "compression_wire_bytes");
	c->queues = json_object_object_get_ex(o, "copy_queue_records", NULL);
	c->replay = json_object_object_get_ex(o, "replay_queue_records", NULL);
	c->copy_records = val_num(o, "copy_queue_records");
	c->copy_bytes = val_num(o, "copy_queue_bytes");
	c->copy_seconds = val_num(o, "copy_queue_seconds");
	c->replay_records = val_num(o, "replay_queue_records");
	c->replay_bytes = val_num(o, "replay_queue_bytes");
	c->replay_seconds = val_num(o, "replay_queue_seconds");
	c->late = json_object_object_get_ex(o, "replay_late_seconds", NULL);
	c->lag_seconds = val_num(o, "replay_lag_seconds");
	c->late_seconds = val_num(o, "replay_late_seconds");
	c->connected = strcmp(val_str(o, "link"), "down") && *val_str(o, "link");
	c->in_sync = val_flag(o, "in_sync");
	c->log_bytes = val_num(o, "log_bytes");
	c->space_left = val_num(o, "space_left");
	c->seed_done = val_num(o, "seed_done");
	c->seed_total = val_num(o, "seed_total");
	c->seed_unused = val_num(o, "seed_unused");
}

static struct metrics_copy *find_copy(struct metrics_snapshot *s, const char *store,
				      const char *member)
{
	for (unsigned i = 0; i < s->nr_copies; i++)
		if (!strcmp(s->copies[i].store, store) && !strcmp(s->copies[i].member, member))
			return &s->copies[i];
	return NULL;
}

static int take_stores(struct stores *ss, struct metrics_snapshot *s)
{
	struct stores_metric *list = calloc(GROUP_STORES_MAX, sizeof(*list));
	struct json_object *copies = stores_status(ss);
	unsigned n = json_object_array_length(copies);

	s->copies = calloc(n + 1, sizeof(*s->copies));
	if (!list || !s->copies) {
		free(list);
		json_object_put(copies);
		return -ENOMEM;
	}
	while (s->nr_copies < n) {
		take_copy(json_object_array_get_idx(copies, s->nr_copies), &s->copies[s->nr_copies]);
		s->nr_copies++;
	}
	json_object_put(copies);
	s->nr_stores = stores_metrics(ss, list, GROUP_STORES_MAX);
	for (unsigned i = 0; i < s->nr_stores; i++) {
		s->stores[i] = list[i].st;
		for (unsigned k = 0; k < list[i].latency.nr_peers; k++) {
			struct metrics_copy *c = find_copy(s, list[i].st.name,
							   list[i].latency.peer[k].member);

			if (!c)		/* it came in between */
				continue;
			c->shipped = true;
			c->ship = list[i].latency.peer[k].ship;
			c->durable = list[i].latency.peer[k].durable;
		}
	}
	free(list);
	return 0;
}

static void take_paths(struct control *ct, struct metrics_snapshot *s)
{
	struct heartbeats *hs = control_heartbeats(ct);
	struct heartbeats_path *hp;
	unsigned n;

	if (!hs || !heartbeats_on(hs))
		return;
	hp = calloc(METRICS_PATHS_MAX, sizeof(*hp));
	n = hp ? heartbeats_view(hs, hp, METRICS_PATHS_MAX) : 0;
	for (unsigned i = 0; i < n; i++) {
		struct metrics_path *p = &s->paths[s->nr_paths++];

		TEXT(p->peer, hp[i].member);
		TEXT(p->network, hp[i].at.network);
		netaddr_format(&hp[i].at.local, p->local);
		netaddr_format(&hp[i].at.remote, p->remote);
		p->up = hp[i].up;
		p->rtt_s = hp[i].rtt_ms < 0 ? -1 : hp[i].rtt_ms / 1e3;
		p->loss = hp[i].loss_permille / 1e3;
	}
	free(hp);
}

static void take_member(struct control *ct, const struct group_state *gs, struct metrics_snapshot *s)
{
	struct engine_health h = { .confirmed = true };
	uint64_t deadline = renewal_deadline_ns(ct->renewal), now = peer_now_ns();

	TEXT(s->group, gs->name);
	s->grouped = true;
	s->quorum = !strcmp(gs->engine, "etcd");
	s->may_activate = !ct->manager || manager_allows(ct->manager);
	s->lease_margin_s = deadline == DAGTAP_LEASE_FOREVER ? 1e9 : (double)(int64_t)(deadline - now) / 1e9;
	if (ct->engine->ops->health)
		ct->engine->ops->health(ct->engine, &h);
	s->engine_age_s = h.age_ms < 0 ? -1 : h.age_ms / 1e3;
	s->voters = h.voters;
}

static void take_health(struct control *ct, struct metrics_snapshot *s)
{
	struct metrics_health *h = s->health;

	while (ct->health_watch && s->nr_health < GROUP_STORES_MAX &&
	       health_watch_store(ct->health_watch, s->nr_health, h->name, &h->healthy, &h->alert)) {
		s->nr_health++;
		h++;
	}
}

static void take_events(struct control *ct, struct metrics_snapshot *s)
{
	struct history_count counts[METRICS_KINDS_MAX];
	unsigned n = history_counts(ct->history, counts, METRICS_KINDS_MAX);

	for (unsigned i = 0; i < n; i++) {
		TEXT(s->kinds[i].kind, counts[i].kind);
		s->kinds[i].count = counts[i].count;
	}
	s->nr_kinds = n;
}

static int fill(struct control *ct, struct metrics_snapshot *s)
{
	struct rpc_request rq = { .id = 0 };
	struct rpc_call call = { .ct = ct, .rq = &rq };
	struct group_state gs;
	struct stores *ss;
	int r = 0;

	TEXT(s->version, DAG_VERSION);
	TEXT(s->member, ct->cf->member);
	s->uptime_s = (peer_now_ns() - ct->started_ns) / 1e9;
	take_events(ct, s);
	if (control_state(&call, &gs))	/* in no group */
		return 0;
	take_member(ct, &gs, s);
	group_state_free(&gs);
	take_health(ct, s);
	take_paths(ct, s);
	ss = control_use(&call);
	if (ss) {
		r = take_stores(ss, s);
		control_unuse(ct);
	}
	return r;
}

int metrics_collect(struct control *ct, char **ret, size_t *ret_len)
{
	struct metrics_snapshot *s = calloc(1, sizeof(*s));
	char *text = NULL;
	size_t len = 0;
	FILE *out;
	int r;

	if (!s)
		return -ENOMEM;
	r = fill(ct, s);
	out = r ? NULL : open_memstream(&text, &len);
	if (out) {
		metrics_write(s, out);
		r = ferror(out) ? -ENOMEM : 0;
		r = fclose(out) ? -ENOMEM : r;
	} else if (!r) {
		r = -errno;
	}
	free(s->copies);
	free(s);
	if (r) {
		free(text);
		return r;
	}
	*ret = text;
	*ret_len = len;
	return 0;
}

int verb_metrics(struct rpc_call *call, struct json_object **ret)
{
	char *text;
	size_t len;
	int r = metrics_collect(call->ct, &text, &len);

	if (r)
		return r;
	if (len > RPC_LINE_MAX / 2) {
		free(text);
		return call_fail(call, -EMSGSIZE, "metrics: too many for one answer; ask http://%s:%u/metrics",
				 call->ct->cf->metrics_address, call->ct->cf->metrics_port);
	}
	*ret = json_object_new_object();
	json_object_object_add(*ret, "text", json_object_new_string_len(text, len));
	free(text);
	return 0;
}
