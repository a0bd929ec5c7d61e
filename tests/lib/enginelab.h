/* SPDX-License-Identifier: GPL-2.0 */
/*
 * enginelab - edits of an agreed state and looks at it, for tests of an engine with
 * members node1, node2, … and stores with three copies.
 */
#ifndef DAG_ENGINELAB_H
#define DAG_ENGINELAB_H

#include "daemon/group/engine.h"

/* An edit of a store; one that is new gets three copies and this name. */
struct store_edit {
	const char *name, *active;	/* active NULL: as it is */
	uint32_t epoch_add;
};

int enginelab_edit_store(struct group_store *st, void *ctx);
int enginelab_make_store(struct engine *en, const uint8_t uuid[16], const char *name,
			 const char *active);
/* A change of the group that adds one to *(int *)ctx for each call. */
int enginelab_edit_group(struct group_state *gs, void *ctx);
/* ctx: name of a member that is to go. */
int enginelab_edit_remove(struct group_state *gs, void *ctx);
/* Claim the one store of node1 with this uuid for `who`. */
int enginelab_claim(struct engine *en, const struct engine_claim *cl, const uint8_t uuid[16],
		    const char *who);

/* What a snapshot says; the test ends where there is none. */
struct group_store enginelab_store(struct engine *en, const uint8_t uuid[16]);
uint64_t enginelab_version(struct engine *en, bool *ret_unconfirmed);
/* All 0: it knows nothing of the member's lease. */
struct engine_host enginelab_host(struct engine *en, const char *member);

#endif
