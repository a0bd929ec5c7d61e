/* SPDX-License-Identifier: GPL-2.0 */
/*
 * heartbeat_udp - heartbeats between daemons: one socket, one thread.
 *
 * A datagram goes to each member over each path once per interval of the group's
 * profile. What comes is checked (beat.h) and judged (heartbeat.h). Off while the
 * agreed state has no heartbeat key. Calls may come from any thread; callbacks come
 * from the thread here, without a lock, and must not wait.
 */
#ifndef DAG_HEARTBEAT_UDP_H
#define DAG_HEARTBEAT_UDP_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/heartbeat.h"
#include "daemon/net/way.h"

struct heartbeats;

struct heartbeats_conf {
	const char *self;		/* member name */
	uint16_t port;			/* UDP, the replication port's number */
	const char *bind;		/* numeric address; "": every one */
	void *ctx;
	/* All may be NULL. */
	/* A datagram of the member came: on each change, else once per second. */
	void (*heard)(void *ctx, const char *member, uint64_t generation, bool dac_bit);
	/* It says of itself what it did not say before: DAG_BEAT_STOPPING, _PANIC, _DISK. */
	void (*says)(void *ctx, const char *member, uint32_t flags);
	/* A path went up or down. */
	void (*path)(void *ctx, const char *member, const struct net_path *at, bool up);
	/* Log and calls go another way now: heartbeats_route(). */
	void (*moved)(void *ctx, const char *member);
	/*
	 * Datagrams were refused: at most once per source and minute; count: since the
	 * last time. from: an address, or "others" where there are too many of them.
	 */
	void (*refused)(void *ctx, const char *from, const char *why, uint64_t count);
};

int heartbeats_start(const struct heartbeats_conf *conf, struct heartbeats **ret);
void heartbeats_stop(struct heartbeats *hs);	/* NULL is fine */

/* Members, networks, key, interval. -EINVAL: no usable key or uuid; off then. */
int heartbeats_update(struct heartbeats *hs, struct group_state *gs);
/* What our datagrams say; a new flag is sent at once. flags without DAG_BEAT_DAC. */
void heartbeats_set(struct heartbeats *hs, uint64_t generation, bool dac_bit, uint32_t flags);

/* One flag or several, besides those of heartbeats_set(), until it is off again. */
void heartbeats_say(struct heartbeats *hs, uint32_t flags, bool on);

bool heartbeats_on(struct heartbeats *hs);
/* Heard over any path within five intervals. */
bool heartbeats_reachable(struct heartbeats *hs, const char *member);
/* The way to a member. -ENOENT: no path is known to be good: use its address. */
int heartbeats_route(struct heartbeats *hs, const char *member, struct net_path *ret);
/* The same as addresses to connect to, with the member's port; security is not set. */
int heartbeats_way(struct heartbeats *hs, const char *member, struct way *ret);

/* One path, for people. */
struct heartbeats_path {
	char member[64];
	struct net_path at;
	bool known;			/* watched long enough to tell */
	bool up, heard, echoed, lossy, chosen;
	double since_seconds;		/* up, or down */
	double age_seconds;		/* of what was heard last; < 0: nothing */
	double rtt_ms;			/* < 0: not known */
	unsigned loss_permille;
	uint64_t received, late, replayed;
};
unsigned heartbeats_view(struct heartbeats *hs, struct heartbeats_path *ret, unsigned max);

struct heartbeats_member {
	bool reachable, dac_bit;
	double age_seconds;		/* < 0: never */
	uint64_t boot, generation;
	uint32_t flags;
};
int heartbeats_member(struct heartbeats *hs, const char *member, struct heartbeats_member *ret);

struct heartbeats_stats {
	uint64_t sent, not_sent;
	uint64_t taken, late, unproven, stray, malformed, forged, foreign, replayed;
};
void heartbeats_stats(struct heartbeats *hs, struct heartbeats_stats *ret);

#endif
