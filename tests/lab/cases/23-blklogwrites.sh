#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -c 1 -d 96 -l 512 -t 400 -w
#
# A witness that is not ours: QEMU records every write below the active's disk.
# Here the writes; 23-blklogwrites.host then replays the record and compares it
# with both disks. Nothing is discarded: the filter drops discards, and what is
# discarded need not be equal.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
need fio

writes()
{
	fio --filename="$dev" --direct=1 --ioengine=libaio --iodepth=8 \
		--bssplit=4k/50:64k/50 --size=64m --io_size=16m --rw=randwrite \
		--fsync=16 --randrepeat=0 --name=a --output=/dev/null &&
		blkdiscard -z -o $((40 * 1048576)) -l $((2 * 1048576)) "$dev" &&
		mkfs.ext4 -q -E nodiscard "$dev" && mkdir -p /run/m && mount "$dev" /run/m &&
		cp -r "$DAG/include" "$DAG/daemon" /run/m/ && umount /run/m
}

node1()
{
	vital "node1: daemon runs" dag_up
	vital "node1: group and store" group_up
	lab barrier copied
	vital "writes of fio and of a file system" writes
	vital "everything is on node2" wait_for 120 all_drained
	store_sectors >"$LAB/sectors"
	lab barrier drained
	check "node1: dagd ends in order" dagd_stop
}

node2()
{
	vital "node2: daemon runs" dag_up
	vital "node2: joins" group_up
	vital "node2: copy is Healthy" copy_up
	lab barrier copied
	lab barrier drained
	check "node2: dagd ends in order" dagd_stop
}

"node$NODE"
dag_finish
