// SPDX-License-Identifier: GPL-2.0
/*
 * window: each invariant by example, then all of them after every step of a
 * random model that knows what the copies really hold.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ship/window.h"

static struct window fresh(uint64_t commit)
{
	struct window w;

	window_init(&w, 0, commit);
	return w;
}

Test(window, no_copies_hold_nothing)
{
	struct window w = fresh(1000);

	cr_assert_eq(window_free_lsn(&w), 1000);
	cr_assert_eq(window_clear_lsn(&w), 1000);
	cr_assert_eq(window_ack_lsn(&w), 1000);
	w.commit_mode = true;
	cr_assert_eq(window_ack_lsn(&w), 1000, "nobody to wait for");
	w.min_in_sync = 1;
	cr_assert_eq(window_ack_lsn(&w), 0, "commits wait for a first copy");
}

Test(window, an_unknown_copy_pins_everything)
{
	struct window w = fresh(1000);

	w.copy[3].in_use = true;
	cr_assert_eq(window_free_lsn(&w), 0);
	cr_assert_eq(window_clear_lsn(&w), 0);
	w.spooled = 600;
	cr_assert_eq(window_free_lsn(&w), 600, "the spool has it");
	w.copy[3].given_up = true;
	cr_assert_eq(window_free_lsn(&w), 1000, "regions will do");
	cr_assert_eq(window_clear_lsn(&w), 0, "so the bits must stay");
}

Test(window, a_zero_copy_send_holds_its_bytes)
{
	struct window w = fresh(1000);

	w.copy[0].in_use = true;
	cr_assert_eq(window_report(&w, 0, 1000, 1000, 1000), 0);
	w.copy[0].held = 320;
	cr_assert_eq(window_free_lsn(&w), 320);
	w.copy[0].in_use = false;
	cr_assert_eq(window_free_lsn(&w), 320, "even of a copy that is gone");
	w.copy[0].held = WINDOW_NONE;
	cr_assert_eq(window_free_lsn(&w), 1000);
}

Test(window, commit_mode_waits_for_the_whole_set)
{
	struct window w = fresh(1000);

	w.commit_mode = true;
	w.min_in_sync = 1;
	for (int i = 0; i < 2; i++)
		w.copy[i].in_use = w.copy[i].in_sync = true;
	cr_assert_eq(window_report(&w, 0, 900, 500, 100), 0);
	cr_assert_eq(window_ack_lsn(&w), 0);
	cr_assert_eq(window_report(&w, 1, 700, 640, 0), 0);
	cr_assert_eq(window_ack_lsn(&w), 700);
	w.ack_durable = true;
	cr_assert_eq(window_ack_lsn(&w), 500);
	w.acked = 640;
	cr_assert_eq(window_ack_lsn(&w), 640, "never goes back");
	w.copy[0].in_sync = false;
	cr_assert_eq(window_ack_lsn(&w), 640);
	w.copy[1].in_sync = false;
	cr_assert_eq(window_ack_lsn(&w), 640, "the set is too small");
}

Test(window, bits_wait_for_durable_at_every_copy)
{
	struct window w = fresh(1000);

	w.copy[0].in_use = w.copy[14].in_use = true;
	cr_assert_eq(window_report(&w, 0, 1000, 800, 0), 0);
	cr_assert_eq(window_clear_lsn(&w), 0);
	cr_assert_eq(window_report(&w, 14, 900, 640, 0), 0);
	cr_assert_eq(window_clear_lsn(&w), 640);
}

Test(window, reports_that_cannot_be_true)
{
	struct window w = fresh(1000);

	w.copy[0].in_use = true;
	cr_assert_eq(window_report(&w, 0, 1064, 0, 0), -EPROTO, "more than there is");
	cr_assert_eq(window_report(&w, 0, 640, 704, 0), -EPROTO);
	cr_assert_eq(window_report(&w, 0, 640, 320, 384), -EPROTO);
	cr_assert(!w.copy[0].known, "a refused report changes nothing");
	cr_assert_eq(window_report(&w, 0, 640, 320, 128), 0);
	cr_assert_eq(window_report(&w, 0, 576, 320, 128), -EPROTO, "received goes back");
	cr_assert_eq(window_report(&w, 0, 640, 256, 128), -EPROTO, "durable goes back");
	cr_assert_eq(window_report(&w, 0, 640, 320, 64), -EPROTO, "replayed goes back");
	cr_assert_eq(w.copy[0].received, 640);
	cr_assert_eq(w.copy[0].durable, 320);
	cr_assert_eq(w.copy[0].replayed, 128);
}

/* A line that is cut: the last report says Healthy and near for as long as TCP hopes. */
Test(window, a_late_copy_joins_again_when_it_has_moved)
{
	struct window w = fresh(1000);

	w.commit_mode = true;
	w.late_ms_max = 50;
	for (int i = 0; i < 2; i++)
		w.copy[i].in_use = w.copy[i].in_sync = true;
	cr_assert_eq(window_report(&w, 0, 1000, 1000, 0), 0);
	cr_assert_eq(window_report(&w, 1, 640, 640, 0), 0);
	cr_assert(window_may_join(&w, 1, 1000));
	cr_assert_eq(window_late(&w, 100), -1);
	cr_assert_eq(window_late(&w, 151), 1);
	w.copy[1].in_sync = false;
	cr_assert_not(window_may_join(&w, 1, 1000));
	cr_assert_eq(window_late(&w, 999), -1);
	cr_assert_not(window_may_join(&w, 1, 1000), "time alone changes nothing");
	cr_assert_eq(window_report(&w, 1, 640, 640, 0), 0);
	cr_assert_not(window_may_join(&w, 1, 1000), "nor does saying the same again");
	cr_assert_eq(window_report(&w, 1, 704, 640, 0), 0);
	cr_assert(window_may_join(&w, 1, 1000));
	w.copy[1].in_sync = true;
	cr_assert_eq(window_late(&w, 1100), -1);
	cr_assert_eq(window_late(&w, 1151), 1);
	window_begin(&w, 1, 704, 640, 0, WINDOW_NONE);
	cr_assert(window_may_join(&w, 1, 1000), "it was called anew");
}

