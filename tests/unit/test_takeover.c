// SPDX-License-Identifier: GPL-2.0
/*
 * takeover: three members a (dead), b and c; the test is the shell of b. The
 * simulator (tests/sim) runs the same code under faults; here each rule by example.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/takeover.h"

#define MS 1000000ull

static struct group_state gs;
static struct takeover t;
static struct takeover_store stores[GROUP_STORES_MAX];
static struct takeover_view v;
static struct takeover_action act;
static uint64_t now;
static const uint8_t U1[16] = { 1 }, U2[16] = { 2 };

static struct group_store *add_store(const uint8_t uuid[16], uint32_t mode)
{
	static const char *const names[] = { "a", "b", "c" };
	struct group_store *st = group_add_store(&gs, uuid);

	st->mode = mode;
	st->ack_durable = true;
	st->epoch = 4;
	st->start_lsn = 64;
	strcpy(st->active, "a");
	st->nr_copies = 3;
	for (int i = 0; i < 3; i++) {
		strcpy(st->copies[i].member, names[i]);
		st->copies[i].preference = i + 1;
		st->copies[i].in_sync = true;
	}
	return st;
}

static void lease(uint64_t rev, uint64_t fence, bool released)
{
	struct engine_host h = { .member = "a", .fence = fence, .lease_rev = rev, .released = released };

	h.nr_facts = 1;
	memcpy(h.facts[0].store, U1, 16);
	h.facts[0].commit_lsn = 640;
	takeover_lease(&t, &h, now);
}

static void init(void)
{
	static const char *const names[] = { "a", "b", "c" };

	cr_assert_eq(group_state_init(&gs), 0);
	gs.generation = 1;
	lease_profile_named("lan", &gs.profile);
	gs.nr_members = 3;
	for (int i = 0; i < 3; i++)
		strcpy(gs.members[i].name, names[i]);
	add_store(U1, DAGTAP_MODE_COMMIT);
	takeover_init(&t, "a", stores);
	v = (struct takeover_view){ .gs = &gs, .self = "b", .may_activate = true };
	v.reachable[1] = v.reachable[2] = true;
	now = 1000 * MS;
	lease(10, 3, false);
}

static void done(void)
{
	group_state_free(&gs);
}

static enum takeover_wish step(void)
{
	takeover_step(&t, &v, now, &act);
	return act.wish;
}

/* Up to the first question to a copy. */
static void to_seal(void)
{
	now = lease_claim_ns(&gs.profile, t.watch.seen_ns);
	cr_assert_eq(step(), WISH_RECHECK, "%s", t.why);
	takeover_state(&t, &gs);
	cr_assert_eq(step(), WISH_SEAL, "%s", t.why);
}

static struct candidate report(uint64_t end)
{
	return (struct candidate){ .whole = true, .status = CAND_HEALTHY, .log_epoch = 4,
				   .end_lsn = end };
}

static void sealed(const char *member, int rc, uint64_t end)
{
	struct candidate r = report(end);

	takeover_sealed(&t, U1, member, rc, &r, now);
}

/* Both are asked; b ends at eb, c at ec. */
static void seal_both(uint64_t eb, uint64_t ec)
{
	to_seal();
	cr_assert_str_eq(act.member, "b");
	cr_assert_eq(act.epoch, 5);
	cr_assert_eq(step(), WISH_SEAL);
	cr_assert_str_eq(act.member, "c");
	cr_assert_eq(step(), WISH_NONE, "waits for the answers");
	sealed("b", 0, eb);
	cr_assert_eq(step(), WISH_NONE, "for all of them");
	sealed("c", 0, ec);
}

#define TEST(name) Test(takeover, name, .init = init, .fini = done)

TEST(nothing_is_asked_before_the_lease_has_ended)
{
	now = lease_claim_ns(&gs.profile, now) - 1;
	cr_assert_eq(step(), WISH_NONE);
	cr_assert_eq(t.phase, TAKEOVER_WATCH);
	now++;
	cr_assert_eq(step(), WISH_RECHECK);
	cr_assert_eq(step(), WISH_NONE, "asked once");
	now += TAKEOVER_RECHECK_MS * MS;
	cr_assert_eq(step(), WISH_RECHECK, "and again when nobody answers");
	lease(11, 3, false);
	takeover_state(&t, &gs);
	cr_assert_eq(step(), WISH_NONE, "it lives: nobody was sealed");
	cr_assert_eq(t.phase, TAKEOVER_WATCH);
}

TEST(a_released_host_is_not_waited_for)
{
	lease(11, 3, true);
	cr_assert_eq(step(), WISH_RECHECK);
	takeover_state(&t, &gs);
	v.reachable[0] = true;
	cr_assert_eq(step(), WISH_SEAL);
	cr_assert_str_eq(act.member, "a", "it is closed and may have more");
}

