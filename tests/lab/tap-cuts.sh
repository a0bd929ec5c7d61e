# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Every prefix of the log is a legal crash image (K1): for the cases that cut the
# log of a busy file system at many records. Needs lib.sh and tap.sh.

# work MOUNTPOINT: creates, renames, deletes and syncs files.
work()
{
	local i

	for i in $(seq 1 40); do
		dd if=/dev/urandom of="$1/f$((i % 13))" bs=16k count=$((i % 5 + 1)) \
			conv=fsync status=none
		mkdir -p "$1/d$((i % 7))"
		mv "$1/f$((i % 13))" "$1/d$((i % 7))/g$i"
		[ $((i % 3)) -ne 0 ] || rm -rf "$1/d$((i % 5))"
		[ $((i % 10)) -ne 0 ] || sync -f "$1"
	done
}

# cut_range FSTYPE NUMBER FIRST LAST CHECKER...: replays the prefixes FIRST to LAST
# out of NUMBER, and checks each. What it uses is its own, for there are two.
cut_range()
{
	local type=$1 number=$2 first=$3 end=$4 mine=/run/cut.$3 i at bad=0
	local last=$((total * (first - 1) / number)) options=loop

	shift 4
	# The other one mounts the same file system at the same time.
	[ "$type" != xfs ] || options+=,nouuid
	mkdir -p "$mine/mnt"
	cp --sparse=always /run/before "$mine/grow"
	"$taputil" replay /run/log "$mine/grow" --until $last >/dev/null || return 1
	for i in $(seq "$first" "$end"); do
		at=$((total * i / number))
		"$taputil" replay /run/log "$mine/grow" --from $last --until $at >/dev/null ||
			bad=$((bad + 1))
		last=$at
		cp --sparse=always "$mine/grow" "$mine/scratch"
		mount -t "$type" -o $options "$mine/scratch" "$mine/mnt" && umount "$mine/mnt" ||
			{ echo "cut $i does not mount"; bad=$((bad + 1)); continue; }
		"$@" "$mine/scratch" >"$mine/out" 2>&1 ||
			{ echo "cut $i:"; cat "$mine/out"; bad=$((bad + 1)); }
	done
	echo "$type: cuts $first to $end at $total records, $bad bad"
	[ "$bad" -eq 0 ]
}

# cuts FSTYPE NUMBER CHECKER...: one half on each CPU.
cuts()
{
	local type=$1 number=$2 total half=$(($2 / 2)) other status=0

	shift 2
	total=$("$taputil" replay /run/log /run/scratch --from 999999999 | cut -d' ' -f1)
	[ "$total" -ge "$number" ] || { echo "only $total records"; return 1; }
	cut_range "$type" "$number" 1 $half "$@" &
	other=$!
	cut_range "$type" "$number" $((half + 1)) "$number" "$@" || status=1
	wait $other || status=1
	return $status
}

# tap_cuts FSTYPE KIB NUMBER CHECKER...: records a busy file system of that size
# and checks prefixes of its log. $mkfs_options are for mkfs.
tap_cuts()
{
	local type=$1 number=$3

	bytes_kib=$2
	shift 3
	module_load
	need_module loop
	"$taputil" lease forever
	tap_format
	tap_create
	tap_record /run/log --ack
	tap_tell role active 1
	"mkfs.$type" -q ${mkfs_options:-} /dev/mapper/store
	sync
	tap_quit
	tap_image /run/before
	# What the recorder acked is gone from the ring: a new one begins here.
	tap_record /run/log
	tap_tell role active 1 resume
	mount -t "$type" /dev/mapper/store /mnt
	work /mnt
	umount /mnt
	tap_quit
	cp --sparse=always /run/before /run/scratch
	check "$type: log equals the device" "$taputil" replay /run/log /run/scratch \
		--compare /dev/vda
	say "$type: cuts begin"
	check "$type: $number cuts mount and check" cuts "$type" "$number" "$@"
	say "$type: cuts end"
	dmsetup remove store
	check "unload" rmmod dagtap
}
