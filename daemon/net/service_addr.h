/* SPDX-License-Identifier: GPL-2.0 */
/*
 * service_addr - addresses that follow a store or the manager: put on and taken
 * off an interface by rtnetlink.
 *
 * Written [IFACE=]ADDRESS[/PREFIX]. Without IFACE it is the interface that has an
 * address in the same subnet; without PREFIX that subnet's. IPv4 addresses carry
 * the label IFACE:dag; IPv6 ones come without duplicate address detection (it
 * takes a second; the store's epoch says whose they are) and are never chosen as
 * the source of what this host sends by itself.
 */
#ifndef DAG_SERVICE_ADDR_H
#define DAG_SERVICE_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/net/announce.h"

#define SERVICE_ADDR_TEXT	80

struct service_addr {
	char iface[16];			/* "": by the subnet */
	int family;			/* AF_INET, AF_INET6 */
	uint8_t addr[16];
	int prefix;			/* -1: of the subnet */
	char text[SERVICE_ADDR_TEXT];	/* the same, in one way to write it */
};

/* A list with blanks or commas between. Pure. Returns how many, or -EINVAL, -E2BIG
 * and why. */
int service_addr_parse(const char *list, struct service_addr *ret, unsigned max, char *err,
		       size_t errlen);

/* Put it on; one that is there already is fine. *ret_an (may be NULL): tells the
 * neighbours again and looks out for another host that has it (announce_tick). */
int service_addr_up(const char *text, struct announce **ret_an, char *why, size_t len);
/* Take it off; one that is not there is fine. */
int service_addr_down(const char *text, char *why, size_t len);
/* 0: it is on an interface here; -ENOENT. *ret_ours: with dag's label. */
int service_addr_there(const char *text, bool *ret_ours);

#endif
