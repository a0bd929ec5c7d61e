/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The ring of log bytes. A record is made in four steps:
 *
 *	dagtap_ring_reserve()	gives it its LSN		caller's lock
 *	dagtap_ring_write()	copies and checksums payload	no lock
 *	dagtap_ring_commit()	done; publishes in LSN order	caller's lock
 *	dagtap_ring_free()	the bytes may be overwritten	caller's lock
 *
 * State is private: nothing is ever read back from the ring's memory but by
 * dagtap_ring_read(), which is for readers in the same program.
 */
#ifndef DAGTAP_CORE_RING_H
#define DAGTAP_CORE_RING_H

#include "record.h"

/* Left free by writes and marks, for what must find room: EPOCH, CLOSE, FAIL. */
#define DAGTAP_RING_SPARE	DAGTAP_BLOCK

struct dagtap_slot {
	struct dagtap_rec rec;
	__u32 bytes;		/* of the whole record */
	__u32 done;		/* committed, waits for the ones before it */
};

struct dagtap_ring {
	__u8  *data;
	__u64 size;		/* power of two */
	struct dagtap_slot *slots; /* records between reserve and publication */
	__u32 nr_slots;		/* power of two */
	__u32 epoch;
	__u32 tag;
	__u32 prev_crc;		/* hdr_crc of the newest published record */
	__u64 lsn_limit;	/* no record may reach beyond */
	__u64 reserve_lsn;
	__u64 commit_lsn;
	__u64 freed_lsn;
	__u64 reserve_seq;
	__u64 commit_seq;
	__u64 commit_time_ns;
};

/* A record between reserve and commit. */
struct dagtap_resv {
	__u64 lsn;
	__u64 end_lsn;
	__u64 seq;
	__u32 payload;
};

int dagtap_ring_init(struct dagtap_ring *ring, void *data, __u64 size,
		     struct dagtap_slot *slots, __u32 nr_slots);
int dagtap_ring_reset(struct dagtap_ring *ring, __u64 start_lsn, __u32 epoch,
		      __u32 tag);
int dagtap_ring_continue(struct dagtap_ring *ring, __u32 epoch, __u32 tag);
int dagtap_ring_reserve(struct dagtap_ring *ring, const struct dagtap_rec_spec *spec,
			__u64 keep_free, struct dagtap_resv *ret_resv);
__u32 dagtap_ring_write(struct dagtap_ring *ring, const struct dagtap_resv *resv,
			__u32 offset, const void *src, __u32 bytes, __u32 crc);
bool dagtap_ring_commit(struct dagtap_ring *ring, const struct dagtap_resv *resv,
			__u32 payload_crc);
int dagtap_ring_free(struct dagtap_ring *ring, __u64 lsn);
int dagtap_ring_read(const struct dagtap_ring *ring, __u64 lsn, void *dst,
		     __u64 bytes);

static inline __u64 dagtap_ring_used(const struct dagtap_ring *ring)
{
	return ring->reserve_lsn - ring->freed_lsn;
}

/* Has every record that got an LSN been published? */
static inline bool dagtap_ring_settled(const struct dagtap_ring *ring)
{
	return ring->reserve_seq == ring->commit_seq;
}

#endif
