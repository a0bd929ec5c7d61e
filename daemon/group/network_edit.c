// SPDX-License-Identifier: GPL-2.0
/* network_edit - networks by an administrator's hand (network.h). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/network.h"
#include "daemon/refuse.h"

/* Words by blanks or commas; each must be a subnet, none twice. */
static int take_subnets(const char *text, char ret[GROUP_LIST_MAX], char *err, size_t errlen)
{
	struct subnet seen[NETWORK_SUBNETS_MAX];
	char list[GROUP_LIST_MAX], word[SUBNET_TEXT], *at = list, *one;
	unsigned i, nr = 0;
	size_t len = 0;

	if (strlen(text) >= sizeof(list))
		return refuse(err, errlen, "subnets: the list is longer than %zu characters",
			      sizeof(list) - 1);
	strcpy(list, text);
	memset(ret, 0, GROUP_LIST_MAX);
	while ((one = strsep(&at, " ,"))) {
		if (!*one)
			continue;
		if (nr == NETWORK_SUBNETS_MAX)
			return refuse(err, errlen, "subnets: more than %d", NETWORK_SUBNETS_MAX);
		if (subnet_parse(one, &seen[nr], NULL))
			return refuse(err, errlen, "subnet %s: write it as 10.2.0.0/24 or fd00:2::/64",
				      one);
		for (i = 0; i < nr; i++)
			if (subnet_overlaps(&seen[i], &seen[nr]))
				return refuse(err, errlen, "subnet %s: overlaps another one of the list",
					      one);
		subnet_format(&seen[nr++], word);
		if (len + strlen(word) + 2 > GROUP_LIST_MAX)
			return refuse(err, errlen, "subnets: the list is too long");
		len += sprintf(ret + len, "%s%s", len ? " " : "", word);
	}
	return 0;
}

static void drop(struct group_state *gs, struct group_network *nw)
{
	size_t after = gs->nr_networks - (nw - gs->networks) - 1;

	memmove(nw, nw + 1, after * sizeof(*nw));
	memset(&gs->networks[--gs->nr_networks], 0, sizeof(*nw));
}

/* A subnet is in one network: what `taken` has leaves the others. */
static void take_away(struct group_state *gs, const char *name, const char *taken)
{
	struct subnet want[NETWORK_SUBNETS_MAX], has[NETWORK_SUBNETS_MAX];
	unsigned i, k, nr_has, nr = subnets_parse(taken, want, NETWORK_SUBNETS_MAX);
	uint32_t n;

	for (n = 0; n < gs->nr_networks; n++) {
		struct group_network *nw = &gs->networks[n];
		char text[SUBNET_TEXT];
		size_t len = 0;

		if (!strcmp(nw->name, name))
			continue;
		nr_has = subnets_parse(nw->subnets, has, NETWORK_SUBNETS_MAX);
		memset(nw->subnets, 0, sizeof(nw->subnets));
		for (i = 0; i < nr_has; i++) {
			for (k = 0; k < nr && !subnet_overlaps(&has[i], &want[k]); k++)
				;
			if (k < nr)
				continue;
			subnet_format(&has[i], text);
			len += sprintf(nw->subnets + len, "%s%s", len ? " " : "", text);
		}
		if (!len)
			drop(gs, &gs->networks[n--]);
	}
}

static struct group_network *add(struct group_state *gs, const char *name)
{
	struct group_network *nw;

	if (gs->nr_networks == GROUP_NETWORKS_MAX)
		return NULL;
	nw = &gs->networks[gs->nr_networks++];
	memset(nw, 0, sizeof(*nw));
	snprintf(nw->name, sizeof(nw->name), "%s", name);
	nw->replication = true;
	return nw;
}

static void set_flag(bool *flag, int value)
{
	if (value >= 0)
		*flag = value;
}

int network_edit(struct group_state *gs, const struct network_change *ch, char *err, size_t errlen)
{
	struct group_network *nw = network_find(gs, ch->name);
	char subnets[GROUP_LIST_MAX];
	uint32_t i;
	int r;

	if (!nw && !ch->subnets)
		return refuse(err, errlen, "network %s: no such network; see dagctl network list, or "
			      "make it with --subnets", ch->name);
	if (!group_name_valid(ch->name, sizeof(nw->name) - 1) ||
	    (ch->rename && !group_name_valid(ch->rename, sizeof(nw->name) - 1)))
		return refuse(err, errlen, "network %s: not a name; use up to %zu letters, digits, '.', "
			      "'-' and '_'", ch->rename ? ch->rename : ch->name, sizeof(nw->name) - 1);
	if (ch->rename && network_find(gs, ch->rename))
		return refuse(err, errlen, "network %s: there is one of that name", ch->rename);
	if (ch->subnets) {
		r = take_subnets(ch->subnets, subnets, err, errlen);
		if (r)
			return r;
		if (!nw && !subnets[0])
			return refuse(err, errlen, "network %s: a new one needs a subnet", ch->name);
		take_away(gs, ch->name, subnets);
		nw = network_find(gs, ch->name);
		if (!nw)
			nw = add(gs, ch->name);
		if (!nw)
			return refuse(err, errlen, "network %s: there are %d networks, the most there "
				      "can be", ch->name, GROUP_NETWORKS_MAX);
		memcpy(nw->subnets, subnets, sizeof(nw->subnets));
	}
	gs->manual_networks = true;
	if (!nw->subnets[0]) {
		drop(gs, nw);
		return 0;
	}
	if (ch->client > 0)
		for (i = 0; i < gs->nr_networks; i++)
			gs->networks[i].client = false;
	set_flag(&nw->client, ch->client);
	set_flag(&nw->replication, ch->replication);
	set_flag(&nw->ignore, ch->ignore);
	if (ch->compression >= 0)
		nw->compression = ch->compression;
	if (ch->rename) {
		memset(nw->name, 0, sizeof(nw->name));
		strcpy(nw->name, ch->rename);
	}
	return 0;
}
