// SPDX-License-Identifier: GPL-2.0
/*
 * Frames: whatever is accepted has values in range and encodes to the same bytes.
 * The first byte says whether to mend magic, version and checksum, so that the
 * checks behind them are reached.
 */
#include <endian.h>
#include <string.h>

#include "daemon/ship/frame.h"
#include "daemon/ship/regionset.h"
#include "include/dag/crc32c.h"
#include "tests/fuzz/fuzz.h"

#define MEND(f) ((f)->crc = htole32(dag_crc32c(0, (f), offsetof(__typeof__(*(f)), crc))))

static void hello(const uint8_t *data, size_t size, int mend)
{
	struct dag_hello raw = { 0 }, again;
	struct frame_hello h;

	memcpy(&raw, data, size < sizeof(raw) ? size : sizeof(raw));
	if (mend) {
		raw.magic = htole32(DAG_WIRE_MAGIC);
		raw.version = htole32(DAG_WIRE_VERSION);
		memset(raw.rsvd, 0, sizeof(raw.rsvd));
		MEND(&raw);
	}
	if (frame_hello_decode(&raw, &h))
		return;
	FUZZ_CHECK(h.nr_history <= DAG_HISTORY_MAX && h.oldest_lsn <= h.end_lsn);
	frame_hello_encode(&h, &again);
	FUZZ_CHECK(!memcmp(&raw, &again, sizeof(raw)));
}

static void welcome(const uint8_t *data, size_t size, int mend)
{
	struct dag_welcome raw = { 0 }, again;
	struct frame_welcome w;

	memcpy(&raw, data, size < sizeof(raw) ? size : sizeof(raw));
	if (mend) {
		raw.magic = htole32(DAG_WIRE_MAGIC);
		raw.version = htole32(DAG_WIRE_VERSION);
		memset(raw.rsvd, 0, sizeof(raw.rsvd));
		MEND(&raw);
	}
	if (frame_welcome_decode(&raw, &w))
		return;
	FUZZ_CHECK(w.refusal < DAG_REFUSALS && frame_refusal_text(w.refusal));
	frame_welcome_encode(&w, &again);
	FUZZ_CHECK(!memcmp(&raw, &again, sizeof(raw)));
}

static void ack(const uint8_t *data, size_t size, int mend)
{
	struct dag_ack raw = { 0 }, again;
	struct frame_ack a;

	memcpy(&raw, data, size < sizeof(raw) ? size : sizeof(raw));
	if (mend) {
		raw.magic = htole32(DAG_ACK_MAGIC);
		memset(raw.rsvd, 0, sizeof(raw.rsvd));
		MEND(&raw);
	}
	if (frame_ack_decode(&raw, &a))
		return;
	FUZZ_CHECK(a.replayed_lsn <= a.durable_lsn && a.durable_lsn <= a.received_lsn);
	frame_ack_encode(&a, &again);
	FUZZ_CHECK(!memcmp(&raw, &again, sizeof(raw)));
}

/* A head bounds what is read behind it; bits that pass go into a bitmap of other size. */
static void set(const uint8_t *data, size_t size, int mend)
{
	const uint64_t sectors = (5u << 20) / 512 + 8;	/* 81 regions of the least size */
	struct dag_region_set raw = { 0 }, again;
	uint8_t bits[16] = { 0 }, merged[2] = { 0 };
	struct regionset s;

	memcpy(&raw, data, size < sizeof(raw) ? size : sizeof(raw));
	if (size > sizeof(raw))
		memcpy(bits, data + sizeof(raw), size - sizeof(raw) < sizeof(bits) ?
		       size - sizeof(raw) : sizeof(bits));
	if (mend) {
		raw.magic = htole32(DAG_SET_MAGIC);
		raw.region_bytes = htole32(65536u << (size ? data[0] & 7 : 0));
		raw.regions = htole64((sectors * 512 + le32toh(raw.region_bytes) - 1) /
				      le32toh(raw.region_bytes));
		raw.bits_crc = htole32(dag_crc32c(0, bits, (le64toh(raw.regions) + 7) / 8));
		memset(raw.rsvd, 0, sizeof(raw.rsvd));
		MEND(&raw);
	}
	if (regionset_decode(&raw, sectors, &s))
		return;
	FUZZ_CHECK(s.id && regionset_bytes(s.regions) <= sizeof(bits));
	s.bits = bits;
	if (regionset_check(&s))
		return;
	regionset_encode(&s, &again);
	FUZZ_CHECK(!memcmp(&raw, &again, sizeof(raw)));
	regionset_merge(&s, merged, 11, 512u << 10);
	FUZZ_CHECK(!regionset_count(&s) == !(merged[0] | merged[1]) && !(merged[1] & 0xf8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] >> 1 & 3) {
	case 0: hello(data + 1, size - 1, data[0] & 1); break;
	case 1: welcome(data + 1, size - 1, data[0] & 1); break;
	case 2: set(data + 1, size - 1, data[0] & 1); break;
	default: ack(data + 1, size - 1, data[0] & 1);
	}
	return 0;
}
