#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -c 1 -d 96 -l 512 -t 300
#
# A passive copy is opened at a mark while it follows on: what was there at the mark is
# there, what came later is not, and the replay loses nothing by it. The fork can be
# checked, mounted and written to, and is gone when it is closed, when it has no room,
# when dagd is killed. At the end the devices are equal.
#
# The replay is held back below, by a device that is suspended: so the log is ahead of it
# as far as the case wants.
set -eu
. "$DAG/tests/lab/lib.sh"
[ "$NODE" -eq 1 ] || lower=/dev/mapper/under
. "$DAG/tests/lab/dag.sh"

fork=/dev/mapper/look
there=/mnt/there
forked=/mnt/fork

names_of()
{
	dmsetup ls | awk '{ print $1 }' | sort | tr '\n' ' '
}

# Nothing is left of any fork: device, origin, loop device.
no_fork()
{
	! dmsetup ls | grep -qE 'look|origin|fork' && [ -z "$(losetup -a)" ] &&
		! ls $dag_home/state/log/$store/fork-* 2>/dev/null
}

# ---- node 1 ----------------------------------------------------------------------

# rewrite MIB WORD: files of that content, on the disk, where the old one was.
rewrite()
{
	dd if=/dev/urandom of=$there/fill bs=1M count="$1" oflag=direct conv=notrunc \
		status=none &&
		echo "$2" >$there/word && sync
}

node1()
{
	vital "node1: daemon runs" dag_up
	vital "node1: group and store" group_up --mode async --ring-mib 64
	lab barrier copied
	vital "node1: a file system" mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$dev"
	mkdir -p $there
	mount "$dev" $there
	check "node1: first content" rewrite 8 old
	wait_for 120 all_drained
	lab barrier old
	lab barrier held
	# more than the replay takes at once
	check "node1: content up to the mark" rewrite 24 marked
	check "node1: a mark" "$dagctl" mark "$store" before-change
	lab put fill "$(sha256sum <$there/fill)"
	check "node1: content behind the mark" rewrite 8 new
	lab barrier changed
	lab barrier opened
	check "node1: a move to an opened copy is refused" refuse "$dagctl" store move "$store" \
		--to node2 --unmount
	check "node1: the reason names the fork" \
		grep -q "copy close $store look on node2" <("$dagctl" store move "$store" --to node2 2>&1)
	check "node1: it serves on" rewrite 1 newer
	lab barrier looked
	lab barrier small
	check "node1: more changes than a small fork has room for" rewrite 24 newest
	lab barrier flood
	lab barrier alone
	umount $there
	check "node1: everything is on node2" wait_for 120 all_drained
	lab barrier drained
	check "node1: devices equal" devices_equal end
	lab barrier end
	check "node1: dagd ends in order" dagd_stop
}

# ---- node 2 ----------------------------------------------------------------------

# What is in the fork is what was there when node 1 looked.
is_marked()
{
	[ "$(cat $forked/word)" = marked ] &&
		[ "$(sha256sum <$forked/fill)" = "$(lab get fill)" ]
}

listed()
{
	"$dagctl" log list "$store" | grep -q "mark before-change: LSN"
}

opening()
{
	"$dagctl" copy status "$store" --json | tr -d ' \n' | grep -q '"opening":true'
}

# Opening waits for the replay, which waits for the device.
open_at_mark()
{
	local pid

	"$dagctl" copy open "$store" --at before-change --writable --name look --space 96M &
	pid=$!
	wait_for 60 opening
	dmsetup resume under
	wait $pid
}

look_at_mark()
{
	check "node2: its file system can be repaired" fsck_fork
	mkdir -p $forked
	check "node2: it is mounted" mount $fork $forked
	check "node2: what was there at the mark is there" is_marked
	lab barrier opened
	check "node2: the replay goes on" wait_for 120 copy_drained node2
	lab barrier looked
	check "node2: later content came, and is not in the fork" reread
	check "node2: it can be written to" dd if=/dev/zero of=$forked/mine bs=1M count=4 \
		conv=fsync status=none
	check "node2: it is not closed while it is in use" refuse "$dagctl" copy close "$store"
	umount $forked
	check "node2: it is closed" "$dagctl" copy close "$store" look
	check "node2: nothing is left of it ($(names_of))" no_fork
	check "node2: a point that is replayed is refused" refuse "$dagctl" copy open "$store" \
		--at before-change
}

# The journal is replayed, and nothing is wrong behind it.
fsck_fork()
{
	e2fsck -fy $fork >/dev/null || [ $? -le 1 ] && e2fsck -fn $fork
}

reread()
{
	umount $forked && echo 3 >/proc/sys/vm/drop_caches && mount $fork $forked && is_marked
}

read_only_then_killed()
{
	check "node2: it is opened read-only where it is" "$dagctl" copy open "$store" --name look
	check "node2: nothing can write to it" refuse dd if=/dev/zero of=$fork bs=4k count=1 \
		oflag=direct status=none
	check "node2: its superblock is there" [ "$(blkid -p -o value -s TYPE $fork)" = ext4 ]
	kill -9 "$(dagd_pid)"
	check "node2: a new daemon takes the old one's fork away" wait_for 60 no_fork
	check "node2: the copy is Healthy again" wait_for 120 copy_is node2 Healthy
}

lost()
{
	"$dagctl" copy status "$store" | grep -q LOST
}

too_small()
{
	check "node2: a small fork" "$dagctl" copy open "$store" --name look --space 16M --writable
	lab barrier small
	lab barrier flood
	check "node2: the fork is lost, and that is said" wait_for 120 lost
	check "node2: the replay does not suffer" wait_for 120 copy_drained node2
	check "node2: who reads it gets errors" refuse dd if=$fork of=/dev/null bs=4k count=1 \
		iflag=direct status=none
	check "node2: what is lost can be closed" "$dagctl" copy close "$store"
	check "node2: nothing is left of the small one" wait_for 20 no_fork
}

node2()
{
	need_module loop dm-snapshot
	modprobe dm-mod
	dmsetup create under --table "0 $(blockdev --getsz /dev/vda) linear /dev/vda 0"
	vital "node2: daemon runs" dag_up
	vital "node2: joins" group_up
	vital "node2: copy is Healthy" copy_up
	lab barrier copied
	lab barrier old
	dmsetup suspend --nolockfs --noflush under
	lab barrier held
	lab barrier changed
	check "node2: the mark can be reached" wait_for 60 listed
	vital "node2: the copy is opened at the mark" open_at_mark
	look_at_mark
	read_only_then_killed
	too_small
	lab barrier alone
	lab barrier drained
	check "node2: devices equal" devices_equal end
	check "node2: segments verify" "$dagctl" log verify "$store"
	lab barrier end
	dagd_stop
}

"node$NODE"
dag_finish
