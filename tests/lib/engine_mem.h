/* SPDX-License-Identifier: GPL-2.0 */
/*
 * engine_mem - the agreed state of a group in memory, one for all members of the
 * program: each transaction is seen by everybody at once.
 */
#ifndef DAG_ENGINE_MEM_H
#define DAG_ENGINE_MEM_H

#include <pthread.h>
#include <stdbool.h>

#include "daemon/group/engine.h"

struct engine_mem {
	struct engine engine;	/* give this one to every member */
	pthread_mutex_t lock;
	struct group_state gs;
	unsigned refuse;	/* so many store transactions fail with -EAGAIN */
	unsigned ambiguous;	/* so many happen, but answer -EAGAIN */
	unsigned slow_ms;	/* each store transaction takes that long */
	bool silent;		/* nobody is told of changes */
};

int engine_mem_init(struct engine_mem *em);
void engine_mem_free(struct engine_mem *em);

#endif
