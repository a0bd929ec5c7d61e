// SPDX-License-Identifier: GPL-2.0
/*
 * The device-mapper target: table arguments and what dm wants to know. The
 * settings follow from the invariants: exactly one clone of each FLUSH, DISCARD
 * and WRITE ZEROES; no path to the data that goes around the log (no NOWAIT, no
 * DAX, no SCSI ioctl, no inline encryption, no zoned device).
 */
#define pr_fmt(fmt) "dagtap: " fmt

#include <linux/ktime.h>

#include "tap.h"

#define TAP_ARGS	5u
#define RING_MIB_MIN	(DAGTAP_RING_MIN >> 20)
#define RING_MIB_MAX	(DAGTAP_RING_MAX >> 20)

static int parse_key(struct tap *tap, const char *key, const char *value, char **ret_error)
{
	u32 n;

	if (kstrtou32(value, 10, &n)) {
		*ret_error = "the value of a key is not a number";
		return -EINVAL;
	}
	if (!strcmp(key, "ring_mib")) {
		if (n < RING_MIB_MIN || n > RING_MIB_MAX || !is_power_of_2(n)) {
			*ret_error = "ring_mib must be a power of two, 4..1024";
			return -EINVAL;
		}
		tap->ring_mib = n;
		return 0;
	}
	if (!strcmp(key, "insert")) {
		if (n != 1) {
			*ret_error = "insert must be 1";
			return -EINVAL;
		}
		tap->insert = true;
		return 0;
	}
	*ret_error = "unknown key";
	return -EINVAL;
}

static int parse_table(struct tap *tap, unsigned int argc, char **argv, char **ret_error)
{
	unsigned int words, i;
	int rc;

	if (argc < TAP_ARGS) {
		*ret_error = "usage: UUID DATA_DEV META_DEV META_BLOCK N [KEY VALUE]...";
		return -EINVAL;
	}
	if (strlen(argv[0]) != UUID_STRING_LEN || uuid_parse(argv[0], (uuid_t *)tap->uuid)) {
		*ret_error = "bad uuid";
		return -EINVAL;
	}
	if (kstrtou64(argv[3], 10, &tap->meta_block)) {
		*ret_error = "bad metadata block";
		return -EINVAL;
	}
	if (kstrtouint(argv[4], 10, &words) || words != argc - TAP_ARGS || words % 2) {
		*ret_error = "wrong number of words after N";
		return -EINVAL;
	}
	for (i = TAP_ARGS; i < argc; i += 2) {
		rc = parse_key(tap, argv[i], argv[i + 1], ret_error);
		if (rc)
			return rc;
	}
	return 0;
}

static int check_devices(struct tap *tap, char **ret_error)
{
	struct dm_target *ti = tap->ti;

	if (ti->begin) {
		*ret_error = "the target must be the whole table";
		return -EINVAL;
	}
	if (bdev_is_zoned(tap->data->bdev) || bdev_is_zoned(tap->meta->bdev)) {
		*ret_error = "zoned devices are not supported";
		return -EINVAL;
	}
	if (ti->len > bdev_nr_sectors(tap->data->bdev)) {
		*ret_error = "data device is too small";
		return -ENOSPC;
	}
	if (bdev_logical_block_size(tap->meta->bdev) > DAGTAP_BLOCK ||
	    ti->len % (bdev_logical_block_size(tap->data->bdev) >> SECTOR_SHIFT)) {
		*ret_error = "logical block size does not fit";
		return -EINVAL;
	}
	return 0;
}

static void set_features(struct dm_target *ti)
{
	ti->num_flush_bios = 1;
	ti->flush_supported = true;
	ti->num_discard_bios = 1;
	ti->num_write_zeroes_bios = 1;
	ti->num_secure_erase_bios = 0;
	ti->accounts_remapped_io = true;
	ti->per_io_data_size = sizeof(struct tap_io);
}

static int tap_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct tap *tap;
	int rc;

	tap = kzalloc(sizeof(*tap), GFP_KERNEL);
	if (!tap) {
		ti->error = "no memory";
		return -ENOMEM;
	}
	tap->ti = ti;
	rc = parse_table(tap, argc, argv, &ti->error);
	if (rc)
		goto free;
	rc = dm_get_device(ti, argv[1], dm_table_get_mode(ti->table), &tap->data);
	if (rc) {
		ti->error = "cannot open the data device";
		goto free;
	}
	rc = dm_get_device(ti, argv[2], dm_table_get_mode(ti->table), &tap->meta);
	if (rc) {
		ti->error = "cannot open the metadata device";
		goto put_data;
	}
	rc = check_devices(tap, &ti->error);
	if (!rc)
		rc = store_get(tap, &ti->error);
	if (rc)
		goto put_meta;
	ti->private = tap;
	set_features(ti);
	return 0;

