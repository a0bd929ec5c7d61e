# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Part of tests/lab/run: the lab's two networks. run stands in a network
# namespace without a name, so bridges and taps of one lab never meet those of
# another, and vanish with its last process even if run is killed by SIGKILL.
#
#	      bridge client                  bridge repl
#	   10.91.0.0/24 | MTU 9000        10.92.0.0/24 | MTU 9000
#	 client1 --- client2 ...        repl1 --- repl2 ...       (taps)
#	   eth0        eth0              eth1       eth1          (guests)

# net_enter ARGS...: start run again inside a namespace of its own.
net_enter()
{
	[ "$(id -u)" -eq 0 ] ||
		fail "must be root: it makes a network namespace and taps"
	unshare --net true 2>/dev/null ||
		fail "a network namespace is not permitted here"
	LAB_NETNS=$$ exec unshare --net "$lab_dir/run" "$@"
}

# net_up NODES
net_up()
{
	local n net

	ip link set lo up
	for net in client repl; do
		ip link add "$net" type bridge stp_state 0 forward_delay 0 \
			mcast_snooping 0 2>/dev/null ||
			fail "cannot make a bridge here (CONFIG_BRIDGE)"
		ip link set "$net" mtu 9000 up
		for ((n = 1; n <= $1; n++)); do
			ip tuntap add "$net$n" mode tap 2>/dev/null ||
				fail "cannot make a tap device (/dev/net/tun)"
			ip link set "$net$n" master "$net" mtu 9000 up
		done
	done
}

# net_link up|down NODE repl|client|all: the guest's card keeps its carrier
# and its frames get lost, as behind a switch that has failed.
net_link()
{
	local net

	case $3 in
	repl | client) set -- "$1" "$2" "$3" ;;
	all) set -- "$1" "$2" client repl ;;
	*) return 2 ;;
	esac
	for net in "${@:3}"; do
		ip link set "$net$2" "$1" || return 1
	done
}
