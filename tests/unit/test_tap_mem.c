// SPDX-License-Identifier: GPL-2.0
/*
 * The memory tap against the contract of include/uapi/dagtap.h. Most tests end
 * with the same question: does the log, applied in order, give the device?
 */
#include <criterion/criterion.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/ship/inspect.h"
#include "kmod/core/record.h"
#include "tests/lib/tap_mem.h"

#define SECTORS	16384u		/* 8 MiB */
#define REGION	(64u << 10)
#define TAG	77

static char device[64];
static struct tap_conf conf;
static const struct tap_ops *ops = &tap_mem_ops;
static struct tap *tap;
static struct dagtap_attach at;
static struct tap_mem_dev *dev;

static void setup(void)
{
	int fd;

	strcpy(device, "/tmp/dag-tap-XXXXXX");
	fd = mkstemp(device);
	cr_assert(fd >= 0 && !ftruncate(fd, SECTORS * 512 + 16 * 4096));
	close(fd);
	conf = (struct tap_conf) {
		.name = "t", .uuid = { 1, 2, 3 }, .device = device, .meta_device = device,
		.meta_block = SECTORS / 8, .sectors = SECTORS, .region_bytes = REGION,
		.ring_mib = 4,
	};
	cr_assert_eq(ops->format(&conf), 0);
	cr_assert_eq(ops->open(&conf, &tap, &at), 0);
	cr_assert_eq(tap_mem_dev_open(0, conf.uuid, &dev), 0);
	cr_assert_eq(ops->lease(1, DAGTAP_LEASE_FOREVER), 0);
}

static void teardown(void)
{
	if (dev)
		tap_mem_dev_close(dev);
	if (tap)
		ops->close(tap, false);
	tap_mem_crash_host(0);
	unlink(device);
}

TestSuite(tap_mem, .init = setup, .fini = teardown, .timeout = 60);

static int role(uint32_t to, uint32_t epoch, uint32_t flags, uint64_t *start)
{
	struct dagtap_role_set rs = {
		.role = to, .epoch = epoch, .tag = TAG, .flags = flags, .group_generation = 3,
		.start_lsn = start ? *start : 0,
	};
	int rc = ops->role(tap, &rs);

	if (start)
		*start = rs.start_lsn;
	return rc;
}

static void mode(uint32_t m, uint32_t full_ms, uint32_t park_ms)
{
	struct dagtap_mode_set ms = { .mode = m, .full_timeout_ms = full_ms,
				      .park_timeout_ms = park_ms };

	cr_assert_eq(ops->mode(tap, &ms), 0);
}

static struct dagtap_info info(void)
{
	struct dagtap_info i;

	cr_assert_eq(ops->info(tap, &i), 0);
	return i;
}

static void nap(unsigned ms)
{
	nanosleep(&(struct timespec) { .tv_nsec = ms * 1000000l }, NULL);
}

static void await_state(uint32_t state)
{
	for (int i = 0; i < 500 && info().state != state; i++)
		nap(10);
	cr_assert_eq(info().state, state, "state %u", info().state);
}

/* ---- a copy that follows the ring -------------------------------------------- */

static struct {
	struct inspect in;
	uint8_t image[SECTORS * 512];
	uint64_t pos;
	unsigned kinds[DAGTAP_STATE_KINDS], types[DAGTAP_REC_TYPES];
	uint32_t last_kind;
} copy;

static void copy_begin(uint64_t lsn)
{
	const struct tap_view *v = ops->view(tap);

	copy.in = (struct inspect) {
		.ring = { v->base, v->size }, .next = lsn, .sectors = SECTORS, .tag = TAG,
		.epoch_max = UINT32_MAX, .any_prev = true,
	};
	copy.pos = lsn;
}

static void copy_apply(const struct dagtap_rec *rec)
{
	const struct tap_view *v = ops->view(tap);
	uint64_t from = copy.pos + sizeof(*rec), off = le64toh(rec->sector) * 512;

	copy.types[rec->type]++;
	if (rec->type == DAGTAP_REC_STATE)
		copy.kinds[copy.last_kind = rec->kind]++;
	if (rec->type == DAGTAP_REC_DATA || rec->type == DAGTAP_REC_RESYNC)
		for (uint32_t i = 0; i < le32toh(rec->payload); i++)
			copy.image[off + i] = v->base[(from + i) & (v->size - 1)];
	if (rec->type == DAGTAP_REC_ZEROES ||
	    (rec->type == DAGTAP_REC_RESYNC && !rec->payload))
		memset(copy.image + off, 0, le32toh(rec->sectors) * 512ull);
}

