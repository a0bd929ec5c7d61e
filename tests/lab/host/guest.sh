# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Part of tests/lab/run: one guest each, its disks, its QEMU process and the
# way to speak to that (QMP over a pair of FIFOs, which a shell can open).
#
# A guest's state is one of: off, running, paused, ended (its script has an
# exit status), killed (on request) and died (gone without an exit status).

declare -A guest_pid guest_state guest_boot guest_status guest_expected
declare -A guest_qmp_in guest_qmp_out

# guest_disks N: sparse, and outside of the guest, so that they outlive it.
guest_disks()
{
	rm -f "$labdir/node$1".*
	truncate -s "${disk_mib}M" "$labdir/node$1.disk"
	truncate -s "${log_mib}M" "$labdir/node$1.logdisk"
	[ "$writelog" -eq 0 ] || truncate -s 0 "$labdir/node$1.writelog"
	: >"$labdir/node$1.out"
	: >"$labdir/node$1.console"
	guest_boot[$1]=0
	guest_state[$1]=off
	guest_status[$1]=0
	guest_expected[$1]=0
}

# guest_drives N: set drives to QEMU's options for the disks. Host flushes are
# left out: killing QEMU loses nothing that it has written, and the guest still
# sees a disk with a volatile cache and sends its own flushes. blklogwrites
# stands above that, so it records them.
guest_drives()
{
	local f=$labdir/node$1 top=disk log="log-sector-size=512"
	local raw="driver=raw,discard=unmap,cache.no-flush=on"

	raw+=",file.driver=file,file.discard=unmap"
	drives=(
		-blockdev "$raw,node-name=disk,file.filename=$f.disk"
		-blockdev "$raw,node-name=logdisk,file.filename=$f.logdisk"
	)
	if [ "$writelog" -eq 1 ]; then
		[ "${guest_boot[$1]}" -eq 1 ] || log="log-append=on"
		log+=",log-super-update-interval=1"
		drives+=(-blockdev
			"driver=file,node-name=writelog,filename=$f.writelog"
			-blockdev
			"driver=blklogwrites,node-name=logged,file=disk,log=writelog,$log"
		)
		top=logged
	fi
	drives+=(
		-device "virtio-blk-pci,id=vda,drive=$top,serial=disk,write-cache=on"
		-device "virtio-blk-pci,id=vdb,drive=logdisk,serial=log,write-cache=on"
	)
}

# guest_start N: boot it. The process is ours and dies with us.
guest_start()
{
	local n=$1 f=$labdir/node$1 drives plan9="local,security_model"

	guest_boot[$n]=$((guest_boot[$n] + 1))
	guest_drives "$n"
	rm -f "$f.qmp.in" "$f.qmp.out" "$share/.lab/node$n.rc"
	mkfifo "$f.qmp.in" "$f.qmp.out"
	guest_qmp_in[$n]=
	echo "--- boot ${guest_boot[$n]} ---" >>"$f.console"
	setpriv --pdeathsig KILL qemu-system-x86_64 -nodefaults -no-user-config \
		-name "lab-node$n" "${accel[@]}" -smp "$cpus" -m "$mem_mib" \
		-display none -no-reboot -kernel "$image_kernel" \
		-initrd "$image_initrd" \
		-append "$cmdline lab.node=$n lab.nodes=$nodes lab.boot=${guest_boot[$n]}" \
		-chardev "file,id=console,path=$f.console,append=on" \
		-serial chardev:console \
		-chardev "pipe,id=qmp,path=$f.qmp" -mon chardev=qmp,mode=control \
		-device virtio-serial-pci \
		-chardev "file,id=out,path=$f.out,append=on" \
		-device virtserialport,chardev=out,name=lab.out \
		-netdev "tap,id=client,ifname=client$n,script=no,downscript=no" \
		-device "virtio-net-pci,netdev=client,mac=52:54:00:91:00:0$n,romfile=" \
		-netdev "tap,id=repl,ifname=repl$n,script=no,downscript=no" \
		-device "virtio-net-pci,netdev=repl,mac=52:54:00:92:00:0$n,romfile=" \
		-virtfs "$plan9=none,path=/,mount_tag=host,readonly=on,multidevs=remap" \
		-virtfs "$plan9=passthrough,path=$share,mount_tag=lab,multidevs=remap" \
		"${drives[@]}" </dev/null >>"$f.qemu" 2>&1 &
	guest_pid[$n]=$!
	guest_state[$n]=running
	guest_expected[$n]=0
}

guest_alive()
{
	case ${guest_state[$1]} in
	running | paused) kill -0 "${guest_pid[$1]}" 2>/dev/null ;;
	*) return 1 ;;
	esac
}

# guest_kill N: as if its power failed.
guest_kill()
{
	case ${guest_state[$1]} in
	running | paused) ;;
	*) return 0 ;;
	esac
	kill -KILL "${guest_pid[$1]}" 2>/dev/null || :
	wait "${guest_pid[$1]}" 2>/dev/null || :
	guest_close "$1"
	guest_state[$1]=killed
	guest_status[$1]=0
}

guest_close()
{
	local fd

	[ -n "${guest_qmp_in[$1]:-}" ] || return 0
	fd=${guest_qmp_in[$1]}
	exec {fd}>&-
	fd=${guest_qmp_out[$1]}
	exec {fd}>&-
	guest_qmp_in[$1]=
}

# guest_reap N: note the end of a guest that is gone.
guest_reap()
{
	local n=$1 rc=$share/.lab/node$1.rc status

	case ${guest_state[$n]} in
	running | paused) ;;
	*) return 0 ;;
	esac
	! kill -0 "${guest_pid[$n]}" 2>/dev/null || return 0
	wait "${guest_pid[$n]}" 2>/dev/null || :
	guest_close "$n"
	if [ -s "$rc" ]; then
		read -r status <"$rc"
		guest_state[$n]=ended
		guest_status[$n]=$status
	elif [ "${guest_expected[$n]}" -eq 1 ]; then
		guest_state[$n]=killed
		guest_status[$n]=0
	else
		guest_state[$n]=died
		guest_status[$n]=1
		note "node$n died without an exit status"
	fi
}

# qmp N JSON: send one command, wait for its answer, skip the events.
qmp()
{
	local n=$1 fd line

	if [ -z "${guest_qmp_in[$n]}" ]; then
		exec {fd}<>"$labdir/node$n.qmp.in"
		guest_qmp_in[$n]=$fd
		exec {fd}<>"$labdir/node$n.qmp.out"
		guest_qmp_out[$n]=$fd
		qmp "$n" '{"execute":"qmp_capabilities"}' || return 1
	fi
	printf '%s\n' "$2" >&"${guest_qmp_in[$n]}"
	while read -r -t 10 line <&"${guest_qmp_out[$n]}"; do
		case $line in
		'{"return"'*) return 0 ;;
		'{"error"'*)
			note "node$n: $line"
			return 1
			;;
		esac
	done
	note "node$n: no answer from QEMU"
	return 1
}

# guest_slow N disk|log BPS: 0 takes the limit away.
guest_slow()
{
	local dev

	case $2 in
	disk) dev=/machine/peripheral/vda/virtio-backend ;;
	log) dev=/machine/peripheral/vdb/virtio-backend ;;
	*) return 2 ;;
	esac
	qmp "$1" "{\"execute\":\"block_set_io_throttle\",\"arguments\":{
\"id\":\"$dev\",\"bps\":$3,\"bps_rd\":0,\"bps_wr\":0,
\"iops\":0,\"iops_rd\":0,\"iops_wr\":0}}"
}
