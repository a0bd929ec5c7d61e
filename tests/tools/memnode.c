// SPDX-License-Identifier: GPL-2.0
/*
 * memnode - a member of a group on the memory tap, with a writer: whole failovers
 * on one machine, without a kernel module.
 *	memnode --config FILE --store NAME [--acked FILE] [--period-us N] [--faults FILE]
 * It is the daemon itself; what stands for the module dies with the process, so
 * kill -9 is the death of a host. Devices are regular files.
 *
 * While the store is active here the writer writes one block after the other, each
 * with a number, and flushes it; the number of each flush that was acknowledged goes
 * to the file of --acked with the time (CLOCK_REALTIME).
 * When it begins it reads the device for the highest number that stands there:
 *	found STORE EPOCH NUMBER TIME_MS
 *	first STORE EPOCH NUMBER TIME_MS     the first write accepted here
 *	lost  STORE EPOCH NUMBER TIME_MS     refused, the writer looks again
 *
 * What stands in the file of --faults is looked at all the time:
 *	clock SECONDS    the wall clock is stepped by so much, as the program sees it
 *	slow MS          every write and sync of a file takes so much longer
 *	slowsync MS      the same, but for the log's writes
 *	fail 1           the disk refuses what the writer writes
 *	hang 1           it does not end it
 *	shut 1           the tap opens no gate
 *	still 1          the writer writes nothing for as long
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control/blockdev.h"
#include "daemon/group/engine.h"
#include "daemon/member.h"
#include "daemon/tap/dm.h"
#include "include/dag/crc32c.h"
#include "tests/lib/tap_mem.h"

#define BLOCK		4096
#define SLOTS		256	/* blocks that are written in turn */
#define MAGIC		0x6465626d756e6567ull

struct block {
	uint64_t magic, number;
	uint32_t crc, rsvd;
	uint8_t pad[BLOCK - 24];
};

_Static_assert(sizeof(struct block) == BLOCK, "block");

static const char *store_name;
static struct member *member;
static int acked_fd = -1;
static unsigned period_us = 1000;
static atomic_bool stop;
static char self[64];

/* ---- what the kernel would be asked ------------------------------------------ */

int __wrap_blockdev_size(const char *path, uint64_t *ret_bytes, char *err, size_t errlen);
int __wrap_blockdev_signature(const char *path, char *type, size_t typelen);
int __wrap_blockdev_use(const char *dm_name, struct blockdev_use *ret);
int __wrap_dm_dev_get(const char *name, struct dm_dev *ret);

int __wrap_blockdev_size(const char *path, uint64_t *ret_bytes, char *err, size_t errlen)
{
	struct stat st;

	if (stat(path, &st)) {
		snprintf(err, errlen, "%s: %s", path, strerror(errno));
		return -errno;
	}
	*ret_bytes = st.st_size;
	return 0;
}

int __wrap_blockdev_signature(const char *path, char *type, size_t typelen)
{
	return 0;
}

int __wrap_blockdev_use(const char *dm_name, struct blockdev_use *ret)
{
	memset(ret, 0, sizeof(*ret));
	return 0;
}

int __wrap_dm_dev_get(const char *name, struct dm_dev *ret)
{
	memset(ret, 0, sizeof(*ret));
	return 0;
}

/* ---- faults ---------------------------------------------------------------------- */

static const char *faults;
static atomic_long step_s, slow_ms, slowsync_ms, fail, hang, still, shut;
static __thread bool is_writer;

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
time_t __wrap_time(time_t *ret);
int __wrap_gettimeofday(struct timeval *tv, void *tz);
ssize_t __real_pwrite(int fd, const void *buf, size_t n, off_t off);
ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t off);
ssize_t __real_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = __real_clock_gettime(id, ts);

	if (id == CLOCK_REALTIME)
		ts->tv_sec += atomic_load(&step_s);
	return r;
}

time_t __wrap_time(time_t *ret)
{
	struct timespec ts;

	__wrap_clock_gettime(CLOCK_REALTIME, &ts);
	if (ret)
		*ret = ts.tv_sec;
	return ts.tv_sec;
}

