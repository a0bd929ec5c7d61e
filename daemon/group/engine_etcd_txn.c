// SPDX-License-Identifier: GPL-2.0
/*
 * engine_etcd_txn - changes: read the newest state, edit a copy, commit it if what
 * was read still stands.
 *
 * Each value carries a tag of its writer, new for each commit. An attempt that got no
 * answer is repeated as it is: it compares the same revisions, so at most one of the
 * attempts takes effect, and once one of them has been answered none can come in any
 * more. If the comparison fails and the value that is there is the one that was sent,
 * an earlier attempt was it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/group/engine_etcd_int.h"
#include "daemon/group/state_json.h"
#include "daemon/log.h"

#define TXN_MS		5000	/* a change, all in all */
#define READ_MS		1500
#define TRIES_MAX	10	/* against other writers */

#define NO_MAJORITY	"no majority of the engine's voters answers"

struct put {
	char key[VIEW_KEY_MAX];
	char *value;
	bool tagged;			/* nobody else can have written this value */
};

/* One change in the making. */
struct change {
	struct engine_etcd *ee;
	struct etcd_http *eh;
	struct etcd_view at;		/* uuid, generation and mods that it is based on */
	struct group_state gs;		/* the copy that is edited */
	uint64_t revision;		/* everything up to here is in it */
	uint64_t end_ns;
	struct etcd_txn *tx;
	unsigned nr_puts;
	struct put *puts;		/* GROUP_STORES_MAX + 1 */
	bool unsure;			/* an attempt may still come in */
	char *err;
	size_t errlen;
};

static int fail(struct change *ch, int r, const char *what)
{
	if (!ch->err[0])
		snprintf(ch->err, ch->errlen, "%s", what);
	return r;
}

static void drop_puts(struct change *ch)
{
	while (ch->nr_puts)
		free(ch->puts[--ch->nr_puts].value);
	etcd_txn_free(ch->tx);
	ch->tx = NULL;
}

static void change_end(struct change *ch)
{
	drop_puts(ch);
	free(ch->puts);
	group_state_free(&ch->gs);
	if (ch->eh)
		etcd_handle_put(ch->ee, ch->eh);
	free(ch);
}

static int change_begin(struct engine_etcd *ee, char *err, size_t errlen, struct change **ret)
{
	struct change *ch = calloc(1, sizeof(*ch));

	err[0] = '\0';
	if (!ch)
		return -ENOMEM;
	ch->ee = ee;
	ch->err = err;
	ch->errlen = errlen;
	ch->end_ns = etcd_boot_ns() + TXN_MS * 1000000ull;
	ch->puts = calloc(GROUP_STORES_MAX + 1, sizeof(*ch->puts));
	ch->eh = ch->puts ? etcd_handle_get(ee) : NULL;
	if (ch->eh && !group_state_init(&ch->gs)) {
		*ret = ch;
		return 0;
	}
	change_end(ch);
	return -ENOMEM;
}

static unsigned left_ms(const struct change *ch, unsigned most)
{
	uint64_t now = etcd_boot_ns(), left = now < ch->end_ns ? (ch->end_ns - now) / 1000000u : 0;

	return left > most ? most : left;
}

static void pause_ms(unsigned ms)
{
	const struct timespec ts = { .tv_nsec = ms * 1000000l };

	nanosleep(&ts, NULL);
}

/* The newest state, as a copy to edit. */
static int change_read(struct change *ch)
{
	struct engine_etcd *ee = ch->ee;
	int r;

	drop_puts(ch);
	r = etcd_refresh_within(ee, ch->eh, left_ms(ch, TXN_MS));
	if (r == -EAGAIN)
		return fail(ch, -EHOSTUNREACH, NO_MAJORITY);
	if (r)
		return fail(ch, r, "no group here; run dagctl group create or group join");
	pthread_mutex_lock(&ee->lock);
	r = group_state_copy(&ch->gs, &ee->vw.gs);
	memcpy(ch->at.uuid, ee->vw.uuid, sizeof(ch->at.uuid));
	memcpy(ch->at.store_mod, ee->vw.store_mod, sizeof(ch->at.store_mod));
	ch->at.group_mod = ee->vw.group_mod;
	ch->at.generation = ee->vw.generation;
	ch->revision = ee->vw.revision;
	pthread_mutex_unlock(&ee->lock);
	if (!r)
		ch->tx = etcd_txn_new();
	return r ? r : ch->tx ? 0 : -ENOMEM;
}

