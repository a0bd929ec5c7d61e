/* SPDX-License-Identifier: GPL-2.0 */
/* etcd_proc - the program etcd: its version, starting it, finding one that runs. */
#ifndef DAG_ETCD_PROC_H
#define DAG_ETCD_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define ETCD_PROGRAM	"/usr/bin/etcd"

/* May this version be used? -EOPNOTSUPP and why not. Pure. */
int etcd_version_check(const char *version, char *err, size_t errlen);
/* Of the installed one: 0, -ENOENT, -EOPNOTSUPP, with a message for people. */
int etcd_version_installed(char ret_version[32], char *err, size_t errlen);
/* Start it, in a session of its own, with its output to out_fd. more: a further line of
 * its environment, or NULL. */
int etcd_proc_spawn(pid_t *ret, char *const argv[], const char *more, int out_fd);
/* The etcd that was started with this argument: a pidfd, -ENOENT. */
int etcd_proc_find(const char *arg, pid_t *ret);
/* Was the etcd with this pid started with this argument? */
bool etcd_proc_has(pid_t pid, const char *arg);

#endif
