// SPDX-License-Identifier: GPL-2.0
/*
 * How a copy becomes active, and goes on in another epoch.
 *
 * Activation, in this order: the copy is whole up to the epoch's first LSN; its
 * state remembers the epoch; the module makes epoch and LSN durable and opens the
 * gate; the log is shipped. A crash in between leaves an epoch in the state whose
 * gate was never opened: nothing was written in it, and it is opened then.
 *
 * Only the active itself ever asks for an epoch without a start LSN, IF its own
 * still stands. So `epoch + 1, active here, start 0` means that nobody else was
 * active in between, whatever was heard of it:
 *  - the ring is gone (reboot) or was closed: a new part of the log begins;
 *  - the ring runs: a copy had promised a higher epoch for a take-over that did
 *    not happen, and takes the log only under that. The log goes on.
 * A restore of the group (group/restore.h) gives the active that is left its next epoch
 * in the same way, GROUP_EPOCHS_LOST further on.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/group/takeover.h"
#include "daemon/log.h"
#include "daemon/log/record_walk.h"
#include "daemon/store/local_internal.h"

/* ---- the state ------------------------------------------------------------- */

struct epoch_edit {
	uint32_t epoch;
	uint64_t first_lsn;
	bool fresh_bits;	/* intent bits begin here */
	bool begins;		/* a part of the log, with a gap at gap_lsn (0: none) */
	uint64_t gap_lsn;
};

static void edit_epoch(struct copystate_data *d, void *ctx)
{
	const struct epoch_edit *e = ctx;

	/* An epoch that gave nothing to this history is no part of it. */
	while (d->nr_history && (d->history[d->nr_history - 1].epoch >= e->epoch ||
				 d->history[d->nr_history - 1].first_lsn >= e->first_lsn))
		d->nr_history--;
	if (d->nr_history == COPYSTATE_HISTORY_MAX)
		memmove(d->history, d->history + 1, --d->nr_history * sizeof(d->history[0]));
	d->history[d->nr_history].epoch = e->epoch;
	d->history[d->nr_history++].first_lsn = e->first_lsn;
	if (d->promised_epoch < e->epoch)
		d->promised_epoch = e->epoch;
	d->have_image = true;
	/* From now on the device runs ahead of replayed_lsn; a clean end says where
	 * it stands, after a crash nothing does. */
	d->inconsistent_until = UINT64_MAX;
	copystate_end_branch(d);
	d->seed_begin_lsn = d->seed_hold_lsn = 0;
	memset(d->seed, 0, sizeof(d->seed));
	if (e->fresh_bits)
		d->bits_since_lsn = e->first_lsn;
	if (e->begins)
		d->gap_lsn = e->gap_lsn;
}

static bool remembers(const struct local *lo, uint32_t epoch)
{
	struct copystate_data d;

	copystate_get(lo->state, &d);
	return d.nr_history && d.history[d.nr_history - 1].epoch == epoch;
}

bool local_never_opened(const struct local *lo, uint32_t epoch)
{
	if (!lo->state)
		return false;
	/* the state is told before the module, and the module's metadata when it opens */
	return !remembers(lo, epoch) || (lo->tap && lo->at.epoch < epoch);
}

/* ---- the agreed epoch --------------------------------------------------------- */

static int edit_new_epoch(struct group_store *st, void *ctx)
{
	if (strcmp(st->active, ctx))
		return -ESTALE;
	st->epoch++;
	st->start_lsn = st->point_lsn = 0;
	return 0;
}

int local_ask_epoch(struct engine *en, const uint8_t uuid[16], uint32_t epoch, const char *self,
		    char *err, size_t errlen)
{
	return en->ops->txn_store(en, uuid, epoch, edit_new_epoch, (void *)self, err, errlen);
}

/* Is the agreed epoch one that this copy asked for when it was active in `epoch`? */
static bool asked_here(const struct group_store *st, uint32_t epoch)
{
	return epoch && !st->start_lsn &&
	       (st->epoch - epoch == 1 || st->epoch - epoch == GROUP_EPOCHS_LOST);
}

