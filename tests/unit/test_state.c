// SPDX-License-Identifier: GPL-2.0
/* The agreed state: JSON round trip, hostile JSON, merge rules, names, tags. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/group/state.h"
#include "daemon/group/state_json.h"
#include "daemon/group/uuid.h"

static void add_member(struct group_state *gs, const char *name, const char *address)
{
	struct group_member *mb = &gs->members[gs->nr_members++];

	snprintf(mb->name, sizeof(mb->name), "%s", name);
	snprintf(mb->address, sizeof(mb->address), "%s", address);
	mb->port = 64327;
}

static struct group_copy *add_copy(struct group_store *st, const char *member)
{
	struct group_copy *cp = &st->copies[st->nr_copies++];

	snprintf(cp->member, sizeof(cp->member), "%s", member);
	strcpy(cp->device, "/dev/vdb");
	strcpy(cp->meta_device, "/dev/vdb");
	strcpy(cp->log_dir, "/var/lib/dag/log");
	cp->preference = st->nr_copies;
	return cp;
}

static struct group_store *add_store(struct group_state *gs, const char *name, uint8_t id)
{
	uint8_t uuid[16];
	struct group_store *st;

	memset(uuid, id, sizeof(uuid));
	st = group_add_store(gs, uuid);
	cr_assert_not_null(st);
	snprintf(st->name, sizeof(st->name), "%s", name);
	st->sectors = 2048;
	st->region_bytes = 65536;
	st->ring_mib = 64;
	st->segment_mib = 64;
	st->mode = DAGTAP_MODE_COMMIT;
	st->epoch = 1;
	st->version = 1;
	strcpy(st->active, "node1");
	add_copy(st, "node1");
	return st;
}

static void make(struct group_state *gs)
{
	struct group_store *st;

	cr_assert_eq(group_state_init(gs), 0);
	strcpy(gs->name, "lab");
	strcpy(gs->uuid, "01234567-89ab-4cde-8f01-23456789abcd");
	gs->generation = 1;
	gs->version = 3;
	strcpy(gs->founder, "node1");
	add_member(gs, "node1", "10.92.0.1");
	add_member(gs, "node2", "fd00::2");
	st = add_store(gs, "pg", 7);
	st->quota_bytes = 1ull << 40;
	st->start_lsn = 1ull << 50;
	st->point_lsn = (1ull << 50) - 64;
	st->min_in_sync = 1;
	st->ack_durable = true;
	st->client_stays = true;
	add_copy(st, "node2")->suspended = true;
	strcpy(st->copies[1].comment, "disk \"swap\" \\ späť");
	st->copies[1].replay_lag_ms = 3600000;
	st->copies[1].truncation_lag_ms = 14ull * 86400000;
	st->copies[1].lag_off = true;
	st->copies[0].in_sync = true;
}

Test(state, round_trip)
{
	struct group_state a, b;
	char err[256] = "", *ja, *jb;

	make(&a);
	cr_assert_eq(group_state_init(&b), 0);
	ja = group_state_to_json(&a);
	cr_assert_eq(group_state_from_json(ja, &b, err, sizeof(err)), 0, "%s", err);
	jb = group_state_to_json(&b);
	cr_assert_str_eq(ja, jb);
	cr_assert_eq(memcmp(a.stores, b.stores, sizeof(*a.stores)), 0);
	cr_assert_eq(memcmp(a.members, b.members, sizeof(a.members)), 0);
	cr_assert_eq(group_state_digest(&a), group_state_digest(&b));
	free(ja);
	free(jb);
	group_state_free(&a);
	group_state_free(&b);
}

/* Parse base with one text replaced; the answer must be -EINVAL, and ret empty. */
static void expect_refused(const char *from, const char *to)
{
	struct group_state a, b;
	char err[256] = "", *json, *at, *bad;

	make(&a);
	json = group_state_to_json(&a);
	at = strstr(json, from);
	cr_assert_not_null(at, "no %s in %s", from, json);
	cr_assert_gt(asprintf(&bad, "%.*s%s%s", (int)(at - json), json, to, at + strlen(from)), 0);
	cr_assert_eq(group_state_init(&b), 0);
	cr_assert_eq(group_state_from_json(bad, &b, err, sizeof(err)), -EINVAL, "%s accepted", to);
	cr_assert_neq(err[0], '\0', "%s: no reason", to);
	cr_assert_eq(b.uuid[0], '\0');
	cr_assert_eq(b.nr_stores, 0);
	cr_assert_eq(b.nr_members, 0);
	free(bad);
	free(json);
	group_state_free(&a);
	group_state_free(&b);
}

