/* SPDX-License-Identifier: GPL-2.0 */
/*
 * links - this host's interfaces and addresses, and the default route, live.
 *
 * Left out: loopback, link-local, temporary and not yet usable addresses.
 */
#ifndef DAG_LINKS_H
#define DAG_LINKS_H

#include <stdbool.h>

#include "daemon/group/netaddr.h"

struct links;

struct links_conf {
	void *ctx;
	/* Something may have changed; from the thread here, at most once in 300 ms. */
	void (*changed)(void *ctx);
};

int links_start(const struct links_conf *conf, struct links **ret);
void links_stop(struct links *ln);		/* NULL is fine */

/* Is there an interface of that name, up and with a link? */
bool links_running(const char *iface);
/* Ask the kernel now: in the order of interfaces; how many, or -errno. */
int links_scan(struct netif *ret, unsigned max);

#endif
