// SPDX-License-Identifier: GPL-2.0
/*
 * engine_etcd_lease - the leases: this host's own, and what is seen of the others'.
 *
 * A renewal that got no answer may come in later. It then makes the lease look
 * younger to the others than it is here, which only delays them. A release must not
 * come in late, after a renewal that followed it: it compares the revision of the
 * lease itself, which every renewal changes.
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

#define FENCE_MS	2000
#define RELEASE_MS	1000
#define AGAIN_MS	20	/* after an attempt that failed at once */

struct lease_keys {
	char fence[VIEW_KEY_MAX], lease[VIEW_KEY_MAX], generation[VIEW_KEY_MAX];
};

static void keys_of(const char *uuid, const char *self, struct lease_keys *ret)
{
	etcd_key(uuid, "fence", self, ret->fence);
	etcd_key(uuid, "lease", self, ret->lease);
	etcd_key(uuid, "generation", NULL, ret->generation);
}

static struct etcd_txn *lease_txn(struct engine_etcd *ee, const struct lease_keys *k,
				  uint64_t fence, uint64_t generation, bool released)
{
	struct etcd_txn *tx = etcd_txn_new();
	struct engine_host *own = etcd_view_host(&ee->vw, ee->self);
	uint32_t lease_ms = ee->vw.gs.profile.lease_ms;
	char text[24], *value;

	if (!tx)
		return NULL;
	/*
	 * Others wait for the lease that is written here, whatever the profile says
	 * by then. Until this renewal has reached the module, the former deadline
	 * stands there: where the lease has become shorter, the longer one is written
	 * once more.
	 */
	if (!ee->granted_ms && own)
		ee->granted_ms = own->lease_ms;
	if (ee->granted_ms > lease_ms)
		lease_ms = ee->granted_ms;
	snprintf(text, sizeof(text), "%" PRIu64, fence);
	etcd_txn_if_value(tx, k->fence, text);
	snprintf(text, sizeof(text), "%" PRIu64, generation);
	etcd_txn_if_value(tx, k->generation, text);
	value = etcd_lease_value(++ee->count, lease_ms, released, ee->facts, released ? 0 : ee->nr_facts);
	if (value)
		etcd_txn_put(tx, k->lease, value);
	etcd_txn_else_range(tx, k->fence, NULL);
	etcd_txn_else_range(tx, k->generation, NULL);
	if (value && etcd_txn_text(tx)) {
		free(value);
		return tx;
	}
	free(value);
	etcd_txn_free(tx);
	return NULL;
}

/*
 * The comparison failed. The fence or the generation is another, and what changed
 * with it must be known here before anybody closes stores by it: read all of that.
 */
static int fenced(struct engine_etcd *ee, struct etcd_reply *rp)
{
	struct group_state *gs = &ee->vw.gs;

	pthread_mutex_lock(&ee->lock);
	if (ee->accepted)
		log_warn("group=%s member=%s fence=%" PRIu64 " msg=\"this host was fenced\"", gs->name,
			 ee->self, ee->accepted);
	ee->accepted = 0;
	pthread_mutex_unlock(&ee->lock);
	etcd_reply_free(rp);
	return -ESTALE;
}

