/* SPDX-License-Identifier: GPL-2.0 */
/*
 * child - a program run to its end, in a process group of its own, with a time
 * limit. What it prints goes into the log, line by line.
 */
#ifndef DAG_CHILD_H
#define DAG_CHILD_H

#include <stddef.h>

struct child_conf {
	const char *name;		/* of the store, for the log */
	char *const *argv;		/* argv[0]: a path, or found in PATH of envp */
	char *const *envp;
	unsigned timeout_ms;
	int cancel_fd;			/* readable: end it now; -1: none */
	unsigned grace_ms;		/* between TERM and KILL, and after; 0: 2 s */
};

/*
 * Returns the exit status, 128 + N for a program that ended by signal N, or
 * -ETIMEDOUT, -ECANCELED: the group was killed; or -errno: not started. `last` gets
 * the last line it printed. What it leaves running in the background is left alone
 * unless the group is killed.
 */
int child_run(const struct child_conf *conf, char *last, size_t lastlen);

#endif
