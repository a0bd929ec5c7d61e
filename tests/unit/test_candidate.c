// SPDX-License-Identifier: GPL-2.0
/* candidate: who is eligible, in which order, and what is lost. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/candidate.h"

static struct candidate cand(const char *name, uint32_t epoch, uint64_t end)
{
	struct candidate c = {
		.reachable = true, .sealed = true, .whole = true, .in_sync = true,
		.status = CAND_HEALTHY, .log_epoch = epoch, .end_lsn = end, .preference = 1,
	};

	snprintf(c.member, sizeof(c.member), "%s", name);
	return c;
}

static struct candidate_rule rule_of(uint32_t mode)
{
	return (struct candidate_rule){
		.mode = mode, .ack_durable = true, .epoch = 5, .start_lsn = 1000,
		.segment_bytes = 1000,
	};
}

static const char *best(const struct candidate *c, unsigned n, const struct candidate_rule *r)
{
	static struct candidate_verdict v[GROUP_MEMBERS_MAX];

	return candidate_rank(c, n, r, v) ? c[v[0].index].member : "nobody";
}

Test(candidate, in_commit_mode_only_the_in_sync_set_qualifies)
{
	struct candidate c[2] = { cand("b", 5, 9000), cand("c", 5, 2000) };
	struct candidate_rule r = rule_of(DAGTAP_MODE_COMMIT);
	struct candidate_verdict v[2];

	c[0].in_sync = false;
	cr_assert_eq(candidate_rank(c, 2, &r, v), 1);
	cr_assert_str_eq(c[v[0].index].member, "c", "it has every acknowledged commit");
	cr_assert_eq(v[0].lost_bytes, 0);
	cr_assert_not(v[1].eligible);
	cr_assert(strstr(v[1].why, "in-sync"), "%s", v[1].why);
	c[1].in_sync = false;
	cr_assert_str_eq(best(c, 2, &r), "nobody");
	r.best_effort = true;
	cr_assert_str_eq(best(c, 2, &r), "b", "a person takes the loss");
}

/* Nobody is handed a store that it could not mount a moment ago; but where it is down
 * and there is no other, it is tried. */
Test(candidate, one_that_failed_comes_last_or_not_at_all)
{
	struct candidate c[2] = { cand("b", 5, 9000), cand("c", 5, 2000) };
	struct candidate_rule r = rule_of(DAGTAP_MODE_COMMIT);

	c[0].failed = true;
	cr_assert_str_eq(best(c, 2, &r), "c");
	r.failed_too = true;
	cr_assert_str_eq(best(c, 2, &r), "c", "though it has less and would rank after it");
	c[1].reachable = false;
	cr_assert_str_eq(best(c, 2, &r), "b");
	r.failed_too = false;
	cr_assert_str_eq(best(c, 2, &r), "nobody");
}

Test(candidate, what_was_only_received_does_not_survive_a_start)
{
	struct candidate c = cand("b", 5, 2000);
	struct candidate_rule r = rule_of(DAGTAP_MODE_SYNC);

	c.unconfirmed = true;
	cr_assert_str_eq(best(&c, 1, &r), "b", "durable acks do");
	r.ack_durable = false;
	cr_assert_str_eq(best(&c, 1, &r), "nobody");
}

