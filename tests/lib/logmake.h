/* SPDX-License-Identifier: GPL-2.0 */
/* logmake - makes chained records in a ring, as the tap does, for tests. */
#ifndef DAG_TEST_LOGMAKE_H
#define DAG_TEST_LOGMAKE_H

#include <stdint.h>

#include "daemon/log/seglog.h"
#include "include/uapi/dagtap.h"

struct logmake {
	uint8_t *base;
	uint64_t size;
	uint64_t lsn;		/* end of the log */
	uint32_t prev_crc, seq, epoch, tag;
	uint64_t time_ns;
};

/* Leaves the test when there is no memory. */
void logmake_init(struct logmake *m, uint64_t ring_bytes, uint64_t lsn);
void logmake_free(struct logmake *m);
struct seglog_ring logmake_ring(const struct logmake *m);

/* The next record, whatever it is; ends the test if the spec is none. Its LSN. */
struct dagtap_rec_spec;
uint64_t logmake_record(struct logmake *m, const struct dagtap_rec_spec *spec, const void *payload);
/* DATA, RESYNC: `sectors` of pseudo-random bytes out of seed. */
uint64_t logmake_extent(struct logmake *m, uint8_t type, uint64_t sector, uint32_t sectors,
			uint32_t seed);
uint64_t logmake_flags(struct logmake *m, uint8_t type, uint16_t flags, uint64_t sector,
		       uint32_t sectors);
uint64_t logmake_flush(struct logmake *m);
uint64_t logmake_state(struct logmake *m, uint8_t kind);
uint64_t logmake_mark(struct logmake *m, const char *name);
/* A new activation: the next record starts a chain of its own. */
void logmake_epoch(struct logmake *m, uint32_t epoch);
/* The bytes of [lsn, lsn + len), unwrapped. */
void logmake_copy(const struct logmake *m, uint64_t lsn, void *to, uint64_t len);

#endif
