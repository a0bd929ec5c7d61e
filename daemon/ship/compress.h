/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compress - the log on its way, in packs (include/dag/wire.h, struct dag_pack). Pure:
 * bytes in, bytes out.
 *
 * A packer and an unpacker have all the memory that they will ever need from the
 * beginning; what a pack says of its size is bounded before anything is done with it.
 *
 * Invariants:
 *  K1 what comes out of an unpacker is, byte for byte, what went into the packer, or
 *     the unpacker has failed and gives nothing more;
 *  K2 no pack is longer than its piece of the log and sizeof(struct dag_pack);
 *  K3 whatever an unpacker is fed, it writes to its own buffers only, and makes at most
 *     DAG_PACK_RAW_MAX bytes of one pack.
 */
#ifndef DAG_COMPRESS_H
#define DAG_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/dag/wire.h"

struct packer;
struct unpacker;

/* Bytes of the log, and what went over the wire for them. */
struct compress_count {
	uint64_t raw_bytes;
	uint64_t wire_bytes;
};

const char *compress_name(enum dag_codec codec);	/* "none", "lz4", "zstd" */
int compress_parse(const char *name, enum dag_codec *ret);	/* -EINVAL */
/* The best one of an offer (bits DAG_HELLO_CODEC) that this build knows. */
enum dag_codec compress_choose(uint32_t offered);

/* -EINVAL: not a codec to pack with; -ENOMEM. */
int packer_create(enum dag_codec codec, struct packer **ret);
void packer_free(struct packer *pk);		/* NULL is fine */
/*
 * One pack of the first len bytes, at most DAG_PACK_RAW_MAX: its bytes stand at *ret
 * until the next call; how many. squeeze false: as they are.
 */
size_t packer_pack(struct packer *pk, const void *raw, size_t len, bool squeeze, const void **ret);
struct compress_count packer_count(const struct packer *pk);

int unpacker_create(enum dag_codec codec, struct unpacker **ret);
void unpacker_free(struct unpacker *up);	/* NULL is fine */
/* Where bytes from the wire go, and for how many there is room (never 0 after
 * unpacker_next() has returned 0); then how many came. */
void *unpacker_room(struct unpacker *up, size_t *ret_len);
void unpacker_put(struct unpacker *up, size_t len);
/*
 * 1: the log goes on with *ret, *ret_len bytes; they stay until all of them are
 * taken. 0: more must come. -EBADMSG: the wire is broken, for good; unpacker_why() says.
 */
int unpacker_next(struct unpacker *up, const void **ret, size_t *ret_len);
void unpacker_take(struct unpacker *up, size_t len);
const char *unpacker_why(const struct unpacker *up);
struct compress_count unpacker_count(const struct unpacker *up);

#endif
