// SPDX-License-Identifier: GPL-2.0
/* bond: one stream over ways that lag, lose, come and go. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/net/bond.h"

#define WAYS	3

/* A way in the test: bytes under way in a pipe of limited size. */
struct link {
	bool up, mute;			/* mute: takes bytes, and brings none */
	struct bond_tx tx;
	struct bond_rx rx;
	uint8_t pipe[40000];
	size_t len;
};

static struct bond_out out;
static struct link way[WAYS];
static uint64_t expect;
static uint8_t got[4 << 20];
static unsigned seed;

static uint8_t byte_at(uint64_t pos)
{
	return pos * 2654435761u >> 13;
}

static void setup(void)
{
	out = (struct bond_out){ .ring = malloc(BOND_RING) };
	cr_assert_not_null(out.ring);
	memset(way, 0, sizeof(way));
	expect = 0;
}

static void teardown(void)
{
	free(out.ring);
}

TestSuite(bond, .init = setup, .fini = teardown);

static void way_up(unsigned i)
{
	struct link *w = &way[i];

	memset(w, 0, offsetof(struct link, pipe));
	w->len = 0;
	w->up = true;
	bond_tx_init(&w->tx, &out);
}

/* As much of the stream as fits when the ways that count are where they are. */
static void say(uint64_t total)
{
	struct iovec iov[2];
	uint64_t least = UINT64_MAX;
	unsigned i, n, k;

	for (i = 0; i < WAYS; i++)
		if (way[i].up && !way[i].mute && way[i].tx.pos < least)
			least = way[i].tx.pos;
	if (least == UINT64_MAX || out.head >= total)
		return;
	n = bond_out_room(&out, least, iov);
	for (i = 0; i < n; i++) {
		size_t len = iov[i].iov_len;

		if (len > total - out.head)
			len = total - out.head;
		len = len > 1 ? 1 + rand_r(&seed) % len : len;
		for (k = 0; k < len; k++)
			((uint8_t *)iov[i].iov_base)[k] = byte_at(out.head + k);
		bond_out_add(&out, len);
		if (len < iov[i].iov_len)
			break;
	}
}

static void put_in(struct link *w)
{
	struct iovec iov[3];
	unsigned n, i;

	if (bond_tx_lost(&w->tx, &out)) {
		w->up = false;
		return;
	}
	n = bond_tx_next(&w->tx, &out, iov);
	for (i = 0; i < n; i++) {
		size_t room = sizeof(w->pipe) - w->len, len = iov[i].iov_len < room ? iov[i].iov_len : room;

		if (w->mute)
			len = iov[i].iov_len;
		else
			memcpy(w->pipe + w->len, iov[i].iov_base, len);
		w->len += w->mute ? 0 : len;
		bond_tx_sent(&w->tx, len);
		if (len < iov[i].iov_len)
			return;
	}
}

/* Until nothing more can be taken of this way. True: the end was seen. */
static bool take_out(struct link *w)
{
	const uint8_t *bytes;
	size_t n, max;
	uint8_t *to;

	for (;;) {
		switch (bond_rx_look(&w->rx, expect)) {
		case BOND_RX_END:
			return true;
		case BOND_RX_AHEAD:
			return false;
		case BOND_RX_GIVE:
			n = bond_rx_bytes(&w->rx, &bytes);
			n = 1 + rand_r(&seed) % n;
			cr_assert_leq(expect + n, sizeof(got));
			memcpy(got + expect, bytes, n);
			bond_rx_given(&w->rx, n);
			expect += n;
			break;
		case BOND_RX_READ:
			max = bond_rx_space(&w->rx, &to);
			if (!w->len)
				return false;
			n = 1 + rand_r(&seed) % (w->len < max ? w->len : max);
			memcpy(to, w->pipe, n);
			memmove(w->pipe, w->pipe + n, w->len - n);
			w->len -= n;
			cr_assert_eq(bond_rx_add(&w->rx, n), 0);
			break;
		}
	}
}

/* Whatever single ways do, as long as one is there the stream comes through whole. */
Test(bond, stream_survives_its_ways)
{
	for (unsigned run = 0; run < 60; run++) {
		uint64_t total = 1000000 + run * 30000, steps = 0;
		bool ended = false;
		unsigned i;

		teardown();
		setup();
		seed = run + 1;
		for (i = 0; i < WAYS; i++)
			way_up(i);
		while (!ended) {
			struct link *w = &way[rand_r(&seed) % WAYS];

			cr_assert_lt(steps++, 2000000, "run %u stands still at %llu", run,
				     (unsigned long long)expect);
			say(total);
			out.ended = out.head == total;
			if (w->up && rand_r(&seed) % 3)
				put_in(w);
			if (w->up && !w->mute && rand_r(&seed) % 2)
				ended = take_out(w);
			/* way 0 stays; the others are cut, silenced, and come back */
			i = rand_r(&seed) % 2000;
			if (i == 1)
				way[1].up = false;
			else if (i == 2)
				way[2].mute = true;
			else if (i < 6 && (!way[i % 2 + 1].up || way[i % 2 + 1].mute))
				way_up(i % 2 + 1);
		}
		cr_assert_eq(expect, total);
		for (uint64_t at = 0; at < total; at++)
			if (got[at] != byte_at(at))
				cr_assert_fail("run %u: byte %llu is another", run, (unsigned long long)at);
	}
}

