// SPDX-License-Identifier: GPL-2.0
/* systemd: is this a stop, or half of a restart? */
#include <criterion/criterion.h>

#include "daemon/systemd.h"

Test(systemd, only_a_restart_of_this_unit_is_one)
{
	cr_assert(systemd_is_restart("1234 dagd.service restart running", "dagd.service"));
	cr_assert(systemd_is_restart("  7 dagd.service restart waiting", "dagd.service"));
	cr_assert_not(systemd_is_restart("1234 dagd.service stop running", "dagd.service"));
	cr_assert_not(systemd_is_restart("1234 dagd.service start waiting", "dagd.service"));
	cr_assert_not(systemd_is_restart("1234 dagd2.service restart running", "dagd.service"));
	cr_assert_not(systemd_is_restart("No jobs running.", "dagd.service"));
	cr_assert_not(systemd_is_restart("", "dagd.service"));
	cr_assert_not(systemd_is_restart("x dagd.service restart", "dagd.service"));
}
