/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the memory tap share. */
#ifndef DAG_TAP_MEM_INT_H
#define DAG_TAP_MEM_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "kmod/core/metablock.h"
#include "kmod/core/region.h"
#include "kmod/core/ring.h"
#include "tests/lib/tap_mem.h"

#define MEM_SLOTS	1024u
#define MEM_LSN_STEP	(1ull << 40)
#define MEM_LSN_MAX	(1ull << 62)
#define MEM_NEVER	UINT64_MAX

/* A write between admission and local end. */
struct mem_io {
	struct mem_io *next, **link;
	uint64_t sector, sectors;
	struct dagtap_rec_spec spec;
	struct dagtap_resv resv;
	uint32_t log_gen;
	bool logged;
	bool commit;		/* FLUSH or FUA */
	bool stalled, overlapped;
};

struct mem_sb {			/* the part of the superblock that changes */
	uint64_t version;
	uint64_t lsn_limit;
	uint64_t log_lsn;
	uint32_t epoch, tag, clean;
};

struct mem_store {
	struct mem_store *next;
	unsigned host;
	uint8_t uuid[16];
	unsigned refs;			/* registry lock */
	bool attached;			/* registry lock and lock */
	bool listed;

	int dev_fd, meta_fd, ring_fd, event_fd;
	uint64_t meta_block, sectors, ring_bytes;
	uint32_t region_bytes;
	uint8_t *file;			/* header page, user page, log bytes */
	size_t file_bytes;
	struct dagtap_ring_hdr *hdr;
	struct dagtap_ring_user *user;
	struct dagtap_slot *slots;
	void *map_memory;

	pthread_mutex_t lock;
	pthread_cond_t change;		/* anything that a writer may wait for */
	pthread_cond_t tick;
	pthread_t ticker;
	bool ticker_stop;
	bool dead;			/* the power was cut */

	/* under lock */
	struct dagtap_ring ring;
	struct dagtap_regionmap map;
	struct mem_sb sb;
	uint64_t *bm_version;
	struct mem_io *flight;		/* oldest last */
	unsigned inflight;
	uint32_t role, mode, state;
	uint64_t state_gen, generation;
	uint32_t log_gen;
	uint64_t ack_lsn, clear_lsn, seed_lsn, cleared_upto;
	uint32_t full_timeout_ms, park_timeout_ms;
	uint64_t full_since, lost_since, active_since;	/* CLOCK_BOOTTIME */
	bool full, tracking, lease_lost, failed, gate, must_gap, crashed;
	uint32_t held, parked;
	unsigned fail_writes;
	bool skip_device;
	const uint8_t *unused;		/* bits of regions; NULL: cannot be told */
	bool unused_hangs;
	struct dagtap_info stat;	/* only its counters */

	/* wake-ups of the daemon */
	pthread_mutex_t wake_lock;
	bool signalled;
	uint64_t seen_lsn, seen_state_gen;
};

struct tap {
	struct mem_store *s;
	struct tap_view view;
	uint64_t generation;
};

/* tap_mem.c */
void mem_state_update(struct mem_store *s);	/* lock held, like all below */
void mem_publish(struct mem_store *s);
void mem_publish_all(struct mem_store *s);
void mem_wake(struct mem_store *s);		/* lock not needed */
void mem_enter_tracking(struct mem_store *s);
uint64_t mem_boot_ns(void);
uint64_t mem_real_ns(void);
void mem_lease_get(unsigned host, uint64_t *ret_deadline, uint64_t *ret_fence);
struct mem_store *mem_store_find(unsigned host, const uint8_t uuid[16]);	/* takes a reference */
void mem_store_put(struct mem_store *s);

/* tap_mem_io.c */
bool mem_lease_valid(const struct mem_store *s);
bool mem_overlaps(const struct mem_store *s, uint64_t sector, uint64_t sectors);
void mem_flight_add(struct mem_store *s, struct mem_io *io);
void mem_flight_del(struct mem_store *s, struct mem_io *io);
void *mem_ticker(void *arg);

/* tap_mem_meta.c */
int mem_meta_format(const struct tap_conf *conf);
int mem_meta_load(struct mem_store *s);		/* sb first, then the map exists */
int mem_meta_load_bits(struct mem_store *s);
int mem_meta_check(struct mem_store *s);
int mem_meta_save(struct mem_store *s, const struct mem_sb *sb);
int mem_meta_sync(struct mem_store *s);

/* tap_mem_role.c */
int mem_role(struct tap *tap, struct dagtap_role_set *rs);
int mem_mode(struct tap *tap, const struct dagtap_mode_set *ms);
int mem_restart(struct tap *tap, struct dagtap_restart *rs);
int mem_resync(struct tap *tap, uint64_t sector, uint32_t bytes, uint64_t *ret_lsn);
int mem_unused(struct tap *tap, uint64_t sector, uint32_t bytes, uint64_t since_lsn,
	       uint64_t *ret_lsn);
int mem_free_regions(struct tap *tap, uint8_t *bits, int cancel_fd);
int mem_mark(struct tap *tap, struct dagtap_mark *mk);
int mem_regions(struct tap *tap, struct dagtap_regions *rg);

#endif
