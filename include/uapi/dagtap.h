/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * dagtap - the contract between the tap (kmod/) and user space.
 *
 * A store is one block device that is mapped through the device-mapper target
 * "dagtap". Every write becomes a record in a byte log. A position in that log
 * is an LSN: it grows for ever and is a multiple of DAGTAP_ALIGN. The newest
 * part of the log stands in a ring of shared memory; ring bytes are wire bytes
 * are segment bytes, nobody re-encodes them.
 *
 * All integers in the log and on the metadata device are little endian; ioctl
 * arguments have the host's order. No structure has a hole, every reserved
 * field and every unknown flag must be zero or the call fails with -EINVAL.
 *
 * Rules of the ring (Documentation/design.md, invariants K1-K9):
 *  - bytes below commit_lsn are final until they are freed by DAGTAP_IOC_ACK;
 *  - the byte of LSN x stands at data_off + (x & (data_size - 1));
 *  - a record header never wraps, a payload may;
 *  - the kernel reads no index from shared memory: want_wakeup is a hint only.
 */
#ifndef _UAPI_DAGTAP_H
#define _UAPI_DAGTAP_H

#include <linux/types.h>
#include <linux/ioctl.h>

#define DAGTAP_ABI_MAJOR	1
#define DAGTAP_ABI_MINOR	3

#define DAGTAP_ALIGN		64u
#define DAGTAP_SECTOR		512u
#define DAGTAP_BLOCK		4096u
/* A larger write is split by the tap; one record never carries more. */
#define DAGTAP_PAYLOAD_MAX	(1u << 20)
#define DAGTAP_RING_MIN		(4u << 20)
#define DAGTAP_RING_MAX		(1u << 30)
#define DAGTAP_UUID_BYTES	16
#define DAGTAP_NAME_MAX		32

/* ---- records ---------------------------------------------------------- */

#define DAGTAP_REC_MAGIC	0x52474144u	/* "DAGR" */

enum dagtap_rec_type {
	DAGTAP_REC_DATA = 1,	/* write: payload = sectors * 512 bytes of data */
	DAGTAP_REC_FLUSH,	/* everything below was asked to be durable */
	DAGTAP_REC_DISCARD,	/* content of the extent is undefined after */
	DAGTAP_REC_ZEROES,	/* the extent reads as zeroes after */
	DAGTAP_REC_FAIL,	/* a logged write to the extent failed locally */
	DAGTAP_REC_RESYNC,	/* content of the extent as read under the range lock;
				 * no payload: it reads as zeroes */
	DAGTAP_REC_MARK,	/* a named point; payload = name, <= DAGTAP_MARK_MAX */
	DAGTAP_REC_STATE,	/* change of the log itself, see kind */
	DAGTAP_REC_TYPES	/* first number that is not a type */
};

/* kind of a STATE record; payload is struct dagtap_state_payload */
enum dagtap_state_kind {
	DAGTAP_STATE_EPOCH = 1,	/* first record of an activation */
	DAGTAP_STATE_GAP,	/* writes were not logged before this point: a copy
				 * must not replay past it before SEED_END */
	DAGTAP_STATE_SEED_BEGIN, /* RESYNC records of a region set follow */
	DAGTAP_STATE_SEED_END,	/* the region set is complete */
	DAGTAP_STATE_CLOSE,	/* clean end of an activation */
	DAGTAP_STATE_KINDS
};

#define DAGTAP_RECF_FUA		0x0001u	/* write was FUA */
#define DAGTAP_RECF_META	0x0002u	/* REQ_META */
#define DAGTAP_RECF_SYNC	0x0004u	/* REQ_SYNC */
#define DAGTAP_RECF_NOUNMAP	0x0008u	/* ZEROES: keep the blocks allocated */
#define DAGTAP_RECF_ALL		0x000fu

#define DAGTAP_MARK_MAX		128u

/*
 * Header of a record: 64 bytes, 64-byte aligned in the log, followed by
 * `payload` bytes padded with zeroes to DAGTAP_ALIGN. The next record starts at
 * lsn + 64 + ALIGN(payload, 64).
 *
 * tag binds a record to a store, epoch to an activation,
 * prev_crc to the record before it: a header is only accepted as the follower
 * of the one whose hdr_crc it names (0: first record of an epoch or of a
 * generation of the ring).
 */
