/* SPDX-License-Identifier: GPL-2.0 */
/*
 * health_watch - a thread that counts the healthy copies of each store and raises the
 * redundancy alert (health/redundancy.h): into the log, the history and the status.
 */
#ifndef DAG_HEALTH_WATCH_H
#define DAG_HEALTH_WATCH_H

#include <json-c/json.h>
#include <stdbool.h>

struct control;
struct health_watch;

int health_watch_start(struct control *ct, struct health_watch **ret);
void health_watch_stop(struct health_watch *hw);	/* NULL is fine; after stopping was said */
/* Stores with too few: [ { store, healthy, seconds, alert } ]. */
struct json_object *health_watch_obj(struct health_watch *hw);
/* One store, by its place in the list; false: there is none. */
bool health_watch_store(struct health_watch *hw, unsigned i, char name[32], unsigned *ret_healthy,
			bool *ret_alert);

#endif
