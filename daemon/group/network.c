// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/network.h"

#include <string.h>

struct group_network *network_find(struct group_state *gs, const char *name)
{
	uint32_t i;

	for (i = 0; i < gs->nr_networks; i++)
		if (!strcmp(gs->networks[i].name, name))
			return &gs->networks[i];
	return NULL;
}

struct group_network *network_of(struct group_state *gs, const struct netaddr *na)
{
	struct subnet sn[NETWORK_SUBNETS_MAX];
	uint32_t i;

	for (i = 0; i < gs->nr_networks; i++) {
		unsigned nr = subnets_parse(gs->networks[i].subnets, sn, NETWORK_SUBNETS_MAX);

		while (nr--)
			if (subnet_has(&sn[nr], na))
				return &gs->networks[i];
	}
	return NULL;
}

bool network_same_subnet(struct group_state *gs, const struct netaddr *a, const struct netaddr *b)
{
	struct subnet sn[NETWORK_SUBNETS_MAX];
	uint32_t i;

	for (i = 0; i < gs->nr_networks; i++) {
		unsigned nr = subnets_parse(gs->networks[i].subnets, sn, NETWORK_SUBNETS_MAX);

		while (nr--)
			if (subnet_has(&sn[nr], a) && subnet_has(&sn[nr], b))
				return true;
	}
	return false;
}

bool network_policy(enum group_wire wire, bool same_subnet, bool seeding)
{
	switch (wire) {
	case WIRE_INTER_SUBNET:
		return !same_subnet;
	case WIRE_ENABLED:
		return true;
	case WIRE_SEED_ONLY:
		return seeding;
	case WIRE_DISABLED:
		break;
	}
	return false;
}

enum dag_codec network_codec(struct group_state *gs, const struct netaddr *from,
			     const struct netaddr *to, bool *ret_seed_only)
{
	const struct group_network *nw = network_of(gs, to);
	enum dag_codec codec = gs->codec == CODEC_ZSTD ? DAG_CODEC_ZSTD : DAG_CODEC_LZ4;
	bool same = !gs->nr_networks || network_same_subnet(gs, from, to);

	*ret_seed_only = false;
	switch (nw ? nw->compression : COMPRESS_BY_GROUP) {
	case COMPRESS_OFF:
		return DAG_CODEC_NONE;
	case COMPRESS_LZ4:
		return DAG_CODEC_LZ4;
	case COMPRESS_ZSTD:
		return DAG_CODEC_ZSTD;
	default:
		break;
	}
	*ret_seed_only = gs->compression == WIRE_SEED_ONLY;
	return network_policy(gs->compression, same, true) ? codec : DAG_CODEC_NONE;
}

/* ---- paths ---------------------------------------------------------------- */

/* One member's addresses, without those that are of no use. */
struct side {
	struct netif ia[NETIFS_MAX];
	unsigned nr;
};

bool network_address_twice(struct group_state *gs, const struct netaddr *na)
{
	unsigned members = 0;
	uint32_t i;

	for (i = 0; i < gs->nr_members; i++) {
		struct netif ia[NETIFS_MAX];
		unsigned nr = netifs_parse(gs->members[i].addresses, ia, NETIFS_MAX);

		while (nr--) {
			if (!netaddr_equal(&ia[nr].addr, na))
				continue;
			members++;
			break;
		}
	}
	return members > 1;
}

static void side_of(struct group_state *gs, const struct group_member *mb, struct side *ret)
{
	unsigned i, nr = netifs_parse(mb->addresses, ret->ia, NETIFS_MAX);

	struct netaddr own;
	struct netif first;

	ret->nr = 0;
	for (i = 0; i < nr; i++)
		if (!network_address_twice(gs, &ret->ia[i].addr))
			ret->ia[ret->nr++] = ret->ia[i];
	/* of several in a subnet the one that was configured is the first choice */
	for (i = 1; i < ret->nr && !netaddr_parse(mb->address, &own); i++) {
		if (!netaddr_equal(&ret->ia[i].addr, &own))
			continue;
		first = ret->ia[i];
		memmove(&ret->ia[1], &ret->ia[0], i * sizeof(first));
		ret->ia[0] = first;
	}
}

static const struct netif *in_subnet(const struct side *s, const struct subnet *sn)
{
	unsigned i;

	for (i = 0; i < s->nr; i++)
		if (subnet_has(sn, &s->ia[i].addr))
			return &s->ia[i];
	return NULL;
}