TEST(others_wait_by_rank)
{
	v.rank = 2;
	now = lease_claim_ns(&gs.profile, now);
	cr_assert_eq(step(), WISH_NONE);
	now += 2 * TAKEOVER_RANK_MS * MS - 1;
	cr_assert_eq(step(), WISH_NONE);
	now++;
	cr_assert_eq(step(), WISH_RECHECK);
}

TEST(who_may_not_activate_asks_nobody)
{
	v.may_activate = false;
	now = lease_claim_ns(&gs.profile, now);
	cr_assert_eq(step(), WISH_NONE);
	v.may_activate = true;
	to_seal();
	v.may_activate = false;
	cr_assert_eq(step(), WISH_NONE);
	cr_assert_eq(t.phase, TAKEOVER_RANK);
}

static void seal_old(const char *member, uint64_t end)
{
	struct candidate r = report(end);

	r.log_epoch = 3;
	takeover_sealed(&t, U1, member, 0, &r, now);
}

/*
 * The epoch began with a device older than its log: who has not heard of it holds what
 * was given up. Without that it would be a candidate like any other.
 */
TEST(a_copy_that_does_not_know_of_the_point_does_not_undo_it)
{
	for (int point = 0; point < 2; point++) {
		gs.stores[0].mode = DAGTAP_MODE_ASYNC;
		gs.stores[0].point_lsn = point ? 32 : 0;
		takeover_init(&t, "a", stores);
		lease(10, 3, false);
		to_seal();
		cr_assert_eq(step(), WISH_SEAL);
		seal_old("b", 64);
		seal_old("c", 64);
		cr_assert_eq(step() == WISH_CLAIM, !point, "%s", t.why);
		cr_assert_eq(t.stores[0].winner < 0, point);
	}
}

TEST(the_copy_with_the_most_log_wins_and_the_claim_says_so)
{
	struct group_store *st = &gs.stores[0];

	st->point_lsn = 32;
	seal_both(640, 1280);
	cr_assert_eq(step(), WISH_CLAIM, "%s", t.why);
	cr_assert_eq(t.claim_rev, 10);
	cr_assert_eq(t.claim_fence, 3);
	cr_assert_eq(t.generation, 1);
	cr_assert_eq(takeover_edit(&gs, &t), 0);
	cr_assert_eq(st->epoch, 5);
	cr_assert_str_eq(st->active, "c");
	cr_assert_eq(st->start_lsn, 1280);
	cr_assert_eq(st->point_lsn, 0);
	cr_assert_not(st->copies[0].in_sync, "the old one");
	cr_assert_not(st->copies[1].in_sync, "T4: it ends elsewhere");
	cr_assert(st->copies[2].in_sync);
	takeover_claimed(&t, 0, now);
	cr_assert_eq(t.phase, TAKEOVER_DONE);
	cr_assert_eq(t.times.claimed, now);
	now += TAKEOVER_RETRY_MS * MS;
	cr_assert_eq(step(), WISH_NONE);
	cr_assert_eq(step(), WISH_NONE);
	cr_assert_eq(t.phase, TAKEOVER_WATCH, "it holds no store any more");
}

TEST(equal_sealed_copies_stay_in_sync)
{
	seal_both(1280, 1280);
	cr_assert_eq(step(), WISH_CLAIM);
	cr_assert_eq(takeover_edit(&gs, &t), 0);
	cr_assert_str_eq(gs.stores[0].active, "b", "preference decides");
	cr_assert(gs.stores[0].copies[2].in_sync);
}

TEST(a_silent_copy_is_not_waited_for_and_not_in_sync)
{
	to_seal();
	cr_assert_eq(step(), WISH_SEAL);
	sealed("b", 0, 640);
	now += TAKEOVER_SEAL_MS * MS;
	cr_assert_eq(step(), WISH_CLAIM);
	sealed("c", 0, 640);
	cr_assert_eq(takeover_edit(&gs, &t), 0);
	cr_assert_str_eq(gs.stores[0].active, "b");
	cr_assert_not(gs.stores[0].copies[2].in_sync, "it answered too late");
}

TEST(nobody_in_sync_means_nobody)
{
	/* two members and a witness: a alone has acknowledged, b comes back */
	gs.stores[0].copies[1].in_sync = gs.stores[0].copies[2].in_sync = false;
	seal_both(1280, 1280);
	cr_assert_eq(step(), WISH_NONE);
	cr_assert_eq(t.phase, TAKEOVER_DONE);
	now += TAKEOVER_RETRY_MS * MS;
	step();
	cr_assert_eq(step(), WISH_RECHECK, "tries again");
}