static void make_tag(struct engine_etcd *ee, char ret[TAG_MAX])
{
	pthread_mutex_lock(&ee->lock);
	snprintf(ret, TAG_MAX, "%s/%016" PRIx64 "/%" PRIu64, ee->self, ee->tag_seed, ++ee->tags);
	pthread_mutex_unlock(&ee->lock);
}

static void if_generation(struct change *ch)
{
	char key[VIEW_KEY_MAX], text[24];

	etcd_key(ch->at.uuid, "generation", NULL, key);
	snprintf(text, sizeof(text), "%" PRIu64, ch->at.generation);
	etcd_txn_if_value(ch->tx, key, text);
}

static void if_group(struct change *ch)
{
	char key[VIEW_KEY_MAX];

	etcd_key(ch->at.uuid, "group", NULL, key);
	etcd_txn_if_mod(ch->tx, key, ch->at.group_mod);
}

static void if_stores(struct change *ch)
{
	char from[VIEW_KEY_MAX], to[VIEW_KEY_MAX];

	etcd_key_range(ch->at.uuid, "store", from, to);
	etcd_txn_if_unchanged(ch->tx, from, to, ch->revision);
}

static uint64_t mod_of(struct change *ch, const struct group_store *st)
{
	return ch->at.store_mod[st - ch->gs.stores];
}

static void if_store(struct change *ch, const struct group_store *st)
{
	char key[VIEW_KEY_MAX];

	etcd_key_store(ch->at.uuid, st->uuid, key);
	etcd_txn_if_mod(ch->tx, key, mod_of(ch, st));
}

/* Takes over value. */
static int put(struct change *ch, const char *key, char *value)
{
	struct put *pt;

	if (!value)
		return -ENOMEM;
	if (strlen(value) >= ETCD_VALUE_MAX / 2) {
		free(value);
		return fail(ch, -E2BIG, "the change is too big for the engine");
	}
	etcd_txn_put(ch->tx, key, value);
	pt = &ch->puts[ch->nr_puts++];
	snprintf(pt->key, sizeof(pt->key), "%s", key);
	pt->value = value;
	pt->tagged = value[0] == '{';
	return 0;
}

/* What could not be read again must not be written. */
static int put_group(struct change *ch)
{
	char key[VIEW_KEY_MAX], tag[TAG_MAX], *value;
	struct group_state back;
	int r;

	make_tag(ch->ee, tag);
	value = etcd_group_value(&ch->gs, tag);
	if (!value || group_state_init(&back)) {
		free(value);
		return -ENOMEM;
	}
	r = group_state_from_json(value, &back, ch->err, ch->errlen);
	group_state_free(&back);
	if (r) {
		free(value);
		return r;
	}
	etcd_key(ch->at.uuid, "group", NULL, key);
	return put(ch, key, value);
}

static int put_store(struct change *ch, const struct group_store *st)
{
	struct group_store *back = calloc(1, sizeof(*back));
	char key[VIEW_KEY_MAX], tag[TAG_MAX], *value;
	struct json_object *obj;
	int r = -EINVAL;

	make_tag(ch->ee, tag);
	value = etcd_store_value(st, tag);
	if (!value || !back) {
		free(value);
		free(back);
		return -ENOMEM;
	}
	obj = json_parse_strict(value, strlen(value), ch->err, ch->errlen);
	if (obj)
		r = group_store_from_obj(obj, back, ch->err, ch->errlen);
	json_object_put(obj);
	free(back);
	if (r) {
		free(value);
		return r;
	}
	etcd_key_store(ch->at.uuid, st->uuid, key);
	return put(ch, key, value);
}

/* It is in, at this revision. */
static void done(struct change *ch, uint64_t mod)
{
	struct engine_etcd *ee = ch->ee;
	int bits = 0, r;
	unsigned i;

	pthread_mutex_lock(&ee->lock);
	for (i = 0; i < ch->nr_puts && !strcmp(ee->vw.uuid, ch->at.uuid); i++) {
		r = etcd_put_in(ee, ch->puts[i].key, ch->puts[i].value, mod);
		bits |= r > 0 ? r : 0;
	}
	pthread_mutex_unlock(&ee->lock);
	if (bits & VIEW_STATE)
		etcd_state_changed(ee);
}

/* Is the first value that was to be put there? Its revision, or 0. */
static uint64_t found_own(struct change *ch, const struct etcd_reply *rp)
{
	const struct put *pt = &ch->puts[0];
	const struct etcd_kv *kv = pt->tagged ? etcd_reply_find(rp, pt->key) : NULL;

	return kv && !strcmp(kv->value, pt->value) ? kv->mod : 0;
}

