/* SPDX-License-Identifier: GPL-2.0 */
/* step_run - do, undo and check one step of an activation (store/steps.h). */
#ifndef DAG_STEP_RUN_H
#define DAG_STEP_RUN_H

#include "daemon/net/announce.h"
#include "daemon/store/steps.h"

struct step_env {
	const char *store, *member, *device;
	const char *mount_point;	/* of the store; "": none */
	const char *reason;		/* "activation", "move", "dismount", "fence" … */
	const char *path;		/* PATH of programs; NULL: the usual */
	uint32_t epoch;
	unsigned timeout_ms;
	int cancel_fd;			/* readable: end what runs; -1: none */
	bool force;			/* undo: the gate is shut, so let nothing keep it */
};

/*
 * All may take timeout_ms and a little more. 0; -ECANCELED; else -errno with
 * "cause; what to do next" in why. Each may be repeated.
 * step_do(): *ret_an, for an address, goes on telling the neighbours (NULL: nothing
 * to tell).
 */
int step_do(const struct step_env *env, const struct step *step, struct announce **ret_an, char *why,
	    size_t len);
int step_undo(const struct step_env *env, const struct step *step, char *why, size_t len);
/* Does it still stand? 0; -ENOENT: no; another error: cannot be told. */
int step_check(const struct step_env *env, const struct step *step, char *why, size_t len);

#endif
