// SPDX-License-Identifier: GPL-2.0
/*
 * inspect: a log made by the tap's own core, taken whole, byte by byte, around
 * the end of the ring, and damaged in every way that can be thought of.
 */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ship/inspect.h"
#include "include/dag/crc32c.h"
#include "kmod/core/ring.h"

#define RING	(1u << 16)
#define SLOTS	256
#define TAG	0x7a6b5c4d
#define SECTORS	4096ull

/* The sender's ring and, for each record, where it begins. */
struct sender {
	struct dagtap_ring ring;
	struct dagtap_slot slots[SLOTS];
	uint8_t data[RING] __attribute__((aligned(4096)));
	uint64_t lsn[SLOTS + 1];
	unsigned n;
};

static struct sender s;
static uint8_t receive[RING] __attribute__((aligned(4096)));

static void sender_init(uint64_t start, uint32_t epoch)
{
	memset(&s, 0, sizeof(s));
	cr_assert_eq(dagtap_ring_init(&s.ring, s.data, RING, s.slots, SLOTS), 0);
	cr_assert_eq(dagtap_ring_reset(&s.ring, start, epoch, TAG), 0);
	s.lsn[0] = start;
}

static void put(const struct dagtap_rec_spec *spec)
{
	static uint8_t payload[RING];
	struct dagtap_resv resv;
	uint32_t crc;

	for (uint32_t i = 0; i < spec->payload; i++)
		payload[i] = rand();
	cr_assert_eq(dagtap_ring_reserve(&s.ring, spec, 0, &resv), 0);
	crc = dagtap_ring_write(&s.ring, &resv, 0, payload, spec->payload, 0);
	cr_assert(dagtap_ring_commit(&s.ring, &resv, crc));
	s.lsn[++s.n] = resv.end_lsn;
}

static void put_data(uint64_t sector, uint32_t sectors)
{
	put(&(struct dagtap_rec_spec) { .type = DAGTAP_REC_DATA, .sector = sector,
	    .sectors = sectors, .payload = sectors * 512, .time_ns = 77 + s.n });
}

static void put_state(uint8_t kind)
{
	put(&(struct dagtap_rec_spec) { .type = DAGTAP_REC_STATE, .kind = kind, .payload = 64 });
}

/* One of everything, and payloads that need padding. */
static void put_log(void)
{
	put_state(DAGTAP_STATE_EPOCH);
	put_data(0, 8);
	put(&(struct dagtap_rec_spec) { .type = DAGTAP_REC_FLUSH });
	put(&(struct dagtap_rec_spec) { .type = DAGTAP_REC_MARK, .payload = 5 });
	put(&(struct dagtap_rec_spec) { .type = DAGTAP_REC_DISCARD, .sector = 64, .sectors = 64 });
	put(&(struct dagtap_rec_spec) { .type = DAGTAP_REC_ZEROES, .sector = 128, .sectors = 64 });
	put(&(struct dagtap_rec_spec) { .type = DAGTAP_REC_FAIL, .sector = 1, .sectors = 1 });
	put_state(DAGTAP_STATE_SEED_BEGIN);
	put(&(struct dagtap_rec_spec) { .type = DAGTAP_REC_RESYNC, .sector = SECTORS - 1,
	    .sectors = 1, .payload = 512 });
	put_state(DAGTAP_STATE_SEED_END);
	put(&(struct dagtap_rec_spec) { .type = DAGTAP_REC_MARK, .payload = 0 });
	put_data(3, 3);
	put_state(DAGTAP_STATE_CLOSE);
}

static struct inspect inspector(uint64_t start, uint32_t epoch_max)
{
	memcpy(receive, s.data, RING);
	return (struct inspect) {
		.ring = { .base = receive, .size = RING }, .next = start, .sectors = SECTORS,
		.tag = TAG, .epoch_max = epoch_max, .any_prev = true,
	};
}

static uint8_t *at(uint64_t lsn)
{
	return receive + (lsn & (RING - 1));
}

static struct dagtap_rec *rec_at(unsigned n)
{
	return (struct dagtap_rec *)at(s.lsn[n]);
}

/* A header whose own checksum is right again: only its content is wrong. */
static void reseal(struct dagtap_rec *rec)
{
	rec->hdr_crc = htole32(dag_crc32c(0, rec, 60));
}

static unsigned called;
static int seen(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	cr_assert(rec->type == DAGTAP_REC_STATE || rec->type == DAGTAP_REC_MARK);
	cr_assert_eq(dag_crc32c(0, payload, le32toh(rec->payload)), le32toh(rec->payload_crc));
	called++;
	return ctx && le64toh(rec->lsn) == *(uint64_t *)ctx ? -EROFS : 0;
}

