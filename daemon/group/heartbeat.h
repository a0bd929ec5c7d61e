/* SPDX-License-Identifier: GPL-2.0 */
/*
 * heartbeat - what the datagrams tell: who is there, over which paths, how well.
 * Pure: times come from the caller (CLOCK_BOOTTIME in ns), I/O is heartbeat_udp.c.
 *
 * A path is up while its datagrams come and the other side's say that ours come
 * there: five missed ones in either direction, and it is down.
 *
 * What is old must not count as new. On a path a number counts once, and none
 * below the highest gives news. A sender that is new (a start of its daemon that
 * was not heard before, or a path) counts only when it echoes a datagram that we
 * sent a moment ago, and later than all that its former start had echoed: a
 * recording cannot. Heartbeats never replace the lease.
 */
#ifndef DAG_HEARTBEAT_H
#define DAG_HEARTBEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/beat.h"
#include "daemon/group/network.h"
#include "daemon/group/route.h"
#include "daemon/group/state.h"

#define HB_DOWN_BEATS	5
#define HB_UP_BEATS	3	/* in a row, before a path is up */
#define HB_WINDOW	64	/* beats that loss is told of */

enum hb_verdict {
	HB_TAKEN,	/* newest of its path */
	HB_LATE,	/* overtaken by another */
	HB_UNPROVEN,	/* authentic, may be old: only the echo was noted */
	HB_STRAY,	/* between addresses that are no path */
	HB_REPLAYED,	/* its number, or the start of a daemon it names, is past */
	HB_FOREIGN,	/* the sender is no member, or has our name */
};

struct hb_path {
	struct net_path at;
	unsigned ifindex;		/* of at.iface, for the socket; 0: let the kernel choose */
	uint64_t tx_seq;
	uint64_t made_ns;		/* when it began to be watched */
	/* received */
	uint64_t boot, seq;		/* of the sender; 0: not proven yet */
	uint64_t bits;			/* of the last HB_WINDOW numbers; bit 0: seq */
	uint32_t nr;			/* numbers that count in it */
	uint32_t run;			/* in a row since the path was down */
	uint64_t heard_ns;
	uint64_t echoed_ns;		/* our newest sending that came there */
	uint64_t rtt_ns;		/* smoothed; 0: none yet */
	uint64_t echo_boot, echo_ns, echo_at_ns;	/* to be sent back */
	/* a start that is not proven: echoed too, so that it can be */
	uint64_t new_boot, new_ns, new_at_ns, new_since_ns;
	bool up, lossy;
	uint64_t since_ns;		/* up, or down, since */
	uint64_t received, late, replayed;
};

struct hb_member {
	char name[64];
	uint16_t port;
	uint64_t boot, floor_ns;	/* its start; nothing echoed below counts for a new one */
	uint64_t sent_ns;		/* newest of its datagrams, on its clock */
	uint64_t heard_ns;		/* newest proven one of any path; 0: never */
	uint64_t generation;
	uint32_t flags, interval_ms;
	uint32_t nr_paths;
	struct hb_path paths[NETWORK_PATHS_MAX];
	struct route route;
};

struct heartbeat {
	char self[64];
	uint8_t group[16];
	uint64_t boot;
	uint32_t interval_ms;
	uint64_t generation;		/* of our own datagrams */
	uint32_t flags;
	uint32_t nr_members;
	struct hb_member members[GROUP_MEMBERS_MAX];
};

/* boot: random, not 0, of this start. */
void hb_init(struct heartbeat *hb, const char *self, uint64_t boot);
/* Members, networks, interval; what is known of paths that stay is kept. -EINVAL: uuid. */
int hb_update(struct heartbeat *hb, struct group_state *gs, uint64_t now_ns);
/* The next datagram of a path. */
void hb_make(struct heartbeat *hb, struct hb_path *p, uint64_t now_ns, struct beat *ret);
/* One that came and is authentic, with from and to as the socket saw them. */
enum hb_verdict hb_take(struct heartbeat *hb, const struct beat *b, uint64_t now_ns,
			struct hb_member **ret);
/* Time has passed: bit i is set where the route to member i has changed. */
uint32_t hb_tick(struct heartbeat *hb, uint64_t now_ns);

struct hb_member *hb_find(struct heartbeat *hb, const char *member);
/* Heard over any path within five intervals. */
bool hb_reachable(const struct heartbeat *hb, const struct hb_member *m, uint64_t now_ns);
/* Of the last HB_WINDOW beats of a path, in 1/1000. */
unsigned hb_loss_permille(const struct heartbeat *hb, const struct hb_member *m,
			  const struct hb_path *p, uint64_t now_ns);
/* Comes in, and what we send comes there. */
bool hb_heard(const struct heartbeat *hb, const struct hb_member *m, const struct hb_path *p,
	      uint64_t now_ns);
bool hb_echoed(const struct heartbeat *hb, const struct hb_member *m, const struct hb_path *p,
	       uint64_t now_ns);

#endif
