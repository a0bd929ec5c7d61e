// SPDX-License-Identifier: GPL-2.0
/*
 * The tap of the module: a dm target for each store, /dev/dagtap for the rest.
 * Contract: include/uapi/dagtap.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/group/uuid.h"
#include "daemon/log.h"
#include "daemon/tap/dm.h"
#include "daemon/tap/fsfree.h"
#include "daemon/tap/tap.h"
#include "kmod/core/metablock.h"
#include "kmod/core/region.h"

#define TAP_DEVICE	"/dev/dagtap"

struct tap {
	char name[DAGTAP_NAME_MAX];
	int fd;
	int ring_fd;
	uint64_t generation;
	struct tap_view view;
};

static int xioctl(int fd, unsigned long req, void *arg)
{
	int rc;

	do {
		rc = ioctl(fd, req, arg);
	} while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

/* A user's path may be a link (/dev/disk/by-id): the kernel's answer never is. */
static int table_params(const struct tap_conf *conf, char *buf, size_t len)
{
	char data[PATH_MAX], meta[PATH_MAX], uuid[UUID_TEXT];
	int n;

	if (!realpath(conf->device, data) || !realpath(conf->meta_device, meta))
		return -errno;
	uuid_format(conf->uuid, uuid);
	n = snprintf(buf, len, "%s %s %s %llu 2 ring_mib %u", uuid, data, meta,
		     (unsigned long long)conf->meta_block, conf->ring_mib);
	return n < (int)len ? 0 : -ENAMETOOLONG;
}

static int write_block(int fd, uint64_t block, const void *data, const char *path)
{
	if (pwrite(fd, data, DAGTAP_BLOCK, block * DAGTAP_BLOCK) == DAGTAP_BLOCK)
		return 0;
	log_err("device=%s block=%llu cannot write metadata: %m", path, (unsigned long long)block);
	return errno ? -errno : -EIO;
}

static int format_blocks(int fd, const struct tap_conf *conf, uint64_t regions)
{
	static struct dagtap_sb sb;
	static struct dagtap_bm bm;
	int rc = 0;

	/* The bits first: a superblock that verifies promises that they are there. */
	for (uint64_t i = 0; i < DAGTAP_BM_BLOCKS(regions); i++)
		for (uint64_t v = 1; v <= 2 && !rc; v++) {
			memset(&bm, 0, sizeof(bm));
			dagtap_bm_seal(&bm, conf->uuid, i, v);
			rc = write_block(fd, conf->meta_block + dagtap_bm_block(i, v), &bm,
					 conf->meta_device);
		}
	if (!rc && fsync(fd))
		rc = -errno;
	for (uint64_t v = 1; v <= 2 && !rc; v++) {
		memset(&sb, 0, sizeof(sb));
		sb.version = htole64(v);
		sb.format = htole32(DAGTAP_SB_VERSION);
		sb.region_bytes = htole32(conf->region_bytes);
		memcpy(sb.uuid, conf->uuid, 16);
		sb.data_sectors = htole64(conf->sectors);
		sb.clean = htole32(1);
		dagtap_sb_seal(&sb);
		rc = write_block(fd, conf->meta_block + dagtap_sb_block(v), &sb, conf->meta_device);
	}
	if (!rc && fsync(fd))
		rc = -errno;
	return rc;
}

