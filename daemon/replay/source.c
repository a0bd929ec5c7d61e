// SPDX-License-Identifier: GPL-2.0
/*
 * The way of records into a batch. They come from the receive ring while they
 * stand there, else from the log, and are verified again in both cases: nothing
 * reaches the device by way of memory or a disk that has changed it.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/replay/replay_int.h"
#include "kmod/core/record.h"

struct view {
	const uint8_t *base;
	uint64_t from;		/* LSN of base; ring: unused */
	uint64_t mask;		/* ring: size - 1, else all ones */
	bool ring;
};

static const uint8_t *view_at(const struct view *v, uint64_t lsn)
{
	return v->base + (v->ring ? lsn & v->mask : lsn - v->from);
}

/* The payload in one piece; NULL when the batch has to end before it. */
static const uint8_t *payload_of(struct replay *rp, const struct view *v, uint64_t lsn, uint32_t len)
{
	const uint8_t *p = view_at(v, lsn);
	uint64_t left = v->ring ? v->mask + 1 - (lsn & v->mask) : UINT64_MAX;

	if (len <= left)
		return p;
	if (rp->wrapped)
		return NULL;
	rp->wrapped = true;
	memcpy(rp->wrap_buf, p, left);
	memcpy(rp->wrap_buf + left, v->base, len - left);
	return rp->wrap_buf;
}

/* The batch ends before a bad record; it is an error when it is the first. */
static int refuse(struct replay *rp, const struct view *v, const char *why)
{
	if (rp->cur.lsn > rp->batch.start)
		return 0;
	log_err("replay device=%s lsn=%llu from=%s refused: %s", rp->conf.device,
		(unsigned long long)rp->cur.lsn, v->ring ? "ring" : "log", why);
	replay_fail(rp, -EBADMSG, rp->cur.lsn);
	return -EBADMSG;
}

/* A chain may begin anew at a START segment, of which the ring knows nothing. */
static bool starts_here(struct replay *rp)
{
	uint64_t start;

	return !rp->cur.any_prev && rp->cur.lsn &&
	       !seglog_next_start(rp->conf.log, rp->cur.lsn - 1, &start) && start == rp->cur.lsn;
}

static uint8_t type_of_piece(const struct dagtap_rec *rec)
{
	if (rec->type == DAGTAP_REC_RESYNC)
		return rec->payload ? DAGTAP_REC_DATA : DAGTAP_REC_ZEROES;
	return rec->type;
}

/* 1: done, 0: the batch ends before it */
static int add_extent(struct replay *rp, const struct view *v, const struct dagtap_rec *rec,
		      const uint8_t *payload)
{
	struct piece p = {
		.sector = le64toh(rec->sector),
		.lsn = rp->cur.lsn,
		.type = type_of_piece(rec),
		.nounmap = le16toh(rec->flags) & DAGTAP_RECF_NOUNMAP,
	};
	uint64_t sectors = le32toh(rec->sectors), bytes = sectors * DAGTAP_SECTOR;

	if (p.type != DAGTAP_REC_DATA && p.type != DAGTAP_REC_ZEROES && p.type != DAGTAP_REC_DISCARD)
		return 1;
	if (p.sector > rp->conf.sectors || sectors > rp->conf.sectors - p.sector)
		return refuse(rp, v, "extent outside the store");
	if (p.type == DAGTAP_REC_DISCARD && rp->dev.no_discard)
		return 1;
	p.end = p.sector + sectors;
	if (p.type == DAGTAP_REC_DATA) {
		if (rp->dev.direct && (p.sector * DAGTAP_SECTOR | bytes) % rp->dev.lbs)
			return refuse(rp, v, "not a multiple of the device's block size");
		p.data = payload;
		p.stable = v->ring && payload != rp->wrap_buf;
	}
	batch_add(&rp->batch, &p);
	return 1;
}

