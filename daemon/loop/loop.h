/* SPDX-License-Identifier: GPL-2.0 */
/*
 * loop - asynchronous operations of one thread, over io_uring or, where that is
 * switched off, over poll(2), non-blocking sockets and libaio.
 *
 * An op is memory of the caller, in use from its submission until its done()
 * has been called; one op is one operation at a time. done() runs inside
 * loop_run() of the owning thread, never inside a submit function. Results are
 * >= 0 or -errno as the system call would give. Only loop_wake() may be called
 * from another thread.
 *
 * The thread of the first loop_run() owns the loop from then on; it may have
 * been created, registered and given its first ops in another one. What an op
 * points at (buffer, msghdr, iovecs) stays valid until done(). Sends and
 * receives may be short. A buffer longer than 1 GiB is cut.
 */
#ifndef DAG_LOOP_H
#define DAG_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct loop;
struct loop_op;

typedef void (*loop_done_fn)(struct loop_op *op, int res);

struct loop_op {
	loop_done_fn done;
	/* send_zc only: the kernel no longer reads the buffer. Comes after done(),
	 * exactly once for each send_zc that was submitted, failed ones included. */
	void (*released)(struct loop_op *op);
	bool busy;		/* submitted, done() not yet called */
	bool held;		/* send_zc: released() not yet called */
	bool copied;		/* send_zc, from released() on: the kernel copied it after all */
	/* the loop's own */
	struct loop_op *next;
	uint64_t priv[14];	/* the last one is net/stream's */
};

enum loop_backend { LOOP_AUTO, LOOP_URING, LOOP_POSIX };

struct loop_caps {
	enum loop_backend backend;
	bool send_zc;
	bool fixed;		/* loop_register() worked */
	char why[96];		/* why not io_uring, in words; empty if it is */
};

/*
 * depth: operations in flight at once, at most 8192; submit beyond it is -EBUSY
 * (a zero-copy send counts until released()), of an op still in use -EALREADY.
 * DAG_LOOP=uring or =posix in the environment takes the place of LOOP_AUTO.
 */
int loop_create(enum loop_backend want, unsigned depth, struct loop **ret);
void loop_destroy(struct loop *loop);		/* nothing may be in flight */
const struct loop_caps *loop_caps(const struct loop *loop);

/* Register one region (the tap's ring) for fixed sends and writes; optional. */
int loop_register(struct loop *loop, void *base, size_t len);

/*
 * Each returns 0 or -errno (then done() is not called). poll gives the events
 * that are ready, timer 0; a cancelled op -ECANCELED.
 */
int loop_recv(struct loop *loop, struct loop_op *op, int fd, void *buf, size_t len);
int loop_send(struct loop *loop, struct loop_op *op, int fd, const void *buf, size_t len);
int loop_sendmsg(struct loop *loop, struct loop_op *op, int fd, const struct msghdr *msg);
int loop_send_zc(struct loop *loop, struct loop_op *op, int fd, const void *buf, size_t len);
int loop_poll(struct loop *loop, struct loop_op *op, int fd, short events);
int loop_timer(struct loop *loop, struct loop_op *op, uint64_t ms);
int loop_pread(struct loop *loop, struct loop_op *op, int fd, void *buf, size_t len, off_t off);
int loop_pwrite(struct loop *loop, struct loop_op *op, int fd, const void *buf, size_t len, off_t off);
int loop_pwritev(struct loop *loop, struct loop_op *op, int fd, const struct iovec *iov, int n, off_t off);
int loop_fdatasync(struct loop *loop, struct loop_op *op, int fd);
/* FALLOC_FL_* on a block device: discard, write zeroes. May run in a worker. */
int loop_fallocate(struct loop *loop, struct loop_op *op, int fd, int mode, off_t off, off_t len);

/*
 * For layers above that had the result at once: done(op, res) in the next
 * loop_run(), which then does not wait. Never fails, does not count in depth.
 */
void loop_complete(struct loop *loop, struct loop_op *op, int res);
/* Would one more submission be accepted? */
bool loop_has_room(const struct loop *loop);

/* Ask for the end of op; done() still comes, with -ECANCELED or its result. */
void loop_cancel(struct loop *loop, struct loop_op *op);

/* Make a running or the next loop_run() return. Any thread, signal safe. */
void loop_wake(struct loop *loop);

/*
 * loop_run - submit what is queued, wait for at least one completion, wake-up or
 * timeout_ms (-1: for ever, 0: do not wait), call done() of all that ended.
 * Returns the number of completions, or -errno. One system call a round.
 */
int loop_run(struct loop *loop, int timeout_ms);

/* Counters for the proof that the steady state makes no call per record. */
struct loop_stats { uint64_t rounds, ops, sends, zc_sends, zc_copied, bytes_sent; };
void loop_stats(const struct loop *loop, struct loop_stats *ret);

#endif
