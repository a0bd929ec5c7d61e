// SPDX-License-Identifier: GPL-2.0
/*
 * A healthy group of three in a snapshot, and faults that are planted in it: each is
 * found, by its own check, at its level, for its store and member, with the command
 * that mends it - and taking it away leaves nothing.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/health/checks.h"

static struct health_snapshot *s;
static struct health_report *r;

static void add_member(const char *name)
{
	struct health_member *m = &s->members[s->nr_members++];

	strcpy(m->name, name);
	m->reachable = m->beats = m->voter = m->said = m->listens = m->module = true;
	m->clock_synced = m->may_activate = m->engine_confirmed = true;
	strcpy(m->version, "1.0");
	m->cert_left_s = 300 * 86400;
	m->space_left = 100ull << 30;
	m->lease_ms = 1200;
	m->engine_age_ms = 50;
}

static void add_store(const char *name)
{
	struct health_store *st = &s->stores[s->nr_stores++];
	unsigned i;

	strcpy(st->name, name);
	strcpy(st->active, "n1");
	st->commits = true;
	st->min_in_sync = 1;
	st->segment_bytes = 64 << 20;
	st->quota_bytes = 10ull << 30;
	st->nr_copies = 3;
	for (i = 0; i < 3; i++) {
		struct health_copy *c = &s->copies[s->nr_copies++];

		strcpy(c->store, name);
		snprintf(c->member, sizeof(c->member), "n%u", i + 1);
		c->active = !i;
		c->status = i ? COPY_HEALTHY : COPY_MOUNTED;
		c->in_sync = c->queues = i;
		c->space_left = 100ull << 30;
	}
}

static void add_subnet(const char *network, bool client)
{
	struct health_subnet *n = &s->subnets[s->nr_subnets++];

	strcpy(n->network, network);
	strcpy(n->subnet, client ? "10.9.0.0/24" : "10.1.0.0/24");
	strcpy(n->state, "Up");
	n->client = client;
	n->replication = !client;
}

static void healthy(void)
{
	memset(s, 0, sizeof(*s));
	s->service = s->quorum = true;
	strcpy(s->self, "n1");
	strcpy(s->manager, "n1");
	s->planned_voters = 3;
	add_member("n1");
	add_member("n2");
	add_member("n3");
	add_store("pg");
	add_store("home");
	add_subnet("fast", false);
	add_subnet("lan", true);
}

static void setup(void)
{
	s = calloc(1, sizeof(*s));
	r = calloc(1, sizeof(*r));
	healthy();
}

static void teardown(void)
{
	free(s);
	free(r);
}

TestSuite(health, .init = setup, .fini = teardown);

Test(health, nothing_is_wrong)
{
	health_run(s, r);
	cr_assert_eq(r->nr, 0, "%s: %s", r->finding[0].check, r->finding[0].text);
	cr_assert_eq(health_worst(r), HEALTH_OK);
}

Test(health, an_empty_group_is_healthy)
{
	memset(s, 0, sizeof(*s));
	s->service = true;
	health_run(s, r);
	cr_assert_eq(r->nr, 0);
}

/* ---- faults ------------------------------------------------------------------------ */

static struct health_copy *copy(const char *store, const char *member)
{
	return (struct health_copy *)health_copy(s, store, member);
}

static struct health_member *member(const char *name)
{
	return (struct health_member *)health_member(s, name);
}

static void no_daemon(void)
{
	s->service = false;
	strcpy(s->service_why, "connection refused");
}

static void member_down(void)
{
	struct health_member *m = member("n3");

	m->reachable = m->beats = m->said = false;
	strcpy(m->why, "no route to host");
	copy("pg", "n3")->status = copy("home", "n3")->status = COPY_SERVICE_DOWN;
}

static void no_listener(void)
{
	member("n2")->reachable = member("n2")->said = false;
}

static void port_closed_here(void)
{
	member("n2")->listens = false;
}

