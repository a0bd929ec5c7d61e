// SPDX-License-Identifier: GPL-2.0
#include "daemon/store/copystate.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/types.h>

#include "daemon/log.h"
#include "daemon/safefile.h"
#include "include/dag/crc32c.h"

#define MAGIC		0x5453504344474144ull	/* "DAGDCPST" */
#define FORMAT		1u

enum {
	F_SUSPENDED = 1 << 0,
	F_ACTIVATION_BLOCKED = 1 << 1,
	F_FAILED_SUSPENDED = 1 << 2,
	F_HAVE_IMAGE = 1 << 3,
	F_BRANCH = 1 << 4,
	F_ALL = (1 << 5) - 1,
};

struct epoch_le {
	__le64 first_lsn;
	__le32 epoch;
	__le32 rsvd;
};

struct block {
	__le64 magic;
	__le32 format;
	__le32 crc;		/* crc32c of the bytes behind it */
	__u8   uuid[16];
	__le64 version;
	__le32 promised_epoch;
	__le32 flags;
	__le64 replayed_lsn;
	__le64 inconsistent_until;
	__le32 replayed_crc;
	__le32 nr_history;
	__u8   seed[16];
	__le64 seed_begin_lsn;
	__le64 seed_end_lsn;
	__le64 seed_hold_lsn;
	__le64 bits_since_lsn;
	__le32 seed_request;
	__le32 rsvd0;
	__u8   comment[COPYSTATE_COMMENT_MAX];
	struct epoch_le history[COPYSTATE_HISTORY_MAX];
	__le64 branch_id;	/* with F_BRANCH, else of no meaning */
	__le64 gap_lsn;
	__u8   rsvd[COPYSTATE_BLOCK - 144 - COPYSTATE_COMMENT_MAX - 16 * COPYSTATE_HISTORY_MAX];
};

_Static_assert(sizeof(struct block) == COPYSTATE_BLOCK, "copystate block");
_Static_assert(offsetof(struct block, comment) == 128, "copystate block");

static uint32_t block_crc(const struct block *b)
{
	const size_t at = offsetof(struct block, uuid);

	return dag_crc32c(0, (const uint8_t *)b + at, sizeof(*b) - at);
}

void copystate_encode(const struct copystate_data *data, uint8_t to[COPYSTATE_BLOCK])
{
	uint32_t flags = (data->suspended ? F_SUSPENDED : 0) |
			 (data->activation_blocked ? F_ACTIVATION_BLOCKED : 0) |
			 (data->failed_suspended ? F_FAILED_SUSPENDED : 0) |
			 (data->have_image ? F_HAVE_IMAGE : 0) |
			 (data->branch ? F_BRANCH : 0);
	struct block b;

	memset(&b, 0, sizeof(b));
	b.magic = htole64(MAGIC);
	b.format = htole32(FORMAT);
	memcpy(b.uuid, data->uuid, sizeof(b.uuid));
	b.version = htole64(data->version);
	b.promised_epoch = htole32(data->promised_epoch);
	b.flags = htole32(flags);
	b.replayed_lsn = htole64(data->replayed_lsn);
	b.inconsistent_until = htole64(data->inconsistent_until);
	b.replayed_crc = htole32(data->replayed_crc);
	b.nr_history = htole32(data->nr_history);
	memcpy(b.seed, data->seed, sizeof(b.seed));
	b.seed_begin_lsn = htole64(data->seed_begin_lsn);
	b.seed_end_lsn = htole64(data->seed_end_lsn);
	b.seed_hold_lsn = htole64(data->seed_hold_lsn);
	b.bits_since_lsn = htole64(data->bits_since_lsn);
	b.seed_request = htole32(data->seed_request);
	b.branch_id = htole64(data->branch_id);
	b.gap_lsn = htole64(data->gap_lsn);
	memcpy(b.comment, data->comment, strnlen(data->comment, COPYSTATE_COMMENT_MAX));
	for (uint32_t i = 0; i < data->nr_history && i < COPYSTATE_HISTORY_MAX; i++) {
		b.history[i].epoch = htole32(data->history[i].epoch);
		b.history[i].first_lsn = htole64(data->history[i].first_lsn);
	}
	b.crc = htole32(block_crc(&b));
	memcpy(to, &b, sizeof(b));
}