/* The ring of this epoch is gone (reboot): its log cannot go on. */
static void ask_new_epoch(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	char err[160] = "";
	int rc;

	log_notice("store=%s epoch=%u ended with the host, a new one begins crashed=%u", lo->name,
		   st->epoch, lo->at.crashed);
	rc = local_ask_epoch(env->conf->engine, st->uuid, st->epoch, env->conf->self, err, sizeof(err));
	if (rc)
		local_error(lo, rc, "cannot begin a new epoch: %s", err);
}

/* ---- the gate ------------------------------------------------------------------- */

/* A fetch came in after the claim was made (group/takeover.h), or a point was passed. */
int local_agree_anew(struct local *lo, const struct local_env *env, const struct group_store *st,
		     uint64_t end_lsn)
{
	struct engine *en = env->conf->engine;
	char err[160] = "";
	int rc;

	log_notice("store=%s epoch=%u begins at lsn=%llu, the copy ends at lsn=%llu: another begins there",
		   lo->name, st->epoch, (unsigned long long)st->start_lsn,
		   (unsigned long long)end_lsn);
	rc = en->ops->txn_store(en, st->uuid, st->epoch, takeover_edit_anew, &end_lsn, err,
				sizeof(err));
	if (rc)
		local_error(lo, rc, "cannot begin an epoch at its own end: %s", err);
	return rc ? rc : -EAGAIN;	/* comes again with the new epoch */
}

/* Only a whole copy may serve. */
static int check_whole(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	struct copystate_data d;
	bool promised;
	int rc;

	/* Sealed since for a take-over that may still come: what it promised then, not
	 * to serve a lower epoch, holds for its own, too. */
	copystate_get(lo->state, &d);
	promised = d.promised_epoch > st->epoch;
	/* It was active here all the time; or it was whole, and its gate was not opened. */
	if (asked_here(st, lo->at.epoch) || (lo->at.epoch < st->epoch && remembers(lo, st->epoch))) {
		if (promised)
			ask_new_epoch(lo, env, st);
		return promised ? -EAGAIN : 0;
	}
	if (group_store_at_point(st))
		return local_point_check(lo, env, st);
	if (st->epoch > 1 && (!d.have_image || d.inconsistent_until > d.replayed_lsn)) {
		local_error(lo, -EUCLEAN, "copy is not whole, it may not be activated");
		return -EUCLEAN;
	}
	rc = st->start_lsn ? takeover_fit(st->start_lsn, d.replayed_lsn) : 0;
	if (rc == -EAGAIN || (!rc && promised))
		return local_agree_anew(lo, env, st, d.replayed_lsn);
	if (rc) {
		local_error(lo, -EUCLEAN, "copy ends at lsn=%llu, the epoch begins at lsn=%llu",
			    (unsigned long long)d.replayed_lsn, (unsigned long long)st->start_lsn);
		return -EUCLEAN;
	}
	return 0;
}

/* Where the module began an epoch in the log that it holds; 0 or -ENOENT. */
static int find_epoch(const struct tap_view *v, const struct dagtap_info *info, uint32_t epoch,
		      uint64_t *ret_lsn)
{
	struct rec_cursor cur = { .lsn = info->freed_lsn, .any_prev = true };
	struct dagtap_rec rec;

	while (cur.lsn < info->commit_lsn) {
		memcpy(&rec, v->base + (cur.lsn & (v->size - 1)), sizeof(rec));
		if (rec_cursor_check(&cur, &rec))
			return -ENOENT;
		if (rec.type == DAGTAP_REC_STATE && rec.kind == DAGTAP_STATE_EPOCH &&
		    le32toh(rec.epoch) == epoch) {
			*ret_lsn = cur.lsn;
			return 0;
		}
		rec_cursor_advance(&cur, &rec);
	}
	return -ENOENT;
}

