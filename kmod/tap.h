/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the module share. A store is the lasting object, a tap one
 * table of its dm device (two exist during a reload), a tap_io one bio.
 *
 * Locks, outermost first:
 *	stores_lock	the list of stores, their users, creation and end
 *	ctl_mutex	changes of role, log and mode
 *	meta_mutex	the metadata device
 *	live_sem	read: the live table's devices are used; write: they change
 *	store->lock	everything else; taken in interrupts
 * lease_lock and the wait queues' own locks are leaves.
 */
#ifndef DAGTAP_TAP_H
#define DAGTAP_TAP_H

#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/dm-ioctl.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/rwsem.h>
#include <linux/seq_file.h>
#include <linux/spinlock.h>
#include <linux/uuid.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "core/metablock.h"
#include "core/region.h"
#include "core/ring.h"

#define TAP_SLOTS		4096u		/* records being copied at once */
#define TAP_LSN_STEP		(1ull << 40)	/* lsn_limit is persisted so far ahead */
#define TAP_LSN_MAX		(1ull << 62)
#define TAP_DISCARD_SECTORS	(1u << 21)	/* of one bio: bounds the region walk */
#define TAP_SUSPEND_GRACE_NS	(2 * NSEC_PER_SEC)
#define TAP_WAIT_JIFFIES	(30 * HZ)	/* for the disk, in a system call */
#define TAP_CLEAR_MS_MIN	100u
#define TAP_BATCH		64u		/* queued writes per hold of the lock */
#define TAP_META_SECTORS	(DAGTAP_BLOCK / DAGTAP_SECTOR)

/* An extent that is being written, read for a resync, or waits for its turn. */
struct tap_range {
	struct rb_node rb;
	u64 start;
	u64 last;
	u64 subtree_last;
	u64 ticket;		/* order of arrival */
	bool waited;		/* somebody behind waits for our end */
};

enum tap_io_state {
	TAP_IO_NEW,
	TAP_IO_QUEUED,		/* waits to be admitted; store->queue */
	TAP_IO_FLIGHT,		/* at the lower device */
	TAP_IO_HELD,		/* done there, waits for a copy; store->held */
	TAP_IO_PARKED,		/* done there, waits for the lease; store->parked */
	TAP_IO_ENDED,		/* its status is final */
};

struct tap_io {
	struct tap_range range;
	struct list_head list;	/* the queue that its state names */
	struct list_head flight; /* logged and at the lower device, in LSN order */
	struct dagtap_resv resv;
	u64 sector;		/* bi_iter is used up when the bio comes back */
	u64 start_ns;
	u64 hold_ns;
	u32 sectors;
	u32 log_gen;		/* part of the log that resv belongs to */
	u16 rec_flags;
	u8  rec_type;		/* 0: a read */
	u8  state;
	bool logged;
	bool commit;		/* FLUSH or FUA */
	bool stalled;		/* counted as a stall */
	bool overlapped;	/* counted as an overlap */
	blk_status_t status;
};

struct tap {
	struct dm_target *ti;
	struct store *store;
	struct dm_dev *data;
	struct dm_dev *meta;
	u64 meta_block;		/* first 4 KiB block of the metadata */
	u32 ring_mib;		/* 0: as the store has, or the default */
	bool insert;		/* one-shot: start ACTIVE and TRACKING */
	u8 uuid[DAGTAP_UUID_BYTES];
};

/* The part of the superblock that changes. */
struct tap_sb {
	u64 lsn_limit;
	u64 log_lsn;
	u32 epoch;
	u32 tag;
	u32 clean;
};

struct tap_stat {
	u64 writes, write_bytes, flushes, discards, zeroes;
	u64 stalls, overlaps, io_errors, fails;
	u64 hold_us[DAGTAP_LAT_BUCKETS];
	u64 write_us[DAGTAP_LAT_BUCKETS];
};

struct store {
	struct list_head node;
	u8 uuid[DAGTAP_UUID_BYTES];
	char name[DM_NAME_LEN];
	struct mapped_device *md;	/* while a table exists */
	u32 nr_taps;			/* stores_lock */
	bool attached;			/* stores_lock and lock */

	/* fixed from creation on */
	u64 dev_sectors;
	u32 region_bytes;
	u32 lbs;
	u64 ring_bytes;			/* of log bytes */
	struct file *ring_file;
	struct page **ring_pages;
	unsigned long nr_ring_pages;
	struct dagtap_ring_hdr *hdr;	/* page 0: written, never read */
	struct dagtap_ring_user *user;	/* page 1 */
	struct dagtap_slot *slots;
	void *map_memory;

	struct rw_semaphore live_sem;
	struct tap *live;		/* table in use; NULL: none */

	struct mutex meta_mutex;
	struct tap_sb sb;		/* as it stands on disk; meta_mutex and lock */
	u64 sb_version;
	u64 *bm_version;
	struct dagtap_sb *sb_buf;
	struct dagtap_bm *bm_buf;

	struct mutex ctl_mutex;
	struct mutex resync_mutex;
	struct page **resync_pages;

	spinlock_t lock;
	struct dagtap_ring ring;
	struct dagtap_regionmap map;
	struct rb_root_cached ranges;
	u64 next_ticket;
	struct list_head queue;
	struct list_head flight;
	struct list_head held;
	struct list_head parked;
	u32 nr_queued, nr_held, nr_parked;
	atomic_t inflight;		/* bios and resyncs inside the target */

