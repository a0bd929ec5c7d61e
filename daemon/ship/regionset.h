/* SPDX-License-Identifier: GPL-2.0 */
/*
 * regionset - a set of regions of a device, as a copy tells its active in which its
 * device differs from the log. Pure. Format: struct dag_region_set in
 * include/dag/wire.h.
 */
#ifndef DAG_REGIONSET_H
#define DAG_REGIONSET_H

#include <stdbool.h>
#include <stdint.h>

#include "include/dag/wire.h"

struct regionset {
	uint64_t id;		/* 0: none */
	uint64_t regions;
	uint32_t region_bytes;
	uint32_t crc;		/* of the bits, as the head says */
	uint8_t *bits;		/* regionset_bytes(regions), or NULL */
};

/* Bytes of the bitmap of so many regions. */
uint64_t regionset_bytes(uint64_t regions);

/* The head of what bits say now. */
void regionset_encode(const struct regionset *set, struct dag_region_set *ret);
/*
 * regionset_decode - a head that came, for a device of so many sectors, which bounds
 * what follows. -EPROTO: magic or reserved bytes; -EBADMSG: checksum; -EINVAL: no id,
 * or regions that do not cover the device. *ret is untouched then; its bits are NULL.
 */
int regionset_decode(const struct dag_region_set *head, uint64_t sectors, struct regionset *ret);
/* Are the bits that came behind the head the ones it was made for? -EBADMSG, -EINVAL. */
int regionset_check(const struct regionset *set);

/* Add the set to a bitmap of the same device with regions of another size. */
void regionset_merge(const struct regionset *set, uint8_t *bits, uint64_t regions,
		     uint32_t region_bytes);
uint64_t regionset_count(const struct regionset *set);
void regionset_free(struct regionset *set);

#endif
