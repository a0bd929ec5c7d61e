// SPDX-License-Identifier: GPL-2.0
/*
 * A socket subscribed to links, addresses and IPv4 routes says that something has
 * changed; what it is now is read anew each time, which cannot get out of step.
 */
#include "daemon/net/links.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netlink/cache.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"

#define CALM_MS		300	/* changes come in bursts */
#define ADDRS_MAX	256	/* looked at; a host with more has its first ones used */

/* ---- the default route ------------------------------------------------------ */

struct route_answer {
	unsigned oif;
	bool done;
};

static int on_route(struct nl_msg *msg, void *arg)
{
	struct nlattr *attrs[RTA_MAX + 1];
	struct route_answer *ra = arg;

	if (!nlmsg_parse(nlmsg_hdr(msg), sizeof(struct rtmsg), attrs, RTA_MAX, NULL) &&
	    attrs[RTA_OIF])
		ra->oif = nla_get_u32(attrs[RTA_OIF]);
	return NL_OK;
}

static int on_done(struct nl_msg *msg, void *arg)
{
	((struct route_answer *)arg)->done = true;
	return NL_STOP;
}

/*
 * The way to an address that only a default route can lead to. Not a dump: a host
 * may have a million routes. 0: there is none.
 */
static unsigned default_oif(int family)
{
	/* of the documentation's network, and the first of all global ones */
	static const uint8_t far4[4] = { 192, 0, 2, 1 }, far6[16] = { 0x20, [15] = 1 };
	struct rtmsg rtm = { .rtm_family = family, .rtm_dst_len = family == AF_INET ? 32 : 128 };
	struct route_answer ra = { .oif = 0 };
	struct nl_sock *sk = nl_socket_alloc();
	struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETROUTE, 0);

	if (!sk || !msg || nl_connect(sk, NETLINK_ROUTE))
		goto out;
	nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, on_route, &ra);
	nl_socket_modify_cb(sk, NL_CB_ACK, NL_CB_CUSTOM, on_done, &ra);
	if (nlmsg_append(msg, &rtm, sizeof(rtm), NLMSG_ALIGNTO) ||
	    nla_put(msg, RTA_DST, family == AF_INET ? 4 : 16, family == AF_INET ? far4 : far6) ||
	    nl_send_auto(sk, msg) < 0)
		goto out;
	while (!ra.done)
		if (nl_recvmsgs_default(sk) < 0)
			break;	/* no route */
out:
	nlmsg_free(msg);
	nl_socket_free(sk);
	return ra.oif;
}

/* ---- interfaces and addresses ------------------------------------------------- */

struct scan {
	struct netif found[ADDRS_MAX];
	unsigned oif[ADDRS_MAX], nr;
	unsigned default_if;
	struct nl_cache *links;
};

static bool usable(struct rtnl_addr *ra, const struct netaddr *na)
{
	unsigned not_yet = IFA_F_TENTATIVE | IFA_F_DADFAILED;
	unsigned flags = rtnl_addr_get_flags(ra);

	if (netaddr_is_loopback(na) || netaddr_is_link_local(na) || netaddr_is_zero(na))
		return false;
	/* the flag of a temporary address means "secondary" for IPv4 */
	if (!netaddr_is_v4(na))
		not_yet |= IFA_F_TEMPORARY | IFA_F_DEPRECATED;
	return !(flags & not_yet);
}

static bool to_netaddr(struct nl_addr *from, struct netaddr *ret)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	return from && !nl_addr_fill_sockaddr(from, (struct sockaddr *)&ss, &len) &&
	       !netaddr_from_sockaddr((struct sockaddr *)&ss, ret);
}

static void add_address(struct nl_object *obj, void *arg)
{
	struct rtnl_addr *ra = (struct rtnl_addr *)obj;
	struct scan *sc = arg;
	struct rtnl_link *link;
	struct netif *ni = &sc->found[sc->nr];
	unsigned flags, bits = rtnl_addr_get_prefixlen(ra);
	char text[SUBNET_TEXT + NETADDR_TEXT], addr[NETADDR_TEXT];

	if (sc->nr == ADDRS_MAX)
		return;
	memset(ni, 0, sizeof(*ni));
	if (!to_netaddr(rtnl_addr_get_local(ra), &ni->addr) || !usable(ra, &ni->addr))
		return;
	link = rtnl_link_get(sc->links, rtnl_addr_get_ifindex(ra));
	if (!link)
		return;
	flags = rtnl_link_get_flags(link);
	netaddr_format(&ni->addr, addr);
	snprintf(text, sizeof(text), "%s/%u", addr, bits);
	if (!(flags & IFF_LOOPBACK) && !subnet_parse(text, &ni->subnet, NULL)) {
		snprintf(ni->iface, sizeof(ni->iface), "%s", rtnl_link_get_name(link));
		ni->down = !(flags & IFF_UP) || !(flags & IFF_RUNNING);
		ni->is_default = (unsigned)rtnl_addr_get_ifindex(ra) == sc->default_if;
		sc->oif[sc->nr++] = rtnl_addr_get_ifindex(ra);
	}
	rtnl_link_put(link);
}

