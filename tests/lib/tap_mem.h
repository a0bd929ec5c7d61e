/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tap_mem - the tap in memory: same ABI as the module, same core (kmod/core),
 * but the device is a regular file and the writer a thread of this program.
 *
 * A store is found by (host, uuid): one program may play several members, each
 * with its own host number, lease and ops table. The ring outlives the daemon's
 * attachment, as the module's does; tap_mem_crash() forgets it.
 */
#ifndef DAG_TAP_MEM_H
#define DAG_TAP_MEM_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/tap/tap.h"

#define TAP_MEM_HOSTS	4

extern const struct tap_ops tap_mem_host_ops[TAP_MEM_HOSTS];
extern const struct tap_ops tap_mem_ops;	/* of host 0 */

/* The mapped device as an application has it open. Any number, any thread. */
struct tap_mem_dev;

/* -ENODEV: no daemon has opened the store yet. */
int tap_mem_dev_open(unsigned host, const uint8_t uuid[16], struct tap_mem_dev **ret);
void tap_mem_dev_close(struct tap_mem_dev *dev);

/*
 * Each blocks as a bio would: for ring space, for the lease, in commit mode for
 * the copies. 0 or -EIO: refused or failed, or the power was cut meanwhile.
 */
int tap_mem_write(struct tap_mem_dev *dev, uint64_t sector, const void *buf, uint32_t bytes, bool fua);
int tap_mem_flush(struct tap_mem_dev *dev);
int tap_mem_zeroes(struct tap_mem_dev *dev, uint64_t sector, uint32_t sectors);
int tap_mem_discard(struct tap_mem_dev *dev, uint64_t sector, uint32_t sectors);
int tap_mem_read(struct tap_mem_dev *dev, uint64_t sector, void *buf, uint32_t bytes);

/* A power cut: ring gone, whoever waits fails; device and metadata stay. */
void tap_mem_crash(unsigned host, const uint8_t uuid[16]);
void tap_mem_crash_host(unsigned host);

/* The next n local writes fail with -EIO after they were logged. */
void tap_mem_fail_writes(struct tap_mem_dev *dev, unsigned n);
/* Log only, leave the device alone: for benchmarks of what comes behind. */
void tap_mem_skip_device(struct tap_mem_dev *dev, bool skip);
/*
 * What a file system on the device would say that it does not use, a bit for each
 * region; the bits are the caller's. hangs: it does not answer.
 */
void tap_mem_unused(struct tap_mem_dev *dev, const uint8_t *bits, bool hangs);
/* Bytes of the ring that no ack has freed: for loads that pace themselves. */
uint64_t tap_mem_used(struct tap_mem_dev *dev);
/* How often bits that no copy needs are looked for; default 200 ms. */
void tap_mem_clear_interval(unsigned ms);

#endif
