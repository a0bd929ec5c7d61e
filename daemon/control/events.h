/* SPDX-License-Identifier: GPL-2.0 */
/* events - what the module tells by generic netlink, for dagd's log and dagctl. */
#ifndef DAG_EVENTS_H
#define DAG_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "include/uapi/dagtap.h"

struct tap_event {
	uint8_t uuid[16];
	char name[64];			/* of the dm device */
	uint32_t event;			/* enum dagtap_event */
	uint64_t value;
};

/*
 * Call cb for each event until stop_fd (-1: none) becomes readable or cb returns
 * nonzero, which is passed on. -ENOENT: the module is not loaded.
 */
int events_listen(int stop_fd, int (*cb)(const struct tap_event *ev, void *ctx), void *ctx);

const char *tap_event_name(uint32_t event);
/* "state=tracking", "sector=123": the value in words. */
void tap_event_value(const struct tap_event *ev, char *ret, size_t len);

#endif
