/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What goes over the replication port (TCP, default 64327).
 *
 * Every connection begins with a TLS 1.3 handshake with mutual certificates of
 * the group's CA (daemon/net/stream.h), then the connecting side sends one
 * struct dag_hello and gets one struct dag_welcome. After that
 *   KIND_RPC   JSON lines, one request, one answer, in turn;
 *   KIND_LOG   the sender's bytes are the log from welcome.resume_lsn on and
 *              nothing else; the receiver's bytes are struct dag_ack. A welcome
 *              with RESUME_BRANCH is followed by one region set (struct
 *              dag_region_set and its bits). Where the hello offered a codec and
 *              the welcome took it, the same bytes of the log go in packs (struct
 *              dag_pack).
 *   KIND_FETCH between two copies that promised the same epoch: the caller lacks
 *              what is behind end_lsn. The welcome is followed by a hello of the
 *              other side with its history and end, then by its log from there to
 *              its end, and the connection ends.
 * Integers are little endian, reserved bytes zero. A hello that names another
 * version, group, store or an older epoch gets a welcome with an error and the
 * connection is closed; nothing has changed then.
 */
#ifndef DAG_WIRE_H
#define DAG_WIRE_H

#include <stdint.h>
#include <linux/types.h>

#define DAG_PORT		64327
#define DAG_WIRE_MAGIC		0x31474144u	/* "DAG1" */
#define DAG_WIRE_VERSION	3u	/* 2: RESUME_BRANCH; 3: RESYNC of zeroes, codecs */

enum dag_kind {
	DAG_KIND_RPC = 1,
	DAG_KIND_LOG,
	DAG_KIND_FETCH,
};

/* How the log is compressed on its way. */
enum dag_codec {
	DAG_CODEC_NONE = 0,
	DAG_CODEC_LZ4,		/* blocks of LZ4 */
	DAG_CODEC_ZSTD,		/* frames of Zstandard, without a dictionary */
	DAG_CODECS
};

/* A copy takes one of those offered, or none; bits that it does not know it passes over. */
#define DAG_HELLO_CODEC(codec)	(1u << (codec))
#define DAG_HELLO_CODECS	0xfeu

#define DAG_HISTORY_MAX		32	/* newest entries that travel */

struct dag_history_entry {
	__le32 epoch;
	__le32 rsvd;
	__le64 first_lsn;	/* of the epoch */
};

struct dag_hello {		/* 640 bytes */
	__le32 magic;
	__le32 version;
	__u8   group[16];	/* uuid */
	__le32 kind;		/* enum dag_kind */
	__le32 flags;		/* KIND_LOG: DAG_HELLO_CODEC() of those offered; else 0 */
	__le64 group_generation;
	/* KIND_LOG and KIND_FETCH, else zero */
	__u8   store[16];	/* uuid */
	__le32 epoch;		/* of the sender's activation; FETCH: promised */
	__le32 nr_history;
	__le64 oldest_lsn;	/* the sender can feed from here */
	__le64 end_lsn;		/* end of its log now */
	__le32 nonce;		/* repeated in the welcome */
	__le32 rsvd0;
	struct dag_history_entry history[DAG_HISTORY_MAX]; /* oldest first */
	__u8   rsvd[36];
	__le32 crc;		/* crc32c of all bytes above */
};

enum dag_refusal {
	DAG_OK = 0,
	DAG_REFUSE_VERSION,
	DAG_REFUSE_GROUP,
	DAG_REFUSE_STORE,	/* no copy of that store here */
	DAG_REFUSE_EPOCH,	/* FENCED: a higher epoch is known; see epoch */
	DAG_REFUSE_BUSY,	/* a sender of the same epoch is connected */
	DAG_REFUSE_SUSPENDED,
	DAG_REFUSE_NOT_READY,	/* copy failed or starting; try again */
	DAG_REFUSE_MEMBER,	/* certificate is not the active member's */
	DAG_REFUSE_HISTORY,	/* FETCH: its log does not go on from there */
	DAG_REFUSALS
};

/* How the copy wants to be brought up to date. */
enum dag_resume {
	DAG_RESUME_LOG = 1,	/* send the log from resume_lsn */
	DAG_RESUME_REGIONS,	/* log from end_lsn on, and a seed of the regions
				 * changed since have_lsn */
	DAG_RESUME_FULL,	/* as before, all regions */
	DAG_RESUME_BRANCH,	/* as REGIONS, and the regions of the set that follows:
				 * the device differs from the log at have_lsn there */
};

