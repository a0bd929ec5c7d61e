// SPDX-License-Identifier: GPL-2.0
/*
 * Role, mode and restart of the memory tap, and what the daemon itself puts into
 * the log. As in the module: the gate shuts, records under way are waited for,
 * the superblock is durable first, then everything changes at one instant.
 */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/tap_mem_int.h"

static void shut_gate(struct mem_store *s)
{
	s->gate = true;
	while (!dagtap_ring_settled(&s->ring) && !s->dead)
		pthread_cond_wait(&s->change, &s->lock);
}

static void open_gate(struct mem_store *s)
{
	s->gate = false;
	pthread_cond_broadcast(&s->change);
	pthread_cond_signal(&s->tick);
}

static int put_record(struct mem_store *s, const struct dagtap_rec_spec *spec,
		      uint64_t keep_free, const void *payload, uint64_t *ret_end)
{
	struct dagtap_resv resv;
	uint32_t crc;
	int rc = dagtap_ring_reserve(&s->ring, spec, keep_free, &resv);

	if (rc)
		return rc;
	crc = dagtap_ring_write(&s->ring, &resv, 0, payload, spec->payload, 0);
	if (dagtap_ring_commit(&s->ring, &resv, crc))
		mem_publish(s);
	*ret_end = resv.end_lsn;
	return 0;
}

static int put_state(struct mem_store *s, uint8_t kind, const struct dagtap_state_payload *p)
{
	struct dagtap_rec_spec spec = {
		.type = DAGTAP_REC_STATE, .kind = kind, .payload = sizeof(*p),
		.time_ns = mem_real_ns(),
	};
	uint64_t end;

	return put_record(s, &spec, 0, p, &end);
}

static int start_log(struct mem_store *s, uint64_t start, const struct mem_sb *sb, bool gap,
		     const uint64_t *group_generation)
{
	struct dagtap_state_payload p = { .from_lsn = htole64(s->ring.commit_lsn) };
	int rc = dagtap_ring_reset(&s->ring, start, sb->epoch, sb->tag);

	if (rc)
		return rc;
	s->generation++;
	s->log_gen++;
	s->ack_lsn = s->clear_lsn = start;
	s->cleared_upto = 0;
	s->seed_lsn = MEM_NEVER;
	s->tracking = s->full = s->must_gap = false;
	if (group_generation) {
		p.arg = htole64(*group_generation);
		put_state(s, DAGTAP_STATE_EPOCH, &p);
		p.arg = 0;
	}
	if (gap)
		put_state(s, DAGTAP_STATE_GAP, &p);
	mem_publish_all(s);
	return 0;
}

static void rebase(struct mem_store *s, uint64_t lsn)
{
	for (uint32_t i = 0; i < s->map.nr_blocks; i++)
		dagtap_region_rebase(&s->map, i, lsn);
}

static int set_active(struct mem_store *s, struct dagtap_role_set *rs)
{
	struct mem_sb sb = { .epoch = rs->epoch, .tag = rs->tag };
	uint64_t start = rs->start_lsn ? rs->start_lsn : s->ring.reserve_lsn;
	bool gap = rs->flags & DAGTAP_ROLEF_GAP || s->must_gap;
	int rc;

	if (rs->epoch <= s->sb.epoch)
		return -ERANGE;
	if (start % DAGTAP_ALIGN)
		return -EINVAL;
	shut_gate(s);
	rc = -ERANGE;
	if (start > MEM_LSN_MAX || (start < s->ring.reserve_lsn && s->role != DAGTAP_ROLE_PASSIVE))
		goto out;
	sb.lsn_limit = start + MEM_LSN_STEP > s->sb.lsn_limit ? start + MEM_LSN_STEP
							      : s->sb.lsn_limit;
	rc = mem_meta_save(s, &sb);
	if (rc)
		goto out;
	rebase(s, gap ? DAGTAP_LSN_UNKNOWN
		      : start + dagtap_rec_bytes(sizeof(struct dagtap_state_payload)));
	rc = start_log(s, start, &sb, gap, &(uint64_t){ rs->group_generation });
	s->failed = s->lease_lost = s->crashed = false;
	s->role = DAGTAP_ROLE_ACTIVE;
	s->active_since = mem_boot_ns();
	rs->start_lsn = start;
out:
	open_gate(s);
	return rc;
}

