// SPDX-License-Identifier: GPL-2.0
/*
 * Peers that a stream refuses: wrong security, wrong certificates, no TLS at all,
 * silence. Each is named in the log once.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/net/stream_internal.h"
#include "tests/lib/certs.h"
#include "tests/lib/streams.h"

TestSuite(stream_refuse, .init = streams_setup, .fini = streams_teardown);

static void both_refuse(struct stream_conf ca, struct stream_conf cb, int want_a, int want_b,
			const char *text)
{
	struct stream *a = NULL, *b = NULL;
	int rca, rcb;

	streams_dial(ca, cb, &rca, &rcb, &a, &b);
	cr_assert_null(a);
	cr_assert_null(b);
	cr_assert_eq(rca, want_a, "connect %d: %s", rca, streams_log());
	cr_assert_eq(rcb, want_b, "accept %d: %s", rcb, streams_log());
	cr_assert_eq(streams_log_lines("refused cause"), 2, "%s", streams_log());
	cr_assert_eq(streams_log_lines(text), 1, "%s", streams_log());
}

Test(stream_refuse, security_mismatch)
{
	both_refuse(streams_tls(true), streams_plain(), -EPROTO, -EPROTO, "plain is configured there, tls here");
}

Test(stream_refuse, security_mismatch_other_way)
{
	both_refuse(streams_plain(), streams_tls(false), -EPROTO, -EPROTO, "tls is configured there, plain here");
}

static void bad_client(struct creds *bad, const char *text)
{
	struct stream_conf conf = streams_tls(false);

	conf.creds = bad;
	both_refuse(conf, streams_tls(false), -EPROTO, -EKEYREJECTED, text);
	creds_free(bad);
}

static struct creds *foreign(const char *group)
{
	struct creds *c;
	char ca2[64];

	certs_dir(ca2);
	cr_assert_eq(certs_group(ca2, group), 0);
	c = certs_craft(ca2, STREAMS_GROUP, "mallory", -60, 3600);
	/* it trusts the right CA and group, or it would refuse the server itself */
	strcpy(c->group, STREAMS_GROUP);
	X509_free(c->ca);
	c->ca = streams_two->ca;
	X509_up_ref(c->ca);
	certs_remove(ca2);
	return c;
}

Test(stream_refuse, client_of_another_ca)
{
	bad_client(foreign(STREAMS_OTHER), "unable to get local issuer certificate");
}

/* The other CA has even the same name. */
Test(stream_refuse, client_of_a_false_ca)
{
	bad_client(foreign(STREAMS_GROUP), "certificate signature failure");
}

Test(stream_refuse, client_expired)
{
	bad_client(certs_craft(streams_ca_dir, STREAMS_GROUP, "one", -7200, -3600),
		   "cause=\"certificate has expired\"");
}

Test(stream_refuse, client_not_yet_valid)
{
	bad_client(certs_craft(streams_ca_dir, STREAMS_GROUP, "one", 3600, 7200), "not yet valid");
}

Test(stream_refuse, client_of_another_group)
{
	bad_client(certs_craft(streams_ca_dir, STREAMS_OTHER, "one", -60, 3600),
		   "certificate of another group");
}

Test(stream_refuse, server_of_another_ca)
{
	struct stream_conf conf = streams_tls(false);
	struct creds *bad = foreign(STREAMS_OTHER);

	conf.creds = bad;
	both_refuse(streams_tls(false), conf, -EKEYREJECTED, -EPROTO,
		    "unable to get local issuer certificate");
	creds_free(bad);
}

/* What `by` refuses from now on. */
static void refuse_from_now(struct creds *by, struct creds *whom)
{
	char serial[CREDS_SERIAL_MAX], crl[4096];

	cr_assert_eq(creds_own_serial(whom, serial), 0);
	cr_assert_eq(creds_crl_add(streams_ca_dir, STREAMS_GROUP, "", serial, crl, sizeof(crl)), 0);
	cr_assert_eq(creds_crl_take(by, crl), 0);
}

