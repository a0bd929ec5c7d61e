// SPDX-License-Identifier: GPL-2.0
/*
 * Fuzzes what reads a segment: header, chain of records, residue. Input: a
 * segment file, cut anywhere. Records are sealed again after the mutation where
 * their magic still stands, so that the checksums do not keep the fuzzer out.
 *
 *   clang -fsanitize=fuzzer,address -DDAG_FUZZER ...   the fuzzer
 *   otherwise a program that runs each file it is given
 */
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log/record_walk.h"
#include "daemon/log/segment.h"
#include "include/dag/crc32c.h"
#include "kmod/core/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int look(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	uint32_t *sum = ctx;

	/* every byte of an accepted record is really there */
	*sum = dag_crc32c(*sum, payload, rec_bytes(rec) - sizeof(*rec));
	return 0;
}

static void scan(const uint8_t *buf, size_t len, const struct seg_meta *meta)
{
	struct rec_cursor cur = {
		.lsn = meta->first_lsn, .prev_crc = meta->prev_crc,
		.any_prev = meta->flags & DAG_SEGF_START,
	};
	const uint64_t first = meta->first_lsn;
	uint32_t sum = 0;
	const char *why;
	size_t need, got, again;

	got = rec_scan(&cur, buf, len, look, &sum, &need, &why);
	if (got > len || cur.lsn != first + got || (!why && need <= len - got))
		abort();
	/* going on from where it stopped changes nothing */
	again = rec_scan(&cur, buf + got, len - got, NULL, NULL, &need, &why);
	if (again)
		abort();
	if (seg_residue(buf, len, first) > len)
		abort();
}

static void seal_again(uint8_t *buf, size_t len, uint64_t first_lsn, uint32_t prev)
{
	size_t at = 0;

	while (at + sizeof(struct dagtap_rec) <= len) {
		struct dagtap_rec rec;
		size_t payload;

		memcpy(&rec, buf + at, sizeof(rec));
		payload = le32toh(rec.payload);
		if (le32toh(rec.magic) != DAGTAP_REC_MAGIC || payload > len - at - sizeof(rec))
			return;
		rec.lsn = htole64(first_lsn + at);
		dagtap_rec_seal(&rec, prev, dag_crc32c(0, buf + at + sizeof(rec), payload));
		prev = le32toh(rec.hdr_crc);
		memcpy(buf + at, &rec, sizeof(rec));
		at += rec_bytes(&rec);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seg_meta meta = { .flags = DAG_SEGF_START }, again;
	struct dag_seg_hdr hdr;
	size_t len = size, off;
	uint8_t *buf;

	if (size >= DAG_SEG_HDR_BYTES) {
		if (!seg_hdr_decode(data, &meta)) {
			seg_hdr_encode(&meta, &hdr);
			if (seg_hdr_decode(&hdr, &again) || memcmp(hdr.uuid, again.uuid, 16))
				abort();
		}
		data += DAG_SEG_HDR_BYTES;
		len -= DAG_SEG_HDR_BYTES;
	}
	off = meta.first_lsn - seg_base(meta.first_lsn);
	if (off > len)
		return 0;
	/* a copy of just that size: the end is guarded */
	buf = malloc(len - off ? len - off : 1);
	if (!buf)
		return 0;
	memcpy(buf, data + off, len - off);
	scan(buf, len - off, &meta);
	seal_again(buf, len - off, meta.first_lsn, meta.prev_crc);
	scan(buf, len - off, &meta);
	free(buf);
	return 0;
}

#ifndef DAG_FUZZER
int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		static uint8_t buf[8 << 20];
		size_t len;

		if (!f) {
			perror(argv[i]);
			return 1;
		}
		len = fread(buf, 1, sizeof(buf), f);
		fclose(f);
		LLVMFuzzerTestOneInput(buf, len);
	}
	printf("%d files\n", argc - 1);
	return 0;
}
#endif
