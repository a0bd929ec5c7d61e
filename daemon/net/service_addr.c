// SPDX-License-Identifier: GPL-2.0
#include "daemon/net/service_addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/refuse.h"

#define LABEL	":dag"

/* ---- text ----------------------------------------------------------------- */

static int parse_one(char *word, struct service_addr *ret, char *err, size_t errlen)
{
	char *addr = strchr(word, '='), *slash, *end, plain[INET6_ADDRSTRLEN];
	long prefix = -1;

	memset(ret, 0, sizeof(*ret));
	if (addr) {
		*addr++ = '\0';
		if (!word[0] || strlen(word) >= sizeof(ret->iface) || strpbrk(word, "/:"))
			return refuse(err, errlen, "'%.40s' is not an interface", word);
		strcpy(ret->iface, word);
	} else {
		addr = word;
	}
	slash = strchr(addr, '/');
	if (slash) {
		*slash++ = '\0';
		prefix = strtol(slash, &end, 10);
		if (!slash[0] || *end || prefix < 1)
			return refuse(err, errlen, "'/%.40s' is not a prefix length", slash);
	}
	ret->family = strchr(addr, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(ret->family, addr, ret->addr) != 1)
		return refuse(err, errlen, "'%.60s' is not an address; write [IFACE=]ADDRESS[/PREFIX]",
			      addr);
	if (prefix > (ret->family == AF_INET ? 32 : 128))
		return refuse(err, errlen, "'/%.40s' is not a prefix length", slash);
	ret->prefix = (int)prefix;
	inet_ntop(ret->family, ret->addr, plain, sizeof(plain));
	snprintf(ret->text, sizeof(ret->text), "%s%s%s", ret->iface, ret->iface[0] ? "=" : "", plain);
	if (prefix >= 0)
		snprintf(ret->text + strlen(ret->text), sizeof(ret->text) - strlen(ret->text), "/%ld",
			 prefix);
	return 0;
}

int service_addr_parse(const char *list, struct service_addr *ret, unsigned max, char *err,
		       size_t errlen)
{
	char *copy = strdup(list), *at = copy, *word;
	unsigned n = 0;
	int rc = copy ? 0 : -ENOMEM;

	while (!rc && (word = strsep(&at, " ,"))) {
		if (!word[0])
			continue;
		if (n == max) {
			refuse(err, errlen, "more than %u addresses", max);
			rc = -E2BIG;
			break;
		}
		rc = parse_one(word, &ret[n], err, errlen);
		for (unsigned i = 0; i < n && !rc; i++)
			if (ret[i].family == ret[n].family && !memcmp(ret[i].addr, ret[n].addr, 16))
				rc = refuse(err, errlen, "%s is named twice", ret[n].text);
		n++;
	}
	free(copy);
	return rc ? rc : (int)n;
}

/* ---- interfaces ------------------------------------------------------------- */

struct view {
	struct nl_sock *sk;
	struct nl_cache *addrs;
	struct service_addr sa;
};

static void view_close(struct view *v)
{
	if (v->addrs)
		nl_cache_free(v->addrs);
	if (v->sk)
		nl_socket_free(v->sk);
}

static int view_open(const char *text, struct view *v, char *why, size_t len)
{
	int n;

	memset(v, 0, sizeof(*v));
	n = service_addr_parse(text, &v->sa, 1, why, len);
	if (n != 1)
		return n < 0 ? n : -EINVAL;
	v->sk = nl_socket_alloc();
	if (!v->sk)
		return -ENOMEM;
	n = nl_connect(v->sk, NETLINK_ROUTE);
	if (!n)
		n = rtnl_addr_alloc_cache(v->sk, &v->addrs);
	if (!n)
		return 0;
	snprintf(why, len, "netlink: %s", nl_geterror(n));
	v->addrs = NULL;
	view_close(v);
	return -EIO;
}

static bool in_subnet(const uint8_t *a, const uint8_t *b, int bits)
{
	int bytes = bits / 8, rest = bits % 8;

	return !memcmp(a, b, bytes) &&
	       (!rest || !((a[bytes] ^ b[bytes]) & (0xff00 >> rest) & 0xff));
}

static const uint8_t *local_of(struct rtnl_addr *ra, int family)
{
	struct nl_addr *local = rtnl_addr_get_local(ra);

	if (rtnl_addr_get_family(ra) != family || !local)
		return NULL;
	return nl_addr_get_binary_addr(local);
}

/* The entry of this very address, on its interface if one is named. */
static struct rtnl_addr *find(const struct view *v)
{
	int ifindex = v->sa.iface[0] ? (int)if_nametoindex(v->sa.iface) : 0;
	struct nl_object *o;

	for (o = nl_cache_get_first(v->addrs); o; o = nl_cache_get_next(o)) {
		struct rtnl_addr *ra = (struct rtnl_addr *)o;
		const uint8_t *local = local_of(ra, v->sa.family);

		if (local && !memcmp(local, v->sa.addr, v->sa.family == AF_INET ? 4 : 16) &&
		    (!v->sa.iface[0] || rtnl_addr_get_ifindex(ra) == ifindex))
			return ra;
	}
	return NULL;
}

