// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/rpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/group/state_json.h"

#define RPC_HOPS_MAX	8

static char *to_line(struct json_object *obj)
{
	const char *text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN |
							  JSON_C_TO_STRING_NOSLASHESCAPE);
	char *line = NULL;

	if (!text || asprintf(&line, "%s\n", text) < 0)
		return NULL;
	return line;
}

static char *one_line(const char *key, struct json_object *value, int64_t id)
{
	struct json_object *obj = json_object_new_object();
	char *line;

	json_object_object_add(obj, key, value);
	json_object_object_add(obj, "id", json_object_new_int64(id));
	line = to_line(obj);
	json_object_put(obj);
	return line;
}

char *rpc_result_line(struct json_object *result, int64_t id)
{
	return one_line("result", json_object_get(result), id);
}

char *rpc_progress_line(struct json_object *progress, int64_t id)
{
	return one_line("progress", json_object_get(progress), id);
}

char *rpc_error_line(int code, const char *message, int64_t id)
{
	struct json_object *error = json_object_new_object();

	json_object_object_add(error, "code", json_object_new_int(code));
	json_object_object_add(error, "message", json_object_new_string(message));
	return one_line("error", error, id);
}

char *rpc_request_line(const char *method, struct json_object *params, int64_t id, unsigned hops)
{
	struct json_object *obj = json_object_new_object();
	char *line;

	json_object_object_add(obj, "method", json_object_new_string(method));
	if (params)
		json_object_object_add(obj, "params", json_object_get(params));
	json_object_object_add(obj, "id", json_object_new_int64(id));
	if (hops)
		json_object_object_add(obj, "hops", json_object_new_int(hops));
	line = to_line(obj);
	json_object_put(obj);
	return line;
}

void rpc_request_free(struct rpc_request *rq)
{
	json_object_put(rq->params);
	rq->params = NULL;
}

static int request_from_obj(struct json_object *obj, struct rpc_request *rq, char *err,
			    size_t errlen)
{
	struct json_object *params = NULL;
	const char *method;
	uint64_t n;
	int r;

	r = rpc_str(obj, "method", &method, err, errlen);
	if (r)
		return r;
	if (strlen(method) >= sizeof(rq->method)) {
		snprintf(err, errlen, "method: name too long");
		return -EINVAL;
	}
	strcpy(rq->method, method);
	n = 0;
	r = rpc_u64_opt(obj, "id", INT64_MAX, &n, err, errlen);
	rq->id = n;
	n = 0;
	if (!r)
		r = rpc_u64_opt(obj, "hops", RPC_HOPS_MAX, &n, err, errlen);
	rq->hops = n;
	if (r)
		return r;
	if (!json_object_object_get_ex(obj, "params", &params)) {
		rq->params = json_object_new_object();
		return 0;
	}
	if (!json_object_is_type(params, json_type_object)) {
		snprintf(err, errlen, "params: not an object");
		return -EINVAL;
	}
	rq->params = json_object_get(params);
	return 0;
}

int rpc_request_parse(const char *line, size_t len, struct rpc_request *ret, char *err,
		      size_t errlen)
{
	struct rpc_request rq = { .params = NULL };
	struct json_object *obj;
	int r;

	obj = json_parse_strict(line, len, err, errlen);
	if (!obj)
		return -EINVAL;
	r = request_from_obj(obj, &rq, err, errlen);
	json_object_put(obj);
	if (!r)
		*ret = rq;
	return r;
}

static int error_from_obj(struct json_object *error, struct rpc_answer *an, char *err, size_t errlen)
{
	struct json_object *code, *message;

	if (!json_object_object_get_ex(error, "code", &code) ||
	    !json_object_is_type(code, json_type_int) ||
	    json_object_get_int(code) >= 0 || json_object_get_int(code) < -4095 ||
	    !json_object_object_get_ex(error, "message", &message) ||
	    !json_object_is_type(message, json_type_string)) {
		snprintf(err, errlen, "error without code and message");
		return -EINVAL;
	}
	an->kind = RPC_ERROR;
	an->code = json_object_get_int(code);
	snprintf(an->message, sizeof(an->message), "%s", json_object_get_string(message));
	return 0;
}

