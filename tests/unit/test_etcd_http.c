// SPDX-License-Identifier: GPL-2.0
/*
 * The client of etcd's gateway: base64, requests, answers as they may come from a
 * damaged or hostile server, and what each kind of failure is taken for.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/group/etcd_http.h"

#define HEAD "\"header\":{\"cluster_id\":\"18446744073709551615\",\"member_id\":\"7\"," \
	     "\"revision\":\"9\",\"raft_term\":\"2\"}"

Test(etcd_json, base64)
{
	static const char *const pairs[][2] = {
		{ "", "" }, { "f", "Zg==" }, { "fo", "Zm8=" }, { "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" }, { "fooba", "Zm9vYmE=" }, { "foobar", "Zm9vYmFy" },
		{ "\xff\xfe\xfd", "//79" },
	};
	static const char *const bad[] = { "Z", "Zg=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9v\n", "Zm9-" };
	uint8_t bin[256];
	char *text, *back;
	size_t i, len;

	for (i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		text = etcd_base64(pairs[i][0], strlen(pairs[i][0]));
		cr_assert_str_eq(text, pairs[i][1]);
		back = etcd_unbase64(text, strlen(text), &len);
		cr_assert_eq(len, strlen(pairs[i][0]));
		cr_assert_str_eq(back, pairs[i][0]);
		free(text);
		free(back);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_null(etcd_unbase64(bad[i], strlen(bad[i]), &len), "%s", bad[i]);
	for (i = 0; i < 256; i++)
		bin[i] = i;
	text = etcd_base64(bin, 256);
	back = etcd_unbase64(text, strlen(text), &len);
	cr_assert_eq(len, 256);
	cr_assert_eq(memcmp(back, bin, 256), 0);
	free(text);
	free(back);
}

Test(etcd_json, requests)
{
	struct etcd_txn *tx = etcd_txn_new();
	char *text;

	text = etcd_range_text("foo", NULL, false, 0);
	cr_assert_str_eq(text, "{\"key\":\"Zm9v\"}");
	free(text);
	text = etcd_range_text("foo", "foob", true, 12);
	cr_assert_str_eq(text, "{\"key\":\"Zm9v\",\"range_end\":\"Zm9vYg==\",\"serializable\":true,"
			 "\"min_mod_revision\":\"12\"}");
	free(text);
	etcd_txn_if_mod(tx, "foo", 3);
	etcd_txn_if_value(tx, "f", "fo");
	etcd_txn_if_unchanged(tx, "f", "fo", 8);
	etcd_txn_put(tx, "foo", "");
	etcd_txn_delete(tx, "f");
	etcd_txn_else_range(tx, "f", "fo");
	cr_assert_str_eq(etcd_txn_text(tx),
		"{\"compare\":[{\"key\":\"Zm9v\",\"target\":\"MOD\",\"result\":\"EQUAL\",\"mod_revision\":\"3\"},"
		"{\"key\":\"Zg==\",\"target\":\"VALUE\",\"result\":\"EQUAL\",\"value\":\"Zm8=\"},"
		"{\"key\":\"Zg==\",\"target\":\"MOD\",\"result\":\"LESS\",\"range_end\":\"Zm8=\",\"mod_revision\":\"9\"}],"
		"\"success\":[{\"request_put\":{\"key\":\"Zm9v\",\"value\":\"\"}},"
		"{\"request_delete_range\":{\"key\":\"Zg==\"}}],"
		"\"failure\":[{\"request_range\":{\"key\":\"Zg==\",\"range_end\":\"Zm8=\"}}]}");
	etcd_txn_free(tx);
}

static int parse(const char *text, struct etcd_reply *rp)
{
	char err[200] = "";
	int r = etcd_reply_parse(text, strlen(text), rp, err, sizeof(err));

	cr_assert(!r || err[0], "%s", text);
	return r;
}

Test(etcd_json, answers)
{
	struct etcd_reply rp = { 0 };

	cr_assert_eq(parse("{" HEAD ",\"kvs\":[{\"key\":\"Zm9v\",\"mod_revision\":\"8\",\"value\":\"Zg==\"},"
			   "{\"key\":\"Zg==\",\"mod_revision\":\"9\"}],\"count\":\"2\",\"more\":false}", &rp), 0);
	cr_assert_eq(rp.cluster, UINT64_MAX);
	cr_assert_eq(rp.revision, 9);
	cr_assert_eq(rp.nr, 2);
	cr_assert_str_eq(etcd_reply_find(&rp, "foo")->value, "f");
	cr_assert_eq(etcd_reply_find(&rp, "f")->len, 0);
	cr_assert_null(etcd_reply_find(&rp, "x"));
	etcd_reply_free(&rp);
	cr_assert_eq(parse("{" HEAD ",\"responses\":[{\"response_put\":{}},{\"response_range\":{\"kvs\":"
			   "[{\"key\":\"Zm9v\",\"mod_revision\":\"8\"}]}},{\"response_range\":{\"kvs\":"
			   "[{\"key\":\"Zg==\",\"mod_revision\":\"8\"}]}}]}", &rp), 0);
	cr_assert_not(rp.succeeded);
	cr_assert_eq(rp.nr, 2);
	etcd_reply_free(&rp);
	cr_assert_eq(parse("{" HEAD ",\"succeeded\":true}", &rp), 0);
	cr_assert(rp.succeeded);
	etcd_reply_free(&rp);
}

Test(etcd_json, hostile_answers)
{
	static const char *const bad[] = {
		"", "{", "[]", "null", "7", "{}", "{\"header\":7}", "{\"header\":{}}",
		"{\"header\":{\"revision\":\"-1\"}}", "{\"header\":{\"revision\":9}}",
		"{\"header\":{\"revision\":\"99999999999999999999999\"}}",
		"{\"header\":{\"revision\":\"0x9\"}}", "{\"header\":{\"revision\":\" 9\"}}",
		"{\"header\":{\"revision\":\"18446744073709551615\"}}",
		"{" HEAD ",\"kvs\":7}", "{" HEAD ",\"kvs\":[7]}", "{" HEAD ",\"kvs\":[null]}",
		"{" HEAD ",\"kvs\":[{}]}", "{" HEAD ",\"kvs\":[{\"key\":7}]}",
		"{" HEAD ",\"kvs\":[{\"key\":\"\",\"mod_revision\":\"8\"}]}",
		"{" HEAD ",\"kvs\":[{\"key\":\"###=\",\"mod_revision\":\"8\"}]}",
		"{" HEAD ",\"kvs\":[{\"key\":\"AAAA\",\"mod_revision\":\"8\"}]}",	/* NULs */
		"{" HEAD ",\"kvs\":[{\"key\":\"Zm9v\"}]}",
		"{" HEAD ",\"kvs\":[{\"key\":\"Zm9v\",\"mod_revision\":\"10\"}]}",	/* of the future */
		"{" HEAD ",\"kvs\":[{\"key\":\"Zm9v\",\"mod_revision\":\"8\",\"value\":7}]}",
		"{" HEAD ",\"kvs\":[{\"key\":\"Zm9v\",\"mod_revision\":\"8\",\"value\":\"x\"}]}",
		"{" HEAD ",\"succeeded\":\"true\"}", "{" HEAD ",\"responses\":{}}",
		"{" HEAD ",\"responses\":[7]}", "{" HEAD ",\"responses\":[{\"response_range\":[]}]}",
		"{" HEAD "} {}", "{" HEAD ",\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}",
	};
	struct etcd_reply rp = { 0 };
	char *big = malloc(3000), text[4000];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(parse(bad[i], &rp), -EBADMSG, "%s", bad[i]);
	/* a key that is too long */
	memset(big, 'A', 2999);
	big[2999] = '\0';
	for (i = 0; i < 2996; i += 4)
		memcpy(big + i, "Zm9v", 4);
	big[2996] = '\0';
	snprintf(text, sizeof(text), "{" HEAD ",\"kvs\":[{\"key\":\"%s\",\"mod_revision\":\"8\"}]}", big);
	cr_assert_eq(parse(text, &rp), -EBADMSG);
	free(big);
}

