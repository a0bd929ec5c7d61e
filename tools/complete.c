// SPDX-License-Identifier: GPL-2.0
#include "tools/complete.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/client.h"
#include "tools/fmt.h"

static const char event_kinds[] =
	"activation|alert|move|move-at|mount|dismount|address|step-failed|step-lost|fence|lease-lost|member-join|"
	"member-remove|member-set|group-stop|group-start|group-restore|witness-remove|maintenance|"
	"authority|redistribute|store-create|store-remove|store-set|copy-add|copy-remove|copy-suspend|"
	"copy-resume|copy-seed|redundancy|network|peer|refused|tap|daemon|overflow";

static void offer(const char *candidate, const char *typed)
{
	if (!strncmp(candidate, typed, strlen(typed)))
		puts(candidate);
}

/* Names that the daemon knows; silence if it does not answer. */
static void offer_names(const char *method, const char *list, const char *typed)
{
	struct cmd cmd = { .verb = NULL };
	struct json_object *result = NULL, *array;
	size_t i;

	if (client_call_quiet(&cmd, method, NULL, &result))
		return;
	array = list ? obj_get(result, list) : result;
	for (i = 0; i < obj_len(array); i++)
		offer(obj_str(json_object_array_get_idx(array, i), "name"), typed);
	json_object_put(result);
}

static void offer_words(const char *words, const char *typed)
{
	char word[64];

	while (*words) {
		size_t len = strcspn(words, "|");

		snprintf(word, sizeof(word), "%.*s", (int)len, words);
		offer(word, typed);
		words += len + (words[len] == '|');
	}
}

static const struct cli_opt *option_of(const struct cli_verb *v, const char *word)
{
	const struct cli_opt *o;

	for (o = v->opts; o && o->name; o++)
		if (!strcmp(o->name, word) && o->type != CLI_FLAG)
			return o;
	return NULL;
}

static void offer_value(const struct cli_opt *o, const char *typed)
{
	if (o->words)
		offer_words(o->words, typed);
	else if (!strcmp(o->key, "member") || !strcmp(o->key, "to"))
		offer_names("member.list", "members", typed);
	else if (!strcmp(o->key, "store"))
		offer_names("store.list", NULL, typed);
	else if (!strcmp(o->key, "kind"))
		offer_words(event_kinds, typed);
}

static int in_verb(const struct cli_verb *v, int nr, char **words)
{
	const char *typed = words[nr - 1];
	const struct cli_opt *o;
	int i, nr_args = 0;

	o = nr > 1 ? option_of(v, words[nr - 2]) : NULL;
	if (o) {
		offer_value(o, typed);
		return 0;
	}
	if (typed[0] == '-') {
		for (o = v->opts; o && o->name; o++)
			offer(o->name, typed);
		offer("--json", typed);
		offer("--help", typed);
		return 0;
	}
	for (i = 0; i < nr - 1; i++) {
		if (words[i][0] == '-')
			i += option_of(v, words[i]) != NULL;
		else
			nr_args++;
	}
	if (nr_args >= CLI_ARGS_MAX || !v->args[nr_args].name)
		return 0;
	if (!strcmp(v->args[nr_args].key, "store") || !strcmp(v->args[nr_args].key, "dir"))
		offer_names("store.list", NULL, typed);
	else if (!strcmp(v->args[nr_args].key, "action"))
		offer_words(v->args[nr_args].name, typed);
	else if (!strcmp(v->noun, "network"))
		offer_names("network.list", "networks", typed);
	else if (!strcmp(v->noun, "member") && strcmp(v->verb, "add"))
		offer_names("member.list", "members", typed);
	return 0;
}

int complete(const struct cli_verb *verbs, int nr, char **words)
{
	const struct cli_verb *v;
	const char *last = "";

	for (v = verbs; nr && v->noun; v++) {
		if (nr == 1) {
			if (strcmp(last, v->noun))
				offer(v->noun, words[0]);
			last = v->noun;
		} else if (!strcmp(v->noun, words[0])) {
			if (!v->verb)
				return in_verb(v, nr - 1, words + 1);
			if (nr == 2)
				offer(v->verb, words[1]);
			else if (!strcmp(v->verb, words[1]))
				return in_verb(v, nr - 2, words + 2);
		}
	}
	return EXIT_SUCCESS;
}
