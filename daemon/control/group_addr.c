// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/group_addr.h"

#include <stdio.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/group/renewal.h"
#include "daemon/store/stepper.h"

#define TIMEOUT_MS	10000
#define STOP_MS		5000

static struct stepper *make(struct control *ct, bool wanted)
{
	char file[400];
	struct stepper_conf conf = {
		.store = "group", .device = "", .member = ct->cf->member, .file = file,
		.history = ct->history,
	};
	int rc;

	snprintf(file, sizeof(file), "%s/steps/group.json", ct->cf->state_dir);
	/* none, and none is left from an earlier life */
	if (!wanted && !stepper_left(file))
		return NULL;
	rc = stepper_create(&conf, &ct->group_addr);
	if (rc)
		log_err("group msg=\"no thread for its address\" err=\"%s\"", strerror(-rc));
	return ct->group_addr;
}

static void set_goal(struct control *ct, const struct steps_plan *plan, bool up)
{
	struct stepper_goal goal = {
		.plan = plan, .mount_point = "", .reason = up ? "manager" : "not manager",
		.timeout_ms = TIMEOUT_MS, .up = up, .force = !up,
	};

	stepper_set(ct->group_addr, &goal);
}

void group_addr_apply(struct control *ct, const struct group_state *gs)
{
	struct steps_plan plan = { .nr = 0 };
	const char *manager = !gs ? "" : gs->manager[0] ? gs->manager : gs->founder;
	char err[200];
	bool up;

	if (gs && steps_plan_addresses(gs->address, &plan, err, sizeof(err)))
		log_warn("group address=%s err=\"%s\"", gs->address, err);
	up = plan.nr && !strcmp(manager, ct->cf->member) && renewal_holds(ct->renewal);
	if (ct->group_addr || make(ct, up))
		set_goal(ct, &plan, up);
}

void group_addr_stop(struct control *ct)
{
	static const struct steps_plan none;
	char err[STEP_WHY_MAX];

	if (!ct->group_addr)
		return;
	set_goal(ct, &none, false);
	if (stepper_wait(ct->group_addr, false, STOP_MS, err, sizeof(err)))
		log_err("group msg=\"its address is still here\" err=\"%s\"", err);
	stepper_put(ct->group_addr);
	ct->group_addr = NULL;
}