struct dagtap_rec {
	__le32 magic;
	__u8   type;		/* enum dagtap_rec_type */
	__u8   kind;		/* STATE: enum dagtap_state_kind, else 0 */
	__le16 flags;		/* DAGTAP_RECF_* */
	__le64 lsn;		/* of this header */
	__le64 sector;		/* first 512-byte sector of the extent, else 0 */
	__le32 sectors;		/* length of the extent in sectors, else 0 */
	__le32 payload;		/* bytes that follow the header, before padding */
	__le64 time_ns;		/* CLOCK_REALTIME when the LSN was given */
	__le32 epoch;		/* activation of the store that wrote it */
	__le32 tag;		/* crc32c(1 as __le64, store uuid) */
	__le32 seq;		/* number of the record modulo 2^32 */
	__le32 prev_crc;	/* hdr_crc of the record before */
	__le32 payload_crc;	/* crc32c of the payload without padding, 0 if none */
	__le32 hdr_crc;		/* crc32c of the 60 bytes above */
};

/* Payload of every STATE record. */
struct dagtap_state_payload {
	__u8   uuid[DAGTAP_UUID_BYTES];	/* seed or epoch id, zero if unused */
	__le64 from_lsn;	/* EPOCH, GAP: end of the log before; SEED_*: every
				 * region changed at or after that LSN is in the set */
	__le64 bytes;		/* SEED_*: bytes of the region set */
	__le64 arg;		/* EPOCH: group generation; SEED_*: first sector of
				 * the set, regions below are taken to be there */
	__le64 sets[3];		/* SEED_BEGIN: ids of the region sets of copies that
				 * are in the set as well, else zero */
};

/* ---- shared ring ------------------------------------------------------ */

#define DAGTAP_RING_MAGIC	0x47495244u	/* "DRIG" */

/* Page 0 of the ring file: the kernel writes, the daemon reads. */
struct dagtap_ring_hdr {
	__u32 magic;		/* DAGTAP_RING_MAGIC */
	__u16 major, minor;
	__u32 hdr_bytes;	/* sizeof(struct dagtap_ring_hdr) */
	__u32 rsvd0;
	__u64 data_off;		/* of the log bytes in the file: 2 pages */
	__u64 data_size;	/* power of two */
	__u8  uuid[DAGTAP_UUID_BYTES];
	__u64 generation;	/* changes when the ring is not a continuation */
	__u64 dev_sectors;	/* of the mapped device */
	__u32 lbs;		/* logical block size, bytes */
	__u32 region_bytes;	/* size of an intent region */
	__u8  rsvd1[56];
	/* 128: hot line, one store-release for a batch of records */
	__u64 commit_lsn;	/* all bytes below are final */
	__u64 commit_seq;	/* number of records below commit_lsn */
	__u64 commit_time_ns;	/* CLOCK_REALTIME of the newest of them */
	__u8  rsvd2[40];
	/* 192: for information, may be a little old */
	__u64 reserve_lsn;	/* next LSN to be given */
	__u64 freed_lsn;	/* ring bytes below may be overwritten */
	__u64 stalls;		/* times a write had to wait for ring space */
	__u32 state;		/* enum dagtap_state */
	__u32 role;		/* enum dagtap_role */
	__u64 state_gen;	/* +1 at each change of state or role */
	__u8  rsvd3[24];
};

/* Page 1 of the ring file: the daemon writes; a wrong value costs a wake-up. */
struct dagtap_ring_user {
	__u32 want_wakeup;	/* 1: wake the poller at the next commit */
	__u32 rsvd[15];
};

/* ---- roles, states, modes --------------------------------------------- */

enum dagtap_role {
	DAGTAP_ROLE_PASSIVE = 0, /* every I/O fails */
	DAGTAP_ROLE_ACTIVE,	/* serves, if the lease allows */
	DAGTAP_ROLE_FENCED,	/* reads pass, writes fail: the right was lost */
};

enum dagtap_state {
	DAGTAP_ST_DETACHED = 0,	/* no daemon; writes logged until the ring is full */
	DAGTAP_ST_LOGGING,	/* daemon attached, writes are logged */
	DAGTAP_ST_FULL,		/* ring full: writes wait up to full_timeout */
	DAGTAP_ST_TRACKING,	/* log given up: only dirty regions are kept */
	DAGTAP_ST_LEASE,	/* lease over: writes are parked, then fail */
	DAGTAP_ST_FAILED,	/* the metadata device failed; role is fenced */
};

