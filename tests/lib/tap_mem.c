// SPDX-License-Identifier: GPL-2.0
/*
 * Stores of the memory tap: found by host and uuid, made by the first open, gone
 * with the power or, when nobody can need them any more, with the last close.
 */
#include "tests/lib/tap_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/tap_mem_int.h"

struct mem_host {
	uint64_t deadline, fence;
};

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct mem_store *stores;
static pthread_mutex_t lease_lock = PTHREAD_MUTEX_INITIALIZER;	/* a leaf */
static struct mem_host hosts[TAP_MEM_HOSTS];

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

uint64_t mem_boot_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

uint64_t mem_real_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

/* ---- header page and wake-ups ---------------------------------------------- */

/* commit_lsn last: it is the release of everything before it. */
void mem_publish(struct mem_store *s)
{
	struct dagtap_ring_hdr *hdr = s->hdr;

	__atomic_store_n(&hdr->commit_seq, s->ring.commit_seq, __ATOMIC_RELAXED);
	__atomic_store_n(&hdr->commit_time_ns, s->ring.commit_time_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&hdr->reserve_lsn, s->ring.reserve_lsn, __ATOMIC_RELAXED);
	__atomic_store_n(&hdr->freed_lsn, s->ring.freed_lsn, __ATOMIC_RELAXED);
	__atomic_store_n(&hdr->stalls, s->stat.stalls, __ATOMIC_RELAXED);
	__atomic_store_n(&hdr->state, s->state, __ATOMIC_RELAXED);
	__atomic_store_n(&hdr->role, s->role, __ATOMIC_RELAXED);
	__atomic_store_n(&hdr->state_gen, s->state_gen, __ATOMIC_RELAXED);
	__atomic_store_n(&hdr->commit_lsn, s->ring.commit_lsn, __ATOMIC_RELEASE);
}

void mem_publish_all(struct mem_store *s)
{
	struct dagtap_ring_hdr *hdr = s->hdr;

	hdr->magic = DAGTAP_RING_MAGIC;
	hdr->major = DAGTAP_ABI_MAJOR;
	hdr->minor = DAGTAP_ABI_MINOR;
	hdr->hdr_bytes = sizeof(*hdr);
	hdr->data_off = 2 * DAGTAP_BLOCK;
	hdr->data_size = s->ring_bytes;
	memcpy(hdr->uuid, s->uuid, 16);
	hdr->dev_sectors = s->sectors;
	hdr->lbs = 512;
	hdr->region_bytes = s->region_bytes;
	__atomic_store_n(&hdr->generation, s->generation, __ATOMIC_RELEASE);
	mem_publish(s);
}

static void signal_fd(struct mem_store *s)
{
	uint64_t one = 1;

	pthread_mutex_lock(&s->wake_lock);
	if (!s->signalled && write(s->event_fd, &one, sizeof(one)) == sizeof(one))
		s->signalled = true;
	pthread_mutex_unlock(&s->wake_lock);
}

void mem_wake(struct mem_store *s)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&s->user->want_wakeup, __ATOMIC_RELAXED))
		signal_fd(s);
}

/*
 * A poll of the module's file is edge and level at once: ready if something has
 * come since the last look. Here the look is the question for the descriptor; for
 * a change of state it is INFO, as with the module.
 */
static int mem_fd(struct tap *tap)
{
	struct mem_store *s = tap->s;
	uint64_t lsn, gen, count;

	pthread_mutex_lock(&s->wake_lock);
	if (s->signalled && read(s->event_fd, &count, sizeof(count)) == sizeof(count))
		s->signalled = false;
	pthread_mutex_unlock(&s->wake_lock);
	lsn = __atomic_load_n(&s->hdr->commit_lsn, __ATOMIC_ACQUIRE);
	gen = __atomic_load_n(&s->hdr->state_gen, __ATOMIC_ACQUIRE);
	if (lsn != s->seen_lsn || gen != s->seen_state_gen)
		signal_fd(s);
	s->seen_lsn = lsn;
	return s->event_fd;
}

