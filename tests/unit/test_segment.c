// SPDX-License-Identifier: GPL-2.0
/* Codec of segments, and the chain of records over every cut and every flipped bit. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log/record_walk.h"
#include "daemon/log/segment.h"
#include "tests/lib/logmake.h"

static struct seg_meta sample(void)
{
	struct seg_meta meta = {
		.generation = 0xabcdef, .first_lsn = 123456 * 64, .seg_bytes = 8 << 20,
		.created_ns = 99, .flags = DAG_SEGF_START, .prev_crc = 0x1234,
	};

	memset(meta.uuid, 7, sizeof(meta.uuid));
	return meta;
}

Test(segment, names)
{
	char name[SEG_NAME_BYTES];
	uint64_t gen;

	seg_name(0x1f, name);
	cr_assert_str_eq(name, "000000000000001f.log");
	cr_assert(seg_name_parse(name, &gen));
	cr_assert_eq(gen, 0x1f);
	cr_assert(!seg_name_parse("000000000000001F.log", &gen));
	cr_assert(!seg_name_parse("00000000000001f.log", &gen));
	cr_assert(!seg_name_parse("000000000000001f.logx", &gen));
	cr_assert(!seg_name_parse("spare-1", &gen));
}

Test(segment, header_round_trip_and_any_flipped_bit)
{
	struct seg_meta in = sample(), out;
	struct dag_seg_hdr hdr;
	uint8_t *raw = (uint8_t *)&hdr;

	seg_hdr_encode(&in, &hdr);
	cr_assert_null(seg_hdr_decode(&hdr, &out));
	cr_assert_arr_eq(&in.uuid, &out.uuid, 16);
	cr_assert_eq(in.generation, out.generation);
	cr_assert_eq(in.first_lsn, out.first_lsn);
	cr_assert_eq(in.seg_bytes, out.seg_bytes);
	cr_assert_eq(in.created_ns, out.created_ns);
	cr_assert_eq(in.flags, out.flags);
	cr_assert_eq(in.prev_crc, out.prev_crc);
	for (size_t bit = 0; bit < sizeof(hdr) * 8; bit++) {
		raw[bit / 8] ^= 1 << bit % 8;
		cr_assert_not_null(seg_hdr_decode(&hdr, &out), "bit %zu", bit);
		raw[bit / 8] ^= 1 << bit % 8;
	}
}

Test(segment, header_ranges)
{
	struct dag_seg_hdr hdr;
	struct seg_meta meta, out;

	meta = sample(), meta.seg_bytes = 4096;
	seg_hdr_encode(&meta, &hdr);
	cr_assert_not_null(seg_hdr_decode(&hdr, &out));
	meta = sample(), meta.first_lsn++;
	seg_hdr_encode(&meta, &hdr);
	cr_assert_not_null(seg_hdr_decode(&hdr, &out));
	meta = sample(), meta.first_lsn = UINT64_MAX - 63;
	seg_hdr_encode(&meta, &hdr);
	cr_assert_not_null(seg_hdr_decode(&hdr, &out));
	meta = sample(), meta.flags = 0x80;
	seg_hdr_encode(&meta, &hdr);
	cr_assert_not_null(seg_hdr_decode(&hdr, &out));
}

static uint8_t *small_log(uint64_t lsn, size_t *ret_len, uint64_t bound[6])
{
	struct logmake m;
	uint8_t *buf;

	logmake_init(&m, 1 << 20, lsn);
	bound[0] = 0;
	logmake_epoch(&m, 3);
	bound[1] = m.lsn - lsn;
	logmake_extent(&m, DAGTAP_REC_DATA, 8, 1, 1);
	bound[2] = m.lsn - lsn;
	logmake_flush(&m);
	bound[3] = m.lsn - lsn;
	logmake_mark(&m, "a name");
	bound[4] = m.lsn - lsn;
	logmake_extent(&m, DAGTAP_REC_RESYNC, 80, 2, 2);
	bound[5] = *ret_len = m.lsn - lsn;
	buf = malloc(*ret_len);
	logmake_copy(&m, lsn, buf, *ret_len);
	logmake_free(&m);
	return buf;
}

Test(segment, scan_stops_at_every_cut)
{
	const uint64_t lsn = 64 * 1001;
	uint64_t bound[6];
	const char *why;
	size_t len, need;
	uint8_t *buf = small_log(lsn, &len, bound);

	for (size_t cut = 0; cut <= len; cut++) {
		struct rec_cursor cur = { .lsn = lsn };
		uint8_t *part = malloc(cut ? cut : 1);	/* its end is guarded under ASan */
		size_t got, want = 0;

		memcpy(part, buf, cut);
		for (int i = 0; i < 6; i++)
			if (bound[i] <= cut)
				want = bound[i];
		got = rec_scan(&cur, part, cut, NULL, NULL, &need, &why);
		cr_assert_eq(got, want, "cut %zu", cut);
		cr_assert_eq(cur.lsn, lsn + want);
		cr_assert_null(why);
		cr_assert_gt(need, cut - got);
		free(part);
	}
	free(buf);
}

Test(segment, scan_refuses_every_flipped_bit)
{
	const uint64_t lsn = 64 * 1001;
	uint64_t bound[6];
	const char *why;
	size_t len, need;
	uint8_t *buf = small_log(lsn, &len, bound);

	for (size_t bit = 0; bit < len * 8; bit++) {
		struct rec_cursor cur = { .lsn = lsn };
		size_t at = bit / 8, got, want = 0;
		/* padding of the mark is not covered, and means nothing */
		bool padding = at >= bound[3] + 64 + 6 && at < bound[4];

		for (int i = 0; i < 6; i++)
			if (bound[i] <= at)
				want = bound[i];
		buf[at] ^= 1 << bit % 8;
		got = rec_scan(&cur, buf, len, NULL, NULL, &need, &why);
		buf[at] ^= 1 << bit % 8;
		cr_assert_eq(got, padding ? len : want, "bit %zu", bit);
		cr_assert(padding || why);
	}
	free(buf);
}

Test(segment, chain_and_epochs)
{
	struct rec_cursor cur = { .lsn = 640 };
	struct logmake m;
	const char *why;
	size_t need;

	logmake_init(&m, 1 << 20, 640);
	logmake_flush(&m);
	m.prev_crc ^= 1;
	logmake_flush(&m);
	cr_assert_eq(rec_scan(&cur, m.base + 640, m.lsn - 640, NULL, NULL, &need, &why), 64);
	cr_assert_str_eq(why, "not the follower of the record before");

	/* an epoch may follow anything, but not go back */
	m.lsn = 704;
	logmake_epoch(&m, 5);
	m.tag++;
	logmake_epoch(&m, 6);
	logmake_flush(&m);
	logmake_epoch(&m, 4);
	rec_scan(&cur, m.base + 704, m.lsn - 704, NULL, NULL, &need, &why);
	cr_assert_eq(cur.lsn, 704 + 128 + 128 + 64);
	cr_assert_str_eq(why, "epoch below the one before");
	cr_assert_eq(cur.epoch, 6);
	logmake_free(&m);
}

Test(segment, residue_is_found_only_at_its_own_lsn)
{
	uint64_t bound[6];
	size_t len;
	uint8_t *buf = small_log(6400, &len, bound);

	cr_assert_eq(seg_residue(buf, len, 6400), bound[4] + 64);
	cr_assert_eq(seg_residue(buf, len, 12800), 0);
	cr_assert_eq(seg_residue(buf, 63, 6400), 0);
	free(buf);
}