enum dagtap_mode {
	DAGTAP_MODE_ASYNC = 0,	/* nothing waits for a copy */
	DAGTAP_MODE_COMMIT,	/* FLUSH and FUA wait for ack_lsn */
	DAGTAP_MODE_SYNC,	/* every write waits for ack_lsn */
};

/* ---- /dev/dagtap ------------------------------------------------------ */

#define DAGTAP_IOC_MAGIC	0xDA

/*
 * Attach this open file to a store. One file per store, one daemon at a time.
 * -EBUSY: attached already; -ENODEV: no such store; -EPROTO: ABI major differs.
 * The ring keeps its content over a detach (close of the file).
 */
struct dagtap_attach {
	__u16 major, minor;	/* in: the caller's ABI; out: the module's */
	__u32 flags;		/* in: 0 */
	__u8  uuid[DAGTAP_UUID_BYTES];	/* in */
	__s32 ring_fd;		/* out: file of header, user page and log bytes */
	__u32 rsvd;
	__u64 ring_bytes;	/* out: size of that file, for mmap */
	__u64 generation;	/* out: see ring header */
	__u64 freed_lsn;	/* out: oldest byte in the ring */
	__u64 commit_lsn;	/* out: end of the log */
	__u64 commit_seq;	/* out */
	__u32 epoch;		/* out: epoch of the metadata device */
	__u32 tag;		/* out: tag of that epoch */
	__u32 role;		/* out: enum dagtap_role */
	__u32 crashed;		/* out: 1: intent bits stood on disk when the table was
				 * loaded and no epoch has begun since: a crash, or
				 * a clean end before every copy had everything */
};

/*
 * Progress of the copies. free_lsn frees ring bytes, ack_lsn releases held
 * commits, clear_lsn lets intent bits of older writes be cleared. Each may only
 * grow and is at most commit_lsn (-ERANGE); generation must match (-ESTALE).
 */
struct dagtap_ack {
	__u64 generation;
	__u64 free_lsn;
	__u64 ack_lsn;
	__u64 clear_lsn;
	__u32 flags;		/* 0 */
	__u32 rsvd;
};

/*
 * The host's lease, for all active stores at once; on any open /dev/dagtap file.
 * fence must not be lower than the last one (-ESTALE). deadline is in
 * CLOCK_BOOTTIME; 0 ends the lease now; DAGTAP_LEASE_FOREVER asks for none.
 * A module that has never been given a lease refuses writes.
 */
#define DAGTAP_LEASE_FOREVER	(~0ull)
struct dagtap_lease {
	__u64 fence;
	__u64 deadline_boot_ns;
	__u32 flags;		/* 0 */
	__u32 rsvd;
};

/*
 * Change the role of the attached store. start_lsn, out: ACTIVE: LSN of the
 * EPOCH record; RESUME, PASSIVE, FENCED: end of the log.
 *
 * ACTIVE needs an epoch above the one that is stored (-ERANGE); epoch, tag and
 * LSN are durable before the call returns. It begins a new part of the log: the
 * ring is emptied (read what it holds before), the generation changes, and the
 * first record is STATE EPOCH. A start_lsn below LSNs that were given before names
 * a place from which another member went on: epoch and LSN together name a byte.
 * It is taken out of PASSIVE only (-ERANGE), when nothing older is under way.
 * With DAGTAP_ROLEF_GAP, or out of TRACKING (so RESTART after it is -EALREADY),
 * STATE GAP is the second and the regions that are dirty must be resynchronised;
 * without it, those that became dirty in this life of the module are taken to be
 * equal when clear_lsn passes the EPOCH record. Regions that were dirty when the
 * table was loaded, were SET or have failed always need a resync.
 *
 * ACTIVE with DAGTAP_ROLEF_CONTINUE begins the epoch in the log that runs: ring,
 * generation and all that waits stay, STATE EPOCH is appended. Out of ACTIVE or
 * FENCED (-ESTALE), start_lsn must be 0. -EAGAIN: TRACKING, or no room in the ring.
 *
 * PASSIVE lets new I/O and all waiting writes and commits fail, waits until what
 * is at the disk has ended (-ETIMEDOUT after 30 s: call again), writes STATE
 * CLOSE if the log has room, and a clean superblock. FENCED: writes fail, reads
 * pass; only from ACTIVE (-EINVAL). The page cache of the device is dropped.
 *
 * -ENXIO: no table is loaded. A table that is loaded for a store that the module
 * does not hold yet begins PASSIVE, or with the key insert ACTIVE and TRACKING.
 */
