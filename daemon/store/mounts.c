// SPDX-License-Identifier: GPL-2.0
#include "daemon/store/mounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* mountinfo writes space, tab, newline and backslash in octal. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*to++ = (s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0');
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* "ID PARENT MAJ:MIN ROOT PATH OPTIONS [TAG]... - TYPE SOURCE OPTIONS" */
static bool parse(char *line, struct mount_at *ret)
{
	const char *sep;

	if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &ret->major, &ret->minor, ret->path) != 3)
		return false;
	ret->type[0] = ret->source[0] = '\0';
	sep = strstr(line, " - ");
	if (sep)
		sscanf(sep, " - %31s %255s", ret->type, ret->source);
	unescape(ret->path);
	unescape(ret->source);
	return true;
}

static int look(bool (*match)(const struct mount_at *m, const void *ctx), const void *ctx, bool last,
		struct mount_at *ret)
{
	struct mount_at *m = malloc(sizeof(*m));
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t cap = 0;
	int rc = -ENOENT;

	if (!f || !m) {
		rc = m ? -errno : -ENOMEM;
		goto out;
	}
	while (getline(&line, &cap, f) > 0) {
		if (!parse(line, m) || !match(m, ctx))
			continue;
		*ret = *m;
		rc = 0;
		if (!last)
			break;
	}
out:
	free(line);
	free(m);
	if (f)
		fclose(f);
	return rc;
}

static bool is_device(const struct mount_at *m, const void *ctx)
{
	const unsigned *dev = ctx;

	return m->major == dev[0] && m->minor == dev[1];
}

int mounts_of_device(unsigned major, unsigned minor, bool last, struct mount_at *ret)
{
	const unsigned dev[2] = { major, minor };

	return look(is_device, dev, last, ret);
}

static bool is_path(const struct mount_at *m, const void *ctx)
{
	return !strcmp(m->path, ctx);
}

int mounts_at_path(const char *path, struct mount_at *ret)
{
	return look(is_path, path, true, ret);
}
