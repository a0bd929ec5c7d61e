// SPDX-License-Identifier: GPL-2.0
/*
 * /proc/dagtap: the one table that a person reads, a block of lines per store.
 */
#include <linux/proc_fs.h>
#include <linux/ktime.h>

#include "tap.h"

static void show_lease(struct seq_file *seq, const struct store *s,
		       const struct dagtap_info *info)
{
	u64 now = ktime_get_boottime_ns(), deadline = info->lease_deadline_boot_ns;

	if (s->exempt)
		seq_puts(seq, "not needed yet");
	else if (deadline == DAGTAP_LEASE_FOREVER)
		seq_puts(seq, "for ever");
	else if (deadline > now)
		seq_printf(seq, "%llu ms", (deadline - now) / NSEC_PER_MSEC);
	else
		seq_puts(seq, "over");
	seq_printf(seq, " (fence %llu)", info->lease_fence);
}

static void show_store(struct seq_file *seq, struct store *s, struct dagtap_info *info)
{
	store_info(s, info);
	seq_printf(seq, "%s : %pUb %s %s %s epoch %u\n", s->name, s->uuid,
		   store_role_name(info->role), store_state_name(info->state),
		   store_mode_name(info->mode), info->epoch);
	seq_printf(seq, "      lsn %llu  acked %llu  freed %llu  records %llu\n",
		   info->commit_lsn, info->ack_lsn, info->freed_lsn, info->commit_seq);
	seq_printf(seq, "      ring %llu of %llu KiB  stalls %llu  held %llu  parked %llu\n",
		   (info->reserve_lsn - info->freed_lsn) >> 10, info->ring_bytes >> 10,
		   info->stalls, info->held, info->parked);
	seq_printf(seq, "      regions %llu of %u KiB  dirty %llu  failed %llu  io errors %llu\n",
		   info->regions, info->region_bytes >> 10, info->regions_dirty,
		   info->regions_failed, info->io_errors);
	seq_puts(seq, "      lease ");
	show_lease(seq, s, info);
	seq_printf(seq, "\n      writes %llu (%llu KiB)  flushes %llu  discards %llu  zeroes %llu  overlaps %llu\n",
		   info->writes, info->write_bytes >> 10, info->flushes,
		   info->discards, info->zeroes, info->overlaps);
	seq_printf(seq, "      latency below us: write p50 %llu p99 %llu  held p50 %llu p99 %llu\n",
		   store_percentile_us(info->write_us, 50),
		   store_percentile_us(info->write_us, 99),
		   store_percentile_us(info->hold_us, 50),
		   store_percentile_us(info->hold_us, 99));
}

static int proc_show(struct seq_file *seq, void *unused)
{
	struct dagtap_info *info = kmalloc(sizeof(*info), GFP_KERNEL);
	struct store *s;

	if (!info)
		return -ENOMEM;
	seq_printf(seq, "dagtap %u.%u\n", DAGTAP_ABI_MAJOR, DAGTAP_ABI_MINOR);
	mutex_lock(&stores_lock);
	list_for_each_entry(s, &stores, node)
		show_store(seq, s, info);
	mutex_unlock(&stores_lock);
	kfree(info);
	return 0;
}

int proc_init(void)
{
	return proc_create_single("dagtap", 0444, NULL, proc_show) ? 0 : -ENOMEM;
}

void proc_exit(void)
{
	remove_proc_entry("dagtap", NULL);
}