static enum path_rank rank_of(const struct group_network *nw)
{
	if (nw->replication)
		return PATH_REPLICATION;
	return nw->client ? PATH_CLIENT : PATH_BEATS_ONLY;
}

struct path_list {
	struct net_path *path;
	unsigned nr, max;
};

static void add_path(struct path_list *pl, const struct group_network *nw, const struct netif *from,
		     const struct netif *to, bool same_subnet)
{
	struct net_path *np;

	if (pl->nr == pl->max || netaddr_equal(&from->addr, &to->addr))
		return;
	np = &pl->path[pl->nr++];
	memset(np, 0, sizeof(*np));
	memcpy(np->network, nw->name, sizeof(np->network));
	memcpy(np->iface, from->iface, sizeof(np->iface));
	np->local = from->addr;
	np->remote = to->addr;
	np->rank = rank_of(nw);
	np->same_subnet = same_subnet;
}

/* No subnet in common: one pair of each family, by whatever router there is. */
static void add_routed(struct path_list *pl, const struct group_network *nw, const struct side *here,
		       const struct side *there, const struct subnet *sn, unsigned nr)
{
	unsigned i, k;
	int v4;

	for (v4 = 1; v4 >= 0; v4--) {
		const struct netif *from = NULL, *to = NULL;

		for (i = 0; i < nr; i++) {
			if (netaddr_is_v4(&sn[i].net) != v4)
				continue;
			from = from ? from : in_subnet(here, &sn[i]);
			for (k = 0; k < nr && !to; k++)
				if (netaddr_is_v4(&sn[k].net) == v4)
					to = in_subnet(there, &sn[k]);
		}
		if (from && to)
			add_path(pl, nw, from, to, false);
	}
}

static void paths_over(struct path_list *pl, const struct group_network *nw, const struct side *here,
		       const struct side *there)
{
	struct subnet sn[NETWORK_SUBNETS_MAX];
	unsigned i, nr = subnets_parse(nw->subnets, sn, NETWORK_SUBNETS_MAX), before = pl->nr;

	for (i = 0; i < nr; i++) {
		const struct netif *from = in_subnet(here, &sn[i]), *to = in_subnet(there, &sn[i]);

		if (from && to)
			add_path(pl, nw, from, to, true);
	}
	if (pl->nr == before)
		add_routed(pl, nw, here, there, sn, nr);
}

/* What was configured is always tried too, unless that network is to be ignored. */
static void add_direct(struct path_list *pl, struct group_state *gs, const struct group_member *from,
		       const struct group_member *to)
{
	struct group_network *nw;
	struct net_path np = { .rank = PATH_DIRECT };
	unsigned i;

	if (netaddr_parse(from->address, &np.local) || netaddr_parse(to->address, &np.remote) ||
	    pl->nr == pl->max || netaddr_is_v4(&np.local) != netaddr_is_v4(&np.remote))
		return;
	nw = network_of(gs, &np.remote);
	if (nw && nw->ignore)
		return;
	for (i = 0; i < pl->nr; i++)
		if (netaddr_equal(&pl->path[i].remote, &np.remote))
			return;
	np.same_subnet = network_same_subnet(gs, &np.local, &np.remote);
	pl->path[pl->nr++] = np;
}

/* A member, or the witness as one: it is reached by its address. NULL: neither. */
static const struct group_member *end_of(struct group_state *gs, const char *name,
					 struct group_member *room)
{
	const struct group_member *mb = group_find_member(gs, name);

	if (mb || !gs->witness.name[0] || strcmp(gs->witness.name, name))
		return mb;
	memset(room, 0, sizeof(*room));
	memcpy(room->name, gs->witness.name, sizeof(room->name));
	memcpy(room->address, gs->witness.address, sizeof(room->address));
	room->port = gs->witness.port;
	return room;
}

unsigned network_paths(struct group_state *gs, const char *self, const char *member,
		       struct net_path *ret, unsigned max)
{
	struct group_member rooms[2];
	const struct group_member *from = end_of(gs, self, &rooms[0]);
	const struct group_member *to = end_of(gs, member, &rooms[1]);
	struct path_list pl = { .path = ret, .max = max };
	struct side here, there;
	uint32_t i;

