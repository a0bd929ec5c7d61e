/* SPDX-License-Identifier: GPL-2.0 */
/* What stores.c and stores_status.c share. */
#ifndef DAG_STORES_INTERNAL_H
#define DAG_STORES_INTERNAL_H

#include <pthread.h>

#include "daemon/store/local.h"

struct stores {
	struct stores_conf conf;
	char *self;
	pthread_t manager;

	pthread_mutex_t post_lock;	/* the newest agreed state, and stop */
	pthread_cond_t post_cond;
	struct group_state posted;
	bool have_posted, stop;
	uint64_t posts, looked;		/* stores_apply() calls; those that are done */
	bool poked;			/* look again, though the state is the same */
	bool held_back;			/* atomic: activate nothing */

	/* Readers use the copies; the manager alone changes them. */
	pthread_rwlock_t lock;
	struct group_state gs;
	uint8_t group[16];
	struct local *local[GROUP_STORES_MAX];
};

/* Lock held. */
struct local *stores_find(struct stores *ss, const uint8_t uuid[16]);

/* stores_lease.c: the module says so, or there is none that could serve. */
bool stores_gate_shut(struct stores *ss, const struct local *lo);

/* stores_steps.c: the manager has ended; take down what must not outlive the host. */
void stores_steps_end(struct stores *ss);

/* stores_takeover.c: DAG_OK: st is used up; else the caller refuses. */
enum dag_refusal stores_feed(struct stores *ss, struct stream *st, const struct frame_hello *hello);

#endif
