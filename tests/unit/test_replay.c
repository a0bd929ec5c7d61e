// SPDX-License-Identifier: GPL-2.0
/*
 * The replay onto a file against a model in memory: random overlapping records,
 * ring and log, hold, damage, failing devices, and a kill at any moment.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/segment.h"
#include "daemon/replay/batch.h"
#include "daemon/replay/replay.h"
#include "daemon/store/copystate.h"
#include "tests/lib/logmake.h"
#include "tests/lib/tmpdir.h"

#define MIB		(1u << 20)
#define SECTORS		16384u		/* 8 MiB */
#define LSN0		(64ull * 5000)
#define WAIT_MS		20000

static const uint8_t uuid[16] = "store of replay";
static char *dir;
static struct logmake m;
static struct seglog *seglog;
static struct copystate *state;
static struct replay *rp;
static uint8_t *model;
static struct replay_conf conf;
static char device[256], statefile[256], logdir[256];

static void edit_start(struct copystate_data *d, void *ctx)
{
	d->replayed_lsn = LSN0;
	d->inconsistent_until = *(uint64_t *)ctx;
}

static void open_files(bool make)
{
	struct seglog_conf lc = { .dir = logdir, .seg_bytes = 4 * MIB };
	uint64_t until = LSN0 + 1;

	memcpy(lc.uuid, uuid, 16);
	cr_assert_eq(seglog_open(&lc, &seglog), 0);
	cr_assert_eq(copystate_open(statefile, uuid, make, &state), 0);
	if (!make)
		return;
	cr_assert_eq(seglog_reset(seglog, LSN0), 0);
	cr_assert_eq(copystate_update(state, edit_start, &until), 0);
}

static void set_up(void)
{
	int fd;

	log_set_level(LOG_LV_ERR - 1);
	dir = tmpdir_make(NULL);
	strcpy(device, tmpdir_path(dir, "device"));
	strcpy(statefile, tmpdir_path(dir, "state"));
	strcpy(logdir, tmpdir_path(dir, "log"));
	fd = open(device, O_CREAT | O_RDWR, 0600);
	cr_assert_eq(ftruncate(fd, SECTORS * 512), 0);
	close(fd);
	model = calloc(SECTORS, 512);
	logmake_init(&m, 32 * MIB, LSN0);
	open_files(true);
	conf = (struct replay_conf){
		.device = device, .sectors = SECTORS, .log = seglog, .state = state,
		.depth = 16, .backend = LOOP_AUTO, .checkpoint_ms = 50,
	};
}

static void stop(void)
{
	if (rp)
		replay_stop(rp);
	rp = NULL;
}

static void tear_down(void)
{
	stop();
	seglog_close(seglog);
	copystate_close(state);
	logmake_free(&m);
	free(model);
	tmpdir_remove(strdup(logdir));
	tmpdir_remove(dir);
}

TestSuite(replay, .init = set_up, .fini = tear_down, .timeout = 100);

#define RESYNC_ZEROES	DAGTAP_REC_TYPES	/* RESYNC of an extent that reads as zeroes */

/* One record into the log and into the model. */
static void put(uint8_t type, uint64_t sector, uint32_t sectors, uint32_t seed)
{
	if (type == DAGTAP_REC_DATA || type == DAGTAP_REC_RESYNC) {
		uint64_t lsn = logmake_extent(&m, type, sector, sectors, seed);

		logmake_copy(&m, lsn + 64, model + sector * 512, sectors * 512);
	} else if (type == RESYNC_ZEROES) {
		logmake_flags(&m, DAGTAP_REC_RESYNC, 0, sector, sectors);
		memset(model + sector * 512, 0, sectors * 512);
	} else if (type == DAGTAP_REC_ZEROES) {
		logmake_flags(&m, type, seed & 1 ? DAGTAP_RECF_NOUNMAP : 0, sector, sectors);
		memset(model + sector * 512, 0, sectors * 512);
	} else if (type == DAGTAP_REC_DISCARD) {	/* of a file: punched */
		logmake_flags(&m, type, 0, sector, sectors);
		memset(model + sector * 512, 0, sectors * 512);
	} else if (type == DAGTAP_REC_FAIL) {
		logmake_flags(&m, type, 0, sector, sectors);
	} else {
		logmake_flush(&m);
	}
}

