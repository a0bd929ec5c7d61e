// SPDX-License-Identifier: GPL-2.0
#include "daemon/health/others.h"

#include <stdio.h>
#include <string.h>

static bool last_known(const struct others *o, const char *member, uint64_t *ret_lsn)
{
	for (unsigned i = 0; i < o->nr; i++) {
		if (strcmp(o->last[i].member, member))
			continue;
		*ret_lsn = o->last[i].lsn;
		return true;
	}
	return false;
}

uint64_t others_low(struct others *o, const struct other_copy *list, unsigned n, uint64_t quota_bytes)
{
	struct others now = { .nr = 0 };
	uint64_t low = UINT64_MAX;

	for (unsigned i = 0; i < n && now.nr < GROUP_MEMBERS_MAX; i++) {
		const struct other_copy *c = &list[i];
		uint64_t lsn = c->lsn;

		if (c->self || c->active)
			continue;
		if (!c->known && !last_known(o, c->member, &lsn))
			continue;
		snprintf(now.last[now.nr].member, sizeof(now.last[0].member), "%s", c->member);
		now.last[now.nr++].lsn = lsn;
		if ((c->known && !c->suspended) || quota_bytes)
			low = lsn < low ? lsn : low;
	}
	*o = now;
	return low;
}

bool others_few(struct lag_copies *c, const struct other_copy *list, unsigned n, uint64_t now_ms,
		uint64_t after_ms)
{
	unsigned healthy = 0, configured = 0, answer = 0, others = 0;

	for (unsigned i = 0; i < n; i++) {
		others += !list[i].self;
		answer += !list[i].self && list[i].answers;
		if (list[i].lagged)
			continue;
		configured++;
		healthy += list[i].healthy;
	}
	if (others && !answer) {
		c->below = false;
		return false;
	}
	return lag_copies_few(c, healthy, configured, now_ms, after_ms);
}
