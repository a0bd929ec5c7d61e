/* SPDX-License-Identifier: GPL-2.0 */
/*
 * stopmarks - whom a person has called lost while nothing could be agreed on
 * (group stop --configuration-only without a majority). In STATE_DIR/stopped.json, of
 * one generation; read by a restore on this member, and by nothing else.
 */
#ifndef DAG_STOPMARKS_H
#define DAG_STOPMARKS_H

#include <stdbool.h>

#include "daemon/group/state.h"

/* Sets those that are marked, by index of gs->members; the others stay as they are. */
void stopmarks_load(const char *state_dir, const struct group_state *gs, bool *marked);
/* Durable when 0 is returned. */
int stopmarks_save(const char *state_dir, const struct group_state *gs, const bool *marked);
void stopmarks_clear(const char *state_dir);

#endif