static uint32_t derive_state(const struct mem_store *s)
{
	if (s->failed)
		return DAGTAP_ST_FAILED;
	if (s->lease_lost)
		return DAGTAP_ST_LEASE;
	if (s->tracking)
		return DAGTAP_ST_TRACKING;
	if (s->full)
		return DAGTAP_ST_FULL;
	return s->attached ? DAGTAP_ST_LOGGING : DAGTAP_ST_DETACHED;
}

void mem_state_update(struct mem_store *s)
{
	uint32_t state = derive_state(s);

	if (state == s->state && s->role == s->hdr->role)
		return;
	s->state = state;
	s->state_gen++;
	mem_publish(s);
	signal_fd(s);
	pthread_cond_signal(&s->tick);
}

void mem_enter_tracking(struct mem_store *s)
{
	s->tracking = true;
	s->full = false;
	s->must_gap = true;
	s->seed_lsn = MEM_NEVER;
	mem_state_update(s);
}

/* ---- lease ------------------------------------------------------------------ */

void mem_lease_get(unsigned host, uint64_t *ret_deadline, uint64_t *ret_fence)
{
	pthread_mutex_lock(&lease_lock);
	*ret_deadline = hosts[host].deadline;
	*ret_fence = hosts[host].fence;
	pthread_mutex_unlock(&lease_lock);
}

static int lease_set(unsigned host, uint64_t fence, uint64_t deadline)
{
	int rc = 0;

	pthread_mutex_lock(&lease_lock);
	if (fence < hosts[host].fence) {
		rc = -ESTALE;
	} else {
		hosts[host].fence = fence;
		hosts[host].deadline = deadline;
	}
	pthread_mutex_unlock(&lease_lock);
	if (rc)
		return rc;
	pthread_mutex_lock(&registry);
	for (struct mem_store *s = stores; s; s = s->next) {
		if (s->host != host)
			continue;
		pthread_mutex_lock(&s->lock);
		pthread_cond_broadcast(&s->change);
		pthread_cond_signal(&s->tick);
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_unlock(&registry);
	return 0;
}

/* ---- birth and death ---------------------------------------------------------- */

static void store_free(struct mem_store *s)
{
	if (s->ticker) {
		pthread_mutex_lock(&s->lock);
		s->ticker_stop = true;
		pthread_cond_signal(&s->tick);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->ticker, NULL);
	}
	if (s->file)
		munmap(s->file, s->file_bytes);
	for (int i = 0; i < 4; i++) {
		int fd = (int[]){ s->dev_fd, s->meta_fd, s->ring_fd, s->event_fd }[i];

		if (fd >= 0)
			close(fd);
	}
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->wake_lock);
	pthread_cond_destroy(&s->change);
	pthread_cond_destroy(&s->tick);
	free(s->slots);
	free(s->map_memory);
	free(s->bm_version);
	free(s);
}

static void init_fields(struct mem_store *s, unsigned host, const struct tap_conf *conf)
{
	pthread_condattr_t attr;

	s->host = host;
	memcpy(s->uuid, conf->uuid, 16);
	s->dev_fd = s->meta_fd = s->ring_fd = s->event_fd = -1;
	s->sectors = conf->sectors;
	s->meta_block = conf->meta_block;
	s->ring_bytes = (uint64_t)(conf->ring_mib ? conf->ring_mib : 64) << 20;
	s->full_timeout_ms = 1000;
	s->park_timeout_ms = 10000;
	s->seed_lsn = MEM_NEVER;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->wake_lock, NULL);
	pthread_cond_init(&s->change, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&s->tick, &attr);
	pthread_condattr_destroy(&attr);
}

