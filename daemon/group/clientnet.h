/* SPDX-License-Identifier: GPL-2.0 */
/*
 * clientnet - can clients reach a store at this member (semantics 12, 16)? Pure.
 *
 * Every member judges its own side only; the active of a store compares its state with
 * what the members of the other copies say of theirs, and hands over to one that is
 * better. So nothing moves when the network is gone for everybody, and nothing where
 * two members cannot tell whose side it is.
 */
#ifndef DAG_CLIENTNET_H
#define DAG_CLIENTNET_H

#include "daemon/group/network.h"

/* In this order: a higher one is better. */
enum client_state {
	CLIENT_NONE,	/* not judged: no client network here, or not known yet */
	CLIENT_DOWN,	/* no link, or an interface of a service address has none */
	CLIENT_ALONE,	/* a link, but nobody is heard over it */
	CLIENT_UP,
};

struct client_view {
	const struct netif *ni;		/* addresses of this host now */
	unsigned nr;
	const struct net_result *res;	/* what the heartbeats say of the paths from here */
	unsigned nr_res;
	bool had;			/* an address in the client network was seen before */
	/* Interfaces that the store's service addresses name: 0: none, 1: up, -1: one is not */
	int service;
};

enum client_state client_judge(struct group_state *gs, const struct client_view *v);
const char *client_state_name(enum client_state s);	/* "no link", … */
/* Is there anything to be judged for this store: a client network, service addresses? */
bool client_matters(const struct group_state *gs, const struct group_store *st);
/* Does the host have an address in the client network now? */
bool client_address(struct group_state *gs, const struct netif *ni, unsigned nr);

#endif