Test(window, a_late_copy_is_named_once_its_time_is_over)
{
	struct window w = fresh(1000);

	w.commit_mode = true;
	w.late_ms_max = 50;
	w.min_in_sync = 1;
	for (int i = 0; i < 2; i++)
		w.copy[i].in_use = w.copy[i].in_sync = true;
	cr_assert_eq(window_report(&w, 0, 1000, 1000, 0), 0);
	cr_assert_eq(window_report(&w, 1, 640, 640, 0), 0);
	cr_assert_eq(window_late(&w, 100), -1);
	cr_assert_eq(window_late(&w, 150), -1);
	cr_assert_eq(window_late(&w, 151), 1);
	w.min_in_sync = 2;
	cr_assert_eq(window_late(&w, 200), -1, "the set would become too small");
	w.min_in_sync = 1;
	cr_assert_eq(window_report(&w, 1, 1000, 640, 0), 0);
	cr_assert_eq(window_late(&w, 300), -1, "it has arrived");
	w.ack_durable = true;
	cr_assert_eq(window_late(&w, 301), -1, "and starts anew");
	cr_assert_eq(window_late(&w, 352), 1);
	w.commit_mode = false;
	cr_assert_eq(window_late(&w, 999), -1, "nobody waits");
	w.commit_mode = true;
	cr_assert_eq(window_late(&w, 1000), -1, "nor did anybody meanwhile");
	cr_assert_eq(window_late(&w, 1051), 1);
}

Test(window, time_zero_counts)
{
	struct window w = fresh(1000);

	w.commit_mode = true;
	w.late_ms_max = 10;
	w.copy[0].in_use = w.copy[0].in_sync = true;
	cr_assert_eq(window_late(&w, 0), -1);
	cr_assert_eq(window_late(&w, 12), 0);
}

Test(window, a_copy_that_joins_is_waited_for_before_it_is_agreed)
{
	struct window w = fresh(1000);

	w.commit_mode = true;
	w.acked = 1000;
	w.copy[0].in_use = true;
	cr_assert_eq(window_report(&w, 0, 900, 900, 900), 0);
	w.copy[0].in_sync = w.copy[0].joining = true;
	w.commit = 2000;
	cr_assert_eq(window_ack_lsn(&w), 1000, "nothing more without it");
	cr_assert(!window_joined(&w, 0), "1000 was acknowledged, it has 900");
	w.min_in_sync = 1;
	cr_assert_eq(window_in_sync(&w), 0, "it does not count before it is agreed");
	cr_assert_eq(window_report(&w, 0, 1000, 1000, 900), 0);
	cr_assert(window_joined(&w, 0));
	w.late_ms_max = 10;
	cr_assert_eq(window_late(&w, 1), -1);
	cr_assert_eq(window_late(&w, 100), 0, "one that joins may leave below the minimum");
}

