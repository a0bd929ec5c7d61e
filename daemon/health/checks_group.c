// SPDX-License-Identifier: GPL-2.0
/* Checks of what the group decides by: majority, manager, leases, networks. */
#include <stdio.h>
#include <string.h>

#include "daemon/health/checks.h"

#define AGE_MS_MAX	10000	/* no majority answered for so long */

void check_quorum(const struct health_snapshot *s, struct health_report *r)
{
	const struct health_member *self = health_member(s, s->self);
	unsigned voters = 0, here = 0;
	struct health_finding *f;

	if (!s->quorum || !self || !self->said)
		return;
	for (unsigned i = 0; i < s->nr_members; i++) {
		voters += s->members[i].voter;
		here += s->members[i].voter && (s->members[i].reachable || s->members[i].beats);
	}
	voters += s->witness_votes;
	here += s->witness_votes && s->witness_answers;
	if (!self->engine_confirmed || self->engine_age_ms < 0 || self->engine_age_ms > AGE_MS_MAX) {
		f = health_add(r, "quorum", HEALTH_CRITICAL, "", "", "no majority answers %s%s%s; %u of %u "
			       "voters are seen", s->self, self->engine_error[0] ? ": " : "",
			       self->engine_error, here, voters);
		health_effect(f, "nothing can be changed or taken over; stores that are active on this side "
			      "stop with their lease");
		health_cure(f, "bring the missing members back (dagctl member list shows them); if they are "
			    "lost for good: dagctl group stop MEMBER --configuration-only for each, dagctl "
			    "group restore --dry-run");
	} else if (!s->etcd_outside && voters > 1 && here <= voters / 2 + 1 && here < voters) {
		f = health_add(r, "quorum", HEALTH_WARNING, "", "", "%u of %u voters are there: one more "
			       "loss ends the majority", here, voters);
		health_effect(f, "then all stores stop");
		health_cure(f, "bring the missing voters back; dagctl member list shows them");
	}
}

void check_authority(const struct health_snapshot *s, struct health_report *r)
{
	struct health_finding *f;

	if (!s->quorum || s->nr_members < 2 || s->holders != 1)
		return;
	f = health_add(r, "authority", HEALTH_WARNING, "", "", "%s alone holds the group's authority",
		       s->holder);
	health_effect(f, "if it is lost, no host can be invited and no certificate revoked");
	health_cure(f, "the others get it by themselves within a minute, where all run this version: "
		    "upgrade them; journalctl -u dagd shows \"authority\" and why not");
}

void check_quorum_model(const struct health_snapshot *s, struct health_report *r)
{
	struct health_finding *f;

	if (!s->quorum || s->etcd_outside)
		return;
	if (s->model_differs) {
		f = health_add(r, "quorum-model", HEALTH_WARNING, "", "", "others vote than the quorum model "
			       "says (%u voters)", s->planned_voters);
		health_effect(f, "fewer failures may be survived than the members could");
		health_cure(f, "the manager moves the votes by itself, once the members answer; if it stays: "
			    "dagctl group show, journalctl -u dagd on the manager");
	}
	if (s->manual_only) {
		f = health_add(r, "quorum-model", HEALTH_WARNING, "", "", "two members without a witness");
		health_effect(f, "no store is taken over by itself when one of them dies");
		health_cure(f, "dagctl witness set NAME --address ADDRESS on a third host, or a third member: "
			    "dagctl member add");
	}
}

void check_witness(const struct health_snapshot *s, struct health_report *r)
{
	struct health_finding *f;

	if (!s->quorum || !s->witness[0] || !s->witness_needed)
		return;
	if (!s->witness_answers) {
		f = health_add(r, "witness", HEALTH_WARNING, "", "", "witness %s does not answer",
			       s->witness);
		health_effect(f, "its vote is missing: one failure less is survived");
		health_cure(f, "on %s: systemctl start dagd; or another one: dagctl witness remove, dagctl "
			    "witness set", s->witness);
	} else if (!s->witness_votes) {
		f = health_add(r, "witness", HEALTH_WARNING, "", "", "witness %s has no vote yet",
			       s->witness);
		health_effect(f, "an even number of members can be cut in two halves without a majority");
		health_cure(f, "let it join: dagctl group join with its token on %s; its vote comes by itself",
			    s->witness);
	}
}

void check_manager(const struct health_snapshot *s, struct health_report *r)
{
	const struct health_member *m = s->manager[0] ? health_member(s, s->manager) : NULL;
	struct health_finding *f;

	if (!s->quorum || (m && (m->reachable || m->beats) && !m->stopped))
		return;
	if (!s->manager[0])
		f = health_add(r, "manager", HEALTH_CRITICAL, "", "", "no member is the manager");
	else
		f = health_add(r, "manager", HEALTH_CRITICAL, "", "", "the manager %s %s", s->manager,
			       !m ? "is no member any more" : m->stopped ? "is stopped" :
			       "does not answer");
	health_effect(f, "take-overs begin later; the group's address stands nowhere");
	health_cure(f, "another member becomes it by itself within seconds, if there is a majority: see "
		    "dagctl test --all for quorum, dagctl status for leases");
}

void check_lease(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; s->quorum && i < s->nr_members; i++) {
		const struct health_member *m = &s->members[i];
		struct health_finding *f;

		if (!m->said || m->lease_ms > 0 || m->stopped)
			continue;
		f = health_add(r, "lease", HEALTH_CRITICAL, "", m->name, "member %s holds no lease",
			       m->name);
		health_effect(f, "its stores accept no writes, and others may take them over");
		health_cure(f, "dagctl events list --kind lease-lost says why (no majority, fenced, a disk "
			    "that hangs); it renews by itself when the cause is gone");
	}
}

void check_activation_mode(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; s->quorum && i < s->nr_members; i++) {
		const struct health_member *m = &s->members[i];
		struct health_finding *f;

		if (!m->said || m->may_activate || m->stopped)
			continue;
		f = health_add(r, "activation-mode", HEALTH_WARNING, "", m->name, "member %s may not "
			       "activate stores: %s", m->name, m->dac);
		health_effect(f, "it has started and not yet met a member that may (datacenter activation "
			      "mode); nothing is activated there");
		health_cure(f, "bring the other members back: it may when it has met one that may, or all of "
			    "them; if you know that no store is served elsewhere: dagctl group start "
			    "--activate");
	}
}

static bool bad(const struct health_subnet *n)
{
	return strcmp(n->state, "Up") && strcmp(n->state, "Unknown");
}

void check_networks(const struct health_snapshot *s, struct health_report *r)
{
	unsigned replication = 0, up = 0;
	struct health_finding *f;

	for (unsigned i = 0; i < s->nr_subnets; i++) {
		const struct health_subnet *n = &s->subnets[i];

		if (n->ignored)
			continue;
		replication += n->replication;
		up += n->replication && !bad(n);
		if (!bad(n))
			continue;
		f = health_add(r, "networks", HEALTH_WARNING, "", "", "network %s: subnet %s is %s",
			       n->network, n->subnet, n->state);
		health_effect(f, "%s", n->client ? "users may not reach their stores" : "the log takes "
			      "another network, if there is one");
		health_cure(f, "dagctl network status shows the paths; mend the link, or take the network out: "
			    "dagctl network set %s --ignore on", n->network);
	}
	if (!replication || up)
		return;
	f = health_add(r, "networks", HEALTH_CRITICAL, "", "", "no replication network is up");
	health_effect(f, "the log goes over the client network, if at all; copies may fall behind");
	health_cure(f, "dagctl network list; mend a link of one of them");
}
