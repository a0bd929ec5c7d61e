/* SPDX-License-Identifier: GPL-2.0 */
/*
 * stream_internal - the parts of a stream: sockets (stream_sock.c), TLS
 * (stream_tls.c), its bytes (stream_wire.c), blocking (stream_block.c) and
 * asynchronous (stream.c) use.
 */
#ifndef DAG_STREAM_INTERNAL_H
#define DAG_STREAM_INTERNAL_H

#include <openssl/ssl.h>

#include "daemon/net/creds_internal.h"
#include "daemon/net/stream.h"

#define STREAM_ADDR_MAX		80
#define STREAM_TIMEOUT_MS	10000u	/* where the configuration says 0 */

/*
 * AES-GCM may seal about 2^24.5 full records with one key (RFC 8446 5.5), that
 * is 388 GB; stop well before, at a round number.
 */
#define STREAM_KEY_BYTES	(256ull << 30)

#define STREAM_WRITE_ROUND	(512u << 10)	/* of TLS in this process, then others */

/* Encrypted bytes between the socket and the TLS library, in one direction. */
struct wire {
	uint8_t *buf;			/* NULL: the library uses the socket itself */
	size_t cap, at, end;		/* [at, end) is to be read, or sent */
	bool eof;
};

/* One direction. Its own op moves the wire, for TLS in this process. */
struct half {
	struct loop_op op;		/* first: half_moved() gets it */
	struct stream *st;
	struct loop *loop;
	struct loop_op *user;		/* the caller's, while it is in use */
	loop_done_fn user_done;		/* what its done was */
	void *buf;
	size_t len, put;
	int error;			/* said again to each later call */
};

struct stream {
	int fd;				/* non-blocking */
	SSL *ssl;			/* NULL: plain */
	bool ktls_send;
	bool open;			/* security is agreed */
	bool revoked_ok;
	bool shut;			/* by stream_shutdown() */
	uint64_t sent, sent_max;
	unsigned zc_copied;		/* zero-copy sends in a row that were none */
	struct half tx, rx;
	struct wire in, out;
	const char *refusal;		/* of the peer's certificate */
	char cause[128];		/* of a failure before it was open */
	char addr[STREAM_ADDR_MAX];	/* of the peer, for the log */
	char peer[CREDS_NAME_MAX + 1];
	char desc[64];
};

/* CLOCK_MONOTONIC in ms; UINT64_MAX: for ever. */
uint64_t deadline_in(unsigned ms);
/* 0, -ETIMEDOUT, or -errno. */
int sock_wait(int fd, short events, uint64_t deadline);
int sock_setup(int fd);
int sock_connect(const struct sockaddr *to, socklen_t tolen, const struct sockaddr *from,
		 socklen_t fromlen, uint64_t deadline, int *ret_fd);
void sock_name(const struct sockaddr *sa, socklen_t len, char ret[STREAM_ADDR_MAX]);

/* Sets ssl, peer and desc; logs what it refuses. */
int tls_handshake(struct stream *st, const struct stream_conf *conf, bool server,
		  uint64_t deadline);
void tls_to_plain(struct stream *st);

/*
 * As much as goes without waiting: > 0, 0 at an orderly end, -EAGAIN with what
 * to poll for, or -errno.
 */
int tls_read(struct stream *st, void *buf, size_t len, short *ret_want);
int tls_peek(struct stream *st, void *buf, size_t len, short *ret_want);
/*
 * 0 when all of it is gone, *put counts; after -EAGAIN a record may be half
 * sent: the same bytes must be brought again until it is 0.
 */
int tls_write(struct stream *st, const void *buf, size_t len, size_t *put, short *ret_want);

/*
 * One direction of TLS goes over to the wire, before its first asynchronous call.
 * 0 or -ENOMEM; a second time does nothing.
 */
int wire_attach(struct stream *st, bool out);
/* Try once to send what is left in it, a goodbye or an alert. */
void wire_flush(struct stream *st);
void wire_free(struct stream *st);

/* Blocking: all of it, or -errno. */
int stream_read_by(struct stream *st, void *buf, size_t len, uint64_t deadline);
int stream_write_by(struct stream *st, const void *buf, size_t len, uint64_t deadline);

#endif
