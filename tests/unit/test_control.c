// SPDX-License-Identifier: GPL-2.0
/* The verbs about groups, members, stores and copies, asked of either of two members. */
#include "tests/lib/control_pair.h"

TestSuite(control, .init = setup, .fini = teardown, .timeout = 60);

/* ---- tests -------------------------------------------------------------- */

Test(control, no_group_yet)
{
	cr_assert_eq(ask(1, "status", "{}", NULL), -ENOENT);
	cr_assert_not_null(strstr(message, "group create"), "%s", message);
	cr_assert_eq(ask(1, "member.add", "{\"name\":\"x\",\"address\":\"1.2.3.4\"}", NULL), -ENOENT);
	cr_assert_eq(ask(1, "no.such", "{}", NULL), -EOPNOTSUPP);
	cr_assert_eq(ask(1, "peer.state", "{}", NULL), -EPERM, "a member's method on the socket");
}

Test(control, garbage_on_the_socket)
{
	struct rpc_answer an = ask_line(1, "garbage\n");

	cr_assert_eq(an.kind, RPC_ERROR);
	an = ask_line(1, "{\"method\":\"status\",\"params\":7}\n");
	cr_assert_eq(an.code, -EINVAL);
}

Test(control, create_and_join)
{
	struct json_object *one = NULL, *two = NULL;

	make_group();
	cr_assert_eq(ask(1, "group.show", "{}", &one), 0);
	cr_assert_eq(ask(2, "group.show", "{}", &two), 0);
	cr_assert_str_eq(text_of(one, "uuid"), text_of(two, "uuid"));
	cr_assert_str_eq(text_of(two, "founder"), "node1");
	json_object_put(one);
	json_object_put(two);
	cr_assert_eq(ask(1, "group.create", "{\"name\":\"other\"}", NULL), -EEXIST);
	/* the state outlives a restart, and the members find each other again */
	stop(2);
	start(2);
	wait_reachable(2, "node1");
}

Test(control, token_is_good_once)
{
	char token[600], wrong[600];
	size_t len;

	cr_assert_eq(ask(1, "group.create", "{\"name\":\"lab\",\"engine\":\"file\"}", NULL), 0, "%s", message);
	invite(1, token, sizeof(token));
	/* a wrong secret: refused, and the invitation stands */
	strcpy(wrong, token);
	len = strlen(wrong) - 3;
	wrong[len] = wrong[len] == '0' ? '1' : '0';
	cr_assert_lt(ask(2, "group.join", wrong, NULL), 0);
	cr_assert_not_null(strstr(message, "refused"), "%s", message);
	/* a founder with another authority: nothing is sent to it */
	strcpy(wrong, token);
	len = strlen(wrong) - 3 - 34;
	wrong[len] = wrong[len] == '0' ? '1' : '0';
	cr_assert_eq(ask(2, "group.join", wrong, NULL), -EKEYREJECTED, "%s", message);
	cr_assert_eq(ask(2, "group.join", token, NULL), 0, "%s", message);
	wait_reachable(1, "node2");
	/* used: a third host cannot come in by it */
	start(0);
	strcpy(members[0].cf.member, "node2");
	cr_assert_lt(ask(0, "group.join", token, NULL), 0);
	stop(0);
	cr_assert_eq(ask(2, "group.join", token, NULL), -EEXIST);
}

Test(control, token_for_another_name)
{
	struct json_object *obj = NULL;
	char params[600];

	cr_assert_eq(ask(1, "group.create", "{\"name\":\"lab\",\"engine\":\"file\"}", NULL), 0, "%s", message);
	cr_assert_eq(ask(1, "member.add", "{\"name\":\"node7\",\"address\":\"127.0.0.2\"}", &obj), 0);
	snprintf(params, sizeof(params), "{\"token\":\"%s\"}", text_of(obj, "token"));
	json_object_put(obj);
	cr_assert_eq(ask(2, "group.join", params, NULL), -EINVAL);
	cr_assert_not_null(strstr(message, "node7"), "%s", message);
	cr_assert_eq(ask(1, "member.remove", "{\"name\":\"node7\"}", NULL), 0, "%s", message);
	cr_assert_eq(ask(1, "member.remove", "{\"name\":\"node7\"}", NULL), -ENOENT);
}

static bool one_member(struct group_state *gs)
{
	return gs->nr_members == 1;
}

static bool no_group(struct group_state *gs)
{
	return !gs->uuid[0];
}

