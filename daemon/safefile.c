// SPDX-License-Identifier: GPL-2.0
#include "daemon/safefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int safefile_sync_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = fsync(fd) ? -errno : 0;
	close(fd);
	return rc;
}

int safefile_sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	int rc = dir ? safefile_sync_dir(dir) : -ENOMEM;

	free(dir);
	return rc;
}

static int write_durably(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

int safefile_replace(const char *path, mode_t mode, const void *data, size_t len)
{
	char *tmp;
	int fd, rc;

	if (asprintf(&tmp, "%s.new", path) < 0)
		return -ENOMEM;
	unlink(tmp);	/* one that a crash has left may have any mode */
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	rc = fd < 0 ? -errno : write_durably(fd, data, len);
	if (fd >= 0 && close(fd) && !rc)
		rc = -errno;
	if (!rc && rename(tmp, path))
		rc = -errno;
	if (rc && fd >= 0)
		unlink(tmp);
	if (!rc)
		rc = safefile_sync_parent(path);
	free(tmp);
	return rc;
}
