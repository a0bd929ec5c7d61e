// SPDX-License-Identifier: GPL-2.0
/*
 * A passive copy ends before its nth call that changes a file, for every n, while
 * an active begins with it (changed regions, or everything) and seeds it. Each
 * time it is opened again, and what it says of itself is held against what is on
 * its device: a copy that is called whole, by its state file as an activation
 * reads it or by its status, holds exactly what the active's device held at its
 * replayed_lsn. Then the active calls again, until the copy is Healthy. A copy that was
 * active itself keeps its own image until the last step.
 */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/ship/regionset.h"
#include "daemon/store/passive.h"
#include "kmod/core/record.h"
#include "kmod/core/region.h"
#include "tests/lib/logmake.h"
#include "tests/lib/streams.h"
#include "tests/lib/tmpdir.h"

#define MIB		(1u << 20)
#define RING		(32 * MIB)	/* all that the active ever logs fits */
#define SECTORS		512u
#define REGION		32u		/* sectors */
#define REGIONS		(SECTORS / REGION)
#define LSN0		(77777ull * 64)
#define PARTS		40
#define WAIT_MS		20000
#define EXIT_CRASHED	9

/* ---- the end of the process -------------------------------------------------- */

static int left;	/* calls until then; 0: it does not come */

static void count_call(void)
{
	int was = __atomic_load_n(&left, __ATOMIC_RELAXED);

	if (was && __atomic_sub_fetch(&left, 1, __ATOMIC_RELAXED) <= 0)
		_exit(EXIT_CRASHED);
}

/* Every way in which copystate, segments and replay change a file. */
ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	count_call();
	return syscall(SYS_pwrite64, fd, buf, len, off);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
	count_call();
	return syscall(SYS_pwritev, fd, iov, n, off, 0);
}

ssize_t pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	count_call();
	return syscall(SYS_pwritev2, fd, iov, n, off, 0, flags);
}

int io_submit(io_context_t ctx, long n, struct iocb **cbs)
{
	count_call();
	n = syscall(SYS_io_submit, ctx, n, cbs);
	return n < 0 ? -errno : n;
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	count_call();
	return syscall(SYS_renameat, from_dir, from, to_dir, to);
}

int unlinkat(int dir, const char *name, int flags)
{
	count_call();
	return syscall(SYS_unlinkat, dir, name, flags);
}

int fdatasync(int fd)
{
	count_call();
	return syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
	count_call();
	return syscall(SYS_fsync, fd);
}

/* ---- the active -------------------------------------------------------------- */

/* One stretch of its log; between two of them writes went unlogged. */
struct part {
	uint8_t *log;			/* the ring in which it was made */
	uint32_t epoch;
	uint64_t start, end;
	uint64_t whole_from;		/* who began here is not before this; 0: no seed yet */
	uint8_t image[SECTORS * 512];	/* of its device, at the start */
};

static struct logmake m;
static struct part parts[PARTS];
static unsigned nr_parts;
static uint8_t image[SECTORS * 512];	/* now */
static bool dirty[REGIONS];		/* since the copy was whole */
static struct frame_hello hello;
static unsigned seed_nr, noise;
static bool seed_full;
static uint64_t seed_since;		/* when the copy was whole */
static uint64_t fork_lsn;		/* a record of the first stretch begins here */
static bool was_active;			/* the copy: its image is a branch */
static bool others_only;		/* the seed for it does not come yet */
static bool branch_dirty[REGIONS];
static uint8_t branch_image[SECTORS * 512];

/* The set of member "", active in epoch 2. */
#define SET_ID	2

static void touch(uint64_t sector, uint32_t sectors)
{
	for (uint32_t i = 0; i < sectors * 512 / 4; i++)
		((uint32_t *)(image + sector * 512))[i] = noise = noise * 1103515245 + 12345;
	for (uint64_t r = sector / REGION; r <= (sector + sectors - 1) / REGION; r++)
		dirty[r] = true;
}

