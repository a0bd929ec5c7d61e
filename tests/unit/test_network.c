// SPDX-License-Identifier: GPL-2.0
/* Addresses, networks that follow from them, paths, states, and which path is taken. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/network.h"
#include "daemon/group/route.h"

#define SEC	1000000000ull
#define BEAT	100000000ull

static struct group_state gs;

static void begin(unsigned members)
{
	cr_assert_eq(group_state_init(&gs), 0);
	gs.nr_members = members;
	for (unsigned i = 0; i < members; i++) {
		snprintf(gs.members[i].name, 64, "n%u", i + 1);
		snprintf(gs.members[i].address, 64, "10.1.0.%u", i + 1);
	}
}

static void end(void)
{
	group_state_free(&gs);
}

static void has(unsigned member, const char *list)
{
	snprintf(gs.members[member].addresses, GROUP_LIST_MAX, "%s", list);
}

static const char *subnets(const char *network)
{
	struct group_network *nw = network_find(&gs, network);

	return nw ? nw->subnets : "(none)";
}

/* ---- addresses -------------------------------------------------------------- */

Test(netaddr, subnets)
{
	static const char *const bad[] = { "", "10.0.0.1", "10.0.0.1/", "10.0.0.1/33", "x/8", "/8",
					   "10.0.0.1/-1", "fd00::/129", "10.0.0.1/8x", "10.0.0.1/ 8" };
	struct netaddr na, in, out;
	struct subnet sn, wide;
	char text[SUBNET_TEXT];
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(subnet_parse(bad[i], &sn, NULL), -EINVAL, "'%s'", bad[i]);
	cr_assert_eq(subnet_parse("10.1.2.3/20", &sn, &na), 0);
	subnet_format(&sn, text);
	cr_assert_str_eq(text, "10.1.0.0/20");
	netaddr_parse("10.1.15.255", &in);
	netaddr_parse("10.1.16.0", &out);
	cr_assert(subnet_has(&sn, &in) && subnet_has(&sn, &na) && !subnet_has(&sn, &out));
	subnet_parse("10.0.0.0/8", &wide, NULL);
	cr_assert(subnet_overlaps(&sn, &wide) && subnet_overlaps(&wide, &sn));
	subnet_parse("fd00:1::5/64", &sn, NULL);
	subnet_format(&sn, text);
	cr_assert_str_eq(text, "fd00:1::/64");
	cr_assert(!subnet_overlaps(&sn, &wide));
	subnet_parse("0.0.0.0/0", &wide, NULL);
	cr_assert(subnet_has(&wide, &in) && !subnet_has(&wide, &sn.net));
	subnet_format(&wide, text);
	cr_assert_str_eq(text, "0.0.0.0/0");
}

Test(netaddr, lists)
{
	struct netif ni[NETIFS_MAX];
	char text[GROUP_LIST_MAX];

	cr_assert_eq(netifs_parse("eth0=10.0.0.1/24,default  eth1=fd00::1/64,down,x bad =1.2.3.4/8 "
				  "toolonganinterface=10.0.0.1/8 eth2=10.3.0.1/24", ni, NETIFS_MAX), 3);
	cr_assert(ni[0].is_default && !ni[0].down && !ni[1].is_default && ni[1].down);
	cr_assert_eq(netifs_format(ni, 3, text, sizeof(text)), 3);
	cr_assert_str_eq(text, "eth0=10.0.0.1/24,default eth1=fd00::1/64,down eth2=10.3.0.1/24");
	cr_assert_eq(netifs_format(ni, 3, text, 40), 1, "what does not fit is left out whole");
	cr_assert_str_eq(text, "eth0=10.0.0.1/24,default");
	cr_assert_eq(netifs_parse(text, ni, 0), 0);
}

/* ---- discovery ---------------------------------------------------------------- */

