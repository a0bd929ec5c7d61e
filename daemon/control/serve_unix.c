// SPDX-License-Identifier: GPL-2.0
/*
 * serve_unix - run_dir/control.sock (root) and control-ro.sock (group `dag`,
 * questions only): one thread per connection, a bounded number of them.
 */
#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/control/control_int.h"

#define IDLE_SECONDS	3600
#define SEND_SECONDS	20
#define READ_CHUNK	65536

struct unix_conn {
	struct control *ct;
	int fd, slot;
	bool read_only;
	char *buf;
	size_t len, cap;
};

static int listen_at(const char *path, mode_t mode, gid_t gid, int *ret_fd)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	mode_t before;
	int fd, r;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	unlink(path);
	/* nobody may connect before the mode is right */
	before = umask(0177);
	r = bind(fd, (struct sockaddr *)&sun, sizeof(sun)) ? -errno : 0;
	umask(before);
	if (!r && (chown(path, 0, gid) && geteuid() == 0))
		r = -errno;
	if (!r && (chmod(path, mode) || listen(fd, 32)))
		r = -errno;
	if (r)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int serve_unix_open(struct control *ct)
{
	struct group *gr;
	char path[96];
	int r;

	if (mkdir(ct->cf->run_dir, 0755) && errno != EEXIST) {
		r = -errno;
		log_err("control dir=%s err=\"%s\"", ct->cf->run_dir, strerror(-r));
		return r;
	}
	snprintf(path, sizeof(path), "%s/control.sock", ct->cf->run_dir);
	r = listen_at(path, 0600, 0, &ct->unix_fd);
	gr = getgrnam("dag");
	if (!r && gr) {
		snprintf(path, sizeof(path), "%s/control-ro.sock", ct->cf->run_dir);
		r = listen_at(path, 0660, gr->gr_gid, &ct->unix_ro_fd);
	}
	if (r)
		log_err("control socket=%s err=\"%s\"", path, strerror(-r));
	return r;
}

void serve_unix_close(struct control *ct)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/control.sock", ct->cf->run_dir);
	unlink(path);
	close(ct->unix_fd);
	if (ct->unix_ro_fd < 0)
		return;
	snprintf(path, sizeof(path), "%s/control-ro.sock", ct->cf->run_dir);
	unlink(path);
	close(ct->unix_ro_fd);
}

static int send_line(void *out, const char *line)
{
	struct unix_conn *uc = out;
	size_t len = strlen(line);

	while (len) {
		ssize_t n = send(uc->fd, line, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		line += n;
		len -= n;
	}
	return 0;
}

/* Read until there is a whole line: its length without \n; 0 at the end. */
static ssize_t read_line(struct unix_conn *uc)
{
	size_t seen = 0;

	for (;;) {
		char *nl = uc->len > seen ? memchr(uc->buf + seen, '\n', uc->len - seen) : NULL;
		ssize_t n;

		if (nl)
			return nl - uc->buf + 1;
		seen = uc->len;
		if (uc->len + READ_CHUNK > uc->cap) {
			char *bigger;

			if (uc->cap >= RPC_LINE_MAX)
				return -EMSGSIZE;
			bigger = realloc(uc->buf, uc->cap + 2 * READ_CHUNK);
			if (!bigger)
				return -ENOMEM;
			uc->buf = bigger;
			uc->cap += 2 * READ_CHUNK;
		}
		n = recv(uc->fd, uc->buf + uc->len, READ_CHUNK, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		uc->len += n;
	}
}

static void *conn_thread(void *arg)
{
	struct unix_conn *uc = arg;
	ssize_t n;

	while ((n = read_line(uc)) > 0) {
		if (dispatch_line(uc->ct, uc->buf, n - 1, NULL, uc->read_only, false, send_line, uc))
			break;
		memmove(uc->buf, uc->buf + n, uc->len - n);
		uc->len -= n;
	}
	conns_leave(&uc->ct->unix_conns, uc->slot);
	close(uc->fd);
	free(uc->buf);
	free(uc);
	return NULL;
}

static void accept_one(struct control *ct, int listener, bool read_only)
{
	const struct timeval idle = { .tv_sec = IDLE_SECONDS }, slow = { .tv_sec = SEND_SECONDS };
	struct unix_conn *uc;
	int fd, slot;

	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &idle, sizeof(idle));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &slow, sizeof(slow));
	slot = conns_enter(&ct->unix_conns, fd);
	uc = slot < 0 ? NULL : calloc(1, sizeof(*uc));
	if (uc) {
		uc->ct = ct;
		uc->fd = fd;
		uc->slot = slot;
		uc->read_only = read_only;
		if (!thread_detached(conn_thread, uc))
			return;
	}
	log_warn("control msg=\"connection refused, too many\" max=%u", ct->unix_conns.max);
	free(uc);
	if (slot >= 0)
		conns_leave(&ct->unix_conns, slot);
	close(fd);
}

void *serve_unix_thread(void *arg)
{
	struct control *ct = arg;
	struct pollfd pfd[3] = {
		{ .fd = ct->stop_fd, .events = POLLIN },
		{ .fd = ct->unix_fd, .events = POLLIN },
		{ .fd = ct->unix_ro_fd, .events = POLLIN },	/* < 0: poll skips it */
	};

	for (;;) {
		if (poll(pfd, 3, -1) < 0 && errno != EINTR)
			return NULL;
		if (pfd[0].revents)
			return NULL;
		if (pfd[1].revents & POLLIN)
			accept_one(ct, ct->unix_fd, false);
		if (pfd[2].revents & POLLIN)
			accept_one(ct, ct->unix_ro_fd, true);
	}
}
