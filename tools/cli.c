// SPDX-License-Identifier: GPL-2.0
#include "tools/cli.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{ "", 1 }, { "B", 1 },
	{ "K", 1ull << 10 }, { "KiB", 1ull << 10 }, { "M", 1ull << 20 }, { "MiB", 1ull << 20 },
	{ "G", 1ull << 30 }, { "GiB", 1ull << 30 }, { "T", 1ull << 40 }, { "TiB", 1ull << 40 },
	{ NULL, 0 }
};

static const struct unit time_units[] = {
	{ "ms", 1 }, { "", 1000 }, { "s", 1000 }, { "m", 60000 }, { "min", 60000 },
	{ "h", 3600000 }, { "d", 86400000 },
	{ NULL, 0 }
};

/* A decimal number, with a fraction, and a unit. */
static int with_unit(const char *text, const struct unit *units, uint64_t *ret)
{
	double n;
	char *end;

	if (!isdigit((unsigned char)text[0]) || text[1] == 'x' || text[1] == 'X')
		return -EINVAL;
	errno = 0;
	n = strtod(text, &end);
	if (errno)
		return -EINVAL;
	while (*end == ' ')
		end++;
	for (; units->name; units++) {
		if (strcmp(units->name, end))
			continue;
		n *= units->factor;
		if (n > 9e18)
			return -ERANGE;
		*ret = n;
		return 0;
	}
	return -EINVAL;
}

int cli_size(const char *text, uint64_t *ret_bytes)
{
	return with_unit(text, size_units, ret_bytes);
}

int cli_rate(const char *text, uint64_t *ret_bytes)
{
	size_t len = strlen(text);
	char size[64];

	if (!strcmp(text, "none")) {
		*ret_bytes = 0;
		return 0;
	}
	if (len > 2 && !strcmp(text + len - 2, "/s"))
		len -= 2;
	if (len >= sizeof(size))
		return -EINVAL;
	snprintf(size, sizeof(size), "%.*s", (int)len, text);
	return cli_size(size, ret_bytes);
}

int cli_duration(const char *text, uint64_t *ret_ms)
{
	return with_unit(text, time_units, ret_ms);
}

static bool word_in(const char *words, const char *word)
{
	size_t len = strlen(word);
	const char *at;

	for (at = words; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
		if (!strncmp(at, word, len) && (at[len] == '|' || !at[len]) && len)
			return true;
	return false;
}

static struct json_object *path_value(const char *text)
{
	char cwd[PATH_MAX], path[2 * PATH_MAX];

	if (text[0] == '/' || !strcmp(text, "-") || !getcwd(cwd, sizeof(cwd)))
		return json_object_new_string(text);
	snprintf(path, sizeof(path), "%s/%s", cwd, text);
	return json_object_new_string(path);
}

static int bad_value(const struct cli_opt *opt, const char *text, const char *want, char *err,
		     size_t errlen)
{
	snprintf(err, errlen, "%s: '%s' is not %s", opt->name, text, want);
	return -EINVAL;
}

static int take_value(const struct cli_opt *opt, const char *text, struct json_object *params,
		      char *err, size_t errlen)
{
	struct json_object *val = NULL;
	uint64_t n;
	char *end;

	switch (opt->type) {
	case CLI_FLAG:
		val = json_object_new_boolean(true);
		break;
	case CLI_TEXT:
		val = json_object_new_string(text);
		break;
	case CLI_PATH:
		val = path_value(text);
		break;
	case CLI_UINT:
		errno = 0;
		n = strtoull(text, &end, 10);
		if (!isdigit((unsigned char)text[0]) || *end || errno || n > INT64_MAX)
			return bad_value(opt, text, "a number", err, errlen);
		val = json_object_new_int64(n);
		break;
	case CLI_SIZE:
		if (cli_size(text, &n))
			return bad_value(opt, text, "a size such as 512MiB or 10G", err, errlen);
		val = json_object_new_int64(n);
		break;
	case CLI_RATE:
		if (cli_rate(text, &n))
			return bad_value(opt, text, "bytes a second such as 50MiB, or none", err, errlen);
		val = json_object_new_int64(n);
		break;
	case CLI_DURATION:
	case CLI_SECONDS:
		if (cli_duration(text, &n))
			return bad_value(opt, text, "a time such as 500ms, 10s or 2h", err, errlen);
		val = opt->type == CLI_SECONDS ? json_object_new_double(n / 1e3) :
						 json_object_new_int64(n);
		break;
	case CLI_WORD:
		if (!word_in(opt->words, text))
			return bad_value(opt, text, opt->words, err, errlen);
		val = json_object_new_string(text);
		break;
	}
	json_object_object_add(params, opt->key, val);
	return 0;
}

static const struct cli_opt *find_opt(const struct cli_opt *opts, const char *name, size_t len)
{
	for (; opts && opts->name; opts++)
		if (strlen(opts->name) == len && !strncmp(opts->name, name, len))
			return opts;
	return NULL;
}

/* An option that every verb has: 1 taken (two words: 2), 0 not one of them. */
static int common_opt(const char *word, const char *next, struct cmd *cmd)
{
	if (!strcmp(word, "--json")) {
		cmd->json = true;
		return 1;
	}
	if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
		cmd->help = true;
		return 1;
	}
	if (!strcmp(word, "--socket") && next) {
		cmd->socket = next;
		return 2;
	}
	return 0;
}