static void old_version(void)
{
	strcpy(member("n2")->version, "0.9");
}

static void no_module(void)
{
	member("n2")->module = false;
}

static void clock_off(void)
{
	member("n2")->clock_ahead_s = -7.5;
	member("n2")->clock_within_s = 0.01;
}

static void clock_alone(void)
{
	member("n2")->clock_synced = false;
}

static void cert_ends(void)
{
	member("n2")->cert_left_s = 86400 * 5;
}

static void cert_ended(void)
{
	member("n2")->cert_left_s = -1;
}

static void state_full(void)
{
	member("n2")->space_left = 10 << 20;
}

static void log_dir_low(void)
{
	copy("pg", "n2")->space_left = 300 << 20;
}

static void log_dir_full(void)
{
	copy("pg", "n2")->space_left = 1 << 20;
}

static void in_maintenance(void)
{
	member("n2")->maintenance = true;
}

static void stopped(void)
{
	member("n2")->stopped = true;
}

static void no_majority(void)
{
	member("n1")->engine_age_ms = 20000;
	strcpy(member("n1")->engine_error, "no leader");
}

static void never_a_majority(void)
{
	member("n1")->engine_age_ms = -1;
	member("n1")->engine_confirmed = false;
}

static void majority_just_so(void)
{
	member_down();
}

static void wrong_voters(void)
{
	s->model_differs = true;
}

static void one_holder(void)
{
	s->holders = 1;
	strcpy(s->holder, "n2");
}

static void two_without_witness(void)
{
	s->manual_only = true;
}

static void witness_down(void)
{
	strcpy(s->witness, "w");
	s->witness_needed = s->witness_votes = true;
}

static void witness_without_vote(void)
{
	strcpy(s->witness, "w");
	s->witness_needed = s->witness_answers = true;
}

static void no_manager(void)
{
	s->manager[0] = '\0';
}

static void manager_down(void)
{
	strcpy(s->manager, "n3");
	member_down();
}

static void lease_lost(void)
{
	member("n2")->lease_ms = 0;
}

static void may_not(void)
{
	member("n2")->may_activate = false;
	strcpy(member("n2")->dac, "not all members have been heard");
}

static void subnet_parted(void)
{
	strcpy(s->subnets[1].state, "Partitioned");
}

static void no_replication_network(void)
{
	strcpy(s->subnets[0].state, "Unavailable");
}

static void store_down(void)
{
	copy("pg", "n1")->status = COPY_FAILED;
	strcpy(copy("pg", "n1")->error, "the tap failed");
}

static void store_nowhere(void)
{
	s->stores[0].active[0] = '\0';
	copy("pg", "n1")->active = false;
	copy("pg", "n1")->status = COPY_DISCONNECTED_AND_HEALTHY;
}

static void store_dismounted(void)
{
	s->stores[0].dismounted = true;
	copy("pg", "n1")->status = COPY_DISMOUNTED;
}

static void one_healthy(void)
{
	copy("pg", "n2")->status = copy("pg", "n3")->status = COPY_DISCONNECTED_AND_HEALTHY;
}

static void one_copy(void)
{
	s->stores[0].nr_copies = 1;
	s->stores[0].min_in_sync = 0;
	s->nr_copies = 0;
	s->nr_stores = 0;
	add_store("pg");
	s->nr_copies = 1;
	s->stores[0].nr_copies = 1;
	s->stores[0].min_in_sync = 0;
}

static void commits_wait(void)
{
	copy("pg", "n2")->in_sync = copy("pg", "n3")->in_sync = false;
}

static void none_in_sync(void)
{
	commits_wait();
	s->stores[0].min_in_sync = 0;
}

static void nobody_could(void)
{
	copy("pg", "n2")->activation_blocked = true;
	member("n3")->blocked = true;
}

static void step_failed(void)
{
	copy("pg", "n1")->steps_failed = true;
	strcpy(copy("pg", "n1")->error, "mount /srv failed: wrong fs type");
}

