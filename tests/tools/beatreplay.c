// SPDX-License-Identifier: GPL-2.0
/*
 * beatreplay - record heartbeats on the wire, and send them again as they were.
 *	beatreplay record PORT COUNT FILE	UDP over IPv4 to that port, any interface
 *	beatreplay play PORT FILE		from the addresses that they came from
 * What is played must come from a host that has these addresses.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "include/dag/beat.h"

struct taken {
	uint32_t from, to;
	uint8_t data[sizeof(struct dag_beat)];
};

static int die(const char *what)
{
	fprintf(stderr, "beatreplay: %s: %s\n", what, strerror(errno));
	return EXIT_FAILURE;
}

/* True: a heartbeat to that port that came from outside. */
static bool is_beat(const uint8_t *buf, ssize_t n, const struct sockaddr_ll *from, int port,
		    struct taken *ret)
{
	const struct iphdr *ip = (const struct iphdr *)buf;
	const struct udphdr *udp;

	if (from->sll_pkttype != PACKET_HOST || n < (ssize_t)(sizeof(*ip) + sizeof(*udp)) ||
	    ip->protocol != IPPROTO_UDP)
		return false;
	udp = (const struct udphdr *)(buf + ip->ihl * 4);
	if (n != (ssize_t)(ip->ihl * 4 + sizeof(*udp) + sizeof(ret->data)) || ntohs(udp->dest) != port)
		return false;
	ret->from = ip->saddr;
	ret->to = ip->daddr;
	memcpy(ret->data, udp + 1, sizeof(ret->data));
	return true;
}

static int record(int port, int count, const char *path)
{
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(ETH_P_IP));
	struct sockaddr_ll from;
	struct taken tk;
	uint8_t buf[2048];
	FILE *f = fopen(path, "we");

	if (fd < 0 || !f)
		return die(path);
	while (count) {
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		if (n < 0)
			return die("recvfrom");
		if (!is_beat(buf, n, &from, port, &tk))
			continue;
		if (fwrite(&tk, sizeof(tk), 1, f) != 1)
			return die(path);
		count--;
	}
	return fclose(f) ? die(path) : EXIT_SUCCESS;
}

static int send_one(const struct taken *tk, int port)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = tk->from };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = tk->to,
				  .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && !bind(fd, (struct sockaddr *)&from, sizeof(from)) &&
		  sendto(fd, tk->data, sizeof(tk->data), 0, (struct sockaddr *)&to, sizeof(to)) ==
		  sizeof(tk->data);

	if (fd >= 0)
		close(fd);
	return ok ? 0 : -1;
}

static int play(int port, const char *path)
{
	FILE *f = fopen(path, "re");
	struct taken tk;
	unsigned sent = 0;

	if (!f)
		return die(path);
	while (fread(&tk, sizeof(tk), 1, f) == 1)
		sent += !send_one(&tk, port);
	fclose(f);
	printf("%u sent\n", sent);
	return sent ? EXIT_SUCCESS : die("nothing sent");
}

int main(int argc, char **argv)
{
	if (argc == 5 && !strcmp(argv[1], "record") && atoi(argv[3]) > 0)
		return record(atoi(argv[2]), atoi(argv[3]), argv[4]);
	if (argc == 4 && !strcmp(argv[1], "play"))
		return play(atoi(argv[2]), argv[3]);
	fprintf(stderr, "usage: beatreplay record PORT COUNT FILE | play PORT FILE\n");
	return 2;
}
