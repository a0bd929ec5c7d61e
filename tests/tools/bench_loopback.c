// SPDX-License-Identifier: GPL-2.0
/*
 * bench_loopback - the daemon's data path between two members of one program:
 * memory tap, ring, ship, TCP over loopback, receive, inspect, log, replay.
 *
 *	bench_loopback [-p PAYLOAD] [-s SECONDS] [-t] [-d DIR] [-b uring|posix]
 *		       [-m text|noise] [-z lz4|zstd] [-c]
 *
 * Prints one line of key=value. CPU time is that of the whole program: writer,
 * both members, log and replay; -c: a second line says which threads took it, in
 * seconds for each GiB (their work in the kernel included; what io_uring hands to
 * threads of its own is `iou`). A writer keeps the ring a quarter full, so that
 * neither it nor the spool is what is measured. -m: each write is another piece of
 * data that compresses well, or not at all; else all are the same. -z: the log goes
 * compressed; wire_ratio says by how much.
 */
#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/ship/compress.h"
#include "tests/lib/cluster.h"

#define MIB		2048ull		/* sectors */
#define DEVICE		(64 * MIB)
#define RING_MIB	64

/* ---- every allocation of the program is counted --------------------------------- */

static _Atomic uint64_t allocations;

#ifndef __SANITIZE_ADDRESS__
void *__libc_malloc(size_t len);
void *__libc_calloc(size_t n, size_t len);
void *__libc_realloc(void *p, size_t len);

void *malloc(size_t len)
{
	allocations++;
	return __libc_malloc(len);
}

void *calloc(size_t n, size_t len)
{
	allocations++;
	return __libc_calloc(n, len);
}

void *realloc(void *p, size_t len)
{
	allocations++;
	return __libc_realloc(p, len);
}
#endif

/* ---- load -------------------------------------------------------------------------- */

static struct cluster cl;
static struct tap_mem_dev *dev;
static uint32_t payload = 4096;
static _Atomic bool stop_load;
static _Atomic int load_error;
static _Atomic uint64_t written;	/* records since the start */
static uint8_t *pool;			/* NULL: every write is the same */

#define POOL	(32u << 20)		/* far beyond what a codec looks back */

/* Of 64 bytes, noise_bytes cannot be told in advance. */
static int make_pool(unsigned noise_bytes)
{
	static const char text[] = "The quick brown fox jumps over the lazy dog, row after row. 123";

	pool = malloc(POOL);
	for (size_t i = 0; pool && i < POOL; i++)
		pool[i] = i % 64 < noise_bytes ? (uint8_t)rand() : (uint8_t)text[i % 64];
	return pool ? 0 : -ENOMEM;
}

static void *writer(void *arg)
{
	uint64_t slots = DEVICE * 512 / payload, at = 0;
	uint8_t *buf = arg;

	pthread_setname_np(pthread_self(), "bench-writer");
	for (unsigned n = 0; !stop_load; n++) {
		const uint8_t *from = pool ? pool + n * 7919ull * 512 % (POOL - payload) : buf;
		int rc = tap_mem_write(dev, at * (payload / 512), from, payload, false);

		if (rc) {
			load_error = rc;
			break;
		}
		written++;
		at = (at + 7919) % slots;
		if (n % 64 == 0)
			while (tap_mem_used(dev) > RING_MIB << 18 && !stop_load)
				nanosleep(&(struct timespec) { .tv_nsec = 50000 }, NULL);
	}
	return NULL;
}

/* ---- which thread takes how much CPU time ------------------------------------------ */

#define COMMS	24

struct comm {
	char name[24];
	double secs;
};

/* Adds a thread's time to that of its name; "dag-ship" is told as ship. */
static void add_thread(struct comm *comms, const char *tid)
{
	char path[64], name[24] = "";
	unsigned long long ns;
	const char *at = name;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/comm", tid);
	f = fopen(path, "re");
	if (!f || !fgets(name, sizeof(name), f))
		name[0] = 0;
	if (f)
		fclose(f);
	name[strcspn(name, "\n")] = 0;
	if (!strncmp(name, "iou-", 4))
		name[3] = 0;
	at += strncmp(name, "dag-", 4) && strncmp(name, "bench-", 6) ? 0 : strcspn(name, "-") + 1;
	snprintf(path, sizeof(path), "/proc/self/task/%.16s/schedstat", tid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	if (f)
		fclose(f);
	for (int i = 0; i < COMMS; i++) {
		if (comms[i].name[0] && strcmp(comms[i].name, at))
			continue;
		snprintf(comms[i].name, sizeof(comms[i].name), "%s", at);
		comms[i].secs += (double)ns / 1e9;
		return;
	}
}

static void take_threads(struct comm *comms)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *d;

	memset(comms, 0, COMMS * sizeof(*comms));
	while (dir && (d = readdir(dir)))
		if (d->d_name[0] != '.')
			add_thread(comms, d->d_name);
	if (dir)
		closedir(dir);
}