static int open_files(struct mem_store *s, const struct tap_conf *conf)
{
	s->dev_fd = open(conf->device, O_RDWR | O_CLOEXEC);
	if (s->dev_fd < 0)
		return -errno;
	s->meta_fd = open(conf->meta_device, O_RDWR | O_CLOEXEC);
	if (s->meta_fd < 0)
		return -errno;
	s->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return s->event_fd < 0 ? -errno : 0;
}

static int alloc_ring(struct mem_store *s)
{
	__u64 regions;

	s->file_bytes = 2 * DAGTAP_BLOCK + s->ring_bytes;
	s->ring_fd = memfd_create("dagtap", MFD_CLOEXEC);
	if (s->ring_fd < 0 || ftruncate(s->ring_fd, (off_t)s->file_bytes))
		return -errno;
	s->file = mmap(NULL, s->file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s->ring_fd, 0);
	if (s->file == MAP_FAILED) {
		s->file = NULL;
		return -errno;
	}
	s->hdr = (void *)s->file;
	s->user = (void *)(s->file + DAGTAP_BLOCK);
	dagtap_region_count(s->sectors, s->region_bytes, &regions);
	s->slots = calloc(MEM_SLOTS, sizeof(*s->slots));
	s->map_memory = calloc(1, dagtap_region_memory(regions));
	if (!s->slots || !s->map_memory)
		return -ENOMEM;
	dagtap_region_init(&s->map, s->map_memory, s->sectors, s->region_bytes);
	s->bm_version = calloc(s->map.nr_blocks, sizeof(*s->bm_version));
	if (!s->bm_version)
		return -ENOMEM;
	return dagtap_ring_init(&s->ring, s->file + 2 * DAGTAP_BLOCK, s->ring_bytes, s->slots,
				MEM_SLOTS);
}

static int load(struct mem_store *s, const struct tap_conf *conf)
{
	uint64_t floor;
	int rc = open_files(s, conf);

	rc = rc ? rc : mem_meta_load(s);
	rc = rc ? rc : alloc_ring(s);
	rc = rc ? rc : mem_meta_load_bits(s);
	if (rc)
		return rc;
	s->crashed = s->map.nr_dirty != 0;
	floor = s->sb.clean ? s->sb.log_lsn : s->sb.lsn_limit;
	rc = dagtap_ring_reset(&s->ring, floor, s->sb.epoch, s->sb.tag);
	if (rc)
		return -EUCLEAN;
	s->ring.lsn_limit = s->sb.lsn_limit;
	s->ack_lsn = s->clear_lsn = floor;
	s->generation = mem_real_ns() | 1;
	mem_publish_all(s);
	return -pthread_create(&s->ticker, NULL, mem_ticker, s);
}

static int store_create(unsigned host, const struct tap_conf *conf, struct mem_store **ret)
{
	struct mem_store *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	init_fields(s, host, conf);
	rc = load(s, conf);
	if (rc) {
		s->ticker = 0;
		store_free(s);
		return rc;
	}
	s->listed = true;
	s->next = stores;
	stores = s;
	*ret = s;
	return 0;
}

static struct mem_store *lookup(unsigned host, const uint8_t uuid[16])
{
	for (struct mem_store *s = stores; s; s = s->next)
		if (s->host == host && !memcmp(s->uuid, uuid, 16))
			return s;
	return NULL;
}

static void unlist(struct mem_store *s)
{
	struct mem_store **p = &stores;

	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	s->listed = false;
}

struct mem_store *mem_store_find(unsigned host, const uint8_t uuid[16])
{
	struct mem_store *s;

	pthread_mutex_lock(&registry);
	s = lookup(host, uuid);
	if (s)
		s->refs++;
	pthread_mutex_unlock(&registry);
	return s;
}

void mem_store_put(struct mem_store *s)
{
	bool last;

	pthread_mutex_lock(&registry);
	last = !--s->refs && !s->listed;
	pthread_mutex_unlock(&registry);
	if (last)
		store_free(s);
}