/*
 * 0: it is in. -ESTALE: it is not and never will be, something has changed. -EAGAIN:
 * not known. -EHOSTUNREACH, -EREMOTEIO: it is not and never will be.
 */
static int change_commit(struct change *ch)
{
	struct etcd_reply rp = { .nr = 0 };
	uint64_t mod, t0;
	int r;

	etcd_txn_else_range(ch->tx, ch->puts[0].key, NULL);
	if (!etcd_txn_text(ch->tx))
		return -ENOMEM;
	for (;;) {
		unsigned ms = left_ms(ch, READ_MS);

		if (!ms)
			return ch->unsure ? fail(ch, -EAGAIN, "the engine did not answer in time; "
						 "the change may have been made or not, look at it") :
					    fail(ch, -EHOSTUNREACH, NO_MAJORITY);
		t0 = etcd_boot_ns();
		r = etcd_txn(ch->eh, ch->tx, ms, &rp);
		if (!r)
			break;
		if (r == -EREMOTEIO && !ch->unsure)
			return fail(ch, r, etcd_http_error(ch->eh));
		if (r != -ENOTCONN)
			ch->unsure = true;
		pause_ms(10);
	}
	pthread_mutex_lock(&ch->ee->lock);
	etcd_note_contact(ch->ee, t0);
	pthread_mutex_unlock(&ch->ee->lock);
	mod = rp.succeeded ? rp.revision : found_own(ch, &rp);
	etcd_reply_free(&rp);
	if (mod) {
		done(ch, mod);
		return 0;
	}
	/* ours may have been in, and be overwritten by now */
	return ch->unsure ? fail(ch, -EAGAIN, "the engine did not answer in time, and others have "
				 "changed the same; look at it") : -ESTALE;
}

/* After -ESTALE: let the other one finish. */
static bool try_again(struct change *ch, unsigned tries)
{
	if (tries >= TRIES_MAX || !left_ms(ch, 1)) {
		fail(ch, -EBUSY, "others change the same all the time; try again");
		return false;
	}
	pause_ms(1 + (etcd_boot_ns() / 1000) % (2u << (tries < 5 ? tries : 5)));
	return true;
}

/* ---- group ----------------------------------------------------------------- */

static int edit_group(struct change *ch, int (*edit)(struct group_state *gs, void *ctx), void *ctx)
{
	struct group_state old = { .stores = NULL };
	int r;

	r = group_state_copy(&old, &ch->gs);
	if (r)
		return r;
	r = edit(&ch->gs, ctx);
	if (!r && strcmp(old.uuid, ch->gs.uuid))
		r = fail(ch, -EINVAL, "group: an edit changed the uuid");
	if (!r) {
		ch->gs.generation = old.generation;
		ch->gs.version = old.version + 1;
		/* the group must not be changed by what a store no longer says */
		if_generation(ch);
		if_group(ch);
		if_stores(ch);
		r = put_group(ch);
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
	struct change *ch;
	unsigned tries = 0;
	bool none;
	int r;

	pthread_mutex_lock(&ee->lock);
	none = !ee->vw.uuid[0];
	pthread_mutex_unlock(&ee->lock);
	err[0] = '\0';
	if (none)
		return found_group(ee, edit, ctx, err, errlen);
	r = change_begin(ee, err, errlen, &ch);
	if (r)
		return r;
	do {
		r = change_read(ch);
		if (!r)
			r = edit_group(ch, edit, ctx);
		if (r)
			goto out;	/* edit()'s own -ESTALE is passed on, too */
		r = change_commit(ch);
	} while (r == -ESTALE && try_again(ch, tries++));
	if (r == -ESTALE)
		r = -EBUSY;
out:
	change_end(ch);
	return r;
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
		return fail(ch, -ENOENT, text);
	}
	if (st && st->epoch != expect_epoch) {
		snprintf(text, sizeof(text), "store %s: epoch is %u by now, not %u; try again",
			 st->name, st->epoch, expect_epoch);
		return fail(ch, -ESTALE, text);
	}
	if (!st && expect_epoch)
		return fail(ch, -ENOENT, "no such store");
	if (!st && ch->gs.nr_stores == GROUP_STORES_MAX)
		for (i = 0; i < GROUP_STORES_MAX && !gone[0]; i++)
			if (ch->gs.stores[i].removed)
				etcd_key_store(ch->at.uuid, ch->gs.stores[i].uuid, gone);
	if (!st)
		st = group_add_store(&ch->gs, uuid);
	if (!st) {
		snprintf(text, sizeof(text), "the group has %u stores, the most there can be; remove "
			 "one", GROUP_STORES_MAX);
		return fail(ch, -ENOSPC, text);
	}
	if (*ret_new)
		ch->at.store_mod[st - ch->gs.stores] = 0;
	*ret = st;
	return 0;
}

