// SPDX-License-Identifier: GPL-2.0
/*
 * serve_tcp - the replication port: accept, authenticate, read the hello, hand
 * a log connection to the stores and serve an RPC connection here.
 *
 * Strangers can reach this port: handshakes are bounded in number and time, and
 * what is refused is logged at most once a second, with a count.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/control/networks.h"
#include "daemon/group/network.h"
#include "daemon/group/uuid.h"
#include "daemon/ship/frame.h"

#define SHAKE_MS	5000
#define IDLE_MS		60000
#define SEND_MS		20000

struct tcp_conn {
	struct control *ct;
	int fd, slot;
	char from[INET6_ADDRSTRLEN];
};

static void log_refusal(struct control *ct, const char *from, const char *why)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static unsigned dropped;
	static time_t last;
	struct timespec ts;

	history_add(ct->history, "refused", "", NULL, "connection from %s: %s", from, why);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	pthread_mutex_lock(&lock);
	if (ts.tv_sec == last) {
		dropped++;
	} else {
		log_warn("connection from=%s msg=refused why=\"%s\" more=%u", from, why, dropped);
		last = ts.tv_sec;
		dropped = 0;
	}
	pthread_mutex_unlock(&lock);
}

/* ---- addresses ----------------------------------------------------------- */

/* Addresses beside the configured one. Who wants others says so; the listener's
 * thread opens and closes, so that no socket is closed under its poll. */
struct listeners {
	pthread_mutex_t lock;
	int kick_fd;			/* readable: `want` is new */
	struct netaddr want[NETIFS_MAX];
	unsigned nr_want;
	/* the thread's */
	struct netaddr addr[NETIFS_MAX];
	int fd[NETIFS_MAX];
	unsigned nr;
};

static int listen_on(const char *address, uint16_t port, int *ret)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	bool any = !address[0], v4 = inet_pton(AF_INET, address, &in4.sin_addr) == 1;
	int fd, r, one = 1, zero = 0;

	fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 && any) {
		v4 = true;	/* no IPv6 in this kernel; any address is any */
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	}
	if (fd < 0)
		goto fail;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* the address may come up after us */
	setsockopt(fd, SOL_IP, IP_FREEBIND, &one, sizeof(one));
	if (v4) {
		r = bind(fd, (struct sockaddr *)&in4, sizeof(in4));
	} else {
		inet_pton(AF_INET6, any ? "::" : address, &in6.sin6_addr);
		setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
		r = bind(fd, (struct sockaddr *)&in6, sizeof(in6));
	}
	if (r || listen(fd, 64))
		goto fail;
	*ret = fd;
	return 0;
fail:
	r = -errno;
	log_err("replication address=%s port=%u err=\"%s\"", any ? "any" : address, port, strerror(-r));
	if (fd >= 0)
		close(fd);
	return r;
}

int serve_tcp_open(struct control *ct)
{
	struct listeners *ls = calloc(1, sizeof(*ls));

	if (!ls)
		return -ENOMEM;
	pthread_mutex_init(&ls->lock, NULL);
	ls->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ct->listeners = ls;
	if (ls->kick_fd < 0)
		return -errno;
	return listen_on(ct->cf->address, ct->cf->port, &ct->tcp_fd);
}

void serve_tcp_close(struct control *ct)
{
	struct listeners *ls = ct->listeners;

	if (ct->tcp_fd >= 0)
		close(ct->tcp_fd);
	if (!ls)
		return;
	while (ls->nr)
		close(ls->fd[--ls->nr]);
	if (ls->kick_fd >= 0)
		close(ls->kick_fd);
	pthread_mutex_destroy(&ls->lock);
	free(ls);
}

void serve_tcp_listen(struct control *ct, struct group_state *gs)
{
	const struct group_member *self = group_find_member(gs, ct->cf->member);
	struct listeners *ls = ct->listeners;
	struct netif ni[NETIFS_MAX];
	struct netaddr own;
	uint64_t one = 1;
	unsigned i, nr;

	/* without a configured address all are served already */
	if (!self || netaddr_parse(ct->cf->address, &own))
		return;
	nr = netifs_parse(self->addresses, ni, NETIFS_MAX);
	pthread_mutex_lock(&ls->lock);
	ls->nr_want = 0;
	for (i = 0; i < nr; i++) {
		struct group_network *nw = network_of(gs, &ni[i].addr);

		if (nw && !nw->ignore && !netaddr_equal(&ni[i].addr, &own) &&
		    !network_address_twice(gs, &ni[i].addr))
			ls->want[ls->nr_want++] = ni[i].addr;
	}
	pthread_mutex_unlock(&ls->lock);
	if (write(ls->kick_fd, &one, sizeof(one)) < 0)
		log_err("replication msg=\"listener not told\" err=\"%m\"");
}

