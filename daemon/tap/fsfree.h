/* SPDX-License-Identifier: GPL-2.0 */
/*
 * fsfree - what the file system that is mounted on a store does not use.
 *
 * ext4 and xfs are asked while they are written to (FS_IOC_GETFSMAP). What they call
 * free may still be in use in what a crash would leave, so they are synced before the
 * answer is given: what freed it is in the log then. Anything that is not as expected -
 * another file system, mounted read-only or elsewhere, an error, no answer in time - is
 * no answer. Documentation/design.md, "Bringing a copy up to date".
 *
 * A program of its own asks, because a file system may hang: it is this one again.
 */
#ifndef DAG_FSFREE_H
#define DAG_FSFREE_H

#include <stdint.h>

#define FSFREE_OPTION	"--free-regions"

struct fsfree_ask {
	const char *name;		/* of the store, for the log */
	unsigned major, minor;		/* of its device */
	uint64_t sectors;
	uint32_t region_bytes;
	int cancel_fd;			/* readable: give up; -1: none */
};

/* bits: zero. 0, or -errno: it cannot be told; bits are as they were then. */
int fsfree_regions(const struct fsfree_ask *ask, uint8_t *bits);

/* FILE DIR MAJOR:MINOR SECTORS REGION_BYTES: the bits into FILE; the exit status. */
int fsfree_main(int argc, char **argv);

#endif
