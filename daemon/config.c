// SPDX-License-Identifier: GPL-2.0
#include "daemon/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/group/state.h"
#include "daemon/refuse.h"
#include "daemon/watchdog.h"
#include "daemon/health/redundancy.h"
#include "include/dag/wire.h"

#define CONFIG_BYTES_MAX	65536

struct word {
	const char *name;
	int value;
};

static const struct word security_words[] = { { "tls", STREAM_TLS }, { "plain", STREAM_PLAIN }, { } };
static const struct word bool_words[] = { { "yes", 1 }, { "no", 0 }, { "on", 1 }, { "off", 0 },
					  { "true", 1 }, { "false", 0 }, { } };
static const struct word io_words[] = { { "auto", LOOP_AUTO }, { "uring", LOOP_URING },
					{ "posix", LOOP_POSIX }, { } };
static const struct word on_stop_words[] = { { "move", ON_STOP_MOVE }, { "keep", ON_STOP_KEEP }, { } };
static const struct word level_words[] = { { "err", LOG_LV_ERR }, { "warning", LOG_LV_WARN },
					   { "notice", LOG_LV_NOTICE }, { "info", LOG_LV_INFO },
					   { "debug", LOG_LV_DEBUG }, { } };

enum key_type { K_NAME, K_ADDRESS, K_PATH, K_U16, K_U32, K_POW2, K_WORD, K_BOOL };

struct key {
	const char *name;
	enum key_type type;
	size_t off, size;
	uint32_t min, max;
	const struct word *words;
};

#define AT(f)	offsetof(struct config, f), sizeof(((struct config *)0)->f)

static const struct key keys[] = {
	{ "member", K_NAME, AT(member), 0, 0, NULL },
	{ "address", K_ADDRESS, AT(address), 0, 0, NULL },
	{ "port", K_U16, AT(port), 1, 65534, NULL },
	{ "state_dir", K_PATH, AT(state_dir), 0, 0, NULL },
	{ "run_dir", K_PATH, AT(run_dir), 0, 0, NULL },
	{ "security", K_WORD, AT(security), 0, 0, security_words },
	{ "ktls", K_BOOL, AT(ktls), 0, 0, bool_words },
	{ "compression", K_BOOL, AT(compression), 0, 0, bool_words },
	{ "io", K_WORD, AT(io), 0, 0, io_words },
	{ "lease_ms", K_U32, AT(lease_ms), 0, 600000, NULL },
	{ "park_timeout_ms", K_U32, AT(park_timeout_ms), 0, 100000, NULL },
	{ "receive_ring_mib", K_POW2, AT(receive_ring_mib), 4, 1024, NULL },
	{ "step_retry_s", K_U32, AT(step_retry_s), 1, 3600, NULL },
	{ "on_stop", K_WORD, AT(on_stop), 0, 0, on_stop_words },
	{ "watchdog", K_PATH, AT(watchdog), 0, 0, NULL },
	{ "watchdog_timeout_s", K_U32, AT(watchdog_timeout_s), 2, 600, NULL },
	{ "redundancy_alert_s", K_U32, AT(redundancy_alert_s), 1, 604800, NULL },
	{ "redundancy_repeat_s", K_U32, AT(redundancy_repeat_s), 1, 604800, NULL },
	{ "metrics_address", K_ADDRESS, AT(metrics_address), 0, 0, NULL },
	{ "metrics_port", K_U16, AT(metrics_port), 0, 65535, NULL },
	{ "log_level", K_WORD, AT(log_level), 0, 0, level_words },
};

#define NR_KEYS	(sizeof(keys) / sizeof(keys[0]))

void config_defaults(struct config *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->port = DAG_PORT;
	strcpy(ret->state_dir, "/var/lib/dag");
	strcpy(ret->run_dir, "/run/dag");
	ret->security = STREAM_TLS;
	ret->ktls = true;
	ret->compression = true;
	ret->io = LOOP_AUTO;
	ret->lease_ms = 10000;
	ret->park_timeout_ms = 20000;
	ret->receive_ring_mib = 64;
	ret->step_retry_s = 60;
	ret->watchdog_timeout_s = WATCHDOG_SECONDS;
	ret->redundancy_alert_s = REDUNDANCY_AFTER_S;
	ret->redundancy_repeat_s = REDUNDANCY_REPEAT_S;
	strcpy(ret->metrics_address, "127.0.0.1");
	ret->metrics_port = CONFIG_METRICS_PORT;
	ret->log_level = LOG_LV_INFO;
}

static int set_number(const struct key *k, const char *value, char *to, char *err, size_t errlen)
{
	unsigned long n;
	char *end;

	errno = 0;
	n = strtoul(value, &end, 10);
	if (!isdigit((unsigned char)value[0]) || *end || errno || n < k->min || n > k->max)
		return refuse(err, errlen, "%s must be a number from %u to %u, not '%s'", k->name,
			      k->min, k->max, value);
	if (k->type == K_POW2 && (n & (n - 1)))
		return refuse(err, errlen, "%s must be a power of two, not '%s'", k->name, value);
	if (k->type == K_U16)
		*(uint16_t *)to = n;
	else
		*(uint32_t *)to = n;
	return 0;
}

