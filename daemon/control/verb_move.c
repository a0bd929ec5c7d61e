// SPDX-License-Identifier: GPL-2.0
/*
 * verb_move - a planned move, run on the active member.
 *
 * check -> replay what a lag holds back -> dismount: steps down, or --unmount -> drain: gate shut, everything at
 * the target -> agree: {epoch + 1, active = target, start LSN}, durable here ->
 * activate: the target gets the state, and answers when it serves and its steps
 * are up. Before `agree` every failure opens the gate here again and the store
 * stays where it was. After it there is no way back but another move: that is what
 * happens if the target's steps fail; if it cannot be told now, it serves as soon
 * as it can.
 *
 * To a point of the target's log (--at) the replay there goes on to it, and not beyond,
 * before the dismount; what is drained stands in its log only; and the agreement names
 * the point (store/local_point.c). Up to that the same holds: the store stays here,
 * whole, and the target is a copy like before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/control/blockdev.h"
#include "daemon/control/history.h"
#include "daemon/control/move_point.h"
#include "daemon/control/verb_store.h"
#include "daemon/group/state_json.h"
#include "daemon/group/uuid.h"

#define ERR		call->err, sizeof(call->err)
#define TIMEOUT_MS	60000
#define PUSH_MS		10000
#define BACK_PAUSE_MS	500
#define DECIDE_MS	120000		/* a person is asked meanwhile */
/* A target farther behind is not waited for (semantics 27, in segments). */
#define COPY_QUEUE_MAX	10
#define REPLAY_QUEUE_MAX 50

struct move {
	struct rpc_call *call;
	struct group_store *st;		/* as agreed before */
	const char *target, *comment;
	bool unmount, skip_health, skip_lag, skip_max_active;
	bool yes, preview;		/* --at: give up what is behind it; only say how much */
	bool back;			/* the way back of a move that failed: the last */
	bool handover;			/* it cannot stay here: never moved back */
	uint64_t timeout_ms;
	uint64_t end_lsn;
	uint64_t t_begin, t_last;	/* ms */
	struct move_point point;
	struct json_object *phases;
	struct peer_line *line;		/* to the target, opened while still serving */
};

static void phase_done(struct move *mv, const char *name)
{
	uint64_t now = now_ms(), took = now - mv->t_last;

	mv->t_last = now;
	json_object_object_add(mv->phases, name, json_object_new_int64(took));
	call_progress(mv->call, "%s: %llu ms", name, (unsigned long long)took);
}

/* ---- checks ---------------------------------------------------------------- */

static int check_copy(struct move *mv)
{
	struct rpc_call *call = mv->call;
	struct group_copy *cp = group_find_copy(mv->st, mv->target);

	if (!strcmp(mv->target, mv->st->active))
		return call_fail(call, -EALREADY, "store %s: is active on %s already", mv->st->name,
				 mv->target);
	if (!cp)
		return call_fail(call, -ENOENT, "store %s: has no copy on %s; add one with dagctl copy "
				 "add %s --member %s", mv->st->name, mv->target, mv->st->name,
				 mv->target);
	if (cp->suspended)
		return call_fail(call, -EBUSY, "store %s: the copy on %s is suspended; run dagctl copy "
				 "resume %s --member %s", mv->st->name, mv->target, mv->st->name,
				 mv->target);
	if (cp->activation_blocked)
		return call_fail(call, -EBUSY, "store %s: activation of the copy on %s is blocked; run "
				 "dagctl copy resume %s --member %s", mv->st->name, mv->target,
				 mv->st->name, mv->target);
	/* The way back is to where it was until just now: nothing much is held there. */
	if (group_copy_lagged(cp) && !mv->skip_lag && !mv->back && !mv->point.at)
		return call_fail(call, -EBUSY, "store %s: the copy on %s replays %llu s late, and would "
				 "have to catch up now; pass --skip-lag to do that, or --at to have it "
				 "as it was", mv->st->name, mv->target,
				 (unsigned long long)cp->replay_lag_ms / 1000);
	return 0;
}

