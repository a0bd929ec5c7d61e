// SPDX-License-Identifier: GPL-2.0
/* The file engine: who may change what, durability over kill -9, learning. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/group/engine.h"

static char dir[64], path[96], path2[96];
static const uint8_t id[16] = { 1, 2, 3 };

static void setup(void)
{
	strcpy(dir, "/tmp/dag-engine-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/group.json", dir);
	snprintf(path2, sizeof(path2), "%s/other.json", dir);
}

static void teardown(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(engine, .init = setup, .fini = teardown);

static struct engine *open_as(const char *file, const char *self)
{
	const struct engine_file_conf conf = { .path = file, .self = self, .lease_ms = 10000 };
	struct engine *en = NULL;

	cr_assert_eq(engine_file_open(&conf, &en), 0);
	return en;
}

static int make_group(struct group_state *gs, void *ctx)
{
	strcpy(gs->name, "lab");
	strcpy(gs->uuid, "01234567-89ab-4cde-8f01-23456789abcd");
	gs->generation = 1;
	strcpy(gs->founder, "node1");
	strcpy(gs->members[0].name, "node1");
	strcpy(gs->members[0].address, "10.0.0.1");
	gs->members[0].port = 64327;
	strcpy(gs->members[1].name, "node2");
	strcpy(gs->members[1].address, "10.0.0.2");
	gs->members[1].port = 64327;
	gs->nr_members = 2;
	return 0;
}

static int make_store(struct group_store *st, void *ctx)
{
	int i;

	strcpy(st->name, "pg");
	st->sectors = 2048;
	st->region_bytes = 65536;
	st->ring_mib = st->segment_mib = 64;
	st->epoch = 1;
	strcpy(st->active, "node1");
	for (i = 0; i < 2; i++) {
		struct group_copy *cp = &st->copies[i];

		snprintf(cp->member, sizeof(cp->member), "node%d", i + 1);
		strcpy(cp->device, "/dev/vdb");
		strcpy(cp->meta_device, "/dev/vdb");
		strcpy(cp->log_dir, "/log");
	}
	st->nr_copies = 2;
	return 0;
}

static int set_quota(struct group_store *st, void *ctx)
{
	st->quota_bytes = *(uint64_t *)ctx;
	return 0;
}

static int move_store(struct group_store *st, void *ctx)
{
	st->epoch++;
	strcpy(st->active, ctx);
	return 0;
}

static int drop_member(struct group_state *gs, void *ctx)
{
	gs->nr_members = 1;
	gs->nr_stores = 0;	/* not its business: must stay */
	return 0;
}

static int refuse(struct group_store *st, void *ctx)
{
	st->mode = 2;
	return -EBUSY;
}

static int break_store(struct group_store *st, void *ctx)
{
	st->ring_mib = 63;
	return 0;
}

static struct engine *with_store(const char *file, const char *self)
{
	struct engine *en = open_as(file, self);
	char err[256];

