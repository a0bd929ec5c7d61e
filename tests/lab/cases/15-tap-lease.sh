#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 256 -m 1500 -t 240
#
# The module enforces the lease by itself (K7): writes park when it is over, go
# on when it is renewed in time, and fail after the park time. Commit mode (K6)
# holds fsync until the ack. A passive device mounts nowhere.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/tap.sh"

need dmsetup
module_load
tap_format
tap_create
tap_record /run/log --ack
tap_tell mode async 1000 4000

w()
{
	dd if=/dev/urandom of=/dev/mapper/store bs=4k count=1 seek="$1" oflag=direct status=none
}

check "active without a lease" tap_tell role active 1
w 1 & writer=$!
check "no lease: write parks" wait_for 3 tap_is parked 1
check "state lease" wait_for 3 tap_is state lease
"$taputil" lease 60000 5
check "lease given: write ends well" wait "$writer"
check "lower fence is refused" refuse "$taputil" lease 60000 4
sleep 5	# longer than the park time, which counts from the loss only
"$taputil" lease end 5
w 2 & writer=$!
check "lease over: write parks" wait_for 3 tap_is parked 1
check "reads pass" dd if=/dev/mapper/store of=/dev/null bs=4k count=1 iflag=direct
sleep 1
"$taputil" lease 60000 5
check "renewed: write ends well" wait "$writer"
check "state logging" wait_for 3 tap_is state logging
"$taputil" lease 300 5
sleep 0.5
w 3 & writer=$!
check "not renewed: write fails" refuse wait "$writer"
check "role fenced" tap_is role fenced
"$taputil" lease forever 6
check "fenced in spite of a new lease" refuse w 4
check "fenced: reads pass" dd if=/dev/mapper/store of=/dev/null bs=4k count=1 iflag=direct
check "resume lifts the fence" tap_tell role active 1 resume
check "writes pass again" w 5

# Held commits.
tap_tell mode commit 1000 10000
mkfs.ext4 -q /dev/mapper/store
mount /dev/mapper/store /mnt
tap_tell ack off
tap_tell drain
dd if=/dev/zero of=/mnt/f bs=4k count=1 conv=fsync status=none & sync=$!
check "fsync is held" wait_for 5 sh -c "[ \$(cat /sys/dev/block/$(dmsetup info -c \
	--noheadings --separator : -o major,minor store)/dagtap/held) -gt 0 ]"
sleep 2
check "still held after 2 s" kill -0 "$sync"
tap_tell ack on
check "the ack ends it" wait "$sync"
kill -STOP "$tap_pid"
dd if=/dev/zero of=/mnt/g bs=4k count=1 conv=fsync status=none & sync=$!
sleep 3
check "no silent time-out" kill -0 "$sync"
start=$SECONDS
check "suspend without flush is not blocked" timeout 20 dmsetup suspend --noflush --nolockfs store
check "in time" [ $((SECONDS - start)) -le 6 ]
dmsetup resume store
check "it is still not committed" kill -0 "$sync"
kill -CONT "$tap_pid"
check "until the ack" wait "$sync"
umount /mnt
tap_tell role passive
check "passive: mount fails" refuse mount /dev/mapper/store /mnt
check "passive: read fails" refuse dd if=/dev/mapper/store of=/dev/null bs=4k count=1
tap_quit
dmsetup remove store
check "unload" rmmod dagtap
finish
