// SPDX-License-Identifier: GPL-2.0
/*
 * bench_commit - how long a commit takes: a write of 4 KiB and a flush that waits
 * until the copy has both durably, one after the other, between two members of one
 * program as in bench_loopback.
 *
 *	bench_commit [-n COMMITS] [-t] [-d DIR] [-b uring|posix]
 *
 * Side by side with what no such commit can do without: over a TCP connection of its
 * own the same bytes go to a thread that writes them with pwritev2(RWF_DSYNC) into a
 * file beside the log and answers with a frame as long as an ack. Both take turns of
 * 100, so that whatever else the machine does meets both. Prints one line of
 * key=value, times in microseconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "include/dag/wire.h"
#include "tests/lib/cluster.h"

#define DEVICE		(64 * 2048ull)	/* sectors */
#define PAYLOAD		4096u
#define RECORDS		(PAYLOAD + 2 * 64)	/* with both headers: of it, and the flush's */
#define BLOCKS		8192u		/* what the log would write */
#define TURN		100u
#define WARM_UP		200u

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* ---- the floor ----------------------------------------------------------------------- */

static struct {
	int end[2];		/* the caller's, the thread's */
	int file;
	pthread_t thread;
	void *block;
} fl;

static int all(int fd, void *buf, size_t len, bool out)
{
	for (size_t at = 0; at < len;) {
		ssize_t n = out ? send(fd, (char *)buf + at, len - at, MSG_NOSIGNAL) :
				  recv(fd, (char *)buf + at, len - at, 0);

		if (n <= 0)
			return -1;
		at += n;
	}
	return 0;
}

static void *floor_main(void *arg)
{
	struct iovec iov = { .iov_base = fl.block, .iov_len = BLOCKS };
	char ack[sizeof(struct dag_ack)] = { 0 };

	for (off_t off = 0; !all(fl.end[1], fl.block, RECORDS, false); off += BLOCKS)
		if (pwritev2(fl.file, &iov, 1, off % (64 << 20), RWF_DSYNC) != BLOCKS ||
		    all(fl.end[1], ack, sizeof(ack), true))
			break;
	return arg;
}

static int tcp_pair(int end[2])
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	end[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || end[0] < 0 || bind(fd, (struct sockaddr *)&sin, len) || listen(fd, 1) ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) ||
	    connect(end[0], (struct sockaddr *)&sin, len))
		return -errno;
	end[1] = accept(fd, NULL, NULL);
	close(fd);
	for (int i = 0; i < 2; i++)
		if (setsockopt(end[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
			return -errno;
	return 0;
}

static int floor_start(const char *dir)
{
	char path[512];
	int rc = tcp_pair(fl.end);

	snprintf(path, sizeof(path), "%s/floor", dir);
	fl.file = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	if (fl.file < 0)
		fl.file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	unlink(path);
	fl.block = aligned_alloc(4096, BLOCKS);
	if (rc || fl.file < 0 || !fl.block)
		return rc ? rc : -EIO;
	memset(fl.block, 0, BLOCKS);
	/* an overwrite, as of a segment that was prepared */
	for (off_t off = 0; off < 64 << 20; off += BLOCKS)
		if (pwrite(fl.file, fl.block, BLOCKS, off) != BLOCKS)
			return -EIO;
	return -pthread_create(&fl.thread, NULL, floor_main, NULL);
}

static void floor_stop(void)
{
	shutdown(fl.end[0], SHUT_RDWR);
	pthread_join(fl.thread, NULL);
	close(fl.end[0]);
	close(fl.end[1]);
	close(fl.file);
	free(fl.block);
}

static int floor_once(double *ret_us)
{
	static char bytes[RECORDS], ack[sizeof(struct dag_ack)];
	double from = now_us();

	if (all(fl.end[0], bytes, sizeof(bytes), true) || all(fl.end[0], ack, sizeof(ack), false))
		return -EIO;
	*ret_us = now_us() - from;
	return 0;
}

/* ---- the commit ------------------------------------------------------------------------ */

static struct cluster cl;

static int commit_once(struct tap_mem_dev *dev, uint64_t n, double *ret_us)
{
	static char bytes[PAYLOAD];
	uint64_t sector = n * 7919 % (DEVICE * 512 / PAYLOAD) * (PAYLOAD / 512);
	double from = now_us();
	int rc = tap_mem_write(dev, sector, bytes, PAYLOAD, false);

	rc = rc ? rc : tap_mem_flush(dev);
	*ret_us = now_us() - from;
	return rc;
}

static int run(unsigned commits, bool tls)
{
	double *dag = calloc(commits, sizeof(*dag)), *fw = calloc(commits, sizeof(*fw)), none;
	struct tap_mem_dev *dev = NULL;
	int rc = dag && fw ? 0 : -ENOMEM;

	rc = rc ? rc : cluster_await(&cl, 0, 1, "status", "Healthy", 60000);
	rc = rc ? rc : cluster_open(&cl, 0, &dev);
	if (dev)
		tap_mem_skip_device(dev, true);
	for (unsigned i = 0; !rc && i < WARM_UP; i++)
		rc = commit_once(dev, i, &none) ?: floor_once(&none);
	for (unsigned i = 0; !rc && i < 2 * commits; i++)
		rc = i / TURN % 2 ? floor_once(&fw[i / TURN / 2 * TURN + i % TURN]) :
				    commit_once(dev, i, &dag[i / TURN / 2 * TURN + i % TURN]);
	if (!rc) {
		qsort(dag, commits, sizeof(*dag), by_size);
		qsort(fw, commits, sizeof(*fw), by_size);
		printf("commits=%u security=%s p50_us=%.0f p99_us=%.0f floor_p50_us=%.0f "
		       "floor_p99_us=%.0f\n", commits, tls ? "tls" : "plain", dag[commits / 2],
		       dag[commits * 99 / 100], fw[commits / 2], fw[commits * 99 / 100]);
	}
	if (dev)
		tap_mem_dev_close(dev);
	free(dag);
	free(fw);
	return rc;
}

int main(int argc, char **argv)
{
	struct cluster_conf conf = {
		.nodes = 2, .sectors = DEVICE, .ring_mib = 16, .segment_mib = 64,
		.mode = DAGTAP_MODE_COMMIT, .ack_durable = true, .min_in_sync = 1,
		.late_ms_max = 60000, .full_timeout_ms = 60000, .security = STREAM_PLAIN,
		.dir = access("/dev/shm", W_OK) ? NULL : "/dev/shm",
	};
	unsigned commits = 2000;
	int opt, rc;

	while ((opt = getopt(argc, argv, "n:td:b:")) != -1) {
		switch (opt) {
		case 'n': commits = (unsigned)atoi(optarg); break;
		case 't': conf.security = STREAM_TLS; break;
		case 'd': conf.dir = optarg; break;
		case 'b': conf.backend = strcmp(optarg, "posix") ? LOOP_URING : LOOP_POSIX; break;
		default: return 2;
		}
	}
	if (!commits || commits % TURN) {
		fprintf(stderr, "-n: a multiple of %u\n", TURN);
		return 2;
	}
	log_set_level(LOG_LV_ERR);
	rc = cluster_start(&cl, &conf);
	if (!rc)
		rc = floor_start(cl.dir);
	if (!rc) {
		rc = run(commits, conf.security == STREAM_TLS);
		floor_stop();
	}
	if (rc)
		fprintf(stderr, "bench_commit: %s\n", strerror(-rc));
	cluster_stop(&cl);
	return rc ? 1 : 0;
}
