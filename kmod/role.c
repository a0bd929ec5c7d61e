// SPDX-License-Identifier: GPL-2.0
/*
 * Role, mode, and where the log begins and ends.
 *
 * A change closes the gate (arriving writes queue), waits until every record
 * that has an LSN is published, makes the superblock durable, changes everything
 * under one hold of the lock and opens the gate: for a write the change happens
 * at one instant. If anything fails before that instant, nothing has changed.
 */
#define pr_fmt(fmt) "dagtap: " fmt

#include "tap.h"

static bool settled(struct store *s)
{
	bool yes;

	spin_lock_irq(&s->lock);
	yes = dagtap_ring_settled(&s->ring);
	spin_unlock_irq(&s->lock);
	return yes;
}

static int gate_close(struct store *s)
{
	spin_lock_irq(&s->lock);
	s->gate = true;
	spin_unlock_irq(&s->lock);
	if (!wait_event_timeout(s->wait_wq, settled(s), TAP_WAIT_JIFFIES))
		return -ETIMEDOUT;
	return 0;
}

static void gate_open(struct store *s)
{
	spin_lock_irq(&s->lock);
	s->gate = false;
	submit_kick(s);
	spin_unlock_irq(&s->lock);
}

static void rebase_regions(struct store *s, u64 lsn)
{
	u32 block;

	for (block = 0; block < s->map.nr_blocks; block++) {
		spin_lock_irq(&s->lock);
		dagtap_region_rebase(&s->map, block, lsn);
		spin_unlock_irq(&s->lock);
		cond_resched();
	}
}

/*
 * The page cache of the mapped device holds nothing that is worth keeping. Dirty
 * pages are written, which fails unless the role is ACTIVE. No lock is held: the
 * device may be suspended, and its resume needs them.
 */
static void drop_cache(struct store *s)
{
	struct gendisk *disk = NULL;

	down_read(&s->live_sem);
	if (s->live) {
		disk = dm_disk(dm_table_get_md(s->live->ti->table));
		get_device(disk_to_dev(disk));
	}
	up_read(&s->live_sem);
	if (!disk)
		return;
	sync_blockdev(disk->part0);
	invalidate_bdev(disk->part0);
	put_device(disk_to_dev(disk));
}

static bool is_live(struct store *s)
{
	bool live;

	down_read(&s->live_sem);
	live = s->live;
	up_read(&s->live_sem);
	return live;
}

/*
 * Begins a part of the log: ring emptied, new generation, GAP and EPOCH as
 * asked. Caller holds s->lock, the gate is closed and the ring settled.
 */
static void start_log(struct store *s, u64 start_lsn, const struct tap_sb *sb,
		      bool gap, u64 *group_generation)
{
	struct dagtap_state_payload payload = {
		.from_lsn = cpu_to_le64(s->ring.commit_lsn),
	};
	u64 end;

	WARN_ON(dagtap_ring_reset(&s->ring, start_lsn, sb->epoch, sb->tag));
	s->generation++;
	s->log_gen++;
	s->ack_lsn = start_lsn;
	s->clear_lsn = start_lsn;
	s->seed_lsn = ~0ull;
	s->tracking = false;
	s->full = false;
	s->full_since = 0;
	s->must_gap = false;
	s->flush_failed = false;
	if (group_generation) {
		payload.arg = cpu_to_le64(*group_generation);
		WARN_ON(submit_state_record(s, DAGTAP_STATE_EPOCH, &payload, &end));
		payload.arg = 0;
	}
	if (gap)
		WARN_ON(submit_state_record(s, DAGTAP_STATE_GAP, &payload, &end));
	shring_reset(s);
}

/* What is under way is ordered by LSN: it must have ended before one returns. */
static bool start_fits(const struct store *s, u64 start_lsn)
{
	return start_lsn >= s->ring.reserve_lsn ||
	       (s->role == DAGTAP_ROLE_PASSIVE && !s->open);
}

/* The gate is closed. */
static int check_active(struct store *s, const struct dagtap_role_set *arg,
			u64 *ret_start)
{
	bool fits;

	if (arg->epoch <= s->sb.epoch)
		return -ERANGE;
	spin_lock_irq(&s->lock);
	*ret_start = arg->start_lsn ?: s->ring.reserve_lsn;
	fits = start_fits(s, *ret_start);
	spin_unlock_irq(&s->lock);
	if (*ret_start % DAGTAP_ALIGN)
		return -EINVAL;
	if (!fits || *ret_start > TAP_LSN_MAX - TAP_LSN_STEP)
		return -ERANGE;
	return is_live(s) ? 0 : -ENXIO;
}