/* A way that was silent while the ring went on is lost; one that joins has the rest. */
Test(bond, late_way_begins_with_what_is_kept)
{
	struct iovec iov[3];

	seed = 1;
	way_up(0);
	way_up(1);
	way[1].mute = true;
	while (out.head < 3 * BOND_RING) {
		say(3 * BOND_RING);
		put_in(&way[0]);
		take_out(&way[0]);
	}
	cr_assert(bond_tx_lost(&way[1].tx, &out));
	way_up(2);
	cr_assert_eq(way[2].tx.pos, 2 * BOND_RING);
	cr_assert_not(bond_tx_lost(&way[2].tx, &out));
	/* what it brings is old, and is not delivered twice */
	while (bond_tx_pending(&way[0].tx, &out) || way[0].len) {
		put_in(&way[0]);
		take_out(&way[0]);
	}
	cr_assert_eq(expect, out.head);
	while (bond_tx_pending(&way[2].tx, &out) || way[2].len) {
		put_in(&way[2]);
		cr_assert_not(take_out(&way[2]));
	}
	cr_assert_eq(expect, out.head);
	/* the ring is full for one that has sent nothing of it */
	cr_assert_eq(bond_out_room(&out, out.head - BOND_RING, iov), 0);
	cr_assert_eq(bond_out_room(&out, out.head, iov), 1);
}

/* Without the bytes before, those that come later wait, the end as well. */
Test(bond, gap_is_not_passed_over)
{
	uint64_t keep;

	seed = 3;
	way_up(0);
	say(5000);
	while (out.head < 5000)
		say(5000);
	out.ended = true;
	put_in(&way[0]);
	put_in(&way[0]);
	way[0].rx.header_got = 0;
	keep = expect;
	/* as if the first 100 bytes of the stream had never come */
	way[0].pipe[0] = 100;
	take_out(&way[0]);
	cr_assert_eq(expect, keep);
	cr_assert_eq(bond_rx_look(&way[0].rx, expect), BOND_RX_AHEAD);
	cr_assert_eq(bond_rx_look(&way[0].rx, 100), BOND_RX_GIVE);
}

Test(bond, bad_frames_are_refused)
{
	static const uint8_t bad[][BOND_HEADER] = {
		{ 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x40, 0, 0 },		/* longer than allowed */
		{ 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
		{ 0, 0, 0, 0, 0, 0, 0, 0xff, 1, 0, 0, 0 },		/* beyond all streams */
		{ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 },		/* empty, and no end */
		{ 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1 },		/* an end with bytes */
		{ 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2 },		/* unknown flag */
	};
	unsigned i;
	uint8_t *to;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bond_rx rx;

		memset(&rx, 0, sizeof(rx));
		cr_assert_eq(bond_rx_space(&rx, &to), BOND_HEADER);
		memcpy(to, bad[i], BOND_HEADER);
		cr_assert_eq(bond_rx_add(&rx, BOND_HEADER), -EBADMSG, "%u", i);
	}
}

Test(bond, hello)
{
	struct bond_hello bh = { .id = { 1, 2, 3 }, .host = { 9, 8 }, .port = 64327,
				 .to = BOND_TO_PEER, .joins = true }, back;
	uint8_t raw[BOND_HELLO], broken[BOND_HELLO];
	unsigned i;

	bond_hello_encode(&bh, raw);
	memset(&back, 0, sizeof(back));
	cr_assert_eq(bond_hello_decode(raw, &back), 0);
	cr_assert(!memcmp(back.id, bh.id, 16) && !memcmp(back.host, bh.host, 16));
	cr_assert(back.port == 64327 && back.to == BOND_TO_PEER && back.joins);
	cr_assert_eq(raw[0], 'd', "told from a CONNECT by its first byte");
	/* what this version does not know is not taken */
	for (i = 0; i < 32; i++) {
		if (i == 10 || i == 11)
			continue;	/* the port may be any */
		memcpy(broken, raw, sizeof(raw));
		broken[i] ^= 0x40;
		cr_assert_eq(bond_hello_decode(broken, &back),
			     i == 8 || i == 9 ? -EPROTONOSUPPORT : -EBADMSG, "byte %u", i);
	}
}