/* Takes everything that is committed; frees it when told so. */
static void copy_follow(bool free_it)
{
	const struct tap_view *v = ops->view(tap);
	uint64_t end = __atomic_load_n(&v->hdr->commit_lsn, __ATOMIC_ACQUIRE);

	cr_assert_eq(inspect_feed(&copy.in, end, NULL, NULL), 0, "%s", copy.in.why);
	cr_assert_eq(copy.in.next, end, "half a record below commit_lsn");
	while (copy.pos < end) {
		struct dagtap_rec rec;

		memcpy(&rec, v->base + (copy.pos & (v->size - 1)), sizeof(rec));
		copy_apply(&rec);
		copy.pos += dagtap_rec_bytes(le32toh(rec.payload));
	}
	if (free_it)
		cr_assert_eq(ops->ack(tap, end, end, end), 0);
}

static void expect_equal(const char *what)
{
	static uint8_t real[SECTORS * 512];
	int fd = open(device, O_RDONLY);

	cr_assert_eq(pread(fd, real, sizeof(real), 0), (ssize_t)sizeof(real));
	close(fd);
	for (size_t i = 0; i < sizeof(real); i += 512)
		cr_assert_arr_eq(real + i, copy.image + i, 512, "%s: sector %zu", what, i / 512);
}

static uint8_t *noise(unsigned seed, size_t len)
{
	uint8_t *p = malloc(len);

	for (size_t i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		p[i] = (uint8_t)(seed >> 16);
	}
	return p;
}

static void activate(uint32_t epoch)
{
	uint64_t start = 0;

	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, epoch, 0, &start), 0);
	copy_begin(start);
}

static uint8_t block[4096];

/* ---- metadata ------------------------------------------------------------------ */

Test(tap_mem, refuses_foreign_or_missing_metadata)
{
	struct tap_conf c = conf;
	struct dagtap_attach a;
	struct tap *t;
	int fd;

	c.uuid[0] = 99;
	cr_assert_eq(ops->open(&c, &t, &a), -EILSEQ);
	c = conf;
	cr_assert_eq(ops->open(&c, &t, &a), -EBUSY, "attached already");
	c.uuid[0] = 98;
	c.meta_block = 0;
	cr_assert_eq(ops->open(&c, &t, &a), -EUCLEAN, "not formatted");
	cr_assert_eq(ops->format(&c), -EINVAL, "metadata over the data");
	c.meta_block = SECTORS / 8 + 14;
	cr_assert_eq(ops->format(&c), -ENOSPC);
	c.device = c.meta_device = "/tmp/dag-no-such-file";
	cr_assert_eq(ops->format(&c), -ENOENT);
	cr_assert_eq(ops->open(&c, &t, &a), -ENOENT);
	/* Every copy of the superblock damaged. */
	tap_mem_dev_close(dev);
	dev = NULL;
	cr_assert_eq(ops->close(tap, true), 0);
	tap = NULL;
	fd = open(device, O_WRONLY);
	cr_assert_eq(pwrite(fd, "x", 1, SECTORS * 512 + 50), 1);
	cr_assert_eq(ops->open(&conf, &tap, &a), 0, "one slot is enough");
	cr_assert_eq(ops->close(tap, true), 0);
	tap = NULL;
	cr_assert_eq(pwrite(fd, "x", 1, SECTORS * 512 + 4096 + 50), 1);
	cr_assert_eq(ops->open(&conf, &t, &a), -EUCLEAN);
	close(fd);
}

Test(tap_mem, attach_tells_what_there_is)
{
	struct dagtap_attach again;

	cr_assert_eq(at.epoch, 0);
	cr_assert_eq(at.crashed, 0);
	cr_assert_eq(at.role, DAGTAP_ROLE_PASSIVE);
	activate(1);
	cr_assert_eq(tap_mem_write(dev, 0, block, 4096, false), 0);
	copy_follow(false);
	cr_assert_eq(ops->close(tap, false), 0);
	cr_assert_eq(tap_mem_write(dev, 8, block, 4096, false), 0, "nobody listens, logged");
	cr_assert_eq(ops->open(&conf, &tap, &again), 0);
	cr_assert_eq(again.epoch, 1);
	cr_assert_eq(again.tag, TAG);
	cr_assert_eq(again.role, DAGTAP_ROLE_ACTIVE);
	cr_assert_eq(again.freed_lsn, 0);
	cr_assert_eq(again.commit_seq, 3);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 2, DAGTAP_ROLEF_RESUME, NULL), -ESTALE);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 1, DAGTAP_ROLEF_RESUME, NULL), 0);
	copy_follow(true);
	cr_assert_eq(copy.types[DAGTAP_REC_DATA], 2);
	expect_equal("after a re-attach");
}

/* ---- roles ----------------------------------------------------------------------- */

