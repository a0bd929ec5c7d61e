// SPDX-License-Identifier: GPL-2.0
/*
 * loop_uring - the loop over io_uring.
 *
 * Happy path: submit writes an SQE; wait() makes one io_uring_enter(2) that
 * submits all and waits, then takes every CQE. The ring is made disabled and
 * enabled by the first loop_run(): that thread is its single issuer.
 *
 * Failure modes
 *   set-up refused	flags are given up one by one; what remains is put in
 *			words, loop.c then goes on with POSIX.
 *   SEND_ZC refused	(kTLS, UNIX sockets, old kernel, memlock limit) the same
 *			op goes on as a plain send; a failed request may still
 *			owe its notification, so those are counted.
 *   EAGAIN		of a socket: wait for it first, try again.
 * The SQ holds twice the depth (an op and its cancel), the CQ four times (two
 * CQEs of a zero-copy send and one of its cancel): neither can run over.
 */
#include "daemon/loop/loop_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From 6.2 on; by value, the library's header is older. */
#define SEND_ZC_REPORT_USAGE	(1u << 3)
#define NOTIF_USAGE_COPIED	(1u << 31)

#define UD_IGNORE	0u		/* CQE of a cancel */
#define UD_WAKE		1u
#define FIXED_CHUNK	(1ull << 30)	/* largest registered buffer */
#define FIXED_CHUNKS	64u

struct uring {
	struct loop loop;
	struct io_uring ring;
	bool enabled;		/* by the thread that runs it */
	bool wake_armed;
	bool zc_report;		/* until the kernel refuses the flag */
	char *fixed_base;
	size_t fixed_len;
};

static struct uring *uring_of(struct loop *loop)
{
	return (struct uring *)loop;
}

static int uring_enable(struct uring *u)
{
	int rc;

	if (u->enabled)
		return 0;
	/* liburing 2.3 declares io_uring_enable_rings() but does not export it */
	rc = io_uring_register(u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (rc < 0)
		return rc;
	u->enabled = true;
	return 0;
}

static struct io_uring_sqe *uring_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (sqe || uring_enable(u) < 0)
		return sqe;
	/* only when the kernel left some of the last round: make room */
	if (io_uring_submit(&u->ring) < 0)
		return NULL;
	return io_uring_get_sqe(&u->ring);
}

/* Index of the registered buffer that has all of buf, or -1. */
static int fixed_index(const struct uring *u, const void *buf, size_t len)
{
	const char *p = buf;
	size_t off;

	if (!u->loop.caps.fixed || p < u->fixed_base)
		return -1;
	off = p - u->fixed_base;
	if (off > u->fixed_len || len > u->fixed_len - off || !len)
		return -1;
	if (off / FIXED_CHUNK != (off + len - 1) / FIXED_CHUNK)
		return -1;
	return off / FIXED_CHUNK;
}

static void prep_send_zc(struct uring *u, struct io_uring_sqe *sqe, struct op_state *s)
{
	unsigned flags = u->zc_report ? SEND_ZC_REPORT_USAGE : 0;
	void *buf = (void *)(uintptr_t)s->addr;
	int index = fixed_index(u, buf, s->len);

	if (index >= 0)
		io_uring_prep_send_zc_fixed(sqe, s->fd, buf, s->len, MSG_NOSIGNAL,
					    flags, index);
	else
		io_uring_prep_send_zc(sqe, s->fd, buf, s->len, MSG_NOSIGNAL, flags);
}

static void prep_rw(struct uring *u, struct io_uring_sqe *sqe, struct op_state *s)
{
	void *buf = (void *)(uintptr_t)s->addr;
	int index = fixed_index(u, buf, s->len);

	if (s->kind == OP_PREAD && index >= 0)
		io_uring_prep_read_fixed(sqe, s->fd, buf, s->len, s->off, index);
	else if (s->kind == OP_PREAD)
		io_uring_prep_read(sqe, s->fd, buf, s->len, s->off);
	else if (index >= 0)
		io_uring_prep_write_fixed(sqe, s->fd, buf, s->len, s->off, index);
	else
		io_uring_prep_write(sqe, s->fd, buf, s->len, s->off);
}

