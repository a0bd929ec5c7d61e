// SPDX-License-Identifier: GPL-2.0
/* engine_etcd_txn - the changes that there are: of the group, of a store, a claim. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/group/engine_etcd_change.h"

/* ---- group ----------------------------------------------------------------- */

struct group_edit {
	int (*edit)(struct group_state *gs, void *ctx);
	void *ctx;
};

static int edit_group(struct change *ch, void *ctx)
{
	const struct group_edit *ge = ctx;
	struct group_state old = { .stores = NULL };
	int r;

	r = group_state_copy(&old, &ch->gs);
	if (r)
		return r;
	r = ge->edit(&ch->gs, ge->ctx);
	if (!r && strcmp(old.uuid, ch->gs.uuid))
		r = change_fail(ch, -EINVAL, "group: an edit changed the uuid");
	if (!r) {
		ch->gs.generation = old.generation;
		ch->gs.version = old.version + 1;
		/* the group must not be changed by what a store no longer says */
		change_if_generation(ch);
		change_if_group(ch);
		change_if_stores(ch);
		r = change_put_group(ch);
	}
	group_state_free(&old);
	return r;
}

static int found_group(struct engine_etcd *ee, int (*edit)(struct group_state *gs, void *ctx),
		       void *ctx, char *err, size_t errlen)
{
	struct group_state gs;
	int r;

	r = group_state_init(&gs);
	if (!r)
		r = edit(&gs, ctx);
	if (!r)
		r = etcd_found(ee, &gs, err, errlen);
	group_state_free(&gs);
	return r;
}

int etcd_txn_group_op(struct engine *en, int (*edit)(struct group_state *gs, void *ctx), void *ctx,
		      char *err, size_t errlen)
{
	struct engine_etcd *ee = to_etcd(en);
	struct group_edit ge = { edit, ctx };
	bool none;

	pthread_mutex_lock(&ee->lock);
	none = !ee->vw.uuid[0];
	pthread_mutex_unlock(&ee->lock);
	err[0] = '\0';
	return none ? found_group(ee, edit, ctx, err, errlen) :
		      change_run(ee, edit_group, &ge, err, errlen);
}

/* ---- store ----------------------------------------------------------------- */

static bool name_taken(struct group_state *gs, const struct group_store *st)
{
	uint32_t i;

	for (i = 0; i < gs->nr_stores; i++)
		if (&gs->stores[i] != st && !gs->stores[i].removed &&
		    !strcmp(gs->stores[i].name, st->name))
			return true;
	return false;
}

/* The place of a store in the copy; *gone: the key of one removed long ago goes with it. */
static int find_place(struct change *ch, const uint8_t uuid[16], uint32_t expect_epoch,
		      struct group_store **ret, bool *ret_new, char gone[VIEW_KEY_MAX])
{
	struct group_store *st = group_find_store_uuid(&ch->gs, uuid);
	char text[160];
	uint32_t i;

	gone[0] = '\0';
	*ret_new = !st;
	if (st && st->removed) {
		snprintf(text, sizeof(text), "store %s: removed", st->name);
		return change_fail(ch, -ENOENT, text);
	}
	if (st && st->epoch != expect_epoch) {
		snprintf(text, sizeof(text), "store %s: epoch is %u by now, not %u; try again",
			 st->name, st->epoch, expect_epoch);
		return change_fail(ch, -ESTALE, text);
	}
	if (!st && expect_epoch)
		return change_fail(ch, -ENOENT, "no such store");
	if (!st && ch->gs.nr_stores == GROUP_STORES_MAX)
		for (i = 0; i < GROUP_STORES_MAX && !gone[0]; i++)
			if (ch->gs.stores[i].removed)
				etcd_key_store(ch->at.uuid, ch->gs.stores[i].uuid, gone);
	if (!st)
		st = group_add_store(&ch->gs, uuid);
	if (!st) {
		snprintf(text, sizeof(text), "the group has %u stores, the most there can be; remove "
			 "one", GROUP_STORES_MAX);
		return change_fail(ch, -ENOSPC, text);
	}
	if (*ret_new)
		ch->at.store_mod[st - ch->gs.stores] = 0;
	*ret = st;
	return 0;
}

struct store_edit {
	const uint8_t *uuid;
	uint32_t epoch;			/* expected */
	int (*edit)(struct group_store *st, void *ctx);
	void *ctx;
};

