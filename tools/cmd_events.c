// SPDX-License-Identifier: GPL-2.0
/* dagctl events list|follow: the history by the daemon, or the module alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/control/events.h"
#include "daemon/group/uuid.h"
#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

static int print_tap_event(const struct tap_event *ev, void *ctx)
{
	struct cmd *cmd = ctx;
	struct json_object *obj;
	char uuid[UUID_TEXT], value[64], when[40];
	struct timespec ts;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &ts);
	strftime(when, sizeof(when), "%FT%T", gmtime_r(&ts.tv_sec, &tm));
	uuid_format(ev->uuid, uuid);
	tap_event_value(ev, value, sizeof(value));
	if (!cmd->json) {
		printf("%s.%03ldZ %s %s %s\n", when, ts.tv_nsec / 1000000, ev->name,
		       tap_event_name(ev->event), value);
	} else {
		strcat(when, "Z");
		obj = json_object_new_object();
		json_object_object_add(obj, "time", json_object_new_string(when));
		json_object_object_add(obj, "store", json_object_new_string(ev->name));
		json_object_object_add(obj, "uuid", json_object_new_string(uuid));
		json_object_object_add(obj, "event", json_object_new_string(tap_event_name(ev->event)));
		json_object_object_add(obj, "value", json_object_new_uint64(ev->value));
		puts(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN));
		json_object_put(obj);
	}
	return fflush(stdout) ? -EPIPE : 0;
}

static int follow_module(struct cmd *cmd)
{
	int r = events_listen(-1, print_tap_event, cmd);

	if (r == -ENOENT)
		return fail("dagtap: the module is not loaded; run modprobe dagtap");
	if (r)
		return fail("events: %s", strerror(-r));
	return EXIT_SUCCESS;
}

/* ---- the history ------------------------------------------------------------- */

static void print_event(struct json_object *ev)
{
	printf("%s %-10s %-12s %-12s %s\n", obj_str(ev, "time"), obj_str(ev, "member"),
	       obj_str(ev, "kind"), *obj_str(ev, "store") ? obj_str(ev, "store") : "-",
	       obj_str(ev, "text"));
}

/* "2h": so long ago; or a time, here unless it ends in Z. 0: neither. */
static int64_t parse_since(const char *text)
{
	static const char *const forms[] = {
		"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d",
	};
	uint64_t ms;

	if (!cli_duration(text, &ms))
		return ((int64_t)time(NULL)) * 1000 - (int64_t)ms;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm tm = { .tm_isdst = -1 };
		const char *end = strptime(text, forms[i], &tm);

		if (end && *end == '.')
			end += 1 + strspn(end + 1, "0123456789");
		if (end && !strcmp(end, "Z"))
			return (int64_t)timegm(&tm) * 1000;
		if (end && !*end)
			return (int64_t)mktime(&tm) * 1000;
	}
	return 0;
}

int cmd_events_list(struct cmd *cmd)
{
	const char *since = obj_str(cmd->params, "since");
	struct json_object *res = NULL, *list;
	int64_t ms;

	if (*since) {
		ms = parse_since(since);
		if (ms <= 0) {
			fail("events list: --since %s: not a time; write 2h, or 2026-01-31 18:00", since);
			return EXIT_USAGE;
		}
		json_object_object_del(cmd->params, "since");
		json_object_object_add(cmd->params, "since_ms", json_object_new_int64(ms));
	}
	if (client_call(cmd, "events.list", cmd->params, &res))
		return EXIT_FAILURE;
	list = obj_get(res, "events");
	if (cmd->json)
		print_json(res);
	for (size_t i = 0; !cmd->json && i < obj_len(list); i++)
		print_event(json_object_array_get_idx(list, i));
	list = obj_get(res, "silent");
	for (size_t i = 0; !cmd->json && i < obj_len(list); i++)
		fprintf(stderr, "dagctl: member %s does not answer; its events are missing\n",
			json_object_get_string(json_object_array_get_idx(list, i)));
	json_object_put(res);
	return EXIT_SUCCESS;
}

static int follow_one(struct json_object *progress, void *ctx)
{
	struct cmd *cmd = ctx;
	struct json_object *ev = obj_get(progress, "event");

	if (*obj_str(progress, "text"))
		fprintf(stderr, "%s\n", obj_str(progress, "text"));
	if (ev && cmd->json)
		puts(json_object_to_json_string_ext(ev, JSON_C_TO_STRING_PLAIN |
						    JSON_C_TO_STRING_NOSLASHESCAPE));
	else if (ev)
		print_event(ev);
	return fflush(stdout) ? -EPIPE : 0;
}

int cmd_events_follow(struct cmd *cmd)
{
	if (obj_bool(cmd->params, "module"))
		return follow_module(cmd);
	return client_stream(cmd, "events.follow", cmd->params, follow_one, cmd) ? EXIT_FAILURE :
	       EXIT_SUCCESS;
}
