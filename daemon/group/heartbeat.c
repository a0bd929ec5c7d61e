// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/heartbeat.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/uuid.h"

#define MS		1000000ull
#define INTERVAL_MS	100		/* where the profile says nothing */
#define FRESH_NS	(5000 * MS)	/* an echo that proves a sender is no older */
#define ASK_NS		(1000 * MS)	/* an unproven sender is echoed for so long */
#define LOSSY_PERMILLE	200
#define CLEAN_PERMILLE	50

void hb_init(struct heartbeat *hb, const char *self, uint64_t boot)
{
	memset(hb, 0, sizeof(*hb));
	snprintf(hb->self, sizeof(hb->self), "%s", self);
	hb->boot = boot;
	hb->interval_ms = INTERVAL_MS;
}

struct hb_member *hb_find(struct heartbeat *hb, const char *member)
{
	uint32_t i;

	for (i = 0; i < hb->nr_members; i++)
		if (!strcmp(hb->members[i].name, member))
			return &hb->members[i];
	return NULL;
}

static struct hb_path *path_of(struct hb_member *m, const struct netaddr *local,
			       const struct netaddr *remote)
{
	uint32_t i;

	for (i = 0; i < m->nr_paths; i++)
		if (netaddr_equal(&m->paths[i].at.local, local) &&
		    netaddr_equal(&m->paths[i].at.remote, remote))
			return &m->paths[i];
	return NULL;
}

/* ---- who and where ---------------------------------------------------------- */

static void update_member(struct heartbeat *hb, struct group_state *gs, struct hb_member *m,
			  uint64_t now_ns)
{
	struct net_path found[NETWORK_PATHS_MAX];
	unsigned i, nr = network_paths(gs, hb->self, m->name, found, NETWORK_PATHS_MAX);
	struct hb_path next[NETWORK_PATHS_MAX];
	int at = -1;

	for (i = 0; i < nr; i++) {
		struct hb_path *was = path_of(m, &found[i].local, &found[i].remote);

		if (was) {
			next[i] = *was;
			if (was - m->paths == m->route.at)
				at = i;
		} else {
			next[i] = (struct hb_path){ .made_ns = now_ns, .since_ns = now_ns };
		}
		next[i].at = found[i];
	}
	memcpy(m->paths, next, nr * sizeof(next[0]));
	m->nr_paths = nr;
	m->route.at = at;
}

/* The witness beats too: it knows whether members may activate (dac.h). */
static void update_one(struct heartbeat *hb, struct group_state *gs, const char *name, uint16_t port,
		       uint64_t now_ns)
{
	struct hb_member *m = hb_find(hb, name);

	if (!name[0] || !strcmp(name, hb->self) || (!m && hb->nr_members == GROUP_MEMBERS_MAX))
		return;
	if (!m) {
		m = &hb->members[hb->nr_members++];
		memset(m, 0, sizeof(*m));
		snprintf(m->name, sizeof(m->name), "%s", name);
		route_init(&m->route);
	}
	m->port = port;
	update_member(hb, gs, m, now_ns);
}

int hb_update(struct heartbeat *hb, struct group_state *gs, uint64_t now_ns)
{
	uint32_t i, k;

	if (uuid_parse_text(gs->uuid, hb->group))
		return -EINVAL;
	hb->interval_ms = gs->profile.heartbeat_ms ? gs->profile.heartbeat_ms : INTERVAL_MS;
	for (i = 0; i < hb->nr_members; i++) {
		if (group_find_member(gs, hb->members[i].name) ||
		    !strcmp(gs->witness.name, hb->members[i].name))
			continue;
		hb->members[i--] = hb->members[--hb->nr_members];
	}
	for (k = 0; k < gs->nr_members; k++)
		update_one(hb, gs, gs->members[k].name, gs->members[k].port, now_ns);
	update_one(hb, gs, gs->witness.name, gs->witness.port, now_ns);
	return 0;
}

/* ---- figures ---------------------------------------------------------------- */

/* Both sides beat at their own rate while a change of it is on its way. */
static uint64_t interval_ns(const struct heartbeat *hb, const struct hb_member *m)
{
	return (m->interval_ms > hb->interval_ms ? m->interval_ms : hb->interval_ms) * MS;
}

static bool within(const struct heartbeat *hb, const struct hb_member *m, uint64_t at_ns,
		   uint64_t more_ns, uint64_t now_ns)
{
	/* half an interval is for what is late without being missed */
	uint64_t limit = interval_ns(hb, m) * (2 * HB_DOWN_BEATS + 1) / 2 + more_ns;

	return at_ns && now_ns - at_ns <= limit;
}

bool hb_heard(const struct heartbeat *hb, const struct hb_member *m, const struct hb_path *p,
	      uint64_t now_ns)
{
	return p->boot && within(hb, m, p->heard_ns, 0, now_ns);
}

