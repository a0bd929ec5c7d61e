// SPDX-License-Identifier: GPL-2.0
/*
 * Making a copy on this member, opening and unmaking it: its log directory, its
 * state, its tap and the metadata of that.
 */
#include "daemon/store/local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/health/copystatus.h"
#include "daemon/log.h"
#include "daemon/tap/dm.h"

#define PATH_BYTES	(GROUP_PATH_MAX + 32)

static void state_path(const struct group_copy *cp, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "%s/state", cp->log_dir);
}

static void tap_conf_of(const struct group_store *st, const struct group_copy *cp,
			struct tap_conf *ret)
{
	*ret = (struct tap_conf){
		.name = st->name,
		.device = cp->device,
		.meta_device = cp->meta_device,
		.meta_block = cp->meta_block,
		.sectors = st->sectors,
		.region_bytes = st->region_bytes,
		.ring_mib = st->ring_mib,
	};
	memcpy(ret->uuid, st->uuid, 16);
}

static void seglog_conf_of(const struct group_store *st, const struct group_copy *cp,
			   struct seglog_conf *ret)
{
	*ret = (struct seglog_conf){
		.dir = cp->log_dir,
		.seg_bytes = (uint64_t)st->segment_mib << 20,
		.quota_bytes = st->quota_bytes,
		.spares = 1,
	};
	memcpy(ret->uuid, st->uuid, 16);
}

static int open_log(struct local *lo, const struct group_store *st)
{
	struct seglog_conf conf;
	struct copystate_data d;
	int rc;

	seglog_conf_of(st, &lo->cp, &conf);
	rc = seglog_open(&conf, &lo->log);
	if (rc == -EBADMSG && lo->log) {
		/* Named by seglog. What cannot be trusted is dropped: the copy goes
		 * on from what is on its device, and is sent the rest again. */
		copystate_get(lo->state, &d);
		log_warn("store=%s log is dropped and fetched again from lsn=%llu", lo->name,
			 (unsigned long long)d.replayed_lsn);
		rc = seglog_reset(lo->log, d.replayed_lsn);
	}
	return rc;
}

static int open_parts(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	char path[PATH_BYTES];
	struct tap_conf tc;
	int rc;

	if (!lo->state) {
		state_path(&lo->cp, path);
		rc = copystate_open(path, st->uuid, false, &lo->state);
		if (rc) {
			local_error(lo, rc, "cannot open %s", path);
			return rc;
		}
	}
	if (!lo->log) {
		rc = open_log(lo, st);
		if (rc) {
			local_error(lo, rc, "cannot open the log in %s", lo->cp.log_dir);
			return rc;
		}
	}
	if (!lo->tap) {
		tap_conf_of(st, &lo->cp, &tc);
		rc = env->conf->tap->open(&tc, &lo->tap, &lo->at);
		if (rc) {
			local_error(lo, rc, "cannot attach the tap of %s", lo->cp.device);
			return rc;
		}
	}
	return 0;
}

int local_open(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	int rc = open_parts(lo, env, st);

	lo->unfit = rc && copy_error_unfit(rc);
	return rc;
}

/* ---- files ------------------------------------------------------------------- */

/* Segments, spares and state: what a copy leaves in its log directory. */
static bool ours(const char *name)
{
	size_t n = strlen(name);

	return !strcmp(name, "state") || (n > 4 && !strcmp(name + n - 4, ".log")) ||
	       !strncmp(name, "spare-", 6);
}

static int each_file(const char *dir, bool unlink_them, unsigned *ret_found)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int rc = 0;

	*ret_found = 0;
	if (!d)
		return errno == ENOENT ? 0 : -errno;
	while ((e = readdir(d))) {
		if (!ours(e->d_name))
			continue;
		++*ret_found;
		if (unlink_them && unlinkat(dirfd(d), e->d_name, 0))
			rc = -errno;
	}
	if (unlink_them && fsync(dirfd(d)) && !rc)
		rc = -errno;
	closedir(d);
	return rc;
}

static int check_device(const char *path, char *err, size_t errlen)
{
	int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);

	if (fd < 0) {
		snprintf(err, errlen, "%s: %s", path, errno == EBUSY ?
			 "device is in use (mounted, or held by another driver)" : strerror(errno));
		return -errno;
	}
	close(fd);
	return 0;
}

static int make_dir(const char *dir, char *err, size_t errlen)
{
	char path[PATH_BYTES];
	char *p;

	snprintf(path, sizeof(path), "%s", dir);
	for (p = path + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		mkdir(path, 0755);
		*p = '/';
	}
	if (mkdir(path, 0700) && errno != EEXIST) {
		snprintf(err, errlen, "%s: %s", dir, strerror(errno));
		return -errno;
	}
	return 0;
}

int local_prepare(const struct stores_conf *conf, const struct group_store *st,
		  const struct group_copy *cp, bool force, char *err, size_t errlen)
{
	struct copystate *cs;
	char path[PATH_BYTES];
	struct tap_conf tc;
	unsigned found;
	int rc;

	rc = check_device(cp->device, err, errlen);
	rc = rc ? rc : make_dir(cp->log_dir, err, errlen);
	if (rc)
		return rc;
	rc = each_file(cp->log_dir, false, &found);
	if (!rc && found && !force) {
		snprintf(err, errlen, "%s holds a log already; choose another directory or --force",
			 cp->log_dir);
		return -ENOTEMPTY;
	}
	rc = rc ? rc : each_file(cp->log_dir, true, &found);
	tap_conf_of(st, cp, &tc);
	rc = rc ? rc : conf->tap->format(&tc);
	if (rc) {
		snprintf(err, errlen, "cannot write metadata on %s: %s", cp->meta_device,
			 strerror(-rc));
		return rc;
	}
	state_path(cp, path);
	rc = copystate_open(path, st->uuid, true, &cs);
	if (rc) {
		snprintf(err, errlen, "%s: %s", path, strerror(-rc));
		return rc;
	}
	copystate_close(cs);
	return 0;
}

/* Left mapped by an earlier try, when the device was open. */
static int unmap(const struct local *lo)
{
	struct dm_dev dev;
	int rc = dm_dev_get(lo->name, &dev);

	if (rc || !dev.exists || strcmp(dev.target, "dagtap"))
		return 0;
	return dm_dev_remove(lo->name);
}

int local_forget(struct local *lo, const struct stores_conf *conf, char *err, size_t errlen)
{
	struct dagtap_role_set rs = { .role = DAGTAP_ROLE_PASSIVE };
	unsigned found;
	int rc = 0;

	if (lo->tap && conf->tap->role(lo->tap, &rs))
		log_warn("store=%s the tap does not close", lo->name);
	if (lo->active)
		active_stop(lo->active);
	if (lo->passive)
		passive_stop(lo->passive);
	lo->active = NULL;
	lo->passive = NULL;
	lo->role = LOCAL_NONE;
	if (lo->tap)
		rc = conf->tap->close(lo->tap, true);
	else
		rc = lo->unmapped ? 0 : unmap(lo);
	lo->tap = NULL;
	if (rc) {
		snprintf(err, errlen, "cannot remove /dev/mapper/%s: %s", lo->name, strerror(-rc));
		return rc;
	}
	lo->unmapped = true;
	local_close(lo, conf, false);
	rc = each_file(lo->cp.log_dir, true, &found);
	if (rc)
		snprintf(err, errlen, "%s: %s", lo->cp.log_dir, strerror(-rc));
	return rc;
}
