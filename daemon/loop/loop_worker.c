// SPDX-License-Identifier: GPL-2.0
/*
 * loop_worker - fdatasync(2), fallocate(2) and, without libaio, reads and
 * writes beside a POSIX loop. One thread is enough: a log has one writer, and
 * syncs of one file queue up in the kernel anyhow.
 */
#include "daemon/loop/loop_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

struct worker {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	struct op_list in, out;		/* under mutex */
	bool stop;
	int event_fd;
};

static int work_run(struct op_state *s)
{
	void *addr = (void *)(uintptr_t)s->addr;
	ssize_t n = -1;

	errno = EINVAL;
	do {
		switch (s->kind) {
		case OP_FDATASYNC:
			n = fdatasync(s->fd);
			break;
		case OP_FALLOCATE:
			n = fallocate(s->fd, s->arg, s->off, s->len);
			break;
		case OP_PREAD:
			n = pread(s->fd, addr, s->len, s->off);
			break;
		case OP_PWRITE:
			n = pwrite(s->fd, addr, s->len, s->off);
			break;
		case OP_PWRITEV:
			n = pwritev(s->fd, addr, s->arg, s->off);
			break;
		}
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct loop_op *op;
	uint64_t one = 1;
	int res;

	pthread_setname_np(pthread_self(), "dag-worker");
	pthread_mutex_lock(&w->mutex);
	for (;;) {
		op = op_list_pop(&w->in);
		if (!op) {
			if (w->stop)
				break;
			pthread_cond_wait(&w->cond, &w->mutex);
			continue;
		}
		pthread_mutex_unlock(&w->mutex);
		res = work_run(op_state(op));
		pthread_mutex_lock(&w->mutex);
		op_state(op)->res = res;
		op_list_add(&w->out, op);
		/* a counter this far from its limit cannot refuse it */
		while (write(w->event_fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	}
	pthread_mutex_unlock(&w->mutex);
	return NULL;
}

int worker_create(int event_fd, struct worker **ret)
{
	struct worker *w = calloc(1, sizeof(*w));
	sigset_t all, old;
	int rc;

	if (!w)
		return -ENOMEM;
	w->event_fd = event_fd;
	pthread_mutex_init(&w->mutex, NULL);
	pthread_cond_init(&w->cond, NULL);
	/* signals are for the daemon's main thread */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc) {
		pthread_cond_destroy(&w->cond);
		pthread_mutex_destroy(&w->mutex);
		free(w);
		return -rc;
	}
	*ret = w;
	return 0;
}

void worker_destroy(struct worker *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->mutex);
	w->stop = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->mutex);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->cond);
	pthread_mutex_destroy(&w->mutex);
	free(w);
}

void worker_add(struct worker *w, struct loop_op *op)
{
	pthread_mutex_lock(&w->mutex);
	op_list_add(&w->in, op);
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->mutex);
}

bool worker_del(struct worker *w, struct loop_op *op)
{
	bool found;

	pthread_mutex_lock(&w->mutex);
	found = op_list_del(&w->in, op);
	pthread_mutex_unlock(&w->mutex);
	return found;
}

struct op_list worker_take(struct worker *w)
{
	struct op_list out;

	pthread_mutex_lock(&w->mutex);
	out = w->out;
	w->out = (struct op_list){ NULL, NULL };
	pthread_mutex_unlock(&w->mutex);
	return out;
}
