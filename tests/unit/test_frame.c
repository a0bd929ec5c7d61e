// SPDX-License-Identifier: GPL-2.0
/*
 * frame: round trips, and that no damaged or out-of-range frame is accepted or
 * leaves a trace in the result.
 */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ship/frame.h"
#include "include/dag/crc32c.h"

#define CANARY 0xa5

static struct frame_hello good_hello(void)
{
	struct frame_hello h = {
		.kind = DAG_KIND_LOG, .group_generation = 3, .epoch = 7,
		.oldest_lsn = 4096, .end_lsn = 1 << 20, .nonce = 0xdeadbeef, .nr_history = 3,
		.history = { { 2, 0 }, { 5, 8192 }, { 7, 8192 } },
	};

	memset(h.group, 0x11, 16);
	memset(h.store, 0x22, 16);
	return h;
}

static struct frame_welcome good_welcome(void)
{
	struct frame_welcome w = {
		.refusal = DAG_OK, .nonce = 9, .epoch = 7, .resume = DAG_RESUME_REGIONS,
		.resume_lsn = 640, .have_lsn = 64, .received_lsn = 640, .durable_lsn = 128,
		.replayed_lsn = 64, .seed_lsn = 64, .seed_cursor = 17,
	};

	memset(w.seed, 0x33, 16);
	return w;
}

static struct frame_ack good_ack(void)
{
	return (struct frame_ack) {
		.state = DAG_COPY_HEALTHY, .epoch = 7, .seq = 100, .replayed_seq = 90,
		.error = 5, .received_lsn = 6400, .durable_lsn = 640, .replayed_lsn = 64,
		.inspected_time_ns = 1, .replayed_time_ns = 2, .log_bytes = 3,
		.space_left = 4, .seed_done = 5, .seed_total = 6,
	};
}

/* A changed field with a right checksum: only the check of the value can object. */
#define RESEAL(f) ((f)->crc = htole32(dag_crc32c(0, (f), offsetof(__typeof__(*(f)), crc))))

static void expect_hello(struct dag_hello *raw, int want, const char *what)
{
	struct frame_hello out, before;

	memset(&out, CANARY, sizeof(out));
	memcpy(&before, &out, sizeof(out));
	cr_assert_eq(frame_hello_decode(raw, &out), want, "%s", what);
	cr_assert_arr_eq(&out, &before, sizeof(out), "%s: result was touched", what);
}

static void expect_welcome(struct dag_welcome *raw, int want, const char *what)
{
	struct frame_welcome out, before;

	memset(&out, CANARY, sizeof(out));
	memcpy(&before, &out, sizeof(out));
	cr_assert_eq(frame_welcome_decode(raw, &out), want, "%s", what);
	cr_assert_arr_eq(&out, &before, sizeof(out), "%s: result was touched", what);
}

static void expect_ack(struct dag_ack *raw, int want, const char *what)
{
	struct frame_ack out, before;

	memset(&out, CANARY, sizeof(out));
	memcpy(&before, &out, sizeof(out));
	cr_assert_eq(frame_ack_decode(raw, &out), want, "%s", what);
	cr_assert_arr_eq(&out, &before, sizeof(out), "%s: result was touched", what);
}

Test(frame, hello_round_trip)
{
	struct frame_hello in = good_hello(), out;
	struct dag_hello raw, again;

	frame_hello_encode(&in, &raw);
	cr_assert_eq(frame_hello_decode(&raw, &out), 0);
	cr_assert_eq(out.kind, in.kind);
	cr_assert_eq(out.group_generation, in.group_generation);
	cr_assert_eq(out.nonce, in.nonce);
	cr_assert_eq(out.nr_history, in.nr_history);
	cr_assert_eq(out.history[1].first_lsn, 8192);
	frame_hello_encode(&out, &again);
	cr_assert_arr_eq(&raw, &again, sizeof(raw));
}

