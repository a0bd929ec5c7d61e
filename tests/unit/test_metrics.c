// SPDX-License-Identifier: GPL-2.0
/* The text for Prometheus: its grammar, its figures, its labels; and what asks for it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/httpreq.h"
#include "daemon/health/metrics.h"

static struct metrics_snapshot *s;
static char *text;

static void setup(void)
{
	s = calloc(1, sizeof(*s));
	s->copies = calloc(8, sizeof(*s->copies));
	strcpy(s->version, "1.0");
	strcpy(s->member, "n1");
	strcpy(s->group, "lab");
	s->grouped = s->quorum = s->may_activate = true;
	s->lease_margin_s = 0.75;
	s->voters = 3;
	s->nr_copies = 2;
	strcpy(s->copies[0].store, "pg");
	strcpy(s->copies[0].member, "n1");
	strcpy(s->copies[0].status, "Mounted");
	strcpy(s->copies[1].store, "pg");
	strcpy(s->copies[1].member, "n2");
	strcpy(s->copies[1].status, "Healthy");
	s->copies[1].queues = s->copies[1].replay = s->copies[1].shipped = true;
	s->copies[1].healthy = true;
	s->copies[1].copy_records = 12;
	s->copies[1].copy_bytes = 49152;
	s->copies[1].copy_seconds = 0.25;
	s->copies[1].late = true;
	s->copies[1].lag_seconds = 7200;
	s->copies[1].late_seconds = 1.5;
	latency_add(&s->copies[1].ship, 900);
	latency_add(&s->copies[1].ship, 1500000);
	latency_add(&s->copies[1].durable, 60000000000);
	s->nr_stores = 1;
	strcpy(s->stores[0].name, "pg");
	s->stores[0].epoch = 7;
	s->stores[0].activations = 3;
	s->stores[0].tap = true;
	s->stores[0].write[0] = 5;
	s->stores[0].info.ring_bytes = 64 << 20;
	s->nr_paths = 1;
	strcpy(s->paths[0].peer, "n2");
	strcpy(s->paths[0].network, "fast");
	s->paths[0].up = true;
	s->paths[0].rtt_s = 0.0004;
	s->paths[0].loss = 0.03;
	s->nr_health = 1;
	strcpy(s->health[0].name, "pg");
	s->health[0].healthy = 2;
	s->nr_kinds = 1;
	strcpy(s->kinds[0].kind, "activation");
	s->kinds[0].count = 2;
}

static void teardown(void)
{
	free(s->copies);
	free(s);
	free(text);
	text = NULL;
}

TestSuite(metrics, .init = setup, .fini = teardown);

static void make(void)
{
	size_t len;
	FILE *f = open_memstream(&text, &len);

	metrics_write(s, f);
	fclose(f);
}

static void has(const char *line)
{
	const char *at = strstr(text, line);

	cr_assert_not_null(at, "no line: %s", line);
	cr_assert(at == text || at[-1] == '\n');
	cr_assert_eq(at[strlen(line)], '\n', "%s: %.60s", line, at);
}

/* Name, labels, number; each name declared once, before its samples, which stand together. */
static void check_grammar(void)
{
	char *copy = strdup(text), *next = copy, *line, family[100] = "";

	cr_assert_eq(text[strlen(text) - 1], '\n');
	while ((line = strsep(&next, "\n")) && (*line || next)) {
		char *end, *at = line;
		size_t n;

		cr_assert(*line, "an empty line");
		if (!strncmp(line, "# TYPE dag_", 11)) {
			char decl[120];

			snprintf(family, sizeof(family), "%.*s", (int)strcspn(line + 7, " "), line + 7);
			snprintf(decl, sizeof(decl), "# TYPE %s ", family);
			at = strstr(text, decl);
			cr_assert_null(strstr(at + 1, decl), "%s twice", family);
			at = line + 7 + strlen(family) + 1;
			cr_assert(!strcmp(at, "gauge") || !strcmp(at, "counter") ||
				  !strcmp(at, "histogram"), "%s", line);
			continue;
		}
		if (!strncmp(line, "# HELP dag_", 11))
			continue;
		n = strlen(family);
		cr_assert(!strncmp(line, family, n), "%s: outside of %s", line, family);
		at += strspn(line, "abcdefghijklmnopqrstuvwxyz_");
		if (*at == '{') {
			bool quoted = false;

			for (at++; *at && (quoted || *at != '}'); at++) {
				if (quoted && *at == '\\')
					at++;
				else if (*at == '"')
					quoted = !quoted;
			}
			cr_assert_eq(*at++, '}', "%s", line);
		}
		cr_assert_eq(*at++, ' ', "%s", line);
		strtod(at, &end);
		cr_assert(end > at && !*end, "%s", line);
	}
	free(copy);
}

