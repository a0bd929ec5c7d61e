// SPDX-License-Identifier: GPL-2.0
/*
 * loop_posix - the loop where io_uring is switched off.
 *
 * Happy path of one wait(): try what was submitted to sockets since the last
 * one, hand block reads and writes to libaio in one io_submit(2), poll(2) on
 * what is left, then collect. fdatasync and fallocate block: a worker thread
 * runs them. libaio and the worker both report through one eventfd.
 *
 * Failure modes
 *   no aio context	(limit of fs.aio-max-nr, filter) the worker reads and
 *			writes too.
 *   io_submit EAGAIN	the rest stays queued until something has ended.
 *   no worker thread	those ops are refused at submission.
 */
#include "daemon/loop/loop_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/loop/loop_worker.h"

#define AIO_RETRY_MS	10
#define PFD_WAKE	0
#define PFD_EVENT	1
#define PFD_OPS		2

struct posix {
	struct loop loop;
	struct op_list fresh;		/* sockets, not tried yet */
	struct op_list waiting;		/* in poll(2) */
	struct op_list timers;
	struct op_list aio_queue;
	unsigned aio_inflight;
	io_context_t aio;		/* 0: none, the worker does it */
	int event_fd;			/* of libaio and of the worker */
	struct worker *worker;		/* from the first op that needs it */
	struct pollfd *pfds;		/* depth + PFD_OPS */
	struct iocb **batch;		/* depth */
	struct io_event *events;	/* depth */
};