Test(frame, hello_full_history_round_trip)
{
	struct frame_hello in = good_hello(), out;
	struct dag_hello raw;

	in.nr_history = DAG_HISTORY_MAX;
	in.epoch = DAG_HISTORY_MAX;
	for (uint32_t i = 0; i < DAG_HISTORY_MAX; i++)
		in.history[i] = (struct frame_epoch) { i + 1, i * 128 };
	frame_hello_encode(&in, &raw);
	cr_assert_eq(frame_hello_decode(&raw, &out), 0);
	cr_assert_arr_eq(out.history, in.history, sizeof(in.history));
}

Test(frame, welcome_round_trip)
{
	struct frame_welcome in = good_welcome(), out;
	struct dag_welcome raw, again;

	for (int refusal = DAG_OK; refusal < DAG_REFUSALS; refusal++) {
		in.refusal = refusal;
		in.resume = refusal ? 0 : DAG_RESUME_FULL;
		frame_welcome_encode(&in, &raw);
		cr_assert_eq(frame_welcome_decode(&raw, &out), 0);
		cr_assert_eq((int)out.refusal, refusal);
		frame_welcome_encode(&out, &again);
		cr_assert_arr_eq(&raw, &again, sizeof(raw));
	}
}

Test(frame, ack_round_trip)
{
	struct frame_ack in = good_ack(), out;
	struct dag_ack raw, again;

	for (int state = 0; state < DAG_COPY_STATES; state++) {
		in.state = state;
		frame_ack_encode(&in, &raw);
		cr_assert_eq(frame_ack_decode(&raw, &out), 0);
		cr_assert_eq(out.seed_total, 6);
		frame_ack_encode(&out, &again);
		cr_assert_arr_eq(&raw, &again, sizeof(raw));
	}
}

/* Any flipped bit anywhere is noticed, in reserved bytes and checksum too. */
Test(frame, every_flipped_bit_is_refused)
{
	struct frame_hello h = good_hello(), ho;
	struct frame_welcome w = good_welcome(), wo;
	struct frame_ack a = good_ack(), ao;
	struct dag_hello hr;
	struct dag_welcome wr;
	struct dag_ack ar;

	frame_hello_encode(&h, &hr);
	frame_welcome_encode(&w, &wr);
	frame_ack_encode(&a, &ar);
	for (size_t bit = 0; bit < sizeof(hr) * 8; bit++) {
		((uint8_t *)&hr)[bit / 8] ^= 1u << bit % 8;
		cr_assert_lt(frame_hello_decode(&hr, &ho), 0, "hello bit %zu", bit);
		((uint8_t *)&hr)[bit / 8] ^= 1u << bit % 8;
	}
	for (size_t bit = 0; bit < sizeof(wr) * 8; bit++) {
		((uint8_t *)&wr)[bit / 8] ^= 1u << bit % 8;
		cr_assert_lt(frame_welcome_decode(&wr, &wo), 0, "welcome bit %zu", bit);
		((uint8_t *)&wr)[bit / 8] ^= 1u << bit % 8;
	}
	for (size_t bit = 0; bit < sizeof(ar) * 8; bit++) {
		((uint8_t *)&ar)[bit / 8] ^= 1u << bit % 8;
		cr_assert_lt(frame_ack_decode(&ar, &ao), 0, "ack bit %zu", bit);
		((uint8_t *)&ar)[bit / 8] ^= 1u << bit % 8;
	}
}

#define HELLO_CASE(want, stmt) do {					\
	struct frame_hello h_ = good_hello();				\
	struct dag_hello r;						\
	frame_hello_encode(&h_, &r);					\
	stmt;								\
	RESEAL(&r);							\
	expect_hello(&r, want, #stmt);					\
} while (0)

