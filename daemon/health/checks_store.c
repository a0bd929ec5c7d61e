// SPDX-License-Identifier: GPL-2.0
/* Checks of the stores: served, safe, and able to move. */
#include <stdio.h>
#include <string.h>

#include "daemon/health/checks.h"

static const struct health_copy *active_copy(const struct health_snapshot *s,
					     const struct health_store *st)
{
	return st->active[0] ? health_copy(s, st->name, st->active) : NULL;
}

void check_availability(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_stores; i++) {
		const struct health_store *st = &s->stores[i];
		const struct health_copy *c = active_copy(s, st);
		struct health_finding *f;

		if (c && (c->status == COPY_MOUNTED || c->status == COPY_SEEDING_SOURCE))
			continue;
		if (c && st->dismounted && c->status == COPY_DISMOUNTED) {
			f = health_add(r, "availability", HEALTH_WARNING, st->name, st->active, "store %s "
				       "is dismounted, as somebody asked", st->name);
			health_cure(f, "dagctl store mount %s", st->name);
		} else if (c && (c->status == COPY_MOUNTING || c->status == COPY_DISMOUNTING)) {
			f = health_add(r, "availability", HEALTH_WARNING, st->name, st->active, "store %s "
				       "is %s on %s%s%s", st->name, copy_status_name(c->status), st->active,
				       c->error[0] ? ": " : "", c->error);
			health_cure(f, "wait; dagctl copy status %s --full shows the step that runs", st->name);
		} else {
			f = health_add(r, "availability", HEALTH_CRITICAL, st->name, st->active, "store %s "
				       "is not served: %s%s%s%s", st->name, c ? copy_status_name(c->status) :
				       "no copy is active", c ? " on " : "", st->active,
				       c && c->error[0] ? c->error : "");
			health_cure(f, "mend %s, or activate another copy: dagctl store move %s --to MEMBER",
				    st->active[0] ? st->active : "a member with a copy", st->name);
		}
		health_effect(f, "its users have no service");
	}
}

void check_redundancy(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_stores; i++) {
		const struct health_store *st = &s->stores[i];
		unsigned n = health_redundancy(s, st->name);
		struct health_finding *f;

		if (n >= 2)
			continue;
		if (st->nr_copies < 2) {
			f = health_add(r, "redundancy", HEALTH_WARNING, st->name, "", "store %s has one copy "
				       "only", st->name);
			health_cure(f, "dagctl copy add %s --member MEMBER --device DEV", st->name);
		} else {
			f = health_add(r, "redundancy", HEALTH_CRITICAL, st->name, "", "store %s has %u "
				       "healthy cop%s of %u", st->name, n, n == 1 ? "y" : "ies",
				       st->nr_copies);
			health_cure(f, "dagctl copy status %s shows which copies are not Healthy and why; mend "
				    "those first", st->name);
		}
		health_effect(f, "the next failure may stop it, or lose its newest data");
	}
}

void check_in_sync(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_stores; i++) {
		const struct health_store *st = &s->stores[i];
		struct health_finding *f;
		unsigned n = 0;

		for (unsigned k = 0; k < s->nr_copies; k++)
			n += !strcmp(s->copies[k].store, st->name) && !s->copies[k].active &&
			     s->copies[k].in_sync;
		if (!st->commits || !active_copy(s, st))
			continue;
		if (n < st->min_in_sync) {
			f = health_add(r, "in-sync", HEALTH_CRITICAL, st->name, "", "store %s: %u copies "
				       "are in sync, commits need %u", st->name, n, st->min_in_sync);
			health_effect(f, "commits wait: its users stand still");
			health_cure(f, "bring a copy back (dagctl copy status %s); or go on without: dagctl "
				    "store set %s --min-in-sync %u", st->name, st->name, n);
		} else if (!n && st->nr_copies > 1) {
			f = health_add(r, "in-sync", HEALTH_WARNING, st->name, "", "store %s: no copy is in "
				       "sync", st->name);
			health_effect(f, "if %s dies now, it stays down until that member is back: no copy is "
				      "sure to have every commit", st->active);
			health_cure(f, "dagctl copy status %s --full says what keeps the copies out", st->name);
		}
	}
}