static int edit_store(struct change *ch, const uint8_t uuid[16], uint32_t expect_epoch,
		      int (*edit)(struct group_store *st, void *ctx), void *ctx)
{
	char gone[VIEW_KEY_MAX], name[STORE_NAME_MAX];
	struct group_store *st;
	uint64_t version;
	bool fresh;
	int r;

	r = find_place(ch, uuid, expect_epoch, &st, &fresh, gone);
	if (r)
		return r;
	version = st->version;
	memcpy(name, st->name, sizeof(name));
	r = edit(st, ctx);
	if (r)
		return r;
	if (memcmp(st->uuid, uuid, 16) || st->epoch < expect_epoch || st->epoch > expect_epoch + 1)
		return fail(ch, -EINVAL, "store: an edit changed uuid or epoch");
	if (strcmp(name, st->name) && name_taken(&ch->gs, st))
		return fail(ch, -EEXIST, "store: another one has that name");
	st->version = version + 1;
	/* with the group: its members must not go away under a copy */
	if_generation(ch);
	if_group(ch);
	if (fresh || strcmp(name, st->name))
		if_stores(ch);
	if_store(ch, st);
	if (gone[0])
		etcd_txn_delete(ch->tx, gone);
	return put_store(ch, st);
}

int etcd_txn_store_op(struct engine *en, const uint8_t uuid[16], uint32_t expect_epoch,
		      int (*edit)(struct group_store *st, void *ctx), void *ctx, char *err,
		      size_t errlen)
{
	struct change *ch;
	unsigned tries = 0;
	int r;

	r = change_begin(to_etcd(en), err, errlen, &ch);
	if (r)
		return r;
	do {
		r = change_read(ch);
		if (!r)
			r = edit_store(ch, uuid, expect_epoch, edit, ctx);
		if (r)
			goto out;
		r = change_commit(ch);
	} while (r == -ESTALE && try_again(ch, tries++));
	if (r == -ESTALE)
		r = -EBUSY;
out:
	change_end(ch);
	return r;
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

	if_generation(ch);
	etcd_key(ch->at.uuid, "lease", cl->host, key);
	etcd_txn_if_mod(ch->tx, key, cl->lease_rev);
	etcd_key(ch->at.uuid, "fence", cl->host, key);
	snprintf(text, sizeof(text), "%" PRIu64, cl->fence);
	etcd_txn_if_value(ch->tx, key, text);
	if_group(ch);
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
		if_store(ch, st);
		if (!memcmp(st, &old->stores[i], sizeof(*st)))
			continue;
		if (memcmp(st->uuid, old->stores[i].uuid, 16) || st->epoch < old->stores[i].epoch ||
		    st->epoch > old->stores[i].epoch + 1)
			return fail(ch, -EINVAL, "claim: an edit changed uuid or epoch");
		st->version = old->stores[i].version + 1;
		r = put_store(ch, st);
	}
	if (r)
		return r;
	etcd_key(ch->at.uuid, "fence", cl->host, key);
	snprintf(text, sizeof(text), "%" PRIu64, cl->fence + 1);
	return put(ch, key, strdup(text));
}

static int edit_claim(struct change *ch, const struct engine_claim *cl,
		      int (*edit)(struct group_state *gs, void *ctx), void *ctx)
{
	struct group_state old = { .stores = NULL };
	int r;

	if (!claim_holds(ch->ee, cl))
		return fail(ch, -ESTALE, "the host lives, or somebody was faster");
	r = group_state_copy(&old, &ch->gs);
	if (!r)
		r = edit(&ch->gs, ctx);
	if (!r && ch->gs.nr_stores != old.nr_stores)
		r = fail(ch, -EINVAL, "claim: an edit added a store");
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
	struct change *ch;
	unsigned tries = 0;
	int r;

	r = change_begin(to_etcd(en), err, errlen, &ch);
	if (r)
		return r;
	do {
		r = change_read(ch);
		if (!r)
			r = edit_claim(ch, claim, edit, ctx);
		if (r)
			break;
		r = change_commit(ch);
	} while (r == -ESTALE && try_again(ch, tries++));
	change_end(ch);
	return r;
}
