// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/dac.h"

#include <stdio.h>
#include <string.h>

static void say(struct dac *d, const char *why, const char *member)
{
	snprintf(d->why, sizeof(d->why), "%s%.63s", why, member);
}

void dac_init(struct dac *d, uint64_t generation, bool off)
{
	memset(d, 0, sizeof(*d));
	d->generation = d->highest = generation;
	d->off = off;
	say(d, "just started", "");
}

static bool was_heard(const struct dac *d, const char *member)
{
	for (uint32_t i = 0; i < d->nr_heard; i++)
		if (!strcmp(d->heard[i], member))
			return true;
	return false;
}

void dac_heard(struct dac *d, const char *member, uint64_t generation, bool bit)
{
	if (!was_heard(d, member) && d->nr_heard < GROUP_MEMBERS_MAX + 1) {
		char *name = d->heard[d->nr_heard++];

		snprintf(name, sizeof(d->heard[0]), "%s", member);
	}
	if (generation > d->highest)
		d->highest = generation;
	if (d->highest > d->generation) {
		if (generation > d->generation || d->bit)
			say(d, "the group went on in a later generation, said ", member);
		d->bit = false;
	} else if (bit && generation == d->generation && !d->bit) {
		d->bit = true;
		say(d, "may since it met ", member);
	}
}

/* Names that do not belong to the group must not keep those out that do. */
static void forget_strangers(struct dac *d, const struct group_state *gs)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < d->nr_heard; i++) {
		if (strcmp(d->heard[i], gs->witness.name) &&
		    !group_find_member((struct group_state *)gs, d->heard[i]))
			continue;
		if (kept != i)
			memcpy(d->heard[kept], d->heard[i], sizeof(d->heard[0]));
		kept++;
	}
	d->nr_heard = kept;
}

/* The first of those who must be heard and were not; NULL: all were. */
static const char *missing(const struct dac *d, const struct group_state *gs, const char *self)
{
	for (uint32_t i = 0; i < gs->nr_members; i++) {
		const struct group_member *m = &gs->members[i];

		if (!m->stopped && strcmp(m->name, self) && !was_heard(d, m->name))
			return m->name;
	}
	if (gs->witness.name[0] && strcmp(gs->witness.name, self) && !was_heard(d, gs->witness.name))
		return gs->witness.name;
	return NULL;
}

void dac_update(struct dac *d, const struct group_state *gs, const char *self)
{
	const char *who;

	d->off = gs->no_dac;
	if (gs->generation > d->generation) {
		/* What was heard was heard of another group, so to speak. */
		d->generation = gs->generation;
		d->bit = false;
		d->nr_heard = 0;
		say(d, "joined a later generation", "");
	}
	if (d->highest < d->generation)
		d->highest = d->generation;
	forget_strangers(d, gs);
	if (d->bit || d->highest > d->generation || !gs->nr_members)
		return;
	who = missing(d, gs, self);
	if (who) {
		say(d, "has met nobody who may, and not heard ", who);
		return;
	}
	d->bit = true;
	say(d, "all members were heard", "");
}

void dac_confirm(struct dac *d)
{
	if (d->highest > d->generation)
		return;
	d->bit = true;
	say(d, "confirmed by a person", "");
}

bool dac_may_activate(const struct dac *d)
{
	return (d->bit || d->off) && d->highest <= d->generation;
}