static int decode_history(const struct block *b, struct copystate_data *d)
{
	d->nr_history = le32toh(b->nr_history);
	if (d->nr_history > COPYSTATE_HISTORY_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < d->nr_history; i++) {
		d->history[i].epoch = le32toh(b->history[i].epoch);
		d->history[i].first_lsn = le64toh(b->history[i].first_lsn);
		if (i && (d->history[i].epoch <= d->history[i - 1].epoch ||
			  d->history[i].first_lsn < d->history[i - 1].first_lsn))
			return -EBADMSG;
	}
	return 0;
}

int copystate_decode(const uint8_t from[COPYSTATE_BLOCK], const uint8_t uuid[16],
		     struct copystate_data *ret)
{
	struct copystate_data d = { 0 };
	struct block b;
	uint32_t flags;

	memcpy(&b, from, sizeof(b));
	if (le64toh(b.magic) != MAGIC || le32toh(b.crc) != block_crc(&b))
		return -EBADMSG;
	if (memcmp(b.uuid, uuid, sizeof(b.uuid)) != 0)
		return -EUCLEAN;
	flags = le32toh(b.flags);
	if (le32toh(b.format) != FORMAT || flags & ~F_ALL)
		return -EPROTONOSUPPORT;
	memcpy(d.uuid, b.uuid, sizeof(d.uuid));
	d.version = le64toh(b.version);
	d.promised_epoch = le32toh(b.promised_epoch);
	d.suspended = flags & F_SUSPENDED;
	d.activation_blocked = flags & F_ACTIVATION_BLOCKED;
	d.failed_suspended = flags & F_FAILED_SUSPENDED;
	d.have_image = flags & F_HAVE_IMAGE;
	d.branch = flags & F_BRANCH;
	d.branch_id = d.branch ? le64toh(b.branch_id) : 0;
	d.replayed_lsn = le64toh(b.replayed_lsn);
	d.inconsistent_until = le64toh(b.inconsistent_until);
	d.replayed_crc = le32toh(b.replayed_crc);
	memcpy(d.seed, b.seed, sizeof(d.seed));
	d.seed_begin_lsn = le64toh(b.seed_begin_lsn);
	d.seed_end_lsn = le64toh(b.seed_end_lsn);
	d.seed_hold_lsn = le64toh(b.seed_hold_lsn);
	d.bits_since_lsn = le64toh(b.bits_since_lsn);
	d.gap_lsn = le64toh(b.gap_lsn);
	d.seed_request = le32toh(b.seed_request);
	memcpy(d.comment, b.comment, COPYSTATE_COMMENT_MAX);
	if (decode_history(&b, &d) || (d.branch && (!d.branch_id || !d.have_image)))
		return -EBADMSG;
	*ret = d;
	return 0;
}

int copystate_pick(const uint8_t blocks[2][COPYSTATE_BLOCK], const uint8_t uuid[16],
		   struct copystate_data *ret, unsigned *ret_slot)
{
	struct copystate_data d[2];
	unsigned slot;
	int rc[2];

	for (int i = 0; i < 2; i++) {
		rc[i] = copystate_decode(blocks[i], uuid, &d[i]);
		if (rc[i] && rc[i] != -EBADMSG)
			return rc[i];
	}
	if (rc[0] && rc[1])
		return -EBADMSG;
	slot = rc[0] || (!rc[1] && d[1].version > d[0].version);
	*ret = d[slot];
	*ret_slot = slot;
	return 0;
}

/* ---- the file ----------------------------------------------------------- */

struct copystate {
	char *path;
	int fd;
	pthread_mutex_t lock;
	struct copystate_data data;
	struct copystate_data next;
	unsigned slot;			/* where data stands */
	uint8_t (*blocks)[COPYSTATE_BLOCK];
};

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_RDWR | O_DSYNC | O_DIRECT | O_CLOEXEC, 0600);

	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_RDWR | O_DSYNC | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

