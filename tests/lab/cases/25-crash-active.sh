#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -c 1 -d 128 -l 512 -t 400
#
# The active machine is lost in the middle of writes and comes back: it serves
# again under a new epoch, without a hand; what its disk and its log may have
# told the copy differently is resynchronised, and the devices are equal.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
need fio

writes_on()
{
	fio --filename="$dev" --direct=1 --ioengine=libaio --iodepth=16 --bs=4k \
		--rw=randwrite --size=64m --time_based --runtime=120 --fsync=32 \
		--randrepeat=0 --name=until-death >/dev/null 2>&1
}

serves()
{
	[ "$(json_of node1 status)" = Mounted ] &&
		dd if=/dev/zero of="$dev" bs=4k count=1 seek=99 oflag=direct status=none
}

second_boot()
{
	local epoch

	check "node1 is active again without a hand" wait_for 90 serves
	epoch=$(json_of node1 epoch)
	check "a new epoch has begun ($epoch)" [ "${epoch:-0}" -gt 1 ]
	check "the copy is Healthy again without a hand" wait_for 120 copy_is node2 Healthy
	check "new writes" fio --filename="$dev" --direct=1 --bs=16k --rw=randwrite \
		--size=64m --io_size=8m --fsync=16 --name=after
	check "node1: everything is on node2" wait_for 120 all_drained
	check "node1: no region stays dirty for ever" wait_for 60 clean
	lab barrier drained
	check "node1: devices equal" devices_equal end
	check "node1: dagd ends in order" dagd_stop
	lab barrier end
}

# Bits of regions are cleared some seconds after their last write.
clean()
{
	grep -q 'dirty 0 ' /proc/dagtap
}

node1()
{
	vital "node1: daemon runs (boot $BOOT)" dag_up
	[ "$BOOT" -eq 1 ] || { second_boot; return; }
	vital "node1: group and store" group_up
	lab barrier copied
	writes_on &
	sleep 600
}

node2()
{
	vital "node2: daemon runs" dag_up
	vital "node2: joins" group_up
	vital "node2: copy is Healthy" copy_up
	lab barrier copied
	sleep $((4 + RANDOM % 4))
	check "node1 is lost and restarted" lab restart 1
	lab barrier drained
	check "node2: devices equal" devices_equal end
	check "node2: segments verify" "$dagctl" log verify "$store"
	lab barrier end
	dagd_stop
}

"node$NODE"
dag_finish
