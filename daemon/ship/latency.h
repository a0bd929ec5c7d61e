/* SPDX-License-Identifier: GPL-2.0 */
/*
 * latency - how long the newest bytes of the log take from one stage to the next.
 * Pure: LSNs and times come from the caller.
 *
 * Not each record is timed but one after the other: a probe notes an end of the log
 * and when the tap committed it; when a stage has passed that LSN the time goes into
 * the stage's histogram, and the next end is noted. So the cost is a clock that is
 * read once per probe and stage, whatever the load, and a slow stage is not counted
 * more often for being slow. Nothing is allocated or locked: one thread writes
 * (relaxed), any may read.
 */
#ifndef DAG_LATENCY_H
#define DAG_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "include/uapi/dagtap.h"

/* As the module's: bucket i counts what took less than 2^i us, the last one the rest. */
#define LATENCY_BUCKETS	DAGTAP_LAT_BUCKETS

struct latency_hist {
	uint64_t bucket[LATENCY_BUCKETS];
	uint64_t sum_ns;
};

enum latency_stage {
	LATENCY_SHIP,		/* handed to the copy's connection */
	LATENCY_DURABLE,	/* the copy says that it is durable there */
	LATENCY_ACK,		/* told to the tap, which lets commits go */
	LATENCY_STAGES
};

struct latency {
	uint64_t lsn;		/* of the probe, or the last one; 0: none was */
	uint64_t at_ns;
	unsigned waits;		/* bit s: stage s has not passed lsn yet */
	struct latency_hist hist[LATENCY_STAGES];
};

void latency_add(struct latency_hist *h, uint64_t ns);
/* The log ends at lsn, committed at at_ns: a probe, if none is under way, over the
 * stages of the mask (1 << stage). */
void latency_begin(struct latency *l, uint64_t lsn, uint64_t at_ns, unsigned stages);
/* Does a probe wait for the stage to pass lsn? Only then the clock need be read. */
bool latency_due(const struct latency *l, enum latency_stage stage, uint64_t lsn);
/* The stage has passed lsn at now_ns. A clock that went back counts as no time. */
void latency_pass(struct latency *l, enum latency_stage stage, uint64_t lsn, uint64_t now_ns);
/* The connection is another one: what the probe waits for may never come. */
void latency_forget(struct latency *l);
/* A copy of the histograms for another thread. */
void latency_read(const struct latency *l, struct latency_hist ret[LATENCY_STAGES]);

#endif
