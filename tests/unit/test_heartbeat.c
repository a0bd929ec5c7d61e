// SPDX-License-Identifier: GPL-2.0
/*
 * Heartbeats without a network: datagrams of two members carried by hand, with
 * loss, delay, doubles, forgery and recordings.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/heartbeat.h"

#define MS	1000000ull
#define KEY	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY2	"100102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define UUID	"6ba7b810-9dad-41d1-80b4-00c04fd430c8"

/* Two members, two networks; paths[0] is the replication network. */
static void make_group(struct group_state *gs)
{
	cr_assert_eq(group_state_init(gs), 0);
	strcpy(gs->name, "lab");
	strcpy(gs->uuid, UUID);
	gs->generation = 1;
	gs->profile.heartbeat_ms = 100;
	gs->nr_members = 2;
	for (int i = 0; i < 2; i++) {
		struct group_member *mb = &gs->members[i];

		snprintf(mb->name, sizeof(mb->name), "n%d", i + 1);
		snprintf(mb->address, sizeof(mb->address), "10.1.0.%d", i + 1);
		mb->port = 64327;
		snprintf(mb->addresses, sizeof(mb->addresses),
			 "eth0=10.1.0.%d/24 eth1=10.2.0.%d/24,default", i + 1, i + 1);
	}
	cr_assert_eq(network_discover(gs, false), 1);
}

struct pair {
	struct group_state gs;
	struct heartbeat hb[2];
	uint64_t now;
	bool cut[2][2];		/* from member, path */
	int drop_every;
};

static void start(struct pair *p)
{
	memset(p, 0, sizeof(*p));
	make_group(&p->gs);
	p->now = 1000 * MS;
	for (int i = 0; i < 2; i++) {
		hb_init(&p->hb[i], p->gs.members[i].name, 100 + i);
		cr_assert_eq(hb_update(&p->hb[i], &p->gs, p->now), 0);
		cr_assert_eq(p->hb[i].nr_members, 1);
		cr_assert_eq(p->hb[i].members[0].nr_paths, 2);
	}
}

static struct hb_member *other(struct pair *p, int at)
{
	return &p->hb[at].members[0];
}

/* One interval: both send over both paths, what is not cut arrives 1 ms later. */
static void beat_once(struct pair *p)
{
	for (int from = 0; from < 2; from++) {
		for (int k = 0; k < 2; k++) {
			struct hb_member *m = other(p, from), *back;
			struct beat b;

			hb_make(&p->hb[from], &m->paths[k], p->now, &b);
			if (p->cut[from][k] || (p->drop_every && b.seq % p->drop_every == 0))
				continue;
			hb_take(&p->hb[!from], &b, p->now + MS, &back);
		}
		p->now += 2 * MS;
	}
	p->now += 96 * MS;
	hb_tick(&p->hb[0], p->now);
	hb_tick(&p->hb[1], p->now);
}

static void beats(struct pair *p, int n)
{
	while (n--)
		beat_once(p);
}

Test(beat, there_and_back)
{
	struct beat b = { .sender = "n1", .boot = 7, .seq = 1, .sent_ns = 5, .echo_boot = 9,
			  .echo_ns = 3, .echo_held_ns = 2, .generation = 4, .flags = DAG_BEAT_DAC,
			  .interval_ms = 100 }, back;
	uint8_t other_group[16] = { 1 };
	struct beat_key *key, *key2;
	struct dag_beat raw;

	netaddr_parse("10.0.0.1", &b.from);
	netaddr_parse("fd00::2", &b.to);
	cr_assert_eq(beat_key_new(KEY, &key), 0);
	cr_assert_eq(beat_key_new(KEY2, &key2), 0);
	cr_assert_eq(beat_key_new("00", &key2), -EINVAL);
	cr_assert_eq(beat_key_new(KEY "0", &key2), -EINVAL);
	beat_encode(&b, key, &raw);
	memset(&back, 0, sizeof(back));
	cr_assert_eq(beat_decode(&raw, sizeof(raw), b.group, key, &back), 0);
	cr_assert(!memcmp(&b, &back, sizeof(b)));
	cr_assert_eq(beat_decode(&raw, sizeof(raw), b.group, key2, &back), -EKEYREJECTED);
	cr_assert_eq(beat_decode(&raw, sizeof(raw), other_group, key, &back), -EXDEV);
	cr_assert_eq(beat_decode(&raw, sizeof(raw) - 1, b.group, key, &back), -EBADMSG);
	/* each bit counts */
	for (size_t i = 0; i < 8 * sizeof(raw); i++) {
		((uint8_t *)&raw)[i / 8] ^= 1 << i % 8;
		cr_assert_lt(beat_decode(&raw, sizeof(raw), b.group, key, &back), 0, "bit %zu", i);
		((uint8_t *)&raw)[i / 8] ^= 1 << i % 8;
	}
	cr_assert_eq(beat_decode(&raw, sizeof(raw), b.group, key, &back), 0);
	beat_key_free(key);
	beat_key_free(key2);
}

