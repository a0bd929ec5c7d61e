/* SPDX-License-Identifier: GPL-2.0 */
/* heartbeat_sock - the socket of heartbeat_udp.c: datagrams with both their addresses. */
#ifndef DAG_HEARTBEAT_SOCK_H
#define DAG_HEARTBEAT_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/group/netaddr.h"
#include "include/dag/beat.h"

#define HEARTBEAT_BATCH	16

struct beat_packet {
	struct netaddr from, to;
	size_t len;			/* beyond data: it was cut */
	uint8_t data[sizeof(struct dag_beat)];
};

/* Non-blocking, IPv4 and IPv6 in one where the kernel has both. fd or -errno. */
int heartbeat_sock_open(const char *bind_to, uint16_t port, bool *ret_v6);
/* From this address, out of this interface (0: as the routes say). -errno. */
int heartbeat_sock_send(int fd, bool v6, const struct netaddr *from, const struct netaddr *to,
			uint16_t port, unsigned ifindex, const void *data, size_t len);
/* What is there: 0..HEARTBEAT_BATCH. */
int heartbeat_sock_recv(int fd, struct beat_packet ret[HEARTBEAT_BATCH]);

#endif