Test(metrics, figures)
{
	make();
	check_grammar();
	has("dag_build_info{version=\"1.0\",member=\"n1\",group=\"lab\"} 1");
	has("dag_lease_margin_seconds 0.75");
	has("dag_copy_queue_records{store=\"pg\",copy=\"n2\"} 12");
	has("dag_copy_queue_bytes{store=\"pg\",copy=\"n2\"} 49152");
	has("dag_copy_queue_seconds{store=\"pg\",copy=\"n2\"} 0.25");
	has("dag_replay_lag_seconds{store=\"pg\",copy=\"n2\"} 7200");
	has("dag_replay_late_seconds{store=\"pg\",copy=\"n2\"} 1.5");
	cr_assert_null(strstr(text, "dag_copy_queue_records{store=\"pg\",copy=\"n1\"}"),
		       "the active copy has no queue");
	has("dag_activations_total{store=\"pg\"} 3");
	has("dag_network_loss_ratio{peer=\"n2\",network=\"fast\",local=\"\",remote=\"\"} 0.03");
	has("dag_network_rtt_seconds{peer=\"n2\",network=\"fast\",local=\"\",remote=\"\"} 0.0004");
	has("dag_store_healthy_copies{store=\"pg\"} 2");
	has("dag_events_total{kind=\"activation\"} 2");
	has("dag_redundancy_alert{store=\"pg\"} 0");
}

Test(metrics, histograms_are_cumulative)
{
	make();
	has("dag_ship_seconds_bucket{store=\"pg\",copy=\"n2\",le=\"1e-06\"} 1");
	has("dag_ship_seconds_bucket{store=\"pg\",copy=\"n2\",le=\"0.001024\"} 1");
	has("dag_ship_seconds_bucket{store=\"pg\",copy=\"n2\",le=\"0.002048\"} 2");
	has("dag_ship_seconds_bucket{store=\"pg\",copy=\"n2\",le=\"+Inf\"} 2");
	has("dag_ship_seconds_count{store=\"pg\",copy=\"n2\"} 2");
	has("dag_ship_seconds_sum{store=\"pg\",copy=\"n2\"} 0.0015009");
	/* beyond the last bound */
	has("dag_durable_seconds_bucket{store=\"pg\",copy=\"n2\",le=\"4.194304\"} 0");
	has("dag_durable_seconds_bucket{store=\"pg\",copy=\"n2\",le=\"+Inf\"} 1");
	/* the module keeps no sum: none is made up */
	has("dag_tap_write_seconds_count{store=\"pg\"} 5");
	cr_assert_null(strstr(text, "dag_tap_write_seconds_sum"));
}

Test(metrics, labels_cannot_break_out)
{
	strcpy(s->copies[1].member, "a\"} 1\nevil{x=\"\\\x01");
	make();
	check_grammar();
	cr_assert_null(strstr(text, "\nevil"));
	cr_assert_not_null(strstr(text, "copy=\"a\\\"} 1\\nevil{x=\\\"\\\\\""));
}

Test(metrics, odd_numbers)
{
	s->lease_margin_s = NAN;
	s->engine_age_s = INFINITY;
	s->copies[1].copy_bytes = 9007199254740993.0;
	make();
	check_grammar();
	has("dag_lease_margin_seconds NaN");
	has("dag_engine_age_seconds +Inf");
}

Test(metrics, without_a_group)
{
	s->grouped = false;
	make();
	check_grammar();
	cr_assert_null(strstr(text, "dag_copy_"));
	has("dag_uptime_seconds 0");
}

/* ---- requests ------------------------------------------------------------------------- */

static int judge(const char *req)
{
	bool head = true;
	size_t len = strlen(req);
	int status = httpreq_judge(req, len, false, &head);

	/* the answer is the same however the bytes arrive, and none comes too early */
	for (size_t n = 0; n < len && status == 200; n++)
		cr_assert_eq(httpreq_judge(req, n, false, &head), 0, "after %zu bytes", n);
	return status;
}

