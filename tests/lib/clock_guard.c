// SPDX-License-Identifier: GPL-2.0
/*
 * No wait may end by the wall clock, which is stepped: programs that are linked with
 * --wrap=pthread_cond_timedwait abort where one would. A time of the wall clock is told
 * from one of a host's life by its size.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define YEARS	(10 * 365 * 86400L)	/* no host is up for so long */

int __real_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until);

int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
				  const struct timespec *until)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (until->tv_sec > now.tv_sec + YEARS) {
		fprintf(stderr, "a wait ends by the wall clock\n");
		abort();
	}
	return __real_pthread_cond_timedwait(cond, mutex, until);
}
