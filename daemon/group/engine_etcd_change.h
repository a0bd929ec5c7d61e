/* SPDX-License-Identifier: GPL-2.0 */
/*
 * engine_etcd_change - one change of the agreed state in the making: read the newest,
 * edit a copy, commit it if what was read still stands.
 *
 * Each value carries a tag of its writer, new for each commit. An attempt that got no
 * answer is repeated as it is: it compares the same revisions, so at most one of the
 * attempts takes effect, and once one of them has been answered none can come in any
 * more. If the comparison fails and the value that is there is the one that was sent,
 * an earlier attempt was it.
 */
#ifndef DAG_ENGINE_ETCD_CHANGE_H
#define DAG_ENGINE_ETCD_CHANGE_H

#include "daemon/group/engine_etcd_int.h"

struct put {
	char key[VIEW_KEY_MAX];
	char *value;
	bool tagged;			/* nobody else can have written this value */
};

/* One change in the making. */
struct change {
	struct engine_etcd *ee;
	struct etcd_http *eh;
	struct etcd_view at;		/* uuid, cluster, generation and mods it is based on */
	struct group_state gs;		/* the copy that is edited */
	uint64_t revision;		/* everything up to here is in it */
	uint64_t end_ns;
	struct etcd_txn *tx;
	unsigned nr_puts;
	struct put *puts;		/* GROUP_STORES_MAX + 1 */
	bool unsure;			/* an attempt may still come in */
	char *err;
	size_t errlen;
};

/*
 * Read, edit, commit, again where others were faster. edit() changes ch->gs, says what
 * must still stand (change_if_*) and what is to be written (change_put*); what it returns
 * other than 0 is passed on. -EBUSY: others are faster all the time. -EAGAIN: it may have
 * been made or not. -EHOSTUNREACH: not made. err says why.
 */
int change_run(struct engine_etcd *ee, int (*edit)(struct change *ch, void *ctx), void *ctx,
	       char *err, size_t errlen);

/* Returns r, with `what` for err unless there is a reason already. */
int change_fail(struct change *ch, int r, const char *what);
void change_if_generation(struct change *ch);
void change_if_group(struct change *ch);
void change_if_stores(struct change *ch);	/* none of them */
void change_if_store(struct change *ch, const struct group_store *st);
/* Takes over value. */
int change_put(struct change *ch, const char *key, char *value);
/* What could not be read again is not written. */
int change_put_group(struct change *ch);
int change_put_store(struct change *ch, const struct group_store *st);

#endif
