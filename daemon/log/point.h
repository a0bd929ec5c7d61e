/* SPDX-License-Identifier: GPL-2.0 */
/*
 * point - a place in a log at which the device can be had: where a record ends.
 * What a crash at that instant would have left, no more. Pure, but for point_parse()
 * of a time of day, which knows the zone of this host.
 */
#ifndef DAG_POINT_H
#define DAG_POINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/uapi/dagtap.h"

enum point_kind {
	POINT_END,		/* the newest there is */
	POINT_LSN,		/* the last record that ends at or below it */
	POINT_TIME,		/* the last record before the first that is younger */
	POINT_MARK,		/* the last mark of that name */
};

struct point_spec {
	enum point_kind kind;
	uint64_t lsn;
	uint64_t time_ns;		/* CLOCK_REALTIME of who wrote the record */
	char mark[DAGTAP_MARK_MAX + 1];
};

/*
 * What a person writes: "" or "end"; LSN (digits); -10min (before now_ns, units as of
 * other durations); 2026-01-31 18:00[:00[.123]] (here, or UTC with a Z); anything
 * else is the name of a mark, as is what stands behind "mark:". -EINVAL: none.
 */
int point_parse(const char *text, uint64_t now_ns, struct point_spec *ret);

/* Records are shown in the order of the log, from a point on. */
struct point_pick {
	struct point_spec spec;
	uint64_t from_lsn;		/* the first point there is */
	uint64_t lsn;			/* the point that was found so far */
	uint64_t time_ns;		/* of the record that ends there; 0: none was seen */
	uint64_t records;		/* from from_lsn to there */
	uint64_t seen;			/* records that were shown */
	bool marked;			/* MARK: it was seen */
	bool past;			/* a record behind the point was seen */
};

void point_begin(struct point_pick *pp, const struct point_spec *spec, uint64_t from_lsn);
/* payload: of a MARK its name. false: no record behind it matters any more. */
bool point_see(struct point_pick *pp, const struct dagtap_rec *rec, const void *payload);

enum point_answer {
	POINT_OK,
	POINT_REPLAYED,			/* it lies before from_lsn */
	POINT_AHEAD,			/* the log is not there yet */
	POINT_UNKNOWN,			/* no such mark in between */
};

/*
 * When all were shown, or point_see() wanted no more. from_ns: time stamp of the
 * record that ends at from_lsn, 0: not known. end_lsn: where the log ends; known_ns:
 * nothing that is stamped earlier can still come.
 */
enum point_answer point_end(const struct point_pick *pp, uint64_t from_ns, uint64_t end_lsn,
			    uint64_t known_ns);

#endif
