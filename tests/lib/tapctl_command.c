// SPDX-License-Identifier: GPL-2.0
/*
 * The words that taputil understands, each one ioctl or a loop of them.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tests/lib/tapctl.h"

#define ARGS_MAX 6

struct args {
	char *word[ARGS_MAX];
	int nr;
	__u64 value;		/* of the answer */
	char *text;		/* more of the answer */
};

static __u64 number(const struct args *a, int i)
{
	return i < a->nr ? strtoull(a->word[i], NULL, 0) : 0;
}

static bool is(const struct args *a, int i, const char *word)
{
	return i < a->nr && !strcmp(a->word[i], word);
}

/* role active EPOCH [gap|resume|continue|- [START]] | role passive | role fenced */
static int do_role(struct tapctl *tap, struct args *a)
{
	struct dagtap_role_set role = {0};
	int rc;

	role.role = is(a, 1, "active") ? DAGTAP_ROLE_ACTIVE :
		    is(a, 1, "fenced") ? DAGTAP_ROLE_FENCED : DAGTAP_ROLE_PASSIVE;
	role.epoch = (__u32)number(a, 2);
	role.tag = 0x7a67;
	role.flags = is(a, 3, "gap") ? DAGTAP_ROLEF_GAP :
		     is(a, 3, "resume") ? DAGTAP_ROLEF_RESUME :
		     is(a, 3, "continue") ? DAGTAP_ROLEF_CONTINUE : 0;
	role.start_lsn = number(a, 4);
	role.group_generation = 1;
	if (tap->out >= 0 && tapctl_drain(tap))
		return -1;
	rc = ioctl(tap->fd, DAGTAP_IOC_ROLE, &role);
	a->value = role.start_lsn;
	return rc;
}

/* mode async|commit|sync [FULL_MS PARK_MS] */
static int do_mode(struct tapctl *tap, struct args *a)
{
	struct dagtap_mode_set mode = {
		.full_timeout_ms = a->nr > 2 ? (__u32)number(a, 2) : 1000,
		.park_timeout_ms = a->nr > 3 ? (__u32)number(a, 3) : 10000,
	};

	mode.mode = is(a, 1, "commit") ? DAGTAP_MODE_COMMIT :
		    is(a, 1, "sync") ? DAGTAP_MODE_SYNC : DAGTAP_MODE_ASYNC;
	return ioctl(tap->fd, DAGTAP_IOC_MODE, &mode);
}

/* ack on|off|LSN */
static int do_ack(struct tapctl *tap, struct args *a)
{
	struct dagtap_ack ack = { .generation = tap->hdr->generation };

	if (is(a, 1, "on") || is(a, 1, "off")) {
		tap->auto_ack = is(a, 1, "on");
		return 0;
	}
	ack.free_lsn = ack.ack_lsn = ack.clear_lsn = number(a, 1);
	return ioctl(tap->fd, DAGTAP_IOC_ACK, &ack);
}

static int resync_one(struct tapctl *tap, __u64 sector, __u32 bytes, __u64 *ret_lsn)
{
	struct dagtap_resync r = { .sector = sector, .bytes = bytes };
	int rc, tries;

	for (tries = 0; tries < 1000; tries++) {
		rc = ioctl(tap->fd, DAGTAP_IOC_RESYNC, &r);
		if (!rc || errno != EAGAIN)
			break;
		if (tapctl_drain(tap))
			return -1;
		usleep(1000);
	}
	*ret_lsn = r.lsn;
	return rc;
}

static int get_regions(struct tapctl *tap, struct dagtap_info *info, __u8 **ret_bits)
{
	struct dagtap_regions regions = {0};
	__u8 *bits = NULL;

	*ret_bits = NULL;
	if (ioctl(tap->fd, DAGTAP_IOC_INFO, info))
		return -1;
	bits = calloc(1, info->regions / 8 + 8);
	if (!bits)
		return -1;
	*ret_bits = bits;
	regions.count = info->regions;
	regions.bitmap = (__u64)(unsigned long)*ret_bits;
	return ioctl(tap->fd, DAGTAP_IOC_REGIONS, &regions);
}

/* resync SECTOR BYTES | resync dirty: every dirty region, as a seed */
static int do_resync(struct tapctl *tap, struct args *a)
{
	struct dagtap_info info;
	__u64 r, sector, end;
	__u8 *bits;
	int rc;

	if (!is(a, 1, "dirty"))
		return resync_one(tap, number(a, 1), (__u32)number(a, 2), &a->value);
	rc = get_regions(tap, &info, &bits);
	for (r = 0; r < info.regions && !rc; r++) {
		if (!(bits[r / 8] >> (r % 8) & 1))
			continue;
		sector = r * (info.region_bytes / DAGTAP_SECTOR);
		end = sector + info.region_bytes / DAGTAP_SECTOR;
		if (end > info.dev_sectors)
			end = info.dev_sectors;
		while (sector < end && !rc) {
			__u64 n = (end - sector) * DAGTAP_SECTOR;

			if (n > DAGTAP_PAYLOAD_MAX)
				n = DAGTAP_PAYLOAD_MAX;
			rc = resync_one(tap, sector, (__u32)n, &a->value);
			sector += n / DAGTAP_SECTOR;
		}
	}
	free(bits);
	return rc;
}

