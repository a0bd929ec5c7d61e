// SPDX-License-Identifier: GPL-2.0
/*
 * stream_block - the blocking use of a stream, each call with one deadline.
 *
 * A line is looked at before it is taken, so that not a byte behind it leaves
 * the stream; what has been looked at and is part of the line is taken at once,
 * or a partial line would keep poll(2) awake.
 */
#include "daemon/net/stream_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

static int plain_result(ssize_t n, short want, short *ret_want)
{
	if (n >= 0)
		return n;
	if (errno != EAGAIN && errno != EINTR)
		return -errno;
	*ret_want = want;
	return -EAGAIN;
}

static int read_some(struct stream *st, void *buf, size_t len, bool peek, short *ret_want)
{
	if (st->in.buf)
		return -EINVAL;		/* the loop reads for it */
	if (st->ssl)
		return peek ? tls_peek(st, buf, len, ret_want) :
			      tls_read(st, buf, len, ret_want);
	return plain_result(recv(st->fd, buf, len, MSG_DONTWAIT | (peek ? MSG_PEEK : 0)),
			    POLLIN, ret_want);
}

/* > 0, or -errno; waits. */
static int read_wait(struct stream *st, void *buf, size_t len, bool peek, uint64_t deadline)
{
	short want = POLLIN;
	int rc;

	while ((rc = read_some(st, buf, len, peek, &want)) == -EAGAIN) {
		rc = sock_wait(st->fd, want, deadline);
		if (rc < 0)
			return rc;
	}
	return rc ? rc : -ECONNRESET;
}

int stream_read_by(struct stream *st, void *buf, size_t len, uint64_t deadline)
{
	size_t got = 0;
	int n;

	while (got < len) {
		n = read_wait(st, (char *)buf + got, len - got, false, deadline);
		if (n < 0)
			return n;
		got += n;
	}
	return 0;
}

static int plain_write(struct stream *st, const void *buf, size_t len, size_t *put,
		       short *ret_want)
{
	int n;

	while (*put < len) {
		n = plain_result(send(st->fd, (const char *)buf + *put, len - *put,
				      MSG_DONTWAIT | MSG_NOSIGNAL), POLLOUT, ret_want);
		if (n < 0)
			return n;
		*put += n;
	}
	return 0;
}

int stream_write_by(struct stream *st, const void *buf, size_t len, uint64_t deadline)
{
	size_t put = 0;
	short want = POLLOUT;
	int rc;

	if (st->out.buf)
		return -EINVAL;		/* the loop writes for it */
	for (;;) {
		rc = st->ssl ? tls_write(st, buf, len, &put, &want) :
			       plain_write(st, buf, len, &put, &want);
		if (rc != -EAGAIN)
			break;
		rc = sock_wait(st->fd, want, deadline);
		if (rc < 0)
			break;
	}
	st->sent += put;
	/* part of a record or a message has gone: nothing can follow it */
	if (rc < 0)
		st->tx.error = rc;
	return rc;
}

int stream_read_full(struct stream *st, void *buf, size_t len, unsigned timeout_ms)
{
	return stream_read_by(st, buf, len, deadline_in(timeout_ms));
}

int stream_write_full(struct stream *st, const void *buf, size_t len, unsigned timeout_ms)
{
	return stream_write_by(st, buf, len, deadline_in(timeout_ms));
}

int stream_read_line(struct stream *st, char *buf, size_t cap, unsigned timeout_ms)
{
	uint64_t deadline = deadline_in(timeout_ms);
	size_t got = 0, take;
	char *end;
	int n, rc;

	/* the \n has its place in buf until it becomes the NUL */
	while (got < cap) {
		n = read_wait(st, buf + got, cap - got, true, deadline);
		if (n < 0)
			return n;
		end = memchr(buf + got, '\n', n);
		take = end ? (size_t)(end - (buf + got)) + 1 : (size_t)n;
		rc = stream_read_by(st, buf + got, take, deadline);
		if (rc < 0)
			return rc;
		if (end) {
			*end = 0;
			return end - buf;
		}
		got += take;
	}
	return -EMSGSIZE;
}
