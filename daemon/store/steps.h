/* SPDX-License-Identifier: GPL-2.0 */
/*
 * steps - what happens around a store when it becomes active here, and stops
 * being: mount -> executable -> unit -> service addresses, down in reverse. Pure:
 * the plan, what is up, what comes next, what a failure means.
 *
 * A step that fails on the way up undoes all of them, itself included (a start
 * that was killed half way may have left something). A step that fails on the way
 * down brings the others up again, for the gate is open and the store in use; only
 * where the gate was shut before (force) is everything taken down, come what may.
 */
#ifndef DAG_STEPS_H
#define DAG_STEPS_H

#include <json-c/json.h>

#include "daemon/group/state.h"

#define STEPS_ADDRESSES_MAX	16
#define STEPS_MAX		(3 + STEPS_ADDRESSES_MAX)
#define STEP_TIMEOUT_MS		60000
#define STEP_WHY_MAX		400

enum step_kind { STEP_MOUNT, STEP_EXEC, STEP_UNIT, STEP_ADDRESS };

struct step {
	enum step_kind kind;
	bool found;			/* was there before us: it stays */
	bool begun;			/* not known to be done */
	char what[GROUP_PATH_MAX + 1];	/* mount point, path, unit, [IFACE=]ADDRESS[/PREFIX] */
	char fs_type[16];
	char options[GROUP_PATH_MAX + 1];
};

struct steps_plan {
	unsigned nr;
	struct step step[STEPS_MAX];
};

/* The steps of a store as agreed; nr 0: none. -EINVAL and why. */
int steps_plan_make(const struct group_store *st, struct steps_plan *ret, char *err, size_t errlen);
/* The steps of a list of addresses alone. */
int steps_plan_addresses(const char *list, struct steps_plan *ret, char *err, size_t errlen);
/* Two plans with equal ones are the same plan. */
uint32_t steps_plan_crc(const struct steps_plan *plan);
const char *step_kind_name(enum step_kind kind);	/* "mount", … */

enum steps_state { STEPS_DISMOUNTED, STEPS_MOUNTING, STEPS_MOUNTED, STEPS_DISMOUNTING };
enum steps_act { STEPS_REST, STEPS_DO, STEPS_UNDO };

struct steps {
	struct steps_plan want;		/* of the activation */
	struct steps_plan up;		/* in order of their kinds */
	uint32_t epoch;
	bool goal_up;
	bool force;			/* the gate is shut: nothing keeps a step up */
	bool up_failed, down_failed;	/* until the goal changes */
	char error[STEP_WHY_MAX];	/* of the first step that failed */
};

/*
 * What should be. The same goal again changes nothing but the addresses of a store
 * that is up; another one, another epoch, or `again`, forgets earlier failures. A
 * mount, unit or executable that is up stays as it is until it goes down. Whoever
 * opens a gate that was shut takes everything down before: an epoch that goes on
 * with the gate open keeps what is up.
 */
void steps_goal(struct steps *s, const struct steps_plan *want, bool up, bool force, uint32_t epoch,
		bool again);
/* What to do next, and with which step: DO counts in want, UNDO in up. */
enum steps_act steps_next(const struct steps *s, unsigned *ret_index);
/* DO begins: the step counts as up from now on, whatever becomes of it. found: an
 * address that somebody else has put there. */
void steps_begun(struct steps *s, unsigned index, bool found);
/* The act ended: rc 0, or why not. -ECANCELED: the goal changed meanwhile. */
void steps_ended(struct steps *s, enum steps_act act, const struct step *step, int rc,
		 const char *why);
/* A step that was up is not any more, by itself or by others. */
void steps_gone(struct steps *s, unsigned index);
enum steps_state steps_state(const struct steps *s);
const char *steps_state_name(enum steps_state state);	/* "Mounted", … */

/* What is up, for a file that a restarted daemon reads; `boot` is the host's boot
 * id: after a reboot nothing of it is up. */
struct json_object *steps_up_to_obj(const struct steps *s, const char *boot);
int steps_up_from_obj(struct json_object *obj, const char *boot, struct steps *ret);

#endif
