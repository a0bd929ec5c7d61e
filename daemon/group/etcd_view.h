/* SPDX-License-Identifier: GPL-2.0 */
/*
 * etcd_view - the agreed state as keys of etcd, and a copy of it put together from
 * what was read. Pure.
 *
 *	/dag/UUID/generation	G, decimal
 *	/dag/UUID/group		group and members, JSON (the stores' list is empty)
 *	/dag/UUID/store/UUID	a store, JSON
 *	/dag/UUID/fence/NAME	fence of a host, decimal; changed by claims only
 *	/dag/UUID/lease/NAME	a host's last renewal, JSON
 *
 * Reads may come from etcd members that lag, and in any order: of each key the
 * highest revision counts. No key is ever deleted but that of a store which was
 * removed long ago.
 */
#ifndef DAG_ETCD_VIEW_H
#define DAG_ETCD_VIEW_H

#include "daemon/group/engine.h"
#include "daemon/group/etcd_json.h"

#define VIEW_HOSTS_MAX	64
#define VIEW_KEY_MAX	160

/* What a change touched. */
#define VIEW_STATE	0x1
#define VIEW_LEASES	0x2

struct etcd_view {
	char uuid[37];
	uint64_t cluster;		/* of etcd; 0: not known yet */
	uint64_t revision;		/* everything up to here is in */
	uint64_t generation;
	uint64_t least;			/* generation that answers must be of; 0: any */
	struct group_state gs;
	uint64_t group_mod;
	uint64_t store_mod[GROUP_STORES_MAX];	/* by index of gs.stores */
	unsigned nr_hosts;
	struct engine_host *hosts;	/* VIEW_HOSTS_MAX */
};

int etcd_view_init(struct etcd_view *vw);
void etcd_view_free(struct etcd_view *vw);

/* Keys of a group. name: of a host; NULL: the beginning of all. */
void etcd_key(const char *uuid, const char *what, const char *name, char ret[VIEW_KEY_MAX]);
void etcd_key_store(const char *uuid, const uint8_t store[16], char ret[VIEW_KEY_MAX]);
/* All keys of a group, or all that begin with what/: [from, to). */
void etcd_key_range(const char *uuid, const char *what, char from[VIEW_KEY_MAX],
		    char to[VIEW_KEY_MAX]);

/* Values; tag: tells a writer its own write from another's. Malloc'ed. */
char *etcd_group_value(const struct group_state *gs, const char *tag);
char *etcd_store_value(const struct group_store *st, const char *tag);
char *etcd_lease_value(uint64_t count, uint32_t lease_ms, bool released, const struct engine_fact *facts, unsigned nr);

/* One key; seen_ns: CLOCK_BOOTTIME now. Bits of what changed; -EBADMSG and err. */
int etcd_view_take(struct etcd_view *vw, const struct etcd_kv *kv, uint64_t seen_ns, char *err,
		   size_t errlen);
/*
 * The answer to a range over all keys of the group, changed since vw->revision + 1
 * or (full) all of them. -EREMCHG: of another cluster: ask for all. -ENODATA: it does
 * not hold the group. -ESTALE: of an older generation of it, or below `least`. On failure some keys may
 * have been taken, which is harmless, and the revision is what it was.
 */
int etcd_view_read(struct etcd_view *vw, const struct etcd_reply *rp, bool full, uint64_t seen_ns,
		   char *err, size_t errlen);
struct engine_host *etcd_view_host(struct etcd_view *vw, const char *member);
uint64_t etcd_view_store_mod(struct etcd_view *vw, const uint8_t uuid[16]);

#endif
