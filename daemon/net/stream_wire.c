// SPDX-License-Identifier: GPL-2.0
/*
 * stream_wire - TLS on memory: what the library would read from and write to the
 * socket, record by record, stands in two buffers, which the loop fills and
 * empties by large operations of its own.
 *
 * A direction goes over to it with its first asynchronous call and does not come
 * back. The library may have read ahead from the socket before: that it keeps
 * itself, so nothing is lost.
 */
#include "daemon/net/stream_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Five bytes before and 17 behind each record of 16 KiB; an alert at the end. */
#define WIRE_OUT_BYTES	(STREAM_WRITE_ROUND + STREAM_WRITE_ROUND / 256 + 4096)
#define WIRE_IN_BYTES	(256u << 10)

static BIO_METHOD *wire_method;

static int wire_write(BIO *bio, const char *buf, int len)
{
	struct wire *w = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (len <= 0)
		return 0;
	/* what the loop is sending stands still */
	if (w->end == w->cap) {
		BIO_set_retry_write(bio);
		return -1;
	}
	if ((size_t)len > w->cap - w->end)
		len = w->cap - w->end;
	memcpy(w->buf + w->end, buf, len);
	w->end += len;
	return len;
}

static int wire_read(BIO *bio, char *buf, int len)
{
	struct wire *w = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (len <= 0)
		return 0;
	if (w->at == w->end) {
		if (w->eof)
			return 0;
		BIO_set_retry_read(bio);
		return -1;
	}
	if ((size_t)len > w->end - w->at)
		len = w->end - w->at;
	memcpy(buf, w->buf + w->at, len);
	w->at += len;
	return len;
}

static long wire_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	const struct wire *w = BIO_get_data(bio);

	switch (cmd) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return w->eof;
	default:
		return 0;
	}
}

static void make_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "dag wire");

	if (m && BIO_meth_set_write(m, wire_write) && BIO_meth_set_read(m, wire_read) &&
	    BIO_meth_set_ctrl(m, wire_ctrl))
		wire_method = m;
	else
		BIO_meth_free(m);
}

int wire_attach(struct stream *st, bool out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct wire *w = out ? &st->out : &st->in;
	BIO *bio;

	if (w->buf)
		return 0;
	pthread_once(&once, make_method);
	bio = wire_method ? BIO_new(wire_method) : NULL;
	w->cap = out ? WIRE_OUT_BYTES : WIRE_IN_BYTES;
	w->buf = bio ? malloc(w->cap) : NULL;
	if (!w->buf) {
		BIO_free(bio);
		return -ENOMEM;
	}
	BIO_set_data(bio, w);
	BIO_set_init(bio, 1);
	if (out)
		SSL_set0_wbio(st->ssl, bio);
	else
		SSL_set0_rbio(st->ssl, bio);
	return 0;
}

void wire_flush(struct stream *st)
{
	struct wire *w = &st->out;

	while (w->at < w->end) {
		ssize_t n = send(st->fd, w->buf + w->at, w->end - w->at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			return;
		w->at += n;
	}
}

void wire_free(struct stream *st)
{
	free(st->in.buf);
	free(st->out.buf);
}