Test(beat, known_hmac)
{
	/* as another implementation has it: magic, version, 176 zero bytes */
	static const uint8_t want[4] = { 0x56, 0x06, 0xda, 0xb6 };
	struct beat b = { .seq = 0 };
	struct beat_key *key;
	struct dag_beat raw;

	cr_assert_eq(beat_key_new(KEY, &key), 0);
	beat_encode(&b, key, &raw);
	cr_assert(!memcmp(raw.mac, want, sizeof(want)), "%02x %02x %02x %02x", raw.mac[0],
		  raw.mac[1], raw.mac[2], raw.mac[3]);
	beat_key_free(key);
}

Test(beat, authentic_nonsense_is_refused)
{
	static const struct {
		const char *what;
		struct beat b;
	} bad[] = {
		{ "no sender", { .boot = 1, .seq = 1, .interval_ms = 1 } },
		{ "no boot", { .sender = "n1", .seq = 1, .interval_ms = 1 } },
		{ "no number", { .sender = "n1", .boot = 1, .interval_ms = 1 } },
		{ "flags", { .sender = "n1", .boot = 1, .seq = 1, .flags = 16, .interval_ms = 1 } },
		{ "no interval", { .sender = "n1", .boot = 1, .seq = 1 } },
		{ "long interval", { .sender = "n1", .boot = 1, .seq = 1, .interval_ms = 60001 } },
		{ "time", { .sender = "n1", .boot = 1, .seq = 1, .interval_ms = 1,
			    .sent_ns = UINT64_MAX } },
		{ "control", { .sender = "n\n", .boot = 1, .seq = 1, .interval_ms = 1 } },
	};
	struct beat_key *key;
	struct dag_beat raw;
	struct beat back;

	cr_assert_eq(beat_key_new(KEY, &key), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		beat_encode(&bad[i].b, key, &raw);
		cr_assert_eq(beat_decode(&raw, sizeof(raw), bad[i].b.group, key, &back), -EBADMSG,
			     "%s", bad[i].what);
	}
	beat_key_free(key);
}

Test(heartbeat, comes_up_and_goes_down)
{
	struct pair p;

	start(&p);
	cr_assert(!hb_reachable(&p.hb[0], other(&p, 0), p.now));
	cr_assert_eq(other(&p, 0)->route.at, -1);
	beats(&p, 6);
	for (int i = 0; i < 2; i++) {
		cr_assert(hb_reachable(&p.hb[i], other(&p, i), p.now));
		cr_assert(other(&p, i)->paths[0].up && other(&p, i)->paths[1].up);
		cr_assert_eq(other(&p, i)->route.at, 0);
		cr_assert_eq(hb_loss_permille(&p.hb[i], other(&p, i), &other(&p, i)->paths[0],
					      p.now), 0);
	}
	/* 1 ms there, held, 1 ms back */
	cr_assert_eq(other(&p, 0)->paths[0].rtt_ns, 2 * MS);
	cr_assert_eq(other(&p, 1)->paths[0].rtt_ns, 2 * MS);
	memset(p.cut, 1, sizeof(p.cut));
	beats(&p, 4);
	cr_assert(hb_reachable(&p.hb[0], other(&p, 0), p.now), "four may be missed");
	beats(&p, 2);
	cr_assert(!hb_reachable(&p.hb[0], other(&p, 0), p.now));
	cr_assert(!other(&p, 0)->paths[0].up);
	cr_assert_eq(hb_loss_permille(&p.hb[0], other(&p, 0), &other(&p, 0)->paths[0],
				      p.now + 10000 * MS), 1000);
	memset(p.cut, 0, sizeof(p.cut));
	beats(&p, 6);
	cr_assert(other(&p, 0)->paths[0].up);
	group_state_free(&p.gs);
}

Test(heartbeat, one_direction_is_not_up)
{
	struct pair p;

	start(&p);
	beats(&p, 10);
	p.cut[0][0] = true;	/* n2 does not hear n1 on the first network */
	beats(&p, 10);
	cr_assert(!other(&p, 1)->paths[0].up);
	cr_assert(hb_heard(&p.hb[0], other(&p, 0), &other(&p, 0)->paths[0], p.now));
	cr_assert(!hb_echoed(&p.hb[0], other(&p, 0), &other(&p, 0)->paths[0], p.now));
	cr_assert(!other(&p, 0)->paths[0].up, "n1 knows that it is not heard");
	cr_assert_eq(other(&p, 0)->route.at, 1);
	cr_assert_eq(other(&p, 1)->route.at, 1);
	group_state_free(&p.gs);
}