static int check_member(struct move *mv)
{
	struct rpc_call *call = mv->call;
	struct group_member *mb;
	struct peer_view pv;
	struct group_state gs;
	uint32_t active = 0;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	mb = group_find_member(&gs, mv->target);
	for (uint32_t i = 0; i < gs.nr_stores; i++)
		active += !gs.stores[i].removed && !strcmp(gs.stores[i].active, mv->target);
	if (mb && (mb->maintenance || mb->stopped) && !mv->back)
		r = call_fail(call, -EBUSY, "store %s: member %s is %s; run dagctl %s %s", mv->st->name,
			      mv->target, mb->stopped ? "stopped" : "in maintenance", mb->stopped ?
			      "group start" : "member maintenance stop", mv->target);
	else if (mb && mb->max_active && active >= mb->max_active && !mv->skip_max_active)
		r = call_fail(call, -EDQUOT, "store %s: member %s has %u active stores, the most that "
			      "it may have; pass --skip-maximum-active, or raise it with dagctl "
			      "member set", mv->st->name, mv->target, active);
	group_state_free(&gs);
	if (r)
		return r;
	peers_view(call->ct, mv->target, &pv);
	if (!pv.reachable)
		return call_fail(call, -EHOSTUNREACH, "store %s: member %s is unreachable: %s; it must "
				 "answer for a planned move", mv->st->name, mv->target,
				 pv.error[0] ? pv.error : "not heard of yet");
	return 0;
}

static const char *text_in(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_get_string(v) ?
	       json_object_get_string(v) : "";
}

static uint64_t number_in(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? (uint64_t)json_object_get_int64(v) : 0;
}

/* What this member, the active, knows of the target's copy; to be put. */
static struct json_object *target_status(struct move *mv, struct stores *ss)
{
	struct json_object *all = stores_status(ss), *found = NULL;

	for (size_t i = 0; all && i < json_object_array_length(all) && !found; i++) {
		struct json_object *o = json_object_array_get_idx(all, i);

		if (!strcmp(text_in(o, "store"), mv->st->name) &&
		    !strcmp(text_in(o, "member"), mv->target))
			found = json_object_get(o);
	}
	json_object_put(all);
	return found;
}

static int check_status(struct move *mv, struct stores *ss)
{
	struct json_object *o = target_status(mv, ss);
	uint64_t segment = (uint64_t)mv->st->segment_mib << 20;
	const char *status = text_in(o, "status");
	int r = 0;

	if (!mv->skip_health && strcmp(status, "Healthy"))
		r = call_fail(mv->call, -EAGAIN, "store %s: copy on %s is %s, see dagctl copy status; "
			      "wait until it is Healthy, or pass --skip-health to have the move wait",
			      mv->st->name, mv->target, status[0] ? status : "not known");
	else if (!mv->skip_lag && (number_in(o, "copy_queue_bytes") > COPY_QUEUE_MAX * segment ||
				   (!mv->point.at && number_in(o, "replay_queue_bytes") >
				    REPLAY_QUEUE_MAX * segment)))
		r = call_fail(mv->call, -EAGAIN, "store %s: copy on %s is far behind, see dagctl copy "
			      "status; wait, or pass --skip-lag to have the move wait", mv->st->name,
			      mv->target);
	json_object_put(o);
	return r;
}

/* The first fork in what a member says of its copy of the store; "": none. */
static const char *fork_in(struct json_object *said, const char *store)
{
	struct json_object *forks;

	if (!json_object_is_type(said, json_type_array))
		return "";
	for (size_t i = 0; i < json_object_array_length(said); i++) {
		struct json_object *o = json_object_array_get_idx(said, i);

		if (!strcmp(text_in(o, "store"), store) &&
		    json_object_object_get_ex(o, "forks", &forks) &&
		    json_object_is_type(forks, json_type_array) && json_object_array_length(forks))
			return text_in(json_object_array_get_idx(forks, 0), "name");
	}
	return "";
}

