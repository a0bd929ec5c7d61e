// SPDX-License-Identifier: GPL-2.0
/* Metadata of the memory tap: superblock and intent bits in a regular file. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/tap_mem_int.h"

static int block_io(struct mem_store *s, uint64_t block, void *data, bool write)
{
	off_t off = (off_t)((s->meta_block + block) * DAGTAP_BLOCK);
	ssize_t n = write ? pwrite(s->meta_fd, data, DAGTAP_BLOCK, off)
			  : pread(s->meta_fd, data, DAGTAP_BLOCK, off);

	return n == DAGTAP_BLOCK ? 0 : -EIO;
}

static void sb_fill(struct dagtap_sb *sb, const uint8_t uuid[16], uint64_t sectors,
		    uint32_t region_bytes, const struct mem_sb *from)
{
	memset(sb, 0, sizeof(*sb));
	sb->version = htole64(from->version);
	sb->region_bytes = htole32(region_bytes);
	memcpy(sb->uuid, uuid, 16);
	sb->data_sectors = htole64(sectors);
	sb->lsn_limit = htole64(from->lsn_limit);
	sb->log_lsn = htole64(from->log_lsn);
	sb->epoch = htole32(from->epoch);
	sb->tag = htole32(from->tag);
	sb->clean = htole32(from->clean);
	dagtap_sb_seal(sb);
}

/* Does the metadata fit, and does it stand beside the data? */
static int check_sizes(int fd, uint64_t meta_block, uint64_t sectors, uint32_t region_bytes,
		       bool same_file)
{
	struct stat st;
	__u64 nr;

	if (dagtap_region_count(sectors, region_bytes, &nr))
		return -EINVAL;
	if (fstat(fd, &st))
		return -errno;
	if ((meta_block + DAGTAP_META_BLOCKS(nr)) * DAGTAP_BLOCK > (uint64_t)st.st_size)
		return -ENOSPC;
	if (same_file && meta_block * DAGTAP_BLOCK < sectors * DAGTAP_SECTOR)
		return -EINVAL;
	return 0;
}

int mem_meta_format(const struct tap_conf *conf)
{
	struct mem_store s = { .meta_block = conf->meta_block };
	struct mem_sb sb = { .clean = 1 };
	struct dagtap_sb raw;
	struct dagtap_bm bm;
	__u64 nr;
	int rc;

	s.meta_fd = open(conf->meta_device, O_RDWR | O_CLOEXEC);
	if (s.meta_fd < 0)
		return -errno;
	rc = check_sizes(s.meta_fd, conf->meta_block, conf->sectors, conf->region_bytes,
			 !strcmp(conf->device, conf->meta_device));
	if (rc)
		goto out;
	dagtap_region_count(conf->sectors, conf->region_bytes, &nr);
	for (uint64_t i = 0; i < DAGTAP_BM_BLOCKS(nr) && !rc; i++)
		for (uint64_t v = 1; v <= 2 && !rc; v++) {
			memset(&bm, 0, sizeof(bm));
			dagtap_bm_seal(&bm, conf->uuid, i, v);
			rc = block_io(&s, dagtap_bm_block(i, v), &bm, true);
		}
	for (sb.version = 1; sb.version <= 2 && !rc; sb.version++) {
		sb_fill(&raw, conf->uuid, conf->sectors, conf->region_bytes, &sb);
		rc = block_io(&s, dagtap_sb_block(sb.version), &raw, true);
	}
out:
	close(s.meta_fd);
	return rc;
}

static int read_sb(struct mem_store *s, struct dagtap_sb *ret)
{
	struct dagtap_sb slot[2];
	int rc;

	if (block_io(s, 0, &slot[0], false) || block_io(s, 1, &slot[1], false))
		return -ENOSPC;
	rc = dagtap_sb_pick(&slot[0], &slot[1], s->uuid);
	if (rc < 0)
		return rc;
	*ret = slot[rc];
	return 0;
}

int mem_meta_load(struct mem_store *s)
{
	struct dagtap_sb sb;
	struct stat a, b;
	bool same;
	int rc = read_sb(s, &sb);

	if (rc)
		return rc;
	if (le64toh(sb.data_sectors) != s->sectors ||
	    le64toh(sb.log_lsn) > le64toh(sb.lsn_limit) || le64toh(sb.lsn_limit) > MEM_LSN_MAX ||
	    le64toh(sb.log_lsn) % DAGTAP_ALIGN)
		return -EUCLEAN;
	s->region_bytes = le32toh(sb.region_bytes);
	s->sb = (struct mem_sb) {
		.version = le64toh(sb.version), .lsn_limit = le64toh(sb.lsn_limit),
		.log_lsn = le64toh(sb.log_lsn), .epoch = le32toh(sb.epoch),
		.tag = le32toh(sb.tag), .clean = le32toh(sb.clean),
	};
	same = !fstat(s->dev_fd, &a) && !fstat(s->meta_fd, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
	return check_sizes(s->meta_fd, s->meta_block, s->sectors, s->region_bytes, same);
}

int mem_meta_load_bits(struct mem_store *s)
{
	struct dagtap_bm slot[2];

	for (uint32_t i = 0; i < s->map.nr_blocks; i++) {
		int rc;

		if (block_io(s, dagtap_bm_block(i, 0), &slot[0], false) ||
		    block_io(s, dagtap_bm_block(i, 1), &slot[1], false))
			return -EIO;
		rc = dagtap_bm_pick(&slot[0], &slot[1], s->uuid, i);
		if (rc < 0)
			return rc;
		dagtap_region_load(&s->map, i, slot[rc].bits);
		s->bm_version[i] = le64toh(slot[rc].version);
	}
	return 0;
}

/* A store that stands in memory: is its metadata still as we left it? */
int mem_meta_check(struct mem_store *s)
{
	struct dagtap_sb sb;
	int rc = read_sb(s, &sb);

	if (rc)
		return rc;
	return le64toh(sb.version) == s->sb.version ? 0 : -ESTALE;
}

static void failed(struct mem_store *s)
{
	s->failed = true;
	if (s->role == DAGTAP_ROLE_ACTIVE)
		s->role = DAGTAP_ROLE_FENCED;
	mem_state_update(s);
	pthread_cond_broadcast(&s->change);
}

int mem_meta_save(struct mem_store *s, const struct mem_sb *sb)
{
	struct mem_sb next = *sb;
	struct dagtap_sb raw;
	int rc;

	if (s->dead)
		return -EIO;
	next.version = s->sb.version + 1;
	sb_fill(&raw, s->uuid, s->sectors, s->region_bytes, &next);
	rc = block_io(s, dagtap_sb_block(next.version), &raw, true);
	if (rc) {
		failed(s);
		return rc;
	}
	s->sb = next;
	s->ring.lsn_limit = next.lsn_limit;
	return 0;
}

int mem_meta_sync(struct mem_store *s)
{
	struct dagtap_bm bm;

	if (s->dead)
		return -EIO;
	for (uint32_t i = 0; i < s->map.nr_blocks; i++) {
		uint64_t version = s->bm_version[i] + 1;

		if (!s->map.stale[i])
			continue;
		dagtap_region_snapshot(&s->map, i, bm.bits);
		dagtap_bm_seal(&bm, s->uuid, i, version);
		if (block_io(s, dagtap_bm_block(i, version), &bm, true)) {
			s->map.stale[i] = 1;
			failed(s);
			return -EIO;
		}
		s->bm_version[i] = version;
		dagtap_region_written(&s->map, i, bm.bits);
	}
	return 0;
}
