// SPDX-License-Identifier: GPL-2.0
/*
 * The way of a batch onto the device: at most `depth` writes in flight, none of
 * which overlap. A long payload goes from the ring as it stands there if the
 * device can take the address; what is shorter or comes from the log is copied
 * into a slot's own buffer, where neighbours become one write.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/falloc.h>
#include <linux/fs.h>

#include "daemon/log.h"
#include "daemon/replay/replay_int.h"

enum way { WAY_WRITE, WAY_PUNCH, WAY_ZERO, WAY_DISCARD };

#define FALLOC_BYTES	(1ull << 30)	/* of zeroes or discard at once */

static const uint8_t zeroes[WRITE_BYTES] __attribute__((aligned(4096)));

/* ---- the device --------------------------------------------------------- */

static void find_alignment(struct device *dev)
{
	int lbs = 512;

	if (dev->block && ioctl(dev->fd, BLKSSZGET, &lbs))
		lbs = 4096;
	dev->lbs = lbs;
	dev->mem_align = lbs;
#ifdef STATX_DIOALIGN
	struct statx st;

	/* 6.1: the true limits; before, a block for both is always right */
	if (!statx(dev->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) &&
	    (st.stx_mask & STATX_DIOALIGN) && st.stx_dio_offset_align) {
		dev->lbs = st.stx_dio_offset_align;
		dev->mem_align = st.stx_dio_mem_align;
	}
#endif
}

int device_open(struct replay *rp)
{
	struct device *dev = &rp->dev;
	const char *path = rp->conf.device;
	uint64_t bytes;
	struct stat st;

	dev->fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	dev->direct = dev->fd >= 0;
	if (dev->fd < 0 && errno == EINVAL)
		dev->fd = open(path, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0 || fstat(dev->fd, &st))
		return -errno;
	dev->block = S_ISBLK(st.st_mode);
	bytes = st.st_size;
	if (dev->block && ioctl(dev->fd, BLKGETSIZE64, &bytes))
		return -errno;
	if (bytes / 512 < rp->conf.sectors) {
		log_err("replay device=%s sectors=%llu, the store has %llu", path,
			(unsigned long long)bytes / 512, (unsigned long long)rp->conf.sectors);
		return -ENOSPC;
	}
	find_alignment(dev);
	log_info("replay device=%s direct=%d mem_align=%u lbs=%u", path, dev->direct, dev->mem_align,
		 dev->lbs);
	return 0;
}

/* ---- slots -------------------------------------------------------------- */

int slots_init(struct replay *rp)
{
	size_t bytes = (size_t)rp->conf.depth * WRITE_BYTES;

	rp->slots = calloc(rp->conf.depth, sizeof(*rp->slots));
	if (!rp->slots)
		return -ENOMEM;
	/* pages of it come when they are used for the first time */
	rp->bounce_mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rp->bounce_mem == MAP_FAILED) {
		rp->bounce_mem = NULL;
		return -ENOMEM;
	}
	for (unsigned i = 0; i < rp->conf.depth; i++) {
		rp->slots[i].rp = rp;
		rp->slots[i].bounce = rp->bounce_mem + (size_t)i * WRITE_BYTES;
	}
	return 0;
}

void slots_free(struct replay *rp)
{
	if (rp->bounce_mem)
		munmap(rp->bounce_mem, (size_t)rp->conf.depth * WRITE_BYTES);
	free(rp->slots);
}

uint64_t slots_pin(const struct replay *rp)
{
	uint64_t pin = rp->next_piece < rp->batch.nr_pieces ? rp->batch_pin : NO_PIN;

	for (unsigned i = 0; i < rp->conf.depth; i++)
		if (rp->slots[i].busy && rp->slots[i].pin < pin)
			pin = rp->slots[i].pin;
	return pin;
}

uint64_t slots_lsn(const struct replay *rp, uint64_t otherwise)
{
	uint64_t lsn = rp->next_piece < rp->batch.nr_pieces ? rp->batch.start : otherwise;

	for (unsigned i = 0; i < rp->conf.depth; i++)
		if (rp->slots[i].busy && rp->slots[i].lsn < lsn)
			lsn = rp->slots[i].lsn;
	return lsn;
}

