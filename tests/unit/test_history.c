// SPDX-License-Identifier: GPL-2.0
/* The history: order, filter, rotation, restart, torn lines, followers, overflow. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control/history.h"
#include "daemon/log.h"
#include "tests/lib/tmpdir.h"

static char *dir;
static struct history *h;

static void setup(void)
{
	log_set_level(LOG_LV_ERR);
	dir = tmpdir_make(NULL);
	cr_assert_eq(history_open(dir, "a", &h), 0);
}

static void teardown(void)
{
	history_close(h);
	tmpdir_remove(dir);
}

TestSuite(history, .init = setup, .fini = teardown, .timeout = 60);

static void reopen(void)
{
	history_close(h);
	cr_assert_eq(history_open(dir, "a", &h), 0);
}

static struct json_object *read_all(const struct history_filter *f)
{
	struct json_object *list = json_object_new_array();

	cr_assert_eq(history_read(h, f, list), 0);
	return list;
}

static const char *get(struct json_object *list, size_t i, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(json_object_array_get_idx(list, i), key, &v);
	return v ? json_object_get_string(v) : "";
}

Test(history, what_was_added_is_there)
{
	struct history_filter f = { .max = 0 };
	struct json_object *fields = json_object_new_object(), *list;

	json_object_object_add(fields, "epoch", json_object_new_int(3));
	json_object_object_add(fields, "kind", json_object_new_string("not this"));
	history_add(h, "move", "pg", fields, "to %s", "b");
	history_add(h, "mount", "pg", NULL, "quote \" and\nnewline");
	list = read_all(&f);
	cr_assert_eq(json_object_array_length(list), 2);
	cr_assert_str_eq(get(list, 0, "kind"), "move");
	cr_assert_str_eq(get(list, 0, "text"), "to b");
	cr_assert_str_eq(get(list, 0, "epoch"), "3");
	cr_assert_str_eq(get(list, 0, "member"), "a");
	cr_assert_str_eq(get(list, 0, "seq"), "1");
	cr_assert_str_eq(get(list, 1, "text"), "quote \" and\nnewline");
	cr_assert_eq(strlen(get(list, 0, "time")), strlen("2026-01-01T00:00:00.000Z"));
	json_object_put(list);
	/* without one nothing happens */
	history_add(NULL, "move", "pg", json_object_new_object(), "x");
	cr_assert_eq(history_read(NULL, &f, NULL), 0);
	history_close(NULL);
}

Test(history, filters)
{
	struct history_filter f = { .store = "pg" };
	struct json_object *list;
	struct timespec ts;

	for (int i = 0; i < 20; i++)
		history_add(h, i % 2 ? "move" : "mount", i % 4 < 2 ? "pg" : "home", NULL, "%d", i);
	list = read_all(&f);
	cr_assert_eq(json_object_array_length(list), 10);
	json_object_put(list);
	f.kind = "move";
	f.max = 3;
	list = read_all(&f);
	cr_assert_eq(json_object_array_length(list), 3);
	cr_assert_str_eq(get(list, 0, "text"), "9");
	cr_assert_str_eq(get(list, 2, "text"), "17", "the newest");
	json_object_put(list);
	f = (struct history_filter){ .after_seq = 18 };
	list = read_all(&f);
	cr_assert_eq(json_object_array_length(list), 2);
	json_object_put(list);
	clock_gettime(CLOCK_REALTIME, &ts);
	f = (struct history_filter){ .since_ms = (uint64_t)ts.tv_sec * 1000 - 60000 };
	list = read_all(&f);
	cr_assert_eq(json_object_array_length(list), 20);
	json_object_put(list);
	f.since_ms += 120000;
	list = read_all(&f);
	cr_assert_eq(json_object_array_length(list), 0);
	json_object_put(list);
}

Test(history, goes_on_after_a_restart_and_a_torn_line)
{
	struct history_filter f = { .max = 0 };
	struct json_object *list;
	char path[200];
	int fd;

	history_add(h, "move", "", NULL, "one");
	history_close(h);
	snprintf(path, sizeof(path), "%s/history.jsonl", dir);
	fd = open(path, O_WRONLY | O_APPEND);
	cr_assert_eq(write(fd, "{\"seq\":2,\"ti", 12), 12);
	close(fd);
	cr_assert_eq(history_open(dir, "a", &h), 0);
	cr_assert_eq(history_last_seq(h), 2);
	history_add(h, "move", "", NULL, "three");
	list = read_all(&f);
	cr_assert_eq(json_object_array_length(list), 2);
	cr_assert_str_eq(get(list, 1, "text"), "three");
	cr_assert_str_eq(get(list, 1, "seq"), "3");
	json_object_put(list);
}

