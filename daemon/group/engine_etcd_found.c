// SPDX-License-Identifier: GPL-2.0
/*
 * engine_etcd_found - the first state of a group: a cluster of one voter here (or the
 * user's etcd), and the keys in it. What fails leaves nothing behind.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/group/engine_etcd_int.h"
#include "daemon/group/lease.h"
#include "daemon/log.h"
#include "daemon/net/creds_internal.h"
#include "daemon/net/relay.h"

#define START_MS	20000
#define ASK_MS		1000

void etcd_token(const struct group_state *gs, char ret[40])
{
	if (gs->generation == 1)
		snprintf(ret, 40, "%.36s", gs->uuid);
	else
		snprintf(ret, 40, "%.18s.%" PRIu64, gs->uuid, gs->generation);
}

static void nap(void)
{
	const struct timespec ts = { .tv_nsec = 50000000 };

	nanosleep(&ts, NULL);
}

static int start_cluster(struct engine_etcd *ee, struct group_state *gs, char *err, size_t errlen)
{
	struct group_member *self = group_find_member(gs, ee->self);
	struct etcd_child_start *st;
	char url[1][ETCD_URL_MAX], peer[ETCD_URL_MAX];
	int r;

	if (!self || self->port > UINT16_MAX - RELAY_PORT_ADD) {
		snprintf(err, errlen, "engine: this member has no address with %u more ports",
			 RELAY_PORT_ADD);
		return -EINVAL;
	}
	st = calloc(1, sizeof(*st));
	if (!st)
		return -ENOMEM;
	self->voter = true;
	pthread_mutex_lock(&ee->lock);
	etcd_relay_follow(ee, gs);
	r = ee->relay || !etcd_relayed(self->address) ? 0 : -EADDRINUSE;
	pthread_mutex_unlock(&ee->lock);
	if (r) {
		free(st);
		snprintf(err, errlen, "engine: TCP port %u cannot be listened on; is another "
			 "program using it?", self->port + RELAY_PORT_ADD);
		return r;
	}
	etcd_client_url(self->address, self->port, url[0]);
	etcd_peer_url(self->address, self->port, peer);
	snprintf(st->address, sizeof(st->address), "%s", self->address);
	st->port = self->port;
	etcd_token(gs, st->token);
	st->heartbeat_ms = gs->profile.engine_heartbeat_ms;
	st->election_ms = gs->profile.engine_election_ms;
	r = etcd_cluster_add(st->cluster, ee->self, peer);
	if (!r)
		r = etcd_child_begin(ee->child, st, err, errlen);
	free(st);
	if (!r)
		etcd_endpoints_set(ee->ee, url, 1);
	return r;
}

/* It answers with a majority of its own, and holds no group yet under this name. */
static int await_cluster(struct engine_etcd *ee, struct etcd_http *eh, const char *key, char *err,
			 size_t errlen)
{
	uint64_t end = etcd_boot_ns() + START_MS * 1000000ull;
	struct etcd_child_view cv = { .pid = 0 };
	struct etcd_reply rp = { .nr = 0 };
	int r;

	while ((r = etcd_range(eh, key, NULL, false, 0, ASK_MS, &rp)) && etcd_boot_ns() < end)
		nap();
	if (!r) {
		etcd_reply_free(&rp);
		return 0;
	}
	if (ee->child)
		etcd_child_look(ee->child, &cv);
	snprintf(err, errlen, "engine: etcd does not answer: %.160s%s%.160s", etcd_http_error(eh),
		 cv.error[0] ? "; " : "", cv.error);
	return r == -EREMOTEIO ? r : -EHOSTUNREACH;
}

/* Stores, and the fences of the former generation + 1: nothing that was agreed on by
 * them counts any more. In a new group there is neither. */
