// SPDX-License-Identifier: GPL-2.0
/* Lines of the control protocol, tokens, layout of devices: what is pure. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/blockdev.h"
#include "daemon/control/invite.h"
#include "daemon/control/rpc.h"
#include "include/uapi/dagtap.h"

Test(rpc, request_round_trip)
{
	struct json_object *params = json_object_new_object();
	struct rpc_request rq;
	char err[256], *line;

	json_object_object_add(params, "store", json_object_new_string("a\nb"));
	line = rpc_request_line("store.show", params, 7, 1);
	cr_assert_eq(strchr(line, '\n'), line + strlen(line) - 1, "one line");
	cr_assert_eq(rpc_request_parse(line, strlen(line), &rq, err, sizeof(err)), 0, "%s", err);
	cr_assert_str_eq(rq.method, "store.show");
	cr_assert_eq(rq.id, 7);
	cr_assert_eq(rq.hops, 1);
	cr_assert(json_object_equal(rq.params, params));
	rpc_request_free(&rq);
	free(line);
	json_object_put(params);
}

Test(rpc, params_may_be_absent)
{
	static const char line[] = "{\"method\":\"status\"}";
	struct rpc_request rq;
	char err[256];

	cr_assert_eq(rpc_request_parse(line, strlen(line), &rq, err, sizeof(err)), 0);
	cr_assert_not_null(rq.params);
	cr_assert_eq(rq.id, 0);
	rpc_request_free(&rq);
}

Test(rpc, hostile_requests)
{
	static const char *const bad[] = {
		"", "{}", "[]", "null", "{\"method\":7}", "{\"method\":\"\"}",
		"{\"method\":\"x\",\"params\":[]}", "{\"method\":\"x\",\"params\":null}",
		"{\"method\":\"x\",\"id\":-1}", "{\"method\":\"x\",\"id\":\"1\"}",
		"{\"method\":\"x\",\"hops\":9}", "{\"method\":\"x\",\"hops\":1.5}",
		"{\"method\":\"x\"} {\"method\":\"y\"}", "{\"method\":\"a\\u0000b\"}",
		"{\"method\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
	};
	struct rpc_request rq;
	char err[256];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err[0] = '\0';
		cr_assert_eq(rpc_request_parse(bad[i], strlen(bad[i]), &rq, err, sizeof(err)), -EINVAL,
			     "%s", bad[i]);
		cr_assert_neq(err[0], '\0', "%s", bad[i]);
	}
}

static struct rpc_answer parse(char *line)
{
	struct rpc_answer an;
	char err[256];

	cr_assert_not_null(line);
	cr_assert_eq(rpc_answer_parse(line, strlen(line), &an, err, sizeof(err)), 0, "%s", err);
	free(line);
	return an;
}

Test(rpc, answers)
{
	struct json_object *obj = json_object_new_string("x");
	struct rpc_answer an;

	an = parse(rpc_result_line(obj, 3));
	cr_assert_eq(an.kind, RPC_RESULT);
	cr_assert_str_eq(json_object_get_string(an.value), "x");
	json_object_put(an.value);
	an = parse(rpc_result_line(NULL, 3));
	cr_assert_eq(an.kind, RPC_RESULT);
	cr_assert_null(an.value);
	an = parse(rpc_progress_line(obj, 3));
	cr_assert_eq(an.kind, RPC_PROGRESS);
	json_object_put(an.value);
	an = parse(rpc_error_line(-EBUSY, "store pg: mounted; unmount it", 3));
	cr_assert_eq(an.kind, RPC_ERROR);
	cr_assert_eq(an.code, -EBUSY);
	cr_assert_str_eq(an.message, "store pg: mounted; unmount it");
	json_object_put(obj);
}

Test(rpc, hostile_answers)
{
	static const char *const bad[] = {
		"{}", "{\"error\":7}", "{\"error\":{}}", "{\"error\":null}",
		"{\"error\":{\"code\":0,\"message\":\"m\"}}",
		"{\"error\":{\"code\":5,\"message\":\"m\"}}",
		"{\"error\":{\"code\":-5000,\"message\":\"m\"}}",
		"{\"error\":{\"code\":-5,\"message\":7}}", "{\"error\":{\"code\":-5}}",
	};
	struct rpc_answer an;
	char err[256];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(rpc_answer_parse(bad[i], strlen(bad[i]), &an, err, sizeof(err)), -EINVAL,
			     "%s", bad[i]);
}

Test(rpc, params)
{
	struct json_object *p = json_tokener_parse("{\"s\":\"x\",\"e\":\"\",\"c\":\"a\\u001b\","
						   "\"n\":5,\"neg\":-1,\"big\":18446744073709551615,"
						   "\"t\":true,\"f\":false}");
	const char *s = "keep";
	uint64_t n = 9;
	char err[256];

	cr_assert_eq(rpc_str(p, "s", &s, err, sizeof(err)), 0);
	cr_assert_str_eq(s, "x");
	cr_assert_eq(rpc_str(p, "e", &s, err, sizeof(err)), -EINVAL);
	cr_assert_eq(rpc_str(p, "c", &s, err, sizeof(err)), -EINVAL, "control character");
	cr_assert_eq(rpc_str(p, "n", &s, err, sizeof(err)), -EINVAL);
	cr_assert_eq(rpc_str_opt(p, "none", &s, err, sizeof(err)), 0);
	cr_assert_str_eq(s, "x");
	cr_assert_eq(rpc_u64(p, "n", 5, &n, err, sizeof(err)), 0);
	cr_assert_eq(n, 5);
	cr_assert_eq(rpc_u64(p, "n", 4, &n, err, sizeof(err)), -EINVAL);
	cr_assert_eq(rpc_u64(p, "neg", 5, &n, err, sizeof(err)), -EINVAL);
	cr_assert_eq(rpc_u64(p, "big", INT64_MAX, &n, err, sizeof(err)), -EINVAL);
	cr_assert_eq(rpc_u64(p, "none", 5, &n, err, sizeof(err)), -EINVAL);
	cr_assert_eq(rpc_u64_opt(p, "none", 5, &n, err, sizeof(err)), 0);
	cr_assert_eq(n, 5);
	cr_assert_eq(rpc_bool(p, "t", err, sizeof(err)), 1);
	cr_assert_eq(rpc_bool(p, "f", err, sizeof(err)), 0);
	cr_assert_eq(rpc_bool(p, "none", err, sizeof(err)), 0);
	cr_assert_eq(rpc_bool(p, "n", err, sizeof(err)), -EINVAL);
	json_object_put(p);
}

#define UUID	"01234567-89ab-4cde-8f01-23456789abcd"
#define FP	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define SECRET	"0123456789abcdef0123456789abcdef"

Test(token, round_trip)
{
	struct invite_token tk, back;
	char text[INVITE_TOKEN_MAX];

	cr_assert_eq(invite_token_parse("dag1/" UUID "/node2/fd00::1/64328/" FP "/" SECRET " \r\n", &tk),
		     0);
	cr_assert_str_eq(tk.member, "node2");
	cr_assert_str_eq(tk.address, "fd00::1");
	cr_assert_eq(tk.port, 64328);
	cr_assert_str_eq(tk.secret, SECRET);
	invite_token_format(&tk, text);
	cr_assert_eq(invite_token_parse(text, &back), 0);
	cr_assert_eq(memcmp(&tk, &back, sizeof(tk)), 0);
}

Test(token, refused)
{
	static const char *const bad[] = {
		"", "x", "dag1", "dag2/" UUID "/n/10.0.0.1/1/" FP "/" SECRET,
		"dag1/" UUID "/n/10.0.0.1/1/" FP, "dag1/" UUID "/n/10.0.0.1/1/" FP "/" SECRET "/x",
		"dag1/" UUID "/n/10.0.0.1/0/" FP "/" SECRET,
		"dag1/" UUID "/n/10.0.0.1/65536/" FP "/" SECRET,
		"dag1/" UUID "/n/10.0.0.1/1/" FP "/" SECRET "0",
		"dag1/" UUID "/n/10.0.0.1/1/" SECRET "/" SECRET,
		"dag1/" UUID "/-n/10.0.0.1/1/" FP "/" SECRET,
		"dag1/" UUID "/n/host/1/" FP "/" SECRET,
		"dag1/x/n/10.0.0.1/1/" FP "/" SECRET,
	};
	struct invite_token tk;
	char big[2 * INVITE_TOKEN_MAX];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(invite_token_parse(bad[i], &tk), -EINVAL, "%s", bad[i]);
	memset(big, '/', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	cr_assert_eq(invite_token_parse(big, &tk), -EINVAL);
}

/* Data and metadata must not overlap, nor pass the end of the device. */
static void check_tail(uint64_t bytes, uint32_t region)
{
	struct blockdev_layout lay;
	uint64_t regions;

	cr_assert_eq(blockdev_layout(bytes, 0, region, 0, &lay), 0);
	regions = (lay.sectors * 512 + region - 1) / region;
	cr_assert_eq(lay.sectors % 8, 0);
	cr_assert_leq(lay.sectors * 512, lay.meta_block * DAGTAP_BLOCK);
	cr_assert_leq((lay.meta_block + DAGTAP_META_BLOCKS(regions)) * DAGTAP_BLOCK, bytes);
}

