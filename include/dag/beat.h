/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The heartbeat datagram: UDP, on the number of the replication port.
 *
 * One goes from each member to each other over every network, once per interval.
 * Integers are little endian. The last bytes are the HMAC-SHA256, under the
 * group's heartbeat key, of all that stand before. Both addresses are within, so
 * that a datagram is good for its own path only.
 */
#ifndef DAG_BEAT_H
#define DAG_BEAT_H

#include <linux/types.h>

#define DAG_BEAT_MAGIC		0x42474144u	/* "DAGB" */
#define DAG_BEAT_VERSION	1u
#define DAG_BEAT_MAC		32

#define DAG_BEAT_DAC		0x1u	/* its DAC bit is 1 */
#define DAG_BEAT_STOPPING	0x2u	/* an orderly end has begun */
#define DAG_BEAT_PANIC		0x4u	/* its kernel panics; of one that could still send */
#define DAG_BEAT_DISK		0x8u	/* a disk under an active store hangs */
#define DAG_BEAT_FLAGS		0xfu
#define DAG_BEAT_LEAVING	(DAG_BEAT_STOPPING | DAG_BEAT_PANIC | DAG_BEAT_DISK)

struct dag_beat {		/* 216 bytes */
	__le32 magic;
	__le32 version;
	__u8   group[16];	/* uuid */
	char   sender[64];	/* member name, padded with zeros */
	__u8   from[16], to[16]; /* addresses, IPv4 mapped */
	__le64 boot;		/* random, of this start of the sender's daemon */
	__le64 seq;		/* of this path, from 1 */
	__le64 sent_ns;		/* on the sender's clock */
	/* What came last from the receiver on this path; 0: nothing yet */
	__le64 echo_boot;
	__le64 echo_ns;		/* its sent_ns */
	__le64 echo_held_ns;	/* from its arrival to this answer */
	__le64 generation;	/* of the group, as the sender knows it */
	__le32 flags;
	__le32 interval_ms;	/* between two of these */
	__u8   mac[DAG_BEAT_MAC];
};

#endif