Test(state, hostile_json)
{
	static const char *const bad[][2] = {
		{ "\"lab\"", "\"a-name-of-16-chr\"" },
		{ "\"lab\"", "\"\"" },
		{ "\"lab\"", "\"../x\"" },
		{ "\"lab\"", "\"l\\u0000b\"" },
		{ "\"lab\"", "12" },
		{ "\"generation\":1", "\"generation\":-1" },
		{ "\"generation\":1", "\"generation\":18446744073709551615" },
		{ "\"generation\":1", "\"generation\":1.5" },
		{ "\"generation\":1", "\"generation\":\"1\"" },
		{ "\"generation\":1,", "" },
		{ "01234567-89ab", "0123456789ab-" },
		{ "\"port\":64327", "\"port\":65536" },
		{ "\"port\":64327", "\"port\":0" },
		{ "10.92.0.1", "example.com" },
		{ "\"node2\",\n", "\"node1\",\n" },
		{ "\"commit\"", "\"fast\"" },
		{ "\"ring_mib\":64", "\"ring_mib\":63" },
		{ "\"ring_mib\":64", "\"ring_mib\":4294967360" },
		{ "\"region_bytes\":65536", "\"region_bytes\":512" },
		{ "\"sectors\":2048", "\"sectors\":2047" },
		{ "\"sectors\":2048", "\"sectors\":0" },
		{ "\"ack_durable\":true", "\"ack_durable\":1" },
		{ "\"active\":\"node1\"", "\"active\":\"node9\"" },
		{ "\"active\":\"node1\"", "\"active\":\"no\\u001bde\"" },
		{ "\"device\":\"/dev/vdb\"", "\"device\":\"vdb\"" },
		{ "\"member\":\"node2\"", "\"member\":\"node1\"" },
		{ "\"copies\":[", "\"copies\":{}, \"x\":[" },
		{ "\"stores\":[", "\"stores\":7, \"x\":[" },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		expect_refused(bad[i][0], bad[i][1]);
}

/* A member that is older says nothing of it: the store moves, as by default. */
Test(state, what_an_older_member_does_not_say)
{
	struct group_state a, b;
	char err[256] = "", *json, *at, *end;

	make(&a);
	cr_assert_eq(group_state_init(&b), 0);
	json = group_state_to_json(&a);
	at = strstr(json, "\"client_stays\"");
	cr_assert_not_null(at);
	end = strchr(at, ',') + 1;
	memmove(at, end, strlen(end) + 1);
	cr_assert_eq(group_state_from_json(json, &b, err, sizeof(err)), 0, "%s", err);
	cr_assert_not(b.stores[0].client_stays);
	free(json);
	group_state_free(&a);
	group_state_free(&b);
}

Test(state, not_json)
{
	static const char *const bad[] = {
		"", "{", "null", "[]", "7", "{} {}", "{\"a\":1,}", "{'a':1}", "{}x", "\"x\"",
		"{\"name\":\"\xff\xfe\"}",
		"{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]}",
	};
	struct group_state gs;
	char err[256];
	size_t i;

	cr_assert_eq(group_state_init(&gs), 0);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err[0] = '\0';
		cr_assert_eq(group_state_from_json(bad[i], &gs, err, sizeof(err)), -EINVAL, "%s",
			     bad[i]);
		cr_assert_neq(err[0], '\0', "%s", bad[i]);
	}
	group_state_free(&gs);
}

Test(state, truncated_json)
{
	struct group_state a, b;
	char err[256], *json;
	size_t len;

	make(&a);
	cr_assert_eq(group_state_init(&b), 0);
	json = group_state_to_json(&a);
	for (len = strlen(json); len-- > 0;) {
		json[len] = '\0';
		cr_assert_eq(group_state_from_json(json, &b, err, sizeof(err)), -EINVAL);
	}
	free(json);
	group_state_free(&a);
	group_state_free(&b);
}

Test(state, merge_takes_newer_parts_only)
{
	struct group_state a, b;

	make(&a);
	make(&b);
	cr_assert_eq(group_state_merge(&a, &b), 0, "the same state is no change");
	b.version = 4;
	strcpy(b.members[1].address, "10.0.0.9");
	b.stores[0].version = 0;
	b.stores[0].mode = DAGTAP_MODE_SYNC;
	cr_assert_eq(group_state_merge(&a, &b), 1);
	cr_assert_str_eq(a.members[1].address, "10.0.0.9");
	cr_assert_eq(a.stores[0].mode, DAGTAP_MODE_COMMIT, "older part of a store taken");
	b.version = 2;
	strcpy(b.members[1].address, "10.0.0.8");
	b.stores[0].version = 2;
	cr_assert_eq(group_state_merge(&a, &b), 1);
	cr_assert_str_eq(a.members[1].address, "10.0.0.9", "older part of the group taken");
	cr_assert_eq(a.stores[0].mode, DAGTAP_MODE_SYNC);
	cr_assert_eq(group_state_digest(&a) == group_state_digest(&b), false);
	b.generation = 2;
	cr_assert_eq(group_state_merge(&a, &b), 1, "a generation counts above a version");
	group_state_free(&a);
	group_state_free(&b);
}

