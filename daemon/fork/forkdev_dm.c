// SPDX-License-Identifier: GPL-2.0
/*
 * Forks by dm-snapshot: snapshot, non-persistent, over the copy's device and a loop
 * device over a file in the log directory, which has no name any more; snapshot-origin
 * over the copy's device.
 *
 * The order matters: an origin splits writes at the chunks of the snapshots that it
 * knows when it is resumed, and a write that is not split keeps its first chunk only.
 * So the first snapshot is made before the origin, and all have one chunk size.
 *
 * udev is kept from looking at them: the fork of a file system has its UUID.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/loop.h>

#include "daemon/fork/forkdev.h"
#include "daemon/log.h"
#include "daemon/tap/dm.h"

#define CHUNK_SECTORS	32		/* 16 KiB */
#define UUID_FORK	"DAG-FORK-"
#define UUID_ORIGIN	"DAG-ORIGIN-"
#define LOOP_TRIES	16
#define ID_BYTES	33

struct forkdev {
	char name[FORK_NAME_BYTES], path[FORK_NAME_BYTES + 16];
	char id[ID_BYTES];
	char loop[32];
	char *device;
	uint64_t sectors;
	int loop_fd;			/* keeps it, until the snapshot does */
	bool made;
};

static void store_id(const uint8_t uuid[16], char ret[ID_BYTES])
{
	for (int i = 0; i < 16; i++)
		snprintf(ret + 2 * i, 3, "%02x", uuid[i]);
}

/* ---- what a dead daemon has left ------------------------------------------------ */

static void kill_one(const char *name, void *ctx)
{
	int rc = dm_dev_kill(name);

	if (rc)
		log_err("device=%s left by a daemon that died cannot be removed: %s", name, strerror(-rc));
	else
		log_notice("device=%s left by a daemon that died is removed", name);
}

static void dm_sweep(void)
{
	int rc = dm_dev_each(UUID_FORK, kill_one, NULL);

	if (!rc)
		rc = dm_dev_each(UUID_ORIGIN, kill_one, NULL);
	if (rc && rc != -ENXIO && rc != -ENODEV && rc != -ENOENT)
		log_warn("forks of a daemon that died cannot be looked for: %s", strerror(-rc));
}

/* ---- the file that takes what is overwritten ----------------------------------- */

/* A file without a name, so that nothing can be left of it. */
static int make_file(const char *dir, const char *name, uint64_t bytes, char *err, size_t errlen)
{
	char path[4096];
	int fd, rc = 0;

	snprintf(path, sizeof(path), "%s/fork-%s.cow", dir, name);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		rc = -errno;
		snprintf(err, errlen, "%s: %s", path, strerror(-rc));
		return rc;
	}
	unlink(path);
	if (fallocate(fd, 0, 0, bytes) &&
	    (errno != EOPNOTSUPP || ftruncate(fd, bytes)))
		rc = -errno;
	if (rc) {
		snprintf(err, errlen, "%s: no room for %llu MiB: %s; give less with --space", dir,
			 (unsigned long long)bytes >> 20, strerror(-rc));
		close(fd);
		return rc;
	}
	return fd;
}

static int loop_take(int control, int file, char *ret_path, size_t len)
{
	struct loop_config lc = {
		.fd = file,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
	};
	int n = ioctl(control, LOOP_CTL_GET_FREE), fd;

	if (n < 0)
		return -errno;
	snprintf(ret_path, len, "/dev/loop%d", n);
	fd = open(ret_path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, LOOP_CONFIGURE, &lc)) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}

static int loop_up(int file, char *ret_path, size_t len, char *err, size_t errlen)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), rc;

	if (control < 0) {
		rc = -errno;
		snprintf(err, errlen, "/dev/loop-control: %s; run modprobe loop", strerror(-rc));
		return rc;
	}
	/* another may take what was free */
	for (int i = 0; i < LOOP_TRIES; i++) {
		rc = loop_take(control, file, ret_path, len);
		if (rc != -EBUSY)
			break;
	}
	close(control);
	if (rc < 0)
		snprintf(err, errlen, "loop device: %s", strerror(-rc));
	return rc;
}

/* ---- the snapshot ----------------------------------------------------------------- */

static void dm_free(struct forkdev *fd)
{
	if (fd->loop_fd >= 0)
		close(fd->loop_fd);
	free(fd->device);
	free(fd);
}

static int check_name(const char *name, char *err, size_t errlen)
{
	struct dm_dev dev;
	int rc = dm_dev_get(name, &dev);

	if (rc)
		snprintf(err, errlen, "device-mapper: %s", strerror(-rc));
	else if (dev.exists)
		snprintf(err, errlen, "/dev/mapper/%s is there already; give another --name", name);
	return rc ? rc : dev.exists ? -EEXIST : 0;
}

