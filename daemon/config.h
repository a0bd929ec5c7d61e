/* SPDX-License-Identifier: GPL-2.0 */
/*
 * config - dag.conf: what a member must know before it knows its group.
 *
 * Lines of `key = value`; '#' begins a comment; a key may stand once. The
 * parser is pure: errors come back as text that names file and line.
 */
#ifndef DAG_CONFIG_H
#define DAG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/log.h"
#include "daemon/loop/loop.h"
#include "daemon/net/stream.h"

#define CONFIG_METRICS_PORT	64331

#define CONFIG_PATH	"/etc/dag/dag.conf"

/* What an orderly end of the daemon does with the stores that are active here. */
enum on_stop { ON_STOP_MOVE, ON_STOP_KEEP };

struct config {
	char member[64];		/* "": host name */
	char address[64];		/* numeric; "": not set */
	uint16_t port;
	char state_dir[256];
	char run_dir[64];		/* sockets: their paths are short */
	enum stream_security security;
	bool ktls;
	bool compression;		/* no: the log neither goes nor comes compressed */
	enum loop_backend io;
	uint32_t lease_ms;		/* 0: none */
	uint32_t park_timeout_ms;
	uint32_t receive_ring_mib;
	uint32_t step_retry_s;
	int on_stop;			/* enum on_stop */
	char watchdog[256];		/* device; "": none */
	uint32_t watchdog_timeout_s;
	uint32_t redundancy_alert_s;	/* fewer than 2 healthy copies for so long */
	uint32_t redundancy_repeat_s;
	char metrics_address[64];	/* numeric */
	uint16_t metrics_port;		/* 0: off */
	enum log_level log_level;
};

void config_defaults(struct config *ret);
/* text: NUL-terminated; name: for messages. -EINVAL, and *ret untouched. */
int config_parse(const char *text, const char *name, struct config *ret, char *err, size_t errlen);
/* Read a file and fill in the host name; missing_ok: defaults if it is absent. */
int config_load(const char *path, bool missing_ok, struct config *ret, char *err, size_t errlen);

#endif
