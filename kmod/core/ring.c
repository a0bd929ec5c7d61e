// SPDX-License-Identifier: GPL-2.0
/*
 * The ring. Reservations are numbered by seq and described in slots[seq]; a
 * commit marks its slot and then publishes every leading slot that is done:
 * the header gets the crc of the one before it, its own crc, and its place in
 * the ring. So commit_lsn only ever moves over complete, chained records,
 * whatever the order in which the copies end.
 *
 * Failure modes: no room or no slot is -ENOSPC and changes nothing; a reserved
 * record cannot be taken back, therefore callers reserve last, when nothing but
 * the copy of the payload is left to do.
 */
#include "ring.h"

static bool power_of_two(__u64 n)
{
	return n && !(n & (n - 1));
}

static struct dagtap_slot *slot_of(struct dagtap_ring *ring, __u64 seq)
{
	return &ring->slots[seq & (ring->nr_slots - 1)];
}

int dagtap_ring_init(struct dagtap_ring *ring, void *data, __u64 size,
		     struct dagtap_slot *slots, __u32 nr_slots)
{
	if (!power_of_two(size) || size < DAGTAP_ALIGN || !power_of_two(nr_slots))
		return -EINVAL;
	memset(ring, 0, sizeof(*ring));
	ring->data = data;
	ring->size = size;
	ring->slots = slots;
	ring->nr_slots = nr_slots;
	ring->lsn_limit = ~0ull;
	return 0;
}

/*
 * Starts a new part of the log at start_lsn. Within an epoch it must not be below
 * any LSN that was given; a higher epoch may begin anywhere. What the ring held is
 * gone. -EBUSY: a record is being copied.
 */
int dagtap_ring_reset(struct dagtap_ring *ring, __u64 start_lsn, __u32 epoch,
		      __u32 tag)
{
	if (!dagtap_ring_settled(ring))
		return -EBUSY;
	if (start_lsn % DAGTAP_ALIGN)
		return -EINVAL;
	if (start_lsn < ring->reserve_lsn && epoch <= ring->epoch)
		return -ERANGE;
	ring->reserve_lsn = start_lsn;
	ring->commit_lsn = start_lsn;
	ring->freed_lsn = start_lsn;
	ring->reserve_seq = 0;
	ring->commit_seq = 0;
	ring->commit_time_ns = 0;
	ring->prev_crc = 0;
	ring->epoch = epoch;
	ring->tag = tag;
	return 0;
}

/*
 * A higher epoch begins in the log that runs: the chain goes on. -EBUSY: a record
 * is being copied.
 */
int dagtap_ring_continue(struct dagtap_ring *ring, __u32 epoch, __u32 tag)
{
	if (!dagtap_ring_settled(ring))
		return -EBUSY;
	if (epoch <= ring->epoch)
		return -ERANGE;
	ring->epoch = epoch;
	ring->tag = tag;
	return 0;
}

/*
 * Gives the next LSN to a record. keep_free bytes of the ring stay unused.
 * -ENOSPC: no room or no slot now; -EOVERFLOW: lsn_limit; -EINVAL: bad spec.
 */
int dagtap_ring_reserve(struct dagtap_ring *ring, const struct dagtap_rec_spec *spec,
			__u64 keep_free, struct dagtap_resv *ret_resv)
{
	__u64 bytes = dagtap_rec_bytes(spec->payload);
	struct dagtap_slot *slot;

	if (dagtap_rec_check(spec))
		return -EINVAL;
	if (keep_free > ring->size ||
	    dagtap_ring_used(ring) + bytes > ring->size - keep_free)
		return -ENOSPC;
	if (ring->reserve_seq - ring->commit_seq >= ring->nr_slots)
		return -ENOSPC;
	if (ring->lsn_limit - ring->reserve_lsn < bytes)
		return -EOVERFLOW;

	slot = slot_of(ring, ring->reserve_seq);
	slot->bytes = (__u32)bytes;
	slot->done = 0;
	dagtap_rec_fill(&slot->rec, spec, ring->reserve_lsn,
			(__u32)ring->reserve_seq, ring->epoch, ring->tag);

	ret_resv->lsn = ring->reserve_lsn;
	ret_resv->end_lsn = ring->reserve_lsn + bytes;
	ret_resv->seq = ring->reserve_seq;
	ret_resv->payload = spec->payload;

	ring->reserve_lsn += bytes;
	ring->reserve_seq++;
	return 0;
}

