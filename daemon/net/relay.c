// SPDX-License-Identifier: GPL-2.0
#include "daemon/net/relay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/net/relay_int.h"

#define SAY_MS		2000		/* who calls says what it is in that time */
#define TICK_MS		50
#define EVENTS		64

uint64_t relay_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void end_want(struct relay *rl, struct end *e, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = e };

	if (e->fd < 0 || e->want == events)
		return;
	if (epoll_ctl(rl->epoll_fd, !events ? EPOLL_CTL_DEL : e->want ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
		      e->fd, &ev))
		log_err("relay fd=%d msg=\"not watched\" err=\"%m\"", e->fd);
	e->want = events;
}

void end_close(struct relay *rl, struct end *e)
{
	if (e->fd < 0)
		return;
	close(e->fd);	/* leaves the set by that */
	e->fd = -1;
	e->want = 0;
}

/* ---- who is where -------------------------------------------------------- */

static struct relay_target *find(struct relay *rl, const struct netaddr *host, uint16_t port)
{
	unsigned i;

	for (i = 0; i < rl->nr; i++)
		if (rl->list[i].port == port && netaddr_equal(&rl->list[i].host, host))
			return &rl->list[i];
	return NULL;
}

void relay_find(struct relay *rl, const struct netaddr *host, uint16_t port,
		struct relay_target *ret)
{
	struct relay_target *rt;

	pthread_mutex_lock(&rl->lock);
	rt = find(rl, host, port);
	if (rt)
		*ret = *rt;
	pthread_mutex_unlock(&rl->lock);
	if (!rt)
		*ret = (struct relay_target){ .host = *host, .port = port, .nr = 1, .way = { *host } };
}

void relay_set(struct relay *rl, const struct relay_target *self, const struct relay_target *list,
	       unsigned nr)
{
	struct relay_target *rt;
	unsigned i;

	pthread_mutex_lock(&rl->lock);
	rl->self = *self;
	for (i = 0; i < nr; i++) {
		rt = find(rl, &list[i].host, list[i].port);
		/* full: whoever came first has left, or is named again right below */
		if (!rt && rl->nr == RELAY_TARGETS_MAX) {
			memmove(rl->list, rl->list + 1, (RELAY_TARGETS_MAX - 1) * sizeof(*rt));
			rl->nr--;
		}
		if (!rt)
			rt = &rl->list[rl->nr++];
		*rt = list[i];
	}
	pthread_mutex_unlock(&rl->lock);
}

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

static void answer_callers(struct relay *rl)
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
		rl->callers[at]->until_ms = relay_now_ms() + SAY_MS;
		end_want(rl, &rl->callers[at]->e, EPOLLIN);
	}
}

static void caller_event(struct relay *rl, struct end *e)
{
	unsigned i;

	for (i = 0; i < CALLERS_MAX; i++)
		if (rl->callers[i] && &rl->callers[i]->e == e)
			caller_says(rl, i);
}

/* ---- the thread ---------------------------------------------------------- */

/* Returns how many there are that time matters to. */
static unsigned tick(struct relay *rl, bool due)
{
	uint64_t now = relay_now_ms();
	unsigned i, n = 0, ways = 0, callers = 0;

	for (i = 0; i < CALLERS_MAX; i++) {
		if (rl->callers[i] && now > rl->callers[i]->until_ms)
			refuse(rl, i, "says nothing");
		callers += rl->callers[i] != NULL;
	}
	for (i = 0; i < BONDS_MAX; i++) {
		if (rl->bonds[i] && due)
			bond_tick(rl, rl->bonds[i]);
		if (rl->bonds[i] && bond_is_over(rl->bonds[i])) {
			bond_free(rl, rl->bonds[i]);
			rl->bonds[i] = NULL;
		}
		n += rl->bonds[i] != NULL;
		ways += rl->bonds[i] ? bond_ways(rl->bonds[i]) : 0;
	}
	pthread_mutex_lock(&rl->lock);
	rl->view.bonds = n;
	rl->view.ways = ways;
	pthread_mutex_unlock(&rl->lock);
	return n + callers;
}