static int add_rest(struct engine_etcd *ee, struct etcd_txn *tx, const struct group_state *gs,
		    const char *tag)
{
	char key[VIEW_KEY_MAX], text[24], *value;
	uint32_t i;

	for (i = 0; i < gs->nr_stores; i++) {
		if (gs->stores[i].removed)
			continue;
		value = etcd_store_value(&gs->stores[i], tag);
		if (!value)
			return -ENOMEM;
		etcd_key_store(gs->uuid, gs->stores[i].uuid, key);
		etcd_txn_put(tx, key, value);
		free(value);
	}
	pthread_mutex_lock(&ee->lock);
	for (i = 0; i < ee->vw.nr_hosts; i++) {
		if (!ee->vw.hosts[i].fence)
			continue;
		etcd_key(gs->uuid, "fence", ee->vw.hosts[i].member, key);
		snprintf(text, sizeof(text), "%" PRIu64, ee->vw.hosts[i].fence + 1);
		etcd_txn_put(tx, key, text);
	}
	pthread_mutex_unlock(&ee->lock);
	return 0;
}

static int put_keys(struct engine_etcd *ee, struct etcd_http *eh, const struct group_state *gs,
		    char *err, size_t errlen)
{
	char gkey[VIEW_KEY_MAX], nkey[VIEW_KEY_MAX], text[24], tag[64];
	struct etcd_txn *tx = etcd_txn_new();
	struct etcd_reply rp = { .nr = 0 };
	const struct etcd_kv *kv;
	char *value;
	int r = -ENOMEM, tries;

	snprintf(tag, sizeof(tag), "found/%016" PRIx64, ee->tag_seed);
	snprintf(text, sizeof(text), "%" PRIu64, gs->generation);
	etcd_key(gs->uuid, "group", NULL, gkey);
	etcd_key(gs->uuid, "generation", NULL, nkey);
	value = etcd_group_value(gs, tag);
	if (!tx || !value)
		goto out;
	etcd_txn_if_mod(tx, nkey, 0);
	etcd_txn_if_mod(tx, gkey, 0);
	etcd_txn_put(tx, gkey, value);
	etcd_txn_put(tx, nkey, text);
	if (add_rest(ee, tx, gs, tag))
		goto out;
	etcd_txn_else_range(tx, gkey, NULL);
	for (tries = 0, r = -EAGAIN; r == -EAGAIN && tries < 5; tries++)
		r = etcd_txn(eh, tx, 2 * ASK_MS, &rp);
	if (r) {
		snprintf(err, errlen, "engine: %.200s", etcd_http_error(eh));
		goto out;
	}
	/* an attempt that was not answered may have been the one */
	kv = etcd_reply_find(&rp, gkey);
	if (!rp.succeeded && (!kv || strcmp(kv->value, value))) {
		snprintf(err, errlen, "engine: there is a group with this uuid");
		r = -EEXIST;
	}
	etcd_reply_free(&rp);
out:
	etcd_txn_free(tx);
	free(value);
	return r;
}

static int take_over(struct engine_etcd *ee, struct etcd_http *eh, const struct group_state *gs,
		     char *err, size_t errlen)
{
	int r;

	pthread_mutex_lock(&ee->lock);
	r = group_state_copy(&ee->vw.gs, gs);
	if (!r) {
		memcpy(ee->vw.uuid, gs->uuid, sizeof(ee->vw.uuid));
		ee->vw.generation = gs->generation;
		ee->vw.revision = ee->vw.cluster = 0;
		ee->vw.nr_hosts = 0;
		ee->accepted = ee->granted_ms = 0;
		ee->confirmed = false;
	}
	ee->kicked = true;
	pthread_cond_broadcast(&ee->wake);
	pthread_mutex_unlock(&ee->lock);
	if (!r)
		r = etcd_refresh(ee, eh, START_MS);
	if (!r)
		r = etcd_save(ee);
	if (r)
		snprintf(err, errlen, "engine: the new state was not read back or stored: %s",
			 strerror(-r));
	return r;
}

