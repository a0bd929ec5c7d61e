#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -c 1 -d 160 -l 512 -t 600
#
# PostgreSQL in commit mode while everything around it fails: the daemon killed
# on either side, stopped beyond its lease, the link cut, the passive machine
# lost. No commit that pgbench saw may be missing on the other member, every
# copy is Healthy again without a hand, and the store can be written.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
. "$DAG/tests/lab/pg.sh"

lease="lease_ms = 6000"
bench_round=0

# bench_start SECONDS, bench_end: transactions in the background.
bench_start()
{
	bench_round=$((bench_round + 1))
	pg_bench $bench_round 2 "$1" &
	bench=$!
}

transactions()
{
	pg_acked | wc -l
}

more_than()
{
	[ "$(transactions)" -gt "$1" ]
}

# A commit works now, and not only a read.
writable()
{
	pg_sql -c "insert into acked values (0, $bench_round, $RANDOM)"
}

killed_here()
{
	kill -9 "$(dagd_pid)"
}

random_sleep()
{
	sleep "$((1 + RANDOM % 3)).$((RANDOM % 10))"
}

# after_fault NAME: pgbench ends well, everything is well again.
after_fault()
{
	local status=0

	wait $bench || status=$?
	check "$1: pgbench saw no error" [ "$status" -eq 0 ]
	check "$1: node2 Healthy without a hand" wait_for 120 copy_is node2 Healthy
	check "$1: node2 is in sync again" wait_for 60 copy_in_sync node2
	check "$1: the store is writable" writable
}

# Writes that come while the lease is over are parked; they go on when dagd does.
stopped_beyond_lease()
{
	local pid

	pid=$(dagd_pid)
	kill -STOP "$pid"
	sleep 9
	grep -q 'lease over' /proc/dagtap || { cat /proc/dagtap; kill -CONT "$pid"; return 1; }
	kill -CONT "$pid"
}

node1()
{
	vital "node1: daemon runs" dag_up "$lease"
	vital "node1: group and store" group_up --mode commit --late 3s
	lab barrier copied
	vital "file system on the store" mkfs.ext4 -q "$dev"
	mkdir -p "$PG_DIR"
	mount "$dev" "$PG_DIR"
	pg_unpack
	vital "PostgreSQL starts" pg_start

	bench_start 14
	random_sleep
	check "kill -9 of the active's dagd" killed_here
	random_sleep
	check "kill -9 of the active's dagd again" killed_here
	after_fault "active's dagd killed"

	bench_start 14
	random_sleep
	lab put kill-passive 1
	after_fault "passive's dagd killed"

	bench_start 20
	sleep 2
	check "the lease ends while dagd is stopped" stopped_beyond_lease
	after_fault "dagd stopped beyond its lease"

	bench_start 22
	sleep 2
	lab cut 2 repl
	sleep 12
	lab heal 2 repl
	after_fault "link cut"

	bench_start 20
	sleep 3
	lab kill 2
	sleep 5
	lab restart 2
	after_fault "passive machine lost"

	check "pgbench has done its work" more_than 50
	pg_stop immediate
	pg_acked >"$LAB/acked"
	umount "$PG_DIR"
	lab barrier quiet
	check "node1: everything is on node2" wait_for 90 all_drained
	lab barrier drained
	check "node1: devices equal" devices_equal end
	vital "move to node2" "$dagctl" store move "$store" --to node2
	lab barrier moved
	lab barrier end
}

node2()
{
	vital "node2: daemon runs (boot $BOOT)" dag_up "$lease"
	if [ "$BOOT" -eq 1 ]; then
		vital "node2: joins" group_up
		vital "node2: copy is Healthy" copy_up
		lab barrier copied
		lab get kill-passive 300 >/dev/null
		check "kill -9 of the passive's dagd" killed_here
		random_sleep
		check "kill -9 of the passive's dagd again" killed_here
		sleep 600
	fi
	lab barrier quiet
	lab barrier drained
	check "node2: devices equal" devices_equal end
	lab barrier moved
	mkdir -p "$PG_DIR"
	vital "node2: mount" mount "$dev" "$PG_DIR"
	vital "node2: PostgreSQL recovers" pg_start
	pg_missing "$LAB/acked" >/run/missing
	check "no acknowledged commit of $(wc -l <"$LAB/acked") is missing" \
		[ ! -s /run/missing ]
	pg_stop
	umount "$PG_DIR"
	lab barrier end
}

"node$NODE"
dag_finish