Test(network, found)
{
	begin(3);
	has(0, "eth0=10.1.0.1/24 eth0=fd01::1/64 eth1=10.2.0.1/24,default docker0=172.17.0.1/16");
	has(1, "eth0=10.1.0.2/24 eth0=fd01::2/64 eth1=10.2.0.2/24,default docker0=172.17.0.1/16");
	has(2, "p1=10.1.0.3/24,default p2=10.2.0.3/24 wg0=10.9.9.9/32");
	cr_assert_eq(network_discover(&gs, false), 1);
	cr_assert_eq(gs.nr_networks, 2);
	cr_assert_str_eq(subnets("net-1"), "10.1.0.0/24 fd01::/64");
	cr_assert_str_eq(subnets("net-2"), "10.2.0.0/24");
	cr_assert(gs.networks[0].replication && !gs.networks[0].client);
	cr_assert(gs.networks[1].client && !gs.networks[1].replication);
	cr_assert_eq(network_discover(&gs, false), 0, "the same again is no change");
	end();
}

Test(network, names_are_stable)
{
	begin(2);
	has(0, "a=10.5.0.1/24 b=10.6.0.1/24,default");
	has(1, "a=10.5.0.2/24 b=10.6.0.2/24,default");
	network_discover(&gs, false);
	cr_assert_str_eq(subnets("net-1"), "10.5.0.0/24");
	gs.networks[0].ignore = true;
	/* a lower one comes, and one goes */
	has(0, "c=10.4.0.1/24 a=10.5.0.1/24");
	has(1, "c=10.4.0.2/24,default a=10.5.0.2/24");
	cr_assert_eq(network_discover(&gs, false), 1);
	cr_assert_eq(gs.nr_networks, 2);
	cr_assert_str_eq(subnets("net-1"), "10.5.0.0/24");
	cr_assert(gs.networks[0].ignore, "what was said of it stays");
	cr_assert_str_eq(subnets("net-3"), "10.4.0.0/24", "no name is used again at once");
	cr_assert(network_find(&gs, "net-3")->client);
	end();
}

Test(network, one_alone_replicates_and_serves)
{
	begin(2);
	has(0, "eth0=10.1.0.1/24,default");
	has(1, "eth0=10.1.0.2/24,default");
	network_discover(&gs, false);
	cr_assert_eq(gs.nr_networks, 1);
	cr_assert(gs.networks[0].client && gs.networks[0].replication);
	end();
}

Test(network, sites_are_joined_by_the_client_network)
{
	struct net_path np[NETWORK_PATHS_MAX];

	begin(3);
	has(0, "eth0=10.1.0.1/24,default eth1=192.168.1.1/24");
	has(1, "eth0=10.1.0.2/24,default eth1=192.168.1.2/24");
	has(2, "eth0=10.7.0.3/24,default");
	snprintf(gs.members[2].address, 64, "10.7.0.3");
	network_discover(&gs, false);
	cr_assert_eq(gs.nr_networks, 2);
	cr_assert_str_eq(subnets("net-1"), "10.1.0.0/24 10.7.0.0/24");
	cr_assert(network_find(&gs, "net-1")->client);
	cr_assert_eq(network_paths(&gs, "n1", "n3", np, NETWORK_PATHS_MAX), 1);
	cr_assert(!np[0].same_subnet);
	cr_assert_eq(np[0].rank, PATH_CLIENT);
	cr_assert_eq(network_paths(&gs, "n1", "n2", np, NETWORK_PATHS_MAX), 2);
	end();
}

Test(network, by_hand)
{
	begin(2);
	has(0, "a=10.1.0.1/24 b=10.2.0.1/24,default");
	has(1, "a=10.1.0.2/24 b=10.2.0.2/24,default");
	network_discover(&gs, false);
	strcpy(gs.networks[0].name, "gold");
	gs.networks[0].replication = false;
	gs.manual_networks = true;
	has(0, "a=10.1.0.1/24 b=10.2.0.1/24,default c=10.3.0.1/24");
	cr_assert_eq(network_discover(&gs, false), 0);
	cr_assert_eq(network_discover(&gs, true), 1);
	cr_assert_eq(gs.nr_networks, 3);
	cr_assert(!network_find(&gs, "gold")->replication);
	cr_assert_str_eq(subnets("net-1"), "10.3.0.0/24");
	cr_assert(network_find(&gs, "net-1")->replication);
	end();
}

