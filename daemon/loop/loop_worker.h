/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loop_worker - one thread that runs the blocking calls of a POSIX loop in the
 * order of their submission, and says by an eventfd when one has ended.
 */
#ifndef DAG_LOOP_WORKER_H
#define DAG_LOOP_WORKER_H

#include "daemon/loop/loop_internal.h"

struct worker;

int worker_create(int event_fd, struct worker **ret);
void worker_destroy(struct worker *w);		/* nothing may be queued */
void worker_add(struct worker *w, struct loop_op *op);
/* False if it runs or has run already. */
bool worker_del(struct worker *w, struct loop_op *op);
/* What has ended, results in op_state()->res. */
struct op_list worker_take(struct worker *w);

#endif
