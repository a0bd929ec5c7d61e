/* SPDX-License-Identifier: GPL-2.0 */
/* What takeover.c (the phases) and takeover_choose.c (who wins) share. */
#ifndef DAG_TAKEOVER_INT_H
#define DAG_TAKEOVER_INT_H

#include "daemon/group/takeover.h"

bool takeover_lives_on(const struct group_store *st, const char *host);
/* A store of the host, nobody asked yet. */
void takeover_fill(const struct takeover *t, struct takeover_store *ts, const struct takeover_view *v,
		   const struct group_store *st);
/* A copy promised and says this of itself. */
void takeover_report(struct candidate *c, const struct candidate *report);
/* Winner and source of stores[i], after those before it; -1: none. */
void takeover_choose(struct takeover *t, unsigned i);

#endif