#define DAGTAP_ROLEF_GAP	0x1u
#define DAGTAP_ROLEF_RESUME	0x2u	/* ACTIVE again, or still, in the epoch that
					 * stands, ring intact; out of ACTIVE or
					 * FENCED, else -ESTALE; tag is ignored */
#define DAGTAP_ROLEF_CONTINUE	0x4u	/* ACTIVE in a higher epoch, ring intact */
struct dagtap_role_set {
	__u32 role;		/* enum dagtap_role */
	__u32 epoch;
	__u32 tag;
	__u32 flags;		/* DAGTAP_ROLEF_* */
	__u64 group_generation;
	__u64 start_lsn;	/* in: first LSN of an epoch; 0: the module's own lower
				 * bound, which is above anything it ever gave */
};

/* Modes and limits of the attached store; they hold until changed. */
struct dagtap_mode_set {
	__u32 mode;		/* enum dagtap_mode */
	__u32 full_timeout_ms;	/* ring full -> TRACKING; 1..60000 */
	__u32 park_timeout_ms;	/* lease over -> writes fail; 0..100000 */
	__u32 flags;		/* 0 */
};

/*
 * Read an extent under the range lock and log it as RESYNC, without a payload where
 * all of it is zero. Blocks. -EAGAIN: less
 * than a quarter of the ring would stay free for writers; -ESTALE: TRACKING;
 * -EPERM: not ACTIVE. The bit of a region whose LSN is unknown can be cleared
 * after RESYNC records covered it from its first to its last sector in order.
 *
 * With DAGTAP_RESYNCF_UNUSED nothing is read: nobody needs what the extent held at
 * `lsn` (in), and RESYNC without a payload is logged, unless a record of one of its
 * regions ends above that LSN, or may: -EBUSY. What is returned as lsn is good for the
 * next extent of the same regions. Since ABI 1.3 (-EINVAL).
 */
#define DAGTAP_RESYNCF_UNUSED	0x1u
struct dagtap_resync {
	__u64 sector;
	__u32 bytes;		/* multiple of the logical block size, <= PAYLOAD_MAX */
	__u32 flags;		/* DAGTAP_RESYNCF_* */
	__u64 lsn;		/* out: LSN after the record; in: of UNUSED, else 0 */
};

/*
 * Put a MARK or a STATE SEED_BEGIN/SEED_END record into the log. Errors as for
 * RESYNC. A commit that was made while TRACKING, or was not acked when the log
 * began anew, is released by the ack of the next SEED_END, or by mode async.
 */
struct dagtap_mark {
	__u32 type;		/* DAGTAP_REC_MARK or DAGTAP_REC_STATE */
	__u32 kind;		/* STATE: SEED_BEGIN, SEED_END */
	__u32 bytes;		/* of payload; STATE: sizeof(dagtap_state_payload) */
	__u32 flags;		/* 0 */
	__u64 lsn;		/* out: LSN after the record */
	__u8  payload[DAGTAP_MARK_MAX];
};

/*
 * Intent regions. GET copies the bitmap of the dirty ones, least significant
 * bit first, little-endian bytes; with since_lsn only those whose last LSN is
 * above it or unknown. SET marks regions dirty (durable when it returns): they
 * stay so until resynchronised or acked. -ERANGE: outside the device.
 * FORGET lets go of all bits, failed ones too, and of what a crash or TRACKING
 * left to do, durably: the device was made equal to its copies in another way.
 * Only PASSIVE (-EPERM); all other fields 0.
 */
#define DAGTAP_REGIONSF_SET	0x1u	/* else: get */
#define DAGTAP_REGIONSF_FORGET	0x2u
struct dagtap_regions {
	__u64 first;		/* first region, multiple of 8 */
	__u64 count;		/* regions, <= 8 * 1 MiB per call */
	__u64 since_lsn;
	__u64 bitmap;		/* user address of ALIGN(count, 8) / 8 bytes */
	__u32 flags;
	__u32 rsvd;
	__u64 dirty;		/* out: bits set in the answer */
};

