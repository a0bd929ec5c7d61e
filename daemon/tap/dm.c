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

static int create(const char *name, const char *uuid, uint64_t sectors, const char *target,
		  const char *params, uint16_t udev_flags)
{
	struct dm_task *dmt = task(DM_DEVICE_CREATE, name);
	uint32_t cookie = 0;
	int rc = -ENOMEM;

	if (!dmt)
		return -ENOMEM;
	if (!dm_task_set_uuid(dmt, uuid) ||
	    !dm_task_add_target(dmt, 0, sectors, target, params) ||
	    !dm_task_set_add_node(dmt, DM_ADD_NODE_ON_CREATE) ||
	    !dm_task_set_cookie(dmt, &cookie, udev_flags))
		goto out;
	rc = run(dmt);
	/* The cookie must be waited for on failure too, else the semaphore stays. */
	dm_udev_wait(cookie);
out:
	dm_task_destroy(dmt);
	dm_task_update_nodes();
	return rc;
}

int dm_dev_create(const char *name, const char *uuid, uint64_t sectors, const char *target,
		  const char *params)
{
	return create(name, uuid, sectors, target, params, 0);
}

int dm_dev_create_quiet(const char *name, const char *uuid, uint64_t sectors, const char *target,
			const char *params)
{
	return create(name, uuid, sectors, target, params, DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
		      DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG);
}

int dm_dev_status(const char *name, char *ret, size_t len)
{
	struct dm_task *dmt = task(DM_DEVICE_STATUS, name);
	char *target = NULL, *params = NULL;
	uint64_t start, length;
	struct dm_info info;
	int rc;

	if (!dmt)
		return -ENOMEM;
	rc = run(dmt);
	if (!rc && (!dm_task_get_info(dmt, &info) || !info.exists))
		rc = -ENXIO;
	if (!rc) {
		dm_get_next_target(dmt, NULL, &start, &length, &target, &params);
		snprintf(ret, len, "%s", params ? params : "");
	}
	dm_task_destroy(dmt);
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

/* Every I/O to it fails from now on; its old table is gone. */
static int make_error(const char *name, uint64_t sectors)
{
	struct dm_task *dmt = task(DM_DEVICE_RELOAD, name);
	uint32_t cookie = 0;
	int rc = -ENOMEM;

	if (!dmt)
		return -ENOMEM;
	if (dm_task_add_target(dmt, 0, sectors, "error", ""))
		rc = run(dmt);
	dm_task_destroy(dmt);
	if (rc)
		return rc;
	dmt = task(DM_DEVICE_RESUME, name);
	if (!dmt)
		return -ENOMEM;
	rc = -ENOMEM;
	/* A file system on it is not asked to write what it has: it could not. */
	if (dm_task_no_flush(dmt) && dm_task_skip_lockfs(dmt) && dm_task_set_cookie(dmt, &cookie, 0)) {
		rc = run(dmt);
		dm_udev_wait(cookie);
	}
	dm_task_destroy(dmt);
	return rc;
}

/* Now, or when its last user closes it. */
static int remove_later(const char *name)
{
	struct dm_task *dmt = task(DM_DEVICE_REMOVE, name);
	uint32_t cookie = 0;
	int rc = -ENOMEM;

	if (!dmt)
		return -ENOMEM;
	if (dm_task_deferred_remove(dmt) && dm_task_set_cookie(dmt, &cookie, 0)) {
		rc = run(dmt);
		dm_udev_wait(cookie);
	}
	dm_task_destroy(dmt);
	dm_task_update_nodes();
	return rc;
}

int dm_dev_kill(const char *name)
{
	struct dm_dev dev;
	int rc = dm_dev_get(name, &dev), later;

	if (rc || !dev.exists)
		return rc;
	rc = make_error(name, dev.sectors ? dev.sectors : 1);
	later = remove_later(name);
	return rc ? rc : later;
}

#define NAMES_MAX	64

static int list_names(const char *uuid_prefix, char names[NAMES_MAX][128])
{
	struct dm_task *dmt = dm_task_create(DM_DEVICE_LIST);
	struct dm_names *dn;
	int n = 0, rc;

	if (!dmt)
		return -ENOMEM;
	rc = run(dmt);
	dn = rc ? NULL : dm_task_get_names(dmt);
	while (dn && dn->dev && n < NAMES_MAX) {
		struct dm_task *one = task(DM_DEVICE_INFO, dn->name);
		const char *uuid = one && !run(one) ? dm_task_get_uuid(one) : NULL;

		if (uuid && !strncmp(uuid, uuid_prefix, strlen(uuid_prefix)))
			snprintf(names[n++], 128, "%s", dn->name);
		if (one)
			dm_task_destroy(one);
		if (!dn->next)
			break;
		dn = (struct dm_names *)((char *)dn + dn->next);
	}
	dm_task_destroy(dmt);
	return rc ? rc : n;
}

int dm_dev_each(const char *uuid_prefix, void (*fn)(const char *name, void *ctx), void *ctx)
{
	char names[NAMES_MAX][128];
	int n;

	dm_log_with_errno_init(dm_message);
	n = list_names(uuid_prefix, names);
	for (int i = 0; i < n; i++)
		fn(names[i], ctx);
	return n < 0 ? n : 0;
}
