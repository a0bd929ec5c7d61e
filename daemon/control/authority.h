/* SPDX-License-Identifier: GPL-2.0 */
/*
 * authority - who may sign and revoke certificates of the group, and what is revoked.
 *
 * In a group with a quorum every full member holds the key of the group's CA: it asks
 * for it, after its join, another one that holds it, over a connection of its own that
 * is TLS whatever the policy is, both ends authenticated as members. The witness never
 * gets it, and where the engine is a file the founder keeps it alone, because only it
 * changes the members there.
 *
 * A1  The key leaves a member only to a full member of the agreed state, over TLS.
 * A2  What is revoked stands in the agreed state, signed by the CA, in the transaction
 *     that removes its owner.
 * A3  Our own ports refuse by that list as soon as this member knows it. etcd refuses by
 *     crl.pem, which follows when the owner has no vote in etcd any more: until then the
 *     others may need that vote.
 */
#ifndef DAG_AUTHORITY_H
#define DAG_AUTHORITY_H

#include <stdbool.h>

#include "daemon/group/state.h"

struct control;
struct group_member;
struct rpc_call;

bool authority_held(const struct control *ct);
/* Where what needs it is to be done: "" is here, or nowhere. */
void authority_place(struct control *ct, struct group_state *gs, char ret[64]);
/* A peer says that it holds it: take it from there if this member is to hold it too. */
void authority_fetch(struct control *ct, const struct group_member *from);

/* Within an edit of the state: revoke this serial (""; not known: nothing). 0 or -errno,
 * the state is as it was then. */
int authority_revoke(const struct control *ct, struct group_state *gs, const char *serial);
/* The list of a state that is confirmed, for our own handshakes. The apply thread. */
void authority_apply(struct control *ct, const struct group_state *gs);
/* crl.pem; settled: etcd counts nobody who is not in this state. */
void authority_store(struct control *ct, const struct group_state *gs, bool settled);

#endif