/*
 * End TRACKING: the log starts again with STATE GAP at an LSN above all before;
 * the dirty regions must be resynchronised. The ring is emptied: read what it
 * holds before. -EALREADY when not in TRACKING; -EPERM: not ACTIVE, or insert and
 * no ROLE yet.
 */
struct dagtap_restart {
	__u32 flags;		/* 0 */
	__u32 rsvd;
	__u64 generation;	/* out: new generation of the ring */
	__u64 start_lsn;	/* out: LSN of the GAP record */
};

#define DAGTAP_LAT_BUCKETS	24	/* bucket i: below 2^i microseconds */
struct dagtap_info {
	__u32 role, state, mode, epoch;
	__u64 generation;
	__u64 reserve_lsn, commit_lsn, freed_lsn, ack_lsn, clear_lsn;
	__u64 commit_seq;
	__u64 dev_sectors;
	__u64 ring_bytes;	/* data_size */
	__u64 regions, regions_dirty, regions_failed;
	__u32 region_bytes, lbs;
	__u64 writes, write_bytes, flushes, discards, zeroes;
	__u64 stalls, overlaps, held, parked, io_errors;
	__u64 lease_deadline_boot_ns, lease_fence;
	__u64 state_gen;
	__u64 hold_us[DAGTAP_LAT_BUCKETS];	/* held commits */
	__u64 write_us[DAGTAP_LAT_BUCKETS];	/* all writes, submit to end */
};

#define DAGTAP_IOC_ATTACH	_IOWR(DAGTAP_IOC_MAGIC, 1, struct dagtap_attach)
#define DAGTAP_IOC_ACK		_IOW(DAGTAP_IOC_MAGIC, 2, struct dagtap_ack)
#define DAGTAP_IOC_LEASE	_IOW(DAGTAP_IOC_MAGIC, 3, struct dagtap_lease)
#define DAGTAP_IOC_ROLE		_IOWR(DAGTAP_IOC_MAGIC, 4, struct dagtap_role_set)
#define DAGTAP_IOC_MODE		_IOW(DAGTAP_IOC_MAGIC, 5, struct dagtap_mode_set)
#define DAGTAP_IOC_RESYNC	_IOWR(DAGTAP_IOC_MAGIC, 6, struct dagtap_resync)
#define DAGTAP_IOC_MARK		_IOWR(DAGTAP_IOC_MAGIC, 7, struct dagtap_mark)
#define DAGTAP_IOC_REGIONS	_IOWR(DAGTAP_IOC_MAGIC, 8, struct dagtap_regions)
#define DAGTAP_IOC_RESTART	_IOWR(DAGTAP_IOC_MAGIC, 9, struct dagtap_restart)
#define DAGTAP_IOC_INFO		_IOR(DAGTAP_IOC_MAGIC, 10, struct dagtap_info)

/* ---- generic netlink: family "dagtap", multicast group "events" --------- */

#define DAGTAP_GENL_NAME	"dagtap"
#define DAGTAP_GENL_VERSION	1
#define DAGTAP_GENL_GROUP	"events"

enum dagtap_genl_cmd { DAGTAP_CMD_EVENT = 1 };

enum dagtap_event {
	DAGTAP_EV_STATE = 1,	/* value: enum dagtap_state */
	DAGTAP_EV_ROLE,		/* value: enum dagtap_role */
	DAGTAP_EV_LEASE_LOST,
	DAGTAP_EV_RING_FULL,
	DAGTAP_EV_IO_ERROR,	/* value: first sector */
	DAGTAP_EV_META_ERROR,
};

enum dagtap_genl_attr {
	DAGTAP_A_UNSPEC,
	DAGTAP_A_UUID,		/* binary, 16 bytes */
	DAGTAP_A_NAME,		/* string: name of the dm device */
	DAGTAP_A_EVENT,		/* u32, enum dagtap_event */
	DAGTAP_A_VALUE,		/* u64 */
	DAGTAP_A_PAD,
	DAGTAP_A_COUNT
};

/* ---- metadata device -------------------------------------------------- */

/*
 * Blocks of 4 KiB: 0 and 1 the superblock's two slots, then two slots for each
 * block of region bits. A slot is written whole with FUA; the valid one with
 * the higher version counts, so a torn write leaves the older one.
 */
#define DAGTAP_SB_MAGIC		0x53474144u	/* "DAGS" */
#define DAGTAP_BM_MAGIC		0x42474144u	/* "DAGB" */
#define DAGTAP_SB_VERSION	1u
#define DAGTAP_BM_BYTES		4032u		/* of bits in a block */