bool hb_echoed(const struct heartbeat *hb, const struct hb_member *m, const struct hb_path *p,
	       uint64_t now_ns)
{
	/* the echo itself travels, and waits for the next beat */
	return p->boot && within(hb, m, p->echoed_ns, 2 * p->rtt_ns + interval_ns(hb, m), now_ns);
}

bool hb_reachable(const struct heartbeat *hb, const struct hb_member *m, uint64_t now_ns)
{
	return within(hb, m, m->heard_ns, 0, now_ns);
}

unsigned hb_loss_permille(const struct heartbeat *hb, const struct hb_member *m,
			  const struct hb_path *p, uint64_t now_ns)
{
	uint64_t silent, missed, bits = p->bits;
	uint32_t nr = p->nr;

	if (!p->boot)
		return 1000;
	/* those that should have come since, too */
	silent = (now_ns - p->heard_ns) / interval_ns(hb, m);
	missed = silent > 1 ? silent - 1 : 0;
	if (missed >= HB_WINDOW)
		return 1000;
	bits <<= missed;
	nr = nr + missed > HB_WINDOW ? HB_WINDOW : nr + missed;
	return 1000 - 1000 * (unsigned)__builtin_popcountll(bits) / nr;
}

/* ---- out and in ------------------------------------------------------------- */

/*
 * A sender that is not proven gets every second echo, or all where nobody else is
 * heard: so it can prove itself soon, and a recording that is played to us does
 * not keep the real one from hearing that it is heard.
 */
static bool echo_new(const struct hb_path *p, uint64_t now_ns)
{
	return p->new_boot && now_ns - p->new_at_ns <= ASK_NS && (!p->boot || p->tx_seq & 1);
}

void hb_make(struct heartbeat *hb, struct hb_path *p, uint64_t now_ns, struct beat *ret)
{
	bool fresh = echo_new(p, now_ns);
	uint64_t at_ns = fresh ? p->new_at_ns : p->echo_at_ns;

	memset(ret, 0, sizeof(*ret));
	memcpy(ret->group, hb->group, sizeof(ret->group));
	memcpy(ret->sender, hb->self, sizeof(ret->sender));
	ret->from = p->at.local;
	ret->to = p->at.remote;
	ret->boot = hb->boot;
	ret->seq = ++p->tx_seq;
	ret->sent_ns = now_ns;
	ret->echo_boot = fresh ? p->new_boot : p->echo_boot;
	ret->echo_ns = fresh ? p->new_ns : p->echo_ns;
	ret->echo_held_ns = ret->echo_boot ? now_ns - at_ns : 0;
	ret->generation = hb->generation;
	ret->flags = hb->flags;
	ret->interval_ms = hb->interval_ms;
}

/* Does it answer something that we sent in this start, and a moment ago? */
static bool proves(const struct heartbeat *hb, const struct hb_member *m, const struct beat *b,
		   uint64_t now_ns)
{
	if (b->echo_boot != hb->boot || !b->echo_ns || b->echo_ns > now_ns ||
	    now_ns - b->echo_ns > FRESH_NS)
		return false;
	return b->boot == m->boot || b->echo_ns > m->floor_ns;
}

/* A new start of the sender: nothing of the former one counts from here on. */
static void adopt(struct hb_member *m, struct hb_path *p, const struct beat *b)
{
	uint32_t i;

	if (m->boot != b->boot) {
		m->boot = b->boot;
		m->sent_ns = 0;
		for (i = 0; i < m->nr_paths; i++) {
			m->paths[i].boot = 0;
			m->paths[i].echo_boot = 0;
			m->paths[i].run = 0;
		}
	}
	p->boot = b->boot;
	p->seq = b->seq;
	p->new_boot = 0;
	p->bits = 0;
	p->nr = 0;
	p->run = 0;
	p->rtt_ns = 0;
}

/* Its place among the numbers of the path; HB_TAKEN: the newest. */
static enum hb_verdict take_number(struct hb_path *p, uint64_t seq)
{
	uint64_t ahead = seq - p->seq, behind = p->seq - seq;

	if (!p->nr) {		/* first of its start */
		p->bits = 1;
		p->nr = p->run = 1;
		return HB_TAKEN;
	}
	if (seq > p->seq) {
		p->bits = ahead < HB_WINDOW ? p->bits << ahead | 1 : 1;
		p->nr = ahead + p->nr < HB_WINDOW ? ahead + p->nr : HB_WINDOW;
		p->run = ahead == 1 ? p->run + 1 : 1;
		p->seq = seq;
		return HB_TAKEN;
	}
	if (behind >= HB_WINDOW || p->bits & 1ull << behind)
		return HB_REPLAYED;
	p->bits |= 1ull << behind;
	if (behind >= p->nr)
		p->nr = behind + 1;
	return HB_LATE;
}

