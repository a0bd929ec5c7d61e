// SPDX-License-Identifier: GPL-2.0
/*
 * Every operation of the loop over both backends.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/falloc.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/loop/loop.h"

#define BOTH(name)							\
	static void name(enum loop_backend be);				\
	Test(loop_uring, name) { name(LOOP_URING); }			\
	Test(loop_posix, name) { name(LOOP_POSIX); }			\
	static void name(enum loop_backend be)

struct result {
	struct loop_op op;
	int res, calls, released;
	int order;		/* of the last done() */
};

static int clock_of_calls;

static void on_done(struct loop_op *op, int res)
{
	struct result *r = (struct result *)op;

	cr_assert(!op->busy);
	r->res = res;
	r->calls++;
	r->order = ++clock_of_calls;
}

static void on_released(struct loop_op *op)
{
	struct result *r = (struct result *)op;

	cr_assert(!op->held && !op->busy);
	cr_assert_eq(r->calls, 1, "released before done");
	r->released++;
}

static struct result fresh(void)
{
	return (struct result){ .op = { .done = on_done, .released = on_released },
				.res = 12345 };
}

static struct loop *make(enum loop_backend be, unsigned depth)
{
	struct loop *loop = NULL;
	int rc = loop_create(be, depth, &loop);

	if (be == LOOP_URING && (rc == -EPERM || rc == -ENOSYS))
		cr_skip_test("io_uring is off here");
	cr_assert_eq(rc, 0, "loop_create: %s", strerror(-rc));
	cr_assert_eq(loop_caps(loop)->backend, be);
	return loop;
}

static int wait_for(struct loop *loop, struct result *r)
{
	int i;

	for (i = 0; i < 200 && !r->calls; i++)
		cr_assert_geq(loop_run(loop, 50), 0);
	cr_assert_eq(r->calls, 1, "done() called %d times", r->calls);
	return r->res;
}

