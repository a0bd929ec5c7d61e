// SPDX-License-Identifier: GPL-2.0
/*
 * A passive copy is opened at a point of its log. Devices are files here: a snapshot is
 * a copy of the file, the origin a second name of it, and each step can be made to fail.
 * What the forks hold, and what the device holds in the end, is held against a model.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store/passive_fork.h"
#include "daemon/store/passive_internal.h"
#include "tests/lib/logmake.h"
#include "tests/lib/tmpdir.h"

#define MIB		(1u << 20)
#define SECTORS		2048u
#define LSN0		(64ull * 777)
#define WAIT_MS		20000
#define S		1000000000ull

static char *dir;
static struct logmake m;
static struct seglog *seglog;
static struct copystate *state;
static struct passive *p;
static struct forks *fk;
static uint8_t now[SECTORS * 512], at_mark[SECTORS * 512];
static uint64_t mark_lsn, mark_ns;
static char err[400];

/* ---- devices ------------------------------------------------------------------ */

/* HURRY: somebody waits for the replay; CUT: a new active has less of the log. */
enum step { NONE, PREPARE, MAKE, ORIGIN_UP, READ_ONLY, STATE, HURRY, CUT, REPLAY };
static enum step broken;
static atomic_int devices, origins;
static bool in_use, lost;

struct forkdev {
	char path[400];
	char from[400];
	bool made;
};

static int fails(enum step step, char *to, size_t len)
{
	if (broken != step)
		return 0;
	snprintf(to, len, "step %d was made to fail", step);
	return -EIO;
}

static void file_sweep(void)
{
}

static int file_prepare(const struct forkdev_conf *conf, struct forkdev **ret, char *to, size_t len)
{
	struct forkdev *fd;

	if (fails(PREPARE, to, len))
		return -EIO;
	if (broken == HURRY)
		forks_hurry(fk);
	fd = calloc(1, sizeof(*fd));
	snprintf(fd->path, sizeof(fd->path), "%s/%s.snap", dir, conf->name);
	snprintf(fd->from, sizeof(fd->from), "%s", conf->device);
	*ret = fd;
	return 0;
}

static void copy_file(const char *from, const char *to)
{
	static uint8_t buf[SECTORS * 512];
	int in = open(from, O_RDONLY), out = open(to, O_RDWR | O_CREAT | O_TRUNC, 0600);

	cr_assert_eq(pread(in, buf, sizeof(buf), 0), sizeof(buf));
	cr_assert_eq(pwrite(out, buf, sizeof(buf), 0), sizeof(buf));
	close(in);
	close(out);
}

static int file_make(struct forkdev *fd, char *to, size_t len)
{
	if (fails(MAKE, to, len))
		return -EIO;
	if (broken == CUT)
		p->log_cuts++;
	copy_file(fd->from, fd->path);
	fd->made = true;
	devices++;
	return 0;
}

static const char *file_path(const struct forkdev *fd)
{
	return fd->path;
}

static int file_read_only(struct forkdev *fd)
{
	return broken == READ_ONLY ? -EIO : chmod(fd->path, 0400) ? -errno : 0;
}

static int file_state(struct forkdev *fd, uint64_t *ret_used)
{
	*ret_used = 4096;
	return broken == STATE || lost ? -ENOSPC : 0;
}

static int file_remove(struct forkdev *fd, bool force)
{
	if (!fd->made)
		return 0;
	if (in_use && !force)
		return -EBUSY;
	cr_assert_eq(unlink(fd->path), 0);
	fd->made = false;
	devices--;
	return 0;
}

static void file_free(struct forkdev *fd)
{
	cr_assert_not(fd->made, "a device is forgotten");
	free(fd);
}

