// SPDX-License-Identifier: GPL-2.0
/*
 * sim [-n SEEDS] [-s FIRST] [-j PROCESSES] [-v]
 *	Runs seeds FIRST .. FIRST+SEEDS-1, stops at the first violation, replays that
 *	seed with its last events printed, and ends with a line "sim: N passed, N failed".
 *	-v replays each seed with its events.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/sim/sim.h"

#define WHOLE_WITHIN	(40 * SEC)	/* after the last fault */

struct result {
	uint64_t hash, events, virtual_ns, whole_ns;
};

static struct takeover_store to_stores[HOSTS_MAX][HOSTS_MAX][STORES_MAX];
static struct group_state gs;
static struct group_store stores[STORES_MAX];

/* ---- a random group ---------------------------------------------------------------- */

static unsigned pick_members(void)
{
	unsigned p = chance(100);

	if (p < 4)
		return 1;
	if (p < 24)
		return 2;
	if (p < 62)
		return 3;
	if (p < 78)
		return 4;
	if (p < 90)
		return 5;
	return p < 98 ? between(6, 8) : between(9, GROUP_MEMBERS_MAX);
}

static void make_members(void)
{
	static const char *const profiles[] = { "lan", "lan", "lan", "fast", "wan" };
	bool witness;

	nr_members = pick_members();
	witness = percent(nr_members % 2 ? 5 : 85);
	nr_hosts = nr_members + witness;
	memset(&gs, 0, sizeof(gs));
	strcpy(gs.name, "sim");
	strcpy(gs.uuid, "sim");
	gs.generation = 1;
	gs.version = 1;
	lease_profile_named(profiles[chance(5)], &gs.profile);
	gs.nr_members = nr_members;
	for (int i = 0; i < nr_members; i++) {
		struct group_member *m = &gs.members[i];

		strcpy(m->name, host_name(i));
		m->dial = chance(4);
		m->policy = percent(95) ? POLICY_UNRESTRICTED : POLICY_BLOCKED;
		m->max_active = percent(10) ? between(1, 3) : 0;
	}
	if (witness)
		strcpy(gs.witness.name, host_name(nr_members));
}

static void make_store(int i)
{
	struct group_store *st = &stores[i];
	unsigned modes = chance(100);

	memset(st, 0, sizeof(*st));
	snprintf(st->name, sizeof(st->name), "s%d", i);
	store_uuid(i, st->uuid);
	st->mode = modes < 65 ? DAGTAP_MODE_COMMIT : modes < 80 ? DAGTAP_MODE_SYNC : DAGTAP_MODE_ASYNC;
	st->ack_durable = percent(75);
	st->late_ms_max = between(200, 2000);
	st->segment_mib = 1;
	st->epoch = st->version = 1;
	st->manual = percent(3);
	for (int h = 0, first = chance(nr_members); h < nr_members; h++) {
		int m = (first + h) % nr_members;
		struct group_copy *cp = &st->copies[st->nr_copies];

		if (h > 1 && percent(30))
			continue;
		strcpy(cp->member, host_name(m));
		cp->preference = ++st->nr_copies;
		cp->activation_blocked = percent(3);
	}
	strcpy(st->active, st->copies[0].member);
	st->min_in_sync = st->nr_copies > 1 && percent(30);
}

static void make_host(int i)
{
	struct host *h = &hosts[i];

	for (int s = 0; s < STORES_MAX; s++)
		free(h->copy[s].pending);
	memset(h, 0, sizeof(*h));
	h->id = i;
	h->member = i < nr_members;
	h->rate_ppm = percent(70) ? (int64_t)between(0, 200) - 100 :
		      (int64_t)between(0, 2 * LEASE_RHO_PPM) - LEASE_RHO_PPM;
	for (int s = 0; s < nr_stores; s++) {
		passive_init(h, s);
		h->copy[s].configured = group_find_copy(&stores[s], host_name(i)) != NULL;
	}
	for (int v = 0; v < HOSTS_MAX; v++)
		h->to[v].stores = to_stores[i][v];
}

static void make_group(void)
{
	make_members();
	nr_stores = percent(60) ? 1 : between(1, STORES_MAX);
	memset(stores, 0, sizeof(stores));
	for (int i = 0; i < nr_stores; i++)
		make_store(i);
	for (int i = 0; i < nr_hosts; i++)
		make_host(i);
	gs.nr_stores = nr_stores;
	engine_init(0, &gs, stores);
	check_init();
	for (int i = 0; i < nr_hosts; i++) {
		hosts[i].snap = snap_get((struct snap *)engine_truth(0));
		host_boot(&hosts[i]);
	}
}

/* ---- one seed --------------------------------------------------------------------------- */

static bool run_until(uint64_t until)
{
	while (!violated[0] && world_step(until))
		check_every();
	if (!violated[0])
		now = until;
	return !violated[0];
}