TEST(a_renewal_while_sealing_ends_the_round)
{
	to_seal();
	lease(11, 3, false);
	cr_assert_eq(t.phase, TAKEOVER_WATCH);
	sealed("b", 0, 640);
	sealed("c", 0, 640);
	cr_assert_eq(step(), WISH_NONE);
	cr_assert_eq(takeover_edit(&gs, &t), 0, "an empty claim");
	cr_assert_eq(gs.stores[0].epoch, 4);
}

TEST(a_store_that_moved_meanwhile_drops_out)
{
	seal_both(640, 640);
	cr_assert_eq(step(), WISH_CLAIM);
	gs.stores[0].epoch = 5;
	cr_assert_eq(takeover_edit(&gs, &t), -ESTALE);
	strcpy(gs.stores[0].active, "c");
	takeover_claimed(&t, -ESTALE, now);
	cr_assert_eq(t.phase, TAKEOVER_RANK);
	cr_assert_eq(step(), WISH_RECHECK);
	takeover_state(&t, &gs);
	cr_assert_eq(step(), WISH_NONE);
	cr_assert_eq(t.phase, TAKEOVER_WATCH);
}

TEST(another_generation_is_not_claimed)
{
	seal_both(640, 640);
	cr_assert_eq(step(), WISH_CLAIM);
	gs.generation = 2;
	cr_assert_eq(takeover_edit(&gs, &t), -ESTALE);
}

TEST(an_ambiguous_claim_is_looked_up_and_sent_again_as_it_was)
{
	seal_both(640, 1280);
	cr_assert_eq(step(), WISH_CLAIM);
	takeover_state(&t, &gs);
	cr_assert_eq(step(), WISH_NONE, "one answer is to come");
	takeover_claimed(&t, -EAGAIN, now);
	cr_assert_eq(step(), WISH_RECHECK);
	takeover_state(&t, &gs);
	cr_assert_eq(step(), WISH_CLAIM, "nothing landed");
	takeover_claimed(&t, -EAGAIN, now);
	cr_assert_eq(step(), WISH_RECHECK);
	cr_assert_eq(takeover_edit(&gs, &t), 0, "it lands after all");
	takeover_state(&t, &gs);
	cr_assert_eq(step(), WISH_NONE);
	cr_assert_eq(t.phase, TAKEOVER_DONE);
	cr_assert_eq(t.times.claimed, now);
}

TEST(a_stale_answer_after_an_ambiguous_one_is_looked_up_too)
{
	seal_both(640, 1280);
	cr_assert_eq(step(), WISH_CLAIM);
	takeover_claimed(&t, -EAGAIN, now);
	cr_assert_eq(step(), WISH_RECHECK);
	takeover_state(&t, &gs);
	cr_assert_eq(step(), WISH_CLAIM);
	takeover_claimed(&t, -ESTALE, now);
	cr_assert_eq(step(), WISH_RECHECK);
	takeover_state(&t, &gs);
	cr_assert_eq(t.phase, TAKEOVER_RANK, "neither landed: the host lives or was fenced");
}

TEST(a_renewal_under_the_old_fence_proves_that_no_claim_landed)
{
	seal_both(640, 1280);
	cr_assert_eq(step(), WISH_CLAIM);
	takeover_claimed(&t, -EAGAIN, now);
	lease(12, 3, false);
	cr_assert_eq(t.phase, TAKEOVER_WATCH);
}

TEST(a_winner_that_has_less_fetches_first)
{
	struct candidate r = report(1280);

	gs.stores[0].copies[2].activation_blocked = true;
	seal_both(640, 1280);
	cr_assert_eq(step(), WISH_FETCH, "%s", t.why);
	cr_assert_str_eq(act.member, "b");
	cr_assert_str_eq(act.from, "c");
	cr_assert_eq(act.lsn, 1280);
	cr_assert_eq(step(), WISH_NONE);
	takeover_fetched(&t, U1, 0, &r, now);
	cr_assert_eq(step(), WISH_CLAIM);
	cr_assert_eq(takeover_edit(&gs, &t), 0);
	cr_assert_str_eq(gs.stores[0].active, "b");
	cr_assert_eq(gs.stores[0].start_lsn, 1280);
	cr_assert(gs.stores[0].copies[2].in_sync, "it ends there too");
}