	cr_assert_eq(en->ops->txn_group(en, make_group, NULL, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(en->ops->txn_store(en, id, 0, make_store, NULL, err, sizeof(err)), 0, "%s", err);
	return en;
}

static void snap(struct engine *en, struct group_state *gs)
{
	cr_assert_eq(group_state_init(gs), 0);
	cr_assert_eq(en->ops->snapshot(en, gs), 0);
}

Test(engine, survives_reopen)
{
	struct engine *en = with_store(path, "node1");
	struct group_state gs;

	en->ops->close(en);
	en = open_as(path, "node1");
	snap(en, &gs);
	cr_assert_str_eq(gs.name, "lab");
	cr_assert_eq(gs.version, 1);
	cr_assert_eq(gs.nr_stores, 1);
	cr_assert_eq(gs.stores[0].version, 1);
	group_state_free(&gs);
	en->ops->close(en);
}

static void count(void *ctx)
{
	++*(int *)ctx;
}

Test(engine, changed_is_called_once_a_change)
{
	struct engine *en = open_as(path, "node1");
	char err[256];
	int calls = 0;

	en->changed = count;
	en->ctx = &calls;
	cr_assert_eq(en->ops->txn_store(en, id, 0, make_store, NULL, err, sizeof(err)), -ENOENT);
	cr_assert_eq(calls, 0);
	cr_assert_eq(en->ops->txn_group(en, make_group, NULL, err, sizeof(err)), 0);
	cr_assert_eq(calls, 1);
	cr_assert_eq(en->ops->txn_store(en, id, 0, make_store, NULL, err, sizeof(err)), 0);
	cr_assert_eq(en->ops->txn_store(en, id, 1, refuse, NULL, err, sizeof(err)), -EBUSY);
	cr_assert_eq(calls, 2);
	en->ops->close(en);
}

Test(engine, one_writer_per_part)
{
	struct engine *one = with_store(path, "node1"), *two = open_as(path2, "node2");
	struct group_state gs;
	uint64_t quota = 5;
	char err[256];

	snap(one, &gs);
	cr_assert_eq(two->ops->learn(two, &gs), 0);
	cr_assert_eq(two->ops->txn_group(two, drop_member, NULL, err, sizeof(err)), -EPERM);
	cr_assert_not_null(strstr(err, "node1"), "%s", err);
	cr_assert_eq(two->ops->txn_store(two, id, 1, set_quota, &quota, err, sizeof(err)), -EPERM);
	cr_assert_not_null(strstr(err, "node1"), "%s", err);
	/* the move hands the right over, and only forward */
	cr_assert_eq(one->ops->txn_store(one, id, 1, move_store, "node2", err, sizeof(err)), 0);
	cr_assert_eq(one->ops->txn_store(one, id, 1, set_quota, &quota, err, sizeof(err)), -ESTALE);
	cr_assert_eq(one->ops->txn_store(one, id, 2, set_quota, &quota, err, sizeof(err)), -EPERM);
	cr_assert_eq(two->ops->txn_store(two, id, 1, set_quota, &quota, err, sizeof(err)), -EPERM);
	cr_assert_eq(one->ops->snapshot(one, &gs), 0);
	cr_assert_eq(two->ops->learn(two, &gs), 0);
	cr_assert_eq(two->ops->txn_store(two, id, 2, set_quota, &quota, err, sizeof(err)), 0);
	/* stale news do not undo it */
	cr_assert_eq(two->ops->learn(two, &gs), 0);
	group_state_free(&gs);
	snap(two, &gs);
	cr_assert_eq(gs.stores[0].quota_bytes, 5);
	group_state_free(&gs);
	one->ops->close(one);
	two->ops->close(two);
}

Test(engine, failed_edit_changes_nothing)
{
	struct engine *en = with_store(path, "node1");
	struct group_state gs;
	char err[256];

	cr_assert_eq(en->ops->txn_store(en, id, 1, refuse, NULL, err, sizeof(err)), -EBUSY);
	cr_assert_eq(en->ops->txn_store(en, id, 1, break_store, NULL, err, sizeof(err)), -EINVAL);
	cr_assert_not_null(strstr(err, "ring_mib"), "%s", err);
	snap(en, &gs);
	cr_assert_eq(gs.stores[0].mode, 0);
	cr_assert_eq(gs.stores[0].ring_mib, 64);
	cr_assert_eq(gs.stores[0].version, 1);
	group_state_free(&gs);
	en->ops->close(en);
}

Test(engine, group_edit_leaves_stores)
{
	struct engine *en = with_store(path, "node1");
	struct group_state gs;
	char err[256];

	cr_assert_eq(en->ops->txn_group(en, drop_member, NULL, err, sizeof(err)), 0);
	snap(en, &gs);
	cr_assert_eq(gs.nr_members, 1);
	cr_assert_eq(gs.nr_stores, 1);
	group_state_free(&gs);
	en->ops->close(en);
}

Test(engine, disk_full_changes_nothing)
{
	struct engine *en = with_store(path, "node1");
	struct group_state gs;
	uint64_t quota = 5;
	char err[256], obstacle[128];

	/* a directory where the new file should be: open fails, also for root */
	snprintf(obstacle, sizeof(obstacle), "%s.new", path);
	cr_assert_eq(mkdir(obstacle, 0700), 0);
	cr_assert_lt(en->ops->txn_store(en, id, 1, set_quota, &quota, err, sizeof(err)), 0);
	cr_assert_not_null(strstr(err, path), "%s", err);
	snap(en, &gs);
	cr_assert_eq(gs.stores[0].quota_bytes, 0);
	group_state_free(&gs);
	cr_assert_eq(rmdir(obstacle), 0);
	cr_assert_eq(en->ops->txn_store(en, id, 1, set_quota, &quota, err, sizeof(err)), 0);
	en->ops->close(en);
}

Test(engine, damaged_file_is_refused)
{
	const struct engine_file_conf conf = { .path = path, .self = "node1" };
	struct engine *en = with_store(path, "node1");

	en->ops->close(en);
	cr_assert_eq(truncate(path, 100), 0);
	cr_assert_eq(engine_file_open(&conf, &en), -EINVAL);
}

Test(engine, forget_only_when_out)
{
	struct engine *en = with_store(path, "node2");
	struct group_state gs;

	cr_assert_eq(en->ops->forget(en, false), -EBUSY);
	en->ops->close(en);
	en = open_as(path, "node3");
	cr_assert_eq(en->ops->forget(en, false), 0);
	snap(en, &gs);
	cr_assert_eq(gs.uuid[0], '\0');
	group_state_free(&gs);
	en->ops->close(en);
	cr_assert_neq(access(path, F_OK), 0);
}

Test(engine, lease)
{
	const struct engine_file_conf forever = { .path = path, .self = "node1" };
	struct engine *en = open_as(path, "node1");
	uint64_t deadline, fence, now;
	struct timespec ts;
	char err[200];

	clock_gettime(CLOCK_BOOTTIME, &ts);
	now = ts.tv_sec * 1000000000ull + ts.tv_nsec;
	cr_assert_eq(en->ops->renew(en, &deadline, &fence), -ENODATA, "a lease without a group");
	cr_assert_eq(en->ops->txn_group(en, make_group, NULL, err, sizeof(err)), 0);
	cr_assert_eq(en->ops->renew(en, &deadline, &fence), 0);
	cr_assert(deadline >= now + 10000000000ull && deadline < now + 11000000000ull);
	en->ops->close(en);
	cr_assert_eq(engine_file_open(&forever, &en), 0);
	cr_assert_eq(en->ops->renew(en, &deadline, &fence), 0);
	cr_assert_eq(deadline, DAGTAP_LEASE_FOREVER);
	en->ops->close(en);
}

/* The child tells each quota that it was promised; then it is killed. */
static void write_until_killed(int fd)
{
	struct engine *en = open_as(path, "node1");
	char err[256];
	uint64_t n;

	for (n = 1;; n++) {
		if (en->ops->txn_store(en, id, 1, set_quota, &n, err, sizeof(err)) ||
		    write(fd, &n, sizeof(n)) != sizeof(n))
			_exit(1);
	}
}

Test(engine, kill_between, .timeout = 60)
{
	struct engine *en = with_store(path, "node1");
	struct group_state gs;
	uint64_t n, last;
	int round, fds[2];

	en->ops->close(en);
	for (round = 0; round < 10; round++) {
		pid_t pid;

		cr_assert_eq(pipe(fds), 0);
		pid = fork();
		if (!pid)
			write_until_killed(fds[1]);
		close(fds[1]);
		last = 0;
		cr_assert_eq(read(fds[0], &last, sizeof(last)), (ssize_t)sizeof(last));
		usleep(1000 + round * 3777);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (read(fds[0], &n, sizeof(n)) == sizeof(n))
			last = n;
		close(fds[0]);
		en = open_as(path, "node1");
		snap(en, &gs);
		cr_assert_geq(gs.stores[0].quota_bytes, last);
		cr_assert_leq(gs.stores[0].quota_bytes, last + 1);
		group_state_free(&gs);
		en->ops->close(en);
	}
}
