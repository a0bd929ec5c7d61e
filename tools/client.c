// SPDX-License-Identifier: GPL-2.0
#include "tools/client.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/control/rpc.h"
#include "tools/fmt.h"

#define SOCKET_PATH	"/run/dag/control.sock"
#define SOCKET_RO_PATH	"/run/dag/control-ro.sock"

static int conn_fd = -1;
static FILE *conn_in;
static const char *interrupt_text;
static char error_text[1024];		/* of the last call that was quiet */

/* Who gets the progress; NULL: stderr. */
static int (*each_progress)(struct json_object *progress, void *ctx);
static void *each_ctx;

int fail(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("dagctl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

void print_json(struct json_object *obj)
{
	puts(json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
					    JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void interrupted(int sig)
{
	/* write(2) only: this is a signal handler */
	if (write(STDERR_FILENO, "\ndagctl: ", 9) < 0 ||
	    write(STDERR_FILENO, interrupt_text, strlen(interrupt_text)) < 0 ||
	    write(STDERR_FILENO, "\n", 1) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_FAILURE);
}

void on_interrupt(const char *text)
{
	interrupt_text = text;
	signal(SIGINT, interrupted);
}

static int dial(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, r;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (struct sockaddr *)&sun, sizeof(sun)))
		return fd;
	r = -errno;
	close(fd);
	return r;
}

static int open_conn(struct cmd *cmd, bool quiet)
{
	const char *path = cmd->socket ? cmd->socket : SOCKET_PATH;
	int fd;

	if (conn_fd >= 0)
		return 0;
	fd = dial(path);
	if (fd == -EACCES && !cmd->socket) {
		path = SOCKET_RO_PATH;
		fd = dial(path);
	}
	if (fd < 0 && !quiet)
		fail("%s: %s; %s", path, strerror(-fd),
		     fd == -EACCES ? "run it as root or as a member of group dag" :
				     "is dagd running? see systemctl status dagd");
	if (fd < 0)
		return fd;
	conn_fd = fd;
	conn_in = fdopen(fd, "r");
	return conn_in ? 0 : -ENOMEM;
}

static int send_all(const char *line)
{
	size_t len = strlen(line);

	while (len) {
		ssize_t n = send(conn_fd, line, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		line += n;
		len -= n;
	}
	return 0;
}

int client_open(struct cmd *cmd, unsigned timeout_s)
{
	const struct timeval tv = { .tv_sec = timeout_s };
	int r = open_conn(cmd, true);

	if (!r && setsockopt(conn_fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		r = -errno;
	return r;
}

const char *client_error(void)
{
	return error_text;
}

/* Answers until the one that ends it. */
static int receive(struct rpc_answer *ret, bool quiet, char *err, size_t errlen)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	int r = 0;

	for (;;) {
		n = getline(&line, &cap, conn_in);
		if (n <= 0) {
			snprintf(err, errlen, "connection lost");
			r = -ECONNRESET;
			break;
		}
		r = rpc_answer_parse(line, n, ret, err, errlen);
		if (r || ret->kind != RPC_PROGRESS)
			break;
		if (each_progress)
			r = each_progress(ret->value, each_ctx);
		else if (!quiet)
			fprintf(stderr, "%s\n", obj_str(ret->value, "text"));
		json_object_put(ret->value);
		if (r)
			break;
	}
	free(line);
	return r;
}

static int call(struct cmd *cmd, const char *method, struct json_object *params, bool quiet,
		struct json_object **ret)
{
	struct rpc_answer an = { .value = NULL };
	char err[256] = "", *line;
	int r;

	r = open_conn(cmd, quiet);
	if (r)
		return r;
	line = rpc_request_line(method, params, 1, 0);
	r = line ? send_all(line) : -ENOMEM;
	free(line);
	if (!r)
		r = receive(&an, quiet, err, sizeof(err));
	if (r) {
		snprintf(error_text, sizeof(error_text), "%s", err[0] ? err : strerror(-r));
		if (!quiet)
			fail("dagd: %s; see journalctl -u dagd", error_text);
		return r;
	}
	if (an.kind == RPC_ERROR) {
		snprintf(error_text, sizeof(error_text), "%s", an.message);
		if (!quiet)
			fail("%s", an.message);
		return an.code;
	}
	*ret = an.value;
	return 0;
}

int client_call(struct cmd *cmd, const char *method, struct json_object *params,
		struct json_object **ret)
{
	return call(cmd, method, params, false, ret);
}

int client_call_quiet(struct cmd *cmd, const char *method, struct json_object *params,
		      struct json_object **ret)
{
	return call(cmd, method, params, true, ret);
}

int client_stream(struct cmd *cmd, const char *method, struct json_object *params,
		  int (*each)(struct json_object *progress, void *ctx), void *ctx)
{
	struct json_object *ignored = NULL;
	int r;

	each_progress = each;
	each_ctx = ctx;
	r = call(cmd, method, params, false, &ignored);
	each_progress = NULL;
	json_object_put(ignored);
	return r;
}
