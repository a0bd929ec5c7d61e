// SPDX-License-Identifier: GPL-2.0
/* Packs of the log: what goes in comes out, and nothing that is not one does harm. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ship/compress.h"
#include "include/dag/crc32c.h"

#define LOG_BYTES	(1u << 20)

static uint8_t log_in[LOG_BYTES], log_out[LOG_BYTES], wire[2 * LOG_BYTES];

static uint64_t rnd(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

/* Pieces of 64 bytes: so many of four are noise, the others text. */
static void fill(unsigned noise_of_4)
{
	for (size_t i = 0; i < LOG_BYTES; i += 64) {
		bool noise = i / 64 % 4 < noise_of_4;

		for (size_t k = 0; k < 64; k++)
			log_in[i + k] = noise ? (uint8_t)rnd() : (uint8_t)"dagtap log "[k % 11];
	}
}

/* Into packs of random sizes; how many bytes. */
static size_t pack_all(enum dag_codec codec, bool squeeze)
{
	struct packer *pk;
	size_t at = 0, n = 0;
	const void *pack;

	cr_assert_eq(packer_create(codec, &pk), 0);
	while (at < LOG_BYTES) {
		size_t len = 1 + rnd() % DAG_PACK_RAW_MAX, k;

		len = len > LOG_BYTES - at ? LOG_BYTES - at : len;
		k = packer_pack(pk, log_in + at, len, squeeze, &pack);
		cr_assert_leq(k, len + sizeof(struct dag_pack), "K2");
		memcpy(wire + n, pack, k);
		n += k;
		at += len;
	}
	cr_assert_eq(packer_count(pk).raw_bytes, LOG_BYTES);
	cr_assert_eq(packer_count(pk).wire_bytes, n);
	packer_free(pk);
	return n;
}

/* Take what is there, in pieces; 0 or the error. */
static int drain(struct unpacker *up, size_t *at)
{
	const void *log;
	size_t len;
	int rc;

	while ((rc = unpacker_next(up, &log, &len)) > 0) {
		size_t some = 1 + rnd() % len;

		cr_assert_leq(len, DAG_PACK_RAW_MAX, "K3");
		cr_assert_leq(*at + some, LOG_BYTES);
		memcpy(log_out + *at, log, some);
		unpacker_take(up, some);
		*at += some;
	}
	return rc;
}

/* In receives of random sizes; how much of the log came out before the end or an error. */
static size_t unpack_all(enum dag_codec codec, size_t bytes, int *ret)
{
	struct unpacker *up;
	size_t at = 0, n = 0, room;

	cr_assert_eq(unpacker_create(codec, &up), 0);
	*ret = 0;
	while (!*ret && n < bytes) {
		void *to = unpacker_room(up, &room);
		size_t some = 1 + rnd() % (64 << 10);

		cr_assert_gt(room, 0);
		some = some > room ? room : some;
		some = some > bytes - n ? bytes - n : some;
		memcpy(to, wire + n, some);
		unpacker_put(up, some);
		n += some;
		*ret = drain(up, &at);
	}
	if (*ret)
		cr_assert_gt(strlen(unpacker_why(up)), 0);
	unpacker_free(up);
	return at;
}

struct way_case {
	enum dag_codec codec;
	unsigned noise_of_4;
	bool squeeze;
};

ParameterizedTestParameters(compress, comes_out_as_it_went_in)
{
	static struct way_case cases[] = {
		{ DAG_CODEC_LZ4, 0, true }, { DAG_CODEC_LZ4, 2, true }, { DAG_CODEC_LZ4, 4, true },
		{ DAG_CODEC_LZ4, 0, false }, { DAG_CODEC_ZSTD, 0, true }, { DAG_CODEC_ZSTD, 2, true },
		{ DAG_CODEC_ZSTD, 4, true }, { DAG_CODEC_ZSTD, 0, false },
	};

	return cr_make_param_array(struct way_case, cases, sizeof(cases) / sizeof(cases[0]));
}

