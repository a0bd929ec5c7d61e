// SPDX-License-Identifier: GPL-2.0
#include "daemon/store/attempt.h"

#include <string.h>

void attempt_failed(struct attempt *at, uint32_t retry_ms, uint64_t now_ms)
{
	unsigned doublings = at->failures < ATTEMPT_DOUBLINGS ? at->failures : ATTEMPT_DOUBLINGS;

	at->failures += at->failures < UINT32_MAX;
	at->until_ms = now_ms + ((uint64_t)(retry_ms ? retry_ms : ATTEMPT_RETRY_MS) << doublings);
}

void attempt_clear(struct attempt *at)
{
	memset(at, 0, sizeof(*at));
}

uint64_t attempt_left_ms(const struct attempt *at, uint64_t now_ms)
{
	return at->until_ms > now_ms ? at->until_ms - now_ms : 0;
}