/* The gate was opened in an epoch that the state was not told any more (a crash). */
static int remember_late(struct local *lo, const struct local_env *env, uint32_t epoch)
{
	struct epoch_edit e = { .epoch = epoch };
	struct dagtap_info info;
	int rc;

	if (remembers(lo, epoch))
		return 0;
	rc = env->conf->tap->info(lo->tap, &info);
	rc = rc ? rc : find_epoch(env->conf->tap->view(lo->tap), &info, epoch, &e.first_lsn);
	return rc ? rc : copystate_update(lo->state, edit_epoch, &e);
}

/* The module has the gate open: go on in the epoch that it has. */
static int resume_gate(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	struct dagtap_role_set rs = {
		.role = DAGTAP_ROLE_ACTIVE,
		.epoch = lo->at.epoch,
		.tag = group_store_tag(st),
		.flags = DAGTAP_ROLEF_RESUME,
		.group_generation = env->gs->generation,
	};
	int rc = remember_late(lo, env, lo->at.epoch);

	if (rc) {
		local_error(lo, rc, "where epoch %u begins is not known any more", lo->at.epoch);
		return rc;
	}
	rc = env->conf->tap->role(lo->tap, &rs);
	if (rc)
		local_error(lo, rc, "the tap does not go on in epoch %u", lo->at.epoch);
	return rc;
}

/* Of an epoch that begins with a GAP: that stands behind its EPOCH record. */
static uint64_t gap_of(uint64_t first_lsn)
{
	return first_lsn + sizeof(struct dagtap_rec) + sizeof(struct dagtap_state_payload);
}

static int open_gate(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	struct dagtap_role_set rs = {
		.role = DAGTAP_ROLE_ACTIVE,
		.epoch = st->epoch,
		.tag = group_store_tag(st),
		.group_generation = env->gs->generation,
		.start_lsn = st->start_lsn,
	};
	struct epoch_edit e = { .epoch = st->epoch, .begins = true };
	bool point = group_store_at_point(st);
	struct dagtap_info info;
	int rc = check_whole(lo, env, st);

	if (rc)
		return rc;
	rc = env->conf->tap->info(lo->tap, &info);
	if (rc) {
		local_error(lo, rc, "the tap does not answer");
		return rc;
	}
	if (!rs.start_lsn)
		rs.start_lsn = info.reserve_lsn;	/* it is shut: nothing moves */
	if (lo->at.crashed || point)
		rs.flags |= DAGTAP_ROLEF_GAP;
	e.first_lsn = rs.start_lsn;
	if (point) {
		e.gap_lsn = gap_of(rs.start_lsn);
		rc = local_point_mark(lo, env, st);
		if (rc)
			return rc;
	}
	/* After a move the bits know only this epoch; after a restart of the same
	 * active they go on. */
	e.fresh_bits = st->epoch == 1 || !asked_here(st, lo->at.epoch);
	rc = copystate_update(lo->state, edit_epoch, &e);
	rc = rc ? rc : env->conf->tap->role(lo->tap, &rs);
	if (rc) {
		local_error(lo, rc, "the tap does not open epoch %u at lsn=%llu", st->epoch,
			    (unsigned long long)rs.start_lsn);
		return rc;
	}
	lo->at.role = DAGTAP_ROLE_ACTIVE;
	lo->at.epoch = st->epoch;
	lo->at.crashed = 0;
	return 0;
}

static int start_shipping(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	struct active_conf conf = {
		.self = env->conf->self,
		.name = lo->name,
		.group_generation = env->gs->generation,
		.epoch = lo->at.epoch,
		.sectors = st->sectors,
		.region_bytes = st->region_bytes,
		.ops = env->conf->tap,
		.tap = lo->tap,
		.state = lo->state,
		.spool = lo->log,
		.engine = env->conf->engine,
		.creds = env->conf->creds,
		.security = env->conf->security,
		.codec = env->conf->codec,
		.ktls = env->conf->ktls,
		.backend = env->conf->backend,
		.park_timeout_ms = env->conf->park_timeout_ms,
		.way = env->conf->way,
		.way_ctx = env->conf->way_ctx,
	};
	int rc;

	memcpy(conf.uuid, lo->uuid, 16);
	memcpy(conf.group, env->group, 16);
	rc = active_start(&conf, env->gs, &lo->active);
	if (rc)
		local_error(lo, rc, "cannot start shipping");
	return rc;
}

