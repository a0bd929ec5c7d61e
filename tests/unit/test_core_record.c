// SPDX-License-Identifier: GPL-2.0
/* A header is accepted only as it was sealed, and only where it belongs. */
#include <criterion/criterion.h>
#include <string.h>

#include "kmod/core/record.h"

static struct dagtap_rec_spec data_spec(void)
{
	return (struct dagtap_rec_spec){
		.type = DAGTAP_REC_DATA, .flags = DAGTAP_RECF_FUA,
		.sector = 800, .sectors = 8, .payload = 4096, .time_ns = 5,
	};
}

static struct dagtap_rec sealed(const struct dagtap_rec_spec *spec)
{
	struct dagtap_rec rec;

	dagtap_rec_fill(&rec, spec, 6400, 9, 3, 0x1234);
	dagtap_rec_seal(&rec, 77, spec->payload ? 88 : 0);
	return rec;
}

Test(core_record, accepts_what_it_sealed)
{
	struct dagtap_rec_spec spec = data_spec();
	struct dagtap_rec rec = sealed(&spec);
	struct dagtap_rec_expect expect = {
		.what = DAGTAP_EXPECT_LSN | DAGTAP_EXPECT_CHAIN | DAGTAP_EXPECT_TAG,
		.lsn = 6400, .prev_crc = 77, .tag = 0x1234,
	};

	cr_assert_eq(dagtap_rec_verify(&rec, &expect), 0);
	cr_assert_eq(dagtap_rec_next(&rec), 6400 + 64 + 4096);
	expect.lsn = 6464;
	cr_assert_eq(dagtap_rec_verify(&rec, &expect), DAGTAP_REC_ELSN);
	expect.lsn = 6400;
	expect.prev_crc = 78;
	cr_assert_eq(dagtap_rec_verify(&rec, &expect), DAGTAP_REC_ECHAIN);
	expect.prev_crc = 77;
	expect.tag = 1;
	cr_assert_eq(dagtap_rec_verify(&rec, &expect), DAGTAP_REC_ETAG);
}

Test(core_record, refuses_each_changed_bit)
{
	struct dagtap_rec_spec spec = data_spec();
	struct dagtap_rec_expect any = {0};

	for (unsigned int bit = 0; bit < 64 * 8; bit++) {
		struct dagtap_rec rec = sealed(&spec);

		((__u8 *)&rec)[bit / 8] ^= (__u8)(1u << (bit % 8));
		cr_assert_lt(dagtap_rec_verify(&rec, &any), 0, "bit %u", bit);
	}
}

