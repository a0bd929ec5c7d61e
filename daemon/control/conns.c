// SPDX-License-Identifier: GPL-2.0
/* conns - a bounded set of connection threads that can be cut and waited for. */
#include <errno.h>
#include <sys/socket.h>

#include "daemon/control/control_int.h"

#define STACK_BYTES	(512u << 10)

void conns_init(struct conns *cs, unsigned max)
{
	unsigned i;

	pthread_mutex_init(&cs->lock, NULL);
	pthread_cond_init(&cs->none, NULL);
	cs->nr = 0;
	cs->max = max < CONNS_MAX ? max : CONNS_MAX;
	cs->closing = false;
	for (i = 0; i < CONNS_MAX; i++)
		cs->fds[i] = 0;
}

int conns_enter(struct conns *cs, int fd)
{
	unsigned i;
	int r = -EBUSY;

	pthread_mutex_lock(&cs->lock);
	if (cs->closing)
		r = -ESHUTDOWN;
	for (i = 0; r == -EBUSY && i < cs->max; i++) {
		if (cs->fds[i])
			continue;
		cs->fds[i] = fd;
		cs->nr++;
		r = i;
	}
	pthread_mutex_unlock(&cs->lock);
	return r;
}

int conns_set(struct conns *cs, int slot, int fd)
{
	int r = 0;

	pthread_mutex_lock(&cs->lock);
	if (cs->closing)
		r = -ESHUTDOWN;
	else
		cs->fds[slot] = fd;
	pthread_mutex_unlock(&cs->lock);
	return r;
}

void conns_leave(struct conns *cs, int slot)
{
	pthread_mutex_lock(&cs->lock);
	cs->fds[slot] = 0;
	if (!--cs->nr)
		pthread_cond_broadcast(&cs->none);
	pthread_mutex_unlock(&cs->lock);
}

void conns_close(struct conns *cs)
{
	unsigned i;

	pthread_mutex_lock(&cs->lock);
	cs->closing = true;
	for (i = 0; i < cs->max; i++)
		if (cs->fds[i] > 0)
			shutdown(cs->fds[i], SHUT_RDWR);
	while (cs->nr)
		pthread_cond_wait(&cs->none, &cs->lock);
	pthread_mutex_unlock(&cs->lock);
}

int thread_detached(void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	r = -pthread_create(&thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return r;
}
