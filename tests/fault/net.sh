# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# A group of members on one machine, each in a network namespace of its own:
#
#	 client   10.93.1.N/24  ── switch c ──┐
#	 dagf$$-N                             ├ namespace dagf$$-sw
#	 repl     10.93.2.N/24  ── switch r ──┘
#
# Members are memnode (the daemon on the memory tap) with an engine of their own.
# Everything ends with the namespaces; only processes within them are killed.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=${BUILD:-$root/build}
tag=dagf$$
work=${TMPDIR:-/tmp}/$tag
store=s1
passed=0 failed=0

say()
{
	printf '%s %s\n' "$(date +%T.%3N)" "$*"
}

check()
{
	local what=$1

	shift
	if "$@"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		say "FAILED: $what"
	fi
}

now_ms()
{
	echo $(($(date +%s%N) / 1000000))
}

# wait_for SECONDS CMD...: until it succeeds.
wait_for()
{
	local until=$(($(now_ms) + $1 * 1000))

	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(now_ms)" -lt "$until" ] || return 1
		sleep 0.05
	done
}

ns()
{
	local n=$1

	shift
	ip netns exec "$tag-$n" "$@"
}

# ctl N ARGS...: dagctl on member N.
ctl()
{
	local n=$1

	shift
	timeout 60 "$build/dagctl" "$@" --socket "$work/run$n/control.sock"
}

net_up()
{
	local n=$1 i

	ip netns add "$tag-sw"
	ip -n "$tag-sw" link set lo up
	for i in c r; do
		ip -n "$tag-sw" link add "$i" type bridge
		ip -n "$tag-sw" link set "$i" up
	done
	for ((i = 1; i <= n; i++)); do
		ip netns add "$tag-$i"
		ip -n "$tag-$i" link set lo up
		link_add "$i" c 1 client
		link_add "$i" r 2 repl
	done
}

# link_add N SWITCH NET NAME
link_add()
{
	ip -n "$tag-$1" link add "$4" type veth peer name "$2$1" netns "$tag-sw"
	ip -n "$tag-sw" link set "$2$1" master "$2" up
	ip -n "$tag-$1" addr add "10.93.$3.$1/24" dev "$4"
	ip -n "$tag-$1" link set "$4" up
}

# link_cut N c|r: as a pulled cable; link_heal puts it back.
link_cut()
{
	ip -n "$tag-sw" link set "$2$1" down
}

link_heal()
{
	ip -n "$tag-sw" link set "$2$1" up
}

net_down()
{
	local name

	for name in $(ip netns list | awk -v t="$tag-" 'index($1, t) == 1 { print $1 }'); do
		ip netns pids "$name" | xargs -r kill -9 2>/dev/null
		ip netns del "$name"
	done
	[ -n "${KEEP:-}" ] || rm -rf "$work"
}

# node_start N: its disk and state stay; what the reboot of a host loses is gone.
node_start()
{
	local n=$1

	wait_for 20 node_gone "$n" || return 1
	rm -rf "$work/run$n"
	mkdir -p "$work/run$n" "$work/state$n"
	[ -e "$work/disk$n" ] || truncate -s "${DISK_MIB:-24}M" "$work/disk$n"
	{
		echo "member = node$n"
		echo "address = 10.93.2.$n"
		echo "state_dir = $work/state$n"
		echo "run_dir = $work/run$n"
		echo "receive_ring_mib = 4"
		[ -z "${CONF:-}" ] || echo "$CONF"
	} >"$work/conf$n"
	ip netns exec "$tag-$n" "$build/tests/tools/memnode" --config "$work/conf$n" --store $store \
		--acked "$work/acked$n" --faults "$work/faults$n" >>"$work/out$n" 2>>"$work/log$n" </dev/null &
	echo $! >"$work/pid$n"
	wait_for 20 test -S "$work/run$n/control.sock"
}

# daemon_kill N SIGNAL: the daemon alone, not its engine.
daemon_kill()
{
	kill "-$2" "$(cat "$work/pid$1")"
}

# daemon_gone N
daemon_gone()
{
	! kill -0 "$(cat "$work/pid$1")" 2>/dev/null
}

# engine_kill N: its engine alone; the daemon starts it again.
engine_kill()
{
	local pid

	for pid in $(ip netns pids "$tag-$1"); do
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" != etcd ] || kill -9 "$pid"
	done
}

