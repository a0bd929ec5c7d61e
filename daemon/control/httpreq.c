// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/httpreq.h"

#include <string.h>
#include <strings.h>

#define REQUEST_LINE_MAX	1024	/* of the request line */
#define HEADERS_MAX	64

static const struct { int status; const char *reason; } reasons[] = {
	{ 200, "OK" }, { 400, "Bad Request" }, { 403, "Forbidden" }, { 404, "Not Found" },
	{ 405, "Method Not Allowed" }, { 408, "Request Timeout" }, { 413, "Content Too Large" },
	{ 414, "URI Too Long" }, { 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" }, { 505, "HTTP Version Not Supported" },
};

const char *httpreq_reason(int status)
{
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Unknown";
}

/* Length of the line at buf without its end; *ret_next: where the next one begins. -1: it
 * has no end yet. Lines end with CRLF, or with LF as some clients have it. */
static long line_at(const char *buf, size_t len, size_t *ret_next)
{
	const char *lf = memchr(buf, '\n', len);
	long n;

	if (!lf)
		return -1;
	n = lf - buf;
	*ret_next = n + 1;
	if (n && buf[n - 1] == '\r')
		n--;
	return n;
}

static bool is(const char *s, size_t len, const char *word)
{
	return len == strlen(word) && !memcmp(s, word, len);
}

static int judge_line(const char *s, size_t len, bool *ret_head)
{
	const char *target, *version, *query;
	size_t n;

	/* printable ASCII only: nothing here has another use for other bytes */
	for (size_t i = 0; i < len; i++)
		if (s[i] < ' ' || s[i] > '~')
			return 400;
	target = memchr(s, ' ', len);
	if (!target || target == s)
		return 400;
	n = target - s;
	target++;
	version = memchr(target, ' ', s + len - target);
	if (!version || version == target || *target != '/')
		return 400;
	version++;
	if (s + len - version < 5 || memcmp(version, "HTTP/", 5))
		return 400;
	if (!is(version, s + len - version, "HTTP/1.1") && !is(version, s + len - version, "HTTP/1.0"))
		return 505;
	*ret_head = is(s, n, "HEAD");
	if (!*ret_head && !is(s, n, "GET"))
		return 405;
	n = version - 1 - target;
	query = memchr(target, '?', n);
	if (query)
		n = query - target;
	return is(target, n, "/metrics") ? 200 : 404;
}

/* localhost, or an address in figures, with a port or without. */
static bool host_is_ours(const char *s, size_t len)
{
	if (len && s[0] == '[') {
		const char *end = memchr(s, ']', len);

		for (const char *c = s + 1; end && c < end; c++)
			if (!strchr("0123456789abcdefABCDEF:.", *c))
				return false;
		return end;
	}
	if (len >= 9 && !strncasecmp(s, "localhost", 9))
		return len == 9 || s[9] == ':';
	for (size_t i = 0; i < len && s[i] != ':'; i++)
		if (!strchr("0123456789.", s[i]))
			return false;
	return len;
}

static int judge_header(const char *s, size_t len, bool any_host)
{
	const char *colon = memchr(s, ':', len);
	size_t name;

	for (size_t i = 0; i < len; i++)
		if (((unsigned char)s[i] < ' ' && s[i] != '\t') || s[i] == 127)
			return 400;
	/* no name, folded, or blanks before the colon: what smuggling is made of */
	if (!colon || colon == s || s[0] == ' ' || s[0] == '\t' || colon[-1] == ' ' || colon[-1] == '\t')
		return 400;
	name = colon - s;
	len -= name + 1;
	s = colon + 1;
	while (len && (*s == ' ' || *s == '\t')) {
		s++;
		len--;
	}
	while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
		len--;
	if (name == 14 && !strncasecmp(colon - name, "Content-Length", name))
		return is(s, len, "0") ? 0 : 413;
	if (name == 17 && !strncasecmp(colon - name, "Transfer-Encoding", name))
		return 413;
	if (name == 4 && !strncasecmp(colon - name, "Host", name) && !any_host && !host_is_ours(s, len))
		return 403;
	return 0;
}

int httpreq_judge(const char *buf, size_t len, bool any_host, bool *ret_head)
{
	size_t at = 0, next = 0;
	unsigned headers = 0;
	bool head = false;
	int status, r;
	long n;

	n = line_at(buf, len, &next);
	if (n < 0)
		return len > REQUEST_LINE_MAX ? 414 : 0;
	if (n > REQUEST_LINE_MAX)
		return 414;
	status = judge_line(buf, n, &head);
	if (status == 400 || status == 505)
		return status;
	for (;;) {
		at += next;
		n = line_at(buf + at, len - at, &next);
		if (n < 0)
			return len >= HTTPREQ_MAX ? 431 : 0;
		if (!n)
			break;
		if (++headers > HEADERS_MAX || at + next > HTTPREQ_MAX)
			return 431;
		r = judge_header(buf + at, n, any_host);
		if (r)
			return r;
	}
	*ret_head = head;
	return status;
}
