// SPDX-License-Identifier: GPL-2.0
/*
 * resume: a table of histories, then a model of members whose logs really
 * diverge, in which each verdict is carried out and the images are compared.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ship/resume.h"

#define K 1024ull

struct row {
	const char *what;
	struct frame_hello hello;
	struct resume_copy copy;
	uint32_t nr_copy_history;
	struct frame_epoch copy_history[4];
	enum resume_verdict verdict;
	uint64_t from_lsn, cut_lsn;
	bool diverged;
};

#define HELLO(oldest, end, n, ...) \
	{ .epoch = 9, .oldest_lsn = oldest, .end_lsn = end, .nr_history = n, .history = { __VA_ARGS__ } }
#define COPY(have, end, ...) \
	{ .have_image = true, .have_lsn = have, .end_lsn = end, ##__VA_ARGS__ }

static const struct row rows[] = {
	{ "same epoch, behind",
	  HELLO(0, 90 * K, 1, { 1, 0 }), COPY(10 * K, 50 * K), 1, { { 1, 0 } },
	  RESUME_LOG, 50 * K, 50 * K, false },
	{ "same epoch, level",
	  HELLO(50 * K, 50 * K, 1, { 1, 0 }), COPY(50 * K, 50 * K), 1, { { 1, 0 } },
	  RESUME_LOG, 50 * K, 50 * K, false },
	{ "same epoch, a call from before what is here",
	  HELLO(0, 40 * K, 1, { 1, 0 }), COPY(10 * K, 50 * K), 1, { { 1, 0 } },
	  RESUME_STALE, 50 * K, 50 * K, false },
	{ "older epoch, contiguous",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 2, 60 * K }), COPY(10 * K, 50 * K), 1, { { 1, 0 } },
	  RESUME_LOG, 50 * K, 50 * K, false },
	{ "older epoch, level with its end",
	  HELLO(60 * K, 90 * K, 2, { 1, 0 }, { 2, 60 * K }), COPY(10 * K, 60 * K), 1, { { 1, 0 } },
	  RESUME_LOG, 60 * K, 60 * K, false },
	{ "the log is gone from the spool",
	  HELLO(70 * K, 90 * K, 1, { 1, 0 }), COPY(10 * K, 50 * K), 1, { { 1, 0 } },
	  RESUME_REGIONS, 90 * K, 50 * K, false },
	{ "LSN jump after a crash of the active",
	  HELLO(80 * K, 90 * K, 2, { 1, 0 }, { 2, 80 * K }), COPY(10 * K, 50 * K), 1, { { 1, 0 } },
	  RESUME_REGIONS, 90 * K, 50 * K, false },
	{ "diverged tail, only in the log",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 2, 40 * K }), COPY(30 * K, 50 * K), 1, { { 1, 0 } },
	  RESUME_LOG, 40 * K, 40 * K, false },
	{ "diverged tail, only in the log, by its own epoch",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 3, 40 * K }), COPY(30 * K, 50 * K), 2,
	  { { 1, 0 }, { 2, 35 * K } },
	  RESUME_LOG, 35 * K, 35 * K, false },
	{ "diverged image",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 2, 40 * K }), COPY(45 * K, 50 * K), 1, { { 1, 0 } },
	  RESUME_FULL, 90 * K, 45 * K, true },
	{ "diverged log whose good part is gone",
	  HELLO(45 * K, 90 * K, 2, { 1, 0 }, { 2, 40 * K }), COPY(30 * K, 50 * K), 1, { { 1, 0 } },
	  RESUME_REGIONS, 90 * K, 40 * K, false },
	{ "new copy",
	  HELLO(0, 90 * K, 1, { 1, 0 }), { 0 }, 0, { { 0 } },
	  RESUME_FULL, 90 * K, 0, false },
	{ "seed goes on",
	  HELLO(0, 90 * K, 1, { 1, 0 }), { .seeding = true, .end_lsn = 60 * K }, 1, { { 1, 0 } },
	  RESUME_LOG, 60 * K, 60 * K, false },
	{ "seed broken, no older image",
	  HELLO(70 * K, 90 * K, 1, { 1, 0 }), { .seeding = true, .end_lsn = 60 * K }, 1, { { 1, 0 } },
	  RESUME_FULL, 90 * K, 60 * K, false },
	{ "seed broken, older image stands",
	  HELLO(70 * K, 90 * K, 1, { 1, 0 }), COPY(20 * K, 60 * K, .seeding = true), 1, { { 1, 0 } },
	  RESUME_REGIONS, 90 * K, 60 * K, false },
	{ "seed broken while it was applied",
	  HELLO(70 * K, 90 * K, 1, { 1, 0 }), COPY(20 * K, 60 * K, .inconsistent = true), 1, { { 1, 0 } },
	  RESUME_FULL, 90 * K, 60 * K, false },
	{ "applying a seed, log goes on",
	  HELLO(0, 90 * K, 1, { 1, 0 }), COPY(20 * K, 60 * K, .inconsistent = true), 1, { { 1, 0 } },
	  RESUME_LOG, 60 * K, 60 * K, false },
	{ "applying a seed of which a part has diverged",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 2, 50 * K }), COPY(20 * K, 60 * K, .inconsistent = true), 1,
	  { { 1, 0 } },
	  RESUME_FULL, 90 * K, 60 * K, false },
	{ "seed in the log of which a part has diverged",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 2, 50 * K }), COPY(20 * K, 60 * K, .seeding = true), 1,
	  { { 1, 0 } },
	  RESUME_REGIONS, 90 * K, 50 * K, false },
	{ "truncated history: too old to tell",
	  HELLO(80 * K, 90 * K, 2, { 7, 70 * K }, { 8, 80 * K }), COPY(20 * K, 60 * K), 1, { { 1, 0 } },
	  RESUME_FULL, 90 * K, 20 * K, true },
	{ "truncated history, but the copy knows the oldest entry",
	  HELLO(70 * K, 90 * K, 2, { 7, 70 * K }, { 8, 80 * K }), COPY(20 * K, 75 * K), 2,
	  { { 1, 0 }, { 7, 70 * K } },
	  RESUME_LOG, 75 * K, 75 * K, false },
	{ "same number, another place: not the same epoch",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 2, 60 * K }), COPY(10 * K, 50 * K), 2,
	  { { 1, 0 }, { 2, 40 * K } },
	  RESUME_LOG, 40 * K, 40 * K, false },
	{ "an epoch is known to the copy before its first byte",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 3, 70 * K }), COPY(10 * K, 50 * K), 2,
	  { { 1, 0 }, { 2, 80 * K } },
	  RESUME_LOG, 50 * K, 50 * K, false },
	/* Epoch 2 began at 40 K with the log of another copy. */
	{ "third copy ahead of a take-over, in its log only",
	  HELLO(40 * K, 45 * K, 2, { 1, 0 }, { 2, 40 * K }), COPY(38 * K, 60 * K), 1, { { 1, 0 } },
	  RESUME_LOG, 40 * K, 40 * K, false },
	{ "third copy ahead of a take-over, on its device",
	  HELLO(40 * K, 90 * K, 2, { 1, 0 }, { 2, 40 * K }), COPY(60 * K, 60 * K), 1, { { 1, 0 } },
	  RESUME_FULL, 90 * K, 60 * K, true },
	{ "third copy ahead, and the new active is still shorter",
	  HELLO(40 * K, 41 * K, 2, { 1, 0 }, { 2, 40 * K }), COPY(60 * K, 60 * K), 1, { { 1, 0 } },
	  RESUME_FULL, 41 * K, 60 * K, true },
	{ "third copy behind a take-over",
	  HELLO(30 * K, 90 * K, 2, { 1, 0 }, { 2, 40 * K }), COPY(20 * K, 35 * K), 1, { { 1, 0 } },
	  RESUME_LOG, 35 * K, 35 * K, false },
	{ "third copy behind a take-over, and nobody has that log",
	  HELLO(40 * K, 90 * K, 2, { 1, 0 }, { 2, 40 * K }), COPY(20 * K, 35 * K), 1, { { 1, 0 } },
	  RESUME_REGIONS, 90 * K, 35 * K, false },
	{ "third copy level with a take-over",
	  HELLO(40 * K, 90 * K, 2, { 1, 0 }, { 2, 40 * K }), COPY(40 * K, 40 * K), 1, { { 1, 0 } },
	  RESUME_LOG, 40 * K, 40 * K, false },
	{ "two take-overs in a row, ahead of the first",
	  HELLO(40 * K, 90 * K, 3, { 1, 0 }, { 2, 40 * K }, { 3, 42 * K }), COPY(60 * K, 60 * K), 1,
	  { { 1, 0 } },
	  RESUME_FULL, 90 * K, 60 * K, true },
	{ "two take-overs in a row, ahead of the second only",
	  HELLO(40 * K, 90 * K, 3, { 1, 0 }, { 2, 40 * K }, { 3, 42 * K }), COPY(41 * K, 50 * K), 2,
	  { { 1, 0 }, { 2, 40 * K } },
	  RESUME_LOG, 42 * K, 42 * K, false },
	{ "two take-overs in a row, the first gave nothing and is in no history",
	  HELLO(40 * K, 90 * K, 2, { 1, 0 }, { 3, 40 * K }), COPY(40 * K, 44 * K), 2,
	  { { 1, 0 }, { 2, 40 * K } },
	  RESUME_LOG, 40 * K, 40 * K, false },
	{ "the former active itself, idle when it was fenced",
	  HELLO(40 * K, 90 * K, 2, { 1, 0 }, { 2, 40 * K }),
	  COPY(0, UINT64_MAX - 63, .former = true, .inconsistent = true, .known_lsn = UINT64_MAX), 1,
	  { { 1, 0 } },
	  RESUME_FULL, 90 * K, 40 * K, true },
	{ "the former active, its intent bits known",
	  HELLO(40 * K, 90 * K, 2, { 1, 0 }, { 2, 40 * K }),
	  COPY(0, UINT64_MAX - 63, .former = true, .inconsistent = true), 1, { { 1, 0 } },
	  RESUME_BRANCH, 90 * K, 40 * K, true },
	{ "the former active, its bits begin where the histories part",
	  HELLO(40 * K, 90 * K, 2, { 1, 0 }, { 3, 40 * K }),
	  COPY(40 * K, UINT64_MAX - 63, .former = true, .known_lsn = 40 * K), 2,
	  { { 1, 0 }, { 2, 40 * K } },
	  RESUME_BRANCH, 90 * K, 40 * K, true },
	{ "the former active, its bits begin behind where the histories part",
	  HELLO(30 * K, 90 * K, 2, { 1, 0 }, { 3, 30 * K }),
	  COPY(40 * K, UINT64_MAX - 63, .former = true, .known_lsn = 40 * K), 2,
	  { { 1, 0 }, { 2, 40 * K } },
	  RESUME_FULL, 90 * K, 30 * K, true },
	{ "the former active, and nothing is common",
	  HELLO(80 * K, 90 * K, 1, { 7, 70 * K }),
	  COPY(0, UINT64_MAX - 63, .former = true), 1, { { 1, 0 } },
	  RESUME_FULL, 90 * K, 0, true },
	{ "a branch, no seed has begun: never the log alone",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 2, 40 * K }), COPY(40 * K, 40 * K, .branch = true), 1,
	  { { 1, 0 } },
	  RESUME_BRANCH, 90 * K, 40 * K, true },
	{ "a branch whose seed goes on",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 2, 40 * K }),
	  COPY(40 * K, 60 * K, .branch = true, .seeding = true), 2, { { 1, 0 }, { 2, 40 * K } },
	  RESUME_LOG, 60 * K, 60 * K, false },
	{ "a branch whose seed is broken",
	  HELLO(70 * K, 90 * K, 2, { 1, 0 }, { 2, 40 * K }),
	  COPY(40 * K, 60 * K, .branch = true, .seeding = true), 2, { { 1, 0 }, { 2, 40 * K } },
	  RESUME_BRANCH, 90 * K, 40 * K, true },
	{ "a branch, and its seed is of another history",
	  HELLO(0, 90 * K, 3, { 1, 0 }, { 2, 40 * K }, { 3, 50 * K }),
	  COPY(40 * K, 60 * K, .branch = true, .seeding = true), 2, { { 1, 0 }, { 2, 40 * K } },
	  RESUME_BRANCH, 90 * K, 40 * K, true },
	{ "a branch, another active goes on from a point before it",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 3, 35 * K }),
	  COPY(40 * K, 60 * K, .branch = true, .seeding = true, .known_lsn = 20 * K), 2,
	  { { 1, 0 }, { 2, 40 * K } },
	  RESUME_BRANCH, 90 * K, 35 * K, true },
	{ "a branch, another active goes on from a point before its bits",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 3, 35 * K }),
	  COPY(40 * K, 60 * K, .branch = true, .seeding = true, .known_lsn = 36 * K), 2,
	  { { 1, 0 }, { 2, 40 * K } },
	  RESUME_FULL, 90 * K, 35 * K, true },
	{ "a branch whose seed would go on, but its set cannot be read",
	  HELLO(0, 90 * K, 2, { 1, 0 }, { 2, 40 * K }),
	  COPY(40 * K, 60 * K, .branch = true, .seeding = true, .known_lsn = UINT64_MAX), 2,
	  { { 1, 0 }, { 2, 40 * K } },
	  RESUME_FULL, 90 * K, 40 * K, true },
	{ "a branch whose set cannot be read",
	  HELLO(70 * K, 90 * K, 2, { 1, 0 }, { 2, 40 * K }),
	  COPY(40 * K, 60 * K, .branch = true, .seeding = true, .known_lsn = UINT64_MAX), 2,
	  { { 1, 0 }, { 2, 40 * K } },
	  RESUME_FULL, 90 * K, 40 * K, true },
	{ "an epoch is known to the active before its first byte",
	  HELLO(0, 60 * K, 2, { 1, 0 }, { 3, 70 * K }), COPY(10 * K, 65 * K), 1, { { 1, 0 } },
	  RESUME_LOG, 60 * K, 60 * K, false },
};

