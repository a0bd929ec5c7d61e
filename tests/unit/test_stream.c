// SPDX-License-Identifier: GPL-2.0
/*
 * Streams over loopback: both loops, plain and TLS, and peers that are slow or die.
 * Peers that are refused: test_stream_refuse.c.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/net/stream_internal.h"
#include "tests/lib/streams.h"

/* Each over both loops and plain, TLS, TLS with kTLS where there is. */
#define EACH(name)							\
	static void name(enum loop_backend be, struct stream_conf conf);	\
	Test(stream, name##_uring_plain) { name(LOOP_URING, streams_plain()); }	\
	Test(stream, name##_uring_tls) { name(LOOP_URING, streams_tls(false)); }	\
	Test(stream, name##_uring_ktls) { name(LOOP_URING, streams_tls(true)); }	\
	Test(stream, name##_posix_plain) { name(LOOP_POSIX, streams_plain()); }	\
	Test(stream, name##_posix_tls) { name(LOOP_POSIX, streams_tls(false)); }	\
	Test(stream, name##_posix_ktls) { name(LOOP_POSIX, streams_tls(true)); }	\
	static void name(enum loop_backend be, struct stream_conf conf)

TestSuite(stream, .init = streams_setup, .fini = streams_teardown);

static struct loop *make_loop(enum loop_backend be)
{
	struct loop *loop = NULL;
	int rc = loop_create(be, 32, &loop);

	if (be == LOOP_URING && (rc == -EPERM || rc == -ENOSYS))
		cr_skip_test("io_uring is off here");
	cr_assert_eq(rc, 0);
	return loop;
}

struct result {
	struct loop_op op;
	int res, calls, released;
};

static void on_done(struct loop_op *op, int res)
{
	struct result *r = (struct result *)op;

	cr_assert(!op->busy);
	r->res = res;
	r->calls++;
}

static void on_released(struct loop_op *op)
{
	((struct result *)op)->released++;
}

static struct result fresh(void)
{
	return (struct result){ .op = { .done = on_done, .released = on_released } };
}

static int wait_for(struct loop *loop, struct result *r)
{
	int i;

	for (i = 0; i < 200 && !r->calls; i++)
		cr_assert_geq(loop_run(loop, 50), 0);
	cr_assert_eq(r->calls, 1, "done() called %d times", r->calls);
	return r->res;
}

static unsigned char pattern(uint64_t i)
{
	return (i * 0x9e3779b97f4a7c15ull) >> 56 ^ i >> 20;
}

/* A transfer: data from a to b in chunks, an ack back for each MiB. */
struct xfer {
	struct stream *a, *b;
	struct loop *loop;
	struct result data, sink, ack_tx, ack_rx;
	unsigned char *src, *dst;
	uint64_t size, sent, got, bad, acks_due, acks_sent, acks_got;
	bool zc, failed;
};

#define SRC_LEN		(4u << 20)
#define DST_LEN		(1u << 20)

static void check(struct xfer *x, int n)
{
	int i;

	/* the source repeats, so compare blocks of it */
	for (i = 0; i < n;) {
		uint64_t at = (x->got + i) % SRC_LEN;
		int len = SRC_LEN - at < (uint64_t)(n - i) ? (int)(SRC_LEN - at) : n - i;

		if (memcmp(x->src + at, x->dst + i, len))
			x->bad++;
		i += len;
	}
	x->got += n;
	x->acks_due = x->got >> 20;
}

static void take(struct result *r, uint64_t *count, bool *failed)
{
	if (!r->calls)
		return;
	if (r->res <= 0)
		*failed = true;
	else
		*count += r->res;
	r->calls = 0;
}

static void xfer_step(struct xfer *x)
{
	uint64_t at = x->sent % SRC_LEN;
	int n;

	take(&x->data, &x->sent, &x->failed);
	take(&x->ack_tx, &x->acks_sent, &x->failed);
	take(&x->ack_rx, &x->acks_got, &x->failed);
	if (x->sink.calls) {
		n = x->sink.res;
		x->sink.calls = 0;
		if (n <= 0)
			x->failed = true;
		else
			check(x, n);
	}
	at = x->sent % SRC_LEN;
	if (!x->data.op.busy && !x->data.op.held && x->sent < x->size)
		cr_assert_eq(stream_send(x->a, x->loop, &x->data.op, x->src + at,
			     SRC_LEN - at < 300000 ? SRC_LEN - at : 300000, x->zc), 0);
	if (!x->sink.op.busy && x->got < x->size)
		cr_assert_eq(stream_recv(x->b, x->loop, &x->sink.op, x->dst, DST_LEN), 0);
	/* one byte for each ack */
	if (!x->ack_tx.op.busy && x->acks_sent < x->acks_due)
		cr_assert_eq(stream_send(x->b, x->loop, &x->ack_tx.op, x->src, 1, false), 0);
	if (!x->ack_rx.op.busy && x->acks_got < x->size >> 20)
		cr_assert_eq(stream_recv(x->a, x->loop, &x->ack_rx.op, x->dst + DST_LEN, 64), 0);
}

static void transfer(enum loop_backend be, struct stream_conf conf, uint64_t size, bool zc)
{
	struct xfer x = { .size = size, .zc = zc, .data = fresh(), .sink = fresh(),
			  .ack_tx = fresh(), .ack_rx = fresh() };
	uint64_t t0 = streams_now_ms(), ms;
	unsigned i;

	x.loop = make_loop(be);
	streams_pair(conf, &x.a, &x.b);
	x.src = mmap(NULL, SRC_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	x.dst = malloc(DST_LEN + 64);
	for (i = 0; i < SRC_LEN; i++)
		x.src[i] = pattern(i);
	(void)loop_register(x.loop, x.src, SRC_LEN);
	for (;;) {
		xfer_step(&x);
		if (x.failed || (x.got == size && x.acks_got == size >> 20))
			break;
		cr_assert_geq(loop_run(x.loop, 1000), 0);
		cr_assert_lt(streams_now_ms() - t0, 60000, "stuck: sent %lu got %lu acks %lu/%lu",
			     x.sent, x.got, x.acks_got, x.acks_due);
	}
	ms = streams_now_ms() - t0;
	cr_assert(!x.failed, "%d %d %d %d: %s", x.data.res, x.sink.res, x.ack_tx.res,
		  x.ack_rx.res, streams_log());
	cr_assert_eq(x.bad, 0);
	cr_assert_eq(x.acks_got, size >> 20);
	cr_log_info("%s: %lu MiB in %lu ms", stream_describe(x.a), size >> 20, ms);
	stream_shutdown(x.a, x.loop);
	stream_shutdown(x.b, x.loop);
	while (x.data.op.busy || x.data.op.held || x.sink.op.busy || x.ack_tx.op.busy ||
	       x.ack_rx.op.busy)
		cr_assert_geq(loop_run(x.loop, 1000), 0);
	stream_close(x.a);
	stream_close(x.b);
	loop_destroy(x.loop);
	munmap(x.src, SRC_LEN);
	free(x.dst);
}

EACH(big_transfer)
{
	transfer(be, conf, 64 << 20, false);
}

/* The other end of one send; until the kernel has let go of it. */
static void send_zc_once(struct stream *a, struct stream *b, struct loop *loop, void *mem, void *sink)
{
	struct result s = fresh(), r = fresh();
	size_t len = 64 << 10, got = 0;

	cr_assert_eq(stream_send(a, loop, &s.op, mem, len, true), 0);
	while (!s.calls || s.op.held || got < (size_t)s.res) {
		if (!r.op.busy)
			cr_assert_eq(stream_recv(b, loop, &r.op, sink, len), 0);
		cr_assert_geq(loop_run(loop, 1000), 0);
		cr_assert(!s.calls || s.res > 0);
		if (r.calls)
			got += r.res;
		r.calls = 0;
	}
	if (s.released)
		stream_zc_released(a, &s.op);
}

/* Over loopback the kernel copies each: then it is not asked for more. */
Test(stream, zero_copy_ends_where_it_is_none)
{
	struct loop *loop = make_loop(LOOP_URING);
	void *mem = calloc(1, 64 << 10), *sink = malloc(64 << 10);
	struct stream *a, *b;
	struct loop_stats st;

	streams_pair(streams_plain(), &a, &b);
	for (int i = 0; i < 2 * STREAM_ZC_COPIED; i++)
		send_zc_once(a, b, loop, mem, sink);
	loop_stats(loop, &st);
	if (st.zc_copied)	/* kernels before 6.2 do not say */
		cr_assert_eq(st.zc_sends, STREAM_ZC_COPIED);
	stream_close(a);
	stream_close(b);
	loop_destroy(loop);
	free(mem);
	free(sink);
}

Test(stream, zero_copy_transfer_uring)
{
	transfer(LOOP_URING, streams_plain(), 64 << 20, true);
}

Test(stream, zero_copy_asked_on_tls)
{
	transfer(LOOP_URING, streams_tls(true), 8 << 20, true);
}

EACH(names_and_blocking_calls)
{
	struct stream *a, *b;
	char line[16], buf[8];
	int fd, on = 0;
	socklen_t len = sizeof(on);

	(void)be;
	streams_pair(conf, &a, &b);
	cr_assert_str_eq(stream_peer(a), "two");
	cr_assert_str_eq(stream_peer(b), "one");
	if (conf.security == STREAM_PLAIN)
		cr_assert_str_eq(stream_describe(a), "plain");
	else
		cr_assert_eq(strncmp(stream_describe(a), "tls1.3 aes-256-gcm", 18), 0);
	fd = stream_fd(a);
	cr_assert_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	cr_assert_eq(on, 1);
	/* lines and binary after each other, nothing lost between */
	cr_assert_eq(stream_write_full(a, "hello\nxy\n\n0123", 14, 1000), 0);
	cr_assert_eq(stream_read_line(b, line, sizeof(line), 1000), 5);
	cr_assert_str_eq(line, "hello");
	cr_assert_eq(stream_read_line(b, line, 3, 1000), 2);
	cr_assert_str_eq(line, "xy");
	cr_assert_eq(stream_read_line(b, line, sizeof(line), 1000), 0);
	cr_assert_eq(stream_read_full(b, buf, 4, 1000), 0);
	cr_assert_arr_eq(buf, "0123", 4);
	cr_assert_eq(stream_read_full(b, buf, 1, 50), -ETIMEDOUT);
	/* a line in two pieces, and one that is too long */
	cr_assert_eq(stream_write_full(b, "ab", 2, 1000), 0);
	cr_assert_eq(stream_read_line(a, line, sizeof(line), 50), -ETIMEDOUT);
	cr_assert_eq(stream_write_full(b, "0123456789\n", 11, 1000), 0);
	cr_assert_eq(stream_read_line(a, line, 10, 1000), -EMSGSIZE);
	stream_close(a);
	cr_assert_eq(stream_read_full(b, buf, 1, 1000), -ECONNRESET);
	stream_close(b);
}

EACH(blocking_then_async)
{
	struct loop *loop = make_loop(be);
	struct stream *a, *b;
	struct result r = fresh(), s = fresh();
	char line[16], buf[16];

	streams_pair(conf, &a, &b);
	cr_assert_eq(stream_write_full(a, "head\nbody", 9, 1000), 0);
	cr_assert_eq(stream_read_line(b, line, sizeof(line), 1000), 4);
	cr_assert_eq(stream_recv(b, loop, &r.op, buf, sizeof(buf)), 0);
	cr_assert_eq(r.calls, 0, "done() inside submit");
	cr_assert_eq(stream_recv(b, loop, &r.op, buf, sizeof(buf)), -EALREADY);
	cr_assert_eq(wait_for(loop, &r), 4);
	cr_assert_arr_eq(buf, "body", 4);
	/* a recv that has to wait */
	r = fresh();
	cr_assert_eq(stream_recv(b, loop, &r.op, buf, sizeof(buf)), 0);
	cr_assert_eq(loop_run(loop, 20), 0);
	cr_assert_eq(stream_send(a, loop, &s.op, "later", 5, false), 0);
	cr_assert_eq(s.calls, 0, "done() inside submit");
	cr_assert_eq(wait_for(loop, &s), 5);
	cr_assert_eq(s.released, 0);
	cr_assert_eq(wait_for(loop, &r), 5);
	/* the orderly end */
	r = fresh();
	cr_assert_eq(stream_recv(b, loop, &r.op, buf, sizeof(buf)), 0);
	stream_close(a);
	cr_assert_eq(wait_for(loop, &r), 0);
	stream_close(b);
	loop_destroy(loop);
}

/* Send until nothing moves. Returns the bytes taken; s is left in flight. */
static uint64_t fill(struct loop *loop, struct stream *st, struct result *s, char *buf,
		     size_t len)
{
	uint64_t n = 0;
	int rc;

	for (;;) {
		*s = fresh();
		cr_assert_eq(stream_send(st, loop, &s->op, buf, len, false), 0);
		while (!s->calls) {
			rc = loop_run(loop, 100);
			cr_assert_geq(rc, 0);
			if (rc == 0 && !s->calls)
				return n;
		}
		cr_assert_gt(s->res, 0);
		n += s->res;
	}
}

EACH(slow_reader_holds_the_sender)
{
	struct loop *loop = make_loop(be);
	struct stream *a, *b;
	struct result s, r;
	size_t len = 256 << 10;
	char *buf = calloc(1, len), *sink = malloc(len);
	uint64_t sent, got = 0;

	streams_pair(conf, &a, &b);
	sent = fill(loop, a, &s, buf, len);
	cr_assert_lt(sent, 64 << 20);
	cr_assert_eq(loop_run(loop, 100), 0);
	cr_assert_eq(s.calls, 0);
	r = fresh();
	while (got < sent || !s.calls || got < sent + s.res) {
		r = fresh();
		cr_assert_eq(stream_recv(b, loop, &r.op, sink, len), 0);
		cr_assert_gt(wait_for(loop, &r), 0);
		got += r.res;
	}
	cr_assert_eq(s.calls, 1);
	cr_assert_gt(s.res, 0);
	stream_close(a);
	stream_close(b);
	loop_destroy(loop);
	free(buf);
	free(sink);
}

EACH(peer_dies_in_mid_transfer)
{
	struct loop *loop = make_loop(be);
	struct stream *a, *b;
	struct result s, r = fresh();
	size_t len = 256 << 10;
	char *buf = calloc(1, len), in[8];

	streams_pair(conf, &a, &b);
	cr_assert_eq(stream_recv(a, loop, &r.op, in, sizeof(in)), 0);
	fill(loop, a, &s, buf, len);
	stream_abort(b);
	wait_for(loop, &s);
	cr_assert(s.res == -ECONNRESET || s.res == -EPIPE || s.res > 0, "%d", s.res);
	wait_for(loop, &r);
	cr_assert(r.res == -ECONNRESET || r.res == -EPIPE || r.res == 0, "%d", r.res);
	/* and says so again; kernel TLS goes on taking records that nobody gets,
	 * there the receiving side alone tells */
	s = fresh();
	if (!strstr(stream_describe(a), "ktls") &&
	    stream_send(a, loop, &s.op, buf, len, false) == 0)
		cr_assert_lt(wait_for(loop, &s), 0);
	stream_close(a);
	loop_destroy(loop);
	free(buf);
}

EACH(shutdown_cancels_both)
{
	struct loop *loop = make_loop(be);
	struct stream *a, *b;
	struct result s, r = fresh();
	size_t len = 256 << 10;
	char *buf = calloc(1, len), in[8];

	streams_pair(conf, &a, &b);
	cr_assert_eq(stream_recv(a, loop, &r.op, in, sizeof(in)), 0);
	fill(loop, a, &s, buf, len);
	stream_shutdown(a, loop);
	cr_assert_eq(s.calls + r.calls, 0);
	wait_for(loop, &s);
	cr_assert(s.res == -ECANCELED || s.res > 0, "%d", s.res);
	cr_assert_eq(wait_for(loop, &r), -ECANCELED);
	s = fresh();
	cr_assert_eq(stream_send(a, loop, &s.op, buf, len, false), -ECANCELED);
	cr_assert_eq(stream_recv(a, loop, &r.op, in, sizeof(in)), -ECANCELED);
	stream_abort(a);
	stream_abort(b);
	loop_destroy(loop);
	free(buf);
}

/*
 * The other end hears a close though a recv was under way, by TLS's own end: the
 * socket may live on in a duplicate. Nothing blocks on a stream that a loop reads.
 */
Test(stream, goodbye_after_a_cancelled_recv)
{
	struct loop *loop = make_loop(LOOP_AUTO);
	struct stream *a, *b;
	struct result r = fresh(), s = fresh();
	char buf[8], in[8];
	int copy;

	streams_pair(streams_tls(false), &a, &b);
	copy = dup(stream_fd(a));
	cr_assert_eq(stream_recv(a, loop, &r.op, in, sizeof(in)), 0);
	cr_assert_eq(stream_send(a, loop, &s.op, "last", 4, false), 0);
	cr_assert_eq(wait_for(loop, &s), 4);
	cr_assert_eq(stream_read_full(a, buf, 1, 1000), -EINVAL);
	cr_assert_eq(stream_write_full(a, buf, 1, 1000), -EINVAL);
	stream_shutdown(a, loop);
	cr_assert_eq(wait_for(loop, &r), -ECANCELED);
	stream_close(a);
	r = fresh();
	cr_assert_eq(stream_recv(b, loop, &r.op, buf, sizeof(buf)), 0);
	cr_assert_eq(wait_for(loop, &r), 4);
	r = fresh();
	cr_assert_eq(stream_recv(b, loop, &r.op, buf, sizeof(buf)), 0);
	cr_assert_eq(wait_for(loop, &r), 0);
	stream_close(b);
	close(copy);
	loop_destroy(loop);
}

/* A TCP end without TLS's own is a cut, not an end. */
Test(stream, truncated_tls)
{
	struct loop *loop = make_loop(LOOP_AUTO);
	struct stream *a, *b;
	struct result r = fresh();
	char buf[8];

	streams_pair(streams_tls(false), &a, &b);
	cr_assert_eq(stream_recv(b, loop, &r.op, buf, sizeof(buf)), 0);
	shutdown(stream_fd(a), SHUT_RDWR);
	cr_assert_eq(wait_for(loop, &r), -ECONNRESET);
	r = fresh();
	cr_assert_eq(stream_recv(b, loop, &r.op, buf, sizeof(buf)), 0);
	cr_assert_eq(wait_for(loop, &r), -ECONNRESET);
	stream_close(a);
	stream_close(b);
	loop_destroy(loop);
}

/* A changed byte on the wire is found. */
Test(stream, forged_record)
{
	struct stream *a, *b;
	char buf[8];

	streams_pair(streams_tls(false), &a, &b);
	cr_assert_eq(write(stream_fd(a), "\x17\x03\x03\x00\x20" "0123456789abcdef0123456789abcdef",
			   37), 37);
	cr_assert_eq(stream_read_full(b, buf, 1, 1000), -EPROTO);
	cr_assert_eq(streams_log_lines("peer=one"), 1, "%s", streams_log());
	cr_assert_eq(streams_log_lines("broken cause"), 1);
	stream_abort(a);
	stream_abort(b);
}

Test(stream, key_has_its_limit)
{
	struct loop *loop = make_loop(LOOP_AUTO);
	struct stream *a, *b;
	struct result s = fresh();

	streams_pair(streams_tls(false), &a, &b);
	a->sent_max = 10;
	cr_assert_eq(stream_send(a, loop, &s.op, "0123456789", 10, false), 0);
	cr_assert_eq(wait_for(loop, &s), 10);
	s = fresh();
	cr_assert_eq(stream_send(a, loop, &s.op, "0", 1, false), -EKEYEXPIRED);
	cr_assert(!s.op.busy && s.calls == 0 && s.op.done == on_done);
	stream_close(a);
	stream_close(b);
	streams_pair(streams_plain(), &a, &b);
	cr_assert_eq(a->sent_max, UINT64_MAX);
	stream_close(a);
	stream_close(b);
	loop_destroy(loop);
}
