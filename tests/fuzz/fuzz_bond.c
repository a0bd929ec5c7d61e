// SPDX-License-Identifier: GPL-2.0
/*
 * Bonds: what the network brings on two ways, as raw bytes, or as frames of one stream
 * whose bytes follow from their place in it: begun anywhere, twice, early, cut short.
 * What is delivered grows without a hole, and of frames each byte is the right one.
 */
#include <endian.h>
#include <string.h>

#include "daemon/net/bond.h"
#include "tests/fuzz/fuzz.h"

#define WAYS	2

static struct bond_rx rx[WAYS];
static uint8_t pipe[WAYS][65536];
static size_t len[WAYS];

static uint8_t byte_at(uint64_t pos)
{
	return pos * 2654435761u >> 9;
}

static void add(unsigned way, const void *bytes, size_t n)
{
	if (n > sizeof(pipe[way]) - len[way])
		n = sizeof(pipe[way]) - len[way];
	memcpy(pipe[way] + len[way], bytes, n);
	len[way] += n;
}

static void add_frame(unsigned way, uint64_t at, uint32_t n)
{
	uint8_t header[BOND_HEADER] = { 0 }, byte;
	uint64_t le = htole64(at);
	uint32_t len32 = htole32(n), end = htole32(!n);

	/* A way that waits for the other takes no more than it has room for: cut off
	 * within a frame, what comes next would not be one. */
	if (sizeof(header) + n > sizeof(pipe[way]) - len[way])
		return;
	memcpy(header, &le, 8);
	memcpy(header + 8, &len32, 4);
	memcpy(header + 12, &end, 4);
	add(way, header, sizeof(header));
	for (uint32_t i = 0; i < n; i++) {
		byte = byte_at(at + i);
		add(way, &byte, 1);
	}
}

/* Returns false when the way is of no use any more. */
static bool take(unsigned way, uint64_t *expect, bool framed)
{
	struct bond_rx *r = &rx[way];
	const uint8_t *bytes;
	size_t at = 0, n, i;
	uint8_t *to;
	bool good = true;

	while (good) {
		enum bond_rx_state state = bond_rx_look(r, *expect);

		if (state == BOND_RX_END || state == BOND_RX_AHEAD)
			break;
		if (state == BOND_RX_GIVE) {
			n = bond_rx_bytes(r, &bytes);
			FUZZ_CHECK(n && n <= BOND_FRAME_MAX);
			for (i = 0; framed && i < n; i++)
				FUZZ_CHECK(bytes[i] == byte_at(*expect + i));
			n = 1 + n / 2;
			bond_rx_given(r, n);
			*expect += n;
			continue;
		}
		n = bond_rx_space(r, &to);
		FUZZ_CHECK(n && n <= BOND_FRAME_MAX);
		if (n > len[way] - at)
			n = len[way] - at;
		if (!n)
			break;
		memcpy(to, pipe[way] + at, n);
		at += n;
		good = !bond_rx_add(r, n);
		FUZZ_CHECK(good || !framed);
	}
	memmove(pipe[way], pipe[way] + at, len[way] - at);
	len[way] -= at;
	return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bond_hello bh;
	uint64_t expect = 0, before;
	uint8_t raw[BOND_HELLO];
	bool framed;

	if (size >= BOND_HELLO && !bond_hello_decode(data, &bh)) {
		bond_hello_encode(&bh, raw);
		FUZZ_CHECK(!memcmp(raw, data, BOND_HELLO));
	}
	memset(rx, 0, sizeof(rx));
	memset(len, 0, sizeof(len));
	framed = size && data[0] & 1;
	while (size > 5) {
		unsigned way = data[0] >> 1 & 1, n = data[1] | data[2] << 8;

		if (framed) {
			int64_t at = (int64_t)expect + (int8_t)data[3] * (data[0] & 4 ? 97 : 1);

			add_frame(way, at < 0 ? 0 : at, n % (BOND_FRAME_MAX + 1));
			data += 4;
			size -= 4;
		} else {
			n %= size - 3;
			add(way, data + 3, n);
			data += 3 + n;
			size -= 3 + n;
		}
		before = expect;
		if (!take(way, &expect, framed))
			return 0;
		FUZZ_CHECK(expect >= before);
	}
	return 0;
}
