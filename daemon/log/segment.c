// SPDX-License-Identifier: GPL-2.0
#include "daemon/log/segment.h"

#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "include/dag/crc32c.h"
#include "include/uapi/dagtap.h"

void seg_name(uint64_t generation, char ret_name[SEG_NAME_BYTES])
{
	snprintf(ret_name, SEG_NAME_BYTES, "%016llx.log", (unsigned long long)generation);
}

bool seg_name_parse(const char *name, uint64_t *ret_generation)
{
	uint64_t gen = 0;

	if (strlen(name) != 20 || strcmp(name + 16, ".log") != 0)
		return false;
	for (int i = 0; i < 16; i++) {
		char c = name[i];

		if (c >= '0' && c <= '9')
			gen = gen << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			gen = gen << 4 | (uint64_t)(c - 'a' + 10);
		else
			return false;
	}
	*ret_generation = gen;
	return true;
}

static uint32_t hdr_crc(const struct dag_seg_hdr *hdr)
{
	const size_t at = offsetof(struct dag_seg_hdr, hdr_crc);
	const uint32_t zero = 0;
	uint32_t crc = dag_crc32c(0, hdr, at);

	crc = dag_crc32c(crc, &zero, sizeof(zero));
	return dag_crc32c(crc, (const uint8_t *)hdr + at + sizeof(zero),
			  sizeof(*hdr) - at - sizeof(zero));
}

void seg_hdr_encode(const struct seg_meta *meta, struct dag_seg_hdr *ret_hdr)
{
	memset(ret_hdr, 0, sizeof(*ret_hdr));
	ret_hdr->magic = htole64(DAG_SEG_MAGIC);
	ret_hdr->version = htole32(DAG_SEG_VERSION);
	memcpy(ret_hdr->uuid, meta->uuid, sizeof(meta->uuid));
	ret_hdr->generation = htole64(meta->generation);
	ret_hdr->first_lsn = htole64(meta->first_lsn);
	ret_hdr->seg_bytes = htole64(meta->seg_bytes);
	ret_hdr->created_ns = htole64(meta->created_ns);
	ret_hdr->flags = htole32(meta->flags);
	ret_hdr->prev_crc = htole32(meta->prev_crc);
	ret_hdr->hdr_crc = htole32(hdr_crc(ret_hdr));
}

const char *seg_hdr_decode(const void *block, struct seg_meta *ret_meta)
{
	struct dag_seg_hdr hdr;
	struct seg_meta meta;

	memcpy(&hdr, block, sizeof(hdr));
	if (le64toh(hdr.magic) != DAG_SEG_MAGIC)
		return "no segment header";
	if (hdr_crc(&hdr) != le32toh(hdr.hdr_crc))
		return "segment header checksum";
	if (le32toh(hdr.version) != DAG_SEG_VERSION)
		return "unknown segment version";
	memcpy(meta.uuid, hdr.uuid, sizeof(meta.uuid));
	meta.generation = le64toh(hdr.generation);
	meta.first_lsn = le64toh(hdr.first_lsn);
	meta.seg_bytes = le64toh(hdr.seg_bytes);
	meta.created_ns = le64toh(hdr.created_ns);
	meta.flags = le32toh(hdr.flags);
	meta.prev_crc = le32toh(hdr.prev_crc);
	if (meta.flags & ~(DAG_SEGF_START | DAG_SEGF_RESET))
		return "unknown segment flags";
	if (meta.seg_bytes < DAG_SEG_BYTES_MIN || meta.seg_bytes > SEG_BYTES_MAX ||
	    meta.seg_bytes % SEG_BLOCK)
		return "segment size out of range";
	if (meta.first_lsn % DAGTAP_ALIGN || meta.first_lsn > UINT64_MAX - meta.seg_bytes)
		return "segment lsn out of range";
	*ret_meta = meta;
	return NULL;
}

size_t seg_residue(const uint8_t *buf, size_t len, uint64_t lsn)
{
	size_t end = 0;

	for (size_t at = 0; at + sizeof(struct dagtap_rec) <= len; at += DAGTAP_ALIGN) {
		const struct dagtap_rec *rec = (const void *)(buf + at);

		if (le32toh(rec->magic) == DAGTAP_REC_MAGIC && le64toh(rec->lsn) == lsn + at)
			end = at + sizeof(*rec);
	}
	return end;
}
