#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -d 384 -l 512 -t 240
#
# The lab itself: networks, disks, the environment of a script and the verbs
# of `lab`. Node 1 does things to node 2, which reboots in the middle.
set -eu
. "$DAG/tests/lab/lib.sh"

reaches()
{
	busybox ping -c 1 -W 2 "$1"
}

# A jumbo frame that may not be fragmented shows the MTU of the whole path.
reaches_jumbo()
{
	busybox ping -c 1 -W 2 -s 8900 "$1"
	[ "$(cat /sys/class/net/eth1/mtu)" -eq 9000 ]
}

mounts()
{
	mkdir -p /run/m
	"mkfs.$1" -q $3 "$2" && mount "$2" /run/m && echo hello >/run/m/f &&
		sync -f /run/m/f && umount /run/m && mount "$2" /run/m &&
		[ "$(cat /run/m/f)" = hello ] && umount /run/m
}

environment()
{
	[ "$NODES" -eq 2 ] && [ "$PEERS" = "10.92.0.$((3 - NODE))" ] &&
		[ "$PWD" = "$DAG" ] && [ "$(hostname)" = "node$NODE" ] &&
		getent hosts "node$((3 - NODE))" &&
		[ "$(ulimit -n)" -ge 4096 ] && [ "$DM_DISABLE_UDEV" = 1 ]
}

writable()
{
	local d

	for d in /run /run/lock /tmp /var/tmp /dev/shm /etc /root "$LAB"; do
		echo x >"$d/lab-write-test" && rm "$d/lab-write-test" ||
			return 1
	done
	echo x >/dev/stdout
	[ -c /dev/ptmx ] && [ -d /dev/pts ]
}

dmsetup_works()
{
	echo "0 2048 linear /dev/vdb 0" | dmsetup create labtest &&
		[ -b /dev/mapper/labtest ] && dmsetup remove labtest
}

modules()
{
	modprobe -a loop dm-flakey dm-log-writes softdog tls &&
		[ -c /dev/watchdog ]
}

loopdev()
{
	local l

	truncate -s 16M /tmp/img && l=$(losetup -f --show /tmp/img) &&
		blockdev --getsize64 "$l" && losetup -d "$l"
}

state_is()
{
	[ "$(lab state 2)" = "$1" ]
}

disk_says()
{
	[ "$(head -c "${#2}" "$1")" = "$2" ]
}

# Node 2's boots: the first writes and waits to be killed, the second checks.
node2()
{
	if [ "$BOOT" -eq 1 ]; then
		printf disk-of-2 | dd of=/dev/vda conv=fsync status=none
		printf log-of-2 | dd of=/dev/vdb conv=fsync status=none
		lab put ready 1
		sleep 600
	fi
	check "node2: data disk survives a restart" disk_says /dev/vda disk-of-2
	check "node2: log disk survives a restart" disk_says /dev/vdb log-of-2
	check "node2: boot number" [ "$BOOT" -eq 2 ]
	check "node2: xfs on the data disk" mounts xfs /dev/vda -f
	lab barrier again
	check "node2: lab get" [ "$(lab get word 20)" = "two words" ]
	finish
}

# A guest's clock stands still while it is paused, as its virtual time does.
pause_resume()
{
	lab pause 2 && state_is paused && refuse reaches node2 &&
		lab resume 2 && state_is running && wait_for 10 reaches node2
}

slow()
{
	local start

	lab slow 1 log 1048576
	start=$SECONDS
	dd if=/dev/zero of=/dev/vdb bs=1M count=4 oflag=direct status=none
	lab slow 1 log 0
	[ $((SECONDS - start)) -ge 2 ]
}

node1()
{
	check "environment" environment
	check "writable places" writable
	check "stock modules" modules
	check "loop device" loopdev
	check "dmsetup without udev" dmsetup_works
	check "ext4 on the log disk" mounts ext4 /dev/vdb ""
	check "slow a disk" slow
	lab get ready 60 >/dev/null
	check "client network" wait_for 10 reaches node2
	check "replication network" wait_for 10 reaches node2-repl
	check "jumbo frames" wait_for 10 reaches_jumbo node2-repl
	lab cut 2 repl
	check "cut stops the replication network" refuse reaches node2-repl
	check "cut leaves the client network" wait_for 10 reaches node2
	lab heal 2 repl
	check "heal" wait_for 10 reaches node2-repl
	check "pause and resume" pause_resume
	check "kill" lab kill 2
	check "state after kill" state_is killed
	check "restart" lab restart 2
	lab barrier again
	lab put word "two words"
	check "a wrong request is refused" refuse lab pause 9
	finish
}

"node$NODE"
