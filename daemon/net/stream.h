/* SPDX-License-Identifier: GPL-2.0 */
/*
 * stream - one authenticated TCP connection between two members.
 *
 * The handshake (TLS 1.3, mutual certificates of the group's CA, no tickets) is
 * blocking with a time limit and runs outside the loops. After it the bytes go
 *   STREAM_TLS    through TLS: kTLS for sending where the kernel offers it,
 *                 else SSL_write; receiving by SSL_read (OpenSSL 3.0 has no
 *                 kTLS receive for TLS 1.3); both on memory, so that the
 *                 socket sees few and large operations;
 *   STREAM_PLAIN  as they are, after the same handshake has authenticated both
 *                 sides; only where both sides' configuration says plain.
 * The subject CN of a certificate is the member's name, its O the group's uuid.
 */
#ifndef DAG_STREAM_H
#define DAG_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "daemon/loop/loop.h"

/*
 * Sent bytes that nobody acknowledges for so long, or a peer that does not read
 * for so long while there is something to send, end the connection (-ETIMEDOUT).
 */
#define STREAM_USER_TIMEOUT_MS	5000

/*
 * Below it a copy is cheaper than pinning pages and a second completion; before
 * kernel 6.10 each zero-copy send had a socket buffer chain of its own.
 */
#define STREAM_ZC_MIN		(16u << 10)
#define STREAM_ZC_MIN_OLD	(64u << 10)
#define STREAM_ZC_COPIED	16	/* in a row: it will not be otherwise */

struct creds;		/* CA, own certificate and key (net/creds.h) */
struct stream;

enum stream_security { STREAM_TLS, STREAM_PLAIN };

struct stream_conf {
	const struct creds *creds;
	enum stream_security security;	/* both ends must agree: -EPROTO */
	unsigned timeout_ms;		/* connect and handshake together */
	bool ktls;			/* may be used where there is */
	bool insist;			/* connecting: TLS, whatever the other end has configured */
	bool revoked_ok;		/* talk to one whose certificate is revoked */
	char *cause;			/* why it failed, for people; NULL: not wanted */
	size_t causelen;
};

/*
 * Errors of both: -EKEYREJECTED the peer's certificate, -EKEYREVOKED a member of the
 * group says that our own is revoked (connecting only), -EPROTO it does not
 * speak this or wants another security, -ETIMEDOUT, -ECONNRESET or what
 * connect(2) says. One log line with address and cause is written for each.
 * SIGPIPE is set to ignored if the process has left it at its default.
 */
/* to: with port; from: own replication address or NULL. Blocking. */
int stream_connect(const struct stream_conf *conf, const struct sockaddr *to, socklen_t tolen,
		   const struct sockaddr *from, socklen_t fromlen, struct stream **ret);
/* Takes over fd, also on failure. Blocking. */
int stream_accept(const struct stream_conf *conf, int fd, struct stream **ret);
/*
 * No op may be busy; one that is only held (zero copy) may: its released()
 * comes through the loop when the kernel has let go. NULL is ignored.
 */
void stream_close(struct stream *st);
/*
 * Instead of stream_close(): reset, not an orderly end (linger 0), so nothing is
 * retransmitted from memory that is about to be used again.
 */
void stream_abort(struct stream *st);

const char *stream_peer(const struct stream *st);	/* member name, verified */
const char *stream_describe(const struct stream *st);	/* "tls1.3 aes-256-gcm ktls-send", "plain" */
int stream_fd(const struct stream *st);
bool stream_is_tls(const struct stream *st);

/*
 * Blocking, for hello, welcome and RPC: 0 when all is done, or -errno (the end
 * of the stream is -ECONNRESET); timeout_ms 0: for ever. Not while an op is in
 * flight. They take no byte more than asked for: async use may follow, after
 * which TLS refuses them in that direction (-EINVAL). A write that failed has
 * broken the stream for sending.
 */
int stream_read_full(struct stream *st, void *buf, size_t len, unsigned timeout_ms);
int stream_write_full(struct stream *st, const void *buf, size_t len, unsigned timeout_ms);
/* One line without its \n, at most cap - 1 bytes: length, -EMSGSIZE, -errno. */
int stream_read_line(struct stream *st, char *buf, size_t cap, unsigned timeout_ms);

/*
 * Asynchronous, from the loop's thread; one send and one recv at a time. done()
 * gets the bytes (> 0, may be fewer than len), 0 at an orderly end, or -errno
 * (-ECONNRESET also where TLS ends without saying so). zc: the buffer is in the
 * registered region, SEND_ZC may be used when the stream can (plain only) and
 * len is beyond the tipping point; released() then follows done(), and there
 * stream_zc_released() is told of it. Without zero copy op->held stays false. Uses
 * op->priv's last word.
 *
 * stream_send() returns -EKEYEXPIRED once 256 GiB went out under one AES-GCM
 * key: the caller connects anew. After stream_shutdown() both return -ECANCELED.
 */
int stream_send(struct stream *st, struct loop *loop, struct loop_op *op,
		const void *buf, size_t len, bool zc);
int stream_recv(struct stream *st, struct loop *loop, struct loop_op *op, void *buf, size_t len);
/*
 * A send of st was released. Where the kernel copies each all the same, as over
 * loopback, veth and whatever cannot gather, zero copy costs a second completion and
 * pinned pages for nothing: after STREAM_ZC_COPIED in a row st sends without.
 */
void stream_zc_released(struct stream *st, const struct loop_op *op);
/*
 * Cancel both; their done() still come. The stream's end has begun: a send that
 * was cut leaves the peer with half of something, only close or abort follow.
 */
void stream_shutdown(struct stream *st, struct loop *loop);

#endif
