// SPDX-License-Identifier: GPL-2.0
/*
 * Heartbeats: a row of datagrams, each with a MAC that is mended or not. What is
 * accepted has values in range and encodes to the same bytes; what the row does to
 * the picture of the group stays within its bounds, and only what proves to be of
 * now makes the other member heard. The MAC comes from OpenSSL's own HMAC.
 */
#include <endian.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/heartbeat.h"
#include "tests/fuzz/fuzz.h"

#define KEY	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define BOOT	42
#define MS	1000000ull

static struct group_state gs;
static struct beat_key *key;

static void make_group(void)
{
	FUZZ_CHECK(!group_state_init(&gs));
	strcpy(gs.uuid, "6ba7b810-9dad-41d1-80b4-00c04fd430c8");
	gs.nr_members = 3;
	for (int i = 0; i < 3; i++) {
		snprintf(gs.members[i].name, 64, "n%d", i + 1);
		snprintf(gs.members[i].address, 64, "10.1.0.%d", i + 1);
		snprintf(gs.members[i].addresses, 512, "e0=10.1.0.%d/24 e1=fd00::%d/64", i + 1, i + 1);
	}
	network_discover(&gs, false);
	FUZZ_CHECK(!beat_key_new(KEY, &key));
}

/* Make it pass the outer checks, so that the inner ones are reached. */
static void mend(struct dag_beat *raw, uint8_t how, const struct heartbeat *hb, uint64_t now)
{
	uint8_t secret[32];
	unsigned len;

	raw->magic = htole32(DAG_BEAT_MAGIC);
	raw->version = htole32(DAG_BEAT_VERSION);
	memcpy(raw->group, hb->group, 16);
	if (how & 2) {
		memset(raw->sender, 0, sizeof(raw->sender));
		strcpy(raw->sender, how & 4 ? "n2" : "n3");
		memcpy(raw->from, hb->members[!(how & 4)].paths[how >> 3 & 1].at.remote.b, 16);
		memcpy(raw->to, hb->members[!(how & 4)].paths[how >> 3 & 1].at.local.b, 16);
		raw->interval_ms = htole32(100);
		raw->flags &= htole32(DAG_BEAT_FLAGS);
		raw->generation = raw->echo_held_ns = 0;
		raw->sent_ns = htole64(le64toh(raw->sent_ns) >> 1);
	}
	if (how & 16) {
		raw->echo_boot = htole64(BOOT);
		raw->echo_ns = htole64(now - (le64toh(raw->echo_ns) & 0xffffffff));
		raw->seq = htole64(1 + (le64toh(raw->seq) & 0xff));
		raw->boot = htole64(1 + (le64toh(raw->boot) & 3));
	}
	for (unsigned i = 0; i < sizeof(secret); i++)
		secret[i] = i;
	FUZZ_CHECK(HMAC(EVP_sha256(), secret, sizeof(secret), (uint8_t *)raw,
			offsetof(struct dag_beat, mac), raw->mac, &len) && len == 32);
}

static void take(struct heartbeat *hb, const struct dag_beat *raw, uint64_t now)
{
	struct hb_member *m = NULL;
	struct dag_beat again;
	struct beat b;
	enum hb_verdict verdict;

	if (beat_decode(raw, sizeof(*raw), hb->group, key, &b))
		return;
	FUZZ_CHECK(b.boot && b.seq && b.interval_ms && strlen(b.sender) < 64);
	beat_encode(&b, key, &again);
	FUZZ_CHECK(!memcmp(raw, &again, sizeof(again)));
	verdict = hb_take(hb, &b, now, &m);
	FUZZ_CHECK(verdict == HB_FOREIGN || m);
	if (verdict == HB_TAKEN)
		FUZZ_CHECK(m->heard_ns == now && m->boot == b.boot);
	if (verdict == HB_TAKEN || verdict == HB_LATE)	/* the same again is never new */
		FUZZ_CHECK(hb_take(hb, &b, now, &m) == HB_REPLAYED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct heartbeat hb;
	uint64_t now = 1ull << 40;

	if (!key)
		make_group();
	hb_init(&hb, "n1", BOOT);
	FUZZ_CHECK(!hb_update(&hb, &gs, now) && hb.nr_members == 2 && hb.members[0].nr_paths == 2);
	while (size > 2) {
		struct dag_beat raw = { 0 };
		uint8_t how = data[0];
		size_t n;

		now += data[1] * 4 * MS;
		data += 2;
		size -= 2;
		n = size < sizeof(raw) ? size : sizeof(raw);
		memcpy(&raw, data, n);
		if (how & 1)
			mend(&raw, how, &hb, now);
		take(&hb, &raw, now);
		hb_tick(&hb, now);
		data += n;
		size -= n;
	}
	for (unsigned i = 0; i < hb.nr_members; i++)
		for (unsigned k = 0; k < hb.members[i].nr_paths; k++) {
			const struct hb_path *p = &hb.members[i].paths[k];

			FUZZ_CHECK(p->nr <= HB_WINDOW && p->heard_ns <= now && p->echoed_ns <= now);
			FUZZ_CHECK(hb_loss_permille(&hb, &hb.members[i], p, now) <= 1000);
		}
	return 0;
}
