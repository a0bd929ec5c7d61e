#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 256 -m 1500 -t 240
#
# The machine is lost in mid-write: the intent bits that stand on the metadata
# device cover every region in which the disk differs from what the copy has,
# no LSN is given twice, and a resync of those regions makes both equal.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/tap.sh"

need dmsetup fio
module_load clear_interval_ms=300
"$taputil" lease forever

if [ "$BOOT" = 1 ]; then
	tap_format
	tap_create
	tap_record /run/log --ack
	tap_tell role active 1
	# The log of the copy: what had been acked, bits cleared.
	fio --name=a --filename=/dev/mapper/store --direct=1 --size=${bytes_kib}k --bs=16k \
		--rw=randwrite --ioengine=libaio --iodepth=8 --io_size=8M --fsync=16 \
		--output=/run/fio.out
	tap_tell drain
	wait_for 20 tap_is regions_dirty 0 || fail "bits are cleared"
	dd if=/dev/zero of=/run/copy bs=1M count=64 status=none
	tap_tell ack off
	"$taputil" replay /run/log /run/copy >/dev/null
	cp --sparse=always /run/copy "$LAB/copy"
	tap_tell info | grep -o 'commit=[0-9]*' | cut -d= -f2 >"$LAB/lsn"
	sync
	fio --name=b --filename=/dev/mapper/store --direct=1 --size=${bytes_kib}k --bs=16k \
		--rw=randwrite --ioengine=libaio --iodepth=8 --rate_iops=60 --randseed=5 \
		--time_based --runtime=60 --output=/run/fio2.out &
	sleep 4
	lab restart 1
	sleep 60
	exit 1
fi

cp --sparse=always "$LAB/copy" /run/copy
tap_create
check "bits are found" [ "$(dmsetup status store | cut -d' ' -f11 | cut -d/ -f1)" -gt 0 ]
check "bits cover the differences" "$taputil" covers $uuid /run/copy /dev/vda
"$taputil" covers $uuid /run/copy /dev/vda || true
check "crash is told" sh -c "$taputil do $uuid info | grep crashed=1"
tap_record /run/log --ack
check "old epoch is refused" refuse tap_tell role active 1
check "next epoch with gap" tap_tell role active 2 gap
lsn=$(tap_tell info | grep -o 'commit=[0-9]*' | cut -d= -f2)
check "no LSN is given twice ($lsn)" [ "$lsn" -gt "$(cat "$LAB/lsn")" ]
check "seed" tap_tell resync dirty
tap_tell drain
check "bits are cleared" wait_for 20 tap_is regions_dirty 0
tap_tell role passive
tap_quit
check "copy and disk are equal" "$taputil" replay /run/log /run/copy --compare /dev/vda
dmsetup remove store
check "unload" rmmod dagtap
finish
