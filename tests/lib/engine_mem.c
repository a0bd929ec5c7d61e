// SPDX-License-Identifier: GPL-2.0
#include "tests/lib/engine_mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static struct engine_mem *of(struct engine *en)
{
	return (struct engine_mem *)en;
}

static void tell(struct engine *en)
{
	if (en->changed && !of(en)->silent)
		en->changed(en->ctx);
}

static int mem_snapshot(struct engine *en, struct group_state *ret)
{
	struct engine_mem *em = of(en);
	int rc;

	pthread_mutex_lock(&em->lock);
	rc = group_state_copy(ret, &em->gs);
	pthread_mutex_unlock(&em->lock);
	return rc;
}

static int mem_txn_group(struct engine *en, int (*edit)(struct group_state *gs, void *ctx), void *ctx,
			 char *err, size_t errlen)
{
	struct engine_mem *em = of(en);
	int rc;

	pthread_mutex_lock(&em->lock);
	rc = edit(&em->gs, ctx);
	if (!rc)
		em->gs.version++;
	pthread_mutex_unlock(&em->lock);
	if (!rc)
		tell(en);
	return rc;
}

static int edit_store(struct engine_mem *em, const uint8_t uuid[16], uint32_t epoch,
		      int (*edit)(struct group_store *st, void *ctx), void *ctx,
		      char *err, size_t errlen)
{
	struct group_store *st = group_find_store_uuid(&em->gs, uuid);
	struct group_store next;
	int rc;

	if (em->refuse) {
		em->refuse--;
		snprintf(err, errlen, "refused by the test");
		return -EAGAIN;
	}
	if (!st && !epoch)
		st = group_add_store(&em->gs, uuid);
	if (!st)
		return -ENOENT;
	if (st->epoch != epoch) {
		snprintf(err, errlen, "epoch is %u, not %u", st->epoch, epoch);
		return -ESTALE;
	}
	next = *st;
	rc = edit(&next, ctx);
	if (!rc) {
		next.version++;
		*st = next;
	}
	return rc;
}

static int mem_txn_store(struct engine *en, const uint8_t uuid[16], uint32_t epoch,
			 int (*edit)(struct group_store *st, void *ctx), void *ctx,
			 char *err, size_t errlen)
{
	struct engine_mem *em = of(en);
	bool lost = false;
	int rc;

	if (em->slow_ms)
		nanosleep(&(struct timespec){ .tv_sec = em->slow_ms / 1000,
					      .tv_nsec = em->slow_ms % 1000 * 1000000L }, NULL);
	pthread_mutex_lock(&em->lock);
	rc = edit_store(em, uuid, epoch, edit, ctx, err, errlen);
	if (!rc && em->ambiguous) {
		em->ambiguous--;
		lost = true;
	}
	pthread_mutex_unlock(&em->lock);
	if (!rc)
		tell(en);
	return lost ? -EAGAIN : rc;
}

static int mem_learn(struct engine *en, const struct group_state *from)
{
	return 0;
}

static int mem_forget(struct engine *en, bool refused)
{
	return -EBUSY;
}

static int mem_renew(struct engine *en, uint64_t *ret_deadline_boot_ns, uint64_t *ret_fence)
{
	*ret_deadline_boot_ns = DAGTAP_LEASE_FOREVER;
	*ret_fence = 1;
	return 0;
}

static void mem_close(struct engine *en)
{
}

static const struct engine_ops mem_ops = {
	.name = "memory",
	.snapshot = mem_snapshot,
	.txn_group = mem_txn_group,
	.txn_store = mem_txn_store,
	.learn = mem_learn,
	.forget = mem_forget,
	.renew = mem_renew,
	.close = mem_close,
};

int engine_mem_init(struct engine_mem *em)
{
	memset(em, 0, sizeof(*em));
	em->engine.ops = &mem_ops;
	pthread_mutex_init(&em->lock, NULL);
	return group_state_init(&em->gs);
}

void engine_mem_free(struct engine_mem *em)
{
	group_state_free(&em->gs);
	pthread_mutex_destroy(&em->lock);
}
