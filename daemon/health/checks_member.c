// SPDX-License-Identifier: GPL-2.0
/* Checks of the members and their hosts. */
#include <stdio.h>
#include <string.h>

#include "daemon/health/checks.h"

#define MIB			(1ull << 20)
#define CLOCK_OFF_S		1.0
#define CERT_WARN_S		(30 * 86400ll)
#define SPACE_WARN		(1024 * MIB)
#define SPACE_CRITICAL		(128 * MIB)

static unsigned active_on(const struct health_snapshot *s, const char *member)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->nr_stores; i++)
		n += !strcmp(s->stores[i].active, member);
	return n;
}

static bool holds_copies(const struct health_snapshot *s, const char *member)
{
	for (unsigned i = 0; i < s->nr_copies; i++)
		if (!strcmp(s->copies[i].member, member))
			return true;
	return false;
}

void check_service(const struct health_snapshot *s, struct health_report *r)
{
	struct health_finding *f;

	if (s->service)
		return;
	f = health_add(r, "service", HEALTH_CRITICAL, "", s->self, "dagd does not answer here: %s",
		       s->service_why);
	health_effect(f, "stores that are active here stop when the lease ends; copies here get no log");
	health_cure(f, "systemctl start dagd; if it ends again: journalctl -u dagd -n 50");
}

/* One that sends heartbeats and takes no call is the listener's matter. */
void check_members(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_members; i++) {
		const struct health_member *m = &s->members[i];
		struct health_finding *f;

		if (m->reachable || m->beats || m->stopped)
			continue;
		f = health_add(r, "members", HEALTH_CRITICAL, "", m->name, "member %s does not "
			       "answer: %s", m->name, m->why);
		health_effect(f, "its copies are not kept up to date%s", m->voter ? ", its vote is "
			      "missing" : "");
		health_cure(f, "on %s: systemctl status dagd, dagctl preflight; from here: dagctl network "
			    "status. A host that is gone for good: dagctl copy remove, then dagctl member "
			    "remove %s", m->name, m->name);
	}
}

void check_listener(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_members; i++) {
		const struct health_member *m = &s->members[i];
		struct health_finding *f;

		if ((m->reachable && (!m->said || m->listens)) || (!m->reachable && !m->beats))
			continue;
		f = health_add(r, "listener", HEALTH_CRITICAL, "", m->name, "member %s %s", m->name,
			       m->reachable ? "does not listen on its replication port" :
			       "sends heartbeats but takes no calls");
		health_effect(f, "no log reaches it, and it cannot be asked");
		health_cure(f, "on %s: ss -ltn shows who has the port (port in dag.conf), let it through the "
			    "firewall, systemctl restart dagd", m->name);
	}
}

void check_version(const struct health_snapshot *s, struct health_report *r)
{
	const struct health_member *self = health_member(s, s->self);

	for (unsigned i = 0; self && self->said && i < s->nr_members; i++) {
		const struct health_member *m = &s->members[i];
		struct health_finding *f;

		if (!m->said || !strcmp(m->version, self->version))
			continue;
		f = health_add(r, "version", HEALTH_WARNING, "", m->name, "member %s runs dagd %s, %s "
			       "runs %s", m->name, m->version, self->name, self->version);
		health_effect(f, "what only the newer one knows is refused by the other");
		health_cure(f, "install the same version on all members, one at a time: dagctl member "
			    "maintenance start, install, systemctl restart dagd, maintenance stop");
	}
}

void check_module(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_members; i++) {
		const struct health_member *m = &s->members[i];
		struct health_finding *f;

		if (!m->said || m->module)
			continue;
		f = health_add(r, "module", holds_copies(s, m->name) ? HEALTH_CRITICAL : HEALTH_WARNING, "",
			       m->name, "dagtap is not loaded on %s", m->name);
		health_effect(f, "no store can be active there");
		health_cure(f, "on %s: modprobe dagtap; if there is none for its kernel: dkms install dagtap, "
			    "dagctl preflight", m->name);
	}
}