/* Whatever the lists hold: no more than there is room for, and it settles. */
Test(network, many)
{
	begin(16);
	for (unsigned i = 0; i < 16; i++) {
		size_t at = 0;

		for (unsigned k = 0; k < 16; k++)
			at += snprintf(gs.members[i].addresses + at, GROUP_LIST_MAX - at,
				       "e%u=10.%u.%u.%u/24 ", k, i % 5, k + 16 * (i % 7), i + 1);
	}
	network_discover(&gs, false);
	cr_assert_leq(gs.nr_networks, GROUP_NETWORKS_MAX);
	cr_assert_eq(network_discover(&gs, false), 0);
	end();
}

/* ---- paths ---------------------------------------------------------------------- */

Test(network, paths)
{
	struct net_path np[NETWORK_PATHS_MAX];
	char text[NETADDR_TEXT];

	begin(2);
	has(0, "a=10.1.0.77/24 a=10.1.0.1/24 b=10.2.0.1/24,default");
	has(1, "a=10.1.0.2/24 b=10.2.0.2/24,default");
	network_discover(&gs, false);
	cr_assert_eq(network_paths(&gs, "n1", "n2", np, NETWORK_PATHS_MAX), 2);
	netaddr_format(&np[0].local, text);
	cr_assert_str_eq(text, "10.1.0.1", "the configured one of two");
	cr_assert_str_eq(np[0].iface, "a");
	cr_assert(np[0].same_subnet);
	cr_assert_eq(np[0].rank, PATH_REPLICATION);
	cr_assert_eq(np[1].rank, PATH_CLIENT);
	/* an ignored network has none; its configured address is no way round that */
	network_find(&gs, "net-1")->ignore = true;
	cr_assert_eq(network_paths(&gs, "n1", "n2", np, NETWORK_PATHS_MAX), 1);
	cr_assert_str_eq(np[0].network, "net-2");
	/* heartbeats only */
	network_find(&gs, "net-1")->ignore = false;
	network_find(&gs, "net-1")->replication = false;
	network_paths(&gs, "n1", "n2", np, NETWORK_PATHS_MAX);
	cr_assert_eq(np[0].rank, PATH_BEATS_ONLY);
	/* no lists: what was configured */
	has(0, "");
	cr_assert_eq(network_paths(&gs, "n1", "n2", np, NETWORK_PATHS_MAX), 1);
	cr_assert_eq(np[0].rank, PATH_DIRECT);
	cr_assert_eq(network_paths(&gs, "n1", "n1", np, NETWORK_PATHS_MAX), 0);
	cr_assert_eq(network_paths(&gs, "n1", "n9", np, NETWORK_PATHS_MAX), 0);
	end();
}

Test(network, policy)
{
	cr_assert(network_policy(WIRE_INTER_SUBNET, false, false));
	cr_assert(!network_policy(WIRE_INTER_SUBNET, true, true));
	cr_assert(network_policy(WIRE_ENABLED, true, false));
	cr_assert(!network_policy(WIRE_DISABLED, false, true));
	cr_assert(network_policy(WIRE_SEED_ONLY, true, true));
	cr_assert(!network_policy(WIRE_SEED_ONLY, false, false));
}

/* ---- states ---------------------------------------------------------------------- */

static struct net_result res[8];
static unsigned nr_res;

static void result(const char *member, const char *local, const char *remote, bool known, bool up)
{
	struct net_result *r = &res[nr_res++];

	memset(r, 0, sizeof(*r));
	strcpy(r->member, member);
	netaddr_parse(local, &r->local);
	netaddr_parse(remote, &r->remote);
	r->known = known;
	r->up = up;
}

static void two_networks(bool up12a, bool up13a, bool up12b, bool up13b)
{
	nr_res = 0;
	result("n2", "10.1.0.1", "10.1.0.2", true, up12a);
	result("n3", "10.1.0.1", "10.1.0.3", true, up13a);
	result("n2", "10.2.0.1", "10.2.0.2", true, up12b);
	result("n3", "10.2.0.1", "10.2.0.3", true, up13b);
}

static enum subnet_state subnet_is(const char *text)
{
	struct subnet sn;

	cr_assert_eq(subnet_parse(text, &sn, NULL), 0);
	return network_subnet_state(&gs, "n1", &sn, res, nr_res);
}

static enum iface_state iface_is(unsigned member, unsigned nth)
{
	struct netif ni[NETIFS_MAX];