Test(resume, table_of_histories)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *r = &rows[i];
		struct resume_copy copy = r->copy;
		struct resume_plan p;

		copy.nr_history = r->nr_copy_history;
		copy.history = r->copy_history;
		resume_decide(&r->hello, &copy, &p);
		cr_assert_eq(p.verdict, r->verdict, "%s: verdict %d (%s)", r->what, p.verdict, p.why);
		cr_assert_eq(p.from_lsn, r->from_lsn, "%s: from %lu", r->what, p.from_lsn);
		cr_assert_eq(p.cut_lsn, r->cut_lsn, "%s: cut %lu", r->what, p.cut_lsn);
		cr_assert_eq(p.diverged, r->diverged, "%s: diverged", r->what);
		cr_assert_gt(strlen(p.why), 0);
	}
}

/* ---- model -------------------------------------------------------------- */

/*
 * LSNs are counted in units of 64. A record is its number; no two are alike.
 * log[u] is the record at unit u, 0: none. image is the sequence of records that
 * made the device what it is, in order: what a seed or a log must reproduce.
 */
#define UNITS	4096
#define MEMBERS	3

struct member {
	uint32_t log[UNITS];
	uint64_t oldest, end;		/* units; log[oldest..end) has no hole */
	uint64_t have;			/* image holds the log below */
	bool have_image;
	uint32_t image[UNITS];
	uint32_t nr_image;
	struct frame_epoch history[256];
	uint32_t nr_history;
};

