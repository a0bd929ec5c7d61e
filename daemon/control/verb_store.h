/* SPDX-License-Identifier: GPL-2.0 */
/* What the verbs about stores, moves and copies share. */
#ifndef DAG_VERB_STORE_H
#define DAG_VERB_STORE_H

#include "daemon/control/control_int.h"

/* A store that comes back from a move: for so long its old place may not be Healthy. */
#define MOVE_BACK_MS	20000
#define MOVE_MARGIN_MS	5000

/* Copy of the agreed part of params.store. */
int store_snapshot(struct rpc_call *call, struct group_store *ret);
int store_set_path(struct rpc_call *call, const char *key, const char *value, char *to);
int store_copy_paths(struct rpc_call *call, const char *store, struct group_copy *cp);
int store_measure(struct rpc_call *call, struct group_copy *cp, uint32_t region_bytes,
		  uint64_t want_sectors, bool force, uint64_t *ret_sectors);
/* verb_lag.c: the lags of params, where they are given, into cp. */
int copy_take_lag(struct rpc_call *call, struct group_copy *cp);
/* verb_copy.c: how its seed is to go, where params say so, into cp. */
int copy_take_seed(struct rpc_call *call, struct group_copy *cp);
/* Clean up a copy that the agreed state no longer has, on its member. */
int store_forget_on(struct rpc_call *call, const char *member, const uint8_t uuid[16]);
/* -EBUSY and the reason while /dev/mapper/name is mounted or open here. */
int store_check_unused(struct rpc_call *call, const char *name, const char *what);
/* RFC 3339, UTC, of CLOCK_REALTIME; 0: "". */
void store_put_time(struct json_object *o, const char *key, uint64_t ns);
/* verb_mount.c: are there steps, and how long may they take altogether? */
bool store_has_steps(const struct group_store *st);
unsigned store_steps_ms(const struct group_store *st);

#endif