static int file_origin_up(const struct forkdev_conf *conf, char *path, size_t len, char *to, size_t tolen)
{
	if (fails(ORIGIN_UP, to, tolen))
		return -EIO;
	snprintf(path, len, "%s/origin", dir);
	/* a name that leads nowhere: the replay cannot open it */
	if (broken == REPLAY)
		snprintf(path, len, "%s/nowhere/origin", dir);
	else
		cr_assert_eq(link(conf->device, path), 0);
	origins++;
	return 0;
}

static int file_origin_down(const uint8_t uuid[16])
{
	unlink(tmpdir_path(dir, "origin"));
	origins--;
	return 0;
}

static const struct forkdev_ops file_ops = {
	.sweep = file_sweep,
	.prepare = file_prepare,
	.make = file_make,
	.path = file_path,
	.read_only = file_read_only,
	.state = file_state,
	.remove = file_remove,
	.free = file_free,
	.origin_up = file_origin_up,
	.origin_down = file_origin_down,
};

/* ---- a copy whose log is ahead of its replay -------------------------------------- */

static void write_at(uint64_t sector, uint32_t sectors, uint32_t seed)
{
	uint64_t lsn = logmake_extent(&m, DAGTAP_REC_DATA, sector, sectors, seed);

	logmake_copy(&m, lsn + 64, now + sector * 512, sectors * 512);
}

/* Ten seconds of writes, a mark, ten seconds over them. */
static void make_log(void)
{
	struct seglog_conf conf = { .dir = dir, .uuid = "store of tests", .seg_bytes = 4 * MIB };
	struct seglog_ring ring;

	logmake_init(&m, 8 * MIB, LSN0);
	m.time_ns = 1790000000 * S;
	logmake_epoch(&m, 1);
	for (unsigned i = 0; i < 100; i++, m.time_ns += S / 10)
		write_at(i * 16, 16, i);
	mark_lsn = logmake_mark(&m, "noon") + 2 * 64;
	mark_ns = m.time_ns;
	memcpy(at_mark, now, sizeof(now));
	for (unsigned i = 0; i < 100; i++, m.time_ns += S / 10)
		write_at(i * 16 + 8, 16, 1000 + i);
	logmake_flags(&m, DAGTAP_REC_DISCARD, 0, 0, 8);
	memset(now, 0, 8 * 512);
	ring = logmake_ring(&m);
	cr_assert_eq(seglog_open(&conf, &seglog), 0);
	cr_assert_eq(seglog_reset(seglog, LSN0), 0);
	cr_assert_eq(seglog_append(seglog, &ring, LSN0, m.lsn), 0);
}

static void edit_held(struct copystate_data *d, void *ctx)
{
	d->promised_epoch = 1;
	d->suspended = true;		/* the replay is held, the log is here */
	d->replayed_lsn = LSN0;
	d->have_image = true;
	d->nr_history = 1;
	d->history[0] = (struct copystate_epoch){ .epoch = 1, .first_lsn = LSN0 };
}

static void start(void)
{
	struct passive_conf conf = {
		.name = "pg", .self = "node1", .uuid = "store of tests", .sectors = SECTORS,
		.ring_bytes = 4 * MIB, .backend = LOOP_POSIX, .log_dir = dir, .forks = &file_ops,
	};
	char device[300];

	snprintf(device, sizeof(device), "%s/device", dir);
	conf.device = device;
	conf.state = state;
	conf.log = seglog;
	cr_assert_eq(passive_start(&conf, &p), 0);
	fk = passive_forks(p);
	cr_assert_not_null(fk);
}

static void set_up(void)
{
	int fd;

	log_set_level(LOG_LV_ERR - 1);
	dir = tmpdir_make(NULL);
	make_log();
	fd = open(tmpdir_path(dir, "device"), O_RDWR | O_CREAT, 0600);
	cr_assert_eq(ftruncate(fd, SECTORS * 512), 0);
	close(fd);
	cr_assert_eq(copystate_open(tmpdir_path(dir, "state"), (const uint8_t *)"store of tests\0",
				    true, &state), 0);
	cr_assert_eq(copystate_update(state, edit_held, NULL), 0);
	start();
}