static void report_threads(const struct comm *a, const struct comm *b, double gib)
{
	printf("threads_cpu_s_gib");
	for (int i = 0; i < COMMS && b[i].name[0]; i++) {
		double secs = b[i].secs;

		for (int j = 0; j < COMMS; j++)
			if (!strcmp(a[j].name, b[i].name))
				secs -= a[j].secs;
		if (secs / gib >= 0.005)
			printf(" %s=%.2f", b[i].name, secs / gib);
	}
	printf("\n");
}

/* ---- figures ------------------------------------------------------------------------- */

struct sample {
	double wall, cpu;
	uint64_t lsn, allocations, replayed, packed, wire;
};

static double seconds(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void take(struct sample *s)
{
	s->lsn = cluster_u64(&cl, 1, 1, "inspected_lsn");
	s->replayed = cluster_u64(&cl, 1, 1, "replayed_lsn");
	s->packed = cluster_u64(&cl, 0, 1, "compression_log_bytes");
	s->wire = cluster_u64(&cl, 0, 1, "compression_wire_bytes");
	s->allocations = allocations;
	s->wall = seconds(CLOCK_MONOTONIC);
	s->cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
}

static void report(const struct sample *a, const struct sample *b, bool tls)
{
	double wall = b->wall - a->wall, bytes = (double)(b->lsn - a->lsn);
	double records = bytes / (payload + 64), data = records * payload;

	printf("payload=%u security=%s codec=%s wire_ratio=%.2f seconds=%.2f mb_s=%.1f records_s=%.0f cpu_s_gib=%.2f "
	       "replay_mb_s=%.1f records=%.0f written=%llu allocations=%llu allocations_per_record=%.5f\n",
	       payload, tls ? "tls" : "plain", compress_name(cl.conf.codec),
	       b->wire > a->wire ? (double)(b->packed - a->packed) / (double)(b->wire - a->wire) : 1,
	       wall, data / wall / 1e6, records / wall,
	       (b->cpu - a->cpu) / (data / (1 << 30)),
	       (double)(b->replayed - a->replayed) / wall / 1e6, records,
	       (unsigned long long)written,
	       (unsigned long long)(b->allocations - a->allocations),
	       (double)(b->allocations - a->allocations) / records);
}

static int run(unsigned secs, bool tls, bool threads)
{
	struct comm before[COMMS], after[COMMS];
	uint8_t *buf = calloc(1, payload);
	struct sample a, b;
	pthread_t t;
	int rc;

	for (uint32_t i = 0; i < payload; i++)
		buf[i] = (uint8_t)rand();
	rc = cluster_await(&cl, 0, 1, "status", "Healthy", 60000);
	rc = rc ? rc : cluster_open(&cl, 0, &dev);
	if (rc)
		return rc;
	tap_mem_skip_device(dev, true);
	pthread_create(&t, NULL, writer, buf);
	cluster_nap(1000);
	take_threads(before);
	take(&a);
	cluster_nap(secs * 1000);
	take(&b);
	take_threads(after);
	stop_load = true;
	pthread_join(t, NULL);
	tap_mem_dev_close(dev);
	free(buf);
	if (!load_error)
		report(&a, &b, tls);
	if (!load_error && threads)
		report_threads(before, after, (double)(b.lsn - a.lsn) / (payload + 64) *
			       payload / (1 << 30));
	return load_error;
}

int main(int argc, char **argv)
{
	struct cluster_conf conf = {
		.nodes = 2, .sectors = DEVICE, .ring_mib = RING_MIB, .segment_mib = 64,
		.late_ms_max = 10000, .full_timeout_ms = 60000, .security = STREAM_PLAIN,
		.dir = access("/dev/shm", W_OK) ? NULL : "/dev/shm",
	};
	const char *material = NULL;
	unsigned secs = 5;
	bool threads = false;
	int opt, rc, codec_bad = 0;

	while ((opt = getopt(argc, argv, "p:s:td:b:m:z:c")) != -1) {
		switch (opt) {
		case 'p': payload = (uint32_t)atoi(optarg); break;
		case 's': secs = (unsigned)atoi(optarg); break;
		case 't': conf.security = STREAM_TLS; break;
		case 'd': conf.dir = optarg; break;
		case 'b': conf.backend = strcmp(optarg, "posix") ? LOOP_URING : LOOP_POSIX; break;
		case 'm': material = optarg; break;
		case 'z': codec_bad = compress_parse(optarg, &conf.codec); break;
		case 'c': threads = true; break;
		default: return 2;
		}
	}
	if (!payload || payload % 512 || payload > DAGTAP_PAYLOAD_MAX || !secs) {
		fprintf(stderr, "payload: a multiple of 512, up to 1 MiB\n");
		return 2;
	}
	if (codec_bad || (material && strcmp(material, "text") && strcmp(material, "noise"))) {
		fprintf(stderr, "-z: lz4 or zstd; -m: text or noise\n");
		return 2;
	}
	if (material && make_pool(strcmp(material, "text") ? 64 : 16))
		return 1;
	log_set_level(LOG_LV_ERR);
	rc = cluster_start(&cl, &conf);
	rc = rc ? rc : run(secs, conf.security == STREAM_TLS, threads);
	if (rc)
		fprintf(stderr, "bench_loopback: %s\n", strerror(-rc));
	cluster_stop(&cl);
	free(pool);
	return rc ? 1 : 0;
}