Test(window, who_may_join)
{
	struct window w = fresh(1000);

	w.copy[0].in_use = true;
	cr_assert(!window_may_join(&w, 0, 1000), "unknown");
	cr_assert_eq(window_report(&w, 0, 1000, 900, 0), 0);
	cr_assert(window_may_join(&w, 0, 100));
	cr_assert(!window_may_join(&w, 0, 99));
	cr_assert(window_may_join(&w, 0, UINT64_MAX), "no overflow");
	w.copy[0].given_up = true;
	cr_assert(!window_may_join(&w, 0, 100));
	w.copy[0].given_up = false;
	w.copy[0].in_use = false;
	cr_assert(!window_may_join(&w, 0, 100));
}

Test(window, what_was_promised_stays_until_it_is_answered)
{
	struct window w = fresh(1000);

	w.copy[2].promised = 640;
	cr_assert_eq(window_free_lsn(&w), 640, "although it is no copy yet");
	w.copy[2].in_use = w.copy[2].known = w.copy[2].given_up = true;
	cr_assert_eq(window_free_lsn(&w), 640, "regions will do, but from there on");
	w.spooled = 960;
	cr_assert_eq(window_free_lsn(&w), 960, "the spool keeps it");
	w.spooled = 0;
	w.copy[2].promised = WINDOW_NONE;
	cr_assert_eq(window_free_lsn(&w), 1000);
}

Test(window, a_gap_makes_every_copy_miss)
{
	struct window w = fresh(1000);

	w.commit_mode = true;
	for (int i = 0; i < 3; i++)
		w.copy[i].in_use = w.copy[i].in_sync = true;
	for (int i = 0; i < 3; i++)
		window_begin(&w, i, 960, 960, 960, i == 2 ? 320 : WINDOW_NONE);
	cr_assert(!w.copy[0].missing && w.copy[2].missing);
	window_gap(&w, 1000, 1024);
	w.commit = 2048;
	cr_assert_eq(w.copy[0].missing_since, 1000);
	cr_assert_eq(w.copy[2].missing_since, 320, "the older one counts");
	for (int i = 0; i < 3; i++)
		cr_assert_eq(window_report(&w, i, 1024, 1024, 0), -EPROTO, "replayed goes back");
	for (int i = 0; i < 3; i++)
		cr_assert_eq(window_report(&w, i, 1024, 1024, 960), 0);
	/* It has not met the GAP record yet: what it says of itself is old. */
	window_healthy(&w, 0);
	cr_assert(w.copy[0].missing);
	cr_assert(!window_may_join(&w, 0, UINT64_MAX), "a copy that misses may not join");
	for (int i = 0; i < 3; i++)
		cr_assert_eq(window_report(&w, i, 2048, 2048, 960), 0);
	cr_assert_eq(window_ack_lsn(&w), 320, "nothing behind the gap is safe");
	cr_assert_eq(window_clear_lsn(&w), 320);
	for (int i = 0; i < 3; i++)
		window_healthy(&w, i);
	cr_assert_eq(window_ack_lsn(&w), 2048);
	cr_assert_eq(window_clear_lsn(&w), 2048);
}