static struct posix *posix_of(struct loop *loop)
{
	return (struct posix *)loop;
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static void put(struct op_list *list, struct loop_op *op, enum op_where where)
{
	op_state(op)->where = where;
	op_list_add(list, op);
}

static int worker_submit(struct posix *p, struct loop_op *op)
{
	int rc;

	if (!p->worker) {
		rc = worker_create(p->event_fd, &p->worker);
		if (rc < 0)
			return rc;
	}
	op_state(op)->where = AT_WORK;
	worker_add(p->worker, op);
	return 0;
}

static int aio_add(struct posix *p, struct loop_op *op)
{
	struct op_state *s = op_state(op);
	void *addr = (void *)(uintptr_t)s->addr;

	if (!p->aio)
		return worker_submit(p, op);
	if (s->kind == OP_PREAD)
		io_prep_pread(&s->cb, s->fd, addr, s->len, s->off);
	else if (s->kind == OP_PWRITE)
		io_prep_pwrite(&s->cb, s->fd, addr, s->len, s->off);
	else
		io_prep_pwritev(&s->cb, s->fd, addr, s->arg, s->off);
	io_set_eventfd(&s->cb, p->event_fd);
	s->cb.data = op;
	put(&p->aio_queue, op, AT_AIO_QUEUE);
	return 0;
}

static int posix_submit(struct loop *loop, struct loop_op *op)
{
	struct posix *p = posix_of(loop);
	struct op_state *s = op_state(op);

	switch (s->kind) {
	case OP_TIMER:
		s->deadline_ns = now_ns() + s->off * 1000000;
		put(&p->timers, op, AT_TIMERS);
		return 0;
	case OP_POLL:
		put(&p->waiting, op, AT_WAITING);
		return 0;
	case OP_PREAD:
	case OP_PWRITE:
	case OP_PWRITEV:
		return aio_add(p, op);
	case OP_FDATASYNC:
	case OP_FALLOCATE:
		return worker_submit(p, op);
	default:
		put(&p->fresh, op, AT_FRESH);
		return 0;
	}
}

static void posix_cancel(struct loop *loop, struct loop_op *op)
{
	struct posix *p = posix_of(loop);
	struct op_list *list = NULL;

	switch (op_state(op)->where) {
	case AT_FRESH:
		list = &p->fresh;
		break;
	case AT_WAITING:
		list = &p->waiting;
		break;
	case AT_TIMERS:
		list = &p->timers;
		break;
	case AT_AIO_QUEUE:
		list = &p->aio_queue;
		break;
	case AT_WORK:
		if (worker_del(p->worker, op))
			loop_end(loop, op, -ECANCELED);
		return;
	}
	/* what the kernel has already ends with its own result */
	if (list && op_list_del(list, op))
		loop_end(loop, op, -ECANCELED);
}

/* The result, or -EAGAIN if the socket is not ready. */
static int socket_try(struct op_state *s)
{
	void *addr = (void *)(uintptr_t)s->addr;
	ssize_t n;

	do {
		if (s->kind == OP_RECV)
			n = recv(s->fd, addr, s->len, MSG_DONTWAIT);
		else if (s->kind == OP_SENDMSG)
			n = sendmsg(s->fd, addr, MSG_DONTWAIT | MSG_NOSIGNAL);
		else
			n = send(s->fd, addr, s->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}

static void try_fresh(struct posix *p)
{
	struct loop_op *op;
	int res;

	while ((op = op_list_pop(&p->fresh))) {
		res = socket_try(op_state(op));
		if (res == -EAGAIN)
			put(&p->waiting, op, AT_WAITING);
		else
			loop_end(&p->loop, op, res);
	}
}

static void aio_flush(struct posix *p)
{
	struct loop_op *op;
	int n, i, rc;

	while (p->aio_queue.head) {
		for (n = 0, op = p->aio_queue.head; op && n < (int)p->loop.depth; op = op->next)
			p->batch[n++] = &op_state(op)->cb;
		rc = io_submit(p->aio, n, p->batch);
		if (rc == -EAGAIN || rc == -EINTR || rc == 0)
			return;
		if (rc < 0) {
			/* speaks of the first one */
			loop_end(&p->loop, op_list_pop(&p->aio_queue), rc);
			continue;
		}
		for (i = 0; i < rc; i++)
			op_state(op_list_pop(&p->aio_queue))->where = AT_KERNEL;
		p->aio_inflight += rc;
	}
}

static void collect_events(struct posix *p)
{
	struct timespec none = { 0, 0 };
	struct op_list done;
	struct loop_op *op;
	uint64_t count;
	int i, n;

	if (read(p->event_fd, &count, sizeof(count)) < 0)
		return;
	if (p->aio_inflight) {
		n = io_getevents(p->aio, 0, p->aio_inflight, p->events, &none);
		for (i = 0; i < n; i++)
			loop_end(&p->loop, p->events[i].data, (int)(long)p->events[i].res);
		if (n > 0)
			p->aio_inflight -= n;
	}
	if (!p->worker)
		return;
	done = worker_take(p->worker);
	while ((op = op_list_pop(&done)))
		loop_end(&p->loop, op, op_state(op)->res);
}

static unsigned fill_pfds(struct posix *p)
{
	struct loop_op *op;
	struct op_state *s;
	unsigned n = PFD_OPS;

	p->pfds[PFD_WAKE] = (struct pollfd){ p->loop.wake_fd, POLLIN, 0 };
	p->pfds[PFD_EVENT] = (struct pollfd){ p->event_fd, POLLIN, 0 };
	for (op = p->waiting.head; op; op = op->next, n++) {
		s = op_state(op);
		p->pfds[n] = (struct pollfd){ .fd = s->fd };
		if (s->kind == OP_POLL)
			p->pfds[n].events = s->arg;
		else
			p->pfds[n].events = s->kind == OP_RECV ? POLLIN : POLLOUT;
	}
	return n;
}

/* The list is in the order of the pollfds. */
static void check_waiting(struct posix *p)
{
	struct op_list old = p->waiting;
	struct loop_op *op;
	unsigned i = PFD_OPS;
	int res;

	p->waiting = (struct op_list){ NULL, NULL };
	while ((op = op_list_pop(&old))) {
		short revents = p->pfds[i++].revents;

		if (!revents)
			res = -EAGAIN;
		else if (op_state(op)->kind == OP_POLL)
			res = revents & POLLNVAL ? -EBADF : revents;
		else
			res = socket_try(op_state(op));
		if (res == -EAGAIN)
			put(&p->waiting, op, AT_WAITING);
		else
			loop_end(&p->loop, op, res);
	}
}

static void check_timers(struct posix *p)
{
	struct op_list old = p->timers;
	struct loop_op *op;
	uint64_t now;

	if (!old.head)
		return;
	now = now_ns();
	p->timers = (struct op_list){ NULL, NULL };
	while ((op = op_list_pop(&old))) {
		if (op_state(op)->deadline_ns <= now)
			loop_end(&p->loop, op, 0);
		else
			put(&p->timers, op, AT_TIMERS);
	}
}

/* How long poll(2) may wait; -1 for ever. */
static int64_t wait_ns(struct posix *p, int timeout_ms)
{
	int64_t ns = timeout_ms < 0 ? -1 : timeout_ms * 1000000ll, left;
	struct loop_op *op;
	uint64_t now;

	if (p->loop.ended.head)
		return 0;
	if (p->aio_queue.head && !p->aio_inflight && (ns < 0 || ns > AIO_RETRY_MS * 1000000ll))
		ns = AIO_RETRY_MS * 1000000ll;
	if (!p->timers.head)
		return ns;
	now = now_ns();
	for (op = p->timers.head; op; op = op->next) {
		left = (int64_t)(op_state(op)->deadline_ns - now);
		if (left < 0)
			left = 0;
		if (ns < 0 || left < ns)
			ns = left;
	}
	return ns;
}

static int posix_wait(struct loop *loop, int timeout_ms)
{
	struct posix *p = posix_of(loop);
	struct timespec ts;
	unsigned n;
	int64_t ns;
	int rc;

	try_fresh(p);
	aio_flush(p);
	n = fill_pfds(p);
	ns = wait_ns(p, timeout_ms);
	ts = (struct timespec){ ns / 1000000000, ns % 1000000000 };
	rc = ppoll(p->pfds, n, ns < 0 ? NULL : &ts, NULL);
	if (rc < 0)
		return errno == EINTR ? 0 : -errno;
	if (p->pfds[PFD_WAKE].revents) {
		if (read(loop->wake_fd, &loop->wake_count, sizeof(loop->wake_count)) < 0)
			return -errno;
		atomic_store(&loop->woken, false);
	}
	if (p->pfds[PFD_EVENT].revents)
		collect_events(p);
	check_waiting(p);
	check_timers(p);
	return 0;
}

static int posix_reg(struct loop *loop, void *base, size_t len)
{
	(void)loop;
	(void)base;
	(void)len;
	return -EOPNOTSUPP;
}

static void posix_destroy(struct loop *loop)
{
	struct posix *p = posix_of(loop);

	worker_destroy(p->worker);
	if (p->aio)
		io_destroy(p->aio);
	if (p->event_fd >= 0)
		close(p->event_fd);
	free(p->pfds);
	free(p->batch);
	free(p->events);
	free(p);
}

static const struct loop_ops posix_ops = {
	.submit = posix_submit,
	.cancel = posix_cancel,
	.wait = posix_wait,
	.reg = posix_reg,
	.destroy = posix_destroy,
};

int loop_posix_create(unsigned depth, struct loop **ret)
{
	struct posix *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return -ENOMEM;
	p->loop.ops = &posix_ops;
	p->loop.depth = depth;
	p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = -errno;
	if (p->event_fd < 0)
		goto out;
	rc = -ENOMEM;
	p->pfds = calloc(depth + PFD_OPS, sizeof(*p->pfds));
	p->batch = calloc(depth, sizeof(struct iocb *));
	p->events = calloc(depth, sizeof(*p->events));
	if (!p->pfds || !p->batch || !p->events)
		goto out;
	/* best effort: the worker stands in */
	if (io_setup(depth, &p->aio) < 0)
		p->aio = NULL;
	*ret = &p->loop;
	return 0;
out:
	posix_destroy(&p->loop);
	return rc;
}