static void tear_down(void)
{
	if (p)
		passive_stop(p);
	forks_put(fk);
	seglog_close(seglog);
	copystate_close(state);
	cr_expect_eq(devices, 0, "a device is left");
	cr_expect_eq(origins, 0, "an origin is left");
	tmpdir_remove(dir);
	logmake_free(&m);
}

TestSuite(passive_fork, .init = set_up, .fini = tear_down, .timeout = 90);

static void holds(const char *path, const uint8_t *want, const char *what)
{
	static uint8_t got[SECTORS * 512];
	int fd = open(path, O_RDONLY);

	cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
	cr_assert_eq(pread(fd, got, sizeof(got), 0), sizeof(got));
	close(fd);
	for (unsigned i = 0; i < SECTORS; i++)
		cr_assert_arr_eq(got + i * 512, want + i * 512, 512, "%s: sector %u", what, i);
}

/* The replay comes to the end, and made of the device what it should. */
static void device_follows(void)
{
	char device[300];

	snprintf(device, sizeof(device), "%s/device", dir);
	passive_suspend(p, false);
	cr_assert_eq(passive_wait_replayed(p, m.lsn, WAIT_MS), 0);
	holds(device, now, "device");
}

static int open_at(const char *at, bool writable, struct fork_info *ret)
{
	struct fork_ask ask = { .at = at, .writable = writable, .space = 16 * MIB };

	return forks_open(fk, &ask, ret, err, sizeof(err));
}

static bool dir_has(const char *name)
{
	return !access(tmpdir_path(dir, name), F_OK);
}

/* ---- tests --------------------------------------------------------------------------- */