Test(tap_mem, passive_refuses_and_epochs_only_grow)
{
	uint64_t lsn = 64 * 100;

	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), -EIO);
	cr_assert_eq(tap_mem_flush(dev), -EIO);
	cr_assert_eq(tap_mem_read(dev, 0, block, 512), -EIO);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 0, 0, NULL), -ERANGE);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 5, DAGTAP_ROLEF_RESUME, NULL), -ESTALE);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 5, 8, NULL), -EINVAL);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 5, DAGTAP_ROLEF_CONTINUE, NULL), -ESTALE);
	cr_assert_eq(role(7, 5, 0, NULL), -EINVAL);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 5, 0, &lsn), 0);
	cr_assert_eq(lsn, 64 * 100);
	copy_begin(lsn);
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), 0);
	copy_follow(false);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 5, 0, NULL), -ERANGE);
	lsn = 64 * 100;
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 6, 0, &lsn), -ERANGE, "that LSN was given");
	cr_assert_eq(role(DAGTAP_ROLE_PASSIVE, 0, 0, &lsn), 0);
	copy_follow(true);
	cr_assert_eq(lsn, copy.pos);
	cr_assert_eq(copy.last_kind, DAGTAP_STATE_CLOSE);
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), -EIO);
	cr_assert_eq(role(DAGTAP_ROLE_FENCED, 0, 0, NULL), -EINVAL);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 6, 0, &lsn), 0);
	cr_assert_eq(role(DAGTAP_ROLE_FENCED, 0, 0, NULL), 0);
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), -EIO);
	cr_assert_eq(tap_mem_read(dev, 0, block, 512), 0, "reads pass");
}

Test(tap_mem, a_clean_end_goes_on_where_it_was)
{
	uint64_t lsn = 0, start = 0;

	activate(1);
	cr_assert_eq(tap_mem_write(dev, 0, block, 4096, false), 0);
	cr_assert_eq(role(DAGTAP_ROLE_PASSIVE, 0, 0, &lsn), 0);
	copy_follow(true);
	tap_mem_dev_close(dev);
	dev = NULL;
	cr_assert_eq(ops->close(tap, true), 0);
	cr_assert_eq(ops->open(&conf, &tap, &at), 0);
	cr_assert_eq(at.commit_lsn, lsn, "no jump");
	cr_assert_eq(at.epoch, 1);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 2, 0, &start), 0);
	cr_assert_eq(start, lsn);
}

/* ---- the log -------------------------------------------------------------------- */

Test(tap_mem, every_operation_reaches_the_log)
{
	uint8_t *big = noise(5, 3 << 20);

	activate(1);
	cr_assert_eq(tap_mem_write(dev, 1, big, 3 << 20, true), 0, "is split");
	cr_assert_eq(tap_mem_flush(dev), 0);
	cr_assert_eq(tap_mem_zeroes(dev, 100, 300), 0);
	cr_assert_eq(tap_mem_discard(dev, 5000, 64), 0);
	copy_follow(true);
	cr_assert_eq(copy.types[DAGTAP_REC_DATA], 3);
	cr_assert_eq(copy.types[DAGTAP_REC_FLUSH], 1);
	cr_assert_eq(copy.types[DAGTAP_REC_ZEROES], 1);
	cr_assert_eq(copy.types[DAGTAP_REC_DISCARD], 1);
	expect_equal("each operation");
	cr_assert_eq(tap_mem_write(dev, SECTORS - 1, big, 1024, false), -EIO);
	cr_assert_eq(tap_mem_zeroes(dev, SECTORS, 1), -EIO);
	cr_assert_eq(tap_mem_read(dev, 1, big, 4096), 0);
	free(big);
}

static _Atomic unsigned alive;

static void *writer(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	uint8_t *buf = noise(seed, 65536);

	for (int i = 0; i < 3000; i++) {
		uint32_t sectors = 1 + rand_r(&seed) % 24, at_sector = rand_r(&seed) % 512;
		int rc;

		memset(buf, rand_r(&seed), 16);
		if (rand_r(&seed) % 16)
			rc = tap_mem_write(dev, at_sector, buf, sectors * 512, !(rand_r(&seed) % 8));
		else
			rc = tap_mem_zeroes(dev, at_sector, sectors);
		cr_assert_eq(rc, 0);
	}
	free(buf);
	alive--;
	return NULL;
}

/* Overlapping writers from four threads through a ring that wraps many times. */
Test(tap_mem, concurrent_overlapping_writers)
{
	pthread_t t[4];

	activate(1);
	alive = 4;
	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, writer, (void *)(i + 1));
	while (alive)
		copy_follow(true);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	copy_follow(true);
	expect_equal("overlapping writers");
	cr_assert_gt(info().overlaps, 0);
	cr_assert_gt(copy.pos, 8ull << 20);
}

/* ---- commit and sync mode ----------------------------------------------------------- */

