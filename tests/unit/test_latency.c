// SPDX-License-Identifier: GPL-2.0
/* Probes of the stages of the log, and the histograms. */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/ship/latency.h"

#define BOTH	(1u << LATENCY_SHIP | 1u << LATENCY_DURABLE)
#define US	1000ull

static struct latency l;

static void setup(void)
{
	memset(&l, 0, sizeof(l));
}

TestSuite(latency, .init = setup);

static uint64_t count(const struct latency_hist *h)
{
	uint64_t n = 0;

	for (int i = 0; i < LATENCY_BUCKETS; i++)
		n += h->bucket[i];
	return n;
}

Test(latency, buckets_are_those_of_the_module)
{
	static const struct { uint64_t ns; int bucket; } at[] = {
		{ 0, 0 }, { 999, 0 }, { 1 * US, 1 }, { 1999, 1 }, { 2 * US, 2 }, { 3999, 2 },
		{ 1000 * US, 10 }, { 1023 * US, 10 }, { 1024 * US, 11 },
		{ (1ull << 22) * US - 1, 22 }, { (1ull << 22) * US, 23 }, { UINT64_MAX, 23 },
	};

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		struct latency_hist h = { .sum_ns = 0 };

		latency_add(&h, at[i].ns);
		cr_assert_eq(h.bucket[at[i].bucket], 1, "%zu", i);
		cr_assert_eq(count(&h), 1);
		cr_assert_eq(h.sum_ns, at[i].ns);
	}
}

Test(latency, one_probe_at_a_time)
{
	struct latency_hist h[LATENCY_STAGES];

	latency_begin(&l, 100, 1000 * US, BOTH);
	latency_begin(&l, 200, 1001 * US, BOTH);	/* waits its turn */
	cr_assert_not(latency_due(&l, LATENCY_SHIP, 99));
	latency_pass(&l, LATENCY_SHIP, 99, 1002 * US);
	cr_assert(latency_due(&l, LATENCY_SHIP, 100));
	cr_assert_not(latency_due(&l, LATENCY_ACK, 100), "not of this probe");
	latency_pass(&l, LATENCY_SHIP, 150, 1005 * US);
	latency_pass(&l, LATENCY_SHIP, 300, 1009 * US);	/* counts once */
	latency_pass(&l, LATENCY_DURABLE, 100, 1100 * US);
	latency_begin(&l, 100, 1200 * US, BOTH);	/* nothing new has come */
	cr_assert_eq(l.waits, 0);
	latency_begin(&l, 200, 1200 * US, BOTH);
	cr_assert_eq(l.waits, BOTH);
	latency_read(&l, h);
	cr_assert_eq(count(&h[LATENCY_SHIP]), 1);
	cr_assert_eq(count(&h[LATENCY_DURABLE]), 1);
	cr_assert_eq(count(&h[LATENCY_ACK]), 0);
	cr_assert_eq(h[LATENCY_SHIP].sum_ns, 5 * US);
	cr_assert_eq(h[LATENCY_DURABLE].sum_ns, 100 * US);
}

/* A connection that broke never passes the LSN; the next one begins anew, also where
 * the log goes on at a lower place. */
Test(latency, a_new_connection)
{
	latency_begin(&l, 1000, 1, BOTH);
	latency_forget(&l);
	cr_assert_not(latency_due(&l, LATENCY_SHIP, 2000));
	latency_begin(&l, 500, 2 * US, BOTH);
	cr_assert(latency_due(&l, LATENCY_SHIP, 500));
}

Test(latency, a_clock_that_goes_back)
{
	latency_begin(&l, 100, 5000 * US, BOTH);
	latency_pass(&l, LATENCY_SHIP, 100, 10);
	cr_assert_eq(l.hist[LATENCY_SHIP].bucket[0], 1);
	cr_assert_eq(l.hist[LATENCY_SHIP].sum_ns, 0);
	/* no record yet: no time */
	setup();
	latency_begin(&l, 100, 0, BOTH);
	cr_assert_eq(l.waits, 0);
}