static void put_random(unsigned n, unsigned seed)
{
	static const uint8_t types[] = {
		DAGTAP_REC_DATA, DAGTAP_REC_DATA, DAGTAP_REC_DATA, DAGTAP_REC_DATA,
		DAGTAP_REC_DATA, DAGTAP_REC_RESYNC, DAGTAP_REC_ZEROES, DAGTAP_REC_DISCARD,
		DAGTAP_REC_FAIL, DAGTAP_REC_FLUSH, RESYNC_ZEROES,
	};

	srand(seed);
	while (n--) {
		uint32_t sectors = rand() % 4 ? 1 + rand() % 24 : 1 + rand() % 600;
		uint64_t sector = rand() % 3 ? rand() % (SECTORS - sectors) : rand() % 200u;

		put(types[rand() % sizeof(types)], sector, sectors, rand());
	}
}

static void append(void)
{
	struct seglog_ring ring = logmake_ring(&m);
	struct seglog_info i;

	seglog_info(seglog, &i);
	cr_assert_eq(seglog_append(seglog, &ring, i.end_lsn, m.lsn), 0);
}

static void start(void)
{
	cr_assert_eq(replay_start(&conf, &rp), 0);
}

static void check_image(const uint8_t *want)
{
	uint8_t *got = malloc(SECTORS * 512);
	int fd = open(device, O_RDONLY);

	cr_assert_eq(pread(fd, got, SECTORS * 512, 0), SECTORS * 512);
	close(fd);
	for (uint64_t s = 0; s < SECTORS; s++)
		cr_assert_eq(memcmp(got + s * 512, want + s * 512, 512), 0, "sector %lu",
			     (unsigned long)s);
	free(got);
}

static void check_device(void)
{
	check_image(model);
}

static struct replay_info info(void)
{
	struct replay_info i;

	replay_info(rp, &i);
	return i;
}

static void random_run(enum loop_backend backend, bool ring)
{
	struct copystate_data d;

	conf.backend = backend;
	if (ring)
		conf.ring = logmake_ring(&m);
	start();
	replay_advance(rp, LSN0, UINT64_MAX);
	for (int i = 0; i < 40; i++) {
		put_random(20, i);
		/* the ring must keep what the replay has not yet read */
		if (ring && m.lsn > LSN0 + 16 * MIB)
			replay_unpin(rp, m.lsn - 16 * MIB);
		append();
		replay_advance(rp, m.lsn, UINT64_MAX);
	}
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
	check_device();
	cr_assert_eq(info().records, 800);
	cr_assert_eq(info().applied_lsn, m.lsn);
	cr_assert(ring ? info().from_ring_bytes > 0 : info().from_log_bytes == m.lsn - LSN0);
	copystate_get(state, &d);
	cr_assert_eq(d.replayed_lsn, m.lsn);
	cr_assert_eq(d.replayed_crc, m.prev_crc);
	cr_assert_eq(d.inconsistent_until, 0);
}

Test(replay, random_from_log_uring)
{
	random_run(LOOP_AUTO, false);
}

Test(replay, random_from_log_posix)
{
	random_run(LOOP_POSIX, false);
}

Test(replay, random_from_ring_uring)
{
	random_run(LOOP_AUTO, true);
}

Test(replay, random_from_ring_posix)
{
	random_run(LOOP_POSIX, true);
}

/* The rules of a block device for discard and zeroes differ from those of a file. */
Test(replay, random_onto_a_block_device)
{
	char cmd[512], loopdev[64] = "";
	FILE *f;

	snprintf(cmd, sizeof(cmd), "losetup -f --show %s 2>/dev/null", device);
	f = popen(cmd, "r");
	if (fscanf(f, "%63s", loopdev) != 1) {
		pclose(f);
		cr_skip("no loop device to be had");
	}
	pclose(f);
	strcpy(device, loopdev);
	random_run(LOOP_AUTO, true);
	stop();
	snprintf(cmd, sizeof(cmd), "losetup -d %s", loopdev);
	cr_assert_eq(system(cmd), 0);
}

