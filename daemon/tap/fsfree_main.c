// SPDX-License-Identifier: GPL-2.0
/*
 * The program that asks the file system. Its order is what makes the answer safe: the
 * answer, then the sync, then that the file system was whole all the while; only then is
 * anything written.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fsmap.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/tap/freemap.h"
#include "daemon/tap/fsfree.h"

#define XFS_MAGIC	0x58465342
#define RECORDS		1024u

struct query {
	const char *dir;
	unsigned major, minor;
	int fd;
	struct freemap map;
};

static int give_up(const char *dir, const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", dir, what, errno ? strerror(errno) : "not as it must be");
	return EXIT_FAILURE;
}

/*
 * xfs answers who may administer by its reverse map, where it has one. That learns of an
 * allocation by a transaction of its own, after the one that made it: in between it calls
 * a block free that may have been written. The others are answered by the tree that
 * allocations are made from.
 */
static int be_nobody_special(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &head, data))
		return -1;
	data[0].effective &= ~(1u << CAP_SYS_ADMIN);
	data[0].permitted &= ~(1u << CAP_SYS_ADMIN);
	return (int)syscall(SYS_capset, &head, data);
}

/* One file system, on this device itself, that can be written to. */
static bool fits(const struct query *q)
{
	struct statvfs vfs;
	struct statfs fs;
	struct stat st;

	errno = 0;
	if (fstat(q->fd, &st) || fstatfs(q->fd, &fs) || fstatvfs(q->fd, &vfs))
		return false;
	return st.st_dev == makedev(q->major, q->minor) && !(vfs.f_flag & ST_RDONLY) &&
	       (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_MAGIC);
}

/* As the kernel writes a device number into 32 bits. */
static uint32_t encoded(const struct query *q)
{
	return (q->minor & 0xff) | q->major << 8 | (q->minor & ~0xffu) << 12;
}

static void take_records(struct query *q, const struct fsmap_head *head)
{
	for (unsigned i = 0; i < head->fmh_entries; i++) {
		const struct fsmap *r = &head->fmh_recs[i];

		if (r->fmr_device == encoded(q) && r->fmr_flags & FMR_OF_SPECIAL_OWNER &&
		    r->fmr_owner == FMR_OWN_FREE)
			freemap_add(&q->map, r->fmr_physical, r->fmr_length);
	}
}

static int ask(struct query *q)
{
	struct fsmap_head *head = calloc(1, fsmap_sizeof(RECORDS));
	int rc = -1;

	if (!head)
		return -1;
	head->fmh_count = RECORDS;
	memset(&head->fmh_keys[1], 0xff, sizeof(head->fmh_keys[1]));
	memset(head->fmh_keys[1].fmr_reserved, 0, sizeof(head->fmh_keys[1].fmr_reserved));
	head->fmh_keys[1].fmr_length = 0;
	for (;;) {
		head->fmh_entries = 0;
		if (ioctl(q->fd, FS_IOC_GETFSMAP, head))
			break;
		if (head->fmh_entries > RECORDS)
			break;
		take_records(q, head);
		if (!head->fmh_entries ||
		    head->fmh_recs[head->fmh_entries - 1].fmr_flags & FMR_OF_LAST) {
			rc = 0;
			break;
		}
		fsmap_advance(head);
	}
	free(head);
	freemap_end(&q->map);
	return rc;
}

/* The last fsync fails where the file system was shut down: then nothing was synced. */
static int answer(struct query *q, const char *file, size_t bytes)
{
	int out = open(file, O_WRONLY | O_CLOEXEC);

	if (out < 0)
		return give_up(file, "open");
	if (be_nobody_special())
		return give_up(q->dir, "capabilities");
	q->fd = open(q->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (q->fd < 0)
		return give_up(q->dir, "open");
	if (!fits(q))
		return give_up(q->dir, "file system");
	if (ask(q))
		return give_up(q->dir, "FS_IOC_GETFSMAP");
	if (syncfs(q->fd))
		return give_up(q->dir, "syncfs");
	if (fsync(q->fd))
		return give_up(q->dir, "fsync");
	if (!fits(q))
		return give_up(q->dir, "file system");
	if (pwrite(out, q->map.bits, bytes, 0) != (ssize_t)bytes)
		return give_up(file, "write");
	return EXIT_SUCCESS;
}

int fsfree_main(int argc, char **argv)
{
	unsigned long long sectors;
	struct query q = { .fd = -1 };
	unsigned region;
	uint64_t regions;
	uint8_t *bits;

	errno = EINVAL;
	if (argc != 5 || sscanf(argv[2], "%u:%u", &q.major, &q.minor) != 2 ||
	    sscanf(argv[3], "%llu", &sectors) != 1 || sscanf(argv[4], "%u", &region) != 1 ||
	    region < 512 || !sectors || sectors > UINT64_MAX / 512)
		return give_up(FSFREE_OPTION, "arguments");
	regions = (sectors + region / 512 - 1) / (region / 512);
	bits = calloc(1, (regions + 7) / 8);
	if (!bits)
		return give_up(FSFREE_OPTION, "memory");
	q.dir = argv[1];
	freemap_init(&q.map, bits, sectors * 512, region);
	return answer(&q, argv[0], (regions + 7) / 8);
}
