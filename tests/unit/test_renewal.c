// SPDX-License-Identifier: GPL-2.0
/* The lease's thread against an engine that answers as it is told. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/group/renewal.h"
#include "daemon/log.h"

static atomic_int answer;		/* of renew() under the accepted fence */
static atomic_ulong fence, accepted;	/* what the group says, what the host took */
static atomic_uint renewals, given, wrong_fence;
static atomic_bool settled_answer;
static atomic_uint asked_settled;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

static int fake_renew(struct engine *en, uint64_t *ret_deadline, uint64_t *ret_fence)
{
	atomic_fetch_add(&renewals, 1);
	if (atomic_load(&accepted) != atomic_load(&fence))
		return -ESTALE;
	if (atomic_load(&answer))
		return atomic_load(&answer);
	*ret_deadline = now_ns() + 200000000u;
	*ret_fence = atomic_load(&accepted);
	return 0;
}

static int fake_fence(struct engine *en, uint64_t *ret)
{
	*ret = atomic_load(&fence);
	return 0;
}

static int fake_accept(struct engine *en, uint64_t f)
{
	atomic_store(&accepted, f);
	return 0;
}

/* What the module had been told when the engine was asked to release. */
static atomic_ulong module_deadline, released_at;
static atomic_uint releases;
static atomic_int release_answer;

static int fake_release(struct engine *en)
{
	atomic_fetch_add(&releases, 1);
	atomic_store(&released_at, atomic_load(&module_deadline));
	return atomic_load(&release_answer);
}

static const struct engine_ops fake_ops = {
	.release = fake_release,
	.name = "fake", .renew = fake_renew, .fence = fake_fence, .accept_fence = fake_accept,
};
static struct engine fake = { .ops = &fake_ops };

static int give(uint64_t f, uint64_t deadline)
{
	if (f != atomic_load(&fence))
		atomic_fetch_add(&wrong_fence, 1);
	atomic_fetch_add(&given, 1);
	atomic_store(&module_deadline, deadline);
	return 0;
}

static bool hook_settled(void *ctx)
{
	atomic_fetch_add(&asked_settled, 1);
	return atomic_load(&settled_answer);
}

static const struct renewal_hooks hooks = { .settled = hook_settled };

static struct renewal *begin(void)
{
	struct renewal_conf conf = {
		.engine = &fake, .lease = give, .period_ms = 20,
	};
	struct renewal *rn;

	log_set_level(LOG_LV_ERR);
	atomic_store(&fence, 7);
	cr_assert(eq(int, renewal_start(&conf, &rn), 0));
	return rn;
}

static void nap(unsigned ms)
{
	usleep(ms * 1000);
}

Test(renewal, no_fence_is_accepted_at_start_without_hooks)
{
	struct renewal *rn = begin();

	nap(150);
	cr_assert(gt(uint, atomic_load(&renewals), 1));
	cr_assert(eq(uint, atomic_load(&given), 0));
	cr_assert(not(renewal_holds(rn)));
	renewal_stop(rn);
}

Test(renewal, a_fence_waits_for_what_must_be_shut)
{
	struct renewal *rn = begin();

	renewal_set_hooks(rn, &hooks, NULL);
	nap(150);
	cr_assert(gt(uint, atomic_load(&asked_settled), 1));
	cr_assert(eq(uint, atomic_load(&given), 0), "R2");
	atomic_store(&settled_answer, true);
	nap(150);
	cr_assert(gt(uint, atomic_load(&given), 0));
	cr_assert(renewal_holds(rn));

	/* somebody takes our stores over */
	atomic_store(&settled_answer, false);
	atomic_store(&fence, 8);
	nap(60);
	atomic_store(&given, 0);
	nap(300);
	cr_assert(eq(uint, atomic_load(&given), 0), "R1");
	cr_assert(not(renewal_holds(rn)));
	atomic_store(&settled_answer, true);
	renewal_kick(rn);
	nap(60);
	cr_assert(renewal_holds(rn));
	cr_assert(eq(uint, atomic_load(&wrong_fence), 0));
	renewal_stop(rn);
}

