/* SPDX-License-Identifier: GPL-2.0 */
/*
 * route - which of the paths to a member carries its log and its calls. Pure.
 *
 * A path that is down is left at once. A better one is gone back to by itself, but
 * only when it has been up for a while; a path that keeps failing soon after it was
 * gone back to has to wait twice as long each time.
 */
#ifndef DAG_ROUTE_H
#define DAG_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/network.h"

struct route_option {
	enum path_rank rank;
	bool up, lossy;
	uint64_t up_since_ns;
};

struct route {
	int at;			/* index of an option; -1: none is known to be good */
	uint64_t since_ns;
	uint32_t doublings;	/* of the wait */
	bool back;		/* it was gone back to, not fled to */
	uint64_t down_ns;	/* all are down since then; 0: not so */
	uint64_t first_ns;	/* when one was up first, while at is -1; 0: none */
};

void route_init(struct route *r);
/* The path to take now; also in r->at. interval_ns: of the heartbeats. */
int route_choose(struct route *r, const struct route_option *opt, unsigned nr, uint64_t now_ns,
		 uint64_t interval_ns);
/* How long a better path must have been up. */
uint64_t route_hold_ns(const struct route *r, uint64_t interval_ns);

#endif
