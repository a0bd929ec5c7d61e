/* SPDX-License-Identifier: GPL-2.0 */
/*
 * freemap - out of the extents that a file system does not use, the regions of the
 * device of which it uses nothing. Pure.
 */
#ifndef DAG_FREEMAP_H
#define DAG_FREEMAP_H

#include <stdint.h>

struct freemap {
	uint8_t *bits;			/* a bit for each region, least significant first */
	uint64_t bytes;			/* of the device */
	uint32_t region_bytes;
	uint64_t from, end;		/* the run that may go on */
};

/* bits: zero, ALIGN(regions, 8) / 8 bytes; the caller's. */
void freemap_init(struct freemap *fm, uint8_t *bits, uint64_t bytes, uint32_t region_bytes);
/* An extent in bytes, in order or not; what lies outside the device is left out. */
void freemap_add(struct freemap *fm, uint64_t at, uint64_t length);
void freemap_end(struct freemap *fm);

#endif