Test(httpreq, what_is_answered)
{
	bool head = false;

	cr_assert_eq(judge("GET /metrics HTTP/1.1\r\nHost: localhost:64331\r\n\r\n"), 200);
	cr_assert_eq(judge("GET /metrics HTTP/1.0\r\n\r\n"), 200);
	cr_assert_eq(judge("GET /metrics HTTP/1.0\n\n"), 200);
	cr_assert_eq(judge("GET /metrics?x=y HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n"), 200);
	cr_assert_eq(judge("GET /metrics HTTP/1.1\r\nHost: [::1]:64331\r\n\r\n"), 200);
	cr_assert_eq(judge("GET /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), 200);
	cr_assert_eq(httpreq_judge("HEAD /metrics HTTP/1.1\r\n\r\n", 28, false, &head), 200);
	cr_assert(head);
	cr_assert_eq(judge(""), 0);
	cr_assert_eq(judge("GET /metrics HTTP/1.1\r\nHost: localhost\r\n"), 0);
}

Test(httpreq, what_is_refused)
{
	static const struct { int status; const char *req; } bad[] = {
		{ 404, "GET / HTTP/1.1\r\n\r\n" },
		{ 404, "GET /metrics/ HTTP/1.1\r\n\r\n" },
		{ 404, "GET //metrics HTTP/1.1\r\n\r\n" },
		{ 404, "GET /../metrics HTTP/1.1\r\n\r\n" },
		{ 405, "POST /metrics HTTP/1.1\r\n\r\n" },
		{ 405, "get /metrics HTTP/1.1\r\n\r\n" },
		{ 405, "DELETE /metrics HTTP/1.1\r\n\r\n" },
		{ 413, "GET /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" },
		{ 413, "GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" },
		{ 400, "GET  /metrics HTTP/1.1\r\n\r\n" },
		{ 400, "GET /metrics\r\n\r\n" },
		{ 400, "GET http://x/metrics HTTP/1.1\r\n\r\n" },
		{ 400, "GET /metrics FTP/1.1\r\n\r\n" },
		{ 400, "\r\nGET /metrics HTTP/1.1\r\n\r\n" },
		{ 400, "GET /metrics HTTP/1.1\r\nHost : localhost\r\n\r\n" },
		{ 400, "GET /metrics HTTP/1.1\r\n folded: x\r\n\r\n" },
		{ 400, "GET /metrics HTTP/1.1\r\nno colon\r\n\r\n" },
		{ 400, "GET /metrics HTTP/1.1\r\n: x\r\n\r\n" },
		{ 400, "GET /met\x01rics HTTP/1.1\r\n\r\n" },
		{ 400, "GET /metrics HTTP/1.1\r\nX: \x02\r\n\r\n" },
		{ 400, "\x16\x03\x01\x02\r\n" },	/* TLS */
		{ 505, "GET /metrics HTTP/2.0\r\n\r\n" },
		{ 505, "GET /metrics HTTP/1.1 x\r\n\r\n" },
		{ 403, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n" },
		{ 403, "GET /metrics HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n" },
		{ 403, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n" },
		{ 403, "GET /metrics HTTP/1.1\r\nHost:\r\n\r\n" },
	};
	bool head;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(judge(bad[i].req), bad[i].status, "%s: %d", bad[i].req, judge(bad[i].req));
	/* served to the network, it has names that we do not know */
	cr_assert_eq(httpreq_judge("GET /metrics HTTP/1.1\r\nHost: node1.example\r\n\r\n", 46, true,
				   &head), 200);
	cr_assert_str_eq(httpreq_reason(431), "Request Header Fields Too Large");
}

Test(httpreq, what_is_too_long)
{
	char req[HTTPREQ_MAX + 1];
	bool head;
	size_t n;

	memset(req, 'a', sizeof(req));
	memcpy(req, "GET /", 5);
	cr_assert_eq(httpreq_judge(req, 1000, false, &head), 0);
	cr_assert_eq(httpreq_judge(req, 1025, false, &head), 414);
	strcpy(req, "GET /metrics HTTP/1.1\r\n");
	n = strlen(req);
	memset(req + n, 'a', sizeof(req) - n);
	req[n + 1] = ':';
	cr_assert_eq(httpreq_judge(req, HTTPREQ_MAX - 1, false, &head), 0);
	cr_assert_eq(httpreq_judge(req, HTTPREQ_MAX, false, &head), 431);
	for (int i = 0; i < 70; i++)
		memcpy(req + n + 5 * i, "a: b\n", 5);
	cr_assert_eq(httpreq_judge(req, n + 350, false, &head), 431, "too many headers");
}

/* Whatever comes: an answer of ours, never a read beyond it (ASan), and once an answer is
 * there more bytes do not make it a 200. */
Test(httpreq, noise)
{
	static const char *const words[] = { "GET ", "HEAD ", "/metrics", " HTTP/1.1", "\r\n", "\n", "Host: ",
					     "localhost", ":", " ", "Content-Length: ", "0", "\r", "\t", "?",
					     "[::1]", "\xff", "%", "a" };
	unsigned seed = 1;

	for (int i = 0; i < 200000; i++) {
		char *req;
		size_t len = 0;
		bool head;
		int status, first = 0;
		char all[400];

		for (int k = rand_r(&seed) % 16; k > 0; k--) {
			const char *w = words[rand_r(&seed) % (sizeof(words) / sizeof(words[0]))];

			memcpy(all + len, w, strlen(w));
			len += strlen(w);
			if (!(rand_r(&seed) % 40))
				all[rand_r(&seed) % len] = rand_r(&seed);
		}
		req = malloc(len + !len);	/* exactly: a byte beyond is an error of ASan */
		memcpy(req, all, len);
		for (size_t n = 0; n <= len; n++) {
			status = httpreq_judge(req, n, i & 1, &head);
			cr_assert(!status || strcmp(httpreq_reason(status), "Unknown"), "%d", status);
			if (first && first != 200)
				cr_assert_neq(status, 200, "%d became 200", first);
			first = first ? first : status;
		}
		free(req);
	}
}