static void wait_whole(struct result *r)
{
	uint64_t end = now + WHOLE_WITHIN, from = now;
	char why[200] = "";

	while (!violated[0] && now < end) {
		run_until(now + 250 * MS);
		if (!violated[0] && check_whole(why, sizeof(why))) {
			r->whole_ns = now - from;
			return;
		}
	}
	violation("I14 not whole %llu s after the last fault: %s",
		  (unsigned long long)(WHOLE_WITHIN / SEC), why);
}

static bool run_seed(uint64_t seed, struct result *r)
{
	memset(r, 0, sizeof(*r));
	for (int i = 0; i < HOSTS_MAX; i++) {
		snap_put(hosts[i].snap);
		hosts[i].snap = NULL;
		hosts[i].inc = hosts[i].dinc = 0;
	}
	world_init(seed);
	chain_init();
	net_init();
	make_group();
	fault_init();
	if (run_until(between(4 * SEC, 25 * SEC))) {
		fault_end();
		wait_whole(r);
	}
	r->hash = world_hash();
	r->events = events;
	r->virtual_ns = now;
	return !violated[0];
}

/* ---- many seeds ---------------------------------------------------------------------------- */

struct tally {
	volatile uint64_t passed, events, virtual_ms, whole_ms_max;
	volatile bool failed;
	volatile uint64_t bad_seed;
};

static void replay(uint64_t seed, const struct result *first)
{
	struct result again;

	tracing = true;
	run_seed(seed, &again);
	trace_dump();
	printf("seed %llu: %s\n", (unsigned long long)seed, violated);
	printf("seed %llu: hash %016llx, replayed %016llx: %s\n", (unsigned long long)seed,
	       (unsigned long long)first->hash, (unsigned long long)again.hash,
	       first->hash == again.hash ? "the same" : "NOT THE SAME");
	tracing = false;
}

static void worker(struct tally *all, unsigned procs, unsigned me, uint64_t first, uint64_t n, bool verbose)
{
	struct tally *t = &all[me];

	for (uint64_t i = me; i < n; i += procs) {
		struct result r;
		bool good = run_seed(first + i, &r);

		if (verbose)
			replay(first + i, &r);
		t->events += r.events;
		t->virtual_ms += r.virtual_ns / MS;
		if (r.whole_ns / MS > t->whole_ms_max)
			t->whole_ms_max = r.whole_ns / MS;
		if (good) {
			t->passed++;
		} else {
			t->failed = true;
			t->bad_seed = first + i;
			return;
		}
		for (unsigned p = 0; p < procs; p++)
			if (all[p].failed)
				return;
	}
}

static int report(const struct tally *all, unsigned procs, uint64_t bad)
{
	uint64_t passed = 0, sum = 0, ms = 0, whole = 0;
	unsigned failed = 0;

	for (unsigned p = 0; p < procs; p++) {
		passed += all[p].passed;
		sum += all[p].events;
		ms += all[p].virtual_ms;
		failed += all[p].failed;
		if (all[p].whole_ms_max > whole)
			whole = all[p].whole_ms_max;
	}
	failed += bad && !failed;
	printf("sim: %llu passed, %u failed, %llu events, %llu virtual seconds, whole again after "
	       "%llu ms at most\n", (unsigned long long)passed, failed, (unsigned long long)sum,
	       (unsigned long long)ms / 1000, (unsigned long long)whole);
	return failed != 0;
}

int main(int argc, char **argv)
{
	uint64_t n = 1000, first = 1;
	unsigned procs = sysconf(_SC_NPROCESSORS_ONLN), bad = 0;
	bool verbose = false;
	struct tally *all;
	int opt, status;

	while ((opt = getopt(argc, argv, "n:s:j:v")) != -1) {
		switch (opt) {
		case 'n': n = strtoull(optarg, NULL, 0); break;
		case 's': first = strtoull(optarg, NULL, 0); break;
		case 'j': procs = strtoul(optarg, NULL, 0); break;
		case 'v': verbose = true; break;
		default: return 2;
		}
	}
	procs = procs < 1 ? 1 : procs > 64 ? 64 : procs;
	all = mmap(NULL, procs * sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		return 2;
	for (unsigned p = 0; p < procs; p++) {
		pid_t pid = fork();

		if (pid < 0)
			return 2;
		if (!pid) {
			worker(all, procs, p, first, n, verbose);
			fflush(stdout);
			_exit(0);
		}
	}
	for (unsigned p = 0; p < procs; p++)
		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
			bad++;
	for (unsigned p = 0; p < procs; p++) {
		struct result r;

		if (!all[p].failed)
			continue;
		run_seed(all[p].bad_seed, &r);
		replay(all[p].bad_seed, &r);
		break;
	}
	return report(all, procs, bad);
}
