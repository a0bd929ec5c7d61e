// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/clientnet.h"

static bool is_client(struct group_state *gs, const struct netaddr *na)
{
	const struct group_network *net = network_of(gs, na);

	return net && net->client && !net->ignore;
}

bool client_address(struct group_state *gs, const struct netif *ni, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		if (is_client(gs, &ni[i].addr))
			return true;
	return false;
}

bool client_matters(const struct group_state *gs, const struct group_store *st)
{
	if (st->client_stays || st->manual || st->dismounted)
		return false;
	for (uint32_t i = 0; i < gs->nr_networks; i++)
		if (gs->networks[i].client && !gs->networks[i].ignore)
			return true;
	return st->addresses[0];
}

static bool has_link(struct group_state *gs, const struct client_view *v)
{
	for (unsigned i = 0; i < v->nr; i++)
		if (!v->ni[i].down && is_client(gs, &v->ni[i].addr))
			return true;
	return false;
}

enum client_state client_judge(struct group_state *gs, const struct client_view *v)
{
	bool here = v->had || client_address(gs, v->ni, v->nr);
	unsigned known = 0, paths = 0;

	if (v->service < 0)
		return CLIENT_DOWN;
	if (!here)
		return v->service > 0 ? CLIENT_UP : CLIENT_NONE;
	if (!has_link(gs, v))
		return CLIENT_DOWN;
	for (unsigned i = 0; i < v->nr_res; i++) {
		if (!is_client(gs, &v->res[i].local))
			continue;
		if (v->res[i].known && v->res[i].up)
			return CLIENT_UP;
		known += v->res[i].known;
		paths++;
	}
	/* Without another member on it there is nobody to be heard. */
	if (!paths)
		return CLIENT_UP;
	return known == paths ? CLIENT_ALONE : CLIENT_NONE;
}

const char *client_state_name(enum client_state s)
{
	static const char *const names[] = {
		"not known", "no link", "nobody is heard over it", "up",
	};

	return s <= CLIENT_UP ? names[s] : "not known";
}