/* Why could this copy not be activated by itself? NULL: it could. */
static const char *hindrance(const struct health_snapshot *s, const struct health_copy *c)
{
	const struct health_member *m = health_member(s, c->member);

	if (!m || !(m->reachable || m->beats))
		return "its member does not answer";
	if (m->stopped)
		return "its member is stopped";
	if (m->maintenance)
		return "its member is in maintenance";
	if (m->blocked)
		return "its member's policy is blocked";
	if (c->activation_blocked)
		return "its activation is blocked";
	switch (c->status) {
	case COPY_HEALTHY:
	case COPY_DISCONNECTED_AND_HEALTHY:
	case COPY_DISCONNECTED_AND_RESYNCHRONIZING:
	case COPY_SEEDING_SOURCE:
		return NULL;
	default:
		return copy_status_name(c->status);
	}
}

void check_takeover(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; s->quorum && i < s->nr_stores; i++) {
		const struct health_store *st = &s->stores[i];
		const struct health_copy *blocked = NULL;
		char why[300] = "";
		struct health_finding *f;
		bool able = false;

		for (unsigned k = 0; k < s->nr_copies && !able; k++) {
			const struct health_copy *c = &s->copies[k];
			const char *h;

			if (strcmp(c->store, st->name) || c->active)
				continue;
			h = hindrance(s, c);
			able = !h;
			if (h)
				snprintf(why + strlen(why), sizeof(why) - strlen(why), "%s%s: %s",
					 why[0] ? ", " : "", c->member, h);
			if (h && c->activation_blocked)
				blocked = c;
		}
		if (able || st->nr_copies < 2 || st->manual)
			continue;
		f = health_add(r, "takeover", HEALTH_WARNING, st->name, "", "no other copy of store %s "
			       "could be activated by itself (%s)", st->name, why);
		health_effect(f, "if %s dies, the store is down until a person acts", st->active);
		if (blocked)
			health_cure(f, "dagctl copy resume %s --member %s", st->name, blocked->member);
		else
			health_cure(f, "dagctl member maintenance stop, or dagctl member set MEMBER --policy "
				    "unrestricted, or mend the copies: dagctl copy status %s", st->name);
	}
}

void check_steps(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		struct health_finding *f;

		if (!c->active || !c->steps_failed)
			continue;
		f = health_add(r, "steps", HEALTH_CRITICAL, c->store, c->member, "a step of the activation "
			       "of %s on %s failed: %s", c->store, c->member, c->error);
		health_effect(f, "its file system, unit or address is not there");
		health_cure(f, "mend what the step says, then dagctl store mount %s", c->store);
	}
}

void check_log(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		const struct health_store *st = NULL;
		struct health_finding *f;

		for (unsigned k = 0; k < s->nr_stores; k++)
			if (!strcmp(s->stores[k].name, c->store))
				st = &s->stores[k];
		if (!c->active)
			continue;
		if (c->tracking) {
			f = health_add(r, "log", HEALTH_WARNING, c->store, c->member, "the log of store %s "
				       "was given up: only changed regions are kept", c->store);
			health_effect(f, "copies stay older until their regions are sent again");
			health_cure(f, "it begins again by itself; if it comes back, the copies or the spool's "
				    "disk are too slow: dagctl copy status %s --full", c->store);
		}
		if (st && st->quota_bytes && c->spool_bytes > st->quota_bytes / 10 * 9) {
			f = health_add(r, "log", HEALTH_WARNING, c->store, c->member, "the spool of store "
				       "%s holds %llu of %llu MiB", c->store,
				       (unsigned long long)c->spool_bytes >> 20,
				       (unsigned long long)st->quota_bytes >> 20);
			health_effect(f, "past the quota a copy that is away is caught up by changed regions");
			health_cure(f, "bring the copy back, remove it, or dagctl store set %s --quota SIZE",
				    c->store);
		}
	}
}
