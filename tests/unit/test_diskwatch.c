// SPDX-License-Identifier: GPL-2.0
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>

#include "daemon/store/diskwatch.h"

Test(diskwatch, only_requests_that_never_end_are_a_hang)
{
	struct diskwatch dw = { 0 };

	cr_assert(eq(u64, diskwatch_note(&dw, 10, 0, 1000), 0), "idle");
	cr_assert(eq(u64, diskwatch_note(&dw, 10, 0, 20000), 0), "idle for long");
	cr_assert(eq(u64, diskwatch_note(&dw, 10, 2, 20500), 0), "some have begun");
	cr_assert(eq(u64, diskwatch_note(&dw, 10, 2, 25500), 5000));
	cr_assert(eq(u64, diskwatch_note(&dw, 11, 2, 30000), 0), "slow, but it works");
	cr_assert(eq(u64, diskwatch_note(&dw, 11, 9, 41000), 11000));
	cr_assert(eq(u64, diskwatch_note(&dw, 12, 0, 41500), 0), "it came back");
	cr_assert(eq(u64, diskwatch_note(&dw, 12, 1, 60000), 0), "counted from now, not from then");
}

Test(diskwatch, the_text_of_the_kernel_is_read)
{
	uint64_t ended = 0, fly = 0;

	cr_assert(eq(int, diskwatch_parse("   10 1 2 3   20 4 5 6   7 8 9   30 0 0 0   40 1\n",
					  &ended, &fly), 0));
	cr_assert(eq(u64, ended, 100));
	cr_assert(eq(u64, fly, 7));
	cr_assert(eq(int, diskwatch_parse("10 1 2 3 20 4 5 6 7 8 9", &ended, &fly), 0), "an older kernel");
	cr_assert(eq(u64, ended, 30));
	cr_assert(eq(int, diskwatch_parse("10 1 2", &ended, &fly), -EINVAL));
	cr_assert(eq(int, diskwatch_parse("nonsense", &ended, &fly), -EINVAL));
	cr_assert(eq(int, diskwatch_read("/dev/null", &ended, &fly), -ENOTBLK));
}
