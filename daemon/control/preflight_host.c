// SPDX-License-Identifier: GPL-2.0
/* preflight_host - the part of preflight.h about names, networks and ports. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/control/preflight.h"
#include "daemon/group/netaddr.h"
#include "daemon/net/links.h"

/* ---- names --------------------------------------------------------------------- */

/* The same up to the first dot: a host may know itself with its domain. */
static bool same_host(const char *a, const char *b)
{
	size_t n = strcspn(a, ".");

	return n == strcspn(b, ".") && !strncasecmp(a, b, n);
}

static bool resolves_to(const char *name, const struct netaddr *want, char first[NETADDR_TEXT])
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL, *ai;
	bool found = false;

	first[0] = '\0';
	if (getaddrinfo(name, NULL, &hints, &list))
		return false;
	for (ai = list; ai && !found; ai = ai->ai_next) {
		struct netaddr na;

		if (netaddr_from_sockaddr(ai->ai_addr, &na))
			continue;
		if (!first[0])
			netaddr_format(&na, first);
		found = netaddr_equal(&na, want);
	}
	freeaddrinfo(list);
	return found;
}

void preflight_names(const struct preflight_conf *conf, struct preflight *pf)
{
	static const char *const next = "put each member's name and address into /etc/hosts of all";
	const char *name = conf->cf->member;
	char back[NI_MAXHOST] = "", first[NETADDR_TEXT];
	struct sockaddr_storage ss;
	struct netaddr own;
	socklen_t len;

	if (netaddr_parse(conf->cf->address, &own)) {
		preflight_add(pf, "names", PREFLIGHT_WARN, "set address in dag.conf to the one that is to "
			      "be used between members", "no address is configured, names were not looked "
			      "up");
		return;
	}
	/* dag itself uses addresses: what comes of wrong names is confusion of people */
	if (!resolves_to(name, &own, first)) {
		preflight_add(pf, "names", PREFLIGHT_WARN, next, first[0] ? "%s is %s by name, not %s" :
			      "%s%.0s is no name of %s", name, first, conf->cf->address);
		return;
	}
	len = netaddr_to_sockaddr(&own, 0, &ss);
	if (getnameinfo((struct sockaddr *)&ss, len, back, sizeof(back), NULL, 0, NI_NAMEREQD) ||
	    !same_host(back, name))
		preflight_add(pf, "names", PREFLIGHT_WARN, next, "%s leads back to %.128s, not to %s",
			      conf->cf->address, back[0] ? back : "no name", name);
	else
		preflight_add(pf, "names", PREFLIGHT_OK, "", "%s is %s, both ways", name,
			      conf->cf->address);
}

/* ---- networks -------------------------------------------------------------------- */

static void address_check(const struct preflight_conf *conf, struct preflight *pf,
			  const struct netif *ni, int n)
{
	struct netaddr own;
	int i;

	if (netaddr_parse(conf->cf->address, &own)) {
		preflight_add(pf, "address", PREFLIGHT_WARN, "set address in dag.conf", "no address is "
			      "configured for the log");
		return;
	}
	for (i = 0; i < n; i++) {
		if (!netaddr_equal(&ni[i].addr, &own))
			continue;
		preflight_add(pf, "address", ni[i].down ? PREFLIGHT_FAIL : PREFLIGHT_OK, "see the cable",
			      "%s is on %s%s", conf->cf->address, ni[i].iface, ni[i].down ?
			      ", whose link is down" : "");
		return;
	}
	if (netaddr_is_loopback(&own))
		preflight_add(pf, "address", PREFLIGHT_WARN, "set address in dag.conf", "%s is of this host "
			      "only: no other can be a member", conf->cf->address);
	else
		preflight_add(pf, "address", PREFLIGHT_FAIL, "correct address in dag.conf, or bring the "
			      "interface up", "%s is on no interface", conf->cf->address);
}

