// SPDX-License-Identifier: GPL-2.0
/* network_find - networks out of the members' addresses (network.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/group/network.h"

#define SUBNETS_MAX	64	/* of a whole group */

/* A subnet that members have, and what it belongs to. */
struct found {
	struct subnet sn;
	unsigned part;		/* equal: one network */
	uint32_t members;	/* a bit each */
	uint32_t defaults;	/* of these, their default route goes there */
};

struct finder {
	struct found sub[SUBNETS_MAX];
	unsigned nr;
};

static struct found *sub_of(struct finder *f, const struct subnet *sn)
{
	unsigned i;

	for (i = 0; i < f->nr; i++)
		if (subnet_equal(&f->sub[i].sn, sn))
			return &f->sub[i];
	if (f->nr == SUBNETS_MAX)
		return NULL;
	f->sub[f->nr] = (struct found){ .sn = *sn, .part = f->nr };
	return &f->sub[f->nr++];
}

static void join(struct finder *f, unsigned a, unsigned b)
{
	unsigned i;

	for (i = 0; i < f->nr; i++)
		if (f->sub[i].part == b)
			f->sub[i].part = a;
}

static void gather_member(struct finder *f, struct group_state *gs, unsigned bit)
{
	struct found *of[NETIFS_MAX] = { NULL };
	struct netif ia[NETIFS_MAX];
	unsigned i, k, nr = netifs_parse(gs->members[bit].addresses, ia, NETIFS_MAX);

	for (i = 0; i < nr; i++) {
		/* an address of its own alone, as of a tunnel, is no subnet */
		if (ia[i].subnet.bits == 128 || network_address_twice(gs, &ia[i].addr))
			continue;
		of[i] = sub_of(f, &ia[i].subnet);
		if (!of[i])
			continue;
		of[i]->members |= 1u << bit;
		if (ia[i].is_default)
			of[i]->defaults |= 1u << bit;
		for (k = 0; k < i; k++)
			if (of[k] && !strcmp(ia[k].iface, ia[i].iface))
				join(f, of[k]->part, of[i]->part);
	}
}

static int by_subnet(const void *a, const void *b)
{
	return subnet_compare(&((const struct found *)a)->sn, &((const struct found *)b)->sn);
}

static uint32_t members_of(const struct finder *f, unsigned part, bool defaults)
{
	uint32_t bits = 0;
	unsigned i;

	for (i = 0; i < f->nr; i++)
		if (f->sub[i].part == part)
			bits |= defaults ? f->sub[i].defaults : f->sub[i].members;
	return bits;
}

/* The part with the default route on most members; SUBNETS_MAX: on none. Other
 * sites' parts that carry theirs become part of it. */
static unsigned find_client(struct finder *f)
{
	unsigned i, client = SUBNETS_MAX;
	int n, most = 0;

	for (i = 0; i < f->nr; i++) {
		n = __builtin_popcount(members_of(f, f->sub[i].part, true));
		if (n > most) {
			most = n;
			client = f->sub[i].part;
		}
	}
	for (i = 0; i < f->nr && most; i++) {
		unsigned part = f->sub[i].part;

		if (part != client && members_of(f, part, true) &&
		    !(members_of(f, part, false) & members_of(f, client, false)))
			join(f, client, part);
	}
	return client;
}

/* ---- parts become networks -------------------------------------------------- */

static bool network_has(const struct group_network *nw, const struct subnet *sn)
{
	struct subnet list[NETWORK_SUBNETS_MAX];
	unsigned nr = subnets_parse(nw->subnets, list, NETWORK_SUBNETS_MAX);

	while (nr--)
		if (subnet_equal(&list[nr], sn))
			return true;
	return false;
}

static void append_subnet(struct group_network *nw, const struct subnet *sn)
{
	struct subnet list[NETWORK_SUBNETS_MAX];
	char text[SUBNET_TEXT];
	size_t len = strlen(nw->subnets);

	subnet_format(sn, text);
	if (network_has(nw, sn) || len + strlen(text) + 2 > sizeof(nw->subnets) ||
	    subnets_parse(nw->subnets, list, NETWORK_SUBNETS_MAX) == NETWORK_SUBNETS_MAX)
		return;
	snprintf(nw->subnets + len, sizeof(nw->subnets) - len, "%s%s", len ? " " : "", text);
}

static bool name_taken(const struct group_network *nw, unsigned nr, const char *name)
{
	while (nr--)
		if (!strcmp(nw[nr].name, name))
			return true;
	return false;
}