void check_clock(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_members; i++) {
		const struct health_member *m = &s->members[i];
		double off = m->clock_ahead_s < 0 ? -m->clock_ahead_s : m->clock_ahead_s;
		struct health_finding *f;

		if (!m->said)
			continue;
		if (off - m->clock_within_s > CLOCK_OFF_S) {
			f = health_add(r, "clock", HEALTH_WARNING, "", m->name, "the clock of %s is %.1f s "
				       "%s that of %s", m->name, off, m->clock_ahead_s > 0 ? "ahead of" :
				       "behind", s->self);
			health_effect(f, "queues in seconds, points in time and the history's order are "
				      "wrong; leases do not depend on it");
			health_cure(f, "on both: chronyc tracking (apt install chrony)");
		} else if (!m->clock_synced) {
			f = health_add(r, "clock", HEALTH_WARNING, "", m->name, "the clock of %s is not "
				       "synchronised", m->name);
			health_effect(f, "it will drift from the others'; leases do not depend on it");
			health_cure(f, "on %s: apt install chrony, systemctl enable --now chrony", m->name);
		}
	}
}

void check_certificate(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_members; i++) {
		const struct health_member *m = &s->members[i];
		struct health_finding *f;

		if (!m->said || m->cert_left_s > CERT_WARN_S)
			continue;
		if (m->cert_left_s <= 0)
			f = health_add(r, "certificate", HEALTH_CRITICAL, "", m->name, "the certificate "
				       "of %s has expired", m->name);
		else
			f = health_add(r, "certificate", HEALTH_WARNING, "", m->name, "the certificate of "
				       "%s expires in %lld days", m->name,
				       (long long)m->cert_left_s / 86400);
		health_effect(f, "without a valid one no member talks to it");
		health_cure(f, "let it join anew: dagctl store move its stores, dagctl copy remove and dagctl "
			    "member remove %s, then dagctl member add and dagctl group join", m->name);
	}
}

static void low(struct health_report *r, const char *store, const char *member, const char *what,
		uint64_t left, uint64_t critical)
{
	struct health_finding *f;

	f = health_add(r, "space", left < critical ? HEALTH_CRITICAL : HEALTH_WARNING, store, member,
		       "%s on %s has %llu MiB left", what, member, (unsigned long long)(left / MIB));
	if (store[0]) {
		health_effect(f, "without room the copy receives no log, and falls behind");
		health_cure(f, "free space there, enlarge its file system, or limit the log: dagctl store set "
			    "%s --quota SIZE", store);
	} else {
		health_effect(f, "without room the agreed state and the history cannot be written");
		health_cure(f, "on %s: free space in state_dir of dag.conf, or put it on a file system of its "
			    "own", member);
	}
}

void check_space(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_members; i++) {
		const struct health_member *m = &s->members[i];

		if (m->said && m->space_left < SPACE_WARN)
			low(r, "", m->name, "the state directory", m->space_left, SPACE_CRITICAL);
	}
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		uint64_t segment = 64 * MIB;

		for (unsigned k = 0; k < s->nr_stores; k++)
			if (!strcmp(s->stores[k].name, c->store) && s->stores[k].segment_bytes)
				segment = s->stores[k].segment_bytes;
		if (c->space_left && c->space_left < 8 * segment)
			low(r, c->store, c->member, "the log directory", c->space_left, 2 * segment);
	}
}

void check_maintenance(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_members; i++) {
		const struct health_member *m = &s->members[i];
		struct health_finding *f;

		if (!m->maintenance && !m->stopped)
			continue;
		f = health_add(r, "maintenance", HEALTH_WARNING, "", m->name, "member %s is %s", m->name,
			       m->stopped ? "stopped" : "in maintenance");
		health_effect(f, "it takes over nothing%s", m->stopped ? ", and is out of the group's "
			      "decisions" : active_on(s, m->name) ? ", but still has active stores" : "");
		if (m->stopped)
			health_cure(f, "dagctl group start %s", m->name);
		else
			health_cure(f, "dagctl member maintenance stop %s", m->name);
	}
}
