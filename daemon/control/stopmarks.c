// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/stopmarks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control/rpc.h"
#include "daemon/group/state_json.h"
#include "daemon/log.h"
#include "daemon/net/creds_internal.h"

#define FILE_NAME	"stopped.json"

static void mark(const struct group_state *gs, struct json_object *name, bool *marked)
{
	const char *text = json_object_is_type(name, json_type_string) ?
			   json_object_get_string(name) : "";

	for (uint32_t i = 0; i < gs->nr_members; i++)
		if (!strcmp(gs->members[i].name, text))
			marked[i] = true;
}

/* What is damaged or of another generation marks nobody: a person marks again. */
void stopmarks_load(const char *state_dir, const struct group_state *gs, bool *marked)
{
	struct json_object *obj, *list;
	uint64_t generation;
	char err[200], *text;

	if (creds_file_read(state_dir, FILE_NAME, false, &text))
		return;
	obj = json_parse_strict(text, strlen(text), err, sizeof(err));
	free(text);
	if (obj && !rpc_u64(obj, "generation", INT64_MAX, &generation, err, sizeof(err)) &&
	    generation == gs->generation && json_object_object_get_ex(obj, "members", &list) &&
	    json_object_is_type(list, json_type_array))
		for (size_t i = 0; i < json_object_array_length(list); i++)
			mark(gs, json_object_array_get_idx(list, i), marked);
	json_object_put(obj);
}

int stopmarks_save(const char *state_dir, const struct group_state *gs, const bool *marked)
{
	struct json_object *obj = json_object_new_object(), *list = json_object_new_array();
	const char *text;
	int r;

	for (uint32_t i = 0; i < gs->nr_members; i++)
		if (marked[i])
			json_object_array_add(list, json_object_new_string(gs->members[i].name));
	json_object_object_add(obj, "generation", json_object_new_int64(gs->generation));
	json_object_object_add(obj, "members", list);
	text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY);
	r = creds_file_write(state_dir, FILE_NAME, 0600, text, strlen(text));
	json_object_put(obj);
	return r;
}

void stopmarks_clear(const char *state_dir)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/%s", state_dir, FILE_NAME);
	if (unlink(path) && errno != ENOENT)
		log_warn("file=%s msg=\"not removed\" err=\"%m\"", path);
}
