// SPDX-License-Identifier: GPL-2.0
/*
 * dagctl - a thin client of dagd: the table of verbs.c, --help and --complete
 * from the same table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/dag/version.h"
#include "tools/client.h"
#include "tools/complete.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

static void print_usage_line(const struct cli_verb *v)
{
	const struct cli_opt *o;
	const struct cli_arg *a;

	printf("usage: dagctl %s%s%s", v->noun, v->verb ? " " : "", v->verb ? v->verb : "");
	for (a = v->args; a->name; a++)
		printf(a->optional ? " [%s]" : " %s", a->name);
	for (o = v->opts; o && o->name; o++)
		if (o->required)
			printf(" %s %s", o->name, o->arg);
	printf(" [OPTION]...\n");
}

static void print_option(const char *name, const char *arg, const char *help)
{
	char left[64];

	snprintf(left, sizeof(left), "%s%s%s", name, arg ? " " : "", arg ? arg : "");
	printf("  %-22s %s\n", left, help);
}

static int verb_help(const struct cli_verb *v)
{
	const struct cli_opt *o;
	const char *line;

	print_usage_line(v);
	printf("\n%s\n\n", v->summary);
	for (o = v->opts; o && o->name; o++)
		print_option(o->name, o->words ? o->words : o->arg, o->help);
	print_option("--json", NULL, "print JSON");
	print_option("--socket", "PATH", "socket of dagd (/run/dag/control.sock)");
	printf("\nExamples:\n");
	for (line = v->examples; *line; line = strchr(line, '\n') + 1)
		printf("  %.*s\n", (int)strcspn(line, "\n"), line);
	return EXIT_SUCCESS;
}

static void usage(FILE *out, const char *noun)
{
	const struct cli_verb *v;
	char left[64];

	fprintf(out, "usage: dagctl NOUN [VERB] [ARGUMENT]... [OPTION]...\n\n");
	for (v = verbs; v->noun; v++) {
		if (noun && strcmp(noun, v->noun))
			continue;
		snprintf(left, sizeof(left), "%s %s", v->noun, v->verb ? v->verb : "");
		fprintf(out, "  %-16s %s\n", left, v->summary);
	}
	fprintf(out, "\nEvery command takes --help, --json and --socket PATH. dagctl --version\n");
}

static bool known_noun(const char *noun)
{
	const struct cli_verb *v;

	for (v = verbs; v->noun; v++)
		if (!strcmp(v->noun, noun))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	struct cmd cmd = { .verb = NULL };
	const struct cli_verb *v;
	char err[256] = "";
	int r;

	argc--;
	argv++;
	if (argc && !strcmp(argv[0], "--complete"))
		return complete(verbs, argc - 1, argv + 1);
	if (argc && !strcmp(argv[0], "--version")) {
		printf("dagctl %s\n", DAG_VERSION);
		return EXIT_SUCCESS;
	}
	v = cli_find(verbs, &argc, &argv, &cmd, err, sizeof(err));
	if (!v) {
		/* `dagctl --help`, `dagctl store --help` are questions, not mistakes */
		bool noun = argc && known_noun(argv[0]);
		bool ask = cmd.help || (noun && argc > 1 && !strcmp(argv[1], "--help"));

		usage(ask ? stdout : stderr, noun ? argv[0] : NULL);
		if (ask)
			return EXIT_SUCCESS;
		fail("%s", err);
		return EXIT_USAGE;
	}
	if (cli_parse(v, argc, argv, &cmd, err, sizeof(err))) {
		fail("%s%s%s: %s; see dagctl %s%s%s --help", v->noun, v->verb ? " " : "",
		     v->verb ? v->verb : "", err, v->noun, v->verb ? " " : "",
		     v->verb ? v->verb : "");
		json_object_put(cmd.params);
		/* to monitoring 2 means critical, and nothing was tested */
		return v->run == cmd_test ? EXIT_UNKNOWN : EXIT_USAGE;
	}
	r = cmd.help ? verb_help(v) : v->run(&cmd);
	json_object_put(cmd.params);
	if (fflush(stdout)) {
		fail("standard output: %m");
		return v->run == cmd_test ? EXIT_UNKNOWN : EXIT_FAILURE;
	}
	return r;
}
