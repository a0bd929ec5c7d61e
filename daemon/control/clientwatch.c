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

/* malloc'ed; NULL: none. */
static struct net_result *paths_now(struct control *ct, unsigned *ret_nr)
{
	struct heartbeats *hs = control_heartbeats(ct);
	struct heartbeats_path *seen;
	struct net_result *res;
	unsigned nr;

	*ret_nr = 0;
	if (!hs)
		return NULL;
	seen = calloc(PATHS_SEEN, sizeof(*seen));
	res = calloc(PATHS_SEEN, sizeof(*res));
	nr = seen && res ? heartbeats_view(hs, seen, PATHS_SEEN) : 0;
	for (unsigned i = 0; i < nr; i++) {
		memcpy(res[i].member, seen[i].member, sizeof(res[i].member));
		res[i].local = seen[i].at.local;
		res[i].remote = seen[i].at.remote;
		res[i].known = seen[i].known;
		res[i].up = seen[i].up;
	}
	free(seen);
	*ret_nr = nr;
	return res;
}

enum client_state clientwatch_state(struct control *ct, struct group_state *gs,
				    const struct group_store *st, bool *had)
{
	struct client_view v = { .service = service_links(st), .had = had && *had };
	struct net_result *res;
	enum client_state state;
	struct netif *ni;
	int n;

	ni = calloc(NETIFS_SEEN, sizeof(*ni));
	n = ni ? links_scan(ni, NETIFS_SEEN) : -1;
	if (n < 0) {	/* no news of a loss */
		free(ni);
		return CLIENT_NONE;
	}
	res = paths_now(ct, &v.nr_res);
	v.ni = ni;
	v.nr = n;
	v.res = res;
	if (had)
		*had |= client_address(gs, ni, n);
	state = client_judge(gs, &v);
	free(res);
	free(ni);
	return state;
}
