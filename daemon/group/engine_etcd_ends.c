// SPDX-License-Identifier: GPL-2.0
/*
 * engine_etcd_ends - where etcd is asked, and how it is reached: the endpoints of our
 * client, and the relay that carries what it says over all networks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/group/engine_etcd_int.h"
#include "daemon/group/network.h"
#include "daemon/net/relay.h"

/* ---- the relay ------------------------------------------------------------- */

/* Who may have to be found: members and witnesses, of the state and of the hint. */
#define PLACES_MAX	(2 * (GROUP_MEMBERS_MAX + 1))

static void add_way(struct relay_target *rt, const struct netaddr *na)
{
	unsigned i;

	for (i = 0; i < rt->nr; i++)
		if (netaddr_equal(&rt->way[i], na))
			return;
	if (rt->nr < RELAY_WAYS_MAX)
		rt->way[rt->nr++] = *na;
}

/* A member by its configured address first, which the others know from the beginning, and
 * by those of its networks. False: its address is none. */
static bool target_of(struct group_state *gs, const char *address, uint16_t port, const char *list,
		      struct relay_target *ret)
{
	struct netif ni[NETIFS_MAX];
	unsigned i, nr = netifs_parse(list, ni, NETIFS_MAX);

	memset(ret, 0, sizeof(*ret));
	if (netaddr_parse(address, &ret->host))
		return false;
	ret->port = port;
	add_way(ret, &ret->host);
	for (i = 0; i < nr; i++) {
		struct group_network *nw = network_of(gs, &ni[i].addr);

		/* a link that was down when it was published may be up by now */
		if (nw && !nw->ignore && !network_address_twice(gs, &ni[i].addr))
			add_way(ret, &ni[i].addr);
	}
	return true;
}

static unsigned targets_of(struct group_state *gs, struct relay_target *ret)
{
	unsigned n = 0;
	uint32_t i;

	for (i = 0; i < gs->nr_members; i++)
		n += target_of(gs, gs->members[i].address, gs->members[i].port,
			       gs->members[i].addresses, &ret[n]);
	if (gs->witness.name[0])
		n += target_of(gs, gs->witness.address, gs->witness.port, "", &ret[n]);
	return n;
}

static bool self_target(struct engine_etcd *ee, struct group_state *gs, struct relay_target *ret)
{
	struct group_member *self = group_find_member(gs, ee->self);

	if (self)
		return target_of(gs, self->address, self->port, self->addresses, ret);
	return gs->witness.name[0] && !strcmp(gs->witness.name, ee->self) &&
	       target_of(gs, gs->witness.address, gs->witness.port, "", ret);
}

void etcd_relay_follow(struct engine_etcd *ee, struct group_state *gs)
{
	struct relay_target self, *list;
	unsigned n = 0;
	bool newer;

	/* one that is no member any more keeps what it has: its vote may be needed */
	if (!self_target(ee, gs, &self) || netaddr_is_loopback(&self.host) ||
	    self.port > UINT16_MAX - RELAY_PORT_ADD)
		return;
	if (!ee->relay && relay_open(&self, &ee->relay))
		return;		/* said; engine_etcd_care() tries again */
	list = calloc(PLACES_MAX, sizeof(*list));
	if (!list)
		return;
	/* what is said last counts */
	newer = etcd_hint_newer(ee);
	if (ee->hint.uuid[0] && !newer)
		n = targets_of(&ee->hint, list);
	n += targets_of(gs, list + n);
	if (newer)
		n += targets_of(&ee->hint, list + n);
	relay_set(ee->relay, &self, list, n);
	free(list);
}

int etcd_socket(void *ctx, struct sockaddr *to, socklen_t *tolen)
{
	struct engine_etcd *ee = ctx;
	struct relay *rl;

	pthread_mutex_lock(&ee->lock);
	rl = ee->relay;		/* once there it stays */
	pthread_mutex_unlock(&ee->lock);
	return rl ? relay_socket(rl, to, tolen) : -ENOENT;
}

/* ---- endpoints ------------------------------------------------------------- */

static void add_url(char urls[][ETCD_URL_MAX], unsigned *n, const char *address, uint16_t port)
{
	if (*n < ETCD_ENDPOINTS_MAX)
		etcd_client_url(address, port, urls[(*n)++]);
}

