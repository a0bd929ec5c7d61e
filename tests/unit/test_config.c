// SPDX-License-Identifier: GPL-2.0
/* dag.conf: every key, every refusal, with file and line in the message. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/config.h"

static struct config parse(const char *text)
{
	struct config cf;
	char err[300] = "";

	cr_assert_eq(config_parse(text, "t.conf", &cf, err, sizeof(err)), 0, "%s", err);
	return cf;
}

Test(config, defaults)
{
	struct config cf = parse("");

	cr_assert_eq(cf.port, 64327);
	cr_assert_str_eq(cf.state_dir, "/var/lib/dag");
	cr_assert_str_eq(cf.run_dir, "/run/dag");
	cr_assert_eq(cf.security, STREAM_TLS);
	cr_assert(cf.ktls);
	cr_assert(cf.compression);
	cr_assert_eq(cf.io, LOOP_AUTO);
	cr_assert_eq(cf.lease_ms, 10000);
	cr_assert_eq(cf.park_timeout_ms, 20000);
	cr_assert_eq(cf.receive_ring_mib, 64);
	cr_assert_eq(cf.step_retry_s, 60);
	cr_assert_eq(cf.on_stop, ON_STOP_MOVE);
	cr_assert_str_eq(cf.watchdog, "");
	cr_assert_eq(cf.watchdog_timeout_s, 10);
	cr_assert_eq(cf.redundancy_alert_s, 1200);
	cr_assert_eq(cf.redundancy_repeat_s, 900);
	cr_assert_str_eq(cf.metrics_address, "127.0.0.1");
	cr_assert_eq(cf.metrics_port, 64331);
	cr_assert_eq(cf.log_level, LOG_LV_INFO);
}

Test(config, every_key)
{
	struct config cf = parse("# a comment\n"
				 "member = node1.example # and another\n"
				 "  address=10.92.0.1  \n"
				 "port = 1234\n\n"
				 "state_dir = /srv/dag\n"
				 "run_dir = /tmp/run\n"
				 "security = plain\n"
				 "ktls = no\n"
				 "compression = no\n"
				 "io = posix\n"
				 "lease_ms = 0\n"
				 "park_timeout_ms = 100000\n"
				 "receive_ring_mib = 4\n"
				 "step_retry_s = 5\n"
				 "on_stop = keep\n"
				 "watchdog = /dev/watchdog0\n"
				 "watchdog_timeout_s = 2\n"
				 "redundancy_alert_s = 60\n"
				 "redundancy_repeat_s = 30\n"
				 "metrics_address = ::1\n"
				 "metrics_port = 0\n"
				 "log_level = debug");

	cr_assert_str_eq(cf.member, "node1.example");
	cr_assert_str_eq(cf.address, "10.92.0.1");
	cr_assert_eq(cf.port, 1234);
	cr_assert_str_eq(cf.state_dir, "/srv/dag");
	cr_assert_str_eq(cf.run_dir, "/tmp/run");
	cr_assert_eq(cf.security, STREAM_PLAIN);
	cr_assert_not(cf.ktls);
	cr_assert_not(cf.compression);
	cr_assert_eq(cf.io, LOOP_POSIX);
	cr_assert_eq(cf.lease_ms, 0);
	cr_assert_eq(cf.redundancy_alert_s, 60);
	cr_assert_eq(cf.redundancy_repeat_s, 30);
	cr_assert_str_eq(cf.metrics_address, "::1");
	cr_assert_eq(cf.metrics_port, 0);
	cr_assert_eq(cf.park_timeout_ms, 100000);
	cr_assert_eq(cf.receive_ring_mib, 4);
	cr_assert_eq(cf.step_retry_s, 5);
	cr_assert_eq(cf.on_stop, ON_STOP_KEEP);
	cr_assert_str_eq(cf.watchdog, "/dev/watchdog0");
	cr_assert_eq(cf.watchdog_timeout_s, 2);
	cr_assert_eq(cf.log_level, LOG_LV_DEBUG);
}

Test(config, refused)
{
	static const char *const bad[] = {
		"nonsense", "prot = 1", "port = 0", "port = 65535", "port = -1", "port = 1x",
		"port =", "port = 99999999999999999999", "member = ../x", "member =",
		"address = host.example", "state_dir = var", "security = none", "ktls = 2",
		"io = aio", "lease_ms = 600001", "receive_ring_mib = 63", "step_retry_s = 0", "watchdog = yes", "watchdog_timeout_s = 1", "on_stop = stay", "step_retry_s = 3601",
	        "receive_ring_mib = 2",
		"log_level = loud", "= 1", "port = 1\nport = 1",
		"member = aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	struct config cf, before;
	char text[256], err[300];
	size_t i;

	memset(&cf, 0x5a, sizeof(cf));
	before = cf;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), "# first\n%s\n", bad[i]);
		err[0] = '\0';
		cr_assert_eq(config_parse(text, "t.conf", &cf, err, sizeof(err)), -EINVAL, "%s",
			     bad[i]);
		cr_assert_eq(memcmp(err, "t.conf:", 7), 0, "%s: %s", bad[i], err);
		cr_assert_eq(err[7], strchr(bad[i], '\n') ? '3' : '2', "%s: %s", bad[i], err);
		cr_assert_eq(memcmp(&cf, &before, sizeof(cf)), 0, "%s: changed", bad[i]);
	}
}

Test(config, file)
{
	char path[] = "/tmp/dag-conf-XXXXXX", err[300] = "";
	int fd = mkstemp(path);
	struct config cf;

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, "port = 7\n", 9), 9);
	cr_assert_eq(config_load(path, false, &cf, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(cf.port, 7);
	cr_assert_neq(cf.member[0], '\0', "the host's name is the default");
	cr_assert_eq(write(fd, "x\0y", 3), 3);
	cr_assert_eq(config_load(path, false, &cf, err, sizeof(err)), -EILSEQ);
	close(fd);
	unlink(path);
	cr_assert_eq(config_load(path, false, &cf, err, sizeof(err)), -ENOENT);
	cr_assert_not_null(strstr(err, path));
	cr_assert_eq(config_load(path, true, &cf, err, sizeof(err)), 0);
	cr_assert_eq(cf.port, 64327);
}