void preflight_networks(const struct preflight_conf *conf, struct preflight *pf)
{
	struct netif ni[NETIFS_MAX];
	int i, k, n = links_scan(ni, NETIFS_MAX), subnets = 0;
	const char *way_out = NULL;

	if (n < 0) {
		preflight_add(pf, "networks", PREFLIGHT_FAIL, "", "interfaces cannot be read: %s",
			      strerror(-n));
		return;
	}
	address_check(conf, pf, ni, n);
	for (i = 0; i < n; i++) {
		if (ni[i].down)
			continue;
		if (ni[i].is_default)
			way_out = ni[i].iface;
		for (k = 0; k < i && (ni[k].down || strcmp(ni[k].iface, ni[i].iface)); k++)
			;
		subnets += k == i;
	}
	preflight_add(pf, "networks", subnets > 1 ? PREFLIGHT_OK : PREFLIGHT_WARN,
		      "a second network for the log keeps members together when the first fails",
		      "%d interface%s with an address%s%s%s", subnets, subnets == 1 ? "" : "s",
		      way_out ? "; users come by " : "; no default route", way_out ? way_out : "",
		      subnets > 1 && way_out ? ", the log goes by the rest" : "");
}

/* ---- ports ------------------------------------------------------------------------- */

/* The inode of whatever is bound to the port in a table of /proc/net; 0: nothing. */
static unsigned long inode_in(const char *table, unsigned port, bool listening)
{
	char line[512];
	unsigned long inode = 0;
	FILE *f = fopen(table, "re");

	while (f && !inode && fgets(line, sizeof(line), f)) {
		unsigned at, state;
		unsigned long in;

		if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*s %x %*s %*s %*s %*s %*s %lu", &at, &state,
			   &in) == 3 && at == port && (!listening || state == 0x0a))
			inode = in;
	}
	if (f)
		fclose(f);
	return inode;
}

static bool has_inode(const char *pid, unsigned long inode)
{
	char dir[64], want[64];
	struct dirent *de;
	bool found = false;
	DIR *d;

	snprintf(dir, sizeof(dir), "/proc/%.20s/fd", pid);
	snprintf(want, sizeof(want), "socket:[%lu]", inode);
	d = opendir(dir);
	while (d && !found && (de = readdir(d))) {
		char link[64];
		ssize_t n = readlinkat(dirfd(d), de->d_name, link, sizeof(link) - 1);

		if (n > 0) {
			link[n] = '\0';
			found = !strcmp(link, want);
		}
	}
	if (d)
		closedir(d);
	return found;
}

/* "nginx (pid 123)", or "?" where it cannot be seen. */
static void holder_of(unsigned long inode, char *ret, size_t len)
{
	DIR *d = opendir("/proc");
	struct dirent *de;

	snprintf(ret, len, "a program that only root can see");
	while (d && (de = readdir(d))) {
		char path[64], comm[32] = "?";
		FILE *f;

		if (de->d_name[0] < '0' || de->d_name[0] > '9' || !has_inode(de->d_name, inode))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/comm", de->d_name);
		f = fopen(path, "re");
		if (f && fgets(comm, sizeof(comm), f))
			comm[strcspn(comm, "\n")] = '\0';
		if (f)
			fclose(f);
		snprintf(ret, len, "%s (pid %.20s)", comm, de->d_name);
		break;
	}
	if (d)
		closedir(d);
}

static bool taken(unsigned port, bool udp, char *who, size_t len)
{
	unsigned long inode = inode_in(udp ? "/proc/net/udp" : "/proc/net/tcp", port, !udp);

	if (!inode)
		inode = inode_in(udp ? "/proc/net/udp6" : "/proc/net/tcp6", port, !udp);
	if (inode)
		holder_of(inode, who, len);
	return inode;
}

void preflight_ports(const struct preflight_conf *conf, struct preflight *pf)
{
	static const char *const use[] = { "log and calls", "joining", "engine", "engine's peers" };
	unsigned i, port = conf->cf->port;
	bool all_free = true;
	char who[96];

	if (conf->serving) {
		preflight_add(pf, "ports", PREFLIGHT_OK, "", "held by this daemon");
		return;
	}
	for (i = 0; i < 5; i++) {
		bool udp = i == 4;
		unsigned at = udp ? port : port + i;
		bool ours;

		if (!taken(at, udp, who, sizeof(who)))
			continue;
		all_free = false;
		ours = !strncmp(who, "dagd ", 5) || ((i == 2 || i == 3) && !strncmp(who, "etcd ", 5));
		preflight_add(pf, "ports", ours ? PREFLIGHT_OK : PREFLIGHT_FAIL, "set port in dag.conf of "
			      "all members, or stop that program", "%s port %u (%s): used by %s", udp ?
			      "UDP" : "TCP", at, udp ? "heartbeats" : use[i], who);
	}
	if (all_free)
		preflight_add(pf, "ports", PREFLIGHT_OK, "", "TCP %u to %u and UDP %u are free", port,
			      port + 3, port);
}
