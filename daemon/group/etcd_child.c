// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/etcd_child.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/group/etcd_dir.h"
#include "daemon/group/etcd_proc.h"
#include "daemon/log.h"
#include "daemon/net/creds_internal.h"

#define PAUSE_MS_MIN	200
#define PAUSE_MS_MAX	10000
#define WELL_MS		60000		/* up for so long: the next pause is short again */
#define TERM_MS		5000		/* it hands its leadership over */
#define KILL_MS		5000

struct etcd_child {
	char dir[300], creds_dir[300], name[64];
	char version[32];		/* "": not known yet */
	pthread_mutex_t order;		/* one begin, end or change of times at once */
	pthread_mutex_t lock;
	pthread_cond_t changed;		/* the thread has done what was asked */
	struct etcd_child_start start;
	bool wanted, restart, stop, abandon;
	bool rest;			/* not to be started again when it has ended */
	uint64_t asked, done;		/* turns of the thread */
	struct etcd_child_view view;
	int kick_fd;
	pthread_t thread;

	/* of the thread */
	pid_t pid;
	int pidfd;
	bool own;			/* a child in the sense of wait() */
	uint64_t since_ms, pause_ms, not_before_ms;
};

/* ---- the process --------------------------------------------------------- */

/* One that a former dagd left running: by its data directory. */
static bool adopt(struct etcd_child *ec)
{
	char arg[340];
	pid_t pid;
	int fd;

	snprintf(arg, sizeof(arg), "--data-dir=%s/data", ec->dir);
	fd = etcd_proc_find(arg, &pid);
	if (fd < 0)
		return false;
	ec->pid = pid;
	ec->pidfd = fd;
	ec->own = false;
	ec->since_ms = now_ms();
	return true;
}

