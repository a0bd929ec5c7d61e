/* SPDX-License-Identifier: GPL-2.0 */
/*
 * manager - watches the other hosts' leases and takes over the stores of one that
 * is gone: the shell around group/takeover.h (what), group/dac.h (may we) and the
 * members' RPC (how). Every member runs it; the one that the group calls its
 * manager acts first, the others after it by rank, the engine's transaction decides.
 *
 * One thread steps the state machines; promises and fetches go to a few workers, so
 * that a silent member holds nobody up. With an engine without a quorum it is idle.
 */
#ifndef DAG_MANAGER_H
#define DAG_MANAGER_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

struct control;
struct manager;
struct renewal;
struct group_state;

int manager_start(struct control *ct, struct renewal *rn, struct manager **ret);
void manager_stop(struct manager *mg);
/*
 * `from` gives the manager's role up: another member that lives takes it by agreement.
 * 0 too where it does not have the role, or nobody is there to take it.
 */
int manager_give(struct manager *mg, const char *from, char *err, size_t errlen);
/* The same for this member, which takes no role any more: the daemon stops. */
void manager_leave(struct manager *mg);
/* The agreed state changed. */
void manager_apply(struct manager *mg, const struct group_state *gs);
/* A member said which generation it is in and whether it may activate. */
void manager_heard(struct manager *mg, const char *member, uint64_t generation, bool dac);
/* What we say ourselves. */
void manager_dac(struct manager *mg, uint64_t *ret_generation, bool *ret_bit);
/* A person says that the group has not gone on elsewhere. */
void manager_confirm(struct manager *mg);
/* Did the activation mode let stores be activated? Always, without a quorum. */
bool manager_allows(struct manager *mg);
/* Grows with each turn of the thread. */
unsigned long manager_turns(struct manager *mg);
/* For status: manager, dac, own lease, and per host what is watched. */
struct json_object *manager_status(struct manager *mg);

#endif
