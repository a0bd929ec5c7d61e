// SPDX-License-Identifier: GPL-2.0
#include "daemon/replay/batch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "include/uapi/dagtap.h"

int batch_init(struct batch *b, unsigned max_recs)
{
	memset(b, 0, sizeof(*b));
	b->max_recs = max_recs;
	b->recs = calloc(max_recs, sizeof(*b->recs));
	/* disjoint pieces begin at different ends of records: two for each */
	b->pieces = calloc(2 * max_recs, sizeof(*b->pieces));
	return b->recs && b->pieces ? 0 : -ENOMEM;
}

void batch_free(struct batch *b)
{
	free(b->recs);
	free(b->pieces);
}

void batch_clear(struct batch *b, uint64_t lsn)
{
	b->nr_recs = b->nr_pieces = 0;
	b->bytes = 0;
	b->start = b->end = lsn;
}

void batch_add(struct batch *b, const struct piece *rec)
{
	assert(!batch_full(b) && rec->sector < rec->end);
	b->recs[b->nr_recs++] = *rec;
	if (rec->type == DAGTAP_REC_DATA)
		b->bytes += (rec->end - rec->sector) * DAGTAP_SECTOR;
}

static struct piece part_of(const struct piece *rec, uint64_t from, uint64_t to)
{
	struct piece part = *rec;

	part.sector = from;
	part.end = to;
	if (part.data)
		part.data += (from - rec->sector) * DAGTAP_SECTOR;
	return part;
}

static void insert_at(struct batch *b, unsigned i, const struct piece *p)
{
	assert(b->nr_pieces < 2 * b->max_recs);
	memmove(&b->pieces[i + 1], &b->pieces[i], (b->nr_pieces - i) * sizeof(*p));
	b->pieces[i] = *p;
	b->nr_pieces++;
}

/* First piece that ends behind the sector. */
static unsigned find(const struct batch *b, uint64_t sector)
{
	unsigned low = 0, high = b->nr_pieces;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (b->pieces[mid].end <= sector)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint64_t batch_plan(struct batch *b)
{
	uint64_t kept = 0;

	b->nr_pieces = 0;
	for (unsigned n = b->nr_recs; n-- > 0;) {
		const struct piece *rec = &b->recs[n];
		uint64_t at = rec->sector;
		unsigned i = find(b, at);

		/* fill the gaps between the newer pieces */
		while (at < rec->end) {
			uint64_t next = i < b->nr_pieces ? b->pieces[i].sector : UINT64_MAX;

			if (at < next) {
				struct piece part = part_of(rec, at, next < rec->end ? next : rec->end);

				insert_at(b, i++, &part);
				if (part.type == DAGTAP_REC_DATA)
					kept += (part.end - part.sector) * DAGTAP_SECTOR;
				if (next >= rec->end)
					break;
			}
			at = b->pieces[i++].end;
		}
	}
	return b->bytes - kept;
}
