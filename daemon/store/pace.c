// SPDX-License-Identifier: GPL-2.0
#include "daemon/store/pace.h"

#define BURST_MS	100
#define PIECE_ALIGN	4096u		/* of any logical block size */
#define PIECE_MIN	(64u << 10)
#define METER_MS	5000
/* No sum overflows below it, and no device is faster. */
#define RATE_MAX	(1ull << 40)

static int64_t burst(const struct pace *p)
{
	return (int64_t)(p->rate * BURST_MS);
}

/* What has come in since. A long pause brings no more than the bucket holds. */
static void fill(struct pace *p, uint64_t now_ms)
{
	uint64_t ms = now_ms > p->then_ms ? now_ms - p->then_ms : 0;
	int64_t lacks = burst(p) - p->credit;

	p->then_ms = now_ms;
	if (lacks <= 0 || ms >= (uint64_t)lacks / p->rate + 1)
		p->credit = burst(p);
	else
		p->credit += (int64_t)(ms * p->rate);
}

void pace_set(struct pace *p, uint64_t rate, uint64_t now_ms)
{
	if (rate > RATE_MAX)
		rate = 0;
	if (rate == p->rate)
		return;
	if (p->rate)
		fill(p, now_ms);
	else
		p->credit = 0;
	p->rate = rate;
	p->then_ms = now_ms;
	if (p->credit > burst(p))
		p->credit = burst(p);
}

uint64_t pace_wait_ms(struct pace *p, uint64_t now_ms)
{
	if (!p->rate)
		return 0;
	fill(p, now_ms);
	return p->credit >= 0 ? 0 : ((uint64_t)-p->credit + p->rate - 1) / p->rate;
}

void pace_take(struct pace *p, uint64_t bytes)
{
	if (p->rate)
		p->credit -= (int64_t)(bytes * 1000);
}

uint64_t pace_piece(const struct pace *p, uint64_t max)
{
	uint64_t n = p->rate / (1000 / BURST_MS);

	if (!p->rate || n >= max)
		return max;
	n -= n % PIECE_ALIGN;
	return n < PIECE_MIN ? PIECE_MIN : n;
}

void meter_begin(struct meter *m, uint64_t now_ms)
{
	*m = (struct meter){ .older_ms = now_ms, .newer_ms = now_ms };
}

void meter_note(struct meter *m, uint64_t at, uint64_t now_ms)
{
	if (now_ms < m->newer_ms + METER_MS)
		return;
	m->older_ms = m->newer_ms;
	m->older_at = m->newer_at;
	m->newer_ms = now_ms;
	m->newer_at = at;
}

double meter_rate(const struct meter *m, uint64_t at, uint64_t now_ms)
{
	if (now_ms <= m->older_ms || at <= m->older_at)
		return 0;
	return 1000.0 * (double)(at - m->older_at) / (double)(now_ms - m->older_ms);
}
