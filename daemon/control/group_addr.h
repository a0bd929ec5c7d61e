/* SPDX-License-Identifier: GPL-2.0 */
/*
 * group_addr - the address of the group itself, on the member that is its manager
 * and holds its lease (with the file engine: on the founder).
 */
#ifndef DAG_GROUP_ADDR_H
#define DAG_GROUP_ADDR_H

#include "daemon/group/state.h"

struct control;
struct stepper;

/* The state or the lease changed; called by one thread. NULL: in no group. Never waits. */
void group_addr_apply(struct control *ct, const struct group_state *gs);
/* Takes it off: another member is the manager soon. */
void group_addr_stop(struct control *ct);

#endif
