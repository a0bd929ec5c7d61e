// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/block/dm-N/dagtap/: one value per file. The directory is made by a worker
 * after the first resume, because the disk is registered only after the table's
 * constructor and nothing may be allocated while the device is suspended.
 */
#define pr_fmt(fmt) "dagtap: " fmt

#include <linux/sysfs.h>
#include <linux/ktime.h>

#include "tap.h"

struct tap_attr {
	struct attribute attr;
	ssize_t (*show)(const struct dagtap_info *info, char *buf);
};

#define SHOW(_name, format, value)						\
static ssize_t _name##_show(const struct dagtap_info *info, char *buf)		\
{										\
	return sysfs_emit(buf, format "\n", value);				\
}										\
static struct tap_attr _name##_attr = {						\
	.attr = { .name = #_name, .mode = 0444 },				\
	.show = _name##_show,							\
}

static u64 lease_left_ms(const struct dagtap_info *info)
{
	u64 now = ktime_get_boottime_ns(), deadline = info->lease_deadline_boot_ns;

	return deadline > now ? (deadline - now) / NSEC_PER_MSEC : 0;
}

SHOW(role, "%s", store_role_name(info->role));
SHOW(state, "%s", store_state_name(info->state));
SHOW(mode, "%s", store_mode_name(info->mode));
SHOW(epoch, "%u", info->epoch);
SHOW(lsn, "%llu", info->commit_lsn);
SHOW(acked, "%llu", info->ack_lsn);
SHOW(freed, "%llu", info->freed_lsn);
SHOW(ring_used, "%llu", info->reserve_lsn - info->freed_lsn);
SHOW(ring_bytes, "%llu", info->ring_bytes);
SHOW(held, "%llu", info->held);
SHOW(parked, "%llu", info->parked);
SHOW(stalls, "%llu", info->stalls);
SHOW(overlaps, "%llu", info->overlaps);
SHOW(regions_dirty, "%llu", info->regions_dirty);
SHOW(regions_failed, "%llu", info->regions_failed);
SHOW(io_errors, "%llu", info->io_errors);
SHOW(writes, "%llu", info->writes);
SHOW(write_bytes, "%llu", info->write_bytes);
SHOW(flushes, "%llu", info->flushes);
SHOW(lease_ms, "%llu", lease_left_ms(info));

/* Lower bounds of buckets are powers of two: "below-us count" a line. */
static ssize_t latency_us_show(const struct dagtap_info *info, char *buf)
{
	unsigned int i;
	int n = 0;

	for (i = 0; i < DAGTAP_LAT_BUCKETS; i++)
		n += sysfs_emit_at(buf, n, "%lu %llu\n", 1ul << i, info->write_us[i]);
	return n;
}

static struct tap_attr latency_us_attr = {
	.attr = { .name = "latency_us", .mode = 0444 },
	.show = latency_us_show,
};

/* The only one that is not in dagtap_info. */
static struct tap_attr uuid_attr = {
	.attr = { .name = "uuid", .mode = 0444 },
};

static struct attribute *tap_attrs[] = {
	&uuid_attr.attr,
	&role_attr.attr,
	&state_attr.attr,
	&mode_attr.attr,
	&epoch_attr.attr,
	&lsn_attr.attr,
	&acked_attr.attr,
	&freed_attr.attr,
	&ring_used_attr.attr,
	&ring_bytes_attr.attr,
	&held_attr.attr,
	&parked_attr.attr,
	&stalls_attr.attr,
	&overlaps_attr.attr,
	&regions_dirty_attr.attr,
	&regions_failed_attr.attr,
	&io_errors_attr.attr,
	&writes_attr.attr,
	&write_bytes_attr.attr,
	&flushes_attr.attr,
	&lease_ms_attr.attr,
	&latency_us_attr.attr,
	NULL
};
ATTRIBUTE_GROUPS(tap);

static ssize_t attr_show(struct kobject *kobj, struct attribute *attr, char *buf)
{
	struct tap_attr *ta = container_of(attr, struct tap_attr, attr);
	struct store *s = container_of(kobj, struct store, kobj);
	struct dagtap_info *info;
	ssize_t n;

	if (!ta->show)
		return sysfs_emit(buf, "%pUb\n", s->uuid);
	info = kmalloc(sizeof(*info), GFP_KERNEL);
	if (!info)
		return -ENOMEM;
	store_info(s, info);
	n = ta->show(info, buf);
	kfree(info);
	return n;
}

static const struct sysfs_ops tap_sysfs_ops = { .show = attr_show };

/* The store outlives its kobject: sysfs_remove() waits for this. */
static void kobj_release(struct kobject *kobj)
{
	complete(&container_of(kobj, struct store, kobj)->kobj_gone);
}

static const struct kobj_type tap_ktype = {
	.sysfs_ops = &tap_sysfs_ops,
	.default_groups = tap_groups,
	.release = kobj_release,
};

void sysfs_prepare(struct store *s)
{
	init_completion(&s->kobj_gone);
}

void sysfs_worker(struct work_struct *work)
{
	struct store *s = container_of(work, struct store, sysfs_work);
	struct device *disk = NULL;
	int rc;

	if (s->kobj_added)
		return;
	down_read(&s->live_sem);
	if (s->live) {
		disk = disk_to_dev(dm_disk(dm_table_get_md(s->live->ti->table)));
		get_device(disk);
	}
	up_read(&s->live_sem);
	if (!disk)
		return;
	memset(&s->kobj, 0, sizeof(s->kobj));
	reinit_completion(&s->kobj_gone);
	rc = kobject_init_and_add(&s->kobj, &tap_ktype, &disk->kobj, "dagtap");
	s->kobj_added = true;
	if (rc) {
		pr_warn("name=%s sysfs=failed rc=%d\n", s->name, rc);
		sysfs_remove(s);
	}
	put_device(disk);
}

void sysfs_remove(struct store *s)
{
	if (!s->kobj_added)
		return;
	s->kobj_added = false;
	kobject_put(&s->kobj);
	wait_for_completion(&s->kobj_gone);
}
