// SPDX-License-Identifier: GPL-2.0
/* Disks: a write takes its time, may fail, and may be torn by a crash. */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

unsigned disk_error, disk_stall;

uint64_t disk_ns(int host)
{
	if (permille(disk_stall))
		return between(50 * MS, 1500 * MS);
	return between(80000, 2 * MS);
}

int disk_rc(int host)
{
	return permille(disk_error) ? -EIO : 0;
}

void slots_init(struct slots *s, const uint8_t uuid[16])
{
	struct copystate_data d = { .version = 1 };

	memset(s, 0, sizeof(*s));
	memcpy(d.uuid, uuid, 16);
	copystate_encode(&d, s->block[0]);
	copystate_encode(&d, s->block[1]);
}

void slots_read(const struct slots *s, const uint8_t uuid[16], struct copystate_data *ret)
{
	unsigned slot;

	if (copystate_pick(s->block, uuid, ret, &slot))
		violation("the state of a copy cannot be read");
}

void slots_begin(struct slots *s, const struct copystate_data *next)
{
	s->next = *next;
	s->writing = true;
}

void slots_end(struct slots *s)
{
	struct copystate_data d;

	slots_read(s, s->next.uuid, &d);
	s->next.version = d.version + 1;
	s->slot = !s->slot;
	copystate_encode(&s->next, s->block[s->slot]);
	s->writing = false;
	s->promised = s->next.promised_epoch;
}

void slots_crash(struct slots *s)
{
	uint8_t was[COPYSTATE_BLOCK];
	struct copystate_data d;
	unsigned slot;
	uint64_t n;

	if (!s->writing)
		return;
	slot = !s->slot;
	memcpy(was, s->block[slot], sizeof(was));
	slots_end(s);
	n = chance(9) * (COPYSTATE_BLOCK / 8);	/* sectors that got there */
	memcpy(s->block[slot] + n, was + n, sizeof(was) - n);
	/* The next write must not hit the good one: find out which that is. */
	if (copystate_pick(s->block, s->next.uuid, &d, &slot))
		violation("a crash has destroyed the state of a copy");
	s->slot = slot;
	s->promised = d.promised_epoch;
}
