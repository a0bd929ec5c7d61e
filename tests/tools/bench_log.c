// SPDX-License-Identifier: GPL-2.0
/*
 * bench_log DIR [MIB] [DEVICE] - how fast the log and the replay are beside the
 * disk they stand on.
 *
 *   append   batches of 1, 8, 32 and 256 records of 4 KiB, latency and rate, and
 *            the same with one pwritev2(RWF_DSYNC) over a written file (raw)
 *   replay   the same records, at random places, onto a file in DIR (or DEVICE,
 *            which is overwritten), from the log and from the ring; raw: O_DIRECT
 *            writes of 4 KiB at the same places, 32 in flight
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/segfile.h"
#include "daemon/replay/replay.h"
#include "daemon/store/copystate.h"
#include "tests/lib/logmake.h"

#define KIB4		4096u
#define RING_BYTES	(64u << 20)
#define LSN0		(1ull << 20)
#define DEPTH		32

static const uint8_t uuid[16] = "bench of the log";
static const char *dir, *device;
static uint64_t dev_sectors;
static unsigned records;

static char *path_in(const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		abort();
	return path;
}

static void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "bench_log: %s: %s\n", what, strerror(-rc));
	exit(1);
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static void tell(const char *what, unsigned batch, double *us, unsigned n, double bytes)
{
	double sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += us[i];
	qsort(us, n, sizeof(*us), by_value);
	printf("%-8s batch=%-4u p50_us=%-7.0f p99_us=%-7.0f MBps=%-6.0f records_per_s=%.0f\n", what,
	       batch, us[n / 2], us[n * 99 / 100], bytes / sum, n * batch * 1e6 / sum);
}

/* ---- append ------------------------------------------------------------- */

static struct seglog *open_log(const char *path)
{
	struct seglog_conf conf = { .dir = path, .seg_bytes = 64 << 20, .spares = 2 };
	struct seglog *log;

	memcpy(conf.uuid, uuid, sizeof(conf.uuid));
	must(seglog_open(&conf, &log), "open the log");
	must(seglog_reset(log, LSN0), "reset the log");
	sleep(2);	/* the spares */
	return log;
}

static void bench_append(unsigned batch, unsigned n)
{
	double *us = calloc(n, sizeof(*us)), bytes = 0;
	char *path = path_in("bench.log");
	struct seglog *log = open_log(path);
	struct seglog_ring ring;
	struct logmake m;

	logmake_init(&m, RING_BYTES, LSN0);
	ring = logmake_ring(&m);
	for (unsigned i = 0; i < n; i++) {
		uint64_t from = m.lsn;
		double at;

		for (unsigned k = 0; k < batch; k++)
			logmake_extent(&m, DAGTAP_REC_DATA, k * 8, 8, i);
		at = now_us();
		must(seglog_append(log, &ring, from, m.lsn), "append");
		us[i] = now_us() - at;
		bytes += m.lsn - from;
		if (i % 64 == 0)
			must(seglog_truncate_before(log, from), "truncate");
	}
	tell("append", batch, us, n, bytes);
	seglog_close(log);
	logmake_free(&m);
	free(path);
	free(us);
}

static void bench_raw_append(unsigned batch, unsigned n)
{
	const size_t len = (batch * (KIB4 + 64ul) + 2 * KIB4 - 1) & ~(KIB4 - 1ul);
	double *us = calloc(n, sizeof(*us));
	struct iovec iov = { .iov_base = aligned_alloc(KIB4, len), .iov_len = len };
	int dfd = open(dir, O_RDONLY | O_DIRECTORY), fd;
	off_t off = 0;
	bool direct;

	memset(iov.iov_base, 0x5a, len);
	fd = segfile_make(dfd, "bench.raw", 64 << 20, true, &direct);
	must(fd, "make a file");
	for (unsigned i = 0; i < n; i++) {
		double at = now_us();

		if (pwritev2(fd, &iov, 1, off, RWF_DSYNC) != (ssize_t)len)
			must(-errno, "write");
		us[i] = now_us() - at;
		off += len;
		if (off + (off_t)len > 64 << 20)
			off = 0;
	}
	tell("raw", batch, us, n, (double)len * n);
	segfile_unlink(dfd, "bench.raw");
	close(fd);
	close(dfd);
	free(iov.iov_base);
	free(us);
}

/* ---- replay ------------------------------------------------------------- */

static uint64_t place(unsigned i)
{
	return (i * 2654435761ull % (dev_sectors / 8)) * 8;
}

static void edit_start(struct copystate_data *d, void *ctx)
{
	d->replayed_lsn = LSN0;
}

static void feed(struct logmake *m, struct seglog *log, struct replay *rp)
{
	struct seglog_ring ring = logmake_ring(m);

	for (unsigned i = 0; i < records;) {
		uint64_t from = m->lsn;

		for (unsigned k = 0; k < 256 && i < records; k++, i++)
			logmake_extent(m, DAGTAP_REC_DATA, place(i), 8, i);
		if (rp && m->lsn > LSN0 + RING_BYTES / 2)
			replay_unpin(rp, m->lsn - RING_BYTES / 2);
		must(seglog_append(log, &ring, from, m->lsn), "append");
		if (rp)
			replay_advance(rp, m->lsn, UINT64_MAX);
	}
}

