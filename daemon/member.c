// SPDX-License-Identifier: GPL-2.0
#include "daemon/member.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/control/control.h"
#include "daemon/control/history.h"
#include "daemon/group/engine_switch.h"
#include "daemon/group/renewal.h"
#include "daemon/systemd.h"
#include "daemon/tap/tap.h"
#include "daemon/watchdog.h"
#include "include/dag/version.h"

struct member {
	const struct config *cf;
	struct engine *engine;
	struct renewal *renewal;
	struct control *control;
	struct history *history;
	struct watchdog *watchdog;	/* NULL: none is configured, or it cannot be had */
	pthread_mutex_t signs_lock;
	bool ending;			/* the control goes away */
	int lock_fd;
};

static int take_lock(struct member *mb)
{
	char path[300];
	int fd;

	if (mkdir(mb->cf->state_dir, 0700) && errno != EEXIST) {
		log_err("state dir=%s err=\"%m\"", mb->cf->state_dir);
		return -errno;
	}
	snprintf(path, sizeof(path), "%s/lock", mb->cf->state_dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB)) {
		int r = -errno;

		log_err("state file=%s err=\"%s\"%s", path, strerror(-r),
			r == -EWOULDBLOCK ? " msg=\"another dagd uses this state directory\"" : "");
		if (fd >= 0)
			close(fd);
		return r;
	}
	mb->lock_fd = fd;
	return 0;
}

/* Four tries within a lease, until the group's profile is known. */
static uint32_t lease_period_ms(const struct config *cf)
{
	return cf->lease_ms ? cf->lease_ms / 4 : 1000;
}

static int open_engine(struct member *mb)
{
	const struct engine_switch_conf sc = { .state_dir = mb->cf->state_dir,
					       .self = mb->cf->member,
					       .lease_ms = mb->cf->lease_ms };

	return engine_switch_open(&sc, &mb->engine);
}

static void signs(void *ctx, struct watchdog_signs *ret)
{
	struct member *mb = ctx;

	ret->renewal = renewal_beats(mb->renewal);
	ret->lease_holds = renewal_holds(mb->renewal);
	/* At the end the stores are closed one after the other: systemd limits that. */
	pthread_mutex_lock(&mb->signs_lock);
	if (mb->ending)
		ret->shut = true;
	else
		control_signs(mb->control, ret);
	pthread_mutex_unlock(&mb->signs_lock);
}

/* A member without it is better than none, but a person counts on it. */
static void start_watchdog(struct member *mb)
{
	struct watchdog_conf conf = {
		.path = mb->cf->watchdog, .seconds = mb->cf->watchdog_timeout_s,
		.ops = &watchdog_device, .signs = signs, .ctx = mb,
	};
	int r = mb->cf->watchdog[0] ? watchdog_start(&conf, &mb->watchdog) : 0;

	if (!r)
		return;
	log_err("watchdog device=%s msg=\"not used\" err=\"%s\"%s", mb->cf->watchdog, strerror(-r),
		r == -EBUSY ? " next=\"RuntimeWatchdogSec=off in systemd-system.conf(5)\"" : "");
	history_add(mb->history, "alert", "", NULL, "watchdog %s is not used: %s", mb->cf->watchdog,
		    strerror(-r));
}

/* The lease first: a store that is taken up again needs it. */
static int start(struct member *mb, const struct tap_ops *tap)
{
	struct renewal_conf rc = {
		.lease = tap->lease,
		.period_ms = lease_period_ms(mb->cf),
	};
	struct control_conf cc = { .cf = mb->cf, .tap = tap };
	int r;

	r = take_lock(mb);
	if (r)
		return r;
	/* a member without a history is better than none */
	r = history_open(mb->cf->state_dir, mb->cf->member, &mb->history);
	if (r)
		log_err("history dir=%s msg=\"not kept\" err=\"%s\"", mb->cf->state_dir, strerror(-r));
	history_add(mb->history, "daemon", "", NULL, "dagd %s started", DAG_VERSION);
	cc.history = mb->history;
	r = open_engine(mb);
	if (r)
		return r;
	rc.engine = cc.engine = mb->engine;
	r = renewal_start(&rc, &mb->renewal);
	if (r)
		return r;
	cc.renewal = mb->renewal;
	r = control_start(&cc, &mb->control);
	if (!r)
		start_watchdog(mb);
	return r;
}

int member_start(const struct member_conf *conf, struct member **ret)
{
	struct member *mb = calloc(1, sizeof(*mb));
	int r;

	if (!mb)
		return -ENOMEM;
	mb->cf = conf->cf;
	mb->lock_fd = -1;
	pthread_mutex_init(&mb->signs_lock, NULL);
	r = start(mb, conf->tap);
	if (r) {
		member_stop(mb);
		return r;
	}
	*ret = mb;
	return 0;
}

/*
 * A restart is a pause and no more; an end is not to make others wait for the lease to
 * run out. Without a quorum there are no others.
 */
static bool leaves(struct member *mb)
{
	if (!mb->control || !mb->renewal || !mb->engine->ops->release)
		return false;
	return mb->cf->on_stop == ON_STOP_MOVE && !systemd_restarts("dagd.service");
}

void member_stop(struct member *mb)
{
	bool leaving = leaves(mb);

	if (leaving)
		control_leave(mb->control);
	pthread_mutex_lock(&mb->signs_lock);
	mb->ending = true;
	pthread_mutex_unlock(&mb->signs_lock);
	if (mb->control)
		control_stop(mb->control);
	if (leaving)
		renewal_let_go(mb->renewal, "dagd is stopped");
	watchdog_stop(mb->watchdog);
	if (mb->renewal)
		renewal_stop(mb->renewal);
	if (mb->engine)
		mb->engine->ops->close(mb->engine);
	history_add(mb->history, "daemon", "", NULL, "dagd stopped");
	history_close(mb->history);
	if (mb->lock_fd >= 0)
		close(mb->lock_fd);
	pthread_mutex_destroy(&mb->signs_lock);
	free(mb);
}

struct history *member_history(struct member *mb)
{
	return mb->history;
}

struct engine *member_engine(struct member *mb)
{
	return mb->engine;
}

struct renewal *member_renewal(struct member *mb)
{
	return mb->renewal;
}