/* 5 KiB each: four files of 4 MiB hold about 3200 of them. */
Test(history, rotates_and_is_bounded)
{
	struct history_filter f = { .max = 1 };
	struct json_object *list;
	char big[5000], path[200];
	struct stat st;
	uint64_t bytes = 0;
	int files = 0;

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	for (int i = 0; i < 4500; i++) {
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "big", json_object_new_string(big));
		history_add(h, "move", "", o, "%d", i);
		if (i % 500 == 0)
			json_object_put(read_all(&f));	/* and let the writer come along */
	}
	list = read_all(&f);
	cr_assert_str_eq(get(list, 0, "text"), "4499");
	json_object_put(list);
	for (int i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), i ? "%s/history.jsonl.%d" : "%s/history.jsonl", dir, i);
		if (stat(path, &st))
			continue;
		files++;
		bytes += (uint64_t)st.st_size;
		cr_assert_leq(st.st_size, HISTORY_FILE_BYTES);
	}
	cr_assert_eq(files, HISTORY_FILES);
	cr_assert_leq(bytes, (uint64_t)HISTORY_FILES * HISTORY_FILE_BYTES);
	reopen();
	cr_assert_geq(history_last_seq(h), 4500);
}

Test(history, too_big_fields_are_left_out)
{
	struct history_filter f = { .max = 0 };
	struct json_object *o = json_object_new_object(), *list;
	char *big = calloc(1, HISTORY_LINE_MAX + 1);

	memset(big, 'y', HISTORY_LINE_MAX);
	json_object_object_add(o, "big", json_object_new_string(big));
	free(big);
	history_add(h, "move", "pg", o, "still there");
	list = read_all(&f);
	cr_assert_str_eq(get(list, 0, "text"), "still there");
	cr_assert_str_eq(get(list, 0, "cut"), "true");
	json_object_put(list);
}

Test(history, refusals_are_counted)
{
	struct history_filter f = { .max = 0 };
	struct json_object *list;

	for (int i = 0; i < 100; i++)
		history_add(h, "refused", "", NULL, "connection from 10.0.0.1: no certificate");
	history_add(h, "refused", "", NULL, "connection from 10.0.0.2: no certificate");
	history_add(h, "move", "pg", NULL, "same");
	history_add(h, "move", "pg", NULL, "same");
	list = read_all(&f);
	cr_assert_eq(json_object_array_length(list), 4);
	json_object_put(list);
}

static void *add_later(void *arg)
{
	struct timespec ts = { .tv_nsec = 100000000 };

	nanosleep(&ts, NULL);
	history_add(h, "mount", "pg", NULL, "live");
	return NULL;
}

Test(history, followers)
{
	uint64_t seq, missed;
	pthread_t t;
	char *line;

	history_add(h, "move", "", NULL, "old");
	seq = history_last_seq(h);
	cr_assert_null(history_next(h, &seq, 20, &missed));
	pthread_create(&t, NULL, add_later, NULL);
	line = history_next(h, &seq, 10000, &missed);
	cr_assert_not_null(line);
	cr_assert_not_null(strstr(line, "\"live\""), "%s", line);
	cr_assert_null(strchr(line, '\n'));
	cr_assert_eq(missed, 0);
	free(line);
	pthread_join(t, NULL);
	/* one that sleeps too long is told how many it missed */
	for (int i = 0; i < 3000; i++) {
		history_add(h, "move", "", NULL, "%d", i);
		if (i % 500 == 499) {
			struct history_filter f = { .max = 1 };

			json_object_put(read_all(&f));
		}
	}
	line = history_next(h, &seq, 0, &missed);
	cr_assert_not_null(line);
	cr_assert_geq(missed, 1900, "%llu", (unsigned long long)missed);
	free(line);
}

/* Nobody waits for the disk; what is lost is said. */
Test(history, faster_than_the_disk)
{
	struct history_filter f = { .kind = "overflow" };
	struct json_object *list;
	uint64_t seq = history_last_seq(h), missed;
	char *line;

	for (int i = 0; i < 200000; i++)
		history_add(h, "move", "", NULL, "fast %d", i);
	history_add(h, "move", "pg", NULL, "last");
	line = history_next(h, &seq, 0, &missed);
	cr_assert_not_null(line);
	free(line);
	list = read_all(&f);
	/* the writer may have been fast enough on a quick disk: then none was lost */
	if (json_object_array_length(list))
		cr_assert_gt(strtoull(get(list, 0, "lost"), NULL, 10), 0);
	else
		cr_assert_geq(history_last_seq(h), 200001);
	json_object_put(list);
}
