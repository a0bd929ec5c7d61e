// SPDX-License-Identifier: GPL-2.0
/*
 * Stores: found by uuid, made by the first table that names them. A store and
 * its ring outlive the tables and the daemon (K9); it goes when it has neither
 * and is PASSIVE with an empty ring, or with the module.
 */
#define pr_fmt(fmt) "dagtap: " fmt

#include <linux/mm.h>
#include <linux/poll.h>
#include <linux/ktime.h>
#include <linux/vmalloc.h>

#include "tap.h"

#define RING_MIB_DEFAULT	64

LIST_HEAD(stores);
DEFINE_MUTEX(stores_lock);
static DEFINE_SPINLOCK(list_lock);	/* also for changes of the list */

const char *store_role_name(u32 role)
{
	static const char * const names[] = { "passive", "active", "fenced" };

	return role < ARRAY_SIZE(names) ? names[role] : "unknown";
}

const char *store_state_name(u32 state)
{
	static const char * const names[] = {
		"detached", "logging", "full", "tracking", "lease", "failed",
	};

	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

const char *store_mode_name(u32 mode)
{
	static const char * const names[] = { "async", "commit", "sync" };

	return mode < ARRAY_SIZE(names) ? names[mode] : "unknown";
}

static u32 derive_state(const struct store *s)
{
	if (s->failed)
		return DAGTAP_ST_FAILED;
	if (s->lease_lost)
		return DAGTAP_ST_LEASE;
	if (s->tracking)
		return DAGTAP_ST_TRACKING;
	if (s->full)
		return DAGTAP_ST_FULL;
	return s->attached ? DAGTAP_ST_LOGGING : DAGTAP_ST_DETACHED;
}

/* After any change that state or role depend on; caller holds s->lock. */
void store_update(struct store *s)
{
	u32 state = derive_state(s);
	bool state_changed = state != s->state;
	bool role_changed = s->role != s->role_shown;

	if (!state_changed && !role_changed)
		return;
	s->state = state;
	s->role_shown = s->role;
	s->state_gen++;
	shring_publish(s);
	if (state_changed)
		event_post(s, DAGTAP_EV_STATE, state);
	if (role_changed)
		event_post(s, DAGTAP_EV_ROLE, s->role);
	wake_up_poll(&s->poll_wq, EPOLLPRI);
}

/* The log is given up until RESTART or a new epoch; caller holds s->lock. */
void store_enter_tracking(struct store *s)
{
	s->tracking = true;
	s->full = false;
	s->full_since = 0;
	s->must_gap = true;
	s->seed_lsn = ~0ull;
	store_update(s);
}

static struct store *lookup(const u8 *uuid)
{
	struct store *s;

	list_for_each_entry(s, &stores, node)
		if (!memcmp(s->uuid, uuid, sizeof(s->uuid)))
			return s;
	return NULL;
}

/* For the lease: it must never wait for a store whose disk hangs. */
void stores_tick(void)
{
	struct store *s;

	spin_lock(&list_lock);
	list_for_each_entry(s, &stores, node)
		lease_kick(s);
	spin_unlock(&list_lock);
}

static void store_free(struct store *s)
{
	if (!s)
		return;
	cancel_delayed_work_sync(&s->clear_work);
	cancel_delayed_work_sync(&s->tick_work);
	cancel_work_sync(&s->meta_work);
	cancel_work_sync(&s->queue_work);
	cancel_work_sync(&s->sysfs_work);
	cancel_delayed_work_sync(&s->event_work);
	sysfs_remove(s);
	shring_destroy(s);
	resync_free(s);
	free_page((unsigned long)s->sb_buf);
	free_page((unsigned long)s->bm_buf);
	kvfree(s->bm_version);
	vfree(s->map_memory);
	kfree(s);
}

static void init_fields(struct store *s, const struct tap *tap, const u8 *uuid)
{
	memcpy(s->uuid, uuid, sizeof(s->uuid));
	init_rwsem(&s->live_sem);
	mutex_init(&s->meta_mutex);
	mutex_init(&s->ctl_mutex);
	mutex_init(&s->resync_mutex);
	spin_lock_init(&s->lock);
	s->ranges = RB_ROOT_CACHED;
	INIT_LIST_HEAD(&s->node);
	INIT_LIST_HEAD(&s->queue);
	INIT_LIST_HEAD(&s->flight);
	INIT_LIST_HEAD(&s->held);
	INIT_LIST_HEAD(&s->parked);
	init_waitqueue_head(&s->poll_wq);
	init_waitqueue_head(&s->wait_wq);
	INIT_WORK(&s->queue_work, submit_worker);
	INIT_WORK(&s->meta_work, meta_worker);
	INIT_WORK(&s->sysfs_work, sysfs_worker);
	INIT_DELAYED_WORK(&s->tick_work, lease_tick);
	INIT_DELAYED_WORK(&s->clear_work, meta_clear_worker);
	INIT_DELAYED_WORK(&s->event_work, event_worker);
	sysfs_prepare(s);
	s->full_timeout_ms = 1000;
	s->park_timeout_ms = 10000;
	s->seed_lsn = ~0ull;
	s->dev_sectors = tap->ti->len;
	s->lbs = bdev_logical_block_size(tap->data->bdev);
	s->ring_bytes = (u64)(tap->ring_mib ?: RING_MIB_DEFAULT) << 20;
}

static int alloc_memory(struct store *s)
{
	u64 nr;
	int rc;

	rc = dagtap_region_count(s->dev_sectors, s->region_bytes, &nr);
	if (rc)
		return rc;
	s->map_memory = vzalloc(dagtap_region_memory(nr));
	s->bm_buf = (void *)get_zeroed_page(GFP_KERNEL);
	if (!s->map_memory || !s->bm_buf)
		return -ENOMEM;
	dagtap_region_init(&s->map, s->map_memory, s->dev_sectors, s->region_bytes);
	s->bm_version = kvcalloc(s->map.nr_blocks, sizeof(u64), GFP_KERNEL);
	if (!s->bm_version)
		return -ENOMEM;
	rc = resync_alloc(s);
	return rc ?: shring_create(s);
}

static int store_create(struct tap *tap, const u8 *uuid, struct store **ret_store,
			char **ret_error)
{
	struct store *s;
	u64 floor;
	int rc;

	s = kzalloc(sizeof(*s), GFP_KERNEL);
	if (!s) {
		*ret_error = "no memory";
		return -ENOMEM;
	}
	init_fields(s, tap, uuid);
	rc = -ENOMEM;
	s->sb_buf = (void *)get_zeroed_page(GFP_KERNEL);
	if (!s->sb_buf)
		goto no_memory;
	rc = meta_read_sb(tap, uuid, s->sb_buf, ret_error);
	if (rc)
		goto fail;
	s->region_bytes = le32_to_cpu(s->sb_buf->region_bytes);
	rc = alloc_memory(s);
	if (rc)
		goto no_memory;
	rc = meta_load(tap, s, ret_error);
	if (rc)
		goto fail;

	s->crashed = s->map.nr_dirty != 0;
	floor = s->sb.clean ? s->sb.log_lsn : s->sb.lsn_limit;
	rc = dagtap_ring_reset(&s->ring, floor, s->sb.epoch, s->sb.tag);
	if (rc) {
		*ret_error = "superblock holds impossible values";
		goto fail;
	}
	s->ring.lsn_limit = s->sb.lsn_limit;
	s->ack_lsn = floor;
	s->clear_lsn = floor;
	shring_reset(s);
	spin_lock(&list_lock);
	list_add_tail(&s->node, &stores);
	spin_unlock(&list_lock);
	queue_delayed_work(tap_meta_wq, &s->clear_work,
			   msecs_to_jiffies(tap_clear_interval_ms));
	*ret_store = s;
	return 0;

no_memory:
	*ret_error = "no memory for ring and regions";
fail:
	store_free(s);
	return rc;
}

/* May this table serve a store that exists? */
static int store_reuse(struct tap *tap, struct store *s, char **ret_error)
{
	if (tap->ti->len != s->dev_sectors) {
		*ret_error = "the store is in use with another length";
		return -EBUSY;
	}
	if (tap->ring_mib && (u64)tap->ring_mib << 20 != s->ring_bytes) {
		*ret_error = "the store is in use with another ring_mib";
		return -EBUSY;
	}
	if (bdev_logical_block_size(tap->data->bdev) != s->lbs) {
		*ret_error = "the store is in use with another logical block size";
		return -EBUSY;
	}
	if (!s->nr_taps)
		return meta_check(tap, s, ret_error);
	if (s->md != dm_table_get_md(tap->ti->table)) {
		*ret_error = "the store is mapped by another device";
		return -EBUSY;
	}
	/* Other tables exist, but none has been resumed: nothing to compare with. */
	if (!s->live)
		return meta_check(tap, s, ret_error);
	if (s->live->meta->bdev != tap->meta->bdev ||
	    s->live->meta_block != tap->meta_block) {
		*ret_error = "the metadata of a store in use cannot move";
		return -EBUSY;
	}
	return 0;
}

/* Ends a store that nobody can need any more; caller holds stores_lock. */
static struct store *take_unused(struct store *s)
{
	bool needed;

	spin_lock_irq(&s->lock);
	needed = s->nr_taps || s->attached || s->role != DAGTAP_ROLE_PASSIVE ||
		 s->ring.freed_lsn != s->ring.reserve_lsn;
	spin_unlock_irq(&s->lock);
	if (needed)
		return NULL;
	spin_lock(&list_lock);
	list_del_init(&s->node);
	spin_unlock(&list_lock);
	return s;
}

/* Binds a new table to its store. */
int store_get(struct tap *tap, char **ret_error)
{
	char uuid_unused[DM_UUID_LEN];
	u8 uuid[DAGTAP_UUID_BYTES];
	struct store *s, *unused = NULL;
	int rc;

	memcpy(uuid, tap->uuid, sizeof(uuid));
	mutex_lock(&stores_lock);
	s = lookup(uuid);
	if (s)
		rc = store_reuse(tap, s, ret_error);
	else
		rc = store_create(tap, uuid, &s, ret_error);
	if (!rc && tap->insert && s->sb.epoch != 0) {
		*ret_error = "insert is for a store that was never active";
		rc = -EEXIST;
		unused = take_unused(s);
	}
	if (!rc) {
		s->md = dm_table_get_md(tap->ti->table);
		if (dm_copy_name_and_uuid(s->md, s->name, uuid_unused))
			strscpy(s->name, dm_device_name(s->md), sizeof(s->name));
		s->nr_taps++;
		tap->store = s;
	}
	mutex_unlock(&stores_lock);
	store_free(unused);
	return rc;
}

void store_put_tap(struct tap *tap)
{
	struct store *s = tap->store, *unused;

	mutex_lock(&stores_lock);
	if (s->nr_taps == 1) {
		cancel_work_sync(&s->sysfs_work);
		sysfs_remove(s);
	}
	role_table_gone(s, tap, s->nr_taps == 1);
	if (!--s->nr_taps)
		s->md = NULL;
	unused = take_unused(s);
	mutex_unlock(&stores_lock);
	store_free(unused);
}

int store_attach(const u8 *uuid, struct store **ret_store)
{
	struct store *s;
	int rc = 0;

	mutex_lock(&stores_lock);
	s = lookup(uuid);
	if (!s) {
		rc = -ENODEV;
	} else if (s->attached) {
		rc = -EBUSY;
	} else {
		spin_lock_irq(&s->lock);
		s->attached = true;
		store_update(s);
		spin_unlock_irq(&s->lock);
		*ret_store = s;
	}
	mutex_unlock(&stores_lock);
	return rc;
}

void store_detach(struct store *s)
{
	struct store *unused;

	mutex_lock(&stores_lock);
	spin_lock_irq(&s->lock);
	s->attached = false;
	store_update(s);
	spin_unlock_irq(&s->lock);
	lease_kick(s);
	unused = take_unused(s);
	mutex_unlock(&stores_lock);
	store_free(unused);
}

/* The module goes; no table and no open file is left. */
void stores_destroy(void)
{
	struct store *s, *next;

	list_for_each_entry_safe(s, next, &stores, node) {
		list_del(&s->node);
		store_free(s);
	}
}

/* Upper bound of the bucket that the given share of the calls does not exceed. */
u64 store_percentile_us(const u64 *buckets, unsigned int percent)
{
	u64 total = 0, seen = 0;
	unsigned int i;

	for (i = 0; i < DAGTAP_LAT_BUCKETS; i++)
		total += buckets[i];
	for (i = 0; i < DAGTAP_LAT_BUCKETS && total; i++) {
		seen += buckets[i];
		if (seen * 100 >= total * percent)
			return 1ull << i;
	}
	return 0;
}

void store_info(struct store *s, struct dagtap_info *info)
{
	memset(info, 0, sizeof(*info));
	spin_lock_irq(&s->lock);
	info->role = s->role;
	info->state = s->state;
	info->mode = s->mode;
	info->epoch = s->ring.epoch;
	info->generation = s->generation;
	info->reserve_lsn = s->ring.reserve_lsn;
	info->commit_lsn = s->ring.commit_lsn;
	info->freed_lsn = s->ring.freed_lsn;
	info->ack_lsn = s->ack_lsn;
	info->clear_lsn = s->clear_lsn;
	info->commit_seq = s->ring.commit_seq;
	info->dev_sectors = s->dev_sectors;
	info->ring_bytes = s->ring_bytes;
	info->regions = s->map.nr;
	info->regions_dirty = s->map.nr_dirty;
	info->regions_failed = s->map.nr_failed;
	info->region_bytes = s->region_bytes;
	info->lbs = s->lbs;
	info->writes = s->stat.writes;
	info->write_bytes = s->stat.write_bytes;
	info->flushes = s->stat.flushes;
	info->discards = s->stat.discards;
	info->zeroes = s->stat.zeroes;
	info->stalls = s->stat.stalls;
	info->overlaps = s->stat.overlaps;
	info->held = s->nr_held;
	info->parked = s->nr_queued + s->nr_parked;
	info->io_errors = s->stat.io_errors;
	info->state_gen = s->state_gen;
	memcpy(info->hold_us, s->stat.hold_us, sizeof(info->hold_us));
	memcpy(info->write_us, s->stat.write_us, sizeof(info->write_us));
	spin_unlock_irq(&s->lock);
	lease_get(&info->lease_deadline_boot_ns, &info->lease_fence);
}
