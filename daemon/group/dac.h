/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dac - datacenter activation mode (semantics 9): a member that starts activates
 * nothing until it knows that the group has not gone on without it. Pure.
 *
 * The bit is in memory and 0 at start. It becomes 1 when a member (or the witness)
 * with bit 1 of the same, and the highest heard, generation is met; or when every
 * member that is not stopped, and the witness if there is one, has been heard since
 * the start and none shows a higher generation; or when a person confirms. It
 * becomes 0 again when a higher generation is heard. Invariant I13 of the group:
 * no activation with bit 0, none in an older generation.
 */
#ifndef DAG_DAC_H
#define DAG_DAC_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/state.h"

struct dac {
	bool bit;
	bool off;			/* no_dac: bit counts as 1 */
	uint64_t generation;		/* ours */
	uint64_t highest;		/* heard */
	uint32_t nr_heard;
	char heard[GROUP_MEMBERS_MAX + 1][64];
	char why[160];			/* of the bit's value, for people */
};

void dac_init(struct dac *d, uint64_t generation, bool off);
/* A message of `member` said (generation, bit). */
void dac_heard(struct dac *d, const char *member, uint64_t generation, bool bit);
/* Our own agreed state: who belongs to the group. Call after each change and dac_heard(). */
void dac_update(struct dac *d, const struct group_state *gs, const char *self);
void dac_confirm(struct dac *d);	/* by a person */
bool dac_may_activate(const struct dac *d);

#endif