static void log_given_up(void)
{
	copy("pg", "n1")->tracking = true;
}

static void spool_full(void)
{
	copy("pg", "n1")->spool_bytes = (10ull << 30) - 1;
}

static void is_suspended(void)
{
	copy("pg", "n2")->status = COPY_SUSPENDED;
	strcpy(copy("pg", "n2")->comment, "new disk");
}

static void is_blocked(void)
{
	copy("pg", "n2")->activation_blocked = true;
}

static void has_failed(void)
{
	copy("pg", "n2")->status = COPY_FAILED;
	strcpy(copy("pg", "n2")->error, "replay stops");
}

static void failed_for_long(void)
{
	copy("pg", "n2")->status = COPY_FAILED_AND_SUSPENDED;
}

static void no_device(void)
{
	copy("pg", "n2")->status = COPY_MISCONFIGURED;
}

static void begins(void)
{
	copy("pg", "n2")->status = COPY_INITIALIZING;
}

static void cut_off(void)
{
	copy("pg", "n2")->status = COPY_DISCONNECTED_AND_RESYNCHRONIZING;
}

static void seeded(void)
{
	copy("pg", "n2")->status = COPY_SEEDING;
	copy("pg", "n2")->seed_done = 0.25;
}

static void ships_late(void)
{
	copy("pg", "n2")->copy_seconds = 25;
	copy("pg", "n2")->copy_records = 4711;
}

static void ships_far_behind(void)
{
	copy("pg", "n2")->copy_seconds = 400;
}

static void ships_much(void)
{
	copy("pg", "n2")->copy_bytes = 640 << 20;
}

static void replays_late(void)
{
	copy("pg", "n2")->lag_seconds = 600;
	copy("pg", "n2")->replay_seconds = 700;
	copy("pg", "n2")->late_seconds = 100;
}

static void replays_much(void)
{
	copy("pg", "n2")->replay_bytes = 4ull << 30;
}

static void tail_kept(void)
{
	copy("pg", "n2")->branches = 2;
}

