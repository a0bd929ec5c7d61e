// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/engine_etcd_change.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/group/state_json.h"

#define TXN_MS		5000	/* a change, all in all */
#define READ_MS		1500
#define TRIES_MAX	10	/* against other writers */

#define NO_MAJORITY	"no majority of the engine's voters answers"

int change_fail(struct change *ch, int r, const char *what)
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
		return change_fail(ch, -EHOSTUNREACH, NO_MAJORITY);
	if (r)
		return change_fail(ch, r, "no group here; run dagctl group create or group join");
	pthread_mutex_lock(&ee->lock);
	r = group_state_copy(&ch->gs, &ee->vw.gs);
	memcpy(ch->at.uuid, ee->vw.uuid, sizeof(ch->at.uuid));
	memcpy(ch->at.store_mod, ee->vw.store_mod, sizeof(ch->at.store_mod));
	ch->at.group_mod = ee->vw.group_mod;
	ch->at.generation = ee->vw.generation;
	ch->at.cluster = ee->vw.cluster;
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

void change_if_generation(struct change *ch)
{
	char key[VIEW_KEY_MAX], text[24];

	etcd_key(ch->at.uuid, "generation", NULL, key);
	snprintf(text, sizeof(text), "%" PRIu64, ch->at.generation);
	etcd_txn_if_value(ch->tx, key, text);
}

void change_if_group(struct change *ch)
{
	char key[VIEW_KEY_MAX];

	etcd_key(ch->at.uuid, "group", NULL, key);
	etcd_txn_if_mod(ch->tx, key, ch->at.group_mod);
}

void change_if_stores(struct change *ch)
{
	char from[VIEW_KEY_MAX], to[VIEW_KEY_MAX];

	etcd_key_range(ch->at.uuid, "store", from, to);
	etcd_txn_if_unchanged(ch->tx, from, to, ch->revision);
}

static uint64_t mod_of(struct change *ch, const struct group_store *st)
{
	return ch->at.store_mod[st - ch->gs.stores];
}

void change_if_store(struct change *ch, const struct group_store *st)
{
	char key[VIEW_KEY_MAX];

	etcd_key_store(ch->at.uuid, st->uuid, key);
	etcd_txn_if_mod(ch->tx, key, mod_of(ch, st));
}

int change_put(struct change *ch, const char *key, char *value)
{
	struct put *pt;

	if (!value)
		return -ENOMEM;
	if (strlen(value) >= ETCD_VALUE_MAX / 2) {
		free(value);
		return change_fail(ch, -E2BIG, "the change is too big for the engine");
	}
	etcd_txn_put(ch->tx, key, value);
	pt = &ch->puts[ch->nr_puts++];
	snprintf(pt->key, sizeof(pt->key), "%s", key);
	pt->value = value;
	pt->tagged = value[0] == '{';
	return 0;
}

/* A value that parse() would not take again must not be written; takes over value. */
static int put_checked(struct change *ch, const char *key, char *value,
		       int (*parse)(struct change *ch, const char *value))
{
	int r = value ? parse(ch, value) : -ENOMEM;

	if (!r)
		return change_put(ch, key, value);
	free(value);
	return r;
}

static int parse_group(struct change *ch, const char *value)
{
	struct group_state back;
	int r = group_state_init(&back);

	if (r)
		return r;
	r = group_state_from_json(value, &back, ch->err, ch->errlen);
	group_state_free(&back);
	return r;
}

static int parse_store(struct change *ch, const char *value)
{
	struct group_store *back = calloc(1, sizeof(*back));
	struct json_object *obj;
	int r = -EINVAL;

	if (!back)
		return -ENOMEM;
	obj = json_parse_strict(value, strlen(value), ch->err, ch->errlen);
	if (obj)
		r = group_store_from_obj(obj, back, ch->err, ch->errlen);
	json_object_put(obj);
	free(back);
	return r;
}

int change_put_group(struct change *ch)
{
	char key[VIEW_KEY_MAX], tag[TAG_MAX];

	make_tag(ch->ee, tag);
	etcd_key(ch->at.uuid, "group", NULL, key);
	return put_checked(ch, key, etcd_group_value(&ch->gs, tag), parse_group);
}

int change_put_store(struct change *ch, const struct group_store *st)
{
	char key[VIEW_KEY_MAX], tag[TAG_MAX];

	make_tag(ch->ee, tag);
	etcd_key_store(ch->at.uuid, st->uuid, key);
	return put_checked(ch, key, etcd_store_value(st, tag), parse_store);
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
			return ch->unsure ? change_fail(ch, -EAGAIN, "the engine did not answer in time; "
						 "the change may have been made or not, look at it") :
					    change_fail(ch, -EHOSTUNREACH, NO_MAJORITY);
		t0 = etcd_boot_ns();
		r = etcd_txn(ch->eh, ch->tx, ms, &rp);
		if (!r && rp.cluster == ch->at.cluster)
			break;
		if (!r) {
			/* the etcd of a former generation compares other values */
			etcd_http_avoid(ch->eh);
			etcd_reply_free(&rp);
			r = -ENOTCONN;
		}
		if (r == -EREMOTEIO && !ch->unsure)
			return change_fail(ch, r, etcd_http_error(ch->eh));
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
	return ch->unsure ? change_fail(ch, -EAGAIN, "the engine did not answer in time, and others have "
				 "changed the same; look at it") : -ESTALE;
}

/* After -ESTALE: let the other one finish. */
static bool try_again(struct change *ch, unsigned tries)
{
	if (tries >= TRIES_MAX || !left_ms(ch, 1)) {
		change_fail(ch, -EBUSY, "others change the same all the time; try again");
		return false;
	}
	pause_ms(1 + (etcd_boot_ns() / 1000) % (2u << (tries < 5 ? tries : 5)));
	return true;
}

int change_run(struct engine_etcd *ee, int (*edit)(struct change *ch, void *ctx), void *ctx,
	       char *err, size_t errlen)
{
	struct change *ch;
	unsigned tries = 0;
	int r;

	r = change_begin(ee, err, errlen, &ch);
	if (r)
		return r;
	do {
		r = change_read(ch);
		if (!r)
			r = edit(ch, ctx);
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