/* Takes the record at cur; 1: done, 0: not this time. */
static int take_one(struct replay *rp, const struct view *v, uint64_t end)
{
	const uint8_t *payload = NULL;
	struct dagtap_rec rec;
	const char *why;
	uint32_t len;
	int rc;

	if (end - rp->cur.lsn < sizeof(rec))
		return 0;
	memcpy(&rec, view_at(v, rp->cur.lsn), sizeof(rec));
	why = rec_cursor_check(&rp->cur, &rec);
	if (why && starts_here(rp)) {
		rp->cur.any_prev = true;
		why = rec_cursor_check(&rp->cur, &rec);
	}
	if (why)
		return refuse(rp, v, why);
	if (!lag_may_replay(&rp->now, rp->cur.lsn, le64toh(rec.time_ns))) {
		rp->young_lsn = rp->cur.lsn;
		rp->young_ns = le64toh(rec.time_ns);
		return 0;
	}
	if (rec_bytes(&rec) > end - rp->cur.lsn)
		return 0;
	len = le32toh(rec.payload);
	if (len) {
		payload = payload_of(rp, v, rp->cur.lsn + sizeof(rec), len);
		if (!payload)
			return 0;
		if (dagtap_rec_verify_payload(&rec, payload))
			return refuse(rp, v, "payload crc");
	}
	rc = add_extent(rp, v, &rec, payload);
	if (rc <= 0)
		return rc;
	rec_cursor_advance(&rp->cur, &rec);
	rp->info.records++;
	if (v->ring)
		rp->info.from_ring_bytes += rec_bytes(&rec);
	else
		rp->info.from_log_bytes += rec_bytes(&rec);
	return 1;
}

static int take_all(struct replay *rp, const struct view *v, uint64_t end)
{
	uint64_t most = BATCH_BYTES;
	int rc = 1;

	/* or the wrapped payload and its end could be one */
	if (v->ring && most > (v->mask + 1) / 2)
		most = (v->mask + 1) / 2;
	batch_clear(&rp->batch, rp->cur.lsn);
	rp->wrapped = false;
	while (rc > 0 && rp->cur.lsn < end && !batch_full(&rp->batch) &&
	       rp->cur.lsn - rp->batch.start < most)
		rc = take_one(rp, v, end);
	if (rc < 0)
		return rc;
	rp->batch.end = rp->cur.lsn;
	return rp->cur.lsn > rp->batch.start;
}

/* Over a gap, which the hold would forbid if it were not allowed. */
static int over_gap(struct replay *rp, uint64_t end)
{
	uint64_t next;

	if (seglog_next_start(rp->conf.log, rp->cur.lsn, &next) || next >= end)
		return 0;
	log_notice("replay device=%s goes over a gap from lsn=%llu to lsn=%llu", rp->conf.device,
		   (unsigned long long)rp->cur.lsn, (unsigned long long)next);
	rp->cur = (struct rec_cursor){ .lsn = next, .any_prev = true };
	return 1;
}

static int from_buffer(struct replay *rp, uint64_t end)
{
	struct view v = { .base = rp->log_buf, .from = rp->log_from };
	uint64_t have = rp->log_from + rp->log_len;

	return take_all(rp, &v, have < end ? have : end);
}

static int from_log(struct replay *rp, uint64_t end)
{
	uint64_t want;
	int64_t got;
	int rc;

	/* the last batch may have left something of what was read */
	if (rp->cur.lsn >= rp->log_from && rp->cur.lsn - rp->log_from < rp->log_len) {
		rc = from_buffer(rp, end);
		if (rc)
			return rc;
	}
	do {
		want = end - rp->cur.lsn < READ_BYTES ? end - rp->cur.lsn : READ_BYTES;
		got = seglog_read(rp->conf.log, rp->cur.lsn, rp->log_buf, want);
	} while (got == -ENODATA && over_gap(rp, end));
	if (got < 0) {
		log_err("replay device=%s lsn=%llu cannot read the log: %s", rp->conf.device,
			(unsigned long long)rp->cur.lsn, strerror(-got));
		replay_fail(rp, got, rp->cur.lsn);
		return got;
	}
	rp->log_from = rp->cur.lsn;
	rp->log_len = got;
	return from_buffer(rp, end);
}

int source_fill(struct replay *rp)
{
	struct view v = { .base = rp->conf.ring.base, .mask = rp->conf.ring.size - 1, .ring = true };
	bool ring, held;
	uint64_t end;
	int rc;

	pthread_mutex_lock(&rp->lock);
	held = replay_held(rp);
	rp->now = rp->limit;
	end = rp->durable < rp->hold ? rp->durable : rp->hold;
	ring = rp->conf.ring.base && rp->cur.lsn >= rp->ring_low && rp->cur.lsn < end && !held;
	if (ring)	/* from here on replay_unpin() waits for this batch */
		rp->pin = rp->pin < rp->cur.lsn ? rp->pin : rp->cur.lsn;
	pthread_mutex_unlock(&rp->lock);
	if (rp->cur.lsn >= end || held)
		return 0;
	rp->batch_pin = ring ? rp->cur.lsn : NO_PIN;
	rc = ring ? take_all(rp, &v, end) : from_log(rp, end);
	if (rc <= 0) {
		rp->batch_pin = NO_PIN;
		return rc;
	}
	rp->applied = rp->cur;
	rp->next_piece = 0;
	rp->info.skipped_bytes += batch_plan(&rp->batch);
	return 1;
}