static int edit_store(struct change *ch, void *ctx)
{
	const struct store_edit *se = ctx;
	char gone[VIEW_KEY_MAX], name[STORE_NAME_MAX];
	struct group_store *st = NULL;
	uint64_t version;
	bool fresh;
	int r;

	r = find_place(ch, se->uuid, se->epoch, &st, &fresh, gone);
	if (r)
		return r;
	version = st->version;
	memcpy(name, st->name, sizeof(name));
	r = se->edit(st, se->ctx);
	if (r)
		return r;
	if (memcmp(st->uuid, se->uuid, 16) || st->epoch < se->epoch || st->epoch > se->epoch + 1)
		return change_fail(ch, -EINVAL, "store: an edit changed uuid or epoch");
	if (strcmp(name, st->name) && name_taken(&ch->gs, st))
		return change_fail(ch, -EEXIST, "store: another one has that name");
	st->version = version + 1;
	/* with the group: its members must not go away under a copy */
	change_if_generation(ch);
	change_if_group(ch);
	if (fresh || strcmp(name, st->name))
		change_if_stores(ch);
	change_if_store(ch, st);
	if (gone[0])
		etcd_txn_delete(ch->tx, gone);
	return change_put_store(ch, st);
}

int etcd_txn_store_op(struct engine *en, const uint8_t uuid[16], uint32_t expect_epoch,
		      int (*edit)(struct group_store *st, void *ctx), void *ctx, char *err,
		      size_t errlen)
{
	struct store_edit se = { uuid, expect_epoch, edit, ctx };

	return change_run(to_etcd(en), edit_store, &se, err, errlen);
}

/* ---- claim ----------------------------------------------------------------- */

static bool claim_holds(struct engine_etcd *ee, const struct engine_claim *cl)
{
	struct engine_host *host;
	bool ok;

	pthread_mutex_lock(&ee->lock);
	host = etcd_view_host(&ee->vw, cl->host);
	ok = host && host->lease_rev == cl->lease_rev && host->fence == cl->fence &&
	     ee->vw.generation == cl->generation;
	pthread_mutex_unlock(&ee->lock);
	return ok;
}

static void if_claim(struct change *ch, const struct engine_claim *cl)
{
	char key[VIEW_KEY_MAX], text[24];

	change_if_generation(ch);
	etcd_key(ch->at.uuid, "lease", cl->host, key);
	etcd_txn_if_mod(ch->tx, key, cl->lease_rev);
	etcd_key(ch->at.uuid, "fence", cl->host, key);
	snprintf(text, sizeof(text), "%" PRIu64, cl->fence);
	etcd_txn_if_value(ch->tx, key, text);
	change_if_group(ch);
}

static int put_claim(struct change *ch, const struct engine_claim *cl, struct group_state *old)
{
	char key[VIEW_KEY_MAX], text[24];
	uint32_t i;
	int r = 0;

	for (i = 0; !r && i < ch->gs.nr_stores; i++) {
		struct group_store *st = &ch->gs.stores[i];
		bool his = !old->stores[i].removed && !strcmp(old->stores[i].active, cl->host);

		/* what is not the host's is left as it was, whatever edit() did to it */
		if (!his)
			continue;
		change_if_store(ch, st);
		if (!memcmp(st, &old->stores[i], sizeof(*st)))
			continue;
		if (memcmp(st->uuid, old->stores[i].uuid, 16) || st->epoch < old->stores[i].epoch ||
		    st->epoch > old->stores[i].epoch + 1)
			return change_fail(ch, -EINVAL, "claim: an edit changed uuid or epoch");
		st->version = old->stores[i].version + 1;
		r = change_put_store(ch, st);
	}
	if (r)
		return r;
	etcd_key(ch->at.uuid, "fence", cl->host, key);
	snprintf(text, sizeof(text), "%" PRIu64, cl->fence + 1);
	return change_put(ch, key, strdup(text));
}

struct claim_edit {
	const struct engine_claim *cl;
	int (*edit)(struct group_state *gs, void *ctx);
	void *ctx;
};

static int edit_claim(struct change *ch, void *ctx)
{
	const struct claim_edit *ce = ctx;
	const struct engine_claim *cl = ce->cl;
	struct group_state old = { .stores = NULL };
	int r;

	if (!claim_holds(ch->ee, cl))
		return change_fail(ch, -ESTALE, "the host lives, or somebody was faster");
	r = group_state_copy(&old, &ch->gs);
	if (!r)
		r = ce->edit(&ch->gs, ce->ctx);
	if (!r && ch->gs.nr_stores != old.nr_stores)
		r = change_fail(ch, -EINVAL, "claim: an edit added a store");
	if (!r) {
		if_claim(ch, cl);
		r = put_claim(ch, cl, &old);
	}
	group_state_free(&old);
	return r;
}

int etcd_claim_op(struct engine *en, const struct engine_claim *claim,
		  int (*edit)(struct group_state *gs, void *ctx), void *ctx, char *err,
		  size_t errlen)
{
	struct claim_edit ce = { claim, edit, ctx };
	int r = change_run(to_etcd(en), edit_claim, &ce, err, errlen);

	/* whoever was faster all the time: the claim does not hold */
	return r == -EBUSY ? -ESTALE : r;
}
