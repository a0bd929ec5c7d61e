// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/pass_on.h"

#include <errno.h>
#include <string.h>

#include "daemon/control/choose.h"
#include "daemon/control/control_int.h"
#include "daemon/control/history.h"

static int edit_pass_on(struct group_store *st, void *ctx)
{
	const struct choose_equal *eq = ctx;

	if (!group_find_copy(st, eq->member[0]))
		return -ESTALE;
	st->epoch++;
	memcpy(st->active, eq->member[0], sizeof(st->active));
	for (uint32_t i = 0; i < st->nr_copies; i++) {
		st->copies[i].in_sync = false;
		for (unsigned k = 0; k < eq->nr; k++)
			st->copies[i].in_sync |= !strcmp(st->copies[i].member, eq->member[k]);
	}
	return 0;
}

static int bar(struct control *ct, const struct group_store *st)
{
	int r = -ENOENT;

	pthread_rwlock_rdlock(&ct->use);
	if (ct->stores)
		r = stores_bar(ct->stores, st->uuid, st->epoch);
	pthread_rwlock_unlock(&ct->use);
	return r;
}

static void unbar(struct control *ct, const struct group_store *st, bool passed)
{
	pthread_rwlock_rdlock(&ct->use);
	if (ct->stores)
		stores_unbar(ct->stores, st->uuid, passed);
	pthread_rwlock_unlock(&ct->use);
}

static void record(struct control *ct, const struct group_store *st, const char *to, const char *reason,
		   struct json_object *verdicts)
{
	struct json_object *fields = json_object_new_object();

	json_object_object_add(fields, "from", json_object_new_string(ct->cf->member));
	json_object_object_add(fields, "to", json_object_new_string(to));
	json_object_object_add(fields, "epoch", json_object_new_int64(st->epoch + 1));
	json_object_object_add(fields, "start_lsn", json_object_new_int64(st->start_lsn));
	json_object_object_add(fields, "lost_bytes", json_object_new_int64(0));
	json_object_object_add(fields, "reason", json_object_new_string(reason));
	json_object_object_add(fields, "candidates", json_object_get(verdicts));
	log_notice("store=%s from=%s to=%s epoch=%u msg=\"passed on\" reason=\"%s\"", st->name,
		   ct->cf->member, to, st->epoch + 1, reason);
	history_add(ct->history, "move", st->name, fields, "passed on from %s to %s: %s", ct->cf->member,
		    to, reason);
}

int pass_on(struct control *ct, const struct group_state *gs, const struct group_store *st,
	    const char *reason, struct json_object **ret_verdicts)
{
	struct engine *en = ct->engine;
	struct choose_equal eq = { .nr = 0 };
	char err[ERR_BYTES] = "";
	int r;

	if (!st->start_lsn)
		return -ENOENT;
	r = bar(ct, st);
	if (r)
		return r;
	r = choose_equal(ct, gs, st, &eq, ret_verdicts);
	if (!r)
		r = en->ops->txn_store(en, st->uuid, st->epoch, edit_pass_on, &eq, err, sizeof(err));
	if (!r)
		record(ct, st, eq.member[0], reason, *ret_verdicts);
	else if (r != -ENOENT)
		log_err("store=%s msg=\"not passed on\" err=\"%s\"", st->name,
			err[0] ? err : strerror(-r));
	/* P1: what may have been agreed is asked for again, behind a gate that stays shut */
	if (r != -EAGAIN)
		unbar(ct, st, !r);
	return r;
}
