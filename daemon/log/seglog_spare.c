// SPDX-License-Identifier: GPL-2.0
/*
 * Spares: files of full size whose blocks have been written once, because an
 * overwrite costs half of what a write to a reserved block costs (the file
 * system need not record that the block has content now). A thread of low
 * priority makes them; segments that fall out of the log become spares again, as
 * many as were taken since some fell out last: to make them anew would write each
 * byte of a busy log twice. A log that has become quiet gives them back.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/log/segfile.h"
#include "daemon/log/seglog_int.h"

#define PREPARE_NAME	"prepare.tmp"
#define MAKE_NAME	"make.tmp"
#define IOPRIO_IDLE	(3 << 13)
#define RETRY_SEC	5

void spare_name(unsigned number, char ret_name[SEG_NAME_BYTES])
{
	snprintf(ret_name, SEG_NAME_BYTES, "spare-%u", number);
}

uint64_t seglog_bytes(const struct seglog *log)
{
	uint64_t bytes = log->conf.seg_bytes * (log->nr_spares + log->preparing + log->rolling);

	for (size_t i = 0; i < log->nr_segs; i++)
		bytes += log->segs[i]->meta.seg_bytes;
	return bytes;
}

static bool quota_allows_one(const struct seglog *log)
{
	return !log->conf.quota_bytes ||
	       seglog_bytes(log) + log->conf.seg_bytes <= log->conf.quota_bytes;
}

static int prepare_one(struct seglog *log)
{
	char name[SEG_NAME_BYTES];
	unsigned number;
	bool direct;
	int fd, rc;

	fd = segfile_make(log->dirfd, PREPARE_NAME, log->conf.seg_bytes, true, &direct);
	if (fd < 0)
		return fd;
	close(fd);
	pthread_mutex_lock(&log->lock);
	number = log->next_spare++;
	pthread_mutex_unlock(&log->lock);
	spare_name(number, name);
	rc = segfile_rename(log->dirfd, PREPARE_NAME, name);
	if (rc)
		return rc;
	pthread_mutex_lock(&log->lock);
	log->spare[log->nr_spares++] = number;
	pthread_mutex_unlock(&log->lock);
	return 0;
}

static void nap(struct seglog *log)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += RETRY_SEC;
	pthread_cond_timedwait(&log->wake, &log->lock, &until);
}

static void *prepare_thread(void *arg)
{
	struct seglog *log = arg;
	pid_t tid = (pid_t)syscall(SYS_gettid);

	pthread_setname_np(pthread_self(), "dag-spare");
	setpriority(PRIO_PROCESS, tid, 19);
	syscall(SYS_ioprio_set, 1, 0, IOPRIO_IDLE);
	pthread_mutex_lock(&log->lock);
	while (!log->stop) {
		int rc;

		if (log->nr_spares >= log->conf.spares || !quota_allows_one(log)) {
			pthread_cond_wait(&log->wake, &log->lock);
			continue;
		}
		log->preparing = true;
		pthread_mutex_unlock(&log->lock);
		rc = prepare_one(log);
		pthread_mutex_lock(&log->lock);
		log->preparing = false;
		pthread_cond_broadcast(&log->prepared);
		if (rc && !log->stop) {
			log_warn("log dir=%s cannot prepare a segment: %s", log->dir, strerror(-rc));
			nap(log);
		}
	}
	pthread_mutex_unlock(&log->lock);
	return NULL;
}

int spare_thread_start(struct seglog *log)
{
	int rc;

	if (!log->conf.spares)
		return 0;
	rc = pthread_create(&log->thread, NULL, prepare_thread, log);
	log->has_thread = !rc;
	return -rc;
}

void spare_thread_stop(struct seglog *log)
{
	if (!log->has_thread)
		return;
	pthread_mutex_lock(&log->lock);
	log->stop = true;
	pthread_cond_broadcast(&log->wake);
	pthread_mutex_unlock(&log->lock);
	pthread_join(log->thread, NULL);
	log->has_thread = false;
}

int spare_take(struct seglog *log, bool reset, char ret_name[SEG_NAME_BYTES])
{
	bool direct, have = false;

	pthread_mutex_lock(&log->lock);
	/* the one that is being written may be all the quota has left */
	while (!log->nr_spares && log->preparing && !quota_allows_one(log))
		pthread_cond_wait(&log->prepared, &log->lock);
	if (log->nr_spares) {
		spare_name(log->spare[--log->nr_spares], ret_name);
		have = true;
	} else if (!reset && !quota_allows_one(log)) {
		pthread_mutex_unlock(&log->lock);
		return -EDQUOT;
	}
	log->rolling = true;
	log->taken++;
	pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
	if (have)
		return segfile_open(log->dirfd, ret_name, false, &direct);
	/* an append has no time to write it: reserved blocks, and a slower segment */
	snprintf(ret_name, SEG_NAME_BYTES, MAKE_NAME);
	return segfile_make(log->dirfd, MAKE_NAME, log->conf.seg_bytes, reset, &direct);
}

unsigned spare_worth(struct seglog *log)
{
	unsigned taken = log->taken < SPARES_MAX ? log->taken : SPARES_MAX;

	log->taken = 0;
	/* what stands ready must not look as if the room were used up */
	if (log->conf.quota_bytes && seglog_bytes(log) > log->conf.quota_bytes / 2)
		return log->conf.spares;
	return taken > log->conf.spares ? taken : log->conf.spares;
}

void spare_drop_to(struct seglog *log, unsigned keep)
{
	char name[SEG_NAME_BYTES];

	for (;;) {
		pthread_mutex_lock(&log->lock);
		if (log->nr_spares <= keep) {
			pthread_mutex_unlock(&log->lock);
			return;
		}
		spare_name(log->spare[--log->nr_spares], name);
		pthread_mutex_unlock(&log->lock);
		segfile_unlink(log->dirfd, name);
	}
}

void spare_drop_all(struct seglog *log)
{
	spare_drop_to(log, 0);
}