int __wrap_gettimeofday(struct timeval *tv, void *tz)
{
	struct timespec ts;

	__wrap_clock_gettime(CLOCK_REALTIME, &ts);
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

int __wrap_diskwatch_read(const char *device, uint64_t *ret_ended, uint64_t *ret_in_flight);

/* What the block layer would count. */
int __wrap_diskwatch_read(const char *device, uint64_t *ret_ended, uint64_t *ret_in_flight)
{
	*ret_ended = 7;
	*ret_in_flight = atomic_load(&hang) ? 1 : 0;
	return 0;
}

static void dawdle(bool log)
{
	long ms = atomic_load(&slow_ms) + (log ? 0 : atomic_load(&slowsync_ms));

	while (is_writer && atomic_load(&hang))
		usleep(10000);
	if (ms)
		usleep(ms * 1000);
}

ssize_t __wrap_pwrite(int fd, const void *buf, size_t n, off_t off)
{
	dawdle(false);
	return __real_pwrite(fd, buf, n, off);
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	dawdle(true);
	return __real_pwritev2(fd, iov, n, off, flags);
}

int __wrap_fsync(int fd)
{
	dawdle(false);
	return __real_fsync(fd);
}

int __wrap_fdatasync(int fd)
{
	dawdle(false);
	return __real_fdatasync(fd);
}

static void look_at_faults(void)
{
	long clock_s = 0, slow = 0, sync = 0, fails = 0, hangs = 0, stills = 0, shuts = 0, value;
	char word[16];
	FILE *f = fopen(faults, "re");

	while (f && fscanf(f, "%15s %ld", word, &value) == 2) {
		if (!strcmp(word, "clock"))
			clock_s = value;
		else if (!strcmp(word, "slow"))
			slow = value;
		else if (!strcmp(word, "slowsync"))
			sync = value;
		else if (!strcmp(word, "fail"))
			fails = value;
		else if (!strcmp(word, "hang"))
			hangs = value;
		else if (!strcmp(word, "still"))
			stills = value;
		else if (!strcmp(word, "shut"))
			shuts = value;
	}
	if (f)
		fclose(f);
	atomic_store(&step_s, clock_s);
	atomic_store(&slow_ms, slow);
	atomic_store(&slowsync_ms, sync);
	atomic_store(&fail, fails);
	atomic_store(&hang, hangs);
	atomic_store(&still, stills);
	atomic_store(&shut, shuts);
}

/* What goes on, and what is shut, is not refused: only a gate that opens. */
static int role_or_not(struct tap *tap, struct dagtap_role_set *rs)
{
	if (atomic_load(&shut) && rs->role == DAGTAP_ROLE_ACTIVE && !rs->flags)
		return -EIO;
	return tap_mem_ops.role(tap, rs);
}

static void *faults_main(void *arg)
{
	const struct timespec pause = { .tv_nsec = 50000000 };

	while (!atomic_load(&stop)) {
		look_at_faults();
		nanosleep(&pause, NULL);
	}
	return NULL;
}

/* ---- the writer ------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
	struct timespec ts;

	__real_clock_gettime(CLOCK_REALTIME, &ts);	/* the test's, which is not stepped */
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

static void say(const char *what, uint32_t epoch, uint64_t number)
{
	printf("%s %s %u %llu %.3f\n", what, store_name, epoch, (unsigned long long)number,
	       now_ns() / 1e6);
	fflush(stdout);
}

static uint32_t crc_of(const struct block *b)
{
	return dag_crc32c(0, b, offsetof(struct block, crc));
}

/* The highest number on the device; a block that is not whole does not count. */
static int find_number(struct tap_mem_dev *dev, uint64_t *ret)
{
	static struct block b;
	uint64_t max = 0;

	for (unsigned i = 0; i < SLOTS; i++) {
		int r = tap_mem_read(dev, i * (BLOCK / 512), &b, BLOCK);

		if (r)
			return r;
		if (b.magic == MAGIC && b.crc == crc_of(&b) && b.number > max)
			max = b.number;
	}
	*ret = max;
	return 0;
}

static int write_one(struct tap_mem_dev *dev, uint64_t number)
{
	static struct block b = { .magic = MAGIC };
	int r;

	b.number = number;
	b.crc = crc_of(&b);
	if (atomic_load(&fail))
		tap_mem_fail_writes(dev, 1);
	r = tap_mem_write(dev, number % SLOTS * (BLOCK / 512), &b, BLOCK, false);
	return r ? r : tap_mem_flush(dev);
}

static void note_acked(uint64_t number)
{
	char line[64];
	int n;

	if (acked_fd < 0)
		return;
	n = snprintf(line, sizeof(line), "%llu %.3f\n", (unsigned long long)number, now_ns() / 1e6);
	if (write(acked_fd, line, n) != n)
		abort();
}

/* Is the store active here, as far as this member knows? */
static bool active_here(struct group_state *gs, uint8_t uuid[16], uint32_t *ret_epoch)
{
	struct engine *en = member_engine(member);
	struct group_store *st;

	if (en->ops->snapshot(en, gs))
		return false;
	st = group_find_store(gs, store_name);
	if (!st || strcmp(st->active, self))
		return false;
	memcpy(uuid, st->uuid, 16);
	*ret_epoch = st->epoch;
	return true;
}

static void write_on(struct tap_mem_dev *dev, uint32_t epoch)
{
	const struct timespec pause = { .tv_nsec = period_us * 1000L };
	uint64_t number;
	bool first = true;

	if (find_number(dev, &number))
		return;
	say("found", epoch, number);
	while (!atomic_load(&stop)) {
		if (atomic_load(&still)) {
			nanosleep(&pause, NULL);
			continue;
		}
		if (write_one(dev, number + 1))
			break;
		note_acked(++number);
		if (first)
			say("first", epoch, number);
		first = false;
		nanosleep(&pause, NULL);
	}
	if (!first)
		say("lost", epoch, number);
}

static void *writer_main(void *arg)
{
	const struct timespec pause = { .tv_nsec = 5000000 };
	struct tap_mem_dev *dev;
	struct group_state gs;
	uint8_t uuid[16];
	uint32_t epoch;

	is_writer = true;
	if (group_state_init(&gs))
		abort();
	while (!atomic_load(&stop)) {
		if (active_here(&gs, uuid, &epoch) && !tap_mem_dev_open(0, uuid, &dev)) {
			write_on(dev, epoch);
			tap_mem_dev_close(dev);
		}
		nanosleep(&pause, NULL);
	}
	group_state_free(&gs);
	return NULL;
}

/* ---- life --------------------------------------------------------------------------- */

static int usage(void)
{
	fprintf(stderr, "usage: memnode --config FILE --store NAME [--acked FILE] [--period-us N] "
		"[--faults FILE]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "store", required_argument, NULL, 's' },
		{ "acked", required_argument, NULL, 'a' },
		{ "period-us", required_argument, NULL, 'p' },
		{ "faults", required_argument, NULL, 'f' },
		{ }
	};
	static struct config cf;
	struct tap_ops ops = tap_mem_ops;
	struct member_conf mc = { .cf = &cf, .tap = &ops };
	const char *config = NULL;
	pthread_t writer, fault_thread;
	sigset_t set;
	char err[400];
	int c, sig;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'c')
			config = optarg;
		else if (c == 's')
			store_name = optarg;
		else if (c == 'a')
			acked_fd = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		else if (c == 'p')
			period_us = atoi(optarg);
		else if (c == 'f')
			faults = optarg;
		else
			return usage();
	}
	if (!config || !store_name)
		return usage();
	if (config_load(config, false, &cf, err, sizeof(err))) {
		fprintf(stderr, "memnode: %s\n", err);
		return EXIT_FAILURE;
	}
	log_set_level(cf.log_level);
	snprintf(self, sizeof(self), "%s", cf.member);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	ops.role = role_or_not;
	if (faults && pthread_create(&fault_thread, NULL, faults_main, NULL))
		return EXIT_FAILURE;
	if (member_start(&mc, &member) || pthread_create(&writer, NULL, writer_main, NULL))
		return EXIT_FAILURE;
	sigwait(&set, &sig);
	atomic_store(&stop, true);
	pthread_join(writer, NULL);
	if (faults)
		pthread_join(fault_thread, NULL);
	member_stop(member);
	return EXIT_SUCCESS;
}
