// SPDX-License-Identifier: GPL-2.0
/* What a person may write for a point in time, and which record that is. */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/log/point.h"

#define S	1000000000ull
#define NOW	(1790000000ull * S)

TestSuite(point, .timeout = 60);

static struct point_spec parse(const char *text)
{
	struct point_spec ps = { .kind = POINT_END };

	cr_assert_eq(point_parse(text, NOW, &ps), 0, "%s", text);
	return ps;
}

static void refuse(const char *text)
{
	struct point_spec ps = { .lsn = 42 };

	cr_assert_eq(point_parse(text, NOW, &ps), -EINVAL, "%s", text);
	cr_assert_eq(ps.lsn, 42, "%s", text);
}

Test(point, spellings)
{
	struct point_spec ps;

	cr_assert_eq(parse("").kind, POINT_END);
	cr_assert_eq(parse("end").kind, POINT_END);
	ps = parse("1099511627776");
	cr_assert(ps.kind == POINT_LSN && ps.lsn == 1099511627776);
	ps = parse("-10min");
	cr_assert(ps.kind == POINT_TIME && ps.time_ns == NOW - 600 * S);
	cr_assert_eq(parse("-10m").time_ns, NOW - 600 * S);
	cr_assert_eq(parse("-1.5h").time_ns, NOW - 5400 * S);
	cr_assert_eq(parse("-30").time_ns, NOW - 30 * S);
	cr_assert_eq(parse("-250ms").time_ns, NOW - S / 4);
	ps = parse("before-upgrade");
	cr_assert(ps.kind == POINT_MARK && !strcmp(ps.mark, "before-upgrade"));
	ps = parse("mark:123");
	cr_assert(ps.kind == POINT_MARK && !strcmp(ps.mark, "123"));
	/* not a time of day: a name */
	cr_assert_eq(parse("2026-01-31x").kind, POINT_MARK);
}

Test(point, times_of_day)
{
	struct point_spec ps = parse("2026-01-31T18:00:05.25Z");

	cr_assert(ps.kind == POINT_TIME && ps.time_ns == 1769882405ull * S + S / 4);
	cr_assert_eq(parse("2026-01-31 18:00Z").time_ns, 1769882400ull * S);
	setenv("TZ", "UTC-2", 1);
	tzset();
	cr_assert_eq(parse("2026-01-31 20:00:00").time_ns, 1769882400ull * S);
	cr_assert_eq(parse("2026-01-31 20:00:00.5").time_ns, 1769882400ull * S + S / 2);
}

Test(point, what_is_none)
{
	char longer[DAGTAP_MARK_MAX + 2];

	refuse("-");
	refuse("-x");
	refuse("-10parsec");
	refuse("-99999999999999d");
	refuse("-60000d");		/* before 1970 */
	refuse("mark:");
	refuse("99999999999999999999999");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	refuse(longer);
}

/* ---- where it is --------------------------------------------------------------- */

#define FROM	6400ull

/* Ten records of 64 bytes, a second apart, the fifth a mark. */
static struct dagtap_rec record(unsigned i, uint64_t time_ns)
{
	struct dagtap_rec rec = {
		.type = i == 4 ? DAGTAP_REC_MARK : DAGTAP_REC_FLUSH,
		.lsn = htole64(FROM + 64 * i + (i > 4 ? 64 : 0)),
		.time_ns = htole64(time_ns),
		.payload = htole32(i == 4 ? 5 : 0),
	};

	return rec;
}

#define END	(FROM + 64 * 11)

static struct point_pick pick(const char *text)
{
	static const char name[DAGTAP_MARK_MAX] = "pause";
	struct point_spec ps = parse(text);
	struct point_pick pp;

	point_begin(&pp, &ps, FROM);
	for (unsigned i = 0; i < 10; i++) {
		struct dagtap_rec rec = record(i, NOW - 100 * S + i * S);

		if (!point_see(&pp, &rec, name))
			break;
	}
	return pp;
}

static enum point_answer answer(const char *text)
{
	struct point_pick pp = pick(text);

	return point_end(&pp, NOW - 101 * S, END, NOW - 91 * S);
}

Test(point, lsn)
{
	cr_assert_eq(pick("6400").lsn, FROM);
	cr_assert_eq(answer("6400"), POINT_OK);
	cr_assert_eq(pick("6528").lsn, FROM + 128);
	cr_assert_eq(pick("6530").lsn, FROM + 128, "within a record: before it");
	cr_assert_eq(pick("6528").records, 2);
	cr_assert_eq(answer("6399"), POINT_REPLAYED);
	cr_assert_eq(answer("7104"), POINT_OK);
	cr_assert_eq(pick("7104").lsn, END);
	cr_assert_eq(answer("7105"), POINT_AHEAD);
}

Test(point, mark)
{
	struct point_pick pp = pick("pause");

	cr_assert_eq(pp.lsn, FROM + 64 * 6);
	cr_assert_eq(pp.records, 5);
	cr_assert_eq(pp.time_ns, NOW - 96 * S);
	cr_assert_eq(answer("pause"), POINT_OK);
	cr_assert_eq(answer("paus"), POINT_UNKNOWN);
	cr_assert_eq(answer("pauses"), POINT_UNKNOWN);
}

Test(point, time)
{
	cr_assert_eq(pick("-98").lsn, FROM + 64 * 3, "the record of that very time is in");
	cr_assert_eq(pick("-97.5").lsn, FROM + 64 * 3);
	cr_assert_eq(answer("-98"), POINT_OK);
	/* what ends at FROM was written 101 s ago */
	cr_assert_eq(answer("-100.5"), POINT_OK);
	cr_assert_eq(pick("-100.5").lsn, FROM);
	cr_assert_eq(answer("-102"), POINT_REPLAYED);
	cr_assert_eq(pick("-91").lsn, END);
	cr_assert_eq(answer("-91"), POINT_OK);
	cr_assert_eq(answer("-90"), POINT_AHEAD, "what comes may be as old");
}

Test(point, of_an_empty_log)
{
	struct point_spec ps = parse("-10");
	struct point_pick pp;

	point_begin(&pp, &ps, FROM);
	cr_assert_eq(point_end(&pp, NOW - 60 * S, FROM, NOW), POINT_OK);
	cr_assert_eq(point_end(&pp, 0, FROM, NOW), POINT_REPLAYED, "nobody knows how old it is");
	cr_assert_eq(point_end(&pp, NOW - 60 * S, FROM, NOW - 60 * S), POINT_AHEAD);
	ps = parse("end");
	point_begin(&pp, &ps, FROM);
	cr_assert_eq(point_end(&pp, 0, FROM, 0), POINT_OK);
	cr_assert_eq(pp.lsn, FROM);
}

/* The clock of a member that took over may be behind: nothing stamped later comes in. */
Test(point, clocks_that_go_back)
{
	static const uint64_t stamps[] = { 10, 11, 14, 12, 13, 15 };
	struct point_spec ps = { .kind = POINT_TIME, .time_ns = NOW + 13 * S };
	struct point_pick pp;

	point_begin(&pp, &ps, FROM);
	for (unsigned i = 0; i < 4; i++) {
		struct dagtap_rec rec = record(i, NOW + stamps[i] * S);

		if (!point_see(&pp, &rec, ""))
			break;
	}
	cr_assert_eq(pp.lsn, FROM + 2 * 64);
	cr_assert(pp.past);
}
