/* SPDX-License-Identifier: GPL-2.0 */
/*
 * handover - a store that is active here and should not be: its disk fails, the
 * activation's steps failed, clients do not reach this member any more, or the daemon
 * is stopped. Nothing has to be waited for, since this host lives: a planned move to
 * the best candidate, lossless. A cause that has gone is forgotten.
 *
 * If nobody may take it the store stays and an alert says why, once, with the
 * candidates; it is looked at again after a while. Steps that failed are tried here
 * again only after their delay (store/attempt.h).
 */
#ifndef DAG_HANDOVER_H
#define DAG_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

struct control;
struct handover;

int handover_start(struct control *ct, struct handover **ret);
void handover_stop(struct handover *ho);
/* Steps that fail are somebody else's to deal with for so long (0: no longer): who
 * moved the store here takes it back. */
void handover_spare(struct handover *ho, const uint8_t uuid[16], unsigned ms);
/* The daemon stops: every store that can go goes, within about that time. */
void handover_leave(struct handover *ho, unsigned ms);

#endif