ParameterizedTest(struct way_case *c, compress, comes_out_as_it_went_in)
{
	size_t bytes;
	int rc;

	fill(c->noise_of_4);
	bytes = pack_all(c->codec, c->squeeze);
	cr_assert_eq(unpack_all(c->codec, bytes, &rc), LOG_BYTES);
	cr_assert_eq(rc, 0);
	cr_assert_eq(memcmp(log_in, log_out, LOG_BYTES), 0, "K1");
	if (c->squeeze && !c->noise_of_4)
		cr_assert_lt(bytes, LOG_BYTES / 8);
	else if (!c->squeeze)
		cr_assert_gt(bytes, LOG_BYTES);
}

/* One pack by hand; payload follows. */
static size_t head_at(size_t n, uint32_t raw, uint32_t payload)
{
	struct dag_pack head = { htole32(DAG_PACK_MAGIC), htole32(raw), htole32(payload), 0 };

	head.crc = htole32(dag_crc32c(0, &head, offsetof(struct dag_pack, crc)));
	memcpy(wire + n, &head, sizeof(head));
	return n + sizeof(head);
}

static void refuses(enum dag_codec codec, size_t bytes, size_t before, const char *what)
{
	int rc;

	cr_assert_eq(unpack_all(codec, bytes, &rc), before, "%s", what);
	cr_assert_eq(rc, -EBADMSG, "%s", what);
}