static const struct plant {
	void (*plant)(void);
	const char *check;
	enum health_level level;
	const char *store, *member;
	const char *text, *cure;	/* that must stand in it */
} plants[] = {
	{ no_daemon, "service", HEALTH_CRITICAL, "", "n1", "connection refused", "systemctl start dagd" },
	{ member_down, "members", HEALTH_CRITICAL, "", "n3", "no route to host", "on n3: systemctl status" },
	{ no_listener, "listener", HEALTH_CRITICAL, "", "n2", "takes no calls", "firewall" },
	{ port_closed_here, "listener", HEALTH_CRITICAL, "", "n2", "does not listen", "ss -ltn" },
	{ old_version, "version", HEALTH_WARNING, "", "n2", "runs dagd 0.9", "same version" },
	{ no_module, "module", HEALTH_CRITICAL, "", "n2", "not loaded on n2", "modprobe dagtap" },
	{ clock_off, "clock", HEALTH_WARNING, "", "n2", "7.5 s behind", "chronyc tracking" },
	{ clock_alone, "clock", HEALTH_WARNING, "", "n2", "not synchronised", "chrony" },
	{ cert_ends, "certificate", HEALTH_WARNING, "", "n2", "expires in 5 days", "dagctl group join" },
	{ cert_ended, "certificate", HEALTH_CRITICAL, "", "n2", "has expired", "dagctl member add" },
	{ state_full, "space", HEALTH_CRITICAL, "", "n2", "10 MiB", "state_dir" },
	{ log_dir_low, "space", HEALTH_WARNING, "pg", "n2", "300 MiB", "dagctl store set pg --quota" },
	{ log_dir_full, "space", HEALTH_CRITICAL, "pg", "n2", "1 MiB", "dagctl store set pg --quota" },
	{ in_maintenance, "maintenance", HEALTH_WARNING, "", "n2", "in maintenance",
	  "dagctl member maintenance stop n2" },
	{ stopped, "maintenance", HEALTH_WARNING, "", "n2", "stopped", "dagctl group start n2" },
	{ no_majority, "quorum", HEALTH_CRITICAL, "", "", "no leader", "dagctl group restore" },
	{ never_a_majority, "quorum", HEALTH_CRITICAL, "", "", "no majority answers", "missing members" },
	{ majority_just_so, "quorum", HEALTH_WARNING, "", "", "2 of 3 voters", "dagctl member list" },
	{ one_holder, "authority", HEALTH_WARNING, "", "", "n2 alone holds", "upgrade" },
	{ wrong_voters, "quorum-model", HEALTH_WARNING, "", "", "quorum model", "dagctl group show" },
	{ two_without_witness, "quorum-model", HEALTH_WARNING, "", "", "without a witness",
	  "dagctl witness set" },
	{ witness_down, "witness", HEALTH_WARNING, "", "", "witness w does not answer",
	  "on w: systemctl start dagd" },
	{ witness_without_vote, "witness", HEALTH_WARNING, "", "", "no vote yet", "dagctl group join" },
	{ no_manager, "manager", HEALTH_CRITICAL, "", "", "no member is the manager", "by itself" },
	{ manager_down, "manager", HEALTH_CRITICAL, "", "", "manager n3 does not answer", "by itself" },
	{ lease_lost, "lease", HEALTH_CRITICAL, "", "n2", "n2 holds no lease",
	  "dagctl events list --kind lease-lost" },
	{ may_not, "activation-mode", HEALTH_WARNING, "", "n2", "not all members have been heard",
	  "dagctl group start --activate" },
	{ subnet_parted, "networks", HEALTH_WARNING, "", "", "subnet 10.9.0.0/24 is Partitioned",
	  "dagctl network set lan --ignore on" },
	{ no_replication_network, "networks", HEALTH_CRITICAL, "", "", "no replication network is up",
	  "dagctl network list" },
	{ store_down, "availability", HEALTH_CRITICAL, "pg", "n1", "the tap failed",
	  "dagctl store move pg --to" },
	{ store_nowhere, "availability", HEALTH_CRITICAL, "pg", "", "no copy is active",
	  "dagctl store move pg --to" },
	{ store_dismounted, "availability", HEALTH_WARNING, "pg", "n1", "as somebody asked",
	  "dagctl store mount pg" },
	{ one_healthy, "redundancy", HEALTH_CRITICAL, "pg", "", "1 healthy copy of 3",
	  "dagctl copy status pg" },
	{ one_copy, "redundancy", HEALTH_WARNING, "pg", "", "one copy only", "dagctl copy add pg" },
	{ commits_wait, "in-sync", HEALTH_CRITICAL, "pg", "", "commits need 1",
	  "dagctl store set pg --min-in-sync 0" },
	{ none_in_sync, "in-sync", HEALTH_WARNING, "pg", "", "no copy is in sync",
	  "dagctl copy status pg --full" },
	{ nobody_could, "takeover", HEALTH_WARNING, "pg", "", "n2: its activation is blocked, n3: its "
	  "member's policy is blocked", "dagctl copy resume pg --member n2" },
	{ step_failed, "steps", HEALTH_CRITICAL, "pg", "n1", "wrong fs type", "dagctl store mount pg" },
	{ log_given_up, "log", HEALTH_WARNING, "pg", "n1", "was given up", "dagctl copy status pg" },
	{ spool_full, "log", HEALTH_WARNING, "pg", "n1", "of 10240 MiB", "dagctl store set pg --quota" },
	{ is_suspended, "suspended", HEALTH_WARNING, "pg", "n2", "new disk",
	  "dagctl copy resume pg --member n2" },
	{ is_blocked, "suspended", HEALTH_WARNING, "pg", "n2", "blocked for activation",
	  "dagctl copy resume pg --member n2" },
	{ has_failed, "failed", HEALTH_CRITICAL, "pg", "n2", "replay stops", "dagctl log verify pg" },
	{ failed_for_long, "failed", HEALTH_CRITICAL, "pg", "n2", "tries no more",
	  "dagctl copy resume pg --member n2" },
	{ no_device, "misconfigured", HEALTH_CRITICAL, "pg", "n2", "cannot be opened", "on n2: lsblk" },
	{ begins, "initializing", HEALTH_WARNING, "pg", "n2", "waits for its active",
	  "dagctl network status" },
	{ cut_off, "disconnected", HEALTH_WARNING, "pg", "n2", "no connection",
	  "dagctl network status --member n2" },
	{ member_down, "disconnected", HEALTH_CRITICAL, "pg", "n3", "not heard of", "on n3: systemctl" },
	{ seeded, "seeding", HEALTH_WARNING, "pg", "n2", "being seeded", "dagctl watch" },
	{ ships_late, "copy-queue", HEALTH_WARNING, "pg", "n2", "4711 records", "dagctl network status" },
	{ ships_far_behind, "copy-queue", HEALTH_CRITICAL, "pg", "n2", "400 s", "iostat" },
	{ ships_much, "copy-queue", HEALTH_WARNING, "pg", "n2", "640 MiB", "iostat" },
	{ replays_late, "replay-queue", HEALTH_WARNING, "pg", "n2", "100 s beyond its lag", "iostat" },
	{ replays_much, "replay-queue", HEALTH_WARNING, "pg", "n2", "4096 MiB wait", "iostat" },
	{ tail_kept, "branches", HEALTH_WARNING, "pg", "n2", "2 tails", "dagctl branch list pg" },
};

