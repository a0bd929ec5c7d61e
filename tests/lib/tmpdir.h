/* SPDX-License-Identifier: GPL-2.0 */
/* tmpdir - a directory for one test, gone with everything in it afterwards. */
#ifndef DAG_TEST_TMPDIR_H
#define DAG_TEST_TMPDIR_H

#include <stddef.h>

/* base NULL: $TMPDIR or /tmp. Leaves the test on failure. The caller frees it. */
char *tmpdir_make(const char *base);
/* Removes the files of dir (not of folders in it), and dir with them. */
void tmpdir_remove(char *dir);
/* dir/name, in a buffer that the next call uses again */
const char *tmpdir_path(const char *dir, const char *name);

#endif