Test(compress, what_a_pack_says_of_its_size_is_bounded)
{
	static const uint32_t bad[][2] = {
		{ 0, 0 }, { 0, 1 }, { 64, 0 }, { 64, 65 }, { DAG_PACK_RAW_MAX + 1, 10 },
		{ UINT32_MAX, UINT32_MAX }, { UINT32_MAX, 1 }, { 1, UINT32_MAX },
		{ DAG_PACK_RAW_MAX, DAG_PACK_RAW_MAX + 1 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		size_t n = head_at(0, bad[i][0], bad[i][1]);

		refuses(DAG_CODEC_LZ4, n, 0, "size");
		refuses(DAG_CODEC_ZSTD, n, 0, "size");
	}
}

/* A pack that would make more than it says, or less, of few bytes. */
Test(compress, a_bomb_goes_off_nowhere)
{
	static const enum dag_codec codecs[] = { DAG_CODEC_LZ4, DAG_CODEC_ZSTD };
	struct dag_pack head;
	size_t bytes;

	for (size_t i = 0; i < 2; i++) {
		struct packer *pk;
		const void *pack;

		memset(log_in, 0, LOG_BYTES);
		cr_assert_eq(packer_create(codecs[i], &pk), 0);
		bytes = packer_pack(pk, log_in, DAG_PACK_RAW_MAX, true, &pack);
		memcpy(wire, pack, bytes);
		packer_free(pk);
		memcpy(&head, wire, sizeof(head));
		cr_assert_lt(bytes, 4096);
		head_at(0, 8192, le32toh(head.wire_bytes));
		refuses(codecs[i], bytes, 0, "more than it says");
		/* and less: a short frame in a pack that claims the most there can be */
		cr_assert_eq(packer_create(codecs[i], &pk), 0);
		bytes = packer_pack(pk, log_in, 4096, true, &pack);
		memcpy(wire, pack, bytes);
		packer_free(pk);
		memcpy(&head, wire, sizeof(head));
		head_at(0, DAG_PACK_RAW_MAX, le32toh(head.wire_bytes));
		refuses(codecs[i], bytes, 0, "less than it says");
	}
}

Test(compress, one_codec_is_not_the_other)
{
	size_t bytes;

	fill(0);
	bytes = pack_all(DAG_CODEC_LZ4, true);
	refuses(DAG_CODEC_ZSTD, bytes, 0, "lz4 as zstd");
	bytes = pack_all(DAG_CODEC_ZSTD, true);
	refuses(DAG_CODEC_LZ4, bytes, 0, "zstd as lz4");
}

/* A plain log where packs are expected, and every single bit of a head. */
Test(compress, a_damaged_head_is_no_pack)
{
	size_t bytes;
	int rc;

	fill(2);
	memcpy(wire, log_in, 4096);
	refuses(DAG_CODEC_LZ4, 4096, 0, "a plain log");
	bytes = pack_all(DAG_CODEC_ZSTD, true);
	for (unsigned bit = 0; bit < 8 * sizeof(struct dag_pack); bit++) {
		wire[bit / 8] ^= 1u << bit % 8;
		refuses(DAG_CODEC_ZSTD, bytes, 0, "a flipped bit");
		wire[bit / 8] ^= 1u << bit % 8;
	}
	cr_assert_eq(unpack_all(DAG_CODEC_ZSTD, bytes, &rc), LOG_BYTES);
}

/* Cut anywhere it waits for more, and gives only what it has whole. */
Test(compress, a_truncated_pack_is_waited_for)
{
	struct dag_pack head;
	size_t bytes, got;
	int rc;

	fill(2);
	bytes = pack_all(DAG_CODEC_LZ4, true);
	for (unsigned i = 0; i < 200; i++) {
		got = unpack_all(DAG_CODEC_LZ4, rnd() % bytes, &rc);
		cr_assert_eq(rc, 0);
		cr_assert_lt(got, LOG_BYTES);
		cr_assert_eq(memcmp(log_in, log_out, got), 0);
	}
	/* short of its end by less than a head is long */
	memcpy(&head, wire, sizeof(head));
	for (unsigned k = 1; k < 2 * sizeof(head); k++) {
		cr_assert_eq(unpack_all(DAG_CODEC_LZ4, sizeof(head) + le32toh(head.wire_bytes) - k,
					&rc), 0, "%u bytes are missing", k);
		cr_assert_eq(rc, 0);
	}
}

/* A payload that is damaged: an error, or other bytes of the right number, which the
 * checksums of the records find; never more, and the next pack is not misread. */
Test(compress, a_damaged_payload_stays_within_its_bounds)
{
	fill(2);
	for (unsigned i = 0; i < 40; i++) {
		enum dag_codec codec = i % 2 ? DAG_CODEC_LZ4 : DAG_CODEC_ZSTD;
		size_t bytes = pack_all(codec, true), got;
		int rc;

		for (unsigned k = 0; k < 3; k++)
			wire[sizeof(struct dag_pack) + rnd() % (bytes - 16)] = (uint8_t)rnd();
		got = unpack_all(codec, bytes, &rc);
		cr_assert(rc == -EBADMSG || (rc == 0 && got <= LOG_BYTES));
	}
}

Test(compress, an_error_is_for_good)
{
	struct unpacker *up;
	const void *log;
	size_t len, room;
	void *to;

	cr_assert_eq(unpacker_create(DAG_CODEC_LZ4, &up), 0);
	to = unpacker_room(up, &room);
	memset(to, 0xff, 64);
	unpacker_put(up, 64);
	cr_assert_eq(unpacker_next(up, &log, &len), -EBADMSG);
	cr_assert_eq(unpacker_next(up, &log, &len), -EBADMSG);
	cr_assert_str_eq(unpacker_why(up), "no pack begins here");
	unpacker_free(up);
}

Test(compress, names_and_offers)
{
	struct unpacker *up;
	struct packer *pk;
	enum dag_codec c;

	cr_assert_eq(compress_parse("zstd", &c), 0);
	cr_assert_eq(c, DAG_CODEC_ZSTD);
	cr_assert_eq(compress_parse("gzip", &c), -EINVAL);
	cr_assert_str_eq(compress_name(DAG_CODEC_LZ4), "lz4");
	cr_assert_str_eq(compress_name(99), "unknown");
	cr_assert_eq(compress_choose(0), DAG_CODEC_NONE);
	cr_assert_eq(compress_choose(DAG_HELLO_CODEC(7)), DAG_CODEC_NONE, "one of a later build");
	cr_assert_eq(compress_choose(DAG_HELLO_CODEC(7) | DAG_HELLO_CODEC(DAG_CODEC_LZ4)), DAG_CODEC_LZ4);
	cr_assert_eq(compress_choose(DAG_HELLO_CODECS), DAG_CODEC_ZSTD);
	cr_assert_eq(packer_create(DAG_CODEC_NONE, &pk), -EINVAL);
	cr_assert_eq(unpacker_create(9, &up), -EINVAL);
	packer_free(NULL);
	unpacker_free(NULL);
}