/*
 * An activation closes what the target's copy is opened as: nobody's work on it is lost
 * for a move that can wait. One that must be, or a target that does not say, goes on.
 */
static int check_forks(struct move *mv)
{
	struct json_object *params = json_object_new_object(), *said = NULL;
	struct rpc_call *call = mv->call;
	const char *name;
	int r = 0;

	if (!mv->back && !mv->handover &&
	    peer_line_call(mv->line, call, "copy.local", params, PUSH_MS, &said))
		call->err[0] = '\0';
	name = fork_in(said, mv->st->name);
	if (*name)
		r = call_fail(call, -EBUSY, "store %s: its copy on %s is open as %s, which the move would "
			      "close; run dagctl copy close %s %s on %s", mv->st->name, mv->target, name,
			      mv->st->name, name, mv->target);
	json_object_put(params);
	json_object_put(said);
	return r;
}

/* Nothing writes any more, or at least nothing that has steps: it will catch up. */
static void await_health(struct move *mv, struct stores *ss)
{
	uint64_t until = now_ms() + mv->timeout_ms;
	bool healthy = false;

	while (mv->skip_health && !healthy && now_ms() < until) {
		struct json_object *o = target_status(mv, ss);

		healthy = !strcmp(text_in(o, "status"), "Healthy");
		json_object_put(o);
		if (!healthy && control_sleep(mv->call->ct, 100))
			return;
	}
	if (mv->skip_health)
		phase_done(mv, "health");
}

/* The held records of a lagged copy are replayed while the store still serves here. */
static int replay_lagged(struct move *mv, struct stores *ss)
{
	uint64_t until = now_ms() + mv->timeout_ms, queue = UINT64_MAX;
	struct json_object *params, *result = NULL, *o;
	struct rpc_call *call = mv->call;
	char text[UUID_TEXT];
	int r;

	if (!group_copy_lagged(group_find_copy(mv->st, mv->target)))
		return 0;
	params = json_object_new_object();
	uuid_format(mv->st->uuid, text);
	json_object_object_add(params, "uuid", json_object_new_string(text));
	/* here, then while the gate is shut; a move that fails leaves no trace for long */
	json_object_object_add(params, "ms", json_object_new_int64(2 * mv->timeout_ms + PUSH_MS +
								   store_steps_ms(mv->st)));
	r = peer_line_call(mv->line, call, "copy.catch_up", params, PUSH_MS, &result);
	json_object_put(params);
	json_object_put(result);
	while (!r && queue > (uint64_t)mv->st->segment_mib << 20 && now_ms() < until) {
		o = target_status(mv, ss);
		queue = o ? number_in(o, "replay_queue_bytes") : UINT64_MAX;
		json_object_put(o);
		if (queue && control_sleep(call->ct, 100))
			return -ECANCELED;
	}
	if (!r && queue > (uint64_t)mv->st->segment_mib << 20)
		return call_fail(call, -ETIMEDOUT, "store %s: the lagged copy on %s has %llu MiB left to "
				 "replay; it goes on for a while: try again, with a longer --timeout",
				 mv->st->name, mv->target, (unsigned long long)queue >> 20);
	if (!r)
		phase_done(mv, "replay");
	return r;
}

/* ---- to a point ---------------------------------------------------------------- */

static const char *bytes_text(uint64_t bytes, char ret[32])
{
	if (bytes < 10 << 20)
		snprintf(ret, 32, "%llu KiB", (unsigned long long)bytes >> 10);
	else
		snprintf(ret, 32, "%llu MiB", (unsigned long long)bytes >> 20);
	return ret;
}

