// SPDX-License-Identifier: GPL-2.0
/*
 * A copy's life on this member: active (local_epoch.c), passive, closed, as the
 * agreed state wants.
 */
#include "daemon/store/local.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/history.h"
#include "daemon/health/copystatus.h"
#include "daemon/log.h"
#include "daemon/store/active_internal.h"
#include "daemon/store/local_internal.h"

#define RETRY_MS	1000
#define REPLAY_MS	30000	/* after so long an activation says that it waits for its replay */
#define SOON_MS		10
#define LAG_SPACE_MS	600000

void local_error(struct local *lo, int error, const char *fmt, ...)
{
	char text[sizeof(lo->error_text)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* A condition that lasts is said once. */
	if (error != lo->error || strcmp(text, lo->error_text))
		log_err("store=%s %s: %s", lo->name, text, strerror(-error));
	lo->error = error;
	memcpy(lo->error_text, text, sizeof(text));
	lo->retry_ms = active_now_ms() + RETRY_MS;
}

void local_gate_failed(struct local *lo, const struct group_store *st)
{
	if (!lo->gate_since_ms || lo->gate_epoch != st->epoch)
		lo->gate_since_ms = active_now_ms();
	lo->gate_epoch = st->epoch;
}

void local_no_error(struct local *lo)
{
	lo->error = 0;
	lo->error_text[0] = 0;
}

/*
 * A lag that is played down, and that is held again, is worth a line of history. Where
 * space stays short it comes and goes with each segment: said now and then.
 */
static void note_lag(struct local *lo, const struct stores_conf *conf)
{
	uint64_t now = active_now_ms();
	struct json_object *fields;
	struct passive_status ps;

	passive_status(lo->passive, &ps);
	if (ps.lag_cause == lo->lag_cause)
		return;
	if (ps.lag_cause == LAG_SPACE && lo->lag_space_ms && now - lo->lag_space_ms < LAG_SPACE_MS)
		return;
	if (ps.lag_cause == LAG_SPACE)
		lo->lag_space_ms = now;
	lo->lag_cause = ps.lag_cause;
	log_notice("store=%s lag=%s cause=%s", lo->name, ps.lag_cause == LAG_NONE ? "held" :
		   "played-down", lag_cause_name(ps.lag_cause));
	fields = json_object_new_object();
	json_object_object_add(fields, "cause", json_object_new_string(lag_cause_name(ps.lag_cause)));
	if (ps.lag_cause == LAG_NONE)
		history_add(conf->history, "lag", lo->name, fields, "the copy holds its lag again");
	else
		history_add(conf->history, "lag", lo->name, fields, "the copy replays without its lag: %s",
			    lag_cause_text(ps.lag_cause));
}

/* ---- active ------------------------------------------------------------------ */

/* A passive copy that is to be active first applies what it has. */
static int leave_passive(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	bool point = group_store_at_point(st);
	uint64_t to = point ? st->point_lsn : st->start_lsn;
	int rc;

	if (to) {
		if (!lo->replay_since_ms)
			lo->replay_since_ms = active_now_ms();
		rc = point ? local_point_leave(lo, env, st) : 0;
		if (rc)
			return rc;
		/* Nothing acknowledged is lost: all of the log is replayed, lag or not. */
		if (!point)
			passive_catch_up(lo->passive, 0);
		note_lag(lo, env->conf);
		/* The other copies of this member do not wait with it. */
		rc = passive_wait_replayed(lo->passive, to, SOON_MS);
		lo->soon = rc == -ETIMEDOUT;
		if (lo->soon && active_now_ms() - lo->replay_since_ms < REPLAY_MS)
			return rc;
		if (rc) {
			local_error(lo, rc, "copy has not replayed to lsn=%llu", (unsigned long long)to);
			return rc;
		}
	}
	if (point)
		local_point_keep(lo, st);
	lo->replay_since_ms = 0;
	passive_stop(lo->passive);
	lo->passive = NULL;
	lo->role = LOCAL_NONE;
	return 0;
}

/* ---- passive ------------------------------------------------------------------ */

/* Do commits at the active end when the copies have received them? */
static bool wait_received(const struct group_store *st)
{
	return st->mode != DAGTAP_MODE_ASYNC && !st->ack_durable;
}

/* As much as an active keeps in its ring for copies that lag, if nothing is said. */
static uint64_t keep_bytes(const struct group_store *st)
{
	uint64_t keep = (uint64_t)(st->ring_mib ? st->ring_mib : 64) << 20;

	if (st->quota_bytes && keep > st->quota_bytes / 4)
		keep = st->quota_bytes / 4;
	return st->keep_bytes ? st->keep_bytes : keep;
}

static struct lag_rule lag_rule_of(const struct group_copy *cp)
{
	return (struct lag_rule){ .replay_ms = cp->replay_lag_ms, .truncation_ms = cp->truncation_lag_ms,
				  .off = cp->lag_off };
}

static void become_passive(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	struct passive_conf conf = {
		.name = lo->name,
		.self = env->conf->self,
		.device = lo->cp.device,
		.sectors = st->sectors,
		.tag = group_store_tag(st),
		.ring_bytes = env->conf->receive_ring_bytes,
		.keep_bytes = keep_bytes(st),
		.lag = lag_rule_of(&lo->cp),
		.quota_bytes = st->quota_bytes,
		.seg_bytes = (uint64_t)st->segment_mib << 20,
		.backend = env->conf->backend,
		.state = lo->state,
		.log = lo->log,
		.ops = env->conf->tap,
		.tap = lo->tap,
		.log_dir = lo->cp.log_dir,
		.forks = env->conf->forks,
		.ack_received = wait_received(st),
		.no_codec = env->conf->no_codec,
	};
	struct copystate_data d;
	int rc;

	/* A daemon that restarted after a move may find the gate open still, or not
	 * have come to the end of what a closed one needs. */
	copystate_get(lo->state, &d);
	if (lo->at.role != DAGTAP_ROLE_PASSIVE || copystate_former(&d)) {
		rc = local_leave_active(lo, env, st);
		if (rc)
			return;
	}
	memcpy(conf.uuid, lo->uuid, 16);
	rc = passive_start(&conf, &lo->passive);
	lo->unfit = rc && copy_error_unfit(rc);
	if (rc) {
		local_error(lo, rc, "cannot start the passive copy");
		return;
	}
	lo->role = LOCAL_PASSIVE;
	lo->replay_since_ms = 0;
	lo->bits_forgotten = false;
	lo->lag_cause = LAG_NONE;
	local_no_error(lo);
	log_notice("store=%s passive device=%s", lo->name, lo->cp.device);
}

/* ---- reconciliation -------------------------------------------------------------- */

void local_reconcile(struct local *lo, const struct local_env *env, struct group_store *st)
{
	struct group_copy *cp = group_find_copy(st, env->conf->self);
	bool want_active = st->epoch && !strcmp(st->active, env->conf->self);
	struct lag_rule lag = lag_rule_of(cp);
	int rc;

	lo->cp = *cp;
	lo->soon = false;
	if (!want_active)
		lo->gate_since_ms = 0;
	if (lo->error && active_now_ms() < lo->retry_ms)
		return;
	if (lo->role == LOCAL_ACTIVE && want_active && lo->epoch == st->epoch) {
		if (local_steps_fenced(lo, env, st))
			return;
		local_unfence(lo, env, st);
		active_update(lo->active, env->gs);
		local_steps_up(lo, env, st);
		return;
	}
	if (lo->role == LOCAL_ACTIVE && want_active && !local_continue(lo, env, st))
		return;
	if (lo->role == LOCAL_PASSIVE && !want_active) {
		passive_suspend(lo->passive, cp->suspended);
		passive_ack_received(lo->passive, wait_received(st));
		passive_lag_set(lo->passive, &lag);
		passive_reseed(lo->passive, cp->seed_request);
		local_steps_cleared(lo, env, st);
		return;
	}
	if (local_open(lo, env, st)) {
		if (want_active)
			local_gate_failed(lo, st);
		return;
	}
	if (lo->role == LOCAL_ACTIVE && local_leave_active(lo, env, st))
		return;
	rc = lo->role == LOCAL_PASSIVE ? leave_passive(lo, env, st) : 0;
	if (rc && rc != -ETIMEDOUT)
		local_gate_failed(lo, st);
	if (rc)
		return;
	if (!want_active || local_must_replay(lo, st)) {
		become_passive(lo, env, st);
		lo->soon = want_active;
		if (lo->at.role == DAGTAP_ROLE_PASSIVE)
			local_steps_cleared(lo, env, st);
		return;
	}
	/* What was up when the gate was shut goes down before it opens again. */
	if (lo->at.role != DAGTAP_ROLE_ACTIVE && !local_steps_cleared(lo, env, st))
		return;
	local_become_active(lo, env, st);
	if (lo->role == LOCAL_ACTIVE)
		local_steps_up(lo, env, st);
}

/*
 * A copy that its active has made equal owes nothing to the intent bits that a
 * former life as active left: when it serves again, they would make everybody
 * resynchronise them.
 */
static void forget_bits(struct local *lo, const struct stores_conf *conf)
{
	struct dagtap_regions rg = { .flags = DAGTAP_REGIONSF_FORGET };
	struct passive_status ps;
	int rc;

	passive_status(lo->passive, &ps);
	if (!ps.connected || ps.state != DAG_COPY_HEALTHY)
		return;
	rc = conf->tap->regions(lo->tap, &rg);
	if (rc)
		log_warn("store=%s intent bits cannot be dropped: %s", lo->name, strerror(-rc));
	else
		lo->at.crashed = 0;
	lo->bits_forgotten = true;
}

void local_tick(struct local *lo, const struct stores_conf *conf)
{
	if (lo->passive) {
		passive_tick(lo->passive);
		note_lag(lo, conf);
	}
	if (lo->passive && lo->tap && !lo->bits_forgotten)
		forget_bits(lo, conf);
	if (lo->log)
		branch_refresh(lo->cp.log_dir, lo->branches, &lo->nr_branches);
}

void local_close(struct local *lo, const struct stores_conf *conf, bool keep_role)
{
	struct dagtap_role_set rs = { .role = DAGTAP_ROLE_PASSIVE };

	if (lo->active && !keep_role && conf->tap->role(lo->tap, &rs))
		log_err("store=%s the tap does not close", lo->name);
	if (lo->active)
		active_stop(lo->active);
	if (lo->passive)
		passive_stop(lo->passive);
	if (lo->tap)
		conf->tap->close(lo->tap, false);
	if (lo->log)
		seglog_close(lo->log);
	if (lo->state)
		copystate_close(lo->state);
	regionset_free(&lo->tail);
	lo->active = NULL;
	lo->passive = NULL;
	lo->tap = NULL;
	lo->log = NULL;
	lo->state = NULL;
	lo->role = LOCAL_NONE;
}