Test(passive_fork, opened_at_a_mark_while_the_replay_goes_on)
{
	static const uint8_t nothing[SECTORS * 512];
	struct fork_info f;
	char device[300];

	snprintf(device, sizeof(device), "%s/device", dir);
	cr_assert_eq(open_at("noon", true, &f), 0, "%s", err);
	cr_assert_eq(f.lsn, mark_lsn);
	cr_assert_eq(f.time_ns, mark_ns);
	cr_assert_str_eq(f.name, "pg-fork1");
	holds(f.path, at_mark, "fork");
	holds(device, nothing, "device, before");
	cr_assert_eq(origins, 1);
	device_follows();
	holds(f.path, at_mark, "fork, later");
	cr_assert_eq(forks_close(fk, "pg-fork1", false, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(origins, 0);
	cr_assert_not(dir_has("fork-pg-fork1.state"));
	/* and the replay goes on, onto the device itself */
	device_follows();
}

Test(passive_fork, any_record_end_and_nothing_else)
{
	struct fork_info f;
	char at[64];

	cr_assert_eq(open_at("2026-09-21T14:13:25Z", false, &f), 0, "%s", err);
	cr_assert(f.time_ns <= 1790000005 * S && f.time_ns > 1790000005 * S - S / 5);
	cr_assert_eq(forks_close(fk, f.name, false, err, sizeof(err)), 0);
	snprintf(at, sizeof(at), "%llu", (unsigned long long)mark_lsn + 100);
	cr_assert_eq(open_at(at, false, &f), 0, "%s", err);
	cr_assert_eq(f.lsn, mark_lsn, "within a record: before it");
	holds(f.path, at_mark, "fork");
	cr_assert_eq(forks_close(fk, f.name, false, err, sizeof(err)), 0);
	cr_assert_eq(open_at("", false, &f), 0, "%s", err);
	cr_assert_eq(f.lsn, m.lsn);
	holds(f.path, now, "fork at the end");
	cr_assert_eq(forks_close(fk, f.name, false, err, sizeof(err)), 0);
	snprintf(at, sizeof(at), "%llu", (unsigned long long)LSN0);
	cr_assert_eq(open_at(at, false, &f), 0, "%s", err);
	cr_assert_eq(f.lsn, LSN0);
	device_follows();
}

Test(passive_fork, what_cannot_be_reached_is_refused_with_the_range)
{
	struct fork_info f;
	char at[64], low[64];

	snprintf(low, sizeof(low), "from LSN %llu", (unsigned long long)LSN0);
	snprintf(at, sizeof(at), "%llu", (unsigned long long)m.lsn + 1);
	cr_assert_eq(open_at(at, false, &f), -ERANGE);
	cr_assert_not_null(strstr(err, "not here yet"), "%s", err);
	cr_assert_not_null(strstr(err, low), "%s", err);
	cr_assert_eq(open_at("midnight", false, &f), -ERANGE);
	cr_assert_not_null(strstr(err, "no mark"), "%s", err);
	cr_assert_eq(open_at("64", false, &f), -ERANGE);
	cr_assert_not_null(strstr(err, "replayed already"), "%s", err);
	cr_assert_eq(open_at("2026-09-21T14:00:00Z", false, &f), -ERANGE);
	cr_assert_eq(open_at("mark:", false, &f), -EINVAL);
	cr_assert_eq(devices, 0);
	device_follows();
	cr_assert_eq(open_at("noon", false, &f), -ERANGE, "what is replayed is over");
	cr_assert_eq(open_at("", false, &f), 0, "%s", err);
	holds(f.path, now, "fork of a copy that is at its end");
}

Test(passive_fork, several_at_once)
{
	struct fork_info f[FORKS_MAX], one;
	struct fork_ask ask = { .at = "noon", .name = "mine", .space = 16 * MIB };

	cr_assert_eq(forks_open(fk, &ask, &f[0], err, sizeof(err)), 0, "%s", err);
	cr_assert_str_eq(f[0].name, "mine");
	for (int i = 1; i < FORKS_MAX; i++)
		cr_assert_eq(open_at(i % 2 ? "" : "noon", true, &f[i]), 0, "%s", err);
	cr_assert_eq(origins, 1);
	cr_assert_eq(open_at("noon", false, &one), -ENOSPC);
	for (int i = 0; i < FORKS_MAX; i++)
		holds(f[i].path, i % 2 ? now : at_mark, f[i].name);
	cr_assert_eq(forks_list(fk, f, FORKS_MAX), FORKS_MAX);
	cr_assert_eq(forks_close(fk, "mine", false, err, sizeof(err)), 0);
	cr_assert_eq(forks_close(fk, "mine", false, err, sizeof(err)), -ENOENT);
	cr_assert_eq(origins, 1);
	device_follows();
	/* the rest goes with the copy */
}

Test(passive_fork, names_and_space)
{
	static const char *const bad[] = { "", "../x", "a/b", ".x", "-x", "a b", "x\n" };
	struct fork_ask ask = { .at = "" };
	struct fork_info f;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ask.name = bad[i];
		cr_assert_eq(forks_open(fk, &ask, &f, err, sizeof(err)), -EINVAL, "'%s'", bad[i]);
	}
	ask.name = NULL;
	ask.space = 1;
	cr_assert_eq(forks_open(fk, &ask, &f, err, sizeof(err)), -EINVAL);
	ask.space = 1ull << 60;
	cr_assert_eq(forks_open(fk, &ask, &f, err, sizeof(err)), -ENOSPC);
	cr_assert_not_null(strstr(err, "--space"), "%s", err);
	cr_assert_eq(fork_space(1ull << 50), 1ull << 30);
	cr_assert_leq(fork_space(1 << 20), 32 << 20);
}

/* Nothing stays, and the replay makes of the device what it makes without forks. */
Test(passive_fork, each_step_can_fail)
{
	struct fork_info f;

	for (enum step step = PREPARE; step <= REPLAY; step++) {
		broken = step;
		cr_assert_neq(open_at("noon", false, &f), 0, "step %d", step);
		cr_assert_neq(err[0], '\0', "step %d", step);
		broken = NONE;
		cr_assert_eq(devices, 0, "step %d", step);
		cr_assert_eq(origins, 0, "step %d", step);
		cr_assert_eq(forks_list(fk, &f, 1), 0, "step %d", step);
	}
	cr_assert_eq(open_at("noon", false, &f), 0, "%s", err);
	holds(f.path, at_mark, "fork");
	device_follows();
}

Test(passive_fork, one_that_lost_something_is_named_and_costs_nothing)
{
	struct fork_info f;

	cr_assert_eq(open_at("noon", true, &f), 0, "%s", err);
	passive_tick(p);
	cr_assert_eq(forks_list(fk, &f, 1), 1);
	cr_assert_eq(f.error, 0);
	cr_assert_eq(f.used, 4096);
	lost = true;
	passive_tick(p);
	cr_assert_eq(forks_list(fk, &f, 1), 1);
	cr_assert_eq(f.error, -ENOSPC);
	cr_assert_eq(devices, 0);
	cr_assert_eq(origins, 0);
	lost = false;
	device_follows();
	cr_assert_eq(forks_close(fk, f.name, false, err, sizeof(err)), 0, "%s", err);
	cr_assert_eq(forks_list(fk, &f, 1), 0);
}

Test(passive_fork, one_in_use_is_closed_by_force_only)
{
	struct fork_info f;

	cr_assert_eq(open_at("noon", true, &f), 0, "%s", err);
	in_use = true;
	cr_assert_eq(forks_close(fk, f.name, false, err, sizeof(err)), -EBUSY);
	cr_assert_not_null(strstr(err, "--force"), "%s", err);
	cr_assert_eq(devices, 1);
	cr_assert_eq(forks_close(fk, f.name, true, err, sizeof(err)), 0);
	cr_assert_eq(devices, 0);
	device_follows();
}

/* An activation: what is open goes, in use or not, and nobody can call any more. */
Test(passive_fork, a_copy_that_is_stopped_takes_them_along)
{
	struct fork_info f;
	char device[300];

	snprintf(device, sizeof(device), "%s/device", dir);
	cr_assert_eq(open_at("noon", true, &f), 0, "%s", err);
	in_use = true;
	device_follows();
	passive_stop(p);
	p = NULL;
	cr_assert_eq(devices, 0);
	cr_assert_eq(origins, 0);
	holds(device, now, "device");
	cr_assert_eq(open_at("", false, &f), -ESHUTDOWN);
	cr_assert_eq(forks_close(fk, f.name, true, err, sizeof(err)), -ESHUTDOWN);
	cr_assert_eq(forks_list(fk, &f, 1), 0);
}

static void *open_and_close(void *arg)
{
	atomic_bool *stop = arg;
	struct fork_info f;
	char why[400];
	struct fork_ask ask = { .at = "", .space = 16 * MIB };

	while (!atomic_load(stop)) {
		if (forks_open(fk, &ask, &f, why, sizeof(why))) {
			usleep(1000);
			continue;
		}
		forks_close(fk, f.name, true, why, sizeof(why));
	}
	return NULL;
}

/* Opening and closing all the time, ticks, and the end in the middle of it. */
Test(passive_fork, in_the_middle_of_everything)
{
	pthread_t threads[2];
	atomic_bool stop = false;
	char device[300];

	snprintf(device, sizeof(device), "%s/device", dir);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, open_and_close, &stop), 0);
	for (int i = 0; i < 20; i++) {
		passive_tick(p);
		usleep(10000);
		if (i == 10)
			passive_suspend(p, false);
	}
	cr_assert_eq(passive_wait_replayed(p, m.lsn, WAIT_MS), 0);
	passive_stop(p);
	p = NULL;
	atomic_store(&stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	holds(device, now, "device");
}