static struct member m[MEMBERS];
static unsigned active;
static uint32_t epoch, record;
static uint64_t counts[3];

static void add_history(struct member *x, uint32_t e, uint64_t unit)
{
	x->history[x->nr_history].epoch = e;
	x->history[x->nr_history++].first_lsn = unit * 64;
}

static void write_some(struct member *x, unsigned n)
{
	while (n-- && x->end + 1 < UNITS - 64) {
		x->log[x->end++] = ++record;
		x->image[x->nr_image++] = record;
	}
	x->have = x->end;
}

static void replay_to(struct member *x, uint64_t to)
{
	for (; x->have < to; x->have++)
		x->image[x->nr_image++] = x->log[x->have];
}

/* An epoch that the copy's log has reached is in its history. */
static void follow_history(struct member *x, const struct member *a)
{
	for (uint32_t i = 0; i < a->nr_history; i++) {
		uint32_t last = x->nr_history ? x->history[x->nr_history - 1].epoch : 0;

		if (a->history[i].epoch > last && a->history[i].first_lsn < x->end * 64)
			x->history[x->nr_history++] = a->history[i];
	}
}

static void cut(struct member *x, uint64_t unit)
{
	x->end = unit;
	while (x->nr_history && x->history[x->nr_history - 1].first_lsn >= unit * 64)
		x->nr_history--;
}

