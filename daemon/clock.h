/* SPDX-License-Identifier: GPL-2.0 */
/*
 * clock - CLOCK_MONOTONIC: it is never stepped, and stands still while the host sleeps.
 * What must count a suspended host's time as well (leases) uses CLOCK_BOOTTIME.
 */
#ifndef DAG_CLOCK_H
#define DAG_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* So many ms from now, for pthread_cond_clockwait(). */
static inline struct timespec clock_after_ms(unsigned ms)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += ms / 1000;
	ts.tv_nsec += ms % 1000 * 1000000L;
	if (ts.tv_nsec >= 1000000000L) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000L;
	}
	return ts;
}

#endif