/* Acknowledged writes are given up on purpose: by somebody who has said so. */
static int check_given_up(struct move *mv)
{
	const struct move_point *mp = &mv->point;
	char text[32];

	if (mv->yes || mv->preview)
		return 0;
	return call_fail(mv->call, -EPERM, "store %s: that gives up %s of its log, the last %.1f s, with "
			 "whatever commits were acknowledged in them; pass --yes", mv->st->name,
			 bytes_text(mp->end_lsn - mp->lsn, text), move_point_seconds(mp));
}

static uint64_t hold_ms(const struct move *mv)
{
	/* here, then while the gate is shut, then while the tail is kept */
	return 3 * mv->timeout_ms + 2 * PUSH_MS + store_steps_ms(mv->st);
}

static int reach_point(struct move *mv)
{
	struct rpc_call *call = mv->call;
	int r;

	r = move_point_hold(call, mv->line, mv->st->uuid, &mv->point, mv->preview ? DECIDE_MS :
			    hold_ms(mv));
	r = r ? r : check_given_up(mv);
	if (r || mv->preview)
		return r;
	r = move_point_reach(call, mv->line, mv->st->uuid, &mv->point, hold_ms(mv), mv->timeout_ms);
	if (!r)
		phase_done(mv, "replay");
	return r;
}

/* Drained: where nothing stands behind the point it is a move like any other. */
static int keep_tail(struct move *mv)
{
	int r;

	mv->point.end_lsn = mv->end_lsn;
	if (mv->end_lsn == mv->point.lsn)
		return 0;
	r = move_point_keep(mv->call, mv->line, mv->st->uuid, &mv->point, mv->timeout_ms);
	if (!r)
		phase_done(mv, "keep");
	return r;
}

/* ---- the way out ------------------------------------------------------------- */

static int free_device(struct move *mv, struct stores *ss)
{
	struct rpc_call *call = mv->call;
	struct blockdev_use use;
	char why[ERR_BYTES];
	int r;

	r = stores_hold(ss, mv->st->uuid, "move", store_steps_ms(mv->st), why, sizeof(why));
	if (r)
		return call_fail(call, r, "store %s: not dismounted: %.700s; it stays on %s",
				 mv->st->name, why, call->ct->cf->member);
	if (store_has_steps(mv->st))
		phase_done(mv, "dismount");
	r = blockdev_use(mv->st->name, &use);
	if (!r && mv->unmount && use.mounted[0]) {
		r = blockdev_unmount(mv->st->name, why, sizeof(why));
		if (r)
			return call_fail(call, r, "store %s: %s", mv->st->name, why);
		phase_done(mv, "unmount");
	}
	return store_check_unused(call, mv->st->name, mv->unmount ? "" : ", or pass --unmount");
}

static int edit_move(struct group_store *st, void *ctx)
{
	const struct move *mv = ctx;

	if (!group_find_copy(st, mv->target))
		return -ENOENT;
	st->epoch++;
	st->start_lsn = mv->end_lsn;
	st->point_lsn = mv->point.at && mv->point.lsn < mv->end_lsn ? mv->point.lsn : 0;
	/* nobody else is equal to a device that is older than the log */
	for (uint32_t i = 0; i < st->nr_copies && st->point_lsn; i++)
		st->copies[i].in_sync = !strcmp(st->copies[i].member, mv->target);
	snprintf(st->active, sizeof(st->active), "%s", mv->target);
	return 0;
}

/* The move did not happen: serve here again, and say how that went. */
static int reopen(struct move *mv, struct stores *ss, int r, const char *step, const char *why)
{
	struct rpc_call *call = mv->call;
	char again[ERR_BYTES] = "";
	int ro;

	ro = stores_reopen(ss, mv->st->uuid, again, sizeof(again));
	log_warn("store=%s msg=\"move failed\" target=%s step=%s err=\"%s\" reopened=%s",
		 mv->st->name, mv->target, step, why, ro ? "no" : "yes");
	if (ro)
		return call_fail(call, r, "store %s: %s: %.300s; and it does not open on %s again: "
				 "%.300s; see dagctl status", mv->st->name, step, why,
				 call->ct->cf->member, again[0] ? again : strerror(-ro));
	return call_fail(call, r, "store %s: %s: %.600s; it stays on %s and serves there", mv->st->name,
			 step, why, call->ct->cf->member);
}

