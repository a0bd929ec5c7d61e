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

# Where tests/lab/debug-kernel leaves boot/ and lib/modules/ of its kernel.
lab_debug=$DAG/build/lab/debug-kernel

# kernel_root KVER: print what stands before /boot and /lib/modules of a kernel.
kernel_root()
{
	[ ! -d "$lab_debug/lib/modules/$1" ] || echo "$lab_debug"
}

# kernel_find WANT: print the newest installed kernel whose version is WANT or
# starts with it as a series (6.1 is not 6.12); any kernel when WANT is empty;
# the one with checks, which is not installed, when it is "debug".
kernel_find()
{
	local want=$1 root='' v found=

	if [ "$want" = debug ]; then
		root=$lab_debug
		want=
	fi
	while read -r v; do
		[ -r "$root/boot/vmlinuz-$v" ] || continue
		case $v in
		"$want" | "$want".* | "$want"-*) found=$v ;;
		*) [ -n "$want" ] || found=$v ;;
		esac
	done < <(ls "$root/lib/modules" 2>/dev/null | sort -V)
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
	local dep

	dep=$(kernel_root "$1")/lib/modules/$1/modules.dep

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
	local kver=$1 out=$2 tree mod base dir

	dir=$(kernel_root "$kver")/lib/modules/$kver
	tree=$(mktemp -d "$out.XXXXXX")
	mkdir -p "$tree"/{bin,proc,sys,dev,mods,host,ov,new,keep}
	cp "$(command -v busybox)" "$tree/bin/busybox"
	cp "$lab_dir/guest/init.sh" "$tree/init"
	chmod +x "$tree/init"
	: >"$tree/mods/list"
	for mod in $(modules_order "$kver" $lab_modules); do
		base=${mod##*/}
		case $mod in
		*.xz) xz -dc "$dir/$mod" ;;
		*.zst) zstd -dcq "$dir/$mod" ;;
		*.gz) gzip -dc "$dir/$mod" ;;
		*) cat "$dir/$mod" ;;
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
	local kver=$1 dir stamp lock root boot

	root=$(kernel_root "$kver")
	boot=$root/boot/vmlinuz-$kver
	dir=${LAB_CACHE:-$DAG/build/lab}/image-$kver
	if ! mkdir -p "$dir" 2>/dev/null || [ ! -w "$dir" ]; then
		dir=$labdir/image
		mkdir -p "$dir"
	fi
	exec {lock}>"$dir/lock"
	flock "$lock"
	stamp=$(cat "$boot" "$root/lib/modules/$kver/modules.dep" \
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