static void prep_other(struct io_uring_sqe *sqe, struct op_state *s)
{
	switch (s->kind) {
	case OP_POLL:
		io_uring_prep_poll_add(sqe, s->fd, (unsigned short)s->arg);
		break;
	case OP_TIMER:
		s->ts.tv_sec = s->off / 1000;
		s->ts.tv_nsec = s->off % 1000 * 1000000;
		io_uring_prep_timeout(sqe, &s->ts, 0, 0);
		break;
	case OP_PWRITEV:
		io_uring_prep_writev(sqe, s->fd, (const struct iovec *)(uintptr_t)s->addr,
				     s->arg, s->off);
		break;
	case OP_FDATASYNC:
		io_uring_prep_fsync(sqe, s->fd, IORING_FSYNC_DATASYNC);
		break;
	case OP_FALLOCATE:
		io_uring_prep_fallocate(sqe, s->fd, s->arg, s->off, s->len);
		break;
	}
}

static int uring_submit(struct loop *loop, struct loop_op *op)
{
	struct uring *u = uring_of(loop);
	struct op_state *s = op_state(op);
	struct io_uring_sqe *sqe = uring_sqe(u);
	void *addr = (void *)(uintptr_t)s->addr;

	if (!sqe)
		return -EAGAIN;
	switch (s->kind) {
	case OP_RECV:
		io_uring_prep_recv(sqe, s->fd, addr, s->len, 0);
		break;
	case OP_SENDMSG:
		io_uring_prep_sendmsg(sqe, s->fd, addr, MSG_NOSIGNAL);
		break;
	case OP_SEND_ZC:
		if (!(s->flags & OPF_NO_ZC)) {
			prep_send_zc(u, sqe, s);
			break;
		}
		/* fall through */
	case OP_SEND:
		/* never MSG_WAITALL: a kTLS socket refuses it */
		io_uring_prep_send(sqe, s->fd, addr, s->len, MSG_NOSIGNAL);
		break;
	case OP_PREAD:
	case OP_PWRITE:
		prep_rw(u, sqe, s);
		break;
	default:
		prep_other(sqe, s);
	}
	if (s->flags & OPF_POLL_FIRST)
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	io_uring_sqe_set_data(sqe, op);
	return 0;
}

static void uring_cancel(struct loop *loop, struct loop_op *op)
{
	struct io_uring_sqe *sqe = uring_sqe(uring_of(loop));

	if (!sqe) {
		/* the next cancel may find room */
		op_state(op)->flags &= ~OPF_CANCELLED;
		return;
	}
	io_uring_prep_cancel64(sqe, (uintptr_t)op, 0);
	io_uring_sqe_set_data64(sqe, UD_IGNORE);
}

static bool is_socket_op(const struct op_state *s)
{
	return s->kind <= OP_SEND_ZC;
}

/* True if op goes on with another attempt instead of ending with res. */
static bool uring_retry(struct uring *u, struct loop_op *op, int res)
{
	struct op_state *s = op_state(op);
	uint8_t flags = s->flags;

	if (res >= 0 || flags & OPF_CANCELLED || !is_socket_op(s))
		return false;
	if (res == -EAGAIN) {
		s->flags |= OPF_POLL_FIRST;
	} else if (s->kind == OP_SEND_ZC && !(flags & OPF_NO_ZC)) {
		if (res == -EINVAL && u->zc_report)
			u->zc_report = false;
		else if (res == -EINVAL || res == -EOPNOTSUPP ||
			 res == -ENOBUFS || res == -ENOMEM)
			s->flags |= OPF_NO_ZC;
		else
			return false;
	} else {
		return false;
	}
	if (uring_submit(&u->loop, op) == 0)
		return true;
	s->flags = flags;
	return false;
}

