// SPDX-License-Identifier: GPL-2.0
/* restore: whom a group without its majority activates, and what it becomes; who is
 * written down as lost while nothing can be agreed on. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/control/stopmarks.h"
#include "daemon/group/restore.h"
#include "tests/lib/tmpdir.h"

static struct group_state gs;
static struct group_store *st;
static struct candidate reports[GROUP_MEMBERS_MAX];
static bool lost[GROUP_MEMBERS_MAX];
static struct restore_store chosen[GROUP_STORES_MAX];

/* m0 is active in epoch 7; m1, m2 and m3 have copies, m1 and m2 are in sync. */
static void make(void)
{
	cr_assert_eq(group_state_init(&gs), 0);
	gs.generation = 4;
	gs.version = 9;
	gs.nr_members = 4;
	gs.nr_stores = 1;
	st = &gs.stores[0];
	strcpy(st->name, "pg");
	strcpy(st->active, "m0");
	st->epoch = 7;
	st->start_lsn = 640;
	st->mode = DAGTAP_MODE_COMMIT;
	st->nr_copies = 4;
	for (unsigned i = 0; i < 4; i++) {
		snprintf(gs.members[i].name, 64, "m%u", i);
		gs.members[i].voter = true;
		snprintf(st->copies[i].member, 64, "m%u", i);
		st->copies[i].preference = i + 1;
		st->copies[i].in_sync = i < 3;
		reports[i] = (struct candidate){ .reachable = true, .whole = true, .log_epoch = 7,
						 .end_lsn = 10240 };
		lost[i] = false;
	}
	strcpy(gs.witness.name, "w");
	gs.witness.voter = true;
	strcpy(gs.alternate.name, "alt");
}

static void done(void)
{
	group_state_free(&gs);
}

TestSuite(restore, .init = make, .fini = done);

static struct restore_store choose(void)
{
	struct restore_store rs;

	restore_choose(&gs, st, lost, reports, &rs);
	return rs;
}

Test(restore, the_active_that_is_left_stays)
{
	struct restore_store rs;

	lost[1] = lost[2] = true;
	reports[3].end_lsn = 99999;
	rs = choose();
	cr_assert_eq(rs.copy, 0);
	cr_assert(rs.stays && rs.complete);
}

Test(restore, the_most_log_of_the_newest_epoch_is_taken)
{
	lost[0] = true;
	reports[2].end_lsn += 64;
	cr_assert_eq(choose().copy, 2);
	reports[3].log_epoch = 8;
	reports[3].end_lsn = 64;
	cr_assert_eq(choose().copy, 3, "an epoch that was agreed on when nobody here heard of it");
	reports[3].whole = false;
	cr_assert_eq(choose().copy, 2);
	reports[2].reachable = false;
	cr_assert_eq(choose().copy, 1);
	lost[1] = true;
	cr_assert_eq(choose().copy, -1);
	cr_assert(choose().why[0]);
}

Test(restore, loss_is_not_denied)
{
	lost[0] = true;
	cr_assert(choose().complete);
	lost[1] = lost[2] = true;
	cr_assert_eq(choose().copy, 3);
	cr_assert_not(choose().complete, "it was not in sync");
	lost[2] = false;
	cr_assert(choose().complete);
	reports[2].unconfirmed = true;
	cr_assert_not(choose().complete, "what it had received may be gone");
	st->ack_durable = true;
	cr_assert(choose().complete);
	st->mode = DAGTAP_MODE_ASYNC;
	cr_assert_not(choose().complete, "nothing waited for it");
}

Test(restore, nothing_of_the_former_generation_can_be_taken_for_the_next)
{
	lost[0] = lost[1] = true;
	chosen[0] = choose();
	cr_assert_eq(chosen[0].copy, 2);
	cr_assert_eq(restore_state(&gs, "m3", lost, true, chosen), 0);
	cr_assert_eq(gs.generation, 5);
	cr_assert_eq(gs.version, 10);
	cr_assert_eq(st->epoch, 7 + GROUP_EPOCHS_LOST);
	cr_assert_str_eq(st->active, "m2");
	cr_assert_eq(st->start_lsn, 10240);
	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(st->copies[i].in_sync, i == 2);
		cr_assert_eq(gs.members[i].stopped, i < 2);
		cr_assert_eq(gs.members[i].voter, i == 3, "the new engine has one voter");
	}
	cr_assert_str_eq(gs.witness.name, "alt");
	cr_assert_eq(gs.alternate.name[0], '\0');
	cr_assert_not(gs.witness.voter);
	cr_assert_str_eq(gs.manager, "m3");
}

Test(restore, a_store_without_a_copy_is_fenced)
{
	lost[0] = lost[1] = lost[2] = true;
	reports[3].whole = false;
	chosen[0] = choose();
	cr_assert_eq(restore_state(&gs, "m3", lost, false, chosen), 0);
	cr_assert_str_eq(st->active, "m0", "whose log may be the only one");
	cr_assert_eq(st->start_lsn, 0);
	cr_assert_eq(st->epoch, 7 + GROUP_EPOCHS_LOST);
	cr_assert_str_eq(gs.witness.name, "w", "it is not lost");
	cr_assert_str_eq(gs.alternate.name, "alt");
}

Test(restore, who_is_lost_cannot_begin)
{
	lost[3] = true;
	cr_assert_eq(restore_state(&gs, "m3", lost, false, chosen), -EINVAL);
	cr_assert_eq(restore_state(&gs, "nobody", lost, false, chosen), -EINVAL);
	cr_assert_eq(gs.generation, 4);
	st->epoch = UINT32_MAX - GROUP_EPOCHS_LOST;
	cr_assert_eq(restore_state(&gs, "m0", lost, false, chosen), -EINVAL, "no epochs are left");
}

Test(restore, marks_are_of_one_generation)
{
	bool marked[GROUP_MEMBERS_MAX] = { false, true, false, true }, got[GROUP_MEMBERS_MAX] = { false };
	char *dir = tmpdir_make(NULL), path[300];
	FILE *f;

	cr_assert_eq(stopmarks_save(dir, &gs, marked), 0);
	got[0] = true;
	stopmarks_load(dir, &gs, got);
	cr_assert(got[0] && got[1] && !got[2] && got[3]);
	memset(got, 0, sizeof(got));
	gs.generation++;
	stopmarks_load(dir, &gs, got);
	cr_assert(!got[1] && !got[3], "what was lost in another generation is not lost in this one");
	gs.generation--;
	snprintf(path, sizeof(path), "%s/stopped.json", dir);
	f = fopen(path, "w");
	fputs("{\"generation\":4,\"members\":[7,{},\"m9\",null]", f);
	fclose(f);
	stopmarks_load(dir, &gs, got);
	f = fopen(path, "w");
	fputs("{\"generation\":4,\"members\":[7,{},\"m9\",null,\"m2\"]}", f);
	fclose(f);
	stopmarks_load(dir, &gs, got);
	cr_assert(!got[0] && !got[1] && got[2] && !got[3]);
	stopmarks_clear(dir);
	cr_assert_neq(access(path, F_OK), 0);
	tmpdir_remove(dir);
}