static void expect_refused(struct inspect *in, unsigned n, const char *what)
{
	uint64_t end = s.ring.commit_lsn;

	cr_assert_eq(inspect_feed(in, end, NULL, NULL), -EBADMSG, "%s: accepted", what);
	cr_assert_eq(in->next, s.lsn[n], "%s: stands at %lu", what, in->next);
	cr_assert_eq(in->records, n, "%s", what);
	cr_assert_gt(strlen(in->why), 0, "%s", what);
	cr_assert_eq(inspect_feed(in, end, NULL, NULL), -EBADMSG, "%s: second try", what);
	cr_assert_eq(in->next, s.lsn[n], "%s", what);
}

Test(inspect, whole_log)
{
	struct inspect in;

	sender_init(640, 4);
	put_log();
	in = inspector(640, 4);
	called = 0;
	cr_assert_eq(inspect_feed(&in, s.ring.commit_lsn, seen, NULL), 0, "%s", in.why);
	cr_assert_eq(in.next, s.ring.commit_lsn);
	cr_assert_eq(in.records, s.n);
	cr_assert_eq(in.seq, s.n - 1);
	cr_assert_eq(in.epoch, 4);
	cr_assert_eq(in.prev_crc, s.ring.prev_crc);
	cr_assert_eq(called, 6);
	cr_assert_eq(inspect_feed(&in, s.ring.commit_lsn, seen, NULL), 0, "nothing new");
	cr_assert_eq(in.records, s.n);
}

/* A record counts only when its last byte is there, and at once then. */
Test(inspect, byte_by_byte)
{
	struct inspect in;
	unsigned n = 0;

	sender_init(0, 1);
	put_log();
	in = inspector(0, 1);
	memset(receive, 0xee, RING);
	for (uint64_t end = 0; end <= s.ring.commit_lsn; end++) {
		if (end)
			receive[end - 1] = s.data[end - 1];
		cr_assert_eq(inspect_feed(&in, end, NULL, NULL), 0, "at %lu: %s", end, in.why);
		while (n < s.n && s.lsn[n + 1] <= end)
			n++;
		cr_assert_eq(in.records, n);
		cr_assert_eq(in.next, s.lsn[n]);
	}
	cr_assert_eq(n, s.n);
}

/* Every alignment of the log against the end of the ring. */
Test(inspect, wrap)
{
	for (uint64_t start = RING - 8192; start <= 3 * RING; start += 64) {
		struct inspect in;

		if (start == RING + 64)
			start = 3 * RING - 8192;
		sender_init(start, 1);
		put_log();
		in = inspector(start, 1);
		cr_assert_eq(inspect_feed(&in, s.ring.commit_lsn, seen, NULL), 0, "%lu: %s",
			     start, in.why);
		cr_assert_eq(in.records, s.n);
	}
}

/* Any flipped bit: refused at its record, nothing behind it accepted. */
Test(inspect, every_flipped_bit_is_refused_at_its_record)
{
	sender_init(RING - 2048, 1);
	put_log();
	for (unsigned n = 0; n < s.n; n++) {
		uint64_t bytes = s.lsn[n + 1] - s.lsn[n];

		for (uint64_t off = 0; off < bytes; off += bytes > 512 && off >= 64 ? 13 : 1) {
			struct inspect in = inspector(RING - 2048, 1);

			*at(s.lsn[n] + off) ^= 1u << off % 8;
			expect_refused(&in, n, "flipped bit");
		}
	}
}

#define CASE(n, stmt) do {						\
	struct inspect in = inspector(0, 5);				\
	struct dagtap_rec *r = rec_at(n);				\
	stmt;								\
	reseal(r);							\
	expect_refused(&in, n, #stmt);					\
} while (0)

Test(inspect, well_formed_but_wrong)
{
	sender_init(0, 5);
	put_log();
	CASE(1, r->magic = 0);
	CASE(1, r->type = 0);
	CASE(1, r->type = DAGTAP_REC_TYPES);
	CASE(1, r->kind = 1);
	CASE(7, r->kind = 0);
	CASE(7, r->kind = DAGTAP_STATE_KINDS);
	CASE(1, r->flags = htole16(DAGTAP_RECF_NOUNMAP));
	CASE(1, r->flags = htole16(0x8000));
	CASE(1, r->lsn = htole64(s.lsn[1] + 64));
	CASE(1, r->lsn = htole64(s.lsn[1] + RING));
	CASE(1, r->sectors = 0);
	CASE(1, r->payload = htole32(512));
	CASE(1, r->payload = htole32(0xffffffff));
	CASE(1, r->payload_crc ^= 1);
	CASE(2, r->payload_crc = htole32(1));
	CASE(3, r->payload = htole32(DAGTAP_MARK_MAX + 1));
	CASE(7, r->payload = htole32(128));
	CASE(1, r->tag ^= 1);
	CASE(0, r->tag ^= 1);
	CASE(1, r->prev_crc ^= 1);
	CASE(1, r->prev_crc = 0);
	CASE(12, r->prev_crc = 0);	/* CLOSE begins no chain */
	CASE(1, r->epoch = htole32(6));
	CASE(1, r->epoch = htole32(4));
	CASE(2, r->epoch = htole32(4));
}

