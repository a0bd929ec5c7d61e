// SPDX-License-Identifier: GPL-2.0
/* The verbs about steps, maintenance and the history, asked of either of two members. */
#include "daemon/net/service_addr.h"
#include "tests/lib/control_pair.h"

TestSuite(maintain, .init = setup, .fini = teardown, .timeout = 60);

Test(maintain, steps_of_a_store)
{
	struct json_object *obj = NULL;

	make_store();
	cr_assert_eq(ask(1, "store.mount", "{\"store\":\"pg\"}", NULL), -EINVAL);
	cr_assert_not_null(strstr(message, "store set"), "%s", message);
	cr_assert_eq(ask(1, "store.set", "{\"store\":\"pg\",\"fs_type\":\"ext4\"}", NULL), -EINVAL);
	cr_assert_not_null(strstr(message, "need a mount point"), "%s", message);
	cr_assert_eq(ask(2, "store.set", "{\"store\":\"pg\",\"fs_type\":\"ext4\",\"mount_point\":"
			 "\"/srv\",\"addresses\":\"10.0.0.9\"}", &obj), 0, "%s", message);
	cr_assert_str_eq(text_of(obj, "mount_point"), "/srv");
	json_object_put(obj);
	/* one that does not go down stays, by agreement too */
	hold_answer = 0;
	cr_assert_eq(ask(2, "store.dismount", "{\"store\":\"pg\"}", NULL), 0, "%s", message);
	cr_assert_eq(ask(1, "store.show", "{\"store\":\"pg\"}", &obj), 0);
	cr_assert_str_eq(text_of(obj, "dismounted"), "true");
	json_object_put(obj);
	cr_assert_eq(ask(1, "store.mount", "{\"store\":\"pg\"}", NULL), 0, "%s", message);
	cr_assert_eq(ask(1, "store.set", "{\"store\":\"pg\",\"mount_point\":\"none\"}", NULL), -EINVAL);
	cr_assert_eq(ask(1, "store.set", "{\"store\":\"pg\",\"mount_point\":\"none\",\"fs_type\":\"\"}",
			 &obj), 0, "%s", message);
	cr_assert_str_eq(text_of(obj, "mount_point"), "");
	json_object_put(obj);
}

static bool node1_maintained(struct group_state *gs)
{
	struct group_member *mb = group_find_member(gs, "node1");

	return mb && mb->maintenance && mb->policy == POLICY_INTRASITE;
}

static bool node1_free(struct group_state *gs)
{
	struct group_member *mb = group_find_member(gs, "node1");

	return mb && !mb->maintenance && mb->policy == POLICY_INTRASITE;
}

Test(maintain, maintenance_moves_away_and_restores)
{
	struct json_object *obj = NULL;

	make_store();
	cr_assert_eq(ask(2, "member.set", "{\"name\":\"node1\",\"policy\":\"intrasite\",\"site\":\"x\"}",
			 NULL), 0, "%s", message);
	cr_assert_eq(ask(2, "member.set", "{\"name\":\"node9\",\"site\":\"x\"}", NULL), -ENOENT);
	cr_assert_eq(ask(2, "member.set", "{\"name\":\"node1\",\"site\":\"a b\"}", NULL), -EINVAL);
	/* the drain fails, and there is no other copy: undone */
	drain_answer = -ETIMEDOUT;
	cr_assert_eq(ask(2, "member.maintenance", "{\"action\":\"start\",\"name\":\"node1\"}", NULL),
		     -ETIMEDOUT);
	cr_assert_not_null(strstr(message, "not started"), "%s", message);
	wait_state(1, node1_free);
	drain_answer = 0;
	cr_assert_eq(ask(2, "member.maintenance", "{\"action\":\"start\",\"name\":\"node1\"}", NULL),
		     0, "%s", message);
	wait_state(1, pg_on_2);
	wait_state(2, node1_maintained);
	cr_assert_eq(ask(2, "store.move", "{\"store\":\"pg\",\"to\":\"node1\"}", NULL), -EBUSY);
	cr_assert_not_null(strstr(message, "maintenance stop node1"), "%s", message);
	cr_assert_eq(ask(1, "member.maintenance", "{\"action\":\"stop\"}", &obj), 0, "%s", message);
	cr_assert_str_eq(text_of(obj, "of"), "node1");
	json_object_put(obj);
	wait_state(2, node1_free);
}

