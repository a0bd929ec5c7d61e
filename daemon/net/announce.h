/* SPDX-License-Identifier: GPL-2.0 */
/*
 * announce - tells the neighbours that an address is here now: three gratuitous
 * ARP packets, or unsolicited neighbour advertisements, within a second. Before,
 * for IPv4, it asks who has the address, and warns if another host answers.
 */
#ifndef DAG_ANNOUNCE_H
#define DAG_ANNOUNCE_H

#include <stdint.h>

struct announce;

/* Asks who has it. NULL: nobody to tell (loopback, no Ethernet) or no socket. */
struct announce *announce_new(int ifindex, int family, const uint8_t *addr, const char *text);
/* Sends what is due, looks at what came back. Returns in how many ms to call it
 * again, at most 1000; 0: finished. */
unsigned announce_tick(struct announce *an);
void announce_free(struct announce *an);	/* NULL is fine */

#endif
