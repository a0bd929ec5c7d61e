// SPDX-License-Identifier: GPL-2.0
/*
 * relay_bond - a bond at work: one local end (an etcd, or our client), up to
 * RELAY_WAYS_MAX ways.
 *
 * How fast the local end is read goes by the slowest way that moves, so that none that
 * is well loses its place. A way that has something to send and has not moved for
 * 100 ms holds nobody up: when the ring has gone over what it had to send, it is lost.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/net/relay_int.h"

#define LINGER_MS	1000		/* after the end of one direction */
#define CALL_MS		200		/* how often it is looked for ways to call */

static const char said_yes[] = "HTTP/1.1 200 OK\r\n\r\n";
static const char said_no[] = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";

/* ---- ways ---------------------------------------------------------------- */

/* A way for each address of the other member, as it is known by now. */
static void call_ways(struct relay *rl, struct bond *b)
{
	uint64_t now = now_ms();
	unsigned i, j, n;

	for (i = 0; i < b->to.nr; i++) {
		for (j = 0, n = RELAY_WAYS_MAX; j < RELAY_WAYS_MAX; j++) {
			if (b->way[j] && netaddr_equal(&b->way[j]->to, &b->to.way[i]))
				break;
			/* the place of one that is at an address no more may be taken */
			if (n == RELAY_WAYS_MAX && (!b->way[j] || b->way[j]->e.fd < 0))
				n = j;
		}
		if (j == RELAY_WAYS_MAX && n == RELAY_WAYS_MAX)
			continue;
		if (j == RELAY_WAYS_MAX) {
			j = n;
			if (!b->way[j])
				b->way[j] = way_new(b);
			if (!b->way[j])
				continue;
			b->way[j]->to = b->to.way[i];
			b->way[j]->until_ms = 0;
		}
		if (b->way[j]->e.fd < 0 && now >= b->way[j]->until_ms)
			way_call(rl, b, j);
	}
}

/* ---- bytes --------------------------------------------------------------- */

static void local_gone(struct relay *rl, struct bond *b)
{
	end_close(rl, &b->local);
	b->out.ended = true;
	if (!b->ended_ms)
		b->ended_ms = now_ms();
}

/* To the local end what this way has that is next. True: something was done. */
static bool deliver(struct relay *rl, struct bond *b, struct way *w)
{
	const uint8_t *bytes;
	size_t len = bond_rx_bytes(&w->rx, &bytes);
	ssize_t n = len;

	if (b->local_connecting)
		return false;
	if (b->local.fd >= 0) {
		n = send(b->local.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			b->local_full = true;
			return false;
		}
		if (n < 0) {
			local_gone(rl, b);
			n = len;	/* nobody wants it any more */
		}
	}
	bond_rx_given(&w->rx, n);
	b->expect += n;
	return true;
}

static void give_end(struct bond *b)
{
	if (b->given_all)
		return;
	b->given_all = true;
	if (b->local.fd >= 0)
		shutdown(b->local.fd, SHUT_WR);
	if (!b->ended_ms)
		b->ended_ms = now_ms();
}

/* Read a way and deliver, once around. True: something was done. */
static bool take(struct relay *rl, struct bond *b, unsigned at)
{
	struct way *w = b->way[at];
	uint8_t *to;
	size_t len;
	ssize_t n;

	switch (bond_rx_look(&w->rx, b->expect)) {
	case BOND_RX_GIVE:
		return !b->local_full && deliver(rl, b, w);
	case BOND_RX_END:
		give_end(b);
		return false;
	case BOND_RX_AHEAD:
		return false;
	case BOND_RX_READ:
		break;
	}
	if (!w->readable)
		return false;
	len = bond_rx_space(&w->rx, &to);
	n = recv(w->e.fd, to, len, MSG_DONTWAIT);
	w->readable = n == (ssize_t)len;	/* less: nothing is left, epoll tells of more */
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0 || bond_rx_add(&w->rx, n)) {
		way_lost(rl, b, at);
		return false;
	}
	return true;
}

/* How far the stream has been sent, for what may be read: by all ways that move, or if
 * none does by the best one. */
static uint64_t sent_up_to(const struct bond *b)
{
	uint64_t now = now_ms(), least = UINT64_MAX, most = 0;
	unsigned i;

	for (i = 0; i < RELAY_WAYS_MAX; i++) {
		const struct way *w = b->way[i];

		if (!way_is_up(w))
			continue;
		if (w->tx.pos > most)
			most = w->tx.pos;
		if (w->tx.pos < least && !way_stands_still(b, w, now))
			least = w->tx.pos;
	}
	return least == UINT64_MAX ? most : least;
}

static void read_local(struct relay *rl, struct bond *b)
{
	struct iovec iov[2];
	struct msghdr msg = { .msg_iov = iov };
	ssize_t n;

	msg.msg_iovlen = bond_out_room(&b->out, sent_up_to(b), iov);
	if (!msg.msg_iovlen || b->out.ended || b->local.fd < 0)
		return;
	n = recvmsg(b->local.fd, &msg, MSG_DONTWAIT);
	if (n > 0) {
		bond_out_add(&b->out, n);
	} else if (!n) {
		b->out.ended = true;
		if (!b->ended_ms)
			b->ended_ms = now_ms();
	} else if (errno != EAGAIN && errno != EINTR) {
		local_gone(rl, b);
	}
}