static bool is_stopped(struct relay *rl)
{
	bool stop;

	pthread_mutex_lock(&rl->lock);
	stop = rl->stop;
	pthread_mutex_unlock(&rl->lock);
	return stop;
}

static void *relay_main(void *arg)
{
	struct epoll_event ev[EVENTS];
	uint64_t next_ms = 0, now;
	struct relay *rl = arg;
	bool busy = false;
	int i, n;

	while (!is_stopped(rl)) {
		n = epoll_wait(rl->epoll_fd, ev, EVENTS, busy ? TICK_MS : -1);
		for (i = 0; i < n; i++) {
			struct end *e = ev[i].data.ptr;

			/* what one event has closed is freed after all of them */
			if (e->kind == END_LISTEN)
				answer_callers(rl);
			else if (e->kind == END_CALLER)
				caller_event(rl, e);
			else if (e->bond && e->fd >= 0)
				bond_event(rl, e, ev[i].events);
		}
		now = relay_now_ms();
		busy = tick(rl, now >= next_ms);
		if (now >= next_ms)
			next_ms = now + TICK_MS;
	}
	return NULL;
}

/* ---- for others ---------------------------------------------------------- */

/* A socket with a port of its own on the loopback, by which the relay knows it. */
static int dial_socket(struct relay *rl, const struct netaddr *host, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;
	uint64_t now = relay_now_ms();
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

void relay_look(struct relay *rl, struct relay_view *ret)
{
	pthread_mutex_lock(&rl->lock);
	*ret = rl->view;
	pthread_mutex_unlock(&rl->lock);
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int one = 1, zero = 0;
	bool v4 = fd < 0;	/* no IPv6 in this kernel; any address is any */
	int r;

	if (v4)
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!v4)
		setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	r = v4 ? bind(fd, (struct sockaddr *)&in4, sizeof(in4)) :
		 bind(fd, (struct sockaddr *)&in6, sizeof(in6));
	if (!r && !listen(fd, 64))
		return fd;
	r = -errno;
	close(fd);
	return r;
}

static void drop(struct relay *rl)
{
	unsigned i;

	for (i = 0; i < CALLERS_MAX; i++)
		if (rl->callers[i])
			caller_free(rl, i, false);
	for (i = 0; i < BONDS_MAX; i++)
		if (rl->bonds[i])
			bond_free(rl, rl->bonds[i]);
	end_close(rl, &rl->listener);
	end_close(rl, &rl->kick);
	if (rl->epoll_fd >= 0)
		close(rl->epoll_fd);
	pthread_mutex_destroy(&rl->lock);
	free(rl);
}

int relay_open(const struct relay_target *self, struct relay **ret)
{
	struct relay *rl = calloc(1, sizeof(*rl));
	int r = 0;

	if (!rl)
		return -ENOMEM;
	rl->self = *self;
	rl->port = self->port + RELAY_PORT_ADD;
	pthread_mutex_init(&rl->lock, NULL);
	rl->listener = (struct end){ .kind = END_LISTEN, .fd = listen_on(rl->port) };
	rl->kick = (struct end){ .kind = END_KICK, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	rl->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (rl->listener.fd < 0)
		r = rl->listener.fd;
	else if (rl->kick.fd < 0 || rl->epoll_fd < 0 ||
		 getrandom(rl->seed, sizeof(rl->seed), 0) != sizeof(rl->seed))
		r = -EIO;
	if (!r) {
		end_want(rl, &rl->listener, EPOLLIN);
		end_want(rl, &rl->kick, EPOLLIN);
		r = -pthread_create(&rl->thread, NULL, relay_main, rl);
	}
	if (r) {
		log_err("relay port=%u msg=\"not opened\" err=\"%s\"", rl->port, strerror(-r));
		drop(rl);
		return r;
	}
	*ret = rl;
	return 0;
}

void relay_close(struct relay *rl)
{
	uint64_t one = 1;

	if (!rl)
		return;
	pthread_mutex_lock(&rl->lock);
	rl->stop = true;
	pthread_mutex_unlock(&rl->lock);
	if (write(rl->kick.fd, &one, sizeof(one)) < 0)
		log_err("relay msg=\"not told\" err=\"%m\"");
	pthread_join(rl->thread, NULL);
	drop(rl);
}
