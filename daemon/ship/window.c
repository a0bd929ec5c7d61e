// SPDX-License-Identifier: GPL-2.0
#include "daemon/ship/window.h"

#include <errno.h>
#include <string.h>

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void window_init(struct window *w, uint64_t freed, uint64_t commit)
{
	memset(w, 0, sizeof(*w));
	w->freed = freed;
	w->commit = commit;
	w->spooled = freed;
	w->acked = freed;
	w->cleared = 0;
	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		window_forget(w, i);
}

void window_begin(struct window *w, unsigned i, uint64_t lsn, uint64_t durable, uint64_t replayed,
		  uint64_t since)
{
	struct window_copy *c = &w->copy[i];

	c->known = true;
	c->given_up = false;
	c->received = lsn;
	c->durable = durable;
	c->replayed = replayed;
	c->late_since_ms = 0;
	c->stands = false;
	if (since == WINDOW_NONE && lsn <= w->gap)
		since = max64(lsn, w->gap_since);
	c->missing = since != WINDOW_NONE;
	c->missing_since = c->missing ? since : 0;
}

void window_gap(struct window *w, uint64_t since, uint64_t lsn)
{
	if (!w->gap)
		w->gap_since = since;
	w->gap = lsn;
	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		struct window_copy *c = &w->copy[i];

		if (!c->in_use)
			continue;
		if (!c->missing || c->missing_since > since)
			c->missing_since = since;
		c->missing = true;
	}
}

void window_healthy(struct window *w, unsigned i)
{
	struct window_copy *c = &w->copy[i];

	if (c->received > w->gap)
		c->missing = false;
}

void window_forget(struct window *w, unsigned i)
{
	memset(&w->copy[i], 0, sizeof(w->copy[i]));
	w->copy[i].held = w->copy[i].promised = WINDOW_NONE;
}

uint64_t window_free_lsn(const struct window *w)
{
	uint64_t need = w->commit, held = WINDOW_NONE;

	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		const struct window_copy *c = &w->copy[i];

		held = min64(held, c->held);
		need = min64(need, c->promised);
		if (!c->in_use || c->given_up)
			continue;
		need = min64(need, c->known ? c->durable : 0);
	}
	need = max64(need, min64(w->spooled, w->commit));	/* W1 */
	return max64(w->freed, min64(need, held));		/* W2 */
}

unsigned window_in_sync(const struct window *w)
{
	unsigned n = 0;

	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		n += w->copy[i].in_use && w->copy[i].in_sync && !w->copy[i].joining;
	return n;
}

/* What the copy has without a hole; 0 while it has not reported. */
static uint64_t whole(const struct window_copy *c, uint64_t lsn)
{
	if (!c->known)
		return 0;
	return c->missing ? min64(lsn, c->missing_since) : lsn;
}

static uint64_t commit_have(const struct window *w, const struct window_copy *c)
{
	return whole(c, w->ack_durable ? c->durable : c->received);
}

uint64_t window_ack_lsn(const struct window *w)
{
	uint64_t lsn = w->commit;

	if (!w->commit_mode)
		return max64(w->acked, w->commit);
	if (window_in_sync(w) < w->min_in_sync)
		return w->acked;
	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		if (w->copy[i].in_use && w->copy[i].in_sync)
			lsn = min64(lsn, commit_have(w, &w->copy[i]));
	return max64(w->acked, lsn);
}

uint64_t window_clear_lsn(const struct window *w)
{
	uint64_t lsn = w->commit;

	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		if (w->copy[i].in_use)
			lsn = min64(lsn, whole(&w->copy[i], w->copy[i].durable));
	return max64(w->cleared, lsn);
}

int window_report(struct window *w, unsigned i, uint64_t received, uint64_t durable, uint64_t replayed)
{
	struct window_copy *c = &w->copy[i];

	if (received > w->commit || durable > received || replayed > durable)
		return -EPROTO;
	if (c->known && (received < c->received || durable < c->durable ||
			 replayed < c->replayed))
		return -EPROTO;
	if (!c->known || received > c->received || durable > c->durable)
		c->stands = false;
	c->known = true;
	c->received = received;
	c->durable = durable;
	c->replayed = replayed;
	return 0;
}

int window_late(struct window *w, uint64_t now_ms)
{
	int late = -1;

	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		struct window_copy *c = &w->copy[i];

		if (!w->commit_mode || !c->in_use || !c->in_sync ||
		    commit_have(w, c) >= w->commit) {
			c->late_since_ms = 0;
			continue;
		}
		/* Behind is no fault while it moves: late counts from a standstill,
		 * the caller clears late_since_ms at each report that moves. */
		if (!c->late_since_ms)
			c->late_since_ms = now_ms ? now_ms : 1;
		else if (late < 0 && now_ms - c->late_since_ms > w->late_ms_max &&
			 (c->joining || window_in_sync(w) > w->min_in_sync))
			late = i;
	}
	if (late >= 0)
		w->copy[late].stands = true;
	return late;
}

bool window_may_join(const struct window *w, unsigned i, uint64_t near)
{
	const struct window_copy *c = &w->copy[i];

	return c->in_use && c->known && !c->given_up && !c->missing && !c->stands &&
	       w->commit - c->durable <= near;
}

bool window_joined(const struct window *w, unsigned i)
{
	const struct window_copy *c = &w->copy[i];

	return c->in_use && c->in_sync && commit_have(w, c) >= w->acked;
}