/* ---- what to wait for ---------------------------------------------------- */

static void wants(struct relay *rl, struct bond *b)
{
	struct iovec iov[2];
	uint32_t local = 0;
	unsigned i;

	for (i = 0; i < RELAY_WAYS_MAX; i++) {
		struct way *w = b->way[i];
		enum bond_rx_state state;
		uint32_t way = 0;

		if (!way_is_up(w))
			continue;
		state = bond_rx_look(&w->rx, b->expect);
		if (state == BOND_RX_READ)
			way |= EPOLLIN;
		else if (state == BOND_RX_GIVE)
			local |= EPOLLOUT;	/* goes on when it takes bytes, or at once */
		if (w->hello_left || bond_tx_pending(&w->tx, &b->out))
			way |= EPOLLOUT;
		end_want(rl, &w->e, way);
	}
	if (b->local.fd < 0)
		return;
	if (b->local_connecting)
		local |= EPOLLOUT;
	if (!b->local_connecting && !b->out.ended && !b->answer &&
	    bond_out_room(&b->out, sent_up_to(b), iov))
		local |= EPOLLIN;
	end_want(rl, &b->local, local);
}

static void end_bond(struct relay *rl, struct bond *b)
{
	unsigned i;

	if (b->over)
		return;
	b->over = true;
	if (b->answer && b->local.fd >= 0 &&
	    send(b->local.fd, said_no, strlen(said_no), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug("relay msg=\"no answer\" err=\"%m\"");
	end_close(rl, &b->local);
	for (i = 0; i < RELAY_WAYS_MAX; i++)
		if (b->way[i])
			end_close(rl, &b->way[i]->e);
}

/* Is there nothing more to come of it? */
static bool is_done(struct bond *b)
{
	uint64_t now = now_ms();
	unsigned i, up = 0, going = 0, ahead = 0, unsent = 0;

	for (i = 0; i < RELAY_WAYS_MAX; i++) {
		struct way *w = b->way[i];

		going += w && w->connecting;
		if (!way_is_up(w))
			continue;
		up++;
		ahead += bond_rx_look(&w->rx, b->expect) == BOND_RX_AHEAD;
		unsent += bond_tx_pending(&w->tx, &b->out) && !way_stands_still(b, w, now);
	}
	/* no way, or none that could bring what is next: a gap */
	if (!going && (!up || ahead == up))
		return true;
	if (b->out.ended && b->given_all && !unsent)
		return true;
	return b->ended_ms && now > b->ended_ms + LINGER_MS;
}

/* Send what there is, and wait for more, or end. */
static void push(struct relay *rl, struct bond *b)
{
	unsigned i;

	for (i = 0; i < RELAY_WAYS_MAX; i++)
		if (way_is_up(b->way[i]))
			way_send(rl, b, i);
	if (is_done(b))
		end_bond(rl, b);
	else
		wants(rl, b);
}

static void settle(struct relay *rl, struct bond *b)
{
	unsigned i, turns = 0;
	bool again = true;

	/* bounded: others wait, and epoll reminds us */
	while (again && turns++ < 16) {
		again = false;
		for (i = 0; i < RELAY_WAYS_MAX; i++)
			if (way_is_up(b->way[i]))
				again |= take(rl, b, i);
	}
	push(rl, b);
}

/* ---- events -------------------------------------------------------------- */

static bool connected(int fd)
{
	socklen_t len = sizeof(int);
	int err = 0;

	return !getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) && !err;
}

static void way_event(struct relay *rl, struct bond *b, struct end *e, uint32_t events)
{
	unsigned i;

	for (i = 0; i < RELAY_WAYS_MAX; i++)
		if (b->way[i] && &b->way[i]->e == e)
			break;
	if (i == RELAY_WAYS_MAX)
		return;
	b->way[i]->readable |= events & (EPOLLIN | EPOLLHUP | EPOLLERR);
	if (!b->way[i]->connecting)
		return;
	if (!connected(e->fd)) {
		way_lost(rl, b, i);
		return;
	}
	way_up(b, b->way[i]);
	if (!b->answer)
		return;
	b->answer = false;
	if (send(b->local.fd, said_yes, strlen(said_yes), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		local_gone(rl, b);
}

void bond_event(struct relay *rl, struct end *e, uint32_t events)
{
	struct bond *b = e->bond;

	if (b->over)
		return;
	if (e->kind == END_WAY) {
		way_event(rl, b, e, events);
	} else if (b->local_connecting) {
		if (connected(e->fd))
			b->local_connecting = false;
		else
			end_bond(rl, b);
	} else {
		if (events & EPOLLOUT)
			b->local_full = false;
		if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			read_local(rl, b);
	}
	if (!b->over)
		settle(rl, b);
}

void bond_tick(struct relay *rl, struct bond *b)
{
	uint64_t now = now_ms();
	unsigned i;

	if (b->over)
		return;
	for (i = 0; i < RELAY_WAYS_MAX; i++)
		if (b->way[i] && b->way[i]->connecting && now > b->way[i]->until_ms)
			way_lost(rl, b, i);
	/* the addresses of the other member may be others by now */
	if (b->calls && b->had_way && !b->ended_ms && now >= b->call_ms) {
		struct netaddr host;

		b->call_ms = now + CALL_MS;
		memcpy(host.b, b->hello.host, sizeof(host.b));
		relay_find(rl, &host, b->hello.port, &b->to);
		call_ways(rl, b);
	}
	push(rl, b);
}

bool bond_is_over(const struct bond *b)
{
	return b->over;
}

bool bond_waits(const struct bond *b)
{
	unsigned i;

	for (i = 0; i < RELAY_WAYS_MAX; i++) {
		const struct way *w = b->way[i];

		if (w && (w->connecting ||
			  (way_is_up(w) && (w->hello_left || bond_tx_pending(&w->tx, &b->out)))))
			return true;
	}
	return b->ended_ms;
}

unsigned bond_ways(const struct bond *b)
{
	unsigned i, n = 0;

	for (i = 0; i < RELAY_WAYS_MAX; i++)
		n += way_is_up(b->way[i]);
	return n;
}

void bond_free(struct relay *rl, struct bond *b)
{
	unsigned i;

	end_bond(rl, b);
	for (i = 0; i < RELAY_WAYS_MAX; i++)
		free(b->way[i]);
	free(b->out.ring);
	free(b);
}

/* ---- life ---------------------------------------------------------------- */

static struct bond *bond_new(struct relay *rl)
{
	struct bond *b = NULL;
	unsigned i;

	for (i = 0; i < BONDS_MAX && rl->bonds[i]; i++)
		;
	if (i < BONDS_MAX)
		b = calloc(1, sizeof(*b));
	if (b)
		b->out.ring = malloc(BOND_RING);
	if (!b || !b->out.ring) {
		free(b);
		return NULL;
	}
	b->local = (struct end){ .kind = END_LOCAL, .fd = -1, .bond = b };
	rl->bonds[i] = b;
	relay_count(rl, &rl->view.made);
	return b;
}

int bond_call(struct relay *rl, int fd, const struct relay_target *to, enum bond_to what,
	      bool answer)
{
	struct bond *b = bond_new(rl);

	if (!b) {
		close(fd);
		return -EBUSY;
	}
	b->calls = true;
	b->answer = answer;
	b->to = *to;
	memcpy(b->hello.host, to->host.b, sizeof(b->hello.host));
	b->hello.port = to->port;
	b->hello.to = what;
	memcpy(b->hello.id, rl->seed, 8);
	rl->ids++;
	memcpy(b->hello.id + 8, &rl->ids, 8);
	b->local.fd = fd;
	call_ways(rl, b);
	settle(rl, b);
	return 0;
}

/* The etcd here, for a bond that comes from elsewhere. */
static int call_local(struct relay *rl, struct bond *b)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const int one = 1;

	in.sin_port = htons(b->hello.port + (b->hello.to == BOND_TO_PEER ? 3 : 2));
	b->local.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (b->local.fd < 0)
		return -errno;
	setsockopt(b->local.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(b->local.fd, (struct sockaddr *)&in, sizeof(in)) && errno != EINPROGRESS)
		return -errno;
	b->local_connecting = true;
	return 0;
}

int bond_answer(struct relay *rl, int fd, const struct bond_hello *bh, bool stranger)
{
	unsigned i, strangers = 0;
	struct bond *b = NULL;
	int r = 0;

	for (i = 0; i < BONDS_MAX; i++) {
		if (!rl->bonds[i] || rl->bonds[i]->over || rl->bonds[i]->calls)
			continue;
		strangers += rl->bonds[i]->stranger;
		if (!memcmp(rl->bonds[i]->hello.id, bh->id, sizeof(bh->id)))
			b = rl->bonds[i];
	}
	/* who has no certificate gets nowhere, but must not take the others' places */
	if (!b && !bh->joins && !(stranger && strangers >= STRANGERS_MAX)) {
		b = bond_new(rl);
		if (b) {
			b->stranger = stranger;
			b->hello = *bh;
			r = call_local(rl, b);
		}
	}
	for (i = 0; b && i < RELAY_WAYS_MAX && b->way[i] && b->way[i]->e.fd >= 0; i++)
		;
	if (b && !r && i < RELAY_WAYS_MAX && !b->way[i])
		b->way[i] = way_new(b);
	if (!b || r || i == RELAY_WAYS_MAX || !b->way[i]) {
		close(fd);
		if (b && !b->had_way)
			end_bond(rl, b);
		return r ? r : -ENOENT;
	}
	way_set_options(fd);
	b->way[i]->e.fd = fd;
	way_up(b, b->way[i]);
	settle(rl, b);
	return 0;
}