Test(inspect, extents_outside_the_store)
{
	static const struct { uint64_t sector; uint32_t sectors; } bad[] = {
		{ SECTORS, 1 }, { SECTORS - 1, 2 }, { SECTORS + 1, 1 }, { (1ull << 54) - 1, 1 },
		{ 0, SECTORS + 1 }, { 1, 0xffffffff }, { UINT64_MAX, 1 }, { UINT64_MAX - 1, 8 },
	};

	sender_init(0, 5);
	put_log();
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (unsigned n = 4; n <= 6; n++)	/* DISCARD, ZEROES, FAIL */
			CASE(n, (r->sector = htole64(bad[i].sector),
				 r->sectors = htole32(bad[i].sectors)));
	CASE(8, r->sector = htole64(SECTORS));		/* RESYNC, one sector */
	CASE(11, r->sector = htole64(SECTORS - 2));	/* DATA, three sectors */
}

Test(inspect, begins_only_where_it_is_told)
{
	struct inspect in;

	sender_init(0, 5);
	put_log();
	in = inspector(s.lsn[3], 5);
	cr_assert_eq(inspect_feed(&in, s.ring.commit_lsn, NULL, NULL), 0, "any_prev: %s", in.why);
	in = inspector(s.lsn[3], 5);
	in.any_prev = false;
	in.prev_crc = le32toh(rec_at(2)->hdr_crc);
	cr_assert_eq(inspect_feed(&in, s.ring.commit_lsn, NULL, NULL), 0, "chain: %s", in.why);
	in = inspector(s.lsn[3], 5);
	in.any_prev = false;
	in.prev_crc = 1;
	cr_assert_eq(inspect_feed(&in, s.ring.commit_lsn, NULL, NULL), -EBADMSG);
	cr_assert_eq(in.next, s.lsn[3]);
	in = inspector(s.lsn[3] + 64, 5);
	cr_assert_eq(inspect_feed(&in, s.ring.commit_lsn, NULL, NULL), -EBADMSG);
	cr_assert_eq(in.records, 0);
}

/* A missing record in the middle: the follower does not fit. */
Test(inspect, chain_break)
{
	struct inspect in;
	struct dagtap_rec *r;

	sender_init(0, 5);
	put_log();
	in = inspector(0, 5);
	r = rec_at(2);		/* the FLUSH again, as if another had been there */
	r->time_ns = htole64(1);
	reseal(r);
	expect_refused(&in, 3, "follower of another record");
}

Test(inspect, epochs_follow_each_other)
{
	uint64_t second, end;
	struct inspect in;

	sender_init(0, 5);
	put_log();
	second = s.ring.reserve_lsn;
	cr_assert_eq(dagtap_ring_reset(&s.ring, second, 7, TAG), 0);
	put_log();
	end = s.ring.commit_lsn;
	in = inspector(0, 7);
	cr_assert_eq(inspect_feed(&in, end, NULL, NULL), 0, "%s", in.why);
	cr_assert_eq(in.epoch, 7);
	in = inspector(0, 6);
	cr_assert_eq(inspect_feed(&in, end, NULL, NULL), -EBADMSG, "connection speaks 6");
	cr_assert_eq(in.next, second);
	in = inspector(second, 7);
	in.epoch = 8;
	cr_assert_eq(inspect_feed(&in, end, NULL, NULL), -EBADMSG, "8 was there before");
	cr_assert_eq(in.next, second);
}

/* The callee's error is passed on, and the record can be tried again. */
Test(inspect, callee_refuses)
{
	struct inspect in;
	uint64_t lsn;

	sender_init(0, 5);
	put_log();
	lsn = s.lsn[7];
	in = inspector(0, 5);
	cr_assert_eq(inspect_feed(&in, s.ring.commit_lsn, seen, &lsn), -EROFS);
	cr_assert_eq(in.next, lsn);
	cr_assert_eq(in.records, 7);
	cr_assert_eq(inspect_feed(&in, s.ring.commit_lsn, seen, NULL), 0);
	cr_assert_eq(in.next, s.ring.commit_lsn);
}

/* A long log through a small ring, in pieces of any size. */
Test(inspect, long_run_in_random_pieces)
{
	uint64_t got = 0;
	struct inspect in;

	srand(3);
	sender_init(0, 1);
	in = inspector(0, 1);
	put_state(DAGTAP_STATE_EPOCH);
	for (int i = 0; i < 20000; i++) {
		uint64_t want;

		s.n = 0;
		while (dagtap_ring_used(&s.ring) < RING / 2)
			put_data(rand() % (SECTORS - 16), 1 + rand() % 16);
		want = got + rand() % (s.ring.commit_lsn - got + 1);
		for (; got < want; got++)
			receive[got & (RING - 1)] = s.data[got & (RING - 1)];
		cr_assert_eq(inspect_feed(&in, got, NULL, NULL), 0, "%s", in.why);
		cr_assert(in.next <= got);
		cr_assert_eq(dagtap_ring_free(&s.ring, in.next), 0);
	}
	cr_assert_gt(in.records, 20000);
}