static int drain_and_agree(struct move *mv, struct stores *ss)
{
	struct engine *en = mv->call->ct->engine;
	char why[ERR_BYTES] = "";
	int r;

	r = stores_drain(ss, mv->st->uuid, mv->target, mv->point.at ? mv->point.lsn : UINT64_MAX,
			 mv->timeout_ms, &mv->end_lsn, why, sizeof(why));
	if (r)
		return reopen(mv, ss, r, "drain", why[0] ? why : strerror(-r));
	phase_done(mv, "drain");
	r = mv->point.at ? keep_tail(mv) : 0;
	if (r) {
		snprintf(why, sizeof(why), "%s", mv->call->err);
		return reopen(mv, ss, r, "keep", why);
	}
	r = en->ops->txn_store(en, mv->st->uuid, mv->st->epoch, edit_move, mv, why, sizeof(why));
	if (r)
		return reopen(mv, ss, r, "agree", why[0] ? why : strerror(-r));
	phase_done(mv, "agree");
	return 0;
}

/* Our state and the question together; by a new connection if the old one broke. */
static int ask_target(struct move *mv, struct json_object *params, struct json_object **ret)
{
	struct rpc_call *call = mv->call;
	unsigned timeout_ms = mv->timeout_ms + PUSH_MS + store_steps_ms(mv->st);
	struct group_state gs;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	json_object_object_add(params, "state", group_state_to_obj(&gs));
	group_state_free(&gs);
	r = peer_line_call(mv->line, call, "store.wait_active", params, timeout_ms, ret);
	if (r == -ECONNRESET || r == -EPIPE)
		r = peer_call(call, mv->target, "store.wait_active", params, timeout_ms, ret);
	return r;
}

/* It serves there, but a step failed and all are down: a move that does not succeed
 * leaves the store where it was. */
static int send_back(struct move *mv)
{
	struct json_object *params = json_object_new_object(), *result = NULL;
	struct rpc_call *call = mv->call;
	uint64_t until = now_ms() + MOVE_BACK_MS;
	char text[UUID_TEXT], why[400], again[400];
	int r;

	snprintf(why, sizeof(why), "%.399s", call->err);
	call_progress(call, "%s; it comes back", why);
	uuid_format(mv->st->uuid, text);
	json_object_object_add(params, "store", json_object_new_string(text));
	json_object_object_add(params, "to", json_object_new_string(call->ct->cf->member));
	json_object_object_add(params, "comment", json_object_new_string("its steps failed"));
	json_object_object_add(params, "back", json_object_new_boolean(true));
	json_object_object_add(params, "timeout_ms", json_object_new_int64(mv->timeout_ms));
	do {
		r = peer_call(call, mv->target, "store.move", params, mv->timeout_ms + PUSH_MS +
			      2 * store_steps_ms(mv->st), &result);
		json_object_put(result);
		result = NULL;
		/* the copy here has just become passive: it connects now */
	} while ((r == -EAGAIN || r == -ENOTCONN || r == -EHOSTUNREACH) && now_ms() < until &&
		 !control_sleep(call->ct, BACK_PAUSE_MS));
	json_object_put(params);
	phase_done(mv, "back");
	if (r) {
		snprintf(again, sizeof(again), "%.399s", call->err);
		return call_fail(call, r, "store %s: belongs to %s now: %s; and it does not come back: "
				 "%s", mv->st->name, mv->target, why, again);
	}
	return call_fail(call, -ENOTRECOVERABLE, "store %s: %s; it was moved back to %s", mv->st->name,
			 why, call->ct->cf->member);
}