	u32 role, mode, state;
	u32 role_shown;			/* the role that state_gen counted last */
	u64 state_gen;
	u64 generation;
	u32 log_gen;			/* +1 when the log starts anew */
	u64 ack_lsn, clear_lsn;
	u64 seed_lsn;			/* ack that settles what has no LSN in this log */
	u32 full_timeout_ms, park_timeout_ms;
	u64 full_since;			/* CLOCK_BOOTTIME, as all below; 0: not full */
	u64 lost_since;
	u64 suspend_deadline;		/* 0: not suspending */
	bool full;			/* a write waits for ring space */
	bool tracking;
	bool lease_lost;
	bool failed;			/* metadata cannot be written */
	bool gate;			/* role or log is changing: admit nothing */
	bool exempt;			/* live insertion before the first ROLE */
	bool open;			/* served since the log was closed last */
	bool must_gap;			/* the last log part ended in TRACKING */
	bool flush_failed;		/* the disk forgot writes: clear no bits */
	bool crashed;
	struct tap_stat stat;

	wait_queue_head_t poll_wq;	/* the daemon */
	wait_queue_head_t wait_wq;	/* ranges, settling, draining */
	struct work_struct queue_work;
	struct work_struct meta_work;
	struct work_struct sysfs_work;
	struct delayed_work tick_work;
	struct delayed_work clear_work;
	struct delayed_work event_work;
	u32 event_mask;
	u64 event_value[DAGTAP_EV_META_ERROR + 1];
	unsigned long event_sent;	/* jiffies */

	struct kobject kobj;
	struct completion kobj_gone;
	bool kobj_added;
};

extern struct workqueue_struct *tap_wq;		/* never does I/O itself */
extern struct workqueue_struct *tap_meta_wq;	/* waits for metadata I/O */
extern unsigned int tap_clear_interval_ms;

/* store.c */
extern struct list_head stores;
extern struct mutex stores_lock;
int store_get(struct tap *tap, char **ret_error);
void store_put_tap(struct tap *tap);
int store_attach(const u8 *uuid, struct store **ret_store);
void store_detach(struct store *s);
void stores_tick(void);
void stores_destroy(void);
void store_update(struct store *s);
void store_enter_tracking(struct store *s);
const char *store_role_name(u32 role);
const char *store_state_name(u32 state);
const char *store_mode_name(u32 mode);
void store_info(struct store *s, struct dagtap_info *info);
u64 store_percentile_us(const u64 *buckets, unsigned int percent);

/* shring.c */
int shring_create(struct store *s);
void shring_destroy(struct store *s);
void shring_reset(struct store *s);
void shring_publish(struct store *s);
void shring_wake(struct store *s);

/* target.c */
int target_init(void);
void target_exit(void);

/* submit.c */
int submit_map(struct tap *tap, struct bio *bio);
void submit_worker(struct work_struct *work);
int submit_state_record(struct store *s, u8 kind,
			const struct dagtap_state_payload *payload, u64 *ret_end);
void submit_kick(struct store *s);
struct bio *tap_bio(struct tap_io *io);

/* overlap.c */
void range_insert(struct store *s, struct tap_range *range, u64 sector, u64 sectors);
bool range_blocked(struct store *s, struct tap_range *range);
void range_remove(struct store *s, struct tap_range *range);

/* commit.c */
int commit_end_io(struct tap *tap, struct bio *bio, blk_status_t *error);
void commit_collect(struct store *s, struct list_head *ended);
void commit_collect_all(struct store *s, blk_status_t status,
			struct list_head *ended);
void commit_collect_done(struct store *s, blk_status_t status,
			 struct list_head *ended);
void commit_finish(struct store *s, struct list_head *ended);
int commit_ack(struct store *s, const struct dagtap_ack *ack);
u64 commit_local_done(struct store *s);

/* lease.c */
bool lease_valid(struct store *s);
int lease_set(const struct dagtap_lease *lease);
void lease_get(u64 *ret_deadline, u64 *ret_fence);
void lease_kick(struct store *s);
void lease_tick(struct work_struct *work);

/* meta.c */
int meta_load(struct tap *tap, struct store *s, char **ret_error);
int meta_check(struct tap *tap, const struct store *s, char **ret_error);
int meta_read_sb(struct tap *tap, const u8 *uuid, struct dagtap_sb *ret_sb,
		 char **ret_error);
int meta_save(struct store *s, const struct tap_sb *sb);
int meta_sync_regions(struct store *s);
void meta_worker(struct work_struct *work);
void meta_clear_worker(struct work_struct *work);

/* role.c */
int role_set(struct store *s, struct dagtap_role_set *arg);
int role_mode(struct store *s, const struct dagtap_mode_set *arg);
int role_restart(struct store *s, struct dagtap_restart *arg);
int role_resume_table(struct store *s, struct tap *tap);
void role_table_gone(struct store *s, struct tap *tap, bool last);

/* resync.c */
int resync_extent(struct store *s, struct dagtap_resync *arg);
int resync_mark(struct store *s, struct dagtap_mark *arg);
int resync_regions(struct store *s, struct dagtap_regions *arg);
int resync_alloc(struct store *s);
void resync_free(struct store *s);

/* chardev.c */
int chardev_init(void);
void chardev_exit(void);

/* event.c */
int event_init(void);
void event_exit(void);
void event_post(struct store *s, u32 event, u64 value);
void event_worker(struct work_struct *work);

/* sysfs.c */
void sysfs_worker(struct work_struct *work);
void sysfs_remove(struct store *s);
void sysfs_prepare(struct store *s);

/* proc.c */
int proc_init(void);
void proc_exit(void);

#endif