static void log_extent(uint8_t type, uint64_t sector, uint32_t sectors)
{
	struct dagtap_rec_spec spec = { .type = type, .sector = sector, .sectors = sectors,
					.payload = sectors * 512, .time_ns = m.time_ns += 1000 };

	logmake_record(&m, &spec, image + sector * 512);
}

static void log_writes(unsigned n, unsigned seed)
{
	while (n--) {
		uint32_t sectors = 1 + rand_r(&seed) % 16;
		uint64_t sector = rand_r(&seed) % (SECTORS - sectors);

		touch(sector, sectors);
		log_extent(DAGTAP_REC_DATA, sector, sectors);
	}
}

static void log_seed_state(uint8_t kind, uint64_t from, uint64_t bytes, uint64_t set)
{
	struct dagtap_rec_spec spec = { .type = DAGTAP_REC_STATE, .kind = kind,
					.payload = sizeof(struct dagtap_state_payload),
					.time_ns = m.time_ns += 1000 };
	struct dagtap_state_payload sp = { .from_lsn = htole64(from), .bytes = htole64(bytes) };

	memcpy(sp.uuid, &seed_nr, sizeof(seed_nr));
	sp.sets[1] = htole64(set);
	logmake_record(&m, &spec, &sp);
}

static void log_state(uint8_t kind, uint64_t from, uint64_t bytes)
{
	log_seed_state(kind, from, bytes, 0);
}

static void begin_part(uint64_t lsn)
{
	struct part *pt = &parts[nr_parts++];

	cr_assert_leq(nr_parts, PARTS);
	pt->log = m.base;
	pt->epoch = m.epoch;
	pt->whole_from = 0;
	m.lsn = pt->start = lsn;
	m.prev_crc = 0;
	memcpy(pt->image, image, sizeof(image));
}

/* The regions that changed since the copy was whole, with writes in between. */
static void log_seed(void)
{
	uint64_t since = seed_full ? 0 : seed_since;

	/* One for another copy, that has never been active. */
	seed_nr++;
	if (was_active) {
		log_state(DAGTAP_STATE_SEED_BEGIN, since, SECTORS * 512);
		for (unsigned r = 0; r < REGIONS; r++)
			if (dirty[r])
				log_extent(DAGTAP_REC_RESYNC, r * REGION, REGION);
		log_state(DAGTAP_STATE_SEED_END, since, 0);
		parts[nr_parts - 1].end = m.lsn;
		if (others_only)
			return;
		seed_nr++;
	}
	log_seed_state(DAGTAP_STATE_SEED_BEGIN, since, SECTORS * 512, was_active ? SET_ID : 0);
	for (unsigned r = 0; r < REGIONS; r++) {
		if (seed_full || dirty[r] || (was_active && branch_dirty[r]))
			log_extent(DAGTAP_REC_RESYNC, r * REGION, REGION);
		if (r % 4 == 2)
			log_writes(1, seed_nr * 100 + r);
	}
	log_state(DAGTAP_STATE_SEED_END, since, 0);
	if (!parts[nr_parts - 1].whole_from)
		parts[nr_parts - 1].whole_from = m.lsn;
	log_writes(3, seed_nr);
	logmake_flush(&m);
	parts[nr_parts - 1].end = m.lsn;
}

/* The stretch in which a copy of that epoch may stand at lsn and be whole. */
static const struct part *part_at(uint64_t lsn, uint32_t epoch)
{
	const struct part *pt = NULL;

	for (unsigned i = 0; i < nr_parts; i++)
		if (parts[i].epoch <= epoch && lsn >= parts[i].start && lsn <= parts[i].end)
			pt = &parts[i];
	return pt && pt->whole_from && lsn >= pt->whole_from ? pt : NULL;
}

