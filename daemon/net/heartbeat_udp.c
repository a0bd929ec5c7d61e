// SPDX-License-Identifier: GPL-2.0
#include "daemon/net/heartbeat_udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/net/heartbeat_sock.h"

#define HEARD_NS	1000000000ull	/* between two calls of heard() without news */
#define REPORT_NS	60000000000ull	/* between two reports of one source */
#define GRACE_NS	5000000000ull	/* a new member is known here soon after there */
#define SOURCES_MAX	64
#define EVENTS_MAX	512

enum event_kind { EV_HEARD, EV_SAYS, EV_PATH, EV_MOVED, EV_REFUSED };

/* To be told once the lock is free. */
struct event {
	enum event_kind kind;
	char member[64];		/* or the source */
	uint64_t generation, count;
	uint32_t flags;
	bool up;
	const char *why;
	struct net_path at;
};

/* Somebody whose datagrams are refused. */
struct source {
	struct netaddr from;
	uint64_t seen_ns;		/* first; 0: free */
	uint64_t told_ns;		/* 0: not yet */
	uint64_t count;			/* since then */
};

/* What was told of a member last. */
struct told {
	char name[64];
	uint64_t at_ns, boot, generation;
	uint32_t flags;
};

struct heartbeats {
	struct heartbeats_conf conf;
	char *self;
	int sock, timer_fd, kick_fd;
	bool v6;
	pthread_t thread;

	pthread_mutex_t lock;
	bool stopping, send_now, half;
	struct beat_key *key;		/* NULL: off */
	char key_hex[65];
	uint32_t said;			/* flags that stay */
	struct heartbeat hb;
	struct told told[GROUP_MEMBERS_MAX];
	struct source sources[SOURCES_MAX + 1];	/* the last: all others */
	struct heartbeats_stats stats;
	struct event events[EVENTS_MAX];
	unsigned nr_events;
	struct beat_packet in[HEARTBEAT_BATCH];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

/* NULL: no room, which only a storm of changes can bring about. */
static struct event *add_event(struct heartbeats *hs, enum event_kind kind, const char *member)
{
	struct event *ev;

	if (hs->nr_events == EVENTS_MAX)
		return NULL;
	ev = &hs->events[hs->nr_events++];
	memset(ev, 0, sizeof(*ev));
	ev->kind = kind;
	snprintf(ev->member, sizeof(ev->member), "%s", member);
	return ev;
}

/* ---- refusals ------------------------------------------------------------------ */

static struct source *source_of(struct heartbeats *hs, const struct netaddr *from, uint64_t now)
{
	struct source *room = NULL;
	int i;

