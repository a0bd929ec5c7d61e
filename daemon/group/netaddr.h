/* SPDX-License-Identifier: GPL-2.0 */
/*
 * netaddr - an address, a subnet, and the list of both that a member publishes.
 * Pure. IPv4 is held as an IPv4-mapped IPv6 address, so one form is enough.
 *
 * A member's list (group_member.addresses), words with blanks between:
 *	IFACE=ADDRESS/PREFIX[,default][,down]
 * default: the interface of the default route; down: the link is.
 */
#ifndef DAG_NETADDR_H
#define DAG_NETADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define NETADDR_TEXT	46	/* INET6_ADDRSTRLEN */
#define SUBNET_TEXT	50
#define NETIFS_MAX	16	/* of one member */

struct netaddr {
	uint8_t b[16];
};

/* A network address and its prefix length, counted in the mapped form (96..128
 * for IPv4). */
struct subnet {
	struct netaddr net;
	uint8_t bits;
};

struct netif {
	char iface[16];
	struct netaddr addr;
	struct subnet subnet;
	bool is_default, down;
};

int netaddr_parse(const char *text, struct netaddr *ret);	/* -EINVAL */
void netaddr_format(const struct netaddr *na, char ret[NETADDR_TEXT]);
bool netaddr_is_v4(const struct netaddr *na);
bool netaddr_is_zero(const struct netaddr *na);
bool netaddr_is_loopback(const struct netaddr *na);
bool netaddr_is_link_local(const struct netaddr *na);
bool netaddr_equal(const struct netaddr *a, const struct netaddr *b);
/* As sendto(2) and connect(2) want it; returns its length. */
socklen_t netaddr_to_sockaddr(const struct netaddr *na, uint16_t port, struct sockaddr_storage *ret);
int netaddr_from_sockaddr(const struct sockaddr *sa, struct netaddr *ret);	/* -EAFNOSUPPORT */

/* ADDRESS/PREFIX; the bits below the prefix are cleared; an address is returned
 * too if ret_addr is given. -EINVAL. */
int subnet_parse(const char *text, struct subnet *ret, struct netaddr *ret_addr);
void subnet_format(const struct subnet *sn, char ret[SUBNET_TEXT]);
bool subnet_has(const struct subnet *sn, const struct netaddr *na);
bool subnet_equal(const struct subnet *a, const struct subnet *b);
bool subnet_overlaps(const struct subnet *a, const struct subnet *b);
int subnet_compare(const struct subnet *a, const struct subnet *b);	/* for sorting */

/* Words of a member's list; what cannot be read is left out. Returns how many. */
unsigned netifs_parse(const char *list, struct netif *ret, unsigned max);
/* The list of them, in at most len - 1 characters; returns how many fit. */
unsigned netifs_format(const struct netif *ia, unsigned nr, char *ret, size_t len);
/* Subnets of a group_network, the same way. */
unsigned subnets_parse(const char *list, struct subnet *ret, unsigned max);

#endif