# node_kill N [SIGNAL]: all of the host at once. The dead hold their locks until they are
# gone: node_start comes after that.
node_kill()
{
	ip netns pids "$tag-$1" | xargs -r kill "-${2:-9}"
}

node_gone()
{
	[ -z "$(ip netns pids "$tag-$1")" ]
}

# group_make NODES [CREATE-OPTION]...: group, store and copies, all Healthy.
group_make()
{
	local nodes=$1 n token

	shift
	for ((n = 1; n <= nodes; n++)); do
		node_start "$n" || return 1
	done
	ctl 1 group create fault --engine etcd "$@" || return 1
	for ((n = 2; n <= nodes; n++)); do
		token=$(ctl 1 member add "node$n" --address "10.93.2.$n" | grep -o 'dag1/[^ "]*') ||
			return 1
		ctl "$n" group join <<<"$token" || return 1
	done
	ctl 1 store create $store --device "$work/disk1" --mode commit --ring-mib 4 \
		--segment-mib 4 --region-kib 256 || return 1
	for ((n = 2; n <= nodes; n++)); do
		wait_for 20 store_known "$n" && ctl "$n" copy add $store --device "$work/disk$n" ||
			return 1
	done
	wait_for 60 all_healthy 1 "$nodes" && wait_for 120 all_vote 1 "$nodes"
}

# all_vote ASKED NODES: as many voters as there will be, seven at most, an odd number.
all_vote()
{
	local want=$(($2 > 7 ? 7 : ($2 - 1) / 2 * 2 + 1))

	ctl "$1" group show --json | tr -d '\n ' | grep -q "\"engine_voters\":$want,\"engine_learners\":0"
}

# move_to N: it is active there; to be tried again where a member has just started.
move_to()
{
	local at

	at=$(active_of 2)
	[ "$at" = "$1" ] || ctl "$at" store move $store --to "node$1" >/dev/null
}

store_known()
{
	ctl "$1" store list | grep -qw $store
}

# all_healthy ASKED NODES: one copy is active, the others Healthy and in sync.
all_healthy()
{
	local json

	json=$(ctl "$1" copy status $store --json | tr -d '\n ' | sed 's/},/}\n/g') || return 1
	[ "$(grep -c '"status":"Healthy"' <<<"$json")" -eq $(($2 - 1)) ] &&
		[ "$(grep -c '"in_sync":true' <<<"$json")" -ge $(($2 - 1)) ]
}

# active_of ASKED: number of the member that is active, as ASKED knows.
active_of()
{
	ctl "$1" store list --json | tr -d '\n ' | sed -n 's/.*"active":"node\([0-9]*\)".*/\1/p'
}

# acked_max: highest number that any writer saw acknowledged.
acked_max()
{
	cat "$work"/acked* 2>/dev/null | awk '$1 > m { m = $1 } END { print m + 0 }'
}

# first_after EPOCH NODE: time in ms of the first write accepted there.
first_after()
{
	awk -v e="$1" '$1 == "first" && $3 > e { printf "%.0f\n", $5; exit }' "$work/out$2"
}

epoch_of()
{
	ctl "$1" store list --json | tr -d '\n ' | sed -n 's/.*"epoch":\([0-9]*\).*/\1/p'
}

survivor_of()
{
	[ "$1" -eq 1 ] && echo 2 || echo 1
}

# serves_again OLD EPOCH: another member's writer has written in a later epoch.
serves_again()
{
	local new

	new=$(new_after "$2") && [ "$new" -ne "$1" ]
}

# acked_once: no number was acknowledged by two writers.
acked_once()
{
	[ -z "$(cut -d' ' -f1 "$work"/acked* | sort | uniq -d | head -n 1)" ]
}

# found_in EPOCH NODE: what the writer there found when it began in a later epoch.
found_in()
{
	awk -v e="$1" '$1 == "found" && $3 > e { print $4; exit }' "$work/out$2"
}

# new_after EPOCH: the member whose writer wrote first in a later epoch.
new_after()
{
	local n

	for ((n = 1; n <= nodes; n++)); do
		[ -z "$(first_after "$1" "$n")" ] || { echo "$n"; return; }
	done
	return 1
}

# dump_failed: what helps to find out why; the files are kept then.
dump_failed()
{
	local n

	[ "$failed" -gt 0 ] || return 0
	for ((n = 1; n <= nodes; n++)); do
		echo "== node$n"
		tail -n 40 "$work/log$n"
	done
	KEEP=1
	echo "files are in $work"
}
