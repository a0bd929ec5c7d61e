/* SPDX-License-Identifier: GPL-2.0 */
/*
 * logdump - lists and verifies the segments of a directory, of whatever store,
 * without changing anything and without the daemon; the log may be in use.
 */
#ifndef DAG_LOGDUMP_H
#define DAG_LOGDUMP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/*
 * logdump_dir - segments, and the records whose LSN is in [from, to), one line
 * each, or one JSON document. Payload checksums are not read. Returns 0 or
 * -errno; a damaged segment is shown as such and is no error.
 */
int logdump_dir(const char *dir, FILE *out, bool json, uint64_t from, uint64_t to);

/*
 * logdump_verify - headers, chain and payload checksum of every record. Returns
 * the number of bad things, each of which has been told, or -errno.
 */
int logdump_verify(const char *dir, FILE *out, bool json);

#endif
