// SPDX-License-Identifier: GPL-2.0
/*
 * The metadata device: superblock and intent bits, each block in two slots.
 *
 * One write covers every region of a block that waits. A version counts only
 * when its write has succeeded, so a retry goes to the same slot and the valid
 * older one is never touched. If a write fails, no intent can be promised any
 * more: the store is FENCED and its state FAILED.
 */
#define pr_fmt(fmt) "dagtap: " fmt

#include <linux/ktime.h>

#include "tap.h"

static int meta_io(struct tap *tap, u64 block, void *page, blk_opf_t opf)
{
	struct bio_vec bvec;
	struct bio bio;
	int rc;

	bio_init(&bio, tap->meta->bdev, &bvec, 1, opf);
	bio.bi_iter.bi_sector = (tap->meta_block + block) * TAP_META_SECTORS;
	__bio_add_page(&bio, virt_to_page(page), DAGTAP_BLOCK, offset_in_page(page));
	rc = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return rc;
}

/* Reads both slots of a block into pages; a slot that cannot be read is zeroed. */
static int read_slots(struct tap *tap, u64 first, void *a, void *b)
{
	int rc_a = meta_io(tap, first, a, REQ_OP_READ | REQ_META);
	int rc_b = meta_io(tap, first + 1, b, REQ_OP_READ | REQ_META);

	if (rc_a)
		memset(a, 0, DAGTAP_BLOCK);
	if (rc_b)
		memset(b, 0, DAGTAP_BLOCK);
	return rc_a && rc_b ? rc_a : 0;
}

static int check_sizes(struct tap *tap, const struct dagtap_sb *sb, char **ret_error)
{
	u64 blocks = bdev_nr_sectors(tap->meta->bdev) / TAP_META_SECTORS;
	u64 nr;

	if (le64_to_cpu(sb->data_sectors) != tap->ti->len) {
		*ret_error = "metadata was formatted for another length";
		return -EUCLEAN;
	}
	if (dagtap_region_count(tap->ti->len, le32_to_cpu(sb->region_bytes), &nr) ||
	    le64_to_cpu(sb->lsn_limit) > TAP_LSN_MAX ||
	    le64_to_cpu(sb->log_lsn) > le64_to_cpu(sb->lsn_limit) ||
	    le64_to_cpu(sb->log_lsn) % DAGTAP_ALIGN) {
		*ret_error = "superblock holds impossible values";
		return -EUCLEAN;
	}
	if (tap->meta_block >= blocks ||
	    DAGTAP_META_BLOCKS(nr) > blocks - tap->meta_block) {
		*ret_error = "metadata device is too small";
		return -ENOSPC;
	}
	if (tap->meta->bdev == tap->data->bdev &&
	    tap->meta_block < DIV_ROUND_UP_ULL(tap->ti->len, TAP_META_SECTORS)) {
		*ret_error = "metadata would overlap the data";
		return -EINVAL;
	}
	return 0;
}

/* The valid superblock; ret_sb is a page. */
int meta_read_sb(struct tap *tap, const u8 *uuid, struct dagtap_sb *ret_sb,
		 char **ret_error)
{
	u64 blocks = bdev_nr_sectors(tap->meta->bdev) / TAP_META_SECTORS;
	struct dagtap_sb *other;
	int rc;

	if (tap->meta_block >= blocks || blocks - tap->meta_block < DAGTAP_META_BLOCKS(1)) {
		*ret_error = "metadata device is too small";
		return -ENOSPC;
	}
	other = (void *)__get_free_page(GFP_KERNEL);
	if (!other) {
		*ret_error = "no memory";
		return -ENOMEM;
	}
	rc = read_slots(tap, 0, ret_sb, other);
	if (rc) {
		*ret_error = "cannot read the metadata";
		goto out;
	}
	rc = dagtap_sb_pick(ret_sb, other, uuid);
	if (rc == -EILSEQ)
		*ret_error = "metadata belongs to another store";
	else if (rc < 0)
		*ret_error = "metadata is not formatted or damaged";
	if (rc < 0)
		goto out;
	if (rc == 1)
		memcpy(ret_sb, other, DAGTAP_BLOCK);
	rc = check_sizes(tap, ret_sb, ret_error);
out:
	free_page((unsigned long)other);
	return rc;
}