static void crash(struct mem_store *s)
{
	unlist(s);
	pthread_mutex_lock(&s->lock);
	s->dead = true;
	s->role = DAGTAP_ROLE_FENCED;
	mem_state_update(s);
	pthread_cond_broadcast(&s->change);
	pthread_mutex_unlock(&s->lock);
	s->refs++;
}

void tap_mem_crash(unsigned host, const uint8_t uuid[16])
{
	struct mem_store *s;

	pthread_mutex_lock(&registry);
	s = lookup(host, uuid);
	if (s)
		crash(s);
	pthread_mutex_unlock(&registry);
	if (s)
		mem_store_put(s);
}

void tap_mem_crash_host(unsigned host)
{
	struct mem_store *s;

	do {
		pthread_mutex_lock(&registry);
		for (s = stores; s && s->host != host; s = s->next)
			;
		if (s)
			crash(s);
		pthread_mutex_unlock(&registry);
		if (s)
			mem_store_put(s);
	} while (s);
	pthread_mutex_lock(&lease_lock);
	hosts[host] = (struct mem_host) { 0 };
	pthread_mutex_unlock(&lease_lock);
}

/* ---- attach and detach -------------------------------------------------------- */

static int take_store(unsigned host, const struct tap_conf *conf, struct mem_store **ret)
{
	struct mem_store *s = lookup(host, conf->uuid);
	int rc;

	if (!s) {
		rc = store_create(host, conf, &s);
		if (rc)
			return rc;
	}
	if (s->attached || s->sectors != conf->sectors ||
	    (conf->ring_mib && s->ring_bytes != (uint64_t)conf->ring_mib << 20))
		return -EBUSY;
	rc = mem_meta_check(s);
	if (rc)
		return rc;
	s->refs++;
	*ret = s;
	return 0;
}

static void fill_attach(const struct mem_store *s, struct dagtap_attach *at)
{
	*at = (struct dagtap_attach) {
		.major = DAGTAP_ABI_MAJOR, .minor = DAGTAP_ABI_MINOR, .ring_fd = -1,
		.ring_bytes = s->file_bytes, .generation = s->generation,
		.freed_lsn = s->ring.freed_lsn, .commit_lsn = s->ring.commit_lsn,
		.commit_seq = s->ring.commit_seq, .epoch = s->sb.epoch, .tag = s->sb.tag,
		.role = s->role, .crashed = s->crashed,
	};
	memcpy(at->uuid, s->uuid, 16);
}

static int mem_open(unsigned host, const struct tap_conf *conf, struct tap **ret,
		    struct dagtap_attach *ret_at)
{
	struct tap *tap = calloc(1, sizeof(*tap));
	struct mem_store *s;
	int rc;

	if (!tap)
		return -ENOMEM;
	pthread_mutex_lock(&registry);
	rc = take_store(host, conf, &s);
	if (rc) {
		pthread_mutex_unlock(&registry);
		free(tap);
		return rc;
	}
	pthread_mutex_lock(&s->lock);
	s->attached = true;
	mem_state_update(s);
	fill_attach(s, ret_at);
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_unlock(&registry);
	tap->s = s;
	tap->generation = s->generation;
	tap->view = (struct tap_view) {
		.hdr = s->hdr, .user = s->user, .file = s->file, .file_bytes = s->file_bytes,
		.base = s->file + 2 * DAGTAP_BLOCK, .size = s->ring_bytes,
	};
	*ret = tap;
	return 0;
}

/* What nobody can need any more: passive, and everything freed. */
static bool unused(const struct mem_store *s)
{
	return s->role == DAGTAP_ROLE_PASSIVE && s->ring.freed_lsn == s->ring.reserve_lsn;
}

static int mem_close(struct tap *tap, bool remove)
{
	struct mem_store *s = tap->s;
	int rc = 0;

	free(tap);
	pthread_mutex_lock(&registry);
	pthread_mutex_lock(&s->lock);
	s->attached = false;
	mem_state_update(s);
	if (remove && (s->inflight || s->refs > 1))
		rc = -EBUSY;	/* an application has the device open */
	else if (s->listed && remove && unused(s))
		unlist(s);
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_unlock(&registry);
	mem_store_put(s);
	return rc;
}

