/* SPDX-License-Identifier: GPL-2.0 */
/*
 * record_walk - follows the chain of records from one to the next: each must be
 * right by itself (kmod/core/record.h), stand at the expected LSN and name the one before it. Pure.
 *
 * An EPOCH record may follow anything, because the member that was made active
 * cannot always know the last record of the one before; everything else only
 * its own predecessor.
 */
#ifndef DAG_RECORD_WALK_H
#define DAG_RECORD_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/uapi/dagtap.h"

/* The largest record: header and payload. */
#define REC_BYTES_MAX	(sizeof(struct dagtap_rec) + DAGTAP_PAYLOAD_MAX)

struct rec_cursor {
	uint64_t lsn;		/* where the next record must stand */
	uint32_t prev_crc;	/* hdr_crc of the record before */
	bool any_prev;		/* prev_crc is not known: take the next as it is */
	bool any;		/* a record was accepted: the fields below count */
	uint32_t epoch;
	uint32_t tag;
	uint32_t seq;
	uint64_t time_ns;
};

/* Bytes of the whole record in the log, padding included. */
uint64_t rec_bytes(const struct dagtap_rec *rec);

/* The chain starts anew at an activation and where the ring began again. */
bool rec_begins_chain(const struct dagtap_rec *rec);

/* NULL when rec is the follower of what cur has seen, else why not, in words. */
const char *rec_cursor_check(const struct rec_cursor *cur, const struct dagtap_rec *rec);
void rec_cursor_advance(struct rec_cursor *cur, const struct dagtap_rec *rec);

/*
 * rec_scan - verify headers, chain and payloads of the records in buf, which
 * holds the log from cur->lsn on; cur is moved behind each good record. Returns
 * the bytes of the good ones. *ret_why: NULL when the next record is incomplete
 * in buf (or buf is used up), else why it is none. *ret_need: bytes from there
 * that the next step wants to see. fn may be NULL; a nonzero result ends the scan
 * in front of that record, without a why.
 */
typedef int (*rec_scan_fn)(void *ctx, const struct dagtap_rec *rec, const void *payload);
size_t rec_scan(struct rec_cursor *cur, const uint8_t *buf, size_t len, rec_scan_fn fn, void *ctx,
		size_t *ret_need, const char **ret_why);

#endif
