// SPDX-License-Identifier: GPL-2.0
/* The network: each direction of each pair can be cut, lose, double, delay. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define CONNS	4096		/* connections are forgotten after so many newer ones */

unsigned net_loss, net_dup, net_slow;

static bool cuts[HOSTS_MAX][HOSTS_MAX];
static uint64_t nr_conns;
static struct conn {
	uint64_t id;
	bool broken;
	uint64_t last[2];	/* newest delivery, by direction */
} conns[CONNS];

void net_init(void)
{
	memset(cuts, 0, sizeof(cuts));
	memset(conns, 0, sizeof(conns));
	nr_conns = 0;
	net_loss = net_dup = net_slow = 0;
}

void net_cut(int from, int to, bool cut)
{
	if (from != to)
		cuts[from][to] = cut;
}

void net_heal(void)
{
	memset(cuts, 0, sizeof(cuts));
	net_loss = net_dup = net_slow = 0;
}

bool net_up(int a, int b)
{
	return !cuts[a][b] && !cuts[b][a];
}

static uint64_t delay(int from, int to)
{
	if (from == to)
		return between(10000, 50000);
	if (permille(net_slow))
		return between(20 * MS, 800 * MS);
	return between(100000, 3 * MS);
}

static void deliver(int to, void *arg, uint64_t conn, uint64_t b)
{
	const struct msg *m = arg;
	struct conn *c = &conns[conn % CONNS];

	if (!hosts[to].up || !hosts[to].daemon || cuts[m->from][to]) {
		if (conn && c->id == conn)
			c->broken = true;
		return;
	}
	if (conn && (c->id != conn || c->broken))
		return;
	host_recv(to, m);
}

static void post(int to, const struct msg *m, uint64_t when)
{
	struct msg *copy = malloc(sizeof(*copy));

	*copy = *m;
	/* A message waits for its receiver's life to end, not for its sender's. */
	at(when, SCOPE_DAEMON, to, deliver, copy, m->conn, 0);
}

void net_send(int from, int to, const struct msg *m)
{
	struct msg out = *m;

	out.from = from;
	out.conn = 0;
	if (cuts[from][to] || (from != to && permille(net_loss)))
		return;
	post(to, &out, now + delay(from, to));
	if (from != to && permille(net_dup))
		post(to, &out, now + delay(from, to) + between(0, 300 * MS));
}

uint64_t conn_new(void)
{
	uint64_t id = ++nr_conns;

	conns[id % CONNS] = (struct conn){ .id = id };
	return id;
}

void conn_send(int from, int to, const struct msg *m)
{
	struct conn *c = &conns[m->conn % CONNS];
	struct msg out = *m;
	uint64_t when, *last;

	if (c->id != m->conn || c->broken)
		return;
	if (cuts[from][to] || permille(net_loss / 4)) {
		c->broken = true;
		return;
	}
	last = &c->last[from > to];
	when = now + delay(from, to);
	*last = when > *last ? when : *last + 1;
	out.from = from;
	post(to, &out, *last);
}
