/* SPDX-License-Identifier: GPL-2.0 */
/*
 * takeover_rpc - what a take-over asks of a member, here or there: the promise of
 * an epoch with a report of the log's end, and the fetch of the last logs.
 */
#ifndef DAG_TAKEOVER_RPC_H
#define DAG_TAKEOVER_RPC_H

#include <json-c/json.h>

#include "daemon/group/takeover.h"

struct control;

/* Fill in what the copy knows of itself; 0 or -errno. May take seconds. */
int takeover_rpc_seal(struct control *ct, const struct takeover_action *what, struct candidate *ret);
int takeover_rpc_fetch(struct control *ct, const struct takeover_action *what, struct candidate *ret);
/* The report alone: nothing is promised. */
int takeover_rpc_report(struct control *ct, const struct takeover_action *what, struct candidate *ret);

/* A report as it travels; -EINVAL with a reason on bad input. */
struct json_object *candidate_to_obj(const struct candidate *cand);
int candidate_from_obj(struct json_object *obj, struct candidate *ret, char *err, size_t errlen);

#endif
