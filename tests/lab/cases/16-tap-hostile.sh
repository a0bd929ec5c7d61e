#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 256 -m 1500 -t 200
#
# Nothing that user space writes or asks for breaks the tap: garbage in the
# shared pages, bad ioctls, bad table arguments, damaged metadata.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/tap.sh"

need dmsetup
module_load
len=$((bytes_kib * 2))

bad()
{
	local name=$1

	shift
	if echo "0 $*" | dmsetup create bad >/dev/null 2>&1; then
		dmsetup remove bad
		fail "refused: $name"
	else
		dmsetup remove bad >/dev/null 2>&1 || true
		pass "refused: $name"
	fi
}

bad "not formatted" $len dagtap $uuid /dev/vda /dev/vdb 0 0
tap_format
bad "no arguments" $len dagtap
bad "bad uuid" $len dagtap nonsense /dev/vda /dev/vdb 0 0
bad "another uuid" $len dagtap ${uuid%1}2 /dev/vda /dev/vdb 0 0
bad "another length" 8192 dagtap $uuid /dev/vda /dev/vdb 0 0
bad "too long" $((1 << 40)) dagtap $uuid /dev/vda /dev/vdb 0 0
bad "no data device" $len dagtap $uuid /dev/nothing /dev/vdb 0 0
bad "block out of range" $len dagtap $uuid /dev/vda /dev/vdb 99999999999 0
bad "block overflows" $len dagtap $uuid /dev/vda /dev/vdb 18446744073709551615 0
bad "metadata in the data" $len dagtap $uuid /dev/vda /dev/vda 0 0
bad "wrong count" $len dagtap $uuid /dev/vda /dev/vdb 0 2 ring_mib
bad "unknown key" $len dagtap $uuid /dev/vda /dev/vdb 0 2 nothing 1
bad "ring not a power of two" $len dagtap $uuid /dev/vda /dev/vdb 0 2 ring_mib 5
bad "ring too large" $len dagtap $uuid /dev/vda /dev/vdb 0 2 ring_mib 4096
bad "insert 2" $len dagtap $uuid /dev/vda /dev/vdb 0 2 insert 2

dd if=/dev/urandom of=/dev/vdb bs=4k count=1 oflag=direct status=none
check "one torn superblock is survived" tap_create
check "passive in the beginning" tap_is role passive
dmsetup remove store
dd if=/dev/urandom of=/dev/vdb bs=4k count=1 seek=1 oflag=direct status=none
bad "both superblocks damaged" $len dagtap $uuid /dev/vda /dev/vdb 0 0

tap_format
check "two tables, none in use" sh -c "dmsetup create two --notable &&
	echo '0 $len dagtap $uuid /dev/vda /dev/vdb 0 0' | dmsetup load two"
check "the second names other metadata" refuse sh -c \
	"echo '0 $len dagtap $uuid /dev/vda /dev/vdb 64 0' | dmsetup load two"
dmsetup remove two

tap_image /run/before
tap_create ring_mib 4
tap_record /run/log --ack
"$taputil" lease forever
tap_tell role active 1
check "ack beyond the end" refuse tap_tell ack 1099511627776
check "ack not aligned" refuse tap_tell ack 3
check "epoch again" refuse tap_tell role active 1
check "resume of another epoch" refuse tap_tell role active 7 resume
check "lsn below" refuse tap_tell role active 2 none 64
check "lsn without an end" refuse tap_tell role active 2 none $((1 << 62))
check "resync beyond the end" refuse tap_tell resync 999999999 4096
check "resync of an odd length" refuse tap_tell resync 0 100
check "resync too large" refuse tap_tell resync 0 2097152
check "region outside" refuse tap_tell dirty 999999
check "unattached file" refuse "$taputil" do ${uuid%1}2 info
dd if=/dev/urandom of=/dev/mapper/store bs=64k count=32 oflag=direct status=none
tap_tell drain
check "truncated ring file" refuse sh -c "truncate -s 0 /proc/$tap_pid/fd/\$(ls -l /proc/$tap_pid/fd |
	sed -n 's/.* \([0-9]*\) -> .*dagtap (deleted).*/\1/p')"
tap_quit
check "garbage in the shared pages" "$taputil" do $uuid scribble
dd if=/dev/urandom of=/dev/mapper/store bs=64k count=16 oflag=direct status=none
check "the kernel's numbers are its own" [ "$(tap_sysfs ring_bytes)" = 4194304 ]
check "still active" tap_is role active
grep -q "ring" /proc/dagtap
"$taputil" do $uuid "role passive" >/dev/null
dmsetup remove store
# What has not been read yet keeps the store; a new module has none.
rmmod dagtap
module_load
bad "insert into a store that was active" $len dagtap $uuid /dev/vda /dev/vdb 0 2 insert 1
check "nothing is left of the refused one" refuse grep -q $uuid /proc/dagtap
check "unload" rmmod dagtap
finish