static struct slot *slot_free(struct replay *rp)
{
	for (unsigned i = 0; rp->inflight < rp->conf.depth && i < rp->conf.depth; i++)
		if (!rp->slots[i].busy)
			return &rp->slots[i];
	return NULL;
}

static bool overlaps(const struct replay *rp, uint64_t sector, uint64_t end)
{
	for (unsigned i = 0; i < rp->conf.depth; i++) {
		const struct slot *s = &rp->slots[i];

		if (s->busy && s->sector < end && sector < s->end)
			return true;
	}
	return false;
}

static void slot_done(struct loop_op *op, int res);

/* Starts what is left of the slot's work. */
static int slot_start(struct slot *s)
{
	struct replay *rp = s->rp;
	off_t off = (s->sector * DAGTAP_SECTOR) + s->done;
	size_t left = s->len - s->done;
	const uint8_t *buf = s->buf + s->done;

	s->op.done = slot_done;
	switch (s->way) {
	case WAY_DISCARD:
		return loop_fallocate(rp->loop, &s->op, rp->dev.fd,
				      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE |
				      (rp->dev.block ? FALLOC_FL_NO_HIDE_STALE : 0), off, left);
	case WAY_PUNCH:
		return loop_fallocate(rp->loop, &s->op, rp->dev.fd,
				      FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, left);
	case WAY_ZERO:
		return loop_fallocate(rp->loop, &s->op, rp->dev.fd,
				      FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, off, left);
	}
	if (s->type == DAGTAP_REC_ZEROES) {
		left = left < WRITE_BYTES ? left : WRITE_BYTES;
		buf = zeroes;
	}
	return loop_pwrite(rp->loop, &s->op, rp->dev.fd, buf, left, off);
}

/* A device that takes no discard would keep what others do not have any more. */
static uint8_t choose_type(const struct replay *rp, const struct piece *p)
{
	return p->type == DAGTAP_REC_DISCARD && rp->conf.zero_discards ? DAGTAP_REC_ZEROES : p->type;
}

static uint8_t choose_way(const struct device *dev, const struct piece *p)
{
	if (p->type == DAGTAP_REC_DATA)
		return WAY_WRITE;
	if (p->type == DAGTAP_REC_DISCARD)
		return WAY_DISCARD;
	if (!p->nounmap && !dev->no_punch)
		return WAY_PUNCH;
	return dev->no_zero ? WAY_WRITE : WAY_ZERO;
}

/* Kernels without NO_HIDE_STALE have an ioctl; it blocks, but discards are few. */
static void discard_refused(struct slot *s)
{
	struct replay *rp = s->rp;
	uint64_t range[2] = { s->sector * DAGTAP_SECTOR, s->len };

	s->done = s->len;
	if (rp->dev.block && !ioctl(rp->dev.fd, BLKDISCARD, range))
		return;
	if (!rp->dev.no_discard)
		log_notice("replay device=%s takes no discard, they are left out", rp->conf.device);
	rp->dev.no_discard = true;
	rp->info.skipped_bytes += s->len;
}

/*
 * The end of a fallocate: what the device cannot do is done in another way,
 * -EINVAL being of this extent only. The error that is none of these, or 0.
 */
static int extent_ended(struct slot *s, int res)
{
	struct device *dev = &s->rp->dev;
	bool never = res == -EOPNOTSUPP || res == -ENOSYS || res == -ENODEV;

	if (!res) {
		s->done = s->len;
	} else if (!never && res != -EINVAL) {
		return res;
	} else if (s->way == WAY_DISCARD) {
		discard_refused(s);
	} else if (s->way == WAY_PUNCH) {
		dev->no_punch |= never;
		s->way = WAY_ZERO;
	} else {
		dev->no_zero |= never;
		s->way = WAY_WRITE;
	}
	return 0;
}

