// SPDX-License-Identifier: GPL-2.0
/* clientnet: whose client network is lost, and whose is not. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/candidate.h"
#include "daemon/group/clientnet.h"

static struct group_state gs;
static struct netif ni[4];
static struct net_result res[8];
static struct client_view v;

static void setup(void)
{
	cr_assert_eq(group_state_init(&gs), 0);
	gs.nr_networks = 2;
	strcpy(gs.networks[0].name, "lan");
	strcpy(gs.networks[0].subnets, "10.1.0.0/24");
	gs.networks[0].client = true;
	strcpy(gs.networks[1].name, "repl");
	strcpy(gs.networks[1].subnets, "10.2.0.0/24");
	gs.networks[1].replication = true;
	memset(&v, 0, sizeof(v));
	v.ni = ni;
	v.res = res;
}

static void teardown(void)
{
	group_state_free(&gs);
}

TestSuite(clientnet, .init = setup, .fini = teardown);

static void own(const char *list)
{
	v.nr = netifs_parse(list, ni, 4);
}

static void path(unsigned other, int net, bool known, bool up)
{
	struct net_result *r = &res[v.nr_res++];
	char text[32];

	memset(r, 0, sizeof(*r));
	snprintf(r->member, sizeof(r->member), "n%u", other);
	snprintf(text, sizeof(text), "10.%d.0.1", net);
	netaddr_parse(text, &r->local);
	snprintf(text, sizeof(text), "10.%d.0.%u", net, other);
	netaddr_parse(text, &r->remote);
	r->known = known;
	r->up = up;
}

Test(clientnet, the_link_counts_first)
{
	own("c=10.1.0.1/24 r=10.2.0.1/24");
	path(2, 2, true, true);
	cr_assert_eq(client_judge(&gs, &v), CLIENT_UP, "nobody else is on it");
	path(2, 1, true, true);
	cr_assert_eq(client_judge(&gs, &v), CLIENT_UP);
	own("c=10.1.0.1/24,down r=10.2.0.1/24");
	cr_assert_eq(client_judge(&gs, &v), CLIENT_DOWN, "the paths come later");
}

Test(clientnet, an_address_that_went_is_a_loss_and_one_that_never_was_is_not)
{
	own("r=10.2.0.1/24");
	cr_assert_eq(client_judge(&gs, &v), CLIENT_NONE);
	v.had = true;
	cr_assert_eq(client_judge(&gs, &v), CLIENT_DOWN);
}

Test(clientnet, a_link_with_nobody_on_it)
{
	own("c=10.1.0.1/24 r=10.2.0.1/24");
	path(2, 1, true, false);
	path(3, 1, false, false);
	path(2, 2, true, true);
	cr_assert_eq(client_judge(&gs, &v), CLIENT_NONE, "one is not known yet");
	res[1].known = true;
	cr_assert_eq(client_judge(&gs, &v), CLIENT_ALONE, "replication paths do not count");
	res[1].up = true;
	cr_assert_eq(client_judge(&gs, &v), CLIENT_UP);
}

Test(clientnet, service_addresses_have_interfaces_of_their_own)
{
	own("r=10.2.0.1/24");
	v.service = 1;
	cr_assert_eq(client_judge(&gs, &v), CLIENT_UP);
	v.service = -1;
	cr_assert_eq(client_judge(&gs, &v), CLIENT_DOWN);
	own("c=10.1.0.1/24");
	cr_assert_eq(client_judge(&gs, &v), CLIENT_DOWN, "the client network does not help them");
}

Test(clientnet, no_client_network_or_an_ignored_one_is_not_judged)
{
	own("c=10.1.0.1/24,down");
	gs.networks[0].ignore = true;
	cr_assert_eq(client_judge(&gs, &v), CLIENT_NONE);
	gs.networks[0].ignore = false;
	gs.networks[0].client = false;
	cr_assert_eq(client_judge(&gs, &v), CLIENT_NONE);
	gs.nr_networks = 0;
	cr_assert_eq(client_judge(&gs, &v), CLIENT_NONE);
}

Test(clientnet, what_is_worth_a_look)
{
	struct group_store st = { .name = "pg" };

	cr_assert(client_matters(&gs, &st));
	st.client_stays = true;
	cr_assert_not(client_matters(&gs, &st));
	st.client_stays = false;
	gs.networks[0].ignore = true;
	cr_assert_not(client_matters(&gs, &st));
	strcpy(st.addresses, "eth1=10.9.0.1/24");
	cr_assert(client_matters(&gs, &st));
	st.dismounted = true;
	cr_assert_not(client_matters(&gs, &st));
}

/* ---- who is better ---------------------------------------------------------------- */

static bool takes(int mine, int theirs)
{
	struct candidate c = {
		.reachable = true, .sealed = true, .whole = true, .in_sync = true,
		.status = CAND_HEALTHY, .log_epoch = 5, .end_lsn = 2000, .client = theirs,
	};
	struct candidate_rule r = {
		.mode = DAGTAP_MODE_COMMIT, .ack_durable = true, .epoch = 5, .start_lsn = 1000,
		.segment_bytes = 1000, .client_above = mine,
	};
	struct candidate_verdict verdict;

	strcpy(c.member, "n2");
	return candidate_rank(&c, 1, &r, &verdict) == 1;
}

Test(clientnet, only_a_better_one_takes_over)
{
	for (int mine = CLIENT_DOWN; mine <= CLIENT_ALONE; mine++)
		for (int theirs = CLIENT_NONE; theirs <= CLIENT_UP; theirs++)
			cr_assert_eq(takes(mine, theirs), theirs > mine, "%d %d", mine, theirs);
	/* any other reason does not ask */
	for (int theirs = CLIENT_NONE; theirs <= CLIENT_UP; theirs++)
		cr_assert(takes(CLIENT_NONE, theirs));
}