Test(frame, hello_values_out_of_range)
{
	HELLO_CASE(-EPROTO, r.magic = htole32(DAG_WIRE_MAGIC + 1));
	HELLO_CASE(-EPROTONOSUPPORT, r.version = htole32(DAG_WIRE_VERSION + 1));
	HELLO_CASE(-EPROTONOSUPPORT, r.version = 0);
	HELLO_CASE(-EPROTO, r.flags = htole32(1));
	HELLO_CASE(-EPROTO, r.rsvd0 = htole32(1));
	for (size_t i = 0; i < sizeof(((struct dag_hello *)0)->rsvd); i++)
		HELLO_CASE(-EPROTO, r.rsvd[i] = 1);
	HELLO_CASE(-EINVAL, r.kind = 0);
	HELLO_CASE(-EINVAL, r.kind = htole32(DAG_KIND_FETCH + 1));
	HELLO_CASE(-EINVAL, r.kind = htole32(0xffffffff));
	HELLO_CASE(-EINVAL, r.nr_history = htole32(DAG_HISTORY_MAX + 1));
	HELLO_CASE(-EINVAL, r.nr_history = htole32(0xffffffff));
	HELLO_CASE(-EINVAL, r.oldest_lsn = htole64(4097));
	HELLO_CASE(-EINVAL, r.end_lsn = htole64((1 << 20) + 1));
	HELLO_CASE(-EINVAL, r.oldest_lsn = htole64((1 << 20) + 64));
	HELLO_CASE(-EINVAL, r.end_lsn = 0);
	HELLO_CASE(-EINVAL, r.history[1].rsvd = htole32(1));
	HELLO_CASE(-EINVAL, r.history[1].first_lsn = htole64(63));
	HELLO_CASE(-EINVAL, r.history[1].epoch = htole32(2));
	HELLO_CASE(-EINVAL, r.history[2].epoch = htole32(4));
	HELLO_CASE(-EINVAL, r.history[2].first_lsn = htole64(8128));
	HELLO_CASE(-EINVAL, r.nr_history = htole32(4));	/* the fourth is zero */
	HELLO_CASE(-EINVAL, r.nr_history = htole32(2));	/* the third is left over */
	HELLO_CASE(-EINVAL, r.history[2].epoch = htole32(8)); /* above the sender's */
}

/* A connection for RPC says nothing about a store. */
Test(frame, rpc_hello_names_no_store)
{
	struct frame_hello in = { .kind = DAG_KIND_RPC, .nonce = 5, .group_generation = 1 }, out;
	struct dag_hello r;

	frame_hello_encode(&in, &r);
	cr_assert_eq(frame_hello_decode(&r, &out), 0);
#define RPC_CASE(stmt) do {						\
	frame_hello_encode(&in, &r);					\
	stmt;								\
	RESEAL(&r);							\
	expect_hello(&r, -EINVAL, #stmt);				\
} while (0)
	RPC_CASE(r.store[0] = 1);
	RPC_CASE(r.epoch = htole32(1));
	RPC_CASE(r.end_lsn = htole64(64));
	RPC_CASE(r.nr_history = htole32(1));
}

#define WELCOME_CASE(want, stmt) do {					\
	struct frame_welcome w_ = good_welcome();			\
	struct dag_welcome r;						\
	frame_welcome_encode(&w_, &r);					\
	stmt;								\
	RESEAL(&r);							\
	expect_welcome(&r, want, #stmt);				\
} while (0)

Test(frame, welcome_values_out_of_range)
{
	WELCOME_CASE(-EPROTO, r.magic = 0);
	WELCOME_CASE(-EPROTONOSUPPORT, r.version = htole32(DAG_WIRE_VERSION + 1));
	for (size_t i = 0; i < sizeof(((struct dag_welcome *)0)->rsvd); i++)
		WELCOME_CASE(-EPROTO, r.rsvd[i] = 0x80);
	WELCOME_CASE(-EINVAL, r.refusal = htole32(DAG_REFUSALS));
	WELCOME_CASE(-EINVAL, r.refusal = htole32(0x80000000));
	WELCOME_CASE(-EINVAL, r.resume = 0);
	WELCOME_CASE(-EINVAL, r.resume = htole32(DAG_RESUME_BRANCH + 1));
	WELCOME_CASE(-EINVAL, r.resume = htole32(0xffffffff));
	WELCOME_CASE(-EINVAL, r.resume_lsn = htole64(1));
	WELCOME_CASE(-EINVAL, r.have_lsn = htole64(65));
	WELCOME_CASE(-EINVAL, r.received_lsn = htole64(32));
	WELCOME_CASE(-EINVAL, r.durable_lsn = htole64(1));
	WELCOME_CASE(-EINVAL, r.replayed_lsn = htole64(1));
	WELCOME_CASE(-EINVAL, r.seed_lsn = htole64(1));
}