static size_t events(int i, const char *params, struct json_object **ret)
{
	struct json_object *list;

	cr_assert_eq(ask(i, "events.list", params, ret), 0, "%s", message);
	json_object_object_get_ex(*ret, "events", &list);
	return json_object_array_length(list);
}

Test(maintain, the_history_of_all_members)
{
	struct json_object *obj = NULL, *list;

	make_store();
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\",\"comment\":\"disks\"}", NULL), 0,
		     "%s", message);
	wait_state(1, pg_on_2);
	cr_assert_eq(ask(1, "store.set", "{\"store\":\"pg\",\"mode\":\"sync\"}", NULL), 0, "%s", message);
	/* the move was node1's, the setting node2's; either tells both */
	for (int i = 1; i <= 2; i++) {
		cr_assert_eq(events(i, "{\"store\":\"pg\"}", &obj), 2);
		json_object_object_get_ex(obj, "events", &list);
		cr_assert_str_eq(text_of(json_object_array_get_idx(list, 0), "kind"), "move");
		cr_assert_str_eq(text_of(json_object_array_get_idx(list, 0), "member"), "node1");
		cr_assert_str_eq(text_of(json_object_array_get_idx(list, 0), "comment"), "disks");
		cr_assert_str_eq(text_of(json_object_array_get_idx(list, 1), "member"), "node2");
		json_object_put(obj);
	}
	cr_assert_eq(events(1, "{\"kind\":\"member-join\"}", &obj), 2);
	json_object_put(obj);
	stop(2);
	for (int tries = 0; tries < 100; tries++) {
		events(1, "{\"store\":\"pg\"}", &obj);
		json_object_object_get_ex(obj, "silent", &list);
		if (json_object_array_length(list))
			break;
		json_object_put(obj);
		usleep(100000);
	}
	cr_assert_str_eq(json_object_get_string(json_object_array_get_idx(list, 0)), "node2");
	json_object_put(obj);
	start(2);
}

static bool on_loopback(const char *address)
{
	return !service_addr_there(address, NULL);
}

static void address_comes(const char *address, bool comes)
{
	for (int tries = 0; tries < 300 && on_loopback(address) != comes; tries++)
		usleep(20000);
	cr_assert_eq(on_loopback(address), comes, "%s", address);
}

/* The founder is the manager where the engine knows none. */
Test(maintain, the_address_of_the_group)
{
	char address[32], params[80];

	if (geteuid())
		cr_skip_test("not root");
	/* of this run's own: members' threads cannot be put into a network of theirs */
	snprintf(address, sizeof(address), "127.9.%d.%d", getpid() / 250 % 250 + 1, getpid() % 250 + 1);
	snprintf(params, sizeof(params), "{\"address\":\"lo=%s/32\"}", address);
	make_group();
	cr_assert_eq(ask(2, "group.set", "{\"address\":\"lo=127.9.9.300\"}", NULL), -EINVAL);
	cr_assert_eq(ask(2, "group.set", params, NULL), 0, "%s", message);
	address_comes(address, true);
	cr_assert_eq(ask(1, "group.set", "{\"address\":\"none\"}", NULL), 0, "%s", message);
	address_comes(address, false);
	/* and it does not outlive its daemon */
	cr_assert_eq(ask(2, "group.set", params, NULL), 0, "%s", message);
	address_comes(address, true);
	stop(1);
	cr_assert_not(on_loopback(address));
	start(1);
}
