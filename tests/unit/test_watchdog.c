// SPDX-License-Identifier: GPL-2.0
/* watchdog: when it is pinged, with a device of the test's own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/watchdog.h"

static struct watchdog_signs good(unsigned long n)
{
	return (struct watchdog_signs){
		.renewal = n, .manager = n, .has_manager = true, .lease_holds = true,
	};
}

Test(watchdog, pinged_while_all_turns_and_the_lease_holds)
{
	struct watchdog_judge wj = { .begun = false };
	struct watchdog_signs s;

	for (unsigned long n = 1; n < 10; n++) {
		s = good(n);
		cr_assert_null(watchdog_ask(&wj, &s));
	}
	s.manager++;
	cr_assert_not_null(strstr(watchdog_ask(&wj, &s), "lease's thread"));
	s.renewal++;
	cr_assert_not_null(strstr(watchdog_ask(&wj, &s), "manager's thread"));
	s.renewal++;
	s.manager++;
	cr_assert_null(watchdog_ask(&wj, &s), "it goes on");
	/* no quorum, no manager's thread */
	s.has_manager = false;
	s.renewal++;
	cr_assert_null(watchdog_ask(&wj, &s));
	s.renewal++;
	cr_assert_null(watchdog_ask(&wj, &s));
}

/* Cut off, but fenced: no reason to reset the host, nor all hosts of a group. */
Test(watchdog, without_the_lease_it_counts_what_is_shut)
{
	struct watchdog_judge wj = { .begun = false };
	struct watchdog_signs s = good(1);

	s.lease_holds = false;
	s.shut = true;
	cr_assert_null(watchdog_ask(&wj, &s));
	s.renewal++;
	s.manager++;
	s.shut = false;
	cr_assert_not_null(strstr(watchdog_ask(&wj, &s), "may still write"));
	s.renewal++;
	s.manager++;
	s.lease_holds = true;
	cr_assert_null(watchdog_ask(&wj, &s));
}

/* ---- the thread -------------------------------------------------------------------- */

static atomic_uint pings, closes;
static atomic_bool disarmed, hangs;
static atomic_ulong beats;
static int open_answer = 7, set_seconds, timeout_answer;

static int fake_open(const char *path)
{
	return open_answer;
}

static int fake_timeout(int fd, int *io_seconds)
{
	if (timeout_answer)
		*io_seconds = 2;
	set_seconds = *io_seconds;
	return timeout_answer;
}

static int fake_ping(int fd)
{
	atomic_fetch_add(&pings, 1);
	return 0;
}

static int fake_close(int fd, bool disarm)
{
	atomic_fetch_add(&closes, 1);
	atomic_store(&disarmed, disarm);
	return 0;
}

static const struct watchdog_ops fake = {
	.open = fake_open, .timeout = fake_timeout, .ping = fake_ping, .close = fake_close,
};

static void signs(void *ctx, struct watchdog_signs *ret)
{
	*ret = good(atomic_load(&hangs) ? 1 : atomic_fetch_add(&beats, 1) + 2);
}

static struct watchdog *begin(unsigned seconds)
{
	struct watchdog_conf conf = { .path = "/x", .seconds = seconds, .ops = &fake, .signs = signs };
	struct watchdog *wd;

	log_set_level(LOG_LV_ERR - 1);
	cr_assert_eq(watchdog_start(&conf, &wd), 0);
	return wd;
}

Test(watchdog, a_daemon_that_hangs_lets_it_run_out, .timeout = 20)
{
	struct watchdog *wd = begin(1);
	unsigned before;

	usleep(700000);
	cr_assert_geq(atomic_load(&pings), 3, "some in each timeout");
	atomic_store(&hangs, true);
	usleep(450000);
	before = atomic_load(&pings);
	usleep(1200000);
	cr_assert_eq(atomic_load(&pings), before);
	atomic_store(&hangs, false);
	usleep(500000);
	cr_assert_gt(atomic_load(&pings), before);
	watchdog_stop(wd);
	cr_assert(atomic_load(&disarmed));
	cr_assert_eq(atomic_load(&closes), 1);
}

Test(watchdog, what_the_device_does_not_take)
{
	struct watchdog_conf conf = { .path = "/x", .ops = &fake, .signs = signs };
	struct watchdog *wd;

	log_set_level(LOG_LV_ERR - 1);
	open_answer = -EBUSY;
	cr_assert_eq(watchdog_start(&conf, &wd), -EBUSY);
	open_answer = 7;
	cr_assert_eq(watchdog_start(&conf, &wd), 0);
	cr_assert_eq(set_seconds, WATCHDOG_SECONDS);
	watchdog_stop(wd);
	timeout_answer = -EOPNOTSUPP;	/* fixed at 2 s */
	cr_assert_eq(watchdog_start(&conf, &wd), 0);
	watchdog_stop(wd);
	watchdog_stop(NULL);
}

/* A file takes the magic close, and nothing of a watchdog's ioctls. */
Test(watchdog, the_real_ops_on_what_is_no_watchdog)
{
	char path[] = "/tmp/dag-watchdog-XXXXXX", text[8] = "";
	int fd = mkstemp(path), seconds = 5;

	cr_assert_geq(fd, 0);
	cr_assert_eq(watchdog_device.open("/nonexistent"), -ENOENT);
	fd = watchdog_device.open(path);
	cr_assert_geq(fd, 0);
	cr_assert_lt(watchdog_device.timeout(fd, &seconds), 0);
	cr_assert_lt(watchdog_device.ping(fd), 0);
	cr_assert_eq(watchdog_device.close(fd, true), 0);
	fd = open(path, O_RDONLY);
	cr_assert_eq(read(fd, text, sizeof(text)), 1);
	cr_assert_eq(text[0], 'V');
	close(fd);
	/* without an orderly end nothing is written */
	fd = watchdog_device.open(path);
	cr_assert_eq(ftruncate(fd, 0), 0);
	cr_assert_eq(watchdog_device.close(fd, false), 0);
	fd = open(path, O_RDONLY);
	cr_assert_eq(read(fd, text, sizeof(text)), 0);
	close(fd);
	unlink(path);
}
