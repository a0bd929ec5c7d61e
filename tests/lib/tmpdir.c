// SPDX-License-Identifier: GPL-2.0
#include "tests/lib/tmpdir.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char *tmpdir_make(const char *base)
{
	char *dir;

	if (!base)
		base = getenv("TMPDIR");
	if (asprintf(&dir, "%s/dag-test-XXXXXX", base ? base : "/tmp") < 0 || !mkdtemp(dir))
		abort();
	return dir;
}

void tmpdir_remove(char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *de;

	while (d && (de = readdir(d)))
		unlinkat(dirfd(d), de->d_name, 0);
	if (d)
		closedir(d);
	rmdir(dir);
	free(dir);
}

const char *tmpdir_path(const char *dir, const char *name)
{
	static __thread char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}
