// SPDX-License-Identifier: GPL-2.0
/* dagctl test, asked of two members as a person or a monitor asks it. */
#include <sys/wait.h>

#include "daemon/health/snapshot.h"
#include "tests/lib/control_pair.h"

TestSuite(health_rpc, .init = setup, .fini = teardown, .timeout = 90);

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
Test(health_rpc, a_daemon_that_hangs_is_critical)
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

/* ---- the alert of semantics 37, with seconds for minutes -------------------------------- */

static unsigned told(int i, const char *state)
{
	struct json_object *res = NULL, *list, *f;
	unsigned n = 0;

	cr_assert_eq(ask(i, "events.local", "{\"kind\":\"redundancy\"}", &res), 0, "%s", message);
	list = res;
	if (json_object_is_type(res, json_type_object))
		json_object_object_get_ex(res, "events", &list);
	for (size_t k = 0; k < json_object_array_length(list); k++) {
		f = json_object_array_get_idx(list, k);
		n += !strcmp(text_of(f, "state"), state) && !strcmp(text_of(f, "store"), "pg");
	}
	json_object_put(res);
	return n;
}

static void await_told(int i, const char *state, unsigned at_least)
{
	int tries;

	for (tries = 0; tries < 200 && told(i, state) < at_least; tries++)
		usleep(50000);
	cr_assert_geq(told(i, state), at_least, "no event %s", state);
}

Test(health_rpc, redundancy_alert)
{
	struct json_object *res = NULL, *list;

	alert_s = 2;
	stop(1);
	stop(2);
	start(1);
	start(2);
	make_store();
	sick_member = "node2";
	usleep(500000);
	cr_assert_eq(told(1, "alert"), 0, "too early");
	await_told(1, "alert", 1);
	await_told(1, "again", 2);
	cr_assert_eq(told(1, "alert"), 1, "said twice");
	cr_assert_eq(told(2, "alert"), 0, "both say it");
	cr_assert_eq(ask(2, "status", "{}", &res), 0, "%s", message);
	json_object_object_get_ex(res, "redundancy", &list);
	cr_assert_eq(json_object_array_length(list), 1);
	cr_assert_str_eq(text_of(json_object_array_get_idx(list, 0), "alert"), "true");
	cr_assert_str_eq(text_of(json_object_array_get_idx(list, 0), "healthy"), "1");
	json_object_put(res);
	cr_assert_eq(dagctl(2, "status"), 0, "%s", said);
	says("ALERT: store pg has 1 healthy copy for");
	sick_member = "";
	await_told(1, "mended", 1);
	usleep(500000);
	cr_assert_eq(dagctl(1, "status"), 0, "%s", said);
	cr_assert_null(strstr(said, "ALERT"));
}

/* ---- metrics over HTTP --------------------------------------------------------------------- */

static int dial(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(metrics_port + 1) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0, "%s", strerror(errno));
	return fd;
}

/* All that comes until the other end closes, into `said`; the status. */
static int answer_of(int fd)
{
	size_t have = 0;
	ssize_t n;
	int status = 0;

	while (have < sizeof(said) - 1 && (n = read(fd, said + have, sizeof(said) - 1 - have)) > 0)
		have += n;
	said[have] = '\0';
	close(fd);
	sscanf(said, "HTTP/1.1 %d", &status);
	return status;
}

static int http(const char *req)
{
	int fd = dial();

	cr_assert_eq(write(fd, req, strlen(req)), (ssize_t)strlen(req));
	return answer_of(fd);
}

static void with_metrics(void)
{
	metrics_port = 30000 + getpid() * 4 % 30000;
	stop(1);
	start(1);
}

Test(health_rpc, metrics_are_served)
{
	char *body;
	size_t len = 0;

	with_metrics();
	cr_assert_eq(http("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200, "%s", said);
	says("Content-Type: text/plain; version=0.0.4");
	says("dag_build_info{version=");
	cr_assert_null(strstr(said, "dag_copy_status"), "there is no group");
	make_store();
	control_wait_applied(members[1].ct);
	cr_assert_eq(http("GET /metrics HTTP/1.0\r\n\r\n"), 200, "%s", said);
	says("dag_copy_status{store=\"pg\",copy=\"node2\",role=\"\",status=\"Healthy\"} 1\n");
	body = strstr(said, "\r\n\r\n") + 4;
	cr_assert_eq(sscanf(strstr(said, "Content-Length: "), "Content-Length: %zu", &len), 1);
	cr_assert_eq(strlen(body), len);
	cr_assert_eq(http("HEAD /metrics HTTP/1.1\r\n\r\n"), 200);
	cr_assert_str_empty(strstr(said, "\r\n\r\n") + 4);
	cr_assert_eq(dagctl(1, "metrics"), 0, "%s", said);
	says("# TYPE dag_copy_status gauge\n");
	/* dagctl has them also where they are not served */
	cr_assert_eq(dagctl(2, "metrics"), 0, "%s", said);
	says("dag_events_total{kind=");
}

Test(health_rpc, metrics_refuse_what_they_do_not_serve)
{
	char big[6000];

	with_metrics();
	cr_assert_eq(http("GET / HTTP/1.1\r\n\r\n"), 404);
	cr_assert_eq(http("POST /metrics HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd"), 413);
	cr_assert_eq(http("PUT /metrics HTTP/1.1\r\n\r\n"), 405);
	says("Allow: GET, HEAD");
	cr_assert_eq(http("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
	cr_assert_eq(http("\x16\x03\x01\x02\n"), 400);
	memset(big, 'a', sizeof(big));
	memcpy(big, "GET /metrics HTTP/1.1\r\nX: ", 26);
	big[sizeof(big) - 1] = '\0';
	cr_assert_eq(http(big), 431, "more than it reads: the answer still comes");
	cr_assert_eq(http("GET /metrics HTTP/1.1\r\n\r\n"), 200);
}

/* Callers that say nothing, that speak slowly, that go away: others are served, and in the
 * end everybody. */
Test(health_rpc, metrics_bear_bad_callers)
{
	static const char req[] = "GET /metrics HTTP/1.1\r\n\r\n";
	int silent[20], fd, i;

	with_metrics();
	for (i = 0; i < 6; i++)
		silent[i] = dial();
	cr_assert_eq(http(req), 200, "two places are left");
	fd = dial();
	for (i = 0; req[i]; i++) {
		cr_assert_eq(write(fd, req + i, 1), 1);
		usleep(10000);
	}
	cr_assert_eq(answer_of(fd), 200);
	for (; i > 0; i--) {		/* gone before the answer */
		fd = dial();
		cr_assert_eq(write(fd, req, sizeof(req) - 1), (ssize_t)sizeof(req) - 1);
		close(fd);
	}
	for (i = 6; i < 20; i++)	/* more than it takes at a time */
		silent[i] = dial();
	cr_assert_eq(http(req), 200, "the silent ones were not cut off");
	for (i = 0; i < 20; i++)
		close(silent[i]);
	cr_assert_eq(http(req), 200);
}

/* The port is another's: the member serves its stores all the same. */
Test(health_rpc, metrics_without_a_port)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	metrics_port = 30000 + getpid() * 4 % 30000;
	at.sin_port = htons(metrics_port + 1);
	inet_pton(AF_INET, "127.0.0.1", &at.sin_addr);
	cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	stop(1);
	start(1);
	make_store();
	control_wait_applied(members[1].ct);
	cr_assert_eq(dagctl(1, "metrics"), 0, "%s", said);
	says("dag_copy_status{store=\"pg\"");
	close(fd);
}
