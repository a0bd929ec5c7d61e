// SPDX-License-Identifier: GPL-2.0
/* Heartbeats over real sockets, on loopback: who is heard, and what is refused. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/net/heartbeat_udp.h"

#define KEY	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define PORT	(10000 + getpid() % 20000)

static struct {
	pthread_mutex_t lock;
	unsigned heard, dac, stopping, refused, moved;
	char why[64], from[64];
	uint64_t generation;
} got = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void on_heard(void *ctx, const char *member, uint64_t generation, bool dac)
{
	pthread_mutex_lock(&got.lock);
	got.heard++;
	got.dac += dac;
	if (generation > got.generation)
		got.generation = generation;
	pthread_mutex_unlock(&got.lock);
}

static void on_says(void *ctx, const char *member, uint32_t flags)
{
	pthread_mutex_lock(&got.lock);
	got.stopping += !!(flags & DAG_BEAT_STOPPING);
	pthread_mutex_unlock(&got.lock);
}

static void on_moved(void *ctx, const char *member)
{
	pthread_mutex_lock(&got.lock);
	got.moved++;
	pthread_mutex_unlock(&got.lock);
}

static void on_refused(void *ctx, const char *from, const char *why, uint64_t count)
{
	pthread_mutex_lock(&got.lock);
	got.refused++;
	snprintf(got.why, sizeof(got.why), "%s", why);
	snprintf(got.from, sizeof(got.from), "%s", from);
	pthread_mutex_unlock(&got.lock);
}

static void nap(unsigned ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

static void make_group(struct group_state *gs, bool v6)
{
	cr_assert_eq(group_state_init(gs), 0);
	strcpy(gs->name, "lab");
	strcpy(gs->uuid, "6ba7b810-9dad-41d1-80b4-00c04fd430c8");
	strcpy(gs->heartbeat_key, KEY);
	gs->generation = 1;
	gs->profile.heartbeat_ms = 20;
	gs->nr_members = 2;
	for (int i = 0; i < 2; i++) {
		snprintf(gs->members[i].name, 64, "n%d", i + 1);
		snprintf(gs->members[i].address, 64, v6 ? "::1" : "127.0.0.%d", i + 1);
		gs->members[i].port = PORT + (v6 ? i : 0);
	}
}

static struct heartbeats *start(const char *self, const char *bind, uint16_t port)
{
	struct heartbeats_conf conf = { .self = self, .bind = bind, .port = port, .heard = on_heard,
					.says = on_says, .moved = on_moved, .refused = on_refused };
	struct heartbeats *hs;
	int r = heartbeats_start(&conf, &hs);

	cr_assert_eq(r, 0, "%s", strerror(-r));
	return hs;
}

static bool await_moves(unsigned nr, unsigned ms)
{
	bool there = false;

	for (; ms && !there; ms--) {
		pthread_mutex_lock(&got.lock);
		there = got.moved >= nr;
		pthread_mutex_unlock(&got.lock);
		nap(1);
	}
	return there;
}

static bool await_reachable(struct heartbeats *hs, const char *member, bool want, unsigned ms)
{
	for (; ms && heartbeats_reachable(hs, member) != want; ms--)
		nap(1);
	return ms;
}

Test(heartbeat_udp, two_members)
{
	struct heartbeats_member mb;
	struct heartbeats_path hp[4];
	struct heartbeats *a, *b;
	struct net_path route;
	struct group_state gs;

	make_group(&gs, false);
	a = start("n1", "127.0.0.1", PORT);
	b = start("n2", "127.0.0.2", PORT);
	cr_assert(!heartbeats_on(a));
	cr_assert_eq(heartbeats_update(a, &gs), 0);
	cr_assert(heartbeats_on(a));
	cr_assert(!heartbeats_reachable(a, "n2"));
	cr_assert_eq(heartbeats_route(a, "n2", &route), -ENOENT);
	heartbeats_set(b, 3, true, 0);
	cr_assert_eq(heartbeats_update(b, &gs), 0);
	cr_assert(await_reachable(a, "n2", true, 3000));
	cr_assert(await_reachable(b, "n1", true, 3000));
	cr_assert(!heartbeats_reachable(a, "n1") && !heartbeats_reachable(a, "n9"));
	cr_assert(await_moves(2, 3000));
	cr_assert_eq(heartbeats_view(a, hp, 4), 1);
	cr_assert(hp[0].up && hp[0].chosen && hp[0].heard && hp[0].echoed && hp[0].known);
	cr_assert_gt(hp[0].rtt_ms, 0);
	cr_assert_lt(hp[0].rtt_ms, 500, "%f", hp[0].rtt_ms);
	cr_assert_eq(heartbeats_route(a, "n2", &route), 0);
	cr_assert_eq(route.rank, PATH_DIRECT);
	cr_assert_eq(heartbeats_member(a, "n2", &mb), 0);
	cr_assert(mb.dac_bit && mb.reachable && mb.generation == 3);
	pthread_mutex_lock(&got.lock);
	cr_assert(got.heard && got.dac && got.generation == 3 && !got.stopping);
	pthread_mutex_unlock(&got.lock);
	/* an orderly end is said at once */
	heartbeats_set(b, 3, true, DAG_BEAT_STOPPING);
	nap(100);
	heartbeats_stop(b);
	pthread_mutex_lock(&got.lock);
	cr_assert_eq(got.stopping, 1);
	pthread_mutex_unlock(&got.lock);
	cr_assert(await_reachable(a, "n2", false, 1000));
	/* no key: off */
	gs.heartbeat_key[0] = '\0';
	cr_assert_eq(heartbeats_update(a, &gs), 0);
	cr_assert(!heartbeats_on(a));
	strcpy(gs.heartbeat_key, "xyz");
	cr_assert_eq(heartbeats_update(a, &gs), -EINVAL);
	cr_assert(!heartbeats_on(a));
	heartbeats_stop(a);
	group_state_free(&gs);
}