Test(etcd_json, too_many_keys)
{
	struct etcd_reply rp = { 0 };
	char *text = malloc(ETCD_KVS_MAX * 64 + 1000), *at = text;
	int i;

	at += sprintf(at, "{" HEAD ",\"kvs\":[{\"key\":\"Zm9v\",\"mod_revision\":\"8\"}");
	for (i = 0; i < ETCD_KVS_MAX; i++)
		at += sprintf(at, ",{\"key\":\"Zm9v\",\"mod_revision\":\"8\"}");
	strcpy(at, "]}");
	cr_assert_eq(parse(text, &rp), -EBADMSG);
	free(text);
}

/* Whatever is cut off or changed: an answer or -EBADMSG, never more (run under ASan). */
Test(etcd_json, damaged_answers)
{
	const char good[] = "{" HEAD ",\"succeeded\":true,\"responses\":[{\"response_range\":{\"kvs\":"
			    "[{\"key\":\"Zm9v\",\"mod_revision\":\"8\",\"value\":\"Zm9vYmFy\"}]}}]}";
	char text[sizeof(good)], err[200];
	struct etcd_members *ms = malloc(sizeof(*ms));
	struct etcd_status st;
	struct etcd_reply rp;
	unsigned seed = 1;
	size_t i;
	int n, r;

	for (i = 0; i < sizeof(good) - 1; i++)
		cr_assert_eq(etcd_reply_parse(good, i, &rp, err, sizeof(err)), -EBADMSG);
	for (n = 0; n < 20000; n++) {
		memcpy(text, good, sizeof(good));
		for (i = 0; i < 3; i++)
			text[rand_r(&seed) % (sizeof(good) - 1)] = rand_r(&seed);
		r = etcd_reply_parse(text, sizeof(good) - 1, &rp, err, sizeof(err));
		cr_assert(r == 0 || r == -EBADMSG);
		if (!r)
			etcd_reply_free(&rp);
		etcd_members_parse(text, sizeof(good) - 1, ms, err, sizeof(err));
		etcd_status_parse(text, sizeof(good) - 1, &st, err, sizeof(err));
		etcd_error_text(text, sizeof(good) - 1, err, sizeof(err));
	}
	free(ms);
}