/* It is told so, by one that has shown itself to be a member. */
Test(stream_refuse, client_revoked)
{
	refuse_from_now(streams_two, streams_one);
	both_refuse(streams_tls(false), streams_tls(false), -EKEYREVOKED, -EKEYREJECTED,
		    "cause=\"certificate is revoked\"");
	cr_assert_eq(streams_log_lines("alert certificate revoked"), 1);
}

Test(stream_refuse, server_revoked)
{
	refuse_from_now(streams_one, streams_two);
	both_refuse(streams_plain(), streams_plain(), -EKEYREJECTED, -EPROTO,
		    "cause=\"certificate is revoked\"");
}

/* To tell it so. */
Test(stream_refuse, revoked_is_called_by_intent)
{
	struct stream_conf conf = streams_tls(false);
	struct stream *a = NULL, *b = NULL;
	int rca, rcb;

	refuse_from_now(streams_one, streams_two);
	conf.revoked_ok = true;
	streams_dial(conf, streams_tls(false), &rca, &rcb, &a, &b);
	cr_assert(!rca && !rcb, "%s", streams_log());
	stream_close(a);
	stream_close(b);
}

/* A secret goes over TLS, whatever both have configured. */
Test(stream_refuse, who_insists_gets_tls)
{
	struct stream_conf conf = streams_plain();
	struct stream *a = NULL, *b = NULL;
	char got[4] = "";
	int rca, rcb;

	conf.insist = true;
	streams_dial(conf, streams_plain(), &rca, &rcb, &a, &b);
	cr_assert(!rca && !rcb, "%s", streams_log());
	cr_assert(stream_is_tls(a) && stream_is_tls(b));
	cr_assert_eq(stream_write_full(a, "abc", 3, 1000), 0);
	cr_assert_eq(stream_read_full(b, got, 3, 1000), 0);
	cr_assert_str_eq(got, "abc");
	stream_close(a);
	stream_close(b);
	/* who answers cannot be made to by its own configuration */
	streams_dial(streams_plain(), conf, &rca, &rcb, &a, &b);
	cr_assert(!rca && !rcb && !stream_is_tls(a) && !stream_is_tls(b));
	stream_close(a);
	stream_close(b);
}

/* Peers that do not speak it: what they send, and then. */
struct raw {
	struct sockaddr_in to;
	const void *data;
	size_t len;
	bool stay;
	int fd;
};

static void *raw_main(void *arg)
{
	struct raw *r = arg;
	char buf[256];

	r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(r->fd, (void *)&r->to, sizeof(r->to)) < 0)
		return NULL;
	if (r->len && send(r->fd, r->data, r->len, MSG_NOSIGNAL) < 0)
		return NULL;
	if (!r->stay)
		shutdown(r->fd, SHUT_WR);
	while (read(r->fd, buf, sizeof(buf)) > 0)
		;
	return NULL;
}

static int accept_raw(const void *data, size_t len, bool stay, unsigned timeout_ms)
{
	struct raw r = { .data = data, .len = len, .stay = stay };
	struct stream_conf conf = streams_tls(false);
	struct stream *st = NULL;
	pthread_t th;
	int l = streams_listen(&r.to), fd, rc;
	uint64_t t0 = streams_now_ms();

	conf.creds = streams_two;
	conf.timeout_ms = timeout_ms;
	cr_assert_eq(pthread_create(&th, NULL, raw_main, &r), 0);
	fd = accept(l, NULL, NULL);
	rc = stream_accept(&conf, fd, &st);
	cr_assert_null(st);
	cr_assert_lt(streams_now_ms() - t0, timeout_ms + 1000u);
	pthread_join(th, NULL);
	close(r.fd);
	close(l);
	cr_assert_eq(streams_log_lines("refused cause"), 1, "%s", streams_log());
	cr_assert_eq(streams_log_lines("address=127.0.0.1:"), 1, "%s", streams_log());
	return rc;
}

