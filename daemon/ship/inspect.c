// SPDX-License-Identifier: GPL-2.0
#include "daemon/ship/inspect.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/log/record_walk.h"
#include "include/dag/crc32c.h"
#include "kmod/core/record.h"

static const uint8_t *ring_at(const struct inspect *in, uint64_t lsn)
{
	return (const uint8_t *)in->ring.base + (lsn & (in->ring.size - 1));
}

/* A payload may wrap: copy it out only for the few records that need it whole. */
static void ring_copy(const struct inspect *in, uint64_t lsn, void *to, size_t len)
{
	size_t left = in->ring.size - (lsn & (in->ring.size - 1));

	if (left > len)
		left = len;
	memcpy(to, ring_at(in, lsn), left);
	memcpy((uint8_t *)to + left, in->ring.base, len - left);
}

static uint32_t ring_crc(const struct inspect *in, uint64_t lsn, size_t len)
{
	size_t left = in->ring.size - (lsn & (in->ring.size - 1));
	uint32_t crc;

	if (left >= len)
		return dag_crc32c(0, ring_at(in, lsn), len);
	crc = dag_crc32c(0, ring_at(in, lsn), left);
	return dag_crc32c(crc, in->ring.base, len - left);
}

/* No checksum covers the padding, and it goes to the log as it is. */
static bool padding_ok(const struct inspect *in, uint64_t lsn, uint64_t end)
{
	for (; lsn < end; lsn++)
		if (*ring_at(in, lsn))
			return false;
	return true;
}

__attribute__((format(printf, 2, 3)))
static int refuse(struct inspect *in, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(in->why, sizeof(in->why), fmt, ap);
	va_end(ap);
	return -EBADMSG;
}

/* What the record says of itself is right; does it belong here? */
static int check_place(struct inspect *in, const struct dagtap_rec *rec)
{
	uint32_t epoch = le32toh(rec->epoch);

	if (le32toh(rec->tag) != in->tag)
		return refuse(in, "tag %08x instead of %08x", le32toh(rec->tag), in->tag);
	if (epoch > in->epoch_max || epoch < in->epoch)
		return refuse(in, "epoch %u outside %u..%u", epoch, in->epoch, in->epoch_max);
	if (!in->any_prev && !rec_begins_chain(rec) && le32toh(rec->prev_crc) != in->prev_crc)
		return refuse(in, "follows %08x instead of %08x", le32toh(rec->prev_crc),
			      in->prev_crc);
	if (le64toh(rec->sector) > in->sectors ||
	    le32toh(rec->sectors) > in->sectors - le64toh(rec->sector))
		return refuse(in, "extent outside the store");
	return 0;
}

static int inspect_one(struct inspect *in, uint64_t end, inspect_fn fn, void *ctx)
{
	struct dagtap_rec_expect expect = { .what = DAGTAP_EXPECT_LSN };
	struct dagtap_rec rec;
	uint8_t small[DAGTAP_MARK_MAX];
	uint32_t payload;
	uint64_t whole;
	int rc;

	if (end - in->next < sizeof(rec))
		return 0;
	memcpy(&rec, ring_at(in, in->next), sizeof(rec));
	expect.lsn = in->next;
	rc = dagtap_rec_verify(&rec, &expect);
	if (rc)
		return refuse(in, "bad header: %s", dagtap_rec_strerror(rc));
	rc = check_place(in, &rec);
	if (rc)
		return rc;
	payload = le32toh(rec.payload);
	whole = dagtap_rec_bytes(payload);
	if (end - in->next < whole)
		return 0;
	if (payload && ring_crc(in, in->next + sizeof(rec), payload) != le32toh(rec.payload_crc))
		return refuse(in, "payload checksum");
	if (!padding_ok(in, in->next + sizeof(rec) + payload, in->next + whole))
		return refuse(in, "padding is not zero");
	if (fn && (rec.type == DAGTAP_REC_STATE || rec.type == DAGTAP_REC_MARK)) {
		ring_copy(in, in->next + sizeof(rec), small, payload);
		rc = fn(ctx, &rec, small);
		if (rc)
			return rc;
	}
	in->next += whole;
	in->prev_crc = le32toh(rec.hdr_crc);
	in->any_prev = false;
	in->epoch = le32toh(rec.epoch);
	in->seq = le32toh(rec.seq);
	in->time_ns = le64toh(rec.time_ns);
	in->records++;
	if (rec.type == DAGTAP_REC_RESYNC) {
		in->resync_bytes += (uint64_t)le32toh(rec.sectors) * DAGTAP_SECTOR;
		in->resync_sector = le64toh(rec.sector) + le32toh(rec.sectors);
	}
	return 1;
}

int inspect_feed(struct inspect *in, uint64_t end, inspect_fn fn, void *ctx)
{
	int rc;

	do {
		rc = inspect_one(in, end, fn, ctx);
	} while (rc > 0);
	return rc;
}
