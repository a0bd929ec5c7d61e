// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/choose.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/control/takeover_rpc.h"

struct asked {
	struct control *ct;
	struct takeover_action what;
	bool seal;			/* promises the epoch, else only reports */
	struct candidate cand;
	pthread_t thread;
	bool runs;
};

static void *ask_thread(void *arg)
{
	struct asked *as = arg;
	struct candidate report = { .status = CAND_OTHER };

	if (as->seal ? takeover_rpc_seal(as->ct, &as->what, &report) :
		       takeover_rpc_report(as->ct, &as->what, &report))
		return NULL;
	as->cand.reachable = true;
	as->cand.sealed = true;		/* the active itself ends its epoch: no promise is needed */
	as->cand.whole = report.whole;
	as->cand.unconfirmed = report.unconfirmed;
	as->cand.blocked |= report.blocked;
	as->cand.failed = report.failed;
	as->cand.client = report.client;
	as->cand.status = report.status;
	as->cand.log_epoch = report.log_epoch;
	as->cand.end_lsn = report.end_lsn;
	as->cand.copy_queue = report.copy_queue;
	as->cand.replay_queue = report.replay_queue;
	return NULL;
}

static unsigned active_stores(const struct group_state *gs, const char *member)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < gs->nr_stores; i++)
		if (!gs->stores[i].removed && !strcmp(gs->stores[i].active, member))
			n++;
	return n;
}

/* What the agreed state knows of a copy. */
static void from_state(const struct group_state *gs, const struct group_copy *cp, struct candidate *ret)
{
	const struct group_member *mb = NULL;

	for (uint32_t i = 0; i < gs->nr_members; i++)
		if (!strcmp(gs->members[i].name, cp->member))
			mb = &gs->members[i];
	memset(ret, 0, sizeof(*ret));
	ret->status = CAND_OTHER;
	snprintf(ret->member, sizeof(ret->member), "%s", cp->member);
	ret->in_sync = cp->in_sync;
	ret->blocked = cp->activation_blocked || cp->suspended;
	ret->preference = cp->preference;
	ret->lagged = group_copy_lagged(cp);
	ret->active_now = active_stores(gs, cp->member);
	if (!mb)
		return;
	snprintf(ret->site, sizeof(ret->site), "%s", mb->site);
	ret->policy = mb->policy;
	ret->dial = mb->dial;
	ret->maintenance = mb->maintenance;
	ret->stopped = mb->stopped;
	ret->max_active = mb->max_active;
	ret->max_preferred = mb->max_preferred_active;
}

static const char *site_of(const struct group_state *gs, const char *member)
{
	for (uint32_t i = 0; i < gs->nr_members; i++)
		if (!strcmp(gs->members[i].name, member))
			return gs->members[i].site;
	return "";
}

/* All copies but the active one, each asked in a thread of its own. */
static unsigned gather(struct control *ct, const struct group_state *gs, const struct group_store *st,
		       bool seal, struct asked *as)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < st->nr_copies; i++) {
		const struct group_copy *cp = &st->copies[i];

		if (!strcmp(cp->member, st->active))
			continue;
		as[n].ct = ct;
		memcpy(as[n].what.uuid, st->uuid, 16);
		as[n].seal = seal;
		as[n].what.epoch = st->epoch + seal;
		snprintf(as[n].what.member, sizeof(as[n].what.member), "%s", cp->member);
		from_state(gs, cp, &as[n].cand);
		if (control_may_take(ct, cp->member))
			as[n].runs = !pthread_create(&as[n].thread, NULL, ask_thread, &as[n]);
		n++;
	}
	for (unsigned i = 0; i < n; i++)
		if (as[i].runs)
			pthread_join(as[i].thread, NULL);
	return n;
}

static struct json_object *verdicts_obj(const struct candidate *cands, unsigned n,
					const struct candidate_verdict *v)
{
	struct json_object *list = json_object_new_array();

	for (unsigned i = 0; i < n; i++) {
		struct json_object *obj = json_object_new_object();

		json_object_object_add(obj, "member",
				       json_object_new_string(cands[v[i].index].member));
		json_object_object_add(obj, "eligible", json_object_new_boolean(v[i].eligible));
		json_object_object_add(obj, "why", json_object_new_string(v[i].why));
		json_object_array_add(list, obj);
	}
	return list;
}