/* First load of a store: s->sb_buf holds its superblock, the map is empty. */
int meta_load(struct tap *tap, struct store *s, char **ret_error)
{
	const struct dagtap_sb *sb = s->sb_buf;
	struct dagtap_bm *a = s->bm_buf, *b;
	u32 block;
	int rc = 0;

	s->sb_version = le64_to_cpu(sb->version);
	s->sb.lsn_limit = le64_to_cpu(sb->lsn_limit);
	s->sb.log_lsn = le64_to_cpu(sb->log_lsn);
	s->sb.epoch = le32_to_cpu(sb->epoch);
	s->sb.tag = le32_to_cpu(sb->tag);
	s->sb.clean = le32_to_cpu(sb->clean);

	b = (void *)__get_free_page(GFP_KERNEL);
	if (!b) {
		*ret_error = "no memory";
		return -ENOMEM;
	}
	for (block = 0; block < s->map.nr_blocks; block++) {
		rc = read_slots(tap, dagtap_bm_block(block, 0), a, b);
		if (rc) {
			*ret_error = "cannot read the intent bits";
			break;
		}
		rc = dagtap_bm_pick(a, b, s->uuid, block);
		if (rc < 0) {
			*ret_error = "intent bits are damaged";
			break;
		}
		if (rc == 1)
			memcpy(a, b, DAGTAP_BLOCK);
		dagtap_region_load(&s->map, block, a->bits);
		s->bm_version[block] = le64_to_cpu(a->version);
		rc = 0;
		cond_resched();
	}
	free_page((unsigned long)b);
	return rc;
}

/* A further table of a store without one: is the metadata still as we left it? */
int meta_check(struct tap *tap, const struct store *s, char **ret_error)
{
	struct dagtap_sb *sb = (void *)__get_free_page(GFP_KERNEL);
	int rc;

	if (!sb) {
		*ret_error = "no memory";
		return -ENOMEM;
	}
	rc = meta_read_sb(tap, s->uuid, sb, ret_error);
	if (!rc && le64_to_cpu(sb->version) != s->sb_version) {
		*ret_error = "metadata changed since the module last wrote it";
		rc = -ESTALE;
	}
	free_page((unsigned long)sb);
	return rc;
}

static void meta_failed(struct store *s, int rc)
{
	LIST_HEAD(ended);

	pr_err_ratelimited("name=%s metadata=failed rc=%d role=fenced\n", s->name, rc);
	spin_lock_irq(&s->lock);
	s->failed = true;
	if (s->role == DAGTAP_ROLE_ACTIVE)
		s->role = DAGTAP_ROLE_FENCED;
	event_post(s, DAGTAP_EV_META_ERROR, 0);
	commit_collect_all(s, BLK_STS_IOERR, &ended);
	spin_unlock_irq(&s->lock);
	commit_finish(s, &ended);
}

/*
 * Caller holds meta_mutex and live_sem. The limit never falls: it may have been
 * raised since the caller took its copy of s->sb.
 */
static int save_locked(struct store *s, const struct tap_sb *sb)
{
	u64 version = s->sb_version + 1, limit = max(sb->lsn_limit, s->sb.lsn_limit);
	struct dagtap_sb *buf = s->sb_buf;
	int rc;

	memset(buf, 0, sizeof(*buf));
	buf->version = cpu_to_le64(version);
	buf->region_bytes = cpu_to_le32(s->region_bytes);
	memcpy(buf->uuid, s->uuid, sizeof(buf->uuid));
	buf->data_sectors = cpu_to_le64(s->dev_sectors);
	buf->lsn_limit = cpu_to_le64(limit);
	buf->log_lsn = cpu_to_le64(sb->log_lsn);
	buf->epoch = cpu_to_le32(sb->epoch);
	buf->tag = cpu_to_le32(sb->tag);
	buf->clean = cpu_to_le32(sb->clean);
	dagtap_sb_seal(buf);
	rc = meta_io(s->live, dagtap_sb_block(version), buf,
		     REQ_OP_WRITE | REQ_FUA | REQ_PREFLUSH | REQ_SYNC | REQ_META);
	if (rc)
		return rc;
	s->sb_version = version;
	spin_lock_irq(&s->lock);
	s->sb = *sb;
	s->sb.lsn_limit = limit;
	s->ring.lsn_limit = limit;
	spin_unlock_irq(&s->lock);
	return 0;
}

/* Writes the superblock; durable when it returns 0. Caller holds ctl_mutex. */
int meta_save(struct store *s, const struct tap_sb *sb)
{
	int rc = -ENXIO;

	mutex_lock(&s->meta_mutex);
	down_read(&s->live_sem);
	if (s->live)
		rc = save_locked(s, sb);
	up_read(&s->live_sem);
	mutex_unlock(&s->meta_mutex);
	if (rc && rc != -ENXIO)
		meta_failed(s, rc);
	return rc;
}