static _Atomic int flush_rc;

static void *flusher(void *arg)
{
	flush_rc = arg ? tap_mem_write(dev, 0, block, 512, true) : tap_mem_flush(dev);
	return NULL;
}

static void start_flush(pthread_t *t, bool fua)
{
	flush_rc = 1;
	pthread_create(t, NULL, flusher, fua ? block : NULL);
	for (int i = 0; i < 500 && info().held == 0; i++)
		nap(2);
	nap(20);
	cr_assert_eq(info().held, 1);
	cr_assert_eq(flush_rc, 1, "it did not wait");
}

Test(tap_mem, commit_mode_holds_flush_and_fua)
{
	pthread_t t;
	uint64_t end;

	activate(1);
	mode(DAGTAP_MODE_COMMIT, 1000, 1000);
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), 0, "a plain write flows");
	for (int fua = 0; fua < 2; fua++) {
		start_flush(&t, fua);
		end = info().commit_lsn;
		cr_assert_eq(ops->ack(tap, 0, end - 64, 0), 0);
		nap(20);
		cr_assert_eq(flush_rc, 1, "acked too early");
		cr_assert_eq(ops->ack(tap, 0, end, 0), 0);
		pthread_join(t, NULL);
		cr_assert_eq(flush_rc, 0);
	}
	start_flush(&t, false);
	mode(DAGTAP_MODE_ASYNC, 1000, 1000);
	pthread_join(t, NULL);
	cr_assert_eq(flush_rc, 0, "nobody asks for an ack any more");
	mode(DAGTAP_MODE_COMMIT, 1000, 1000);
	start_flush(&t, false);
	cr_assert_eq(role(DAGTAP_ROLE_PASSIVE, 0, 0, NULL), 0);
	pthread_join(t, NULL);
	cr_assert_eq(flush_rc, -EIO, "an unacked commit must not look like one that is");
}

Test(tap_mem, acks_are_checked)
{
	uint64_t end;

	activate(1);
	cr_assert_eq(tap_mem_write(dev, 0, block, 4096, false), 0);
	end = info().commit_lsn;
	cr_assert_eq(ops->ack(tap, end + 64, 0, 0), -ERANGE);
	cr_assert_eq(ops->ack(tap, 0, end + 64, 0), -ERANGE);
	cr_assert_eq(ops->ack(tap, 0, 0, end + 64), -ERANGE);
	cr_assert_eq(ops->ack(tap, 1, 0, 0), -EINVAL);
	cr_assert_eq(ops->ack(tap, end, end, end), 0);
	cr_assert_eq(ops->ack(tap, end - 64, end, end), -ERANGE);
	cr_assert_eq(ops->ack(tap, end, end - 64, end), -ERANGE);
	cr_assert_eq(ops->ack(tap, end, end, end - 64), -ERANGE);
	cr_assert_eq(info().freed_lsn, end);
}

/* ---- full ring ------------------------------------------------------------------------ */

static void resync_all(void)
{
	struct dagtap_regions rg = { .count = SECTORS * 512 / REGION };
	uint8_t bits[SECTORS * 512 / REGION / 8];
	uint64_t lsn;
	int rc;

	rg.bitmap = (uintptr_t)bits;
	cr_assert_eq(ops->regions(tap, &rg), 0);
	for (unsigned i = 0; i < rg.count; i++) {
		if (!(bits[i / 8] >> i % 8 & 1))
			continue;
		while ((rc = ops->resync(tap, i * (REGION / 512), REGION, &lsn)) == -EAGAIN)
			copy_follow(true);
		cr_assert_eq(rc, 0);
	}
}

Test(tap_mem, resync_of_zeroes_carries_none)
{
	uint8_t *buf = noise(5, 4096);
	uint64_t before, lsn;

	activate(1);
	copy_follow(true);
	before = info().commit_lsn;
	cr_assert_eq(ops->resync(tap, 0, REGION, &lsn), 0);
	cr_assert_eq(lsn, before + sizeof(struct dagtap_rec));
	/* one byte that is not zero, at the end of the extent */
	memset(buf, 0, 4095);
	buf[4095] = 1;
	cr_assert_eq(tap_mem_write(dev, REGION / 512 - 8, buf, 4096, false), 0);
	before = info().commit_lsn;
	cr_assert_eq(ops->resync(tap, 0, REGION, &lsn), 0);
	cr_assert_eq(lsn, before + sizeof(struct dagtap_rec) + REGION);
	copy_follow(true);
	expect_equal("after both");
	free(buf);
}

