// SPDX-License-Identifier: GPL-2.0
/* relay: two members on the loopback, their networks are 127.0.0.2 and 127.0.0.3. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/net/bond.h"
#include "daemon/net/relay.h"

static struct relay *rl[2];
static struct relay_target at[2];
static int server = -1;			/* of the second member's engine */
static pthread_t thread;

static int listen_at(const char *address, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	inet_pton(AF_INET, address, &in.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) || listen(fd, 8)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* An echo for each caller, until the listener is shut down. */
static void *serve(void *arg)
{
	static char buf[65536];
	ssize_t n, m;
	int fd;

	while ((fd = accept(server, NULL, NULL)) >= 0) {
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			while (n > 0 && (m = write(fd, buf, n)) > 0)
				n -= m;
		close(fd);
	}
	return NULL;
}

static void setup(void)
{
	unsigned i, port = 10000 + getpid() * 16u % 20000, tries = 0;

	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < 2;) {
		cr_assert_lt(tries++, 500);
		memset(&at[i], 0, sizeof(at[i]));
		netaddr_parse(i ? "127.0.0.2" : "127.0.0.4", &at[i].host);
		at[i].port = port += 8;
		at[i].nr = 2;
		netaddr_parse(i ? "127.0.0.2" : "127.0.0.4", &at[i].way[0]);
		netaddr_parse(i ? "127.0.0.3" : "127.0.0.5", &at[i].way[1]);
		if (i && (server = listen_at("127.0.0.1", port + 3)) < 0)
			continue;
		i += !relay_open(&at[i], &rl[i]);
	}
	for (i = 0; i < 2; i++)
		relay_set(rl[i], &at[i], at, 2);
	cr_assert_eq(pthread_create(&thread, NULL, serve, NULL), 0);
}

static void teardown(void)
{
	shutdown(server, SHUT_RDWR);
	relay_close(rl[0]);
	relay_close(rl[1]);
	pthread_join(thread, NULL);
	close(server);
}

TestSuite(relay, .init = setup, .fini = teardown, .timeout = 60);

static int call(const char *address, uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	const struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, address, &in.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	cr_assert_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

/* Through the first member's relay; the status of the answer. */
static int connect_to(const char *host, unsigned port, int *ret)
{
	char text[200];
	size_t len = 0;
	int status;

	*ret = call("127.0.0.1", at[0].port + RELAY_PORT_ADD);
	snprintf(text, sizeof(text), "CONNECT %s:%u HTTP/1.1\r\nHost: x\r\n\r\n", host, port);
	cr_assert_eq(write(*ret, text, strlen(text)), (ssize_t)strlen(text));
	while (len < sizeof(text) - 1 && read(*ret, text + len, 1) == 1) {
		text[++len] = '\0';
		if (len > 4 && !strcmp(text + len - 4, "\r\n\r\n"))
			break;
	}
	text[len] = '\0';
	return sscanf(text, "HTTP/1.1 %d", &status) == 1 ? status : 0;
}

static void echo(int fd, size_t total)
{
	unsigned char *sent = malloc(total), *back = malloc(total);
	size_t out = 0, in = 0;

	cr_assert(sent && back);
	for (size_t i = 0; i < total; i++)
		sent[i] = i * 2654435761u >> 11;
	while (in < total) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN | (out < total ? POLLOUT : 0) };
		ssize_t n;

		cr_assert_gt(poll(&pfd, 1, 10000), 0, "stands still at %zu, %zu", out, in);
		if (pfd.revents & POLLOUT) {
			n = send(fd, sent + out, total - out, MSG_DONTWAIT);
			cr_assert(n > 0 || errno == EAGAIN);
			out += n > 0 ? n : 0;
		}
		if (pfd.revents & POLLIN) {
			n = recv(fd, back + in, total - in, MSG_DONTWAIT);
			cr_assert(n > 0 || (n < 0 && errno == EAGAIN), "at %zu: %zd", in, n);
			in += n > 0 ? n : 0;
		}
	}
	cr_assert(!memcmp(sent, back, total));
	free(sent);
	free(back);
}

Test(relay, carries_bytes_and_the_end)
{
	struct relay_view rv;
	char c;
	int fd, i;

	cr_assert_eq(connect_to("127.0.0.2", at[1].port + 3, &fd), 200);
	echo(fd, 5000000);
	relay_look(rl[1], &rv);
	cr_assert(rv.bonds == 1 && rv.made == 1);
	/* our end: the echo ends, and so does what it sends */
	shutdown(fd, SHUT_WR);
	cr_assert_eq(read(fd, &c, 1), 0);
	close(fd);
	for (i = 0; i < 100 && rv.bonds; i++) {
		usleep(50000);
		relay_look(rl[1], &rv);
	}
	cr_assert_eq(rv.bonds, 0, "nothing is left of it");
}

