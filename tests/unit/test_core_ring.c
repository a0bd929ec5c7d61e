// SPDX-License-Identifier: GPL-2.0
/* The ring against a model: what is published is what was written, in order. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kmod/core/ring.h"

#define SIZE	(64u << 10)
#define SLOTS	16u

static __u8 memory[SIZE];
static struct dagtap_slot slots[SLOTS];
static struct dagtap_ring ring;

static void setup(void)
{
	memset(memory, 0x55, sizeof(memory));
	cr_assert_eq(dagtap_ring_init(&ring, memory, SIZE, slots, SLOTS), 0);
	cr_assert_eq(dagtap_ring_reset(&ring, 1 << 20, 4, 0xabcd), 0);
}

static struct dagtap_rec_spec data(__u32 sectors)
{
	return (struct dagtap_rec_spec){ .type = DAGTAP_REC_DATA, .sector = 16,
		.sectors = sectors, .payload = sectors * 512 };
}

static int put(__u32 sectors, __u8 fill, struct dagtap_resv *resv)
{
	struct dagtap_rec_spec spec = data(sectors);
	__u8 buf[SIZE];
	int rc = dagtap_ring_reserve(&ring, &spec, 0, resv);

	if (rc)
		return rc;
	memset(buf, fill, spec.payload);
	dagtap_ring_commit(&ring, resv,
			   dagtap_ring_write(&ring, resv, 0, buf, spec.payload, 0));
	return 0;
}

/* Reads the record at lsn out of the ring and checks everything about it. */
static __u64 check_at(__u64 lsn, __u32 *prev, __u8 *buf)
{
	struct dagtap_rec_expect expect = {
		.what = DAGTAP_EXPECT_LSN | DAGTAP_EXPECT_CHAIN | DAGTAP_EXPECT_TAG,
		.lsn = lsn, .prev_crc = *prev, .tag = 0xabcd,
	};
	struct dagtap_rec rec;
	__u64 next;

	cr_assert_eq(dagtap_ring_read(&ring, lsn, &rec, sizeof(rec)), 0);
	cr_assert_eq(dagtap_rec_verify(&rec, &expect), 0);
	next = dagtap_rec_next(&rec);
	cr_assert_eq(dagtap_ring_read(&ring, lsn + 64, buf, next - lsn - 64), 0);
	cr_assert_eq(dagtap_rec_verify_payload(&rec, buf), 0);
	for (__u64 i = le32_to_cpu(rec.payload); i < next - lsn - 64; i++)
		cr_assert_eq(buf[i], 0, "padding");
	*prev = le32_to_cpu(rec.hdr_crc);
	return next;
}

Test(core_ring, refuses_bad_sizes, .init = setup)
{
	cr_assert_eq(dagtap_ring_init(&ring, memory, 1000, slots, SLOTS), -EINVAL);
	cr_assert_eq(dagtap_ring_init(&ring, memory, SIZE, slots, 3), -EINVAL);
	cr_assert_eq(dagtap_ring_init(&ring, memory, 0, slots, SLOTS), -EINVAL);
}

Test(core_ring, publishes_in_order_of_lsn, .init = setup)
{
	struct dagtap_rec_spec spec = { .type = DAGTAP_REC_FLUSH };
	struct dagtap_resv r[3];
	__u64 start = ring.commit_lsn, lsn = start;
	__u32 prev = 0;
	__u8 buf[64];

	for (int i = 0; i < 3; i++)
		cr_assert_eq(dagtap_ring_reserve(&ring, &spec, 0, &r[i]), 0);
	cr_assert_not(dagtap_ring_commit(&ring, &r[2], 0));
	cr_assert_not(dagtap_ring_commit(&ring, &r[1], 0));
	cr_assert_eq(ring.commit_lsn, start);
	cr_assert_not(dagtap_ring_settled(&ring));
	cr_assert(dagtap_ring_commit(&ring, &r[0], 0));
	cr_assert_eq(ring.commit_lsn, start + 3 * 64);
	cr_assert_eq(ring.commit_seq, 3);
	cr_assert(dagtap_ring_settled(&ring));
	for (int i = 0; i < 3; i++)
		lsn = check_at(lsn, &prev, buf);
}