/* One option and its value: the number of words used, or -EINVAL. */
static int take_option(const struct cli_verb *verb, const char *word, const char *next,
		       struct cmd *cmd, char *err, size_t errlen)
{
	const char *eq = strchr(word, '='), *value = eq ? eq + 1 : next;
	const struct cli_opt *opt;
	int r;

	r = common_opt(word, next, cmd);
	if (r)
		return r;
	opt = find_opt(verb->opts, word, eq ? (size_t)(eq - word) : strlen(word));
	if (!opt) {
		snprintf(err, errlen, "unknown option %s", word);
		return -EINVAL;
	}
	if (opt->type == CLI_FLAG && eq) {
		snprintf(err, errlen, "%s takes no value", opt->name);
		return -EINVAL;
	}
	if (opt->type != CLI_FLAG && !value) {
		snprintf(err, errlen, "%s needs a value: %s", opt->name, opt->arg);
		return -EINVAL;
	}
	if (json_object_object_get_ex(cmd->params, opt->key, NULL)) {
		snprintf(err, errlen, "%s is given twice", opt->name);
		return -EINVAL;
	}
	r = take_value(opt, value, cmd->params, err, errlen);
	return r ? r : opt->type == CLI_FLAG || eq ? 1 : 2;
}

static int check_required(const struct cli_verb *verb, int nr_args, struct json_object *params,
			  char *err, size_t errlen)
{
	const struct cli_opt *opt;

	if (verb->args[nr_args].name && !verb->args[nr_args].optional) {
		snprintf(err, errlen, "%s is missing", verb->args[nr_args].name);
		return -EINVAL;
	}
	for (opt = verb->opts; opt && opt->name; opt++) {
		if (!opt->required || json_object_object_get_ex(params, opt->key, NULL))
			continue;
		snprintf(err, errlen, "%s %s is missing", opt->name, opt->arg);
		return -EINVAL;
	}
	return 0;
}

int cli_parse(const struct cli_verb *verb, int argc, char **argv, struct cmd *ret, char *err,
	      size_t errlen)
{
	int i = 0, nr_args = 0, n;
	bool plain = false;

	ret->verb = verb;
	ret->params = json_object_new_object();
	while (i < argc) {
		const char *word = argv[i];

		if (!plain && !strcmp(word, "--")) {
			plain = true;
			i++;
			continue;
		}
		if (!plain && word[0] == '-' && word[1]) {
			n = take_option(verb, word, i + 1 < argc ? argv[i + 1] : NULL, ret, err,
					errlen);
			if (n < 0)
				return n;
			i += n;
			continue;
		}
		if (!verb->args[nr_args].name) {
			snprintf(err, errlen, "unexpected argument '%s'", word);
			return -EINVAL;
		}
		json_object_object_add(ret->params, verb->args[nr_args].key,
				       json_object_new_string(word));
		nr_args++;
		i++;
	}
	return ret->help ? 0 : check_required(verb, nr_args, ret->params, err, errlen);
}

const struct cli_verb *cli_find(const struct cli_verb *verbs, int *argc, char ***argv,
				struct cmd *ret, char *err, size_t errlen)
{
	const struct cli_verb *v;
	const char *noun;
	int n;

	while (*argc) {
		n = common_opt((*argv)[0], *argc > 1 ? (*argv)[1] : NULL, ret);
		if (!n)
			break;
		*argc -= n;
		*argv += n;
	}
	if (!*argc) {
		snprintf(err, errlen, "no command");
		return NULL;
	}
	noun = (*argv)[0];
	for (v = verbs; v->noun; v++) {
		if (strcmp(v->noun, noun))
			continue;
		if (v->verb && (*argc < 2 || strcmp(v->verb, (*argv)[1])))
			continue;
		n = v->verb ? 2 : 1;
		*argc -= n;
		*argv += n;
		return v;
	}
	if (noun[0] == '-')
		snprintf(err, errlen, "unknown option %s", noun);
	else if (*argc > 1)
		snprintf(err, errlen, "unknown command '%s %s'", noun, (*argv)[1]);
	else
		snprintf(err, errlen, "unknown or incomplete command '%s'", noun);
	return NULL;
}
