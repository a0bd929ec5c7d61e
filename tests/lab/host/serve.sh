# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Part of tests/lab/run: carries out what the guests' `lab` command asks for.
# A request is a file in the shared folder, renamed into place when complete:
# "N.ID.req" holds the words, "N.ID.ans" gets the exit status and a text. A
# folder, not a port, because it survives the guest at any moment of a kill.

# serve_all: answer every request that waits.
serve_all()
{
	local req base words status text

	for req in "$share"/.lab/req/*.req; do
		[ -e "$req" ] || continue
		base=${req%.req}
		read -r -a words <"$req" || :
		rm -f "$req"
		text=
		status=0
		serve_one "${words[@]}" || status=$?
		printf '%s %s\n' "$status" "$text" >"$base.tmp"
		mv "$base.tmp" "$base.ans"
	done
}

# serve_one VERB NODE [ARGS...]: status 2 says that the words are wrong, 1 that
# the host could not do it. Sets the caller's text.
serve_one()
{
	local verb=${1:-} n=${2:-}

	case $n in
	[1-9]) [ "$n" -le "$nodes" ] || n= ;;
	*) n= ;;
	esac
	[ -n "$n" ] || { text="no such node: ${2:-}"; return 2; }
	guest_reap "$n"
	case $verb in
	state) text=${guest_state[$n]} ;;
	kill) guest_kill "$n" ;;
	restart) guest_kill "$n" && guest_start "$n" ;;
	expect) guest_expected[$n]=1 ;;
	pause) serve_running "$n" running && qmp "$n" '{"execute":"stop"}' &&
		guest_state[$n]=paused ;;
	resume) serve_running "$n" paused && qmp "$n" '{"execute":"cont"}' &&
		guest_state[$n]=running ;;
	cut) net_link down "$n" "${3:-repl}" ;;
	heal) net_link up "$n" "${3:-all}" ;;
	slow) serve_slow "$n" "${3:-}" "${4:-0}" ;;
	*) text="unknown verb: $verb"; return 2 ;;
	esac
}

serve_running()
{
	[ "${guest_state[$1]}" = "$2" ] && return 0
	text="node$1 is ${guest_state[$1]}, not $2"
	return 1
}

serve_slow()
{
	case $3 in
	'' | *[!0-9]*) text="not a number: $3"; return 2 ;;
	esac
	guest_alive "$1" || { text="node$1 is ${guest_state[$1]}"; return 1; }
	guest_slow "$@"
}