Test(core_ring, full_by_bytes_and_by_slots, .init = setup)
{
	struct dagtap_rec_spec flush = { .type = DAGTAP_REC_FLUSH };
	struct dagtap_resv resv;
	unsigned int n = 0;
	__u64 before;

	while (!put(8, 1, &resv))
		n++;
	cr_assert_eq(n, SIZE / (64 + 4096));
	before = ring.reserve_lsn;
	cr_assert_eq(put(8, 1, &resv), -ENOSPC);
	cr_assert_eq(ring.reserve_lsn, before, "a refusal changes nothing");
	cr_assert_eq(dagtap_ring_free(&ring, ring.commit_lsn), 0);
	for (n = 0; n < SLOTS; n++)
		cr_assert_eq(dagtap_ring_reserve(&ring, &flush, 0, &resv), 0);
	cr_assert_eq(dagtap_ring_reserve(&ring, &flush, 0, &resv), -ENOSPC);
	cr_assert_eq(dagtap_ring_reset(&ring, 1ull << 40, 5, 1), -EBUSY);
}

Test(core_ring, keeps_room_and_limit, .init = setup)
{
	struct dagtap_rec_spec spec = data(8);
	struct dagtap_resv resv;

	cr_assert_eq(dagtap_ring_reserve(&ring, &spec, SIZE - 4096, &resv), -ENOSPC);
	cr_assert_eq(dagtap_ring_reserve(&ring, &spec, SIZE * 2, &resv), -ENOSPC);
	ring.lsn_limit = ring.reserve_lsn + 4096;
	cr_assert_eq(dagtap_ring_reserve(&ring, &spec, 0, &resv), -EOVERFLOW);
	spec.payload = 1;
	cr_assert_eq(dagtap_ring_reserve(&ring, &spec, 0, &resv), -EINVAL);
}

Test(core_ring, frees_only_forward_up_to_commit, .init = setup)
{
	struct dagtap_resv resv;
	__u64 start = ring.commit_lsn;

	cr_assert_eq(put(1, 1, &resv), 0);
	cr_assert_eq(dagtap_ring_free(&ring, resv.end_lsn + 64), -ERANGE);
	cr_assert_eq(dagtap_ring_free(&ring, start + 1), -EINVAL);
	cr_assert_eq(dagtap_ring_free(&ring, resv.end_lsn), 0);
	cr_assert_eq(dagtap_ring_free(&ring, start), -ERANGE);
	cr_assert_eq(dagtap_ring_read(&ring, start, &resv, 8), -ERANGE);
}

Test(core_ring, new_part_of_an_epoch_never_goes_back, .init = setup)
{
	struct dagtap_resv resv;
	__u32 prev = 0;
	__u8 buf[512];

	cr_assert_eq(put(1, 1, &resv), 0);
	cr_assert_eq(dagtap_ring_reset(&ring, resv.end_lsn - 64, 4, 1), -ERANGE);
	cr_assert_eq(dagtap_ring_reset(&ring, resv.end_lsn + 1, 5, 1), -EINVAL);
	cr_assert_eq(dagtap_ring_reset(&ring, resv.end_lsn, 5, 0xabcd), 0);
	cr_assert_eq(put(1, 2, &resv), 0);
	check_at(resv.lsn, &prev, buf);
}

/* Another member went on below our end: a higher epoch names other bytes. */
Test(core_ring, a_higher_epoch_may_begin_below, .init = setup)
{
	struct dagtap_resv resv;
	__u32 prev = 0;
	__u8 buf[512];

	ring.lsn_limit = 1 << 22;
	cr_assert_eq(put(1, 1, &resv), 0);
	cr_assert_eq(dagtap_ring_reset(&ring, 64 * 1000, 4, 0xabcd), -ERANGE);
	cr_assert_eq(dagtap_ring_reset(&ring, 64 * 1000, 3, 0xabcd), -ERANGE);
	cr_assert_eq(dagtap_ring_reset(&ring, 64 * 1000, 5, 0xabcd), 0);
	cr_assert_eq(ring.commit_lsn, 64 * 1000);
	cr_assert_eq(ring.freed_lsn, 64 * 1000);
	cr_assert_eq(ring.lsn_limit, 1 << 22, "the bound of all LSNs stays");
	cr_assert_eq(put(1, 2, &resv), 0);
	cr_assert_eq(resv.lsn, 64 * 1000);
	check_at(resv.lsn, &prev, buf);
}

