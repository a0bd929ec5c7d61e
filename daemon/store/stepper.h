/* SPDX-License-Identifier: GPL-2.0 */
/*
 * stepper - runs the steps of one store (store/steps.h) in a thread of its own, so
 * that neither other stores nor those who give it its goal wait for it.
 *
 * What is up stands in a file before it is begun: a daemon that restarts goes on
 * from there, and takes nothing down that it has not put up.
 */
#ifndef DAG_STEPPER_H
#define DAG_STEPPER_H

#include "daemon/store/attempt.h"
#include "daemon/store/steps.h"

struct stepper;
struct history;

struct stepper_conf {
	const char *store, *device, *member;
	const char *file;		/* of what is up */
	const char *path;		/* PATH of programs; NULL: the usual */
	struct history *history;	/* may be NULL */
	unsigned check_ms;		/* between checks of what is up; 0: 10 s */
	uint32_t retry_ms;		/* first delay after a failure (attempt.h); 0: 60 s */
};

struct stepper_goal {
	const struct steps_plan *plan;
	const char *mount_point;
	const char *reason;		/* for the executable and the history */
	unsigned timeout_ms;		/* of each step */
	uint32_t epoch;
	bool up;
	bool force;			/* down, the gate is shut */
};

struct stepper_status {
	enum steps_state state;
	bool failed;			/* up was tried in this epoch and given up */
	uint32_t epoch;
	uint32_t failures;		/* activations in a row that failed here, … */
	uint64_t retry_ms;		/* … and in what time the next may be tried; 0: now; … */
	uint32_t failed_plan;		/* … of these steps (steps_plan_crc) */
	char running[300];		/* the step that is under way, or "" */
	char error[STEP_WHY_MAX];
};

int stepper_create(const struct stepper_conf *conf, struct stepper **ret);
/* Is there a file that says something is up? */
bool stepper_left(const char *file);
struct stepper *stepper_ref(struct stepper *sp);
/* The last one ends the thread; what is up stays up. */
void stepper_put(struct stepper *sp);

/* Returns at once; the same goal again changes nothing (steps_goal). */
void stepper_set(struct stepper *sp, const struct stepper_goal *goal);
/* While held the goal is down, whatever stepper_set() says; reason as above. */
void stepper_hold(struct stepper *sp, const char *reason);
void stepper_release(struct stepper *sp);
/* Try again what failed, once. forget: a person wants it, so the delay does not count. */
void stepper_retry(struct stepper *sp, bool forget);
/*
 * Wait until nothing is under way: 0 if all is up (or down, as asked), -ENOTRECOVERABLE
 * if not and err says why, -ETIMEDOUT.
 */
int stepper_wait(struct stepper *sp, bool up, unsigned timeout_ms, char *err, size_t errlen);
void stepper_status(struct stepper *sp, struct stepper_status *ret);
/* Nothing is up, nothing is under way. */
bool stepper_is_down(struct stepper *sp);

#endif
