// SPDX-License-Identifier: GPL-2.0
/*
 * stream - connections between members: how they begin and end, and their
 * asynchronous use.
 *
 * Happy path: TCP, TLS handshake, then the two ends tell each other inside TLS
 * which security is configured. Order: the connecting end tells first, the other
 * has then read its last record before it answers. For a plain stream the
 * connecting end ends with one raw byte, which the other awaits: neither can
 * find raw bytes in its TLS state, and neither sends any before.
 *
 * Asynchronous: plain sends and receives and kTLS sends are the loop's own ops
 * on the caller's op, whose done is borrowed to keep count. TLS in this process
 * works on memory (stream_wire.c), which ops of the stream's own fill and empty.
 *
 * Failure modes: whatever goes wrong before the stream exists is logged once
 * here with the address, and the socket closed. A TLS send that was cancelled
 * may have half a record on its way: the stream does not send again.
 */
#include "daemon/net/stream_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "daemon/log.h"

#define SAY_TLS		'T'
#define SAY_PLAIN	'P'
#define SAY_INSIST	'I'		/* of the connecting end: TLS here, by your leave or not */
#define RAW_START	'S'
#define PRIV_STREAM	13		/* word of op->priv that is ours */

static void half_moved(struct loop_op *op, int res);

/* Takes over fd. */
static struct stream *stream_new(int fd, const char *addr)
{
	struct stream *st = calloc(1, sizeof(*st));

	if (!st) {
		close(fd);
		return NULL;
	}
	st->fd = fd;
	st->sent_max = UINT64_MAX;
	st->tx.st = st->rx.st = st;
	st->tx.op.done = st->rx.op.done = half_moved;
	snprintf(st->addr, sizeof(st->addr), "%s", addr);
	return st;
}

static void stream_free(struct stream *st)
{
	SSL_free(st->ssl);
	wire_free(st);
	close(st->fd);
	free(st);
}

static int say_broken(struct stream *st, int rc, const char *cause)
{
	log_warn("stream: address=%s peer=%s refused cause=\"%s\"", st->addr, st->peer, cause);
	snprintf(st->cause, sizeof(st->cause), "%s", cause);
	return rc;
}

/*
 * On the connecting end the first read is also where it learns that its own
 * certificate was refused: the alert is the cause then.
 */
static int agree_failed(struct stream *st, int rc)
{
	unsigned long e = ERR_peek_error();
	const char *alert = e ? ERR_reason_error_string(e) : NULL;

	if (rc == -ECONNRESET)
		alert = "closed by the other end before security was agreed";
	else if (ERR_GET_REASON(e) == SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED)
		rc = -EKEYREVOKED;
	say_broken(st, rc, alert ? alert : strerror(-rc));
	ERR_clear_error();
	return rc;
}

static int agree_security(struct stream *st, const struct stream_conf *conf, bool server,
			  uint64_t deadline)
{
	bool insist = conf->insist && !server;
	enum stream_security security = insist ? STREAM_TLS : conf->security;
	char own = security == STREAM_PLAIN ? SAY_PLAIN : SAY_TLS, theirs = 0, raw = RAW_START;
	char say = insist ? SAY_INSIST : own;
	int rc;

	/* a failed write is not the cause: that is in the alert to read */
	rc = server ? 0 : stream_write_by(st, &say, 1, deadline);
	if (rc != -ETIMEDOUT)
		rc = stream_read_by(st, &theirs, 1, deadline);
	if (rc == 0 && server && theirs == SAY_INSIST) {
		theirs = own = SAY_TLS;
		security = STREAM_TLS;
	}
	if (rc == 0 && server)
		rc = stream_write_by(st, &own, 1, deadline);
	if (rc < 0)
		return agree_failed(st, rc);
	if (theirs != own)
		return say_broken(st, -EPROTO, own == SAY_TLS ?
				  "plain is configured there, tls here" :
				  "tls is configured there, plain here");
	if (security == STREAM_TLS) {
		SSL_set_read_ahead(st->ssl, 1);
		return 0;
	}
	tls_to_plain(st);
	rc = server ? stream_read_by(st, &raw, 1, deadline) :
		      stream_write_by(st, &raw, 1, deadline);
	if (rc < 0)
		return agree_failed(st, rc);
	if (raw != RAW_START)
		return say_broken(st, -EPROTO, "no start of the plain stream");
	return 0;
}

