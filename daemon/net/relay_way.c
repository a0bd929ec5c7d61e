// SPDX-License-Identifier: GPL-2.0
/* relay_way - one TCP connection of a bond. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "daemon/clock.h"
#include "daemon/net/relay_int.h"

#define CONNECT_MS	1000		/* a way is connected in that time, or fails */
#define RETRY_MS	1000
#define STALL_MS	100		/* then it holds nobody up */
#define SILENT_MS	2000		/* TCP gives a way up that is not answered for so long */
#define WAY_BUF		(256 * 1024)

bool way_is_up(const struct way *w)
{
	return w && w->e.fd >= 0 && !w->connecting;
}

void way_lost(struct relay *rl, struct bond *b, unsigned at)
{
	struct way *w = b->way[at];

	relay_count(rl, &rl->view.ways_lost);
	end_close(rl, &w->e);
	w->connecting = false;
	w->until_ms = now_ms() + RETRY_MS;
}

void way_set_options(int fd)
{
	const int one = 1, silent = SILENT_MS, buf = WAY_BUF, idle = 2, tries = 2;

	/* best effort: without them a dead way is noticed later, and others carry on */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent, sizeof(silent));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof(tries));
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buf, sizeof(buf));
}

struct way *way_new(struct bond *b)
{
	struct way *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->e = (struct end){ .kind = END_WAY, .fd = -1, .bond = b };
	return w;
}

void way_up(struct bond *b, struct way *w)
{
	w->connecting = false;
	w->moved_ms = now_ms();
	memset(&w->rx, 0, offsetof(struct bond_rx, buf));
	bond_tx_init(&w->tx, &b->out);
	b->had_way = true;
}

void way_call(struct relay *rl, struct bond *b, unsigned at)
{
	struct bond_hello hello = b->hello;
	struct way *w = b->way[at];
	struct sockaddr_storage ss;
	socklen_t len = netaddr_to_sockaddr(&w->to, b->hello.port + RELAY_PORT_ADD, &ss);
	uint64_t now = now_ms();

	w->until_ms = now + RETRY_MS;
	w->e.fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (w->e.fd < 0)
		return;
	way_set_options(w->e.fd);
	if (connect(w->e.fd, (struct sockaddr *)&ss, len) && errno != EINPROGRESS) {
		end_close(rl, &w->e);
		return;
	}
	hello.joins = b->had_way;
	bond_hello_encode(&hello, w->hello);
	w->hello_left = BOND_HELLO;
	w->connecting = true;
	w->until_ms = now + CONNECT_MS;
	end_want(rl, &w->e, EPOLLOUT);
}

void way_send(struct relay *rl, struct bond *b, unsigned at)
{
	struct way *w = b->way[at];
	struct iovec iov[3];
	struct msghdr msg = { .msg_iov = iov };
	ssize_t n = 0;

	while (w->hello_left) {
		n = send(w->e.fd, w->hello + BOND_HELLO - w->hello_left, w->hello_left,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			goto stop;
		w->hello_left -= n;
	}
	while (!bond_tx_lost(&w->tx, &b->out) &&
	       (msg.msg_iovlen = bond_tx_next(&w->tx, &b->out, iov))) {
		n = sendmsg(w->e.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0)
			goto stop;
		bond_tx_sent(&w->tx, n);
		w->moved_ms = now_ms();
	}
	if (bond_tx_lost(&w->tx, &b->out))
		way_lost(rl, b, at);
	else
		w->moved_ms = now_ms();
	return;
stop:
	if (errno != EAGAIN && errno != EINTR)
		way_lost(rl, b, at);
}

bool way_stands_still(const struct bond *b, const struct way *w, uint64_t now)
{
	return (w->hello_left || bond_tx_pending(&w->tx, &b->out)) && now > w->moved_ms + STALL_MS;
}
