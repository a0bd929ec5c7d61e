#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -c 1 -d 160 -l 512 -t 480
#
# A table is dropped at a known time, while transactions go on. The store is moved to the
# copy that replays late, as of one second before: the table is there, the database starts
# as after a crash, what was given up is kept as a branch and is in the history, and the
# former active is made equal by the regions that were given up, not by all.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
. "$DAG/tests/lab/pg.sh"

rows=500

stamp()		# as dagctl reads it; of $1, seconds and nanoseconds since 1970
{
	date -u -d "@$1" +%Y-%m-%dT%H:%M:%S.%3NZ
}

# ---- node 1 ----------------------------------------------------------------------

fill()
{
	pg_sql -c "create table precious as select generate_series(1, $rows) as n" &&
		pg_sql -c checkpoint
}

# Transactions before, at and behind the moment.
drop_it()
{
	pg_bench 1 2 12 &
	sleep 5
	dropped=$(date +%s.%N)
	pg_sql -c "drop table precious"
	wait $!
}

said()
{
	grep -q "$1" <(shift; "$@" 2>&1 </dev/null)
}

node1()
{
	local at

	vital "node1: daemon runs" dag_up
	vital "node1: group and store" group_up --mode commit --ring-mib 64
	lab barrier copied
	vital "node1: a file system" mkfs.ext4 -q "$dev"
	mkdir -p "$PG_DIR"
	mount "$dev" "$PG_DIR"
	vital "node1: a database" pg_unpack
	vital "node1: PostgreSQL starts" pg_start
	wait_for 120 all_drained
	lab barrier filled
	lab barrier lagged
	check "node1: a table" fill
	check "node1: it is dropped while transactions go on" drop_it
	at=$(stamp "$(awk -v t="$dropped" 'BEGIN { printf "%.3f", t - 1 }')")
	pg_stop
	umount "$PG_DIR"
	check "node1: a point that is replayed is refused" said "is replayed already" \
		"$dagctl" store move "$store" --to node2 --at "$(stamp 946684800)" --yes
	check "node1: how much is given up is said first" said "That gives up .*, the last" \
		"$dagctl" store move "$store" --to node2 --at "$at"
	check "node1: and nothing was done" copy_is node1 Mounted
	vital "node1: the store is moved to one second before" "$dagctl" store move "$store" \
		--to node2 --at "$at" --yes --timeout 2m --comment "a table was dropped"
	lab barrier moved
	check "node1: it is in the history" said "given up" "$dagctl" events list --kind move-at
	check "node1: its copy is Healthy again" wait_for 180 copy_is node1 Healthy
	lab barrier written
	lab barrier drained
	check "node1: devices equal" devices_equal end
	lab barrier end
	check "node1: dagd ends in order" dagd_stop
}

# ---- node 2 ----------------------------------------------------------------------

held()
{
	[ "$(json_of node2 lag_state)" = held ]
}

rows_there()
{
	[ "$(pg_sql -c 'select count(*) from precious')" = $rows ]
}

branch_listed()
{
	"$dagctl" branch list "$store" --json | tr -d ' \n' | grep -q '"member":"node2"'
}

# Bytes of the seeds that this member began, all together.
seeded()
{
	sed -n 's/.*seed begins since lsn=[0-9]* bytes=\([0-9]*\).*/\1/p' \
		"$LAB/dagd.node2.log" | awk '{ n += $1 } END { print n + 0 }'
}

node2()
{
	vital "node2: daemon runs" dag_up
	vital "node2: joins" group_up
	vital "node2: copy is Healthy" copy_up
	lab barrier copied
	lab barrier filled
	check "node2: its copy replays an hour late" "$dagctl" copy set "$store" --member node2 \
		--replay-lag 1h
	vital "node2: it holds" wait_for 60 held
	lab barrier lagged
	lab barrier moved
	mkdir -p "$PG_DIR"
	vital "node2: the file system is mounted" mount "$dev" "$PG_DIR"
	vital "node2: PostgreSQL starts" pg_start
	check "node2: the table is there" rows_there
	check "node2: what was given up is kept" branch_listed
	check "node2: transactions go on" pg_bench 2 2 5
	lab barrier written
	pg_stop
	umount "$PG_DIR"
	check "node2: everything is on node1" wait_for 180 all_drained
	check "node2: its file system is good" e2fsck -fn "$dev"
	lab barrier drained
	check "node2: devices equal" devices_equal end
	check "node2: $(seeded) bytes were seeded of $(($(store_sectors) * 512))" \
		[ "$(seeded)" -lt $(($(store_sectors) * 512 / 2)) ]
	lab barrier end
	dagd_stop
}

"node$NODE"
dag_finish