TEST(a_fetch_that_fails_is_ended_by_asking_the_winner_again)
{
	gs.stores[0].copies[2].activation_blocked = true;
	seal_both(640, 1280);
	cr_assert_eq(step(), WISH_FETCH);
	now += TAKEOVER_FETCH_SYNC_MS * MS;
	cr_assert_eq(step(), WISH_SEAL);
	cr_assert_str_eq(act.member, "b");
	sealed("b", 0, 960);
	cr_assert_eq(step(), WISH_CLAIM);
	cr_assert_eq(takeover_edit(&gs, &t), 0);
	cr_assert_eq(gs.stores[0].start_lsn, 960, "where it ends now");
	cr_assert_not(gs.stores[0].copies[2].in_sync);
}

TEST(held_stores_are_fenced_once_and_not_activated)
{
	gs.stores[0].manual = true;
	now = lease_claim_ns(&gs.profile, now);
	cr_assert_eq(step(), WISH_RECHECK);
	takeover_state(&t, &gs);
	cr_assert_eq(step(), WISH_CLAIM, "%s", t.why);
	cr_assert_eq(takeover_edit(&gs, &t), 0);
	cr_assert_eq(gs.stores[0].epoch, 4);
	takeover_claimed(&t, 0, now);
	now += TAKEOVER_RETRY_MS * MS;
	step();
	cr_assert_eq(step(), WISH_RECHECK);
	takeover_state(&t, &gs);
	cr_assert_eq(step(), WISH_NONE, "it is fenced already");
	cr_assert_eq(t.phase, TAKEOVER_DONE);
}

TEST(limits_count_what_is_won_in_the_same_round)
{
	struct candidate r = report(640);

	add_store(U2, DAGTAP_MODE_COMMIT);
	gs.members[1].max_active = 1;
	to_seal();
	for (int i = 0; i < 3; i++)
		cr_assert_eq(step(), WISH_SEAL);
	cr_assert_eq(step(), WISH_NONE);
	for (int i = 0; i < 4; i++)
		takeover_sealed(&t, i < 2 ? U1 : U2, i % 2 ? "c" : "b", 0, &r, now);
	cr_assert_eq(step(), WISH_CLAIM);
	cr_assert_eq(takeover_edit(&gs, &t), 0);
	cr_assert_str_eq(gs.stores[0].active, "b");
	cr_assert_str_eq(gs.stores[1].active, "c");
}

TEST(the_last_word_of_the_host_is_what_the_dial_goes_by)
{
	gs.stores[0].mode = DAGTAP_MODE_ASYNC;
	gs.stores[0].segment_mib = 1;
	gs.members[1].dial = gs.members[2].dial = DIAL_LOSSLESS;
	seal_both(576, 512);
	cr_assert_eq(step(), WISH_NONE, "64 bytes of 640 are missing");
	cr_assert_eq(t.phase, TAKEOVER_DONE);
	gs.members[1].dial = DIAL_GOOD;
	now += TAKEOVER_RETRY_MS * MS;
	step();
	cr_assert_eq(step(), WISH_RECHECK);
	takeover_state(&t, &gs);
	cr_assert_eq(step(), WISH_SEAL);
	cr_assert_eq(step(), WISH_SEAL);
	sealed("b", 0, 576);
	sealed("c", 0, 512);
	cr_assert_eq(step(), WISH_CLAIM);
	cr_assert_eq(stores[0].lost_bytes, 64);
}

TEST(a_report_that_makes_no_sense_is_not_activated)
{
	seal_both(641, 640);
	cr_assert_eq(step(), WISH_CLAIM);
	takeover_edit(&gs, &t);
	cr_assert_str_eq(gs.stores[0].active, "c", "no record ends at 641");
}

TEST(answers_that_nobody_waits_for_change_nothing)
{
	struct candidate r = report(640);

	takeover_sealed(&t, U1, "b", 0, &r, now);
	takeover_fetched(&t, U1, 0, &r, now);
	takeover_claimed(&t, 0, now);
	cr_assert_eq(t.phase, TAKEOVER_WATCH);
	to_seal();
	takeover_sealed(&t, U2, "b", 0, &r, now);
	takeover_sealed(&t, U1, "z", 0, &r, now);
	takeover_sealed(&t, U1, "c", 0, &r, now);
	cr_assert_not(t.stores[0].cand[2].sealed, "c was not asked yet");
}

TEST(a_winner_opens_only_where_its_epoch_begins)
{
	uint64_t end = 1280;

	cr_assert_eq(takeover_fit(640, 640), 0);
	cr_assert_eq(takeover_fit(640, 1280), -EAGAIN);
	cr_assert_eq(takeover_fit(640, 576), -ENODATA);
	cr_assert_eq(takeover_edit_anew(&gs.stores[0], &end), 0);
	cr_assert_eq(gs.stores[0].epoch, 5);
	cr_assert_eq(gs.stores[0].start_lsn, 1280);
	for (int i = 0; i < 3; i++)
		cr_assert_not(gs.stores[0].copies[i].in_sync);
}