Test(control, member_remove_and_again)
{
	char token[600];

	make_group();
	/* asked of node2, done by the founder */
	cr_assert_eq(ask(2, "member.remove", "{\"name\":\"node1\"}", NULL), -EBUSY);
	cr_assert_eq(ask(2, "member.remove", "{\"name\":\"node9\"}", NULL), -ENOENT);
	cr_assert_eq(ask(1, "member.remove", "{\"name\":\"node2\"}", NULL), 0, "%s", message);
	wait_state(1, one_member);
	wait_state(2, no_group);
	invite(1, token, sizeof(token));
	cr_assert_eq(ask(2, "group.join", token, NULL), 0, "%s", message);
	wait_reachable(1, "node2");
}

Test(control, what_needs_a_quorum_is_refused_without_one)
{
	make_group();
	cr_assert_eq(ask(1, "group.stop", "{}", NULL), -EINVAL);
	cr_assert_eq(ask(1, "group.stop", "{\"name\":\"node2\",\"site\":\"x\"}", NULL), -EINVAL);
	cr_assert_eq(ask(1, "group.stop", "{\"name\":\"node2\"}", NULL), -EOPNOTSUPP);
	cr_assert_not_null(strstr(message, "maintenance"), "%s", message);
	cr_assert_eq(ask(1, "group.start", "{\"name\":\"node2\"}", NULL), -EOPNOTSUPP);
	cr_assert_eq(ask(1, "group.restore", "{\"dry_run\":true}", NULL), -EOPNOTSUPP);
	cr_assert_eq(ask(1, "group.survey", "{}", NULL), -EPERM, "only between members");
	cr_assert_eq(ask(1, "witness.set", "{\"name\":\"w\",\"address\":\"127.0.0.9\","
			 "\"alternate\":true}", NULL), -EOPNOTSUPP);
}

Test(control, a_member_that_answers_is_not_removed_as_dead)
{
	make_group();
	wait_reachable(1, "node2");
	cr_assert_eq(ask(1, "member.remove", "{\"name\":\"node2\",\"force\":true}", NULL), -EINVAL);
	cr_assert_eq(ask(1, "member.remove", "{\"name\":\"node2\",\"configuration_only\":true}", NULL),
		     -EBUSY);
	cr_assert_not_null(strstr(message, "answers"), "%s", message);
	stop(2);
	for (int i = 0; i < 400 && ask(1, "member.remove",
	     "{\"name\":\"node2\",\"configuration_only\":true}", NULL) == -EBUSY; i++)
		usleep(50000);
	wait_state(1, one_member);
	start(2);
}

Test(control, move)
{
	struct json_object *obj = NULL;

	make_store();
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node3\"}", NULL), -ENOENT);
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node1\"}", NULL), -EALREADY);
	/* asked of the target: passed on to the active */
	cr_assert_eq(ask(2, "store.move", "{\"store\":\"pg\",\"to\":\"node2\"}", &obj), 0, "%s", message);
	cr_assert_str_eq(text_of(obj, "from"), "node1");
	cr_assert_str_eq(text_of(obj, "start_lsn"), "4096");
	json_object_put(obj);
	wait_state(1, pg_on_2);
	wait_state(2, pg_on_2);
	/* and now node2 is who may change it, asked of node1 */
	cr_assert_eq(ask(1, "store.set", "{\"store\":\"pg\",\"mode\":\"sync\"}", &obj), 0, "%s", message);
	cr_assert_str_eq(text_of(obj, "mode"), "sync");
	json_object_put(obj);
}

static bool pg_at_point(struct group_state *gs)
{
	struct group_store *st = group_find_store(gs, "pg");

	return st && st->epoch == 2 && !strcmp(st->active, "node2") && st->start_lsn == 4096 &&
	       st->point_lsn == 1024;
}

