#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Test of the lab from the host's side: that it reports what went wrong in a
# guest, and leaves nothing behind. What a guest sees is tested by the case
# 00-lab of the suite.
#	tests/lab/selftest.sh [-k KVER]
set -eu

lab_dir=$(cd "$(dirname "$(readlink -f "$0")")" && pwd -P)
DAG=$(cd "$lab_dir/../.." && pwd -P)
# shellcheck source=/dev/null
. "$lab_dir/lib.sh"

kver=6.1
while getopts k: opt; do
	case $opt in
	k) kver=$OPTARG ;;
	*) exit 2 ;;
	esac
done
work=$(mktemp -d "${TMPDIR:-/tmp}/labtest.XXXXXX")
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work/tmp
mkdir "$TMPDIR"

# lab STATUS OPTIONS... -- BODY: run BODY as a script in a lab, which must end
# with STATUS. Its output goes to $work/out.
lab()
{
	local want=$1 opts=() status=0

	shift
	while [ "$1" != -- ]; do
		opts+=("$1")
		shift
	done
	printf '%s\n' "$2" >"$work/script.sh"
	"$lab_dir/run" -k "$kver" "${opts[@]}" "$work/script.sh" "one two" \
		>"$work/out" 2>&1 || status=$?
	cat "$work/out"
	[ "$status" -eq "$want" ]
}

out_has()
{
	grep -qE "$1" "$work/out"
}

# Names of our own scripts' guests in the command lines of all processes.
leftovers()
{
	grep -laF "$work" /proc/[0-9]*/cmdline 2>/dev/null |
		xargs -r grep -laF qemu 2>/dev/null
	ls -A "$TMPDIR"
}

nothing_left()
{
	local left

	left=$(leftovers)
	echo "$left"
	[ -z "$left" ]
}

# A lab that is told to stop, or killed outright, takes its guests along.
stops_by()
{
	local pid

	echo 'sleep 600' >"$work/script.sh"
	setsid "$lab_dir/run" -k "$kver" -n 2 -o "$work/stop" \
		"$work/script.sh" >"$work/out" 2>&1 &
	pid=$!
	wait_for 30 test -s "$work/stop/node2.console" || return 1
	kill "-$1" "$pid"
	wait "$pid" 2>/dev/null || :
	wait_for 5 nothing_left
}

# The log of writes starts with the magic of dm-log-writes, and holds entries.
writelog_is_good()
{
	local log=$work/w/node1.writelog

	[ "$(od -An -t x8 -N 8 "$log" | tr -d ' ')" = 006a736677736872 ] &&
		[ "$(od -An -t u8 -j 16 -N 8 "$log" | tr -d ' ')" -ge 3 ]
}

check "exit status and arguments" lab 3 -- '[ "$1" = "one two" ] && exit 3'
check "warning in the kernel log" lab 1 -- \
	'echo "WARNING: test" >/dev/kmsg; exit 0'
check "warning is shown" out_has '^\[.*WARNING: test'
check "worst status of two, skip" lab 77 -n 2 -- '[ $NODE = 1 ] || exit 77'
check "a guest that dies" lab 1 -- 'echo b >/proc/sysrq-trigger; sleep 60'
check "a guest that panics while another waits" lab 1 -n 2 -t 90 -- \
	'[ $NODE = 1 ] || echo c >/proc/sysrq-trigger; lab barrier x'
check "waiting guests are shown" out_has '^lab: barrier x: nodes 1$'
check "a guest expected to die" lab 0 -- \
	'lab expect 1; echo b >/proc/sysrq-trigger; sleep 60'
check "a guest that kills itself" lab 0 -- 'lab kill 1; sleep 60; exit 1'
check "a guest that is paused for good" lab 0 -n 2 -- \
	'[ $NODE = 1 ] && lab pause 2; [ $NODE = 1 ] || { sleep 99; exit 1; }'
check "time-out" lab 124 -t 8 -- 'echo before; sleep 60'
check "time-out shows output" out_has '^before'
check "output without a newline, daemon left" lab 0 -- \
	'sleep 1000 & printf "no newline"'
check "such output is shown" out_has '^\[1\] no newline$'
check "write log" lab 0 -w -o "$work/w" -- \
	'dd if=/dev/zero of=/dev/vda bs=4k count=2 oflag=direct conv=fsync &&
	[ $BOOT -eq 2 ] || { lab restart 1; sleep 60; }'
check "write log, format" writelog_is_good
check "nothing left" nothing_left
check "stopped by TERM" stops_by TERM
check "stopped by KILL" stops_by KILL
finish
