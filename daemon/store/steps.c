// SPDX-License-Identifier: GPL-2.0
#include "daemon/store/steps.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/net/service_addr.h"
#include "include/dag/crc32c.h"

static const char *const kind_names[] = { "mount", "exec", "unit", "address" };
static const char *const state_names[] = { "Dismounted", "Mounting", "Mounted", "Dismounting" };

const char *step_kind_name(enum step_kind kind)
{
	return kind_names[kind];
}

const char *steps_state_name(enum steps_state state)
{
	return state_names[state];
}

/* ---- the plan ------------------------------------------------------------- */

static struct step *add(struct steps_plan *plan, enum step_kind kind, const char *what)
{
	struct step *step = &plan->step[plan->nr++];

	memset(step, 0, sizeof(*step));
	step->kind = kind;
	snprintf(step->what, sizeof(step->what), "%s", what);
	return step;
}

static int add_addresses(struct steps_plan *plan, const char *list, char *err, size_t errlen)
{
	struct service_addr sa[STEPS_ADDRESSES_MAX];
	int i, n = service_addr_parse(list, sa, STEPS_ADDRESSES_MAX, err, errlen);

	for (i = 0; i < n; i++)
		add(plan, STEP_ADDRESS, sa[i].text);
	return n < 0 ? n : 0;
}

int steps_plan_addresses(const char *list, struct steps_plan *ret, char *err, size_t errlen)
{
	ret->nr = 0;
	return add_addresses(ret, list, err, errlen);
}

uint32_t steps_plan_crc(const struct steps_plan *plan)
{
	return dag_crc32c(plan->nr, plan->step, plan->nr * sizeof(plan->step[0]));
}

static bool fs_type_valid(const char *type)
{
	return !type[strspn(type, "abcdefghijklmnopqrstuvwxyz0123456789_.-")] && type[0] != '-';
}

/* A name of systemd, not an option of systemctl. */
static bool unit_valid(const char *unit)
{
	return unit[0] != '-' && !strpbrk(unit, "/ \t*?[]") && strchr(unit, '.');
}

static int check(const struct group_store *st, char *err, size_t errlen)
{
	const char *bad = NULL, *what = "";

	if (st->mount_point[0] && (st->mount_point[0] != '/' || !st->mount_point[1]))
		bad = "the mount point is not a path from / to a directory", what = st->mount_point;
	else if (!st->mount_point[0] && (st->fs_type[0] || st->mount_options[0]))
		bad = "file system and mount options need a mount point", what = st->fs_type;
	else if (!fs_type_valid(st->fs_type))
		bad = "not a type of file system", what = st->fs_type;
	else if (st->exec[0] && st->exec[0] != '/')
		bad = "the executable is not a path from /", what = st->exec;
	else if (st->unit[0] && !unit_valid(st->unit))
		bad = "not a unit of systemd, such as postgresql@15-main.service", what = st->unit;
	if (!bad)
		return 0;
	snprintf(err, errlen, "%s: %s", what, bad);
	return -EINVAL;
}

int steps_plan_make(const struct group_store *st, struct steps_plan *ret, char *err, size_t errlen)
{
	struct step *step;
	int rc;

	ret->nr = 0;
	rc = check(st, err, errlen);
	if (rc)
		return rc;
	if (st->mount_point[0]) {
		step = add(ret, STEP_MOUNT, st->mount_point);
		memcpy(step->fs_type, st->fs_type, sizeof(step->fs_type));
		memcpy(step->options, st->mount_options, sizeof(step->options));
	}
	if (st->exec[0])
		add(ret, STEP_EXEC, st->exec);
	if (st->unit[0])
		add(ret, STEP_UNIT, st->unit);
	return add_addresses(ret, st->addresses, err, errlen);
}

/* ---- what comes next -------------------------------------------------------- */