static int kernel_format(const struct tap_conf *conf)
{
	__u64 regions;
	int fd, rc;

	rc = dagtap_region_count(conf->sectors, conf->region_bytes, &regions);
	if (rc)
		return -EINVAL;
	fd = open(conf->meta_device, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = format_blocks(fd, conf, regions);
	if (close(fd) && !rc)
		rc = -errno;
	return rc;
}

static int map_store(const struct tap_conf *conf)
{
	char params[2 * PATH_MAX + 128], uuid[UUID_TEXT], dm_uuid[UUID_TEXT + 8];
	struct dm_dev dev;
	int rc;

	uuid_format(conf->uuid, uuid);
	rc = dm_dev_get(conf->name, &dev);
	if (rc)
		return rc;
	if (dev.exists) {
		if (!strcmp(dev.target, "dagtap") && !strncmp(dev.params, uuid, UUID_TEXT - 1))
			return 0;
		log_err("store=%s device-mapper name is taken by another device: %s %s", conf->name,
			dev.target, dev.params);
		return -EEXIST;
	}
	rc = table_params(conf, params, sizeof(params));
	if (rc)
		return rc;
	snprintf(dm_uuid, sizeof(dm_uuid), "DAG-%s", uuid);
	rc = dm_dev_create(conf->name, dm_uuid, conf->sectors, "dagtap", params);
	if (rc)
		log_err("store=%s cannot map device=%s: %s, see the kernel's log", conf->name,
			conf->device, strerror(-rc));
	return rc;
}

static int map_ring(struct tap *tap, const struct dagtap_attach *at)
{
	struct tap_view *v = &tap->view;
	void *p;

	p = mmap(NULL, at->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, at->ring_fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	v->file = p;
	v->file_bytes = at->ring_bytes;
	v->hdr = p;
	v->user = (void *)(v->file + DAGTAP_BLOCK);
	if (v->hdr->magic != DAGTAP_RING_MAGIC || v->hdr->major != DAGTAP_ABI_MAJOR ||
	    v->hdr->data_off + v->hdr->data_size > at->ring_bytes)
		return -EPROTO;
	v->base = v->file + v->hdr->data_off;
	v->size = v->hdr->data_size;
	return 0;
}

static void tap_free(struct tap *tap)
{
	if (tap->view.file)
		munmap(tap->view.file, tap->view.file_bytes);
	if (tap->ring_fd >= 0)
		close(tap->ring_fd);
	if (tap->fd >= 0)
		close(tap->fd);
	free(tap);
}

static int kernel_open(const struct tap_conf *conf, struct tap **ret, struct dagtap_attach *ret_at)
{
	struct dagtap_attach at = { .major = DAGTAP_ABI_MAJOR, .minor = DAGTAP_ABI_MINOR };
	struct tap *tap;
	int rc;

	tap = calloc(1, sizeof(*tap));
	if (!tap)
		return -ENOMEM;
	tap->fd = tap->ring_fd = -1;
	snprintf(tap->name, sizeof(tap->name), "%s", conf->name);
	tap->fd = open(TAP_DEVICE, O_RDWR | O_CLOEXEC);
	if (tap->fd < 0) {
		rc = -errno;
		log_err("device=%s cannot open: %m, is the module dagtap loaded?", TAP_DEVICE);
		goto fail;
	}
	rc = map_store(conf);
	if (rc)
		goto fail;
	memcpy(at.uuid, conf->uuid, 16);
	rc = xioctl(tap->fd, DAGTAP_IOC_ATTACH, &at);
	if (rc) {
		log_err("store=%s cannot attach to the tap: %s", conf->name, strerror(-rc));
		goto fail;
	}
	tap->ring_fd = at.ring_fd;
	tap->generation = at.generation;
	rc = map_ring(tap, &at);
	if (rc)
		goto fail;
	*ret = tap;
	*ret_at = at;
	return 0;
fail:
	tap_free(tap);
	return rc;
}

static int kernel_close(struct tap *tap, bool remove)
{
	char name[DAGTAP_NAME_MAX];

	memcpy(name, tap->name, sizeof(name));
	tap_free(tap);
	return remove ? dm_dev_remove(name) : 0;
}

static int kernel_fd(struct tap *tap)
{
	return tap->fd;
}

static const struct tap_view *kernel_view(struct tap *tap)
{
	return &tap->view;
}

static int kernel_ack(struct tap *tap, uint64_t free_lsn, uint64_t ack_lsn, uint64_t clear_lsn)
{
	struct dagtap_ack ack = {
		.generation = tap->generation,
		.free_lsn = free_lsn,
		.ack_lsn = ack_lsn,
		.clear_lsn = clear_lsn,
	};

	return xioctl(tap->fd, DAGTAP_IOC_ACK, &ack);
}

/* A role or a restart may begin the ring anew; acks name the generation. */
static void take_generation(struct tap *tap)
{
	tap->generation = __atomic_load_n(&tap->view.hdr->generation, __ATOMIC_ACQUIRE);
}

static int kernel_role(struct tap *tap, struct dagtap_role_set *rs)
{
	int rc = xioctl(tap->fd, DAGTAP_IOC_ROLE, rs);

	if (!rc)
		take_generation(tap);
	return rc;
}

static int kernel_mode(struct tap *tap, const struct dagtap_mode_set *ms)
{
	struct dagtap_mode_set arg = *ms;

	return xioctl(tap->fd, DAGTAP_IOC_MODE, &arg);
}

static int kernel_resync(struct tap *tap, uint64_t sector, uint32_t bytes, uint64_t *ret_lsn)
{
	struct dagtap_resync rs = { .sector = sector, .bytes = bytes };
	int rc = xioctl(tap->fd, DAGTAP_IOC_RESYNC, &rs);

	if (!rc)
		*ret_lsn = rs.lsn;
	return rc;
}

static int kernel_unused(struct tap *tap, uint64_t sector, uint32_t bytes, uint64_t since_lsn,
			 uint64_t *ret_lsn)
{
	struct dagtap_resync rs = {
		.sector = sector,
		.bytes = bytes,
		.flags = DAGTAP_RESYNCF_UNUSED,
		.lsn = since_lsn,
	};
	int rc = xioctl(tap->fd, DAGTAP_IOC_RESYNC, &rs);

	if (!rc)
		*ret_lsn = rs.lsn;
	return rc;
}

static int kernel_free_regions(struct tap *tap, uint8_t *bits, int cancel_fd)
{
	struct fsfree_ask ask = {
		.name = tap->name,
		.sectors = tap->view.hdr->dev_sectors,
		.region_bytes = tap->view.hdr->region_bytes,
		.cancel_fd = cancel_fd,
	};
	struct dm_dev dev;
	int rc = dm_dev_get(tap->name, &dev);

	if (rc || !dev.exists)
		return rc ? rc : -ENODEV;
	ask.major = dev.major;
	ask.minor = dev.minor;
	return fsfree_regions(&ask, bits);
}

static int kernel_mark(struct tap *tap, struct dagtap_mark *mk)
{
	return xioctl(tap->fd, DAGTAP_IOC_MARK, mk);
}

static int kernel_regions(struct tap *tap, struct dagtap_regions *rg)
{
	return xioctl(tap->fd, DAGTAP_IOC_REGIONS, rg);
}

static int kernel_restart(struct tap *tap, struct dagtap_restart *rs)
{
	int rc = xioctl(tap->fd, DAGTAP_IOC_RESTART, rs);

	if (!rc)
		tap->generation = rs->generation;
	return rc;
}

static int kernel_info(struct tap *tap, struct dagtap_info *ret)
{
	return xioctl(tap->fd, DAGTAP_IOC_INFO, ret);
}

static int kernel_lease(uint64_t fence, uint64_t deadline_boot_ns)
{
	struct dagtap_lease lease = { .fence = fence, .deadline_boot_ns = deadline_boot_ns };
	static int fd = -1;	/* opened once: the renewal must not depend on memory */

	if (fd < 0)
		fd = open(TAP_DEVICE, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return xioctl(fd, DAGTAP_IOC_LEASE, &lease);
}

const struct tap_ops tap_kernel_ops = {
	.name = "module",
	.format = kernel_format,
	.open = kernel_open,
	.close = kernel_close,
	.fd = kernel_fd,
	.view = kernel_view,
	.ack = kernel_ack,
	.role = kernel_role,
	.mode = kernel_mode,
	.resync = kernel_resync,
	.unused = kernel_unused,
	.free_regions = kernel_free_regions,
	.mark = kernel_mark,
	.regions = kernel_regions,
	.restart = kernel_restart,
	.info = kernel_info,
	.lease = kernel_lease,
};
