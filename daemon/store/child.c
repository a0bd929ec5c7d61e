// SPDX-License-Identifier: GPL-2.0
/*
 * Start: fork, because what the daemon protects itself with (no OOM, no wait for
 * write-back, blocked signals) is not for its children. End: by a pidfd, so that
 * the program is waited for and not whoever inherited its output. Kill: TERM to
 * the group, KILL after a grace; a process that even then does not end (it hangs
 * in the kernel) is given up and reaped some other time.
 */
#include "daemon/store/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/log.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER	57
#endif

#define GRACE_MS	2000
#define LINE_BYTES	256
#define GIVEN_UP_MAX	64

struct run {
	const struct child_conf *conf;
	pid_t pid;
	int pidfd, out;
	char line[LINE_BYTES];
	size_t len;
	char *last;
	size_t lastlen;
};

/* ---- processes that would not end ---------------------------------------- */

static pthread_mutex_t given_up_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t given_up[GIVEN_UP_MAX];

static void reap_given_up(void)
{
	pthread_mutex_lock(&given_up_lock);
	for (int i = 0; i < GIVEN_UP_MAX; i++)
		if (given_up[i] && waitpid(given_up[i], NULL, WNOHANG))
			given_up[i] = 0;
	pthread_mutex_unlock(&given_up_lock);
}

static void give_up(pid_t pid)
{
	pthread_mutex_lock(&given_up_lock);
	for (int i = 0; i < GIVEN_UP_MAX; i++) {
		if (given_up[i])
			continue;
		given_up[i] = pid;
		break;
	}
	pthread_mutex_unlock(&given_up_lock);
}

/* ---- start --------------------------------------------------------------- */

/* After fork() in a program with threads: system calls only. */
static void __attribute__((noreturn)) become(const struct child_conf *conf, int out, int nul)
{
	sigset_t none;
	int fd;

	setpgid(0, 0);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "0", 1) < 0)
		_exit(126);
	if (dup2(nul, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(126);
	environ = (char **)conf->envp;
	execvp(conf->argv[0], conf->argv);
	dprintf(2, "%s: %s\n", conf->argv[0], strerror(errno));
	_exit(127);
}

static int start(struct run *r)
{
	int fds[2], nul, rc = 0;

	nul = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (nul < 0)
		return -errno;
	if (pipe2(fds, O_CLOEXEC)) {
		rc = -errno;
		close(nul);
		return rc;
	}
	r->pid = fork();
	if (!r->pid)
		become(r->conf, fds[1], nul);
	if (r->pid < 0)
		rc = -errno;
	close(fds[1]);
	close(nul);
	if (!rc) {
		setpgid(r->pid, r->pid);	/* whoever of the two comes first */
		r->pidfd = (int)syscall(SYS_pidfd_open, r->pid, 0);
		rc = r->pidfd < 0 ? -errno : 0;
		if (rc) {
			kill(-r->pid, SIGKILL);
			give_up(r->pid);
		}
	}
	if (rc) {
		close(fds[0]);
		return rc;
	}
	r->out = fds[0];
	fcntl(r->out, F_SETFL, O_NONBLOCK);
	return 0;
}

/* ---- output -------------------------------------------------------------- */

static void end_line(struct run *r)
{
	if (!r->len)
		return;
	r->line[r->len] = '\0';
	for (char *p = r->line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	log_info("store=%s program=%s says=\"%s\"", r->conf->name, r->conf->argv[0], r->line);
	snprintf(r->last, r->lastlen, "%s", r->line);
	r->len = 0;
}

/* What is there now; false: nobody will write any more. */
static bool take_output(struct run *r)
{
	char buf[1024];
	ssize_t n;

	while ((n = read(r->out, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] == '\n' || r->len == LINE_BYTES - 1)
				end_line(r);
			if (buf[i] != '\n')
				r->line[r->len++] = buf[i];
		}
	}
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* ---- end ----------------------------------------------------------------- */

/* 0: it has ended; -ETIMEDOUT, -ECANCELED. */
static int watch(struct run *r, uint64_t until, int cancel_fd)
{
	struct pollfd p[3] = {
		{ .fd = r->pidfd, .events = POLLIN },
		{ .fd = r->out, .events = POLLIN },
		{ .fd = cancel_fd, .events = POLLIN },
	};

	for (;;) {
		uint64_t now = now_ms();

		if (now >= until)
			return -ETIMEDOUT;
		if (poll(p, 3, until - now > 60000 ? 60000 : (int)(until - now)) < 0 &&
		    errno != EINTR)
			return -errno;
		if (p[1].revents && !take_output(r))
			p[1].fd = -1;
		if (p[0].revents)
			return 0;
		if (p[2].revents)
			return -ECANCELED;
	}
}

static int reap(struct run *r)
{
	int status;

	while (waitpid(r->pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void kill_group(struct run *r)
{
	static const int signals[] = { SIGTERM, SIGKILL };
	unsigned grace = r->conf->grace_ms ? r->conf->grace_ms : GRACE_MS;

	for (int i = 0; i < 2; i++) {
		kill(-r->pid, signals[i]);
		if (watch(r, now_ms() + grace, -1))
			continue;
		/* its children may have ignored the first */
		kill(-r->pid, SIGKILL);
		reap(r);
		return;
	}
	log_err("store=%s program=%s pid=%d msg=\"hangs in the kernel, given up\"", r->conf->name,
		r->conf->argv[0], r->pid);
	give_up(r->pid);
}

int child_run(const struct child_conf *conf, char *last, size_t lastlen)
{
	struct run r = { .conf = conf, .last = last, .lastlen = lastlen };
	int rc;

	last[0] = '\0';
	reap_given_up();
	rc = start(&r);
	if (rc)
		return rc;
	rc = watch(&r, now_ms() + conf->timeout_ms, conf->cancel_fd);
	if (rc)
		kill_group(&r);
	take_output(&r);
	end_line(&r);
	if (!rc)
		rc = reap(&r);
	close(r.pidfd);
	close(r.out);
	return rc;
}