static int wait_target(struct move *mv)
{
	struct json_object *params = json_object_new_object(), *result = NULL;
	struct rpc_call *call = mv->call;
	char text[UUID_TEXT], why[ERR_BYTES];
	int r;

	uuid_format(mv->st->uuid, text);
	json_object_object_add(params, "uuid", json_object_new_string(text));
	json_object_object_add(params, "epoch", json_object_new_int64(mv->st->epoch + 1));
	json_object_object_add(params, "wait_ms", json_object_new_int64(mv->timeout_ms));
	json_object_object_add(params, "steps", json_object_new_boolean(true));
	json_object_object_add(params, "handover", json_object_new_boolean(mv->handover));
	if (mv->point.at && mv->point.lsn < mv->end_lsn)
		json_object_object_add(params, "point_lsn", json_object_new_int64(mv->point.lsn));
	r = ask_target(mv, params, &result);
	json_object_put(params);
	json_object_put(result);
	if (!r) {
		phase_done(mv, "activate");
		return 0;
	}
	if (r == -ENOTRECOVERABLE && mv->handover) {
		snprintf(why, sizeof(why), "%s", call->err);
		return call_fail(call, r, "store %s: belongs to %s now (epoch %u), and its steps failed "
				 "there: %.700s; it goes on to the next candidate", mv->st->name,
				 mv->target, mv->st->epoch + 1, why);
	}
	if (r == -ENOTRECOVERABLE && !mv->back)
		return send_back(mv);
	snprintf(why, sizeof(why), "%s", call->err);
	return call_fail(call, r, "store %s: belongs to %s now (epoch %u), which does not serve it "
			 "yet: %.700s; it will as soon as it can, see dagctl status", mv->st->name,
			 mv->target, mv->st->epoch + 1, why);
}

static struct json_object *outcome(struct move *mv)
{
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "store", json_object_new_string(mv->st->name));
	json_object_object_add(obj, "from", json_object_new_string(mv->st->active));
	json_object_object_add(obj, "to", json_object_new_string(mv->target));
	json_object_object_add(obj, "epoch", json_object_new_int64(mv->st->epoch + 1));
	json_object_object_add(obj, "start_lsn", json_object_new_int64(mv->end_lsn));
	if (mv->point.at)
		move_point_fields(obj, &mv->point);
	json_object_object_add(obj, "phases_ms", json_object_get(mv->phases));
	json_object_object_add(obj, "total_ms", json_object_new_int64(now_ms() - mv->t_begin));
	return obj;
}

static int run_here(struct move *mv, struct stores *ss)
{
	int r;

	r = check_status(mv, ss);
	if (!r)
		r = peer_line_open(mv->call, mv->target, &mv->line);
	if (!r)
		r = check_forks(mv);
	if (!r)
		r = mv->point.at ? reach_point(mv) : replay_lagged(mv, ss);
	if (r || mv->preview)
		return r;
	r = free_device(mv, ss);
	if (!r)
		await_health(mv, ss);
	if (!r)
		r = drain_and_agree(mv, ss);
	/* what becomes passive stays down; what stays is to be up again */
	if (r)
		stores_release(ss, mv->st->uuid);
	return r;
}

static int run_move(struct move *mv)
{
	struct stores *ss;
	int r;

	r = check_copy(mv);
	if (!r)
		r = check_member(mv);
	if (r)
		return r;
	ss = control_use(mv->call);
	if (!ss)
		return -ENOENT;
	r = run_here(mv, ss);
	control_unuse(mv->call->ct);
	if (r)
		move_point_release(mv->call, mv->line, mv->st->uuid, &mv->point);
	if (r || mv->preview)
		return r;
	/* this side has become passive before the other is told */
	control_wait_applied(mv->call->ct);
	return wait_target(mv);
}

