/* SPDX-License-Identifier: GPL-2.0 */
/*
 * segfile - the few things the log does to files, each durable when it returns.
 * The system calls that change anything stand behind an ops table: tests put
 * one in that stops at the nth call or fails it.
 */
#ifndef DAG_SEGFILE_H
#define DAG_SEGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* All return -errno. */
struct segfile_ops {
	ssize_t (*pwritev2)(int fd, const struct iovec *iov, int n, off_t off, int flags);
	int (*allocate)(int fd, off_t len);
	int (*sync)(int fd);
	int (*rename)(int dirfd, const char *from, const char *to);
	int (*unlink)(int dirfd, const char *name);
};

extern const struct segfile_ops segfile_posix;
/* NULL: back to the system's own. For tests; not while a log is open. */
void segfile_set_ops(const struct segfile_ops *ops);

/* Opens for writing, with O_DIRECT where the file system has it. */
int segfile_open(int dirfd, const char *name, bool make, bool *ret_direct);
/* Writes all of iov at off, which is a multiple of 4096 as are the lengths. */
int segfile_write(int fd, struct iovec *iov, int n, off_t off);
int segfile_zero(int fd, off_t from, off_t to);
/* Makes a file of that size; wipe: with its blocks written, not just reserved. */
int segfile_make(int dirfd, const char *name, uint64_t bytes, bool wipe, bool *ret_direct);
int segfile_rename(int dirfd, const char *from, const char *to);
int segfile_unlink(int dirfd, const char *name);
/* Reads len bytes or up to the end of the file. */
ssize_t segfile_read(int fd, void *buf, size_t len, off_t off);

#endif