/* Nobody uses it, and nobody has written to it since: it goes into the log unread. */
Test(tap_mem, what_is_unused_is_logged_unless_it_was_written)
{
	uint8_t *buf = noise(5, 4096);
	uint64_t since, lsn, next;

	activate(1);
	cr_assert_eq(tap_mem_write(dev, 0, buf, 4096, false), 0);
	cr_assert_eq(tap_mem_write(dev, 300, buf, 4096, false), 0);
	since = info().commit_lsn;
	cr_assert_eq(ops->unused(tap, 0, REGION / 2, since, &lsn), 0);
	cr_assert_eq(lsn, since + sizeof(struct dagtap_rec));
	cr_assert_eq(ops->unused(tap, REGION / 1024, REGION / 2, since, &next), -EBUSY,
		     "its own record stands above");
	cr_assert_eq(ops->unused(tap, REGION / 1024, REGION / 2, lsn, &next), 0);
	cr_assert_eq(ops->unused(tap, 256, REGION, since - 64, &lsn), -EBUSY, "written behind that");
	cr_assert_eq(tap_mem_write(dev, 20, buf, 4096, false), 0);
	cr_assert_eq(ops->unused(tap, 0, REGION, next, &lsn), -EBUSY, "written since");
	cr_assert_eq(tap_mem_discard(dev, 1000, 8), 0);
	cr_assert_eq(ops->unused(tap, 896, REGION, since, &lsn), -EBUSY, "discarded since");
	cr_assert_eq(ops->unused(tap, 0, 100, since, &lsn), -EINVAL);
	cr_assert_eq(ops->unused(tap, SECTORS, 4096, since, &lsn), -ERANGE);
	copy_follow(true);
	cr_assert_eq(ops->unused(tap, 2048, 2 << 20, since, &lsn), -EINVAL, "too large");
	free(buf);
}

Test(tap_mem, full_ring_then_tracking_then_restart)
{
	uint8_t *buf = noise(9, 1 << 20);
	struct dagtap_restart rs = { 0 };
	uint64_t generation = at.generation;

	activate(1);
	generation = info().generation;
	mode(DAGTAP_MODE_ASYNC, 200, 1000);
	cr_assert_eq(ops->restart(tap, &rs), -EALREADY);
	for (int i = 0; i < 8; i++)
		cr_assert_eq(tap_mem_write(dev, i * 2048, buf, 1 << 20, false), 0, "K4: no wait is for ever");
	await_state(DAGTAP_ST_TRACKING);
	cr_assert_gt(info().stalls, 0);
	cr_assert_eq(tap_mem_write(dev, 77, buf, 4096, false), 0, "writes go on unlogged");
	copy_follow(true);
	cr_assert_eq(ops->resync(tap, 0, 4096, &(uint64_t){ 0 }), -ESTALE);
	cr_assert_eq(ops->restart(tap, &rs), 0);
	cr_assert_neq(rs.generation, generation);
	cr_assert_eq(rs.start_lsn, copy.pos);
	copy_follow(true);
	cr_assert_eq(copy.last_kind, DAGTAP_STATE_GAP);
	cr_assert_eq(info().state, DAGTAP_ST_LOGGING);
	cr_assert_eq(tap_mem_write(dev, 9000, buf, 65536, false), 0);
	resync_all();
	copy_follow(true);
	expect_equal("after the resync");
	nap(500);
	cr_assert_eq(info().regions_dirty, 0, "all of it is acked");
	free(buf);
}

static void *delayed_follow(void *arg)
{
	nap(100);
	copy_follow(true);
	return NULL;
}

Test(tap_mem, a_full_ring_only_slows_down_while_somebody_acks)
{
	uint8_t *buf = noise(9, 1 << 20);
	pthread_t t;

	activate(1);
	mode(DAGTAP_MODE_ASYNC, 5000, 1000);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(tap_mem_write(dev, i * 2048, buf, 1 << 20, false), 0);
	pthread_create(&t, NULL, delayed_follow, NULL);
	cr_assert_eq(tap_mem_write(dev, 8192, buf, 1 << 20, false), 0);
	pthread_join(t, NULL);
	cr_assert_eq(info().state, DAGTAP_ST_LOGGING);
	cr_assert_eq(info().stalls, 1);
	copy_follow(true);
	expect_equal("after a stall");
	free(buf);
}

Test(tap_mem, detached_and_full_is_tracking_at_once)
{
	uint8_t *buf = noise(9, 1 << 20);

	activate(1);
	mode(DAGTAP_MODE_ASYNC, 60000, 1000);
	cr_assert_eq(ops->close(tap, false), 0);
	for (int i = 0; i < 6; i++)
		cr_assert_eq(tap_mem_write(dev, i * 2048, buf, 1 << 20, false), 0);
	cr_assert_eq(ops->open(&conf, &tap, &at), 0);
	cr_assert_eq(info().state, DAGTAP_ST_TRACKING);
	free(buf);
}