/* What its device held at lsn. */
static void image_at(const struct part *pt, uint64_t lsn, uint8_t *ret)
{
	struct logmake log = m;

	log.base = pt->log;
	memcpy(ret, pt->image, sizeof(pt->image));
	for (uint64_t at = pt->start; at < lsn;) {
		struct dagtap_rec rec;
		uint64_t sector;

		logmake_copy(&log, at, &rec, sizeof(rec));
		sector = le64toh(rec.sector);
		if (rec.type == DAGTAP_REC_DATA)
			logmake_copy(&log, at + sizeof(rec), ret + sector * 512,
				     le32toh(rec.payload));
		at += dagtap_rec_bytes(le32toh(rec.payload));
	}
}

/* ---- the copy ------------------------------------------------------------------ */

static char *dir, *state_path, *device;
static const uint8_t uuid[16] = "a copy that dies";

struct copy {
	struct copystate *state;
	struct seglog *log;
	struct passive *p;
};

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	dprintf(STDOUT_FILENO, "%s\n%s\n", what, streams_log());
	_exit(3);
}

/* The longest wait is for a thread; a test that hangs ends by its own limit. */
static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 2000000 }, NULL);
}

/* ---- its tap, of which only the bits of its last epoch are of interest -------------- */

#define SET_REGION	(DAGTAP_REGION_BYTES_MIN / 512)	/* sectors */

static int fake_info(struct tap *tap, struct dagtap_info *ret)
{
	*ret = (struct dagtap_info){ .role = DAGTAP_ROLE_PASSIVE, .epoch = SET_ID, .dev_sectors = SECTORS,
				     .region_bytes = DAGTAP_REGION_BYTES_MIN,
				     .regions = SECTORS / SET_REGION };
	return 0;
}

static int fake_regions(struct tap *tap, struct dagtap_regions *rg)
{
	uint8_t *bits = (uint8_t *)(uintptr_t)rg->bitmap;

	need(!rg->flags && !rg->since_lsn && !rg->first && rg->count == SECTORS / SET_REGION,
	     "not all bits are asked for");
	memset(bits, 0, 1);
	for (unsigned r = 0; r < REGIONS; r++)
		if (branch_dirty[r])
			bits[0] |= 1 << r * REGION / SET_REGION;
	return 0;
}

static const struct tap_ops fake_ops = { .info = fake_info, .regions = fake_regions };

static void read_set(struct stream *st)
{
	struct dag_region_set head;
	struct regionset set;
	uint8_t bits[8];

	need(!stream_read_full(st, &head, sizeof(head), WAIT_MS), "no set");
	need(!regionset_decode(&head, SECTORS, &set) && set.id == SET_ID, "bad set");
	need(!stream_read_full(st, bits, regionset_bytes(set.regions), WAIT_MS), "no bits");
	set.bits = bits;
	need(!regionset_check(&set) && regionset_count(&set) == 2, "bad bits");
}

/* Until the last step the device is what it was when it was active. */
static void check_branch(const struct copystate_data *d)
{
	static uint8_t got[SECTORS * 512];
	int fd;

	if (!was_active || !d->have_image || d->inconsistent_until != UINT64_MAX)
		return;
	fd = open(device, O_RDONLY | O_CLOEXEC);
	need(fd >= 0 && pread(fd, got, sizeof(got), 0) == sizeof(got), "device cannot be read");
	close(fd);
	need(!memcmp(got, branch_image, sizeof(got)), "the branch has been written to");
}

static void copy_open(struct copy *c)
{
	struct seglog_conf lc = { .dir = dir, .seg_bytes = 4 * MIB, .spares = 1 };
	struct passive_conf pc = {
		.name = "test", .device = device, .sectors = SECTORS, .tag = m.tag,
		.ring_bytes = 4 * MIB, .backend = LOOP_POSIX, .log_dir = dir,
	};

	memcpy(lc.uuid, uuid, 16);
	memcpy(pc.uuid, uuid, 16);
	need(!copystate_open(state_path, uuid, true, &c->state), "state does not open");
	need(!seglog_open(&lc, &c->log), "log does not open");
	pc.state = c->state;
	pc.log = c->log;
	if (was_active) {
		pc.ops = &fake_ops;
		pc.tap = (struct tap *)&was_active;
	}
	need(!passive_start(&pc, &c->p), "copy does not start");
}