static void take_echo(const struct heartbeat *hb, struct hb_member *m, struct hb_path *p,
		      const struct beat *b, uint64_t now_ns)
{
	uint64_t rtt;

	if (b->echo_boot != hb->boot || b->echo_ns > now_ns || b->echo_ns < p->echoed_ns)
		return;
	if (b->echo_ns > p->echoed_ns && b->echo_held_ns <= now_ns - b->echo_ns) {
		rtt = now_ns - b->echo_ns - b->echo_held_ns;
		p->rtt_ns = p->rtt_ns ? (7 * p->rtt_ns + rtt) / 8 : rtt ? rtt : 1;
	}
	p->echoed_ns = b->echo_ns;
	if (b->echo_ns > m->floor_ns)
		m->floor_ns = b->echo_ns;
}

/* Not proven: let it be, and give it what it needs to prove itself. */
static enum hb_verdict ask(const struct heartbeat *hb, const struct hb_member *m, struct hb_path *p,
			   const struct beat *b, uint64_t now_ns)
{
	if (m->boot && b->boot != m->boot && b->echo_boot == hb->boot && b->echo_ns <= m->floor_ns) {
		p->replayed++;		/* a start that is over */
		return HB_REPLAYED;
	}
	if (p->new_boot != b->boot || now_ns - p->new_at_ns > ASK_NS)
		p->new_since_ns = now_ns;
	p->new_boot = b->boot;
	p->new_ns = b->sent_ns;
	p->new_at_ns = now_ns;
	/* who answers another start of ours for so long does not hear this one */
	if (b->echo_boot && b->echo_boot != hb->boot && now_ns - p->new_since_ns > FRESH_NS) {
		p->replayed++;
		return HB_REPLAYED;
	}
	return HB_UNPROVEN;
}

enum hb_verdict hb_take(struct heartbeat *hb, const struct beat *b, uint64_t now_ns,
			struct hb_member **ret)
{
	struct hb_member *m = hb_find(hb, b->sender);
	enum hb_verdict verdict;
	struct hb_path *p;

	if (!m)
		return HB_FOREIGN;
	*ret = m;
	p = path_of(m, &b->to, &b->from);
	if (!p)
		return HB_STRAY;
	if (p->boot != b->boot) {
		if (!proves(hb, m, b, now_ns))
			return ask(hb, m, p, b, now_ns);
		adopt(m, p, b);
	}
	verdict = take_number(p, b->seq);
	if (verdict == HB_REPLAYED) {
		p->replayed++;
		return verdict;
	}
	p->received++;
	if (verdict == HB_LATE) {
		p->late++;
		return verdict;
	}
	p->heard_ns = m->heard_ns = now_ns;
	p->echo_boot = b->boot;
	p->echo_ns = b->sent_ns;
	p->echo_at_ns = now_ns;
	take_echo(hb, m, p, b, now_ns);
	if (b->sent_ns >= m->sent_ns) {
		m->sent_ns = b->sent_ns;
		m->generation = b->generation;
		m->flags = b->flags;
		m->interval_ms = b->interval_ms;
	}
	return HB_TAKEN;
}

/* ---- time -------------------------------------------------------------------- */

static void judge_path(const struct heartbeat *hb, const struct hb_member *m, struct hb_path *p,
		       uint64_t now_ns)
{
	bool good = hb_heard(hb, m, p, now_ns) && hb_echoed(hb, m, p, now_ns);
	unsigned loss = hb_loss_permille(hb, m, p, now_ns);

	if (p->up && !good) {
		p->up = false;
		p->run = 0;
		p->since_ns = now_ns;
	} else if (!p->up && good && p->run >= HB_UP_BEATS) {
		p->up = true;
		p->since_ns = now_ns;
	}
	p->lossy = p->lossy ? loss > CLEAN_PERMILLE : loss >= LOSSY_PERMILLE && p->nr == HB_WINDOW;
}

uint32_t hb_tick(struct heartbeat *hb, uint64_t now_ns)
{
	struct route_option opt[NETWORK_PATHS_MAX];
	uint32_t i, k, moved = 0;

	for (i = 0; i < hb->nr_members; i++) {
		struct hb_member *m = &hb->members[i];
		int was = m->route.at;

		for (k = 0; k < m->nr_paths; k++) {
			struct hb_path *p = &m->paths[k];

			judge_path(hb, m, p, now_ns);
			opt[k] = (struct route_option){ p->at.rank, p->up, p->lossy, p->since_ns };
		}
		if (route_choose(&m->route, opt, m->nr_paths, now_ns, interval_ns(hb, m)) != was)
			moved |= 1u << i;
	}
	return moved;
}
