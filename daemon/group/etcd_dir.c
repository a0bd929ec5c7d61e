// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/etcd_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/net/creds_internal.h"

#define BEGUN_FILE	"begun"
#define LOG_BYTES_MAX	(1u << 20)

static bool is_there(const char *dir, const char *file)
{
	char path[340];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return !access(path, F_OK);
}

void etcd_dir_note_begun(const char *dir)
{
	if (!is_there(dir, BEGUN_FILE) && is_there(dir, "data/member/wal"))
		creds_file_write(dir, BEGUN_FILE, 0600, "1\n", 2);
}

bool etcd_dir_lost(const char *dir)
{
	return is_there(dir, BEGUN_FILE) && !is_there(dir, "data/member/wal");
}

int etcd_dir_log(const char *dir)
{
	char path[320];
	int fd;

	snprintf(path, sizeof(path), "%s/log", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

void etcd_dir_bound_log(const char *dir)
{
	char path[320], old[330], *buf;
	struct stat st;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/log", dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &st) || st.st_size < LOG_BYTES_MAX)
		goto out;
	buf = malloc(LOG_BYTES_MAX / 2);
	if (!buf)
		goto out;
	n = pread(fd, buf, LOG_BYTES_MAX / 2, st.st_size - LOG_BYTES_MAX / 2);
	if (n > 0) {
		int to;

		snprintf(old, sizeof(old), "%s.old", path);
		to = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (to >= 0 && write(to, buf, n) != n)
			log_debug("engine file=%s err=\"%m\"", old);
		if (to >= 0)
			close(to);
	}
	free(buf);
	/* etcd appends: it goes on at the beginning */
	if (ftruncate(fd, 0))
		log_warn("engine file=%s msg=\"not truncated\" err=\"%m\"", path);
out:
	close(fd);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) && errno != ENOENT ? -errno : 0;
}

int etcd_dir_clear(const char *dir)
{
	char path[320];
	int r;

	snprintf(path, sizeof(path), "%s/%s", dir, BEGUN_FILE);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	snprintf(path, sizeof(path), "%s/data", dir);
	r = nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	if (r == -1 && errno == ENOENT)
		return 0;
	return r == -1 ? -errno : r;
}
