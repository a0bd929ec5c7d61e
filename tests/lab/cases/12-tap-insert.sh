#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 256 -m 1500 -t 240
#
# Live insertion under a mounted file system: nothing fails, the daemon comes
# later, regions written before it are found dirty, and after their resync the
# log on the image from before is the device.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/tap.sh"

need dmsetup fio
module_load
echo "0 $((bytes_kib * 2)) linear /dev/vda 0" | dmsetup create store
mkfs.ext4 -q /dev/mapper/store
mount /dev/mapper/store /mnt
echo before >/mnt/before
(
	i=0
	while [ ! -e /run/stop ]; do
		i=$((i + 1))
		dd if=/dev/urandom of=/mnt/w$((i % 20)) bs=32k count=2 conv=fsync \
			status=none || echo "write $i" >>/run/errors
	done
	echo "$i" >/run/writes
) &
writer=$!

tap_format
dmsetup suspend store
tap_image /run/before
"$taputil" table $uuid /dev/vda /dev/vdb 0 $((bytes_kib * 2)) insert 1 | dmsetup load store
check "resume with the tap" dmsetup resume store
sleep 2
check "writes go on" [ ! -e /run/errors ]
check "state tracking" wait_for 10 tap_is state tracking
check "regions are marked" [ "$(tap_sysfs regions_dirty)" -gt 0 ]
check "recorder attaches" tap_record /run/log --ack
check "restart needs a role" refuse tap_tell restart
"$taputil" lease 60000 1
check "role active" tap_tell role active 1
check "state logging" wait_for 10 tap_is state logging
check "no gap left: restart says already" refuse tap_tell restart
check "seed begins" tap_tell seed begin
check "dirty regions are read" tap_tell resync dirty
check "seed ends" tap_tell seed end
sleep 1
touch /run/stop
wait "$writer"
check "no write failed" [ ! -e /run/errors ]
echo "$(cat /run/writes) files written"
umount /mnt
check "recorder ends" tap_quit
check "log equals the device" "$taputil" replay /run/log /run/before --compare /dev/vda
dmsetup table store
check "insert only once" refuse sh -c "$taputil table $uuid /dev/vda /dev/vdb 0 \
	$((bytes_kib * 2)) insert 1 | dmsetup load store"
check "take it out again" sh -c "echo '0 $((bytes_kib * 2)) linear /dev/vda 0' |
	dmsetup load store && dmsetup suspend store && dmsetup resume store"
mount /dev/mapper/store /mnt
check "file from before" [ "$(cat /mnt/before)" = before ]
umount /mnt
dmsetup remove store
check "unload" rmmod dagtap
finish
