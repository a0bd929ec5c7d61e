// SPDX-License-Identifier: GPL-2.0
/* attempt: when an activation that failed may be tried again. */
#include <criterion/criterion.h>

#include "daemon/store/attempt.h"

Test(attempt, a_failure_delays_and_the_delay_ends)
{
	struct attempt at = { 0 };

	cr_assert_eq(attempt_left_ms(&at, 0), 0);
	attempt_failed(&at, 1000, 500);
	cr_assert_eq(attempt_left_ms(&at, 500), 1000);
	cr_assert_eq(attempt_left_ms(&at, 1499), 1);
	cr_assert_eq(attempt_left_ms(&at, 1500), 0);
	cr_assert_eq(attempt_left_ms(&at, UINT64_MAX), 0);
}

Test(attempt, the_delay_doubles_and_is_bounded)
{
	struct attempt at = { 0 };
	uint64_t now = 0;

	for (unsigned n = 0; n < 1000; n++) {
		uint64_t want = 1000ull << (n > ATTEMPT_DOUBLINGS ? ATTEMPT_DOUBLINGS : n);

		attempt_failed(&at, 1000, now);
		cr_assert_eq(attempt_left_ms(&at, now), want, "try %u", n);
		now = at.until_ms;
	}
	at.failures = UINT32_MAX;
	attempt_failed(&at, UINT32_MAX, now);
	cr_assert_eq(at.failures, UINT32_MAX);
	cr_assert_eq(attempt_left_ms(&at, now), (uint64_t)UINT32_MAX << ATTEMPT_DOUBLINGS);
}

Test(attempt, success_or_a_person_ends_it)
{
	struct attempt at = { 0 };

	attempt_failed(&at, 0, 0);
	attempt_failed(&at, 0, 0);
	cr_assert_eq(attempt_left_ms(&at, 0), 2 * ATTEMPT_RETRY_MS);
	attempt_clear(&at);
	cr_assert_eq(attempt_left_ms(&at, 0), 0);
	attempt_failed(&at, 0, 0);
	cr_assert_eq(attempt_left_ms(&at, 0), ATTEMPT_RETRY_MS, "counted anew");
}
