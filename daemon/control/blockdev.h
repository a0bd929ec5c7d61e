/* SPDX-License-Identifier: GPL-2.0 */
/* blockdev - what must be known of a device before it becomes part of a store. */
#ifndef DAG_BLOCKDEV_H
#define DAG_BLOCKDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blockdev_layout {
	uint64_t sectors;		/* of the store */
	uint64_t meta_block;		/* first 4 KiB block of the metadata */
};

/*
 * Where data and metadata stand. Pure. meta_bytes: size of a metadata device of
 * its own, 0: metadata in the tail of the data device. want_sectors: the store's
 * size if it has one already (another copy), else 0. -ENOSPC: too small.
 */
int blockdev_layout(uint64_t data_bytes, uint64_t meta_bytes, uint32_t region_bytes,
		    uint64_t want_sectors, struct blockdev_layout *ret);

/* Size of a block device that nobody has in use (opened O_EXCL). */
int blockdev_size(const char *path, uint64_t *ret_bytes, char *err, size_t errlen);
/* 1: a signature is there (its type in type), 0: none, -errno. */
int blockdev_signature(const char *path, char *type, size_t typelen);

struct blockdev_use {
	int open_count;			/* of the dm device */
	char mounted[256];		/* first mount point, empty: none */
	char holder[64];		/* a device on top of it, empty: none */
};
/* Who uses the store's dm device; a device that is not there is not in use. */
int blockdev_use(const char *dm_name, struct blockdev_use *ret);
/* Unmount the store's dm device everywhere. */
int blockdev_unmount(const char *dm_name, char *err, size_t errlen);

#endif