int choose_target(struct control *ct, const struct group_state *gs, const struct group_store *st,
		  const struct candidate_rule *rule, char ret[64], struct json_object **ret_verdicts)
{
	struct candidate_verdict v[GROUP_MEMBERS_MAX];
	struct candidate cands[GROUP_MEMBERS_MAX];
	struct candidate_rule r = *rule;
	struct asked *as = calloc(GROUP_MEMBERS_MAX, sizeof(*as));
	unsigned n, eligible;

	if (!as)
		return -ENOMEM;
	n = gather(ct, gs, st, false, as);
	for (unsigned i = 0; i < n; i++)
		cands[i] = as[i].cand;
	free(as);
	/* The active lives and ships the rest before it hands over: nothing is lost. */
	r.mode = st->mode;
	r.ack_durable = st->ack_durable;
	r.epoch = st->epoch;
	r.start_lsn = group_store_at_point(st) ? 0 : st->start_lsn;
	r.known_lsn = 0;
	r.segment_bytes = (uint64_t)st->segment_mib << 20;
	snprintf(r.old_site, sizeof(r.old_site), "%s", site_of(gs, st->active));
	eligible = candidate_rank(cands, n, &r, v);
	if (ret_verdicts)
		*ret_verdicts = verdicts_obj(cands, n, v);
	if (!eligible)
		return -ENOENT;
	snprintf(ret, 64, "%s", cands[v[0].index].member);
	return 0;
}

static bool is_equal(const struct candidate *c, const struct candidate_rule *rule)
{
	uint64_t at;

	return c->sealed && c->whole && candidate_position(c, rule, &at) && at == c->end_lsn &&
	       at == rule->start_lsn;
}

int choose_equal(struct control *ct, const struct group_state *gs, const struct group_store *st,
		 struct choose_equal *ret, struct json_object **ret_verdicts)
{
	/* what is equal loses nothing, whatever the mode asks of others */
	struct candidate_rule r = {
		.mode = DAGTAP_MODE_ASYNC, .epoch = st->epoch, .start_lsn = st->start_lsn,
		.known_lsn = st->start_lsn, .skip_lag = true,
	};
	struct candidate_verdict v[GROUP_MEMBERS_MAX];
	struct candidate cands[GROUP_MEMBERS_MAX];
	struct asked *as = calloc(GROUP_MEMBERS_MAX, sizeof(*as));
	int best = -1;
	unsigned n;

	if (!as)
		return -ENOMEM;
	n = gather(ct, gs, st, true, as);
	for (unsigned i = 0; i < n; i++)
		cands[i] = as[i].cand;
	free(as);
	snprintf(r.old_site, sizeof(r.old_site), "%s", site_of(gs, st->active));
	candidate_rank(cands, n, &r, v);
	for (unsigned i = 0; i < n; i++) {
		bool equal = is_equal(&cands[v[i].index], &r);

		if (v[i].eligible && equal && best < 0)
			best = (int)v[i].index;
		if (v[i].eligible && !equal)
			snprintf(v[i].why, sizeof(v[i].why), "ends at lsn=%llu, the epoch begins at lsn=%llu",
				 (unsigned long long)cands[v[i].index].end_lsn,
				 (unsigned long long)st->start_lsn);
		v[i].eligible &= equal;
	}
	*ret_verdicts = verdicts_obj(cands, n, v);
	if (best < 0)
		return -ENOENT;
	ret->nr = 1;
	memcpy(ret->member[0], cands[best].member, sizeof(ret->member[0]));
	for (unsigned i = 0; i < n; i++)
		if ((int)i != best && is_equal(&cands[i], &r))
			memcpy(ret->member[ret->nr++], cands[i].member, sizeof(ret->member[0]));
	return 0;
}
