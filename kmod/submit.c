// SPDX-License-Identifier: GPL-2.0
/*
 * The way of a write into the log and to the disk (invariants K1, K2, K4):
 *
 *	arrive -> role, lease -> intent bits on disk -> no overlap -> LSN ->
 *	copy and crc -> commit -> lower device
 *
 * admit() takes every decision under one lock and never sleeps. A write that
 * has to wait goes to store->queue and is tried again by the worker, in order
 * of arrival, when something that it may wait for has changed. Nobody waits for
 * ever: the ring has full_timeout, the lease park_timeout, the metadata device
 * ends its I/O or fails the store.
 */
#include <linux/highmem.h>
#include <linux/ktime.h>

#include "tap.h"

enum admit {
	ADMIT_GO,
	ADMIT_WAIT,		/* this one; others may pass */
	ADMIT_WAIT_ALL,		/* whatever holds it holds the rest of the queue */
	ADMIT_REFUSE,
};

struct bio *tap_bio(struct tap_io *io)
{
	return dm_bio_from_per_bio_data(io, sizeof(*io));
}

void submit_kick(struct store *s)
{
	queue_work(tap_wq, &s->queue_work);
}

/* The record that this bio becomes; false: not an operation that we serve. */
static bool classify(struct tap_io *io, struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_FLUSH:
		io->rec_type = DAGTAP_REC_FLUSH;
		break;
	case REQ_OP_WRITE:
		io->rec_type = bio_sectors(bio) ? DAGTAP_REC_DATA : DAGTAP_REC_FLUSH;
		break;
	case REQ_OP_DISCARD:
		io->rec_type = DAGTAP_REC_DISCARD;
		break;
	case REQ_OP_WRITE_ZEROES:
		io->rec_type = DAGTAP_REC_ZEROES;
		break;
	default:
		return false;
	}
	io->commit = bio->bi_opf & (REQ_FUA | REQ_PREFLUSH) ||
		     io->rec_type == DAGTAP_REC_FLUSH;
	io->rec_flags = (bio->bi_opf & REQ_META ? DAGTAP_RECF_META : 0) |
			(bio->bi_opf & REQ_SYNC ? DAGTAP_RECF_SYNC : 0);
	if (io->rec_type != DAGTAP_REC_FLUSH) {
		io->sector = bio->bi_iter.bi_sector;
		io->sectors = bio_sectors(bio);
		if (bio->bi_opf & REQ_FUA)
			io->rec_flags |= DAGTAP_RECF_FUA;
	}
	if (io->rec_type == DAGTAP_REC_ZEROES && bio->bi_opf & REQ_NOUNMAP)
		io->rec_flags |= DAGTAP_RECF_NOUNMAP;
	return true;
}

static enum admit admit_reserve(struct store *s, struct tap_io *io)
{
	struct dagtap_rec_spec spec = {
		.type = io->rec_type,
		.flags = io->rec_flags,
		.sector = io->sector,
		.sectors = io->sectors,
		.time_ns = ktime_get_real_ns(),
	};
	int rc;

	if (io->rec_type == DAGTAP_REC_DATA)
		spec.payload = io->sectors * DAGTAP_SECTOR;
	if (s->ring.lsn_limit - s->ring.reserve_lsn < TAP_LSN_STEP / 2)
		queue_work(tap_meta_wq, &s->meta_work);
	rc = dagtap_ring_reserve(&s->ring, &spec, DAGTAP_RING_SPARE, &io->resv);
	if (!rc) {
		io->logged = true;
		io->log_gen = s->log_gen;
		list_add_tail(&io->flight, &s->flight);
		return ADMIT_GO;
	}
	if (rc == -EOVERFLOW)
		return ADMIT_WAIT_ALL;
	if (WARN_ON_ONCE(rc != -ENOSPC))
		return ADMIT_REFUSE;
	if (!io->stalled) {
		io->stalled = true;
		s->stat.stalls++;
	}
	if (!s->full) {
		s->full = true;
		if (!s->full_since)
			s->full_since = ktime_get_boottime_ns();
		/* Told once: the worker that tries again has not made it any less full. */
		if (s->state != DAGTAP_ST_FULL)
			event_post(s, DAGTAP_EV_RING_FULL, s->ring.reserve_lsn);
		store_update(s);
		lease_kick(s);
	}
	return ADMIT_WAIT_ALL;
}

