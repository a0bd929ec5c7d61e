#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 3 -c 1 -d 96 -l 640 -m 768 -t 700
#
# Faults of the log: the passive's log directory full, a segment of it damaged,
# the active's spool beyond its quota. Each is named, none needs a hand. Then a
# third copy is seeded while the active is written to, and all three are equal.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
need fio

small=$dag_home/small

# The log directory of node 2 is a small file system of its own.
small_fs()
{
	local loop

	modprobe loop && truncate -s 120M $dag_home/small.img &&
		mkdir -p $small && mkfs.ext4 -q -F $dag_home/small.img &&
		loop=$(losetup -f --show $dag_home/small.img) &&
		mount "$loop" $small
}

# fill: leave no block free; drain takes it away.
fill()
{
	dd if=/dev/zero of=$small/filler bs=1M status=none 2>/dev/null || :
	[ "$(df --output=avail -k $small | tail -n 1)" -lt 1024 ]
}

# write_mib MIB [OPTION]...
write_mib()
{
	local mib=$1

	shift
	${as:-} fio --filename="$dev" --direct=1 --ioengine=libaio --iodepth=8 --bs=64k \
		--rw=randwrite --size=80m --io_size="${mib}m" --fsync=32 \
		--randrepeat=0 --name=w --output=/dev/null "$@"
}

# load_begin OPTION..., load_end: write_mib in the background, fio in place of the
# shell that would else be killed while fio writes on.
load_begin()
{
	as=exec write_mib 4096 --time_based "$@" &
	load=$!
}

load_end()
{
	kill $load || :
	wait $load || :
}

log_says()
{
	grep -qE "$1" "$LAB/dagd.node$2.log"
}

# The oldest segment that holds records.
segment()
{
	"$dagctl" log list $small/log | awk '
		/first_lsn=/ { name = $1; sub(":$", "", name); sub("first_lsn=", "", $2); first = $2 }
		/end_lsn=/ { sub("end_lsn=", "", $1); if ($1 + 0 > first + 0) { print name; exit } }'
}

# kill -9 in the middle of the stream, so that the log holds what was not yet
# replayed; its first records are spoiled then.
damage()
{
	local seg='' i before

	for i in 1 2 3 4 5; do
		dagd_stop KILL || :
		seg=$(segment)
		[ -z "$seg" ] || break
		dagd_start
		sleep 3
	done
	[ -n "$seg" ] || return 1
	before=$("$dagctl" log verify $small/log || :)
	dd if=/dev/urandom of="$small/log/$seg" bs=512 seek=8 count=24 \
		conv=notrunc status=none || return 1
	sync -f "$small"
	# Verify says now that something is bad, or that the log ends earlier.
	[ "$before" != "$("$dagctl" log verify $small/log || :)" ]
}

node1()
{
	vital "node1: daemon runs" dag_up
	vital "node1: group and store" group_up --segment-mib 4 --ring-mib 8 \
		--quota 48MiB --full-timeout 10s
	lab barrier copied

	lab barrier filled
	check "the active is written to while node2 has no space" write_mib 48
	# The copy may have gone on in the segments that it had: its log and what it
	# says of the full directory are looked at over there.
	"$dagctl" copy status "$store"
	lab barrier freed
	check "disk full: node2 Healthy again without a hand" wait_for 150 copy_is node2 Healthy
	check "disk full: node2 has everything" wait_for 90 copy_drained node2

	load_begin --runtime=90 --rate=6m
	lab barrier load
	lab barrier damaged
	load_end
	check "damaged segment: node2 Healthy again without a hand" \
		wait_for 150 copy_is node2 Healthy
	check "damaged segment: the active is written to" write_mib 4
	check "damaged segment: node2 has everything" wait_for 90 copy_drained node2

	lab barrier stopped
	check "the active is written to beyond the quota of the spool" write_mib 72
	lab barrier beyond
	check "quota: node2 Healthy again without a hand" wait_for 200 copy_is node2 Healthy
	check "quota: node2 was caught up by regions" log_says 'node2 .*resume=(regions|full)' 1
	check "quota: node2 has everything" wait_for 90 copy_drained node2

	load_begin --runtime=240 --rate=1m
	lab barrier third
	lab barrier seeded
	load_end
	check "all copies have everything" wait_for 150 all_drained
	lab barrier drained
	check "node1: devices equal" devices_equal end
	check "node1: dagd ends in order" dagd_stop
}

node2()
{
	dag_disk
	vital "node2: a small file system" small_fs
	dag_configure
	module_load
	vital "node2: daemon runs" dagd_start
	vital "node2: joins" group_up
	vital "node2: copy is Healthy" copy_up --log-dir $small/log
	lab barrier copied

	check "node2: the log directory is full" fill
	lab barrier filled
	wait_for 90 log_says 'No space left' 2 || :
	check "node2: the full directory is named" log_says 'No space left|ENOSPC' 2
	sleep 5
	rm -f $small/filler
	lab barrier freed

	wait_for 200 here_healthy
	lab barrier load
	sleep 4
	check "node2: log verify sees a damaged segment" damage
	check "node2: dagd starts on a damaged log" dagd_start
	lab barrier damaged
	wait_for 200 here_healthy

	check "node2: dagd ends in order again" wait_and_stop
	lab barrier stopped
	lab barrier beyond
	check "node2: dagd starts again" dagd_start
	lab barrier third
	lab barrier seeded
	lab barrier drained
	check "node2: devices equal" devices_equal end
	check "node2: dagd ends" dagd_stop
}

here_healthy()
{
	copy_drained node2
}

# Node 1 writes a little after the damage; it must have arrived.
wait_and_stop()
{
	sleep 5
	wait_for 60 here_healthy && dagd_stop
}

node3()
{
	vital "node3: daemon runs" dag_up
	vital "node3: joins" group_up
	lab barrier copied
	for b in filled freed load damaged stopped beyond third; do
		lab barrier $b
	done
	check "node3: copy is added under load" copy_add
	check "node3: seeded under load" wait_for 200 copy_is node3 Healthy
	lab barrier seeded
	lab barrier drained
	check "node3: devices equal" devices_equal end
	check "node3: dagd ends in order" dagd_stop
}

"node$NODE"
dag_finish
