// SPDX-License-Identifier: GPL-2.0
/*
 * bench_loopback - the daemon's data path between two members of one program:
 * memory tap, ring, ship, TCP over loopback, receive, inspect, log, replay.
 *
 *	bench_loopback [-p PAYLOAD] [-s SECONDS] [-t] [-d DIR] [-b uring|posix]
 *
 * Prints one line of key=value. CPU time is that of the whole program: writer,
 * both members, log and replay. A writer keeps the ring a quarter full, so that
 * neither it nor the spool is what is measured.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
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

static void *writer(void *arg)
{
	uint64_t slots = DEVICE * 512 / payload, at = 0;
	uint8_t *buf = arg;

	pthread_setname_np(pthread_self(), "bench-writer");
	for (unsigned n = 0; !stop_load; n++) {
		int rc = tap_mem_write(dev, at * (payload / 512), buf, payload, false);

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

struct sample {
	double wall, cpu;
	uint64_t lsn, allocations, replayed;
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
	s->allocations = allocations;
	s->wall = seconds(CLOCK_MONOTONIC);
	s->cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
}

static void report(const struct sample *a, const struct sample *b, bool tls)
{
	double wall = b->wall - a->wall, bytes = (double)(b->lsn - a->lsn);
	double records = bytes / (payload + 64), data = records * payload;

	printf("payload=%u security=%s seconds=%.2f mb_s=%.1f records_s=%.0f cpu_s_gib=%.2f "
	       "replay_mb_s=%.1f records=%.0f written=%llu allocations=%llu allocations_per_record=%.5f\n",
	       payload, tls ? "tls" : "plain", wall, data / wall / 1e6, records / wall,
	       (b->cpu - a->cpu) / (data / (1 << 30)),
	       (double)(b->replayed - a->replayed) / wall / 1e6, records,
	       (unsigned long long)written,
	       (unsigned long long)(b->allocations - a->allocations),
	       (double)(b->allocations - a->allocations) / records);
}

static int run(unsigned secs, bool tls)
{
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
	take(&a);
	cluster_nap(secs * 1000);
	take(&b);
	stop_load = true;
	pthread_join(t, NULL);
	tap_mem_dev_close(dev);
	free(buf);
	if (!load_error)
		report(&a, &b, tls);
	return load_error;
}

int main(int argc, char **argv)
{
	struct cluster_conf conf = {
		.nodes = 2, .sectors = DEVICE, .ring_mib = RING_MIB, .segment_mib = 64,
		.late_ms_max = 10000, .full_timeout_ms = 60000, .security = STREAM_PLAIN,
		.dir = access("/dev/shm", W_OK) ? NULL : "/dev/shm",
	};
	unsigned secs = 5;
	int opt, rc;

	while ((opt = getopt(argc, argv, "p:s:td:b:")) != -1) {
		switch (opt) {
		case 'p': payload = (uint32_t)atoi(optarg); break;
		case 's': secs = (unsigned)atoi(optarg); break;
		case 't': conf.security = STREAM_TLS; break;
		case 'd': conf.dir = optarg; break;
		case 'b': conf.backend = strcmp(optarg, "posix") ? LOOP_URING : LOOP_POSIX; break;
		default: return 2;
		}
	}
	if (!payload || payload % 512 || payload > DAGTAP_PAYLOAD_MAX || !secs) {
		fprintf(stderr, "payload: a multiple of 512, up to 1 MiB\n");
		return 2;
	}
	log_set_level(LOG_LV_ERR);
	rc = cluster_start(&cl, &conf);
	rc = rc ? rc : run(secs, conf.security == STREAM_TLS);
	if (rc)
		fprintf(stderr, "bench_loopback: %s\n", strerror(-rc));
	cluster_stop(&cl);
	return rc ? 1 : 0;
}
