// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/netaddr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

int netaddr_parse(const char *text, struct netaddr *ret)
{
	struct netaddr na;

	if (inet_pton(AF_INET, text, na.b + 12) == 1)
		memcpy(na.b, mapped, sizeof(mapped));
	else if (inet_pton(AF_INET6, text, na.b) != 1)
		return -EINVAL;
	*ret = na;
	return 0;
}

bool netaddr_is_v4(const struct netaddr *na)
{
	return !memcmp(na->b, mapped, sizeof(mapped));
}

void netaddr_format(const struct netaddr *na, char ret[NETADDR_TEXT])
{
	if (netaddr_is_v4(na))
		inet_ntop(AF_INET, na->b + 12, ret, NETADDR_TEXT);
	else
		inet_ntop(AF_INET6, na->b, ret, NETADDR_TEXT);
}

bool netaddr_is_zero(const struct netaddr *na)
{
	static const struct netaddr zero;

	return netaddr_equal(na, &zero);
}

bool netaddr_is_loopback(const struct netaddr *na)
{
	static const struct netaddr one = { .b = { [15] = 1 } };

	return netaddr_is_v4(na) ? na->b[12] == 127 : netaddr_equal(na, &one);
}

bool netaddr_is_link_local(const struct netaddr *na)
{
	if (netaddr_is_v4(na))
		return na->b[12] == 169 && na->b[13] == 254;
	return na->b[0] == 0xfe && (na->b[1] & 0xc0) == 0x80;
}

bool netaddr_equal(const struct netaddr *a, const struct netaddr *b)
{
	return !memcmp(a->b, b->b, sizeof(a->b));
}

socklen_t netaddr_to_sockaddr(const struct netaddr *na, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *in = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	if (netaddr_is_v4(na)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, na->b + 12, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, na->b, 16);
	return sizeof(*in6);
}

int netaddr_from_sockaddr(const struct sockaddr *sa, struct netaddr *ret)
{
	if (sa->sa_family == AF_INET) {
		memcpy(ret->b, mapped, sizeof(mapped));
		memcpy(ret->b + 12, &((const struct sockaddr_in *)sa)->sin_addr, 4);
		return 0;
	}
	if (sa->sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	memcpy(ret->b, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
	return 0;
}

static void clear_below(struct netaddr *na, unsigned bits)
{
	unsigned i = bits / 8;

	if (bits % 8)
		na->b[i++] &= 0xff << (8 - bits % 8);
	for (; i < sizeof(na->b); i++)
		na->b[i] = 0;
}

int subnet_parse(const char *text, struct subnet *ret, struct netaddr *ret_addr)
{
	const char *slash = strchr(text, '/');
	struct netaddr na;
	char addr[NETADDR_TEXT], *end;
	unsigned long bits, max;

	if (!slash || (size_t)(slash - text) >= sizeof(addr) || slash[1] < '0' || slash[1] > '9')
		return -EINVAL;
	memcpy(addr, text, slash - text);
	addr[slash - text] = '\0';
	if (netaddr_parse(addr, &na))
		return -EINVAL;
	max = netaddr_is_v4(&na) ? 32 : 128;
	bits = strtoul(slash + 1, &end, 10);
	if (*end || bits > max)
		return -EINVAL;
	ret->bits = bits + (128 - max);
	ret->net = na;
	clear_below(&ret->net, ret->bits);
	if (ret_addr)
		*ret_addr = na;
	return 0;
}

void subnet_format(const struct subnet *sn, char ret[SUBNET_TEXT])
{
	char addr[NETADDR_TEXT];

	netaddr_format(&sn->net, addr);
	snprintf(ret, SUBNET_TEXT, "%s/%u", addr,
		 netaddr_is_v4(&sn->net) && sn->bits >= 96 ? sn->bits - 96 : sn->bits);
}

bool subnet_has(const struct subnet *sn, const struct netaddr *na)
{
	struct netaddr at = *na;

	clear_below(&at, sn->bits);
	return netaddr_equal(&at, &sn->net);
}

bool subnet_equal(const struct subnet *a, const struct subnet *b)
{
	return a->bits == b->bits && netaddr_equal(&a->net, &b->net);
}

bool subnet_overlaps(const struct subnet *a, const struct subnet *b)
{
	return a->bits <= b->bits ? subnet_has(a, &b->net) : subnet_has(b, &a->net);
}

int subnet_compare(const struct subnet *a, const struct subnet *b)
{
	/* IPv4 first, as most people think of it */
	int v4 = netaddr_is_v4(&b->net) - netaddr_is_v4(&a->net);
	int r = v4 ? v4 : memcmp(a->net.b, b->net.b, sizeof(a->net.b));

	return r ? r : a->bits - b->bits;
}

/* The next word of a list with blanks between; false: none, or it is too long. */
static bool next_word(const char **at, char *ret, size_t len, bool *ret_fits)
{
	size_t n;

	*at += strspn(*at, " ");
	n = strcspn(*at, " ");
	if (!n)
		return false;
	*ret_fits = n < len;
	if (*ret_fits) {
		memcpy(ret, *at, n);
		ret[n] = '\0';
	}
	*at += n;
	return true;
}

static int netif_parse(char *word, struct netif *ret)
{
	char *value = strchr(word, '='), *flags;

	memset(ret, 0, sizeof(*ret));
	if (!value || value == word || (size_t)(value - word) >= sizeof(ret->iface))
		return -EINVAL;
	memcpy(ret->iface, word, value - word);
	flags = strchr(++value, ',');
	if (flags)
		*flags++ = '\0';
	while (flags) {
		const char *flag = strsep(&flags, ",");

		if (!strcmp(flag, "default"))
			ret->is_default = true;
		else if (!strcmp(flag, "down"))
			ret->down = true;
	}
	return subnet_parse(value, &ret->subnet, &ret->addr);
}

unsigned netifs_parse(const char *list, struct netif *ret, unsigned max)
{
	unsigned nr = 0;
	char word[128];
	bool fits;

	while (nr < max && next_word(&list, word, sizeof(word), &fits))
		if (fits && !netif_parse(word, &ret[nr]))
			nr++;
	return nr;
}

unsigned netifs_format(const struct netif *ia, unsigned nr, char *ret, size_t len)
{
	char addr[NETADDR_TEXT], word[128];
	size_t at = 0;
	unsigned i, n;

	ret[0] = '\0';
	for (i = 0; i < nr; i++) {
		netaddr_format(&ia[i].addr, addr);
		n = snprintf(word, sizeof(word), "%s%s=%s/%u%s%s", at ? " " : "", ia[i].iface, addr,
			     netaddr_is_v4(&ia[i].addr) ? ia[i].subnet.bits - 96 : ia[i].subnet.bits,
			     ia[i].is_default ? ",default" : "", ia[i].down ? ",down" : "");
		if (at + n >= len)
			break;
		memcpy(ret + at, word, n + 1);
		at += n;
	}
	return i;
}

unsigned subnets_parse(const char *list, struct subnet *ret, unsigned max)
{
	char word[SUBNET_TEXT];
	unsigned nr = 0;
	bool fits;

	while (nr < max && next_word(&list, word, sizeof(word), &fits))
		if (fits && !subnet_parse(word, &ret[nr], NULL))
			nr++;
	return nr;
}
