// SPDX-License-Identifier: GPL-2.0
/*
 * Attach to the tap and follow its log into a file, verifying each record as a
 * daemon does: range, chain, crc of header and payload.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/tapctl.h"

#define LINE_MAX_BYTES	4096

int tapctl_uuid(const char *text, __u8 *uuid)
{
	unsigned int n = 0, byte;

	while (*text && n < DAGTAP_UUID_BYTES) {
		if (*text == '-') {
			text++;
			continue;
		}
		if (sscanf(text, "%2x", &byte) != 1)
			break;
		uuid[n++] = (__u8)byte;
		text += 2;
	}
	errno = EINVAL;
	return n == DAGTAP_UUID_BYTES && !*text ? 0 : -1;
}

int tapctl_attach(struct tapctl *tap, const char *uuid)
{
	memset(tap, 0, sizeof(*tap));
	tap->out = -1;
	if (tapctl_uuid(uuid, tap->uuid))
		return -1;
	tap->fd = open(TAPCTL_DEV, O_RDWR | O_CLOEXEC);
	if (tap->fd < 0)
		return -1;
	tap->at.major = DAGTAP_ABI_MAJOR;
	memcpy(tap->at.uuid, tap->uuid, DAGTAP_UUID_BYTES);
	if (ioctl(tap->fd, DAGTAP_IOC_ATTACH, &tap->at))
		return -1;
	tap->file = mmap(NULL, tap->at.ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			 tap->at.ring_fd, 0);
	if (tap->file == MAP_FAILED)
		return -1;
	tap->hdr = (void *)tap->file;
	tap->user = (void *)(tap->file + DAGTAP_BLOCK);
	tap->generation = tap->at.generation;
	tap->pos = tap->at.freed_lsn;
	return 0;
}

static int put(int fd, const void *data, size_t bytes)
{
	const char *p = data;

	while (bytes) {
		ssize_t n = write(fd, p, bytes);

		if (n < 0)
			return -1;
		p += n;
		bytes -= (size_t)n;
	}
	return 0;
}

static void ring_copy(const struct tapctl *tap, __u64 lsn, void *dst, __u64 bytes)
{
	__u64 size = tap->hdr->data_size, at = lsn & (size - 1);
	__u64 room = size - at, n = bytes < room ? bytes : room;
	const __u8 *data = tap->file + tap->hdr->data_off;

	memcpy(dst, data + at, n);
	memcpy((__u8 *)dst + n, data, bytes - n);
}

static int one_record(struct tapctl *tap, void *buf)
{
	struct dagtap_rec_expect expect = {
		.what = DAGTAP_EXPECT_LSN | (tap->chained ? DAGTAP_EXPECT_CHAIN : 0),
		.lsn = tap->pos,
		.prev_crc = tap->prev_crc,
	};
	struct dagtap_rec *rec = buf;
	__u64 bytes;
	int rc;

	ring_copy(tap, tap->pos, rec, sizeof(*rec));
	rc = dagtap_rec_verify(rec, &expect);
	if (!rc) {
		bytes = dagtap_rec_next(rec) - tap->pos;
		ring_copy(tap, tap->pos, buf, bytes);
		rc = dagtap_rec_verify_payload(rec, rec + 1);
	}
	if (rc) {
		fprintf(stderr, "taputil: record at %llu: %s\n",
			(unsigned long long)tap->pos, dagtap_rec_strerror(rc));
		return -1;
	}
	if (tap->out >= 0 && put(tap->out, buf, bytes))
		return -1;
	tap->prev_crc = le32_to_cpu(rec->hdr_crc);
	tap->chained = true;
	tap->pos += bytes;
	tap->records++;
	return 0;
}

/* Reads and acks everything up to commit_lsn. */
int tapctl_drain(struct tapctl *tap)
{
	static __u8 buf[sizeof(struct dagtap_rec) + DAGTAP_PAYLOAD_MAX];
	struct dagtap_ack ack = {0};
	__u64 generation = __atomic_load_n(&tap->hdr->generation, __ATOMIC_ACQUIRE);
	__u64 end = __atomic_load_n(&tap->hdr->commit_lsn, __ATOMIC_ACQUIRE);

	if (generation != tap->generation) {
		tap->generation = generation;
		tap->pos = tap->hdr->freed_lsn;
		tap->prev_crc = 0;
		tap->chained = true;
	}
	while (tap->pos < end)
		if (one_record(tap, buf))
			return -1;
	if (tap->auto_ack) {
		ack.generation = generation;
		ack.free_lsn = ack.ack_lsn = ack.clear_lsn = tap->pos;
		if (ioctl(tap->fd, DAGTAP_IOC_ACK, &ack) && errno != ESTALE)
			return -1;
	}
	return 0;
}

/* Goes on after the last whole record of the log file. */
int tapctl_continue(struct tapctl *tap)
{
	struct dagtap_rec_expect any = {0};
	struct dagtap_rec rec;
	off_t at = 0;

	while (pread(tap->out, &rec, sizeof(rec), at) == sizeof(rec) &&
	       !dagtap_rec_verify(&rec, &any)) {
		__u64 next = dagtap_rec_next(&rec);
		off_t end = at + (off_t)(next - le64_to_cpu(rec.lsn));

		if (lseek(tap->out, 0, SEEK_END) < end)
			break;
		tap->pos = next;
		tap->prev_crc = le32_to_cpu(rec.hdr_crc);
		tap->chained = true;
		at = end;
	}
	if (tap->pos < tap->at.freed_lsn) {
		errno = ENODATA;
		return -1;
	}
	if (ftruncate(tap->out, at))
		return -1;
	return lseek(tap->out, at, SEEK_SET) == at ? 0 : -1;
}

static int read_commands(struct tapctl *tap)
{
	static char line[LINE_MAX_BYTES];
	static size_t used;
	char answer[TAPCTL_ANSWER], *end;
	ssize_t n = read(0, line + used, sizeof(line) - 1 - used);

	if (n <= 0)
		return -1;
	used += (size_t)n;
	line[used] = 0;
	while ((end = strchr(line, '\n'))) {
		*end = 0;
		tapctl_command(tap, line, answer);
		printf("%s\n", answer);
		used -= (size_t)(end + 1 - line);
		memmove(line, end + 1, used + 1);
	}
	return 0;
}

/* Until "quit", or for ever when standard input ends. */
int tapctl_follow(struct tapctl *tap)
{
	struct pollfd fds[2] = {
		{ .fd = tap->fd, .events = POLLIN },
		{ .fd = 0, .events = POLLIN },
	};

	printf("ok attached lsn %llu\n", (unsigned long long)tap->pos);
	while (!tap->quit) {
		__atomic_store_n(&tap->user->want_wakeup, 1, __ATOMIC_SEQ_CST);
		if (tapctl_drain(tap)) {
			perror("taputil: drain");
			return 1;
		}
		if (poll(fds, 2, 10000) < 0 && errno != EINTR)
			return 1;
		if (fds[1].revents && read_commands(tap))
			fds[1].fd = -1;
	}
	return tapctl_drain(tap) ? 1 : 0;
}
