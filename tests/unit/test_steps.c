// SPDX-License-Identifier: GPL-2.0
/*
 * The plan of an activation's steps: order, failure, force, addresses that change,
 * the file. A driver runs the machine against a table of steps that fail.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/net/service_addr.h"
#include "daemon/store/steps.h"

static struct group_store st;
static struct steps s;
static char log_text[2048];

static void full_store(void)
{
	memset(&st, 0, sizeof(st));
	memset(&s, 0, sizeof(s));
	log_text[0] = '\0';
	strcpy(st.name, "pg");
	strcpy(st.mount_point, "/srv/pg");
	strcpy(st.fs_type, "ext4");
	strcpy(st.mount_options, "noatime");
	strcpy(st.exec, "/etc/dag/pg");
	strcpy(st.unit, "pg.service");
	strcpy(st.addresses, "eth0=10.0.0.9/24 fd00::9/64");
}

static struct steps_plan plan_of(const struct group_store *store)
{
	struct steps_plan plan;
	char err[200];

	memset(&plan, 0, sizeof(plan));
	cr_assert_eq(steps_plan_make(store, &plan, err, sizeof(err)), 0, "%s", err);
	return plan;
}

static void goal(bool up, bool force, uint32_t epoch)
{
	struct steps_plan plan = plan_of(&st);

	steps_goal(&s, &plan, up, force, epoch, false);
}

/* Run until nothing is left; "+mount" done, "-mount" undone, "!" where it fails. */
static void drive(const char *fails)
{
	enum steps_act act;
	unsigned index, turns = 0;

	log_text[0] = '\0';
	while ((act = steps_next(&s, &index)) != STEPS_REST) {
		struct step step = act == STEPS_DO ? s.want.step[index] : s.up.step[index];
		char word[32];
		bool bad;

		snprintf(word, sizeof(word), "%c%s", act == STEPS_DO ? '+' : '-',
			 step_kind_name(step.kind));
		bad = strstr(fails, word);
		if (act == STEPS_DO)
			steps_begun(&s, index, false);
		steps_ended(&s, act, &step, bad ? -EIO : 0, "it is so; do that");
		snprintf(log_text + strlen(log_text), sizeof(log_text) - strlen(log_text), "%s%s%s",
			 log_text[0] ? " " : "", word, bad ? "!" : "");
		cr_assert_lt(++turns, 100, "no end: %s", log_text);
	}
}

#define said(text)	cr_assert_str_eq(log_text, text, "%s", log_text)
#define state(want)	cr_assert_str_eq(steps_state_name(steps_state(&s)), want)

TestSuite(steps, .init = full_store);

Test(steps, up_and_down_in_reverse)
{
	goal(true, false, 1);
	state("Mounting");
	drive("");
	said("+mount +exec +unit +address +address");
	state("Mounted");
	goal(false, false, 1);
	state("Dismounting");
	drive("");
	said("-address -address -unit -exec -mount");
	state("Dismounted");
}

Test(steps, none_is_mounted_at_once)
{
	memset(&st, 0, sizeof(st));
	goal(true, false, 1);
	drive("");
	said("");
	state("Mounted");
}

/* The step that failed is undone too: it may have left something. */
Test(steps, a_failed_step_undoes_the_former_ones)
{
	goal(true, false, 1);
	drive("+unit");
	said("+mount +exec +unit! -unit -exec -mount");
	state("Dismounted");
	cr_assert_str_eq(s.error, "unit pg.service failed: it is so; do that");
	/* told the same again: one try */
	goal(true, false, 1);
	drive("");
	said("");
	state("Dismounted");
	/* another activation */
	goal(true, false, 2);
	drive("");
	said("+mount +exec +unit +address +address");
	state("Mounted");
	cr_assert_str_eq(s.error, "");
}

Test(steps, a_failure_that_cannot_be_undone_rests)
{
	goal(true, false, 1);
	drive("+unit -mount");
	said("+mount +exec +unit! -unit -exec -mount!");
	state("Dismounted");
	cr_assert_eq(s.up.nr, 1);
	cr_assert_not_null(strstr(s.error, "unit pg.service failed"), "%s", s.error);
	/* until the gate is shut */
	goal(false, true, 1);
	drive("-mount");
	said("-mount!");
	cr_assert_eq(s.up.nr, 0);
}

