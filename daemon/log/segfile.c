// SPDX-License-Identifier: GPL-2.0
#include "daemon/log/segfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log/segment.h"

#define ZERO_BYTES	(1u << 20)

static const uint8_t zeroes[ZERO_BYTES] __attribute__((aligned(SEG_BLOCK)));

static ssize_t posix_pwritev2(int fd, const struct iovec *iov, int n, off_t off, int flags)
{
	ssize_t got = pwritev2(fd, iov, n, off, flags);

	return got < 0 ? -errno : got;
}

static int posix_allocate(int fd, off_t len)
{
	return fallocate(fd, 0, 0, len) ? -errno : 0;
}

static int posix_sync(int fd)
{
	return fsync(fd) ? -errno : 0;
}

static int posix_rename(int dirfd, const char *from, const char *to)
{
	return renameat(dirfd, from, dirfd, to) ? -errno : 0;
}

static int posix_unlink(int dirfd, const char *name)
{
	return unlinkat(dirfd, name, 0) ? -errno : 0;
}

const struct segfile_ops segfile_posix = {
	.pwritev2 = posix_pwritev2,
	.allocate = posix_allocate,
	.sync = posix_sync,
	.rename = posix_rename,
	.unlink = posix_unlink,
};

static const struct segfile_ops *ops = &segfile_posix;

void segfile_set_ops(const struct segfile_ops *to)
{
	ops = to ? to : &segfile_posix;
}

int segfile_open(int dirfd, const char *name, bool make, bool *ret_direct)
{
	int flags = O_RDWR | O_CLOEXEC | (make ? O_CREAT | O_TRUNC : 0);
	int fd = openat(dirfd, name, flags | O_DIRECT, 0600);

	*ret_direct = fd >= 0;
	if (fd < 0 && errno == EINVAL)
		fd = openat(dirfd, name, flags, 0600);
	return fd < 0 ? -errno : fd;
}

static int drop_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || !(flags & O_DIRECT) || fcntl(fd, F_SETFL, flags & ~O_DIRECT))
		return -EINVAL;
	return 0;
}

static void iov_skip(struct iovec **iov, int *n, size_t bytes)
{
	while (*n && bytes >= (*iov)->iov_len) {
		bytes -= (*iov)->iov_len;
		(*iov)++;
		(*n)--;
	}
	if (*n) {
		(*iov)->iov_base = (uint8_t *)(*iov)->iov_base + bytes;
		(*iov)->iov_len -= bytes;
	}
}

int segfile_write(int fd, struct iovec *iov, int n, off_t off)
{
	int flags = RWF_DSYNC;

	while (n) {
		ssize_t got = ops->pwritev2(fd, iov, n, off, flags);

		if (got == -EINTR)
			continue;
		if (got == -EOPNOTSUPP && flags) {
			flags = 0;
			continue;
		}
		/* some file systems refuse O_DIRECT only when it is used, and a
		 * short write may leave a rest that is not aligned */
		if (got == -EINVAL && !drop_direct(fd))
			continue;
		if (got <= 0)
			return got ? (int)got : -EIO;
		off += got;
		iov_skip(&iov, &n, got);
	}
	return flags ? 0 : ops->sync(fd);
}

int segfile_zero(int fd, off_t from, off_t to)
{
	while (from < to) {
		size_t len = to - from < (off_t)ZERO_BYTES ? (size_t)(to - from) : ZERO_BYTES;
		struct iovec iov = { .iov_base = (void *)zeroes, .iov_len = len };
		int rc = segfile_write(fd, &iov, 1, from);

		if (rc)
			return rc;
		from += len;
	}
	return 0;
}

int segfile_make(int dirfd, const char *name, uint64_t bytes, bool wipe, bool *ret_direct)
{
	int fd = segfile_open(dirfd, name, true, ret_direct), rc;

	if (fd < 0)
		return fd;
	/* reserve first: no space is then found before anything is written */
	rc = ops->allocate(fd, bytes);
	if (rc == -EOPNOTSUPP) {
		wipe = true;
		rc = 0;
	}
	if (!rc && wipe)
		rc = segfile_zero(fd, 0, bytes);
	if (!rc)
		rc = ops->sync(fd);
	if (!rc)
		return fd;
	close(fd);
	ops->unlink(dirfd, name);
	return rc;
}

int segfile_rename(int dirfd, const char *from, const char *to)
{
	int rc = ops->rename(dirfd, from, to);

	return rc ? rc : ops->sync(dirfd);
}

int segfile_unlink(int dirfd, const char *name)
{
	int rc = ops->unlink(dirfd, name);

	return rc ? rc : ops->sync(dirfd);
}

ssize_t segfile_read(int fd, void *buf, size_t len, off_t off)
{
	size_t at = 0;

	while (at < len) {
		ssize_t got = pread(fd, (uint8_t *)buf + at, len - at, off + at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got)
			break;
		at += got;
	}
	return at;
}
