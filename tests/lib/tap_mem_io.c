// SPDX-License-Identifier: GPL-2.0
/*
 * The way of a write through the memory tap, in the caller's thread:
 *
 *	role, lease -> intent bits -> no overlap -> LSN -> copy and crc ->
 *	commit -> local file -> wait for the copies where the mode asks for it
 *
 * Where the module queues a bio, the caller sleeps here. The ticker moves the
 * states that move with time, as the module's tick does.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/tap_mem_int.h"

struct tap_mem_dev {
	struct mem_store *s;
};

static _Atomic unsigned clear_interval_ms = 200;

void tap_mem_unused(struct tap_mem_dev *dev, const uint8_t *bits, bool hangs)
{
	struct mem_store *s = dev->s;

	pthread_mutex_lock(&s->lock);
	s->unused = bits;
	s->unused_hangs = hangs;
	pthread_mutex_unlock(&s->lock);
}

void tap_mem_clear_interval(unsigned ms)
{
	clear_interval_ms = ms;
}

/* ---- ranges -------------------------------------------------------------- */

bool mem_overlaps(const struct mem_store *s, uint64_t sector, uint64_t sectors)
{
	for (const struct mem_io *io = s->flight; io; io = io->next)
		if (sector < io->sector + io->sectors && io->sector < sector + sectors)
			return true;
	return false;
}

void mem_flight_add(struct mem_store *s, struct mem_io *io)
{
	io->next = s->flight;
	io->link = &s->flight;
	if (io->next)
		io->next->link = &io->next;
	s->flight = io;
	s->inflight++;
}

void mem_flight_del(struct mem_store *s, struct mem_io *io)
{
	*io->link = io->next;
	if (io->next)
		io->next->link = io->link;
	s->inflight--;
	pthread_cond_broadcast(&s->change);
}

/* Every record below has ended at the local file. */
static uint64_t local_done(const struct mem_store *s)
{
	uint64_t lsn = s->ring.reserve_lsn;

	for (const struct mem_io *io = s->flight; io; io = io->next)
		if (io->logged && io->resv.lsn < lsn)
			lsn = io->resv.lsn;
	return lsn;
}

/* ---- admission ------------------------------------------------------------ */

bool mem_lease_valid(const struct mem_store *s)
{
	uint64_t deadline, fence;

	mem_lease_get(s->host, &deadline, &fence);
	return deadline == DAGTAP_LEASE_FOREVER || mem_boot_ns() < deadline;
}

static void park(struct mem_store *s)
{
	if (!s->lease_lost)
		pthread_cond_signal(&s->tick);
	s->parked++;
	pthread_cond_wait(&s->change, &s->lock);
	s->parked--;
}

static int extend_limit(struct mem_store *s)
{
	struct mem_sb sb = s->sb;

	if (s->ring.lsn_limit - s->ring.reserve_lsn >= MEM_LSN_STEP / 2)
		return 0;
	sb.lsn_limit += MEM_LSN_STEP;
	return mem_meta_save(s, &sb);
}

/* 0: the LSN is given; -EAGAIN: the ring is full; lock held. */
static int reserve(struct mem_store *s, struct mem_io *io)
{
	int rc = extend_limit(s);

	if (rc)
		return rc;
	rc = -ENOSPC;
	if (!s->full || io->stalled)
		rc = dagtap_ring_reserve(&s->ring, &io->spec, DAGTAP_RING_SPARE, &io->resv);
	if (!rc) {
		io->logged = true;
		io->log_gen = s->log_gen;
		if (io->sectors)
			dagtap_region_touch(&s->map, io->sector, io->sectors, io->resv.end_lsn);
		s->full = false;
		mem_state_update(s);
		return 0;
	}
	if (!io->stalled)
		s->stat.stalls++;
	io->stalled = true;
	if (!s->full) {
		s->full = true;
		s->full_since = mem_boot_ns();
		mem_state_update(s);
		pthread_cond_signal(&s->tick);
	}
	return -EAGAIN;
}