/* Nobody's commits are given up by a slip; and what is given up is in the answer. */
Test(control, move_to_a_point)
{
	struct json_object *obj = NULL;

	make_store();
	point_answer = (struct point_status){ .lsn = 1024, .replayed_lsn = 1024, .end_lsn = 4096,
					      .time_ns = 5000000000, .end_ns = 7500000000 };
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\",\"at\":\"-10min\"}", NULL),
		     -EPERM, "%s", message);
	cr_assert_not_null(strstr(message, "gives up 3 KiB of its log, the last 2.5 s"), "%s", message);
	cr_assert_not_null(strstr(message, "--yes"), "%s", message);
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\",\"at\":\"end\"}", NULL),
		     -EINVAL);
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\",\"preview\":true}", NULL),
		     -EINVAL);
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\",\"at\":\"1024\","
			 "\"preview\":true}", &obj), 0, "%s", message);
	cr_assert_str_eq(text_of(obj, "given_up_bytes"), "3072");
	json_object_put(obj);
	point_error = -ERANGE;
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\",\"at\":\"mark\",\"yes\":true}",
			 NULL), -ERANGE);
	cr_assert_not_null(strstr(message, "is replayed already"), "%s", message);
	cr_assert_eq(ask(2, "store.show", "{\"store\":\"pg\"}", &obj), 0);
	cr_assert_str_eq(text_of(obj, "active"), "node1", "so far nothing has happened");
	json_object_put(obj);
	point_error = 0;
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\",\"at\":\"mark\",\"yes\":true,"
			 "\"comment\":\"dropped\"}", &obj), 0, "%s", message);
	cr_assert_str_eq(text_of(obj, "start_lsn"), "4096");
	cr_assert_str_eq(text_of(obj, "point_lsn"), "1024");
	cr_assert_str_eq(text_of(obj, "given_up_bytes"), "3072");
	json_object_put(obj);
	wait_state(2, pg_at_point);
}

Test(control, move_fails_in_the_drain)
{
	struct json_object *obj = NULL;

	make_store();
	drain_answer = -ETIMEDOUT;
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\"}", NULL), -ETIMEDOUT);
	cr_assert_not_null(strstr(message, "stays on node1"), "%s", message);
	cr_assert_eq(ask(2, "store.show", "{\"store\":\"pg\"}", &obj), 0);
	cr_assert_str_eq(text_of(obj, "active"), "node1");
	cr_assert_str_eq(text_of(obj, "epoch"), "1");
	json_object_put(obj);
}

Test(control, move_target_does_not_serve)
{
	make_store();
	wait_answer = -ETIMEDOUT;
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\",\"timeout_ms\":100}", NULL),
		     -ETIMEDOUT);
	cr_assert_not_null(strstr(message, "belongs to node2"), "%s", message);
	wait_state(1, pg_on_2);
}

Test(control, move_target_is_down)
{
	make_store();
	stop(2);
	usleep(100000);
	cr_assert_lt(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\"}", NULL), 0);
	cr_assert_not_null(strstr(message, "node2"), "%s", message);
	start(2);
	wait_reachable(1, "node2");
}

Test(control, move_waits_for_nothing_that_is_not_dismounted)
{
	make_store();
	hold_answer = -ENOTRECOVERABLE;
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\"}", NULL), -ENOTRECOVERABLE, "%s",
		     message);
	cr_assert_not_null(strstr(message, "mount /srv is not undone: busy; it stays on node1"), "%s",
			   message);
}

static bool pg_is_back(struct group_state *gs)
{
	struct group_store *st = group_find_store(gs, "pg");

	return st && st->epoch == 3 && !strcmp(st->active, "node1");
}

Test(control, move_comes_back_when_the_steps_fail)
{
	make_store();
	steps_answer = -ENOTRECOVERABLE;
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\"}", NULL), -ENOTRECOVERABLE, "%s",
		     message);
	cr_assert_not_null(strstr(message, "no such file system; it was moved back to node1"), "%s",
			   message);
	wait_state(1, pg_is_back);
	wait_state(2, pg_is_back);
}

static struct json_object *copy_of(struct json_object *list, const char *member)
{
	size_t i;

	for (i = 0; i < json_object_array_length(list); i++)
		if (!strcmp(text_of(json_object_array_get_idx(list, i), "member"), member))
			return json_object_array_get_idx(list, i);
	cr_assert_fail("no copy on %s", member);
	return NULL;
}

