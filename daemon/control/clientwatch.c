// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/clientwatch.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/net/heartbeat_udp.h"
#include "daemon/net/links.h"
#include "daemon/net/service_addr.h"
#include "daemon/store/steps.h"

#define NETIFS_SEEN	64
#define PATHS_SEEN	(GROUP_MEMBERS_MAX * NETWORK_PATHS_MAX)

struct clientwatch {
	struct netif ni[NETIFS_SEEN];
	unsigned nr, nr_res;
	struct net_result res[PATHS_SEEN];
};

/* Those without an interface's name are where the client network is, or nowhere. */
static int service_links(const struct group_store *st)
{
	struct service_addr sa[STEPS_ADDRESSES_MAX];
	char why[200];
	int n = service_addr_parse(st->addresses, sa, STEPS_ADDRESSES_MAX, why, sizeof(why)), ret = 0;

	for (int i = 0; i < n; i++) {
		if (!sa[i].iface[0])
			continue;
		ret = 1;
		if (!links_running(sa[i].iface))
			return -1;
	}
	return ret;
}

static void see_paths(struct clientwatch *cw, struct heartbeats *hs)
{
	struct heartbeats_path *seen = calloc(PATHS_SEEN, sizeof(*seen));

	cw->nr_res = seen ? heartbeats_view(hs, seen, PATHS_SEEN) : 0;
	for (unsigned i = 0; i < cw->nr_res; i++) {
		struct net_result *r = &cw->res[i];

		memcpy(r->member, seen[i].member, sizeof(r->member));
		r->local = seen[i].at.local;
		r->remote = seen[i].at.remote;
		r->known = seen[i].known;
		r->up = seen[i].up;
	}
	free(seen);
}

struct clientwatch *clientwatch_look(struct control *ct)
{
	struct clientwatch *cw = calloc(1, sizeof(*cw));
	struct heartbeats *hs = control_heartbeats(ct);
	int n = cw ? links_scan(cw->ni, NETIFS_SEEN) : -1;

	if (n < 0) {
		free(cw);
		return NULL;
	}
	cw->nr = n;
	if (hs)
		see_paths(cw, hs);
	return cw;
}

void clientwatch_free(struct clientwatch *cw)
{
	free(cw);
}

enum client_state clientwatch_state(const struct clientwatch *cw, struct group_state *gs,
				    const struct group_store *st, bool *had)
{
	struct client_view v = { .service = service_links(st), .had = had && *had };

	if (!cw)
		return CLIENT_NONE;
	v.ni = cw->ni;
	v.nr = cw->nr;
	v.res = cw->res;
	v.nr_res = cw->nr_res;
	if (had)
		*had |= client_address(gs, v.ni, v.nr);
	return client_judge(gs, &v);
}
