// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/state.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "include/dag/crc32c.h"

int group_state_room(struct group_state *gs, uint32_t nr)
{
	struct group_store *stores;

	if (nr <= gs->room)
		return 0;
	stores = realloc(gs->stores, nr * sizeof(*stores));
	if (!stores)
		return -ENOMEM;
	memset(stores + gs->room, 0, (nr - gs->room) * sizeof(*stores));
	gs->stores = stores;
	gs->room = nr;
	return 0;
}

int group_state_init(struct group_state *gs)
{
	memset(gs, 0, sizeof(*gs));
	return group_state_room(gs, 1);
}

void group_state_free(struct group_state *gs)
{
	free(gs->stores);
	memset(gs, 0, sizeof(*gs));
}

static void take_but_stores(struct group_state *gs, const struct group_state *from)
{
	struct group_store *stores = gs->stores;
	uint32_t nr = gs->nr_stores, room = gs->room;

	*gs = *from;
	gs->stores = stores;
	gs->nr_stores = nr;
	gs->room = room;
}

int group_state_copy(struct group_state *to, const struct group_state *from)
{
	int r = group_state_room(to, from->nr_stores ? from->nr_stores : 1);

	if (r)
		return r;
	take_but_stores(to, from);
	to->nr_stores = from->nr_stores;
	if (from->nr_stores)
		memcpy(to->stores, from->stores, from->nr_stores * sizeof(*to->stores));
	return 0;
}

bool group_name_valid(const char *name, size_t max)
{
	size_t i, len = strlen(name);

	if (!len || len > max || !isalnum((unsigned char)name[0]))
		return false;
	for (i = 0; i < len; i++) {
		unsigned char c = name[i];

		if (c >= 0x80 || !(isalnum(c) || c == '.' || c == '-' || c == '_'))
			return false;
	}
	return true;
}

struct group_member *group_find_member(struct group_state *gs, const char *name)
{
	uint32_t i;

	for (i = 0; i < gs->nr_members; i++)
		if (!strcmp(gs->members[i].name, name))
			return &gs->members[i];
	return NULL;
}

struct group_store *group_find_store(struct group_state *gs, const char *name)
{
	uint32_t i;

	for (i = 0; i < gs->nr_stores; i++)
		if (!gs->stores[i].removed && !strcmp(gs->stores[i].name, name))
			return &gs->stores[i];
	return NULL;
}

struct group_store *group_find_store_uuid(struct group_state *gs, const uint8_t uuid[16])
{
	uint32_t i;

	for (i = 0; i < gs->nr_stores; i++)
		if (!memcmp(gs->stores[i].uuid, uuid, 16))
			return &gs->stores[i];
	return NULL;
}

struct group_copy *group_find_copy(struct group_store *st, const char *member)
{
	uint32_t i;

	for (i = 0; i < st->nr_copies; i++)
		if (!strcmp(st->copies[i].member, member))
			return &st->copies[i];
	return NULL;
}

struct group_store *group_add_store(struct group_state *gs, const uint8_t uuid[16])
{
	struct group_store *st = NULL;
	uint32_t i;

	if (gs->nr_stores < GROUP_STORES_MAX) {
		if (!group_state_room(gs, gs->nr_stores + 1))
			st = &gs->stores[gs->nr_stores++];
	} else {
		for (i = 0; i < gs->nr_stores && !st; i++)
			if (gs->stores[i].removed)
				st = &gs->stores[i];
	}
	if (!st)
		return NULL;
	memset(st, 0, sizeof(*st));
	memcpy(st->uuid, uuid, 16);
	return st;
}

static bool newer(uint64_t a_major, uint64_t a_minor, uint64_t b_major, uint64_t b_minor)
{
	return a_major > b_major || (a_major == b_major && a_minor > b_minor);
}

int group_state_merge(struct group_state *gs, const struct group_state *from)
{
	int changed = 0;
	uint32_t i;

	if (!from->uuid[0])
		return 0;
	if (gs->uuid[0] && strcmp(gs->uuid, from->uuid))
		return -EXDEV;
	if (!gs->uuid[0] || newer(from->generation, from->version, gs->generation, gs->version)) {
		take_but_stores(gs, from);
		changed = 1;
	}
	for (i = 0; i < from->nr_stores; i++) {
		const struct group_store *theirs = &from->stores[i];
		struct group_store *ours = group_find_store_uuid(gs, theirs->uuid);

		if (ours) {
			/* A removal is the end of a store, whatever else was agreed. */
			if (ours->removed ||
			    !newer(theirs->epoch, theirs->version, ours->epoch, ours->version))
				continue;
		} else {
			/* An unknown store that is gone need not be remembered. */
			if (theirs->removed)
				continue;
			ours = group_add_store(gs, theirs->uuid);
			if (!ours)
				return -ENOSPC;
		}
		*ours = *theirs;
		changed = 1;
	}
	return changed;
}

/* A mixing step of FNV-1a over the bytes of a number or a name. */
static uint64_t mix(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

uint64_t group_state_digest(const struct group_state *gs)
{
	const uint64_t basis = 0xcbf29ce484222325ull;
	uint64_t sum, h;
	uint32_t i;

	h = mix(basis, gs->uuid, strlen(gs->uuid));
	h = mix(h, &gs->generation, sizeof(gs->generation));
	sum = mix(h, &gs->version, sizeof(gs->version));
	for (i = 0; i < gs->nr_stores; i++) {
		const struct group_store *st = &gs->stores[i];

		/* Added up: members may hold the stores in another order. Without
		 * the removed ones: not everybody remembers them. */
		if (st->removed)
			continue;
		h = mix(basis, st->uuid, 16);
		h = mix(h, &st->epoch, sizeof(st->epoch));
		sum += mix(h, &st->version, sizeof(st->version));
	}
	return sum;
}

uint32_t group_store_tag(const struct group_store *st)
{
	/* of the first generation: a log goes on over a restore of the group, and each
	 * connection says its generation */
	uint8_t bytes[24] = { 1 };

	memcpy(bytes + 8, st->uuid, 16);
	return dag_crc32c(0, bytes, sizeof(bytes));
}