int etcd_found(struct engine_etcd *ee, const struct group_state *first, char *err, size_t errlen)
{
	struct etcd_http *eh = etcd_handle_get(ee);
	struct group_state gs = { .stores = NULL };
	char key[VIEW_KEY_MAX];
	int r;

	if (!eh)
		return -ESHUTDOWN;
	r = group_state_copy(&gs, first);
	if (!r && (!gs.uuid[0] || !gs.generation))
		r = -EINVAL;
	snprintf(gs.engine, sizeof(gs.engine), "etcd");
	snprintf(gs.engine_url, sizeof(gs.engine_url), "%s", ee->url);
	if (!gs.profile.lease_ms)
		lease_profile_named("lan", &gs.profile);
	etcd_key(gs.uuid, "generation", NULL, key);
	if (!r && ee->child)
		r = start_cluster(ee, &gs, err, errlen);
	if (!r)
		r = await_cluster(ee, eh, key, err, errlen);
	if (!r)
		r = put_keys(ee, eh, &gs, err, errlen);
	if (r && ee->child)
		etcd_child_end(ee->child);
	if (!r)
		r = take_over(ee, eh, &gs, err, errlen);
	group_state_free(&gs);
	etcd_handle_put(ee, eh);
	return r;
}

/* What was agreed before, for people: the data of the former cluster goes. */
static int keep_old(struct engine_etcd *ee)
{
	struct group_state old = { .stores = NULL };
	char name[64], *text;
	int r;

	pthread_mutex_lock(&ee->lock);
	r = group_state_copy(&old, &ee->vw.gs);
	pthread_mutex_unlock(&ee->lock);
	if (r)
		return r;
	snprintf(name, sizeof(name), "engine-state.%" PRIu64 ".json", old.generation);
	text = group_state_to_json(&old);
	r = text ? creds_file_write(ee->state_dir, name, 0600, text, strlen(text)) : -ENOMEM;
	free(text);
	group_state_free(&old);
	return r;
}

/* engine_etcd_care() would take the new etcd for one of another generation, and end it. */
static void set_restoring(struct engine_etcd *ee, bool on)
{
	pthread_mutex_lock(&ee->lock);
	ee->restoring = on;
	if (on)		/* nothing is certain until the new one has answered */
		ee->confirmed = false;
	pthread_mutex_unlock(&ee->lock);
}

int etcd_restore_op(struct engine *en, const struct group_state *next, char *err, size_t errlen)
{
	struct engine_etcd *ee = to_etcd(en);
	struct group_state gs = { .stores = NULL };
	struct etcd_http *eh;
	char key[VIEW_KEY_MAX];
	int r;

	if (!ee->child) {
		snprintf(err, errlen, "engine: this etcd is not dagd's own; restore it by its own means");
		return -EOPNOTSUPP;
	}
	eh = etcd_handle_get(ee);
	if (!eh)
		return -ESHUTDOWN;
	pthread_mutex_lock(&ee->tend_lock);
	set_restoring(ee, true);
	r = group_state_copy(&gs, next);
	if (!r)
		r = keep_old(ee);
	if (r)
		snprintf(err, errlen, "%s: the state of before is not kept: %s", ee->state_dir,
			 strerror(-r));
	/* Until the keys are in, the copy on disk is the former one: done again, all of
	 * this begins anew. */
	if (!r)
		r = start_cluster(ee, &gs, err, errlen);
	etcd_key(gs.uuid, "generation", NULL, key);
	if (!r)
		r = await_cluster(ee, eh, key, err, errlen);
	if (!r)
		r = put_keys(ee, eh, &gs, err, errlen);
	if (!r)
		r = take_over(ee, eh, &gs, err, errlen);
	set_restoring(ee, false);
	pthread_mutex_unlock(&ee->tend_lock);
	group_state_free(&gs);
	etcd_handle_put(ee, eh);
	return r;
}
