# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Part of tests/lab/run: finds the kernel that was asked for, and builds (once
# per kernel, kept under build/lab) what QEMU boots: the kernel as an ELF file
# and a small initramfs with a static busybox, the init script and the modules
# that lead to the host's file system.

# Everything the guest needs before /lib/modules is in sight, and the disks
# and cards, whose modules load faster from here than over 9p.
lab_modules="virtio_pci virtio_blk virtio_net virtio_console 9pnet_virtio 9p
	overlay"

# kernel_find WANT: print the newest installed kernel whose version is WANT or
# starts with it as a series (6.1 is not 6.12); any kernel when WANT is empty.
kernel_find()
{
	local want=$1 v found=

	while read -r v; do
		[ -r "/boot/vmlinuz-$v" ] || continue
		case $v in
		"$want" | "$want".* | "$want"-*) found=$v ;;
		*) [ -n "$want" ] || found=$v ;;
		esac
	done < <(ls /lib/modules 2>/dev/null | sort -V)
	[ -n "$found" ] || return 1
	echo "$found"
}

# Read LENGTH bytes at OFFSET of FILE as one little-endian number.
file_u()
{
	od -An -t "u$3" -j "$(($2))" -N "$3" "$1" | tr -d ' '
}

# kernel_unpack BZIMAGE OUT: take the ELF kernel out of a bzImage, at the
# offset that its setup header states. An emulated CPU takes three seconds to
# do the same at each boot. Fails when the compression is one we cannot undo.
kernel_unpack()
{
	local start len magic

	start=$((($(file_u "$1" 0x1f1 1) + 1) * 512 + $(file_u "$1" 0x248 4)))
	len=$(file_u "$1" 0x24c 4)
	magic=$(od -An -t x1 -j "$start" -N 4 "$1" | tr -d ' ')
	# The payload ends with the unpacked size, which the tools call
	# garbage: so the result is judged, not their exit status.
	tail -c "+$((start + 1))" "$1" | head -c "$len" | case $magic in
	fd377a58) xz -dc --single-stream ;;
	28b52ffd) zstd -dcq ;;
	1f8b*) gzip -dc ;;
	02214c18) lz4 -dc ;;
	esac >"$2" 2>/dev/null || :
	[ "$(head -c 4 "$2" | tr -d '\0')" = $'\177ELF' ] &&
		[ "$(stat -c %s "$2")" -gt $((len * 2)) ]
}

# modules_order KVER MODULE...: print the files of the modules and of all that
# they depend on, in the order of loading. Built-in modules have none.
modules_order()
{
	local dep=/lib/modules/$1/modules.dep

	shift
	awk -v want="$*" '
	function name(path) {
		sub(/.*\//, "", path); sub(/\.ko.*/, "", path)
		gsub(/-/, "_", path)
		return path
	}
	function emit(m, n, i, a) {
		if (m in done || !(m in file))
			return
		done[m] = 1
		n = split(need[m], a, " ")
		for (i = n; i > 0; i--)
			emit(name(a[i]))
		print file[m]
	}
	{
		split($0, part, ": *"); m = name(part[1])
		file[m] = part[1]; need[m] = part[2]
	}
	END { n = split(want, w, " "); for (i = 1; i <= n; i++) emit(w[i]) }
	' "$dep"
}

# initramfs_build KVER OUT: not compressed, because unpacking costs the guest
# more than reading.
initramfs_build()
{
	local kver=$1 out=$2 tree mod base

	tree=$(mktemp -d "$out.XXXXXX")
	mkdir -p "$tree"/{bin,proc,sys,dev,mods,host,ov,new,keep}
	cp "$(command -v busybox)" "$tree/bin/busybox"
	cp "$lab_dir/guest/init.sh" "$tree/init"
	chmod +x "$tree/init"
	for mod in $(modules_order "$kver" $lab_modules); do
		base=${mod##*/}
		case $mod in
		*.xz) xz -dc "/lib/modules/$kver/$mod" ;;
		*.zst) zstd -dcq "/lib/modules/$kver/$mod" ;;
		*.gz) gzip -dc "/lib/modules/$kver/$mod" ;;
		*) cat "/lib/modules/$kver/$mod" ;;
		esac >"$tree/mods/${base%%.ko*}.ko"
		echo "${base%%.ko*}" >>"$tree/mods/list"
	done
	(cd "$tree" && find . | cpio -o -H newc --quiet) >"$tree.cpio"
	mv "$tree.cpio" "$out"
	rm -rf "$tree"
}

# image_prepare KVER: set image_kernel and image_initrd, building what is
# missing or stale. The lock lets two labs start at the same time.
image_prepare()
{
	local kver=$1 dir stamp lock boot=/boot/vmlinuz-$1

	dir=${LAB_CACHE:-$DAG/build/lab}/image-$kver
	if ! mkdir -p "$dir" 2>/dev/null || [ ! -w "$dir" ]; then
		dir=$labdir/image
		mkdir -p "$dir"
	fi
	exec {lock}>"$dir/lock"
	flock "$lock"
	stamp=$(cat "$boot" "/lib/modules/$kver/modules.dep" \
		"$(command -v busybox)" "$lab_dir/guest/init.sh" \
		"$lab_dir/host/image.sh" | sha1sum)
	if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ]; then
		rm -f "$dir/stamp" "$dir/vmlinux"
		if kernel_unpack "$boot" "$dir/vmlinux.new"; then
			mv "$dir/vmlinux.new" "$dir/vmlinux"
		fi
		rm -f "$dir/vmlinux.new"
		initramfs_build "$kver" "$dir/initramfs"
		echo "$stamp" >"$dir/stamp"
	fi
	exec {lock}>&-
	image_initrd=$dir/initramfs
	image_kernel=$dir/vmlinux
	[ -e "$image_kernel" ] || image_kernel=$boot
}