Test(steps, what_does_not_go_down_comes_up_again)
{
	goal(true, false, 1);
	drive("");
	goal(false, false, 1);
	drive("-mount");
	said("-address -address -unit -exec -mount! +exec +unit +address +address");
	state("Mounted");
	cr_assert_not_null(strstr(s.error, "mount /srv/pg is not undone"), "%s", s.error);
	/* and is not tried again by itself */
	goal(false, false, 1);
	drive("");
	said("");
	/* but on a person's wish */
	steps_goal(&s, NULL, false, false, 1, true);
	drive("");
	said("-address -address -unit -exec -mount");
	state("Dismounted");
}

Test(steps, force_takes_everything_down)
{
	goal(true, false, 1);
	drive("");
	goal(false, true, 1);
	drive("-mount -unit -exec -address");
	said("-address! -address! -unit! -exec! -mount!");
	state("Dismounted");
}

/* The goal turned in the middle of a step that was then cancelled. */
Test(steps, cancelled_in_the_middle)
{
	struct step step;
	unsigned index;

	goal(true, false, 1);
	cr_assert_eq(steps_next(&s, &index), STEPS_DO);
	step = s.want.step[index];
	steps_begun(&s, index, false);
	goal(false, true, 1);
	steps_ended(&s, STEPS_DO, &step, -ECANCELED, "");
	cr_assert_eq(s.up_failed, false);
	drive("");
	said("-mount");
	state("Dismounted");
}

Test(steps, an_epoch_that_goes_on_keeps_what_is_up)
{
	goal(true, false, 1);
	drive("");
	goal(true, false, 2);
	drive("");
	said("");
	state("Mounted");
}

Test(steps, addresses_change_while_it_is_up)
{
	goal(true, false, 1);
	drive("");
	strcpy(st.addresses, "fd00::9/64 10.0.0.10/24");
	strcpy(st.mount_options, "noatime,discard");
	goal(true, false, 1);
	state("Mounting");
	drive("");
	said("-address +address");
	state("Mounted");
	cr_assert_eq(s.up.nr, 5);
	cr_assert_str_eq(s.up.step[0].options, "noatime");	/* as it is mounted */
	/* none at all */
	st.addresses[0] = '\0';
	goal(true, false, 1);
	drive("");
	said("-address -address");
}

Test(steps, a_step_more_while_it_is_up)
{
	st.mount_point[0] = st.fs_type[0] = st.mount_options[0] = '\0';
	goal(true, false, 1);
	drive("");
	said("+exec +unit +address +address");
	strcpy(st.mount_point, "/srv/pg");
	goal(true, false, 1);
	drive("");
	said("+mount");
	goal(false, false, 1);
	drive("");
	said("-address -address -unit -exec -mount");
}

/* More unwanted addresses that do not go than there is room for. */
Test(steps, no_room_is_no_loop)
{
	char *at = st.addresses;

	for (int i = 0; i < STEPS_ADDRESSES_MAX; i++)
		at += sprintf(at, "10.0.1.%d/24 ", i + 1);
	goal(true, false, 1);
	drive("");
	cr_assert_eq(s.up.nr, STEPS_MAX);
	at = st.addresses;
	for (int i = 0; i < STEPS_ADDRESSES_MAX; i++)
		at += sprintf(at, "10.0.2.%d/24 ", i + 1);
	goal(true, false, 1);
	drive("-address");
	said("-address!");
}

Test(steps, gone_is_done_again)
{
	goal(true, false, 1);
	drive("");
	steps_gone(&s, 3);
	drive("");
	said("+address");
	steps_gone(&s, 99);
}

Test(steps, the_file)
{
	struct json_object *o;
	struct steps back = { .epoch = 0 };

	goal(true, false, 7);
	drive("");
	s.up.step[4].found = true;
	s.up.step[1].begun = true;
	o = steps_up_to_obj(&s, "boot-1");
	cr_assert_eq(steps_up_from_obj(o, "boot-1", &back), 0);
	cr_assert_eq(back.up.nr, 5);
	cr_assert_eq(memcmp(&back.up.step[0], &s.up.step[0], sizeof(struct step)), 0);
	cr_assert(back.up.step[4].found);
	cr_assert(back.up.step[1].begun);
	/* what was begun only is done again, the rest is up */
	s = back;
	goal(true, false, 7);
	drive("");
	said("+exec");
	/* after a reboot nothing is */
	cr_assert_eq(steps_up_from_obj(o, "boot-2", &back), 0);
	cr_assert_eq(back.up.nr, 0);
	json_object_put(o);
}