Test(replay, starts_again_where_it_stopped)
{
	for (int i = 0; i < 5; i++) {
		uint64_t from = m.lsn;

		put_random(30, i);
		append();
		start();
		replay_advance(rp, m.lsn, UINT64_MAX);
		if (i & 1)
			cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
		stop();		/* with a checkpoint of what it had taken */
		start();
		cr_assert_geq(info().replayed_lsn, from);
		replay_advance(rp, m.lsn, UINT64_MAX);
		cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
		stop();
		check_device();
	}
}

Test(replay, hold_is_exact)
{
	uint64_t hold;
	uint8_t *then = malloc(SECTORS * 512);

	conf.ring = logmake_ring(&m);
	start();
	replay_advance(rp, LSN0, UINT64_MAX);
	put_random(50, 1);
	hold = m.lsn;
	memcpy(then, model, SECTORS * 512);
	put(DAGTAP_REC_DATA, 5, 8, 1);
	put_random(50, 2);
	append();
	replay_advance(rp, m.lsn, hold);
	cr_assert_eq(replay_wait(rp, hold, WAIT_MS), 0);
	cr_assert_eq(replay_wait(rp, hold + 64, 100), -ETIMEDOUT);
	cr_assert_eq(info().applied_lsn, hold);
	memcpy(model, then, SECTORS * 512);
	check_device();
	/* in the middle of a record: not that record */
	replay_advance(rp, m.lsn, hold + 64);
	cr_assert_eq(replay_wait(rp, hold + 64, 100), -ETIMEDOUT);
	cr_assert_eq(info().applied_lsn, hold);
	replay_advance(rp, m.lsn, UINT64_MAX);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
	free(then);
}

/* ---- lag ------------------------------------------------------------------------ */

static void stands_at(uint64_t lsn)
{
	cr_assert_eq(replay_wait(rp, lsn, WAIT_MS), 0);
	cr_assert_eq(replay_wait(rp, lsn + 64, 100), -ETIMEDOUT);
	cr_assert_eq(info().applied_lsn, lsn);
	cr_assert(info().held);
	cr_assert_not(info().behind, "what is held is not late");
}

static void lag_run(bool ring)
{
	uint64_t at[4], then[4];
	uint8_t *image = malloc(SECTORS * 512);

	if (ring)
		conf.ring = logmake_ring(&m);
	start();
	for (int i = 0; i < 4; i++) {
		put_random(30, i);
		at[i] = m.lsn;
		then[i] = m.time_ns;
		if (i == 1)
			memcpy(image, model, SECTORS * 512);
	}
	append();
	replay_lag(rp, &(struct lag_limit){ .until_ns = then[0] });
	replay_advance(rp, m.lsn, UINT64_MAX);
	stands_at(at[0]);
	/* what came later is applied in its order, and to the very record */
	replay_lag(rp, &(struct lag_limit){ .until_ns = then[1] });
	stands_at(at[1]);
	/* a clock that goes back takes nothing back */
	replay_lag(rp, &(struct lag_limit){ .until_ns = 0 });
	stands_at(at[1]);
	check_image(image);
	/* up to an LSN, whatever the times say */
	replay_lag(rp, &(struct lag_limit){ .free_lsn = at[2], .until_ns = 0 });
	stands_at(at[2]);
	replay_lag(rp, &LAG_NO_LIMIT);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
	cr_assert_not(info().held);
	check_device();
	free(image);
}

Test(replay, a_lag_is_exact_from_the_ring)
{
	lag_run(true);
}

Test(replay, a_lag_is_exact_from_the_log)
{
	lag_run(false);
}

/* The clock of the active was ahead for a while: order comes before time. */
Test(replay, nothing_overtakes_a_record_that_is_held)
{
	uint64_t held, t = m.time_ns;

	start();
	put_random(20, 1);
	held = m.lsn;
	m.time_ns += 3600ull * 1000000000;
	put_random(20, 2);
	m.time_ns = t;
	put_random(20, 3);
	append();
	replay_lag(rp, &(struct lag_limit){ .until_ns = t + 1000000000 });
	replay_advance(rp, m.lsn, UINT64_MAX);
	stands_at(held);
	replay_lag(rp, &LAG_NO_LIMIT);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
	check_device();
}