/* One network is dead from the start, and without a word. */
Test(relay, dead_network_costs_nothing)
{
	struct relay_target dead = at[1];
	int fd;

	netaddr_parse("192.0.2.1", &dead.way[0]);
	relay_set(rl[0], &at[0], &dead, 1);
	cr_assert_eq(connect_to("127.0.0.2", at[1].port + 3, &fd), 200);
	echo(fd, 1000000);
	close(fd);
	/* an address at which another host listens is none of its ways */
	netaddr_parse("127.0.0.4", &dead.way[0]);
	relay_set(rl[0], &at[0], &dead, 1);
	cr_assert_eq(connect_to("127.0.0.2", at[1].port + 3, &fd), 200);
	echo(fd, 1000000);
	close(fd);
}

Test(relay, ends_where_nobody_listens)
{
	struct relay_view rv;
	char c;
	int fd;

	cr_assert_eq(connect_to("127.0.0.2", 9, &fd), 502);
	close(fd);
	cr_assert_eq(connect_to("not-an-address", 4711, &fd), 0);
	close(fd);
	/* the other relay is there, its engine is not */
	shutdown(server, SHUT_RDWR);
	close(server);
	if (connect_to("127.0.0.2", at[1].port + 3, &fd) == 200)
		cr_assert_leq(read(fd, &c, 1), 0);
	close(fd);
	/* the other relay goes away under a connection, and the caller hears of it */
	server = listen_at("127.0.0.1", at[1].port + 3);
	cr_assert_geq(server, 0);
	pthread_join(thread, NULL);
	cr_assert_eq(pthread_create(&thread, NULL, serve, NULL), 0);
	cr_assert_eq(connect_to("127.0.0.2", at[1].port + 3, &fd), 200);
	echo(fd, 100000);
	relay_close(rl[1]);
	cr_assert_leq(read(fd, &c, 1), 0);
	close(fd);
	/* and comes back */
	cr_assert_eq(relay_open(&at[1], &rl[1]), 0);
	cr_assert_eq(connect_to("127.0.0.2", at[1].port + 3, &fd), 200);
	echo(fd, 100000);
	close(fd);
	relay_look(rl[0], &rv);
	cr_assert_gt(rv.ways_lost, 0);
}

static void refused(const void *bytes, size_t len, const char *address)
{
	struct relay_view before, after;
	int fd, i;
	char c;

	relay_look(rl[1], &before);
	fd = call(address, at[1].port + RELAY_PORT_ADD);
	cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
	cr_assert_leq(read(fd, &c, 1), 0);
	close(fd);
	for (i = 0, after = before; i < 100 && after.refused == before.refused; i++) {
		usleep(20000);
		relay_look(rl[1], &after);
	}
	cr_assert_eq(after.refused, before.refused + 1);
	cr_assert_eq(after.made, before.made);
}

Test(relay, refuses_what_is_not_for_it)
{
	struct bond_hello bh = { .id = { 7 }, .port = at[1].port, .to = BOND_TO_PEER };
	uint8_t raw[BOND_HELLO];
	char c;
	int fd;

	refused("GET / HTTP/1.1\r\n\r\n", 18, "127.0.0.1");
	refused("CONNECT 127.0.0.4 HTTP/1.1\r\n\r\n", 30, "127.0.0.1");
	refused("CONNECT 127.0.0.4:70000 HTTP/1.1\r\n\r\n", 36, "127.0.0.1");
	/* another host is meant, or this one by an address that is not its own */
	memcpy(bh.host, at[0].host.b, 16);
	bond_hello_encode(&bh, raw);
	refused(raw, sizeof(raw), "127.0.0.2");
	memcpy(bh.host, at[1].host.b, 16);
	bond_hello_encode(&bh, raw);
	refused(raw, sizeof(raw), "127.0.0.9");
	raw[9] ^= 1;
	refused(raw, sizeof(raw), "127.0.0.2");
	/* who says nothing is cut, and a way to a bond that is no more finds none */
	bh.joins = true;
	bond_hello_encode(&bh, raw);
	fd = call("127.0.0.2", at[1].port + RELAY_PORT_ADD);
	cr_assert_eq(write(fd, raw, sizeof(raw)), (ssize_t)sizeof(raw));
	cr_assert_leq(read(fd, &c, 1), 0);
	close(fd);
	fd = call("127.0.0.2", at[1].port + RELAY_PORT_ADD);
	cr_assert_leq(read(fd, &c, 1), 0);
	close(fd);
	/* frames that are none end the bond */
	bh.joins = false;
	bond_hello_encode(&bh, raw);
	fd = call("127.0.0.2", at[1].port + RELAY_PORT_ADD);
	cr_assert_eq(write(fd, raw, sizeof(raw)), (ssize_t)sizeof(raw));
	memset(raw, 0xff, sizeof(raw));
	cr_assert_eq(write(fd, raw, sizeof(raw)), (ssize_t)sizeof(raw));
	while (read(fd, &c, 1) > 0)
		;
	close(fd);
	/* and all of that has harmed nobody */
	cr_assert_eq(connect_to("127.0.0.2", at[1].port + 3, &fd), 200);
	echo(fd, 100000);
	close(fd);
}
