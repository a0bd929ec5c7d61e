/* SPDX-License-Identifier: GPL-2.0 */
/*
 * handover - a store that is active here and should not be: its disk fails, the
 * activation's steps failed, or the member lost its client network. Nothing has to be
 * waited for, since this host lives: a planned move to the best candidate, lossless.
 * If nobody is eligible the store stays, the reason is said, and it is tried again.
 */
#ifndef DAG_HANDOVER_H
#define DAG_HANDOVER_H

#include <stdint.h>

struct control;
struct handover;

int handover_start(struct control *ct, struct handover **ret);
void handover_stop(struct handover *ho);
/* Someone found out that this store must go; text for the history. Never waits. */
void handover_ask(struct handover *ho, const uint8_t uuid[16], const char *reason);

#endif