/* The daemon stops and starts while records are held. */
Test(replay, a_lag_outlives_a_restart)
{
	uint64_t at, then;

	put_random(30, 1);
	at = m.lsn;
	then = m.time_ns;
	put_random(30, 2);
	append();
	for (int i = 0; i < 3; i++) {
		start();
		replay_lag(rp, &(struct lag_limit){ .until_ns = then });
		replay_advance(rp, m.lsn, UINT64_MAX);
		stands_at(at);
		stop();
	}
	start();
	replay_advance(rp, m.lsn, UINT64_MAX);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
	check_device();
}

Test(replay, unpin_sends_it_to_the_log)
{
	conf.ring = logmake_ring(&m);
	start();
	replay_advance(rp, LSN0, UINT64_MAX);
	put_random(100, 3);
	append();
	replay_advance(rp, m.lsn, LSN0);
	replay_unpin(rp, m.lsn);
	memset(m.base, 0xff, m.size);
	replay_advance(rp, m.lsn, UINT64_MAX);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
	cr_assert_eq(info().from_ring_bytes, 0);
	check_device();
}

Test(replay, ring_that_changed_is_refused_and_the_log_is_used_on_retry)
{
	uint64_t good;

	conf.ring = logmake_ring(&m);
	start();
	replay_advance(rp, LSN0, UINT64_MAX);
	put_random(20, 4);
	good = m.lsn;
	put(DAGTAP_REC_DATA, 10, 8, 5);
	append();
	m.base[(good + 700) & (m.size - 1)] ^= 1;
	replay_advance(rp, m.lsn, UINT64_MAX);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), -EBADMSG);
	cr_assert_eq(info().error_lsn, good);
	/* all before it is there, and safe */
	cr_assert_eq(info().replayed_lsn, good);
	replay_unpin(rp, m.lsn);
	replay_retry(rp);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
	cr_assert_eq(info().error, 0);
	check_device();
}

Test(replay, damaged_segment_is_refused)
{
	uint64_t bad;
	char name[SEG_NAME_BYTES], path[512];
	int fd;

	put_random(20, 6);
	bad = m.lsn;
	put(DAGTAP_REC_DATA, 10, 8, 5);
	put_random(20, 7);
	append();
	seg_name(1, name);
	snprintf(path, sizeof(path), "%s/%s", logdir, name);
	fd = open(path, O_WRONLY);
	cr_assert_eq(pwrite(fd, "x", 1, seg_offset(LSN0, bad + 64 + 1000)), 1);
	close(fd);
	start();
	replay_advance(rp, m.lsn, UINT64_MAX);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), -EBADMSG);
	cr_assert_eq(info().error_lsn, bad);
	cr_assert_eq(info().replayed_lsn, bad);
	replay_retry(rp);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), -EBADMSG);
}

Test(replay, extent_outside_the_store_is_refused)
{
	uint64_t bad;

	put_random(5, 8);
	bad = m.lsn;
	logmake_extent(&m, DAGTAP_REC_DATA, SECTORS - 1, 2, 1);
	append();
	start();
	replay_advance(rp, m.lsn, UINT64_MAX);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), -EBADMSG);
	cr_assert_eq(info().error_lsn, bad);
}

Test(replay, device_too_small_or_missing)
{
	conf.sectors = SECTORS + 1;
	cr_assert_eq(replay_start(&conf, &rp), -ENOSPC);
	conf.device = "/nonexistent/device";
	cr_assert_eq(replay_start(&conf, &rp), -ENOENT);
	rp = NULL;
}

static int last_error;
static uint64_t last_lsn;

static void on_progress(void *ctx, uint64_t lsn, uint32_t seq, uint64_t time_ns, int error)
{
	__atomic_store_n(&last_error, error, __ATOMIC_RELAXED);
	__atomic_store_n(&last_lsn, lsn, __ATOMIC_RELAXED);
}