Test(renewal, an_ambiguous_answer_extends_nothing)
{
	struct renewal *rn = begin();
	unsigned long beats;

	atomic_store(&settled_answer, true);
	renewal_set_hooks(rn, &hooks, NULL);
	nap(100);
	cr_assert(renewal_holds(rn));
	atomic_store(&answer, -EAGAIN);
	nap(40);
	atomic_store(&given, 0);
	beats = renewal_beats(rn);
	nap(400);
	cr_assert(eq(uint, atomic_load(&given), 0));
	cr_assert(not(renewal_holds(rn)));
	cr_assert(gt(ulong, renewal_beats(rn), beats), "the thread lives on");
	renewal_stop(rn);
}

Test(renewal, the_period_can_change)
{
	struct renewal *rn = begin();
	unsigned before;

	renewal_set_period(rn, 1000);
	nap(60);
	before = atomic_load(&renewals);
	nap(200);
	cr_assert(le(uint, atomic_load(&renewals), before + 1));
	renewal_kick(rn);
	nap(50);
	cr_assert(gt(uint, atomic_load(&renewals), before));
	renewal_stop(rn);
}

/* R3, and that nothing is renewed until it is taken up again. */
Test(renewal, withheld_is_let_go_once_the_module_has_ended)
{
	struct renewal *rn = begin();

	atomic_store(&settled_answer, true);
	renewal_set_hooks(rn, &hooks, NULL);
	nap(100);
	cr_assert(renewal_holds(rn));
	atomic_store(&released_at, 1);
	renewal_withhold(rn, "its disk hangs");
	nap(150);
	cr_assert(eq(uint, atomic_load(&releases), 1), "once");
	cr_assert(eq(ulong, atomic_load(&released_at), 0), "the module first");
	cr_assert(not(renewal_holds(rn)));
	atomic_store(&renewals, 0);
	renewal_withhold(rn, "its disk hangs for 11 s");
	nap(150);
	cr_assert(eq(uint, atomic_load(&releases), 1));
	cr_assert(eq(uint, atomic_load(&renewals), 0));
	cr_assert(eq(ulong, atomic_load(&module_deadline), 0));
	/* it answers again; and hangs again */
	renewal_withhold(rn, NULL);
	nap(100);
	cr_assert(renewal_holds(rn));
	renewal_withhold(rn, "its disk hangs");
	nap(100);
	cr_assert(eq(uint, atomic_load(&releases), 2));
	renewal_stop(rn);
}

Test(renewal, let_go_for_good)
{
	struct renewal *rn = begin();

	atomic_store(&settled_answer, true);
	renewal_set_hooks(rn, &hooks, NULL);
	nap(100);
	cr_assert(renewal_holds(rn));
	/* the engine does not answer: it is tried, and ends all the same */
	atomic_store(&release_answer, -EAGAIN);
	renewal_let_go(rn, "dagd is stopped");
	cr_assert(eq(uint, atomic_load(&releases), 1));
	cr_assert(not(renewal_holds(rn)));
	renewal_withhold(rn, NULL);
	atomic_store(&renewals, 0);
	nap(150);
	cr_assert(eq(uint, atomic_load(&renewals), 0), "nobody takes it up again");
	cr_assert(eq(ulong, atomic_load(&module_deadline), 0));
	renewal_stop(rn);
}

Test(renewal, without_a_lease_nothing_is_told)
{
	struct renewal *rn = begin();

	nap(60);
	renewal_let_go(rn, "dagd is stopped");
	cr_assert(eq(uint, atomic_load(&given), 0), "no fence was accepted yet");
	renewal_stop(rn);
}

/* Each change of the agreed state kicks: however many come, no turn is put off. */
Test(renewal, kicks_do_not_put_off_the_next_turn)
{
	struct renewal *rn = begin();

	atomic_store(&settled_answer, true);
	renewal_set_hooks(rn, &hooks, NULL);
	renewal_set_period(rn, 50);
	nap(150);
	for (int i = 0; i < 40; i++) {
		renewal_kick(rn);
		nap(2);
	}
	atomic_store(&renewals, 0);
	nap(600);
	cr_assert(ge(uint, atomic_load(&renewals), 6));
	cr_assert(renewal_holds(rn));
	/* nor is one that was due by a longer period */
	renewal_set_period(rn, 5000);
	nap(120);
	renewal_set_period(rn, 50);
	renewal_kick(rn);
	atomic_store(&renewals, 0);
	nap(600);
	cr_assert(ge(uint, atomic_load(&renewals), 6));
	renewal_stop(rn);
}