	cr_assert_gt(netifs_parse(gs.members[member].addresses, ni, NETIFS_MAX), nth);
	return network_iface_state(&gs, "n1", gs.members[member].name, &ni[nth], res, nr_res);
}

static void three_members(void)
{
	begin(3);
	for (unsigned i = 0; i < 3; i++)
		snprintf(gs.members[i].addresses, GROUP_LIST_MAX, "a=10.1.0.%u/24 b=10.2.0.%u/24,default",
			 i + 1, i + 1);
	network_discover(&gs, false);
}

Test(network, states)
{
	three_members();
	two_networks(true, true, true, true);
	cr_assert_eq(subnet_is("10.1.0.0/24"), SUBNET_UP);
	cr_assert_eq(iface_is(0, 0), IFACE_UP);
	cr_assert_eq(iface_is(1, 1), IFACE_UP);
	/* one network is cut */
	two_networks(false, false, true, true);
	cr_assert_eq(subnet_is("10.1.0.0/24"), SUBNET_DOWN);
	cr_assert_eq(subnet_is("10.2.0.0/24"), SUBNET_UP);
	cr_assert_eq(iface_is(0, 0), IFACE_UNREACHABLE);
	cr_assert_eq(iface_is(1, 0), IFACE_UNREACHABLE);
	/* one member's cable */
	two_networks(true, false, true, true);
	cr_assert_eq(subnet_is("10.1.0.0/24"), SUBNET_PARTITIONED);
	cr_assert_eq(iface_is(2, 0), IFACE_UNREACHABLE);
	cr_assert_eq(iface_is(1, 0), IFACE_UP);
	cr_assert_eq(iface_is(0, 0), IFACE_UP);
	/* a dead member is no fault of the network */
	two_networks(true, false, true, false);
	cr_assert_eq(subnet_is("10.1.0.0/24"), SUBNET_UP);
	cr_assert_eq(iface_is(2, 0), IFACE_UNAVAILABLE);
	/* all others are dead: nothing can be told, and ours is not blamed */
	two_networks(false, false, false, false);
	cr_assert_eq(subnet_is("10.1.0.0/24"), SUBNET_UNKNOWN);
	cr_assert_eq(iface_is(0, 0), IFACE_UNKNOWN);
	/* just started */
	nr_res = 0;
	result("n2", "10.1.0.1", "10.1.0.2", false, false);
	cr_assert_eq(subnet_is("10.1.0.0/24"), SUBNET_UNKNOWN);
	cr_assert_eq(iface_is(1, 0), IFACE_UNKNOWN);
	/* links that are down */
	has(2, "a=10.1.0.3/24,down b=10.2.0.3/24,default");
	two_networks(true, false, true, true);
	cr_assert_eq(iface_is(2, 0), IFACE_FAILED);
	end();
}

Test(network, unavailable_and_misconfigured)
{
	three_members();
	for (unsigned i = 0; i < 3; i++)
		snprintf(gs.members[i].addresses, GROUP_LIST_MAX, "a=10.1.0.%u/24,down b=10.2.0.%u/24",
			 i + 1, i + 1);
	two_networks(false, false, true, true);
	cr_assert_eq(subnet_is("10.1.0.0/24"), SUBNET_UNAVAILABLE);
	end();
	/* a wrong prefix on one member */
	three_members();
	has(2, "a=10.1.0.3/16 b=10.2.0.3/24,default");
	two_networks(true, true, true, true);
	cr_assert_eq(subnet_is("10.1.0.0/24"), SUBNET_MISCONFIGURED);
	/* an address twice */
	has(2, "a=10.1.0.2/24 b=10.2.0.3/24,default");
	cr_assert_eq(subnet_is("10.1.0.0/24"), SUBNET_MISCONFIGURED);
	cr_assert_eq(subnet_is("10.2.0.0/24"), SUBNET_UP);
	/* a subnet of one member alone */
	has(2, "a=10.1.0.3/24 b=10.2.0.3/24,default c=10.3.0.3/24");
	network_discover(&gs, false);
	cr_assert_eq(subnet_is("10.3.0.0/24"), SUBNET_MISCONFIGURED);
	end();
}

/* ---- which path -------------------------------------------------------------------- */

static struct route_option opt[3];