static bool is_prefix(const struct member *x, const struct member *a)
{
	return x->nr_image <= a->nr_image &&
	       !memcmp(x->image, a->image, x->nr_image * sizeof(x->image[0]));
}

static void seed(struct member *x, const struct member *a)
{
	*x = *a;
	x->oldest = x->end = x->have = a->end;
}

static struct resume_plan plan_for(struct member *x, const struct member *a)
{
	struct frame_hello h = { .epoch = epoch, .oldest_lsn = a->oldest * 64, .end_lsn = a->end * 64 };
	struct resume_copy c = {
		.have_image = x->have_image, .have_lsn = x->have * 64, .end_lsn = x->end * 64,
		.nr_history = x->nr_history, .history = x->history,
	};
	uint32_t skip = a->nr_history > DAG_HISTORY_MAX ? a->nr_history - DAG_HISTORY_MAX : 0;
	struct resume_plan p;

	h.nr_history = a->nr_history - skip;
	memcpy(h.history, a->history + skip, h.nr_history * sizeof(h.history[0]));
	resume_decide(&h, &c, &p);
	return p;
}

static void connect_copy(struct member *x)
{
	const struct member *a = &m[active];
	bool prefix = x->have_image && is_prefix(x, a);
	struct resume_plan p = plan_for(x, a);

	counts[p.verdict]++;
	switch (p.verdict) {
	case RESUME_LOG:
		cr_assert(p.from_lsn / 64 >= x->have && p.from_lsn / 64 <= x->end);
		cr_assert_geq(p.from_lsn / 64, a->oldest, "the active has no such byte");
		cut(x, p.cut_lsn / 64);
		replay_to(x, x->end);
		cr_assert(is_prefix(x, a), "kept a log that had diverged: %s", p.why);
		for (unsigned n = rand() % 40; n && x->end < a->end; n--, x->end++)
			x->log[x->end] = a->log[x->end];
		follow_history(x, a);
		replay_to(x, x->have + rand() % (x->end - x->have + 1));
		break;
	case RESUME_STALE:
	case RESUME_BRANCH:
		cr_assert_fail("nothing is late in this model, and nothing known of a branch");
		break;
	case RESUME_REGIONS:
		cr_assert(prefix, "regions since %lu do not mend this image: %s", x->have, p.why);
		cut(x, p.cut_lsn / 64);
		replay_to(x, x->end);
		cr_assert(is_prefix(x, a), "kept a log that had diverged: %s", p.why);
		seed(x, a);
		break;
	case RESUME_FULL:
		cr_assert(!prefix || a->nr_history > DAG_HISTORY_MAX,
			  "a full seed for nothing: %s", p.why);
		cr_assert_eq(p.diverged, x->have_image);
		seed(x, a);
		break;
	}
}