static int dm_prepare(const struct forkdev_conf *conf, struct forkdev **ret, char *err, size_t errlen)
{
	struct forkdev *fd;
	int file, rc = check_name(conf->name, err, errlen);

	if (rc)
		return rc;
	fd = calloc(1, sizeof(*fd));
	if (!fd)
		return -ENOMEM;
	fd->loop_fd = -1;
	snprintf(fd->name, sizeof(fd->name), "%s", conf->name);
	snprintf(fd->path, sizeof(fd->path), "/dev/mapper/%s", conf->name);
	store_id(conf->uuid, fd->id);
	fd->device = strdup(conf->device);
	fd->sectors = conf->sectors;
	file = fd->device ? make_file(conf->dir, conf->name, conf->space, err, errlen) : -ENOMEM;
	rc = file;
	if (file >= 0) {
		rc = loop_up(file, fd->loop, sizeof(fd->loop), err, errlen);
		close(file);
	}
	if (rc < 0) {
		dm_free(fd);
		return rc;
	}
	fd->loop_fd = rc;
	*ret = fd;
	return 0;
}

static int dm_make(struct forkdev *fd, char *err, size_t errlen)
{
	char uuid[128], params[4300];
	int rc;

	snprintf(uuid, sizeof(uuid), UUID_FORK "%s-%s", fd->id, fd->name);
	snprintf(params, sizeof(params), "%s %s N %d", fd->device, fd->loop, CHUNK_SECTORS);
	rc = dm_dev_create_quiet(fd->name, uuid, fd->sectors, "snapshot", params);
	if (rc) {
		snprintf(err, errlen, "/dev/mapper/%s: no snapshot can be made: %s; is dm-snapshot there? "
			 "see dmesg", fd->name, strerror(-rc));
		return rc;
	}
	fd->made = true;
	close(fd->loop_fd);	/* the snapshot has it now, and it goes with it */
	fd->loop_fd = -1;
	return 0;
}

static const char *dm_path(const struct forkdev *fd)
{
	return fd->path;
}

static int dm_read_only(struct forkdev *fd)
{
	int node = open(fd->path, O_RDONLY | O_CLOEXEC), on = 1, rc = 0;

	if (node < 0)
		return -errno;
	if (ioctl(node, BLKROSET, &on))
		rc = -errno;
	close(node);
	return rc;
}

static int dm_state(struct forkdev *fd, uint64_t *ret_used)
{
	unsigned long long used;
	char text[128];
	int rc = dm_dev_status(fd->name, text, sizeof(text));

	if (rc)
		return rc;
	if (sscanf(text, "%llu/", &used) != 1)
		return -ENOSPC;	/* Invalid, Overflow */
	*ret_used = used * 512;
	return 0;
}

static int dm_remove(struct forkdev *fd, bool force)
{
	int rc;

	if (!fd->made)
		return 0;
	rc = force ? dm_dev_kill(fd->name) : dm_dev_remove(fd->name);
	if (rc == -ENXIO)
		rc = 0;
	if (!rc)
		fd->made = false;
	return rc;
}

/* ---- the origin ------------------------------------------------------------------ */

static int dm_origin_up(const struct forkdev_conf *conf, char *ret_path, size_t len, char *err,
			size_t errlen)
{
	char id[ID_BYTES], name[64], uuid[128];
	int rc;

	store_id(conf->uuid, id);
	snprintf(name, sizeof(name), "dag-origin-%s", id);
	snprintf(uuid, sizeof(uuid), UUID_ORIGIN "%s", id);
	rc = dm_dev_create_quiet(name, uuid, conf->sectors, "snapshot-origin", conf->device);
	if (rc)
		snprintf(err, errlen, "/dev/mapper/%s: %s", name, strerror(-rc));
	else
		snprintf(ret_path, len, "/dev/mapper/%s", name);
	return rc;
}

/* Whoever looks at all devices may have it open for a moment: not waited for. */
static int dm_origin_down(const uint8_t uuid[16])
{
	char id[ID_BYTES], name[64];
	int rc;

	store_id(uuid, id);
	snprintf(name, sizeof(name), "dag-origin-%s", id);
	rc = dm_dev_remove(name);
	if (rc == -ENXIO)
		return 0;
	return rc == -EBUSY ? dm_dev_kill(name) : rc;
}

const struct forkdev_ops forkdev_dm = {
	.sweep = dm_sweep,
	.prepare = dm_prepare,
	.make = dm_make,
	.path = dm_path,
	.read_only = dm_read_only,
	.state = dm_state,
	.remove = dm_remove,
	.free = dm_free,
	.origin_up = dm_origin_up,
	.origin_down = dm_origin_down,
};