	if (!from || !to || from == to)
		return 0;
	side_of(gs, from, &here);
	side_of(gs, to, &there);
	for (i = 0; i < gs->nr_networks; i++)
		if (!gs->networks[i].ignore)
			paths_over(&pl, &gs->networks[i], &here, &there);
	add_direct(&pl, gs, from, to);
	return pl.nr;
}

/* ---- states --------------------------------------------------------------- */

const char *subnet_state_name(enum subnet_state s)
{
	static const char *const names[] = { "Up", "Down", "Partitioned", "Misconfigured",
					     "Unavailable", "Unknown" };

	return s <= SUBNET_UNKNOWN ? names[s] : "Unknown";
}

const char *iface_state_name(enum iface_state s)
{
	static const char *const names[] = { "Up", "Failed", "Unreachable", "Unavailable", "Unknown" };

	return s <= IFACE_UNKNOWN ? names[s] : "Unknown";
}

/* Up over any path; a member of whom nothing is known yet counts as there. */
static bool living(const char *self, const char *member, const struct net_result *res, unsigned nr)
{
	bool known = false;
	unsigned i;

	if (!strcmp(self, member))
		return true;
	for (i = 0; i < nr; i++) {
		if (strcmp(res[i].member, member))
			continue;
		if (res[i].up)
			return true;
		known |= res[i].known;
	}
	return !known;
}

/* How the members stand in this subnet. */
struct census {
	unsigned members;	/* with an address in it */
	unsigned present;	/* of them: there, and the link up */
	bool wrong;		/* an address twice, or prefixes that differ */
};

static void take_census(struct group_state *gs, const char *self, const struct subnet *sn,
			const struct net_result *res, unsigned nr, struct census *ret)
{
	uint32_t i;

	memset(ret, 0, sizeof(*ret));
	for (i = 0; i < gs->nr_members; i++) {
		struct netif ia[NETIFS_MAX];
		unsigned k, n = netifs_parse(gs->members[i].addresses, ia, NETIFS_MAX);
		bool in = false, up = false;

		for (k = 0; k < n; k++) {
			if (!subnet_overlaps(&ia[k].subnet, sn))
				continue;
			if (!subnet_equal(&ia[k].subnet, sn) || network_address_twice(gs, &ia[k].addr))
				ret->wrong = true;
			in = true;
			up |= !ia[k].down;
		}
		ret->members += in;
		ret->present += up && living(self, gs->members[i].name, res, nr);
	}
}

enum subnet_state network_subnet_state(struct group_state *gs, const char *self,
				       const struct subnet *sn, const struct net_result *res,
				       unsigned nr)
{
	struct group_network *nw = network_of(gs, &sn->net);
	unsigned i, up = 0, known = 0;
	struct subnet list[NETWORK_SUBNETS_MAX];
	struct census cs;

	take_census(gs, self, sn, res, nr, &cs);
	if (cs.wrong || (cs.members == 1 && gs->nr_members > 1 &&
			 (!nw || subnets_parse(nw->subnets, list, NETWORK_SUBNETS_MAX) == 1)))
		return SUBNET_MISCONFIGURED;
	if (!cs.present)
		return SUBNET_UNAVAILABLE;
	for (i = 0; i < nr; i++) {
		if (!subnet_has(sn, &res[i].local) && !subnet_has(sn, &res[i].remote))
			continue;
		if (!res[i].known || !living(self, res[i].member, res, nr))
			continue;
		known++;
		up += res[i].up;
	}
	if (!known)
		return SUBNET_UNKNOWN;
	return up == known ? SUBNET_UP : up ? SUBNET_PARTITIONED : SUBNET_DOWN;
}

enum iface_state network_iface_state(struct group_state *gs, const char *self, const char *member,
				     const struct netif *ia, const struct net_result *res,
				     unsigned nr)
{
	bool own = !strcmp(self, member);
	unsigned i, known = 0;

	if (!living(self, member, res, nr))
		return IFACE_UNAVAILABLE;
	if (ia->down)
		return IFACE_FAILED;
	for (i = 0; i < nr; i++) {
		const struct netaddr *at = own ? &res[i].local : &res[i].remote;

		if (!netaddr_equal(at, &ia->addr) || (!own && strcmp(res[i].member, member)))
			continue;
		if (res[i].up)
			return IFACE_UP;
		/* silence of a dead member says nothing of an interface here */
		known += res[i].known && living(self, res[i].member, res, nr);
	}
	return known ? IFACE_UNREACHABLE : IFACE_UNKNOWN;
}
