// SPDX-License-Identifier: GPL-2.0
/*
 * dagctl log list|dump|verify: reads segments itself, the daemon need not run. What a
 * store's copy has replayed, and with it which points can be reached, the daemon says.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/log/logdump.h"
#include "daemon/log/record_walk.h"
#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"
#include "include/uapi/dagtap.h"

int log_dir_of(struct cmd *cmd, const char *store, char *ret, size_t len)
{
	struct json_object *params = json_object_new_object(), *group = NULL, *st = NULL, *copies;
	const char *self;
	size_t i;
	int r;

	json_object_object_add(params, "store", json_object_new_string(store));
	ret[0] = '\0';
	r = client_call(cmd, "group.show", NULL, &group);
	if (!r)
		r = client_call(cmd, "store.show", params, &st);
	self = obj_str(group, "answered_by");
	copies = obj_get(st, "copies");
	for (i = 0; i < obj_len(copies); i++) {
		struct json_object *cp = json_object_array_get_idx(copies, i);

		if (!strcmp(obj_str(cp, "member"), self))
			snprintf(ret, len, "%s", obj_str(cp, "log_dir"));
	}
	if (!r && !ret[0])
		r = fail("store %s: has no copy on %s; run this on a member that has one", store, self);
	json_object_put(params);
	json_object_put(group);
	json_object_put(st);
	return r;
}

/* A word with a slash is a directory, else a store. */
static bool is_store(const char *word)
{
	return !strchr(word, '/') && strcmp(word, ".");
}

static int find_dir(struct cmd *cmd, char *ret, size_t len)
{
	const char *word = obj_str(cmd->params, "dir");

	if (is_store(word))
		return log_dir_of(cmd, word, ret, len);
	snprintf(ret, len, "%s", word);
	return 0;
}

static int dump(struct cmd *cmd, uint64_t from, uint64_t to)
{
	char dir[4096];
	int r;

	if (find_dir(cmd, dir, sizeof(dir)))
		return EXIT_FAILURE;
	r = logdump_dir(dir, stdout, cmd->json, from, to);
	if (r)
		return fail("log %s: %s", dir, strerror(-r));
	return EXIT_SUCCESS;
}

/* ---- which points can be reached ---------------------------------------------- */

/* RFC 3339, UTC, as the daemon writes times; 0: none. */
static void fmt_time(uint64_t ns, char ret[40])
{
	time_t s = ns / 1000000000;
	struct tm tm;
	size_t n;

	ret[0] = '\0';
	if (!ns || !gmtime_r(&s, &tm))
		return;
	n = strftime(ret, 40, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret + n, 40 - n, ".%03uZ", (unsigned)(ns / 1000000 % 1000));
}

struct points {
	struct json_object *marks;
	uint64_t records, last_ns;
};

static int see_record(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	struct points *pt = ctx;
	struct json_object *o;
	char when[40];

	/* behind a gap the copy is no image before a seed has ended */
	if (rec->type == DAGTAP_REC_STATE && rec->kind == DAGTAP_STATE_GAP)
		return 1;
	pt->records++;
	pt->last_ns = le64toh(rec->time_ns);
	if (rec->type != DAGTAP_REC_MARK)
		return 0;
	o = json_object_new_object();
	fmt_time(pt->last_ns, when);
	json_object_object_add(o, "name", json_object_new_string_len(payload, le32toh(rec->payload)));
	/* where its record ends, as dagctl mark said */
	json_object_object_add(o, "lsn", json_object_new_int64(le64toh(rec->lsn) + rec_bytes(rec)));
	json_object_object_add(o, "time", json_object_new_string(when));
	json_object_array_add(pt->marks, o);
	return 0;
}

/* The passive copy with that log as it sees itself; the object is the caller's. */
static struct json_object *own_copy(struct cmd *cmd, const char *dir)
{
	struct json_object *list = NULL, *found = NULL;

	if (client_call(cmd, "copy.local", NULL, &list))
		return NULL;
	for (size_t i = 0; i < obj_len(list) && !found; i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (!strcmp(obj_str(o, "log_dir"), dir) && !strcmp(obj_str(o, "role"), "passive") &&
		    obj_get(o, "replayed_lsn") && !obj_get(o, "sent_lsn"))
			found = json_object_get(o);
	}
	json_object_put(list);
	return found;
}

