// SPDX-License-Identifier: GPL-2.0
/* What preflight finds: engines, a port that is taken, an address that is not here. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/control/preflight.h"

Test(preflight, engines)
{
	static const struct {
		const char *text;
		enum preflight_level level;
	} cases[] = {
		{ "etcd Version: 3.4.23\nGit SHA: x\n", PREFLIGHT_OK },
		{ "etcd Version: 3.4.22", PREFLIGHT_OK },
		{ "etcd Version: 3.4.21", PREFLIGHT_FAIL },
		{ "etcd Version: 3.3.25", PREFLIGHT_FAIL },
		{ "etcd Version: 3.5.0", PREFLIGHT_FAIL },
		{ "etcd Version: 3.5.5", PREFLIGHT_FAIL },
		{ "etcd Version: 3.5.6", PREFLIGHT_OK },
		{ "etcd Version: 3.6.0", PREFLIGHT_OK },
		{ "etcd Version: 2.3.7", PREFLIGHT_FAIL },
		{ "some warning etcd Version: 3.5.16 Git SHA", PREFLIGHT_OK },
		{ "etcd Version: x", PREFLIGHT_FAIL },
		{ "", PREFLIGHT_FAIL },
	};
	char why[128];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		cr_assert_eq(preflight_engine(cases[i].text, why, sizeof(why)), cases[i].level, "%s: %s",
			     cases[i].text, why);
}

static const struct preflight_result *find(const struct preflight *pf, const char *name,
					   enum preflight_level level)
{
	for (unsigned i = 0; i < pf->nr; i++)
		if (!strcmp(pf->res[i].name, name) && pf->res[i].level == level)
			return &pf->res[i];
	return NULL;
}

Test(preflight, a_host_that_is_not_fit)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	const struct preflight_result *r;
	struct preflight_conf conf = { .device = "/dev/null", .no_module = true };
	socklen_t len = sizeof(in);
	struct preflight pf;
	struct config cf;
	int fd = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);

	config_defaults(&cf);
	strcpy(cf.member, "no-such-host.invalid");
	strcpy(cf.address, "192.0.2.77");	/* of the documentation: on no interface */
	strcpy(cf.state_dir, "/proc/none");
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	getsockname(fd, (struct sockaddr *)&in, &len);
	cf.port = ntohs(in.sin_port) - 1;
	in.sin_port = htons(cf.port);
	cr_assert_eq(bind(udp, (struct sockaddr *)&in, sizeof(in)), 0);
	conf.cf = &cf;
	cr_assert_eq(preflight_run(&conf, &pf), PREFLIGHT_FAIL);
	r = find(&pf, "ports", PREFLIGHT_FAIL);
	cr_assert_not_null(r);
	cr_assert_not_null(strstr(r->text, "TCP") ? strstr(r->text, "joining") : r->text);
	cr_assert_not_null(strstr(r->text, "pid"), "%s", r->text);
	cr_assert_not_null(find(&pf, "address", PREFLIGHT_FAIL));
	cr_assert_not_null(find(&pf, "device", PREFLIGHT_FAIL));
	cr_assert_not_null(find(&pf, "space", PREFLIGHT_FAIL));
	cr_assert_not_null(find(&pf, "names", PREFLIGHT_WARN));
	cr_assert_not_null(find(&pf, "module", PREFLIGHT_OK));
	for (unsigned i = 0; i < pf.nr; i++)
		cr_assert(pf.res[i].level == PREFLIGHT_OK || pf.res[i].next[0], "%s says not what to do",
			  pf.res[i].name);
	/* the daemon itself holds them */
	conf.serving = true;
	preflight_run(&conf, &pf);
	cr_assert_null(find(&pf, "ports", PREFLIGHT_FAIL));
	close(fd);
	close(udp);
}

Test(preflight, json)
{
	struct preflight pf = { .nr = 0 };
	struct json_object *obj, *v;

	preflight_add(&pf, "a", PREFLIGHT_OK, "not said", "fine");
	preflight_add(&pf, "b", PREFLIGHT_WARN, "do it", "%d of them", 3);
	obj = preflight_to_obj(&pf);
	cr_assert(json_object_object_get_ex(obj, "worst", &v));
	cr_assert_str_eq(json_object_get_string(v), "warn");
	cr_assert(json_object_object_get_ex(obj, "checks", &v));
	cr_assert_eq(json_object_array_length(v), 2);
	cr_assert_str_eq(pf.res[0].next, "");
	cr_assert_str_eq(pf.res[1].text, "3 of them");
	json_object_put(obj);
}