struct dag_welcome {		/* 128 bytes */
	__le32 magic;
	__le32 version;
	__le32 refusal;		/* enum dag_refusal */
	__le32 nonce;
	__le32 epoch;		/* promised by this copy */
	__le32 resume;		/* enum dag_resume */
	__le64 resume_lsn;	/* first byte wanted; REGIONS, FULL: 0 = from end */
	__le64 have_lsn;	/* image of the device is the log up to here */
	__le64 received_lsn;
	__le64 durable_lsn;
	__le64 replayed_lsn;
	__u8   seed[16];	/* id of an unfinished seed, zero: none */
	__le64 seed_lsn;	/* its SEED_BEGIN */
	__le64 seed_cursor;	/* sectors of it below this are here already */
	__le32 codec;		/* enum dag_codec, one of those offered */
	__u8   rsvd[24];
	__le32 crc;		/* crc32c of all bytes above */
};

#define DAG_PACK_MAGIC		0x4b415044u	/* "DPAK" */
#define DAG_PACK_RAW_MAX	(128u << 10)

/*
 * Before each piece of the log where a codec was agreed. A piece that the codec does
 * not make smaller goes as it is: wire_bytes is raw_bytes then. Pieces end anywhere, as
 * do those of a plain stream.
 */
struct dag_pack {		/* 16 bytes */
	__le32 magic;
	__le32 raw_bytes;	/* of the log, 1 .. DAG_PACK_RAW_MAX */
	__le32 wire_bytes;	/* that follow, 1 .. raw_bytes */
	__le32 crc;		/* crc32c of all bytes above */
};

#define DAG_SET_MAGIC	0x54455344u	/* "DSET" */

/*
 * Regions in which the device of a copy differs from the log at welcome.have_lsn: it
 * was active, and what it wrote last is no part of the history. Followed by the
 * bitmap, least significant bit first, ALIGN(regions, 8) / 8 bytes, no bit set
 * behind the last region. The regions cover the device exactly. One set stays the
 * same until the copy is whole; its id is named by the SEED_BEGIN of each seed that
 * includes it.
 */
struct dag_region_set {		/* 64 bytes */
	__le32 magic;
	__le32 region_bytes;	/* power of two */
	__le64 id;		/* crc32c(member) << 32 | epoch it was active in */
	__le64 regions;
	__le32 bits_crc;	/* crc32c of the bitmap */
	__u8   rsvd[32];
	__le32 crc;		/* crc32c of all bytes above */
};

enum dag_copy_state {		/* as the copy itself sees it; semantics 25 */
	DAG_COPY_INITIALIZING = 0,
	DAG_COPY_RESYNCHRONIZING,
	DAG_COPY_SEEDING,
	DAG_COPY_HEALTHY,
	DAG_COPY_SUSPENDED,
	DAG_COPY_FAILED,
	DAG_COPY_FAILED_SUSPENDED,
	DAG_COPY_STATES
};

#define DAG_ACK_MAGIC	0x4b414144u	/* "DAAK" */

/* From the copy to the active: after each durable batch, and once a second. */
struct dag_ack {		/* 128 bytes */
	__le32 magic;
	__le32 state;		/* enum dag_copy_state */
	__le32 epoch;
	__le32 seq;		/* number of the newest inspected record */
	__le64 received_lsn;	/* inspected: whole, verified records below */
	__le64 durable_lsn;	/* in segments, on stable storage */
	__le64 replayed_lsn;	/* on the device, flushed */
	__le32 replayed_seq;
	__le32 error;		/* errno of a Failed copy */
	__le64 inspected_time_ns; /* time_ns of that record */
	__le64 replayed_time_ns;
	__le64 log_bytes;	/* in segments */
	__le64 space_left;	/* of the log directory's file system */
	__le64 seed_done;	/* bytes of the running seed that are here */
	__le64 seed_total;
	__u8   rsvd[28];
	__le32 crc;		/* crc32c of all bytes above */
};

_Static_assert(sizeof(struct dag_history_entry) == 16, "history entry");
_Static_assert(sizeof(struct dag_hello) == 640, "hello");
_Static_assert(sizeof(struct dag_welcome) == 128, "welcome");
_Static_assert(sizeof(struct dag_ack) == 128, "ack");
_Static_assert(sizeof(struct dag_pack) == 16, "pack");
_Static_assert(sizeof(struct dag_region_set) == 64, "region set");

#endif