static void slot_done(struct loop_op *op, int res)
{
	struct slot *s = (struct slot *)op;
	struct replay *rp = s->rp;

	if (res == -EINTR || res == -EAGAIN)
		res = 0;
	else if (s->way != WAY_WRITE)
		res = extent_ended(s, res);
	else if (!res)
		res = -EIO;
	else if (res > 0)
		s->done += res;
	if (res >= 0 && s->done < s->len) {
		res = slot_start(s);
		if (!res)
			return;
	}
	s->busy = false;
	rp->inflight--;
	if (res < 0) {
		log_err("replay device=%s sector=%llu bytes=%zu: %s", rp->conf.device,
			(unsigned long long)s->sector, s->len, strerror(-res));
		rp->torn = true;
		replay_fail(rp, res, s->lsn);
		return;
	}
	rp->info.bytes += s->len;
}

/* ---- pieces into slots -------------------------------------------------- */

static bool can_go_direct(const struct replay *rp, const struct piece *p)
{
	return p->stable && p->end - p->sector >= DIRECT_MIN / DAGTAP_SECTOR &&
	       (!rp->dev.direct || (uintptr_t)p->data % rp->dev.mem_align == 0);
}

/* Sectors of the first write from pieces[next_piece] on, and if it is a copy. */
static uint64_t plan_write(const struct replay *rp, bool *ret_copy)
{
	const struct piece *p = &rp->batch.pieces[rp->next_piece];
	const uint64_t most = WRITE_BYTES / DAGTAP_SECTOR;
	uint64_t end = p->end;

	*ret_copy = false;
	if (p->type != DAGTAP_REC_DATA)
		return p->end - p->sector < FALLOC_BYTES / DAGTAP_SECTOR
			       ? p->end - p->sector : FALLOC_BYTES / DAGTAP_SECTOR;
	if (can_go_direct(rp, p))
		return p->end - p->sector;
	*ret_copy = true;
	for (unsigned i = rp->next_piece + 1; i < rp->batch.nr_pieces; i++) {
		const struct piece *n = &rp->batch.pieces[i];

		if (n->sector != end || n->type != DAGTAP_REC_DATA || can_go_direct(rp, n) ||
		    n->end - p->sector > most)
			break;
		end = n->end;
	}
	return end - p->sector;
}

static void slot_copy(struct replay *rp, struct slot *s)
{
	uint64_t at = s->sector;

	while (at < s->end) {
		const struct piece *p = &rp->batch.pieces[rp->next_piece++];

		memcpy(s->bounce + (at - s->sector) * DAGTAP_SECTOR, p->data,
		       (p->end - p->sector) * DAGTAP_SECTOR);
		at = p->end;
	}
	s->buf = s->bounce;
}

static void slot_fill(struct replay *rp, struct slot *s, uint64_t sectors, bool copy)
{
	struct piece *p = &rp->batch.pieces[rp->next_piece];

	p->type = choose_type(rp, p);
	s->type = p->type;
	s->way = choose_way(&rp->dev, p);
	s->sector = p->sector;
	s->end = p->sector + sectors;
	s->lsn = rp->batch.start;
	s->pin = NO_PIN;
	s->len = sectors * DAGTAP_SECTOR;
	s->done = 0;
	s->buf = p->data;
	if (copy) {
		slot_copy(rp, s);
		return;
	}
	if (p->type == DAGTAP_REC_DATA)
		s->pin = p->lsn;
	p->sector = s->end;
	if (p->sector == p->end)
		rp->next_piece++;
}

void slots_submit(struct replay *rp)
{
	while (rp->next_piece < rp->batch.nr_pieces && !rp->info.error) {
		const struct piece *p = &rp->batch.pieces[rp->next_piece];
		struct slot *s = slot_free(rp);
		uint64_t sectors;
		bool copy;
		int rc;

		if (!s)
			return;
		sectors = plan_write(rp, &copy);
		if (overlaps(rp, p->sector, p->sector + sectors)) {
			rp->info.overlap_waits++;
			return;
		}
		slot_fill(rp, s, sectors, copy);
		rc = slot_start(s);
		if (rc) {
			rp->torn = true;
			replay_fail(rp, rc, s->lsn);
			return;
		}
		s->busy = true;
		rp->inflight++;
	}
}