static int from_text(const char *text)
{
	struct json_object *o = json_tokener_parse(text);
	struct steps back = { .epoch = 0 };
	int rc = steps_up_from_obj(o, "b", &back);

	json_object_put(o);
	return rc;
}

#define STEP(kind, what) "{\"kind\":" kind ",\"what\":\"" what "\",\"fs_type\":\"\",\"options\":\"\"}"

Test(steps, a_damaged_file_is_refused)
{
	cr_assert_eq(from_text("{\"boot\":\"b\",\"up\":[" STEP("0", "/m") "," STEP("3", "10.0.0.1") "]}"), 0);
	cr_assert_eq(from_text("{\"boot\":\"b\",\"up\":[]}"), 0);
	cr_assert_eq(from_text("[]"), -EINVAL);
	cr_assert_eq(from_text("{\"up\":[]}"), -EINVAL);
	cr_assert_eq(from_text("{\"boot\":\"b\"}"), -EINVAL);
	cr_assert_eq(from_text("{\"boot\":\"b\",\"up\":[" STEP("4", "x") "]}"), -EINVAL);
	cr_assert_eq(from_text("{\"boot\":\"b\",\"up\":[" STEP("-1", "x") "]}"), -EINVAL);
	cr_assert_eq(from_text("{\"boot\":\"b\",\"up\":[" STEP("0", "/m") "," STEP("0", "/n") "]}"), -EINVAL);
	cr_assert_eq(from_text("{\"boot\":\"b\",\"up\":[" STEP("3", "1.1.1.1") "," STEP("0", "/n") "]}"),
		     -EINVAL, "out of order");
	cr_assert_eq(from_text("{\"boot\":\"b\",\"up\":[7]}"), -EINVAL);
}

static void refused(const char *reason)
{
	struct steps_plan plan;
	char err[200] = "";

	cr_assert_eq(steps_plan_make(&st, &plan, err, sizeof(err)), -EINVAL, "%s: accepted", reason);
	cr_assert_not_null(strstr(err, reason), "%s", err);
	full_store();
}

Test(steps, bad_properties)
{
	strcpy(st.mount_point, "srv");
	refused("mount point");
	st.mount_point[0] = '\0';
	refused("need a mount point");
	strcpy(st.fs_type, "-t ext4");
	refused("type of file system");
	strcpy(st.exec, "pg.sh");
	refused("path from /");
	strcpy(st.unit, "--force");
	refused("unit");
	strcpy(st.unit, "../x.service");
	refused("unit");
	strcpy(st.addresses, "10.0.0.300/24");
	refused("not an address");
}

/* ---- service addresses: the text ------------------------------------------------ */

static int parse(const char *list, struct service_addr *ret, char *err)
{
	return service_addr_parse(list, ret, 4, err, 200);
}

Test(service_addr, text)
{
	struct service_addr a[4];
	char err[200];

	cr_assert_eq(parse(" eth0=10.0.0.9/24,FD00::0:9/64  192.168.1.1 bond0.7=fe80::1", a, err), 4, "%s",
		     err);
	cr_assert_str_eq(a[0].text, "eth0=10.0.0.9/24");
	cr_assert_str_eq(a[0].iface, "eth0");
	cr_assert_eq(a[0].prefix, 24);
	cr_assert_str_eq(a[1].text, "fd00::9/64");
	cr_assert_str_eq(a[2].text, "192.168.1.1");
	cr_assert_eq(a[2].prefix, -1);
	cr_assert_str_eq(a[3].text, "bond0.7=fe80::1");
	cr_assert_eq(parse("", a, err), 0);
}

Test(service_addr, refused)
{
	static const char *const bad[] = {
		"10.0.0.9/33", "10.0.0.9/0", "10.0.0.9/-1", "10.0.0.9/", "10.0.0.9/2x", "fd00::/129",
		"=10.0.0.9", "averylonginterfacename=10.0.0.9", "a/b=10.0.0.9", "host", "10.0.0", "::x",
		"10.0.0.9 eth0=10.0.0.9/24",
	};
	struct service_addr a[4];
	char err[200];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(parse(bad[i], a, err), -EINVAL, "%s: accepted", bad[i]);
	cr_assert_eq(parse("10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5", a, err), -E2BIG);
}
