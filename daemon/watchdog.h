/* SPDX-License-Identifier: GPL-2.0 */
/*
 * watchdog - a hardware watchdog (/dev/watchdog) as the second line behind the module's
 * lease: it resets a host whose daemon hangs while a store there may still write.
 *
 * Invariants:
 *  D1 it is pinged only while the daemon's threads turn, and while the lease holds or
 *     the module says that no store here can write: so a host that is merely cut off,
 *     and fenced, is not reset, and not a whole group that lost its network;
 *  D2 it is disarmed by an orderly end only; where it cannot be, that is said.
 */
#ifndef DAG_WATCHDOG_H
#define DAG_WATCHDOG_H

#include <stdbool.h>
#include <stdint.h>

#define WATCHDOG_SECONDS	10	/* where nothing is configured */

/* Counters of progress, as they are now. Pure. */
struct watchdog_signs {
	unsigned long renewal;		/* turns of the lease's thread */
	unsigned long manager;		/* of the manager's; any, where there is none */
	bool has_manager;
	bool lease_holds;
	bool shut;			/* no store here can write */
};

struct watchdog_judge {
	struct watchdog_signs last;
	bool begun;
};

/* D1. NULL: ping; else why not. */
const char *watchdog_ask(struct watchdog_judge *wj, const struct watchdog_signs *now);

/* The device; the default does what Documentation/watchdog/watchdog-api.rst says. */
struct watchdog_ops {
	int (*open)(const char *path);			/* fd or -errno */
	int (*timeout)(int fd, int *io_seconds);	/* set; what it is now; -errno: not settable */
	int (*ping)(int fd);
	int (*close)(int fd, bool disarm);		/* -errno: it was not disarmed */
};

extern const struct watchdog_ops watchdog_device;

struct watchdog;

struct watchdog_conf {
	const char *path;
	unsigned seconds;
	const struct watchdog_ops *ops;
	/* From the thread here, some times per timeout; must not wait. */
	void (*signs)(void *ctx, struct watchdog_signs *ret);
	void *ctx;
};

int watchdog_start(const struct watchdog_conf *conf, struct watchdog **ret);
void watchdog_stop(struct watchdog *wd);	/* disarms it; NULL is fine */

#endif
