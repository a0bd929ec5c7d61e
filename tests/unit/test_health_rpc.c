// SPDX-License-Identifier: GPL-2.0
/* dagctl test, asked of two members as a person or a monitor asks it. */
#include <sys/wait.h>

#include "daemon/health/snapshot.h"
#include "tests/lib/control_pair.h"

TestSuite(health_rpc, .init = setup, .fini = teardown, .timeout = 60);

static char said[65536];

/* Exit status of dagctl; what it prints stands in `said`. */
static int dagctl(int i, const char *args)
{
	char self[256], cmd[900], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int status;
	FILE *f;

	cr_assert_gt(n, 0);
	self[n] = '\0';
	for (int k = 0; k < 3; k++) {	/* BUILD/tests/unit/test_health_rpc */
		slash = strrchr(self, '/');
		cr_assert_not_null(slash);
		*slash = '\0';
	}
	snprintf(cmd, sizeof(cmd), "timeout 60 %s/dagctl --socket %s/control.sock %s 2>&1", self,
		 members[i].cf.run_dir, args);
	f = popen(cmd, "r");
	said[fread(said, 1, sizeof(said) - 1, f)] = '\0';
	status = pclose(f);
	cr_assert(WIFEXITED(status), "%s: %s", cmd, said);
	return WEXITSTATUS(status);
}

static void says(const char *text)
{
	cr_assert_not_null(strstr(said, text), "'%s' is not in: %s", text, said);
}

Test(health_rpc, without_a_group_nothing_can_be_tested)
{
	cr_assert_eq(dagctl(1, "test"), 3, "%s", said);
	says("UNKNOWN: ");
	says("group create");
	cr_assert_eq(dagctl(1, "test --json"), 3);
	says("\"code\": 3");
}

Test(health_rpc, a_mistake_is_no_critical_state)
{
	cr_assert_eq(dagctl(1, "test --no-such"), 3, "%s", said);
	cr_assert_eq(dagctl(1, "test pg home"), 3, "%s", said);
	make_store();
	cr_assert_eq(dagctl(1, "test nosuch"), 3, "%s", said);
	says("no such store");
}

Test(health_rpc, no_daemon_is_critical)
{
	cr_assert_eq(dagctl(1, "test --socket /nowhere"), 2, "%s", said);
	says("CRITICAL: 1 critical");
	says("systemctl start dagd");
	cr_assert_eq(dagctl(1, "test --json --socket /nowhere"), 2, "%s", said);
	says("\"check\": \"service\"");
}

/* It is there, its socket takes the call, and nothing comes. */
Test(health_rpc, a_daemon_that_hangs_is_critical, .timeout = 90)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char args[200];

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/hangs", dir);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	cr_assert_eq(listen(fd, 8), 0);
	snprintf(args, sizeof(args), "test --socket %s", sun.sun_path);
	cr_assert_eq(dagctl(1, args), 2, "%s", said);
	says("gives no answer");
	close(fd);
}

static struct json_object *finding(struct json_object *res, const char *check, const char *member)
{
	struct json_object *list;

	json_object_object_get_ex(res, "findings", &list);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *f = json_object_array_get_idx(list, i);

		if (!strcmp(text_of(f, "check"), check) && !strcmp(text_of(f, "member"), member))
			return f;
	}
	return NULL;
}

Test(health_rpc, both_members_report)
{
	struct json_object *res = NULL;

	make_store();
	cr_assert_eq(ask(2, "health.test", "{\"all\":true}", &res), 0, "%s", message);
	/* what depends on this host (its clock) may be found, these may not */
	cr_assert_null(finding(res, "members", "node1"));
	cr_assert_null(finding(res, "listener", "node1"));
	cr_assert_null(finding(res, "version", "node1"));
	cr_assert_null(finding(res, "certificate", "node1"));
	cr_assert_null(finding(res, "certificate", "node2"));
	cr_assert_null(finding(res, "module", "node2"));
	cr_assert_str_eq(text_of(res, "seen_by"), "node2");
	json_object_put(res);
	cr_assert_eq(ask(1, "health.local", "{}", &res), 0, "%s", message);
	cr_assert_gt(strtod(text_of(res, "cert_left_s"), NULL), 86400);
	cr_assert_gt(strtod(text_of(res, "lease_ms"), NULL), 0);
	cr_assert_gt(strtod(text_of(res, "space_left"), NULL), 0);
	json_object_put(res);
}

Test(health_rpc, a_member_that_is_gone_is_found)
{
	struct json_object *res = NULL;
	int tries;

	make_store();
	stop(2);
	for (tries = 0; tries < 100; tries++) {
		cr_assert_eq(ask(1, "health.test", "{\"all\":true}", &res), 0, "%s", message);
		if (finding(res, "members", "node2"))
			break;
		json_object_put(res);
		res = NULL;
		usleep(100000);
	}
	cr_assert_not_null(res, "node2 is not missed");
	cr_assert_not_null(strstr(text_of(finding(res, "members", "node2"), "next"), "on node2:"));
	json_object_put(res);
	/* of this member nothing of that is said, but of the store */
	cr_assert_eq(ask(1, "health.test", "{}", &res), 0, "%s", message);
	cr_assert_null(finding(res, "members", "node2"));
	json_object_put(res);
	cr_assert_eq(dagctl(1, "test --all"), 2, "%s", said);
	says("CRITICAL: ");
	says("member node2 does not answer");
	says("> on node2: systemctl status dagd");
	cr_assert_eq(dagctl(1, "test pg"), 2, "%s", said);
	start(2);
	wait_reachable(1, "node2");
}
