// SPDX-License-Identifier: GPL-2.0
/* The scheduler: events in order of (time, number), nothing else decides. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define EVENTS_MAX	65536
#define TRACE_MAX	200

struct event {
	uint64_t when, number;
	enum scope scope;
	int host;
	uint64_t inc;
	event_fn fn;
	void *arg;
	uint64_t a, b;
};

uint64_t now, events;
bool tracing;
char violated[256];

static struct event heap[EVENTS_MAX];
static unsigned nr_heap;
static uint64_t number, state, hash;
static char lines[TRACE_MAX][200];
static uint64_t nr_lines;

uint64_t chance(uint64_t below)
{
	/* xorshift64*, Vigna 2014 */
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return below ? (state * 0x2545f4914f6cdd1dull >> 11) % below : 0;
}

bool percent(unsigned p)
{
	return chance(100) < p;
}

bool permille(unsigned p)
{
	return chance(1000) < p;
}

uint64_t between(uint64_t lo, uint64_t hi)
{
	return lo + chance(hi - lo + 1);
}

void world_init(uint64_t seed)
{
	for (unsigned i = 0; i < nr_heap; i++)
		free(heap[i].arg);
	nr_heap = 0;
	now = events = number = nr_lines = 0;
	state = (seed + 1) * 0x9e3779b97f4a7c15ull | 1;
	hash = 0xcbf29ce484222325ull;
	violated[0] = 0;
	for (int i = 0; i < 8; i++)
		chance(1);
}

static bool earlier(const struct event *a, const struct event *b)
{
	return a->when != b->when ? a->when < b->when : a->number < b->number;
}

static void push(const struct event *e)
{
	unsigned i = nr_heap++;

	if (nr_heap > EVENTS_MAX) {
		fprintf(stderr, "sim: too many events\n");
		exit(2);
	}
	for (; i && earlier(e, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = *e;
}

static struct event pop(void)
{
	struct event top = heap[0], last = heap[--nr_heap];
	unsigned i = 0, k;

	while ((k = 2 * i + 1) < nr_heap) {
		if (k + 1 < nr_heap && earlier(&heap[k + 1], &heap[k]))
			k++;
		if (!earlier(&heap[k], &last))
			break;
		heap[i] = heap[k];
		i = k;
	}
	heap[i] = last;
	return top;
}

static uint64_t life(enum scope scope, int host)
{
	if (scope == SCOPE_WORLD)
		return 0;
	return scope == SCOPE_MODULE ? hosts[host].inc : hosts[host].dinc;
}

void at(uint64_t when, enum scope scope, int host, event_fn fn, void *arg, uint64_t a, uint64_t b)
{
	struct event e = { .when = when, .number = number++, .scope = scope, .host = host,
			   .fn = fn, .arg = arg, .a = a, .b = b };

	e.inc = life(scope, host);
	push(&e);
}

static uint64_t paused_until(const struct event *e)
{
	const struct host *h = &hosts[e->host];

	if (e->scope == SCOPE_WORLD)
		return 0;
	if (e->scope == SCOPE_DAEMON && h->daemon_paused_until > h->paused_until)
		return h->daemon_paused_until;
	return h->paused_until;
}

bool world_step(uint64_t until)
{
	struct event e;

	if (!nr_heap || heap[0].when > until)
		return false;
	e = pop();
	now = e.when;
	if (e.inc != life(e.scope, e.host)) {
		free(e.arg);
		return true;
	}
	if (paused_until(&e) > now) {
		e.when = paused_until(&e);
		e.number = number++;
		push(&e);
		return true;
	}
	events++;
	hash = (hash ^ (e.when + e.host)) * 0x100000001b3ull;
	e.fn(e.host, e.arg, e.a, e.b);
	free(e.arg);
	return true;
}

uint64_t world_hash(void)
{
	return hash ^ state;
}

void trace(const char *fmt, ...)
{
	char *line = lines[nr_lines++ % TRACE_MAX];
	va_list ap;
	int n;

	if (!tracing)
		return;
	n = snprintf(line, sizeof(lines[0]), "%10.3f ms ", now / 1e6);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(lines[0]) - n, fmt, ap);
	va_end(ap);
}

void trace_dump(void)
{
	uint64_t i = nr_lines > TRACE_MAX ? nr_lines - TRACE_MAX : 0;

	for (; i < nr_lines; i++)
		printf("%s\n", lines[i % TRACE_MAX]);
}

void violation(const char *fmt, ...)
{
	va_list ap;

	if (violated[0])
		return;
	va_start(ap, fmt);
	vsnprintf(violated, sizeof(violated), fmt, ap);
	va_end(ap);
	trace("VIOLATION %s", violated);
}