/*
 * From what is replayed to what is durable here. NULL: not a passive copy, or
 * one that does not run.
 */
static struct json_object *points_of(struct cmd *cmd, const char *dir)
{
	struct json_object *copy = own_copy(cmd, dir), *o = NULL;
	struct points pt = { 0 };
	uint64_t from, end;
	char when[40];

	if (!copy)
		return NULL;
	from = obj_int(copy, "replayed_lsn");
	pt.marks = json_object_new_array();
	if (logdump_walk(dir, from, obj_int(copy, "durable_lsn"), see_record, &pt, &end) >= 0) {
		fmt_time(pt.last_ns, when);
		o = json_object_new_object();
		json_object_object_add(o, "from_lsn", json_object_new_int64(from));
		json_object_object_add(o, "from_time",
				       json_object_new_string(obj_str(copy, "last_replayed_time")));
		json_object_object_add(o, "to_lsn", json_object_new_int64(end));
		json_object_object_add(o, "to_time", json_object_new_string(pt.records ? when :
				       obj_str(copy, "last_replayed_time")));
		json_object_object_add(o, "records", json_object_new_int64(pt.records));
		json_object_object_add(o, "marks", json_object_get(pt.marks));
	}
	json_object_put(pt.marks);
	json_object_put(copy);
	return o;
}

static void print_points(struct json_object *o)
{
	struct json_object *marks = obj_get(o, "marks");

	if (!o) {
		puts("points: none here; passive copies that run have them, from what is replayed on");
		return;
	}
	printf("points: LSN %lld (%s) to LSN %lld (%s), %lld records\n",
	       (long long)obj_int(o, "from_lsn"),
	       *obj_str(o, "from_time") ? obj_str(o, "from_time") : "time not known",
	       (long long)obj_int(o, "to_lsn"),
	       *obj_str(o, "to_time") ? obj_str(o, "to_time") : "time not known",
	       (long long)obj_int(o, "records"));
	for (size_t i = 0; i < obj_len(marks); i++) {
		struct json_object *m = json_object_array_get_idx(marks, i);

		printf("  mark %s: LSN %lld (%s)\n", obj_str(m, "name"), (long long)obj_int(m, "lsn"),
		       obj_str(m, "time"));
	}
}

/* The document of logdump_dir() with the points beside the segments. */
static int list_json(const char *dir, struct json_object *points)
{
	struct json_object *doc;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	int r;

	if (!f)
		return -ENOMEM;
	r = logdump_dir(dir, f, true, 0, 0);
	fclose(f);
	doc = r ? NULL : json_tokener_parse(text);
	free(text);
	if (!r && !doc)
		r = -ENOMEM;
	if (!r) {
		json_object_object_add(doc, "points", json_object_get(points));
		print_json(doc);
	}
	json_object_put(doc);
	return r;
}

int cmd_log_list(struct cmd *cmd)
{
	const char *word = obj_str(cmd->params, "dir");
	struct json_object *points;
	char dir[4096];
	int r;

	if (!is_store(word))
		return dump(cmd, 0, 0);
	if (log_dir_of(cmd, word, dir, sizeof(dir)))
		return EXIT_FAILURE;
	points = points_of(cmd, dir);
	r = cmd->json ? list_json(dir, points) : logdump_dir(dir, stdout, false, 0, 0);
	if (!r && !cmd->json)
		print_points(points);
	json_object_put(points);
	return r ? fail("log %s: %s", dir, strerror(-r)) : EXIT_SUCCESS;
}

int cmd_log_dump(struct cmd *cmd)
{
	bool end = obj_get(cmd->params, "to") != NULL;

	return dump(cmd, obj_int(cmd->params, "from"), end ? (uint64_t)obj_int(cmd->params, "to") :
							    UINT64_MAX);
}

int cmd_log_verify(struct cmd *cmd)
{
	char dir[4096];
	int r;

	if (find_dir(cmd, dir, sizeof(dir)))
		return EXIT_FAILURE;
	r = logdump_verify(dir, stdout, cmd->json);
	if (r < 0)
		return fail("log %s: %s", dir, strerror(-r));
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}
