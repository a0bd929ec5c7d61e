/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DAG_TAKEOVER_TELL_H
#define DAG_TAKEOVER_TELL_H

struct group_state;
struct history;
struct takeover;
struct takeover_store;

/*
 * Into the history and the log, what a take-over came to for one store: who was taken,
 * who was not and why, LSNs, bytes lost, and how long each step took.
 */
void takeover_tell(struct history *h, struct group_state *gs, const struct takeover *t,
		   const struct takeover_store *ts);

#endif
