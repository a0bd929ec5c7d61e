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
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/clock.h"
#include "daemon/control/blockdev.h"
#include "daemon/control/handover.h"
#include "daemon/control/history.h"
#include "daemon/control/verb_store.h"
#include "daemon/group/state_json.h"
#include "daemon/group/uuid.h"

#define ERR		call->err, sizeof(call->err)
#define TIMEOUT_MS	60000
#define PUSH_MS		10000
#define BACK_MS		20000		/* for the copy here to be Healthy again */
#define BACK_PAUSE_MS	500
#define MARGIN_MS	5000
#define SPARE_MS	3600000		/* until the steps have ended, whatever they take */
/* A target farther behind is not waited for (semantics 27, in segments). */
#define COPY_QUEUE_MAX	10
#define REPLAY_QUEUE_MAX 50

struct move {
	struct rpc_call *call;
	struct group_store *st;		/* as agreed before */
	const char *target, *comment;
	bool unmount, skip_health, skip_lag, skip_max_active;
	bool back;			/* the way back of a move that failed: the last */
	bool handover;			/* it cannot stay here: never moved back */
	uint64_t timeout_ms;
	uint64_t end_lsn;
	uint64_t t_begin, t_last;	/* ms */
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
	if (group_copy_lagged(cp) && !mv->skip_lag && !mv->back)
		return call_fail(call, -EBUSY, "store %s: the copy on %s replays %llu s late, and would "
				 "have to catch up now; pass --skip-lag to do that", mv->st->name,
				 mv->target, (unsigned long long)cp->replay_lag_ms / 1000);
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
				   number_in(o, "replay_queue_bytes") > REPLAY_QUEUE_MAX * segment))
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

	r = stores_drain(ss, mv->st->uuid, mv->target, mv->timeout_ms, &mv->end_lsn, why,
			 sizeof(why));
	if (r)
		return reopen(mv, ss, r, "drain", why[0] ? why : strerror(-r));
	phase_done(mv, "drain");
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
	uint64_t until = now_ms() + BACK_MS;
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
		r = replay_lagged(mv, ss);
	if (r)
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

	mv->comment = "";
	mv->timeout_ms = TIMEOUT_MS;
	if (unmount < 0 || health < 0 || lag < 0 || most < 0 || back < 0 || handover < 0 ||
	    rpc_str(call->params, "to", &mv->target, ERR) ||
	    rpc_str_opt(call->params, "comment", &mv->comment, ERR) ||
	    rpc_u64_opt(call->params, "timeout_ms", 86400000, &mv->timeout_ms, ERR))
		return -EINVAL;
	if (strlen(mv->comment) > GROUP_COMMENT_MAX)
		return call_fail(call, -EINVAL, "comment: longer than %d characters",
				 GROUP_COMMENT_MAX);
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

	json_object_object_add(fields, "planned", json_object_new_boolean(true));
	json_object_object_add(fields, "lost_bytes", json_object_new_int64(0));
	if (mv->comment[0])
		json_object_object_add(fields, "comment", json_object_new_string(mv->comment));
	if (r)
		json_object_object_add(fields, "error", json_object_new_string(mv->call->err));
	if (r)
		history_add(h, "move", mv->st->name, fields, "not moved to %s: %s", mv->target,
			    mv->call->err);
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
		record(&mv, r);
	}
	if (!r) {
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

static int take_state(struct rpc_call *call)
{
	struct engine *en = call->ct->engine;
	struct json_object *obj;
	struct group_state gs;
	int r;

	if (!json_object_object_get_ex(call->params, "state", &obj))
		return 0;
	r = group_state_init(&gs);
	if (r)
		return r;
	r = group_state_from_obj(obj, &gs, ERR);
	if (!r)
		r = en->ops->learn(en, &gs);
	group_state_free(&gs);
	return r;
}

/* The store serves: are its steps up, as agreed? */
static int wait_steps(struct rpc_call *call, struct stores *ss, const uint8_t uuid[16], char *why,
		      size_t len)
{
	struct group_store *st;
	struct group_state gs;
	unsigned ms = 0;
	bool up = true;
	int r;

	r = control_state(call, &gs);
	if (r)
		return r;
	st = group_find_store_uuid(&gs, uuid);
	if (st) {
		ms = store_steps_ms(st);
		up = !st->dismounted;
	}
	group_state_free(&gs);
	return stores_wait_steps(ss, uuid, up, ms, why, len);
}

/* From the former active: take its state, answer when this member serves the store. */
int verb_store_wait_active(struct rpc_call *call, struct json_object **ret)
{
	uint64_t epoch, wait_ms;
	char why[ERR_BYTES] = "";
	struct stores *ss;
	const char *text;
	uint8_t uuid[16];
	bool spare;
	int r;

	if (rpc_str(call->params, "uuid", &text, ERR) ||
	    rpc_u64(call->params, "epoch", UINT32_MAX, &epoch, ERR) ||
	    rpc_u64(call->params, "wait_ms", 86400000, &wait_ms, ERR))
		return -EINVAL;
	if (uuid_parse_text(text, uuid))
		return call_fail(call, -EINVAL, "uuid: not a uuid");
	r = take_state(call);
	if (r)
		return r;
	/* A planned move whose steps fail is taken back by the former active. */
	spare = call->ct->handover && rpc_bool(call->params, "handover", ERR) <= 0;
	if (spare)
		handover_spare(call->ct->handover, uuid, SPARE_MS);
	control_wait_applied(call->ct);
	ss = control_use(call);
	if (!ss)
		return -ENOENT;
	r = stores_wait_active(ss, uuid, epoch, wait_ms, why, sizeof(why));
	if (!r && rpc_bool(call->params, "steps", ERR) > 0)
		r = wait_steps(call, ss, uuid, why, sizeof(why));
	control_unuse(call->ct);
	if (spare)
		handover_spare(call->ct->handover, uuid, r ? BACK_MS + MARGIN_MS : 0);
	if (r)
		return call_fail(call, r, "member %s: %s", call->ct->cf->member,
				 why[0] ? why : strerror(-r));
	*ret = json_object_new_object();
	return 0;
}