static bool has(const struct netaddr *list, unsigned nr, const struct netaddr *na)
{
	while (nr--)
		if (netaddr_equal(&list[nr], na))
			return true;
	return false;
}

/* Open what is wanted, close what is not. */
static void settle_listeners(struct control *ct)
{
	struct listeners *ls = ct->listeners;
	char text[NETADDR_TEXT];
	unsigned i;

	pthread_mutex_lock(&ls->lock);
	for (i = 0; i < ls->nr; i++) {
		if (has(ls->want, ls->nr_want, &ls->addr[i]))
			continue;
		close(ls->fd[i]);
		ls->nr--;
		ls->addr[i] = ls->addr[ls->nr];
		ls->fd[i--] = ls->fd[ls->nr];
	}
	for (i = 0; i < ls->nr_want && ls->nr < NETIFS_MAX; i++) {
		if (has(ls->addr, ls->nr, &ls->want[i]))
			continue;
		netaddr_format(&ls->want[i], text);
		if (listen_on(text, ct->cf->port, &ls->fd[ls->nr]))
			continue;
		ls->addr[ls->nr++] = ls->want[i];
		log_info("replication address=%s port=%u msg=listening", text, ct->cf->port);
	}
	pthread_mutex_unlock(&ls->lock);
}

/* ---- connections ----------------------------------------------------------- */

static int send_line(void *out, const char *line)
{
	return stream_write_full(out, line, strlen(line), SEND_MS);
}

static bool is_member(struct control *ct, const char *name)
{
	struct group_state gs;
	bool is = false;

	if (group_state_init(&gs))
		return false;
	if (!ct->engine->ops->snapshot(ct->engine, &gs))
		is = group_find_member(&gs, name);
	group_state_free(&gs);
	return is;
}

static void serve_rpc(struct control *ct, struct stream *st, int slot)
{
	char *buf = malloc(RPC_LINE_MAX);
	int n;

	while (buf && slot >= 0) {
		n = stream_read_line(st, buf, RPC_LINE_MAX, IDLE_MS);
		/* one that was removed meanwhile has nothing to say any more */
		if (n <= 0 || !is_member(ct, stream_peer(st)) ||
		    dispatch_line(ct, buf, n, stream_peer(st), false, stream_is_tls(st), send_line, st))
			break;
	}
	if (slot >= 0)
		conns_leave(&ct->rpcs, slot);
	free(buf);
	stream_close(st);
}

/* Is the other side a member, and does it mean our group? */
static enum dag_refusal judge(struct control *ct, const struct stream *st,
			      const struct frame_hello *hello)
{
	enum dag_refusal refusal = DAG_OK;
	struct group_state gs;
	uint8_t uuid[16];

	if (group_state_init(&gs))
		return DAG_REFUSE_NOT_READY;
	if (ct->engine->ops->snapshot(ct->engine, &gs))
		refusal = DAG_REFUSE_NOT_READY;
	else if (uuid_parse_text(gs.uuid, uuid) || memcmp(uuid, hello->group, 16))
		refusal = DAG_REFUSE_GROUP;
	else if (!group_find_member(&gs, stream_peer(st)))
		refusal = DAG_REFUSE_MEMBER;
	group_state_free(&gs);
	return refusal;
}

static int answer(struct stream *st, const struct frame_hello *hello, enum dag_refusal refusal)
{
	/* resume means nothing here, but a welcome must say something */
	struct frame_welcome fw = { .refusal = refusal, .nonce = hello->nonce,
				    .resume = DAG_RESUME_LOG };
	struct dag_welcome welcome;

	frame_welcome_encode(&fw, &welcome);
	return stream_write_full(st, &welcome, sizeof(welcome), SHAKE_MS);
}

/* The handshake, under the lock that keeps the credentials. */
static int shake(struct tcp_conn *tc, struct stream **ret, char *why, size_t len)
{
	struct control *ct = tc->ct;
	struct stream_conf conf = { .security = networks_security(ct, tc->fd), .timeout_ms = SHAKE_MS,
				    .ktls = ct->cf->ktls, .cause = why, .causelen = len };
	int r;

	pthread_rwlock_rdlock(&ct->use);
	conf.creds = ct->creds;
	if (conf.creds) {
		r = stream_accept(&conf, tc->fd, ret);
	} else {
		close(tc->fd);
		snprintf(why, len, "this host is in no group");
		r = -ENOENT;
	}
	pthread_rwlock_unlock(&ct->use);
	return r;
}

