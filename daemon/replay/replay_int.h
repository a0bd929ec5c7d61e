/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of replay share: the thread with its checkpoints (replay.c),
 * the way of records into a batch (source.c) and that of a batch onto the device
 * (device.c). Everything is the thread's own but what stands under lock.
 */
#ifndef DAG_REPLAY_INT_H
#define DAG_REPLAY_INT_H

#include <pthread.h>

#include "daemon/log/record_walk.h"
#include "daemon/replay/batch.h"
#include "daemon/replay/replay.h"

#define BATCH_RECS	512
#define BATCH_BYTES	(8u << 20)
#define READ_BYTES	(4u << 20)	/* of the log at once; > REC_BYTES_MAX */
#define WRITE_BYTES	(1u << 20)	/* longest write, and the bounce buffer of a slot */
#define DIRECT_MIN	(64u << 10)	/* below this copying and joining is cheaper */
#define DEPTH_MAX	64
#define IDLE_MS		20		/* quiet time before the checkpoint of an idle replay */
#define NO_PIN		UINT64_MAX

struct device {
	int fd;
	bool block;		/* a block device, else a file */
	bool direct;		/* O_DIRECT */
	unsigned mem_align;	/* of the address of a direct write */
	unsigned lbs;		/* of its sector and length, bytes */
	bool no_zero, no_punch, no_discard;	/* refused once: not tried again */
};

struct slot {
	struct loop_op op;
	struct replay *rp;
	bool busy;
	uint8_t type;
	uint8_t way;		/* enum way: how the extent is being done */
	uint64_t sector, end;
	uint64_t lsn;		/* of the batch */
	uint64_t pin;		/* lowest ring LSN it reads, NO_PIN: none */
	const uint8_t *buf;
	size_t len, done;
	uint8_t *bounce;
};

struct replay {
	struct replay_conf conf;
	struct device dev;
	struct loop *loop;
	pthread_t thread;

	/* source */
	struct rec_cursor cur;	/* next record to take */
	struct lag_limit now;	/* limit as of this batch */
	uint64_t young_lsn, young_ns;	/* the record that was too young, and its time */
	uint8_t *log_buf;	/* the log from log_from on */
	uint64_t log_from, log_len;
	uint8_t *wrap_buf;	/* a payload that wraps in the ring */
	bool wrapped;		/* wrap_buf is used by the batch */

	/* batch that is being submitted: pieces from next_piece on are not yet */
	struct batch batch;
	unsigned next_piece;
	uint64_t batch_pin;

	struct slot *slots;
	unsigned inflight;
	uint8_t *bounce_mem;

	struct rec_cursor applied;	/* behind the last batch that was taken */
	struct replay_info info;
	bool torn;		/* a write failed: applied is not on the device */
	bool settled;		/* after an error all has ended: it may be told */
	uint64_t idle_since_ms, checkpoint_at_ms;

	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool stop, retry;
	bool advanced;		/* replay_advance() was called */
	uint64_t durable, hold;
	struct lag_limit limit;	/* replay_lag() */
	uint64_t ring_low;	/* nothing below it is read from the ring */
	uint64_t pin;		/* lowest ring LSN in use */
	unsigned waiters;	/* in replay_wait() */
	struct replay_info shown;	/* info as others see it */
};

/* Remembers the first error, with the LSN that it concerns. */
void replay_fail(struct replay *rp, int error, uint64_t lsn);

/* Lock held: the next record is the one that was too young, and still is. */
bool replay_held(const struct replay *rp);

/*
 * source.c: takes records below what is allowed into the batch. 1: there are
 * some, 0: none now, -errno: replay_fail() was called.
 */
int source_fill(struct replay *rp);

/* device.c */
int device_open(struct replay *rp);
int slots_init(struct replay *rp);
void slots_free(struct replay *rp);
/* Submits pieces of the batch while slots are free and nothing overlaps. */
void slots_submit(struct replay *rp);
/* Lowest ring LSN and lowest batch LSN of the writes in flight. */
uint64_t slots_pin(const struct replay *rp);
uint64_t slots_lsn(const struct replay *rp, uint64_t otherwise);

#endif
