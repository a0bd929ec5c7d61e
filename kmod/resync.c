// SPDX-License-Identifier: GPL-2.0
/*
 * What the daemon puts into the log: RESYNC, MARK and SEED records, and intent
 * regions that it marks.
 *
 * An extent is read under the range lock into pages of our own and gets its LSN
 * after the read: a slow or failing disk then neither holds the log back nor
 * leaves a record that cannot be filled. No write to the extent is in flight
 * from before the read until the LSN is given, so the record is in its place
 * among them. What nobody uses is not read, and needs no range lock: a write that has
 * its LSN before that record is one whose content nobody needs.
 */
#include <linux/ktime.h>
#include <linux/uaccess.h>

#include "tap.h"

#define RESYNC_PAGES	(DAGTAP_PAYLOAD_MAX >> PAGE_SHIFT)

int resync_alloc(struct store *s)
{
	unsigned int i;

	s->resync_pages = kcalloc(RESYNC_PAGES, sizeof(*s->resync_pages), GFP_KERNEL);
	if (!s->resync_pages)
		return -ENOMEM;
	for (i = 0; i < RESYNC_PAGES; i++) {
		s->resync_pages[i] = alloc_page(GFP_KERNEL);
		if (!s->resync_pages[i])
			return -ENOMEM;
	}
	return 0;
}

void resync_free(struct store *s)
{
	unsigned int i;

	if (!s->resync_pages)
		return;
	for (i = 0; i < RESYNC_PAGES && s->resync_pages[i]; i++)
		__free_page(s->resync_pages[i]);
	kfree(s->resync_pages);
}

static int read_extent(struct store *s, u64 sector, u32 bytes)
{
	unsigned int i, nr = DIV_ROUND_UP(bytes, PAGE_SIZE);
	struct bio *bio;
	int rc = -ENXIO;

	down_read(&s->live_sem);
	if (!s->live)
		goto out;
	bio = bio_alloc(s->live->data->bdev, nr, REQ_OP_READ, GFP_NOIO);
	bio->bi_iter.bi_sector = sector;
	for (i = 0; i < nr; i++) {
		u32 n = min_t(u32, bytes, PAGE_SIZE);

		__bio_add_page(bio, s->resync_pages[i], n, 0);
		bytes -= n;
	}
	rc = submit_bio_wait(bio);
	bio_put(bio);
out:
	up_read(&s->live_sem);
	return rc;
}

static bool reads_as_zeroes(const struct store *s, u32 bytes)
{
	u32 done;

	for (done = 0; done < bytes; done += PAGE_SIZE)
		if (memchr_inv(page_address(s->resync_pages[done >> PAGE_SHIFT]), 0,
			       min_t(u32, bytes - done, PAGE_SIZE)))
			return false;
	return true;
}

/* May records of the daemon enter the log? Caller holds s->lock. */
static int may_log(const struct store *s)
{
	if (s->role != DAGTAP_ROLE_ACTIVE || s->exempt)
		return -EPERM;
	if (!s->live)
		return -ENXIO;
	if (s->tracking)
		return -ESTALE;
	return s->gate || s->full ? -EAGAIN : 0;
}

static bool turn_came(struct store *s, struct tap_range *range)
{
	bool yes;

	spin_lock_irq(&s->lock);
	yes = !range_blocked(s, range) || may_log(s) == -EPERM;
	spin_unlock_irq(&s->lock);
	return yes;
}

/* Reserves and copies; a quarter of the ring stays for writers. */
static int log_extent(struct store *s, struct dagtap_resync *arg)
{
	struct dagtap_rec_spec spec = {
		.type = DAGTAP_REC_RESYNC,
		.sector = arg->sector,
		.sectors = arg->bytes >> SECTOR_SHIFT,
		.payload = reads_as_zeroes(s, arg->bytes) ? 0 : arg->bytes,
		.time_ns = ktime_get_real_ns(),
	};
	struct dagtap_resv resv;
	u32 done, crc = 0;
	int rc;

	spin_lock_irq(&s->lock);
	rc = may_log(s);
	if (!rc)
		rc = dagtap_ring_reserve(&s->ring, &spec, s->ring.size / 4, &resv);
	if (!rc)
		dagtap_region_resynced(&s->map, spec.sector, spec.sectors, resv.end_lsn);
	spin_unlock_irq(&s->lock);
	if (rc)
		return rc == -ENOSPC || rc == -EOVERFLOW ? -EAGAIN : rc;

	for (done = 0; done < spec.payload; done += PAGE_SIZE)
		crc = dagtap_ring_write(&s->ring, &resv, done,
					page_address(s->resync_pages[done >> PAGE_SHIFT]),
					min_t(u32, spec.payload - done, PAGE_SIZE), crc);
	spin_lock_irq(&s->lock);
	if (dagtap_ring_commit(&s->ring, &resv, crc))
		shring_publish(s);
	if (s->gate)
		wake_up_all(&s->wait_wq);
	spin_unlock_irq(&s->lock);
	shring_wake(s);
	arg->lsn = resv.end_lsn;
	return 0;
}

