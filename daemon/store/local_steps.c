// SPDX-License-Identifier: GPL-2.0
/*
 * When the steps of an activation run: up once the gate is open; down before a
 * planned move shuts it (stores_hold), on a person's wish (dismounted), and come
 * what may after it was shut from outside. A store without steps has no stepper.
 */
#include "daemon/store/local.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/control/history.h"
#include "daemon/group/uuid.h"
#include "daemon/log.h"
#include "daemon/store/stepper.h"

static void file_of(const struct local *lo, const struct stores_conf *conf, char *ret, size_t len)
{
	char uuid[UUID_TEXT];

	uuid_format(lo->uuid, uuid);
	snprintf(ret, len, "%s/steps/%s.json", conf->state_dir, uuid);
}

/* A stepper, if there are steps or something was left up by an earlier daemon. */
static int make_stepper(struct local *lo, const struct stores_conf *conf, bool wanted)
{
	char file[400], device[STORE_NAME_MAX + 16];
	struct stepper_conf sc = {
		.store = lo->name, .device = device, .member = conf->self, .file = file,
		.history = conf->history, .retry_ms = conf->step_retry_ms,
	};
	int rc;

	if (lo->steps || !conf->state_dir)
		return 0;
	file_of(lo, conf, file, sizeof(file));
	if (!wanted && !stepper_left(file))
		return 0;
	snprintf(device, sizeof(device), "/dev/mapper/%s", lo->name);
	rc = stepper_create(&sc, &lo->steps);
	if (rc)
		log_err("store=%s msg=\"no thread for its steps\" err=\"%s\"", lo->name,
			strerror(-rc));
	return rc;
}

static void set_goal(struct local *lo, const struct group_store *st, const struct steps_plan *plan,
		     bool up, bool force, const char *reason)
{
	struct stepper_goal goal = {
		.plan = plan, .mount_point = st ? st->mount_point : "", .reason = reason,
		.timeout_ms = st ? st->step_timeout_ms : 0, .epoch = st ? st->epoch : lo->epoch,
		.up = up, .force = force,
	};

	stepper_set(lo->steps, &goal);
}

void local_steps_up(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	struct steps_plan plan;
	char err[200];

	/* What was agreed was checked; another version of the daemon may differ. */
	if (steps_plan_make(st, &plan, err, sizeof(err))) {
		log_warn("store=%s msg=\"its steps are not valid\" err=\"%s\"", lo->name, err);
		plan.nr = 0;
	}
	if (make_stepper(lo, env->conf, plan.nr) || !lo->steps)
		return;
	set_goal(lo, st, &plan, !st->dismounted, false, st->dismounted ? "dismount" : "activation");
}

bool local_steps_cleared(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	static const struct steps_plan none;

	make_stepper(lo, env->conf, false);
	if (!lo->steps)
		return true;
	set_goal(lo, st, &none, false, true, "fence");
	stepper_release(lo->steps);
	return stepper_is_down(lo->steps);
}

bool local_steps_fenced(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	if (env->conf->tap->view(lo->tap)->hdr->role != DAGTAP_ROLE_FENCED)
		return false;
	if (!lo->fenced)
		history_add(env->conf->history, "fence", lo->name, NULL,
			    "the lease ended, writes fail");
	lo->fenced = true;
	/* A file system that was refused a write must not see the gate open again. */
	return !local_steps_cleared(lo, env, st);
}