static int write_block(struct store *s, u32 block)
{
	struct dagtap_bm *bm = s->bm_buf;
	u64 version = s->bm_version[block] + 1;
	int rc;

	spin_lock_irq(&s->lock);
	dagtap_region_snapshot(&s->map, block, bm->bits);
	spin_unlock_irq(&s->lock);
	dagtap_bm_seal(bm, s->uuid, block, version);
	rc = meta_io(s->live, dagtap_bm_block(block, version), bm,
		     REQ_OP_WRITE | REQ_FUA | REQ_SYNC | REQ_META);
	spin_lock_irq(&s->lock);
	if (rc) {
		s->map.stale[block] = 1;
	} else {
		s->bm_version[block] = version;
		dagtap_region_written(&s->map, block, bm->bits);
	}
	spin_unlock_irq(&s->lock);
	return rc;
}

/*
 * Writes every stale block; what was stale at the call is durable when it
 * returns 0. Without a table there is nothing to write to: -ENXIO.
 */
int meta_sync_regions(struct store *s)
{
	int rc = -ENXIO;
	u32 block;

	mutex_lock(&s->meta_mutex);
	down_read(&s->live_sem);
	if (!s->live)
		goto out;
	rc = 0;
	for (block = 0; block < s->map.nr_blocks; block++) {
		if (!READ_ONCE(s->map.stale[block]))
			continue;
		rc = write_block(s, block);
		if (rc)
			break;
		submit_kick(s);
	}
out:
	up_read(&s->live_sem);
	mutex_unlock(&s->meta_mutex);
	if (rc && rc != -ENXIO)
		meta_failed(s, rc);
	return rc;
}

static void extend_limit(struct store *s)
{
	struct tap_sb sb;
	int rc = 0;
	u64 lsn;

	mutex_lock(&s->meta_mutex);
	down_read(&s->live_sem);
	lsn = READ_ONCE(s->ring.reserve_lsn);
	sb = s->sb;
	if (s->live && s->role == DAGTAP_ROLE_ACTIVE &&
	    sb.lsn_limit - lsn < TAP_LSN_STEP / 2) {
		sb.lsn_limit += TAP_LSN_STEP;
		rc = save_locked(s, &sb);
	}
	up_read(&s->live_sem);
	mutex_unlock(&s->meta_mutex);
	if (rc)
		meta_failed(s, rc);
	submit_kick(s);
}

void meta_worker(struct work_struct *work)
{
	struct store *s = container_of(work, struct store, meta_work);
	bool extend;

	spin_lock_irq(&s->lock);
	extend = s->role == DAGTAP_ROLE_ACTIVE && !s->gate && !s->tracking &&
		 s->ring.lsn_limit - s->ring.reserve_lsn < TAP_LSN_STEP / 2;
	spin_unlock_irq(&s->lock);
	if (extend)
		extend_limit(s);
	meta_sync_regions(s);
}

/* Regions whose newest record is at or below lsn, of the whole device. */
static u64 clear_upto(struct store *s, u64 lsn, bool dry_run)
{
	u64 found = 0;
	u32 block;

	for (block = 0; block < s->map.nr_blocks; block++) {
		spin_lock_irq(&s->lock);
		found += dagtap_region_clear(&s->map, block, lsn, dry_run);
		spin_unlock_irq(&s->lock);
		if (dry_run && found)
			break;
		cond_resched();
	}
	return found;
}

/*
 * Lets go of bits that no copy needs any more (K5): everything up to the bound
 * is acked by the copies and, after the flush, on the local disk.
 */
void meta_clear_worker(struct work_struct *work)
{
	struct store *s = container_of(work, struct store, clear_work.work);
	u64 bound, found = 0;
	unsigned int ms;
	bool usable;

	spin_lock_irq(&s->lock);
	bound = min(s->clear_lsn, commit_local_done(s));
	usable = !s->flush_failed && !s->failed;
	spin_unlock_irq(&s->lock);

	down_read(&s->live_sem);
	if (s->live && usable && clear_upto(s, bound, true) &&
	    !blkdev_issue_flush(s->live->data->bdev))
		found = clear_upto(s, bound, false);
	up_read(&s->live_sem);
	if (found)
		queue_work(tap_meta_wq, &s->meta_work);
	ms = max(READ_ONCE(tap_clear_interval_ms), TAP_CLEAR_MS_MIN);
	queue_delayed_work(tap_meta_wq, &s->clear_work, msecs_to_jiffies(ms));
}
