#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 256 -m 1500 -t 240
#
# Ring full (K4): writes wait, then the tap gives the log up and tracks regions;
# RESTART and a resync of the dirty regions make the copy whole again.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/tap.sh"

need dmsetup fio
module_load clear_interval_ms=500
tap_format
tap_image /run/before
tap_create ring_mib 4
tap_record /run/log
"$taputil" lease forever
tap_tell role active 1
tap_tell mode async 1500 10000

start=$(date +%s%N)
check "12 MiB into a ring of 4" dd if=/dev/urandom of=/dev/mapper/store bs=256k count=48 oflag=direct
took=$((($(date +%s%N) - start) / 1000000))
check "state tracking" tap_is state tracking
check "writes waited for the time-out ($took ms)" [ "$took" -ge 1400 ]
check "stalls are counted" [ "$(tap_sysfs stalls)" -gt 0 ]
check "mark is refused while tracking" refuse tap_tell mark x
check "resync is refused while tracking" refuse tap_tell resync 0 4096
dd if=/dev/urandom of=/dev/mapper/store bs=64k count=16 seek=600 oflag=direct status=none
tap_tell ack on
tap_tell drain
fio --name=load --filename=/dev/mapper/store --direct=1 --size=${bytes_kib}k --bs=16k \
	--rw=randwrite --ioengine=libaio --iodepth=8 --rate_iops=100 --time_based \
	--runtime=8 --output=/run/fio.out &
fio=$!
sleep 1
check "restart under load" tap_tell restart
check "second restart says already" refuse tap_tell restart
check "seed begin" tap_tell seed begin
check "resync under load" tap_tell resync dirty
check "seed end" tap_tell seed end
check "load saw no error" wait "$fio"
check "state logging" tap_is state logging
tap_tell drain
check "bits are cleared in time" wait_for 20 tap_is regions_dirty 0

# Without a daemon: at once.
tap_quit
start=$(date +%s%N)
dd if=/dev/urandom of=/dev/mapper/store bs=256k count=32 oflag=direct status=none
took=$((($(date +%s%N) - start) / 1000000))
check "tracking without a daemon" tap_is state tracking
echo "took $took ms"
tap_record /run/log --append --ack
check "restart again" tap_tell restart
check "resync again" tap_tell resync dirty
tap_tell drain
dd if=/dev/urandom of=/dev/mapper/store bs=64k count=8 oflag=direct status=none
check "recorder ends" tap_quit
check "log equals the device" "$taputil" replay /run/log /run/before --compare /dev/vda
dmsetup remove store
rmmod dagtap
finish