/* Interface and prefix length, by the subnet where they are not said. */
static int place(const struct view *v, int *ret_ifindex, int *ret_prefix, char *why, size_t len)
{
	int ifindex = v->sa.iface[0] ? (int)if_nametoindex(v->sa.iface) : 0, best = 0;
	int full = v->sa.family == AF_INET ? 32 : 128;
	struct nl_object *o;

	if (v->sa.iface[0] && !ifindex) {
		snprintf(why, len, "no interface %s here; name one that every member has, or none",
			 v->sa.iface);
		return -ENODEV;
	}
	*ret_ifindex = ifindex;
	for (o = nl_cache_get_first(v->addrs); o; o = nl_cache_get_next(o)) {
		struct rtnl_addr *ra = (struct rtnl_addr *)o;
		const uint8_t *local = local_of(ra, v->sa.family);
		int bits = rtnl_addr_get_prefixlen(ra);

		if (!local || bits <= best || bits == full || !in_subnet(local, v->sa.addr, bits) ||
		    (ifindex && rtnl_addr_get_ifindex(ra) != ifindex))
			continue;
		best = bits;
		*ret_ifindex = rtnl_addr_get_ifindex(ra);
	}
	if (!*ret_ifindex) {
		snprintf(why, len, "no interface here has a subnet for it; write IFACE=%s", v->sa.text);
		return -ENODEV;
	}
	*ret_prefix = v->sa.prefix > 0 ? v->sa.prefix : best ? best : full;
	return 0;
}

static int put(struct view *v, int ifindex, int prefix, char *why, size_t len)
{
	struct nl_addr *local = nl_addr_build(v->sa.family, v->sa.addr, v->sa.family == AF_INET ? 4 : 16);
	struct rtnl_addr *ra = rtnl_addr_alloc();
	char name[IF_NAMESIZE], label[IF_NAMESIZE + sizeof(LABEL)];
	int rc = -NLE_NOMEM;

	if (local && ra) {
		nl_addr_set_prefixlen(local, prefix);
		rtnl_addr_set_ifindex(ra, ifindex);
		rtnl_addr_set_family(ra, v->sa.family);
		rtnl_addr_set_local(ra, local);
		rtnl_addr_set_prefixlen(ra, prefix);
		if (v->sa.family == AF_INET6) {
			rtnl_addr_set_flags(ra, IFA_F_NODAD);
			rtnl_addr_set_valid_lifetime(ra, UINT32_MAX);
			rtnl_addr_set_preferred_lifetime(ra, 0);
		} else if (if_indextoname((unsigned)ifindex, name)) {
			snprintf(label, sizeof(label), "%s" LABEL, name);
			if (strlen(label) < IF_NAMESIZE)
				rtnl_addr_set_label(ra, label);
		}
		rc = rtnl_addr_add(v->sk, ra, 0);
	}
	if (ra)
		rtnl_addr_put(ra);
	if (local)
		nl_addr_put(local);
	if (!rc || rc == -NLE_EXIST)
		return 0;
	snprintf(why, len, "rtnetlink: %s; see ip address", nl_geterror(rc));
	return rc == -NLE_PERM ? -EPERM : -EIO;
}

int service_addr_up(const char *text, struct announce **ret_an, char *why, size_t len)
{
	struct announce *an = NULL;
	struct view v;
	int rc, ifindex, prefix;

	if (ret_an)
		*ret_an = NULL;
	rc = view_open(text, &v, why, len);
	if (rc)
		return rc;
	rc = place(&v, &ifindex, &prefix, why, len);
	if (!rc) {
		/* the question goes out before the address is ours to answer it */
		an = announce_new(ifindex, v.sa.family, v.sa.addr, v.sa.text);
		rc = find(&v) ? 0 : put(&v, ifindex, prefix, why, len);
	}
	view_close(&v);
	if (!rc && an)
		announce_tick(an);
	if (!rc && ret_an)
		*ret_an = an;
	else
		announce_free(an);
	return rc;
}

int service_addr_down(const char *text, char *why, size_t len)
{
	struct rtnl_addr *ra;
	struct view v;
	int rc;

	rc = view_open(text, &v, why, len);
	if (rc)
		return rc;
	ra = find(&v);
	if (ra) {
		rc = rtnl_addr_delete(v.sk, ra, 0);
		if (rc == -NLE_NOADDR || rc == -NLE_NODEV)
			rc = 0;		/* its interface went away meanwhile */
		if (rc) {
			snprintf(why, len, "rtnetlink: %s; see ip address", nl_geterror(rc));
			rc = -EIO;
		}
	}
	view_close(&v);
	return rc;
}

int service_addr_there(const char *text, bool *ret_ours)
{
	struct rtnl_addr *ra;
	const char *label;
	struct view v;
	char why[160];
	int rc;

	rc = view_open(text, &v, why, sizeof(why));
	if (rc)
		return rc;
	ra = find(&v);
	label = ra ? rtnl_addr_get_label(ra) : NULL;
	if (ret_ours)
		*ret_ours = label && strstr(label, LABEL);
	view_close(&v);
	return ra ? 0 : -ENOENT;
}