/* Someone else takes over where its own log ends, whatever others have more. */
static void take_over(unsigned who)
{
	struct member *x = &m[who];

	if (!x->have_image || x->end + 128 > UNITS || x->nr_history > 200)
		return;
	replay_to(x, x->end);
	add_history(x, ++epoch, x->end);
	active = who;
	write_some(x, 1);
}

/* The active loses its ring and begins again beyond any LSN it ever gave. */
static void crash_active(void)
{
	struct member *x = &m[active];

	if (x->end + 256 > UNITS || x->nr_history > 200)
		return;
	x->end += 1 + rand() % 30;
	x->oldest = x->end;
	add_history(x, ++epoch, x->end);
	write_some(x, 1);
}

Test(resume, verdicts_are_true_where_logs_diverge, .timeout = 60)
{
	for (unsigned s = 0; s < 400; s++) {
		srand(s);
		memset(m, 0, sizeof(m));
		epoch = record = 0;
		active = 0;
		m[0].have_image = true;
		add_history(&m[0], ++epoch, 0);
		write_some(&m[0], 1);
		for (int i = 0; i < 400; i++) {
			unsigned who = rand() % MEMBERS;
			struct member *a = &m[active];

			switch (rand() % 10) {
			case 0 ... 3:
				write_some(a, rand() % 20);
				break;
			case 4 ... 6:
				if (who != active)
					connect_copy(&m[who]);
				break;
			case 7:
				if (a->oldest < a->end && !(rand() % 4))
					a->oldest += rand() % (a->end - a->oldest);
				break;
			case 8:
				if (!(rand() % 3))
					take_over(who);
				break;
			case 9:
				if (!(rand() % 6))
					crash_active();
				break;
			}
		}
	}
	for (int v = 0; v < 3; v++)
		cr_assert_gt(counts[v], 500, "the model hardly reached verdict %d", v);
}