static void options(uint64_t up0, uint64_t up1)
{
	/* the client network stands first, to show that it is the rank that counts */
	opt[0] = (struct route_option){ PATH_CLIENT, up0, false, up0 };
	opt[1] = (struct route_option){ PATH_REPLICATION, up1, false, up1 };
	opt[2] = (struct route_option){ PATH_BEATS_ONLY, true, false, 1 };
}

static int choose(struct route *r, uint64_t now)
{
	return route_choose(r, opt, 3, now, BEAT);
}

Test(route, client_is_for_need_only)
{
	struct route r;

	route_init(&r);
	options(0, 0);
	cr_assert_eq(choose(&r, 100 * SEC), -1);
	options(100 * SEC, 0);
	cr_assert_eq(choose(&r, 100 * SEC), -1, "the better one may be about to come up");
	cr_assert_eq(choose(&r, 101 * SEC), 0);
	options(100 * SEC, 102 * SEC);
	cr_assert_eq(choose(&r, 103 * SEC), 0, "not yet");
	cr_assert_eq(choose(&r, 104 * SEC), 1);
	options(100 * SEC, 0);
	cr_assert_eq(choose(&r, 200 * SEC), 0, "at once");
	options(0, 0);
	cr_assert_eq(choose(&r, 201 * SEC), 0, "no better one is known");
	cr_assert_eq(choose(&r, 300 * SEC), -1, "none is better than what is configured");
}

Test(route, flapping_is_slowed_down)
{
	uint64_t now = 100 * SEC, hold[9];
	struct route r;

	route_init(&r);
	options(now, now);
	cr_assert_eq(choose(&r, now), 1);
	for (int i = 0; i < 9; i++) {
		uint64_t back;

		options(1, 0);
		now += SEC / 10;
		cr_assert_eq(choose(&r, now), 0);
		back = now;
		options(1, back);
		while (choose(&r, now) != 1)
			now += SEC / 10;
		hold[i] = now - back;
	}
	cr_assert_eq(hold[0], 2 * SEC);
	cr_assert_eq(hold[1], 4 * SEC);
	cr_assert_eq(hold[3], 16 * SEC);
	cr_assert_eq(hold[8], 128 * SEC, "bounded");
	/* calm for long: forgotten */
	now += 2000 * SEC;
	choose(&r, now);
	cr_assert_eq(route_hold_ns(&r, BEAT), 2 * SEC);
}

Test(route, loss)
{
	struct route r;

	route_init(&r);
	options(1, 1);
	opt[0].rank = PATH_REPLICATION;
	cr_assert_eq(choose(&r, 100 * SEC), 0);
	opt[0].lossy = true;
	cr_assert_eq(choose(&r, 101 * SEC), 1, "the other one of its kind loses nothing");
	opt[1].rank = PATH_CLIENT;
	opt[0].lossy = false;
	cr_assert_eq(choose(&r, 102 * SEC), 0);
	opt[0].lossy = true;
	cr_assert_eq(choose(&r, 103 * SEC), 0, "better than the client network");
}

/* ---- by hand ------------------------------------------------------------------------ */

static char err[256];

static int edit(const char *name, const char *rename, const char *list, int client, int replication,
		int ignore)
{
	struct network_change ch = { name, rename, list, client, replication, ignore, -1 };

	return network_edit(&gs, &ch, err, sizeof(err));
}

Test(network, edit)
{
	three_members();
	cr_assert_eq(edit("net-1", "gold", NULL, -1, -1, -1), 0);
	cr_assert(gs.manual_networks && !network_find(&gs, "net-1"));
	cr_assert(network_find(&gs, "gold")->replication, "what is not said stays");
	cr_assert_eq(edit("gold", NULL, NULL, 1, 0, 1), 0);
	cr_assert(network_find(&gs, "gold")->client && !network_find(&gs, "net-2")->client);
	cr_assert(network_find(&gs, "gold")->ignore && !network_find(&gs, "gold")->replication);
	/* a new one takes a subnet from where it was; what has none left is gone */
	cr_assert_eq(edit("wan", NULL, "10.7.0.0/24, 10.2.0.9/24", -1, -1, -1), 0);
	cr_assert_str_eq(subnets("wan"), "10.7.0.0/24 10.2.0.0/24");
	cr_assert(!network_find(&gs, "net-2") && gs.nr_networks == 2);
	cr_assert_eq(edit("wan", NULL, "", -1, -1, -1), 0);
	cr_assert_eq(gs.nr_networks, 1);
	end();
}

