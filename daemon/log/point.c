// SPDX-License-Identifier: GPL-2.0
#include "daemon/log/point.h"

#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/log/record_walk.h"

#define SECOND_NS	1000000000ull

/* ---- what a person writes ------------------------------------------------------ */

static const struct {
	const char *name;
	uint64_t ns;
} units[] = {
	{ "ms", SECOND_NS / 1000 }, { "", SECOND_NS }, { "s", SECOND_NS }, { "m", 60 * SECOND_NS },
	{ "min", 60 * SECOND_NS }, { "h", 3600 * SECOND_NS }, { "d", 86400 * SECOND_NS },
};

/* "10min", "1.5 h": so long. */
static int parse_ago(const char *text, uint64_t *ret_ns)
{
	double n;
	char *end;

	if (!isdigit((unsigned char)text[0]) || text[1] == 'x' || text[1] == 'X')
		return -EINVAL;
	n = strtod(text, &end);
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].name))
			continue;
		n *= units[i].ns;
		if (!(n < 9e18))
			return -EINVAL;
		*ret_ns = n;
		return 0;
	}
	return -EINVAL;
}

/* ".5", ".123456": up to nanoseconds. NULL: no digit follows. */
static const char *parse_fraction(const char *text, uint64_t *ret_ns)
{
	uint64_t unit = SECOND_NS;

	*ret_ns = 0;
	if (*text != '.')
		return text;
	if (!isdigit((unsigned char)*++text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++) {
		unit /= 10;
		*ret_ns += (*text - '0') * unit;
	}
	return text;
}

static int parse_clock(const char *text, uint64_t *ret_ns)
{
	static const char *const forms[] = {
		"%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm tm = { .tm_isdst = -1 };
		const char *end = strptime(text, forms[i], &tm);
		uint64_t ns;
		time_t s;

		if (end && i < 2)
			end = parse_fraction(end, &ns);
		else
			ns = 0;
		if (!end || (*end && strcmp(end, "Z")))
			continue;
		s = *end ? timegm(&tm) : mktime(&tm);
		if (s <= 0 || (uint64_t)s > UINT64_MAX / SECOND_NS - 1)
			return -EINVAL;
		*ret_ns = (uint64_t)s * SECOND_NS + ns;
		return 0;
	}
	return -EINVAL;
}

static int parse_mark(const char *text, struct point_spec *ret)
{
	size_t len = strlen(text);

	if (!len || len > DAGTAP_MARK_MAX)
		return -EINVAL;
	ret->kind = POINT_MARK;
	memcpy(ret->mark, text, len + 1);
	return 0;
}

int point_parse(const char *text, uint64_t now_ns, struct point_spec *ret)
{
	struct point_spec ps = { .kind = POINT_END };
	uint64_t ns;
	char *end;
	int rc = 0;

	if (!strncmp(text, "mark:", 5)) {
		rc = parse_mark(text + 5, &ps);
	} else if (!*text || !strcmp(text, "end")) {
		ps.kind = POINT_END;
	} else if (*text == '-') {
		rc = parse_ago(text + 1, &ns);
		if (!rc && ns > now_ns)
			rc = -EINVAL;
		ps.kind = POINT_TIME;
		ps.time_ns = rc ? 0 : now_ns - ns;
	} else if (text[strspn(text, "0123456789")] == '\0') {
		errno = 0;
		ps.kind = POINT_LSN;
		ps.lsn = strtoull(text, &end, 10);
		rc = -errno;
	} else if (!parse_clock(text, &ns)) {
		ps.kind = POINT_TIME;
		ps.time_ns = ns;
	} else {
		rc = parse_mark(text, &ps);
	}
	if (rc)
		return -EINVAL;
	*ret = ps;
	return 0;
}

/* ---- where that is ----------------------------------------------------------------- */

void point_begin(struct point_pick *pp, const struct point_spec *spec, uint64_t from_lsn)
{
	*pp = (struct point_pick){ .spec = *spec, .from_lsn = from_lsn, .lsn = from_lsn };
}

static bool is_named(const struct point_pick *pp, const struct dagtap_rec *rec, const void *payload)
{
	size_t len = le32toh(rec->payload);

	return rec->type == DAGTAP_REC_MARK && len == strlen(pp->spec.mark) &&
	       !memcmp(payload, pp->spec.mark, len);
}

/* Is the end of this record not behind the point? */
static bool reaches(struct point_pick *pp, const struct dagtap_rec *rec, uint64_t end)
{
	switch (pp->spec.kind) {
	case POINT_LSN:
		return end <= pp->spec.lsn;
	case POINT_TIME:
		/* clocks of two members may differ: nothing that is stamped later is taken */
		return le64toh(rec->time_ns) <= pp->spec.time_ns;
	case POINT_END:
	case POINT_MARK:
		return true;
	}
	return false;
}

bool point_see(struct point_pick *pp, const struct dagtap_rec *rec, const void *payload)
{
	uint64_t end = le64toh(rec->lsn) + rec_bytes(rec);

	pp->seen++;
	if (!reaches(pp, rec, end)) {
		pp->past = true;
		return false;
	}
	if (pp->spec.kind == POINT_MARK) {
		if (!is_named(pp, rec, payload))
			return true;
		pp->marked = true;
	}
	pp->lsn = end;
	pp->time_ns = le64toh(rec->time_ns);
	pp->records = pp->seen;
	return true;
}

enum point_answer point_end(const struct point_pick *pp, uint64_t from_ns, uint64_t end_lsn,
			    uint64_t known_ns)
{
	const struct point_spec *ps = &pp->spec;

	switch (ps->kind) {
	case POINT_END:
		return POINT_OK;
	case POINT_LSN:
		if (ps->lsn < pp->from_lsn)
			return POINT_REPLAYED;
		return ps->lsn > end_lsn ? POINT_AHEAD : POINT_OK;
	case POINT_MARK:
		return pp->marked ? POINT_OK : POINT_UNKNOWN;
	case POINT_TIME:
		if (!pp->past && ps->time_ns > known_ns)
			return POINT_AHEAD;
		/* nothing behind from_lsn is as old: only if what ends there is */
		if (pp->lsn == pp->from_lsn && (!from_ns || ps->time_ns < from_ns))
			return POINT_REPLAYED;
		return POINT_OK;
	}
	return POINT_UNKNOWN;
}
