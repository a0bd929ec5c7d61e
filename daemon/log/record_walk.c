// SPDX-License-Identifier: GPL-2.0
#include "daemon/log/record_walk.h"

#include <endian.h>
#include <string.h>

#include "kmod/core/record.h"

uint64_t rec_bytes(const struct dagtap_rec *rec)
{
	return dagtap_rec_bytes(le32toh(rec->payload));
}

bool rec_begins_chain(const struct dagtap_rec *rec)
{
	return rec->type == DAGTAP_REC_STATE && !rec->prev_crc &&
	       (rec->kind == DAGTAP_STATE_EPOCH || rec->kind == DAGTAP_STATE_GAP);
}

const char *rec_cursor_check(const struct rec_cursor *cur, const struct dagtap_rec *rec)
{
	struct dagtap_rec_expect expect = {
		.what = DAGTAP_EXPECT_LSN,
		.lsn = cur->lsn,
		.prev_crc = cur->prev_crc,
		.tag = cur->tag,
	};
	int rc;

	if (!cur->any_prev && !rec_begins_chain(rec)) {
		expect.what |= DAGTAP_EXPECT_CHAIN;
		if (cur->any)
			expect.what |= DAGTAP_EXPECT_TAG;
	}
	rc = dagtap_rec_verify(rec, &expect);
	if (rc)
		return dagtap_rec_strerror(rc);
	if (cur->any && !cur->any_prev && le32toh(rec->epoch) < cur->epoch)
		return "epoch below the one before";
	return NULL;
}

void rec_cursor_advance(struct rec_cursor *cur, const struct dagtap_rec *rec)
{
	cur->lsn += rec_bytes(rec);
	cur->prev_crc = le32toh(rec->hdr_crc);
	cur->any_prev = false;
	cur->any = true;
	cur->epoch = le32toh(rec->epoch);
	cur->tag = le32toh(rec->tag);
	cur->seq = le32toh(rec->seq);
	cur->time_ns = le64toh(rec->time_ns);
}

size_t rec_scan(struct rec_cursor *cur, const uint8_t *buf, size_t len, rec_scan_fn fn, void *ctx,
		size_t *ret_need, const char **ret_why)
{
	size_t at = 0;

	*ret_why = NULL;
	for (;;) {
		struct dagtap_rec rec;
		const uint8_t *payload = buf + at + sizeof(rec);
		uint64_t whole;
		int rc;

		*ret_need = sizeof(rec);
		if (len - at < sizeof(rec))
			return at;
		/* a copy: buf need not be aligned, and may be changing under a dump */
		memcpy(&rec, buf + at, sizeof(rec));
		*ret_why = rec_cursor_check(cur, &rec);
		if (*ret_why)
			return at;
		whole = rec_bytes(&rec);
		*ret_need = whole;
		if (len - at < whole)
			return at;
		rc = dagtap_rec_verify_payload(&rec, payload);
		if (rc) {
			*ret_why = dagtap_rec_strerror(rc);
			return at;
		}
		if (fn && fn(ctx, &rec, payload))
			return at;
		rec_cursor_advance(cur, &rec);
		at += whole;
	}
}
