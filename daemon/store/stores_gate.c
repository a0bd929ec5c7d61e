// SPDX-License-Identifier: GPL-2.0
/*
 * stores_gate - a store that is agreed to be active here and whose gate does not open:
 * what its module, device or copy is made of refuses. Nothing was written in its epoch,
 * so whoever has all that it begins with may have it (control/pass_on.h).
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/store/active_internal.h"
#include "daemon/store/local_internal.h"
#include "daemon/store/stores_internal.h"

#define GATE_MS		2000	/* tried again for so long before it counts */

unsigned stores_gates_failed(struct stores *ss, struct stores_failure *ret, unsigned max)
{
	uint64_t now = active_now_ms();
	unsigned n = 0;

	pthread_rwlock_rdlock(&ss->lock);
	for (int i = 0; i < GROUP_STORES_MAX && n < max; i++) {
		struct local *lo = ss->local[i];
		struct group_store *st = lo ? group_find_store_uuid(&ss->gs, lo->uuid) : NULL;

		if (!st || st->removed || strcmp(st->active, ss->self) || lo->role == LOCAL_ACTIVE ||
		    !lo->gate_since_ms || lo->gate_epoch != st->epoch || now - lo->gate_since_ms < GATE_MS)
			continue;
		memset(&ret[n], 0, sizeof(ret[n]));
		memcpy(ret[n].uuid, lo->uuid, 16);
		ret[n].epoch = st->epoch;
		snprintf(ret[n].reason, sizeof(ret[n].reason), "it does not open on %.63s: %s: %s",
			 ss->self, lo->error_text, strerror(-lo->error));
		n++;
	}
	pthread_rwlock_unlock(&ss->lock);
	return n;
}

int stores_bar(struct stores *ss, const uint8_t uuid[16], uint32_t epoch)
{
	struct local *lo;
	int rc = -EBUSY;

	/* the manager is not between "may it open" and the module's answer then */
	pthread_rwlock_wrlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (lo && lo->role != LOCAL_ACTIVE && !lo->active && stores_gate_shut(ss, lo) &&
	    local_never_opened(lo, epoch)) {
		lo->barred = epoch;
		rc = 0;
	}
	pthread_rwlock_unlock(&ss->lock);
	return rc;
}

void stores_unbar(struct stores *ss, const uint8_t uuid[16], bool passed)
{
	struct local *lo;

	pthread_rwlock_wrlock(&ss->lock);
	lo = stores_find(ss, uuid);
	if (lo && passed)
		attempt_failed(&lo->gate, ss->conf.step_retry_ms, active_now_ms());
	if (lo && !passed)
		lo->barred = 0;
	pthread_rwlock_unlock(&ss->lock);
}