#define ACK_CASE(want, stmt) do {					\
	struct frame_ack a_ = good_ack();				\
	struct dag_ack r;						\
	frame_ack_encode(&a_, &r);					\
	stmt;								\
	RESEAL(&r);							\
	expect_ack(&r, want, #stmt);					\
} while (0)

Test(frame, ack_values_out_of_range)
{
	ACK_CASE(-EPROTO, r.magic = htole32(DAG_WIRE_MAGIC));
	for (size_t i = 0; i < sizeof(((struct dag_ack *)0)->rsvd); i++)
		ACK_CASE(-EPROTO, r.rsvd[i] = 1);
	ACK_CASE(-EINVAL, r.state = htole32(DAG_COPY_STATES));
	ACK_CASE(-EINVAL, r.state = htole32(0xffffffff));
	ACK_CASE(-EINVAL, r.received_lsn = htole64(6401));
	ACK_CASE(-EINVAL, r.durable_lsn = htole64(641));
	ACK_CASE(-EINVAL, r.replayed_lsn = htole64(1));
	ACK_CASE(-EINVAL, r.durable_lsn = htole64(6464));	/* durable > received */
	ACK_CASE(-EINVAL, r.replayed_lsn = htole64(704));	/* replayed > durable */
}

/* A codec is offered for the log only, bit by bit, and one of them is taken, or none. */
Test(frame, codecs)
{
	struct frame_hello h = good_hello(), out;
	struct frame_welcome w = good_welcome(), wout;
	struct dag_welcome welcome;
	struct dag_hello raw;

	h.codecs = DAG_HELLO_CODEC(DAG_CODEC_ZSTD) | DAG_HELLO_CODEC(7);
	frame_hello_encode(&h, &raw);
	cr_assert_eq(frame_hello_decode(&raw, &out), 0);
	cr_assert_eq(out.codecs, h.codecs, "one of a later build is passed on");
	raw.flags = htole32(1);
	RESEAL(&raw);
	expect_hello(&raw, -EPROTO, "the bit of none");
	raw.flags = htole32(0x100);
	RESEAL(&raw);
	expect_hello(&raw, -EPROTO, "a flag that is no codec");
	h.kind = DAG_KIND_FETCH;
	frame_hello_encode(&h, &raw);
	expect_hello(&raw, -EINVAL, "the last logs go as they are");
	w.codec = DAG_CODEC_LZ4;
	frame_welcome_encode(&w, &welcome);
	cr_assert_eq(frame_welcome_decode(&welcome, &wout), 0);
	cr_assert_eq(wout.codec, DAG_CODEC_LZ4);
	welcome.codec = htole32(DAG_CODECS);
	RESEAL(&welcome);
	expect_welcome(&welcome, -EINVAL, "a codec that nobody knows");
}

Test(frame, random_bytes_are_refused)
{
	struct dag_hello r;

	srand(1);
	for (int i = 0; i < 2000; i++) {
		for (size_t k = 0; k < sizeof(r); k++)
			((uint8_t *)&r)[k] = rand();
		expect_hello(&r, -EPROTO, "random bytes");
		r.magic = htole32(DAG_WIRE_MAGIC);
		expect_hello(&r, -EPROTONOSUPPORT, "random bytes after the magic");
		r.version = htole32(DAG_WIRE_VERSION);
		expect_hello(&r, -EBADMSG, "random bytes after the version");
	}
}

Test(frame, every_refusal_has_its_own_text)
{
	for (int i = 0; i < DAG_REFUSALS; i++)
		for (int k = 0; k < i; k++)
			cr_assert_str_neq(frame_refusal_text(i), frame_refusal_text(k));
	cr_assert_str_eq(frame_refusal_text(DAG_REFUSALS), "unknown refusal");
	cr_assert_str_eq(frame_refusal_text((enum dag_refusal)-1), "unknown refusal");
}
