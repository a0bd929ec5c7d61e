/* SPDX-License-Identifier: GPL-2.0 */
/*
 * safefile - small files that are whole or as they were before, whatever happens.
 */
#ifndef DAG_SAFEFILE_H
#define DAG_SAFEFILE_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Writes PATH.new, makes it durable and renames it: after 0 the file has this content
 * and mode, also after a crash; after -errno it is as before, but if the directory
 * could not be synced, when it may be either.
 */
int safefile_replace(const char *path, mode_t mode, const void *data, size_t len);

/* The names in a directory are durable; or in that of a file. -errno. */
int safefile_sync_dir(const char *dir);
int safefile_sync_parent(const char *path);

#endif
