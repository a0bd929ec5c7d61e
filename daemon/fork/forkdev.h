/* SPDX-License-Identifier: GPL-2.0 */
/*
 * forkdev - the devices behind an opened copy: a snapshot of the copy's device that
 * keeps what is overwritten in either of them, and the origin, through which the
 * replay writes while there is a snapshot.
 *
 * Nothing here survives a reboot, nor a daemon: what one that died has left is found
 * by its dm uuid and taken away by sweep(). A write through the origin reaches the
 * device before it is acknowledged, so the device is right at any time, whatever
 * becomes of the snapshots.
 */
#ifndef DAG_FORKDEV_H
#define DAG_FORKDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FORK_NAME_BYTES	64

struct forkdev;

struct forkdev_conf {
	const char *name;		/* of the device to be */
	const uint8_t *uuid;		/* of the store */
	const char *device;		/* of the copy */
	uint64_t sectors;
	const char *dir;		/* takes what is overwritten … */
	uint64_t space;			/* … up to so many bytes, taken at once */
};

/* All return 0 or -errno; err says which object and why. */
struct forkdev_ops {
	/* What a daemon that died has left: gone. Before any replay runs. */
	void (*sweep)(void);
	/* Everything that takes time; nothing is to be seen of it yet. */
	int (*prepare)(const struct forkdev_conf *conf, struct forkdev **ret, char *err, size_t errlen);
	/* While nothing writes to the device: from now on it is the device as it is now. */
	int (*make)(struct forkdev *fd, char *err, size_t errlen);
	const char *(*path)(const struct forkdev *fd);
	int (*read_only)(struct forkdev *fd);
	/* Bytes kept so far; -ENOSPC: more than space, its content is lost. */
	int (*state)(struct forkdev *fd, uint64_t *ret_used);
	/* -EBUSY: it is open. force: whatever uses it gets errors, and it goes. */
	int (*remove)(struct forkdev *fd, bool force);
	void (*free)(struct forkdev *fd);	/* removed or not made */
	/*
	 * After the first make(), before anything is written: ret_path is to be written
	 * to in the device's place. origin_down: nobody has it open any more.
	 */
	int (*origin_up)(const struct forkdev_conf *conf, char *ret_path, size_t len, char *err,
			 size_t errlen);
	int (*origin_down)(const uint8_t uuid[16]);
};

extern const struct forkdev_ops forkdev_dm;

#endif