/* One try: 0, -EAGAIN: wait and try again, -EIO. Lock held. */
static int admit(struct mem_store *s, struct mem_io *io)
{
	int rc;

	if (s->dead || s->role != DAGTAP_ROLE_ACTIVE)
		return -EIO;
	if (s->gate || !mem_lease_valid(s))
		return -EAGAIN;
	if (io->sectors) {
		if (!dagtap_region_mark(&s->map, io->sector, io->sectors)) {
			rc = mem_meta_sync(s);
			if (rc)
				return -EIO;
		}
		if (mem_overlaps(s, io->sector, io->sectors)) {
			s->stat.overlaps += !io->overlapped;
			io->overlapped = true;
			return -EAGAIN;
		}
	}
	if (s->tracking) {
		if (io->sectors)
			dagtap_region_unknown(&s->map, io->sector, io->sectors);
		return 0;
	}
	return reserve(s, io);
}

static int enter(struct mem_store *s, struct mem_io *io)
{
	int rc;

	while ((rc = admit(s, io)) == -EAGAIN) {
		if (s->gate || mem_lease_valid(s))
			pthread_cond_wait(&s->change, &s->lock);
		else
			park(s);
	}
	if (!rc)
		mem_flight_add(s, io);
	return rc;
}

/* ---- the way back --------------------------------------------------------- */

static bool is_acked(const struct mem_store *s, const struct mem_io *io)
{
	if (io->logged && io->log_gen == s->log_gen)
		return io->resv.end_lsn <= s->ack_lsn;
	return s->seed_lsn <= s->ack_lsn;
}

/* The local end was good; waits for the copies and for the lease. Lock held. */
static int settle(struct mem_store *s, const struct mem_io *io)
{
	for (;;) {
		bool active = s->role == DAGTAP_ROLE_ACTIVE;

		if (s->dead || s->role == DAGTAP_ROLE_FENCED)
			return -EIO;
		if (!mem_lease_valid(s)) {
			if (!active)
				return -EIO;
			park(s);
			continue;
		}
		if (s->mode == DAGTAP_MODE_ASYNC ||
		    (s->mode == DAGTAP_MODE_COMMIT && !io->commit) || is_acked(s, io))
			return 0;
		if (!active)
			return -EIO;
		s->held++;
		pthread_cond_wait(&s->change, &s->lock);
		s->held--;
	}
}

/* A logged write failed locally (K8). Lock held. */
static void log_failure(struct mem_store *s, const struct mem_io *io)
{
	struct dagtap_rec_spec spec = {
		.type = DAGTAP_REC_FAIL, .sector = io->sector,
		.sectors = (uint32_t)io->sectors, .time_ns = mem_real_ns(),
	};
	struct dagtap_resv resv;

	s->stat.io_errors++;
	if (!io->sectors)
		return;
	if (!s->tracking && io->logged && io->log_gen == s->log_gen) {
		if (dagtap_ring_reserve(&s->ring, &spec, 0, &resv))
			mem_enter_tracking(s);
		else if (dagtap_ring_commit(&s->ring, &resv, 0))
			mem_publish(s);
	}
	dagtap_region_fail(&s->map, io->sector, io->sectors);
	mem_meta_sync(s);
}

static int zero_range(int fd, uint64_t sector, uint64_t sectors)
{
	static const uint8_t zero[65536];
	uint64_t off = sector * 512, end = (sector + sectors) * 512;

	while (off < end) {
		size_t n = end - off < sizeof(zero) ? end - off : sizeof(zero);

		if (pwrite(fd, zero, n, (off_t)off) != (ssize_t)n)
			return -EIO;
		off += n;
	}
	return 0;
}

/* A discard leaves the content undefined: it stays here, which is allowed. */
static int local_io(struct mem_store *s, const struct mem_io *io, const void *buf, bool fail)
{
	if (fail)
		return -EIO;
	if (s->skip_device)
		return 0;
	switch (io->spec.type) {
	case DAGTAP_REC_DATA:
		return pwrite(s->dev_fd, buf, io->spec.payload, (off_t)(io->sector * 512)) ==
		       (ssize_t)io->spec.payload ? 0 : -EIO;
	case DAGTAP_REC_ZEROES:
		return zero_range(s->dev_fd, io->sector, io->sectors);
	default:
		return 0;
	}
}

static void account(struct mem_store *s, const struct mem_io *io)
{
	switch (io->spec.type) {
	case DAGTAP_REC_DATA:
		s->stat.writes++;
		s->stat.write_bytes += io->spec.payload;
		break;
	case DAGTAP_REC_FLUSH:
		s->stat.flushes++;
		break;
	case DAGTAP_REC_DISCARD:
		s->stat.discards++;
		break;
	default:
		s->stat.zeroes++;
	}
}

