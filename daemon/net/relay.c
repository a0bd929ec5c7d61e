// SPDX-License-Identifier: GPL-2.0
#include "daemon/net/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/net/relay_int.h"

#define TICK_MS		50
#define CALM_MS		200		/* nothing is under way: addresses are looked at */
#define EVENTS		64

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

void relay_count(struct relay *rl, uint64_t *which)
{
	pthread_mutex_lock(&rl->lock);
	(*which)++;
	pthread_mutex_unlock(&rl->lock);
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

/* ---- the thread ---------------------------------------------------------- */

/* Returns when to come back at the latest, -1: at the next event. */
static int tick(struct relay *rl, bool due)
{
	unsigned i, n = 0, ways = 0, waiting = callers_tick(rl);

	for (i = 0; i < BONDS_MAX; i++) {
		if (rl->bonds[i] && due)
			bond_tick(rl, rl->bonds[i]);
		if (rl->bonds[i] && bond_is_over(rl->bonds[i])) {
			bond_free(rl, rl->bonds[i]);
			rl->bonds[i] = NULL;
		}
		if (!rl->bonds[i])
			continue;
		n++;
		ways += bond_ways(rl->bonds[i]);
		waiting += bond_waits(rl->bonds[i]);
	}
	pthread_mutex_lock(&rl->lock);
	rl->view.bonds = n;
	rl->view.ways = ways;
	pthread_mutex_unlock(&rl->lock);
	return waiting ? TICK_MS : n ? CALM_MS : -1;
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
	int i, n, wait_ms = -1;

	while (!is_stopped(rl)) {
		n = epoll_wait(rl->epoll_fd, ev, EVENTS, wait_ms);
		for (i = 0; i < n; i++) {
			struct end *e = ev[i].data.ptr;

			/* what one event has closed is freed after all of them */
			if (e->kind == END_LISTEN)
				callers_answer(rl);
			else if (e->kind == END_CALLER)
				caller_event(rl, e);
			else if (e->bond && e->fd >= 0)
				bond_event(rl, e, ev[i].events);
		}
		now = now_ms();
		wait_ms = tick(rl, now >= next_ms);
		if (now >= next_ms)
			next_ms = now + TICK_MS;
	}
	return NULL;
}

/* ---- for others ---------------------------------------------------------- */

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

	callers_free(rl);
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
