/* SPDX-License-Identifier: GPL-2.0 */
/* mounts - what is mounted where, out of /proc/self/mountinfo. */
#ifndef DAG_MOUNTS_H
#define DAG_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>

struct mount_at {
	unsigned major, minor;
	char path[4096];
	char type[32];
	char source[256];
};

/* Where a device is mounted; last: the newest of several. -ENOENT: nowhere. */
int mounts_of_device(unsigned major, unsigned minor, bool last, struct mount_at *ret);
/* What is mounted on this very path, on top of others. -ENOENT: nothing. */
int mounts_at_path(const char *path, struct mount_at *ret);

#endif
