// SPDX-License-Identifier: GPL-2.0
/*
 * loop - the part that both backends have in common.
 *
 * Happy path: a submit function fills the op's state and hands it to the
 * backend; loop_run() lets the backend wait; what has ended stands on one list,
 * whose done() and released() are called last, so they may submit at will.
 *
 * Failure modes: a backend that cannot be made (io_uring switched off) gives
 * way to POSIX with the reason in caps; an op beyond the depth or of an op that
 * is still in use is refused at submission; everything later is the op's result.
 */
#include "daemon/loop/loop_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void op_list_add(struct op_list *list, struct loop_op *op)
{
	op->next = NULL;
	if (list->tail)
		list->tail->next = op;
	else
		list->head = op;
	list->tail = op;
}

struct loop_op *op_list_pop(struct op_list *list)
{
	struct loop_op *op = list->head;

	if (!op)
		return NULL;
	list->head = op->next;
	if (!list->head)
		list->tail = NULL;
	return op;
}

bool op_list_del(struct op_list *list, struct loop_op *op)
{
	struct loop_op *prev = NULL, *it;

	for (it = list->head; it && it != op; it = it->next)
		prev = it;
	if (!it)
		return false;
	if (prev)
		prev->next = op->next;
	else
		list->head = op->next;
	if (list->tail == op)
		list->tail = prev;
	return true;
}

static enum loop_backend backend_wanted(enum loop_backend want)
{
	const char *env = getenv("DAG_LOOP");

	if (want != LOOP_AUTO || !env)
		return want;
	if (!strcmp(env, "posix"))
		return LOOP_POSIX;
	if (!strcmp(env, "uring"))
		return LOOP_URING;
	return want;
}