static int resume_active(struct mem_store *s, struct dagtap_role_set *rs)
{
	if (s->role == DAGTAP_ROLE_PASSIVE || s->failed || rs->epoch != s->ring.epoch)
		return -ESTALE;
	if (s->role == DAGTAP_ROLE_FENCED)
		s->active_since = mem_boot_ns();
	s->role = DAGTAP_ROLE_ACTIVE;
	rs->start_lsn = s->ring.commit_lsn;
	return 0;
}

static int continue_active(struct mem_store *s, struct dagtap_role_set *rs)
{
	struct dagtap_state_payload p = { .arg = htole64(rs->group_generation) };
	struct mem_sb sb;
	int rc;

	if (rs->start_lsn)
		return -EINVAL;
	if (s->role == DAGTAP_ROLE_PASSIVE || s->failed)
		return -ESTALE;
	if (rs->epoch <= s->sb.epoch)
		return -ERANGE;
	if (s->tracking || s->ring.size - dagtap_ring_used(&s->ring) < DAGTAP_RING_SPARE / 4)
		return -EAGAIN;
	shut_gate(s);
	sb = s->sb;
	sb.epoch = rs->epoch;
	sb.tag = rs->tag;
	rc = mem_meta_save(s, &sb);
	if (rc)
		goto out;
	p.from_lsn = htole64(s->ring.commit_lsn);
	rs->start_lsn = s->ring.reserve_lsn;
	dagtap_ring_continue(&s->ring, rs->epoch, rs->tag);
	if (put_state(s, DAGTAP_STATE_EPOCH, &p))
		mem_enter_tracking(s);
	if (s->role == DAGTAP_ROLE_FENCED)
		s->active_since = mem_boot_ns();
	s->role = DAGTAP_ROLE_ACTIVE;
out:
	open_gate(s);
	return rc;
}

static int become_active(struct mem_store *s, struct dagtap_role_set *rs)
{
	switch (rs->flags) {
	case DAGTAP_ROLEF_RESUME:
		return resume_active(s, rs);
	case DAGTAP_ROLEF_CONTINUE:
		return continue_active(s, rs);
	case DAGTAP_ROLEF_GAP:
	case 0:
		return set_active(s, rs);
	default:
		return -EINVAL;
	}
}

static int set_passive(struct mem_store *s, struct dagtap_role_set *rs)
{
	struct dagtap_state_payload p = { 0 };
	struct mem_sb sb;
	int rc = 0;

	if (s->role == DAGTAP_ROLE_PASSIVE)
		goto out;
	s->role = DAGTAP_ROLE_PASSIVE;
	s->lease_lost = s->full = false;
	pthread_cond_broadcast(&s->change);
	while (s->inflight && !s->dead)
		pthread_cond_wait(&s->change, &s->lock);
	if (!s->tracking) {
		p.from_lsn = htole64(s->ring.reserve_lsn);
		put_state(s, DAGTAP_STATE_CLOSE, &p);	/* a full ring goes without */
	}
	s->tracking = false;
	sb = s->sb;
	sb.log_lsn = s->ring.reserve_lsn;
	sb.clean = 1;
	rc = mem_meta_save(s, &sb);
out:
	rs->start_lsn = s->ring.commit_lsn;
	return rc;
}

static int set_fenced(struct mem_store *s, struct dagtap_role_set *rs)
{
	if (s->role == DAGTAP_ROLE_PASSIVE)
		return -EINVAL;
	s->role = DAGTAP_ROLE_FENCED;
	s->lease_lost = s->full = false;
	pthread_cond_broadcast(&s->change);
	rs->start_lsn = s->ring.commit_lsn;
	return 0;
}

int mem_role(struct tap *tap, struct dagtap_role_set *rs)
{
	struct mem_store *s = tap->s;
	int rc;

	if (rs->flags && rs->role != DAGTAP_ROLE_ACTIVE)
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	if (s->dead)
		rc = -ENODEV;
	else if (rs->role == DAGTAP_ROLE_ACTIVE)
		rc = become_active(s, rs);
	else if (rs->role == DAGTAP_ROLE_PASSIVE)
		rc = set_passive(s, rs);
	else if (rs->role == DAGTAP_ROLE_FENCED)
		rc = set_fenced(s, rs);
	else
		rc = -EINVAL;
	mem_state_update(s);
	tap->generation = s->generation;
	pthread_cond_signal(&s->tick);
	pthread_mutex_unlock(&s->lock);
	mem_wake(s);
	return rc;
}

