// SPDX-License-Identifier: GPL-2.0
/*
 * engine_file - the agreed state in one file per member, without a quorum.
 *
 * A change: copy the state, edit the copy, check it as if it came from outside,
 * write FILE.new, fsync, rename, fsync the directory, then take the copy. Dying
 * in between leaves the old or the new file, never a mixture.
 */
#include "daemon/group/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/group/state_json.h"
#include "daemon/log.h"

#define STATE_FILE_MAX	(64u << 20)
#define FILE_FENCE	1	/* one administrator, no take-over: it never grows */

struct engine_file {
	struct engine en;
	pthread_mutex_t lock;
	struct group_state gs;
	struct group_state work;	/* the copy that a transaction edits */
	char *path, *path_new;
	char self[64];
	int dir_fd;
	uint32_t lease_ms;
};

static struct engine_file *to_file(struct engine *en)
{
	return (struct engine_file *)en;
}

static int write_all(int fd, const char *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= n;
	}
	return 0;
}

static int store_text(struct engine_file *ef, const char *text)
{
	int fd, r;

	fd = open(ef->path_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, strlen(text));
	if (!r && fsync(fd))
		r = -errno;
	if (close(fd) && !r)
		r = -errno;
	if (!r && rename(ef->path_new, ef->path))
		r = -errno;
	if (r) {
		unlink(ef->path_new);
		return r;
	}
	if (fsync(ef->dir_fd)) {
		log_err("state file=%s msg=\"not known whether durable, ending\" err=\"%m\"", ef->path);
		abort();
	}
	return 0;
}

/*
 * Make ef->work durable and current. It goes through the parser first: what
 * could not be read again after a restart must not be written.
 */
static int commit_work(struct engine_file *ef, char *err, size_t errlen)
{
	struct group_state tmp;
	char *text;
	int r;

	text = group_state_to_json(&ef->work);
	if (!text)
		return -ENOMEM;
	r = group_state_init(&tmp);
	if (!r) {
		r = group_state_from_json(text, &tmp, err, errlen);
		group_state_free(&tmp);
	}
	if (!r) {
		r = store_text(ef, text);
		if (r)
			snprintf(err, errlen, "%s: %s; check the file system", ef->path,
				 strerror(-r));
	}
	free(text);
	if (!r) {
		tmp = ef->gs;
		ef->gs = ef->work;
		ef->work = tmp;
	}
	return r;
}

static void notify(struct engine_file *ef)
{
	if (ef->en.changed)
		ef->en.changed(ef->en.ctx);
}

static int file_snapshot(struct engine *en, struct group_state *ret)
{
	struct engine_file *ef = to_file(en);
	int r;

	pthread_mutex_lock(&ef->lock);
	r = group_state_copy(ret, &ef->gs);
	pthread_mutex_unlock(&ef->lock);
	return r;
}

static int edit_group(struct engine_file *ef, int (*edit)(struct group_state *gs, void *ctx),
		      void *ctx, char *err, size_t errlen)
{
	const struct group_state *old = &ef->gs;
	struct group_store *stores;
	int r;

	if (old->uuid[0] && strcmp(old->founder, ef->self)) {
		snprintf(err, errlen, "group %s: only its founder %s may change group and members; "
			 "run this there", old->name, old->founder);
		return -EPERM;
	}
	r = group_state_copy(&ef->work, old);
	if (r)
		return r;
	r = edit(&ef->work, ctx);
	if (r)
		return r;
	/* The stores' parts are not the founder's: whatever edit() did to them. */
	stores = ef->work.stores;
	memcpy(stores, old->stores, old->nr_stores * sizeof(*stores));
	ef->work.nr_stores = old->nr_stores;
	ef->work.version = old->version + 1;
	return commit_work(ef, err, errlen);
}

static int file_txn_group(struct engine *en, int (*edit)(struct group_state *gs, void *ctx),
			  void *ctx, char *err, size_t errlen)
{
	struct engine_file *ef = to_file(en);
	int r;

	err[0] = '\0';
	pthread_mutex_lock(&ef->lock);
	r = edit_group(ef, edit, ctx, err, errlen);
	pthread_mutex_unlock(&ef->lock);
	if (!r)
		notify(ef);
	return r;
}