	for (i = 0; i < SOURCES_MAX; i++) {
		struct source *s = &hs->sources[i];

		if (s->seen_ns && netaddr_equal(&s->from, from))
			return s;
		if (!room && (!s->seen_ns || now - (s->told_ns ? s->told_ns : s->seen_ns) > REPORT_NS))
			room = s;
	}
	if (!room)
		room = &hs->sources[SOURCES_MAX];
	else
		*room = (struct source){ .from = *from };
	if (!room->seen_ns)
		room->seen_ns = now;
	return room;
}

static void refuse(struct heartbeats *hs, const struct netaddr *from, const char *why,
		   uint64_t grace_ns, uint64_t now)
{
	struct source *s = source_of(hs, from, now);
	char text[NETADDR_TEXT] = "others";
	struct event *ev;

	s->count++;
	if (now - s->seen_ns < grace_ns || (s->told_ns && now - s->told_ns < REPORT_NS))
		return;
	if (s != &hs->sources[SOURCES_MAX])
		netaddr_format(from, text);
	ev = add_event(hs, EV_REFUSED, text);
	if (!ev)
		return;
	ev->why = why;
	ev->count = s->count;
	s->told_ns = now;
	s->count = 0;
}

/* ---- in -------------------------------------------------------------------------- */

static void tell_member(struct heartbeats *hs, const struct hb_member *m, uint64_t now)
{
	struct told *t = NULL;
	uint32_t news;
	struct event *ev;
	int i;

	for (i = 0; i < GROUP_MEMBERS_MAX && !t; i++)
		if (!strcmp(hs->told[i].name, m->name))
			t = &hs->told[i];
	for (i = 0; i < GROUP_MEMBERS_MAX && !t; i++)
		if (!hs->told[i].name[0] || !hb_find(&hs->hb, hs->told[i].name))
			t = &hs->told[i];
	if (!t)
		return;
	if (strcmp(t->name, m->name) || t->boot != m->boot) {
		memset(t, 0, sizeof(*t));
		memcpy(t->name, m->name, sizeof(t->name));
		t->boot = m->boot;
	}
	news = m->flags & ~t->flags & ~DAG_BEAT_DAC;
	if (news) {
		ev = add_event(hs, EV_SAYS, m->name);
		if (ev)
			ev->flags = news;
	}
	if (m->generation != t->generation || m->flags != t->flags || now - t->at_ns >= HEARD_NS) {
		ev = add_event(hs, EV_HEARD, m->name);
		if (ev) {
			ev->generation = m->generation;
			ev->flags = m->flags;
			t->at_ns = now;
		}
	}
	t->generation = m->generation;
	t->flags = m->flags;
}

static void take_beat(struct heartbeats *hs, const struct beat_packet *pk, const struct beat *b,
		      uint64_t now)
{
	struct hb_member *m = NULL;

	/* what it says of its way must be what the packet says */
	if (!netaddr_equal(&b->from, &pk->from) || !netaddr_equal(&b->to, &pk->to)) {
		hs->stats.replayed++;
		refuse(hs, &pk->from, "made for another path", 0, now);
		return;
	}
	switch (hb_take(&hs->hb, b, now, &m)) {
	case HB_TAKEN:
		hs->stats.taken++;
		tell_member(hs, m, now);
		break;
	case HB_LATE:
		hs->stats.late++;
		break;
	case HB_UNPROVEN:
		hs->stats.unproven++;
		break;
	case HB_STRAY:
		/* members learn of a new address one after the other */
		hs->stats.stray++;
		break;
	case HB_REPLAYED:
		hs->stats.replayed++;
		refuse(hs, &pk->from, "old or replayed", 0, now);
		break;
	case HB_FOREIGN:
		hs->stats.foreign++;
		refuse(hs, &pk->from, "of no member of the group", GRACE_NS, now);
		break;
	}
}

static void take_packet(struct heartbeats *hs, const struct beat_packet *pk, uint64_t now)
{
	struct beat b;

	if (!hs->key)
		return;
	switch (beat_decode(pk->data, pk->len, hs->hb.group, hs->key, &b)) {
	case 0:
		take_beat(hs, pk, &b, now);
		break;
	case -EXDEV:
		hs->stats.foreign++;
		refuse(hs, &pk->from, "of another group", 0, now);
		break;
	case -EKEYREJECTED:
		hs->stats.forged++;
		refuse(hs, &pk->from, "not made with the group's key", 0, now);
		break;
	default:
		hs->stats.malformed++;
		refuse(hs, &pk->from, "no heartbeat", 0, now);
	}
}

/* A bounded number, so that a flood does not keep ours from being sent. */
static void receive(struct heartbeats *hs)
{
	int i, n, rounds = 16;

	do {
		n = heartbeat_sock_recv(hs->sock, hs->in);
		for (i = 0; i < n; i++)
			take_packet(hs, &hs->in[i], now_ns());
	} while (n == HEARTBEAT_BATCH && --rounds);
}

/* ---- out ------------------------------------------------------------------------- */

static void send_all(struct heartbeats *hs)
{
	uint32_t i, k;

	for (i = 0; hs->key && i < hs->hb.nr_members; i++) {
		struct hb_member *m = &hs->hb.members[i];

		for (k = 0; k < m->nr_paths; k++) {
			struct hb_path *p = &m->paths[k];
			struct dag_beat raw;
			struct beat b;

			hb_make(&hs->hb, p, now_ns(), &b);
			beat_encode(&b, hs->key, &raw);
			if (!heartbeat_sock_send(hs->sock, hs->v6, &p->at.local, &p->at.remote,
						 m->port, p->ifindex, &raw, sizeof(raw))) {
				hs->stats.sent++;
				continue;
			}
			hs->stats.not_sent++;
			/* the interface may have come back as another */
			if (p->ifindex)
				p->ifindex = if_nametoindex(p->at.iface);
		}
	}
}

static void tick(struct heartbeats *hs)
{
	uint32_t i, k, up[GROUP_MEMBERS_MAX] = { 0 }, moved;
	struct event *ev;

	for (i = 0; i < hs->hb.nr_members; i++)
		for (k = 0; k < hs->hb.members[i].nr_paths; k++)
			up[i] |= (uint32_t)hs->hb.members[i].paths[k].up << k;
	moved = hb_tick(&hs->hb, now_ns());
	for (i = 0; i < hs->hb.nr_members; i++) {
		struct hb_member *m = &hs->hb.members[i];

		for (k = 0; k < m->nr_paths; k++) {
			if (m->paths[k].up == (up[i] >> k & 1))
				continue;
			ev = add_event(hs, EV_PATH, m->name);
			if (ev) {
				ev->at = m->paths[k].at;
				ev->up = m->paths[k].up;
			}
		}
		if (moved & 1u << i)
			add_event(hs, EV_MOVED, m->name);
	}
}

static void deliver(const struct heartbeats_conf *cf, const struct event *ev)
{
	char local[NETADDR_TEXT], remote[NETADDR_TEXT];

	switch (ev->kind) {
	case EV_HEARD:
		if (cf->heard)
			cf->heard(cf->ctx, ev->member, ev->generation, ev->flags & DAG_BEAT_DAC);
		break;
	case EV_SAYS:
		if (cf->says)
			cf->says(cf->ctx, ev->member, ev->flags);
		break;
	case EV_PATH:
		netaddr_format(&ev->at.local, local);
		netaddr_format(&ev->at.remote, remote);
		log_notice("member=%s network=%s local=%s remote=%s msg=%s", ev->member,
			   ev->at.network[0] ? ev->at.network : "none", local, remote,
			   ev->up ? "path-up" : "path-down");
		if (cf->path)
			cf->path(cf->ctx, ev->member, &ev->at, ev->up);
		break;
	case EV_MOVED:
		if (cf->moved)
			cf->moved(cf->ctx, ev->member);
		break;
	case EV_REFUSED:
		log_warn("heartbeat from=%s msg=refused why=\"%s\" count=%llu", ev->member, ev->why,
			 (unsigned long long)ev->count);
		if (cf->refused)
			cf->refused(cf->ctx, ev->member, ev->why, ev->count);
		break;
	}
}

/* ---- the thread ------------------------------------------------------------------- */

static bool drain(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

static void *heartbeats_main(void *arg)
{
	struct heartbeats *hs = arg;
	struct pollfd pfd[3] = {
		{ .fd = hs->sock, .events = POLLIN },
		{ .fd = hs->timer_fd, .events = POLLIN },
		{ .fd = hs->kick_fd, .events = POLLIN },
	};
	struct event *out = calloc(EVENTS_MAX, sizeof(*out));
	bool stopping = !out;
	unsigned i, nr;

	while (!stopping) {
		if (poll(pfd, 3, -1) < 0 && errno != EINTR)
			break;
		pthread_mutex_lock(&hs->lock);
		/* first what came: time is judged with it */
		receive(hs);
		if (drain(hs->kick_fd) && hs->send_now) {
			hs->send_now = false;
			send_all(hs);
		}
		if (drain(hs->timer_fd)) {
			hs->half = !hs->half;
			if (hs->half)
				send_all(hs);
			tick(hs);
		}
		stopping = hs->stopping;
		nr = hs->nr_events;
		memcpy(out, hs->events, nr * sizeof(*out));
		hs->nr_events = 0;
		pthread_mutex_unlock(&hs->lock);
		for (i = 0; i < nr; i++)
			deliver(&hs->conf, &out[i]);
	}
	free(out);
	return NULL;
}

static void kick(struct heartbeats *hs)
{
	uint64_t one = 1;

	if (write(hs->kick_fd, &one, sizeof(one)) < 0)
		log_err("heartbeat msg=\"cannot wake the thread\" err=\"%m\"");
}

/* Twice per interval: one sends, both judge. */
static void set_timer(struct heartbeats *hs)
{
	uint64_t half_ns = hs->key ? hs->hb.interval_ms * 500000ull : 0;
	struct itimerspec its = {
		.it_interval = { half_ns / 1000000000u, half_ns % 1000000000u },
		.it_value = { half_ns / 1000000000u, half_ns % 1000000000u },
	};

	timerfd_settime(hs->timer_fd, 0, &its, NULL);
}

/* ---- life --------------------------------------------------------------------------- */

static void destroy(struct heartbeats *hs)
{
	int fds[3] = { hs->sock, hs->timer_fd, hs->kick_fd }, i;

	for (i = 0; i < 3; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	beat_key_free(hs->key);
	pthread_mutex_destroy(&hs->lock);
	free(hs->self);
	free(hs);
}

int heartbeats_start(const struct heartbeats_conf *conf, struct heartbeats **ret)
{
	struct heartbeats *hs = calloc(1, sizeof(*hs));
	uint64_t boot = 0;
	int r = 0;

	if (!hs)
		return -ENOMEM;
	hs->conf = *conf;
	hs->self = strdup(conf->self);
	hs->conf.self = hs->self;
	pthread_mutex_init(&hs->lock, NULL);
	hs->sock = heartbeat_sock_open(conf->bind ? conf->bind : "", conf->port, &hs->v6);
	hs->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	hs->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	while (!boot && !r)
		if (getrandom(&boot, sizeof(boot), 0) != sizeof(boot))
			r = -EIO;
	if (!hs->self)
		r = -ENOMEM;
	else if (hs->sock < 0)
		r = hs->sock;
	else if (hs->timer_fd < 0 || hs->kick_fd < 0)
		r = -errno;
	if (!r) {
		hb_init(&hs->hb, hs->self, boot);
		r = -pthread_create(&hs->thread, NULL, heartbeats_main, hs);
	}
	if (r) {
		destroy(hs);
		return r;
	}
	*ret = hs;
	return 0;
}

void heartbeats_stop(struct heartbeats *hs)
{
	if (!hs)
		return;
	pthread_mutex_lock(&hs->lock);
	hs->stopping = true;
	pthread_mutex_unlock(&hs->lock);
	kick(hs);
	pthread_join(hs->thread, NULL);
	destroy(hs);
}

static int set_key(struct heartbeats *hs, const char *hex)
{
	struct beat_key *key = NULL;
	int r = 0;

	if (hs->key && !strcmp(hs->key_hex, hex))
		return 0;
	if (hex[0])
		r = beat_key_new(hex, &key);
	beat_key_free(hs->key);
	hs->key = key;
	snprintf(hs->key_hex, sizeof(hs->key_hex), "%s", key ? hex : "");
	return r;
}

int heartbeats_update(struct heartbeats *hs, struct group_state *gs)
{
	uint32_t i, k, interval;
	bool was_on;
	int r;

	pthread_mutex_lock(&hs->lock);
	was_on = hs->key;
	interval = hs->hb.interval_ms;
	r = set_key(hs, gs->uuid[0] ? gs->heartbeat_key : "");
	if (!r && hs->key)
		r = hb_update(&hs->hb, gs, now_ns());
	if (r || !hs->key) {
		if (hs->key)
			set_key(hs, "");
		hs->hb.nr_members = 0;
	}
	for (i = 0; i < hs->hb.nr_members; i++) {
		struct hb_member *m = &hs->hb.members[i];

		/* over a router it is the routes that know the interface */
		for (k = 0; k < m->nr_paths; k++)
			m->paths[k].ifindex = m->paths[k].at.same_subnet && m->paths[k].at.iface[0] ?
					      if_nametoindex(m->paths[k].at.iface) : 0;
	}
	if (was_on != !!hs->key || interval != hs->hb.interval_ms) {
		set_timer(hs);
		hs->send_now = hs->key;
		kick(hs);
	}
	pthread_mutex_unlock(&hs->lock);
	return r;
}

/* Lock held. */
static void say(struct heartbeats *hs, uint64_t generation, uint32_t flags)
{
	flags |= hs->said;
	if (flags != hs->hb.flags || generation != hs->hb.generation) {
		hs->hb.flags = flags;
		hs->hb.generation = generation;
		hs->send_now = true;
		kick(hs);
	}
}

void heartbeats_set(struct heartbeats *hs, uint64_t generation, bool dac_bit, uint32_t flags)
{
	pthread_mutex_lock(&hs->lock);
	say(hs, generation, (flags & DAG_BEAT_FLAGS & ~DAG_BEAT_DAC) | (dac_bit ? DAG_BEAT_DAC : 0));
	pthread_mutex_unlock(&hs->lock);
}

void heartbeats_say(struct heartbeats *hs, uint32_t flags, bool on)
{
	flags &= DAG_BEAT_FLAGS & ~DAG_BEAT_DAC;
	pthread_mutex_lock(&hs->lock);
	hs->said = on ? hs->said | flags : hs->said & ~flags;
	say(hs, hs->hb.generation, hs->hb.flags & ~flags);
	pthread_mutex_unlock(&hs->lock);
}

/* ---- questions ------------------------------------------------------------------------ */

bool heartbeats_on(struct heartbeats *hs)
{
	bool on;

	pthread_mutex_lock(&hs->lock);
	on = hs->key;
	pthread_mutex_unlock(&hs->lock);
	return on;
}

bool heartbeats_reachable(struct heartbeats *hs, const char *member)
{
	struct hb_member *m;
	bool yes;

	pthread_mutex_lock(&hs->lock);
	m = hb_find(&hs->hb, member);
	yes = m && hb_reachable(&hs->hb, m, now_ns());
	pthread_mutex_unlock(&hs->lock);
	return yes;
}

int heartbeats_route(struct heartbeats *hs, const char *member, struct net_path *ret)
{
	struct hb_member *m;
	int r = -ENOENT;

	pthread_mutex_lock(&hs->lock);
	m = hb_find(&hs->hb, member);
	if (m && m->route.at >= 0) {
		*ret = m->paths[m->route.at].at;
		r = 0;
	}
	pthread_mutex_unlock(&hs->lock);
	return r;
}

int heartbeats_way(struct heartbeats *hs, const char *member, struct way *ret)
{
	const struct net_path *np;
	struct hb_member *m;
	int r = -ENOENT;

	pthread_mutex_lock(&hs->lock);
	m = hb_find(&hs->hb, member);
	if (m && m->route.at >= 0) {
		np = &m->paths[m->route.at].at;
		memset(ret, 0, sizeof(*ret));
		ret->tolen = netaddr_to_sockaddr(&np->remote, m->port, &ret->to);
		ret->fromlen = netaddr_to_sockaddr(&np->local, 0, &ret->from);
		memcpy(ret->network, np->network, sizeof(ret->network));
		ret->sure = true;
		r = 0;
	}
	pthread_mutex_unlock(&hs->lock);
	return r;
}

static void view_path(const struct heartbeat *hb, const struct hb_member *m,
		      const struct hb_path *p, uint64_t now, struct heartbeats_path *ret)
{
	uint64_t settle = (2 * HB_DOWN_BEATS) * hb->interval_ms * 1000000ull;

	memset(ret, 0, sizeof(*ret));
	memcpy(ret->member, m->name, sizeof(ret->member));
	ret->at = p->at;
	ret->known = p->up || now - p->made_ns > settle;
	ret->up = p->up;
	ret->heard = hb_heard(hb, m, p, now);
	ret->echoed = hb_echoed(hb, m, p, now);
	ret->lossy = p->lossy;
	ret->chosen = m->route.at >= 0 && p == &m->paths[m->route.at];
	ret->since_seconds = (now - p->since_ns) / 1e9;
	ret->age_seconds = p->heard_ns ? (now - p->heard_ns) / 1e9 : -1;
	ret->rtt_ms = p->rtt_ns ? p->rtt_ns / 1e6 : -1;
	ret->loss_permille = hb_loss_permille(hb, m, p, now);
	ret->received = p->received;
	ret->late = p->late;
	ret->replayed = p->replayed;
}

unsigned heartbeats_view(struct heartbeats *hs, struct heartbeats_path *ret, unsigned max)
{
	uint64_t now = now_ns();
	unsigned nr = 0;
	uint32_t i, k;

	pthread_mutex_lock(&hs->lock);
	for (i = 0; i < hs->hb.nr_members; i++)
		for (k = 0; k < hs->hb.members[i].nr_paths && nr < max; k++)
			view_path(&hs->hb, &hs->hb.members[i], &hs->hb.members[i].paths[k], now,
				  &ret[nr++]);
	pthread_mutex_unlock(&hs->lock);
	return nr;
}

int heartbeats_member(struct heartbeats *hs, const char *member, struct heartbeats_member *ret)
{
	struct hb_member *m;
	uint64_t now;

	pthread_mutex_lock(&hs->lock);
	now = now_ns();
	m = hb_find(&hs->hb, member);
	if (m) {
		memset(ret, 0, sizeof(*ret));
		ret->reachable = hb_reachable(&hs->hb, m, now);
		ret->dac_bit = m->flags & DAG_BEAT_DAC;
		ret->age_seconds = m->heard_ns ? (now - m->heard_ns) / 1e9 : -1;
		ret->boot = m->boot;
		ret->generation = m->generation;
		ret->flags = m->flags;
	}
	pthread_mutex_unlock(&hs->lock);
	return m ? 0 : -ENOENT;
}

void heartbeats_stats(struct heartbeats *hs, struct heartbeats_stats *ret)
{
	pthread_mutex_lock(&hs->lock);
	*ret = hs->stats;
	pthread_mutex_unlock(&hs->lock);
}
