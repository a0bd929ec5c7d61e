// SPDX-License-Identifier: GPL-2.0
/*
 * The way back of a write: local end, FAIL record, held commits, parked ends.
 *
 * A write that must wait for a copy (a FLUSH or FUA in commit mode, every write
 * in sync mode) is held when the disk is done with it: end_io takes it out of
 * dm's hands with DM_ENDIO_INCOMPLETE, and commit_finish() gives it back from
 * process context. It ends with the ack of its LSN, when the mode no longer
 * asks for one, or with an error when the role or a suspend ends its wait. No
 * time-out ever turns an unacked commit into a success.
 *
 * A write without a place in the current log (made while TRACKING, or before
 * the log started anew) is settled by the ack of the next SEED_END.
 */
#define pr_fmt(fmt) "dagtap: " fmt

#include <linux/ktime.h>

#include "tap.h"

enum verdict {
	END_OK,
	END_HOLD,
	END_PARK,
	END_FAIL,
};

static bool is_acked(const struct store *s, const struct tap_io *io)
{
	if (io->logged && io->log_gen == s->log_gen)
		return io->resv.end_lsn <= s->ack_lsn;
	return s->seed_lsn <= s->ack_lsn;
}

/* What becomes of a write whose local end was good. Caller holds s->lock. */
static enum verdict judge(struct store *s, const struct tap_io *io)
{
	bool active = s->role == DAGTAP_ROLE_ACTIVE;

	if (s->role == DAGTAP_ROLE_FENCED)
		return END_FAIL;
	if (!lease_valid(s))
		return active ? END_PARK : END_FAIL;
	if (s->mode == DAGTAP_MODE_ASYNC ||
	    (s->mode == DAGTAP_MODE_COMMIT && !io->commit) || is_acked(s, io))
		return END_OK;
	return active ? END_HOLD : END_FAIL;
}

static unsigned int bucket_of(u64 ns)
{
	return min_t(unsigned int, fls64(ns / NSEC_PER_USEC), DAGTAP_LAT_BUCKETS - 1);
}

/* The write is over for us. Caller holds s->lock. */
static void account(struct store *s, struct tap_io *io)
{
	u64 now = ktime_get_ns();

	io->state = TAP_IO_ENDED;
	s->stat.write_us[bucket_of(now - io->start_ns)]++;
	if (io->hold_ns)
		s->stat.hold_us[bucket_of(now - io->hold_ns)]++;
	switch (io->rec_type) {
	case DAGTAP_REC_FLUSH:
		s->stat.flushes++;
		break;
	case DAGTAP_REC_DATA:
		s->stat.writes++;
		s->stat.write_bytes += (u64)io->sectors * DAGTAP_SECTOR;
		break;
	case DAGTAP_REC_DISCARD:
		s->stat.discards++;
		break;
	default:
		s->stat.zeroes++;
	}
}

/* Holds or parks, or ends with io->status. Caller holds s->lock. */
static bool settle(struct store *s, struct tap_io *io)
{
	switch (judge(s, io)) {
	case END_HOLD:
		io->state = TAP_IO_HELD;
		if (!io->hold_ns)
			io->hold_ns = ktime_get_ns();
		list_add_tail(&io->list, &s->held);
		s->nr_held++;
		return false;
	case END_PARK:
		io->state = TAP_IO_PARKED;
		list_add_tail(&io->list, &s->parked);
		s->nr_parked++;
		if (!s->lease_lost)
			lease_kick(s);
		return false;
	case END_FAIL:
		io->status = BLK_STS_IOERR;
		fallthrough;
	default:
		account(s, io);
		return true;
	}
}

/* Caller holds s->lock; the write failed locally (K8). */
static void log_failure(struct store *s, struct tap_io *io, blk_status_t error)
{
	bool refused = error == BLK_STS_NOTSUPP || error == BLK_STS_TARGET;
	struct dagtap_rec_spec spec = {
		.type = DAGTAP_REC_FAIL,
		.sector = io->sector,
		.sectors = io->sectors,
		.time_ns = ktime_get_real_ns(),
	};
	struct dagtap_resv resv;

	if (io->rec_type == DAGTAP_REC_FLUSH) {
		s->flush_failed = true;
	} else if (io->rec_type == DAGTAP_REC_DISCARD && refused) {
		return;		/* the content was undefined anyway */
	} else {
		if (s->tracking || s->log_gen != io->log_gen || !io->logged)
			;	/* nothing in the log to take back */
		else if (dagtap_ring_reserve(&s->ring, &spec, 0, &resv))
			store_enter_tracking(s);
		else if (dagtap_ring_commit(&s->ring, &resv, 0))
			shring_publish(s);
		if (io->rec_type == DAGTAP_REC_ZEROES && refused) {
			dagtap_region_mark(&s->map, io->sector, io->sectors);
			dagtap_region_unknown(&s->map, io->sector, io->sectors);
			return;	/* the caller writes the zeroes itself */
		}
		dagtap_region_fail(&s->map, io->sector, io->sectors);
		s->stat.fails++;
	}
	s->stat.io_errors++;
	event_post(s, DAGTAP_EV_IO_ERROR, io->sector);
	pr_err_ratelimited("name=%s write=failed sector=%llu sectors=%u status=%u\n",
			   s->name, io->sector, io->sectors, (__force u32)error);
}