/* A move is a token: epoch before version, whatever the former holder wrote. */
Test(state, merge_epoch_wins)
{
	struct group_state old, moved;

	make(&old);
	make(&moved);
	old.stores[0].version = 100;
	moved.stores[0].epoch = 2;
	moved.stores[0].version = 5;
	strcpy(moved.stores[0].active, "node2");
	cr_assert_eq(group_state_merge(&moved, &old), 0);
	cr_assert_str_eq(moved.stores[0].active, "node2");
	cr_assert_eq(group_state_merge(&old, &moved), 1);
	cr_assert_str_eq(old.stores[0].active, "node2");
	group_state_free(&old);
	group_state_free(&moved);
}

Test(state, merge_removed)
{
	struct group_state a, b;

	make(&a);
	make(&b);
	b.stores[0].removed = true;
	b.stores[0].version = 2;
	cr_assert_neq(group_state_digest(&a), group_state_digest(&b));
	cr_assert_eq(group_state_merge(&b, &a), 0);
	a.stores[0].version = 9;
	cr_assert_eq(group_state_merge(&b, &a), 0, "a removed store came back");
	a.stores[0].version = 1;
	cr_assert_eq(group_state_merge(&a, &b), 1);
	cr_assert(a.stores[0].removed);
	cr_assert_null(group_find_store(&a, "pg"));
	cr_assert_not_null(group_find_store_uuid(&a, a.stores[0].uuid));
	a.nr_stores = 0;
	cr_assert_eq(group_state_merge(&a, &b), 0, "an unknown removed store was taken");
	group_state_free(&a);
	group_state_free(&b);
}

Test(state, merge_other_group)
{
	struct group_state a, b, none;

	make(&a);
	make(&b);
	cr_assert_eq(group_state_init(&none), 0);
	b.uuid[0] = 'f';
	b.version = 99;
	cr_assert_eq(group_state_merge(&a, &b), -EXDEV);
	cr_assert_eq(a.version, 3);
	cr_assert_eq(group_state_merge(&a, &none), 0);
	cr_assert_eq(group_state_merge(&none, &b), 1, "a member without a group takes one");
	cr_assert_str_eq(none.uuid, b.uuid);
	cr_assert_eq(none.nr_stores, 1);
	group_state_free(&a);
	group_state_free(&b);
	group_state_free(&none);
}

Test(state, full_table)
{
	struct group_state gs;
	struct group_store *st;
	uint8_t uuid[16] = { 200 };
	int i;

	cr_assert_eq(group_state_init(&gs), 0);
	for (i = 0; i < GROUP_STORES_MAX; i++)
		add_store(&gs, "s", i);
	cr_assert_null(group_add_store(&gs, uuid));
	gs.stores[5].removed = true;
	st = group_add_store(&gs, uuid);
	cr_assert_eq(st, &gs.stores[5]);
	cr_assert_not(st->removed);
	cr_assert_eq(st->version, 0);
	group_state_free(&gs);
}

Test(state, names)
{
	cr_assert(group_name_valid("node-1.example_x", 63));
	cr_assert(group_name_valid("1", 63));
	cr_assert_not(group_name_valid("", 63));
	cr_assert_not(group_name_valid("-x", 63));
	cr_assert_not(group_name_valid(".x", 63));
	cr_assert_not(group_name_valid("a/b", 63));
	cr_assert_not(group_name_valid("a b", 63));
	cr_assert_not(group_name_valid("\xc3\xa4", 63));
	cr_assert_not(group_name_valid("abcd", 3));
}

Test(state, tag_binds_uuid_and_outlives_a_restore)
{
	struct group_state gs;
	uint32_t tag;

	make(&gs);
	tag = group_store_tag(&gs.stores[0]);
	cr_assert_eq(group_store_tag(&gs.stores[0]), tag);
	gs.generation++;
	cr_assert_eq(group_store_tag(&gs.stores[0]), tag);
	gs.stores[0].uuid[15]++;
	cr_assert_neq(group_store_tag(&gs.stores[0]), tag);
	group_state_free(&gs);
}

Test(state, uuid_text)
{
	uint8_t uuid[16], back[16];
	char text[UUID_TEXT];
	int i;

	for (i = 0; i < 16; i++)
		uuid[i] = i * 17;
	uuid_from_random(uuid);
	uuid_format(uuid, text);
	cr_assert_eq(text[14], '4');
	cr_assert_eq(uuid_parse_text(text, back), 0);
	cr_assert_eq(memcmp(uuid, back, 16), 0);
	cr_assert_eq(uuid_parse_text("", back), -EINVAL);
	text[35] = 'g';
	cr_assert_eq(uuid_parse_text(text, back), -EINVAL);
	cr_assert_eq(uuid_parse_text("0123456789ab-89ab-4cde-8f01-23456789", back), -EINVAL);
}
