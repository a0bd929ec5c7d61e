// SPDX-License-Identifier: GPL-2.0
/*
 * stores_lease - what the renewal of the lease must know of the copies here. Its
 * thread waits for nobody: where the copies are being changed, the answer is "not
 * yet", and it asks again.
 */
#include <string.h>

#include "daemon/store/stores_internal.h"
#include "daemon/tap/dm.h"

unsigned stores_facts(struct stores *ss, struct engine_fact *ret, unsigned max)
{
	unsigned n = 0;

	if (pthread_rwlock_tryrdlock(&ss->lock))
		return 0;
	for (int i = 0; i < GROUP_STORES_MAX && n < max; i++) {
		struct local *lo = ss->local[i];

		if (!lo || !lo->active || !lo->tap)
			continue;
		memcpy(ret[n].store, lo->uuid, 16);
		ret[n++].commit_lsn = __atomic_load_n(&ss->conf.tap->view(lo->tap)->hdr->commit_lsn,
						      __ATOMIC_ACQUIRE);
	}
	pthread_rwlock_unlock(&ss->lock);
	return n;
}

/* Nothing of a former life of the daemon serves under this name. */
static bool unmapped(struct stores *ss, const char *name)
{
	struct dm_dev dev;

	if (ss->conf.tap != &tap_kernel_ops)
		return true;
	return !dm_dev_get(name, &dev) && (!dev.exists || strcmp(dev.target, "dagtap"));
}

bool stores_gate_shut(struct stores *ss, const struct local *lo)
{
	struct dagtap_info info;

	if (!lo->tap)
		return unmapped(ss, lo->name);
	return !ss->conf.tap->info(lo->tap, &info) && info.role == DAGTAP_ROLE_PASSIVE;
}

static bool store_settled(struct stores *ss, struct group_store *st)
{
	struct local *lo = stores_find(ss, st->uuid);
	struct dagtap_info info;

	if (!lo)
		return unmapped(ss, st->name);
	if (st->removed || strcmp(st->active, ss->self))
		return stores_gate_shut(ss, lo);
	/* Ours, but was it ours all the time? */
	if (!lo->tap)
		return unmapped(ss, lo->name);
	return !ss->conf.tap->info(lo->tap, &info) &&
	       (info.role == DAGTAP_ROLE_PASSIVE || info.epoch == st->epoch);
}

bool stores_settled(struct stores *ss, struct group_state *gs)
{
	bool settled = true;

	if (pthread_rwlock_tryrdlock(&ss->lock))
		return false;
	for (uint32_t i = 0; i < gs->nr_stores && settled; i++)
		settled = store_settled(ss, &gs->stores[i]);
	/* A copy that the group does not know any more. */
	for (int i = 0; i < GROUP_STORES_MAX && settled; i++)
		if (ss->local[i] && !group_find_store_uuid(gs, ss->local[i]->uuid))
			settled = stores_gate_shut(ss, ss->local[i]);
	pthread_rwlock_unlock(&ss->lock);
	return settled;
}

bool stores_shut(struct stores *ss)
{
	struct dagtap_info info;
	bool shut = true;

	if (pthread_rwlock_tryrdlock(&ss->lock))
		return false;
	for (int i = 0; i < GROUP_STORES_MAX && shut; i++) {
		struct local *lo = ss->local[i];

		if (!lo)
			continue;
		shut = lo->tap ? !ss->conf.tap->info(lo->tap, &info) &&
				 (info.role != DAGTAP_ROLE_ACTIVE || info.state == DAGTAP_ST_LEASE) :
		       unmapped(ss, lo->name);
	}
	pthread_rwlock_unlock(&ss->lock);
	return shut;
}

void stores_allow(struct stores *ss, bool may_activate)
{
	__atomic_store_n(&ss->held_back, !may_activate, __ATOMIC_RELEASE);
	pthread_mutex_lock(&ss->post_lock);
	ss->poked = true;
	pthread_cond_broadcast(&ss->post_cond);
	pthread_mutex_unlock(&ss->post_lock);
}

unsigned stores_troubled(struct stores *ss, uint8_t (*ret)[16], unsigned max)
{
	struct dagtap_info info;
	unsigned n = 0;

	if (pthread_rwlock_tryrdlock(&ss->lock))
		return 0;
	for (int i = 0; i < GROUP_STORES_MAX && n < max; i++) {
		struct local *lo = ss->local[i];

		if (lo && lo->active && lo->tap && !ss->conf.tap->info(lo->tap, &info) &&
		    (info.regions_failed || info.state == DAGTAP_ST_FAILED))
			memcpy(ret[n++], lo->uuid, 16);
	}
	pthread_rwlock_unlock(&ss->lock);
	return n;
}

uint64_t stores_hung_ms(struct stores *ss, uint64_t now_ms, char name[STORE_NAME_MAX])
{
	uint64_t ended, in_flight, most = 0, ms;

	if (pthread_rwlock_tryrdlock(&ss->lock))
		return 0;
	for (int i = 0; i < GROUP_STORES_MAX; i++) {
		struct local *lo = ss->local[i];

		if (!lo || !lo->active || diskwatch_read(lo->cp.device, &ended, &in_flight))
			continue;
		ms = diskwatch_note(&lo->disk, ended, in_flight, now_ms);
		if (ms <= most)
			continue;
		most = ms;
		memcpy(name, lo->name, STORE_NAME_MAX);
	}
	pthread_rwlock_unlock(&ss->lock);
	return most;
}
