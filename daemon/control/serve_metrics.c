// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/serve_metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/control/control_int.h"
#include "daemon/control/httpreq.h"
#include "daemon/group/netaddr.h"
#include "daemon/health/metrics.h"

#define CONNS		8
#define CONN_MS		5000		/* for the whole of a request and its answer */
#define HEAD_BYTES	256

struct conn {
	int fd;				/* -1: free */
	uint64_t until_ms;
	char req[HTTPREQ_MAX];
	size_t have;
	char *out;			/* the answer, malloc'ed; NULL: the request is read */
	size_t len, off;
	bool drains;			/* answered: wait for the other end to close */
};

struct serve_metrics {
	struct control *ct;
	pthread_t thread;
	int fd;
	bool any_host;			/* reachable by others, who may name it as they like */
	struct conn conns[CONNS];
};

static uint64_t now_ms(void)
{
	return peer_now_ns() / 1000000;
}

static void drop(struct conn *c)
{
	close(c->fd);
	free(c->out);
	memset(c, 0, sizeof(*c));
	c->fd = -1;
}

static void answer(struct serve_metrics *sm, struct conn *c, int status, bool head)
{
	size_t body_len = 0;
	char *body = NULL;
	int n;

	if (status == 200 && metrics_collect(sm->ct, &body, &body_len))
		status = 500;
	if (status != 200) {
		body = NULL;
		body_len = 0;
	}
	c->out = malloc(HEAD_BYTES + body_len);
	if (!c->out) {
		free(body);
		drop(c);
		return;
	}
	n = snprintf(c->out, HEAD_BYTES, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
		     "%sConnection: close\r\n\r\n", status, httpreq_reason(status), METRICS_TYPE, body_len,
		     status == 405 ? "Allow: GET, HEAD\r\n" : "");
	c->len = n;
	if (!head && body_len) {
		memcpy(c->out + n, body, body_len);
		c->len += body_len;
	}
	free(body);
	/* it was waited for us, not for them */
	c->until_ms = now_ms() + CONN_MS;
}

static void take(struct serve_metrics *sm, struct conn *c)
{
	ssize_t n = recv(c->fd, c->req + c->have, sizeof(c->req) - c->have, 0);
	bool head = false;
	int status;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		drop(c);
		return;
	}
	c->have += n;
	status = httpreq_judge(c->req, c->have, sm->any_host, &head);
	if (status)
		answer(sm, c, status, head);
}

static void give(struct conn *c)
{
	ssize_t n = send(c->fd, c->out + c->off, c->len - c->off, MSG_NOSIGNAL);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n < 0) {
		drop(c);
		return;
	}
	c->off += n;
	if (c->off < c->len)
		return;
	/* what was not read of the request must not turn the answer into a reset */
	shutdown(c->fd, SHUT_WR);
	c->drains = true;
}

static void drain(struct conn *c)
{
	char waste[4096];
	ssize_t n = recv(c->fd, waste, sizeof(waste), 0);

	if (!n || (n < 0 && errno != EINTR && errno != EAGAIN))
		drop(c);
}

static void accept_one(struct serve_metrics *sm)
{
	for (int i = 0; i < CONNS; i++) {
		struct conn *c = &sm->conns[i];

		if (c->fd >= 0)
			continue;
		c->fd = accept4(sm->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		c->until_ms = now_ms() + CONN_MS;
		return;
	}
}

/* What to wait for; without a free place nobody is accepted. Returns how long. */
static int prepare(struct serve_metrics *sm, struct pollfd pfd[CONNS + 2])
{
	uint64_t now = now_ms(), first = UINT64_MAX;
	bool room = false;

	for (int i = 0; i < CONNS; i++) {
		struct conn *c = &sm->conns[i];

		if (c->fd >= 0 && now >= c->until_ms)
			drop(c);
		pfd[i].fd = c->fd;
		pfd[i].events = c->out && !c->drains ? POLLOUT : POLLIN;
		pfd[i].revents = 0;
		room |= c->fd < 0;
		if (c->fd >= 0 && c->until_ms < first)
			first = c->until_ms;
	}
	pfd[CONNS] = (struct pollfd){ .fd = sm->ct->stop_fd, .events = POLLIN };
	pfd[CONNS + 1] = (struct pollfd){ .fd = room ? sm->fd : -1, .events = POLLIN };
	return first == UINT64_MAX ? -1 : (int)(first - now);
}

static void *metrics_main(void *arg)
{
	struct serve_metrics *sm = arg;
	struct pollfd pfd[CONNS + 2];

	pthread_setname_np(pthread_self(), "dag-metrics");
	for (;;) {
		int timeout = prepare(sm, pfd);

		if (poll(pfd, CONNS + 2, timeout) < 0 && errno != EINTR)
			break;
		if (pfd[CONNS].revents)
			break;
		for (int i = 0; i < CONNS; i++) {
			struct conn *c = &sm->conns[i];

			if (c->fd < 0 || !pfd[i].revents)
				continue;
			if (c->drains)
				drain(c);
			else if (c->out)
				give(c);
			else
				take(sm, c);
		}
		if (pfd[CONNS + 1].revents & POLLIN)
			accept_one(sm);
	}
	return NULL;
}

static int listen_at(const struct config *cf, bool *ret_any_host)
{
	struct sockaddr_storage ss;
	struct netaddr na;
	int fd, r, one = 1;
	socklen_t len;

	if (netaddr_parse(cf->metrics_address, &na))
		return -EINVAL;
	*ret_any_host = !netaddr_is_loopback(&na);
	len = netaddr_to_sockaddr(&na, cf->metrics_port, &ss);
	fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&ss, len) || listen(fd, CONNS)) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

int serve_metrics_start(struct control *ct, struct serve_metrics **ret)
{
	struct serve_metrics *sm;
	int r;

	*ret = NULL;
	if (!ct->cf->metrics_port)
		return 0;
	sm = calloc(1, sizeof(*sm));
	if (!sm)
		return -ENOMEM;
	sm->ct = ct;
	for (int i = 0; i < CONNS; i++)
		sm->conns[i].fd = -1;
	sm->fd = listen_at(ct->cf, &sm->any_host);
	if (sm->fd < 0) {
		log_warn("metrics address=%s port=%u msg=\"not served\" err=\"%s\" next=\"metrics_port in "
			 "dag.conf\"", ct->cf->metrics_address, ct->cf->metrics_port, strerror(-sm->fd));
		free(sm);
		return 0;
	}
	r = -pthread_create(&sm->thread, NULL, metrics_main, sm);
	if (r) {
		close(sm->fd);
		free(sm);
		return r;
	}
	*ret = sm;
	return 0;
}

void serve_metrics_stop(struct serve_metrics *sm)
{
	if (!sm)
		return;
	pthread_join(sm->thread, NULL);
	for (int i = 0; i < CONNS; i++)
		if (sm->conns[i].fd >= 0)
			drop(&sm->conns[i]);
	close(sm->fd);
	free(sm);
}
