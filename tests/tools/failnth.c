// SPDX-License-Identifier: GPL-2.0
/*
 * failnth - runs a command and lets one allocation of the kernel fail for it.
 *
 *	failnth N COMMAND [ARGUMENT]...
 *
 * It is the Nth of those that are made in COMMAND's calls of ioctl(), finit_module()
 * and delete_module(). Needs CONFIG_FAULT_INJECTION; what counts as an allocation
 * is set below /sys/kernel/debug. COMMAND must be one process.
 *
 * Exit status: 0 COMMAND has ended well all the same, 1 it has failed, 100 there are
 * fewer than N allocations and COMMAND has ended well, 2 something else is wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FEWER	100

struct traced {
	pid_t pid;
	int fd;			/* its fail-nth: 0 when the failure has happened */
	unsigned int left;	/* allocations to come until then */
	bool armed;
};

static int fail(const char *what)
{
	fprintf(stderr, "failnth: %s: %s\n", what, strerror(errno));
	return 2;
}

static bool counts(unsigned long long nr)
{
	return nr == SYS_ioctl || nr == SYS_finit_module || nr == SYS_delete_module;
}

static int set_left(struct traced *t, unsigned int left)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%u", left);

	return pwrite(t->fd, text, (size_t)n, 0) == n ? 0 : -1;
}

static int get_left(struct traced *t)
{
	char text[16] = "";

	if (pread(t->fd, text, sizeof(text) - 1, 0) <= 0)
		return -1;
	t->left = (unsigned int)strtoul(text, NULL, 10);
	return 0;
}

/* At the beginning or the end of a system call. */
static int at_call(struct traced *t)
{
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, sizeof(info), &info) < 0)
		return -1;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		t->armed = t->left && counts(info.entry.nr);
		return t->armed ? set_left(t, t->left) : 0;
	}
	if (!t->armed)
		return 0;
	t->armed = false;
	return get_left(t) || set_left(t, 0) ? -1 : 0;
}

/* The status of its end, or -1. */
static int follow(struct traced *t)
{
	int status, sig = 0;

	for (;;) {
		if (ptrace(PTRACE_SYSCALL, t->pid, NULL, (void *)(long)sig) < 0 ||
		    waitpid(t->pid, &status, 0) < 0)
			return -1;
		if (!WIFSTOPPED(status))
			return status;
		sig = WSTOPSIG(status);
		if (sig == SIGTRAP) {
			sig = 0;	/* of execve() */
		} else if (sig == (SIGTRAP | 0x80)) {
			sig = 0;
			if (at_call(t))
				return -1;
		}
	}
}

static int start(struct traced *t, char **argv)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
	char path[64];
	int status;

	t->pid = fork();
	if (t->pid < 0)
		return -1;
	if (t->pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 || raise(SIGSTOP))
			_exit(fail("trace"));
		execvp(argv[0], argv);
		_exit(fail(argv[0]));
	}
	snprintf(path, sizeof(path), "/proc/%d/fail-nth", (int)t->pid);
	if (waitpid(t->pid, &status, 0) < 0 ||
	    ptrace(PTRACE_SETOPTIONS, t->pid, NULL, (void *)options) < 0)
		return -1;
	t->fd = open(path, O_RDWR | O_CLOEXEC);
	return t->fd < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct traced t = {0};
	int status;

	if (argc > 2)
		t.left = (unsigned int)strtoul(argv[1], NULL, 10);
	if (!t.left) {
		fprintf(stderr, "usage: failnth N COMMAND [ARGUMENT]...\n");
		return 2;
	}
	if (start(&t, argv + 2))
		return fail("start");
	status = follow(&t);
	if (status < 0)
		return fail("follow");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return t.left ? 2 : 1;
	return t.left ? FEWER : 0;
}