Test(heartbeat_udp, any_address)
{
	struct heartbeats *a, *b;
	struct group_state gs;

	/* one socket for both families, addresses of both */
	make_group(&gs, false);
	strcpy(gs.members[0].address, "127.0.0.9");
	gs.members[1].port++;
	a = start("n1", "", PORT);
	b = start("n2", "127.0.0.2", PORT + 1);
	heartbeats_update(a, &gs);
	heartbeats_update(b, &gs);
	cr_assert(await_reachable(a, "n2", true, 3000));
	cr_assert(await_reachable(b, "n1", true, 3000));
	heartbeats_stop(a);
	heartbeats_stop(b);
	group_state_free(&gs);
}

static void send_to(uint16_t from_port, const void *buf, size_t len)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct sockaddr_in me = { .sin_family = AF_INET, .sin_port = htons(from_port) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
	inet_pton(AF_INET, "127.0.0.2", &me.sin_addr);
	cr_assert_eq(bind(fd, (struct sockaddr *)&me, sizeof(me)), 0);
	cr_assert_eq(sendto(fd, buf, len, 0, (struct sockaddr *)&to, sizeof(to)), (ssize_t)len);
	close(fd);
}

static void expect_refusal(const char *why)
{
	int ms;

	for (ms = 0; ms < 2000; ms++) {
		pthread_mutex_lock(&got.lock);
		if (got.refused) {
			cr_assert_str_eq(got.why, why);
			cr_assert_str_eq(got.from, "127.0.0.2");
			pthread_mutex_unlock(&got.lock);
			return;
		}
		pthread_mutex_unlock(&got.lock);
		nap(1);
	}
	cr_assert_fail("%s: not told", why);
}

/* A peer of our own making, that can send what it likes. */
static void make_beat(struct group_state *gs, struct heartbeat *hb, struct beat *ret)
{
	hb_init(hb, "n2", 77);
	cr_assert_eq(hb_update(hb, gs, 1), 0);
	hb_make(hb, &hb->members[0].paths[0], 1, ret);
}

