/* SPDX-License-Identifier: GPL-2.0 */
/*
 * tap - where the log of a store comes from, behind an ops table: the module
 * (tap_kernel.c) or memory (tests/lib/tap_mem.c, same ABI).
 *
 * All calls return 0 or -errno. A tap belongs to one thread, except resync(),
 * unused(), free_regions() and mark(), which a seeding thread may call meanwhile.
 */
#ifndef DAG_TAP_H
#define DAG_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "include/uapi/dagtap.h"

struct tap;

struct tap_conf {
	const char *name;		/* of the store, and of the dm device */
	uint8_t uuid[16];
	const char *device;		/* lower device */
	const char *meta_device;
	uint64_t meta_block;
	uint64_t sectors;
	uint32_t region_bytes;
	uint32_t ring_mib;
};

/* The shared ring, mapped. */
struct tap_view {
	const struct dagtap_ring_hdr *hdr;
	struct dagtap_ring_user *user;
	uint8_t *file;			/* whole mapping, for registration */
	size_t file_bytes;
	uint8_t *base;			/* log bytes */
	uint64_t size;			/* power of two */
};

struct tap_ops {
	const char *name;
	/* Write fresh metadata for conf; the caller made sure nobody needs the old. */
	int (*format)(const struct tap_conf *conf);
	/* Make the mapping if it is not there (else check its table), attach. */
	int (*open)(const struct tap_conf *conf, struct tap **ret, struct dagtap_attach *ret_at);
	/* Detach; the ring stays. remove: take the mapping away too (-EBUSY: in use). */
	int (*close)(struct tap *tap, bool remove);
	int (*fd)(struct tap *tap);	/* POLLIN: commit_lsn moved; POLLPRI: state */
	const struct tap_view *(*view)(struct tap *tap);
	int (*ack)(struct tap *tap, uint64_t free_lsn, uint64_t ack_lsn, uint64_t clear_lsn);
	int (*role)(struct tap *tap, struct dagtap_role_set *rs);
	int (*mode)(struct tap *tap, const struct dagtap_mode_set *ms);
	int (*resync)(struct tap *tap, uint64_t sector, uint32_t bytes, uint64_t *ret_lsn);
	/* Log it as zeroes, if it was not changed behind since_lsn: DAGTAP_RESYNCF_UNUSED. */
	int (*unused)(struct tap *tap, uint64_t sector, uint32_t bytes, uint64_t since_lsn,
		      uint64_t *ret_lsn);
	/*
	 * Bits of the regions that the mounted file system does not use, and that it does
	 * not use after a crash either: what freed them is in the log when this returns.
	 * Blocks, until cancel_fd is readable. -errno: that cannot be told.
	 */
	int (*free_regions)(struct tap *tap, uint8_t *bits, int cancel_fd);
	int (*mark)(struct tap *tap, struct dagtap_mark *mk);
	int (*regions)(struct tap *tap, struct dagtap_regions *rg);
	int (*restart)(struct tap *tap, struct dagtap_restart *rs);
	int (*info)(struct tap *tap, struct dagtap_info *ret);
	/* The host's lease, for all stores. */
	int (*lease)(uint64_t fence, uint64_t deadline_boot_ns);
};

extern const struct tap_ops tap_kernel_ops;

#endif
