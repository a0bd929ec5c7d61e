/* SPDX-License-Identifier: GPL-2.0 */
/*
 * report - what the checks found: the fault, its effect, and the command that mends
 * it. Pure. Levels are the exit codes of monitoring.
 */
#ifndef DAG_HEALTH_REPORT_H
#define DAG_HEALTH_REPORT_H

#include <json-c/json.h>
#include <stdbool.h>

#include "daemon/health/snapshot.h"

enum health_level { HEALTH_OK, HEALTH_WARNING, HEALTH_CRITICAL, HEALTH_UNKNOWN };

struct health_finding {
	const char *check;
	enum health_level level;
	char store[STORE_NAME_MAX];	/* "": of no one store */
	char member[64];		/* "": of no one member */
	char text[400];			/* the fault */
	char effect[240];
	char cure[320];			/* what to do */
};

#define HEALTH_FINDINGS_MAX	512
struct health_report {
	unsigned nr, left_out;		/* that found no room */
	struct health_finding finding[HEALTH_FINDINGS_MAX];
};

/* Of what: all of it, one store, or else what concerns one member. */
struct health_scope {
	bool all;
	const char *store;		/* NULL: none */
	const char *member;
};

/*
 * Add a finding; its text follows. It is returned, so that effect and cure can be
 * said (both must be); where there is no room for it NULL, which they take.
 */
struct health_finding *health_add(struct health_report *r, const char *check,
				  enum health_level level, const char *store, const char *member,
				  const char *fmt, ...) __attribute__((format(printf, 6, 7)));
void health_effect(struct health_finding *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void health_cure(struct health_finding *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Drop what is outside of the scope. What concerns the whole group always stays. */
void health_limit(struct health_report *r, const struct health_snapshot *s,
		  const struct health_scope *scope);
enum health_level health_worst(const struct health_report *r);
const char *health_level_name(enum health_level level);	/* "ok", … */
/* { "worst", "code", "seen_by", "checks": [name …], "findings": [ … ], "left_out" } */
struct json_object *health_to_obj(const struct health_report *r, const struct health_snapshot *s);

#endif
