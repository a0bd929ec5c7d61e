/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dm - the few things we ask device-mapper for (libdevmapper). Returns 0 or
 * -errno; works with and without udev.
 */
#ifndef DAG_DM_H
#define DAG_DM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dm_dev {
	bool exists;
	bool suspended;
	int open_count;
	unsigned major, minor;
	char target[32];	/* of the only line of its table, empty if none */
	char params[512];
	uint64_t sectors;
};

int dm_dev_get(const char *name, struct dm_dev *ret);
/* Make name with a one-line table and bring it up; uuid is the dm uuid. */
int dm_dev_create(const char *name, const char *uuid, uint64_t sectors, const char *target,
		  const char *params);
/* The same, but udev leaves it alone: no scan for what is on it, no link to it. */
int dm_dev_create_quiet(const char *name, const char *uuid, uint64_t sectors, const char *target,
			const char *params);
int dm_dev_remove(const char *name);	/* -EBUSY: open */
/*
 * Whatever uses it: from now on every I/O to it fails and what lay below is let go;
 * it is removed, at once or when it is closed. What is under way to it ends first.
 */
int dm_dev_kill(const char *name);
/* What the target of its one-line table says of itself. -ENXIO: no such device. */
int dm_dev_status(const char *name, char *ret, size_t len);
/* For each device whose dm uuid begins so; fn may remove it. */
int dm_dev_each(const char *uuid_prefix, void (*fn)(const char *name, void *ctx), void *ctx);

#endif
