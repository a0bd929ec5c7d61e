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
	cr_assert(seeder_serves(a, &w));
	w.have_lsn = 512;
	cr_assert(!seeder_serves(a, &w), "it misses what changed before");
	w.resume = DAG_RESUME_FULL;
	w.have_lsn = 1024;
	cr_assert(!seeder_serves(a, &w), "it has nothing");
	a->seed_since = 0;
	cr_assert(seeder_serves(a, &w));
	a->seed_runs = false;
	cr_assert(!seeder_serves(a, &w), "who knows whether the end is in the log");
}

Test(seeder, one_that_it_has_seen_begin_serves)
{
	w.resume_lsn = 8192;
	cr_assert(!seeder_serves(a, &w), "its begin has passed");
	memcpy(w.seed, a->seed_id, sizeof(w.seed));
	cr_assert(seeder_serves(a, &w));
	a->seed_runs = false;
	cr_assert(seeder_serves(a, &w), "the end is on its way");
	memset(a->seed_id, 0, sizeof(a->seed_id));
	memset(w.seed, 0, sizeof(w.seed));
	cr_assert(!seeder_serves(a, &w), "none is no session");
}

Test(seeder, a_gap_ends_what_began_before_it)
{
	memcpy(w.seed, a->seed_id, sizeof(w.seed));
	w.resume_lsn = 5120;
	a->w.gap = 6144;
	cr_assert(!seeder_serves(a, &w));
}

/* It has half of an older seed, and a gap in front of it. */
Test(seeder, a_gap_ahead_undoes_the_half)
{
	w.seed_cursor = 1000;
	cr_assert_eq(seeder_first(a, &w), 1000);
	a->seed_first = 800;
	cr_assert(seeder_serves(a, &w));
	a->w.gap = 3072;
	cr_assert_eq(seeder_first(a, &w), 0);
	cr_assert(!seeder_serves(a, &w), "the first sectors would be missing");
	a->seed_first = 0;
	cr_assert(seeder_serves(a, &w));
	w.resume_lsn = 3136;
	cr_assert_eq(seeder_first(a, &w), 1000, "the gap has been met");
}