#define NR_PLANTS	(sizeof(plants) / sizeof(plants[0]))

static const struct health_finding *found(const struct plant *p)
{
	for (unsigned i = 0; i < r->nr; i++) {
		const struct health_finding *f = &r->finding[i];

		if (!strcmp(f->check, p->check) && f->level == p->level &&
		    !strcmp(f->store, p->store) && !strcmp(f->member, p->member) &&
		    strstr(f->text, p->text))
			return f;
	}
	return NULL;
}

Test(health, each_planted_fault_is_found_with_its_cure)
{
	for (size_t i = 0; i < NR_PLANTS; i++) {
		const struct plant *p = &plants[i];
		const struct health_finding *f;

		healthy();
		p->plant();
		health_run(s, r);
		f = found(p);
		cr_assert_not_null(f, "plant %zu: %s: \"%s\" is not found", i, p->check, p->text);
		cr_assert_not_null(strstr(f->cure, p->cure), "plant %zu: %s: %s", i, p->check, f->cure);
		cr_assert_geq(health_worst(r), p->level);
		for (unsigned k = 0; k < r->nr; k++) {
			cr_assert(r->finding[k].effect[0], "%s: no effect", r->finding[k].check);
			cr_assert(r->finding[k].cure[0], "%s: no cure", r->finding[k].check);
			/* nothing is cut off */
			cr_assert_lt(strlen(r->finding[k].text), sizeof(f->text) - 1);
			cr_assert_lt(strlen(r->finding[k].effect), sizeof(f->effect) - 1, "%s",
				     r->finding[k].effect);
			cr_assert_lt(strlen(r->finding[k].cure), sizeof(f->cure) - 1, "%s",
				     r->finding[k].cure);
		}
	}
}

/* A fault of one copy is no fault of another: nothing is said of store home. */
Test(health, faults_of_one_store_are_not_told_of_another)
{
	for (size_t i = 0; i < NR_PLANTS; i++) {
		if (!plants[i].store[0] || plants[i].plant == member_down)
			continue;
		healthy();
		plants[i].plant();
		health_run(s, r);
		for (unsigned k = 0; k < r->nr; k++)
			cr_assert_str_neq(r->finding[k].store, "home", "plant %zu: %s", i,
					  r->finding[k].text);
	}
}

