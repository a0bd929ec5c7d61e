#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -c 1 -d 160 -l 640 -t 700
#
# A copy's machine is lost while PostgreSQL works, and comes back: once what it misses is
# in the active's spool, once it is beyond the quota and comes as a staged seed. While it
# catches up it is lost again, KILLS times in each round (the case's first argument, 2).
# After every start, when the copy has applied what its own log has and before it hears
# of the active, its image is what an older moment has left: the file system repairs, a
# database starts on a scratch snapshot of it, and the transactions in it are whole ones.
# In the end the devices are equal, and a return costs no more than twice the regions
# that were touched.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
. "$DAG/tests/lab/pg.sh"

kills=${1:-2}
look=/dev/mapper/look

# ---- node 2, the copy --------------------------------------------------------------

# The replay has ended: with the log, or before a gap.
settled()
{
	local a b

	a=$(json_of node2 replayed_lsn) && [ -n "$a" ] && sleep 4 &&
		b=$(json_of node2 replayed_lsn) && [ "$a" = "$b" ]
}

snapshot()
{
	truncate -s 192M /run/cow.img && loop=$(losetup -f --show /run/cow.img) &&
		dmsetup create look --table \
			"0 $(lab get sectors) snapshot /dev/vda $loop N 16"
}

fsck_look()
{
	e2fsck -fy $look || [ $? -le 1 ] && e2fsck -fn $look
}

# What one transaction changes in four tables is there in all or in none.
whole_transactions()
{
	[ "$(pg_sql -c "select (select sum(abalance) from pgbench_accounts) =
		(select coalesce(sum(delta), 0) from pgbench_history) and
		(select sum(tbalance) from pgbench_tellers) =
		(select coalesce(sum(delta), 0) from pgbench_history) and
		(select count(*) from acked) = (select count(*) from pgbench_history)")" = t ]
}

look_at_image()
{
	check "node2: boot $BOOT: a snapshot of its device" snapshot
	check "node2: boot $BOOT: its file system can be repaired" fsck_look
	mkdir -p "$PG_DIR"
	check "node2: boot $BOOT: it is mounted" mount $look "$PG_DIR"
	check "node2: boot $BOOT: PostgreSQL starts on it" pg_start
	check "node2: boot $BOOT: transactions are whole" whole_transactions
	pg_stop immediate || :
	umount "$PG_DIR" && dmsetup remove look && losetup -d "$loop" && rm /run/cow.img
}

come_back()
{
	need_module loop dm-snapshot
	lab cut 2 repl
	check "node2: boot $BOOT: dagd starts alone" dag_up
	check "node2: boot $BOOT: it has applied what it has" wait_for 120 settled
	check "node2: boot $BOOT: dagd ends" dagd_stop
	look_at_image
	lab heal 2 repl
	check "node2: boot $BOOT: dagd starts" dagd_start
	lab put "looked.$BOOT" "$lab_failed"
}

node2()
{
	if [ "$BOOT" -eq 1 ]; then
		vital "node2: daemon runs" dag_up
		vital "node2: joins" group_up
		vital "node2: copy is Healthy" copy_up
		lab put copied 1
	else
		come_back
	fi
	lab get end 2000 >/dev/null
	check "node2: devices equal" devices_equal end
	check "node2: segments verify" "$dagctl" log verify "$store"
	dagd_stop
}

# ---- node 1, the active ----------------------------------------------------------------

boots=1
round=0

# back: node 2 starts again; returns when its image has been looked at.
back()
{
	boots=$((boots + 1))
	lab restart 2 && [ "$(lab get "looked.$boots" 300)" = 0 ]
}

# away [MIB]: node 2 is lost under load; that much more is written then.
away()
{
	round=$((round + 1))
	pg_bench $round 2 8 &
	sleep 2
	lab kill 2 && wait $! || return 1
	for ((i = 0; i < ${1:-0} / 24; i++)); do
		dd if=/dev/urandom of="$PG_DIR/fill" bs=1M count=24 conv=notrunc,fsync \
			status=none || return 1
	done
}

random_sleep()
{
	sleep "$((RANDOM % 4)).$((RANDOM % 10))"
}

# return_under_fire NAME
return_under_fire()
{
	local k

	for ((k = 0; k < kills; k++)); do
		check "$1: back, its image is good ($k)" back
		random_sleep
		lab kill 2
	done
	check "$1: back, its image is good" back
	check "$1: Healthy without a hand" wait_for 240 copy_is node2 Healthy
}

resumed_by()
{
	grep -qE "peer=node2 connected .*resume=$1" "$LAB/dagd.node1.log"
}

# Bytes of the regions whose bits stand now.
touched()
{
	sed -n 's/.*regions [0-9]* of \([0-9]*\) KiB  dirty \([0-9]*\) .*/\1 \2/p' /proc/dagtap |
		awk '{ print $1 * 1024 * $2 }'
}

# The log from where the copy called to where it is whole: what was sent to it.
cheap_return()
{
	local before bytes sent

	away 72 || return 1
	pg_stop && sync || return 1
	bytes=$(touched)
	before=$(json_of node1 generated_lsn)
	back && wait_for 240 all_drained || return 1
	sent=$(($(json_of node1 generated_lsn) - before))
	echo "$sent bytes of log for $bytes bytes of regions"
	say "return: $sent bytes of log for $bytes bytes of regions"
	[ "$bytes" -gt 0 ] && [ "$sent" -le $((2 * bytes)) ]
}

node1()
{
	vital "node1: daemon runs" dag_up
	vital "node1: group and store" group_up --mode async --segment-mib 4 --ring-mib 8 \
		--quota 48MiB --full-timeout 10s
	lab put sectors "$(store_sectors)"
	lab get copied 300 >/dev/null
	vital "node1: a file system" mkfs.ext4 -q "$dev"
	mkdir -p "$PG_DIR"
	mount "$dev" "$PG_DIR"
	vital "node1: a database" pg_unpack
	vital "node1: PostgreSQL starts" pg_start
	vital "node1: everything is on node2" wait_for 240 all_drained

	check "spool: node2 is lost under load" away
	return_under_fire spool
	check "spool: it was fed from the log" resumed_by log
	check "quota: node2 is lost, and more is written than the quota" away 72
	return_under_fire quota
	check "quota: it was seeded by regions" resumed_by regions
	check "a return costs twice the regions at most" cheap_return
	check "nothing was seeded in full again" [ "$(grep -c 'resume=full' \
		"$LAB/dagd.node1.log")" -le 1 ]
	umount "$PG_DIR"
	check "node1: everything is on node2 again" wait_for 240 all_drained
	lab put end 1
	check "node1: devices equal" devices_equal end
	check "node1: dagd ends in order" dagd_stop
}

"node$NODE"
dag_finish
