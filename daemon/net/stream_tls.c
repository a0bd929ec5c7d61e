// SPDX-License-Identifier: GPL-2.0
/*
 * stream_tls - TLS 1.3 between two members.
 *
 * Happy path: a context with the member's own certificate and, as the only
 * trust, the group's CA; handshake on the non-blocking socket until the
 * deadline; the peer's O must be the group, its CN becomes its name.
 *
 * Failure modes: whatever the other end sends that is not this (garbage, plain
 * text, a foreign, expired or unnamed certificate, silence) ends in one log line
 * with the address and the cause, and an errno.
 *
 * During the handshake the library reads exactly the bytes of a record, so that
 * a plain stream can follow; only afterwards it may read ahead.
 */
#include "daemon/net/stream_internal.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "daemon/log.h"

#define READ_BUFFER	(128u << 10)	/* records taken by one read(2) */

static const char suites[] =
	"TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";

/* The library writes to sockets without MSG_NOSIGNAL. */
static void ignore_sigpipe(void)
{
	struct sigaction sa;

	if (sigaction(SIGPIPE, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

static int verify_peer(int ok, X509_STORE_CTX *ctx)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct stream *st = SSL_get_app_data(ssl);
	const struct creds *creds = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	char group[CREDS_NAME_MAX + 1];
	X509_NAME *subject;
	X509 *crt;

	if (!ok) {
		st->refusal = X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx));
		return 0;
	}
	if (X509_STORE_CTX_get_error_depth(ctx) > 0)
		return 1;
	crt = X509_STORE_CTX_get_current_cert(ctx);
	subject = X509_get_subject_name(crt);
	if (!st->revoked_ok && creds_revoked(creds, crt)) {
		st->refusal = "certificate is revoked";
		/* the alert says so: to who has it, it is the word of a member */
		X509_STORE_CTX_set_error(ctx, X509_V_ERR_CERT_REVOKED);
		return 0;
	}
	if (creds_subject(subject, NID_organizationName, group) < 0 ||
	    strcmp(group, creds->group))
		st->refusal = "certificate of another group";
	else if (creds_subject(subject, NID_commonName, st->peer) < 0)
		st->refusal = "certificate names no member";
	else
		return 1;
	X509_STORE_CTX_set_error(ctx, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

static int ctx_make(const struct stream_conf *conf, bool server, SSL_CTX **ret)
{
	SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	struct creds *creds = (struct creds *)conf->creds;

	if (!ctx)
		return -ENOMEM;
	if (!SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) ||
	    !SSL_CTX_set_ciphersuites(ctx, suites) ||
	    !SSL_CTX_use_certificate(ctx, creds->crt) ||
	    !SSL_CTX_use_PrivateKey(ctx, creds->key) ||
	    !X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), creds->ca)) {
		SSL_CTX_free(ctx);
		return -EKEYREJECTED;
	}
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
	/* the system's configuration may have set it: then a plain stream would not be */
	SSL_CTX_clear_options(ctx, SSL_OP_ENABLE_KTLS);
	if (conf->ktls && conf->security == STREAM_TLS)
		SSL_CTX_set_options(ctx, SSL_OP_ENABLE_KTLS);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
			      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_default_read_buffer_len(ctx, READ_BUFFER);
	SSL_CTX_set_read_ahead(ctx, 0);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, verify_peer);
	/* members are signed by the CA itself */
	SSL_CTX_set_verify_depth(ctx, 0);
	SSL_CTX_set_app_data(ctx, creds);
	*ret = ctx;
	return 0;
}

