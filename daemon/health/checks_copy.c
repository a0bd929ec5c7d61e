// SPDX-License-Identifier: GPL-2.0
/* Checks of single copies. */
#include <stdio.h>
#include <string.h>

#include "daemon/health/checks.h"

#define COPY_WARN_S		10.0
#define COPY_CRITICAL_S		300.0
#define REPLAY_WARN_S		60.0
#define REPLAY_CRITICAL_S	1800.0
#define COPY_SEGMENTS		10	/* the first tier of candidates (semantics 27) */
#define REPLAY_SEGMENTS		50

static struct health_finding *of(struct health_report *r, const char *check,
				 enum health_level level, const struct health_copy *c,
				 const char *what)
{
	const char *more = c->error[0] ? c->error : c->comment;

	return health_add(r, check, level, c->store, c->member, "copy %s\\%s %s%s%s", c->store, c->member,
			  what, more[0] ? ": " : "", more);
}

void check_suspended(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		struct health_finding *f;

		if (c->status == COPY_SUSPENDED) {
			f = of(r, "suspended", HEALTH_WARNING, c, "is suspended");
			health_effect(f, "it gets older, and is not activated");
		} else if (c->activation_blocked && !c->active) {
			f = of(r, "suspended", HEALTH_WARNING, c, "is blocked for activation");
			health_effect(f, "it is kept up to date, but takes over only by hand");
		} else {
			continue;
		}
		health_cure(f, "dagctl copy resume %s --member %s", c->store, c->member);
	}
}

void check_failed(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		struct health_finding *f;

		if (c->status == COPY_FAILED) {
			f = of(r, "failed", HEALTH_CRITICAL, c, "has failed, and tries again");
			health_cure(f, "see the error; its disk and log directory: journalctl -k, dagctl log "
				    "verify %s on %s", c->store, c->member);
		} else if (c->status == COPY_FAILED_AND_SUSPENDED) {
			f = of(r, "failed", HEALTH_CRITICAL, c, "has failed for too long, and tries no more");
			health_cure(f, "mend the cause, then dagctl copy resume %s --member %s; with a new "
				    "disk: dagctl copy seed %s --member %s", c->store, c->member, c->store,
				    c->member);
		} else {
			continue;
		}
		health_effect(f, "it gets older, and is not activated");
	}
}

void check_misconfigured(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		struct health_finding *f;

		if (c->status != COPY_MISCONFIGURED)
			continue;
		f = of(r, "misconfigured", HEALTH_CRITICAL, c, "cannot be opened");
		health_effect(f, "the copy does not run");
		health_cure(f, "on %s: lsblk, and see that device, meta device and log directory of dagctl "
			    "store show %s are there; else dagctl copy remove %s --member %s and dagctl copy "
			    "add", c->member, c->store, c->store, c->member);
	}
}

void check_initializing(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		struct health_finding *f;

		if (c->status != COPY_INITIALIZING)
			continue;
		f = of(r, "initializing", HEALTH_WARNING, c, "waits for its active");
		health_effect(f, "it is no copy yet that could be activated");
		health_cure(f, "it ends by itself within seconds of the active's call; if not: dagctl "
			    "network status, dagctl copy status %s --full", c->store);
	}
}

void check_disconnected(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		struct health_finding *f;

		if (c->status != COPY_DISCONNECTED_AND_HEALTHY &&
		    c->status != COPY_DISCONNECTED_AND_RESYNCHRONIZING &&
		    c->status != COPY_SERVICE_DOWN)
			continue;
		f = of(r, "disconnected", c->status == COPY_SERVICE_DOWN ? HEALTH_CRITICAL : HEALTH_WARNING,
		       c, c->status == COPY_SERVICE_DOWN ? "is not heard of" : "has no connection to its "
		       "active");
		health_effect(f, "it gets older with each write; the active keeps the log for it up to the "
			      "quota");
		health_cure(f, "on %s: systemctl status dagd; dagctl network status --member %s; port 64327 "
			    "must be open from the active", c->member, c->member);
	}
}

void check_seeding(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		struct health_finding *f;

		if (c->status != COPY_SEEDING && c->status != COPY_RESYNCHRONIZING)
			continue;
		f = of(r, "seeding", HEALTH_WARNING, c, c->status == COPY_SEEDING ? "is being seeded" :
		       "is being sent what it lacks");
		health_effect(f, "until then it counts as no healthy copy (%.0f %% done)",
			      100 * c->seed_done);
		health_cure(f, "wait: dagctl watch shows the progress; if it stands still, see error in dagctl "
			    "copy status %s --full", c->store);
	}
}

static uint64_t segment_of(const struct health_snapshot *s, const char *store)
{
	for (unsigned i = 0; i < s->nr_stores; i++)
		if (!strcmp(s->stores[i].name, store) && s->stores[i].segment_bytes)
			return s->stores[i].segment_bytes;
	return 64ull << 20;
}

void check_copy_queue(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		struct health_finding *f;

		if (c->status != COPY_HEALTHY || !c->queues || (c->copy_seconds < COPY_WARN_S &&
		    c->copy_bytes < COPY_SEGMENTS * segment_of(s, c->store)))
			continue;
		f = health_add(r, "copy-queue", c->copy_seconds >= COPY_CRITICAL_S ? HEALTH_CRITICAL :
			       HEALTH_WARNING, c->store, c->member, "copy %s\\%s is behind: %llu records, "
			       "%llu MiB, %.0f s are not inspected there", c->store, c->member,
			       (unsigned long long)c->copy_records,
			       (unsigned long long)c->copy_bytes >> 20, c->copy_seconds);
		health_effect(f, "so much would be missing if it had to take over now");
		health_cure(f, "dagctl network status (loss, which network); the log disk of %s: iostat -x; "
			    "if the load is too much: another copy, or a faster log directory", c->member);
	}
}

void check_replay_queue(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		/* What is held back by a lag is not late, however much it is. */
		double late = c->lag_seconds > 0 ? c->late_seconds : c->replay_seconds;
		struct health_finding *f;

		if (c->status != COPY_HEALTHY || !c->queues || (late < REPLAY_WARN_S &&
		    (c->lag_seconds > 0 ||
		     c->replay_bytes < REPLAY_SEGMENTS * segment_of(s, c->store))))
			continue;
		f = health_add(r, "replay-queue", late >= REPLAY_CRITICAL_S ? HEALTH_CRITICAL :
			       HEALTH_WARNING, c->store, c->member, "copy %s\\%s replays late: %llu records, "
			       "%llu MiB wait, %.0f s%s", c->store, c->member,
			       (unsigned long long)c->replay_records,
			       (unsigned long long)c->replay_bytes >> 20, late,
			       c->lag_seconds > 0 ? " beyond its lag" : "");
		health_effect(f, "nothing is lost, but an activation there waits for the replay");
		health_cure(f, "on %s: iostat -x of the copy's device; it must take the writes of the active's",
			    c->member);
	}
}

void check_branches(const struct health_snapshot *s, struct health_report *r)
{
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct health_copy *c = &s->copies[i];
		struct health_finding *f;

		if (!c->branches)
			continue;
		f = health_add(r, "branches", HEALTH_WARNING, c->store, c->member, "member %s keeps %u "
			       "tail%s of store %s that became no part of it", c->member, c->branches,
			       c->branches == 1 ? "" : "s", c->store);
		health_effect(f, "writes of a former active that nobody else had, and that take room");
		health_cure(f, "dagctl branch list %s shows them; on %s dagctl branch dump or branch extract "
			    "gives what they hold; when nothing in them is needed, dagctl branch drop",
			    c->store, c->member);
	}
}
