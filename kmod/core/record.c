// SPDX-License-Identifier: GPL-2.0
/*
 * Record headers. A header is filled when its LSN is given and sealed when it is
 * published, because the seal names the header before it. A reader accepts only
 * what a writer can have produced: each field has its range, and what a type
 * does not use must be zero.
 */
#include "record.h"

#define HDR_CRC_BYTES	offsetof(struct dagtap_rec, hdr_crc)
/* No device is larger, and no sum of sector and sectors can wrap below it. */
#define SECTOR_MAX	(1ull << 54)

static __u16 flags_allowed(__u8 type)
{
	const __u16 common = DAGTAP_RECF_META | DAGTAP_RECF_SYNC;

	switch (type) {
	case DAGTAP_REC_DATA:
	case DAGTAP_REC_DISCARD:
		return common | DAGTAP_RECF_FUA;
	case DAGTAP_REC_ZEROES:
		return common | DAGTAP_RECF_FUA | DAGTAP_RECF_NOUNMAP;
	case DAGTAP_REC_FLUSH:
		return common;
	default:
		return 0;
	}
}

static bool has_extent(__u8 type)
{
	return type == DAGTAP_REC_DATA || type == DAGTAP_REC_DISCARD ||
	       type == DAGTAP_REC_ZEROES || type == DAGTAP_REC_FAIL ||
	       type == DAGTAP_REC_RESYNC;
}

static bool payload_fits(const struct dagtap_rec_spec *s)
{
	switch (s->type) {
	case DAGTAP_REC_DATA:
		return s->payload <= DAGTAP_PAYLOAD_MAX &&
		       s->payload == (__u64)s->sectors * DAGTAP_SECTOR;
	case DAGTAP_REC_RESYNC:
		return s->sectors <= DAGTAP_PAYLOAD_MAX / DAGTAP_SECTOR &&
		       (s->payload == 0 || s->payload == s->sectors * DAGTAP_SECTOR);
	case DAGTAP_REC_MARK:
		return s->payload <= DAGTAP_MARK_MAX;
	case DAGTAP_REC_STATE:
		return s->payload == sizeof(struct dagtap_state_payload);
	default:
		return s->payload == 0;
	}
}

/* Is this a record that the format knows? 0 or an enum dagtap_rec_error. */
int dagtap_rec_check(const struct dagtap_rec_spec *s)
{
	if (s->type == 0 || s->type >= DAGTAP_REC_TYPES)
		return DAGTAP_REC_ETYPE;
	if (s->type == DAGTAP_REC_STATE
	    ? s->kind == 0 || s->kind >= DAGTAP_STATE_KINDS
	    : s->kind != 0)
		return DAGTAP_REC_EKIND;
	if (s->flags & ~flags_allowed(s->type))
		return DAGTAP_REC_EFLAGS;
	if (has_extent(s->type)
	    ? s->sectors == 0 || s->sector >= SECTOR_MAX
	    : s->sectors != 0 || s->sector != 0)
		return DAGTAP_REC_EEXTENT;
	if (!payload_fits(s))
		return DAGTAP_REC_EPAYLOAD;
	return 0;
}

void dagtap_rec_fill(struct dagtap_rec *rec, const struct dagtap_rec_spec *spec,
		     __u64 lsn, __u32 seq, __u32 epoch, __u32 tag)
{
	rec->magic = cpu_to_le32(DAGTAP_REC_MAGIC);
	rec->type = spec->type;
	rec->kind = spec->kind;
	rec->flags = cpu_to_le16(spec->flags);
	rec->lsn = cpu_to_le64(lsn);
	rec->sector = cpu_to_le64(spec->sector);
	rec->sectors = cpu_to_le32(spec->sectors);
	rec->payload = cpu_to_le32(spec->payload);
	rec->time_ns = cpu_to_le64(spec->time_ns);
	rec->epoch = cpu_to_le32(epoch);
	rec->tag = cpu_to_le32(tag);
	rec->seq = cpu_to_le32(seq);
	rec->prev_crc = 0;
	rec->payload_crc = 0;
	rec->hdr_crc = 0;
}

void dagtap_rec_seal(struct dagtap_rec *rec, __u32 prev_crc, __u32 payload_crc)
{
	rec->prev_crc = cpu_to_le32(prev_crc);
	rec->payload_crc = cpu_to_le32(payload_crc);
	rec->hdr_crc = cpu_to_le32(dag_crc32c(0, rec, HDR_CRC_BYTES));
}

/*
 * Verifies a header, and that it is the one the reader expects next. The caller
 * copies it out of shared memory first. 0 or an enum dagtap_rec_error.
 */
int dagtap_rec_verify(const struct dagtap_rec *rec,
		      const struct dagtap_rec_expect *expect)
{
	struct dagtap_rec_spec spec = {
		.type = rec->type,
		.kind = rec->kind,
		.flags = le16_to_cpu(rec->flags),
		.sector = le64_to_cpu(rec->sector),
		.sectors = le32_to_cpu(rec->sectors),
		.payload = le32_to_cpu(rec->payload),
	};
	__u64 lsn = le64_to_cpu(rec->lsn);
	int rc;

	if (le32_to_cpu(rec->magic) != DAGTAP_REC_MAGIC)
		return DAGTAP_REC_EMAGIC;
	if (le32_to_cpu(rec->hdr_crc) != dag_crc32c(0, rec, HDR_CRC_BYTES))
		return DAGTAP_REC_ECRC;
	rc = dagtap_rec_check(&spec);
	if (rc)
		return rc;
	if (spec.payload == 0 && rec->payload_crc != 0)
		return DAGTAP_REC_EDATA;
	if (lsn % DAGTAP_ALIGN ||
	    (expect->what & DAGTAP_EXPECT_LSN && lsn != expect->lsn))
		return DAGTAP_REC_ELSN;
	if (expect->what & DAGTAP_EXPECT_CHAIN &&
	    le32_to_cpu(rec->prev_crc) != expect->prev_crc)
		return DAGTAP_REC_ECHAIN;
	if (expect->what & DAGTAP_EXPECT_TAG && le32_to_cpu(rec->tag) != expect->tag)
		return DAGTAP_REC_ETAG;
	return 0;
}

int dagtap_rec_verify_payload(const struct dagtap_rec *rec, const void *payload)
{
	__u32 crc = dag_crc32c(0, payload, le32_to_cpu(rec->payload));

	return crc == le32_to_cpu(rec->payload_crc) ? 0 : DAGTAP_REC_EDATA;
}

const char *dagtap_rec_strerror(int error)
{
	switch (error) {
	case 0:
		return "ok";
	case DAGTAP_REC_EMAGIC:
		return "not a record";
	case DAGTAP_REC_ECRC:
		return "header crc";
	case DAGTAP_REC_ETYPE:
		return "unknown type";
	case DAGTAP_REC_EKIND:
		return "unknown kind";
	case DAGTAP_REC_EFLAGS:
		return "unknown flags";
	case DAGTAP_REC_ELSN:
		return "lsn";
	case DAGTAP_REC_EEXTENT:
		return "extent";
	case DAGTAP_REC_EPAYLOAD:
		return "payload length";
	case DAGTAP_REC_ECHAIN:
		return "not the follower of the record before";
	case DAGTAP_REC_ETAG:
		return "another store or group generation";
	case DAGTAP_REC_EDATA:
		return "payload crc";
	default:
		return "unknown error";
	}
}