/* Is there room, so that the read is not for nothing? */
static int probe_room(struct store *s, u32 bytes)
{
	int rc;

	spin_lock_irq(&s->lock);
	rc = may_log(s);
	if (!rc && dagtap_ring_used(&s->ring) + dagtap_rec_bytes(bytes) >
		   s->ring.size - s->ring.size / 4)
		rc = -EAGAIN;
	spin_unlock_irq(&s->lock);
	return rc;
}

/* Whether it was changed is asked where its LSN is given: no write can come between. */
static int log_unused(struct store *s, struct dagtap_resync *arg)
{
	struct dagtap_rec_spec spec = {
		.type = DAGTAP_REC_RESYNC,
		.sector = arg->sector,
		.sectors = arg->bytes >> SECTOR_SHIFT,
		.time_ns = ktime_get_real_ns(),
	};
	struct dagtap_resv resv;
	int rc;

	spin_lock_irq(&s->lock);
	rc = may_log(s);
	if (!rc && dagtap_region_above(&s->map, spec.sector, spec.sectors, arg->lsn))
		rc = -EBUSY;
	if (!rc)
		rc = dagtap_ring_reserve(&s->ring, &spec, s->ring.size / 4, &resv);
	if (!rc) {
		dagtap_region_resynced(&s->map, spec.sector, spec.sectors, resv.end_lsn);
		if (dagtap_ring_commit(&s->ring, &resv, 0))
			shring_publish(s);
		arg->lsn = resv.end_lsn;
	}
	spin_unlock_irq(&s->lock);
	shring_wake(s);
	return rc == -ENOSPC || rc == -EOVERFLOW ? -EAGAIN : rc;
}

int resync_extent(struct store *s, struct dagtap_resync *arg)
{
	u64 sectors = arg->bytes >> SECTOR_SHIFT;
	struct tap_range range;
	long left;
	int rc;

	if (arg->flags & ~DAGTAP_RESYNCF_UNUSED || !arg->bytes || arg->bytes > DAGTAP_PAYLOAD_MAX ||
	    arg->bytes % s->lbs || arg->sector % (s->lbs >> SECTOR_SHIFT))
		return -EINVAL;
	if (arg->sector >= s->dev_sectors || sectors > s->dev_sectors - arg->sector)
		return -ERANGE;
	if (arg->flags & DAGTAP_RESYNCF_UNUSED)
		return log_unused(s, arg);
	if (mutex_lock_killable(&s->resync_mutex))
		return -EINTR;
	rc = probe_room(s, arg->bytes);
	if (rc)
		goto unlock;
	atomic_inc(&s->inflight);
	spin_lock_irq(&s->lock);
	range_insert(s, &range, arg->sector, sectors);
	spin_unlock_irq(&s->lock);

	left = wait_event_killable_timeout(s->wait_wq, turn_came(s, &range),
					   TAP_WAIT_JIFFIES);
	rc = left > 0 ? 0 : left ? -EINTR : -ETIMEDOUT;
	if (!rc)
		rc = read_extent(s, arg->sector, arg->bytes);
	if (!rc)
		rc = log_extent(s, arg);

	spin_lock_irq(&s->lock);
	range_remove(s, &range);
	spin_unlock_irq(&s->lock);
	if (atomic_dec_and_test(&s->inflight))
		wake_up_all(&s->wait_wq);
unlock:
	mutex_unlock(&s->resync_mutex);
	return rc;
}

static int check_mark(const struct dagtap_mark *arg)
{
	if (arg->flags)
		return -EINVAL;
	if (arg->type == DAGTAP_REC_MARK)
		return arg->kind || arg->bytes > DAGTAP_MARK_MAX ? -EINVAL : 0;
	if (arg->type != DAGTAP_REC_STATE)
		return -EINVAL;
	if (arg->kind != DAGTAP_STATE_SEED_BEGIN && arg->kind != DAGTAP_STATE_SEED_END)
		return -EINVAL;
	return arg->bytes == sizeof(struct dagtap_state_payload) ? 0 : -EINVAL;
}

