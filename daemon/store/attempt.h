/* SPDX-License-Identifier: GPL-2.0 */
/*
 * attempt - activations of a store on one member that failed in their steps, and until
 * when it is not tried there again. Pure: times are the caller's (monotonic, ms).
 *
 * Invariants:
 *  A1 after a failure the member is no candidate before its delay has passed, so two
 *     members whose mounts fail do not hand the store to and fro;
 *  A2 the delay is bounded: it doubles with each failure in a row, up to 32 times the
 *     first one, so what was mended elsewhere is found out without a hand.
 */
#ifndef DAG_ATTEMPT_H
#define DAG_ATTEMPT_H

#include <stdint.h>

#define ATTEMPT_RETRY_MS	60000	/* the first delay, where nothing is configured */
#define ATTEMPT_DOUBLINGS	5

struct attempt {
	uint32_t failures;		/* in a row */
	uint64_t until_ms;		/* not tried again before */
};

/* retry_ms: the first delay; 0: ATTEMPT_RETRY_MS. */
void attempt_failed(struct attempt *at, uint32_t retry_ms, uint64_t now_ms);
/* It succeeded, or a person wants it to be tried: nothing is remembered. */
void attempt_clear(struct attempt *at);
/* In how many ms it may be tried again; 0: now. */
uint64_t attempt_left_ms(const struct attempt *at, uint64_t now_ms);

#endif
