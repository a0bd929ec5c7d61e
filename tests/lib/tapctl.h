/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A client of /dev/dagtap for tests: attach, commands, following the log into a
 * file, and replaying such a file.
 */
#ifndef TESTS_TAPCTL_H
#define TESTS_TAPCTL_H

#include <stdbool.h>

#include "kmod/core/record.h"

#define TAPCTL_DEV	"/dev/dagtap"
#define TAPCTL_ANSWER	512

struct tapctl {
	int fd;
	int out;		/* log file, -1: none */
	bool auto_ack;
	bool quit;
	__u8 uuid[DAGTAP_UUID_BYTES];
	struct dagtap_attach at;
	__u8 *file;		/* mapped ring file */
	struct dagtap_ring_hdr *hdr;
	struct dagtap_ring_user *user;
	__u64 generation;
	__u64 pos;		/* LSN of the next record to read */
	__u32 prev_crc;
	bool chained;		/* prev_crc is known */
	__u64 records;
};

struct tapctl_replay {
	const char *log;
	const char *image;
	const char *device;	/* to compare with, or NULL */
	__u64 from;		/* first record to apply */
	__u64 until;		/* number of records */
};

int tapctl_uuid(const char *text, __u8 *uuid);
int tapctl_attach(struct tapctl *tap, const char *uuid);
int tapctl_command(struct tapctl *tap, const char *line, char *answer);
int tapctl_drain(struct tapctl *tap);
int tapctl_continue(struct tapctl *tap);
int tapctl_follow(struct tapctl *tap);
int tapctl_replay(const struct tapctl_replay *r);
int tapctl_covers(struct tapctl *tap, const char *image, const char *device);

#endif
