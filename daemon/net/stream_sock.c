// SPDX-License-Identifier: GPL-2.0
/*
 * stream_sock - TCP sockets with time limits.
 *
 * Dead peers are found three ways: keepalive while nothing is under way,
 * TCP_USER_TIMEOUT while sent bytes are not acknowledged, and the deadlines of
 * whoever waits.
 */
#include "daemon/clock.h"
#include "daemon/net/stream_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

uint64_t deadline_in(unsigned ms)
{
	return ms ? now_ms() + ms : UINT64_MAX;
}

int sock_wait(int fd, short events, uint64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };
	uint64_t now, left;
	int rc;

	for (;;) {
		now = now_ms();
		if (now >= deadline)
			return -ETIMEDOUT;
		left = deadline - now;
		rc = poll(&p, 1, deadline == UINT64_MAX ? -1 : left > 60000 ? 60000 : (int)left);
		if (rc > 0)
			return p.revents & POLLNVAL ? -EBADF : 0;
		if (rc < 0 && errno != EINTR)
			return -errno;
	}
}

int sock_setup(int fd)
{
	static const struct { int level, name, value; } opts[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, 1 },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 1 },
		{ IPPROTO_TCP, TCP_KEEPCNT, 3 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, STREAM_USER_TIMEOUT_MS },
	};
	size_t i;
	int flags;

	for (i = 0; i < sizeof(opts) / sizeof(opts[0]); i++)
		if (setsockopt(fd, opts[i].level, opts[i].name, &opts[i].value, sizeof(int)) < 0)
			return -errno;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

static int finish_connect(int fd, uint64_t deadline)
{
	socklen_t len = sizeof(int);
	int rc, err = 0;

	rc = sock_wait(fd, POLLOUT, deadline);
	if (rc < 0)
		return rc;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	return -err;
}

int sock_connect(const struct sockaddr *to, socklen_t tolen, const struct sockaddr *from,
		 socklen_t fromlen, uint64_t deadline, int *ret_fd)
{
	int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), rc, one = 1;

	if (fd < 0)
		return -errno;
	rc = sock_setup(fd);
	if (rc < 0)
		goto out;
	if (from) {
		/* the port is chosen at connect(2), when the other end is known */
		(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		rc = bind(fd, from, fromlen) < 0 ? -errno : 0;
		if (rc < 0)
			goto out;
	}
	rc = connect(fd, to, tolen) < 0 ? -errno : 0;
	if (rc == -EINPROGRESS)
		rc = finish_connect(fd, deadline);
out:
	if (rc < 0)
		close(fd);
	else
		*ret_fd = fd;
	return rc;
}

void sock_name(const struct sockaddr *sa, socklen_t len, char ret[STREAM_ADDR_MAX])
{
	char host[NI_MAXHOST], port[NI_MAXSERV];
	int six = sa->sa_family == AF_INET6;

	if (getnameinfo(sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(ret, STREAM_ADDR_MAX, "unknown");
	else
		snprintf(ret, STREAM_ADDR_MAX, "%s%.60s%s:%.8s", six ? "[" : "", host,
			 six ? "]" : "", port);
}
