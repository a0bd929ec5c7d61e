// SPDX-License-Identifier: GPL-2.0
/*
 * Inspection: a good log of all record types, damaged as the input says (place,
 * value, whether to mend the header's checksum), fed in pieces. Bytes that were
 * not damaged are accepted up to the damage; nothing that is outside the store,
 * of another tag or of a higher epoch is ever accepted.
 */
#include <endian.h>
#include <string.h>

#include "daemon/ship/inspect.h"
#include "include/dag/crc32c.h"
#include "kmod/core/ring.h"
#include "tests/fuzz/fuzz.h"

#define RING	(1u << 15)
#define SLOTS	64
#define TAG	0x1234u
#define EPOCH	3u
#define SECTORS	1000ull

static struct dagtap_ring ring;
static struct dagtap_slot slots[SLOTS];
static uint8_t good[RING] __attribute__((aligned(4096)));
static uint8_t bytes[RING] __attribute__((aligned(4096)));

static void put(uint8_t type, uint8_t kind, uint64_t sector, uint32_t sectors, uint32_t payload)
{
	static const uint8_t data[8192] = { 1, 2, 3 };
	struct dagtap_rec_spec spec = { .type = type, .kind = kind, .sector = sector,
					.sectors = sectors, .payload = payload, .time_ns = 9 };
	struct dagtap_resv resv;

	FUZZ_CHECK(!dagtap_ring_reserve(&ring, &spec, 0, &resv));
	dagtap_ring_commit(&ring, &resv, dagtap_ring_write(&ring, &resv, 0, data, payload, 0));
}

static void make_log(uint64_t start)
{
	dagtap_ring_init(&ring, good, RING, slots, SLOTS);
	dagtap_ring_reset(&ring, start, EPOCH, TAG);
	put(DAGTAP_REC_STATE, DAGTAP_STATE_EPOCH, 0, 0, 64);
	put(DAGTAP_REC_DATA, 0, 3, 8, 4096);
	put(DAGTAP_REC_FLUSH, 0, 0, 0, 0);
	put(DAGTAP_REC_ZEROES, 0, 5, 100, 0);
	put(DAGTAP_REC_MARK, 0, 0, 0, 7);
	put(DAGTAP_REC_STATE, DAGTAP_STATE_SEED_BEGIN, 0, 0, 64);
	put(DAGTAP_REC_RESYNC, 0, 990, 10, 5120);
	put(DAGTAP_REC_STATE, DAGTAP_STATE_SEED_END, 0, 0, 64);
	put(DAGTAP_REC_DISCARD, 0, 0, 1000, 0);
	put(DAGTAP_REC_FAIL, 0, 7, 1, 0);
	put(DAGTAP_REC_DATA, 0, 500, 16, 8192);
}

static int seen(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	FUZZ_CHECK(le32toh(rec->tag) == TAG && le32toh(rec->epoch) <= EPOCH);
	FUZZ_CHECK(dag_crc32c(0, payload, le32toh(rec->payload)) == le32toh(rec->payload_crc));
	return 0;
}

/* Three bytes a damage: where, where, what. Returns the lowest damaged LSN. */
static uint64_t damage(const uint8_t *data, size_t size, uint64_t start, uint64_t end)
{
	uint64_t first = end;

	for (; size >= 4; data += 4, size -= 4) {
		uint64_t lsn = start + ((uint64_t)data[0] << 8 | data[1]) % (end - start);
		uint64_t base = lsn & ~63ull;
		struct dagtap_rec *rec = (void *)(bytes + (base & (RING - 1)));

		if (!data[2])
			continue;
		bytes[lsn & (RING - 1)] ^= data[2];
		if (data[3] & 1)
			rec->hdr_crc = htole32(dag_crc32c(0, rec, 60));
		first = base < first ? base : first;
	}
	return first;
}

/* Whatever was accepted: is it what a tap may have written? */
static void check_accepted(uint64_t start, uint64_t next)
{
	for (uint64_t lsn = start; lsn < next;) {
		struct dagtap_rec rec;

		memcpy(&rec, bytes + (lsn & (RING - 1)), sizeof(rec));
		FUZZ_CHECK(le64toh(rec.lsn) == lsn && le32toh(rec.tag) == TAG);
		FUZZ_CHECK(le32toh(rec.epoch) <= EPOCH);
		FUZZ_CHECK(le64toh(rec.sector) + le32toh(rec.sectors) <= SECTORS);
		lsn += dagtap_rec_bytes(le32toh(rec.payload));
		FUZZ_CHECK(lsn <= next);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t start, end, first, step;
	struct inspect in;

	if (size < 3)
		return 0;
	start = (uint64_t)(data[0] << 8 | data[1]) * 64;
	step = 1 + data[2] * 64ull;
	make_log(start);
	memcpy(bytes, good, RING);
	end = ring.commit_lsn;
	first = damage(data + 3, size - 3, start, end);
	in = (struct inspect) { .ring = { bytes, RING }, .next = start, .sectors = SECTORS,
				.tag = TAG, .epoch_max = EPOCH, .any_prev = true };
	for (uint64_t at = start; ; at = at + step < end ? at + step : end) {
		uint64_t before = in.next;
		int rc = inspect_feed(&in, at, seen, NULL);

		FUZZ_CHECK(in.next >= before && in.next <= at);
		if (rc) {
			FUZZ_CHECK(in.why[0] && first < end);
			break;
		}
		if (at == end)
			break;
	}
	check_accepted(start, in.next);
	FUZZ_CHECK(first < end || in.next == end);
	return 0;
}
