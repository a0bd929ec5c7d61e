// SPDX-License-Identifier: GPL-2.0
#include "tests/lib/enginelab.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEED(ok) need(ok, #ok, __LINE__)

static void need(int ok, const char *what, int line)
{
	if (ok)
		return;
	fprintf(stderr, "enginelab:%d: %s failed\n", line, what);
	abort();
}

int enginelab_edit_store(struct group_store *st, void *ctx)
{
	const struct store_edit *e = ctx;
	unsigned i;

	if (!st->name[0]) {
		snprintf(st->name, sizeof(st->name), "%s", e->name);
		st->sectors = 2048;
		st->region_bytes = 65536;
		st->ring_mib = st->segment_mib = 64;
		st->nr_copies = 3;
		for (i = 0; i < 3; i++) {
			snprintf(st->copies[i].member, sizeof(st->copies[i].member), "node%u", i + 1);
			strcpy(st->copies[i].device, "/dev/vdb");
			strcpy(st->copies[i].meta_device, "/dev/vdb");
			strcpy(st->copies[i].log_dir, "/log");
		}
	}
	if (e->active)
		snprintf(st->active, sizeof(st->active), "%s", e->active);
	st->epoch += e->epoch_add;
	return 0;
}

int enginelab_make_store(struct engine *en, const uint8_t uuid[16], const char *name,
			 const char *active)
{
	struct store_edit e = { name, active, 1 };
	char err[300];

	return en->ops->txn_store(en, uuid, 0, enginelab_edit_store, &e, err, sizeof(err));
}

int enginelab_edit_group(struct group_state *gs, void *ctx)
{
	gs->encryption = (gs->encryption + 1) % 3;
	(*(int *)ctx)++;
	return 0;
}

int enginelab_edit_remove(struct group_state *gs, void *ctx)
{
	struct group_member *mb = group_find_member(gs, ctx);
	size_t after;

	if (!mb)
		return -ENOENT;
	after = gs->nr_members - (mb - gs->members) - 1;
	memmove(mb, mb + 1, after * sizeof(*mb));
	gs->nr_members--;
	memset(&gs->members[gs->nr_members], 0, sizeof(*mb));
	return 0;
}

struct claim_edit {
	const uint8_t *uuid;
	const char *who;
};

static int edit_claim(struct group_state *gs, void *ctx)
{
	const struct claim_edit *ce = ctx;
	struct group_store *st = group_find_store_uuid(gs, ce->uuid);

	if (!st || strcmp(st->active, "node1"))
		return -ESTALE;
	st->epoch++;
	snprintf(st->active, sizeof(st->active), "%s", ce->who);
	return 0;
}

int enginelab_claim(struct engine *en, const struct engine_claim *cl, const uint8_t uuid[16],
		    const char *who)
{
	struct claim_edit ce = { uuid, who };
	char err[300];

	return en->ops->claim(en, cl, edit_claim, &ce, err, sizeof(err));
}

struct group_store enginelab_store(struct engine *en, const uint8_t uuid[16])
{
	struct group_store *st, copy;
	struct group_state gs;

	NEED(!group_state_init(&gs));
	NEED(!en->ops->snapshot(en, &gs));
	st = group_find_store_uuid(&gs, uuid);
	NEED(st != NULL);
	copy = *st;
	group_state_free(&gs);
	return copy;
}

uint64_t enginelab_version(struct engine *en, bool *ret_unconfirmed)
{
	struct group_state gs;
	uint64_t version;

	NEED(!group_state_init(&gs));
	NEED(!en->ops->snapshot(en, &gs));
	version = gs.version;
	if (ret_unconfirmed)
		*ret_unconfirmed = gs.unconfirmed;
	group_state_free(&gs);
	return version;
}

struct engine_host enginelab_host(struct engine *en, const char *member)
{
	static struct engine_host hosts[GROUP_MEMBERS_MAX];
	unsigned n = en->ops->hosts(en, hosts, GROUP_MEMBERS_MAX), i;

	for (i = 0; i < n; i++)
		if (!strcmp(hosts[i].member, member))
			return hosts[i];
	memset(&hosts[0], 0, sizeof(hosts[0]));
	return hosts[0];
}