int resync_mark(struct store *s, struct dagtap_mark *arg)
{
	struct dagtap_rec_spec spec = {
		.type = arg->type,
		.kind = arg->kind,
		.payload = arg->bytes,
		.time_ns = ktime_get_real_ns(),
	};
	struct dagtap_resv resv;
	int rc;

	rc = check_mark(arg);
	if (rc)
		return rc;
	spin_lock_irq(&s->lock);
	rc = may_log(s);
	if (!rc)
		rc = dagtap_ring_reserve(&s->ring, &spec, DAGTAP_RING_SPARE, &resv);
	if (!rc) {
		dagtap_ring_commit(&s->ring, &resv,
				   dagtap_ring_write(&s->ring, &resv, 0, arg->payload,
						     arg->bytes, 0));
		if (spec.type == DAGTAP_REC_STATE && spec.kind == DAGTAP_STATE_SEED_END)
			s->seed_lsn = resv.end_lsn;
		shring_publish(s);
		arg->lsn = resv.end_lsn;
	}
	spin_unlock_irq(&s->lock);
	shring_wake(s);
	return rc == -ENOSPC || rc == -EOVERFLOW ? -EAGAIN : rc;
}

/* One page of bits; sets or gets. */
static int regions_piece(struct store *s, const struct dagtap_regions *arg, u64 done,
			 u64 count, u8 *bits, u64 *dirty)
{
	u8 __user *user = u64_to_user_ptr(arg->bitmap) + done / 8;
	u64 first = arg->first + done, i;
	size_t bytes = DIV_ROUND_UP(count, 8);

	if (arg->flags & DAGTAP_REGIONSF_SET) {
		if (copy_from_user(bits, user, bytes))
			return -EFAULT;
		spin_lock_irq(&s->lock);
		for (i = 0; i < count; i++) {
			u64 sector = (first + i) << s->map.shift;

			if (!(bits[i >> 3] >> (i & 7) & 1))
				continue;
			dagtap_region_mark(&s->map, sector, 1);
			dagtap_region_unknown(&s->map, sector, 1);
			(*dirty)++;
		}
		spin_unlock_irq(&s->lock);
		return 0;
	}
	spin_lock_irq(&s->lock);
	*dirty += dagtap_region_get(&s->map, first, count, arg->since_lsn, bits);
	spin_unlock_irq(&s->lock);
	return copy_to_user(user, bits, bytes) ? -EFAULT : 0;
}

/* The device is whole by other means: no bit, and no debt, says otherwise. */
static int regions_forget(struct store *s, struct dagtap_regions *arg)
{
	u32 block;
	int rc = 0;

	if (arg->first || arg->count || arg->since_lsn || arg->bitmap || arg->rsvd)
		return -EINVAL;
	if (mutex_lock_killable(&s->ctl_mutex))
		return -EINTR;
	if (s->role != DAGTAP_ROLE_PASSIVE || s->open)
		rc = -EPERM;
	arg->dirty = 0;
	for (block = 0; block < s->map.nr_blocks && !rc; block++) {
		spin_lock_irq(&s->lock);
		dagtap_region_forget(&s->map, block);
		spin_unlock_irq(&s->lock);
		cond_resched();
	}
	if (!rc)
		rc = meta_sync_regions(s);
	if (!rc) {
		spin_lock_irq(&s->lock);
		s->crashed = false;
		s->must_gap = false;
		spin_unlock_irq(&s->lock);
	}
	mutex_unlock(&s->ctl_mutex);
	return rc;
}

int resync_regions(struct store *s, struct dagtap_regions *arg)
{
	const u64 piece = 8 * DAGTAP_BLOCK;
	u64 done, dirty = 0;
	u8 *bits;
	int rc = 0;

	if (arg->flags == DAGTAP_REGIONSF_FORGET)
		return regions_forget(s, arg);
	if (arg->flags & ~DAGTAP_REGIONSF_SET || arg->rsvd || arg->first % 8 ||
	    arg->count > 8ull << 20)
		return -EINVAL;
	if (arg->flags & DAGTAP_REGIONSF_SET && arg->since_lsn)
		return -EINVAL;
	if (arg->first > s->map.nr || arg->count > s->map.nr - arg->first)
		return -ERANGE;
	bits = (void *)__get_free_page(GFP_KERNEL);
	if (!bits)
		return -ENOMEM;
	for (done = 0; done < arg->count && !rc; done += piece) {
		rc = regions_piece(s, arg, done, min(piece, arg->count - done), bits, &dirty);
		cond_resched();
	}
	free_page((unsigned long)bits);
	if (!rc && arg->flags & DAGTAP_REGIONSF_SET)
		rc = meta_sync_regions(s);
	arg->dirty = dirty;
	return rc;
}