static const struct tap_view *mem_view(struct tap *tap)
{
	return &tap->view;
}

static int mem_ack(struct tap *tap, uint64_t free_lsn, uint64_t ack_lsn, uint64_t clear_lsn)
{
	struct mem_store *s = tap->s;
	int rc;

	if ((free_lsn | ack_lsn | clear_lsn) % DAGTAP_ALIGN)
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	if (s->dead)
		rc = -ENODEV;
	else if (tap->generation != s->generation)
		rc = -ESTALE;
	else if (ack_lsn < s->ack_lsn || ack_lsn > s->ring.commit_lsn ||
		 clear_lsn < s->clear_lsn || clear_lsn > s->ring.commit_lsn)
		rc = -ERANGE;
	else
		rc = dagtap_ring_free(&s->ring, free_lsn);
	if (!rc) {
		s->clear_lsn = clear_lsn;
		s->ack_lsn = ack_lsn;
		__atomic_store_n(&s->hdr->freed_lsn, s->ring.freed_lsn, __ATOMIC_RELAXED);
		pthread_cond_broadcast(&s->change);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

static int mem_info(struct tap *tap, struct dagtap_info *ret)
{
	struct mem_store *s = tap->s;
	uint64_t deadline, fence;

	mem_lease_get(s->host, &deadline, &fence);
	pthread_mutex_lock(&s->lock);
	*ret = s->stat;
	ret->lease_deadline_boot_ns = deadline;
	ret->lease_fence = fence;
	ret->role = s->role;
	ret->state = s->state;
	ret->mode = s->mode;
	ret->epoch = s->ring.epoch;
	ret->generation = s->generation;
	ret->reserve_lsn = s->ring.reserve_lsn;
	ret->commit_lsn = s->ring.commit_lsn;
	ret->freed_lsn = s->ring.freed_lsn;
	ret->ack_lsn = s->ack_lsn;
	ret->clear_lsn = s->clear_lsn;
	ret->commit_seq = s->ring.commit_seq;
	ret->dev_sectors = s->sectors;
	ret->ring_bytes = s->ring_bytes;
	ret->regions = s->map.nr;
	ret->regions_dirty = s->map.nr_dirty;
	ret->regions_failed = s->map.nr_failed;
	ret->region_bytes = s->region_bytes;
	ret->lbs = 512;
	ret->held = s->held;
	ret->parked = s->parked;
	ret->state_gen = s->state_gen;
	s->seen_state_gen = s->state_gen;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

/* An ops table has no context, so each host has its own two functions. */
#define HOST_CALLS(n)								\
static int open_##n(const struct tap_conf *conf, struct tap **ret,		\
		    struct dagtap_attach *at)					\
{										\
	return mem_open(n, conf, ret, at);					\
}										\
static int lease_##n(uint64_t fence, uint64_t deadline)			\
{										\
	return lease_set(n, fence, deadline);					\
}

HOST_CALLS(0)
HOST_CALLS(1)
HOST_CALLS(2)
HOST_CALLS(3)

#define HOST_OPS(n) {								\
	.name = "memory", .format = mem_meta_format, .open = open_##n,		\
	.close = mem_close, .fd = mem_fd, .view = mem_view, .ack = mem_ack,	\
	.role = mem_role, .mode = mem_mode, .resync = mem_resync,		\
	.unused = mem_unused, .free_regions = mem_free_regions,		\
	.mark = mem_mark, .regions = mem_regions, .restart = mem_restart,	\
	.info = mem_info, .lease = lease_##n,					\
}

const struct tap_ops tap_mem_host_ops[TAP_MEM_HOSTS] = {
	HOST_OPS(0), HOST_OPS(1), HOST_OPS(2), HOST_OPS(3),
};
const struct tap_ops tap_mem_ops = HOST_OPS(0);
