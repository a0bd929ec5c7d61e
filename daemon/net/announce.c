// SPDX-License-Identifier: GPL-2.0
#include "daemon/net/announce.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"

#define TIMES	3

/* ms after the first; the last entry is when the ear is closed */
static const unsigned due_ms[TIMES + 1] = { 0, 250, 1000, 1250 };

struct announce {
	int fd, ifindex, family;
	uint8_t addr[16], mac[ETH_ALEN];
	char text[80];
	unsigned sent;
	uint64_t first_ms;
	bool warned;
};

struct arp_packet {
	struct ether_header eth;
	struct ether_arp arp;
} __attribute__((packed));

/* ---- IPv4 ------------------------------------------------------------------ */

/* RFC 5227: the question has no sender address, the announcement both alike. */
static int send_arp(struct announce *an, bool question)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP),
		.sll_ifindex = an->ifindex, .sll_halen = ETH_ALEN,
	};
	struct arp_packet p = {
		.eth = { .ether_type = htons(ETH_P_ARP) },
		.arp = { .ea_hdr = { htons(ARPHRD_ETHER), htons(ETH_P_IP), ETH_ALEN, 4,
				     htons(ARPOP_REQUEST) } },
	};

	memset(to.sll_addr, 0xff, ETH_ALEN);
	memset(p.eth.ether_dhost, 0xff, ETH_ALEN);
	memcpy(p.eth.ether_shost, an->mac, ETH_ALEN);
	memcpy(p.arp.arp_sha, an->mac, ETH_ALEN);
	memcpy(p.arp.arp_tpa, an->addr, 4);
	if (!question)
		memcpy(p.arp.arp_spa, an->addr, 4);
	return sendto(an->fd, &p, sizeof(p), 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

static int open_arp(struct announce *an)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP),
		.sll_ifindex = an->ifindex,
	};

	an->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ARP));
	if (an->fd < 0 || bind(an->fd, (struct sockaddr *)&at, sizeof(at)))
		return -errno;
	return send_arp(an, true);
}

/* Does anybody else say that the address is his? */
static void listen_arp(struct announce *an)
{
	struct arp_packet p;
	ssize_t n;

	while ((n = recv(an->fd, &p, sizeof(p), 0)) >= 0) {
		const uint8_t *m = p.arp.arp_sha;

		if (n < (ssize_t)sizeof(p) || memcmp(p.arp.arp_spa, an->addr, 4) ||
		    !memcmp(m, an->mac, ETH_ALEN) || an->warned)
			continue;
		an->warned = true;
		log_warn("address=%s msg=\"another host has it too\" "
			 "mac=%02x:%02x:%02x:%02x:%02x:%02x next=\"take it off there\"", an->text,
			 m[0], m[1], m[2], m[3], m[4], m[5]);
	}
}

/* ---- IPv6 ------------------------------------------------------------------ */

static int open_nd(struct announce *an)
{
	const int hops = 255;

	an->fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6);
	if (an->fd < 0 ||
	    setsockopt(an->fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops)) ||
	    setsockopt(an->fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &an->ifindex, sizeof(an->ifindex)))
		return -errno;
	return 0;
}

static int send_na(struct announce *an)
{
	struct {
		struct nd_neighbor_advert na;
		struct nd_opt_hdr opt;
		uint8_t mac[ETH_ALEN];
	} __attribute__((packed)) p = {
		.na.nd_na_type = ND_NEIGHBOR_ADVERT,
		.na.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE,
		.opt = { .nd_opt_type = ND_OPT_TARGET_LINKADDR, .nd_opt_len = 1 },
	};
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_scope_id = an->ifindex };
	struct sockaddr_in6 from = { .sin6_family = AF_INET6, .sin6_scope_id = an->ifindex };

	memcpy(&p.na.nd_na_target, an->addr, 16);
	memcpy(p.mac, an->mac, ETH_ALEN);
	inet_pton(AF_INET6, "ff02::1", &to.sin6_addr);
	memcpy(&from.sin6_addr, an->addr, 16);
	if (!an->sent && bind(an->fd, (struct sockaddr *)&from, sizeof(from)))
		return -errno;
	return sendto(an->fd, &p, sizeof(p), 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

/* ---- both ------------------------------------------------------------------- */

/* The interface's Ethernet address; -ENOTSUP where it has none. */
static int get_mac(struct announce *an)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = 0;
	struct ifreq ifr = { .ifr_flags = 0 };

	if (fd < 0)
		return -errno;
	if (!if_indextoname((unsigned)an->ifindex, ifr.ifr_name) || ioctl(fd, SIOCGIFHWADDR, &ifr))
		rc = -errno;
	else if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		rc = -ENOTSUP;
	else
		memcpy(an->mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	close(fd);
	return rc;
}

struct announce *announce_new(int ifindex, int family, const uint8_t *addr, const char *text)
{
	struct announce *an = calloc(1, sizeof(*an));
	int rc;

	if (!an)
		return NULL;
	an->fd = -1;
	an->ifindex = ifindex;
	an->family = family;
	memcpy(an->addr, addr, family == AF_INET ? 4 : 16);
	snprintf(an->text, sizeof(an->text), "%s", text);
	rc = get_mac(an);
	if (!rc)
		rc = family == AF_INET ? open_arp(an) : open_nd(an);
	if (!rc)
		return an;
	if (rc != -ENOTSUP)
		log_warn("address=%s msg=\"neighbours are not told\" err=\"%s\"", text, strerror(-rc));
	announce_free(an);
	return NULL;
}

unsigned announce_tick(struct announce *an)
{
	uint64_t now = now_ms();
	int rc;

	if (!an->sent)
		an->first_ms = now;
	while (an->sent < TIMES && now >= an->first_ms + due_ms[an->sent]) {
		rc = an->family == AF_INET ? send_arp(an, false) : send_na(an);
		if (rc && !an->sent)
			log_warn("address=%s msg=\"neighbours are not told\" err=\"%s\"", an->text,
				 strerror(-rc));
		an->sent++;
	}
	if (an->family == AF_INET)
		listen_arp(an);
	if (now >= an->first_ms + due_ms[TIMES])
		return 0;
	return (unsigned)(an->first_ms + due_ms[an->sent] - now);
}

void announce_free(struct announce *an)
{
	if (!an)
		return;
	if (an->fd >= 0)
		close(an->fd);
	free(an);
}