/* Its log goes on from the spool, in front of a gap of which it knows nothing. */
Test(window, a_log_that_goes_on_in_front_of_a_gap)
{
	struct window w = fresh(1000);

	w.copy[0].in_use = w.copy[1].in_use = true;
	window_gap(&w, 1000, 1024);
	w.commit = 2048;
	window_begin(&w, 0, 640, 640, 640, WINDOW_NONE);
	cr_assert(w.copy[0].missing);
	cr_assert_eq(w.copy[0].missing_since, 1000, "up to there the log tells everything");
	cr_assert_eq(window_clear_lsn(&w), 0, "nobody knows of the other");
	window_begin(&w, 1, 1088, 1088, 640, WINDOW_NONE);
	cr_assert(!w.copy[1].missing, "it has met the gap and is whole");
	cr_assert_eq(window_report(&w, 0, 1024, 1024, 640), 0);
	window_healthy(&w, 0);
	cr_assert_eq(window_clear_lsn(&w), 1000);
	/* a second gap before the first is closed hides more, not less */
	window_gap(&w, 2048, 2112);
	window_begin(&w, 0, 640, 640, 640, WINDOW_NONE);
	cr_assert_eq(w.copy[0].missing_since, 1000);
	window_begin(&w, 0, 1088, 1088, 640, WINDOW_NONE);
	cr_assert_eq(w.copy[0].missing_since, 1088);
	window_forget(&w, 0);
	cr_assert_eq(w.copy[0].promised, WINDOW_NONE);
	cr_assert_eq(w.copy[0].held, WINDOW_NONE);
}

/* ---- model -------------------------------------------------------------- */

struct truth {			/* what a copy really has */
	uint64_t received, durable, replayed;
};

static uint64_t up_to(uint64_t from, uint64_t to)
{
	return from >= to ? from : from + (uint64_t)(rand() % ((to - from) / 64 + 1)) * 64;
}

static void step(struct window *w, struct truth *t)
{
	int i = rand() % 4;
	struct window_copy *c = &w->copy[i];

	switch (rand() % 12) {
	case 0 ... 2:
		w->commit += 64 * (uint64_t)(rand() % 20);
		break;
	case 3 ... 6:
		if (!c->in_use)
			break;
		t[i].received = up_to(t[i].received, w->commit);
		t[i].durable = up_to(t[i].durable, t[i].received);
		t[i].replayed = up_to(t[i].replayed, t[i].durable);
		cr_assert_eq(window_report(w, i, t[i].received, t[i].durable, t[i].replayed), 0);
		c->given_up = false;
		break;
	case 7:	/* a send of what the copy lacks begins, or the last one ends */
		c->held = c->held == WINDOW_NONE && t[i].received >= w->freed ?
			  t[i].received : WINDOW_NONE;
		break;
	case 8:
		w->spooled = up_to(w->spooled < w->freed ? w->freed : w->spooled, w->commit);
		break;
	case 9:
		if (c->in_use)
			c->in_sync = !c->in_sync;
		break;
	case 10:
		w->commit_mode = rand() & 1;
		w->ack_durable = rand() & 1;
		w->min_in_sync = rand() % 3;
		break;
	case 11:
		if (rand() % 8)
			break;
		c->in_use = !c->in_use;
		c->in_sync = c->known = false;
		memset(&t[i], 0, sizeof(t[i]));
		c->received = c->durable = c->replayed = 0;
		c->given_up = c->in_use && rand() & 1;
		break;
	}
}

static void check(struct window *w, const struct truth *t)
{
	uint64_t f = window_free_lsn(w), a = window_ack_lsn(w), k = window_clear_lsn(w);
	unsigned set = 0;

	cr_assert(f >= w->freed && f <= w->commit);
	cr_assert(a >= w->acked && a <= w->commit);
	cr_assert(k >= w->cleared && k <= w->commit);
	for (int i = 0; i < 4; i++) {
		const struct window_copy *c = &w->copy[i];

		set += c->in_use && c->in_sync;
		if (f > w->freed && c->in_use && !c->given_up && f > t[i].durable)
			cr_assert(f <= w->spooled, "W1: copy %d needs %lu", i, f);
		if (f > w->freed)
			cr_assert(f <= c->held, "W2: copy %d", i);
		if (a > w->acked && w->commit_mode && c->in_use && c->in_sync)
			cr_assert(a <= (w->ack_durable ? t[i].durable : t[i].received),
				  "W3: copy %d", i);
		if (k > w->cleared && c->in_use)
			cr_assert(k <= t[i].durable, "W4: copy %d", i);
	}
	if (a > w->acked && w->commit_mode)
		cr_assert(set >= w->min_in_sync, "W3: set too small");
	w->freed = f;
	w->acked = a;
	w->cleared = k;
}

Test(window, random_model)
{
	for (unsigned seed = 0; seed < 300; seed++) {
		struct truth t[4] = { 0 };
		struct window w;

		srand(seed);
		window_init(&w, 0, 0);
		for (int n = 0; n < 1000; n++) {
			step(&w, t);
			check(&w, t);
		}
	}
}
