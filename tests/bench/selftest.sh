#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Test of tests/bench/lab without guests: what it makes of their samples, and
# that it ends badly, with nothing left behind, when they fail.
#	tests/bench/selftest.sh
set -u

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/benchtest.XXXXXX")
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
mark=dag-bench-stub-$$

# check NAME CMD...
check()
{
	local name=$1

	shift
	if "$@" >"$work/out" 2>&1; then
		passed=$((passed + 1))
		echo "PASS $name"
	else
		failed=$((failed + 1))
		echo "FAIL $name"
		sed 's/^/    /' "$work/out"
	fi
}

# samples JOB...: three rounds of each, dag at half of base.
samples()
{
	local job r

	for job in "$@"; do
		echo "job $job MB/s raw tap job of $job"
		for r in 1 2 3; do
			echo "sample $job $r base $((r * 100))"
			echo "sample $job $r dag $((r * 50))"
		done
	done
}

# stub BODY: a program in place of tests/lab/run; BODY finds its -o in $dir.
stub()
{
	cat >"$work/run" <<-END
		#!/bin/bash
		# $mark
		while [ "\$1" != -o ]; do shift; done
		dir=\$2
		mkdir -p "\$dir/share"
		$1
	END
	chmod +x "$work/run"
}

good="cp $work/samples \$dir/share/samples.1; : >\$dir/share/samples.2; echo 2048 >\$dir/share/sectors
truncate -s 4M \$dir/node1.disk \$dir/node2.disk"

lab()
{
	BENCH_LAB_RUN=$work/run TMPDIR=$work "$here/lab" "$@"
}

# ends STATUS CMD...
ends()
{
	local want=$1 got=0

	shift
	"$@" || got=$?
	echo "status $got, expected $want"
	[ "$got" -eq "$want" ]
}

table()
{
	awk -v rounds=3 -f "$here/table.awk" "$work/samples"
}

# Rounds far apart: each ratio is of one round, the median of neither extreme.
medians()
{
	cat >"$work/samples" <<-END
		job j 1/s raw tap a job
		sample j 1 base 10
		sample j 1 dag 5
		sample j 2 base 1000
		sample j 2 dag 900
		sample j 3 base 100
		sample j 3 dag 70
	END
	table | tee /dev/stderr | tail -n 1 | tr -s ' ' |
		grep -qxF 'a job 1/s raw 100 (10..1000) tap 70 (5..900) 0.70 (0.50..0.90)'
}

one_missing()
{
	samples a b | grep -v 'b 2 dag' >"$work/samples"
	ends 1 table && table 2>&1 | grep -q 'b round 2'
}

no_samples()
{
	: >"$work/samples"
	ends 1 table
}

good_run()
{
	samples a b >"$work/samples"
	stub "$good"
	lab >"$work/report" && cat "$work/report" && grep -q '^job of b .*0.50' "$work/report" &&
		grep -q 'equal at the end: 1 MiB' "$work/report"
}

failed_guest()
{
	samples a >"$work/samples"
	stub "$good; echo FAIL something >&2; exit 3"
	ends 1 lab && lab 2>&1 | grep -q 'guests failed, status 3'
}

disks_differ()
{
	samples a >"$work/samples"
	stub "$good; printf x | dd of=\$dir/node2.disk bs=1 seek=1500000 conv=notrunc status=none"
	ends 1 lab
}

nothing_left()
{
	if grep -lqsaF "$mark" /proc/[0-9]*/environ; then
		echo "a process is left"
		return 1
	fi
	! ls -d "$work"/dag-bench.* 2>/dev/null
}

# A SIGINT, as Ctrl-C sends it, in the middle of a run.
interrupted()
{
	local pid status=0 start=$SECONDS i

	stub "echo \$\$ >$work/stub; sleep 60 & trap 'kill \$!; exit 143' TERM; wait"
	rm -f "$work/stub"
	# A job of a script ignores SIGINT unless it is made to listen.
	(
		trap - INT
		exec env "MARK=$mark" BENCH_LAB_RUN="$work/run" TMPDIR="$work" \
			perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' "$here/lab"
	) &
	pid=$!
	for ((i = 0; i < 100; i++)); do
		[ ! -s "$work/stub" ] || break
		sleep 0.1
	done
	[ -s "$work/stub" ] || return 1
	kill -INT "$pid"
	wait "$pid" || status=$?
	echo "status $status after $((SECONDS - start)) s"
	[ "$status" -eq 130 ] && [ $((SECONDS - start)) -lt 30 ] && ! kill -0 "$(cat "$work/stub")" 2>/dev/null && nothing_left
}

check "medians, extremes and ratios by round" medians
check "a missing sample is an error and named" one_missing
check "no samples are an error" no_samples
check "a good run prints its table" good_run
check "a failed guest makes the run fail" failed_guest
check "devices that differ make the run fail" disks_differ
check "no folder is left" nothing_left
check "SIGINT ends it, and the guests" interrupted
check "an unknown option is wrong usage" ends 2 lab -z
check "rounds have to be a number" ends 2 lab -r none
check "help" ends 0 "$here/run" lab --help
echo "bench: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
