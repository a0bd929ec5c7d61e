// SPDX-License-Identifier: GPL-2.0
#include "daemon/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "daemon/log.h"

#define LOOKS	5	/* within one timeout */

/* ---- the device ------------------------------------------------------------------ */

static int dev_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int dev_timeout(int fd, int *io_seconds)
{
	int rc = ioctl(fd, WDIOC_SETTIMEOUT, io_seconds) ? -errno : 0;

	if (ioctl(fd, WDIOC_GETTIMEOUT, io_seconds) && !rc)
		rc = -errno;
	return rc;
}

static int dev_ping(int fd)
{
	return ioctl(fd, WDIOC_KEEPALIVE, 0) ? -errno : 0;
}

/* The magic close; a driver with nowayout, or without it, goes on counting. */
static int dev_close(int fd, bool disarm)
{
	struct watchdog_info wi = { .options = 0 };
	int rc = 0;

	if (disarm && write(fd, "V", 1) != 1)
		rc = -errno;
	if (disarm && !rc && !ioctl(fd, WDIOC_GETSUPPORT, &wi) && !(wi.options & WDIOF_MAGICCLOSE))
		rc = -EOPNOTSUPP;
	close(fd);
	return rc;
}

const struct watchdog_ops watchdog_device = {
	.open = dev_open, .timeout = dev_timeout, .ping = dev_ping, .close = dev_close,
};

/* ---- the decision ---------------------------------------------------------------- */

const char *watchdog_ask(struct watchdog_judge *wj, const struct watchdog_signs *now)
{
	struct watchdog_signs was = wj->last;
	bool begun = wj->begun;

	wj->last = *now;
	wj->begun = true;
	if (begun && now->renewal == was.renewal)
		return "the lease's thread hangs";
	if (begun && now->has_manager && was.has_manager && now->manager == was.manager)
		return "the manager's thread hangs";
	if (!now->lease_holds && !now->shut)
		return "the lease has ended, and a store here may still write";
	return NULL;
}

/* ---- the thread ------------------------------------------------------------------ */

struct watchdog {
	struct watchdog_conf conf;
	struct watchdog_judge judge;
	pthread_t thread;
	int fd, stop_fd, seconds;
};

static void look(struct watchdog *wd, const char **io_told)
{
	struct watchdog_signs now = { .renewal = 0 };
	const char *why;
	int rc;

	wd->conf.signs(wd->conf.ctx, &now);
	why = watchdog_ask(&wd->judge, &now);
	if (why && why != *io_told)
		log_err("watchdog msg=\"not pinged, the host is reset in %d s\" why=\"%s\"",
			wd->seconds, why);
	else if (!why && *io_told)
		log_notice("watchdog msg=\"pinged again\"");
	*io_told = why;
	rc = why ? 0 : wd->conf.ops->ping(wd->fd);
	if (rc)
		log_err("watchdog msg=\"ping failed\" err=\"%s\"", strerror(-rc));
}

static void *watchdog_main(void *arg)
{
	struct watchdog *wd = arg;
	struct pollfd pfd = { .fd = wd->stop_fd, .events = POLLIN };
	const char *told = NULL;

	do {
		look(wd, &told);
	} while (poll(&pfd, 1, wd->seconds * 1000 / LOOKS) <= 0);
	return NULL;
}

int watchdog_start(const struct watchdog_conf *conf, struct watchdog **ret)
{
	struct watchdog *wd = calloc(1, sizeof(*wd));
	int r, t;

	if (!wd)
		return -ENOMEM;
	wd->conf = *conf;
	wd->seconds = conf->seconds ? (int)conf->seconds : WATCHDOG_SECONDS;
	wd->fd = conf->ops->open(conf->path);
	if (wd->fd < 0) {
		r = wd->fd;
		free(wd);
		return r;
	}
	t = conf->ops->timeout(wd->fd, &wd->seconds);
	if (t || wd->seconds != (int)(conf->seconds ? conf->seconds : WATCHDOG_SECONDS))
		log_warn("watchdog device=%s msg=\"its timeout is %d s\"%s%s", conf->path, wd->seconds,
			 t ? " err=" : "", t ? strerror(-t) : "");
	if (wd->seconds < 1)
		wd->seconds = 1;
	wd->stop_fd = eventfd(0, EFD_CLOEXEC);
	r = wd->stop_fd < 0 ? -errno : -pthread_create(&wd->thread, NULL, watchdog_main, wd);
	if (r) {
		conf->ops->close(wd->fd, true);
		if (wd->stop_fd >= 0)
			close(wd->stop_fd);
		free(wd);
		return r;
	}
	log_notice("watchdog device=%s timeout=%d msg=armed", conf->path, wd->seconds);
	*ret = wd;
	return 0;
}

void watchdog_stop(struct watchdog *wd)
{
	int rc;

	if (!wd)
		return;
	eventfd_write(wd->stop_fd, 1);
	pthread_join(wd->thread, NULL);
	rc = wd->conf.ops->close(wd->fd, true);
	if (rc)
		log_err("watchdog device=%s msg=\"not disarmed, the host is reset in %d s unless dagd starts\" "
			"err=\"%s\"", wd->conf.path, wd->seconds, strerror(-rc));
	close(wd->stop_fd);
	free(wd);
}