static void bench_replay(bool from_ring)
{
	char *path = path_in("bench.log"), *statefile = path_in("bench.state");
	struct seglog *log = open_log(path);
	struct replay_info info;
	struct replay *rp;
	struct logmake m;
	double at;

	unlink(statefile);
	logmake_init(&m, RING_BYTES, LSN0);
	struct replay_conf conf = {
		.device = device, .sectors = dev_sectors, .log = log, .depth = DEPTH,
		.checkpoint_ms = 1000,
	};
	must(copystate_open(statefile, uuid, true, &conf.state), "open the state");
	must(copystate_update(conf.state, edit_start, NULL), "write the state");
	if (from_ring)
		conf.ring = logmake_ring(&m);
	else
		feed(&m, log, NULL);
	must(replay_start(&conf, &rp), "start the replay");
	at = now_us();
	if (from_ring) {
		replay_advance(rp, LSN0, UINT64_MAX);
		feed(&m, log, rp);
	}
	replay_advance(rp, m.lsn, UINT64_MAX);
	must(replay_wait(rp, m.lsn, 600000), "replay");
	at = now_us() - at;
	replay_info(rp, &info);
	printf("replay   from=%-4s MBps=%-6.0f records_per_s=%-8.0f checkpoints=%llu skipped=%llu"
	       " from_ring=%.0f%%\n", from_ring ? "ring" : "log", (double)records * KIB4 / at,
	       records * 1e6 / at, (unsigned long long)info.checkpoints,
	       (unsigned long long)info.skipped_bytes,
	       100.0 * info.from_ring_bytes / (info.from_ring_bytes + info.from_log_bytes));
	replay_stop(rp);
	seglog_close(log);
	copystate_close(conf.state);
	unlink(statefile);
	logmake_free(&m);
	free(statefile);
	free(path);
}

static void raw_done(struct loop_op *op, int res)
{
	must(res == KIB4 ? 0 : res < 0 ? res : -EIO, "write");
}

static void bench_raw_replay(void)
{
	struct loop_op ops[DEPTH] = { 0 };
	uint8_t *buf = aligned_alloc(KIB4, KIB4);
	int fd = open(device, O_WRONLY | O_DIRECT);
	struct loop *loop;
	unsigned i = 0;
	bool busy = true;
	double at;

	must(fd < 0 ? -errno : 0, "open the device");
	memset(buf, 0x5a, KIB4);
	must(loop_create(LOOP_AUTO, DEPTH, &loop), "loop");
	at = now_us();
	while (i < records || busy) {
		busy = false;
		for (unsigned k = 0; k < DEPTH; k++) {
			if (!ops[k].busy && i < records) {
				ops[k].done = raw_done;
				must(loop_pwrite(loop, &ops[k], fd, buf, KIB4, place(i++) * 512), "submit");
			}
			busy |= ops[k].busy;
		}
		if (busy)
			must(loop_run(loop, -1), "run");
	}
	fdatasync(fd);
	at = now_us() - at;
	printf("raw      depth=%u MBps=%-6.0f writes_per_s=%.0f\n", DEPTH, (double)records * KIB4 / at,
	       records * 1e6 / at);
	loop_destroy(loop);
	close(fd);
	free(buf);
}

static void clean(void)
{
	char *path;

	if (asprintf(&path, "rm -rf '%s/bench.log'", dir) > 0 && system(path))
		perror("rm");
}

int main(int argc, char **argv)
{
	static const struct { unsigned batch, n; } runs[] = {
		{ 1, 1000 }, { 8, 1000 }, { 32, 500 }, { 256, 200 },
	};
	uint64_t mib = argc > 2 ? strtoull(argv[2], NULL, 10) : 256;
	bool direct;
	int dfd;

	if (argc < 2) {
		fprintf(stderr, "usage: bench_log DIR [MIB] [DEVICE]\n");
		return 2;
	}
	log_set_level(LOG_LV_WARN);
	dir = argv[1];
	dev_sectors = mib * 2048;
	records = mib * 256;
	dfd = open(dir, O_RDONLY | O_DIRECTORY);
	must(dfd < 0 ? -errno : 0, dir);
	for (unsigned i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
		bench_raw_append(runs[i].batch, runs[i].n);
		bench_append(runs[i].batch, runs[i].n);
	}
	device = argc > 3 ? argv[3] : path_in("bench.dev");
	if (argc <= 3)
		close(segfile_make(dfd, "bench.dev", mib << 20, true, &direct));
	bench_raw_replay();
	bench_replay(false);
	bench_replay(true);
	if (argc <= 3)
		segfile_unlink(dfd, "bench.dev");
	clean();
	return 0;
}
