/* SPDX-License-Identifier: GPL-2.0 */
/*
 * state_json - parts of the agreed state as JSON objects, for the state file and
 * for the RPC. Pure. What comes from outside is checked field by field: types,
 * lengths, ranges, names, uniqueness; the reason of a refusal is put into err.
 */
#ifndef DAG_STATE_JSON_H
#define DAG_STATE_JSON_H

#include <json-c/json.h>

#include "daemon/group/state.h"

struct json_object *group_member_to_obj(const struct group_member *mb);
struct json_object *group_copy_to_obj(const struct group_copy *cp);
struct json_object *group_store_to_obj(const struct group_store *st);
struct json_object *group_state_to_obj(const struct group_state *gs);

int group_member_from_obj(struct json_object *obj, struct group_member *ret, char *err, size_t errlen);
int group_copy_from_obj(struct json_object *obj, struct group_copy *ret, char *err, size_t errlen);
int group_store_from_obj(struct json_object *obj, struct group_store *ret, char *err, size_t errlen);
/* ret must be initialised (group_state_init); on failure it is emptied. */
int group_state_from_obj(struct json_object *obj, struct group_state *ret, char *err, size_t errlen);

/* Strict parse of a whole text: one object, depth limited, nothing after it. */
struct json_object *json_parse_strict(const char *text, size_t len, char *err, size_t errlen);

const char *group_mode_name(uint32_t mode);		/* "async", … */
int group_mode_parse(const char *name, uint32_t *ret);	/* -EINVAL */

#endif