/* ---- lease ------------------------------------------------------------------------------ */

static uint64_t boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void *renewer(void *arg)
{
	nap(100);
	cr_assert_eq(ops->lease(2, DAGTAP_LEASE_FOREVER), 0);
	return NULL;
}

Test(tap_mem, lease_over_parks_then_fails)
{
	pthread_t t;
	uint64_t t0;

	activate(1);
	mode(DAGTAP_MODE_ASYNC, 1000, 300);
	cr_assert_eq(ops->lease(2, boot_ns() + 50000000), 0);
	cr_assert_eq(ops->lease(1, DAGTAP_LEASE_FOREVER), -ESTALE, "an older fence");
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), 0);
	await_state(DAGTAP_ST_LEASE);
	pthread_create(&t, NULL, renewer, NULL);
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), 0, "parked, then served");
	pthread_join(t, NULL);
	await_state(DAGTAP_ST_LOGGING);
	cr_assert_eq(ops->lease(3, 0), 0);
	t0 = boot_ns();
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), -EIO);
	cr_assert_geq(boot_ns() - t0, 200000000u);
	cr_assert_eq(info().role, DAGTAP_ROLE_FENCED);
	cr_assert_eq(ops->lease(3, DAGTAP_LEASE_FOREVER), 0);
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), -EIO, "fenced stays fenced");
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 1, DAGTAP_ROLEF_RESUME, NULL), 0);
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), 0);
}

/* ---- regions, crash, failure ------------------------------------------------------------- */

Test(tap_mem, bits_go_when_acked)
{
	activate(1);
	cr_assert_eq(tap_mem_write(dev, 0, block, 4096, false), 0);
	cr_assert_eq(tap_mem_write(dev, 4096, block, 4096, false), 0);
	cr_assert_eq(info().regions_dirty, 2);
	nap(400);
	cr_assert_eq(info().regions_dirty, 2, "not acked");
	copy_follow(true);
	nap(500);
	cr_assert_eq(info().regions_dirty, 0);
}

Test(tap_mem, regions_are_set_and_got)
{
	uint8_t bits[16] = { [1] = 0x81 };
	struct dagtap_regions rg = { .first = 8, .count = 120, .bitmap = (uintptr_t)bits,
				     .flags = DAGTAP_REGIONSF_SET };

	activate(1);
	cr_assert_eq(ops->regions(tap, &rg), 0);
	cr_assert_eq(rg.dirty, 2);
	rg = (struct dagtap_regions) { .count = 128, .bitmap = (uintptr_t)bits };
	cr_assert_eq(ops->regions(tap, &rg), 0);
	cr_assert_eq(rg.dirty, 2);
	cr_assert_eq(bits[2], 0x81);
	rg.count = 136;
	cr_assert_eq(ops->regions(tap, &rg), -ERANGE);
	rg.count = 8;
	rg.first = 4;
	cr_assert_eq(ops->regions(tap, &rg), -EINVAL);
	rg.first = 0;
	rg.flags = 4;
	cr_assert_eq(ops->regions(tap, &rg), -EINVAL);
	rg.flags = DAGTAP_REGIONSF_FORGET;
	cr_assert_eq(ops->regions(tap, &rg), -EINVAL, "it names a range");
	rg = (struct dagtap_regions) { .flags = DAGTAP_REGIONSF_FORGET };
	cr_assert_eq(ops->regions(tap, &rg), -EPERM, "not while it serves");
	cr_assert_eq(role(DAGTAP_ROLE_PASSIVE, 0, 0, NULL), 0);
	cr_assert_eq(ops->regions(tap, &rg), 0);
	cr_assert_eq(info().regions_dirty, 0);
}

/* Another member went on from a place below our end. */
Test(tap_mem, a_higher_epoch_goes_on_below_the_end)
{
	uint64_t cut, end, start;

	activate(1);
	cr_assert_eq(tap_mem_write(dev, 0, block, 4096, false), 0);
	cut = info().commit_lsn;
	cr_assert_eq(tap_mem_write(dev, 8, block, 4096, false), 0);
	end = info().commit_lsn;
	start = cut;
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 2, 0, &start), -ERANGE, "while the old one runs");
	cr_assert_eq(role(DAGTAP_ROLE_PASSIVE, 0, 0, NULL), 0);
	start = cut;
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 1, 0, &start), -ERANGE);
	start = cut;
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 2, 0, &start), 0);
	cr_assert_eq(info().commit_lsn, cut + 128);
	cr_assert_eq(info().freed_lsn, cut);
	copy_begin(cut);
	cr_assert_eq(tap_mem_write(dev, 16, block, 4096, false), 0);
	copy_follow(true);
	cr_assert_eq(copy.kinds[DAGTAP_STATE_EPOCH], 1);
	/* Bits of both epochs are let go of by acks of the new one. */
	nap(600);
	cr_assert_eq(info().regions_dirty, 0);
	/* After a crash the bound is still above everything that was ever given. */
	cr_assert_eq(tap_mem_write(dev, 16, block, 4096, false), 0);
	tap_mem_crash(0, conf.uuid);
	tap_mem_dev_close(dev);
	cr_assert_eq(ops->close(tap, false), 0);
	cr_assert_eq(ops->open(&conf, &tap, &at), 0);
	cr_assert_eq(tap_mem_dev_open(0, conf.uuid, &dev), 0);
	cr_assert_gt(at.commit_lsn, end);
	start = cut;
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 3, 0, &start), 0, "nor does a crash forbid it");
	cr_assert_eq(info().commit_lsn, cut + 128);
	cr_assert_eq(info().regions_dirty, 1);
}