int loop_create(enum loop_backend want, unsigned depth, struct loop **ret)
{
	char why[sizeof(((struct loop_caps *)0)->why)] = "not asked for";
	struct loop *loop = NULL;
	int fd, rc = -ENOSYS;

	if (!depth || depth > LOOP_DEPTH_MAX)
		return -EINVAL;
	fd = eventfd(0, EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	want = backend_wanted(want);
	if (want != LOOP_POSIX)
		rc = loop_uring_create(depth, &loop, why, sizeof(why));
	if (rc == 0) {
		loop->caps.backend = LOOP_URING;
	} else if (want != LOOP_URING) {
		rc = loop_posix_create(depth, &loop);
		if (rc == 0) {
			loop->caps.backend = LOOP_POSIX;
			snprintf(loop->caps.why, sizeof(loop->caps.why), "%s", why);
		}
	}
	if (rc < 0) {
		close(fd);
		return rc;
	}
	loop->wake_fd = fd;
	loop->depth = depth;
	*ret = loop;
	return 0;
}

void loop_destroy(struct loop *loop)
{
	int fd;

	if (!loop)
		return;
	assert(loop->inflight == 0 && !loop->ended.head);
	fd = loop->wake_fd;
	/* the backend first: its ring still reads the eventfd */
	loop->ops->destroy(loop);
	close(fd);
}

const struct loop_caps *loop_caps(const struct loop *loop)
{
	return &loop->caps;
}

void loop_stats(const struct loop *loop, struct loop_stats *ret)
{
	*ret = loop->stats;
}

bool loop_has_room(const struct loop *loop)
{
	return loop->inflight < loop->depth;
}

int loop_register(struct loop *loop, void *base, size_t len)
{
	int rc;

	if (!base || !len)
		return -EINVAL;
	if (loop->caps.fixed)
		return -EEXIST;
	rc = loop->ops->reg(loop, base, len);
	if (rc == 0)
		loop->caps.fixed = true;
	return rc;
}

static int op_start(struct loop *loop, struct loop_op *op, const struct op_state *init)
{
	int rc;

	if (op->busy || op->held)
		return -EALREADY;
	if (!loop_has_room(loop))
		return -EBUSY;
	*op_state(op) = *init;
	if (op_state(op)->len > LOOP_LEN_MAX && init->kind != OP_FALLOCATE)
		op_state(op)->len = LOOP_LEN_MAX;
	rc = loop->ops->submit(loop, op);
	if (rc < 0)
		return rc;
	op->busy = true;
	op->held = init->kind == OP_SEND_ZC;
	op->copied = false;
	loop->inflight++;
	return 0;
}

int loop_recv(struct loop *loop, struct loop_op *op, int fd, void *buf, size_t len)
{
	return op_start(loop, op, &(struct op_state){ .kind = OP_RECV, .fd = fd,
			.addr = (uintptr_t)buf, .len = len });
}

int loop_send(struct loop *loop, struct loop_op *op, int fd, const void *buf, size_t len)
{
	return op_start(loop, op, &(struct op_state){ .kind = OP_SEND, .fd = fd,
			.addr = (uintptr_t)buf, .len = len });
}

int loop_sendmsg(struct loop *loop, struct loop_op *op, int fd, const struct msghdr *msg)
{
	return op_start(loop, op, &(struct op_state){ .kind = OP_SENDMSG, .fd = fd,
			.addr = (uintptr_t)msg });
}

int loop_send_zc(struct loop *loop, struct loop_op *op, int fd, const void *buf, size_t len)
{
	return op_start(loop, op, &(struct op_state){ .kind = OP_SEND_ZC, .fd = fd,
			.flags = loop->caps.send_zc ? 0 : OPF_NO_ZC,
			.addr = (uintptr_t)buf, .len = len });
}

int loop_poll(struct loop *loop, struct loop_op *op, int fd, short events)
{
	return op_start(loop, op, &(struct op_state){ .kind = OP_POLL, .fd = fd,
			.arg = events });
}

int loop_timer(struct loop *loop, struct loop_op *op, uint64_t ms)
{
	if (ms > LOOP_TIMER_MS_MAX)
		ms = LOOP_TIMER_MS_MAX;
	return op_start(loop, op, &(struct op_state){ .kind = OP_TIMER, .fd = -1,
			.off = ms });
}

int loop_pread(struct loop *loop, struct loop_op *op, int fd, void *buf, size_t len, off_t off)
{
	return op_start(loop, op, &(struct op_state){ .kind = OP_PREAD, .fd = fd,
			.addr = (uintptr_t)buf, .len = len, .off = off });
}

int loop_pwrite(struct loop *loop, struct loop_op *op, int fd, const void *buf,
		size_t len, off_t off)
{
	return op_start(loop, op, &(struct op_state){ .kind = OP_PWRITE, .fd = fd,
			.addr = (uintptr_t)buf, .len = len, .off = off });
}

int loop_pwritev(struct loop *loop, struct loop_op *op, int fd, const struct iovec *iov,
		 int n, off_t off)
{
	if (n <= 0)
		return -EINVAL;
	return op_start(loop, op, &(struct op_state){ .kind = OP_PWRITEV, .fd = fd,
			.addr = (uintptr_t)iov, .arg = n, .off = off });
}

int loop_fdatasync(struct loop *loop, struct loop_op *op, int fd)
{
	return op_start(loop, op, &(struct op_state){ .kind = OP_FDATASYNC, .fd = fd });
}

int loop_fallocate(struct loop *loop, struct loop_op *op, int fd, int mode, off_t off, off_t len)
{
	return op_start(loop, op, &(struct op_state){ .kind = OP_FALLOCATE, .fd = fd,
			.arg = mode, .off = off, .len = len });
}

void loop_complete(struct loop *loop, struct loop_op *op, int res)
{
	assert(!op->busy && !op->held);
	*op_state(op) = (struct op_state){ .kind = OP_COMPLETE, .fd = -1 };
	op->busy = true;
	loop_end(loop, op, res);
}

void loop_cancel(struct loop *loop, struct loop_op *op)
{
	struct op_state *s = op_state(op);

	if (!op->busy || s->flags & (OPF_ENDED | OPF_CANCELLED))
		return;
	s->flags |= OPF_CANCELLED;
	loop->ops->cancel(loop, op);
}

void loop_wake(struct loop *loop)
{
	uint64_t one = 1;
	int saved = errno;

	if (!atomic_exchange(&loop->woken, true) &&
	    write(loop->wake_fd, &one, sizeof(one)) < 0)
		atomic_store(&loop->woken, false);
	errno = saved;
}

static void count_send(struct loop *loop, const struct op_state *s, int res)
{
	if (s->kind != OP_SEND && s->kind != OP_SENDMSG && s->kind != OP_SEND_ZC)
		return;
	loop->stats.sends++;
	if (res < 0)
		return;
	loop->stats.bytes_sent += res;
	if (s->kind == OP_SEND_ZC && !(s->flags & OPF_NO_ZC))
		loop->stats.zc_sends++;
}

/* The operation of op has its result. */
void loop_end(struct loop *loop, struct loop_op *op, int res)
{
	struct op_state *s = op_state(op);

	assert(op->busy && !(s->flags & OPF_ENDED));
	s->res = res;
	s->flags |= OPF_ENDED;
	s->where = AT_NOWHERE;
	count_send(loop, s, res);
	op_list_add(&loop->ended, op);
}

/* One notification of a zero-copy send: the last one after done() releases. */
void loop_notified(struct loop *loop, struct loop_op *op)
{
	struct op_state *s = op_state(op);

	assert(op->held && s->notifs > 0);
	if (--s->notifs == 0 && !op->busy)
		op_list_add(&loop->ended, op);
}

/* 1 if done() was called, 0 if the op was only released. */
static int op_dispatch(struct loop *loop, struct loop_op *op)
{
	struct op_state *s = op_state(op);
	bool held = op->held, ended = op->busy;

	if (ended) {
		op->busy = false;
		loop->stats.ops++;
		if (!held && s->kind != OP_COMPLETE)
			loop->inflight--;
		op->done(op, s->res);
		/* without a hold the op is the caller's again, perhaps freed */
		if (!held)
			return 1;
	}
	if (s->notifs == 0) {
		op->held = false;
		loop->inflight--;
		if (op->released)
			op->released(op);
	}
	return ended;
}

int loop_run(struct loop *loop, int timeout_ms)
{
	struct op_list now;
	struct loop_op *op;
	int rc, n = 0;

	loop->stats.rounds++;
	rc = loop->ops->wait(loop, loop->ended.head ? 0 : timeout_ms);
	/* what done() completes by loop_complete() is for the next round */
	now = loop->ended;
	loop->ended = (struct op_list){ NULL, NULL };
	while ((op = op_list_pop(&now)))
		n += op_dispatch(loop, op);
	return rc < 0 ? rc : n;
}
