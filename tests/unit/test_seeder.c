// SPDX-License-Identifier: GPL-2.0
/*
 * seeder: whom the session that runs is for, and from where on a copy that calls
 * must be seeded. A wrong yes leaves a copy waiting for ever.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/store/active_internal.h"

static struct active *a;
static struct frame_welcome w;

static void setup(void)
{
	a = calloc(1, sizeof(*a));
	cr_assert_not_null(a);
	/* A session of everything changed since 640 runs, from its first sector on. */
	a->seed_runs = true;
	a->seed_since = 640;
	a->seed_begin = 4096;
	memset(a->seed_id, 7, sizeof(a->seed_id));
	w = (struct frame_welcome){
		.resume = DAG_RESUME_REGIONS,
		.resume_lsn = 2048,
		.have_lsn = 1024,
	};
}

static void teardown(void)
{
	free(a);
}

TestSuite(seeder, .init = setup, .fini = teardown);

Test(seeder, a_session_ahead_serves)
{
	cr_assert(seeder_serves(a, &w, 0, false));
	w.have_lsn = 512;
	cr_assert(!seeder_serves(a, &w, 0, false), "it misses what changed before");
	w.resume = DAG_RESUME_FULL;
	w.have_lsn = 1024;
	cr_assert(!seeder_serves(a, &w, 0, false), "it has nothing");
	a->seed_since = 0;
	cr_assert(seeder_serves(a, &w, 0, false));
	a->seed_runs = false;
	cr_assert(!seeder_serves(a, &w, 0, false), "who knows whether the end is in the log");
}

Test(seeder, one_that_it_has_seen_begin_serves)
{
	w.resume_lsn = 8192;
	cr_assert(!seeder_serves(a, &w, 0, false), "its begin has passed");
	memcpy(w.seed, a->seed_id, sizeof(w.seed));
	cr_assert(seeder_serves(a, &w, 0, false));
	a->seed_runs = false;
	cr_assert(seeder_serves(a, &w, 0, false), "the end is on its way");
	memset(a->seed_id, 0, sizeof(a->seed_id));
	memset(w.seed, 0, sizeof(w.seed));
	cr_assert(!seeder_serves(a, &w, 0, false), "none is no session");
}

Test(seeder, a_gap_ends_what_began_before_it)
{
	memcpy(w.seed, a->seed_id, sizeof(w.seed));
	w.resume_lsn = 5120;
	a->w.gap = 6144;
	cr_assert(!seeder_serves(a, &w, 0, false));
}

/* It has half of an older seed, and a gap in front of it. */
Test(seeder, a_gap_ahead_undoes_the_half)
{
	w.seed_cursor = 1000;
	cr_assert_eq(seeder_first(a, &w), 1000);
	a->seed_first = 800;
	cr_assert(seeder_serves(a, &w, 0, false));
	a->w.gap = 3072;
	cr_assert_eq(seeder_first(a, &w), 0);
	cr_assert(!seeder_serves(a, &w, 0, false), "the first sectors would be missing");
	a->seed_first = 0;
	cr_assert(seeder_serves(a, &w, 0, false));
	w.resume_lsn = 3136;
	cr_assert_eq(seeder_first(a, &w), 1000, "the gap has been met");
}

/* It was active: the active cannot know what it changed but by its set. */
Test(seeder, a_branch_is_served_by_a_session_with_its_set)
{
	w.resume = DAG_RESUME_BRANCH;
	cr_assert(!seeder_serves(a, &w, 77, false));
	a->seed_sets[1] = 76;
	cr_assert(!seeder_serves(a, &w, 77, false), "another's set");
	a->seed_sets[2] = 77;
	cr_assert(seeder_serves(a, &w, 77, false));
	w.have_lsn = 512;
	cr_assert(!seeder_serves(a, &w, 77, false), "it misses what changed before");
	a->seed_since = a->seed_sets[2] = 0;
	cr_assert(seeder_serves(a, &w, 77, false), "everything is enough");
}

/* The strictest of those whom it is for; a person's word for one copy before the store's. */
Test(seeder, the_rate_is_the_lowest_that_was_asked_for)
{
	cr_assert_eq(seeder_rate(a), 0);
	a->seed_rate = 1000;
	cr_assert_eq(seeder_rate(a), 0, "it is for nobody");
	a->peers[1].seeded = true;
	cr_assert_eq(seeder_rate(a), 1000);
	a->peers[1].seed_rate = 5000;
	cr_assert_eq(seeder_rate(a), 5000);
	a->peers[4].seeded = true;
	cr_assert_eq(seeder_rate(a), 1000, "the other has the store's");
	a->peers[4].seed_rate = GROUP_RATE_NONE;
	cr_assert_eq(seeder_rate(a), 5000);
	a->peers[1].seed_rate = GROUP_RATE_NONE;
	cr_assert_eq(seeder_rate(a), 0, "both are to have none");
}

Test(seeder, one_that_leaves_out_does_not_serve_who_wants_all)
{
	cr_assert(seeder_serves(a, &w, 0, true));
	a->seed_leaves_out = true;
	cr_assert(!seeder_serves(a, &w, 0, true));
	cr_assert(seeder_serves(a, &w, 0, false));
	memcpy(w.seed, a->seed_id, sizeof(w.seed));
	cr_assert(!seeder_serves(a, &w, 0, true), "not even if it has seen it begin");
}
