// SPDX-License-Identifier: GPL-2.0
#include "daemon/store/diskwatch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

uint64_t diskwatch_note(struct diskwatch *dw, uint64_t ended, uint64_t in_flight, uint64_t now_ms)
{
	if (!in_flight || ended != dw->ended || !dw->waiting) {
		dw->waiting = in_flight > 0;
		dw->ended = ended;
		dw->since_ms = now_ms;
		return 0;
	}
	return now_ms - dw->since_ms;
}

int diskwatch_parse(const char *text, uint64_t *ret_ended, uint64_t *ret_in_flight)
{
	uint64_t reads, writes, in_flight, discards = 0, flushes = 0;
	int n;

	/* reads merges sectors ms, writes merges sectors ms, in_flight io_ms queue_ms,
	 * discards merges sectors ms, flushes ms: the last two since 4.18 and 5.5 */
	n = sscanf(text, "%" SCNu64 " %*u %*u %*u %" SCNu64 " %*u %*u %*u %" SCNu64
		   " %*u %*u %" SCNu64 " %*u %*u %*u %" SCNu64,
		   &reads, &writes, &in_flight, &discards, &flushes);
	if (n < 3)
		return -EINVAL;
	*ret_ended = reads + writes + discards + flushes;
	*ret_in_flight = in_flight;
	return 0;
}

int diskwatch_read(const char *device, uint64_t *ret_ended, uint64_t *ret_in_flight)
{
	char path[64], text[512];
	struct stat st;
	ssize_t n;
	int fd;

	if (stat(device, &st))
		return -errno;
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(st.st_rdev), minor(st.st_rdev));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -EIO;
	text[n] = '\0';
	return diskwatch_parse(text, ret_ended, ret_in_flight);
}