static void refused(const char *why, void (*spoil)(struct beat *b, char *key))
{
	char hex[65] = KEY;
	static struct heartbeat hb;
	struct heartbeats_stats st;
	struct heartbeats *a;
	struct group_state gs;
	struct beat_key *key;
	struct dag_beat raw;
	struct beat b;

	make_group(&gs, false);
	a = start("n1", "127.0.0.1", PORT);
	heartbeats_update(a, &gs);
	make_beat(&gs, &hb, &b);
	spoil(&b, hex);
	cr_assert_eq(beat_key_new(hex, &key), 0);
	beat_encode(&b, key, &raw);
	for (int i = 0; i < 10; i++)
		send_to(PORT, &raw, b.interval_ms ? sizeof(raw) : 17);
	expect_refusal(why);
	nap(50);
	/* counted each, told once */
	heartbeats_stats(a, &st);
	cr_assert_eq(st.forged + st.foreign + st.malformed + st.replayed, 10);
	cr_assert_eq(got.refused, 1);
	cr_assert_eq(got.heard, 0);
	cr_assert(!heartbeats_reachable(a, "n2"));
	beat_key_free(key);
	heartbeats_stop(a);
	group_state_free(&gs);
}

static void other_key(struct beat *b, char *key)	{ key[0] = 'f'; }
static void other_group(struct beat *b, char *key)	{ b->group[3]++; }
static void other_way(struct beat *b, char *key)	{ b->to.b[15]++; }
static void cut_short(struct beat *b, char *key)	{ b->interval_ms = 0; }

Test(heartbeat_udp, forged)	{ refused("not made with the group's key", other_key); }
Test(heartbeat_udp, foreign)	{ refused("of another group", other_group); }
Test(heartbeat_udp, misled)	{ refused("made for another path", other_way); }
Test(heartbeat_udp, garbage)	{ refused("no heartbeat", cut_short); }

/* With the key, but no member: perhaps it is about to be known; not for long. */
Test(heartbeat_udp, stranger)
{
	static struct heartbeat hb;
	struct heartbeats *a;
	struct group_state gs;
	struct beat_key *key;
	struct dag_beat raw;
	struct beat b;

	make_group(&gs, false);
	a = start("n1", "127.0.0.1", PORT);
	heartbeats_update(a, &gs);
	make_beat(&gs, &hb, &b);
	strcpy(b.sender, "n3");
	cr_assert_eq(beat_key_new(KEY, &key), 0);
	beat_encode(&b, key, &raw);
	for (int i = 0; i < 10; i++) {
		send_to(PORT, &raw, sizeof(raw));
		nap(20);
	}
	cr_assert_eq(got.refused, 0);
	nap(5000);
	send_to(PORT, &raw, sizeof(raw));
	expect_refusal("of no member of the group");
	cr_assert_eq(got.heard, 0);
	beat_key_free(key);
	heartbeats_stop(a);
	group_state_free(&gs);
}

/* What the wire carried once is no news when it comes again. */
Test(heartbeat_udp, replayed)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	static struct heartbeat hb;
	struct heartbeats_stats st;
	struct heartbeats *a;
	struct group_state gs;
	struct beat_key *key;
	struct dag_beat raw, in;
	struct hb_member *m;
	struct beat b;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct timespec ts;
	uint64_t now;

	make_group(&gs, false);
	cr_assert_eq(beat_key_new(KEY, &key), 0);
	a = start("n1", "127.0.0.1", PORT);
	make_beat(&gs, &hb, &b);
	inet_pton(AF_INET, "127.0.0.2", &any.sin_addr);
	cr_assert_eq(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	heartbeats_update(a, &gs);
	/* a short life as n2: hear one, answer it */
	cr_assert_eq(recv(fd, &in, sizeof(in), 0), (ssize_t)sizeof(in));
	cr_assert_eq(beat_decode(&in, sizeof(in), hb.group, key, &b), 0);
	clock_gettime(CLOCK_BOOTTIME, &ts);
	now = ts.tv_sec * 1000000000ull + ts.tv_nsec;
	hb_take(&hb, &b, now, &m);
	close(fd);
	hb_make(&hb, &hb.members[0].paths[0], now, &b);
	beat_encode(&b, key, &raw);
	send_to(PORT, &raw, sizeof(raw));
	cr_assert(await_reachable(a, "n2", true, 1000));
	cr_assert(await_reachable(a, "n2", false, 1000));
	for (int i = 0; i < 10; i++)
		send_to(PORT, &raw, sizeof(raw));
	expect_refusal("old or replayed");
	nap(20);
	cr_assert(!heartbeats_reachable(a, "n2"));
	heartbeats_stats(a, &st);
	cr_assert_eq(st.taken, 1);
	cr_assert_eq(st.replayed, 10);
	beat_key_free(key);
	heartbeats_stop(a);
	group_state_free(&gs);
}