Test(heartbeat, route_leaves_at_once_and_comes_back_later)
{
	struct pair p;

	start(&p);
	beats(&p, 10);
	p.cut[0][0] = p.cut[1][0] = true;
	beats(&p, 7);
	cr_assert_eq(other(&p, 0)->route.at, 1);
	cr_assert(hb_reachable(&p.hb[0], other(&p, 0), p.now));
	p.cut[0][0] = p.cut[1][0] = false;
	beats(&p, 15);
	cr_assert(other(&p, 0)->paths[0].up);
	cr_assert_eq(other(&p, 0)->route.at, 1, "too early to move back");
	beats(&p, 15);
	cr_assert_eq(other(&p, 0)->route.at, 0);
	/* it fails again soon: the next wait is twice as long */
	p.cut[0][0] = p.cut[1][0] = true;
	beats(&p, 7);
	p.cut[0][0] = p.cut[1][0] = false;
	beats(&p, 35);
	cr_assert_eq(other(&p, 0)->route.at, 1, "moved back too soon");
	beats(&p, 15);
	cr_assert_eq(other(&p, 0)->route.at, 0);
	group_state_free(&p.gs);
}

Test(heartbeat, loss_is_told)
{
	struct hb_path *path;
	struct pair p;

	start(&p);
	p.drop_every = 4;
	beats(&p, 200);
	path = &other(&p, 0)->paths[0];
	cr_assert(path->up);
	cr_assert_leq(abs((int)hb_loss_permille(&p.hb[0], other(&p, 0), path, p.now) - 250), 20,
		      "%u", hb_loss_permille(&p.hb[0], other(&p, 0), path, p.now));
	cr_assert(path->lossy);
	p.drop_every = 0;
	beats(&p, 100);
	cr_assert(!path->lossy);
	cr_assert_eq(hb_loss_permille(&p.hb[0], other(&p, 0), path, p.now), 0);
	group_state_free(&p.gs);
}

Test(heartbeat, doubles_and_disorder)
{
	struct hb_member *m;
	struct beat b[70];
	struct pair p;

	start(&p);
	beats(&p, 10);
	for (int i = 0; i < 70; i++) {
		hb_make(&p.hb[1], &other(&p, 1)->paths[0], p.now + i, &b[i]);
		b[i].flags = i == 1 ? DAG_BEAT_STOPPING : 0;
	}
	cr_assert_eq(hb_take(&p.hb[0], &b[0], p.now, &m), HB_TAKEN);
	cr_assert_eq(hb_take(&p.hb[0], &b[0], p.now, &m), HB_REPLAYED);
	cr_assert_eq(hb_take(&p.hb[0], &b[2], p.now, &m), HB_TAKEN);
	cr_assert_eq(hb_take(&p.hb[0], &b[1], p.now, &m), HB_LATE);
	cr_assert_eq(m->flags, 0, "what is overtaken gives no news");
	cr_assert_eq(hb_take(&p.hb[0], &b[1], p.now, &m), HB_REPLAYED);
	cr_assert_eq(hb_take(&p.hb[0], &b[69], p.now, &m), HB_TAKEN);
	cr_assert_eq(hb_take(&p.hb[0], &b[3], p.now, &m), HB_REPLAYED, "too old to tell");
	cr_assert_eq(hb_take(&p.hb[0], &b[60], p.now, &m), HB_LATE);
	cr_assert_eq(other(&p, 0)->paths[0].replayed, 3);
	group_state_free(&p.gs);
}

