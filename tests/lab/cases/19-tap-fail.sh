#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 256 -m 1500 -t 200
#
# Disks that fail. A failed write is told in the log, its region is failed until
# it has been resynchronised (K8); without metadata no write is accepted. In
# sync mode every write waits for the ack.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/tap.sh"

need dmsetup
need_module dm-flakey
module_load clear_interval_ms=500
len=$((bytes_kib * 2))
tap_format
tap_image /run/before
echo "0 $len linear /dev/vda 0" | dmsetup create base
echo "0 8192 linear /dev/vdb 0" | dmsetup create meta
"$taputil" table $uuid /dev/mapper/base /dev/mapper/meta 0 $len | dmsetup create store
tap_record /run/log --ack
"$taputil" lease forever
tap_tell role active 1

# become DEVICE TABLE: a lower device turns into something else.
become()
{
	dmsetup suspend --nolockfs --noflush "$1"
	echo "$2" | dmsetup load "$1"
	dmsetup resume "$1"
}

w()
{
	dd if=/dev/urandom of=/dev/mapper/store bs=64k count=1 seek="$1" oflag=direct status=none
}

check "write" w 1
become base "0 $len flakey /dev/vda 0 0 600 1 error_writes"
check "write fails" refuse w 2
check "region is failed" tap_is regions_failed 1
check "error is counted" tap_is io_errors 1
check "a failed read is only passed up" dd if=/dev/mapper/store of=/dev/null bs=4k count=1 iflag=direct
become base "0 $len linear /dev/vda 0"
check "write again" w 6
sleep 2
check "still failed" tap_is regions_failed 1
check "resync" tap_tell resync dirty
check "no longer failed" tap_is regions_failed 0
check "bits are cleared" wait_for 10 tap_is regions_dirty 0

tap_tell mode sync
tap_tell ack off
tap_tell drain
w 3 & writer=$!
sleep 1
check "sync mode: write is held" tap_is held 1
tap_tell ack on
check "until the ack" wait "$writer"
tap_tell mode async

become meta "0 8192 error"
check "no metadata: write to a clean region fails" refuse w 100
check "state failed" tap_is state failed
check "role fenced" tap_is role fenced
check "resume is refused" refuse tap_tell role active 1 resume
become meta "0 8192 linear /dev/vdb 0"
check "next epoch" tap_tell role active 2 gap
check "write" w 100
check "resync" tap_tell resync dirty
tap_tell drain
tap_quit
"$taputil" replay /run/log /run/before >/run/replay.out
cat /run/replay.out
check "FAIL is in the log" grep -q "fail 1 " /run/replay.out
check "log equals the device" "$taputil" replay /run/log /run/before --compare /dev/vda
dmsetup remove store
dmsetup remove base
dmsetup remove meta
check "unload" rmmod dagtap
finish
