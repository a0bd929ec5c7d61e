/* SPDX-License-Identifier: GPL-2.0 */
/*
 * engine_switch - the engine of a daemon that does not know its group yet: `file` until
 * a group is made or joined with another kind. Which one it is stands in
 * STATE_DIR/engine.json for the next start. Calls go to the one in use; a change of it
 * waits for those that run.
 */
#ifndef DAG_ENGINE_SWITCH_H
#define DAG_ENGINE_SWITCH_H

#include "daemon/group/engine.h"

struct engine_switch_conf {
	const char *state_dir;
	const char *self;
	uint32_t lease_ms;		/* of the file engine */
};

int engine_switch_open(const struct engine_switch_conf *conf, struct engine **ret);
/* The engine behind it, held until engine_switch_put(); NULL: it is no switch, or not of
 * that kind ("etcd"). */
struct engine *engine_switch_get(struct engine *en, const char *kind);
void engine_switch_put(struct engine *en);

#endif