/* Caller holds s->lock. GO: the LSN is given, the write must be made now. */
static enum admit admit(struct store *s, struct tap_io *io)
{
	enum admit verdict;

	if (s->role != DAGTAP_ROLE_ACTIVE)
		return ADMIT_REFUSE;
	if (s->gate)
		return ADMIT_WAIT_ALL;
	if (!lease_valid(s)) {
		if (!s->lease_lost)
			lease_kick(s);
		return ADMIT_WAIT_ALL;
	}
	if (io->sectors) {
		s->map.newest_lsn = s->ring.reserve_lsn;
		/* One that has been here before is marked: thousands wait after a discard. */
		if ((io->state == TAP_IO_QUEUED &&
		     dagtap_region_waits(&s->map, io->sector, io->sectors)) ||
		    !dagtap_region_mark(&s->map, io->sector, io->sectors)) {
			queue_work(tap_meta_wq, &s->meta_work);
			return ADMIT_WAIT;
		}
		if (range_blocked(s, &io->range)) {
			if (!io->overlapped) {
				io->overlapped = true;
				s->stat.overlaps++;
			}
			return ADMIT_WAIT;
		}
	}
	if (s->tracking) {
		if (io->sectors)
			dagtap_region_unknown(&s->map, io->sector, io->sectors);
		io->state = TAP_IO_FLIGHT;
		return ADMIT_GO;
	}
	verdict = admit_reserve(s, io);
	if (verdict == ADMIT_GO) {
		io->state = TAP_IO_FLIGHT;
		if (io->sectors)
			dagtap_region_touch(&s->map, io->sector, io->sectors,
					    io->resv.end_lsn);
	}
	return verdict;
}

/* Copies the payload, outside the lock, and publishes the record. */
static void log_write(struct store *s, struct tap_io *io, struct bio *bio)
{
	struct bvec_iter iter;
	struct bio_vec bv;
	u32 offset = 0, crc = 0;
	unsigned long irq;

	if (!io->logged)
		return;
	if (io->resv.payload) {
		bio_for_each_segment(bv, bio, iter) {
			void *p = bvec_kmap_local(&bv);

			crc = dagtap_ring_write(&s->ring, &io->resv, offset, p,
						bv.bv_len, crc);
			kunmap_local(p);
			offset += bv.bv_len;
		}
	}
	spin_lock_irqsave(&s->lock, irq);
	if (dagtap_ring_commit(&s->ring, &io->resv, crc))
		shring_publish(s);
	if (s->gate)
		wake_up_all(&s->wait_wq);
	spin_unlock_irqrestore(&s->lock, irq);
	shring_wake(s);
}

static void put_inflight(struct store *s)
{
	if (atomic_dec_and_test(&s->inflight))
		wake_up_all(&s->wait_wq);
}

static int map_write(struct store *s, struct tap_io *io, struct bio *bio)
{
	enum admit verdict = ADMIT_WAIT_ALL;
	unsigned long irq;

	spin_lock_irqsave(&s->lock, irq);
	if (io->sectors)
		range_insert(s, &io->range, io->sector, io->sectors);
	/* While the ring is full nobody overtakes those who wait for it. */
	if (!s->full || s->role != DAGTAP_ROLE_ACTIVE)
		verdict = admit(s, io);
	if (verdict == ADMIT_REFUSE) {
		if (io->sectors)
			range_remove(s, &io->range);
	} else if (verdict != ADMIT_GO) {
		io->state = TAP_IO_QUEUED;
		list_add_tail(&io->list, &s->queue);
		s->nr_queued++;
	}
	spin_unlock_irqrestore(&s->lock, irq);

	switch (verdict) {
	case ADMIT_GO:
		log_write(s, io, bio);
		return DM_MAPIO_REMAPPED;
	case ADMIT_REFUSE:
		put_inflight(s);
		return DM_MAPIO_KILL;
	default:
		return DM_MAPIO_SUBMITTED;
	}
}