Test(heartbeat, recordings_do_not_count)
{
	struct beat record[20], young;
	struct hb_member *m;
	struct pair p;
	int i;

	start(&p);
	beats(&p, 10);
	for (i = 0; i < 20; i++) {
		hb_make(&p.hb[1], &other(&p, 1)->paths[0], p.now, &record[i]);
		hb_take(&p.hb[0], &record[i], p.now + MS, &m);
		beat_once(&p);
	}
	/* n2 dies: its past does not keep it alive */
	memset(p.cut, 1, sizeof(p.cut));
	beats(&p, 10);
	for (i = 0; i < 20; i++)
		cr_assert_eq(hb_take(&p.hb[0], &record[i], p.now, &m), HB_REPLAYED);
	cr_assert(!hb_reachable(&p.hb[0], other(&p, 0), p.now));
	/* n2 starts anew, then its former start is played */
	memset(p.cut, 0, sizeof(p.cut));
	hb_init(&p.hb[1], "n2", 999);
	hb_update(&p.hb[1], &p.gs, p.now);
	beats(&p, 6);
	cr_assert_eq(other(&p, 0)->boot, 999);
	cr_assert(other(&p, 0)->paths[0].up);
	for (i = 0; i < 20; i++)
		cr_assert_eq(hb_take(&p.hb[0], &record[i], p.now, &m), HB_REPLAYED);
	cr_assert_eq(other(&p, 0)->boot, 999);
	/* n1 starts anew and knows nothing of n2: the past is not proven */
	hb_init(&p.hb[0], "n1", 888);
	hb_update(&p.hb[0], &p.gs, p.now);
	hb_make(&p.hb[1], &other(&p, 1)->paths[0], p.now, &young);
	for (i = 0; i < 20; i++)
		cr_assert_eq(hb_take(&p.hb[0], &record[i], p.now, &m), HB_UNPROVEN);
	cr_assert(!hb_reachable(&p.hb[0], other(&p, 0), p.now));
	/* played for long, it is known for what it is */
	for (i = 0; i < 60; i++) {
		hb_take(&p.hb[0], &record[i % 20], p.now, &m);
		p.now += 100 * MS;
	}
	cr_assert_eq(hb_take(&p.hb[0], &record[0], p.now, &m), HB_REPLAYED);
	group_state_free(&p.gs);
}

Test(heartbeat, a_player_does_not_keep_the_real_one_out)
{
	struct beat record;
	struct hb_member *m;
	struct pair p;
	int i;

	start(&p);
	beats(&p, 10);
	hb_make(&p.hb[1], &other(&p, 1)->paths[0], p.now, &record);
	hb_init(&p.hb[0], "n1", 888);
	hb_update(&p.hb[0], &p.gs, p.now);
	hb_init(&p.hb[1], "n2", 999);
	hb_update(&p.hb[1], &p.gs, p.now);
	for (i = 0; i < 12; i++) {
		hb_take(&p.hb[0], &record, p.now, &m);
		beat_once(&p);
	}
	cr_assert_eq(other(&p, 0)->boot, 999);
	cr_assert(other(&p, 0)->paths[0].up);
	for (i = 0; i < 100; i++) {
		hb_take(&p.hb[0], &record, p.now, &m);
		beat_once(&p);
		cr_assert(other(&p, 0)->paths[0].up && other(&p, 1)->paths[0].up, "beat %d", i);
	}
	group_state_free(&p.gs);
}

Test(heartbeat, a_restart_is_seen_at_once)
{
	struct pair p;

	start(&p);
	beats(&p, 20);
	hb_init(&p.hb[1], "n2", 999);
	hb_update(&p.hb[1], &p.gs, p.now);
	beats(&p, 3);
	cr_assert_eq(other(&p, 0)->boot, 999);
	beats(&p, 5);
	cr_assert(other(&p, 0)->paths[0].up && other(&p, 1)->paths[0].up);
	group_state_free(&p.gs);
}

Test(heartbeat, strangers_and_strays)
{
	struct hb_member *m = NULL;
	struct beat b;
	struct pair p;

	start(&p);
	beats(&p, 6);
	hb_make(&p.hb[1], &other(&p, 1)->paths[0], p.now, &b);
	strcpy(b.sender, "n9");
	cr_assert_eq(hb_take(&p.hb[0], &b, p.now, &m), HB_FOREIGN);
	strcpy(b.sender, "n1");		/* our own name */
	cr_assert_eq(hb_take(&p.hb[0], &b, p.now, &m), HB_FOREIGN);
	strcpy(b.sender, "n2");
	netaddr_parse("10.9.0.2", &b.from);
	cr_assert_eq(hb_take(&p.hb[0], &b, p.now, &m), HB_STRAY);
	group_state_free(&p.gs);
}

Test(heartbeat, a_change_keeps_what_is_known)
{
	struct pair p;

	start(&p);
	beats(&p, 10);
	p.cut[0][0] = p.cut[1][0] = true;
	beats(&p, 10);
	cr_assert_eq(other(&p, 0)->route.at, 1);
	/* the networks change places: the route stays where it was */
	struct group_network nw = p.gs.networks[0];

	p.gs.networks[0] = p.gs.networks[1];
	p.gs.networks[1] = nw;
	hb_update(&p.hb[0], &p.gs, p.now);
	cr_assert_eq(other(&p, 0)->route.at, 0);
	cr_assert(other(&p, 0)->paths[0].up);
	/* gone from the group, gone from here */
	p.gs.nr_members = 1;
	hb_update(&p.hb[0], &p.gs, p.now);
	cr_assert_eq(p.hb[0].nr_members, 0);
	group_state_free(&p.gs);
}