Test(layout, tail)
{
	struct blockdev_layout lay;

	check_tail(1 << 20, 4096);
	check_tail((64 << 20) + 4095, 65536);
	check_tail((1ull << 40) + 512, 1 << 20);
	check_tail((1ull << 46), 4096);
	cr_assert_eq(blockdev_layout(4096, 0, 65536, 0, &lay), -ENOSPC);
	cr_assert_eq(blockdev_layout(0, 0, 65536, 0, &lay), -ENOSPC);
	cr_assert_eq(blockdev_layout(4 * 4096, 0, 65536, 0, &lay), -ENOSPC);
	cr_assert_eq(blockdev_layout(5 * 4096, 0, 65536, 0, &lay), 0);
	cr_assert_eq(lay.sectors, 8);
	cr_assert_eq(lay.meta_block, 1);
}

Test(layout, own_device_and_other_copy)
{
	struct blockdev_layout lay, other;

	cr_assert_eq(blockdev_layout(1 << 20, 4 * 4096, 65536, 0, &lay), 0);
	cr_assert_eq(lay.sectors, 2048);
	cr_assert_eq(lay.meta_block, 0);
	cr_assert_eq(blockdev_layout(1 << 20, 4 * 4096 - 1, 65536, 0, &lay), -ENOSPC);
	/* a copy on a device of the same size fits, on a smaller one not */
	cr_assert_eq(blockdev_layout(1 << 30, 0, 65536, 0, &lay), 0);
	cr_assert_eq(blockdev_layout(1 << 30, 0, 65536, lay.sectors, &other), 0);
	cr_assert_eq(other.sectors, lay.sectors);
	cr_assert_eq(blockdev_layout((1 << 30) - 4096, 0, 65536, lay.sectors, &other), -ENOSPC);
	cr_assert_eq(blockdev_layout(2u << 30, 0, 65536, lay.sectors, &other), 0);
	cr_assert_eq(other.sectors, lay.sectors);
	cr_assert_geq(other.meta_block * 8, lay.sectors);
}
