#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=dash
#
# First process of a lab guest, run from the initramfs: finds the host's root
# over 9p, puts a tmpfs over it, sets up what a test may expect of a machine
# and becomes tests/lab/guest/enter inside of it. As process 1 shares its root
# with the kernel's threads, the kernel finds the host's modprobe too.
#
# Everything that can be done with busybox is done here: it is in memory, while
# a program of the host has to be read over 9p first.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

while read -r m; do
	insmod "/mods/$m.ko"
done </mods/list

for w in $(cat /proc/cmdline); do
	case $w in
	lab.node=*) NODE=${w#*=} ;;
	lab.nodes=*) NODES=${w#*=} ;;
	lab.boot=*) BOOT=${w#*=} ;;
	esac
done

o=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o $o,ro,cache=loose host /host
mount -t tmpfs -o size=75% tmp /ov
mkdir /ov/up /ov/work
mount -t overlay -o lowerdir=/host,upperdir=/ov/up,workdir=/ov/work ov /new

mount -t tmpfs -o mode=0755 run /keep
mkdir /keep/lab
mount -t 9p -o $o,rw,cache=none,access=user lab /keep/lab
. /keep/lab/.lab/env

# A checkout or a script below a folder that gets a tmpfs must stay in sight.
i=0
for d in "$DAG" "$SCRIPT_DIR"; do
	i=$((i + 1))
	mkdir "/ov/$i"
	mount --bind "/new$d" "/ov/$i"
done
mount --move /keep /new/run
mount -t tmpfs -o mode=1777 tmp /new/tmp
mount -t tmpfs -o mode=1777 tmp /new/var/tmp
i=0
for d in "$DAG" "$SCRIPT_DIR"; do
	i=$((i + 1))
	if [ ! -e "/new$d" ] || [ -z "$(ls -A "/new$d")" ]; then
		mkdir -p "/new$d"
		mount --bind "/ov/$i" "/new$d"
	fi
done

# A kernel that is not installed lies in the checkout.
k=lib/modules/$(uname -r)
if [ -d "/new$DAG/build/lab/debug-kernel/$k" ]; then
	mkdir -p "/new/$k"
	mount --bind "/new$DAG/build/lab/debug-kernel/$k" "/new/$k"
fi

mkdir -p /new/run/lock /dev/pts /dev/shm
chmod 1777 /new/run/lock
mount -t devpts -o gid=5,mode=620,ptmxmode=666 pts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
for l in fd:/proc/self/fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
	ln -sf "${l#*:}" "/dev/${l%%:*}"
done

hostname "node$NODE"
echo "node$NODE" >/new/etc/hostname
{
	echo "127.0.0.1 localhost"
	n=1
	while [ "$n" -le "$NODES" ]; do
		echo "10.91.0.$n node$n"
		echo "10.92.0.$n node$n-repl"
		n=$((n + 1))
	done
} >/new/etc/hosts
ifconfig lo 127.0.0.1 up
ifconfig eth0 "10.91.0.$NODE" netmask 255.255.255.0 mtu 9000 up
ifconfig eth1 "10.92.0.$NODE" netmask 255.255.255.0 mtu 9000 up

for d in proc sys dev; do
	mount --move "/$d" "/new/$d"
done
export NODE NODES BOOT
exec chroot /new /bin/bash "$DAG/tests/lab/guest/enter"
