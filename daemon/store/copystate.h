/* SPDX-License-Identifier: GPL-2.0 */
/*
 * copystate - what one copy must remember over a crash, in two 4 KiB blocks that
 * are written alternately (O_DSYNC): a torn write leaves the older one.
 *
 * The codec (copystate_encode, copystate_decode, copystate_pick) is pure.
 */
#ifndef DAG_COPYSTATE_H
#define DAG_COPYSTATE_H

#include <stdbool.h>
#include <stdint.h>

#define COPYSTATE_HISTORY_MAX	128
#define COPYSTATE_BLOCK		4096
#define COPYSTATE_COMMENT_MAX	512

struct copystate_epoch {
	uint32_t epoch;
	uint64_t first_lsn;
};

struct copystate_data {
	uint8_t uuid[16];		/* store */
	uint64_t version;		/* +1 at each write */
	uint32_t promised_epoch;	/* no record of a lower one is taken */
	bool suspended;			/* shipping and replay */
	bool activation_blocked;
	bool failed_suspended;		/* it failed for too long; comment says why */
	/* The device holds the log up to replayed_lsn, and nothing else … */
	uint64_t replayed_lsn;
	uint32_t replayed_crc;		/* hdr_crc of the record that ends there; 0: start */
	/* … unless inconsistent_until is above it: then a seed is being applied and
	 * the device is whole only when replayed_lsn has reached it. */
	uint64_t inconsistent_until;
	/* A seed that arrives: its id, the LSN from which the log is applied once the
	 * seed is whole, and the end of SEED_END once known. Zero: none. */
	uint8_t seed[16];
	uint64_t seed_begin_lsn;
	uint64_t seed_end_lsn;
	/* With a gap before seed_begin_lsn: the image ends here, replay holds. */
	uint64_t seed_hold_lsn;
	/* Active: intent bits cover every region changed at or after this LSN. */
	uint64_t bits_since_lsn;
	/* Active: a copy whose log goes on at or before this LSN meets a GAP there, and has
	 * to be seeded. 0: there is none. */
	uint64_t gap_lsn;
	/* Number of the newest request for a full seed that was followed. */
	uint32_t seed_request;
	bool have_image;		/* an older image stands: a prefix of the history … */
	/* … or a branch of it: this copy was active, and its device differs from the log
	 * at replayed_lsn just in the intent regions that the tap still holds. They go to
	 * the active as the set branch_id; inconsistent_until is UINT64_MAX until a seed
	 * that includes them is whole. */
	bool branch;
	uint64_t branch_id;
	uint32_t nr_history;		/* oldest first */
	struct copystate_epoch history[COPYSTATE_HISTORY_MAX];
	char comment[COPYSTATE_COMMENT_MAX + 1];
};

void copystate_encode(const struct copystate_data *data, uint8_t block[COPYSTATE_BLOCK]);
/* -EBADMSG: damaged; -EUCLEAN: another store; -EPROTONOSUPPORT: newer format. */
int copystate_decode(const uint8_t block[COPYSTATE_BLOCK], const uint8_t uuid[16],
		     struct copystate_data *ret);

/*
 * copystate_pick - the newer good one of two blocks, and which it was. One may be
 * torn; one of another store or of a newer format is refused all the same.
 */
int copystate_pick(const uint8_t blocks[2][COPYSTATE_BLOCK], const uint8_t uuid[16],
		   struct copystate_data *ret, unsigned *ret_slot);

/*
 * The copy was active last and did not end in order: its device runs ahead of
 * replayed_lsn by an unknown part of a log that the others may not have.
 */
static inline bool copystate_former(const struct copystate_data *d)
{
	return d->have_image && !d->branch && d->inconsistent_until == UINT64_MAX;
}

/* copystate_end_branch - the image is none, or is about to become another. */
static inline void copystate_end_branch(struct copystate_data *d)
{
	d->branch = false;
	d->branch_id = 0;
}

struct copystate;
/* Open or, if make, create path. Thread-safe from here on. */
int copystate_open(const char *path, const uint8_t uuid[16], bool make, struct copystate **ret);
void copystate_close(struct copystate *cs);
void copystate_get(struct copystate *cs, struct copystate_data *ret);
/*
 * copystate_update - apply edit() to the data under the lock and make it
 * durable. On failure nothing has changed, in memory neither.
 */
int copystate_update(struct copystate *cs, void (*edit)(struct copystate_data *data, void *ctx), void *ctx);

#endif