Test(core_ring, an_epoch_begins_in_the_running_log, .init = setup)
{
	struct dagtap_rec_spec spec = data(1);
	struct dagtap_resv resv, open;
	__u64 at = ring.commit_lsn;
	struct dagtap_rec rec;
	__u32 prev = 0;
	__u8 buf[512];

	cr_assert_eq(put(1, 1, &resv), 0);
	cr_assert_eq(dagtap_ring_reserve(&ring, &spec, 0, &open), 0);
	cr_assert_eq(dagtap_ring_continue(&ring, 5, 0xabcd), -EBUSY);
	dagtap_ring_commit(&ring, &open, dagtap_ring_write(&ring, &open, 0, buf, 512, 0));
	cr_assert_eq(dagtap_ring_continue(&ring, 4, 0xabcd), -ERANGE);
	cr_assert_eq(dagtap_ring_continue(&ring, 7, 0xabcd), 0);
	cr_assert_eq(put(1, 3, &resv), 0);
	at = check_at(at, &prev, buf);
	at = check_at(at, &prev, buf);
	check_at(at, &prev, buf);	/* the chain goes on */
	cr_assert_eq(dagtap_ring_read(&ring, at, &rec, sizeof(rec)), 0);
	cr_assert_eq(le32_to_cpu(rec.epoch), 7);
	cr_assert_eq(ring.freed_lsn, 1 << 20, "what the ring holds stays");
}

/* Random reserve, out-of-order commit, read and free against a simple model. */
Test(core_ring, random_model, .init = setup)
{
	struct { struct dagtap_resv resv; __u8 fill; __u32 n; } open[SLOTS], *o;
	static __u8 buf[SIZE], src[SIZE];
	unsigned int nr_open = 0, wraps = 0;
	__u64 read_lsn = ring.commit_lsn, first_open;
	__u32 prev = 0;

	srand(11);
	for (int step = 0; step < 60000; step++) {
		unsigned int act = (unsigned int)rand() % 4;

		if (act < 2 && nr_open < SLOTS) {
			struct dagtap_rec_spec spec = data(1 + (__u32)rand() % 24);

			o = &open[nr_open];
			if (dagtap_ring_reserve(&ring, &spec, 0, &o->resv))
				continue;
			o->fill = (__u8)rand();
			o->n = spec.payload;
			nr_open++;
		} else if (act == 2 && nr_open) {
			unsigned int k = (unsigned int)rand() % nr_open;
			__u32 cut, crc;

			o = &open[k];
			cut = (__u32)rand() % (o->n + 1);
			memset(src, o->fill, o->n);
			crc = dagtap_ring_write(&ring, &o->resv, 0, src, cut, 0);
			if (cut < o->n)
				crc = dagtap_ring_write(&ring, &o->resv, cut, src + cut,
							o->n - cut, crc);
			dagtap_ring_commit(&ring, &o->resv, crc);
			open[k] = open[--nr_open];
		} else if (act == 3) {
			while (read_lsn < ring.commit_lsn) {
				__u64 next = check_at(read_lsn, &prev, buf);

				wraps += (next & (SIZE - 1)) < (read_lsn & (SIZE - 1));
				read_lsn = next;
			}
			cr_assert_eq(dagtap_ring_free(&ring, read_lsn), 0);
		}
		first_open = ring.reserve_lsn;
		for (unsigned int k = 0; k < nr_open; k++)
			if (open[k].resv.lsn < first_open)
				first_open = open[k].resv.lsn;
		cr_assert_eq(ring.commit_lsn, first_open);
		cr_assert_leq(dagtap_ring_used(&ring), SIZE);
	}
	cr_assert_gt(wraps, 100);
}
