// SPDX-License-Identifier: GPL-2.0
/*
 * relay_call - who calls the relay: etcd with a CONNECT, our own client by the port that
 * it calls from, and other relays with the hello of a bond.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/net/relay_int.h"

#define SAY_MS		2000		/* who calls says what it is in that time */

/* ---- who it is ----------------------------------------------------------- */

static bool is_self(struct relay *rl, const struct netaddr *host, uint16_t port)
{
	bool yes;

	pthread_mutex_lock(&rl->lock);
	yes = rl->self.port == port && netaddr_equal(&rl->self.host, host);
	pthread_mutex_unlock(&rl->lock);
	return yes;
}

/* Did it call by an address that this member is to be called by? */
static bool called_well(struct relay *rl, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct netaddr at;
	bool yes = false;
	unsigned i;

	if (getsockname(fd, (struct sockaddr *)&ss, &len) ||
	    netaddr_from_sockaddr((struct sockaddr *)&ss, &at))
		return false;
	pthread_mutex_lock(&rl->lock);
	for (i = 0; i < rl->self.nr; i++)
		yes |= netaddr_equal(&rl->self.way[i], &at);
	pthread_mutex_unlock(&rl->lock);
	return yes;
}

static bool is_local(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct netaddr from;

	return !getpeername(fd, (struct sockaddr *)&ss, &len) &&
	       !netaddr_from_sockaddr((struct sockaddr *)&ss, &from) && netaddr_is_loopback(&from);
}

/* Does it come from elsewhere than this host and the members' addresses? */
static bool is_stranger(struct relay *rl, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct netaddr from;
	bool known;
	unsigned i, j;

	if (getpeername(fd, (struct sockaddr *)&ss, &len) ||
	    netaddr_from_sockaddr((struct sockaddr *)&ss, &from))
		return true;
	known = netaddr_is_loopback(&from);
	pthread_mutex_lock(&rl->lock);
	for (i = 0; i < rl->nr; i++)
		for (j = 0; j < rl->list[i].nr; j++)
			known |= netaddr_equal(&rl->list[i].way[j], &from);
	pthread_mutex_unlock(&rl->lock);
	return !known;
}

/* ---- callers ------------------------------------------------------------- */

static void caller_free(struct relay *rl, unsigned at, bool keep_fd)
{
	struct caller *c = rl->callers[at];

	if (keep_fd)
		end_want(rl, &c->e, 0);
	else
		end_close(rl, &c->e);
	free(c);
	rl->callers[at] = NULL;
}

static void refuse(struct relay *rl, unsigned at, const char *why)
{
	pthread_mutex_lock(&rl->lock);
	rl->view.refused++;
	pthread_mutex_unlock(&rl->lock);
	log_debug("relay msg=refused err=\"%s\"", why);
	caller_free(rl, at, false);
}

/* "CONNECT HOST:PORT HTTP/1.1": 0 and the engine's port of a member. */
static int connect_parse(const char *text, struct netaddr *ret_host, uint16_t *ret_port,
			 enum bond_to *ret_to)
{
	char word[80], *colon, *host = word;
	unsigned long port;

	if (sscanf(text, "CONNECT %79s HTTP/1.", word) != 1)
		return -EBADMSG;
	colon = strrchr(word, ':');
	if (!colon)
		return -EBADMSG;
	*colon = '\0';
	port = strtoul(colon + 1, NULL, 10);
	if (host[0] == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		host++;
	}
	if (netaddr_parse(host, ret_host) || port < 4 ||
	    port - 3 > UINT16_MAX - RELAY_PORT_ADD)
		return -EBADMSG;
	/* etcd calls the others' peers */
	*ret_port = port - 3;
	*ret_to = BOND_TO_PEER;
	return 0;
}

static void caller_says(struct relay *rl, unsigned at)
{
	struct caller *c = rl->callers[at];
	bool hello = c->buf[0] == 'd';
	size_t most = hello ? BOND_HELLO : CONNECT_MAX - 1;
	ssize_t n = recv(c->e.fd, c->buf + c->got, c->got ? most - c->got : 1, MSG_DONTWAIT);
	bool stranger = c->stranger;
	int fd = c->e.fd;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		caller_free(rl, at, false);
		return;
	}
	c->got += n;
	c->buf[c->got < CONNECT_MAX ? c->got : CONNECT_MAX - 1] = '\0';
	if (c->buf[0] == 'd' && c->got == BOND_HELLO) {
		struct bond_hello bh;
		struct netaddr host;

		if (bond_hello_decode((uint8_t *)c->buf, &bh)) {
			refuse(rl, at, "no hello of a bond, or of another version");
			return;
		}
		memcpy(host.b, bh.host, sizeof(host.b));
		if (!is_self(rl, &host, bh.port) || !called_well(rl, fd)) {
			refuse(rl, at, "another host is meant");
			return;
		}
		caller_free(rl, at, true);
		bond_answer(rl, fd, &bh, stranger);
	} else if (c->buf[0] == 'C' && is_local(fd) && strstr(c->buf, "\r\n\r\n")) {
		struct relay_target to;
		struct netaddr host;
		enum bond_to what;
		uint16_t port;

		if (connect_parse(c->buf, &host, &port, &what)) {
			refuse(rl, at, "not understood");
			return;
		}
		relay_find(rl, &host, port, &to);
		caller_free(rl, at, true);
		bond_call(rl, fd, &to, what, true);
	} else if ((c->buf[0] != 'd' && (c->buf[0] != 'C' || !is_local(fd))) || c->got >= most) {
		refuse(rl, at, "not understood");
	}
}

