/* SPDX-License-Identifier: GPL-2.0 */
/*
 * beat - heartbeat datagrams to bytes and back, with their authentication. Pure.
 */
#ifndef DAG_GROUP_BEAT_H
#define DAG_GROUP_BEAT_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/group/netaddr.h"
#include "include/dag/beat.h"

#define BEAT_BYTES	sizeof(struct dag_beat)
#define BEAT_KEY_BYTES	32

struct beat {
	uint8_t group[16];
	char sender[64];
	struct netaddr from, to;
	uint64_t boot, seq, sent_ns;
	uint64_t echo_boot, echo_ns, echo_held_ns;
	uint64_t generation;
	uint32_t flags, interval_ms;
};

struct beat_key;	/* one thread at a time */

/* hex: 64 digits, as the agreed state holds it. -EINVAL, -ENOMEM. */
int beat_key_new(const char *hex, struct beat_key **ret);
void beat_key_free(struct beat_key *key);	/* NULL is fine; wipes it */

void beat_encode(const struct beat *b, struct beat_key *key, struct dag_beat *ret);
/*
 * -EBADMSG: not such a datagram, or values out of range; -EXDEV: of another
 * group; -EKEYREJECTED: not made with our key. ret is untouched then.
 */
int beat_decode(const void *buf, size_t len, const uint8_t group[16], struct beat_key *key,
		struct beat *ret);

#endif