int mem_mode(struct tap *tap, const struct dagtap_mode_set *ms)
{
	struct mem_store *s = tap->s;

	if (ms->mode > DAGTAP_MODE_SYNC || ms->flags || ms->full_timeout_ms < 1 ||
	    ms->full_timeout_ms > 60000 || ms->park_timeout_ms > 100000)
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	s->mode = ms->mode;
	s->full_timeout_ms = ms->full_timeout_ms;
	s->park_timeout_ms = ms->park_timeout_ms;
	pthread_cond_broadcast(&s->change);
	pthread_cond_signal(&s->tick);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

int mem_restart(struct tap *tap, struct dagtap_restart *rs)
{
	struct mem_store *s = tap->s;
	int rc;

	if (rs->flags || rs->rsvd)
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	rc = s->dead ? -ENODEV : s->role != DAGTAP_ROLE_ACTIVE ? -EPERM :
	     !s->tracking ? -EALREADY : 0;
	if (!rc) {
		shut_gate(s);
		rebase(s, DAGTAP_LSN_UNKNOWN);
		rs->start_lsn = s->ring.reserve_lsn;
		rc = start_log(s, rs->start_lsn, &s->sb, true, NULL);
		rs->generation = tap->generation = s->generation;
		open_gate(s);
		mem_state_update(s);
	}
	pthread_mutex_unlock(&s->lock);
	mem_wake(s);
	return rc;
}

/* ---- records of the daemon ----------------------------------------------------- */

static int may_log(const struct mem_store *s)
{
	if (s->dead)
		return -ENODEV;
	if (s->role != DAGTAP_ROLE_ACTIVE)
		return -EPERM;
	if (s->tracking)
		return -ESTALE;
	return s->gate || s->full ? -EAGAIN : 0;
}

static int no_room(int rc)
{
	return rc == -ENOSPC || rc == -EOVERFLOW ? -EAGAIN : rc;
}

/* Read while no write to the extent is under way, then log; lock held. */
static int resync_locked(struct mem_store *s, struct mem_io *io, uint8_t *buf, uint64_t *ret_lsn)
{
	uint32_t bytes = io->spec.payload;
	bool zeroes;
	ssize_t n;
	int rc;

	while (!(rc = may_log(s)) && mem_overlaps(s, io->sector, io->sectors))
		pthread_cond_wait(&s->change, &s->lock);
	if (rc)
		return rc;
	mem_flight_add(s, io);
	pthread_mutex_unlock(&s->lock);
	n = pread(s->dev_fd, buf, bytes, (off_t)(io->sector * 512));
	zeroes = n > 0 && !buf[0] && !memcmp(buf, buf + 1, (size_t)n - 1);
	pthread_mutex_lock(&s->lock);
	if (zeroes)
		io->spec.payload = 0;
	rc = n == (ssize_t)bytes ? may_log(s) : -EIO;
	if (!rc)
		rc = put_record(s, &io->spec, s->ring.size / 4, buf, ret_lsn);
	if (!rc)
		dagtap_region_resynced(&s->map, io->sector, io->sectors, *ret_lsn);
	mem_flight_del(s, io);
	return rc;
}

int mem_resync(struct tap *tap, uint64_t sector, uint32_t bytes, uint64_t *ret_lsn)
{
	struct mem_store *s = tap->s;
	struct mem_io io = {
		.sector = sector, .sectors = bytes / 512,
		.spec = { .type = DAGTAP_REC_RESYNC, .sector = sector, .sectors = bytes / 512,
			  .payload = bytes, .time_ns = mem_real_ns() },
	};
	uint8_t *buf;
	int rc;

	if (!bytes || bytes > DAGTAP_PAYLOAD_MAX || bytes % 512)
		return -EINVAL;
	if (sector >= s->sectors || bytes / 512 > s->sectors - sector)
		return -ERANGE;
	buf = malloc(bytes);
	if (!buf)
		return -ENOMEM;
	pthread_mutex_lock(&s->lock);
	rc = resync_locked(s, &io, buf, ret_lsn);
	pthread_mutex_unlock(&s->lock);
	mem_wake(s);
	free(buf);
	return no_room(rc);
}

int mem_unused(struct tap *tap, uint64_t sector, uint32_t bytes, uint64_t since_lsn,
	       uint64_t *ret_lsn)
{
	struct mem_store *s = tap->s;
	struct dagtap_rec_spec spec = {
		.type = DAGTAP_REC_RESYNC, .sector = sector, .sectors = bytes / 512,
		.time_ns = mem_real_ns(),
	};
	int rc;

	if (!bytes || bytes > DAGTAP_PAYLOAD_MAX || bytes % 512)
		return -EINVAL;
	if (sector >= s->sectors || bytes / 512 > s->sectors - sector)
		return -ERANGE;
	pthread_mutex_lock(&s->lock);
	rc = may_log(s);
	if (!rc && dagtap_region_above(&s->map, sector, spec.sectors, since_lsn))
		rc = -EBUSY;
	if (!rc)
		rc = put_record(s, &spec, s->ring.size / 4, NULL, ret_lsn);
	if (!rc)
		dagtap_region_resynced(&s->map, sector, spec.sectors, *ret_lsn);
	pthread_mutex_unlock(&s->lock);
	mem_wake(s);
	return no_room(rc);
}

int mem_free_regions(struct tap *tap, uint8_t *bits, int cancel_fd)
{
	struct mem_store *s = tap->s;
	struct pollfd pfd = { .fd = cancel_fd, .events = POLLIN };
	const uint8_t *unused;
	bool hangs;

	pthread_mutex_lock(&s->lock);
	unused = s->unused;
	hangs = s->unused_hangs;
	pthread_mutex_unlock(&s->lock);
	if (hangs)
		return poll(&pfd, 1, -1) > 0 ? -ECANCELED : -errno;
	if (!unused)
		return -EOPNOTSUPP;
	memcpy(bits, unused, (s->map.nr + 7) / 8);
	return 0;
}

int mem_mark(struct tap *tap, struct dagtap_mark *mk)
{
	struct mem_store *s = tap->s;
	struct dagtap_rec_spec spec = {
		.type = (uint8_t)mk->type, .kind = (uint8_t)mk->kind, .payload = mk->bytes,
		.time_ns = mem_real_ns(),
	};
	bool seed = mk->type == DAGTAP_REC_STATE &&
		    (mk->kind == DAGTAP_STATE_SEED_BEGIN || mk->kind == DAGTAP_STATE_SEED_END) &&
		    mk->bytes == sizeof(struct dagtap_state_payload);
	bool named = mk->type == DAGTAP_REC_MARK && !mk->kind && mk->bytes <= DAGTAP_MARK_MAX;
	int rc;

	if (mk->flags || (!seed && !named))
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	rc = may_log(s);
	if (!rc)
		rc = put_record(s, &spec, DAGTAP_RING_SPARE, mk->payload, (uint64_t *)&mk->lsn);
	if (!rc && seed && mk->kind == DAGTAP_STATE_SEED_END)
		s->seed_lsn = mk->lsn;
	pthread_mutex_unlock(&s->lock);
	mem_wake(s);
	return no_room(rc);
}

static int forget(struct mem_store *s, struct dagtap_regions *rg)
{
	int rc = 0;

	if (rg->first || rg->count || rg->since_lsn || rg->bitmap || rg->rsvd)
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	if (s->role != DAGTAP_ROLE_PASSIVE)
		rc = -EPERM;
	for (uint32_t i = 0; i < s->map.nr_blocks && !rc; i++)
		dagtap_region_forget(&s->map, i);
	rc = rc ? rc : mem_meta_sync(s);
	if (!rc)
		s->crashed = s->must_gap = false;
	pthread_mutex_unlock(&s->lock);
	rg->dirty = 0;
	return rc;
}

int mem_regions(struct tap *tap, struct dagtap_regions *rg)
{
	uint8_t *bits = (uint8_t *)(uintptr_t)rg->bitmap;
	struct mem_store *s = tap->s;
	uint64_t dirty = 0;
	int rc = 0;

	if (rg->flags == DAGTAP_REGIONSF_FORGET)
		return forget(s, rg);
	if (rg->flags & ~DAGTAP_REGIONSF_SET || rg->rsvd || rg->first % 8 ||
	    rg->count > 8ull << 20 || (rg->flags & DAGTAP_REGIONSF_SET && rg->since_lsn))
		return -EINVAL;
	if (rg->first > s->map.nr || rg->count > s->map.nr - rg->first)
		return -ERANGE;
	pthread_mutex_lock(&s->lock);
	if (rg->flags & DAGTAP_REGIONSF_SET) {
		for (uint64_t i = 0; i < rg->count; i++) {
			uint64_t sector = (rg->first + i) << s->map.shift;

			if (!(bits[i / 8] >> i % 8 & 1))
				continue;
			dagtap_region_mark(&s->map, sector, 1);
			dagtap_region_unknown(&s->map, sector, 1);
			dirty++;
		}
		rc = mem_meta_sync(s);
	} else {
		dirty = dagtap_region_get(&s->map, rg->first, rg->count, rg->since_lsn, bits);
	}
	pthread_mutex_unlock(&s->lock);
	rg->dirty = dirty;
	return rc;
}
