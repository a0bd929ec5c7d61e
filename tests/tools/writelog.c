// SPDX-License-Identifier: GPL-2.0
/*
 * writelog - replays what QEMU's blklogwrites filter has recorded below a guest's
 * disk (the format of dm-log-writes) onto a file.
 *	writelog LOG IMAGE
 * IMAGE must exist with its full size. A discarded extent reads as zeroes after,
 * which is what QEMU's raw files do. Prints the number of entries.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRITELOG_MAGIC	0x6a736677736872ull
#define FLAG_DISCARD	4u
#define FLAG_MARK	8u
#define CHUNK		(1u << 20)

struct super {
	uint64_t magic, version, nr_entries;
	uint32_t sector_bytes;
} __attribute__((packed));

struct entry {
	uint64_t sector, sectors, flags, data_len;
};

_Static_assert(sizeof(struct super) == 28, "on-disk size");
_Static_assert(sizeof(struct entry) == 32, "on-disk size");

static int fail(const char *what, uint64_t nr)
{
	fprintf(stderr, "writelog: entry %llu: %s: %s\n", (unsigned long long)nr, what,
		errno ? strerror(errno) : "does not fit");
	return 1;
}

static int copy(int from, uint64_t off, int to, uint64_t at, uint64_t bytes)
{
	static uint8_t buf[CHUNK];

	while (bytes) {
		size_t n = bytes < CHUNK ? bytes : CHUNK;

		if (from < 0)
			memset(buf, 0, n);
		else if (pread(from, buf, n, off) != (ssize_t)n)
			return -1;
		if (pwrite(to, buf, n, at) != (ssize_t)n)
			return -1;
		off += n;
		at += n;
		bytes -= n;
	}
	return 0;
}

static int replay(int log, int image, uint64_t image_bytes)
{
	struct super super;
	struct entry en;
	uint64_t nr, off;

	if (pread(log, &super, sizeof(super), 0) != sizeof(super) ||
	    super.magic != WRITELOG_MAGIC || super.version != 1 || super.sector_bytes < 512)
		return fail("not a log of writes", 0);
	off = super.sector_bytes;
	for (nr = 0; nr < super.nr_entries; nr++) {
		uint64_t at, bytes;
		int from = log;

		if (pread(log, &en, sizeof(en), off) != sizeof(en))
			return fail("read", nr);
		off += super.sector_bytes;
		if (en.flags & FLAG_MARK) {
			off += (en.data_len + super.sector_bytes - 1) / super.sector_bytes *
			       super.sector_bytes;
			continue;
		}
		at = en.sector * super.sector_bytes;
		bytes = en.sectors * super.sector_bytes;
		errno = 0;
		if (at > image_bytes || bytes > image_bytes - at)
			return fail("extent", nr);
		if (en.flags & FLAG_DISCARD)
			from = -1;
		if (copy(from, off, image, at, bytes))
			return fail("copy", nr);
		if (from >= 0)
			off += bytes;
	}
	printf("%llu entries\n", (unsigned long long)nr);
	return nr ? 0 : fail("the log is empty", 0);
}

int main(int argc, char **argv)
{
	int log, image;
	struct stat st;

	if (argc != 3) {
		fprintf(stderr, "usage: writelog LOG IMAGE\n");
		return 2;
	}
	log = open(argv[1], O_RDONLY | O_CLOEXEC);
	image = open(argv[2], O_RDWR | O_CLOEXEC);
	if (log < 0 || image < 0 || fstat(image, &st)) {
		fprintf(stderr, "writelog: %s: %m\n", log < 0 ? argv[1] : argv[2]);
		return 1;
	}
	return replay(log, image, st.st_size);
}