/*
 * Begins the epoch at *start_lsn. The gate does not stop a write that is at the
 * disk from failing, which moves the end of the log or gives it up: then -EAGAIN,
 * with the new end, and the regions are brought there again.
 */
static int begin_epoch(struct store *s, struct dagtap_role_set *arg,
		       const struct tap_sb *sb, u64 *start_lsn)
{
	const u64 bytes = dagtap_rec_bytes(sizeof(struct dagtap_state_payload));
	bool gap = arg->flags & DAGTAP_ROLEF_GAP || READ_ONCE(s->must_gap);
	int rc = 0;

	rebase_regions(s, gap ? DAGTAP_LSN_UNKNOWN : *start_lsn + bytes);
	spin_lock_irq(&s->lock);
	if (!start_fits(s, *start_lsn)) {
		rc = arg->start_lsn ? -ERANGE : -EAGAIN;
		*start_lsn = s->ring.reserve_lsn;
	} else if (s->must_gap && !gap) {
		rc = -EAGAIN;
	} else {
		start_log(s, *start_lsn, sb, gap, &arg->group_generation);
		s->failed = false;
		s->exempt = false;
		s->lease_lost = false;
		s->crashed = false;
		s->open = true;
		s->role = DAGTAP_ROLE_ACTIVE;
		store_update(s);
	}
	spin_unlock_irq(&s->lock);
	if (!rc)
		pr_info("name=%s role=active epoch=%u lsn=%llu gap=%d\n", s->name,
			arg->epoch, *start_lsn, gap);
	return rc;
}

static int set_active(struct store *s, struct dagtap_role_set *arg)
{
	struct tap_sb sb = { .epoch = arg->epoch, .tag = arg->tag };
	u64 start_lsn;
	int rc;

	rc = gate_close(s);
	if (!rc)
		rc = check_active(s, arg, &start_lsn);
	if (rc)
		goto out;
	sb.lsn_limit = max(s->sb.lsn_limit, start_lsn + TAP_LSN_STEP);
	rc = meta_save(s, &sb);
	if (rc)
		goto out;
	do {
		rc = begin_epoch(s, arg, &sb, &start_lsn);
	} while (rc == -EAGAIN);
	if (!rc) {
		arg->start_lsn = start_lsn;
		shring_wake(s);
	}
out:
	gate_open(s);
	lease_kick(s);
	return rc;
}

/* May the next epoch begin in the log that runs? Caller holds s->lock. */
static int check_continue(const struct store *s, const struct dagtap_role_set *arg)
{
	const u64 room = DAGTAP_RING_SPARE / 4;	/* FAIL records may have taken the rest */

	if (arg->start_lsn)
		return -EINVAL;
	if (s->role == DAGTAP_ROLE_PASSIVE || s->exempt || s->failed)
		return -ESTALE;
	if (arg->epoch <= s->sb.epoch)
		return -ERANGE;
	if (s->tracking || s->ring.size - dagtap_ring_used(&s->ring) < room ||
	    s->ring.lsn_limit - s->ring.reserve_lsn < room)
		return -EAGAIN;
	return 0;
}

static int continue_active(struct store *s, struct dagtap_role_set *arg)
{
	struct dagtap_state_payload payload = {
		.arg = cpu_to_le64(arg->group_generation),
	};
	struct tap_sb sb;
	u64 end;
	int rc;

	rc = gate_close(s);
	if (rc)
		goto out;
	spin_lock_irq(&s->lock);
	rc = check_continue(s, arg);
	sb = s->sb;
	spin_unlock_irq(&s->lock);
	if (rc)
		goto out;
	sb.epoch = arg->epoch;
	sb.tag = arg->tag;
	rc = meta_save(s, &sb);
	if (rc)
		goto out;

	spin_lock_irq(&s->lock);
	payload.from_lsn = cpu_to_le64(s->ring.commit_lsn);
	arg->start_lsn = s->ring.reserve_lsn;
	WARN_ON(dagtap_ring_continue(&s->ring, arg->epoch, arg->tag));
	/* Failing writes may have taken the room meanwhile. */
	if (submit_state_record(s, DAGTAP_STATE_EPOCH, &payload, &end))
		store_enter_tracking(s);
	shring_publish(s);
	s->role = DAGTAP_ROLE_ACTIVE;
	store_update(s);
	spin_unlock_irq(&s->lock);
	shring_wake(s);
	pr_info("name=%s role=active epoch=%u lsn=%llu continue=1\n", s->name, arg->epoch,
		arg->start_lsn);
out:
	gate_open(s);
	lease_kick(s);
	return rc;
}