static void copy_close(struct copy *c)
{
	passive_stop(c->p);
	seglog_close(c->log);
	copystate_close(c->state);
}

static struct passive_status status_of(struct copy *c)
{
	struct passive_status ps;

	passive_status(c->p, &ps);
	return ps;
}

struct feed {
	struct stream *st;
	uint64_t from;
	pthread_t thread;
};

static void *feed_main(void *arg)
{
	struct feed *f = arg;
	uint8_t *buf = malloc(m.lsn - f->from);

	logmake_copy(&m, f->from, buf, m.lsn - f->from);
	/* the copy may well end the connection: then it is asked again */
	stream_write_full(f->st, buf, m.lsn - f->from, WAIT_MS);
	free(buf);
	return NULL;
}

/* Call, and stream all that there is. */
static void call(struct copy *c)
{
	struct stream *here, *there;
	struct frame_welcome w;
	struct dag_welcome raw;
	struct feed f;

	streams_pair(streams_plain(), &f.st, &there);
	here = f.st;
	for (int i = 0;; i++) {
		struct passive_status ps;

		passive_accept(c->p, there, &hello, DAG_OK);
		need(!stream_read_full(here, &raw, sizeof(raw), WAIT_MS), "no welcome");
		need(!frame_welcome_decode(&raw, &w), "bad welcome");
		if (w.refusal == DAG_OK)
			break;
		ps = status_of(c);
		if (i > 50) {
			dprintf(STDOUT_FILENO, "error: %s\n", ps.error_text);
			need(false, frame_refusal_text(w.refusal));
		}
		/* an error that passes: ask again after the copy's next tick */
		nap();
		passive_tick(c->p);
		stream_close(here);
		streams_pair(streams_plain(), &f.st, &there);
		here = f.st;
	}
	need(!was_active || w.resume != DAG_RESUME_FULL, "it asks for everything");
	need(!others_only || !w.seed_cursor, "another copy's regions are taken to be here");
	if (w.resume == DAG_RESUME_BRANCH)
		read_set(here);
	f.from = w.resume_lsn;
	need(f.from >= parts[0].start && f.from <= m.lsn, "stream from nowhere");
	pthread_create(&f.thread, NULL, feed_main, &f);
	for (int i = 0; i < WAIT_MS / 2; i++) {
		struct passive_status ps = status_of(c);

		if ((others_only ? ps.durable_lsn : ps.replayed_lsn) >= m.lsn)
			break;
		nap();
	}
	pthread_join(f.thread, NULL);
	stream_close(here);
}

/* As an activation reads it, store/local.c; what it says is in *ret_part then. */
static bool whole(struct copystate *cs, uint64_t *ret_lsn, const struct part **ret_part)
{
	struct copystate_data d;
	char text[128];

	copystate_get(cs, &d);
	check_branch(&d);
	if (!d.have_image || d.inconsistent_until > d.replayed_lsn)
		return false;
	*ret_lsn = d.replayed_lsn;
	*ret_part = part_at(d.replayed_lsn, d.nr_history ? d.history[d.nr_history - 1].epoch : 0);
	snprintf(text, sizeof(text), "called whole at lsn=%llu, where no copy was",
		 (unsigned long long)d.replayed_lsn);
	need(*ret_part, text);
	return true;
}

static void compare(const struct part *pt, uint64_t lsn)
{
	static uint8_t want[SECTORS * 512], got[SECTORS * 512];
	int fd = open(device, O_RDONLY | O_CLOEXEC);
	char text[128];

	need(fd >= 0 && pread(fd, got, sizeof(got), 0) == sizeof(got), "device cannot be read");
	close(fd);
	image_at(pt, lsn, want);
	for (size_t i = 0; i < sizeof(want); i++) {
		if (want[i] == got[i])
			continue;
		snprintf(text, sizeof(text), "called whole at lsn=%llu, differs at byte %zu",
			 (unsigned long long)lsn, i);
		need(false, text);
	}
}