static void give_to_stores(struct control *ct, struct stream *st, const struct dag_hello *raw)
{
	pthread_rwlock_rdlock(&ct->use);
	if (ct->stores)
		stores_accept(ct->stores, st, raw);
	else
		stream_abort(st);
	pthread_rwlock_unlock(&ct->use);
}

static void *shake_thread(void *arg)
{
	struct tcp_conn *tc = arg;
	struct control *ct = tc->ct;
	struct frame_hello hello = { .kind = 0 };
	struct stream *st = NULL;
	struct dag_hello raw;
	enum dag_refusal refusal = DAG_OK;
	char why[128] = "";
	bool rpc = false;
	int r;

	r = shake(tc, &st, why, sizeof(why));
	if (!r)
		r = stream_read_full(st, &raw, sizeof(raw), SHAKE_MS);
	if (!r)
		r = frame_hello_decode(&raw, &hello);
	if (r == -EPROTONOSUPPORT)
		refusal = DAG_REFUSE_VERSION;
	else if (!r)
		refusal = judge(ct, st, &hello);
	rpc = hello.kind == DAG_KIND_RPC;
	if (!r && !refusal && !rpc) {
		give_to_stores(ct, st, &raw);
		st = NULL;
	} else if (st && (refusal || rpc)) {
		int w = answer(st, &hello, refusal);

		r = r ? r : w;
	}
	if (r || refusal)
		log_refusal(ct, tc->from, refusal ? frame_refusal_text(refusal) :
			    why[0] ? why : strerror(-r));
	/*
	 * The slot is for the handshake only: RPC connections have their own, which
	 * is taken before the other is given back, so that a stop always sees us.
	 */
	if (st && !r && !refusal && rpc) {
		int slot = conns_enter(&ct->rpcs, stream_fd(st));

		conns_leave(&ct->shakes, tc->slot);
		free(tc);
		serve_rpc(ct, st, slot);
		return NULL;
	}
	if (st)
		stream_close(st);
	conns_leave(&ct->shakes, tc->slot);
	free(tc);
	return NULL;
}

static void name_of(const struct sockaddr_storage *ss, char *ret, size_t len)
{
	const void *at = ss->ss_family == AF_INET ?
			 (const void *)&((const struct sockaddr_in *)ss)->sin_addr :
			 (const void *)&((const struct sockaddr_in6 *)ss)->sin6_addr;

	if (!inet_ntop(ss->ss_family, at, ret, len))
		snprintf(ret, len, "?");
}

static void accept_one(struct control *ct, int listen_fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct tcp_conn *tc;
	int fd, slot, one = 1;

	fd = accept4(listen_fd, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	setsockopt(fd, SOL_TCP, TCP_NODELAY, &one, sizeof(one));
	slot = conns_enter(&ct->shakes, -1);
	tc = slot < 0 ? NULL : calloc(1, sizeof(*tc));
	if (tc) {
		tc->ct = ct;
		tc->fd = fd;
		tc->slot = slot;
		name_of(&ss, tc->from, sizeof(tc->from));
		if (!thread_detached(shake_thread, tc))
			return;
	}
	log_refusal(ct, "?", "too many handshakes at once");
	free(tc);
	if (slot >= 0)
		conns_leave(&ct->shakes, slot);
	close(fd);
}

void *serve_tcp_thread(void *arg)
{
	struct control *ct = arg;
	struct listeners *ls = ct->listeners;
	struct pollfd pfd[3 + NETIFS_MAX] = {
		{ .fd = ct->stop_fd, .events = POLLIN },
		{ .fd = ls->kick_fd, .events = POLLIN },
		{ .fd = ct->tcp_fd, .events = POLLIN },
	};
	uint64_t kicks;
	unsigned i;

	for (;;) {
		for (i = 0; i < ls->nr; i++)
			pfd[3 + i] = (struct pollfd){ .fd = ls->fd[i], .events = POLLIN };
		if (poll(pfd, 3 + ls->nr, -1) < 0 && errno != EINTR)
			return NULL;
		if (pfd[0].revents)
			return NULL;
		for (i = 2; i < 3 + ls->nr; i++)
			if (pfd[i].revents & POLLIN)
				accept_one(ct, pfd[i].fd);
		if (pfd[1].revents && read(ls->kick_fd, &kicks, sizeof(kicks)) > 0)
			settle_listeners(ct);
	}
}