/* A daemon that restarted, or a lease that came back in time: the log goes on. */
static int resume_active(struct store *s, struct dagtap_role_set *arg)
{
	int rc = 0;

	spin_lock_irq(&s->lock);
	if (s->role == DAGTAP_ROLE_PASSIVE || s->exempt || s->failed ||
	    arg->epoch != s->ring.epoch) {
		rc = -ESTALE;
	} else {
		s->role = DAGTAP_ROLE_ACTIVE;
		arg->start_lsn = s->ring.commit_lsn;
		store_update(s);
	}
	spin_unlock_irq(&s->lock);
	lease_kick(s);
	return rc;
}

/* Everything that waits fails; what is at the disk goes on. */
static void stop_serving(struct store *s, u32 role)
{
	LIST_HEAD(ended);

	spin_lock_irq(&s->lock);
	s->role = role;
	s->exempt = false;
	s->lease_lost = false;
	commit_collect_all(s, BLK_STS_IOERR, &ended);
	spin_unlock_irq(&s->lock);
	commit_finish(s, &ended);
	wake_up_all(&s->wait_wq);
}

/* CLOSE record and clean superblock; the log ends here. */
static int close_log(struct store *s)
{
	struct dagtap_state_payload payload = {};
	struct tap_sb sb;
	u64 end;

	spin_lock_irq(&s->lock);
	if (!s->tracking && s->ring.epoch) {
		payload.from_lsn = cpu_to_le64(s->ring.reserve_lsn);
		if (submit_state_record(s, DAGTAP_STATE_CLOSE, &payload, &end))
			pr_warn("name=%s close=skipped ring=full\n", s->name);
		shring_publish(s);
	}
	s->tracking = false;
	sb = s->sb;
	sb.log_lsn = s->ring.reserve_lsn;
	store_update(s);
	spin_unlock_irq(&s->lock);
	shring_wake(s);
	sb.clean = 1;
	return meta_save(s, &sb);
}

static int set_passive(struct store *s, struct dagtap_role_set *arg)
{
	int rc = 0;

	if (!s->open)
		goto out;
	stop_serving(s, DAGTAP_ROLE_PASSIVE);
	/* A read that submit_map() lets pass was counted before it looked at the role. */
	smp_mb();
	if (!wait_event_timeout(s->wait_wq, !atomic_read(&s->inflight), TAP_WAIT_JIFFIES))
		return -ETIMEDOUT;
	if (!s->sb.clean && is_live(s))
		rc = close_log(s);
	s->open = rc != 0;
	pr_info("name=%s role=passive lsn=%llu rc=%d\n", s->name, s->ring.reserve_lsn, rc);
	mod_delayed_work(tap_meta_wq, &s->clear_work, 0);
out:
	arg->start_lsn = s->ring.commit_lsn;
	return rc;
}

static int set_fenced(struct store *s, struct dagtap_role_set *arg)
{
	if (s->role == DAGTAP_ROLE_PASSIVE)
		return -EINVAL;
	stop_serving(s, DAGTAP_ROLE_FENCED);
	arg->start_lsn = s->ring.commit_lsn;
	return 0;
}

static int become_active(struct store *s, struct dagtap_role_set *arg)
{
	switch (arg->flags) {
	case DAGTAP_ROLEF_RESUME:
		return resume_active(s, arg);
	case DAGTAP_ROLEF_CONTINUE:
		return continue_active(s, arg);
	case DAGTAP_ROLEF_GAP:
	case 0:
		return set_active(s, arg);
	default:
		return -EINVAL;
	}
}

int role_set(struct store *s, struct dagtap_role_set *arg)
{
	int rc;

	if (arg->flags && arg->role != DAGTAP_ROLE_ACTIVE)
		return -EINVAL;
	if (arg->role == DAGTAP_ROLE_ACTIVE && s->role == DAGTAP_ROLE_PASSIVE)
		drop_cache(s);
	if (mutex_lock_killable(&s->ctl_mutex))
		return -EINTR;
	switch (arg->role) {
	case DAGTAP_ROLE_ACTIVE:
		rc = become_active(s, arg);
		break;
	case DAGTAP_ROLE_PASSIVE:
		rc = set_passive(s, arg);
		break;
	case DAGTAP_ROLE_FENCED:
		rc = set_fenced(s, arg);
		break;
	default:
		rc = -EINVAL;
	}
	mutex_unlock(&s->ctl_mutex);
	if (!rc && arg->role != DAGTAP_ROLE_ACTIVE)
		drop_cache(s);
	return rc;
}