/* mark NAME | seed begin|end */
static int do_mark(struct tapctl *tap, struct args *a)
{
	struct dagtap_mark mark = { .type = DAGTAP_REC_MARK };
	int rc;

	if (is(a, 0, "seed")) {
		mark.type = DAGTAP_REC_STATE;
		mark.kind = is(a, 1, "end") ? DAGTAP_STATE_SEED_END
					    : DAGTAP_STATE_SEED_BEGIN;
		mark.bytes = sizeof(struct dagtap_state_payload);
	} else if (a->nr > 1) {
		mark.bytes = (__u32)strnlen(a->word[1], DAGTAP_MARK_MAX);
		memcpy(mark.payload, a->word[1], mark.bytes);
	}
	rc = ioctl(tap->fd, DAGTAP_IOC_MARK, &mark);
	a->value = mark.lsn;
	return rc;
}

static int do_restart(struct tapctl *tap, struct args *a)
{
	struct dagtap_restart restart = {0};
	int rc;

	if (tap->out >= 0 && tapctl_drain(tap))
		return -1;
	rc = ioctl(tap->fd, DAGTAP_IOC_RESTART, &restart);
	a->value = restart.start_lsn;
	return rc;
}

/* dirty REGION: marks one region */
static int do_dirty(struct tapctl *tap, struct args *a)
{
	__u8 bits = (__u8)(1u << (number(a, 1) % 8));
	struct dagtap_regions regions = {
		.first = number(a, 1) & ~7ull,
		.count = (number(a, 1) & 7) + 1,
		.bitmap = (__u64)(unsigned long)&bits,
		.flags = DAGTAP_REGIONSF_SET,
	};

	return ioctl(tap->fd, DAGTAP_IOC_REGIONS, &regions);
}

static int do_info(struct tapctl *tap, struct args *a)
{
	struct dagtap_info i;

	if (ioctl(tap->fd, DAGTAP_IOC_INFO, &i))
		return -1;
	snprintf(a->text, TAPCTL_ANSWER / 2,
		 "role=%u state=%u mode=%u epoch=%u reserve=%llu commit=%llu freed=%llu "
		 "ack=%llu dirty=%llu failed=%llu held=%llu parked=%llu stalls=%llu "
		 "crashed=%u",
		 i.role, i.state, i.mode, i.epoch, i.reserve_lsn, i.commit_lsn,
		 i.freed_lsn, i.ack_lsn, i.regions_dirty, i.regions_failed, i.held,
		 i.parked, i.stalls, tap->at.crashed);
	return 0;
}

/* drain: read everything that is committed now */
static int do_drain(struct tapctl *tap, struct args *a)
{
	a->value = tap->records;
	return tapctl_drain(tap);
}

static int do_quit(struct tapctl *tap, struct args *a)
{
	a->value = tap->records;
	tap->quit = true;
	return 0;
}

/* scribble: a hostile daemon overwrites both control pages */
static int do_scribble(struct tapctl *tap, struct args *a)
{
	memset(tap->file, 0xa5, 2 * DAGTAP_BLOCK);
	a->value = 0;
	return 0;
}

static const struct {
	const char *name;
	int (*run)(struct tapctl *tap, struct args *a);
} commands[] = {
	{ "role", do_role },
	{ "mode", do_mode },
	{ "ack", do_ack },
	{ "resync", do_resync },
	{ "mark", do_mark },
	{ "seed", do_mark },
	{ "restart", do_restart },
	{ "dirty", do_dirty },
	{ "info", do_info },
	{ "drain", do_drain },
	{ "quit", do_quit },
	{ "scribble", do_scribble },
};

int tapctl_command(struct tapctl *tap, const char *line, char *answer)
{
	char copy[256], text[TAPCTL_ANSWER / 2] = "", *save = NULL;
	struct args a = { .text = text };
	size_t i;
	int rc = -1;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok_r(copy, " ", &save); w && a.nr < ARGS_MAX;
	     w = strtok_r(NULL, " ", &save))
		a.word[a.nr++] = w;
	errno = ENOSYS;
	for (i = 0; a.nr && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(a.word[0], commands[i].name))
			rc = commands[i].run(tap, &a);
	if (rc)
		snprintf(answer, TAPCTL_ANSWER, "err %d %.100s", errno, line);
	else
		snprintf(answer, TAPCTL_ANSWER, "ok %llu %s",
			 (unsigned long long)a.value, text);
	return rc;
}
