#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 256 -m 1500 -t 240
#
# The recorded log, replayed on the image from before, is the device, byte for
# byte: mixed random writes with FLUSH, FUA, discards and write-zeroes, writes
# larger than a record, and writers that overlap.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/tap.sh"

need fio dmsetup
module_load
tap_format
tap_image /run/before
check "table loads" tap_create
check "passive: no read" refuse dd if=/dev/mapper/store of=/dev/null bs=4k count=1
check "passive: no write" refuse dd if=/dev/zero of=/dev/mapper/store bs=4k count=1 oflag=direct
check "recorder attaches" tap_record /run/log --ack
check "second attach is refused" refuse "$taputil" do $uuid info
"$taputil" lease forever
check "role active" tap_tell role active 1

job()
{
	fio --name="$1" --filename=/dev/mapper/store --direct=1 --size=${bytes_kib}k \
		--ioengine=libaio --randseed=7 --output=/run/fio.out "${@:2}"
}

check "random writes, flush and FUA" job mix --rw=randwrite --bsrange=4k-128k \
	--iodepth=16 --fdatasync=8 --io_size=24M
check "O_DSYNC writes" job dsync --rw=randwrite --bs=4k --iodepth=4 --sync=dsync --io_size=1M
check "overlapping writers" job overlap --rw=randwrite --bs=4k --size=256k \
	--iodepth=16 --numjobs=2 --io_size=8M --group_reporting --norandommap
check "large writes" dd if=/dev/urandom of=/dev/mapper/store bs=8M count=2 oflag=direct
check "discard" blkdiscard -o 16M -l 4M /dev/mapper/store
check "zeroes" blkdiscard -z -o 32M -l 8M /dev/mapper/store
check "writes after" job after --rw=randwrite --bs=4k --iodepth=8 --io_size=2M
check "overlaps were seen" [ "$(tap_sysfs overlaps)" -gt 0 ]
cat /proc/dagtap
check "recorder ends" tap_quit
check "log equals the device" "$taputil" replay /run/log /run/before --compare /dev/vda
"$taputil" replay /run/log /run/before --compare /dev/vda || true
check "status line" [ "$(dmsetup status store | cut -d' ' -f3-5)" = "dagtap active detached" ]
check "module in use" refuse rmmod dagtap
check "remove" dmsetup remove store
check "unload" rmmod dagtap
finish