bool etcd_hint_newer(struct engine_etcd *ee)
{
	const struct group_state *gs = &ee->vw.gs, *hint = &ee->hint;

	return hint->uuid[0] && (hint->generation > gs->generation ||
				 (hint->generation == gs->generation && hint->version > gs->version));
}

/*
 * The group was restored without this host, and it has been let in again: whoever is
 * left of the former generation is not to be asked any more, nor believed (vw.least):
 * their majority is a good one, and would keep this host with them. Until a person does
 * that it stays where it is, and holds no lease (engine_etcd_lease.c).
 */
static bool goes_on(struct engine_etcd *ee)
{
	struct group_state *hint = &ee->hint;
	struct group_member *self = hint->uuid[0] ? group_find_member(hint, ee->self) : NULL;

	return hint->uuid[0] && hint->generation > ee->vw.generation &&
	       ((self && !self->stopped) || !strcmp(hint->witness.name, ee->self));
}

/*
 * Members of a state that vote, or that do not and may have begun to. One that is
 * stopped and has no vote is left out: what runs there, if anything, is of a former
 * generation. Where this host is stopped itself it cannot tell, and asks everybody.
 */
static void add_members(struct engine_etcd *ee, struct group_state *gs, bool voters,
			char urls[][ETCD_URL_MAX], unsigned *n)
{
	const struct group_member *self = group_find_member(gs, ee->self);
	uint32_t i;

	for (i = 0; i < gs->nr_members; i++) {
		const struct group_member *mb = &gs->members[i];

		if (mb == self || mb->voter != voters)
			continue;
		if (voters || !mb->stopped || (self && self->stopped))
			add_url(urls, n, mb->address, mb->port);
	}
}

static void add_witness(struct group_state *gs, char urls[][ETCD_URL_MAX], unsigned *n)
{
	if (gs->witness.name[0])
		add_url(urls, n, gs->witness.address, gs->witness.port);
}

/* Voters, this host's first; then whoever may have become one meanwhile. */
static unsigned own_urls(struct engine_etcd *ee, char urls[][ETCD_URL_MAX])
{
	struct group_state *gs = &ee->vw.gs, *hint = &ee->hint;
	struct group_member *self = group_find_member(gs, ee->self);
	unsigned n = 0;

	if (goes_on(ee)) {
		add_members(ee, hint, true, urls, &n);
		add_witness(hint, urls, &n);
		add_members(ee, hint, false, urls, &n);
		return n;
	}
	if (self && self->voter)
		add_url(urls, &n, self->address, self->port);
	if (gs->witness.voter && !strcmp(gs->witness.name, ee->self))
		add_witness(gs, urls, &n);
	add_members(ee, gs, true, urls, &n);
	add_witness(gs, urls, &n);
	if (etcd_hint_newer(ee))
		add_members(ee, hint, true, urls, &n);
	add_members(ee, gs, false, urls, &n);
	/* one that votes no more, and may not know it yet, still answers itself */
	if (self && !self->voter)
		add_url(urls, &n, self->address, self->port);
	return n;
}

static unsigned given_urls(const char *list, char urls[][ETCD_URL_MAX])
{
	char copy[ETCD_URLS_MAX], *next = copy, *one;
	unsigned n = 0;

	snprintf(copy, sizeof(copy), "%s", list);
	while (n < ETCD_ENDPOINTS_MAX && (one = strsep(&next, ", "))) {
		size_t len = strlen(one);

		while (len && one[len - 1] == '/')
			one[--len] = '\0';
		if (len)
			snprintf(urls[n++], ETCD_URL_MAX, "%.255s", one);
	}
	return n;
}

void etcd_set_endpoints(struct engine_etcd *ee)
{
	char urls[ETCD_ENDPOINTS_MAX][ETCD_URL_MAX];
	unsigned n = ee->url[0] ? given_urls(ee->url, urls) : own_urls(ee, urls);

	ee->vw.least = goes_on(ee) ? ee->hint.generation : 0;
	etcd_endpoints_set(ee->ee, urls, n);
	if (!ee->url[0])
		etcd_relay_follow(ee, &ee->vw.gs);
}