int rpc_answer_parse(const char *line, size_t len, struct rpc_answer *ret, char *err, size_t errlen)
{
	struct json_object *obj, *value = NULL;
	struct rpc_answer an = { .value = NULL };
	int r = 0;

	obj = json_parse_strict(line, len, err, errlen);
	if (!obj)
		return -EINVAL;
	if (json_object_object_get_ex(obj, "error", &value)) {
		r = error_from_obj(value, &an, err, errlen);
	} else if (json_object_object_get_ex(obj, "result", &value)) {
		an.kind = RPC_RESULT;
		an.value = json_object_get(value);
	} else if (json_object_object_get_ex(obj, "progress", &value)) {
		an.kind = RPC_PROGRESS;
		an.value = json_object_get(value);
	} else {
		snprintf(err, errlen, "neither result, progress nor error");
		r = -EINVAL;
	}
	json_object_put(obj);
	if (!r)
		*ret = an;
	return r;
}

int rpc_str_opt(struct json_object *params, const char *key, const char **ret, char *err,
		size_t errlen)
{
	struct json_object *val;
	const char *s;
	size_t i, len;

	if (!json_object_object_get_ex(params, key, &val) || !val)
		return 0;
	if (!json_object_is_type(val, json_type_string)) {
		snprintf(err, errlen, "%s: not a string", key);
		return -EINVAL;
	}
	s = json_object_get_string(val);
	len = json_object_get_string_len(val);
	for (i = 0; i < len; i++) {
		if ((unsigned char)s[i] >= 0x20 && s[i] != 0x7f)
			continue;
		snprintf(err, errlen, "%s: has a control character", key);
		return -EINVAL;
	}
	*ret = s;
	return 0;
}

int rpc_str(struct json_object *params, const char *key, const char **ret, char *err, size_t errlen)
{
	const char *s = NULL;
	int r;

	r = rpc_str_opt(params, key, &s, err, errlen);
	if (r)
		return r;
	if (!s || !*s) {
		snprintf(err, errlen, "%s: missing", key);
		return -EINVAL;
	}
	*ret = s;
	return 0;
}

static int get_u64(struct json_object *val, const char *key, uint64_t max, uint64_t *ret, char *err,
		   size_t errlen)
{
	int64_t n;

	n = json_object_is_type(val, json_type_int) ? json_object_get_int64(val) : -1;
	if (n < 0 || (uint64_t)n > max || json_object_get_uint64(val) != (uint64_t)n) {
		snprintf(err, errlen, "%s: not a number from 0 to %llu", key, (unsigned long long)max);
		return -EINVAL;
	}
	*ret = n;
	return 0;
}

int rpc_u64_opt(struct json_object *params, const char *key, uint64_t max, uint64_t *ret, char *err,
		size_t errlen)
{
	struct json_object *val;

	if (!json_object_object_get_ex(params, key, &val) || !val)
		return 0;
	return get_u64(val, key, max, ret, err, errlen);
}

int rpc_u64(struct json_object *params, const char *key, uint64_t max, uint64_t *ret, char *err,
	    size_t errlen)
{
	struct json_object *val;

	if (!json_object_object_get_ex(params, key, &val) || !val) {
		snprintf(err, errlen, "%s: missing", key);
		return -EINVAL;
	}
	return get_u64(val, key, max, ret, err, errlen);
}

int rpc_bool(struct json_object *params, const char *key, char *err, size_t errlen)
{
	struct json_object *val;

	if (!json_object_object_get_ex(params, key, &val) || !val)
		return 0;
	if (!json_object_is_type(val, json_type_boolean)) {
		snprintf(err, errlen, "%s: not true or false", key);
		return -EINVAL;
	}
	return json_object_get_boolean(val);
}
