// SPDX-License-Identifier: GPL-2.0
#include "daemon/tap/fsfree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store/child.h"
#include "daemon/store/mounts.h"

#define TIMEOUT_MS	30000		/* a file system with much to write needs time */
#define GRACE_MS	200

static int run(const struct fsfree_ask *ask, const char *file, const char *dir)
{
	char device[32], sectors[24], region[16], last[256];
	char *argv[] = {
		"/proc/self/exe", FSFREE_OPTION, (char *)file, (char *)dir, device, sectors, region,
		NULL,
	};
	char *envp[] = { NULL };
	const struct child_conf conf = {
		.name = ask->name,
		.argv = argv,
		.envp = envp,
		.timeout_ms = TIMEOUT_MS,
		.cancel_fd = ask->cancel_fd,
		.grace_ms = GRACE_MS,
	};
	int rc;

	snprintf(device, sizeof(device), "%u:%u", ask->major, ask->minor);
	snprintf(sectors, sizeof(sectors), "%llu", (unsigned long long)ask->sectors);
	snprintf(region, sizeof(region), "%u", ask->region_bytes);
	rc = child_run(&conf, last, sizeof(last));
	if (rc > 0)
		log_notice("store=%s what the file system does not use is not known: %s", ask->name,
			   last[0] ? last : "it says nothing");
	else if (rc)
		log_notice("store=%s what the file system does not use is not known: %s", ask->name,
			   strerror(-rc));
	return rc > 0 ? -EIO : rc;
}

int fsfree_regions(const struct fsfree_ask *ask, uint8_t *bits)
{
	uint64_t sectors = ask->region_bytes / 512, regions = (ask->sectors + sectors - 1) / sectors;
	size_t bytes = (regions + 7) / 8;
	struct mount_at *m = malloc(sizeof(*m));
	uint8_t *got = malloc(bytes);
	int fd = -1, rc = -ENOMEM;
	char file[64];

	if (!m || !got)
		goto out;
	rc = mounts_of_device(ask->major, ask->minor, true, m);
	if (!rc && strcmp(m->type, "ext4") && strcmp(m->type, "xfs"))
		rc = -EOPNOTSUPP;
	if (rc)
		goto out;
	fd = memfd_create("dag-free-regions", MFD_CLOEXEC);
	if (fd < 0) {
		rc = -errno;
		goto out;
	}
	snprintf(file, sizeof(file), "/proc/%d/fd/%d", getpid(), fd);
	rc = run(ask, file, m->path);
	if (!rc && pread(fd, got, bytes, 0) != (ssize_t)bytes)
		rc = -EIO;
	if (!rc)
		memcpy(bits, got, bytes);
out:
	if (fd >= 0)
		close(fd);
	free(got);
	free(m);
	return rc;
}