/* Opened again: replay of what it has ends, then what it says must be true. */
static void check_claims(struct copy *c)
{
	uint64_t before = UINT64_MAX, lsn = 0;
	const struct part *pt = NULL;
	bool is_whole;
	int still = 0;

	for (int i = 0; still < 10 && i < WAIT_MS / 2; i++) {
		struct passive_status ps = status_of(c);
		struct copystate_data d;

		copystate_get(c->state, &d);
		still = ps.replayed_lsn == before ? still + 1 : 0;
		if (ps.replayed_lsn < ps.durable_lsn && ps.replayed_lsn != ps.staged_since_lsn &&
		    !ps.error && !copystate_former(&d))
			still = 0;
		before = ps.replayed_lsn;
		nap();
	}
	is_whole = whole(c->state, &lsn, &pt);
	if (is_whole)
		compare(pt, lsn);
	need(is_whole || status_of(c).state != DAG_COPY_HEALTHY, "Healthy, but not whole");
}

/* ---- the process that dies ------------------------------------------------------ */

/* What stands in the state, before anything mends it. */
static void check_state(void)
{
	const struct part *pt;
	struct copystate *cs;
	uint64_t lsn;

	if (copystate_open(state_path, uuid, false, &cs))
		return;		/* not made yet */
	whole(cs, &lsn, &pt);
	copystate_close(cs);
}

static int in_child(void (*work)(struct copy *c), int die_at)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct copy c;

		check_state();
		left = die_at;
		copy_open(&c);
		work(&c);
		copy_close(&c);
		_exit(0);
	}
	cr_assert_gt(pid, 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "signal %d, call %d", WTERMSIG(status), die_at);
	return WEXITSTATUS(status);
}

/* Its claims, and then: it comes to be Healthy without a hand. */
static void end_healthy(struct copy *c)
{
	const struct part *pt = NULL;
	uint64_t lsn = 0;

	check_claims(c);
	call(c);
	need(status_of(c).state == DAG_COPY_HEALTHY, "not Healthy in the end");
	need(whole(c->state, &lsn, &pt) && lsn == m.lsn, "not whole in the end");
	compare(pt, lsn);
}

