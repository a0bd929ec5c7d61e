/* SPDX-License-Identifier: GPL-2.0 */
/*
 * inspect - checks the bytes that a passive copy receives, record by record,
 * before anything else looks at them. Pure: works on the receive ring.
 *
 * A record is accepted when header and payload checksums are right, it stands at
 * the expected LSN, names the record before it (or begins an epoch or, at a
 * start, anything), carries the store's tag, and its epoch is not above the
 * connection's and not below the one of the record before.
 */
#ifndef DAG_INSPECT_H
#define DAG_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/log/seglog.h"
#include "include/uapi/dagtap.h"

struct inspect {
	struct seglog_ring ring;
	uint64_t next;		/* LSN of the next record = end of what is accepted */
	uint64_t sectors;	/* of the store */
	uint32_t tag;
	uint32_t epoch_max;	/* of the connection */
	uint32_t epoch;		/* of the record before, 0: none */
	uint32_t prev_crc;
	bool any_prev;		/* do not check prev_crc on the next record */
	uint32_t seq;		/* of the newest accepted record */
	uint64_t time_ns;
	uint64_t records;
	uint64_t resync_bytes;	/* of extents of RESYNC records accepted */
	uint64_t resync_sector;	/* end of the newest of them */
	char why[128];		/* of a refusal */
};

/* A record that changes more than the device: STATE or MARK; payload unwrapped. */
typedef int (*inspect_fn)(void *ctx, const struct dagtap_rec *rec, const void *payload);

/*
 * inspect_feed - look at ring bytes [next, end), accept whole records. Returns 0
 * or -EBADMSG with the reason in why; next stands at the bad record then. fn()
 * is called for each accepted STATE and MARK record; its error is passed on and
 * the record is not accepted.
 */
int inspect_feed(struct inspect *in, uint64_t end, inspect_fn fn, void *ctx);

#endif