/* Result of a call that failed: -EAGAIN and *ret_want, 0 at the end, -errno. */
static int tls_result(struct stream *st, int ret, short *ret_want)
{
	int err = errno, reason;

	switch (SSL_get_error(st->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		*ret_want = POLLIN;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		*ret_want = POLLOUT;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return err ? -err : -ECONNRESET;
	default:
		reason = ERR_GET_REASON(ERR_peek_error());
		if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
			return -ECONNRESET;
		return -EPROTO;
	}
}

static void say_refused(struct stream *st, int rc)
{
	const char *cause = st->refusal;

	if (!cause && rc == -EPROTO)
		cause = creds_ssl_error();
	else if (!cause && rc == -ECONNRESET)
		cause = "closed by the other end before the end of the handshake";
	else if (!cause)
		cause = strerror(-rc);
	snprintf(st->cause, sizeof(st->cause), "%s", cause);
	ERR_clear_error();
	log_warn("stream: address=%s refused cause=\"%s\"", st->addr, cause);
}

static void describe(struct stream *st)
{
	const char *suite = SSL_get_cipher_name(st->ssl), *name = suite;

	if (!strcmp(suite, "TLS_AES_256_GCM_SHA384"))
		name = "aes-256-gcm";
	else if (!strcmp(suite, "TLS_AES_128_GCM_SHA256"))
		name = "aes-128-gcm";
	else if (!strcmp(suite, "TLS_CHACHA20_POLY1305_SHA256"))
		name = "chacha20-poly1305";
	snprintf(st->desc, sizeof(st->desc), "tls1.3 %.32s%s", name,
		 st->ktls_send ? " ktls-send" : "");
	st->sent_max = strncmp(name, "aes", 3) ? UINT64_MAX : STREAM_KEY_BYTES;
}

int tls_handshake(struct stream *st, const struct stream_conf *conf, bool server,
		  uint64_t deadline)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	SSL_CTX *ctx;
	short want;
	int rc, ret;

	pthread_once(&once, ignore_sigpipe);
	st->revoked_ok = conf->revoked_ok;
	rc = ctx_make(conf, server, &ctx);
	if (rc < 0) {
		say_refused(st, rc);
		return rc;
	}
	st->ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);	/* counted: lives as long as ssl */
	if (!st->ssl || !SSL_set_fd(st->ssl, st->fd))
		return -ENOMEM;
	SSL_set_app_data(st->ssl, st);
	if (server)
		SSL_set_accept_state(st->ssl);
	else
		SSL_set_connect_state(st->ssl);
	for (;;) {
		ERR_clear_error();
		errno = 0;
		ret = SSL_do_handshake(st->ssl);
		if (ret == 1)
			break;
		rc = tls_result(st, ret, &want);
		if (rc == 0)
			rc = -ECONNRESET;
		if (rc == -EAGAIN)
			rc = sock_wait(st->fd, want, deadline);
		if (rc < 0) {
			say_refused(st, rc);
			return st->refusal ? -EKEYREJECTED : rc;
		}
	}
	st->ktls_send = BIO_get_ktls_send(SSL_get_wbio(st->ssl)) == 1;
	describe(st);
	return 0;
}

void tls_to_plain(struct stream *st)
{
	/* the socket stays: the BIO does not own it; no close_notify is sent */
	SSL_free(st->ssl);
	st->ssl = NULL;
	st->sent_max = UINT64_MAX;
	snprintf(st->desc, sizeof(st->desc), "plain");
}

static int tls_take(struct stream *st, void *buf, size_t len, short *ret_want, bool peek)
{
	size_t got = 0, n;
	int rc = 0, ret;

	if (st->rx.error)
		return st->rx.error;
	if (len > INT_MAX)
		len = INT_MAX;
	while (got < len) {
		ERR_clear_error();
		errno = 0;
		ret = peek ? SSL_peek_ex(st->ssl, buf, len, &n) :
			     SSL_read_ex(st->ssl, (char *)buf + got, len - got, &n);
		if (ret != 1) {
			rc = tls_result(st, ret, ret_want);
			break;
		}
		got += n;
		if (peek)
			break;
	}
	if (rc < 0 && rc != -EAGAIN) {
		/* before, the cause is for agree_failed() to say */
		if (rc == -EPROTO && st->open)
			log_warn("stream: peer=%s address=%s broken cause=\"%s\"", st->peer,
				 st->addr, creds_ssl_error());
		st->rx.error = rc;
	}
	return got ? (int)got : rc;
}

int tls_read(struct stream *st, void *buf, size_t len, short *ret_want)
{
	return tls_take(st, buf, len, ret_want, false);
}

int tls_peek(struct stream *st, void *buf, size_t len, short *ret_want)
{
	return tls_take(st, buf, len, ret_want, true);
}

int tls_write(struct stream *st, const void *buf, size_t len, size_t *put, short *ret_want)
{
	size_t n;
	int rc, ret;

	if (st->tx.error)
		return st->tx.error;
	while (*put < len) {
		ERR_clear_error();
		errno = 0;
		ret = SSL_write_ex(st->ssl, (const char *)buf + *put, len - *put, &n);
		if (ret == 1) {
			*put += n;
			continue;
		}
		rc = tls_result(st, ret, ret_want);
		ERR_clear_error();
		if (rc == -EAGAIN)
			return rc;
		st->tx.error = rc ? rc : -EPIPE;
		return st->tx.error;
	}
	return 0;
}