/* The epoch changes, and nothing else does: not the ring, not a commit that waits. */
Test(tap_mem, an_epoch_begins_in_the_running_log)
{
	uint64_t start = 0, before, generation;
	pthread_t t;

	activate(1);
	mode(DAGTAP_MODE_COMMIT, 1000, 1000);
	cr_assert_eq(tap_mem_write(dev, 0, block, 4096, false), 0);
	start_flush(&t, false);
	before = info().commit_lsn;
	generation = info().generation;
	start = 64;
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 4, DAGTAP_ROLEF_CONTINUE, &start), -EINVAL);
	start = 0;
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 1, DAGTAP_ROLEF_CONTINUE, &start), -ERANGE);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 4, DAGTAP_ROLEF_CONTINUE, &start), 0);
	cr_assert_eq(start, before);
	cr_assert_eq(info().generation, generation);
	cr_assert_eq(info().freed_lsn, 0);
	cr_assert_eq(info().held, 1, "the commit still waits");
	cr_assert_eq(tap_mem_write(dev, 8, block, 4096, false), 0);
	copy_follow(true);
	pthread_join(t, NULL);
	cr_assert_eq(flush_rc, 0);
	cr_assert_eq(copy.kinds[DAGTAP_STATE_EPOCH], 2);
	cr_assert_eq(copy.in.epoch, 4);
	expect_equal("over two epochs");
	cr_assert_eq(role(DAGTAP_ROLE_FENCED, 0, 0, NULL), 0);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 5, DAGTAP_ROLEF_CONTINUE, NULL), 0, "lifts a fence");
	cr_assert_eq(tap_mem_write(dev, 16, block, 4096, false), 0);
	cr_assert_eq(role(DAGTAP_ROLE_PASSIVE, 0, 0, NULL), 0);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 6, DAGTAP_ROLEF_CONTINUE, NULL), -ESTALE);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 6, DAGTAP_ROLEF_CONTINUE | DAGTAP_ROLEF_GAP, NULL),
		     -EINVAL);
}

Test(tap_mem, a_crash_leaves_bits_and_a_jump)
{
	uint64_t before, start = 0;
	pthread_t t;

	activate(7);
	mode(DAGTAP_MODE_COMMIT, 1000, 1000);
	cr_assert_eq(tap_mem_write(dev, 0, block, 4096, false), 0);
	start_flush(&t, false);
	before = info().commit_lsn;
	tap_mem_crash(0, conf.uuid);
	pthread_join(t, NULL);
	cr_assert_eq(flush_rc, -EIO);
	cr_assert_eq(tap_mem_write(dev, 0, block, 4096, false), -EIO);
	cr_assert_eq(role(DAGTAP_ROLE_PASSIVE, 0, 0, NULL), -ENODEV);
	tap_mem_dev_close(dev);
	cr_assert_eq(ops->close(tap, false), 0);
	cr_assert_eq(ops->open(&conf, &tap, &at), 0);
	cr_assert_eq(tap_mem_dev_open(0, conf.uuid, &dev), 0);
	cr_assert_eq(at.crashed, 1);
	cr_assert_eq(at.epoch, 7);
	cr_assert_eq(at.role, DAGTAP_ROLE_PASSIVE);
	cr_assert_gt(at.commit_lsn, before);
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 7, 0, NULL), -ERANGE);
	start = before;
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 7, 0, &start), -ERANGE);
	start = 0;
	cr_assert_eq(role(DAGTAP_ROLE_ACTIVE, 8, DAGTAP_ROLEF_GAP, &start), 0);
	copy_begin(start);
	copy_follow(true);
	cr_assert_eq(copy.kinds[DAGTAP_STATE_EPOCH], 1);
	cr_assert_eq(copy.last_kind, DAGTAP_STATE_GAP);
	cr_assert_eq(info().regions_dirty, 1);
	resync_all();
	copy_follow(true);
	expect_equal("after crash and resync");
}