static int in_order(const struct scan *sc, unsigned a, unsigned b)
{
	if (sc->oif[a] != sc->oif[b])
		return sc->oif[a] < sc->oif[b] ? -1 : 1;
	return subnet_compare(&sc->found[a].subnet, &sc->found[b].subnet);
}

/* The kernel's order within a dump is nearly this one: insertion is enough. */
static void sort(struct scan *sc)
{
	unsigned i, k;

	for (i = 1; i < sc->nr; i++)
		for (k = i; k && in_order(sc, k, k - 1) < 0; k--) {
			struct netif ni = sc->found[k];
			unsigned oif = sc->oif[k];

			sc->found[k] = sc->found[k - 1];
			sc->oif[k] = sc->oif[k - 1];
			sc->found[k - 1] = ni;
			sc->oif[k - 1] = oif;
		}
}

int links_scan(struct netif *ret, unsigned max)
{
	struct scan *sc = calloc(1, sizeof(*sc));
	struct nl_sock *sk = nl_socket_alloc();
	struct nl_cache *addrs = NULL;
	int r = -ENOMEM;

	if (!sc || !sk)
		goto out;
	r = -EIO;
	if (nl_connect(sk, NETLINK_ROUTE) || rtnl_link_alloc_cache(sk, AF_UNSPEC, &sc->links) ||
	    rtnl_addr_alloc_cache(sk, &addrs))
		goto out;
	sc->default_if = default_oif(AF_INET);
	if (!sc->default_if)
		sc->default_if = default_oif(AF_INET6);
	nl_cache_foreach(addrs, add_address, sc);
	sort(sc);
	r = sc->nr < max ? sc->nr : max;
	memcpy(ret, sc->found, r * sizeof(*ret));
out:
	nl_cache_free(addrs);
	if (sc)
		nl_cache_free(sc->links);
	nl_socket_free(sk);
	free(sc);
	return r;
}

bool links_running(const char *iface)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { .ifr_flags = 0 };
	bool running;

	if (fd < 0)
		return true;	/* not known is no loss */
	strncpy(ifr.ifr_name, iface, sizeof(ifr.ifr_name) - 1);
	running = ioctl(fd, SIOCGIFFLAGS, &ifr) ? errno != ENODEV :
		  (ifr.ifr_flags & IFF_UP) && (ifr.ifr_flags & IFF_RUNNING);
	close(fd);
	return running;
}

/* ---- changes ------------------------------------------------------------------- */

struct links {
	struct links_conf conf;
	struct nl_sock *sk;
	int stop_fd;
	pthread_t thread;
};

static int ignore(struct nl_msg *msg, void *arg)
{
	return NL_SKIP;
}

static void *links_main(void *arg)
{
	struct links *ln = arg;
	struct pollfd pfd[2] = {
		{ .fd = ln->stop_fd, .events = POLLIN },
		{ .fd = nl_socket_get_fd(ln->sk), .events = POLLIN },
	};

	while (!pfd[0].revents) {
		if (poll(pfd, 2, -1) < 0 && errno != EINTR)
			break;
		if (!pfd[1].revents)
			continue;
		/* what else belongs to it comes meanwhile */
		if (poll(pfd, 1, CALM_MS) > 0)
			break;
		/* an overrun is a change too: never mind what this returns */
		nl_recvmsgs_default(ln->sk);
		ln->conf.changed(ln->conf.ctx);
	}
	return NULL;
}

static void destroy(struct links *ln)
{
	nl_socket_free(ln->sk);
	if (ln->stop_fd >= 0)
		close(ln->stop_fd);
	free(ln);
}

int links_start(const struct links_conf *conf, struct links **ret)
{
	struct links *ln = calloc(1, sizeof(*ln));
	int r = 0;

	if (!ln)
		return -ENOMEM;
	ln->conf = *conf;
	ln->stop_fd = eventfd(0, EFD_CLOEXEC);
	ln->sk = nl_socket_alloc();
	if (ln->stop_fd < 0 || !ln->sk)
		r = -ENOMEM;
	if (!r) {
		nl_socket_disable_seq_check(ln->sk);
		nl_socket_modify_cb(ln->sk, NL_CB_VALID, NL_CB_CUSTOM, ignore, NULL);
		if (nl_connect(ln->sk, NETLINK_ROUTE) || nl_socket_set_nonblocking(ln->sk) ||
		    nl_socket_add_memberships(ln->sk, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
					      RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, 0))
			r = -EIO;
	}
	if (!r)
		r = -pthread_create(&ln->thread, NULL, links_main, ln);
	if (r) {
		destroy(ln);
		return r;
	}
	*ret = ln;
	return 0;
}

void links_stop(struct links *ln)
{
	uint64_t one = 1;

	if (!ln)
		return;
	if (write(ln->stop_fd, &one, sizeof(one)) < 0)
		log_err("links msg=\"cannot stop the thread\" err=\"%m\"");
	pthread_join(ln->thread, NULL);
	destroy(ln);
}