static void uring_cqe(struct uring *u, const struct io_uring_cqe *cqe)
{
	struct loop_op *op;
	int res = cqe->res;

	if (cqe->user_data == UD_IGNORE)
		return;
	if (cqe->user_data == UD_WAKE) {
		u->wake_armed = false;
		atomic_store(&u->loop.woken, false);
		return;
	}
	op = (struct loop_op *)(uintptr_t)cqe->user_data;
	if (cqe->flags & IORING_CQE_F_NOTIF) {
		if ((unsigned)res & NOTIF_USAGE_COPIED) {
			u->loop.stats.zc_copied++;
			op->copied = true;
		}
		loop_notified(&u->loop, op);
		return;
	}
	if (cqe->flags & IORING_CQE_F_MORE)
		op_state(op)->notifs++;
	if (uring_retry(u, op, res))
		return;
	if (op_state(op)->kind == OP_TIMER && res == -ETIME)
		res = 0;
	else if (op_state(op)->flags & OPF_CANCELLED && (res == -EAGAIN || res == -EINTR))
		res = -ECANCELED;
	loop_end(&u->loop, op, res);
}

static void uring_reap(struct uring *u)
{
	struct io_uring_cqe *cqes[64];
	unsigned n, i;

	while ((n = io_uring_peek_batch_cqe(&u->ring, cqes, 64)) > 0) {
		for (i = 0; i < n; i++)
			uring_cqe(u, cqes[i]);
		io_uring_cq_advance(&u->ring, n);
	}
}

static void uring_arm_wake(struct uring *u)
{
	struct io_uring_sqe *sqe;

	if (u->wake_armed)
		return;
	sqe = uring_sqe(u);
	if (!sqe)
		return;
	io_uring_prep_read(sqe, u->loop.wake_fd, &u->loop.wake_count,
			   sizeof(u->loop.wake_count), 0);
	io_uring_sqe_set_data64(sqe, UD_WAKE);
	u->wake_armed = true;
}

static int uring_wait(struct loop *loop, int timeout_ms)
{
	struct uring *u = uring_of(loop);
	struct __kernel_timespec ts = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = timeout_ms % 1000 * 1000000LL,
	};
	struct io_uring_cqe *cqe;
	int rc;

	rc = uring_enable(u);
	if (rc < 0)
		return rc;
	uring_arm_wake(u);
	if (timeout_ms == 0)
		rc = io_uring_submit_and_get_events(&u->ring);
	else if (timeout_ms < 0)
		rc = io_uring_submit_and_wait(&u->ring, 1);
	else
		rc = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
	uring_reap(u);
	/* short of memory for requests: the SQEs stay and go with the next round */
	if (rc == -ETIME || rc == -EINTR || rc == -EAGAIN || rc == -EBUSY)
		rc = 0;
	return rc < 0 ? rc : 0;
}

static int uring_reg(struct loop *loop, void *base, size_t len)
{
	struct uring *u = uring_of(loop);
	struct iovec iov[FIXED_CHUNKS];
	unsigned n = 0;
	size_t off;
	int rc;

	if (len > FIXED_CHUNK * FIXED_CHUNKS)
		return -E2BIG;
	for (off = 0; off < len; off += iov[n++].iov_len) {
		iov[n].iov_base = (char *)base + off;
		iov[n].iov_len = len - off < FIXED_CHUNK ? len - off : FIXED_CHUNK;
	}
	rc = io_uring_register_buffers(&u->ring, iov, n);
	if (rc < 0)
		return rc;
	u->fixed_base = base;
	u->fixed_len = len;
	return 0;
}

static void uring_destroy(struct loop *loop)
{
	struct uring *u = uring_of(loop);

	io_uring_queue_exit(&u->ring);
	free(u);
}

