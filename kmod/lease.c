// SPDX-License-Identifier: GPL-2.0
/*
 * The host's lease and everything else that happens because time passes.
 *
 * The deadline is compared with the clock at each submission and again before
 * each completion; no timer and no daemon is needed for that. The tick only
 * moves states: lease over -> LEASE (writes are parked) -> after park_timeout
 * FENCED (they fail); ring full -> after full_timeout TRACKING; a suspend that
 * finds waiting writes -> after a grace they are given back.
 */
#define pr_fmt(fmt) "dagtap: " fmt

#include <linux/ktime.h>

#include "tap.h"

static DEFINE_SPINLOCK(lease_lock);
static u64 lease_deadline;	/* CLOCK_BOOTTIME; 0: never given, or ended */
static u64 lease_fence;

static bool lease_over(u64 now)
{
	u64 deadline = READ_ONCE(lease_deadline);

	return deadline != DAGTAP_LEASE_FOREVER && now >= deadline;
}

/* May this store accept and complete writes now? */
bool lease_valid(struct store *s)
{
	return READ_ONCE(s->exempt) || !lease_over(ktime_get_boottime_ns());
}

void lease_get(u64 *ret_deadline, u64 *ret_fence)
{
	unsigned long irq;

	spin_lock_irqsave(&lease_lock, irq);
	*ret_deadline = lease_deadline;
	*ret_fence = lease_fence;
	spin_unlock_irqrestore(&lease_lock, irq);
}

/* Has the tick look at the store now. */
void lease_kick(struct store *s)
{
	mod_delayed_work(tap_wq, &s->tick_work, 0);
}

int lease_set(const struct dagtap_lease *lease)
{
	unsigned long irq;
	int rc = 0;

	if (lease->flags || lease->rsvd)
		return -EINVAL;
	spin_lock_irqsave(&lease_lock, irq);
	if (lease->fence < lease_fence) {
		rc = -ESTALE;
	} else {
		lease_fence = lease->fence;
		WRITE_ONCE(lease_deadline, lease->deadline_boot_ns);
	}
	spin_unlock_irqrestore(&lease_lock, irq);
	if (rc)
		return rc;
	stores_tick();
	return 0;
}

/* Each step returns when it wants to be called again; ~0: never. */
static u64 tick_lease(struct store *s, u64 now, struct list_head *ended)
{
	u64 park_end;

	if (s->role != DAGTAP_ROLE_ACTIVE || s->exempt) {
		s->lease_lost = false;
		return ~0ull;
	}
	if (!lease_over(now)) {
		if (s->lease_lost) {
			s->lease_lost = false;
			commit_collect(s, ended);
			submit_kick(s);
		}
		return READ_ONCE(lease_deadline);
	}
	if (!s->lease_lost) {
		s->lease_lost = true;
		s->lost_since = now;
		event_post(s, DAGTAP_EV_LEASE_LOST, s->lost_since);
	}
	park_end = s->lost_since + (u64)s->park_timeout_ms * NSEC_PER_MSEC;
	if (now < park_end)
		return park_end;
	pr_warn_ratelimited("name=%s lease=over parked=%u role=fenced\n", s->name,
			    s->nr_queued + s->nr_parked);
	s->role = DAGTAP_ROLE_FENCED;
	s->lease_lost = false;
	commit_collect_all(s, BLK_STS_IOERR, ended);
	return ~0ull;
}

static u64 tick_full(struct store *s, u64 now)
{
	u64 due;

	if (!s->full || s->tracking || s->role != DAGTAP_ROLE_ACTIVE)
		return ~0ull;
	due = s->full_since;
	if (s->attached)
		due += (u64)s->full_timeout_ms * NSEC_PER_MSEC;
	if (s->suspend_deadline)
		due = min(due, s->suspend_deadline);
	if (now < due)
		return due;
	pr_warn_ratelimited("name=%s ring=full state=tracking lsn=%llu waiting=%u\n",
			    s->name, s->ring.reserve_lsn, s->nr_queued);
	store_enter_tracking(s);
	submit_kick(s);
	return ~0ull;
}

/*
 * A suspend waits for every bio inside the target. What is still waiting for a
 * copy or for the lease after the grace is handed back: on a suspend without
 * flush dm issues it again after the resume, with nothing lost; on any other it
 * fails, because a commit that is not acked must not look like one that is. Who
 * wants no error lowers the mode, or suspends with --noflush. Writes that wait
 * for metadata, for each other or for the ring go on by themselves.
 */
static u64 tick_suspend(struct store *s, u64 now, struct list_head *ended)
{
	blk_status_t status = BLK_STS_IOERR;

	if (!s->suspend_deadline)
		return ~0ull;
	if (now < s->suspend_deadline)
		return s->suspend_deadline;
	if (!s->nr_held && !s->nr_parked && !(s->nr_queued && s->lease_lost))
		return now + NSEC_PER_SEC / 10;
	if (s->live && dm_noflush_suspending(s->live->ti))
		status = BLK_STS_DM_REQUEUE;
	pr_warn_ratelimited("name=%s suspend=%s held=%u parked=%u queued=%u\n", s->name,
			    status == BLK_STS_IOERR ? "failed" : "requeued", s->nr_held,
			    s->nr_parked, s->nr_queued);
	if (s->lease_lost)
		commit_collect_all(s, status, ended);
	else
		commit_collect_done(s, status, ended);
	return now + NSEC_PER_SEC / 10;
}

void lease_tick(struct work_struct *work)
{
	struct store *s = container_of(work, struct store, tick_work.work);
	u64 now = ktime_get_boottime_ns(), next;
	LIST_HEAD(ended);

	spin_lock_irq(&s->lock);
	next = tick_lease(s, now, &ended);
	next = min(next, tick_full(s, now));
	next = min(next, tick_suspend(s, now, &ended));
	store_update(s);
	spin_unlock_irq(&s->lock);
	commit_finish(s, &ended);
	if (next != ~0ull)
		queue_delayed_work(tap_wq, &s->tick_work,
				   nsecs_to_jiffies(next > now ? next - now : 0) + 1);
}
