// SPDX-License-Identifier: GPL-2.0
/* Listing and verifying a log directory. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/logdump.h"
#include "daemon/log/segment.h"
#include "tests/lib/logmake.h"
#include "tests/lib/tmpdir.h"

#define LSN0 (64 * 1000)

static char *dir;
static struct logmake m;

static void set_up(void)
{
	struct seglog_conf conf = { .uuid = "dumped", .seg_bytes = 4 << 20 };
	struct seglog_ring ring;
	struct seglog *seglog;

	log_set_level(LOG_LV_ERR - 1);
	conf.dir = dir = tmpdir_make(NULL);
	logmake_init(&m, 16 << 20, LSN0);
	ring = logmake_ring(&m);
	cr_assert_eq(seglog_open(&conf, &seglog), 0);
	cr_assert_eq(seglog_reset(seglog, LSN0), 0);
	logmake_epoch(&m, 1);
	logmake_mark(&m, "a \"name\"\n");
	for (int i = 0; i < 10; i++)
		logmake_extent(&m, DAGTAP_REC_DATA, i * 2000, 2000, i);
	logmake_flags(&m, DAGTAP_REC_ZEROES, DAGTAP_RECF_NOUNMAP | DAGTAP_RECF_FUA, 5, 6);
	cr_assert_eq(seglog_append(seglog, &ring, LSN0, m.lsn), 0);
	seglog_close(seglog);
}

static void tear_down(void)
{
	logmake_free(&m);
	tmpdir_remove(dir);
}

TestSuite(logdump, .init = set_up, .fini = tear_down);

static char *dump(bool verify, bool json, uint64_t from, uint64_t to, int want)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	cr_assert_eq(verify ? logdump_verify(dir, f, json) : logdump_dir(dir, f, json, from, to), want);
	fclose(f);
	return text;
}

static void damage(uint64_t gen, off_t off)
{
	char name[SEG_NAME_BYTES];
	int fd;

	seg_name(gen, name);
	fd = open(tmpdir_path(dir, name), O_WRONLY);
	cr_assert_eq(pwrite(fd, "damage", 6, off), 6);
	close(fd);
}

Test(logdump, lists_records)
{
	char *text = dump(false, false, 0, UINT64_MAX, 0);

	cr_assert_not_null(strstr(text, "0000000000000001.log: first_lsn=64000 bytes=4194304 start"));
	cr_assert_not_null(strstr(text, " state kind=epoch\n"));
	cr_assert_not_null(strstr(text, " mark name=\"a \\u0022name\\u0022\\u000a\"\n"));
	cr_assert_not_null(strstr(text, " data sector=18000 sectors=2000\n"));
	cr_assert_not_null(strstr(text, " zeroes sector=5 sectors=6 flags=fua,nounmap\n"));
	free(text);
	text = dump(false, false, m.lsn - 64, m.lsn, 0);
	cr_assert_null(strstr(text, " data "));
	cr_assert_not_null(strstr(text, " zeroes "));
	free(text);
}

Test(logdump, json_is_json)
{
	struct json_object *o, *segs, *recs;
	char *text = dump(false, true, 0, UINT64_MAX, 0);
	size_t n = 0;

	o = json_tokener_parse(text);
	cr_assert_not_null(o);
	cr_assert(json_object_object_get_ex(o, "segments", &segs));
	cr_assert_eq(json_object_array_length(segs), 3);
	for (size_t i = 0; i < 3; i++) {
		json_object_object_get_ex(json_object_array_get_idx(segs, i), "records", &recs);
		n += json_object_array_length(recs);
	}
	cr_assert_eq(n, 13);
	json_object_put(o);
	free(text);
}

Test(logdump, verify_names_what_is_bad)
{
	struct json_object *o, *list;
	char *text = dump(true, false, 0, 0, 0);

	cr_assert_str_eq(text, "3 segments, 13 records, 0 bad\n");
	free(text);
	damage(1, 4096 + 300000);
	text = dump(true, false, 0, 0, 1);
	cr_assert_not_null(strstr(text, "0000000000000001.log: lsn=64256: payload crc\n"));
	free(text);
	damage(2, 10);
	text = dump(true, true, 0, 0, 2);
	o = json_tokener_parse(text);
	cr_assert_not_null(o);
	cr_assert(json_object_object_get_ex(o, "bad", &list));
	cr_assert_eq(json_object_array_length(list), 2);
	json_object_put(o);
	free(text);
	text = dump(false, true, 0, UINT64_MAX, 0);
	o = json_tokener_parse(text);
	cr_assert_not_null(o);
	json_object_put(o);
	free(text);
}

Test(logdump, no_such_directory)
{
	cr_assert_eq(logdump_verify("/nonexistent/dir", stdout, false), -ENOENT);
}

/* ---- walking -------------------------------------------------------------------- */

struct seen {
	unsigned records, marks;
	uint64_t stop_at;	/* this many records */
	char mark[DAGTAP_MARK_MAX + 1];
};

static int see(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	struct seen *s = ctx;

	if (s->stop_at && s->records == s->stop_at)
		return 7;
	s->records++;
	if (rec->type == DAGTAP_REC_MARK) {
		s->marks++;
		memcpy(s->mark, payload, le32toh(rec->payload));
	}
	return 0;
}

Test(logdump, walks_over_segments)
{
	struct seen s = { 0 };
	uint64_t end;

	cr_assert_eq(logdump_walk(dir, LSN0, UINT64_MAX, see, &s, &end), 0);
	cr_assert_eq(s.records, 13);
	cr_assert_eq(s.marks, 1);
	cr_assert_str_eq(s.mark, "a \"name\"\n");
	cr_assert_eq(end, m.lsn);
}

Test(logdump, walks_a_part)
{
	struct seen s = { .stop_at = 4 };
	uint64_t end, from;

	/* from the sixth record on, which does not begin a segment */
	cr_assert_eq(logdump_walk(dir, LSN0, UINT64_MAX, see, &s, &from), 7);
	cr_assert_eq(s.records, 4);
	s = (struct seen){ 0 };
	cr_assert_eq(logdump_walk(dir, from, UINT64_MAX, see, &s, &end), 0);
	cr_assert_eq(s.records, 9);
	cr_assert_eq(end, m.lsn);
	s = (struct seen){ 0 };
	cr_assert_eq(logdump_walk(dir, from, from + 64, see, &s, &end), 0);
	cr_assert_eq(s.records, 1);
	/* where nothing is, nothing is walked */
	s = (struct seen){ 0 };
	cr_assert_eq(logdump_walk(dir, LSN0 - 64, UINT64_MAX, see, &s, &end), 0);
	cr_assert_eq(s.records, 0);
	cr_assert_eq(end, LSN0 - 64);
	cr_assert_eq(logdump_walk(dir, m.lsn, UINT64_MAX, see, &s, &end), 0);
	cr_assert_eq(end, m.lsn);
}

Test(logdump, a_walk_ends_at_damage)
{
	struct seen s = { 0 };
	uint64_t end;

	damage(2, DAG_SEG_HDR_BYTES - 100);
	cr_assert_eq(logdump_walk(dir, LSN0, UINT64_MAX, see, &s, &end), 0);
	cr_assert_gt(s.records, 0);
	cr_assert_lt(s.records, 13);
	cr_assert_lt(end, m.lsn);
}