static const struct loop_ops uring_ops = {
	.submit = uring_submit,
	.cancel = uring_cancel,
	.wait = uring_wait,
	.reg = uring_reg,
	.destroy = uring_destroy,
};

/* Best flags first; an older kernel says EINVAL to what it does not know. */
static int uring_setup(struct io_uring *ring, unsigned depth, unsigned *ret_features)
{
	static const unsigned tries[] = {
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
		IORING_SETUP_SUBMIT_ALL,
		0,
	};
	struct io_uring_params p;
	int rc = -EINVAL;
	unsigned i;

	for (i = 0; i < sizeof(tries) / sizeof(tries[0]) && rc == -EINVAL; i++) {
		memset(&p, 0, sizeof(p));
		p.flags = tries[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE |
			  IORING_SETUP_CLAMP;
		p.cq_entries = 4 * depth + 8;
		rc = io_uring_queue_init_params(2 * depth + 2, ring, &p);
	}
	if (rc == 0)
		*ret_features = p.features;
	return rc;
}

static void say_why(int err, char *why, size_t cap)
{
	char value[8] = "?";
	FILE *f;

	switch (err) {
	case EPERM:
	case EACCES:
		f = fopen("/proc/sys/kernel/io_uring_disabled", "re");
		if (f) {
			if (fgets(value, sizeof(value), f))
				value[strcspn(value, "\n")] = 0;
			fclose(f);
		}
		snprintf(why, cap, "io_uring not permitted, kernel.io_uring_disabled=%s or a "
			 "system call filter", value);
		break;
	case ENOSYS:
		snprintf(why, cap, "kernel without io_uring or a system call filter");
		break;
	case ENOMEM:
		snprintf(why, cap, "io_uring: no memory, see RLIMIT_MEMLOCK");
		break;
	default:
		snprintf(why, cap, "io_uring: %s", strerror(err));
	}
}

/* 0 if the ring does all that the loop asks of it; sets *ret_zc. */
static int uring_probe(struct io_uring *ring, unsigned features, bool *ret_zc)
{
	static const int need[] = {
		IORING_OP_RECV, IORING_OP_SEND, IORING_OP_SENDMSG, IORING_OP_POLL_ADD,
		IORING_OP_TIMEOUT, IORING_OP_READ, IORING_OP_WRITE, IORING_OP_WRITEV,
		IORING_OP_FSYNC, IORING_OP_FALLOCATE, IORING_OP_ASYNC_CANCEL,
	};
	struct io_uring_probe *probe;
	int rc = 0;
	unsigned i;

	if (!(features & IORING_FEAT_NODROP) || !(features & IORING_FEAT_EXT_ARG))
		return -EOPNOTSUPP;
	probe = io_uring_get_probe_ring(ring);
	if (!probe)
		return -EOPNOTSUPP;
	for (i = 0; i < sizeof(need) / sizeof(need[0]); i++)
		if (!io_uring_opcode_supported(probe, need[i]))
			rc = -EOPNOTSUPP;
	*ret_zc = io_uring_opcode_supported(probe, IORING_OP_SEND_ZC);
	io_uring_free_probe(probe);
	return rc;
}

int loop_uring_create(unsigned depth, struct loop **ret, char *why, size_t cap)
{
	struct uring *u = calloc(1, sizeof(*u));
	unsigned features = 0;
	int rc;

	if (!u)
		return -ENOMEM;
	rc = uring_setup(&u->ring, depth, &features);
	if (rc < 0) {
		say_why(-rc, why, cap);
		goto out_free;
	}
	rc = uring_probe(&u->ring, features, &u->loop.caps.send_zc);
	if (rc < 0) {
		snprintf(why, cap, "io_uring of this kernel lacks operations");
		goto out_ring;
	}
	u->loop.ops = &uring_ops;
	u->zc_report = true;
	*ret = &u->loop;
	return 0;

out_ring:
	io_uring_queue_exit(&u->ring);
out_free:
	free(u);
	return rc;
}
