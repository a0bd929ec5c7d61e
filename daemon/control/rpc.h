/* SPDX-License-Identifier: GPL-2.0 */
/*
 * rpc - the lines of the control protocol. Pure.
 *
 * Request:  {"method": M, "params": {…}, "id": N, "hops": H}
 * Answer:   any number of {"progress": {…}, "id": N}, then one of
 *           {"result": …, "id": N}
 *           {"error": {"code": -errno, "message": "object: cause; next step"}, "id": N}
 * One line each; the same on the UNIX socket and between members. hops counts
 * how often a request was passed on, 0 if it is absent.
 */
#ifndef DAG_RPC_H
#define DAG_RPC_H

#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>

#define RPC_METHOD_MAX	64
#define RPC_LINE_MAX	(8u << 20)	/* a full group state fits twice */

struct rpc_request {
	char method[RPC_METHOD_MAX];
	struct json_object *params;	/* an object, never NULL; ours to put */
	int64_t id;
	unsigned hops;
};

int rpc_request_parse(const char *line, size_t len, struct rpc_request *ret, char *err, size_t errlen);
void rpc_request_free(struct rpc_request *rq);

/* Lines end in \n and are malloc'ed; NULL: out of memory. Nothing is consumed. */
char *rpc_request_line(const char *method, struct json_object *params, int64_t id, unsigned hops);
char *rpc_result_line(struct json_object *result, int64_t id);
char *rpc_progress_line(struct json_object *progress, int64_t id);
char *rpc_error_line(int code, const char *message, int64_t id);

enum rpc_answer_kind { RPC_RESULT, RPC_PROGRESS, RPC_ERROR };

struct rpc_answer {
	enum rpc_answer_kind kind;
	struct json_object *value;	/* RESULT, PROGRESS; may be NULL (null); ours to put */
	int code;			/* ERROR: -errno */
	char message[1024];
};

int rpc_answer_parse(const char *line, size_t len, struct rpc_answer *ret, char *err, size_t errlen);

/* A value of params, or -EINVAL with a reason. The `_opt` ones leave *ret alone
 * and return 0 where the key is absent. */
int rpc_str(struct json_object *params, const char *key, const char **ret, char *err, size_t errlen);
int rpc_str_opt(struct json_object *params, const char *key, const char **ret, char *err, size_t errlen);
int rpc_u64(struct json_object *params, const char *key, uint64_t max, uint64_t *ret, char *err,
	    size_t errlen);
int rpc_u64_opt(struct json_object *params, const char *key, uint64_t max, uint64_t *ret, char *err,
		size_t errlen);
int rpc_bool(struct json_object *params, const char *key, char *err, size_t errlen); /* 0, 1, -EINVAL */

#endif