static int write_all(int fd, const void *buf, size_t len, off_t off)
{
	ssize_t got;

	do {
		got = pwrite(fd, buf, len, off);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	return (size_t)got == len ? 0 : -EIO;
}

/* Under another name until it is whole: a file that exists is always good. */
static int make_file(struct copystate *cs)
{
	char *tmp;
	int fd, rc;

	if (asprintf(&tmp, "%s.tmp", cs->path) < 0)
		return -ENOMEM;
	cs->data.version = 1;
	copystate_encode(&cs->data, cs->blocks[0]);
	copystate_encode(&cs->data, cs->blocks[1]);
	fd = open_file(tmp, O_CREAT | O_TRUNC);
	rc = fd;
	if (fd >= 0) {
		rc = write_all(fd, cs->blocks, 2 * COPYSTATE_BLOCK, 0);
		if (!rc && fsync(fd))
			rc = -errno;
		if (!rc && rename(tmp, cs->path))
			rc = -errno;
		if (!rc)
			rc = safefile_sync_parent(cs->path);
		if (rc)
			close(fd);
		else
			cs->fd = fd;
	}
	free(tmp);
	return rc;
}

static int load_file(struct copystate *cs, const uint8_t uuid[16])
{
	ssize_t got;
	int rc;

	cs->fd = open_file(cs->path, 0);
	if (cs->fd < 0)
		return cs->fd;
	got = pread(cs->fd, cs->blocks, 2 * COPYSTATE_BLOCK, 0);
	if (got < 0)
		return -errno;
	if (got < 2 * COPYSTATE_BLOCK)
		memset((uint8_t *)cs->blocks + got, 0, 2 * COPYSTATE_BLOCK - got);
	rc = copystate_pick((const uint8_t(*)[COPYSTATE_BLOCK])cs->blocks, uuid, &cs->data,
			    &cs->slot);
	if (rc)
		log_err("copystate path=%s: %s", cs->path, strerror(-rc));
	return rc;
}

int copystate_open(const char *path, const uint8_t uuid[16], bool make, struct copystate **ret)
{
	struct copystate *cs = calloc(1, sizeof(*cs));
	int rc = -ENOMEM;

	if (!cs)
		return -ENOMEM;
	cs->fd = -1;
	pthread_mutex_init(&cs->lock, NULL);
	cs->path = strdup(path);
	cs->blocks = aligned_alloc(COPYSTATE_BLOCK, 2 * COPYSTATE_BLOCK);
	if (cs->path && cs->blocks)
		rc = load_file(cs, uuid);
	if (rc == -ENOENT && make) {
		memcpy(cs->data.uuid, uuid, sizeof(cs->data.uuid));
		rc = make_file(cs);
	}
	if (rc) {
		copystate_close(cs);
		return rc;
	}
	*ret = cs;
	return 0;
}

void copystate_close(struct copystate *cs)
{
	if (!cs)
		return;
	if (cs->fd >= 0)
		close(cs->fd);
	pthread_mutex_destroy(&cs->lock);
	free(cs->blocks);
	free(cs->path);
	free(cs);
}

void copystate_get(struct copystate *cs, struct copystate_data *ret)
{
	pthread_mutex_lock(&cs->lock);
	*ret = cs->data;
	pthread_mutex_unlock(&cs->lock);
}

int copystate_update(struct copystate *cs, void (*edit)(struct copystate_data *data, void *ctx),
		     void *ctx)
{
	unsigned slot;
	int rc;

	pthread_mutex_lock(&cs->lock);
	cs->next = cs->data;
	edit(&cs->next, ctx);
	/* not for edit() to decide */
	memcpy(cs->next.uuid, cs->data.uuid, sizeof(cs->next.uuid));
	cs->next.version = cs->data.version + 1;
	slot = !cs->slot;
	copystate_encode(&cs->next, cs->blocks[slot]);
	rc = write_all(cs->fd, cs->blocks[slot], COPYSTATE_BLOCK, (off_t)slot * COPYSTATE_BLOCK);
	if (!rc) {
		cs->data = cs->next;
		cs->slot = slot;
	} else {
		log_err("copystate path=%s: %s", cs->path, strerror(-rc));
	}
	pthread_mutex_unlock(&cs->lock);
	return rc;
}
