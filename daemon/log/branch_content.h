/* SPDX-License-Identifier: GPL-2.0 */
/*
 * branch_content - what a branch would do to the device.
 *
 * A branch holds the redo of a tail: what a former active wrote behind the last
 * common LSN. It does not hold the rest of the device as it was there, and when the
 * copy has been made equal again nobody does. So a branch alone is no device; it
 * gives the sectors that were written, with their last content.
 */
#ifndef DAG_BRANCH_CONTENT_H
#define DAG_BRANCH_CONTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/log/branch.h"
#include "daemon/log/extents.h"

struct branch_content {
	uint64_t kept_ns;		/* when it was made; 0: not known */
	uint64_t records, writes;	/* writes: DATA, ZEROES and DISCARD */
	uint64_t written_bytes;		/* by them, overwrites counted again */
	uint64_t first_ns, last_ns;	/* time stamps of the first and last record */
	struct extents changed;		/* settled */
	bool counted;			/* false: not read to its end in time, or damaged */
};

/*
 * Headers only. deadline_ms: of CLOCK_MONOTONIC, 0: none; what was counted by then
 * stands in *ret. 0 or -errno; *ret is the caller's to free in any case.
 */
int branch_content(const char *dir, const struct branch *b, uint64_t deadline_ms,
		   struct branch_content *ret);
void branch_content_free(struct branch_content *c);

/*
 * branch_extract - write what it wrote, in its order and every checksum verified, to
 * fd, an image of `sectors`: zeroed and discarded sectors become holes or zeroes.
 * -EBADMSG: a record is damaged or lies outside; what came before it is written. (A
 * last record whose header is damaged looks like the end.)
 */
int branch_extract(const char *dir, const struct branch *b, int fd, uint64_t sectors);

#endif
