# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Part of tests/lab/run: looks through the guests' kernel messages for reports
# that no test may cause.

scan_bad='\bBUG\b|\bWARNING\b|Oops|lockdep|possible circular|hung task'
scan_bad+='|blocked for more than|Call Trace|UBSAN|KASAN|general protection'
scan_bad+='|refcount_t|kmemleak: Cannot|ODEBUG'

# Lines that stock kernels print on a healthy lab, one extended regular
# expression each, anchored to the end of the line. Say why for each of them.
scan_allowed=(
	# mitigations=off on the command line, on CPUs that have the problem
	'WARNING: Spectre v2 mitigation leaves CPU vulnerable to RETBleed attacks, data leaks possible!$'
)

# Without the stacks of allocations that a case has let fail: it says so first.
scan_without_faults()
{
	awk '
	/lab: allocations fail on request/ { faults = 1 }
	faults && /vmalloc error|page allocation failure/ { skip = 1 }
	!skip { print }
	/<\/TASK>/ { skip = 0 }
	'
}

# scan_consoles FILE...: print the bad lines, each once; true when there are
# none. Console and dmesg hold the same line, hence the sort.
scan_consoles()
{
	local allow bad

	allow=$(IFS='|'; echo "${scan_allowed[*]}")
	bad=$(cat "$@" 2>/dev/null | tr -d '\r' | scan_without_faults | grep -aE "$scan_bad" |
		grep -avE "$allow" | sort -u)
	[ -n "$bad" ] || return 0
	printf '%s\n' "$bad"
	return 1
}
