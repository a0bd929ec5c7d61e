// SPDX-License-Identifier: GPL-2.0
/*
 * taputil - drives the tap without a daemon, for the lab's cases.
 *
 *	taputil format META_DEV BLOCK UUID DATA_SECTORS REGION_BYTES
 *	taputil table UUID DATA_DEV META_DEV BLOCK SECTORS [KEY VALUE]...
 *	taputil lease MS|forever|end [FENCE]
 *	taputil do UUID COMMAND...
 *	taputil record UUID LOG [--ack] [--append]
 *	taputil replay LOG IMAGE [--from N] [--until N] [--compare DEV]
 *	taputil covers UUID IMAGE DEV
 *
 * `do` attaches and executes commands, each one argument; `record` also writes
 * every record to a file, and takes commands from standard input, one a line,
 * answering each with "ok ..." or "err ERRNO ...". The commands are those of
 * the table at the end of tests/lib/tapctl_command.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "kmod/core/metablock.h"
#include "kmod/core/region.h"
#include "tests/lib/tapctl.h"

static int fail(const char *what)
{
	fprintf(stderr, "taputil: %s: %s\n", what, strerror(errno));
	return 1;
}

static int put_block(int fd, __u64 block, const void *data)
{
	return pwrite(fd, data, DAGTAP_BLOCK, (off_t)(block * DAGTAP_BLOCK)) ==
	       DAGTAP_BLOCK ? 0 : -1;
}

static int cmd_format(int argc, char **argv)
{
	static struct dagtap_sb sb;
	static struct dagtap_bm bm;
	__u64 base, nr, i, slot;
	int fd;

	if (argc != 5)
		return 2;
	base = strtoull(argv[1], NULL, 0);
	if (tapctl_uuid(argv[2], sb.uuid))
		return fail("uuid");
	sb.version = cpu_to_le64(1);
	sb.data_sectors = cpu_to_le64(strtoull(argv[3], NULL, 0));
	sb.region_bytes = cpu_to_le32((__u32)strtoul(argv[4], NULL, 0));
	sb.clean = cpu_to_le32(1);
	dagtap_sb_seal(&sb);
	if (dagtap_region_count(le64_to_cpu(sb.data_sectors),
				le32_to_cpu(sb.region_bytes), &nr)) {
		errno = EINVAL;
		return fail("sizes");
	}
	fd = open(argv[0], O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return fail(argv[0]);
	for (i = 0; i < DAGTAP_BM_BLOCKS(nr); i++) {
		for (slot = 0; slot < 2; slot++) {
			dagtap_bm_seal(&bm, sb.uuid, i, slot);
			if (put_block(fd, base + dagtap_bm_block(i, slot), &bm))
				return fail("write");
		}
	}
	if (put_block(fd, base, &sb) || put_block(fd, base + 1, &sb) || fsync(fd))
		return fail("write");
	close(fd);
	printf("%llu\n", (unsigned long long)DAGTAP_META_BLOCKS(nr));
	return 0;
}

static int cmd_table(int argc, char **argv)
{
	int i;

	if (argc < 5)
		return 2;
	printf("0 %s dagtap %s %s %s %s %d", argv[4], argv[0], argv[1], argv[2], argv[3],
	       argc - 5);
	for (i = 5; i < argc; i++)
		printf(" %s", argv[i]);
	printf("\n");
	return 0;
}

static int cmd_lease(int argc, char **argv)
{
	struct dagtap_lease lease = {0};
	struct timespec now;
	int fd;

	if (argc < 1)
		return 2;
	clock_gettime(CLOCK_BOOTTIME, &now);
	if (!strcmp(argv[0], "forever"))
		lease.deadline_boot_ns = DAGTAP_LEASE_FOREVER;
	else if (strcmp(argv[0], "end"))
		lease.deadline_boot_ns = (__u64)now.tv_sec * 1000000000ull +
					 (__u64)now.tv_nsec +
					 strtoull(argv[0], NULL, 0) * 1000000ull;
	lease.fence = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	fd = open(TAPCTL_DEV, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return fail(TAPCTL_DEV);
	if (ioctl(fd, DAGTAP_IOC_LEASE, &lease))
		return fail("lease");
	return 0;
}

static int cmd_do(int argc, char **argv)
{
	struct tapctl tap;
	char answer[TAPCTL_ANSWER];
	int i, rc;

	if (argc < 2)
		return 2;
	if (tapctl_attach(&tap, argv[0]))
		return fail("attach");
	for (i = 1; i < argc; i++) {
		rc = tapctl_command(&tap, argv[i], answer);
		printf("%s\n", answer);
		if (rc)
			return 1;
	}
	return 0;
}

static int cmd_record(int argc, char **argv)
{
	int i, flags = O_RDWR | O_CREAT | O_CLOEXEC | O_TRUNC;
	struct tapctl tap;

	if (argc < 2)
		return 2;
	if (tapctl_attach(&tap, argv[0]))
		return fail("attach");
	for (i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "--ack"))
			tap.auto_ack = true;
		else if (!strcmp(argv[i], "--append"))
			flags &= ~O_TRUNC;
		else
			return 2;
	}
	tap.out = open(argv[1], flags, 0600);
	if (tap.out < 0)
		return fail(argv[1]);
	if (!(flags & O_TRUNC) && tapctl_continue(&tap))
		return fail("continue the log");
	return tapctl_follow(&tap);
}

static int cmd_replay(int argc, char **argv)
{
	struct tapctl_replay r = { .until = ~0ull };
	int i;

	if (argc < 2)
		return 2;
	r.log = argv[0];
	r.image = argv[1];
	for (i = 2; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--until"))
			r.until = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--from"))
			r.from = strtoull(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--compare"))
			r.device = argv[i + 1];
		else
			return 2;
	}
	return tapctl_replay(&r);
}

static int cmd_covers(int argc, char **argv)
{
	struct tapctl tap;

	if (argc != 3)
		return 2;
	if (tapctl_attach(&tap, argv[0]))
		return fail("attach");
	return tapctl_covers(&tap, argv[1], argv[2]);
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{ "format", cmd_format },
	{ "table", cmd_table },
	{ "lease", cmd_lease },
	{ "do", cmd_do },
	{ "record", cmd_record },
	{ "replay", cmd_replay },
	{ "covers", cmd_covers },
};

int main(int argc, char **argv)
{
	size_t i;
	int rc = 2;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(argv[1], verbs[i].name))
			rc = verbs[i].run(argc - 2, argv + 2);
	if (rc == 2)
		fprintf(stderr, "usage: taputil format|table|lease|do|record|replay|covers ...\n");
	return rc;
}
