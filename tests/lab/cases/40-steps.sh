#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -c 1 -d 64 -l 384 -t 500
#
# A file system, an executable and a service address follow a store: at a planned
# move both ways, over a killed daemon, through maintenance; what is busy stays, an
# executable that hangs is killed and the store comes back, and a daemon that lost
# its lease takes everything down before it serves again.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
need ip

place=/srv/follows
address=10.91.0.50
hook=/run/dag-hook
told=/run/dag-hook.told

make_hook()
{
	cat >$hook <<-'END'
		#!/bin/bash
		[ "$DAG_ACTION" = check ] && exec test -e /run/dag-hook.runs
		echo "$DAG_ACTION $DAG_STORE $DAG_DEVICE $DAG_MEMBER $DAG_REASON" >>/run/dag-hook.told
		grep -q "^$DAG_DEVICE $DAG_MOUNT_POINT ext4" /proc/mounts || exit 9
		if [ "$DAG_ACTION" = start ]; then
			[ ! -e /run/dag-hook.hang ] || sleep 600
			touch /run/dag-hook.runs
		else
			rm -f /run/dag-hook.runs
		fi
	END
	chmod 755 $hook
	: >$told
}

mounted()
{
	grep -q "^$dev $place ext4.*noatime" /proc/mounts
}

address_here()
{
	ip -4 addr show dev eth0 | grep -q "$address/24.*eth0:dag"
}

# Everything of the store is here.
all_up()
{
	copy_is "node$NODE" Mounted && mounted && address_here && [ -e $hook.runs ]
}

# Nothing of it is.
all_down()
{
	! grep -q " $place " /proc/mounts && ! address_here && [ ! -e $hook.runs ]
}

says()
{
	local text=$1 out

	shift
	if out=$("$@" 2>&1); then
		echo "has not failed: $*"
		return 1
	fi
	echo "$out"
	grep -qF -- "$text" <<<"$out"
}

move_to()
{
	"$dagctl" store move "$store" --to "$1" "${@:2}"
}

set_steps()
{
	mkfs.ext4 -q "$dev" &&
		"$dagctl" store set "$store" --mount-point $place --fs-type ext4 \
			--mount-options noatime --exec $hook --service-address $address/24 \
			--step-timeout 15s
}

# The other node's card answers for the address.
neighbour_is()
{
	local mac

	mac=$(lab get "mac$1")
	echo hello >/dev/udp/$address/9
	wait_for 20 sh -c "ip neigh show $address | grep -qi $mac"
}

# kill -9 leaves everything up, and the next daemon knows that.
killed_daemon()
{
	local before

	before=$(wc -l <$told)
	echo held >$place/held
	sleep 600 <$place/held &
	kill -9 "$(dagd_pid)"
	wait_for 60 copy_is node1 Mounted && all_up || return 1
	kill $!
	sleep 2
	[ "$(wc -l <$told)" -eq "$before" ] || { cat $told; return 1; }
}

# A daemon that stands still for longer than lease and parking: writes fail, and
# when it comes back all is taken down and put up again.
lost_lease()
{
	kill -STOP "$(dagd_pid)"
	wait_for 60 grep -q "role=fenced\|fenced" /proc/dagtap
	dd if=/dev/zero of=$place/lost bs=64k count=1 oflag=direct status=none && return 1
	kill -CONT "$(dagd_pid)"
	wait_for 60 grep -q "^stop $store $dev node1 fence" $told &&
		wait_for 90 all_up && echo again >$place/again && sync -f $place
}

has_event()
{
	grep -q "node$1 *$2 *$store" /run/events || { cat /run/events; return 1; }
}

events()
{
	"$dagctl" events list --store "$store" >/run/events &&
		has_event 1 "move" && has_event 2 "move" && has_event 1 "mount" &&
		has_event 2 "mount" && has_event 2 "step-failed" && has_event 1 "fence" &&
		"$dagctl" events list --kind move --store "$store" --json |
		grep -q '"comment": *"to see it move"'
}

followed()
{
	grep -q "mount  *$store" /run/followed && grep -q "node2" /run/followed
}

busy_stays()
{
	( cd $place && exec sleep 600 ) &
	sleep 1
	says "target is busy" move_to node2 || return 1
	wait_for 60 all_up
	kill $!
}

