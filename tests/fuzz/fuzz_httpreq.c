// SPDX-License-Identifier: GPL-2.0
/*
 * Requests of the metrics' port: judged without a read beyond them; an answer does not
 * depend on how the bytes were cut, and what is refused early stays refused.
 */
#include <string.h>

#include "daemon/control/httpreq.h"
#include "tests/fuzz/fuzz.h"

static const char *const parts[] = {
	"GET ", "HEAD ", "/metrics", " HTTP/1.1", "\r\n", "\n", "Host: ", "localhost", "127.0.0.1",
	"Content-Length: 0", "Transfer-Encoding: chunked", ":", " ", "\r\n\r\n", "?a", "[::1]",
};

/* Small bytes stand for parts of requests, so that valid ones are come upon. */
static size_t expand(const uint8_t *data, size_t size, char *to, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < size && n + 32 < max; i++) {
		if (data[i] < sizeof(parts) / sizeof(parts[0])) {
			memcpy(to + n, parts[data[i]], strlen(parts[data[i]]));
			n += strlen(parts[data[i]]);
		} else {
			to[n++] = data[i];
		}
	}
	return n;
}

static void judge(const char *bytes, size_t len, bool any_host)
{
	bool head = false, other = false;
	int whole = httpreq_judge(bytes, len, any_host, &head);
	char *cut;

	FUZZ_CHECK(!whole || strcmp(httpreq_reason(whole), "Unknown"));
	for (size_t n = 0; n <= len; n += 1 + n / 8) {
		int status;

		cut = malloc(n + !n);
		FUZZ_CHECK(cut);
		memcpy(cut, bytes, n);
		status = httpreq_judge(cut, n, any_host, &other);
		/* answered before the rest came: the rest makes no 200 of a refusal */
		FUZZ_CHECK(!status || status == 200 || whole != 200);
		FUZZ_CHECK(status != 200 || whole == 200);
		free(cut);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char text[HTTPREQ_MAX + 64];
	size_t n;

	if (!size)
		return 0;
	n = expand(data + 1, size - 1, text, sizeof(text));
	judge(text, n, data[0] & 1);
	return 0;
}