Test(health, each_check_has_a_fault_planted)
{
	for (unsigned i = 0; health_checks[i].name; i++) {
		bool any = false;

		for (size_t k = 0; k < NR_PLANTS; k++)
			any |= !strcmp(plants[k].check, health_checks[i].name);
		cr_assert(any, "check %s", health_checks[i].name);
		cr_assert_not_null(health_checks[i].question);
	}
}

/* ---- what is no fault ----------------------------------------------------------------- */

Test(health, what_is_as_wanted_is_no_fault)
{
	/* lagged by a day; before what it holds nothing was written for three */
	copy("pg", "n2")->lag_seconds = 86400;
	copy("pg", "n2")->replay_seconds = 4 * 86400;
	copy("pg", "n2")->late_seconds = 1;
	copy("pg", "n2")->replay_bytes = 100ull << 30;
	/* the witness is not needed where members are odd */
	strcpy(s->witness, "w");
	/* an engine without a quorum knows no leases */
	s->quorum = false;
	member("n2")->lease_ms = 0;
	member("n2")->may_activate = false;
	/* nobody asked how the network is */
	strcpy(s->subnets[0].state, "Unknown");
	strcpy(s->subnets[1].state, "Unavailable");
	s->subnets[1].ignored = true;
	/* the clock is off by less than can be told */
	member("n3")->clock_ahead_s = 1.4;
	member("n3")->clock_within_s = 0.5;
	health_run(s, r);
	cr_assert_eq(r->nr, 0, "%s: %s", r->finding[0].check, r->finding[0].text);
}

Test(health, scopes)
{
	struct health_scope all = { .all = true, .member = "n1" };
	struct health_scope here = { .member = "n2" };
	struct health_scope store = { .store = "home", .member = "n1" };
	unsigned n;

	has_failed();			/* pg on n2 */
	lease_lost();			/* n2 */
	copy("home", "n3")->status = COPY_SUSPENDED;
	wrong_voters();			/* all */
	health_run(s, r);
	n = r->nr;
	health_limit(r, s, &all);
	cr_assert_eq(r->nr, n);
	health_limit(r, s, &here);
	for (unsigned i = 0; i < r->nr; i++)
		cr_assert(!r->finding[i].member[0] || !strcmp(r->finding[i].member, "n2"));
	cr_assert_eq(r->nr, 3);
	health_run(s, r);
	health_limit(r, s, &store);
	/* quorum-model, the lease of a member with a copy, the suspended copy */
	cr_assert_eq(r->nr, 3);
	for (unsigned i = 0; i < r->nr; i++)
		cr_assert(!r->finding[i].store[0] || !strcmp(r->finding[i].store, "home"));
}

Test(health, more_findings_than_fit_are_counted)
{
	for (unsigned i = 0; i < HEALTH_FINDINGS_MAX + 7; i++) {
		struct health_finding *f = health_add(r, "failed", HEALTH_CRITICAL, "pg", "n1", "x");

		health_effect(f, "y");
		health_cure(f, "z");
	}
	cr_assert_eq(r->nr, HEALTH_FINDINGS_MAX);
	cr_assert_eq(r->left_out, 7);
}

Test(health, as_json)
{
	struct json_object *obj, *v;

	has_failed();
	health_run(s, r);
	obj = health_to_obj(r, s);
	json_object_object_get_ex(obj, "worst", &v);
	cr_assert_str_eq(json_object_get_string(v), "critical");
	json_object_object_get_ex(obj, "code", &v);
	cr_assert_eq(json_object_get_int(v), 2);
	json_object_object_get_ex(obj, "findings", &v);
	cr_assert_eq(json_object_array_length(v), r->nr);
	json_object_object_get_ex(json_object_array_get_idx(v, 0), "next", &v);
	cr_assert_not_null(strstr(json_object_get_string(v), "dagctl"));
	json_object_put(obj);
}
