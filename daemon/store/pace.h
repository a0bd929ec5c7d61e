/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pace - how fast a seed goes: a limit in bytes a second, and what it was of late.
 * Pure; times are milliseconds of any clock that does not go back.
 *
 * The limit is a bucket that fills at the rate and holds what it brings in a tenth of
 * a second. What is taken may leave it in debt, which the next one waits for: over any
 * time t no more than rate * (t + 0.1 s) and one piece go.
 */
#ifndef DAG_PACE_H
#define DAG_PACE_H

#include <stdint.h>

struct pace {
	uint64_t rate;		/* bytes a second; 0: no limit */
	uint64_t then_ms;
	int64_t credit;		/* thousandths of bytes at then_ms; below zero: a debt */
};

/* The limit from now on; what was taken before it counts on. */
void pace_set(struct pace *p, uint64_t rate, uint64_t now_ms);
/* Milliseconds until the next piece may go; 0: now. */
uint64_t pace_wait_ms(struct pace *p, uint64_t now_ms);
void pace_take(struct pace *p, uint64_t bytes);
/* Bytes of a piece, so that a low rate makes no long pauses; at most max. */
uint64_t pace_piece(const struct pace *p, uint64_t max);

/* The rate of the last 5 to 10 seconds, or since the begin. */
struct meter {
	uint64_t older_ms, older_at;
	uint64_t newer_ms, newer_at;
};

void meter_begin(struct meter *m, uint64_t now_ms);
void meter_note(struct meter *m, uint64_t at, uint64_t now_ms);
double meter_rate(const struct meter *m, uint64_t at, uint64_t now_ms);

#endif
