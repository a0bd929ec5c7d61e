/* SPDX-License-Identifier: GPL-2.0 */
/*
 * frame - the fixed frames of the replication port, encoded and checked. Pure.
 * Formats: include/dag/wire.h. A decoder returns 0 or says what is wrong:
 * -EPROTO magic or reserved bytes, -EPROTONOSUPPORT version, -EBADMSG checksum,
 * -EINVAL a value out of range; *ret is untouched then.
 */
#ifndef DAG_FRAME_H
#define DAG_FRAME_H

#include <stdint.h>

#include "include/dag/wire.h"

struct frame_epoch {
	uint32_t epoch;
	uint64_t first_lsn;
};

struct frame_hello {
	uint8_t group[16];
	enum dag_kind kind;
	uint64_t group_generation;
	uint8_t store[16];
	uint32_t epoch;
	uint64_t oldest_lsn;
	uint64_t end_lsn;
	uint32_t nonce;
	uint32_t codecs;	/* offered: bits DAG_HELLO_CODEC() */
	uint32_t nr_history;
	struct frame_epoch history[DAG_HISTORY_MAX];
};

struct frame_welcome {
	enum dag_refusal refusal;
	uint32_t nonce;
	uint32_t epoch;
	enum dag_resume resume;
	uint64_t resume_lsn;
	uint64_t have_lsn;
	uint64_t received_lsn;
	uint64_t durable_lsn;
	uint64_t replayed_lsn;
	uint8_t seed[16];
	uint64_t seed_lsn;
	uint64_t seed_cursor;
	enum dag_codec codec;
};

struct frame_ack {
	enum dag_copy_state state;
	uint32_t epoch;
	uint32_t seq;
	uint32_t replayed_seq;
	uint32_t error;
	uint64_t received_lsn;
	uint64_t durable_lsn;
	uint64_t replayed_lsn;
	uint64_t inspected_time_ns;
	uint64_t replayed_time_ns;
	uint64_t log_bytes;
	uint64_t space_left;
	uint64_t seed_done;
	uint64_t seed_total;
};

void frame_hello_encode(const struct frame_hello *in, struct dag_hello *ret);
int frame_hello_decode(const struct dag_hello *in, struct frame_hello *ret);
void frame_welcome_encode(const struct frame_welcome *in, struct dag_welcome *ret);
int frame_welcome_decode(const struct dag_welcome *in, struct frame_welcome *ret);
void frame_ack_encode(const struct frame_ack *in, struct dag_ack *ret);
int frame_ack_decode(const struct dag_ack *in, struct frame_ack *ret);

/* What a refusal means, for people. */
const char *frame_refusal_text(enum dag_refusal refusal);

#endif
