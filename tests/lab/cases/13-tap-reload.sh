#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 256 -m 1500 -t 240
#
# Ring and metadata outlive table and daemon (K9): reload, suspend and resume
# under I/O, a recorder that is killed again and again, a table that is removed
# and comes back. Not one record is lost.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/tap.sh"

need dmsetup fio
module_load
tap_format
tap_image /run/before
tap_create ring_mib 32
tap_record /run/log --ack
"$taputil" lease forever
tap_tell role active 1
fio --name=load --filename=/dev/mapper/store --direct=1 --size=${bytes_kib}k --bs=4k \
	--rw=randwrite --ioengine=libaio --iodepth=8 --fdatasync=32 --rate_iops=300 \
	--time_based --runtime=25 --output=/run/fio.out &
fio=$!

loops=0
for i in 1 2 3 4 5 6; do
	kill -9 "$tap_pid"
	wait "$tap_pid" || true
	exec 9>&-
	dmsetup suspend store && dmsetup resume store || fail "suspend $i"
	"$taputil" table $uuid /dev/vda /dev/vdb 0 $((bytes_kib * 2)) | dmsetup load store
	check "rmmod refused $i" refuse rmmod dagtap
	dmsetup suspend --noflush store && dmsetup resume store || fail "reload $i"
	tap_record /run/log --ack --append || fail "re-attach $i"
	tap_tell role active 1 resume >/dev/null || fail "resume role $i"
	loops=$((loops + 1))
done
check "six rounds" [ "$loops" -eq 6 ]
check "fio saw no error" wait "$fio"
check "never tracking" [ "$(tap_sysfs state)" = logging ]

check "another length is refused" refuse sh -c \
	"$taputil table $uuid /dev/vda /dev/vdb 0 4096 | dmsetup load store"
check "another ring is refused" refuse sh -c \
	"$taputil table $uuid /dev/vda /dev/vdb 0 $((bytes_kib * 2)) ring_mib 64 | dmsetup load store"
check "a second device is refused" refuse sh -c \
	"$taputil table $uuid /dev/vda /dev/vdb 0 $((bytes_kib * 2)) | dmsetup create other"
dmsetup remove other 2>/dev/null || true
dmsetup remove store
check "rmmod refused while attached" refuse rmmod dagtap
check "mark without a table" refuse tap_tell mark x
check "table comes back" tap_create
check "still active" wait_for 5 tap_is role active
check "write after" dd if=/dev/urandom of=/dev/mapper/store bs=64k count=4 oflag=direct
check "recorder ends" tap_quit
check "log equals the device" "$taputil" replay /run/log /run/before --compare /dev/vda
dmsetup remove store
check "unload" rmmod dagtap

# A clean end: the log goes on where it ended, also in a new module.
module_load
tap_create
tap_record /run/log2 --ack
"$taputil" lease forever
check "clean end is known" sh -c "[ $(tap_tell info | grep -o 'reserve=[0-9]*' | cut -d= -f2) -lt 1000000000 ]"
check "old epoch is refused" refuse tap_tell role active 1
check "next epoch" tap_tell role active 2
check "an epoch begins in the running log" tap_tell role active 3 continue
check "not the same one again" refuse tap_tell role active 3 continue
check "write after it" dd if=/dev/urandom of=/dev/mapper/store bs=64k count=4 oflag=direct
check "not below the end while it serves" refuse tap_tell role active 4 - 4096
tap_tell role passive
check "not continued out of passive" refuse tap_tell role active 4 continue
check "another went on below the end" tap_tell role active 4 - 4096
check "the log begins there" sh -c "[ $(tap_tell info | grep -o 'commit=[0-9]*' | cut -d= -f2) -eq 4224 ]"
check "write there" dd if=/dev/urandom of=/dev/mapper/store bs=64k count=4 oflag=direct
tap_tell role passive
check "passive" tap_is role passive
tap_quit
dmsetup remove store
rmmod dagtap
finish
