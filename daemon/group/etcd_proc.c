// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/etcd_proc.h"
#include "daemon/clock.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSION_MS	10000

int etcd_version_check(const char *version, char *err, size_t errlen)
{
	unsigned major, minor, patch;

	if (sscanf(version, "%u.%u.%u", &major, &minor, &patch) != 3) {
		snprintf(err, errlen, "etcd: version '%.32s' is not understood", version);
		return -EOPNOTSUPP;
	}
	if (major == 3 && minor == 5 && patch <= 5) {
		snprintf(err, errlen, "etcd %u.%u.%u can lose data (3.5.0 to 3.5.5 can); install "
			 "another version of etcd-server", major, minor, patch);
		return -EOPNOTSUPP;
	}
	if (major != 3 || minor < 4 || (minor == 4 && patch < 22)) {
		snprintf(err, errlen, "etcd %u.%u.%u is not supported; install etcd-server 3.4.22 or "
			 "later of version 3", major, minor, patch);
		return -EOPNOTSUPP;
	}
	return 0;
}

int etcd_proc_spawn(pid_t *ret, char *const argv[], const char *more, int out_fd)
{
	char *env[4] = { "PATH=/usr/bin:/bin", (char *)more, NULL, NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	struct utsname un;
	sigset_t none, all;
	int r;

	/* only amd64 is a tested platform of etcd 3.4; others must be asked for */
	if (!uname(&un) && !strcmp(un.machine, "aarch64"))
		env[more ? 2 : 1] = "ETCD_UNSUPPORTED_ARCH=arm64";
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
				 POSIX_SPAWN_SETSID);
	r = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&fa, out_fd, 1);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&fa, out_fd, 2);
	if (!r)
		r = posix_spawn_file_actions_addclosefrom_np(&fa, 3);
	if (!r)
		r = posix_spawn(ret, argv[0], &fa, &attr, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return -r;
}

/* What it writes until it ends, at most size - 1 bytes. */
static int read_output(int fd, char *buf, size_t size)
{
	uint64_t end = now_ms() + VERSION_MS, now;
	size_t len = 0;

	while ((now = now_ms()) < end && len + 1 < size) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&pfd, 1, end - now) <= 0)
			continue;
		n = read(fd, buf + len, size - 1 - len);
		if (n <= 0)
			break;
		len += n;
	}
	buf[len] = '\0';
	return len ? 0 : -EIO;
}

int etcd_version_installed(char ret_version[32], char *err, size_t errlen)
{
	char *argv[] = { ETCD_PROGRAM, "--version", NULL }, text[512] = "", *at;
	int fds[2], r;
	pid_t pid;

	if (access(ETCD_PROGRAM, X_OK)) {
		snprintf(err, errlen, "%s: %s; install the package etcd-server", ETCD_PROGRAM,
			 strerror(errno));
		return -ENOENT;
	}
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	r = etcd_proc_spawn(&pid, argv, NULL, fds[1]);
	close(fds[1]);
	if (!r) {
		r = read_output(fds[0], text, sizeof(text));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	close(fds[0]);
	at = strstr(text, "etcd Version: ");
	if (r || !at) {
		snprintf(err, errlen, "%s --version: %s", ETCD_PROGRAM, r ? strerror(-r) : "no version");
		return -EOPNOTSUPP;
	}
	at += strlen("etcd Version: ");
	at[strcspn(at, " \r\n")] = '\0';
	snprintf(ret_version, 32, "%.31s", at);
	return etcd_version_check(ret_version, err, errlen);
}

bool etcd_proc_has(pid_t pid, const char *arg)
{
	char path[64], buf[8192];
	size_t n, at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(buf, 1, sizeof(buf) - 1, f);
	fclose(f);
	buf[n] = '\0';
	if (strcmp(buf, ETCD_PROGRAM))
		return false;
	for (at = strlen(buf) + 1; at < n; at += strlen(buf + at) + 1)
		if (!strcmp(buf + at, arg))
			return true;
	return false;
}

int etcd_proc_find(const char *arg, pid_t *ret)
{
	DIR *dir = opendir("/proc");
	struct dirent *de;
	int fd = -1;

	while (dir && fd < 0 && (de = readdir(dir))) {
		pid_t pid = isdigit((unsigned char)de->d_name[0]) ? atoi(de->d_name) : 0;

		if (pid <= 0 || !etcd_proc_has(pid, arg))
			continue;
		fd = pidfd_open(pid, 0);
		/* it may have ended, and the number be another's, before it was opened */
		if (fd >= 0 && !etcd_proc_has(pid, arg)) {
			close(fd);
			fd = -1;
		}
		*ret = pid;
	}
	if (dir)
		closedir(dir);
	return fd < 0 ? -ENOENT : fd;
}
