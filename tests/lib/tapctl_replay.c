// SPDX-License-Identifier: GPL-2.0
/*
 * Replays a recorded log on an image and compares images with devices.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/tapctl.h"

struct state {
	int log, image;
	__u64 sectors;
	__u8 *undefined;	/* per sector: discarded, not written since */
	__u8 *buf;
	__u64 records, counts[DAGTAP_REC_TYPES];
};

static int apply(struct state *st, const struct dagtap_rec *rec)
{
	__u64 sector = le64_to_cpu(rec->sector), n = le32_to_cpu(rec->sectors);
	bool zero = rec->type == DAGTAP_REC_ZEROES ||
		    (rec->type == DAGTAP_REC_RESYNC && !rec->payload);

	st->counts[rec->type]++;
	if (rec->type == DAGTAP_REC_DISCARD && sector + n <= st->sectors)
		memset(st->undefined + sector, 1, n);
	if (!zero && rec->type != DAGTAP_REC_DATA && rec->type != DAGTAP_REC_RESYNC)
		return 0;
	if (sector + n > st->sectors)
		return -1;
	memset(st->undefined + sector, 0, n);
	if (zero)
		memset(st->buf, 0, DAGTAP_PAYLOAD_MAX);
	while (n) {
		__u64 part = n < DAGTAP_PAYLOAD_MAX / 512 ? n : DAGTAP_PAYLOAD_MAX / 512;

		if (pwrite(st->image, st->buf, part * 512, (off_t)sector * 512) !=
		    (ssize_t)(part * 512))
			return -1;
		sector += part;
		n -= part;
	}
	return 0;
}

static int replay_all(struct state *st, __u64 from, __u64 until)
{
	struct dagtap_rec_expect expect = {0};
	struct dagtap_rec rec;
	off_t at = 0;
	int rc;

	while (st->records < until) {
		__u32 payload;

		if (pread(st->log, &rec, sizeof(rec), at) != sizeof(rec))
			return 0;
		/* The first record of a part names none before it. */
		expect.what = rec.prev_crc && st->records ? DAGTAP_EXPECT_CHAIN : 0;
		rc = dagtap_rec_verify(&rec, &expect);
		payload = le32_to_cpu(rec.payload);
		if (!rc && st->records >= from) {
			if (pread(st->log, st->buf, payload, at + 64) != (ssize_t)payload)
				rc = DAGTAP_REC_EDATA;
			else
				rc = dagtap_rec_verify_payload(&rec, st->buf);
		}
		if (rc) {
			fprintf(stderr, "taputil: record %llu: %s\n",
				(unsigned long long)st->records, dagtap_rec_strerror(rc));
			return -1;
		}
		if (st->records >= from && apply(st, &rec))
			return -1;
		expect.prev_crc = le32_to_cpu(rec.hdr_crc);
		at += (off_t)dagtap_rec_bytes(payload);
		st->records++;
	}
	return 0;
}

static int compare(const struct state *st, const char *device)
{
	static __u8 a[1 << 16], b[1 << 16];
	__u64 s, i, differ = 0, undefined = 0;
	int fd = open(device, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	for (s = 0; s < st->sectors; s += sizeof(a) / 512) {
		__u64 n = st->sectors - s < sizeof(a) / 512 ? st->sectors - s
							    : sizeof(a) / 512;

		if (pread(st->image, a, n * 512, (off_t)s * 512) != (ssize_t)n * 512 ||
		    pread(fd, b, n * 512, (off_t)s * 512) != (ssize_t)n * 512)
			return -1;
		for (i = 0; i < n; i++) {
			undefined += st->undefined[s + i];
			if (!st->undefined[s + i] &&
			    memcmp(a + i * 512, b + i * 512, 512)) {
				if (!differ)
					printf("first difference in sector %llu\n",
					       (unsigned long long)(s + i));
				differ++;
			}
		}
	}
	close(fd);
	printf("%llu sectors differ, %llu undefined\n", (unsigned long long)differ,
	       (unsigned long long)undefined);
	return differ ? 1 : 0;
}

int tapctl_replay(const struct tapctl_replay *r)
{
	struct state st = {
		.log = open(r->log, O_RDONLY | O_CLOEXEC),
		.image = open(r->image, O_RDWR | O_CLOEXEC),
		.buf = malloc(DAGTAP_PAYLOAD_MAX),
	};
	off_t bytes = lseek(st.image, 0, SEEK_END);
	int rc;

	if (st.log < 0 || st.image < 0 || bytes <= 0)
		return 1;
	st.sectors = (__u64)bytes / 512;
	st.undefined = calloc(1, st.sectors);
	rc = replay_all(&st, r->from, r->until);
	printf("%llu records: data %llu flush %llu discard %llu zeroes %llu fail %llu "
	       "resync %llu mark %llu state %llu\n", (unsigned long long)st.records,
	       (unsigned long long)st.counts[DAGTAP_REC_DATA],
	       (unsigned long long)st.counts[DAGTAP_REC_FLUSH],
	       (unsigned long long)st.counts[DAGTAP_REC_DISCARD],
	       (unsigned long long)st.counts[DAGTAP_REC_ZEROES],
	       (unsigned long long)st.counts[DAGTAP_REC_FAIL],
	       (unsigned long long)st.counts[DAGTAP_REC_RESYNC],
	       (unsigned long long)st.counts[DAGTAP_REC_MARK],
	       (unsigned long long)st.counts[DAGTAP_REC_STATE]);
	if (!rc && r->device)
		rc = compare(&st, r->device);
	free(st.undefined);
	free(st.buf);
	close(st.log);
	close(st.image);
	return rc ? 1 : 0;
}

/* 0: every region in which image and device differ is dirty in the tap. */
int tapctl_covers(struct tapctl *tap, const char *image, const char *device)
{
	struct dagtap_regions regions = {0};
	__u64 r, differ = 0, missed = 0;
	struct dagtap_info info;
	int a = open(image, O_RDONLY | O_CLOEXEC), b = open(device, O_RDONLY | O_CLOEXEC);
	__u8 *bits, *x, *y;

	if (a < 0 || b < 0 || ioctl(tap->fd, DAGTAP_IOC_INFO, &info))
		return 1;
	bits = calloc(1, info.regions / 8 + 8);
	x = malloc(info.region_bytes);
	y = malloc(info.region_bytes);
	regions.count = info.regions;
	regions.bitmap = (__u64)(unsigned long)bits;
	if (ioctl(tap->fd, DAGTAP_IOC_REGIONS, &regions))
		return 1;
	for (r = 0; r < info.regions; r++) {
		off_t at = (off_t)(r * info.region_bytes);
		ssize_t n = pread(a, x, info.region_bytes, at);

		if (n <= 0 || pread(b, y, (size_t)n, at) != n)
			return 1;
		if (!memcmp(x, y, (size_t)n))
			continue;
		differ++;
		missed += !(bits[r / 8] >> (r % 8) & 1);
	}
	printf("%llu regions dirty, %llu differ, %llu of them not dirty\n",
	       (unsigned long long)regions.dirty, (unsigned long long)differ,
	       (unsigned long long)missed);
	free(bits);
	free(x);
	free(y);
	close(a);
	close(b);
	return missed ? 1 : 0;
}