/* One renewal, sent once. */
static int renew_once(struct engine_etcd *ee, uint64_t *ret_deadline, uint64_t *ret_fence)
{
	struct etcd_reply rp = { .nr = 0 };
	struct group_profile profile;
	struct engine_host *host;
	struct lease_keys k;
	struct etcd_txn *tx;
	unsigned timeout_ms;
	uint64_t fence, t0;
	int r;

	pthread_mutex_lock(&ee->lock);
	fence = ee->accepted;
	profile = ee->vw.gs.profile;
	keys_of(ee->vw.uuid, ee->self, &k);
	timeout_ms = etcd_attempt_ms(ee);
	tx = fence ? lease_txn(ee, &k, fence, ee->vw.generation, false) : NULL;
	pthread_mutex_unlock(&ee->lock);
	if (!fence)
		return -ESTALE;
	if (!tx)
		return -ENOMEM;
	t0 = etcd_boot_ns();
	r = etcd_txn(ee->renew_eh, tx, timeout_ms, &rp);
	etcd_txn_free(tx);
	pthread_mutex_lock(&ee->lock);
	/* the etcd of a former generation compares other values: it has fenced nobody */
	if (!r && rp.cluster != ee->vw.cluster) {
		etcd_http_avoid(ee->renew_eh);
		etcd_reply_free(&rp);
		r = -EAGAIN;
		snprintf(ee->error, sizeof(ee->error), "%.150s: of another cluster",
			 etcd_http_asked(ee->renew_eh));
	} else if (r) {
		snprintf(ee->error, sizeof(ee->error), "%.199s", etcd_http_error(ee->renew_eh));
	} else {
		etcd_note_contact(ee, t0);
	}
	host = etcd_view_host(&ee->vw, ee->self);
	if (!r && rp.succeeded && host && rp.revision > host->lease_rev) {
		host->lease_rev = rp.revision;
		host->released = false;
		host->seen_boot_ns = etcd_boot_ns();
	}
	if (!r && rp.succeeded)
		ee->granted_ms = profile.lease_ms;
	pthread_mutex_unlock(&ee->lock);
	if (r)
		return -EAGAIN;
	if (!rp.succeeded)
		return fenced(ee, &rp);
	etcd_reply_free(&rp);
	*ret_deadline = lease_deadline_ns(&profile, t0);
	*ret_fence = fence;
	return 0;
}

/*
 * The witness holds nothing, nor does a stopped member; nor, for certain, anybody in
 * a generation that the group has left behind. With the lock.
 */
static bool may_hold(struct engine_etcd *ee)
{
	const struct group_member *self = group_find_member(&ee->vw.gs, ee->self);

	return ee->vw.uuid[0] && ee->confirmed && self && !self->stopped &&
	       !(ee->hint.uuid[0] && ee->hint.generation > ee->vw.generation);
}

int etcd_renew_op(struct engine *en, uint64_t *ret_deadline_boot_ns, uint64_t *ret_fence)
{
	const struct timespec nap = { .tv_nsec = AGAIN_MS * 1000000l };
	struct engine_etcd *ee = to_etcd(en);
	uint64_t until;
	int r;

	pthread_mutex_lock(&ee->renew_lock);
	pthread_mutex_lock(&ee->lock);
	until = etcd_boot_ns() + (uint64_t)ee->vw.gs.profile.lease_period_ms * 1000000u;
	r = may_hold(ee) ? 0 : -EAGAIN;
	pthread_mutex_unlock(&ee->lock);
	while (!r) {
		r = renew_once(ee, ret_deadline_boot_ns, ret_fence);
		if (r != -EAGAIN || etcd_boot_ns() >= until)
			break;
		/* there is time within this period: somebody else may answer */
		nanosleep(&nap, NULL);
		r = 0;
	}
	pthread_mutex_unlock(&ee->renew_lock);
	return r;
}

void etcd_facts_op(struct engine *en, const struct engine_fact *facts, unsigned nr)
{
	struct engine_etcd *ee = to_etcd(en);

	pthread_mutex_lock(&ee->lock);
	ee->nr_facts = nr < GROUP_STORES_MAX ? nr : GROUP_STORES_MAX;
	memcpy(ee->facts, facts, ee->nr_facts * sizeof(*facts));
	pthread_mutex_unlock(&ee->lock);
}

/* A host that was never here gets fence 1. */
static int make_fence(struct engine_etcd *ee, const struct lease_keys *k)
{
	struct etcd_txn *tx = etcd_txn_new();
	struct etcd_reply rp = { .nr = 0 };
	int r;

	if (!tx)
		return -ENOMEM;
	etcd_txn_if_mod(tx, k->fence, 0);
	etcd_txn_put(tx, k->fence, "1");
	r = etcd_txn(ee->renew_eh, tx, FENCE_MS, &rp);
	etcd_txn_free(tx);
	etcd_reply_free(&rp);
	/* done or not: the read after it says what there is */
	return r == -EREMOTEIO ? r : 0;
}

