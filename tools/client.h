/* SPDX-License-Identifier: GPL-2.0 */
/* client - the connection to dagd on this host, and what all commands do with it. */
#ifndef DAGCTL_CLIENT_H
#define DAGCTL_CLIENT_H

#include <json-c/json.h>

#include "tools/cli.h"

#define EXIT_USAGE	2

/*
 * One request to the daemon. Progress goes to stderr. 0 with *ret (may be NULL:
 * nothing to tell), else -errno after the error was printed (quiet: not).
 */
int client_call(struct cmd *cmd, const char *method, struct json_object *params,
		struct json_object **ret);
int client_call_quiet(struct cmd *cmd, const char *method, struct json_object *params,
		      struct json_object **ret);
/* Why the last call failed, for those that were quiet. */
const char *client_error(void);
/*
 * Connect before the first call, quietly; calls end with -ECONNRESET when an answer
 * does not come within the time. -ECONNREFUSED, -ENOENT: nobody listens.
 */
int client_open(struct cmd *cmd, unsigned timeout_s);
/* The same; each progress object goes to `each`, and a nonzero answer of it ends the
 * call and is returned. */
int client_stream(struct cmd *cmd, const char *method, struct json_object *params,
		  int (*each)(struct json_object *progress, void *ctx), void *ctx);
/* "dagctl: …" on stderr; returns EXIT_FAILURE. */
int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The result as JSON on stdout. */
void print_json(struct json_object *obj);
/* cmd_life.c: is --yes given (it is taken out of params), or does a person say so to
 * `what`? Where nobody can be asked: no, and that is said. */
bool agreed(struct cmd *cmd, const char *what);
/* From now on Ctrl-C says `text` (what goes on without us) and ends dagctl. */
void on_interrupt(const char *text);

#endif
