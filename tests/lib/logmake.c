// SPDX-License-Identifier: GPL-2.0
#include "tests/lib/logmake.h"

#include <stdlib.h>
#include <string.h>

#include "include/dag/crc32c.h"
#include "kmod/core/record.h"

void logmake_init(struct logmake *m, uint64_t ring_bytes, uint64_t lsn)
{
	*m = (struct logmake){ .size = ring_bytes, .lsn = lsn, .epoch = 1, .tag = 0x7461670au };
	m->base = aligned_alloc(4096, ring_bytes);
	if (!m->base)
		abort();
	/* what stands there before is garbage, not zeroes */
	memset(m->base, 0xa5, ring_bytes);
}

void logmake_free(struct logmake *m)
{
	free(m->base);
}

struct seglog_ring logmake_ring(const struct logmake *m)
{
	return (struct seglog_ring){ .base = m->base, .size = m->size };
}

static uint8_t *at(const struct logmake *m, uint64_t lsn)
{
	return m->base + (lsn & (m->size - 1));
}

void logmake_copy(const struct logmake *m, uint64_t lsn, void *to, uint64_t len)
{
	for (uint64_t i = 0; i < len;) {
		uint64_t left = m->size - ((lsn + i) & (m->size - 1));
		uint64_t n = len - i < left ? len - i : left;

		memcpy((uint8_t *)to + i, at(m, lsn + i), n);
		i += n;
	}
}

uint64_t logmake_record(struct logmake *m, const struct dagtap_rec_spec *spec, const void *payload)
{
	struct dagtap_rec rec;
	uint64_t lsn = m->lsn, whole = dagtap_rec_bytes(spec->payload);

	if (dagtap_rec_check(spec))
		abort();
	dagtap_rec_fill(&rec, spec, lsn, ++m->seq, m->epoch, m->tag);
	dagtap_rec_seal(&rec, m->prev_crc, dag_crc32c(0, payload, spec->payload));
	memcpy(at(m, lsn), &rec, sizeof(rec));
	for (uint64_t i = sizeof(rec); i < whole; i++)
		*at(m, lsn + i) = i - sizeof(rec) < spec->payload
					  ? ((const uint8_t *)payload)[i - sizeof(rec)]
					  : 0;
	m->prev_crc = le32toh(rec.hdr_crc);
	m->lsn += whole;
	return lsn;
}

static struct dagtap_rec_spec spec_of(struct logmake *m, uint8_t type)
{
	m->time_ns += 1000;
	return (struct dagtap_rec_spec){ .type = type, .time_ns = m->time_ns };
}

uint64_t logmake_extent(struct logmake *m, uint8_t type, uint64_t sector, uint32_t sectors,
			uint32_t seed)
{
	struct dagtap_rec_spec spec = spec_of(m, type);
	uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1, lsn, *data;

	spec.sector = sector;
	spec.sectors = sectors;
	spec.payload = sectors * DAGTAP_SECTOR;
	data = malloc(spec.payload);
	if (!data)
		abort();
	for (uint32_t i = 0; i < spec.payload / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = x;
	}
	lsn = logmake_record(m, &spec, data);
	free(data);
	return lsn;
}

uint64_t logmake_flags(struct logmake *m, uint8_t type, uint16_t flags, uint64_t sector,
		       uint32_t sectors)
{
	struct dagtap_rec_spec spec = spec_of(m, type);

	spec.flags = flags;
	spec.sector = sector;
	spec.sectors = sectors;
	return logmake_record(m, &spec, NULL);
}

uint64_t logmake_flush(struct logmake *m)
{
	return logmake_flags(m, DAGTAP_REC_FLUSH, 0, 0, 0);
}

uint64_t logmake_state(struct logmake *m, uint8_t kind)
{
	struct dagtap_rec_spec spec = spec_of(m, DAGTAP_REC_STATE);
	struct dagtap_state_payload payload = { .from_lsn = htole64(m->lsn) };

	spec.kind = kind;
	spec.payload = sizeof(payload);
	return logmake_record(m, &spec, &payload);
}

uint64_t logmake_mark(struct logmake *m, const char *name)
{
	struct dagtap_rec_spec spec = spec_of(m, DAGTAP_REC_MARK);

	spec.payload = strlen(name);
	return logmake_record(m, &spec, name);
}

void logmake_epoch(struct logmake *m, uint32_t epoch)
{
	m->epoch = epoch;
	m->prev_crc = 0;
	logmake_state(m, DAGTAP_STATE_EPOCH);
}
