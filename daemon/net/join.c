// SPDX-License-Identifier: GPL-2.0
#include "daemon/net/join.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/net/creds_internal.h"

struct join_conn {
	SSL *ssl;
	SSL_CTX *own_ctx;	/* client side */
	int fd;
	uint64_t deadline_ms;
};

static SSL_CTX *new_ctx(const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new(method);

	if (!ctx)
		return NULL;
	SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION);
	SSL_CTX_set_num_tickets(ctx, 0);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	return ctx;
}

int join_ctx(const char *dir, struct ssl_ctx_st **ret)
{
	SSL_CTX *ctx = new_ctx(TLS_server_method());
	char *pem = NULL;
	struct creds *cr = NULL;
	X509 *ca = NULL;
	int r;

	if (!ctx)
		return -ENOMEM;
	r = creds_load(dir, &cr);
	if (!r)
		r = creds_ca_pem(dir, &pem);
	if (!r)
		r = creds_crt_parse("ca.crt", pem, &ca);
	/* the CA travels with the chain: the client knows its fingerprint only */
	if (!r && (SSL_CTX_use_certificate(ctx, cr->crt) != 1 ||
		   SSL_CTX_use_PrivateKey(ctx, cr->key) != 1 ||
		   SSL_CTX_add1_chain_cert(ctx, ca) != 1)) {
		log_err("join err=\"%s\"", creds_ssl_error());
		r = -EIO;
	}
	X509_free(ca);
	free(pem);
	creds_free(cr);
	if (r)
		SSL_CTX_free(ctx);
	else
		*ret = ctx;
	return r;
}

void join_ctx_free(struct ssl_ctx_st *ctx)
{
	SSL_CTX_free(ctx);
}

/* After a TLS call that did not succeed: wait for what it wants. */
static int wait_for(struct join_conn *jc, int rc)
{
	struct pollfd pfd = { .fd = jc->fd };
	uint64_t now = now_ms();

	switch (SSL_get_error(jc->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
		pfd.events = POLLIN;
		break;
	case SSL_ERROR_WANT_WRITE:
		pfd.events = POLLOUT;
		break;
	case SSL_ERROR_ZERO_RETURN:
		return -ENODATA;
	default:
		ERR_clear_error();
		return -ECONNRESET;
	}
	if (now >= jc->deadline_ms)
		return -ETIMEDOUT;
	rc = poll(&pfd, 1, jc->deadline_ms - now);
	return rc > 0 || (rc < 0 && errno == EINTR) ? 0 : rc ? -errno : -ETIMEDOUT;
}

static int handshake(struct join_conn *jc, int (*step)(SSL *ssl))
{
	int rc, r = 0;

	while (!r) {
		ERR_clear_error();
		rc = step(jc->ssl);
		if (rc == 1)
			return 0;
		r = wait_for(jc, rc);
	}
	return r == -ENODATA ? -ECONNRESET : r;
}

static int make_conn(SSL_CTX *ctx, int fd, unsigned timeout_ms, struct join_conn **ret)
{
	struct join_conn *jc = calloc(1, sizeof(*jc));

	if (!jc) {
		close(fd);
		return -ENOMEM;
	}
	jc->fd = fd;
	jc->deadline_ms = now_ms() + timeout_ms;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	jc->ssl = SSL_new(ctx);
	if (!jc->ssl || SSL_set_fd(jc->ssl, fd) != 1) {
		join_close(jc);
		return -ENOMEM;
	}
	*ret = jc;
	return 0;
}

int join_accept(struct ssl_ctx_st *ctx, int fd, unsigned timeout_ms, struct join_conn **ret)
{
	struct join_conn *jc;
	int r;

	r = make_conn(ctx, fd, timeout_ms, &jc);
	if (r)
		return r;
	r = handshake(jc, SSL_accept);
	if (r)
		join_close(jc);
	else
		*ret = jc;
	return r;
}

/* The last certificate of the chain must be the CA that the token names. */
static int check_server(struct join_conn *jc, const char *fingerprint)
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(jc->ssl);
	int n = chain ? sk_X509_num(chain) : 0, r;
	char *pem = NULL, fp[65] = "";
	X509 *ca, *crt;

	if (n < 2)
		return -EKEYREJECTED;
	crt = sk_X509_value(chain, 0);
	ca = sk_X509_value(chain, n - 1);
	r = creds_crt_pem(ca, &pem);
	if (!r)
		r = creds_ca_fingerprint(pem, fp);
	free(pem);
	if (r)
		return r;
	if (CRYPTO_memcmp(fp, fingerprint, 64) || strlen(fingerprint) != 64)
		return -EKEYREJECTED;
	if (creds_verify_ca("group's ca", ca) || creds_verify("its certificate", ca, crt))
		return -EKEYREJECTED;
	return 0;
}

static int dial(const struct sockaddr *to, socklen_t tolen, unsigned timeout_ms)
{
	struct timeval tv = { .tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000 };
	int fd, r;

	fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (!connect(fd, to, tolen))
		return fd;
	r = errno == EINPROGRESS ? -ETIMEDOUT : -errno;
	close(fd);
	return r;
}

int join_connect(const struct sockaddr *to, socklen_t tolen, const char *fingerprint,
		 unsigned timeout_ms, struct join_conn **ret)
{
	SSL_CTX *ctx = new_ctx(TLS_client_method());
	struct join_conn *jc;
	int fd, r;

	if (!ctx)
		return -ENOMEM;
	/* the chain is checked by check_server(), against the fingerprint */
	SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
	fd = dial(to, tolen, timeout_ms);
	r = fd < 0 ? fd : make_conn(ctx, fd, timeout_ms, &jc);
	if (r) {
		SSL_CTX_free(ctx);
		return r;
	}
	jc->own_ctx = ctx;
	r = handshake(jc, SSL_connect);
	if (!r)
		r = check_server(jc, fingerprint);
	if (r)
		join_close(jc);
	else
		*ret = jc;
	return r;
}

int join_read_line(struct join_conn *jc, char *buf, size_t cap)
{
	size_t len = 0;
	int rc, r;

	while (len + 1 < cap) {
		char *nl;

		ERR_clear_error();
		rc = SSL_read(jc->ssl, buf + len, cap - 1 - len);
		if (rc <= 0) {
			r = wait_for(jc, rc);
			if (r)
				return r == -ENODATA ? 0 : r;
			continue;
		}
		nl = memchr(buf + len, '\n', rc);
		len += rc;
		if (nl) {
			*nl = '\0';
			return nl - buf;
		}
	}
	return -EMSGSIZE;
}

int join_write(struct join_conn *jc, const char *text)
{
	size_t len = strlen(text);
	int rc, r;

	while (len) {
		ERR_clear_error();
		rc = SSL_write(jc->ssl, text, len);
		if (rc > 0) {
			text += rc;
			len -= rc;
			continue;
		}
		r = wait_for(jc, rc);
		if (r)
			return r;
	}
	return 0;
}

void join_close(struct join_conn *jc)
{
	if (!jc)
		return;
	if (jc->ssl) {
		SSL_shutdown(jc->ssl);
		ERR_clear_error();
	}
	SSL_free(jc->ssl);
	SSL_CTX_free(jc->own_ctx);
	close(jc->fd);
	free(jc);
}