Test(etcd_json, members_and_status)
{
	const char list[] = "{\"header\":{\"cluster_id\":\"5\"},\"members\":[{\"ID\":\"1\",\"name\":\"a\",\"peerURLs\":"
			    "[\"https://127.0.0.1:1\"]},{\"ID\":\"2\",\"isLearner\":true,\"peerURLs\":[\"u\"]}]}";
	const char status[] = "{" HEAD ",\"version\":\"3.4.23\",\"leader\":\"7\",\"raftIndex\":\"8\","
			      "\"raftAppliedIndex\":\"8\",\"dbSize\":\"20480\"}";
	struct etcd_members *ms = malloc(sizeof(*ms));
	struct etcd_status st;
	char err[200];

	cr_assert_eq(etcd_members_parse(list, strlen(list), ms, err, sizeof(err)), 0);
	cr_assert_eq(ms->nr, 2);
	cr_assert_eq(ms->cluster, 5);
	cr_assert_str_eq(ms->list[0].peer_url, "https://127.0.0.1:1");
	cr_assert(ms->list[1].learner && !ms->list[0].learner);
	cr_assert_str_eq(ms->list[1].name, "");
	cr_assert_eq(etcd_status_parse(status, strlen(status), &st, err, sizeof(err)), 0);
	cr_assert_str_eq(st.version, "3.4.23");
	cr_assert_eq(st.leader, 7);
	free(ms);
}

/* ---- a server that answers as it is told ---------------------------------- */

struct server {
	int fd;
	uint16_t port;
	const char *answer;		/* whole, with its head; NULL: silence */
	int asked;
	pthread_t thread;
};

static void *serve(void *arg)
{
	struct server *sv = arg;
	char buf[4096];
	int fd;

	while ((fd = accept(sv->fd, NULL, NULL)) >= 0) {
		if (read(fd, buf, sizeof(buf)) > 0)
			sv->asked++;
		if (sv->answer) {
			if (write(fd, sv->answer, strlen(sv->answer)) < 0)
				perror("write");
			shutdown(fd, SHUT_WR);
		}
		while (read(fd, buf, sizeof(buf)) > 0)
			;
		close(fd);
	}
	return NULL;
}

