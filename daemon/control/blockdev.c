// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/blockdev.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/store/mounts.h"
#include "daemon/tap/dm.h"
#include "include/uapi/dagtap.h"

#define SECTORS_PER_BLOCK	(DAGTAP_BLOCK / DAGTAP_SECTOR)

int blockdev_layout(uint64_t data_bytes, uint64_t meta_bytes, uint32_t region_bytes,
		    uint64_t want_sectors, struct blockdev_layout *ret)
{
	uint64_t data_blocks = data_bytes / DAGTAP_BLOCK, regions, meta_blocks, sectors;

	/* Regions of the whole device: never fewer than the data will need. */
	sectors = want_sectors ? want_sectors : data_blocks * SECTORS_PER_BLOCK;
	regions = (sectors * DAGTAP_SECTOR + region_bytes - 1) / region_bytes;
	meta_blocks = DAGTAP_META_BLOCKS(regions);
	if (meta_bytes) {
		if (meta_bytes / DAGTAP_BLOCK < meta_blocks)
			return -ENOSPC;
		meta_blocks = 0;
	}
	if (data_blocks <= meta_blocks)
		return -ENOSPC;
	sectors = (data_blocks - meta_blocks) * SECTORS_PER_BLOCK;
	if (want_sectors && sectors < want_sectors)
		return -ENOSPC;
	ret->sectors = want_sectors ? want_sectors : sectors;
	ret->meta_block = meta_bytes ? 0 : data_blocks - meta_blocks;
	return 0;
}

int blockdev_size(const char *path, uint64_t *ret_bytes, char *err, size_t errlen)
{
	struct stat st;
	uint64_t bytes;
	int fd, r;

	fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
	if (fd < 0) {
		r = -errno;
		if (r == -EBUSY)
			snprintf(err, errlen, "device %s: in use (mounted, or part of another "
				 "device); free it, see lsblk %s", path, path);
		else
			snprintf(err, errlen, "device %s: %s", path, strerror(-r));
		return r;
	}
	r = 0;
	if (fstat(fd, &st) || !S_ISBLK(st.st_mode)) {
		r = -ENOTBLK;
		snprintf(err, errlen, "device %s: not a block device", path);
	} else if (ioctl(fd, BLKGETSIZE64, &bytes)) {
		r = -errno;
		snprintf(err, errlen, "device %s: size: %s", path, strerror(-r));
	} else {
		*ret_bytes = bytes;
	}
	close(fd);
	return r;
}

/* blkid's exit code: 0 found, 2 nothing; what it prints goes to type. */
int blockdev_signature(const char *path, char *type, size_t typelen)
{
	char *argv[] = { "blkid", "-p", "-o", "value", "-s", "TYPE", "-s", "PTTYPE", (char *)path,
			 NULL };
	char *envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", NULL };
	posix_spawn_file_actions_t fa;
	int fds[2], status, r;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, fds[1], STDOUT_FILENO);
	posix_spawn_file_actions_addopen(&fa, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	r = -posix_spawnp(&pid, "blkid", &fa, NULL, argv, envp);
	posix_spawn_file_actions_destroy(&fa);
	close(fds[1]);
	if (r) {
		close(fds[0]);
		return r;
	}
	n = read(fds[0], type, typelen - 1);
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	type[n > 0 ? n : 0] = '\0';
	type[strcspn(type, "\n")] = '\0';
	if (!WIFEXITED(status) || (WEXITSTATUS(status) && WEXITSTATUS(status) != 2))
		return -EIO;
	return WEXITSTATUS(status) == 0 && type[0];
}

static void find_holder(unsigned maj, unsigned min, char *ret, size_t len)
{
	char path[64];
	struct dirent *de;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", maj, min);
	dir = opendir(path);
	while (dir && (de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(ret, len, "%.63s", de->d_name);
		break;
	}
	if (dir)
		closedir(dir);
}

int blockdev_use(const char *dm_name, struct blockdev_use *ret)
{
	struct mount_at at;
	struct dm_dev dev;
	int r;

	memset(ret, 0, sizeof(*ret));
	/* without device-mapper there is no such device */
	if (access("/sys/class/misc/device-mapper", F_OK))
		return 0;
	r = dm_dev_get(dm_name, &dev);
	if (r || !dev.exists)
		return r;
	ret->open_count = dev.open_count;
	if (!mounts_of_device(dev.major, dev.minor, false, &at))
		snprintf(ret->mounted, sizeof(ret->mounted), "%.255s", at.path);
	find_holder(dev.major, dev.minor, ret->holder, sizeof(ret->holder));
	return 0;
}

int blockdev_unmount(const char *dm_name, char *err, size_t errlen)
{
	struct mount_at at;
	struct dm_dev dev;
	int r;

	r = dm_dev_get(dm_name, &dev);
	if (r || !dev.exists)
		return r;
	while (!mounts_of_device(dev.major, dev.minor, true, &at)) {
		if (!umount2(at.path, 0))
			continue;
		r = -errno;
		snprintf(err, errlen, "%.200s: cannot be unmounted: %s; see fuser -vm %.200s",
			 at.path, strerror(-r), at.path);
		return r;
	}
	return 0;
}
