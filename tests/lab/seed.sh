# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# A copy is seeded while a file system is mounted and written to: what it does not use
# is left out. Needs lib.sh and dag.sh; seed_case does all of it on each node.
#
# The free blocks hold noise, so they would cost their bytes; some are freed just before
# the seed and not synced. The copy's image is looked at twice: as a crash leaves it in
# the middle of the writing, where the journal is replayed, and at the end.

there=/mnt/there
image=$dag_home/image
copy_whole=off

noise()
{
	dd if=/dev/urandom of="$there/$1" bs=1M count="$2" status=none
}

# Files come and go; their sums stand in a list once they are on the disk.
writer()
{
	local n=0

	while [ ! -e /run/writer.stop ]; do
		n=$((n + 1))
		dd if=/dev/urandom of="$there/new.$n" bs=64k count=4 conv=fsync status=none || return
		[ $n -le 8 ] || rm "$there/new.$((n - 8))"
		mkdir -p "$there/dir.$((n % 16))" && touch "$there/dir.$((n % 16))/$n"
		sleep 0.3
	done
}

sent_bytes()
{
	json_of node1 loop_bytes_sent
}

# less VALUE LIMIT
less()
{
	echo "$1 of at most $2"
	[ -n "$1" ] && [ "$1" -lt "$2" ]
}

# image_take: what the copy's disk holds now, as a file; dagd is not running.
image_take()
{
	blockdev --flushbufs "$lower"
	rm -f "$image"
	dd if="$lower" of="$image" bs=1M conv=sparse iflag=direct status=none
}

# image_look CHECKER...: its journal is replayed, the checker finds nothing, and what
# was there before the seed is there.
image_look()
{
	local loop status=0

	modprobe loop
	mkdir -p /mnt/image
	loop=$(losetup -f --show "$image") || return 1
	mount "$loop" /mnt/image && (cd /mnt/image && sha256sum -c --quiet "$1") &&
		ls -lR /mnt/image >/dev/null || status=1
	umount /mnt/image || status=1
	shift
	"$@" "$loop" || status=1
	losetup -d "$loop"
	return $status
}

seed_node1()
{
	vital "node1: daemon runs" dag_up
	vital "node1: group and store" group_up --mode async --ring-mib 16
	vital "node1: a file system" "$@" "$dev"
	mkdir -p $there
	mount "$dev" $there
	check "node1: content" noise keep 20
	noise gone.1 40 && noise gone.2 30
	sync
	rm $there/gone.1
	sync
	(cd $there && sha256sum keep) >"$LAB/sums.before"
	rm -f /run/writer.stop
	writer &
	writer=$!
	rm $there/gone.2
	lab barrier made
	lab barrier seeded
	"$dagctl" copy status "$store" --full | grep seed_
	check "node1: free blocks were left out" less $((60 << 20)) "$(json_of node1 seed_unused)"
	check "node1: and not sent" less "$(sent_bytes)" $((70 << 20))
	lab barrier looked
	touch /run/writer.stop
	wait $writer
	sync
	(cd $there && sha256sum keep new.*) >"$LAB/sums.after"
	check "node1: unmounts" umount $there
	check "node1: the copy has everything" wait_for 120 all_drained
	lab barrier drained
	lab barrier end
	check "node1: dagd ends in order" dagd_stop
}

seed_node2()
{
	vital "node2: daemon runs" dag_up
	vital "node2: joins" group_up
	lab barrier made
	check "node2: seeded while it is written to" copy_up
	lab barrier seeded
	dagd_stop KILL || :
	image_take
	check "node2: a crash image is whole" image_look "$LAB/sums.before" "$@"
	dagd_start
	lab barrier looked
	lab barrier drained
	check "node2: dagd ends in order" dagd_stop
	image_take
	check "node2: all files are there" image_look "$LAB/sums.after" "$@"
	lab barrier end
}
