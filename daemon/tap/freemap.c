// SPDX-License-Identifier: GPL-2.0
#include "daemon/tap/freemap.h"

void freemap_init(struct freemap *fm, uint8_t *bits, uint64_t bytes, uint32_t region_bytes)
{
	*fm = (struct freemap){ .bits = bits, .bytes = bytes, .region_bytes = region_bytes };
}

/* The last region of a device may be short. */
static void close_run(struct freemap *fm)
{
	uint64_t size = fm->region_bytes, to = fm->end / size, r;

	if (fm->end == fm->bytes)
		to = fm->bytes / size + !!(fm->bytes % size);
	for (r = fm->from / size + !!(fm->from % size); r < to; r++)
		fm->bits[r / 8] |= (uint8_t)(1u << r % 8);
	fm->from = fm->end = 0;
}

void freemap_add(struct freemap *fm, uint64_t at, uint64_t length)
{
	if (at >= fm->bytes)
		return;
	if (length > fm->bytes - at)
		length = fm->bytes - at;
	if (at != fm->end) {
		close_run(fm);
		fm->from = at;
	}
	fm->end = at + length;
}

void freemap_end(struct freemap *fm)
{
	close_run(fm);
}
