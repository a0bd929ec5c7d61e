/* SPDX-License-Identifier: GPL-2.0 */
/*
 * relay - the connections between the engines of the members, each over all networks at
 * once (bond.h).
 *
 * etcd knows one address of a member, and needs 5 s to leave a connection that is dead
 * without a word: longer than a lease. So etcd listens on the loopback only, and what it
 * says to others goes through here: it takes the relay for its proxy (HTTP CONNECT), our
 * own client calls it (relay_socket). A bond to the relay of the other member is made, with
 * one connection to each of its addresses, and ends there at its etcd. What passes is TLS
 * between the two ends; nothing here is secret, and nobody is believed here.
 *
 * One thread, one TCP port: who calls from the loopback and says CONNECT is our etcd, who
 * says a bond's hello is another relay. Bonds, ways and callers that have not said what
 * they are yet are bounded in number and time.
 *
 * Happy path of a call: CONNECT or relay_socket -> a bond, a way to each address -> the
 * first that is connected: answered -> bytes -> one end closes: the other is told behind
 * the last byte. A way that fails is tried again every second while the bond lives; a
 * bond without any way ends, and etcd calls again.
 */
#ifndef DAG_RELAY_H
#define DAG_RELAY_H

#include "daemon/group/netaddr.h"

#define RELAY_PORT_ADD		5	/* to the member's port */
#define RELAY_WAYS_MAX		8
#define RELAY_TARGETS_MAX	48

struct relay;

/* A member by its configured address and port, and all addresses to call it by. */
struct relay_target {
	struct netaddr host;
	uint16_t port;
	unsigned nr;
	struct netaddr way[RELAY_WAYS_MAX];
};

/* Counters, for people. */
struct relay_view {
	unsigned bonds, ways;		/* now; ways that are connected */
	uint64_t made, ways_lost, refused;
};

/*
 * self: this member; it is called by no other addresses than its ways. Listens on its
 * port + RELAY_PORT_ADD of all addresses; calls for it go to 127.0.0.1, port + 2
 * (clients) and + 3 (peers). -errno, e.g. -EADDRINUSE.
 */
int relay_open(const struct relay_target *self, struct relay **ret);
void relay_close(struct relay *rl);		/* NULL is fine */
/* Where the members are; those that are not listed any more are still found by what was
 * said last of them, as long as there is room. */
void relay_set(struct relay *rl, const struct relay_target *self, const struct relay_target *list,
	       unsigned nr);
/*
 * How to call the engine's port for clients of a member by its configured address: a
 * socket, and `to` is changed to where it is to be connected. -ENOENT: as it is (an
 * address on the loopback); other -errno.
 */
int relay_socket(struct relay *rl, struct sockaddr *to, socklen_t *tolen);
void relay_look(struct relay *rl, struct relay_view *ret);

#endif