put_meta:
	dm_put_device(ti, tap->meta);
put_data:
	dm_put_device(ti, tap->data);
free:
	pr_err_ratelimited("table=refused uuid=%pUb rc=%d reason=\"%s\"\n", tap->uuid, rc,
			   ti->error);
	kfree(tap);
	return rc;
}

static void tap_dtr(struct dm_target *ti)
{
	struct tap *tap = ti->private;

	store_put_tap(tap);
	dm_put_device(ti, tap->meta);
	dm_put_device(ti, tap->data);
	kfree(tap);
}

static int tap_map(struct dm_target *ti, struct bio *bio)
{
	return submit_map(ti->private, bio);
}

static int tap_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *error)
{
	return commit_end_io(ti->private, bio, error);
}

static void set_suspend_deadline(struct tap *tap, u64 deadline)
{
	struct store *s = tap->store;

	spin_lock_irq(&s->lock);
	s->suspend_deadline = deadline;
	spin_unlock_irq(&s->lock);
	lease_kick(s);
}

static void tap_presuspend(struct dm_target *ti)
{
	set_suspend_deadline(ti->private, ktime_get_boottime_ns() + TAP_SUSPEND_GRACE_NS);
}

static void tap_suspend_over(struct dm_target *ti)
{
	set_suspend_deadline(ti->private, 0);
}

static int tap_preresume(struct dm_target *ti)
{
	struct tap *tap = ti->private;

	return role_resume_table(tap->store, tap);
}

static void tap_resume(struct dm_target *ti)
{
	struct tap *tap = ti->private;

	set_suspend_deadline(tap, 0);
	submit_kick(tap->store);
	schedule_work(&tap->store->sysfs_work);
}

static void tap_status(struct dm_target *ti, status_type_t type, unsigned int flags,
		       char *result, unsigned int maxlen)
{
	struct tap *tap = ti->private;
	struct dagtap_info *info;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		info = kmalloc(sizeof(*info), GFP_NOIO);
		if (!info)
			break;
		store_info(tap->store, info);
		DMEMIT("%s %s %s %u %llu %llu %llu %llu %llu/%llu %llu %llu %llu",
		       store_role_name(info->role), store_state_name(info->state),
		       store_mode_name(info->mode), info->epoch, info->reserve_lsn,
		       info->commit_lsn, info->ack_lsn, info->freed_lsn,
		       info->regions_dirty, info->regions, info->regions_failed,
		       info->held, info->parked);
		kfree(info);
		break;
	case STATUSTYPE_TABLE:
		DMEMIT("%pUb %s %s %llu ", tap->store->uuid, tap->data->name,
		       tap->meta->name, tap->meta_block);
		if (tap->ring_mib)
			DMEMIT("2 ring_mib %u", tap->ring_mib);
		else
			DMEMIT("0");
		break;
	default:
		*result = '\0';
	}
}

static int tap_iterate_devices(struct dm_target *ti, iterate_devices_callout_fn fn,
			       void *data)
{
	struct tap *tap = ti->private;

	return fn(ti, tap->data, 0, ti->len, data);
}

static void tap_io_hints(struct dm_target *ti, struct queue_limits *limits)
{
	/* One bio marks a bounded number of regions. */
	limits->max_discard_sectors = min(limits->max_discard_sectors, TAP_DISCARD_SECTORS);
	limits->max_hw_discard_sectors = min(limits->max_hw_discard_sectors,
					     TAP_DISCARD_SECTORS);
	limits->max_write_zeroes_sectors = min(limits->max_write_zeroes_sectors,
					       TAP_DISCARD_SECTORS);
}

static struct target_type tap_target = {
	.name = "dagtap",
	.version = { DAGTAP_ABI_MAJOR, DAGTAP_ABI_MINOR, 0 },
	.features = DM_TARGET_SINGLETON,
	.module = THIS_MODULE,
	.ctr = tap_ctr,
	.dtr = tap_dtr,
	.map = tap_map,
	.end_io = tap_end_io,
	.presuspend = tap_presuspend,
	.presuspend_undo = tap_suspend_over,
	.postsuspend = tap_suspend_over,
	.preresume = tap_preresume,
	.resume = tap_resume,
	.status = tap_status,
	.io_hints = tap_io_hints,
	.iterate_devices = tap_iterate_devices,
};

int target_init(void)
{
	return dm_register_target(&tap_target);
}

void target_exit(void)
{
	dm_unregister_target(&tap_target);
}
