// SPDX-License-Identifier: GPL-2.0
#include "daemon/tap/dm.h"

#include <errno.h>
#include <libdevmapper.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "daemon/log.h"

/* libdevmapper prints to stderr by itself; give its errors our form. */
__attribute__((format(printf, 5, 6)))
static void dm_message(int level, const char *file, int line, int dm_errno, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if ((level & 7) > 3)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_warn("device-mapper: %s", text);
}

static struct dm_task *task(int type, const char *name)
{
	struct dm_task *dmt;

	dm_log_with_errno_init(dm_message);
	dmt = dm_task_create(type);
	if (dmt && !dm_task_set_name(dmt, name)) {
		dm_task_destroy(dmt);
		return NULL;
	}
	return dmt;
}

static int run(struct dm_task *dmt)
{
	int err;

	if (dm_task_run(dmt))
		return 0;
	err = dm_task_get_errno(dmt);
	return err ? -err : -EIO;
}

int dm_dev_get(const char *name, struct dm_dev *ret)
{
	struct dm_task *dmt = task(DM_DEVICE_TABLE, name);
	uint64_t start, length;
	char *target = NULL, *params = NULL;
	struct dm_dev dev = { 0 };
	struct dm_info info;
	int rc = -ENOMEM;

	if (!dmt)
		return -ENOMEM;
	rc = run(dmt);
	if (rc == -ENXIO) {
		rc = 0;
		goto out;
	}
	if (rc)
		goto out;
	if (!dm_task_get_info(dmt, &info)) {
		rc = -EIO;
		goto out;
	}
	dev.exists = info.exists;
	if (!info.exists)
		goto out;
	dev.suspended = info.suspended;
	dev.open_count = info.open_count;
	dev.major = info.major;
	dev.minor = info.minor;
	if (!dm_get_next_target(dmt, NULL, &start, &length, &target, &params) && target) {
		snprintf(dev.target, sizeof(dev.target), "%s", target);
		snprintf(dev.params, sizeof(dev.params), "%s", params ? params : "");
		dev.sectors = length;
	}
out:
	dm_task_destroy(dmt);
	if (!rc)
		*ret = dev;
	return rc;
}

int dm_dev_create(const char *name, const char *uuid, uint64_t sectors, const char *target,
		  const char *params)
{
	struct dm_task *dmt = task(DM_DEVICE_CREATE, name);
	uint32_t cookie = 0;
	int rc = -ENOMEM;

	if (!dmt)
		return -ENOMEM;
	if (!dm_task_set_uuid(dmt, uuid) ||
	    !dm_task_add_target(dmt, 0, sectors, target, params) ||
	    !dm_task_set_add_node(dmt, DM_ADD_NODE_ON_CREATE) ||
	    !dm_task_set_cookie(dmt, &cookie, 0))
		goto out;
	rc = run(dmt);
	/* The cookie must be waited for on failure too, else the semaphore stays. */
	dm_udev_wait(cookie);
out:
	dm_task_destroy(dmt);
	dm_task_update_nodes();
	return rc;
}

int dm_dev_remove(const char *name)
{
	struct dm_task *dmt = task(DM_DEVICE_REMOVE, name);
	uint32_t cookie = 0;
	int rc = -ENOMEM;

	if (!dmt)
		return -ENOMEM;
	if (!dm_task_set_cookie(dmt, &cookie, 0))
		goto out;
	rc = run(dmt);
	dm_udev_wait(cookie);
out:
	dm_task_destroy(dmt);
	dm_task_update_nodes();
	return rc;
}
