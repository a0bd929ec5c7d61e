/* SPDX-License-Identifier: GPL-2.0 */
/*
 * preflight - is this host fit to be a member? (semantics 11a) Each finding says what
 * it means and what to do. Nothing is changed, but that the module is loaded if it
 * can be.
 */
#ifndef DAG_PREFLIGHT_H
#define DAG_PREFLIGHT_H

#include <json-c/json.h>
#include <stdbool.h>

#include "daemon/config.h"

enum preflight_level { PREFLIGHT_OK, PREFLIGHT_WARN, PREFLIGHT_FAIL };

struct preflight_conf {
	const struct config *cf;
	const char *device;	/* to be given to a store; NULL: none yet */
	bool serving;		/* this process is the daemon that holds the ports */
	bool no_module;		/* its stores need none */
};

struct preflight_result {
	const char *name;	/* "kernel", "module", ... */
	enum preflight_level level;
	char text[320];
	char next[256];		/* what to do; "": nothing */
};

struct preflight {
	unsigned nr;
	struct preflight_result res[32];
};

/* All of it; returns the worst level. */
enum preflight_level preflight_run(const struct preflight_conf *conf, struct preflight *ret);
/* { "worst": "warn", "checks": [ { name, result, text, next } ] } */
struct json_object *preflight_to_obj(const struct preflight *pf);
const char *preflight_level_name(enum preflight_level level);

/* Pure: may this engine be used? text: what `etcd --version` says. */
enum preflight_level preflight_engine(const char *text, char *why, size_t len);

/* ---- preflight_host.c, for preflight.c ---- */
void preflight_add(struct preflight *pf, const char *name, enum preflight_level level,
		   const char *next, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
void preflight_names(const struct preflight_conf *conf, struct preflight *pf);
void preflight_networks(const struct preflight_conf *conf, struct preflight *pf);
void preflight_ports(const struct preflight_conf *conf, struct preflight *pf);

#endif