void local_become_active(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	bool open = lo->at.role != DAGTAP_ROLE_PASSIVE;
	int rc;

	/* What the module has open was allowed before; a host that started has none. */
	if (!open && env->held_back) {
		local_error(lo, -EPERM, "held back by the datacenter activation mode; see dagctl status");
		return;
	}
	if (!open && lo->at.epoch == st->epoch) {
		ask_new_epoch(lo, env, st);
		return;		/* comes again with the new epoch */
	}
	/* A daemon that restarted finds its ring as it was, perhaps an epoch behind
	 * what it had asked for: local_continue() brings it there. */
	if (open && (lo->at.epoch == st->epoch || asked_here(st, lo->at.epoch)))
		rc = resume_gate(lo, env, st);
	else if (lo->barred == st->epoch)
		return;		/* it is being passed on (control/pass_on.h) */
	else
		rc = open_gate(lo, env, st);
	if (rc && rc != -EAGAIN && !open)
		local_gate_failed(lo, st);
	if (rc || start_shipping(lo, env, st))
		return;
	lo->role = LOCAL_ACTIVE;
	lo->epoch = lo->at.epoch;
	lo->gate_since_ms = 0;
	attempt_clear(&lo->gate);
	local_no_error(lo);
	log_notice("store=%s active epoch=%u device=/dev/mapper/%s", lo->name, lo->epoch, lo->name);
}

int local_continue(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	struct dagtap_role_set rs = {
		.role = DAGTAP_ROLE_ACTIVE,
		.epoch = st->epoch,
		.tag = group_store_tag(st),
		.flags = DAGTAP_ROLEF_CONTINUE,
		.group_generation = env->gs->generation,
	};
	struct epoch_edit e = { .epoch = st->epoch };
	int rc;

	if (!asked_here(st, lo->epoch))
		return -ESTALE;
	active_turn_begin(lo->active);
	rc = 0;
	if (lo->at.epoch != st->epoch) {
		rc = env->conf->tap->role(lo->tap, &rs);
		if (rc == -ESTALE) {	/* it is shut: drained, or taken away */
			active_turn_end(lo->active, lo->epoch);
			return rc;
		}
		lo->at.epoch = rc ? lo->at.epoch : st->epoch;
		e.first_lsn = rs.start_lsn;
	}
	if (!rc && rs.start_lsn)
		rc = copystate_update(lo->state, edit_epoch, &e);
	else if (!rc)
		rc = remember_late(lo, env, st->epoch);
	if (rc) {
		/* Nothing is shipped in an epoch that the state does not remember. */
		if (lo->at.epoch != st->epoch)
			active_turn_end(lo->active, lo->epoch);
		local_error(lo, rc, "epoch %u cannot begin in the running log", st->epoch);
		return 0;	/* once more, soon */
	}
	lo->epoch = st->epoch;
	active_turn_end(lo->active, st->epoch);
	local_no_error(lo);
	log_notice("store=%s epoch=%u begins in the running log", lo->name, lo->epoch);
	return 0;
}

/* The lease ended and came back, and the epoch is still ours: serve again. */
void local_unfence(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	struct dagtap_role_set rs = {
		.role = DAGTAP_ROLE_ACTIVE,
		.epoch = st->epoch,
		.tag = group_store_tag(st),
		.flags = DAGTAP_ROLEF_RESUME,
		.group_generation = env->gs->generation,
	};
	int rc;

	lo->fenced = false;
	if (env->conf->tap->view(lo->tap)->hdr->role != DAGTAP_ROLE_FENCED)
		return;
	rc = env->conf->tap->role(lo->tap, &rs);
	log_notice("store=%s epoch=%u fenced, serves again: %s", lo->name, st->epoch,
		   rc ? strerror(-rc) : "ok");
}
