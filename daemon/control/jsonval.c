// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/jsonval.h"

#include <json-c/json.h>

const char *val_str(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(o, key, &v);
	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

double val_num(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(o, key, &v);
	return json_object_is_type(v, json_type_double) || json_object_is_type(v, json_type_int) ?
	       json_object_get_double(v) : 0;
}

int64_t val_whole(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(o, key, &v);
	return json_object_is_type(v, json_type_int) ? json_object_get_int64(v) : 0;
}

uint64_t val_count(struct json_object *o, const char *key)
{
	int64_t n = val_whole(o, key);

	return n < 0 ? 0 : n;
}

bool val_flag(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	json_object_object_get_ex(o, key, &v);
	return json_object_is_type(v, json_type_boolean) && json_object_get_boolean(v);
}

size_t val_length(struct json_object *o, const char *key, struct json_object **ret)
{
	*ret = NULL;
	json_object_object_get_ex(o, key, ret);
	return json_object_is_type(*ret, json_type_array) ? json_object_array_length(*ret) : 0;
}