Test(control, copies)
{
	struct json_object *list = NULL;

	make_store();
	cr_assert_eq(ask(2, "copy.suspend",
			 "{\"store\":\"pg\",\"member\":\"node2\",\"comment\":\"disk\"}", NULL), 0, "%s",
		     message);
	cr_assert_eq(ask(1, "store.move", "{\"store\":\"pg\",\"to\":\"node2\"}", NULL), -EBUSY);
	cr_assert_not_null(strstr(message, "copy resume"), "%s", message);
	cr_assert_eq(ask(1, "copy.status", "{\"store\":\"pg\"}", &list), 0);
	cr_assert_str_eq(text_of(copy_of(list, "node2"), "comment"), "disk");
	json_object_put(list);
	cr_assert_eq(ask(1, "copy.resume", "{\"store\":\"pg\",\"member\":\"node2\"}", NULL), 0);
	cr_assert_eq(ask(1, "copy.seed", "{\"store\":\"pg\",\"member\":\"node2\"}", NULL), 0);
	cr_assert_eq(ask(1, "copy.seed", "{\"store\":\"pg\",\"member\":\"node1\"}", NULL), -EBUSY);
	cr_assert_eq(ask(1, "copy.seed", "{\"store\":\"pg\",\"member\":\"node2\",\"rate\":-1}", NULL),
		     -EINVAL);
	cr_assert_eq(ask(1, "copy.seed", "{\"store\":\"pg\",\"member\":\"node2\",\"whole\":\"yes\"}",
			 NULL), -EINVAL);
	cr_assert_eq(ask(1, "copy.set", "{\"store\":\"pg\",\"member\":\"node2\",\"rate\":1048576}",
			 NULL), 0, "%s", message);
	cr_assert_eq(ask(1, "copy.set", "{\"store\":\"pg\",\"member\":\"node1\",\"rate\":1048576}",
			 NULL), -EINVAL);
	cr_assert_not_null(strstr(message, "--seed-rate"), "%s", message);
	cr_assert_eq(ask(1, "store.set", "{\"store\":\"pg\",\"seed_rate\":1048576}", NULL), 0);
	cr_assert_eq(ask(1, "copy.remove", "{\"store\":\"pg\",\"member\":\"node2\"}", NULL), 0, "%s",
		     message);
	cr_assert_eq(ask(1, "copy.remove", "{\"store\":\"pg\",\"member\":\"node2\"}", NULL), -ENOENT);
	cr_assert_eq(ask(1, "store.mark", "{\"store\":\"pg\",\"name\":\"m\"}", NULL), 0);
}

Test(control, status_without_the_others)
{
	struct json_object *list = NULL, *obj = NULL;
	int tries;

	make_store();
	stop(1);
	for (tries = 0; tries < 100; tries++) {
		cr_assert_eq(ask(2, "copy.status", "{}", &list), 0, "%s", message);
		if (!strcmp(text_of(copy_of(list, "node1"), "status"), "ServiceDown"))
			break;
		json_object_put(list);
		list = NULL;
		usleep(100000);
	}
	cr_assert_not_null(list, "node1 is never ServiceDown");
	cr_assert_str_eq(text_of(copy_of(list, "node2"), "status"), "Healthy");
	cr_assert_str_eq(text_of(copy_of(list, "node2"), "stale"), "true");
	json_object_put(list);
	cr_assert_eq(ask(2, "status", "{}", &obj), 0);
	json_object_put(obj);
	cr_assert_lt(ask(2, "store.set", "{\"store\":\"pg\",\"mode\":\"sync\"}", NULL), 0);
	cr_assert_not_null(strstr(message, "node1: unreachable"), "%s", message);
	start(1);
	wait_reachable(2, "node1");
}

static volatile bool knock_stop;

/* Callers that say nothing: at each moment somebody is shaking hands. */
static void *knock_main(void *arg)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int fd[8], n = 0;

	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	while (!knock_stop && n < 8) {
		fd[n] = socket(AF_INET, SOCK_STREAM, 0);
		cr_assert_eq(connect(fd[n++], (struct sockaddr *)&to, sizeof(to)), 0);
		usleep(1000000);
	}
	while (n)
		close(fd[--n]);
	return NULL;
}

/* A new state has to reach the stores however many shake hands meanwhile. */
Test(control, silent_callers_do_not_hold_a_new_state_back)
{
	struct engine *en = members[1].en;
	struct timespec begin, end;
	char err[256];
	pthread_t t;

	make_group();
	control_wait_applied(members[1].ct);
	knock_stop = false;
	pthread_create(&t, NULL, knock_main, NULL);
	usleep(500000);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	cr_assert_eq(en->ops->txn_store(en, pg, 0, edit_pg, NULL, err, sizeof(err)), 0, "%s", err);
	control_wait_applied(members[1].ct);
	clock_gettime(CLOCK_MONOTONIC, &end);
	knock_stop = true;
	pthread_join(t, NULL);
	cr_assert_lt(end.tv_sec - begin.tv_sec, 3, "the state was held back");
}

Test(control, store_remove)
{
	make_store();
	cr_assert_eq(ask(2, "store.remove", "{\"store\":\"pg\"}", NULL), 0, "%s", message);
	cr_assert_eq(ask(1, "store.show", "{\"store\":\"pg\"}", NULL), -ENOENT);
}