static void server_start(struct server *sv, const char *answer)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(in);

	memset(sv, 0, sizeof(*sv));
	sv->answer = answer;
	sv->fd = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(bind(sv->fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(listen(sv->fd, 8), 0);
	cr_assert_eq(getsockname(sv->fd, (struct sockaddr *)&in, &len), 0);
	sv->port = ntohs(in.sin_port);
	cr_assert_eq(pthread_create(&sv->thread, NULL, serve, sv), 0);
}

static void server_stop(struct server *sv)
{
	shutdown(sv->fd, SHUT_RDWR);
	pthread_join(sv->thread, NULL);
	close(sv->fd);
}

static void url_of(char ret[ETCD_URL_MAX], unsigned port)
{
	snprintf(ret, ETCD_URL_MAX, "http://127.0.0.1:%u", port);
}

#define OK_ANSWER "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{" HEAD ",\"succeeded\":true}"

/* A port that nobody listens at. */
static uint16_t dead_port(void)
{
	struct server sv;

	server_start(&sv, NULL);
	server_stop(&sv);
	return sv.port;
}

static int ask(const char *answer, char err[200])
{
	const struct etcd_tls none = { "", "", "" };
	struct etcd_endpoints *ee;
	struct etcd_txn *tx = etcd_txn_new();
	struct etcd_http *eh;
	struct etcd_reply rp = { 0 };
	char url[1][ETCD_URL_MAX];
	struct server sv;
	int r;

	server_start(&sv, answer);
	url_of(url[0], sv.port);
	etcd_txn_put(tx, "a", "b");
	cr_assert_eq(etcd_endpoints_create(&none, &ee), 0);
	etcd_endpoints_set(ee, url, 1);
	cr_assert_eq(etcd_http_open(ee, false, &eh), 0);
	r = etcd_txn(eh, tx, 300, &rp);
	snprintf(err, 200, "%s", etcd_http_error(eh));
	etcd_reply_free(&rp);
	etcd_http_close(eh);
	etcd_endpoints_free(ee);
	etcd_txn_free(tx);
	server_stop(&sv);
	return r;
}

Test(etcd_http, kinds_of_failure)
{
	char err[200];

	signal(SIGPIPE, SIG_IGN);
	cr_assert_eq(ask(OK_ANSWER, err), 0);
	cr_assert_eq(ask(NULL, err), -EAGAIN);				/* silence */
	cr_assert_eq(ask("", err), -EAGAIN);				/* cut */
	cr_assert_eq(ask("garbage\n\n", err), -EAGAIN);
	cr_assert_eq(ask("HTTP/1.1 200 OK\r\n\r\nnonsense", err), -EAGAIN);
	cr_assert_eq(ask("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{" HEAD "}", err), -EAGAIN);
	cr_assert_eq(ask("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", err), -EAGAIN);
	cr_assert_eq(ask("HTTP/1.1 503 No\r\n\r\n{\"message\":\"etcdserver: no leader\"}", err), -EAGAIN);
	cr_assert_not_null(strstr(err, "no leader"));
	cr_assert_eq(ask("HTTP/1.1 408 No\r\n\r\n{}", err), -EAGAIN);	/* cancelled: who knows */
	cr_assert_eq(ask("HTTP/1.1 400 No\r\n\r\n{\"message\":\"too many\x1b[0m operations\"}", err), -EREMOTEIO);
	cr_assert_null(strchr(err, '\x1b'));
}

Test(etcd_http, endless_answer)
{
	char *big = malloc(ETCD_ANSWER_MAX + 70000), err[200];

	signal(SIGPIPE, SIG_IGN);
	strcpy(big, "HTTP/1.1 200 OK\r\n\r\n");
	memset(big + strlen(big), ' ', ETCD_ANSWER_MAX + 65536);
	big[ETCD_ANSWER_MAX + 65536] = '\0';
	cr_assert_eq(ask(big, err), -EAGAIN);
	free(big);
}

Test(etcd_http, fail_over)
{
	const struct etcd_tls none = { "", "", "" };
	struct etcd_endpoints *ee;
	struct etcd_http *eh, *urgent;
	struct etcd_reply rp = { 0 };
	char url[3][ETCD_URL_MAX];
	struct server mute, well;

	signal(SIGPIPE, SIG_IGN);
	server_start(&mute, NULL);
	server_start(&well, OK_ANSWER);
	url_of(url[0], dead_port());
	url_of(url[1], mute.port);
	url_of(url[2], well.port);
	cr_assert_eq(etcd_endpoints_create(&none, &ee), 0);
	cr_assert_eq(etcd_http_open(ee, false, &eh), 0);
	cr_assert_eq(etcd_http_open(ee, true, &urgent), 0);
	cr_assert_eq(etcd_range(eh, "a", NULL, false, 0, 300, &rp), -ENOTCONN);	/* none is known */
	etcd_endpoints_set(ee, url, 1);
	cr_assert_eq(etcd_range(eh, "a", NULL, false, 0, 300, &rp), -ENOTCONN);
	etcd_endpoints_set(ee, url, 3);
	/* the dead one is passed over; the mute one took the question: no second try */
	cr_assert_eq(etcd_range(eh, "a", NULL, false, 0, 300, &rp), -EAGAIN);
	cr_assert_str_eq(etcd_http_asked(eh), url[1]);
	cr_assert_eq(mute.asked, 1);
	/* both are avoided now, by every handle */
	cr_assert_eq(etcd_range(urgent, "a", NULL, false, 0, 300, &rp), 0);
	etcd_reply_free(&rp);
	cr_assert_str_eq(etcd_http_asked(urgent), url[2]);
	usleep(1100000);
	/* those in a hurry go on avoiding it */
	cr_assert_eq(etcd_range(urgent, "a", NULL, false, 0, 300, &rp), 0);
	etcd_reply_free(&rp);
	cr_assert_eq(mute.asked, 1);
	cr_assert_eq(etcd_range(eh, "a", NULL, false, 0, 300, &rp), -EAGAIN);
	cr_assert_eq(mute.asked, 2);
	/* and so do reads that prove nothing, for however long */
	usleep(2100000);
	cr_assert_eq(etcd_range(eh, "a", NULL, true, 0, 300, &rp), 0);
	etcd_reply_free(&rp);
	cr_assert_eq(mute.asked, 2);
	etcd_http_close(eh);
	etcd_http_close(urgent);
	etcd_endpoints_free(ee);
	server_stop(&mute);
	server_stop(&well);
}
