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

struct dagtap_rec;

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

/*
 * logdump_walk - call fn for each record that begins in [from, to), in order, up to
 * the first place where the log does not go on: its end, a gap, damage. Headers
 * and chain are checked, payloads are not read: fn's is good for the name of a
 * MARK only. Returns 0, or fn's nonzero answer, in front of whose record the walk
 * has ended, with *ret_end where it ended; or -errno of the directory.
 */
typedef int (*logdump_fn)(void *ctx, const struct dagtap_rec *rec, const void *payload);
int logdump_walk(const char *dir, uint64_t from, uint64_t to, logdump_fn fn, void *ctx,
		 uint64_t *ret_end);

/*
 * logdump_residue - does anything that looks like a record stand at or behind lsn in the
 * newest segment? 1: yes, or its header is damaged; 0; -errno. In a log that is not
 * written any more that is damage, not an end.
 */
int logdump_residue(const char *dir, uint64_t lsn);

#endif