/* Is it a socket of relay_socket()'s? Then it is connected to whom it means. */
static bool is_dial(struct relay *rl, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct relay_target to;
	struct netaddr from;
	struct dial d = { .from = 0 };
	unsigned i, port;

	if (getpeername(fd, (struct sockaddr *)&ss, &len) ||
	    netaddr_from_sockaddr((struct sockaddr *)&ss, &from) || !netaddr_is_loopback(&from))
		return false;
	port = ntohs(ss.ss_family == AF_INET ? ((struct sockaddr_in *)&ss)->sin_port :
					       ((struct sockaddr_in6 *)&ss)->sin6_port);
	pthread_mutex_lock(&rl->lock);
	for (i = 0; i < DIALS_MAX; i++) {
		if (rl->dials[i].from != port)
			continue;
		d = rl->dials[i];
		rl->dials[i].from = 0;
		break;
	}
	pthread_mutex_unlock(&rl->lock);
	if (!d.from)
		return false;
	relay_find(rl, &d.host, d.port, &to);
	bond_call(rl, fd, &to, BOND_TO_CLIENT, false);
	return true;
}

void callers_answer(struct relay *rl)
{
	unsigned at, i, strangers;
	const int one = 1;
	bool stranger;
	int fd;

	while ((fd = accept4(rl->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (is_dial(rl, fd))
			continue;
		stranger = is_stranger(rl, fd);
		for (i = strangers = 0, at = CALLERS_MAX; i < CALLERS_MAX; i++) {
			if (!rl->callers[i])
				at = i;
			else
				strangers += rl->callers[i]->stranger;
		}
		if (stranger && strangers >= STRANGERS_MAX)
			at = CALLERS_MAX;
		if (at < CALLERS_MAX)
			rl->callers[at] = calloc(1, sizeof(struct caller));
		if (at == CALLERS_MAX || !rl->callers[at]) {
			close(fd);
			continue;
		}
		rl->callers[at]->e = (struct end){ .kind = END_CALLER, .fd = fd };
		rl->callers[at]->stranger = stranger;
		rl->callers[at]->until_ms = now_ms() + SAY_MS;
		end_want(rl, &rl->callers[at]->e, EPOLLIN);
	}
}

void caller_event(struct relay *rl, struct end *e)
{
	unsigned i;

	for (i = 0; i < CALLERS_MAX; i++)
		if (rl->callers[i] && &rl->callers[i]->e == e)
			caller_says(rl, i);
}

unsigned callers_tick(struct relay *rl)
{
	uint64_t now = now_ms();
	unsigned i, n = 0;

	for (i = 0; i < CALLERS_MAX; i++) {
		if (rl->callers[i] && now > rl->callers[i]->until_ms)
			refuse(rl, i, "says nothing");
		n += rl->callers[i] != NULL;
	}
	return n;
}

void callers_free(struct relay *rl)
{
	unsigned i;

	for (i = 0; i < CALLERS_MAX; i++)
		if (rl->callers[i])
			caller_free(rl, i, false);
}

/* ---- our own client ------------------------------------------------------ */

/* A socket with a port of its own on the loopback, by which the relay knows it. */
static int dial_socket(struct relay *rl, const struct netaddr *host, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;
	uint64_t now = now_ms();
	socklen_t len = sizeof(in);
	unsigned i;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) ||
	    getsockname(fd, (struct sockaddr *)&in, &len)) {
		r = -errno;
		close(fd);
		return r;
	}
	pthread_mutex_lock(&rl->lock);
	for (i = 0; i < DIALS_MAX && rl->dials[i].from && now < rl->dials[i].until_ms; i++)
		;
	if (i < DIALS_MAX)
		rl->dials[i] = (struct dial){ ntohs(in.sin_port), now + SAY_MS, *host, port };
	pthread_mutex_unlock(&rl->lock);
	if (i < DIALS_MAX)
		return fd;
	close(fd);
	return -EBUSY;
}

int relay_socket(struct relay *rl, struct sockaddr *to, socklen_t *tolen)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct netaddr host;
	unsigned port;
	int fd;

	if (netaddr_from_sockaddr(to, &host))
		return -ENOENT;
	port = ntohs(to->sa_family == AF_INET ? ((const struct sockaddr_in *)to)->sin_port :
						((const struct sockaddr_in6 *)to)->sin6_port);
	if (netaddr_is_loopback(&host) || port < 3)
		return -ENOENT;
	if (is_self(rl, &host, port - 2)) {
		in.sin_port = htons(port);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		fd = fd < 0 ? -errno : fd;
	} else {
		in.sin_port = htons(rl->port);
		fd = dial_socket(rl, &host, port - 2);
	}
	if (fd < 0)
		return fd;
	memcpy(to, &in, sizeof(in));
	*tolen = sizeof(in);
	return fd;
}
