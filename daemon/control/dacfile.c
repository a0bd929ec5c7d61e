// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/dacfile.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"

#define BOOT_ID		"/proc/sys/kernel/random/boot_id"
#define TEXT_BYTES	96

/* "BOOT-ID GENERATION\n" of now; false: the boot is not known. */
static bool text_of(uint64_t generation, char ret[TEXT_BYTES])
{
	char boot[40] = "";
	int fd = open(BOOT_ID, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, boot, 36);
	close(fd);
	if (n != 36)
		return false;
	snprintf(ret, TEXT_BYTES, "%s %llu\n", boot, (unsigned long long)generation);
	return true;
}

void dacfile_store(const char *run_dir, uint64_t generation)
{
	char path[128], text[TEXT_BYTES];
	size_t len;
	int fd;

	if (!text_of(generation, text))
		return;
	snprintf(path, sizeof(path), "%s/dac", run_dir);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	len = strlen(text);
	/* Half a text does not match: then the bit is 0 after a restart. */
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		log_warn("file=%s msg=\"not written\" err=\"%m\"", path);
	if (fd >= 0)
		close(fd);
}

bool dacfile_holds(const char *run_dir, uint64_t generation)
{
	char path[128], text[TEXT_BYTES], have[TEXT_BYTES] = "";
	ssize_t n;
	int fd;

	if (!text_of(generation, text))
		return false;
	snprintf(path, sizeof(path), "%s/dac", run_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, have, sizeof(have) - 1);
	close(fd);
	return n > 0 && !strcmp(have, text);
}