/* There is one mount, one unit, one executable; addresses are told apart. */
static bool same(const struct step *a, const struct step *b)
{
	return a->kind == b->kind && (a->kind != STEP_ADDRESS || !strcmp(a->what, b->what));
}

static int find(const struct steps_plan *plan, const struct step *step)
{
	for (unsigned i = 0; i < plan->nr; i++)
		if (same(&plan->step[i], step))
			return (int)i;
	return -1;
}

static void drop(struct steps_plan *plan, unsigned i)
{
	plan->nr--;
	memmove(&plan->step[i], &plan->step[i + 1], (plan->nr - i) * sizeof(plan->step[0]));
}

void steps_goal(struct steps *s, const struct steps_plan *want, bool up, bool force, uint32_t epoch,
		bool again)
{
	if (up != s->goal_up || force != s->force || epoch != s->epoch || again) {
		s->up_failed = s->down_failed = false;
		s->error[0] = '\0';
	}
	s->goal_up = up;
	s->force = force;
	s->epoch = epoch;
	if (want)
		s->want = *want;
}

static enum steps_act fall(const struct steps *s, unsigned *ret_index)
{
	if (!s->up.nr)
		return STEPS_REST;
	*ret_index = s->up.nr - 1;
	return STEPS_UNDO;
}

static enum steps_act rise(const struct steps *s, unsigned *ret_index)
{
	for (unsigned i = 0; i < s->up.nr && !s->down_failed; i++) {
		if (s->up.step[i].kind != STEP_ADDRESS || find(&s->want, &s->up.step[i]) >= 0)
			continue;
		*ret_index = i;
		return STEPS_UNDO;
	}
	for (unsigned i = 0; i < s->want.nr && s->up.nr < STEPS_MAX; i++) {
		int at = find(&s->up, &s->want.step[i]);

		if (at >= 0 && !s->up.step[at].begun)
			continue;
		*ret_index = i;
		return STEPS_DO;
	}
	return STEPS_REST;
}

enum steps_act steps_next(const struct steps *s, unsigned *ret_index)
{
	if (s->force)
		return fall(s, ret_index);
	if (s->up_failed && s->down_failed)
		return STEPS_REST;	/* neither way: a person, or the gate */
	if (s->up_failed)
		return fall(s, ret_index);
	if (!s->goal_up && !s->down_failed)
		return fall(s, ret_index);
	return rise(s, ret_index);
}

void steps_begun(struct steps *s, unsigned index, bool found)
{
	const struct step *step = &s->want.step[index];
	unsigned i = 0;

	if (find(&s->up, step) >= 0)
		return;
	while (i < s->up.nr && s->up.step[i].kind <= step->kind)
		i++;
	memmove(&s->up.step[i + 1], &s->up.step[i], (s->up.nr - i) * sizeof(s->up.step[0]));
	s->up.nr++;
	s->up.step[i] = *step;
	s->up.step[i].begun = true;
	s->up.step[i].found = found;
}

static void complain(struct steps *s, const struct step *step, const char *way, const char *why)
{
	if (!s->error[0])
		snprintf(s->error, sizeof(s->error), "%s %.100s %s: %.200s", step_kind_name(step->kind),
			 step->what, way, why);
}

void steps_ended(struct steps *s, enum steps_act act, const struct step *step, int rc,
		 const char *why)
{
	int i = find(&s->up, step);

	if (i < 0 || rc == -ECANCELED)
		return;
	if (act == STEPS_DO && !rc) {
		s->up.step[i].begun = false;
	} else if (act == STEPS_DO) {
		complain(s, step, "failed", why);
		s->up_failed = true;
	} else if (!rc || s->force) {
		drop(&s->up, (unsigned)i);
	} else {
		complain(s, step, "is not undone", why);
		s->down_failed = true;
	}
}

void steps_gone(struct steps *s, unsigned index)
{
	if (index < s->up.nr)
		drop(&s->up, index);
}

