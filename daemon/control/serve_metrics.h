/* SPDX-License-Identifier: GPL-2.0 */
/*
 * serve_metrics - /metrics over HTTP, on the loopback unless dag.conf says otherwise:
 * one thread, few connections at a time, bounded buffers, a deadline for each. It is a
 * reader only: nothing that a caller sends has an effect beyond the answer.
 */
#ifndef DAG_SERVE_METRICS_H
#define DAG_SERVE_METRICS_H

#include <stddef.h>

struct control;
struct serve_metrics;

/* 0 and *ret NULL: it is off, or its address is not to be had, which is logged: a member
 * without metrics is better than none. */
int serve_metrics_start(struct control *ct, struct serve_metrics **ret);
void serve_metrics_stop(struct serve_metrics *sm);	/* NULL is fine; after stopping was said */

/* The text (malloc'ed), as `dagctl metrics` prints it. */
int metrics_collect(struct control *ct, char **ret, size_t *ret_len);

#endif