static int stream_begin(const struct stream_conf *conf, int fd, const char *addr, bool server,
			uint64_t deadline, struct stream **ret)
{
	struct stream *st = stream_new(fd, addr);
	int rc;

	if (!st)
		return -ENOMEM;
	rc = tls_handshake(st, conf, server, deadline);
	if (rc == 0)
		rc = agree_security(st, conf, server, deadline);
	if (rc < 0) {
		if (conf->cause)
			snprintf(conf->cause, conf->causelen, "%s", st->cause);
		stream_free(st);
		return rc;
	}
	st->sent = 0;
	st->open = true;
	*ret = st;
	return 0;
}

int stream_connect(const struct stream_conf *conf, const struct sockaddr *to, socklen_t tolen,
		   const struct sockaddr *from, socklen_t fromlen, struct stream **ret)
{
	uint64_t deadline = deadline_in(conf->timeout_ms ? conf->timeout_ms : STREAM_TIMEOUT_MS);
	char addr[STREAM_ADDR_MAX];
	int fd, rc;

	sock_name(to, tolen, addr);
	rc = sock_connect(to, tolen, from, fromlen, deadline, &fd);
	if (rc < 0) {
		log_warn("stream: address=%s not connected error=\"%s\"", addr, strerror(-rc));
		return rc;
	}
	return stream_begin(conf, fd, addr, false, deadline, ret);
}

int stream_accept(const struct stream_conf *conf, int fd, struct stream **ret)
{
	uint64_t deadline = deadline_in(conf->timeout_ms ? conf->timeout_ms : STREAM_TIMEOUT_MS);
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	char addr[STREAM_ADDR_MAX];
	int rc;

	rc = getpeername(fd, (struct sockaddr *)&sa, &len) < 0 ? -errno : 0;
	if (rc == 0) {
		sock_name((struct sockaddr *)&sa, len, addr);
		rc = sock_setup(fd);
	}
	if (rc < 0) {
		log_warn("stream: accepted connection lost error=\"%s\"", strerror(-rc));
		close(fd);
		return rc;
	}
	return stream_begin(conf, fd, addr, true, deadline, ret);
}

void stream_close(struct stream *st)
{
	if (!st)
		return;
	/* tried once: a peer that does not read will see a reset, as it should */
	if (st->ssl && !st->tx.error && !st->rx.error) {
		ERR_clear_error();
		SSL_shutdown(st->ssl);
		ERR_clear_error();
	}
	if (st->ssl && !st->tx.error)
		wire_flush(st);
	stream_free(st);
}

void stream_abort(struct stream *st)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	if (!st)
		return;
	(void)setsockopt(st->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	stream_free(st);
}

const char *stream_peer(const struct stream *st)
{
	return st->peer;
}

const char *stream_describe(const struct stream *st)
{
	return st->desc;
}

bool stream_is_tls(const struct stream *st)
{
	return st->ssl;
}

int stream_fd(const struct stream *st)
{
	return st->fd;
}

/* In the place of the caller's done. */
static void half_done(struct loop_op *op, int res)
{
	struct stream *st = (struct stream *)(uintptr_t)op->priv[PRIV_STREAM];
	struct half *h = op == st->tx.user ? &st->tx : &st->rx;

	if (h == &st->tx && res > 0)
		st->sent += res;
	op->done = h->user_done;
	h->user = NULL;
	op->done(op, res);
}

static void half_begin(struct half *h, struct loop *loop, struct loop_op *op,
		       const void *buf, size_t len)
{
	h->loop = loop;
	h->buf = (void *)buf;
	h->len = len;
	h->put = 0;
	h->user = op;
	h->user_done = op->done;
	op->done = half_done;
	op->priv[PRIV_STREAM] = (uintptr_t)h->st;
}

static int half_undo(struct half *h, int rc)
{
	h->user->done = h->user_done;
	h->user = NULL;
	return rc;
}

/*
 * TLS in this process: from and to the wire as far as that goes, then an op that
 * moves the wire. 0: the op is under way; 1: ended with *ret_res; -errno: no op.
 */
static int half_step(struct half *h, int *ret_res)
{
	struct stream *st = h->st;
	struct wire *w = h == &st->rx ? &st->in : &st->out;
	short want;
	int rc;

	if (h == &st->rx) {
		rc = tls_read(st, h->buf, h->len, &want);
		if (rc != -EAGAIN) {
			*ret_res = rc;
			return 1;
		}
		w->at = w->end = 0;	/* the library has taken it all */
		return loop_recv(h->loop, &h->op, st->fd, w->buf, w->cap);
	}
	rc = tls_write(st, h->buf, h->len, &h->put, &want);
	if (rc < 0 && rc != -EAGAIN) {
		*ret_res = rc;
		return 1;
	}
	if (w->at == w->end) {
		*ret_res = rc ? -EPROTO : (int)h->len;
		return 1;
	}
	return loop_send(h->loop, &h->op, st->fd, w->buf + w->at, w->end - w->at);
}