Test(stream_refuse, garbage)
{
	unsigned char junk[4096];
	unsigned i;

	for (i = 0; i < sizeof(junk); i++)
		junk[i] = (i * 7919 + 13) * 0x9e3779b97f4a7c15ull >> 56;
	cr_assert_eq(accept_raw(junk, sizeof(junk), true, 5000), -EPROTO);
}

Test(stream_refuse, plain_text_peer)
{
	cr_assert_eq(accept_raw("GET / HTTP/1.0\r\n\r\n", 18, true, 5000), -EPROTO);
}

Test(stream_refuse, truncated_handshake)
{
	/* record header and start of a ClientHello, then the end */
	cr_assert_eq(accept_raw("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11, false, 5000),
		     -ECONNRESET);
}

Test(stream_refuse, silent_peer)
{
	cr_assert_eq(accept_raw("", 0, true, 300), -ETIMEDOUT);
}

Test(stream_refuse, stalled_handshake)
{
	cr_assert_eq(accept_raw("\x16\x03\x01\x02\x00\x01", 6, true, 300), -ETIMEDOUT);
}

Test(stream_refuse, peer_gone_at_once)
{
	cr_assert_eq(accept_raw("", 0, false, 5000), -ECONNRESET);
}

/* A TLS client of the library's own, without a certificate or too old. */
struct other {
	struct sockaddr_in to;
	int version;
};

static void *other_main(void *arg)
{
	struct other *o = arg;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;
	char c;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	SSL_CTX_set_max_proto_version(ctx, o->version);
	ssl = SSL_new(ctx);
	if (connect(fd, (void *)&o->to, sizeof(o->to)) == 0) {
		SSL_set_fd(ssl, fd);
		if (SSL_connect(ssl) == 1)
			SSL_read(ssl, &c, 1);
	}
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd);
	return NULL;
}

static void accept_other(int version, const char *text)
{
	struct other o = { .version = version };
	struct stream_conf conf = streams_tls(false);
	struct stream *st = NULL;
	pthread_t th;
	int l = streams_listen(&o.to), rc;
	char cause[128] = "";

	conf.creds = streams_two;
	conf.cause = cause;
	conf.causelen = sizeof(cause);
	cr_assert_eq(pthread_create(&th, NULL, other_main, &o), 0);
	rc = stream_accept(&conf, accept(l, NULL, NULL), &st);
	pthread_join(th, NULL);
	close(l);
	cr_assert_eq(rc, -EPROTO);
	cr_assert_null(st);
	cr_assert_eq(streams_log_lines(text), 1, "%s", streams_log());
	cr_assert_not_null(strstr(cause, text), "who asked is told '%s'", cause);
}

Test(stream_refuse, client_without_certificate)
{
	accept_other(TLS1_3_VERSION, "peer did not return a certificate");
}

Test(stream_refuse, client_of_tls_1_2)
{
	accept_other(TLS1_2_VERSION, "unsupported protocol");
}

Test(stream_refuse, nobody_listens)
{
	struct stream_conf conf = streams_tls(false);
	struct sockaddr_in to;
	struct stream *st = NULL;

	close(streams_listen(&to));
	conf.creds = streams_one;
	cr_assert_eq(stream_connect(&conf, (void *)&to, sizeof(to), NULL, 0, &st),
		     -ECONNREFUSED);
	cr_assert_eq(streams_log_lines("not connected"), 1);
}

/* A listener that never answers: the backlog takes the connection. */
Test(stream_refuse, connect_has_a_time_limit)
{
	struct stream_conf conf = streams_tls(false);
	struct sockaddr_in to;
	struct stream *st = NULL;
	uint64_t t0 = streams_now_ms();
	int l = streams_listen(&to);

	conf.creds = streams_one;
	conf.timeout_ms = 300;
	cr_assert_eq(stream_connect(&conf, (void *)&to, sizeof(to), NULL, 0, &st), -ETIMEDOUT);
	cr_assert_lt(streams_now_ms() - t0, 1500);
	close(l);
}