struct dagtap_sb {
	__le32 magic;
	__le32 crc;		/* crc32c of bytes 8..4095 */
	__le64 version;		/* +1 at each write */
	__le32 format;		/* DAGTAP_SB_VERSION */
	__le32 region_bytes;
	__u8   uuid[DAGTAP_UUID_BYTES];
	__le64 data_sectors;	/* of the mapped device */
	__le64 lsn_limit;	/* no LSN at or above was ever given */
	__le64 log_lsn;		/* clean: end of the log; else of no meaning */
	__le32 epoch;
	__le32 tag;
	__le32 clean;		/* 1: written at a clean end */
	__le32 rsvd0;
	__u8   rsvd[4096 - 80];
};

struct dagtap_bm {
	__le32 magic;
	__le32 crc;		/* crc32c of bytes 8..4095 */
	__u8   uuid[DAGTAP_UUID_BYTES];
	__le64 version;
	__le64 index;		/* of this block of bits */
	__u8   rsvd[24];
	__u8   bits[DAGTAP_BM_BYTES];	/* bit r: region index * 8 * 4032 + r is dirty */
};

/* Number of bitmap blocks and of 4 KiB blocks of metadata for n regions. */
#define DAGTAP_BM_REGIONS	(DAGTAP_BM_BYTES * 8u)
#define DAGTAP_BM_BLOCKS(n)	(((n) + DAGTAP_BM_REGIONS - 1) / DAGTAP_BM_REGIONS)
#define DAGTAP_META_BLOCKS(n)	(2 + 2 * DAGTAP_BM_BLOCKS(n))

/*
 * Table of the target:
 *   START LENGTH dagtap UUID DATA_DEV META_DEV META_BLOCK N [KEY VALUE]...
 * UUID: 36 characters. META_DEV may be DATA_DEV; META_BLOCK is the first 4 KiB
 * block of the metadata on it. N counts the words that follow.
 * Keys: ring_mib (power of two, 4..1024, default 64);
 *	insert 1: for live insertion under a mounted device. Only for a store of
 *	epoch 0 (-EEXIST): it begins ACTIVE and TRACKING, needs no lease, and marks
 *	regions, until the first ROLE call. Left out of `dmsetup table`.
 * The metadata must have been formatted for this uuid and length
 * (-EUCLEAN: not ours or damaged, -EILSEQ: another uuid, -ENOSPC: too small,
 * -EBUSY: the store is in use otherwise, -ESTALE: formatted again meanwhile).
 * A formatted superblock has version >= 1, clean = 1 and epoch = log_lsn =
 * lsn_limit = 0; every block of bits is there, valid and zero.
 */

#if !defined(__KERNEL__) && !defined(DAGTAP_NO_ASSERT)
#ifdef __cplusplus
#define _Static_assert static_assert
#endif
_Static_assert(sizeof(struct dagtap_rec) == 64, "record header");
_Static_assert(sizeof(struct dagtap_state_payload) == 64, "state payload");
_Static_assert(sizeof(struct dagtap_ring_hdr) == 256, "ring header");
_Static_assert(__builtin_offsetof(struct dagtap_ring_hdr, commit_lsn) == 128, "hot line");
_Static_assert(__builtin_offsetof(struct dagtap_ring_hdr, reserve_lsn) == 192, "info line");
_Static_assert(sizeof(struct dagtap_ring_user) == 64, "user page");
_Static_assert(sizeof(struct dagtap_attach) == 88, "attach");
_Static_assert(sizeof(struct dagtap_ack) == 40, "ack");
_Static_assert(sizeof(struct dagtap_lease) == 24, "lease");
_Static_assert(sizeof(struct dagtap_role_set) == 32, "role");
_Static_assert(sizeof(struct dagtap_mode_set) == 16, "mode");
_Static_assert(sizeof(struct dagtap_resync) == 24, "resync");
_Static_assert(sizeof(struct dagtap_mark) == 152, "mark");
_Static_assert(sizeof(struct dagtap_regions) == 48, "regions");
_Static_assert(sizeof(struct dagtap_restart) == 24, "restart");
_Static_assert(sizeof(struct dagtap_sb) == 4096, "superblock");
_Static_assert(sizeof(struct dagtap_bm) == 4096, "bitmap block");
#endif

#endif /* _UAPI_DAGTAP_H */
