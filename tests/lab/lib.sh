# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Functions for scripts that run inside the lab's guests:
#	. "$DAG/tests/lab/lib.sh"
# A case calls check for each thing that it wants to hold, and finish at its
# end. Only check's lines are counted, so a case that leaves early has to leave
# with a status other than 0.

lab_passed=0
lab_failed=0

# say WORDS...: a line with the time since boot.
say()
{
	local up

	read -r up _ </proc/uptime
	echo "$up $*"
}

# die WORDS...: end this node's script as failed.
die()
{
	say "FATAL $*"
	exit 1
}

# skip WORDS...: end this node's script as skipped.
skip()
{
	say "SKIP $*"
	exit 77
}

# need CMD...: skip when a program is not installed.
need()
{
	local cmd

	for cmd in "$@"; do
		command -v "$cmd" >/dev/null || skip "$cmd is not installed"
	done
}

# need_module MODULE...: load stock modules, skip when the kernel has none.
need_module()
{
	local mod

	for mod in "$@"; do
		modprobe -q "$mod" || skip "no module $mod in $(uname -r)"
	done
}

# wait_for SECONDS CMD...: repeat CMD, quietly, until it is true. SECONDS are those
# of a machine of its own: $LAB_SLOW multiplies them. A question costs an emulated CPU
# up to a second, so it rests for as long as it asked: who is asked needs the CPU as well.
wait_for()
{
	local end=$((SECONDS + $1 * ${LAB_SLOW:-1})) began took

	shift
	began=$(now_ms)
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || return 1
		took=$(($(now_ms) - began))
		[ "$took" -ge 200 ] || took=200
		sleep "$((took / 1000)).$(printf %03d $((took % 1000)))"
		began=$(now_ms)
	done
}

# pass NAME, fail NAME: count a result that the script found by itself.
pass()
{
	lab_passed=$((lab_passed + 1))
	echo "PASS $*"
}

fail()
{
	lab_failed=$((lab_failed + 1))
	echo "FAIL $*"
}

# check NAME CMD...: count whether CMD is true; show its output when not. CMD
# may be a function, and runs in this shell.
check()
{
	local name=$1 out=/run/lab.check.$BASHPID status=0

	shift
	"$@" >"$out" 2>&1 || status=$?
	if [ "$status" -eq 0 ]; then
		pass "$name"
	else
		fail "$name"
		echo "    status $status of: $*"
		tail -n 20 "$out" | sed 's/^/    /'
	fi
	rm -f "$out"
}

# refuse CMD...: true when CMD fails; for check.
refuse()
{
	! "$@"
}

# same FILE FILE: byte for byte, through the page cache.
same()
{
	cmp "$1" "$2"
}

# module_file: the module built out of tree for the kernel that runs.
module_file()
{
	echo "$DAG/build/kmod-$(uname -r)/dagtap.ko"
}

# module_load [PARAM=VALUE...]: load the tap, and device-mapper before it.
module_load()
{
	local ko

	ko=$(module_file)
	[ -e "$ko" ] || die "$ko is not built"
	modprobe -a dm-mod libcrc32c || die "no device-mapper in this kernel"
	insmod "$ko" "$@" || die "cannot load $ko"
}

now_ms()
{
	echo $(($(date +%s%N) / 1000000))
}

# finish: the last line of a script.
finish()
{
	echo "lab: $lab_passed passed, $lab_failed failed"
	[ "$lab_failed" -eq 0 ]
	exit
}
