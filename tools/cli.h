/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cli - the command line of dagctl as a table.
 *
 * A verb names its arguments and options; cli_parse() turns a command line into
 * the params of the RPC. Pure: no I/O, errors come back as text.
 */
#ifndef DAGCTL_CLI_H
#define DAGCTL_CLI_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cli_type {
	CLI_FLAG,
	CLI_TEXT,
	CLI_PATH,	/* absolute, or made so by the caller's directory */
	CLI_UINT,
	CLI_SIZE,	/* bytes: 10G, 512MiB, 4096 */
	CLI_RATE,	/* bytes a second: 50MiB, 50MiB/s; none: 0 */
	CLI_DURATION,	/* milliseconds: 500ms, 10s, 5m, 2h, 14d */
	CLI_SECONDS,	/* the same, given as a double of seconds */
	CLI_WORD,	/* one of words */
};

struct cli_opt {
	const char *name;	/* with the two dashes; NULL ends the table */
	enum cli_type type;
	const char *arg;	/* for --help; FLAG: NULL */
	const char *key;	/* in params */
	const char *help;
	bool required;
	const char *words;	/* WORD: "async|commit|sync" */
};

#define CLI_ARGS_MAX	3
struct cli_arg {
	const char *name;	/* for --help; NULL ends the list */
	const char *key;
	bool optional;
};

struct cmd;

struct cli_verb {
	const char *noun;
	const char *verb;	/* NULL: the noun alone */
	struct cli_arg args[CLI_ARGS_MAX + 1];
	const struct cli_opt *opts;	/* may be NULL */
	const char *summary;
	const char *examples;	/* lines */
	int (*run)(struct cmd *cmd);
};

/* What was asked for. */
struct cmd {
	const struct cli_verb *verb;
	struct json_object *params;
	bool json, help;
	const char *socket;	/* NULL: the usual ones */
};

/* argv: what follows noun and verb. 0, or -EINVAL with a reason. */
int cli_parse(const struct cli_verb *verb, int argc, char **argv, struct cmd *ret, char *err,
	      size_t errlen);
/* Take --json, --socket, --help out of what stands before the noun. */
const struct cli_verb *cli_find(const struct cli_verb *verbs, int *argc, char ***argv,
				struct cmd *ret, char *err, size_t errlen);

int cli_size(const char *text, uint64_t *ret_bytes);
int cli_rate(const char *text, uint64_t *ret_bytes);
int cli_duration(const char *text, uint64_t *ret_ms);

#endif