Test(replay, device_that_fails_and_comes_back)
{
	struct rlimit lim = { 4 * MIB, RLIM_INFINITY };

	signal(SIGXFSZ, SIG_IGN);
	conf.backend = LOOP_POSIX;	/* a limit of the process, not of io_uring's */
	conf.progress = on_progress;
	put(DAGTAP_REC_DATA, 0, 64, 1);
	put(DAGTAP_REC_DATA, SECTORS - 64, 64, 2);
	put_random(50, 9);
	append();
	setrlimit(RLIMIT_FSIZE, &lim);
	start();
	replay_advance(rp, m.lsn, UINT64_MAX);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), -EFBIG);
	cr_assert_eq(info().replayed_lsn, LSN0);
	lim.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &lim);
	replay_retry(rp);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
	check_device();
	stop();
	cr_assert_eq(last_error, 0);
	cr_assert_eq(last_lsn, m.lsn);
}

Test(replay, gap_and_new_chain)
{
	start();
	put_random(10, 10);
	append();
	cr_assert_eq(seglog_begin(seglog, m.lsn + 64 * 1000), 0);
	m.lsn += 64 * 1000;
	m.prev_crc = 0;
	put_random(10, 11);
	append();
	/* and one without a gap */
	cr_assert_eq(seglog_begin(seglog, m.lsn), 0);
	m.prev_crc = 0;
	put_random(10, 12);
	append();
	replay_advance(rp, m.lsn, UINT64_MAX);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
	check_device();
}

Test(replay, overwrites_are_left_out)
{
	for (int i = 0; i < 100; i++)
		put(DAGTAP_REC_DATA, 64, 8, i);
	append();
	start();
	replay_advance(rp, m.lsn, UINT64_MAX);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
	cr_assert_eq(info().skipped_bytes, 99 * 4096);
	cr_assert_eq(info().bytes, 4096);
	check_device();
}

/* Killed at any moment, restarted, killed again: in the end it equals the model. */
Test(replay, kill_and_restart)
{
	for (int i = 0; i < 15; i++) {
		put_random(100, i);
		append();
	}
	seglog_close(seglog);
	copystate_close(state);
	seglog = NULL;
	state = NULL;
	for (int i = 0; i < 25; i++) {
		pid_t pid = fork();

		if (!pid) {
			open_files(false);
			conf.log = seglog;
			conf.state = state;
			conf.checkpoint_ms = 2;
			start();
			replay_advance(rp, m.lsn, UINT64_MAX);
			pause();
			_exit(1);
		}
		usleep(3000 + i * 1000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	open_files(false);
	conf.log = seglog;
	conf.state = state;
	start();
	replay_advance(rp, m.lsn, UINT64_MAX);
	cr_assert_eq(replay_wait(rp, m.lsn, WAIT_MS), 0);
	check_device();
}

/* ---- batch -------------------------------------------------------------- */

Test(batch, pieces_are_disjoint_sorted_and_newest_wins)
{
	static uint8_t content[256];	/* number of the record that wrote a sector */

	for (unsigned seed = 0; seed < 300; seed++) {
		struct batch b;
		uint64_t end = 0, skipped, bytes = 0;

		srand(seed);
		cr_assert_eq(batch_init(&b, 40), 0);
		batch_clear(&b, 0);
		memset(content, 0xff, sizeof(content));
		for (unsigned i = 0; i < 40; i++) {
			struct piece p = { .sector = rand() % 200, .type = DAGTAP_REC_DATA };

			p.lsn = i;
			p.end = p.sector + 1 + rand() % (seed % 50 + 2);
			p.data = (const uint8_t *)(uintptr_t)(0x100000 + p.sector * 512);
			memset(content + p.sector, i, p.end - p.sector);
			batch_add(&b, &p);
		}
		cr_assert(batch_full(&b));
		skipped = batch_plan(&b);
		for (unsigned i = 0; i < b.nr_pieces; i++) {
			const struct piece *p = &b.pieces[i];

			cr_assert_geq(p->sector, end);
			cr_assert_gt(p->end, p->sector);
			cr_assert_eq((uintptr_t)p->data, 0x100000 + p->sector * 512);
			for (; end < p->sector; end++)
				cr_assert_eq(content[end], 0xff);
			for (; end < p->end; end++)
				cr_assert_eq(content[end], p->lsn);
			bytes += (p->end - p->sector) * 512;
		}
		for (; end < sizeof(content); end++)
			cr_assert_eq(content[end], 0xff);
		cr_assert_eq(bytes + skipped, b.bytes);
		batch_free(&b);
	}
}