/* May this member change that store now? */
static int check_store_right(struct engine_file *ef, const struct group_store *st,
			     uint32_t expect_epoch, char *err, size_t errlen)
{
	if (st->removed) {
		snprintf(err, errlen, "store %s: removed", st->name);
		return -ENOENT;
	}
	if (st->epoch != expect_epoch) {
		snprintf(err, errlen, "store %s: epoch is %u by now, not %u; try again", st->name,
			 st->epoch, expect_epoch);
		return -ESTALE;
	}
	if (st->epoch && strcmp(st->active, ef->self)) {
		snprintf(err, errlen, "store %s: only its active member %s may change it; "
			 "run this there", st->name, st->active);
		return -EPERM;
	}
	return 0;
}

static int edit_store(struct engine_file *ef, const uint8_t uuid[16], uint32_t expect_epoch,
		      int (*edit)(struct group_store *st, void *ctx), void *ctx, char *err,
		      size_t errlen)
{
	struct group_store *st;
	uint64_t version;
	int r;

	if (!ef->gs.uuid[0]) {
		snprintf(err, errlen, "no group here; run dagctl group create or group join");
		return -ENOENT;
	}
	r = group_state_copy(&ef->work, &ef->gs);
	if (r)
		return r;
	st = group_find_store_uuid(&ef->work, uuid);
	if (st) {
		r = check_store_right(ef, st, expect_epoch, err, errlen);
		if (r)
			return r;
	} else if (expect_epoch) {
		snprintf(err, errlen, "no such store");
		return -ENOENT;
	} else {
		st = group_add_store(&ef->work, uuid);
		if (!st) {
			snprintf(err, errlen, "the group has %u stores, the most there can be; "
				 "remove one", GROUP_STORES_MAX);
			return -ENOSPC;
		}
	}
	version = st->version;
	r = edit(st, ctx);
	if (r)
		return r;
	if (memcmp(st->uuid, uuid, 16) || st->epoch < expect_epoch || st->epoch > expect_epoch + 1) {
		snprintf(err, errlen, "store %s: an edit changed uuid or epoch", st->name);
		return -EINVAL;
	}
	st->version = version + 1;
	return commit_work(ef, err, errlen);
}

static int file_txn_store(struct engine *en, const uint8_t uuid[16], uint32_t expect_epoch,
			  int (*edit)(struct group_store *st, void *ctx), void *ctx, char *err,
			  size_t errlen)
{
	struct engine_file *ef = to_file(en);
	int r;

	err[0] = '\0';
	pthread_mutex_lock(&ef->lock);
	r = edit_store(ef, uuid, expect_epoch, edit, ctx, err, errlen);
	pthread_mutex_unlock(&ef->lock);
	if (!r)
		notify(ef);
	return r;
}

static int file_learn(struct engine *en, const struct group_state *from)
{
	struct engine_file *ef = to_file(en);
	char err[256] = "";
	int r, changed = 0;

	pthread_mutex_lock(&ef->lock);
	r = group_state_copy(&ef->work, &ef->gs);
	if (!r)
		r = group_state_merge(&ef->work, from);
	if (r > 0) {
		changed = 1;
		r = commit_work(ef, err, sizeof(err));
		if (r)
			log_warn("state msg=\"not taken from another member\" err=\"%s\"",
				 err[0] ? err : strerror(-r));
	}
	pthread_mutex_unlock(&ef->lock);
	if (!r && changed)
		notify(ef);
	return r;
}

static int file_forget(struct engine *en, bool refused)
{
	struct engine_file *ef = to_file(en);
	int r = 0;

	pthread_mutex_lock(&ef->lock);
	if (!refused && group_find_member(&ef->gs, ef->self)) {
		r = -EBUSY;
	} else if (unlink(ef->path) && errno != ENOENT) {
		r = -errno;
	} else if (fsync(ef->dir_fd)) {
		log_err("state file=%s msg=\"not known whether removed, ending\" err=\"%m\"", ef->path);
		abort();
	} else {
		group_state_free(&ef->gs);
		r = group_state_init(&ef->gs);
	}
	pthread_mutex_unlock(&ef->lock);
	if (!r)
		notify(ef);
	return r;
}