static int do_io(struct mem_store *s, struct mem_io *io, const void *buf)
{
	bool fail = false;
	uint32_t crc;
	int rc;

	io->spec.time_ns = mem_real_ns();
	pthread_mutex_lock(&s->lock);
	rc = enter(s, io);
	if (!rc && s->fail_writes && io->sectors) {
		s->fail_writes--;
		fail = true;
	}
	pthread_mutex_unlock(&s->lock);
	if (rc)
		return rc;
	if (io->logged) {
		crc = dagtap_ring_write(&s->ring, &io->resv, 0, buf, io->spec.payload, 0);
		pthread_mutex_lock(&s->lock);
		if (dagtap_ring_commit(&s->ring, &io->resv, crc))
			mem_publish(s);
		if (s->gate)
			pthread_cond_broadcast(&s->change);
		pthread_mutex_unlock(&s->lock);
		mem_wake(s);
	}
	rc = local_io(s, io, buf, fail);
	pthread_mutex_lock(&s->lock);
	mem_flight_del(s, io);
	if (rc)
		log_failure(s, io);
	else
		rc = settle(s, io);
	account(s, io);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* ---- for the application --------------------------------------------------- */

int tap_mem_dev_open(unsigned host, const uint8_t uuid[16], struct tap_mem_dev **ret)
{
	struct mem_store *s = mem_store_find(host, uuid);
	struct tap_mem_dev *dev;

	if (!s)
		return -ENODEV;
	dev = calloc(1, sizeof(*dev));
	if (!dev) {
		mem_store_put(s);
		return -ENOMEM;
	}
	dev->s = s;
	*ret = dev;
	return 0;
}

void tap_mem_dev_close(struct tap_mem_dev *dev)
{
	mem_store_put(dev->s);
	free(dev);
}

static int check_extent(const struct mem_store *s, uint64_t sector, uint64_t sectors)
{
	return !sectors || sector >= s->sectors || sectors > s->sectors - sector ? -EIO : 0;
}

int tap_mem_write(struct tap_mem_dev *dev, uint64_t sector, const void *buf, uint32_t bytes, bool fua)
{
	int rc = bytes % 512 ? -EINVAL : check_extent(dev->s, sector, bytes / 512);

	while (!rc && bytes) {
		uint32_t n = bytes < DAGTAP_PAYLOAD_MAX ? bytes : DAGTAP_PAYLOAD_MAX;
		struct mem_io io = {
			.sector = sector, .sectors = n / 512, .commit = fua,
			.spec = { .type = DAGTAP_REC_DATA, .sector = sector, .sectors = n / 512,
				  .payload = n, .flags = fua ? DAGTAP_RECF_FUA : 0 },
		};

		rc = do_io(dev->s, &io, buf);
		buf = (const uint8_t *)buf + n;
		sector += n / 512;
		bytes -= n;
	}
	return rc;
}

int tap_mem_flush(struct tap_mem_dev *dev)
{
	struct mem_io io = { .commit = true, .spec = { .type = DAGTAP_REC_FLUSH } };

	return do_io(dev->s, &io, NULL);
}

static int without_payload(struct tap_mem_dev *dev, uint8_t type, uint64_t sector, uint32_t sectors)
{
	struct mem_io io = {
		.sector = sector, .sectors = sectors,
		.spec = { .type = type, .sector = sector, .sectors = sectors },
	};
	int rc = check_extent(dev->s, sector, sectors);

	return rc ? rc : do_io(dev->s, &io, NULL);
}

int tap_mem_zeroes(struct tap_mem_dev *dev, uint64_t sector, uint32_t sectors)
{
	return without_payload(dev, DAGTAP_REC_ZEROES, sector, sectors);
}

int tap_mem_discard(struct tap_mem_dev *dev, uint64_t sector, uint32_t sectors)
{
	return without_payload(dev, DAGTAP_REC_DISCARD, sector, sectors);
}

int tap_mem_read(struct tap_mem_dev *dev, uint64_t sector, void *buf, uint32_t bytes)
{
	struct mem_store *s = dev->s;
	bool refuse;

	pthread_mutex_lock(&s->lock);
	refuse = s->dead || s->role == DAGTAP_ROLE_PASSIVE;
	pthread_mutex_unlock(&s->lock);
	if (refuse || check_extent(s, sector, bytes / 512))
		return -EIO;
	return pread(s->dev_fd, buf, bytes, (off_t)(sector * 512)) == (ssize_t)bytes ? 0 : -EIO;
}

void tap_mem_fail_writes(struct tap_mem_dev *dev, unsigned n)
{
	pthread_mutex_lock(&dev->s->lock);
	dev->s->fail_writes = n;
	pthread_mutex_unlock(&dev->s->lock);
}

void tap_mem_skip_device(struct tap_mem_dev *dev, bool skip)
{
	pthread_mutex_lock(&dev->s->lock);
	dev->s->skip_device = skip;
	pthread_mutex_unlock(&dev->s->lock);
}

uint64_t tap_mem_used(struct tap_mem_dev *dev)
{
	uint64_t used;

	pthread_mutex_lock(&dev->s->lock);
	used = dagtap_ring_used(&dev->s->ring);
	pthread_mutex_unlock(&dev->s->lock);
	return used;
}

/* ---- time ------------------------------------------------------------------ */

/* Each step returns when it wants to be called again. Lock held. */
static uint64_t tick_lease(struct mem_store *s, uint64_t now)
{
	uint64_t deadline, fence, park_end;

	if (s->role != DAGTAP_ROLE_ACTIVE) {
		s->lease_lost = false;
		return MEM_NEVER;
	}
	mem_lease_get(s->host, &deadline, &fence);
	if (deadline == DAGTAP_LEASE_FOREVER || now < deadline) {
		if (s->lease_lost)
			pthread_cond_broadcast(&s->change);
		s->lease_lost = false;
		return deadline;
	}
	if (!s->lease_lost) {
		s->lease_lost = true;
		if (!deadline)
			deadline = now;		/* ended by hand, just now */
		s->lost_since = deadline > s->active_since ? deadline : s->active_since;
	}
	park_end = s->lost_since + s->park_timeout_ms * 1000000ull;
	if (now < park_end)
		return park_end;
	s->role = DAGTAP_ROLE_FENCED;
	s->lease_lost = false;
	pthread_cond_broadcast(&s->change);
	return MEM_NEVER;
}

static uint64_t tick_full(struct mem_store *s, uint64_t now)
{
	uint64_t due = s->full_since;

	if (!s->full || s->tracking || s->role != DAGTAP_ROLE_ACTIVE)
		return MEM_NEVER;
	if (s->attached)
		due += s->full_timeout_ms * 1000000ull;
	if (now < due)
		return due;
	mem_enter_tracking(s);
	pthread_cond_broadcast(&s->change);
	return MEM_NEVER;
}

/* Bits that no copy needs and whose writes have ended here (K5). */
static uint64_t tick_clear(struct mem_store *s, uint64_t now)
{
	uint64_t bound = local_done(s), cleared = 0;

	if (s->clear_lsn < bound)
		bound = s->clear_lsn;
	if (bound > s->cleared_upto && !s->failed && !s->dead) {
		for (uint32_t i = 0; i < s->map.nr_blocks; i++)
			cleared += dagtap_region_clear(&s->map, i, bound, false);
		if (cleared)
			mem_meta_sync(s);
		s->cleared_upto = bound;
	}
	return now + clear_interval_ms * 1000000ull;
}

void *mem_ticker(void *arg)
{
	struct mem_store *s = arg;
	uint64_t clear_at = 0;

	pthread_mutex_lock(&s->lock);
	while (!s->ticker_stop) {
		uint64_t now = mem_boot_ns(), next, due;
		struct timespec ts;

		next = s->dead ? MEM_NEVER : tick_lease(s, now);
		due = tick_full(s, now);
		next = due < next ? due : next;
		if (now >= clear_at)
			clear_at = tick_clear(s, now);
		next = clear_at < next ? clear_at : next;
		mem_state_update(s);
		next = next > now ? next - now : 0;
		clock_gettime(CLOCK_MONOTONIC, &ts);
		next += (uint64_t)ts.tv_nsec + 100000;
		ts.tv_sec += (time_t)(next / 1000000000);
		ts.tv_nsec = (long)(next % 1000000000);
		pthread_cond_timedwait(&s->tick, &s->lock, &ts);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}