/* The same with a seal that is right: the ranges themselves are checked. */
Test(core_record, refuses_each_impossible_field)
{
	struct dagtap_rec_expect any = {0};
	struct {
		struct dagtap_rec_spec spec;
		int error;
	} cases[] = {
		{ { .type = 0 }, DAGTAP_REC_ETYPE },
		{ { .type = DAGTAP_REC_TYPES }, DAGTAP_REC_ETYPE },
		{ { .type = DAGTAP_REC_FLUSH, .kind = 1 }, DAGTAP_REC_EKIND },
		{ { .type = DAGTAP_REC_STATE, .kind = 0, .payload = 64 }, DAGTAP_REC_EKIND },
		{ { .type = DAGTAP_REC_STATE, .kind = DAGTAP_STATE_KINDS, .payload = 64 },
		  DAGTAP_REC_EKIND },
		{ { .type = DAGTAP_REC_FLUSH, .flags = 0x10 }, DAGTAP_REC_EFLAGS },
		{ { .type = DAGTAP_REC_FLUSH, .flags = DAGTAP_RECF_FUA }, DAGTAP_REC_EFLAGS },
		{ { .type = DAGTAP_REC_DATA, .flags = DAGTAP_RECF_NOUNMAP, .sectors = 1,
		    .payload = 512 }, DAGTAP_REC_EFLAGS },
		{ { .type = DAGTAP_REC_DATA }, DAGTAP_REC_EEXTENT },
		{ { .type = DAGTAP_REC_DATA, .sector = 1ull << 54, .sectors = 1, .payload = 512 },
		  DAGTAP_REC_EEXTENT },
		{ { .type = DAGTAP_REC_FLUSH, .sectors = 1 }, DAGTAP_REC_EEXTENT },
		{ { .type = DAGTAP_REC_MARK, .sector = 1 }, DAGTAP_REC_EEXTENT },
		{ { .type = DAGTAP_REC_DATA, .sectors = 2, .payload = 512 }, DAGTAP_REC_EPAYLOAD },
		{ { .type = DAGTAP_REC_DATA, .sectors = 2056, .payload = 2056 * 512 },
		  DAGTAP_REC_EPAYLOAD },
		{ { .type = DAGTAP_REC_DATA, .sectors = 0x800001, .payload = 512 },
		  DAGTAP_REC_EPAYLOAD },
		{ { .type = DAGTAP_REC_MARK, .payload = 129 }, DAGTAP_REC_EPAYLOAD },
		{ { .type = DAGTAP_REC_STATE, .kind = 1, .payload = 63 }, DAGTAP_REC_EPAYLOAD },
		{ { .type = DAGTAP_REC_DISCARD, .sectors = 1, .payload = 64 }, DAGTAP_REC_EPAYLOAD },
		{ { .type = DAGTAP_REC_FAIL, .sectors = 1, .payload = 1 }, DAGTAP_REC_EPAYLOAD },
		{ { .type = DAGTAP_REC_RESYNC, .sectors = 2, .payload = 512 }, DAGTAP_REC_EPAYLOAD },
		{ { .type = DAGTAP_REC_RESYNC, .sectors = 2049 }, DAGTAP_REC_EPAYLOAD },
		{ { .type = DAGTAP_REC_RESYNC }, DAGTAP_REC_EEXTENT },
		{ { .type = DAGTAP_REC_RESYNC, .sectors = 2048 }, 0 },	/* zeroes */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct dagtap_rec rec = sealed(&cases[i].spec);

		cr_assert_eq(dagtap_rec_verify(&rec, &any), cases[i].error, "case %zu: %d",
			     i, dagtap_rec_verify(&rec, &any));
	}
}

Test(core_record, refuses_odd_lsn_and_crc_of_nothing)
{
	struct dagtap_rec_spec spec = { .type = DAGTAP_REC_FLUSH };
	struct dagtap_rec_expect any = {0};
	struct dagtap_rec rec;

	dagtap_rec_fill(&rec, &spec, 32, 0, 1, 1);
	dagtap_rec_seal(&rec, 0, 0);
	cr_assert_eq(dagtap_rec_verify(&rec, &any), DAGTAP_REC_ELSN);
	dagtap_rec_fill(&rec, &spec, 64, 0, 1, 1);
	dagtap_rec_seal(&rec, 0, 7);
	cr_assert_eq(dagtap_rec_verify(&rec, &any), DAGTAP_REC_EDATA);
}

Test(core_record, checks_the_payload)
{
	struct dagtap_rec_spec spec = data_spec();
	struct dagtap_rec rec;
	__u8 data[4096];

	memset(data, 3, sizeof(data));
	dagtap_rec_fill(&rec, &spec, 0, 0, 1, 1);
	dagtap_rec_seal(&rec, 0, dag_crc32c(0, data, sizeof(data)));
	cr_assert_eq(dagtap_rec_verify_payload(&rec, data), 0);
	data[4095] ^= 1;
	cr_assert_eq(dagtap_rec_verify_payload(&rec, data), DAGTAP_REC_EDATA);
}

Test(core_record, names_every_error)
{
	for (int e = DAGTAP_REC_EDATA; e <= DAGTAP_REC_EMAGIC; e++)
		cr_assert_str_neq(dagtap_rec_strerror(e), "unknown error");
	cr_assert_str_eq(dagtap_rec_strerror(0), "ok");
}