static int launch(struct etcd_child *ec, const struct etcd_child_start *st, char *err, size_t errlen)
{
	struct etcd_args a;
	pid_t pid;
	int fd, r;

	/* each time: it may have been upgraded */
	r = etcd_version_installed(ec->version, err, errlen);
	if (r)
		return r;
	if (etcd_dir_lost(ec->dir)) {
		snprintf(err, errlen, "%s/data: is gone; etcd must not vote without it", ec->dir);
		pthread_mutex_lock(&ec->lock);
		ec->view.lost = true;
		pthread_mutex_unlock(&ec->lock);
		return -ENODATA;
	}
	fd = etcd_dir_log(ec->dir);
	if (fd < 0) {
		r = fd;
		snprintf(err, errlen, "%s/log: %s", ec->dir, strerror(-r));
		return r;
	}
	r = creds_crl_ensure(ec->creds_dir);
	if (r) {
		snprintf(err, errlen, "%s/%s: %s", ec->creds_dir, CREDS_CRL, strerror(-r));
		close(fd);
		return r;
	}
	etcd_args_make(&a, st, ec->dir, ec->creds_dir, ec->name, ec->version);
	r = a.broken ? -ENOMEM : etcd_proc_spawn(&pid, a.v, a.proxy[0] ? a.proxy : NULL, fd);
	etcd_args_free(&a);
	close(fd);
	if (!r) {
		ec->pidfd = pidfd_open(pid, 0);
		if (ec->pidfd < 0) {
			r = -errno;
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
	}
	if (r) {
		snprintf(err, errlen, "etcd not started: %s", strerror(-r));
		return r;
	}
	ec->pid = pid;
	ec->own = true;
	ec->since_ms = now_ms();
	return 0;
}

static bool has_ended(struct etcd_child *ec, int timeout_ms)
{
	struct pollfd pfd = { .fd = ec->pidfd, .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) > 0;
}

static void reap(struct etcd_child *ec, char *ret, size_t len)
{
	int status = 0;

	snprintf(ret, len, "etcd has ended");
	if (ec->own && waitpid(ec->pid, &status, 0) == ec->pid) {
		if (WIFSIGNALED(status))
			snprintf(ret, len, "etcd was ended by signal %d", WTERMSIG(status));
		else
			snprintf(ret, len, "etcd has ended with status %d, see %.100s/log",
				 WEXITSTATUS(status), ec->dir);
	}
	close(ec->pidfd);
	ec->pidfd = -1;
	ec->pid = 0;
}

static void put_down(struct etcd_child *ec)
{
	char ignored[160];

	if (!ec->pid)
		return;
	pidfd_send_signal(ec->pidfd, SIGTERM, NULL, 0);
	if (!has_ended(ec, TERM_MS)) {
		log_warn("engine pid=%d msg=\"does not stop, killed\"", ec->pid);
		pidfd_send_signal(ec->pidfd, SIGKILL, NULL, 0);
		has_ended(ec, KILL_MS);
	}
	reap(ec, ignored, sizeof(ignored));
}

/* ---- the thread ---------------------------------------------------------- */

static void note(struct etcd_child *ec, const char *error)
{
	pthread_mutex_lock(&ec->lock);
	ec->view.pid = ec->pid;
	ec->view.adopted = ec->pid && !ec->own;
	if (error)
		snprintf(ec->view.error, sizeof(ec->view.error), "%.*s",
			 (int)sizeof(ec->view.error) - 1, error);
	pthread_mutex_unlock(&ec->lock);
}

static void try_start(struct etcd_child *ec, const struct etcd_child_start *st)
{
	char err[480], listen[ETCD_URL_MAX], crl[ETCD_CRL_ARG_MAX];

	etcd_arg_listen(st, listen);
	etcd_arg_crl(ec->creds_dir, crl);
	if (adopt(ec) && (!etcd_proc_has(ec->pid, listen) || !etcd_proc_has(ec->pid, crl))) {
		log_notice("engine pid=%d msg=\"etcd of an older dagd, started anew\"", ec->pid);
		put_down(ec);
	}
	if (ec->pid) {
		log_notice("engine pid=%d msg=\"etcd runs on from before\"", ec->pid);
		note(ec, "");
		return;
	}
	ec->pause_ms = ec->pause_ms ? ec->pause_ms * 2 : PAUSE_MS_MIN;
	if (ec->pause_ms > PAUSE_MS_MAX)
		ec->pause_ms = PAUSE_MS_MAX;
	ec->not_before_ms = now_ms() + ec->pause_ms;
	if (launch(ec, st, err, sizeof(err))) {
		log_err("engine msg=\"not started\" err=\"%s\" again_ms=%llu", err,
			(unsigned long long)ec->pause_ms);
		note(ec, err);
		return;
	}
	log_notice("engine pid=%d version=%s msg=\"etcd started\"", ec->pid, ec->version);
	pthread_mutex_lock(&ec->lock);
	ec->view.starts++;
	pthread_mutex_unlock(&ec->lock);
	note(ec, NULL);
}

static void check_child(struct etcd_child *ec)
{
	char why[160];

	if (has_ended(ec, 0)) {
		reap(ec, why, sizeof(why));
		log_err("engine msg=\"%s\"", why);
		note(ec, why);
	} else if (ec->pause_ms && now_ms() - ec->since_ms > WELL_MS) {
		ec->pause_ms = 0;
		note(ec, "");
	}
	etcd_dir_note_begun(ec->dir);
	etcd_dir_bound_log(ec->dir);
}

static int wait_ms(struct etcd_child *ec)
{
	uint64_t now = now_ms();

	if (ec->pid || ec->not_before_ms > now + 1000)
		return 1000;
	return ec->not_before_ms > now ? ec->not_before_ms - now : 0;
}

static void *child_thread(void *arg_)
{
	struct etcd_child *ec = arg_;
	struct etcd_child_start *st = malloc(sizeof(*st));
	bool wanted, restart, stop, abandon, rest;
	uint64_t asked, n;

	if (!st)
		abort();
	for (;;) {
		struct pollfd pfd[2] = { { .fd = ec->kick_fd, .events = POLLIN },
					 { .fd = ec->pidfd, .events = POLLIN } };
		int idle_ms;

		pthread_mutex_lock(&ec->lock);
		*st = ec->start;
		wanted = ec->wanted;
		restart = ec->restart;
		ec->restart = false;
		stop = ec->stop;
		abandon = ec->abandon;
		rest = ec->rest;
		asked = ec->asked;
		pthread_mutex_unlock(&ec->lock);
		if (abandon)
			break;
		if (ec->pid)
			check_child(ec);
		/* not wanted, and yet one may run that a former dagd should have ended */
		if (!wanted && !ec->pid)
			adopt(ec);
		if (stop || !wanted || restart)
			put_down(ec);
		if (restart)
			ec->pause_ms = ec->not_before_ms = 0;
		if (!stop && wanted && !rest && !ec->pid && now_ms() >= ec->not_before_ms)
			try_start(ec, st);
		note(ec, NULL);
		pthread_mutex_lock(&ec->lock);
		ec->done = asked;
		pthread_cond_broadcast(&ec->changed);
		pthread_mutex_unlock(&ec->lock);
		if (stop)
			break;
		pfd[1].fd = ec->pidfd;
		idle_ms = wanted && (ec->pid || !rest) ? wait_ms(ec) : -1;
		if (poll(pfd, 2, idle_ms) > 0 && pfd[0].revents &&
		    read(ec->kick_fd, &n, sizeof(n)) < 0)
			log_err("engine err=\"%m\"");
	}
	if (ec->pidfd >= 0)
		close(ec->pidfd);
	free(st);
	return NULL;
}

/* With the lock: wake the thread and wait until it has acted on what is set now. */
static void turn(struct etcd_child *ec)
{
	uint64_t one = 1, want = ++ec->asked;

	if (write(ec->kick_fd, &one, sizeof(one)) < 0)
		abort();	/* cannot be: the counter is far from full */
	while (ec->done < want)
		pthread_cond_wait(&ec->changed, &ec->lock);
}

/* ---- for others ---------------------------------------------------------- */

int etcd_child_open(const struct etcd_child_conf *conf, struct etcd_child **ret)
{
	struct etcd_child *ec = calloc(1, sizeof(*ec));
	int r;

	if (!ec)
		return -ENOMEM;
	snprintf(ec->dir, sizeof(ec->dir), "%s", conf->dir);
	snprintf(ec->creds_dir, sizeof(ec->creds_dir), "%s", conf->creds_dir);
	snprintf(ec->name, sizeof(ec->name), "%s", conf->name);
	ec->pidfd = -1;
	pthread_mutex_init(&ec->order, NULL);
	pthread_mutex_init(&ec->lock, NULL);
	pthread_cond_init(&ec->changed, NULL);
	ec->kick_fd = eventfd(0, EFD_CLOEXEC);
	r = ec->kick_fd < 0 ? -errno : creds_dir_make(ec->dir);
	if (!r)
		r = etcd_start_load(ec->dir, &ec->start);
	ec->wanted = ec->view.wanted = !r;
	if (!r || r == -ENOENT || r == -EINVAL)
		r = -pthread_create(&ec->thread, NULL, child_thread, ec);
	if (r) {
		if (ec->kick_fd >= 0)
			close(ec->kick_fd);
		free(ec);
		return r;
	}
	*ret = ec;
	return 0;
}

static void close_thread(struct etcd_child *ec, bool abandon)
{
	uint64_t one = 1;

	pthread_mutex_lock(&ec->lock);
	if (abandon)
		ec->abandon = true;
	else
		ec->stop = true;
	pthread_mutex_unlock(&ec->lock);
	if (write(ec->kick_fd, &one, sizeof(one)) < 0)
		abort();
	pthread_join(ec->thread, NULL);
	close(ec->kick_fd);
	pthread_mutex_destroy(&ec->order);
	pthread_mutex_destroy(&ec->lock);
	pthread_cond_destroy(&ec->changed);
	free(ec);
}

void etcd_child_close(struct etcd_child *ec)
{
	if (ec)
		close_thread(ec, false);
}

void etcd_child_abandon(struct etcd_child *ec)
{
	if (ec)
		close_thread(ec, true);
}

/* With the lock, and no etcd that runs. */
static int clear(struct etcd_child *ec)
{
	int r = etcd_dir_clear(ec->dir);

	if (!r)
		ec->view.lost = false;
	return r;
}

int etcd_child_begin(struct etcd_child *ec, const struct etcd_child_start *start, char *err,
		     size_t errlen)
{
	char version[32];
	int r;

	r = etcd_version_installed(version, err, errlen);
	if (r)
		return r;
	pthread_mutex_lock(&ec->order);
	pthread_mutex_lock(&ec->lock);
	ec->rest = false;
	if (ec->wanted && ec->start.id == start->id && !strcmp(ec->start.token, start->token)) {
		if (!ec->view.pid && strcmp(ec->start.cluster, start->cluster)) {
			r = etcd_start_save(ec->dir, start);
			if (!r)
				ec->start = *start;
		}
		turn(ec);
		goto out;
	}
	/* what it has is of another group, or of a voter that is none any more */
	ec->wanted = false;
	turn(ec);
	r = clear(ec);
	if (!r)
		r = etcd_start_save(ec->dir, start);
	if (r) {
		snprintf(err, errlen, "%s: %s", ec->dir, strerror(-r));
		goto out;
	}
	ec->start = *start;
	ec->wanted = ec->view.wanted = true;
	ec->restart = true;
	turn(ec);
out:
	pthread_mutex_unlock(&ec->lock);
	pthread_mutex_unlock(&ec->order);
	return r;
}

int etcd_child_end(struct etcd_child *ec)
{
	char path[320];
	int r = 0;

	snprintf(path, sizeof(path), "%s/%s", ec->dir, ETCD_MEMBER_FILE);
	pthread_mutex_lock(&ec->order);
	pthread_mutex_lock(&ec->lock);
	ec->wanted = ec->view.wanted = ec->rest = false;
	turn(ec);
	if (unlink(path) && errno != ENOENT)
		r = -errno;
	if (!r)
		r = clear(ec);
	pthread_mutex_unlock(&ec->lock);
	pthread_mutex_unlock(&ec->order);
	return r;
}

void etcd_child_rest(struct etcd_child *ec, bool on)
{
	pthread_mutex_lock(&ec->order);
	pthread_mutex_lock(&ec->lock);
	if (ec->rest != on) {
		ec->rest = on;
		turn(ec);
	}
	pthread_mutex_unlock(&ec->lock);
	pthread_mutex_unlock(&ec->order);
}

int etcd_child_times(struct etcd_child *ec, uint32_t heartbeat_ms, uint32_t election_ms)
{
	struct etcd_child_start *st = malloc(sizeof(*st));
	int r = 0;

	if (!st)
		return -ENOMEM;
	pthread_mutex_lock(&ec->order);
	pthread_mutex_lock(&ec->lock);
	*st = ec->start;
	if (ec->wanted && (st->heartbeat_ms != heartbeat_ms || st->election_ms != election_ms)) {
		st->heartbeat_ms = heartbeat_ms;
		st->election_ms = election_ms;
		r = etcd_start_save(ec->dir, st);
		if (!r) {
			ec->start = *st;
			ec->restart = true;
			turn(ec);
		}
	}
	pthread_mutex_unlock(&ec->lock);
	pthread_mutex_unlock(&ec->order);
	free(st);
	return r;
}

void etcd_child_look(struct etcd_child *ec, struct etcd_child_view *ret)
{
	pthread_mutex_lock(&ec->lock);
	*ret = ec->view;
	ret->id = ec->start.id;
	memcpy(ret->token, ec->start.token, sizeof(ret->token));
	pthread_mutex_unlock(&ec->lock);
}