static int file_renew(struct engine *en, uint64_t *ret_deadline_boot_ns, uint64_t *ret_fence)
{
	struct engine_file *ef = to_file(en);
	struct timespec ts;
	bool group;

	/* the group that comes may be one with leases: none is given that has no end */
	pthread_mutex_lock(&ef->lock);
	group = ef->gs.uuid[0];
	pthread_mutex_unlock(&ef->lock);
	if (!group)
		return -ENODATA;
	*ret_fence = FILE_FENCE;
	if (!ef->lease_ms) {
		*ret_deadline_boot_ns = DAGTAP_LEASE_FOREVER;
		return 0;
	}
	clock_gettime(CLOCK_BOOTTIME, &ts);
	*ret_deadline_boot_ns = (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec +
				(uint64_t)ef->lease_ms * 1000000u;
	return 0;
}

static void file_close(struct engine *en)
{
	struct engine_file *ef = to_file(en);

	group_state_free(&ef->gs);
	group_state_free(&ef->work);
	if (ef->dir_fd >= 0)
		close(ef->dir_fd);
	pthread_mutex_destroy(&ef->lock);
	free(ef->path);
	free(ef->path_new);
	free(ef);
}

static const struct engine_ops file_ops = {
	.name = "file",
	.snapshot = file_snapshot,
	.txn_group = file_txn_group,
	.txn_store = file_txn_store,
	.learn = file_learn,
	.forget = file_forget,
	.renew = file_renew,
	.close = file_close,
};

static int read_text(int fd, size_t len, char **ret)
{
	char *text = malloc(len + 1);
	size_t done = 0;

	if (!text)
		return -ENOMEM;
	while (done < len) {
		ssize_t n = read(fd, text + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			free(text);
			return n < 0 ? -errno : -EIO;
		}
		done += n;
	}
	text[len] = '\0';
	*ret = text;
	return 0;
}

/* What a crash left may be newer than what is durable: make it so before use. */
static int load(struct engine_file *ef)
{
	char err[256] = "", *text = NULL;
	struct stat st;
	int fd, r = 0;

	fd = open(ef->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0) {
		r = -errno;
		log_err("state file=%s err=\"%m\"", ef->path);
		return r;
	}
	if (fstat(fd, &st) || fsync(fd) || fsync(ef->dir_fd))
		r = -errno;
	else if (st.st_size > STATE_FILE_MAX)
		r = -EFBIG;
	else
		r = read_text(fd, st.st_size, &text);
	if (!r)
		r = group_state_from_json(text, &ef->gs, err, sizeof(err));
	if (r)
		log_err("state file=%s err=\"%s\" msg=\"restore it from another member\"",
			ef->path, err[0] ? err : strerror(-r));
	free(text);
	close(fd);
	return r;
}

static int open_dir(const char *path, int *ret_fd)
{
	char *copy = strdup(path);
	int fd, r = 0;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		r = -errno;
	else
		*ret_fd = fd;
	free(copy);
	return r;
}

int engine_file_open(const struct engine_file_conf *conf, struct engine **ret)
{
	struct engine_file *ef = calloc(1, sizeof(*ef));
	int r;

	if (!ef)
		return -ENOMEM;
	ef->en.ops = &file_ops;
	ef->dir_fd = -1;
	ef->lease_ms = conf->lease_ms;
	pthread_mutex_init(&ef->lock, NULL);
	snprintf(ef->self, sizeof(ef->self), "%s", conf->self);
	ef->path = strdup(conf->path);
	if (!ef->path || asprintf(&ef->path_new, "%s.new", conf->path) < 0) {
		ef->path_new = NULL;
		r = -ENOMEM;
		goto fail;
	}
	r = open_dir(conf->path, &ef->dir_fd);
	if (!r)
		r = group_state_init(&ef->gs);
	if (!r)
		r = group_state_init(&ef->work);
	if (!r)
		r = load(ef);
	if (r)
		goto fail;
	*ret = &ef->en;
	return 0;
fail:
	file_close(&ef->en);
	return r;
}