int submit_map(struct tap *tap, struct bio *bio)
{
	struct tap_io *io = dm_per_bio_data(bio, sizeof(*io));
	struct store *s = tap->store;

	memset(io, 0, sizeof(*io));
	io->start_ns = ktime_get_ns();
	bio_set_dev(bio, tap->data->bdev);
	bio->bi_iter.bi_sector = dm_target_offset(tap->ti, bio->bi_iter.bi_sector);

	atomic_inc(&s->inflight);
	/* Counted first: a change of role finds us, or we find it; see set_passive(). */
	smp_mb__after_atomic();
	if (bio_op(bio) == REQ_OP_READ) {
		if (READ_ONCE(s->role) != DAGTAP_ROLE_PASSIVE)
			return DM_MAPIO_REMAPPED;
		put_inflight(s);
		return DM_MAPIO_KILL;
	}
	if (bio_op(bio) == REQ_OP_WRITE &&
	    bio_sectors(bio) > DAGTAP_PAYLOAD_MAX / DAGTAP_SECTOR)
		dm_accept_partial_bio(bio, DAGTAP_PAYLOAD_MAX / DAGTAP_SECTOR);
	if (!classify(io, bio)) {
		put_inflight(s);
		return DM_MAPIO_KILL;
	}
	return map_write(s, io, bio);
}

/* Moves what may go now from the queue. True: there may be more. */
static bool take_admitted(struct store *s, struct list_head *go, struct list_head *bad)
{
	bool was_full = s->full, more = false;
	struct tap_io *io, *next;
	unsigned int n = 0;

	s->full = false;
	list_for_each_entry_safe(io, next, &s->queue, list) {
		enum admit verdict = admit(s, io);

		if (verdict == ADMIT_WAIT_ALL)
			break;
		if (verdict == ADMIT_WAIT)
			continue;
		s->nr_queued--;
		if (verdict == ADMIT_REFUSE) {
			if (io->sectors)
				range_remove(s, &io->range);
			io->state = TAP_IO_ENDED;
			io->status = BLK_STS_IOERR;
			list_move_tail(&io->list, bad);
			continue;
		}
		list_move_tail(&io->list, go);
		if (++n == TAP_BATCH) {
			more = true;
			s->full = was_full;
			break;
		}
	}
	/* The time-out goes on for as long as nothing moves. */
	if (n || list_empty(&s->queue))
		s->full_since = s->full ? ktime_get_boottime_ns() : 0;
	store_update(s);
	return more;
}

void submit_worker(struct work_struct *work)
{
	struct store *s = container_of(work, struct store, queue_work);
	struct tap_io *io, *next;
	bool more;

	do {
		LIST_HEAD(go);
		LIST_HEAD(bad);

		spin_lock_irq(&s->lock);
		more = take_admitted(s, &go, &bad);
		spin_unlock_irq(&s->lock);

		list_for_each_entry_safe(io, next, &go, list) {
			struct bio *bio = tap_bio(io);

			list_del(&io->list);
			log_write(s, io, bio);
			dm_submit_bio_remap(bio, NULL);
		}
		commit_finish(s, &bad);
		cond_resched();
	} while (more);
}

/*
 * Puts a STATE record into the log; caller holds s->lock. -ENOSPC: no room, and
 * nothing changed.
 */
int submit_state_record(struct store *s, u8 kind,
			const struct dagtap_state_payload *payload, u64 *ret_end)
{
	struct dagtap_rec_spec spec = {
		.type = DAGTAP_REC_STATE,
		.kind = kind,
		.payload = sizeof(*payload),
		.time_ns = ktime_get_real_ns(),
	};
	struct dagtap_resv resv;
	u32 crc;
	int rc;

	rc = dagtap_ring_reserve(&s->ring, &spec, 0, &resv);
	if (rc)
		return rc;
	crc = dagtap_ring_write(&s->ring, &resv, 0, payload, sizeof(*payload), 0);
	dagtap_ring_commit(&s->ring, &resv, crc);
	*ret_end = resv.end_lsn;
	return 0;
}
