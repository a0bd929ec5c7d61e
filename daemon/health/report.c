// SPDX-License-Identifier: GPL-2.0
#include "daemon/health/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/health/checks.h"

const struct health_member *health_member(const struct health_snapshot *s, const char *name)
{
	for (unsigned i = 0; i < s->nr_members; i++)
		if (!strcmp(s->members[i].name, name))
			return &s->members[i];
	return NULL;
}

const struct health_copy *health_copy(const struct health_snapshot *s, const char *store,
				      const char *member)
{
	for (unsigned i = 0; i < s->nr_copies; i++)
		if (!strcmp(s->copies[i].store, store) && !strcmp(s->copies[i].member, member))
			return &s->copies[i];
	return NULL;
}

unsigned health_redundancy(const struct health_snapshot *s, const char *store)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s->nr_copies; i++)
		n += !strcmp(s->copies[i].store, store) && copy_status_healthy(s->copies[i].status);
	return n;
}

struct health_finding *health_add(struct health_report *r, const char *check,
				  enum health_level level, const char *store, const char *member,
				  const char *fmt, ...)
{
	struct health_finding *f;
	va_list ap;

	if (r->nr == HEALTH_FINDINGS_MAX) {
		r->left_out++;
		return NULL;
	}
	f = &r->finding[r->nr++];
	memset(f, 0, sizeof(*f));
	f->check = check;
	f->level = level;
	snprintf(f->store, sizeof(f->store), "%s", store);
	snprintf(f->member, sizeof(f->member), "%s", member);
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
	return f;
}

void health_effect(struct health_finding *f, const char *fmt, ...)
{
	va_list ap;

	if (!f)
		return;
	va_start(ap, fmt);
	vsnprintf(f->effect, sizeof(f->effect), fmt, ap);
	va_end(ap);
}

void health_cure(struct health_finding *f, const char *fmt, ...)
{
	va_list ap;

	if (!f)
		return;
	va_start(ap, fmt);
	vsnprintf(f->cure, sizeof(f->cure), fmt, ap);
	va_end(ap);
}

static bool in_scope(const struct health_finding *f, const struct health_snapshot *s,
		     const struct health_scope *scope)
{
	if (scope->all || (!f->store[0] && !f->member[0]))
		return true;
	if (scope->store) {
		if (f->store[0])
			return !strcmp(f->store, scope->store);
		return health_copy(s, scope->store, f->member);
	}
	if (!scope->member)
		return true;
	if (f->member[0])
		return !strcmp(f->member, scope->member);
	return health_copy(s, f->store, scope->member);
}

void health_limit(struct health_report *r, const struct health_snapshot *s,
		  const struct health_scope *scope)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < r->nr; i++)
		if (in_scope(&r->finding[i], s, scope))
			r->finding[kept++] = r->finding[i];
	r->nr = kept;
}

enum health_level health_worst(const struct health_report *r)
{
	enum health_level worst = HEALTH_OK;

	for (unsigned i = 0; i < r->nr; i++)
		if (r->finding[i].level > worst)
			worst = r->finding[i].level;
	return worst;
}

const char *health_level_name(enum health_level level)
{
	static const char *const names[] = { "ok", "warning", "critical", "unknown" };

	return level <= HEALTH_UNKNOWN ? names[level] : "unknown";
}

static void put(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

struct json_object *health_to_obj(const struct health_report *r, const struct health_snapshot *s)
{
	struct json_object *obj = json_object_new_object(), *list = json_object_new_array();
	struct json_object *checks = json_object_new_array();

	put(obj, "worst", health_level_name(health_worst(r)));
	json_object_object_add(obj, "code", json_object_new_int(health_worst(r)));
	put(obj, "seen_by", s->self);
	for (unsigned i = 0; health_checks[i].name; i++)
		json_object_array_add(checks, json_object_new_string(health_checks[i].name));
	json_object_object_add(obj, "checks", checks);
	for (unsigned i = 0; i < r->nr; i++) {
		const struct health_finding *f = &r->finding[i];
		struct json_object *o = json_object_new_object();

		put(o, "check", f->check);
		put(o, "result", health_level_name(f->level));
		put(o, "store", f->store);
		put(o, "member", f->member);
		put(o, "text", f->text);
		put(o, "effect", f->effect);
		put(o, "next", f->cure);
		json_object_array_add(list, o);
	}
	json_object_object_add(obj, "findings", list);
	json_object_object_add(obj, "left_out", json_object_new_int(r->left_out));
	return obj;
}