enum steps_state steps_state(const struct steps *s)
{
	unsigned index;
	enum steps_act act = steps_next(s, &index);
	bool whole = true;

	if (act == STEPS_DO)
		return STEPS_MOUNTING;
	for (unsigned i = 0; i < s->want.nr; i++)
		whole &= find(&s->up, &s->want.step[i]) >= 0;
	/* Addresses that are not wanted any more do not make a dismount. */
	if (s->goal_up && !s->force && !s->up_failed)
		return whole ? STEPS_MOUNTED : STEPS_MOUNTING;
	if (act == STEPS_UNDO)
		return STEPS_DISMOUNTING;
	return s->down_failed && !s->up_failed && !s->force && s->up.nr && whole ? STEPS_MOUNTED :
	       STEPS_DISMOUNTED;
}

/* ---- the file ------------------------------------------------------------------ */

static struct json_object *step_to_obj(const struct step *step)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "kind", json_object_new_int(step->kind));
	json_object_object_add(o, "what", json_object_new_string(step->what));
	json_object_object_add(o, "fs_type", json_object_new_string(step->fs_type));
	json_object_object_add(o, "options", json_object_new_string(step->options));
	json_object_object_add(o, "found", json_object_new_boolean(step->found));
	json_object_object_add(o, "begun", json_object_new_boolean(step->begun));
	return o;
}

struct json_object *steps_up_to_obj(const struct steps *s, const char *boot)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	json_object_object_add(o, "boot", json_object_new_string(boot));
	for (unsigned i = 0; i < s->up.nr; i++)
		json_object_array_add(list, step_to_obj(&s->up.step[i]));
	json_object_object_add(o, "up", list);
	return o;
}

static int take_text(struct json_object *o, const char *key, char *ret, size_t size)
{
	struct json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string) ||
	    (size_t)json_object_get_string_len(v) >= size)
		return -EINVAL;
	strcpy(ret, json_object_get_string(v));
	return 0;
}

static bool take_bool(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_get_boolean(v);
}

static int step_from_obj(struct json_object *o, struct step *ret)
{
	struct json_object *v;

	memset(ret, 0, sizeof(*ret));
	if (!json_object_object_get_ex(o, "kind", &v) || !json_object_is_type(v, json_type_int) ||
	    json_object_get_int64(v) < STEP_MOUNT || json_object_get_int64(v) > STEP_ADDRESS)
		return -EINVAL;
	ret->kind = (enum step_kind)json_object_get_int64(v);
	ret->found = take_bool(o, "found");
	ret->begun = take_bool(o, "begun");
	if (take_text(o, "what", ret->what, sizeof(ret->what)) ||
	    take_text(o, "fs_type", ret->fs_type, sizeof(ret->fs_type)) ||
	    take_text(o, "options", ret->options, sizeof(ret->options)))
		return -EINVAL;
	return 0;
}

static int plan_from_obj(struct json_object *list, struct steps_plan *ret)
{
	size_t n = json_object_array_length(list);

	ret->nr = 0;
	if (n > STEPS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		struct step *step = &ret->step[ret->nr];

		if (step_from_obj(json_object_array_get_idx(list, i), step) || find(ret, step) >= 0 ||
		    (i && ret->step[ret->nr - 1].kind > step->kind))
			return -EINVAL;
		ret->nr++;
	}
	return 0;
}

int steps_up_from_obj(struct json_object *obj, const char *boot, struct steps *ret)
{
	struct json_object *list;
	struct steps_plan plan;
	char was[64];

	if (!json_object_is_type(obj, json_type_object) || take_text(obj, "boot", was, sizeof(was)) ||
	    !json_object_object_get_ex(obj, "up", &list) ||
	    !json_object_is_type(list, json_type_array) || plan_from_obj(list, &plan))
		return -EINVAL;
	ret->up.nr = 0;
	if (!strcmp(was, boot))
		ret->up = plan;
	return 0;
}