/*
 * Copies a piece of the payload to its place and returns the crc so far, taken
 * from the copy: the source may change under us, the record must not. The piece
 * that reaches the end of the payload also clears the padding.
 */
__u32 dagtap_ring_write(struct dagtap_ring *ring, const struct dagtap_resv *resv,
			__u32 offset, const void *src, __u32 bytes, __u32 crc)
{
	__u64 lsn = resv->lsn + sizeof(struct dagtap_rec) + offset;
	const __u8 *from = src;
	__u32 left = bytes;

	while (left) {
		__u64 pos = lsn & (ring->size - 1);
		__u64 room = ring->size - pos;
		__u32 n = left < room ? left : (__u32)room;

		memcpy(ring->data + pos, from, n);
		crc = dag_crc32c(crc, ring->data + pos, n);
		from += n;
		lsn += n;
		left -= n;
	}
	/* The padding ends at a multiple of 64: it cannot wrap in the middle. */
	if (offset + bytes == resv->payload && lsn < resv->end_lsn)
		memset(ring->data + (lsn & (ring->size - 1)), 0, resv->end_lsn - lsn);
	return crc;
}

/* Marks a record as done. True: commit_lsn moved. */
bool dagtap_ring_commit(struct dagtap_ring *ring, const struct dagtap_resv *resv,
			__u32 payload_crc)
{
	struct dagtap_slot *slot = slot_of(ring, resv->seq);
	__u64 before = ring->commit_seq;

	slot->rec.payload_crc = cpu_to_le32(payload_crc);
	slot->done = 1;
	while (ring->commit_seq < ring->reserve_seq) {
		slot = slot_of(ring, ring->commit_seq);
		if (!slot->done)
			break;
		dagtap_rec_seal(&slot->rec, ring->prev_crc,
				le32_to_cpu(slot->rec.payload_crc));
		memcpy(ring->data + (ring->commit_lsn & (ring->size - 1)),
		       &slot->rec, sizeof(slot->rec));
		ring->prev_crc = le32_to_cpu(slot->rec.hdr_crc);
		ring->commit_time_ns = le64_to_cpu(slot->rec.time_ns);
		ring->commit_lsn += slot->bytes;
		ring->commit_seq++;
	}
	return ring->commit_seq != before;
}

/* Everything below lsn may be overwritten. It only grows, up to commit_lsn. */
int dagtap_ring_free(struct dagtap_ring *ring, __u64 lsn)
{
	if (lsn % DAGTAP_ALIGN)
		return -EINVAL;
	if (lsn < ring->freed_lsn || lsn > ring->commit_lsn)
		return -ERANGE;
	ring->freed_lsn = lsn;
	return 0;
}

/* Copies published bytes out of the ring. */
int dagtap_ring_read(const struct dagtap_ring *ring, __u64 lsn, void *dst, __u64 bytes)
{
	__u8 *to = dst;

	if (lsn < ring->freed_lsn || lsn > ring->commit_lsn ||
	    bytes > ring->commit_lsn - lsn)
		return -ERANGE;
	while (bytes) {
		__u64 pos = lsn & (ring->size - 1);
		__u64 room = ring->size - pos;
		__u64 n = bytes < room ? bytes : room;

		memcpy(to, ring->data + pos, n);
		to += n;
		lsn += n;
		bytes -= n;
	}
	return 0;
}
