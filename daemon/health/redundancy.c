// SPDX-License-Identifier: GPL-2.0
#include "daemon/health/redundancy.h"

#include <stddef.h>
#include <string.h>

bool redundancy_alert(const struct redundancy *r, uint64_t now_ms, uint64_t after_ms)
{
	return r->below && now_ms - r->since_ms >= after_ms;
}

enum redundancy_event redundancy_note(struct redundancy *r, unsigned healthy, uint64_t now_ms,
				      uint64_t after_ms, uint64_t repeat_ms, bool speaks)
{
	bool alerted = r->alerted;

	r->healthy = healthy;
	if (healthy >= REDUNDANCY_COPIES) {
		memset(r, 0, sizeof(*r));
		r->healthy = healthy;
		return alerted ? REDUNDANCY_MENDED : REDUNDANCY_NOTHING;
	}
	if (!r->below) {
		r->below = true;
		r->since_ms = now_ms;
	}
	if (!speaks) {
		r->alerted = false;
		return REDUNDANCY_NOTHING;
	}
	if (!redundancy_alert(r, now_ms, after_ms) || (alerted && now_ms - r->said_ms < repeat_ms))
		return REDUNDANCY_NOTHING;
	r->alerted = true;
	r->said_ms = now_ms;
	return alerted ? REDUNDANCY_AGAIN : REDUNDANCY_ALERT;
}

const char *redundancy_speaker(const struct group_store *st, bool (*answers)(void *ctx,
			       const char *member), void *ctx)
{
	if (st->active[0] && answers(ctx, st->active))
		return st->active;
	for (uint32_t i = 0; i < st->nr_copies; i++)
		if (answers(ctx, st->copies[i].member))
			return st->copies[i].member;
	return NULL;
}
