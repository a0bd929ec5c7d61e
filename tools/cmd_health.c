// SPDX-License-Identifier: GPL-2.0
/*
 * dagctl test, dagctl metrics: for people and for monitoring. The first line says all; the exit
 * status is that of the worst finding: 0, 1, 2, or 3 where nothing could be tested.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/health/checks.h"
#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

#define ANSWER_S	20

static int unknown(struct cmd *cmd, const char *why)
{
	struct json_object *obj;

	if (cmd->json) {
		obj = json_object_new_object();
		json_object_object_add(obj, "worst", json_object_new_string("unknown"));
		json_object_object_add(obj, "code", json_object_new_int(HEALTH_UNKNOWN));
		json_object_object_add(obj, "error", json_object_new_string(why));
		print_json(obj);
		json_object_put(obj);
	} else {
		printf("UNKNOWN: %s\n", why);
	}
	return EXIT_UNKNOWN;
}

/* No daemon to ask: that is the finding. */
static struct json_object *no_service(const char *why)
{
	struct health_snapshot *s = calloc(1, sizeof(*s));
	struct health_report *r = calloc(1, sizeof(*r));
	struct json_object *obj = NULL;

	if (s && r) {
		if (gethostname(s->self, sizeof(s->self) - 1))
			strcpy(s->self, "this host");
		snprintf(s->service_why, sizeof(s->service_why), "%s", why);
		health_run(s, r);
		obj = health_to_obj(r, s);
	}
	free(s);
	free(r);
	return obj;
}

static void print_headline(struct json_object *res, int code)
{
	static const char *const words[] = { "OK", "WARNING", "CRITICAL", "UNKNOWN" };
	struct json_object *list = obj_get(res, "findings");
	size_t i, n = obj_len(list), critical = 0;

	for (i = 0; i < n; i++)
		critical += !strcmp(obj_str(json_object_array_get_idx(list, i), "result"), "critical");
	if (!n) {
		printf("OK: %zu checks, nothing found\n", obj_len(obj_get(res, "checks")));
		return;
	}
	printf("%s: %zu critical, %zu warnings", words[code], critical, n - critical);
	for (i = 0; i < n; i++) {
		struct json_object *f = json_object_array_get_idx(list, i);

		if (!strcmp(obj_str(f, "result"), "critical") || !critical)
			printf("; %s", obj_str(f, "text"));
	}
	putchar('\n');
}

static void print_findings(struct json_object *res)
{
	struct json_object *list = obj_get(res, "findings");
	size_t i;

	for (i = 0; i < obj_len(list); i++) {
		struct json_object *f = json_object_array_get_idx(list, i);

		printf("\n%-8s  %s: %s\n", obj_str(f, "result"), obj_str(f, "check"), obj_str(f, "text"));
		printf("%8s  effect: %s\n%8s  > %s\n", "", obj_str(f, "effect"), "", obj_str(f, "next"));
	}
	if (obj_int(res, "left_out"))
		printf("\n%lld more findings\n", (long long)obj_int(res, "left_out"));
}

int cmd_test(struct cmd *cmd)
{
	struct json_object *res = NULL;
	int code, r = client_open(cmd, ANSWER_S);

	if (r == -ECONNREFUSED || r == -ENOENT)
		res = no_service(strerror(-r));
	else if (r)
		return unknown(cmd, r == -EACCES ? "run it as root or as a member of group dag" :
			       strerror(-r));
	else
		r = client_call_quiet(cmd, "health.test", cmd->params, &res);
	if (!res && r == -ECONNRESET)
		res = no_service("it takes calls, but gives no answer");
	if (!res)
		return unknown(cmd, client_error());
	code = obj_int(res, "code");
	if (code < HEALTH_OK || code > HEALTH_CRITICAL)
		code = HEALTH_UNKNOWN;
	if (cmd->json) {
		print_json(res);
	} else {
		print_headline(res, code);
		print_findings(res);
	}
	json_object_put(res);
	return code;
}

int cmd_metrics(struct cmd *cmd)
{
	struct json_object *res = NULL;

	if (client_call(cmd, "metrics", cmd->params, &res))
		return EXIT_FAILURE;
	if (cmd->json)
		print_json(res);
	else
		fputs(obj_str(res, "text"), stdout);
	json_object_put(res);
	return EXIT_SUCCESS;
}