static void tcp_pair(int fds[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(l, (void *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(l, 1), 0);
	cr_assert_eq(getsockname(l, (void *)&a, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(connect(fds[0], (void *)&a, sizeof(a)), 0);
	fds[1] = accept(l, NULL, NULL);
	cr_assert_geq(fds[1], 0);
	close(l);
}

static int temp_file(int flags)
{
	char path[] = "/tmp/dag-loop-XXXXXX";
	int fd = mkstemp(path), fd2;

	cr_assert_geq(fd, 0);
	fd2 = open(path, O_RDWR | O_CLOEXEC | flags);
	if (fd2 < 0)
		fd2 = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_geq(fd2, 0);
	unlink(path);
	close(fd);
	return fd2;
}

BOTH(send_and_recv)
{
	struct loop *loop = make(be, 8);
	struct result r = fresh(), s = fresh();
	struct loop_stats st;
	char buf[16] = "";
	int fds[2];

	tcp_pair(fds);
	cr_assert_eq(loop_recv(loop, &r.op, fds[1], buf, sizeof(buf)), 0);
	cr_assert(r.op.busy);
	cr_assert_eq(loop_recv(loop, &r.op, fds[1], buf, sizeof(buf)), -EALREADY);
	cr_assert_eq(loop_run(loop, 0), 0);
	cr_assert_eq(loop_send(loop, &s.op, fds[0], "hello", 5), 0);
	cr_assert_eq(s.calls, 0, "done() inside submit");
	cr_assert_eq(wait_for(loop, &s), 5);
	cr_assert_eq(wait_for(loop, &r), 5);
	cr_assert_arr_eq(buf, "hello", 5);
	loop_stats(loop, &st);
	cr_assert_eq(st.sends, 1);
	cr_assert_eq(st.bytes_sent, 5);
	cr_assert_eq(st.ops, 2);
	/* orderly end */
	r = fresh();
	close(fds[0]);
	cr_assert_eq(loop_recv(loop, &r.op, fds[1], buf, sizeof(buf)), 0);
	cr_assert_eq(wait_for(loop, &r), 0);
	close(fds[1]);
	loop_destroy(loop);
}

/* Streams leave their sockets non-blocking: still no EAGAIN may come out. */
BOTH(recv_on_nonblocking_waits)
{
	struct loop *loop = make(be, 8);
	struct result r = fresh(), s = fresh();
	char buf[16], *big = calloc(1, 8 << 20), *sink = malloc(1 << 20);
	size_t got = 0;
	int fds[2];

	tcp_pair(fds);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	cr_assert_eq(loop_recv(loop, &r.op, fds[1], buf, sizeof(buf)), 0);
	cr_assert_eq(loop_run(loop, 30), 0);
	cr_assert_eq(r.calls, 0);
	cr_assert_eq(write(fds[0], "x", 1), 1);
	cr_assert_eq(wait_for(loop, &r), 1);
	/* the socket's buffer is full: a send waits too */
	while (write(fds[0], big, 1 << 20) > 0)
		;
	cr_assert_eq(loop_send(loop, &s.op, fds[0], big, 8 << 20), 0);
	cr_assert_eq(loop_run(loop, 30), 0);
	cr_assert_eq(s.calls, 0);
	while (!s.calls) {
		ssize_t n = read(fds[1], sink, 1 << 20);

		if (n > 0)
			got += n;
		loop_run(loop, 1);
	}
	cr_assert_gt(s.res, 0);
	free(big);
	free(sink);
	close(fds[0]);
	close(fds[1]);
	loop_destroy(loop);
}

BOTH(sendmsg_gathers)
{
	struct loop *loop = make(be, 8);
	struct result s = fresh();
	struct iovec iov[3] = { { "ab", 2 }, { "cde", 3 }, { "f", 1 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 3 };
	char buf[8];
	int fds[2];

	tcp_pair(fds);
	cr_assert_eq(loop_sendmsg(loop, &s.op, fds[0], &msg), 0);
	cr_assert_eq(wait_for(loop, &s), 6);
	cr_assert_eq(recv(fds[1], buf, 6, MSG_WAITALL), 6);
	cr_assert_arr_eq(buf, "abcdef", 6);
	close(fds[0]);
	close(fds[1]);
	loop_destroy(loop);
}

static void wait_released(struct loop *loop, struct result *r)
{
	int i;

	for (i = 0; i < 200 && !r->released; i++)
		cr_assert_geq(loop_run(loop, 50), 0);
	cr_assert_eq(r->released, 1);
	cr_assert(!r->op.held);
}

BOTH(send_zc_releases_once)
{
	struct loop *loop = make(be, 8);
	size_t len = 256 << 10, got = 0;
	char *mem = mmap(NULL, len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *sink = malloc(len);
	struct loop_stats st;
	int fds[2], fixed, pass, want;
	unsigned copied = 0;

	memset(mem, 0x5a, len);
	fixed = loop_register(loop, mem, len);
	cr_assert_eq(loop_caps(loop)->fixed, fixed == 0);
	for (pass = 0; pass < 2; pass++) {
		struct result s = fresh();

		tcp_pair(fds);
		/* the second time from memory that is not registered */
		cr_assert_eq(loop_send_zc(loop, &s.op, fds[0], pass ? sink : mem, len), 0);
		cr_assert(s.op.held);
		for (got = 0, want = -1; want < 0 || got < (size_t)want;) {
			ssize_t n = recv(fds[1], sink, len, MSG_DONTWAIT);

			if (n > 0)
				got += n;
			loop_run(loop, 1);
			if (s.calls)
				want = s.res;
		}
		cr_assert_gt(want, 0);
		wait_released(loop, &s);
		cr_assert_eq(s.calls, 1);
		copied += s.op.copied;
		close(fds[0]);
		close(fds[1]);
	}
	loop_stats(loop, &st);
	cr_assert_eq(st.zc_copied, copied);
	if (loop_caps(loop)->send_zc)
		cr_assert_eq(st.zc_sends, 2);
	else
		cr_assert_eq(st.zc_sends, 0);
	munmap(mem, len);
	free(sink);
	loop_destroy(loop);
}

/* A UNIX socket refuses SEND_ZC: goes on as a send; a dead fd fails. */
BOTH(send_zc_falls_back)
{
	struct loop *loop = make(be, 8);
	struct result s = fresh(), e = fresh();
	struct loop_stats st;
	char buf[8];
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	cr_assert_eq(loop_send_zc(loop, &s.op, fds[0], "abcd", 4), 0);
	cr_assert_eq(wait_for(loop, &s), 4);
	wait_released(loop, &s);
	cr_assert_eq(read(fds[1], buf, 8), 4);
	cr_assert_eq(loop_send_zc(loop, &e.op, 9999, "abcd", 4), 0);
	cr_assert_eq(wait_for(loop, &e), -EBADF);
	wait_released(loop, &e);
	loop_stats(loop, &st);
	cr_assert_eq(st.zc_sends, 0);
	close(fds[0]);
	close(fds[1]);
	loop_destroy(loop);
}

/* EPIPE as a result, not as a signal. */
BOTH(send_to_closed_peer)
{
	struct loop *loop = make(be, 8);
	struct result s = fresh();
	int fds[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	close(fds[1]);
	cr_assert_eq(loop_send(loop, &s.op, fds[0], "x", 1), 0);
	cr_assert_eq(wait_for(loop, &s), -EPIPE);
	close(fds[0]);
	loop_destroy(loop);
}

BOTH(poll_tells_events)
{
	struct loop *loop = make(be, 8);
	struct result in = fresh(), out = fresh();
	int fds[2];

	tcp_pair(fds);
	cr_assert_eq(loop_poll(loop, &in.op, fds[1], POLLIN), 0);
	cr_assert_eq(loop_poll(loop, &out.op, fds[0], POLLOUT), 0);
	cr_assert_eq(wait_for(loop, &out) & POLLOUT, POLLOUT);
	cr_assert_eq(in.calls, 0);
	cr_assert_eq(write(fds[0], "x", 1), 1);
	cr_assert_eq(wait_for(loop, &in) & POLLIN, POLLIN);
	close(fds[0]);
	close(fds[1]);
	loop_destroy(loop);
}

BOTH(timers_in_order)
{
	struct loop *loop = make(be, 8);
	struct result a = fresh(), b = fresh(), z = fresh();
	uint64_t t0 = now_ms(), t;

	cr_assert_eq(loop_timer(loop, &a.op, 90), 0);
	cr_assert_eq(loop_timer(loop, &b.op, 30), 0);
	cr_assert_eq(loop_timer(loop, &z.op, 0), 0);
	cr_assert_eq(loop_run(loop, -1), 1);
	cr_assert_eq(z.calls, 1);
	cr_assert_eq(loop_run(loop, -1), 1);
	t = now_ms() - t0;
	cr_assert(b.calls == 1 && b.res == 0 && !a.calls);
	cr_assert_geq(t, 29);
	cr_assert_eq(loop_run(loop, -1), 1);
	t = now_ms() - t0;
	cr_assert(a.calls == 1 && a.res == 0);
	cr_assert_geq(t, 89);
	/* a time-out of loop_run() itself */
	t0 = now_ms();
	cr_assert_eq(loop_run(loop, 40), 0);
	cr_assert_geq(now_ms() - t0, 39);
	loop_destroy(loop);
}

BOTH(files_read_write_sync)
{
	struct loop *loop = make(be, 16);
	struct result w = fresh(), v = fresh(), y = fresh(), r = fresh();
	int fd = temp_file(O_DIRECT);
	char *mem;
	struct iovec iov[2];

	cr_assert_eq(posix_memalign((void **)&mem, 4096, 32768), 0);
	memset(mem, 'a', 4096);
	memset(mem + 4096, 'b', 4096);
	memset(mem + 8192, 'c', 4096);
	iov[0] = (struct iovec){ mem + 4096, 4096 };
	iov[1] = (struct iovec){ mem + 8192, 4096 };
	cr_assert_eq(loop_pwrite(loop, &w.op, fd, mem, 4096, 0), 0);
	cr_assert_eq(loop_pwritev(loop, &v.op, fd, iov, 2, 4096), 0);
	cr_assert_eq(wait_for(loop, &w), 4096);
	cr_assert_eq(wait_for(loop, &v), 8192);
	cr_assert_eq(loop_fdatasync(loop, &y.op, fd), 0);
	cr_assert_eq(wait_for(loop, &y), 0);
	cr_assert_eq(loop_pread(loop, &r.op, fd, mem + 16384, 12288, 0), 0);
	cr_assert_eq(wait_for(loop, &r), 12288);
	cr_assert_eq(memcmp(mem, mem + 16384, 12288), 0);
	/* end of file, bad fd */
	r = fresh();
	cr_assert_eq(loop_pread(loop, &r.op, fd, mem, 4096, 1 << 20), 0);
	cr_assert_eq(wait_for(loop, &r), 0);
	r = fresh();
	cr_assert_eq(loop_pread(loop, &r.op, 9999, mem, 4096, 0), 0);
	cr_assert_eq(wait_for(loop, &r), -EBADF);
	r = fresh();
	cr_assert_eq(loop_fdatasync(loop, &r.op, 9999), 0);
	cr_assert_eq(wait_for(loop, &r), -EBADF);
	free(mem);
	close(fd);
	loop_destroy(loop);
}

BOTH(fallocate_punches)
{
	struct loop *loop = make(be, 8);
	struct result r = fresh();
	int fd = temp_file(0);
	char buf[8192];

	memset(buf, 'x', sizeof(buf));
	cr_assert_eq(pwrite(fd, buf, sizeof(buf), 0), (ssize_t)sizeof(buf));
	cr_assert_eq(loop_fallocate(loop, &r.op, fd,
		     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096), 0);
	cr_assert_eq(wait_for(loop, &r), 0);
	cr_assert_eq(pread(fd, buf, sizeof(buf), 0), (ssize_t)sizeof(buf));
	cr_assert_eq(buf[4095], 'x');
	cr_assert_eq(buf[4096], 0);
	close(fd);
	loop_destroy(loop);
}

/* Registered memory and depth-many writes at once. */
BOTH(many_writes_from_registered)
{
	enum { N = 64 };
	struct loop *loop = make(be, N);
	struct result w[N], extra = fresh();
	int fd = temp_file(O_DIRECT), i, n = 0;
	char *mem, *back;

	cr_assert_eq(posix_memalign((void **)&mem, 4096, N * 4096), 0);
	cr_assert_eq(posix_memalign((void **)&back, 4096, N * 4096), 0);
	(void)loop_register(loop, mem, N * 4096);
	for (i = 0; i < N; i++) {
		w[i] = fresh();
		memset(mem + i * 4096, i + 1, 4096);
		cr_assert_eq(loop_pwrite(loop, &w[i].op, fd, mem + i * 4096, 4096,
					 i * 4096), 0);
	}
	cr_assert(!loop_has_room(loop));
	cr_assert_eq(loop_timer(loop, &extra.op, 1), -EBUSY);
	/* A round may end without a completion: a wake-up that came late. */
	for (int round = 0; n < N; round++) {
		int rc = loop_run(loop, 1000);

		cr_assert(rc >= 0 && round < 1000, "%d", rc);
		n += rc;
	}
	cr_assert_eq(n, N);
	for (i = 0; i < N; i++)
		cr_assert(w[i].calls == 1 && w[i].res == 4096);
	cr_assert_eq(pread(fd, back, N * 4096, 0), N * 4096);
	cr_assert_eq(memcmp(mem, back, N * 4096), 0);
	free(mem);
	free(back);
	close(fd);
	loop_destroy(loop);
}

BOTH(cancel_each_kind)
{
	struct loop *loop = make(be, 16);
	struct result r = fresh(), p = fresh(), t = fresh(), s = fresh(), z = fresh();
	char buf[8], *big = calloc(1, 1 << 20);
	int fds[2];

	tcp_pair(fds);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	/* Full, and still full when TCP has moved what it could. */
	for (int still = 0; still < 5; still++) {
		while (write(fds[0], big, 1 << 20) > 0)
			still = 0;
		usleep(20000);
	}
	cr_assert_eq(loop_send(loop, &s.op, fds[0], big, 4096), 0);
	cr_assert_eq(loop_recv(loop, &r.op, fds[0], buf, 8), 0);
	cr_assert_eq(loop_poll(loop, &p.op, fds[0], POLLIN), 0);
	cr_assert_eq(loop_timer(loop, &t.op, 100000), 0);
	cr_assert_eq(loop_run(loop, 20), 0);
	loop_cancel(loop, &r.op);
	loop_cancel(loop, &p.op);
	loop_cancel(loop, &t.op);
	loop_cancel(loop, &s.op);
	loop_cancel(loop, &s.op);
	cr_assert_eq(r.calls + p.calls + t.calls + s.calls, 0, "done() inside cancel");
	cr_assert_eq(wait_for(loop, &r), -ECANCELED);
	cr_assert_eq(wait_for(loop, &p), -ECANCELED);
	cr_assert_eq(wait_for(loop, &t), -ECANCELED);
	cr_assert_eq(wait_for(loop, &s), -ECANCELED);
	/* before it was ever submitted to the kernel */
	r = fresh();
	cr_assert_eq(loop_recv(loop, &r.op, fds[0], buf, 8), 0);
	loop_cancel(loop, &r.op);
	cr_assert_eq(wait_for(loop, &r), -ECANCELED);
	/* a zero-copy send still releases */
	cr_assert_eq(loop_send_zc(loop, &z.op, fds[0], big, 1 << 20), 0);
	cr_assert_eq(loop_run(loop, 20), 0);
	loop_cancel(loop, &z.op);
	cr_assert_eq(wait_for(loop, &z), -ECANCELED);
	wait_released(loop, &z);
	/* one that has ended: nothing */
	loop_cancel(loop, &r.op);
	cr_assert_eq(loop_run(loop, 20), 0);
	free(big);
	close(fds[0]);
	close(fds[1]);
	loop_destroy(loop);
}

BOTH(cancel_disk_op_ends_somehow)
{
	struct loop *loop = make(be, 16);
	struct result w = fresh(), y = fresh(), y2 = fresh();
	int fd = temp_file(O_DIRECT);
	char *mem;

	cr_assert_eq(posix_memalign((void **)&mem, 4096, 4096), 0);
	memset(mem, 1, 4096);
	cr_assert_eq(loop_pwrite(loop, &w.op, fd, mem, 4096, 0), 0);
	cr_assert_eq(loop_fdatasync(loop, &y.op, fd), 0);
	cr_assert_eq(loop_fdatasync(loop, &y2.op, fd), 0);
	loop_cancel(loop, &w.op);
	loop_cancel(loop, &y.op);
	loop_cancel(loop, &y2.op);
	wait_for(loop, &w);
	wait_for(loop, &y);
	wait_for(loop, &y2);
	cr_assert(w.res == 4096 || w.res == -ECANCELED);
	cr_assert(y.res == 0 || y.res == -ECANCELED);
	cr_assert(y2.res == 0 || y2.res == -ECANCELED);
	free(mem);
	close(fd);
	loop_destroy(loop);
}

static void *waker(void *arg)
{
	usleep(30000);
	loop_wake(arg);
	return NULL;
}

BOTH(wake_from_thread)
{
	struct loop *loop = make(be, 8);
	pthread_t th;
	int i;

	cr_assert_eq(pthread_create(&th, NULL, waker, loop), 0);
	cr_assert_eq(loop_run(loop, -1), 0);
	pthread_join(th, NULL);
	/* before the run, and more than once: one return each round */
	for (i = 0; i < 100; i++) {
		loop_wake(loop);
		loop_wake(loop);
		cr_assert_eq(loop_run(loop, -1), 0);
	}
	cr_assert_eq(loop_run(loop, 10), 0);
	loop_destroy(loop);
}

static void *waker_storm(void *arg)
{
	int i;

	for (i = 0; i < 20000; i++)
		loop_wake(arg);
	return NULL;
}

BOTH(wake_storm_loses_none)
{
	struct loop *loop = make(be, 8);
	pthread_t th;
	uint64_t t0;

	cr_assert_eq(pthread_create(&th, NULL, waker_storm, loop), 0);
	t0 = now_ms();
	while (now_ms() - t0 < 200)
		cr_assert_eq(loop_run(loop, 1), 0);
	pthread_join(th, NULL);
	loop_run(loop, 0);
	loop_run(loop, 0);
	loop_wake(loop);
	t0 = now_ms();
	cr_assert_eq(loop_run(loop, 5000), 0);
	cr_assert_lt(now_ms() - t0, 2000);
	loop_destroy(loop);
}

/* Created here, run there: the first loop_run() makes the owner. */
static void *runner(void *arg)
{
	struct loop *loop = arg;
	struct result t = fresh();

	if (loop_timer(loop, &t.op, 1) < 0)
		return (void *)-1;
	while (!t.calls)
		if (loop_run(loop, 100) < 0)
			return (void *)-1;
	return (void *)(long)t.res;
}

BOTH(run_by_another_thread)
{
	struct loop *loop = make(be, 8);
	void *mem = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t th;
	void *ret;

	(void)loop_register(loop, mem, 65536);
	cr_assert_eq(pthread_create(&th, NULL, runner, loop), 0);
	pthread_join(th, &ret);
	cr_assert_eq((long)ret, 0);
	loop_destroy(loop);
	munmap(mem, 65536);
}

static struct loop *chain_loop;
static int chain_left;

static void chain_done(struct loop_op *op, int res)
{
	cr_assert_eq(res, 7);
	if (--chain_left)
		loop_complete(chain_loop, op, 7);
}

BOTH(complete_runs_in_the_next_round)
{
	struct loop *loop = make(be, 1);
	struct loop_op op = { .done = chain_done };
	int i;

	chain_loop = loop;
	chain_left = 3;
	loop_complete(loop, &op, 7);
	cr_assert_eq(chain_left, 3);
	for (i = 2; i >= 0; i--) {
		cr_assert_eq(loop_run(loop, -1), 1);
		cr_assert_eq(chain_left, i);
	}
	loop_destroy(loop);
}

Test(loop, auto_obeys_environment)
{
	struct loop *loop;

	setenv("DAG_LOOP", "posix", 1);
	cr_assert_eq(loop_create(LOOP_AUTO, 8, &loop), 0);
	cr_assert_eq(loop_caps(loop)->backend, LOOP_POSIX);
	cr_assert_str_not_empty(loop_caps(loop)->why);
	cr_assert_eq(loop_register(loop, loop, 4096), -EOPNOTSUPP);
	loop_destroy(loop);
	unsetenv("DAG_LOOP");
	cr_assert_eq(loop_create(LOOP_AUTO, 8, &loop), 0);
	cr_assert((loop_caps(loop)->backend == LOOP_URING) == !loop_caps(loop)->why[0]);
	loop_destroy(loop);
	cr_assert_eq(loop_create(LOOP_AUTO, 0, &loop), -EINVAL);
	cr_assert_eq(loop_create(LOOP_AUTO, 1 << 20, &loop), -EINVAL);
}

/* From here on the call of this process fails with err. */
static void deny(int nr, int err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		cr_skip_test("no system call filters here");
}

static void auto_without_uring(int err, const char *why)
{
	struct loop *loop;

	deny(SYS_io_uring_setup, err);
	cr_assert_eq(loop_create(LOOP_URING, 8, &loop), -err);
	cr_assert_eq(loop_create(LOOP_AUTO, 8, &loop), 0);
	cr_assert_eq(loop_caps(loop)->backend, LOOP_POSIX);
	cr_assert(strstr(loop_caps(loop)->why, why), "%s", loop_caps(loop)->why);
	loop_destroy(loop);
}

Test(loop, auto_says_not_permitted)
{
	auto_without_uring(EPERM, "not permitted, kernel.io_uring_disabled=");
}

Test(loop, auto_says_not_there)
{
	auto_without_uring(ENOSYS, "kernel without io_uring");
}

/* Without libaio the worker reads and writes. */
Test(loop, files_without_libaio)
{
	deny(SYS_io_setup, ENOSYS);
	files_read_write_sync(LOOP_POSIX);
	many_writes_from_registered(LOOP_POSIX);
	cancel_disk_op_ends_somehow(LOOP_POSIX);
}