static enum dag_codec codec_to(const char *from, const char *to, bool *ret_seed_only)
{
	struct netaddr a, b;

	cr_assert(!netaddr_parse(from, &a) && !netaddr_parse(to, &b));
	return network_codec(&gs, &a, &b, ret_seed_only);
}

/* Semantics 15, and what is said of one network before it. */
Test(network, codec_between_two_addresses)
{
	bool seed;

	begin(2);
	gs.nr_networks = 2;
	strcpy(gs.networks[0].name, "a");
	strcpy(gs.networks[0].subnets, "10.1.0.0/24 10.2.0.0/24");
	strcpy(gs.networks[1].name, "b");
	strcpy(gs.networks[1].subnets, "10.9.0.0/24");
	cr_assert_eq(codec_to("10.1.0.1", "10.1.0.2", &seed), DAG_CODEC_NONE, "the same subnet");
	cr_assert_eq(codec_to("10.1.0.1", "10.2.0.2", &seed), DAG_CODEC_LZ4, "another, by default");
	cr_assert(!seed);
	gs.codec = CODEC_ZSTD;
	gs.compression = WIRE_ENABLED;
	cr_assert_eq(codec_to("10.1.0.1", "10.1.0.2", &seed), DAG_CODEC_ZSTD);
	gs.compression = WIRE_SEED_ONLY;
	cr_assert_eq(codec_to("10.1.0.1", "10.1.0.2", &seed), DAG_CODEC_ZSTD);
	cr_assert(seed);
	gs.compression = WIRE_DISABLED;
	cr_assert_eq(codec_to("10.1.0.1", "10.2.0.2", &seed), DAG_CODEC_NONE);
	gs.networks[1].compression = COMPRESS_LZ4;
	cr_assert_eq(codec_to("10.9.0.1", "10.9.0.2", &seed), DAG_CODEC_LZ4, "its own word");
	cr_assert(!seed);
	gs.compression = WIRE_ENABLED;
	gs.networks[0].compression = COMPRESS_OFF;
	cr_assert_eq(codec_to("10.1.0.1", "10.2.0.2", &seed), DAG_CODEC_NONE);
	gs.networks[0].compression = COMPRESS_ZSTD;
	gs.codec = CODEC_LZ4;
	cr_assert_eq(codec_to("10.1.0.1", "10.2.0.2", &seed), DAG_CODEC_ZSTD);
	/* where there are no networks, nobody is known to be far */
	gs.nr_networks = 0;
	cr_assert_eq(codec_to("10.1.0.1", "10.2.0.2", &seed), DAG_CODEC_LZ4);
	gs.compression = WIRE_INTER_SUBNET;
	cr_assert_eq(codec_to("10.1.0.1", "10.2.0.2", &seed), DAG_CODEC_NONE);
	end();
}

Test(network, edit_refuses)
{
	three_members();
	cr_assert_eq(edit("none", NULL, NULL, 1, -1, -1), -EINVAL);
	cr_assert_eq(edit("new", NULL, "", -1, -1, -1), -EINVAL);
	cr_assert_eq(edit("net-1", "net-2", NULL, -1, -1, -1), -EINVAL);
	cr_assert_eq(edit("net-1", "a name", NULL, -1, -1, -1), -EINVAL);
	cr_assert_eq(edit("net-1", NULL, "10.1.0.0", -1, -1, -1), -EINVAL);
	cr_assert_eq(edit("net-1", NULL, "10.1.0.0/24 10.1.0.0/16", -1, -1, -1), -EINVAL);
	cr_assert_not_null(strstr(err, "overlaps"));
	for (int i = 0; i < 6; i++) {
		char name[8], list[32];

		snprintf(name, sizeof(name), "x%d", i);
		snprintf(list, sizeof(list), "10.5%d.0.0/24", i);
		cr_assert_eq(edit(name, NULL, list, -1, -1, -1), 0);
	}
	cr_assert_eq(edit("x9", NULL, "10.59.0.0/24", -1, -1, -1), -EINVAL);
	cr_assert_not_null(strstr(err, "most"));
	end();
}