int role_mode(struct store *s, const struct dagtap_mode_set *arg)
{
	LIST_HEAD(ended);

	if (arg->mode > DAGTAP_MODE_SYNC || arg->flags ||
	    arg->full_timeout_ms < 1 || arg->full_timeout_ms > 60000 ||
	    arg->park_timeout_ms > 100000)
		return -EINVAL;
	spin_lock_irq(&s->lock);
	s->mode = arg->mode;
	s->full_timeout_ms = arg->full_timeout_ms;
	s->park_timeout_ms = arg->park_timeout_ms;
	commit_collect(s, &ended);
	spin_unlock_irq(&s->lock);
	commit_finish(s, &ended);
	lease_kick(s);
	return 0;
}

int role_restart(struct store *s, struct dagtap_restart *arg)
{
	int rc;

	if (arg->flags || arg->rsvd)
		return -EINVAL;
	if (mutex_lock_killable(&s->ctl_mutex))
		return -EINTR;
	rc = -EPERM;
	if (s->role != DAGTAP_ROLE_ACTIVE || s->exempt)
		goto unlock;
	rc = -EALREADY;
	if (!s->tracking)
		goto unlock;
	rc = -ENXIO;
	if (!is_live(s))
		goto unlock;
	/* The next step of lsn_limit is under way: there must be room for GAP. */
	rc = -EAGAIN;
	if (s->ring.lsn_limit - s->ring.reserve_lsn < DAGTAP_BLOCK)
		goto unlock;
	rc = gate_close(s);
	if (rc)
		goto out;
	rebase_regions(s, DAGTAP_LSN_UNKNOWN);
	spin_lock_irq(&s->lock);
	arg->start_lsn = s->ring.reserve_lsn;
	start_log(s, arg->start_lsn, &s->sb, true, NULL);
	arg->generation = s->generation;
	store_update(s);
	spin_unlock_irq(&s->lock);
	shring_wake(s);
	pr_info("name=%s log=restarted lsn=%llu dirty=%llu\n", s->name, arg->start_lsn,
		s->map.nr_dirty);
out:
	gate_open(s);
unlock:
	mutex_unlock(&s->ctl_mutex);
	return rc;
}

/* Live insertion: serve at once, without a log and without a lease. */
static void begin_insertion(struct store *s, struct tap *tap)
{
	tap->insert = false;
	spin_lock_irq(&s->lock);
	s->exempt = true;
	s->open = true;
	s->role = DAGTAP_ROLE_ACTIVE;
	store_enter_tracking(s);
	spin_unlock_irq(&s->lock);
	pr_info("name=%s role=active insert=1\n", s->name);
}

/*
 * A table is about to serve. Before the first write the superblock must say
 * that the store is not clean.
 */
int role_resume_table(struct store *s, struct tap *tap)
{
	bool insert;
	int rc = 0;

	mutex_lock(&s->ctl_mutex);
	down_write(&s->live_sem);
	spin_lock_irq(&s->lock);
	s->live = tap;
	spin_unlock_irq(&s->lock);
	up_write(&s->live_sem);

	insert = tap->insert && s->role == DAGTAP_ROLE_PASSIVE && !s->sb.epoch;
	if ((insert || s->role != DAGTAP_ROLE_PASSIVE) && s->sb.clean) {
		struct tap_sb sb;

		spin_lock_irq(&s->lock);
		sb = s->sb;
		spin_unlock_irq(&s->lock);
		sb.clean = 0;
		rc = meta_save(s, &sb);
	}
	if (!rc && insert)
		begin_insertion(s, tap);
	mutex_unlock(&s->ctl_mutex);
	return rc;
}

/*
 * A table goes. With the last one nothing is in flight any more, so the end of
 * the log is known and can be left on disk.
 */
void role_table_gone(struct store *s, struct tap *tap, bool last)
{
	struct tap_sb sb;

	mutex_lock(&s->ctl_mutex);
	spin_lock_irq(&s->lock);
	s->gate = last;
	sb = s->sb;
	sb.log_lsn = s->ring.reserve_lsn;
	spin_unlock_irq(&s->lock);
	if (last && s->role != DAGTAP_ROLE_PASSIVE && !s->sb.clean && !s->failed) {
		sb.clean = 1;
		meta_save(s, &sb);
	}
	down_write(&s->live_sem);
	spin_lock_irq(&s->lock);
	if (s->live == tap)
		s->live = NULL;
	spin_unlock_irq(&s->lock);
	up_write(&s->live_sem);
	gate_open(s);
	mutex_unlock(&s->ctl_mutex);
}
