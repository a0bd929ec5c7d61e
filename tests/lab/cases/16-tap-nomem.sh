#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 128 -m 1500 -t 400
#
# No memory: each allocation in turn, made for loading the module, creating and
# reloading a table, and in the daemon's calls, fails once. What was begun is taken
# back whole, and works the next time. Needs a kernel with fault injection
# (tests/lab/debug-kernel); what is lost the lab finds by kmemleak.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/tap.sh"

failnth=$DAG/build/tests/tools/failnth
faults=/sys/kernel/debug
table="0 $((bytes_kib * 2)) dagtap $uuid /dev/vda /dev/vdb 0 2 ring_mib 4"

[ -e /proc/self/fail-nth ] || skip "no fault injection in $(uname -r)"
need dmsetup strip
mountpoint -q $faults || mount -t debugfs debugfs $faults
# Reports of failed allocations are no complaints from here on.
echo "lab: allocations fail on request" >/dev/kmsg
for kind in failslab fail_page_alloc; do
	echo 0 >$faults/$kind/verbose
	echo N >$faults/$kind/ignore-gfp-wait
done
echo N >$faults/fail_page_alloc/ignore-gfp-highmem
echo 0 >$faults/fail_page_alloc/min-order

# sweep CLEAN UNDO CMD...: CMD once for each allocation that it makes, where many are
# alike not for every one. After a failure CLEAN must be true, else UNDO follows.
sweep()
{
	local clean=$1 undo=$2 n=1 status failed=0 survived=0

	shift 2
	while :; do
		turn=$n
		status=0
		"$failnth" "$n" "$@" >/run/sweep.out 2>&1 || status=$?
		case $status in
		0) survived=$((survived + 1)) ;;
		1) failed=$((failed + 1)) ;;
		100) break ;;
		*) echo "allocation $n: status $status"; cat /run/sweep.out; return 1 ;;
		esac
		if [ "$status" -eq 1 ]; then
			$clean || { echo "allocation $n: something is left"; return 1; }
		else
			$undo || { echo "allocation $n: cannot be undone"; return 1; }
		fi
		n=$((n + 1 + n / 40))
	done
	$undo
	echo "fewer than $n allocations: $failed failures, $survived without effect"
	[ "$n" -gt 1 ]
}

no_module()
{
	! grep -q '^dagtap ' /proc/modules && [ ! -e /proc/dagtap ] && [ ! -e /dev/dagtap ]
}

# dmsetup takes back itself what it has begun, if it can.
no_store()
{
	! dmsetup info store >/dev/null 2>&1 || dmsetup remove store || return 1
	! grep -q "$uuid" /proc/dagtap
}

remove_store()
{
	dmsetup remove store && no_store
}

# The table in use serves, whatever has become of the other.
serves()
{
	dmsetup clear store && dmsetup resume store && written
}

written()
{
	dd if=/dev/urandom of=/dev/mapper/store bs=64k count=1 seek=$((turn % 1000)) \
		oflag=direct status=none
}

# Suspended, with another table that a resume begins to use.
reload()
{
	dmsetup suspend --nolockfs store && dmsetup load store --table "$table"
}

# What a resume writes to the metadata must not have been half done.
resumes()
{
	dmsetup resume store && written && reload
}

attached()
{
	"$taputil" do $uuid info >/dev/null
}

show()
{
	sed 's/^/    /' /run/lab.sweep
}

try()
{
	local name=$1

	shift
	check "$name" quietly sweep "$@"
	show
}

quietly()
{
	"$@" >/run/lab.sweep 2>&1
}

modprobe -a dm-mod libcrc32c
tap_format
# Out of memory, and small, so that most allocations are those of its own beginning.
strip --strip-debug -o /run/dagtap.ko "$(module_file)"
try "loading the module" no_module "rmmod dagtap" insmod /run/dagtap.ko
module_load
try "a table" no_store remove_store dmsetup create store --table "$table"
check "the store as it is without faults" dmsetup create store --table "$table"
try "attach and info" attached attached "$taputil" do $uuid info
"$taputil" lease forever
"$taputil" do $uuid "role active 1" >/dev/null
turn=1
check "it serves" written
try "the daemon's calls" attached attached \
	"$taputil" do $uuid "mark x" "dirty 3" "resync 0 4096" "seed begin" "seed end"
try "loading another table" serves serves dmsetup load store --table "$table"
try "suspend" serves serves dmsetup suspend --nolockfs store
reload
try "resume" resumes reload dmsetup resume store
dmsetup resume store
check "it serves at the end" written
check "still active" tap_is role active
"$taputil" do $uuid "role passive" >/dev/null
check "remove" dmsetup remove store
check "unload" rmmod dagtap
finish