static void set_up(void)
{
	uint64_t start;
	int fd;

	log_set_level(getenv("DAG_TEST_VERBOSE") ? LOG_LV_DEBUG : LOG_LV_ERR - 1);
	logmake_init(&m, RING, LSN0);
	nr_parts = seed_nr = 0;
	was_active = others_only = false;
	noise = 1;
	memset(dirty, 0, sizeof(dirty));
	memset(image, 0, sizeof(image));
	start = m.lsn;
	begin_part(start);
	logmake_epoch(&m, 1);
	seed_full = true;
	log_seed();
	log_writes(20, 1);
	fork_lsn = m.lsn;
	log_writes(20, 1);
	parts[0].end = m.lsn;
	hello = (struct frame_hello){ .kind = DAG_KIND_LOG, .group_generation = 1, .epoch = 1,
				      .oldest_lsn = start, .end_lsn = start, .nr_history = 1,
				      .history = { { 1, start } } };
	dir = tmpdir_make("/dev/shm");
	state_path = strdup(tmpdir_path(dir, "state"));
	device = strdup(tmpdir_path(dir, "device"));
	fd = open(device, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	cr_assert_eq(ftruncate(fd, SECTORS * 512), 0);
	close(fd);
	cr_assert_eq(in_child(end_healthy, 0), 0);
	memset(dirty, 0, sizeof(dirty));
}

static void tear_down(void)
{
	if (m.base != parts[0].log)
		free(parts[0].log);
	logmake_free(&m);
	free(state_path);
	free(device);
	tmpdir_remove(dir);
}

static void suite_up(void)
{
	streams_setup();
}

TestSuite(passive_crash, .init = suite_up, .fini = streams_teardown, .timeout = 280);

/* Writes that no log has, then a stretch of the log that begins with a gap. */
static void go_untracked(uint64_t start)
{
	touch(3, 100);
	touch(300, 7);
	begin_part(start);
	log_state(DAGTAP_STATE_GAP, start, 0);
	hello.oldest_lsn = hello.end_lsn = start;
}

/* The active went on without this copy, and its log between is gone. */
static void regions_since_a_gap(void)
{
	seed_full = false;
	seed_since = m.lsn;
	go_untracked(m.lsn + 64 * 1000);
	log_writes(5, 2);
	log_seed();
}

/*
 * Another member went on from the middle of this copy's log, and its own is
 * still shorter: what comes begins within a record of the tail that must go.
 */
static void all_after_a_divergence(void)
{
	uint64_t fork = fork_lsn;

	seed_full = true;
	image_at(&parts[0], parts[0].start, image);
	logmake_init(&m, RING, fork);	/* the same LSNs, other records */
	m.epoch = hello.epoch = 2;
	hello.nr_history = 2;
	hello.history[1] = (struct frame_epoch){ 2, fork };
	begin_part(fork);
	logmake_epoch(&m, 2);
	log_writes(5, 3);
	hello.oldest_lsn = hello.end_lsn = m.lsn;
	log_seed();
}

static void edit_activated(struct copystate_data *d, void *ctx)
{
	d->inconsistent_until = UINT64_MAX;
	d->bits_since_lsn = m.lsn;
	d->history[d->nr_history++] = (struct copystate_epoch){ 2, m.lsn };
}

/* It wrote an epoch of its own, more than the next active has yet, and lost its host. */
static void live_as_active(void)
{
	struct seglog_conf lc = { .dir = dir, .seg_bytes = 4 * MIB, .spares = 1 };
	struct logmake mine = m, his = m;
	uint8_t shared[SECTORS * 512];
	struct copystate *cs;
	struct seglog *log;
	uint64_t from;
	int fd;

	memcpy(lc.uuid, uuid, 16);
	memcpy(shared, image, sizeof(image));
	cr_assert_eq(copystate_open(state_path, uuid, false, &cs), 0);
	cr_assert_eq(copystate_update(cs, edit_activated, NULL), 0);
	copystate_close(cs);
	logmake_init(&mine, RING, m.lsn);
	mine.tag = m.tag;
	m = mine;
	from = m.lsn;
	logmake_epoch(&m, 2);
	for (int i = 0; i < 40; i++) {
		uint64_t sector = i % 2 ? 130 + i : 400 + i;

		touch(sector, 8);
		log_extent(DAGTAP_REC_DATA, sector, 8);
	}
	cr_assert_eq(seglog_open(&lc, &log), 0);
	cr_assert_eq(seglog_append(log, &(struct seglog_ring){ m.base, RING }, from, m.lsn), 0);
	seglog_close(log);
	logmake_free(&m);
	m = his;
	memcpy(branch_image, image, sizeof(image));
	memcpy(image, shared, sizeof(image));
	memset(dirty, 0, sizeof(dirty));
	for (unsigned r = 0; r < REGIONS; r++)
		branch_dirty[r] = r * REGION / SET_REGION == 1 || r * REGION / SET_REGION == 3;
	fd = open(device, O_WRONLY | O_CLOEXEC);
	cr_assert_eq(pwrite(fd, branch_image, sizeof(branch_image), 0), sizeof(branch_image));
	close(fd);
	was_active = true;
}

/* Another member went on where both logs ended: only regions of either have to travel. */
static void return_of_a_branch(void)
{
	uint64_t at = m.lsn;

	live_as_active();
	seed_full = false;
	seed_since = at;
	m.epoch = hello.epoch = 3;
	hello.nr_history = 2;
	hello.history[1] = (struct frame_epoch){ 3, at };
	begin_part(at);
	logmake_epoch(&m, 3);
	log_writes(5, 3);
	hello.oldest_lsn = hello.end_lsn = m.lsn;
	log_writes(2, 4);
	log_seed();
}

/* The same beginning for every n; true when the work was done before the nth call. */
static bool crash_at(int n, void (*scene)(void))
{
	int rc;

	set_up();
	scene();
	rc = in_child(call, n);
	cr_assert(rc == 0 || rc == EXIT_CRASHED, "call %d: exit %d", n, rc);
	hello.end_lsn = m.lsn;
	log_writes(5, n);
	log_seed();
	cr_assert_eq(in_child(end_healthy, 0), 0, "call %d", n);
	tear_down();
	return !rc;
}

static void crash_everywhere(void (*scene)(void))
{
	int n = 1;

	while (!crash_at(n, scene))
		n++;
	cr_log_info("%d calls", n);
	cr_assert_gt(n, 15);
}

Test(passive_crash, changed_regions_at_every_call)
{
	crash_everywhere(regions_since_a_gap);
}

Test(passive_crash, full_seed_at_every_call)
{
	crash_everywhere(all_after_a_divergence);
}

Test(passive_crash, return_of_a_branch_at_every_call)
{
	crash_everywhere(return_of_a_branch);
}

static void others_seed(struct copy *c)
{
	struct copystate_data d;

	call(c);
	nap();
	copystate_get(c->state, &d);
	need(d.branch && d.branch_id == SET_ID, "another copy's seed was taken for a cure");
	need(status_of(c).state == DAG_COPY_RESYNCHRONIZING, "whole without a cure");
	check_branch(&d);
}

Test(passive_crash, a_seed_for_another_does_not_mend_a_branch)
{
	set_up();
	others_only = true;
	return_of_a_branch();
	cr_assert_eq(in_child(others_seed, 0), 0);
	/* Nor does it after a restart: what came is still in the log. */
	hello.end_lsn = m.lsn;
	cr_assert_eq(in_child(others_seed, 0), 0);
	others_only = false;
	log_seed();
	cr_assert_eq(in_child(end_healthy, 0), 0);
	tear_down();
}

static void durable_only(struct copy *c)
{
	call(c);
	need(status_of(c).state != DAG_COPY_HEALTHY, "Healthy before its seed has ended");
}

/*
 * A second gap, and what stood before the first is recycled: the log is begun anew, then
 * the state is written. It died between the two.
 */
Test(passive_crash, a_log_begun_anew_beside_the_state_of_the_first_gap)
{
	struct seglog_conf lc = { .seg_bytes = 4 * MIB, .spares = 1 };
	struct seglog *log;

	set_up();
	lc.dir = dir;
	seed_full = false;
	seed_since = m.lsn;
	go_untracked(m.lsn + 64 * 1000);
	log_writes(5, 2);
	parts[nr_parts - 1].end = m.lsn;
	others_only = true;		/* nothing is replayed yet */
	cr_assert_eq(in_child(durable_only, 0), 0);
	others_only = false;
	go_untracked(m.lsn + 64 * 1000);
	memcpy(lc.uuid, uuid, 16);
	cr_assert_eq(seglog_open(&lc, &log), 0);
	cr_assert_eq(seglog_reset(log, m.lsn), 0);
	seglog_close(log);
	log_writes(5, 3);
	log_seed();
	hello.end_lsn = m.lsn;
	cr_assert_eq(in_child(end_healthy, 0), 0);
	tear_down();
}

/* It dies again and again, and the active loses its log again meanwhile. */
Test(passive_crash, many_deaths_of_one_copy)
{
	unsigned seed = 4711;

	for (int round = 0; round < 6; round++) {
		set_up();
		regions_since_a_gap();
		seed_full = true;
		for (int death = 0; death < 5; death++) {
			int rc = in_child(call, 1 + rand_r(&seed) % 40);

			cr_assert(rc == 0 || rc == EXIT_CRASHED, "round %d: exit %d", round, rc);
			if (rand_r(&seed) % 2)
				go_untracked(m.lsn + 64 * 500);
			hello.end_lsn = m.lsn;
			log_writes(5, seed);
			log_seed();
		}
		cr_assert_eq(in_child(end_healthy, 0), 0, "round %d", round);
		tear_down();
	}
}
