# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# For cases that drive the tap without a daemon: a store on /dev/vda with its
# metadata on /dev/vdb, and a recorder that follows its log and takes commands.

taputil=$DAG/build/tests/tools/taputil
uuid=6f1f3a5e-0a4b-4d5e-9a8f-3b1c00000001
region=262144
bytes_kib=$((64 * 1024))

# tap_format [UUID]: metadata for the first 64 MiB of /dev/vda.
tap_format()
{
	"$taputil" format /dev/vdb 0 "${1:-$uuid}" $((bytes_kib * 2)) $region >/dev/null
}

# tap_create [KEY VALUE]...: the device /dev/mapper/store.
tap_create()
{
	"$taputil" table $uuid /dev/vda /dev/vdb 0 $((bytes_kib * 2)) "$@" |
		dmsetup create store
}

tap_sysfs()
{
	cat "/sys/dev/block/$(dmsetup info -c --noheadings --separator : -o major,minor store)/dagtap/$1"
}

tap_is()
{
	[ "$(tap_sysfs "$1")" = "$2" ]
}

# tap_record LOG [OPTION]...: a recorder in the background.
tap_record()
{
	rm -f /run/tap.in /run/tap.out
	mkfifo /run/tap.in
	"$taputil" record $uuid "$@" </run/tap.in >/run/tap.out 2>/run/tap.err &
	tap_pid=$!
	exec 9>/run/tap.in
	wait_for 20 grep -q attached /run/tap.out || { cat /run/tap.err; return 1; }
}

# tap_tell COMMAND: tells the recorder; prints its answer.
tap_tell()
{
	local before

	before=$(wc -l </run/tap.out)
	echo "$*" >&9
	wait_for 60 tap_more "$before" || { cat /run/tap.err; return 1; }
	tail -n 1 /run/tap.out
	tail -n 1 /run/tap.out | grep -q ^ok
}

tap_more()
{
	[ "$(wc -l </run/tap.out)" -gt "$1" ]
}

tap_quit()
{
	tap_tell quit >/dev/null
	exec 9>&-
	wait "$tap_pid"
}

# tap_image FILE: what the data device holds now.
tap_image()
{
	blockdev --flushbufs /dev/vda
	dd if=/dev/vda of="$1" bs=1M count=$((bytes_kib / 1024)) iflag=direct status=none
}
