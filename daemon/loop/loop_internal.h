/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loop_internal - what loop.c shares with its two backends.
 *
 * loop.c fills an op's state, keeps the depth, and calls done() and released()
 * from one list of ended ops; a backend only starts ops and, in wait(), puts
 * those that ended on that list by loop_end().
 */
#ifndef DAG_LOOP_INTERNAL_H
#define DAG_LOOP_INTERNAL_H

#include <libaio.h>
#include <liburing.h>
#include <stdatomic.h>

#include "daemon/loop/loop.h"

/* Longest single transfer: the kernel's own limit is a page short of 2 GiB. */
#define LOOP_LEN_MAX	(1u << 30)
#define LOOP_DEPTH_MAX	8192u
/* A year: nanoseconds since boot cannot overflow. */
#define LOOP_TIMER_MS_MAX	(366ull * 86400 * 1000)

enum op_kind {
	OP_RECV, OP_SEND, OP_SENDMSG, OP_SEND_ZC, OP_POLL, OP_TIMER,
	OP_PREAD, OP_PWRITE, OP_PWRITEV, OP_FDATASYNC, OP_FALLOCATE,
	OP_COMPLETE,
};

enum op_flag {
	OPF_ENDED	= 1,	/* on the list of ended ops */
	OPF_CANCELLED	= 2,	/* cancel was asked for */
	OPF_NO_ZC	= 4,	/* send_zc that went on as a plain send */
	OPF_POLL_FIRST	= 8,	/* the socket said EAGAIN: wait before the next try */
};

/* Where a POSIX op is, to find it again on cancel. */
enum op_where { AT_NOWHERE, AT_FRESH, AT_WAITING, AT_TIMERS, AT_AIO_QUEUE, AT_KERNEL, AT_WORK };

/* Lives in op->priv[0..12]; priv[13] belongs to net/stream. */
struct op_state {
	uint8_t kind;
	uint8_t flags;
	uint8_t notifs;		/* zero-copy notifications still owed */
	uint8_t where;
	int fd;
	int res;
	int arg;		/* poll events, fallocate mode, number of iovecs */
	uint64_t addr;		/* buffer, msghdr or iovecs */
	uint64_t len;
	uint64_t off;
	union {
		struct iocb cb;			/* posix: disk */
		struct __kernel_timespec ts;	/* uring: timer */
		uint64_t deadline_ns;		/* posix: timer */
	};
} __attribute__((may_alias));

_Static_assert(sizeof(struct op_state) <= 13 * sizeof(uint64_t), "op_state fits in priv");

static inline struct op_state *op_state(struct loop_op *op)
{
	return (struct op_state *)op->priv;
}

struct op_list {
	struct loop_op *head, *tail;
};

void op_list_add(struct op_list *list, struct loop_op *op);
struct loop_op *op_list_pop(struct op_list *list);
bool op_list_del(struct op_list *list, struct loop_op *op);

struct loop_ops {
	int (*submit)(struct loop *loop, struct loop_op *op);
	void (*cancel)(struct loop *loop, struct loop_op *op);
	/* start what is queued, wait, loop_end() what has ended */
	int (*wait)(struct loop *loop, int timeout_ms);
	int (*reg)(struct loop *loop, void *base, size_t len);
	void (*destroy)(struct loop *loop);
};

/* First member of a backend's own struct. */
struct loop {
	const struct loop_ops *ops;
	struct loop_caps caps;
	struct loop_stats stats;
	unsigned depth, inflight;
	struct op_list ended;
	int wake_fd;		/* eventfd, blocking */
	uint64_t wake_count;
	atomic_bool woken;	/* written and not yet seen: saves the write */
};

/* Both untouched *ret on failure; why: in words, for struct loop_caps. */
int loop_uring_create(unsigned depth, struct loop **ret, char *why, size_t cap);
int loop_posix_create(unsigned depth, struct loop **ret);

void loop_end(struct loop *loop, struct loop_op *op, int res);
void loop_notified(struct loop *loop, struct loop_op *op);

#endif