in_maintenance()
{
	"$dagctl" member list --json | tr -d '\n' | sed 's/}/}\n/g' |
		grep "\"name\": *\"$1\"" | grep -q '"maintenance": *true'
}

maintenance()
{
	"$dagctl" member maintenance start node2 && in_maintenance node2 &&
		says "is in maintenance" move_to node2 || return 1
	# nowhere to go: undone
	says "no other copy" "$dagctl" member maintenance start node1 &&
		refuse in_maintenance node1 && all_up || return 1
	"$dagctl" member maintenance stop node2 &&
		"$dagctl" member maintenance start node1 &&
		[ "$(json_of node2 role)" = active ] && all_down &&
		says "is in maintenance" move_to node1 || return 1
	wait_for 60 copy_is node1 Healthy &&
		"$dagctl" group redistribute | grep -q "nothing to move" &&
		"$dagctl" member maintenance stop node1 &&
		"$dagctl" group redistribute --dry-run | grep -q "node2 to node1" &&
		[ "$(json_of node2 role)" = active ] &&
		"$dagctl" group redistribute && wait_for 60 all_up
}

node1()
{
	vital "node1: daemon runs" dag_up "lease_ms = 10000" "park_timeout_ms = 5000"
	lab put mac1 "$(cat /sys/class/net/eth0/address)"
	vital "node1: group and store" group_up
	lab barrier copied
	vital "steps run when they are set" set_steps
	check "node1: mounted, hook told, address up" wait_for 60 all_up
	check "the hook knows its store" grep -q "^start $store $dev node1 activation" $told
	check "dismount takes all down" "$dagctl" store dismount "$store"
	check "node1: nothing is left" all_down
	check "the status says so" copy_is node1 Dismounted
	check "mount brings all back" "$dagctl" store mount "$store"
	check "node1: all is back" all_up
	echo first >$place/file && sync -f $place
	check "a killed daemon finds what is up" killed_daemon
	"$dagctl" events follow >/run/followed 2>&1 </dev/null &
	follower=$!
	check "node2's copy has everything" wait_for 120 all_drained
	vital "move to node2" move_to node2 --comment "to see it move"
	check "node1: nothing is left after the move" all_down
	check "node1 knows the address at node2's card" neighbour_is 2
	lab put moved2 1
	lab get seen2 120 >/dev/null
	vital "move back" move_to node1
	check "node1: all follows back" all_up
	check "what was written there is here" grep -q second $place/file
	check "a busy file system keeps the store" busy_stays
	lab put hang 1
	lab get hanging 60 >/dev/null
	check "a hook that hangs is killed, the store comes back" says "moved back to node1" \
		move_to node2
	check "node1: all is up after that" wait_for 60 all_up
	lab put unhang 1
	lab get unhung 60 >/dev/null
	check "a lost lease takes all down first" lost_lease
	check "node2's copy is Healthy" wait_for 120 copy_is node2 Healthy
	check "maintenance and redistribution" maintenance
	check "the history of both members" events
	check "it could be followed" followed
	kill $follower
	check "dismount before the end" "$dagctl" store dismount "$store"
	check "the file system is whole" e2fsck -fn "$dev"
	lab put over 1
	check "node1: dagd ends in order" dagd_stop
	lab barrier end
}

node2()
{
	vital "node2: daemon runs" dag_up "lease_ms = 10000" "park_timeout_ms = 5000"
	lab put mac2 "$(cat /sys/class/net/eth0/address)"
	vital "node2: joins" group_up
	vital "node2: copy is Healthy" copy_up
	lab barrier copied
	lab get moved2 600 >/dev/null
	check "node2: all has followed" all_up
	check "node2: its file is there" grep -q first $place/file
	check "node2: the hook was told" grep -q "^start $store $dev node2 activation" $told
	echo second >>$place/file && sync -f $place
	lab put seen2 1
	lab get hang 300 >/dev/null
	touch $hook.hang
	lab put hanging 1
	lab get unhang 300 >/dev/null
	check "node2: nothing is left of the try" all_down
	check "node2: the hook was stopped too" grep -q "^stop $store" $told
	check "node2: nothing of the hook runs" refuse pgrep -f "^sleep 600"
	rm -f $hook.hang
	lab put unhung 1
	lab get over 400 >/dev/null
	check "node2: dagd ends in order" dagd_stop
	lab barrier end
}

make_hook
"node$NODE"
dag_finish