static void half_finish(struct half *h, int res)
{
	struct loop_op *user = h->user;

	/* a receive that was called off has broken nothing: the goodbye can be said */
	if (res < 0 && !h->error && (h == &h->st->tx || res != -ECANCELED))
		h->error = res;
	user->busy = false;
	half_done(user, res);
}

/* The wire has moved. */
static void half_moved(struct loop_op *op, int res)
{
	struct half *h = (struct half *)op;
	struct stream *st = h->st;
	int rc;

	if (res >= 0 && st->shut)
		res = -ECANCELED;
	if (res < 0) {
		half_finish(h, res);
		return;
	}
	if (h == &st->rx) {
		st->in.end = res;
		st->in.eof = !res;
	} else {
		st->out.at += res;
		if (st->out.at == st->out.end)
			st->out.at = st->out.end = 0;
	}
	/* the place of this op has just become free */
	rc = half_step(h, &res);
	if (rc)
		half_finish(h, rc < 0 ? rc : res);
}

static int half_start(struct half *h)
{
	struct loop_op *user = h->user;
	int rc, res;

	/* asked first: a record that was begun cannot be taken back */
	if (!loop_has_room(h->loop))
		return half_undo(h, -EBUSY);
	rc = wire_attach(h->st, h == &h->st->tx);
	if (rc < 0)
		return half_undo(h, rc);
	rc = half_step(h, &res);
	if (rc > 0) {
		loop_complete(h->loop, user, res);
		return 0;
	}
	if (rc < 0) {
		h->error = rc;
		return half_undo(h, rc);
	}
	user->busy = true;
	return 0;
}

static size_t zc_min(void)
{
	static _Atomic size_t min;	/* the same from whichever thread comes first */
	struct utsname u;
	int major, minor;

	if (!min) {
		if (uname(&u) == 0 && sscanf(u.release, "%d.%d", &major, &minor) == 2 &&
		    (major > 6 || (major == 6 && minor >= 10)))
			min = STREAM_ZC_MIN;
		else
			min = STREAM_ZC_MIN_OLD;
	}
	return min;
}

static int check_use(struct half *h, const struct loop_op *op, size_t len)
{
	if (h->st->shut)
		return -ECANCELED;
	if (h->user || op->busy || op->held)
		return -EALREADY;
	return len ? 0 : -EINVAL;
}

int stream_send(struct stream *st, struct loop *loop, struct loop_op *op,
		const void *buf, size_t len, bool zc)
{
	int rc = check_use(&st->tx, op, len);

	if (rc < 0)
		return rc;
	if (st->tx.error)
		return st->tx.error;
	if (st->sent >= st->sent_max)
		return -EKEYEXPIRED;
	if (st->ssl && !st->ktls_send) {
		half_begin(&st->tx, loop, op, buf, len < STREAM_WRITE_ROUND ? len : STREAM_WRITE_ROUND);
		return half_start(&st->tx);
	}
	half_begin(&st->tx, loop, op, buf, len);
	if (zc && !st->ssl && st->zc_copied < STREAM_ZC_COPIED && len >= zc_min() &&
	    loop_caps(loop)->send_zc)
		rc = loop_send_zc(loop, op, st->fd, buf, len);
	else
		rc = loop_send(loop, op, st->fd, buf, len);
	return rc < 0 ? half_undo(&st->tx, rc) : 0;
}

void stream_zc_released(struct stream *st, const struct loop_op *op)
{
	if (!op->copied)
		st->zc_copied = 0;
	else if (st->zc_copied < STREAM_ZC_COPIED)
		st->zc_copied++;
}

int stream_recv(struct stream *st, struct loop *loop, struct loop_op *op, void *buf, size_t len)
{
	int rc = check_use(&st->rx, op, len);

	if (rc < 0)
		return rc;
	half_begin(&st->rx, loop, op, buf, len);
	if (st->ssl)
		return half_start(&st->rx);
	rc = loop_recv(loop, op, st->fd, buf, len);
	return rc < 0 ? half_undo(&st->rx, rc) : 0;
}

static void half_cancel(struct half *h, struct loop *loop)
{
	if (!h->user)
		return;
	if (h->op.busy)
		loop_cancel(loop, &h->op);
	else
		loop_cancel(loop, h->user);
}

void stream_shutdown(struct stream *st, struct loop *loop)
{
	st->shut = true;
	half_cancel(&st->tx, loop);
	half_cancel(&st->rx, loop);
}