Test(tap_mem, a_failed_write_is_told_and_stays_dirty)
{
	activate(1);
	tap_mem_fail_writes(dev, 1);
	cr_assert_eq(tap_mem_write(dev, 0, block, 4096, false), -EIO);
	cr_assert_eq(tap_mem_write(dev, 0, block, 4096, false), 0);
	copy_follow(true);
	cr_assert_eq(copy.types[DAGTAP_REC_FAIL], 1);
	cr_assert_eq(info().regions_failed, 1);
	cr_assert_eq(info().io_errors, 1);
	nap(500);
	cr_assert_eq(info().regions_dirty, 1, "sticky");
	resync_all();
	cr_assert_eq(info().regions_failed, 0);
}

Test(tap_mem, marks_and_seeds)
{
	struct dagtap_mark mk = { .type = DAGTAP_REC_MARK, .bytes = 5, .payload = "hello" };

	cr_assert_eq(ops->mark(tap, &mk), -EPERM, "passive");
	activate(1);
	cr_assert_eq(ops->mark(tap, &mk), 0);
	cr_assert_eq(mk.lsn, info().commit_lsn);
	mk.bytes = DAGTAP_MARK_MAX + 1;
	cr_assert_eq(ops->mark(tap, &mk), -EINVAL);
	mk = (struct dagtap_mark) { .type = DAGTAP_REC_STATE, .kind = DAGTAP_STATE_EPOCH, .bytes = 64 };
	cr_assert_eq(ops->mark(tap, &mk), -EINVAL, "not the daemon's to say");
	mk.kind = DAGTAP_STATE_SEED_BEGIN;
	cr_assert_eq(ops->mark(tap, &mk), 0);
	mk.bytes = 32;
	cr_assert_eq(ops->mark(tap, &mk), -EINVAL);
	copy_follow(true);
	cr_assert_eq(copy.types[DAGTAP_REC_MARK], 1);
}

/* ---- the daemon's side of the ring --------------------------------------------------------- */

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

Test(tap_mem, wakes_a_sleeper_and_only_once)
{
	const struct tap_view *v = ops->view(tap);

	activate(1);
	ops->fd(tap);		/* what came so far has been looked at */
	cr_assert(readable(ops->fd(tap)), "the change of role, until INFO tells it");
	info();
	ops->fd(tap);
	cr_assert(!readable(ops->fd(tap)));
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), 0);
	cr_assert(readable(ops->fd(tap)), "came since the last look");
	cr_assert(!readable(ops->fd(tap)));
	v->user->want_wakeup = 1;
	int fd = ops->fd(tap);
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), 0);
	cr_assert(readable(fd), "asked for");
	v->user->want_wakeup = 0;
	ops->fd(tap);
	fd = ops->fd(tap);
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), 0);
	cr_assert(!readable(fd), "not asked for");
	cr_assert_eq(role(DAGTAP_ROLE_FENCED, 0, 0, NULL), 0);
	cr_assert(readable(fd), "a change of role is always told");
}

Test(tap_mem, the_ring_can_be_registered)
{
	const struct tap_view *v = ops->view(tap);
	struct io_uring ring;
	struct iovec iov = { v->file, v->file_bytes };

	cr_assert_eq(v->hdr->magic, DAGTAP_RING_MAGIC);
	cr_assert_eq(v->hdr->data_off, 8192);
	cr_assert_eq(v->base, v->file + 8192);
	cr_assert_eq(v->hdr->data_size, v->size);
	cr_assert_eq((uint8_t *)v->user, v->file + 4096);
	if (io_uring_queue_init(4, &ring, 0))
		cr_skip("no io_uring here");
	cr_assert_eq(io_uring_register_buffers(&ring, &iov, 1), 0);
	io_uring_queue_exit(&ring);
}

/* Two members in one program: same store, each with its own lease and ring. */
Test(tap_mem, hosts_are_apart)
{
	struct tap_conf c = conf;
	struct dagtap_attach a;
	char other[64];
	struct tap *t;
	int fd;

	strcpy(other, "/tmp/dag-tap-XXXXXX");
	fd = mkstemp(other);
	cr_assert(!ftruncate(fd, SECTORS * 512 + 16 * 4096));
	close(fd);
	c.device = c.meta_device = other;
	cr_assert_eq(tap_mem_host_ops[1].format(&c), 0);
	cr_assert_eq(tap_mem_host_ops[1].open(&c, &t, &a), 0);
	activate(1);
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), 0);
	tap_mem_crash_host(1);
	cr_assert_eq(tap_mem_write(dev, 0, block, 512, false), 0);
	cr_assert_eq(tap_mem_host_ops[1].close(t, false), 0);
	unlink(other);
}
