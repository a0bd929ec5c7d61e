#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -c 1 -d 128 -l 512 -t 500
#
# Two members, one store: what fio writes on one, in every way a block device
# can be written, stands on the other; the store moves there and back with
# nothing lost, and the tool says what is so and refuses what is wrong.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
need fio

# mixed_io SEED: writes with flushes, with FUA, discards, zeroes, overlapping.
mixed_io()
{
	fio --filename="$dev" --direct=1 --ioengine=libaio --iodepth=8 \
		--bssplit=4k/60:16k/20:64k/15:512/5 --randrepeat=1 --randseed="$1" \
		--size=48m --io_size=12m --time_based=0 --output-format=terse \
		--name=flush --rw=randwrite --fsync=8 \
		--name=fua --rw=randwrite --sync=dsync --io_size=3m --iodepth=1 \
		--name=trim --rw=randtrim --bs=64k --offset=48m --size=32m --io_size=8m \
		--name=over --rw=randwrite --offset=40m --size=16m --io_size=8m \
		>/run/fio.out || { cut -c1-200 /run/fio.out; return 1; }
	blkdiscard -z -o $((80 * 1048576)) -l $((4 * 1048576)) "$dev" &&
		blkdiscard -z -o $((8 * 1048576 + 4096)) -l 65536 "$dev" &&
		blkdiscard -o $((84 * 1048576)) -l $((8 * 1048576)) "$dev" &&
		dd if=/dev/urandom of="$dev" bs=1M count=3 seek=79 oflag=direct status=none
}

# status_of STATUS CMD...: CMD ends with that exit status.
status_of()
{
	local want=$1 got=0

	shift
	"$@" || got=$?
	echo "status $got, expected $want"
	[ "$got" -eq "$want" ]
}

# says TEXT CMD...: CMD fails and says TEXT on its standard error.
says()
{
	local text=$1 err

	shift
	if err=$("$@" 2>&1 >/dev/null); then
		echo "has not failed: $*"
		return 1
	fi
	echo "$err"
	grep -qF -- "$text" <<<"$err"
}

number()
{
	case $1 in
	'' | *[!0-9.]*) echo "not a number: '$1'"; return 1 ;;
	esac
}

status_sane()
{
	local key json

	json=$(copy_json)
	[ "$(json_value node1 status <<<"$json")" = Mounted ] || { echo "$json"; return 1; }
	for key in copy_queue_records copy_queue_bytes copy_queue_seconds \
		replay_queue_records replay_queue_bytes replay_queue_seconds \
		generated_lsn inspected_lsn durable_lsn replayed_lsn epoch; do
		number "$(json_value node2 $key <<<"$json")" || { echo "$key"; return 1; }
	done
	[ "$(json_value node2 replayed_lsn <<<"$json")" -gt 1048576 ]
}

tool()
{
	check "wrong usage ends with 2" status_of 2 "$dagctl" store frobnicate
	check "a missing argument ends with 2" status_of 2 "$dagctl" store create
	check "an unknown option ends with 2" status_of 2 "$dagctl" store list --colour
	check "a refusal ends with 1" status_of 1 "$dagctl" store move nosuch --to node2
	check "an unknown store is named" says nosuch "$dagctl" store move nosuch --to node2
	check "an unknown member is named" says node9 "$dagctl" store move "$store" --to node9
	check "a second store of the name is refused" says "$store" \
		"$dagctl" store create "$store" --device /dev/vda
	check "the active copy is not removed" says active \
		"$dagctl" copy remove "$store" --member node1
	check "no daemon is said" says "dagd" "$dagctl" --socket /run/nosuch status
	check "help" "$dagctl" --help
	check "status page names both members" two_members
}

two_members()
{
	"$dagctl" status | tee /run/status && grep -q node1 /run/status &&
		grep -q node2 /run/status
}

# As one: the case waits on it before it goes on.
drained_here()
{
	wait_for 120 all_drained || { "$dagctl" copy status "$store" --json; return 1; }
}

move_to()
{
	"$dagctl" store move "$store" --to "$1"
}

node1()
{
	vital "node1: daemon runs" dag_up
	vital "node1: group and store" group_up
	lab barrier copied
	vital "fio writes in every way" mixed_io 1
	check "node2's copy has everything" drained_here
	check "copy status is sane" status_sane
	lab barrier written
	check "node1: devices equal after fio" devices_equal fio
	tool
	check "the store is not moved while it is mounted" mounted_refused
	vital "move to node2" move_to node2
	check "node1 is passive: reads fail" refuse dd if="$dev" of=/dev/null bs=4k count=1 iflag=direct
	lab barrier moved
	lab barrier written2
	check "node1: devices equal after the move" devices_equal moved
	check "node1: move back, asked for at the passive" move_to node1
	check "fio writes after the way back" mixed_io 3
	check "node2's copy has everything again" drained_here
	lab barrier written3
	check "node1: devices equal after the way back" devices_equal back
	check "node1: dagd ends in order" dagd_stop
	lab barrier end
}

mounted_refused()
{
	mkfs.ext4 -q "$dev" && mkdir -p /run/m && mount "$dev" /run/m &&
		says mounted "$dagctl" store move "$store" --to node2 &&
		umount /run/m
}

node2()
{
	vital "node2: daemon runs" dag_up
	vital "node2: joins" group_up
	vital "node2: copy is Healthy" copy_up
	lab barrier copied
	lab barrier written
	check "node2: devices equal after fio" devices_equal fio
	check "node2 is passive: writes fail" refuse dd if=/dev/zero of="$dev" bs=4k count=1 oflag=direct
	lab barrier moved
	check "node2: file system is whole" e2fsck -fn "$dev"
	check "node2: fio writes after the move" mixed_io 2
	check "node1's copy has everything" drained_here
	lab barrier written2
	check "node2: devices equal after the move" devices_equal moved
	lab barrier written3
	check "node2: devices equal after the way back" devices_equal back
	check "node2: dagd ends in order" dagd_stop
	lab barrier end
}

"node$NODE"
dag_finish