/* The network of old that had a subnet of this part: it keeps its name. */
static const struct group_network *old_of(const struct finder *f, unsigned part,
					  const struct group_network *old, unsigned nr_old)
{
	unsigned i, k;

	for (k = 0; k < nr_old; k++)
		for (i = 0; i < f->nr; i++)
			if (f->sub[i].part == part && network_has(&old[k], &f->sub[i].sn))
				return &old[k];
	return NULL;
}

struct result {
	struct group_network nw[GROUP_NETWORKS_MAX];
	unsigned nr;
};

static struct group_network *new_network(struct result *rs, const struct group_network *old,
					 unsigned nr_old)
{
	struct group_network *nw;
	unsigned n = 1;

	if (rs->nr == GROUP_NETWORKS_MAX)
		return NULL;
	nw = &rs->nw[rs->nr];
	memset(nw, 0, sizeof(*nw));
	do {
		snprintf(nw->name, sizeof(nw->name), "net-%u", n++);
	} while (name_taken(rs->nw, rs->nr, nw->name) || name_taken(old, nr_old, nw->name));
	rs->nr++;
	return nw;
}

/* Old networks first, in their order, so that names and order are stable. */
static void keep_old(struct finder *f, unsigned client, const struct group_state *gs,
		     struct result *rs, bool done[SUBNETS_MAX])
{
	uint32_t k;
	unsigned i;

	for (k = 0; k < gs->nr_networks; k++) {
		struct group_network *nw = NULL;

		for (i = 0; i < f->nr; i++) {
			unsigned part = f->sub[i].part;

			if (done[i] || old_of(f, part, gs->networks, gs->nr_networks) !=
			    &gs->networks[k])
				continue;
			if (!nw) {
				nw = &rs->nw[rs->nr++];
				*nw = gs->networks[k];
				memset(nw->subnets, 0, sizeof(nw->subnets));
				nw->client = nw->replication = false;
			}
			nw->client |= part == client;
			append_subnet(nw, &f->sub[i].sn);
			done[i] = true;
		}
	}
}

static void add_new(struct finder *f, unsigned client, const struct group_state *gs,
		    struct result *rs, bool done[SUBNETS_MAX])
{
	unsigned i, k;

	for (i = 0; i < f->nr; i++) {
		struct group_network *nw;

		if (done[i])
			continue;
		nw = new_network(rs, gs->networks, gs->nr_networks);
		if (!nw)
			return;
		nw->client = f->sub[i].part == client;
		for (k = i; k < f->nr; k++) {
			if (f->sub[k].part != f->sub[i].part)
				continue;
			append_subnet(nw, &f->sub[k].sn);
			done[k] = true;
		}
	}
}

/* All but the client network replicate; it too, where it is the only one. */
static void give_roles(struct result *rs)
{
	unsigned i;

	for (i = 0; i < rs->nr; i++)
		rs->nw[i].replication = !rs->nw[i].client || rs->nr == 1;
}

/* By hand: networks stay as they are; what is in none is added. */
static void extend(struct finder *f, const struct group_state *gs, struct result *rs)
{
	bool done[SUBNETS_MAX] = { false };
	unsigned i, k;

	memcpy(rs->nw, gs->networks, sizeof(rs->nw));
	rs->nr = gs->nr_networks;
	for (i = 0; i < f->nr; i++) {
		for (k = 0; k < rs->nr && !done[i]; k++)
			done[i] = network_has(&rs->nw[k], &f->sub[i].sn);
	}
	k = rs->nr;
	add_new(f, SUBNETS_MAX, gs, rs, done);
	for (; k < rs->nr; k++)
		rs->nw[k].replication = true;
}

int network_discover(struct group_state *gs, bool force)
{
	bool done[SUBNETS_MAX] = { false };
	struct result rs = { .nr = 0 };
	struct finder f = { .nr = 0 };
	unsigned client, i;
	uint32_t m;

	if (gs->manual_networks && !force)
		return 0;
	for (m = 0; m < gs->nr_members; m++)
		gather_member(&f, gs, m);
	/* parts are numbers, not places: sorting does not disturb them */
	qsort(f.sub, f.nr, sizeof(f.sub[0]), by_subnet);
	if (gs->manual_networks) {
		extend(&f, gs, &rs);
	} else {
		client = find_client(&f);
		keep_old(&f, client, gs, &rs, done);
		add_new(&f, client, gs, &rs, done);
		give_roles(&rs);
	}
	if (rs.nr == gs->nr_networks && !memcmp(rs.nw, gs->networks, rs.nr * sizeof(rs.nw[0])))
		return 0;
	for (i = 0; i < GROUP_NETWORKS_MAX; i++)
		gs->networks[i] = i < rs.nr ? rs.nw[i] : (struct group_network){ .client = false };
	gs->nr_networks = rs.nr;
	return 1;
}