Test(candidate, each_reason_excludes)
{
	struct candidate_rule r = rule_of(DAGTAP_MODE_COMMIT);
	struct candidate_verdict v;
	struct candidate c;

#define EXCLUDES(change) do {							\
		c = cand("b", 5, 2000);						\
		change;								\
		cr_assert_eq(candidate_rank(&c, 1, &r, &v), 0, #change);	\
		cr_assert(v.why[0], #change);					\
	} while (0)
	EXCLUDES(c.reachable = false);
	EXCLUDES(c.sealed = false);
	EXCLUDES(c.whole = false);
	EXCLUDES(c.blocked = true);
	EXCLUDES(c.failed = true);
	EXCLUDES(c.ended = true);
	EXCLUDES(c.maintenance = true);
	EXCLUDES(c.stopped = true);
	EXCLUDES(c.status = CAND_OTHER);
	EXCLUDES(c.policy = POLICY_BLOCKED);
	EXCLUDES(c.policy = 17);
	EXCLUDES(c.policy = POLICY_INTRASITE; strcpy(c.site, "east"));
	EXCLUDES(c.max_active = 2; c.active_now = 2);
	strcpy(r.only, "z");
	EXCLUDES((void)0);
	r.only[0] = 0;
	r.skip_health = r.skip_max_active = true;
	c = cand("b", 5, 2000);
	c.status = CAND_OTHER;
	c.max_active = c.active_now = 2;
	cr_assert_str_eq(best(&c, 1, &r), "b");
	c.policy = POLICY_INTRASITE;
	strcpy(c.site, "east");
	strcpy(r.old_site, "east");
	cr_assert_str_eq(best(&c, 1, &r), "b");
}

Test(candidate, order_is_log_then_preference_then_name)
{
	struct candidate c[3] = { cand("b", 5, 2000), cand("c", 5, 3000), cand("d", 5, 3000) };
	struct candidate_rule r = rule_of(DAGTAP_MODE_COMMIT);

	cr_assert_str_eq(best(c, 3, &r), "c");
	c[1].preference = 2;
	cr_assert_str_eq(best(c, 3, &r), "d");
	for (int i = 0; i < 3; i++)
		c[i].dial = DIAL_LOSSLESS;
	c[0].preference = 0;
	cr_assert_str_eq(best(c, 3, &r), "b", "with Lossless by preference");
	c[2].dial = DIAL_GOOD;
	cr_assert_str_eq(best(c, 3, &r), "d", "only where all are Lossless");
}

Test(candidate, tiers_and_preferred_limits_come_before_the_log)
{
	struct candidate c[4] = { cand("b", 5, 9000), cand("c", 5, 8000), cand("d", 5, 7000),
				  cand("e", 5, 6000) };
	struct candidate_rule r = rule_of(DAGTAP_MODE_COMMIT);
	struct candidate_verdict v[4];

	c[0].copy_queue = 10;
	c[0].replay_queue = 50;		/* any eligible */
	c[1].replay_queue = 50;		/* third tier */
	c[2].copy_queue = 10;		/* second */
	cr_assert_eq(candidate_rank(c, 4, &r, v), 4);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(v[i].index, 3 - i, "place %d", i);
	c[3].max_preferred = c[3].active_now = 1;
	candidate_rank(c, 4, &r, v);
	cr_assert_eq(v[3].index, 3, "soft limit");
	r.skip_lag = true;
	cr_assert_str_eq(best(c, 4, &r), "b");
	c[0].lagged = true;
	cr_assert_str_neq(best(c, 4, &r), "b", "what a lag holds back may take long to replay");
	c[0].replay_queue = 0;
	cr_assert_str_eq(best(c, 4, &r), "b");
}

Test(candidate, the_dial_counts_what_is_left_after_the_last_logs)
{
	struct candidate c[2] = { cand("b", 5, 3000), cand("c", 5, 9000) };
	struct candidate_rule r = rule_of(DAGTAP_MODE_ASYNC);
	struct candidate_verdict v[2];

	r.known_lsn = 9001;
	c[1].blocked = true;
	cr_assert_eq(candidate_rank(c, 2, &r, v), 1, "b can fetch from c");
	cr_assert_eq(v[0].lost_bytes, 1);
	c[1].reachable = false;
	cr_assert_eq(candidate_rank(c, 2, &r, v), 0, "%s", v[0].why);
	r.known_lsn = 9000;
	cr_assert_eq(candidate_rank(c, 2, &r, v), 1, "Good: six segments");
	cr_assert_eq(v[0].lost_bytes, 6000);
	c[0].dial = DIAL_LOSSLESS;
	cr_assert_eq(candidate_rank(c, 2, &r, v), 0);
	c[0].dial = DIAL_BEST;
	r.known_lsn = 15000;
	cr_assert_eq(candidate_rank(c, 2, &r, v), 1, "Best: twelve");
	r.known_lsn = 15001;
	cr_assert_eq(candidate_rank(c, 2, &r, v), 0);
	c[0].dial = DIAL_BEST_EFFORT;
	cr_assert_eq(candidate_rank(c, 2, &r, v), 1);
	c[0].dial = 99;
	cr_assert_eq(candidate_rank(c, 2, &r, v), 0, "an unknown dial allows nothing");
}

Test(candidate, a_tail_of_an_older_epoch_is_no_log)
{
	struct candidate c[2] = { cand("b", 4, 50000), cand("c", 5, 2000) };
	struct candidate_rule r = rule_of(DAGTAP_MODE_ASYNC);
	struct candidate_verdict v[2];
	uint64_t lsn;

	r.known_lsn = 2000;
	cr_assert(candidate_position(&c[0], &r, &lsn));
	cr_assert_eq(lsn, 1000, "epoch 5 began there");
	cr_assert_str_eq(best(c, 2, &r), "c");
	cr_assert_eq(candidate_source(c, 2, &r), 1);
	c[1].reachable = false;
	c[0].dial = DIAL_LOSSLESS;
	cr_assert_eq(candidate_rank(c, 2, &r, v), 0, "1000 bytes are lost though its end is higher");
	cr_assert_eq(v[0].lost_bytes == 1000 || v[1].lost_bytes == 1000, 1);
	c[0].log_epoch = 3;
	c[0].dial = DIAL_BEST;
	cr_assert_not(candidate_position(&c[0], &r, &lsn));
	cr_assert_eq(candidate_rank(c, 2, &r, v), 0, "what happened in epoch 4 is not known here");
	c[0].dial = DIAL_BEST_EFFORT;
	cr_assert_eq(candidate_rank(c, 2, &r, v), 1);
}

Test(candidate, an_in_sync_copy_that_no_active_reached_is_no_worse)
{
	/* d has joined epoch 5 from far behind; b was in one place with its beginning */
	struct candidate c[2] = { cand("b", 2, 1000), cand("d", 5, 400) };
	struct candidate_rule r = rule_of(DAGTAP_MODE_COMMIT);

	c[1].in_sync = false;
	cr_assert_eq(candidate_source(c, 2, &r), 0, "b must not be cut to what d has");
	cr_assert_str_eq(best(c, 2, &r), "b");
}

Test(candidate, no_source_where_nobody_answers)
{
	struct candidate c = cand("b", 5, 2000);
	struct candidate_rule r = rule_of(DAGTAP_MODE_ASYNC);

	cr_assert_eq(candidate_source(&c, 1, &r), 0);
	c.sealed = false;
	cr_assert_eq(candidate_source(&c, 1, &r), -1, "its log may still grow");
	cr_assert_eq(candidate_source(NULL, 0, &r), -1);
}
