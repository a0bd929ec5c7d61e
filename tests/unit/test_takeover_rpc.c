// SPDX-License-Identifier: GPL-2.0
/* A copy's report as it travels between members. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "daemon/control/takeover_rpc.h"
#include "daemon/group/clientnet.h"

static const struct candidate sample = {
	.whole = true,
	.unconfirmed = true,
	.blocked = true,
	.status = CAND_DISCONNECTED_HEALTHY,
	.log_epoch = 12,
	.end_lsn = 1ull << 40,
	.copy_queue = 3,
	.replay_queue = 70,
	.failed = true,
	.client = CLIENT_UP,
};

Test(takeover_rpc, a_report_travels)
{
	struct json_object *obj = candidate_to_obj(&sample);
	struct candidate got = { .status = CAND_OTHER };
	char err[128];

	cr_assert(eq(int, candidate_from_obj(obj, &got, err, sizeof(err)), 0));
	cr_assert(got.whole && got.unconfirmed && got.blocked);
	cr_assert(eq(int, got.status, sample.status));
	cr_assert(eq(u32, got.log_epoch, 12));
	cr_assert(eq(u64, got.end_lsn, sample.end_lsn));
	cr_assert(eq(u64, got.copy_queue, 3));
	cr_assert(eq(u64, got.replay_queue, 70));
	cr_assert(got.failed);
	cr_assert(eq(int, got.client, CLIENT_UP));
	/* a member that is older knows of neither: not failed, not judged */
	json_object_object_del(obj, "failed");
	json_object_object_del(obj, "client");
	cr_assert(eq(int, candidate_from_obj(obj, &got, err, sizeof(err)), 0), "%s", err);
	cr_assert_not(got.failed);
	cr_assert(eq(int, got.client, CLIENT_NONE));
	json_object_put(obj);
}

Test(takeover_rpc, a_bad_report_is_refused)
{
	static const char *const bad[] = {
		"[]", "{}", "{\"whole\":1}",
		"{\"whole\":true,\"status\":99,\"log_epoch\":1,\"end_lsn\":1,\"copy_queue\":0,\"replay_queue\":0}",
		"{\"whole\":true,\"status\":0,\"log_epoch\":1,\"end_lsn\":-1,\"copy_queue\":0,\"replay_queue\":0}",
		"{\"whole\":true,\"status\":0,\"log_epoch\":4294967296,\"end_lsn\":1,\"copy_queue\":0,\"replay_queue\":0}",
		"{\"whole\":true,\"client\":4,\"status\":0,\"log_epoch\":1,\"end_lsn\":1,\"copy_queue\":0,\"replay_queue\":0}",
		"{\"whole\":true,\"failed\":1,\"status\":0,\"log_epoch\":1,\"end_lsn\":1,\"copy_queue\":0,\"replay_queue\":0}",
		"{\"whole\":true,\"status\":0,\"log_epoch\":\"1\",\"end_lsn\":1,\"copy_queue\":0,\"replay_queue\":0}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct json_object *obj = json_tokener_parse(bad[i]);
		struct candidate got = { .status = CAND_OTHER };
		char err[128] = "";

		cr_assert(eq(int, candidate_from_obj(obj, &got, err, sizeof(err)), -EINVAL), "%s", bad[i]);
		cr_assert(err[0] != '\0', "%s", bad[i]);
		json_object_put(obj);
	}
}
