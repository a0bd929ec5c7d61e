/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One record of the log: how its header is filled, sealed and verified.
 */
#ifndef DAGTAP_CORE_RECORD_H
#define DAGTAP_CORE_RECORD_H

#include "port.h"

/* The check that a header did not pass; all negative, none is an errno. */
enum dagtap_rec_error {
	DAGTAP_REC_EMAGIC = -1001,
	DAGTAP_REC_ECRC = -1002,	/* of the header */
	DAGTAP_REC_ETYPE = -1003,
	DAGTAP_REC_EKIND = -1004,
	DAGTAP_REC_EFLAGS = -1005,
	DAGTAP_REC_ELSN = -1006,	/* not aligned, or another than expected */
	DAGTAP_REC_EEXTENT = -1007,	/* sector, sectors */
	DAGTAP_REC_EPAYLOAD = -1008,	/* its length */
	DAGTAP_REC_ECHAIN = -1009,	/* prev_crc */
	DAGTAP_REC_ETAG = -1010,
	DAGTAP_REC_EDATA = -1011,	/* crc of the payload */
};

/* What a writer decides about a record; the ring adds the rest. */
struct dagtap_rec_spec {
	__u8  type;
	__u8  kind;
	__u16 flags;
	__u32 sectors;
	__u64 sector;
	__u32 payload;
	__u64 time_ns;
};

/* What a reader expects; a check with its flag unset is skipped. */
#define DAGTAP_EXPECT_LSN	0x1u
#define DAGTAP_EXPECT_CHAIN	0x2u	/* prev_crc as given */
#define DAGTAP_EXPECT_TAG	0x4u
struct dagtap_rec_expect {
	__u32 what;		/* DAGTAP_EXPECT_* */
	__u32 prev_crc;
	__u32 tag;
	__u64 lsn;
};

/* Bytes that a record with this payload takes in the log. */
static inline __u64 dagtap_rec_bytes(__u32 payload)
{
	return sizeof(struct dagtap_rec) + DAGTAP_ROUND_UP((__u64)payload, DAGTAP_ALIGN);
}

/* LSN of the record that follows a verified one. */
static inline __u64 dagtap_rec_next(const struct dagtap_rec *rec)
{
	return le64_to_cpu(rec->lsn) + dagtap_rec_bytes(le32_to_cpu(rec->payload));
}

int dagtap_rec_check(const struct dagtap_rec_spec *spec);
void dagtap_rec_fill(struct dagtap_rec *rec, const struct dagtap_rec_spec *spec,
		     __u64 lsn, __u32 seq, __u32 epoch, __u32 tag);
void dagtap_rec_seal(struct dagtap_rec *rec, __u32 prev_crc, __u32 payload_crc);
int dagtap_rec_verify(const struct dagtap_rec *rec,
		      const struct dagtap_rec_expect *expect);
int dagtap_rec_verify_payload(const struct dagtap_rec *rec, const void *payload);
const char *dagtap_rec_strerror(int error);

#endif
