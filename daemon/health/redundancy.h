/* SPDX-License-Identifier: GPL-2.0 */
/*
 * redundancy - when to say that a store has too few healthy copies (semantics 37):
 * fewer than 2 for 20 minutes, again each 15, and once when it is mended. Pure.
 *
 * Every member that holds a copy counts the time; one speaks, so that each alert is
 * said once, and another goes on with it when that one is gone.
 */
#ifndef DAG_REDUNDANCY_H
#define DAG_REDUNDANCY_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/state.h"

#define REDUNDANCY_COPIES	2
#define REDUNDANCY_AFTER_S	1200
#define REDUNDANCY_REPEAT_S	900

enum redundancy_event {
	REDUNDANCY_NOTHING,
	REDUNDANCY_ALERT,
	REDUNDANCY_AGAIN,
	REDUNDANCY_MENDED,
};

struct redundancy {
	bool below;			/* fewer than enough, since since_ms */
	bool alerted;			/* and this member has said so, at said_ms last */
	unsigned healthy;
	uint64_t since_ms, said_ms;
};

/* So many are healthy at now_ms (any clock that does not jump). speaks: it is this
 * member's part to say it. */
enum redundancy_event redundancy_note(struct redundancy *r, unsigned healthy, uint64_t now_ms,
				      uint64_t after_ms, uint64_t repeat_ms, bool speaks);
/* Too few for so long that somebody says so? */
bool redundancy_alert(const struct redundancy *r, uint64_t now_ms, uint64_t after_ms);

/* Who speaks for a store: its active member, or else the first that holds a copy and
 * answers. answers(): as this member sees it; NULL: nobody does. */
const char *redundancy_speaker(const struct group_store *st, bool (*answers)(void *ctx,
			       const char *member), void *ctx);

#endif