static int set_word(const struct key *k, const char *value, char *to, char *err, size_t errlen)
{
	char list[128] = "";
	const struct word *w;

	for (w = k->words; w->name; w++) {
		size_t at = strlen(list);

		snprintf(list + at, sizeof(list) - at, "%s%s", at ? ", " : "", w->name);
		if (strcmp(w->name, value))
			continue;
		if (k->type == K_BOOL)
			*(bool *)to = w->value;
		else
			memcpy(to, &w->value, sizeof(w->value));
		return 0;
	}
	return refuse(err, errlen, "%s must be one of %s, not '%s'", k->name, list, value);
}

static int set_text(const struct key *k, const char *value, char *to, char *err, size_t errlen)
{
	uint8_t bin[16];

	if (strlen(value) >= k->size)
		return refuse(err, errlen, "%s is longer than %zu characters", k->name, k->size - 1);
	if (k->type == K_NAME && !group_name_valid(value, k->size - 1))
		return refuse(err, errlen, "%s must be letters, digits, '.', '-' and '_', not '%s'",
			      k->name, value);
	if (k->type == K_ADDRESS && inet_pton(AF_INET, value, bin) != 1 &&
	    inet_pton(AF_INET6, value, bin) != 1)
		return refuse(err, errlen, "%s must be a numeric IPv4 or IPv6 address, not '%s'",
			      k->name, value);
	if (k->type == K_PATH && value[0] != '/')
		return refuse(err, errlen, "%s must be an absolute path, not '%s'", k->name, value);
	memset(to, 0, k->size);
	strcpy(to, value);
	return 0;
}

static int set_key(const struct key *k, const char *value, struct config *cf, char *err,
		   size_t errlen)
{
	char *to = (char *)cf + k->off;

	switch (k->type) {
	case K_NAME:
	case K_ADDRESS:
	case K_PATH:
		return set_text(k, value, to, err, errlen);
	case K_U16:
	case K_U32:
	case K_POW2:
		return set_number(k, value, to, err, errlen);
	case K_WORD:
	case K_BOOL:
		return set_word(k, value, to, err, errlen);
	}
	return -EINVAL;
}

static char *trim(char *s)
{
	char *end = s + strlen(s);

	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	while (isspace((unsigned char)*s))
		s++;
	return s;
}

static int parse_line(char *line, struct config *cf, bool *seen, char *err, size_t errlen)
{
	char *name, *value, *eq;
	size_t i;

	line[strcspn(line, "#")] = '\0';
	name = trim(line);
	if (!*name)
		return 0;
	eq = strchr(name, '=');
	if (!eq)
		return refuse(err, errlen, "'%s' is not 'key = value'", name);
	*eq = '\0';
	name = trim(name);
	value = trim(eq + 1);
	for (i = 0; i < NR_KEYS; i++) {
		if (strcmp(keys[i].name, name))
			continue;
		if (seen[i])
			return refuse(err, errlen, "%s is set twice", name);
		seen[i] = true;
		return set_key(&keys[i], value, cf, err, errlen);
	}
	return refuse(err, errlen, "unknown key '%s'; see dag.conf(5)", name);
}

int config_parse(const char *text, const char *name, struct config *ret, char *err, size_t errlen)
{
	bool seen[NR_KEYS] = { false };
	char *copy = strdup(text), *next = copy, *line;
	struct config cf;
	char why[256];
	int nr = 0, r = 0;

	if (!copy)
		return -ENOMEM;
	config_defaults(&cf);
	while (!r && (line = strsep(&next, "\n"))) {
		nr++;
		r = parse_line(line, &cf, seen, why, sizeof(why));
	}
	if (r)
		snprintf(err, errlen, "%s:%d: %s", name, nr, why);
	else
		*ret = cf;
	free(copy);
	return r;
}

static int take_host_name(struct config *cf, char *err, size_t errlen)
{
	if (cf->member[0])
		return 0;
	if (gethostname(cf->member, sizeof(cf->member) - 1) ||
	    !group_name_valid(cf->member, sizeof(cf->member) - 1))
		return refuse(err, errlen, "the host's name cannot be a member name; set member");
	return 0;
}

int config_load(const char *path, bool missing_ok, struct config *ret, char *err, size_t errlen)
{
	struct config cf;
	char *text;
	FILE *f;
	size_t n;
	int r;

	f = fopen(path, "re");
	if (!f && errno == ENOENT && missing_ok) {
		config_defaults(&cf);
		r = take_host_name(&cf, err, errlen);
		if (!r)
			*ret = cf;
		return r;
	}
	if (!f) {
		r = -errno;
		snprintf(err, errlen, "%s: %s", path, strerror(-r));
		return r;
	}
	text = calloc(1, CONFIG_BYTES_MAX + 1);
	n = text ? fread(text, 1, CONFIG_BYTES_MAX, f) : 0;
	if (!text)
		r = -ENOMEM;
	else if (ferror(f))
		r = -EIO;
	else if (n == CONFIG_BYTES_MAX)
		r = -EFBIG;
	else if (strlen(text) != n)
		r = -EILSEQ;
	else
		r = 0;
	fclose(f);
	if (r)
		snprintf(err, errlen, "%s: %s", path, strerror(-r));
	else
		r = config_parse(text, path, &cf, err, errlen);
	free(text);
	if (!r)
		r = take_host_name(&cf, err, errlen);
	if (!r)
		*ret = cf;
	return r;
}
