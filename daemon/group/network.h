/* SPDX-License-Identifier: GPL-2.0 */
/*
 * network - the group's named networks: found from the members' addresses, the
 * paths between two members over them, and their states. Pure.
 *
 * A network is a set of subnets (semantics 12). Found by itself: subnets that
 * share an interface of some member belong together; the network with the default
 * route on most members is the client network, and what carries the default route
 * on members that are not in it (another site) is joined to it; all others are
 * replication networks. What an administrator has named stays as it was named.
 */
#ifndef DAG_NETWORK_H
#define DAG_NETWORK_H

#include <stdbool.h>

#include "daemon/group/netaddr.h"
#include "daemon/group/state.h"
#include "include/dag/wire.h"

#define NETWORK_PATHS_MAX	16	/* between two members */
#define NETWORK_SUBNETS_MAX	16	/* of one network */

/* What a path is good for; a lower one is better. */
enum path_rank {
	PATH_REPLICATION,
	PATH_CLIENT,		/* when every replication network is down */
	PATH_DIRECT,		/* the members' configured addresses, in no network */
	PATH_BEATS_ONLY,	/* never chosen: replication is off there */
};

struct net_path {
	char network[32];	/* "": PATH_DIRECT */
	char iface[16];		/* here; "": not known */
	struct netaddr local, remote;
	enum path_rank rank;
	bool same_subnet;
};

/*
 * Find networks anew from all members' addresses. manual_networks: nothing is
 * done, unless forced: then subnets that are in no network yet get one, and all
 * else stays. Returns 1 if gs->networks changed, else 0.
 */
int network_discover(struct group_state *gs, bool force);

/* What an administrator changes; NULL, -1: stays. */
struct network_change {
	const char *name;		/* a new one, if subnets are given and it is not there */
	const char *rename;
	const char *subnets;		/* with blanks or commas between; "": remove it */
	int client, replication, ignore;
	int compression;		/* enum network_compression */
};
/* Networks are kept by hand from then on. A subnet leaves the network it was in; there
 * is one client network. -EINVAL with a reason, and gs is of no use. */
int network_edit(struct group_state *gs, const struct network_change *ch, char *err, size_t errlen);

/* Whose network is it? NULL: none. */
struct group_network *network_find(struct group_state *gs, const char *name);
struct group_network *network_of(struct group_state *gs, const struct netaddr *na);

/* Do several members have it, as the address of a bridge of their own? It is of no use. */
bool network_address_twice(struct group_state *gs, const struct netaddr *na);

/* All paths from self to member, in the order of the networks; how many. */
unsigned network_paths(struct group_state *gs, const char *self, const char *member,
		       struct net_path *ret, unsigned max);

/* Is this to be done between these addresses? (semantics 15) */
bool network_policy(enum group_wire wire, bool same_subnet, bool seeding);
/*
 * How the log between these addresses is compressed, of which `to` is the other end:
 * as its network says, else by the group's policy. *ret_seed_only: only while a copy is
 * not whole. Without networks nobody knows who is far: only enabled and seed-only count.
 */
enum dag_codec network_codec(struct group_state *gs, const struct netaddr *from,
			     const struct netaddr *to, bool *ret_seed_only);
/* Are both in one subnet of the group's networks? */
bool network_same_subnet(struct group_state *gs, const struct netaddr *a, const struct netaddr *b);

/* ---- states, as one member sees them ------------------------------------- */

enum subnet_state { SUBNET_UP, SUBNET_DOWN, SUBNET_PARTITIONED, SUBNET_MISCONFIGURED,
		    SUBNET_UNAVAILABLE, SUBNET_UNKNOWN };
enum iface_state { IFACE_UP, IFACE_FAILED, IFACE_UNREACHABLE, IFACE_UNAVAILABLE, IFACE_UNKNOWN };

/* What the heartbeats say of one path from here to a member. */
struct net_result {
	char member[64];
	struct netaddr local, remote;
	bool known;		/* long enough to tell */
	bool up;
};

const char *subnet_state_name(enum subnet_state s);
const char *iface_state_name(enum iface_state s);
enum subnet_state network_subnet_state(struct group_state *gs, const char *self,
				       const struct subnet *sn, const struct net_result *res,
				       unsigned nr);
enum iface_state network_iface_state(struct group_state *gs, const char *self, const char *member,
				     const struct netif *ia, const struct net_result *res,
				     unsigned nr);

#endif
