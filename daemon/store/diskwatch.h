/* SPDX-License-Identifier: GPL-2.0 */
/*
 * diskwatch - does a disk still answer? A disk that fails says so; one that hangs says
 * nothing, and everything above it waits for ever. The block layer counts requests that
 * have begun and ended: some under way and none that ends, for long, is a hang.
 */
#ifndef DAG_DISKWATCH_H
#define DAG_DISKWATCH_H

#include <stdbool.h>
#include <stdint.h>

struct diskwatch {
	uint64_t ended;			/* requests, when we last looked */
	uint64_t since_ms;		/* nothing has ended since, though some are under way */
	bool waiting;
};

/* Pure. What was read at now_ms; returns for how long nothing has ended, 0: it works. */
uint64_t diskwatch_note(struct diskwatch *dw, uint64_t ended, uint64_t in_flight, uint64_t now_ms);

/* Requests of a block device (/sys/dev/block/.../stat, Documentation/block/stat.rst).
 * -ENOTBLK: no block device. */
int diskwatch_read(const char *device, uint64_t *ret_ended, uint64_t *ret_in_flight);
/* The same out of the text of that file. Pure. -EINVAL: not such a text. */
int diskwatch_parse(const char *text, uint64_t *ret_ended, uint64_t *ret_in_flight);

#endif