static int known_fence(struct engine_etcd *ee, struct lease_keys *k, uint64_t *ret)
{
	struct engine_host *host;
	int r;

	pthread_mutex_lock(&ee->lock);
	host = etcd_view_host(&ee->vw, ee->self);
	keys_of(ee->vw.uuid, ee->self, k);
	r = !ee->vw.uuid[0] ? -ENOENT : host && host->fence ? 0 : -ENODATA;
	if (!r)
		*ret = host->fence;
	pthread_mutex_unlock(&ee->lock);
	return r;
}

int etcd_fence_op(struct engine *en, uint64_t *ret)
{
	struct engine_etcd *ee = to_etcd(en);
	struct lease_keys k;
	int r;

	pthread_mutex_lock(&ee->renew_lock);
	r = etcd_refresh_within(ee, ee->renew_eh, FENCE_MS);
	if (!r)
		r = known_fence(ee, &k, ret);
	if (r == -ENODATA) {
		r = make_fence(ee, &k);
		if (!r)
			r = etcd_refresh_within(ee, ee->renew_eh, FENCE_MS);
		if (!r)
			r = known_fence(ee, &k, ret);
	}
	pthread_mutex_unlock(&ee->renew_lock);
	return r == -ENODATA ? -EAGAIN : r;
}

int etcd_accept_fence_op(struct engine *en, uint64_t fence)
{
	struct engine_etcd *ee = to_etcd(en);
	struct engine_host *host;
	int r = -ESTALE;

	pthread_mutex_lock(&ee->lock);
	host = etcd_view_host(&ee->vw, ee->self);
	if (ee->confirmed && fence && host && fence <= host->fence) {
		ee->accepted = fence;
		r = 0;
	}
	pthread_mutex_unlock(&ee->lock);
	return r;
}

static int release_once(struct engine_etcd *ee)
{
	struct etcd_reply rp = { .nr = 0 };
	struct engine_host *host;
	struct lease_keys k;
	struct etcd_txn *tx = NULL;
	bool held;
	int r;

	pthread_mutex_lock(&ee->lock);
	host = etcd_view_host(&ee->vw, ee->self);
	held = ee->accepted && host && host->lease_rev && !host->released;
	keys_of(ee->vw.uuid, ee->self, &k);
	if (held)
		tx = lease_txn(ee, &k, ee->accepted, ee->vw.generation, true);
	if (tx)
		etcd_txn_if_mod(tx, k.lease, host->lease_rev);
	pthread_mutex_unlock(&ee->lock);
	if (!held)
		return 0;
	if (!tx)
		return -ENOMEM;
	r = etcd_txn(ee->renew_eh, tx, RELEASE_MS, &rp);
	etcd_txn_free(tx);
	if (!r && !rp.succeeded)
		r = -ESTALE;
	etcd_reply_free(&rp);
	return r;
}

int etcd_release_op(struct engine *en)
{
	struct engine_etcd *ee = to_etcd(en);
	int r;

	pthread_mutex_lock(&ee->renew_lock);
	r = etcd_refresh_within(ee, ee->renew_eh, RELEASE_MS);
	if (!r)
		r = release_once(ee);
	if (r == -ESTALE || r == -EAGAIN) {
		/* a renewal of before came in between, or this did: look once more */
		r = etcd_refresh_within(ee, ee->renew_eh, RELEASE_MS);
		if (!r)
			r = release_once(ee);
	}
	pthread_mutex_unlock(&ee->renew_lock);
	return r;
}

unsigned etcd_hosts_op(struct engine *en, struct engine_host *ret, unsigned max)
{
	struct engine_etcd *ee = to_etcd(en);
	unsigned i, n = 0;

	pthread_mutex_lock(&ee->lock);
	for (i = 0; i < ee->vw.nr_hosts && n < max; i++) {
		const struct engine_host *host = &ee->vw.hosts[i];

		if (host->lease_rev && host->fence && group_find_member(&ee->vw.gs, host->member))
			ret[n++] = *host;
	}
	pthread_mutex_unlock(&ee->lock);
	return n;
}
