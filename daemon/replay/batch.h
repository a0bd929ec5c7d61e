/* SPDX-License-Identifier: GPL-2.0 */
/*
 * batch - turns a run of records into writes that do not overlap. Pure.
 *
 * Going from the newest record to the oldest, only what no newer one covers is
 * kept; the pieces come out sorted by sector. Within a batch the order of the
 * writes is then of no matter, because the device only counts as replayed at a
 * checkpoint behind the whole batch.
 */
#ifndef DAG_REPLAY_BATCH_H
#define DAG_REPLAY_BATCH_H

#include <stdbool.h>
#include <stdint.h>

struct piece {
	uint64_t sector, end;
	const uint8_t *data;	/* of the first sector; DATA only */
	uint64_t lsn;		/* of the record */
	uint8_t type;		/* DAGTAP_REC_DATA (RESYNC too), _ZEROES or _DISCARD */
	bool nounmap;		/* ZEROES */
	bool stable;		/* data stays until the write is done, not just until
				 * it has been submitted */
};

struct batch {
	struct piece *recs;	/* in the order of the log */
	unsigned nr_recs, max_recs;
	struct piece *pieces;	/* at most twice as many */
	unsigned nr_pieces;
	uint64_t bytes;		/* of data in recs */
	uint64_t start, end;	/* LSNs */
};

int batch_init(struct batch *b, unsigned max_recs);
void batch_free(struct batch *b);
void batch_clear(struct batch *b, uint64_t lsn);
static inline bool batch_full(const struct batch *b)
{
	return b->nr_recs == b->max_recs;
}
void batch_add(struct batch *b, const struct piece *rec);
/* Fills pieces; returns the bytes of data that need not be written. */
uint64_t batch_plan(struct batch *b);

#endif