static int take_params(struct move *mv)
{
	struct rpc_call *call = mv->call;
	int unmount = rpc_bool(call->params, "unmount", ERR);
	int health = rpc_bool(call->params, "skip_health", ERR);
	int lag = rpc_bool(call->params, "skip_lag", ERR);
	int most = rpc_bool(call->params, "skip_maximum_active", ERR);
	int back = rpc_bool(call->params, "back", ERR);
	int handover = rpc_bool(call->params, "handover", ERR);
	int yes = rpc_bool(call->params, "yes", ERR);
	int preview = rpc_bool(call->params, "preview", ERR);

	mv->comment = "";
	mv->timeout_ms = TIMEOUT_MS;
	if (unmount < 0 || health < 0 || lag < 0 || most < 0 || back < 0 || handover < 0 ||
	    yes < 0 || preview < 0 || rpc_str_opt(call->params, "at", &mv->point.at, ERR) ||
	    rpc_str(call->params, "to", &mv->target, ERR) ||
	    rpc_str_opt(call->params, "comment", &mv->comment, ERR) ||
	    rpc_u64_opt(call->params, "timeout_ms", 86400000, &mv->timeout_ms, ERR))
		return -EINVAL;
	if (strlen(mv->comment) > GROUP_COMMENT_MAX)
		return call_fail(call, -EINVAL, "comment: longer than %d characters",
				 GROUP_COMMENT_MAX);
	if (mv->point.at && (!*mv->point.at || !strcmp(mv->point.at, "end")))
		return call_fail(call, -EINVAL, "--at: names no point; leave it out to move all");
	if (preview && !mv->point.at)
		return call_fail(call, -EINVAL, "preview: only with a point");
	mv->yes = yes;
	mv->preview = preview;
	mv->unmount = unmount;
	mv->skip_health = health;
	mv->skip_lag = lag;
	mv->skip_max_active = most;
	mv->back = back;
	mv->handover = handover;
	return 0;
}

static void record(struct move *mv, int r)
{
	struct json_object *fields = outcome(mv);
	struct history *h = mv->call->ct->history;
	const char *kind = mv->point.at ? "move-at" : "move";
	char text[32];

	json_object_object_add(fields, "planned", json_object_new_boolean(true));
	/* what is given up on purpose is not lost */
	json_object_object_add(fields, "lost_bytes", json_object_new_int64(0));
	if (mv->comment[0])
		json_object_object_add(fields, "comment", json_object_new_string(mv->comment));
	if (r)
		json_object_object_add(fields, "error", json_object_new_string(mv->call->err));
	if (r)
		history_add(h, kind, mv->st->name, fields, "not moved to %s: %s", mv->target,
			    mv->call->err);
	else if (mv->point.at)
		history_add(h, kind, mv->st->name, fields, "moved from %s to %s as of lsn=%llu, %s, %.1f s "
			    "given up", mv->st->active, mv->target, (unsigned long long)mv->point.lsn,
			    bytes_text(mv->point.end_lsn - mv->point.lsn, text),
			    move_point_seconds(&mv->point));
	else
		history_add(h, "move", mv->st->name, fields, "moved from %s to %s", mv->st->active,
			    mv->target);
}

int verb_store_move(struct rpc_call *call, struct json_object **ret)
{
	struct move mv = { .call = call };
	int r = take_params(&mv);

	if (r)
		return r;
	mv.st = calloc(1, sizeof(*mv.st));
	if (!mv.st)
		return -ENOMEM;
	mv.phases = json_object_new_object();
	mv.t_begin = mv.t_last = now_ms();
	r = store_snapshot(call, mv.st);
	if (!r) {
		r = run_move(&mv);
		if (!mv.preview)
			record(&mv, r);
	}
	if (!r && mv.preview)
		*ret = outcome(&mv);
	if (!r && !mv.preview) {
		log_notice("store=%s from=%s to=%s epoch=%u ms=%llu msg=moved", mv.st->name,
			   mv.st->active, mv.target, mv.st->epoch + 1,
			   (unsigned long long)(now_ms() - mv.t_begin));
		*ret = outcome(&mv);
	}
	peer_line_close(call->ct, mv.line);
	json_object_put(mv.phases);
	free(mv.st);
	return r;
}
