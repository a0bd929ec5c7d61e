/* SPDX-License-Identifier: GPL-2.0 */
/*
 * etcd_dir - what an etcd of ours has in its directory: its data, a mark that there was
 * data once, its log, which is bounded.
 */
#ifndef DAG_ETCD_DIR_H
#define DAG_ETCD_DIR_H

#include <stdbool.h>

/* etcd has made its data: from now on it must not start without. */
void etcd_dir_note_begun(const char *dir);
/* There was data, and there is none any more. */
bool etcd_dir_lost(const char *dir);
/* Data and mark; 0 or -errno. */
int etcd_dir_clear(const char *dir);
/* A descriptor to append to the log, or -errno. */
int etcd_dir_log(const char *dir);
/* Keep the log small: its second half goes on, in a file beside. */
void etcd_dir_bound_log(const char *dir);

#endif