/* Local end of a write; true: it may end now with io->status. */
static bool local_end(struct store *s, struct tap_io *io)
{
	unsigned long irq;
	bool end;

	spin_lock_irqsave(&s->lock, irq);
	if (io->sectors)
		range_remove(s, &io->range);
	if (io->logged)
		list_del(&io->flight);
	if (io->status) {
		log_failure(s, io, io->status);
		account(s, io);
		end = true;
	} else {
		end = settle(s, io);
	}
	spin_unlock_irqrestore(&s->lock, irq);
	return end;
}

int commit_end_io(struct tap *tap, struct bio *bio, blk_status_t *error)
{
	struct tap_io *io = dm_per_bio_data(bio, sizeof(*io));
	struct store *s = tap->store;

	if (io->rec_type && io->state == TAP_IO_FLIGHT) {
		io->status = *error;
		if (!local_end(s, io))
			return DM_ENDIO_INCOMPLETE;
		*error = io->status;
	}
	if (atomic_dec_and_test(&s->inflight))
		wake_up_all(&s->wait_wq);
	return DM_ENDIO_DONE;
}

static void recheck(struct store *s, struct list_head *from, u32 *count,
		    struct list_head *ended)
{
	struct tap_io *io, *next;
	LIST_HEAD(todo);

	list_splice_init(from, &todo);
	*count = 0;
	list_for_each_entry_safe(io, next, &todo, list) {
		list_del(&io->list);
		if (settle(s, io))
			list_add_tail(&io->list, ended);
	}
}

/* What waits after its local end is judged again. Caller holds s->lock. */
void commit_collect(struct store *s, struct list_head *ended)
{
	recheck(s, &s->parked, &s->nr_parked, ended);
	recheck(s, &s->held, &s->nr_held, ended);
	store_update(s);
}

static void end_all(struct store *s, struct list_head *from, u32 *count,
		    blk_status_t status, struct list_head *ended)
{
	struct tap_io *io;

	list_for_each_entry(io, from, list) {
		if (io->state == TAP_IO_QUEUED && io->sectors)
			range_remove(s, &io->range);
		io->state = TAP_IO_ENDED;
		io->status = status;
	}
	list_splice_tail_init(from, ended);
	*count = 0;
}

/* What the disk is done with, and waits, ends with status. Caller holds s->lock. */
void commit_collect_done(struct store *s, blk_status_t status, struct list_head *ended)
{
	end_all(s, &s->parked, &s->nr_parked, status, ended);
	end_all(s, &s->held, &s->nr_held, status, ended);
}

/* Every write that waits for something ends with status. Caller holds s->lock. */
void commit_collect_all(struct store *s, blk_status_t status, struct list_head *ended)
{
	end_all(s, &s->queue, &s->nr_queued, status, ended);
	commit_collect_done(s, status, ended);
	s->full = false;
	s->full_since = 0;
	store_update(s);
}

/* Gives collected writes back to dm; no lock is held. */
void commit_finish(struct store *s, struct list_head *ended)
{
	struct tap_io *io, *next;

	list_for_each_entry_safe(io, next, ended, list) {
		struct bio *bio = tap_bio(io);

		list_del(&io->list);
		bio->bi_status = io->status;
		bio_endio(bio);
	}
}

/* Every record below has ended at the lower device. Caller holds s->lock. */
u64 commit_local_done(struct store *s)
{
	struct tap_io *first = list_first_entry_or_null(&s->flight, struct tap_io, flight);

	return first ? first->resv.lsn : s->ring.reserve_lsn;
}

int commit_ack(struct store *s, const struct dagtap_ack *ack)
{
	u64 commit_lsn;
	LIST_HEAD(ended);
	int rc = 0;

	if (ack->flags || ack->rsvd)
		return -EINVAL;
	if ((ack->free_lsn | ack->ack_lsn | ack->clear_lsn) % DAGTAP_ALIGN)
		return -EINVAL;
	spin_lock_irq(&s->lock);
	commit_lsn = s->ring.commit_lsn;
	if (ack->generation != s->generation)
		rc = -ESTALE;
	else if (ack->ack_lsn < s->ack_lsn || ack->ack_lsn > commit_lsn ||
		 ack->clear_lsn < s->clear_lsn || ack->clear_lsn > commit_lsn)
		rc = -ERANGE;
	else
		rc = dagtap_ring_free(&s->ring, ack->free_lsn);
	if (!rc) {
		s->clear_lsn = ack->clear_lsn;
		if (ack->ack_lsn != s->ack_lsn) {
			s->ack_lsn = ack->ack_lsn;
			if (s->nr_held)
				commit_collect(s, &ended);
		}
		WRITE_ONCE(s->hdr->freed_lsn, s->ring.freed_lsn);
		if (s->full)
			submit_kick(s);
	}
	spin_unlock_irq(&s->lock);
	commit_finish(s, &ended);
	return rc;
}
