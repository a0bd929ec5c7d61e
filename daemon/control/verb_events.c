// SPDX-License-Identifier: GPL-2.0
/*
 * verb_events - the history: of this member, of all that answer in one order, and
 * as it happens.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/control/history.h"

#define ERR		call->err, sizeof(call->err)
#define ASK_MS		5000
#define FOLLOW_ASK_MS	2000
#define MAX_DEFAULT	1000
#define MAX_MOST	10000
#define WAIT_MS		500
#define BEAT_ROUNDS	10		/* of WAIT_MS: is the follower still there? */
#define POLL_ROUNDS	2		/* of WAIT_MS: what did the others do? */
#define AWAY_ROUNDS	20		/* a member that did not answer is left alone */

static int take_filter(struct rpc_call *call, struct history_filter *f)
{
	uint64_t max = MAX_DEFAULT;

	memset(f, 0, sizeof(*f));
	if (rpc_str_opt(call->params, "store", &f->store, ERR) ||
	    rpc_str_opt(call->params, "kind", &f->kind, ERR) ||
	    rpc_u64_opt(call->params, "since_ms", INT64_MAX, &f->since_ms, ERR) ||
	    rpc_u64_opt(call->params, "after_seq", INT64_MAX, &f->after_seq, ERR) ||
	    rpc_u64_opt(call->params, "max", MAX_MOST, &max, ERR))
		return -EINVAL;
	f->max = max ? max : MAX_MOST;
	return 0;
}

/* An answer has a most length: the oldest of too long a list stay out of it. */
static void shorten(struct json_object *list)
{
	size_t n = json_object_array_length(list), bytes = 0, keep = 0;

	while (keep < n) {
		struct json_object *o = json_object_array_get_idx(list, n - keep - 1);

		bytes += strlen(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN)) + 2;
		if (bytes > RPC_LINE_MAX / 2)
			break;
		keep++;
	}
	if (keep < n)
		json_object_array_del_idx(list, 0, n - keep);
}

int verb_events_local(struct rpc_call *call, struct json_object **ret)
{
	struct json_object *list;
	struct history_filter f;
	int r = take_filter(call, &f);

	if (r)
		return r;
	list = json_object_new_array();
	r = history_read(call->ct->history, &f, list);
	if (r) {
		json_object_put(list);
		return r;
	}
	shorten(list);
	*ret = json_object_new_object();
	json_object_object_add(*ret, "events", list);
	json_object_object_add(*ret, "last_seq", json_object_new_int64(
			       (int64_t)history_last_seq(call->ct->history)));
	return 0;
}

/* ---- all members ------------------------------------------------------------ */

struct asked {
	struct rpc_call call;
	const char *member;
	pthread_t thread;
	bool running;
	struct json_object *answer;
};

static void *ask_thread(void *arg)
{
	struct asked *a = arg;

	if (peer_call(&a->call, a->member, "events.local", a->call.params, ASK_MS, &a->answer))
		a->answer = NULL;
	return NULL;
}

static void ask_all(struct rpc_call *call, struct group_state *gs, struct asked *asked)
{
	struct peer_view pv;
	uint32_t i;

	for (i = 0; i < gs->nr_members; i++) {
		struct asked *a = &asked[i];

		a->member = gs->members[i].name;
		a->call = *call;
		a->call.send = NULL;
		if (!strcmp(a->member, call->ct->cf->member)) {
			if (verb_events_local(&a->call, &a->answer))
				a->answer = NULL;
			continue;
		}
		peers_view(call->ct, a->member, &pv);
		if (pv.reachable)
			a->running = !pthread_create(&a->thread, NULL, ask_thread, a);
	}
	for (i = 0; i < gs->nr_members; i++)
		if (asked[i].running)
			pthread_join(asked[i].thread, NULL);
}

static struct json_object *events_of(struct json_object *answer)
{
	struct json_object *list;

	return json_object_object_get_ex(answer, "events", &list) &&
	       json_object_is_type(list, json_type_array) ? list : NULL;
}

static const char *time_of(struct json_object *o)
{
	struct json_object *v;

	return json_object_object_get_ex(o, "time", &v) && json_object_get_string(v) ?
	       json_object_get_string(v) : "";
}

/* Times are all UTC in one form: they sort as text. */
static int by_time(const void *a, const void *b)
{
	return strcmp(time_of(*(struct json_object *const *)a), time_of(*(struct json_object *const *)b));
}

int verb_events_list(struct rpc_call *call, struct json_object **ret)
{
	struct asked *asked = calloc(GROUP_MEMBERS_MAX, sizeof(*asked));
	struct json_object *list = json_object_new_array(), *silent = json_object_new_array(), *from;
	struct history_filter f;
	struct group_state gs;
	size_t n, k;
	uint32_t i;
	int r;

	r = asked ? take_filter(call, &f) : -ENOMEM;
	if (!r)
		r = control_state(call, &gs);
	if (r) {
		json_object_put(list);
		json_object_put(silent);
		free(asked);
		return r;
	}
	ask_all(call, &gs, asked);
	for (i = 0; i < gs.nr_members; i++) {
		from = asked[i].answer ? events_of(asked[i].answer) : NULL;
		for (k = 0; from && k < json_object_array_length(from); k++)
			json_object_array_add(list, json_object_get(json_object_array_get_idx(from, k)));
		if (!from)
			json_object_array_add(silent, json_object_new_string(asked[i].member));
		json_object_put(asked[i].answer);
	}
	group_state_free(&gs);
	free(asked);
	json_object_array_sort(list, by_time);
	n = json_object_array_length(list);
	if (n > f.max)
		json_object_array_del_idx(list, 0, n - f.max);
	shorten(list);
	*ret = json_object_new_object();
	json_object_object_add(*ret, "events", list);
	json_object_object_add(*ret, "silent", silent);
	return 0;
}

/* ---- follow -------------------------------------------------------------------- */

struct followed {
	char member[64];
	struct peer_line *line;
	int64_t seq;			/* < 0: not asked yet */
	unsigned away;			/* rounds to leave it alone */
};

struct follow {
	struct rpc_call *call;
	struct history_filter f;
	struct followed peers[GROUP_MEMBERS_MAX];
	unsigned nr;
};

static int pass_on(struct follow *fo, struct json_object *event)
{
	const struct { const char *key, *want; } m[] = {
		{ "store", fo->f.store }, { "kind", fo->f.kind },
	};
	struct json_object *o, *v;

	for (int i = 0; i < 2; i++)
		if (m[i].want && (!json_object_object_get_ex(event, m[i].key, &v) ||
				  strcmp(json_object_get_string(v), m[i].want)))
			return 0;
	o = json_object_new_object();
	json_object_object_add(o, "event", json_object_get(event));
	return call_progress_obj(fo->call, o);
}

static int follow_own(struct follow *fo, uint64_t *seq, unsigned timeout_ms)
{
	struct json_object *o;
	uint64_t missed;
	char *line;
	int r = 0;

	line = history_next(fo->call->ct->history, seq, timeout_ms, &missed);
	while (line && !r) {
		if (missed)
			r = call_progress(fo->call, "%llu events were too fast to follow",
					  (unsigned long long)missed);
		o = json_tokener_parse(line);
		if (o && !r)
			r = pass_on(fo, o);
		json_object_put(o);
		free(line);
		line = history_next(fo->call->ct->history, seq, 0, &missed);
	}
	free(line);
	return r;
}

static void poll_peer(struct follow *fo, struct followed *fw)
{
	struct json_object *params, *answer = NULL, *list, *v;
	struct rpc_call sub = *fo->call;
	struct peer_view pv;
	int64_t last = -1;
	int r = 0;

	sub.send = NULL;
	if (fw->away && fw->away--)
		return;
	peers_view(sub.ct, fw->member, &pv);
	if (!fw->line && pv.reachable && peer_line_open(&sub, fw->member, &fw->line))
		fw->line = NULL;
	if (!fw->line) {
		fw->away = AWAY_ROUNDS;
		return;
	}
	params = json_object_new_object();
	json_object_object_add(params, "after_seq", json_object_new_int64(fw->seq < 0 ? INT64_MAX :
									  fw->seq));
	if (peer_line_call(fw->line, &sub, "events.local", params, FOLLOW_ASK_MS, &answer)) {
		peer_line_close(sub.ct, fw->line);
		fw->line = NULL;
		fw->away = AWAY_ROUNDS;
	}
	json_object_put(params);
	if (answer && json_object_object_get_ex(answer, "last_seq", &v))
		last = json_object_get_int64(v);
	list = answer && fw->seq >= 0 ? events_of(answer) : NULL;
	for (size_t i = 0; list && !r && i < json_object_array_length(list); i++)
		r = pass_on(fo, json_object_array_get_idx(list, i));
	/* a member that lost its history counts from the beginning */
	if (last >= 0)
		fw->seq = last;
	json_object_put(answer);
}

static int begin_follow(struct follow *fo)
{
	struct group_state gs;
	int r = control_state(fo->call, &gs);

	if (r)
		return r;
	for (uint32_t i = 0; i < gs.nr_members; i++) {
		struct followed *fw = &fo->peers[fo->nr];

		if (!strcmp(gs.members[i].name, fo->call->ct->cf->member))
			continue;
		memcpy(fw->member, gs.members[i].name, sizeof(fw->member));
		fw->seq = -1;
		fo->nr++;
	}
	group_state_free(&gs);
	return 0;
}

/* Ends when the follower goes away, or the daemon. */
int verb_events_follow(struct rpc_call *call, struct json_object **ret)
{
	struct follow *fo = calloc(1, sizeof(*fo));
	uint64_t seq = history_last_seq(call->ct->history);
	unsigned round = 0;
	int r;

	if (!fo)
		return -ENOMEM;
	fo->call = call;
	r = take_filter(call, &fo->f);
	if (!r)
		r = begin_follow(fo);
	for (; !r; round++) {
		if (!call->ct->history && control_sleep(call->ct, WAIT_MS))
			break;
		if (round % POLL_ROUNDS == 0)
			for (unsigned i = 0; i < fo->nr; i++)
				poll_peer(fo, &fo->peers[i]);
		r = follow_own(fo, &seq, WAIT_MS);
		if (!r && round % BEAT_ROUNDS == BEAT_ROUNDS - 1)
			r = call_progress_obj(call, json_object_new_object());
		if (control_sleep(call->ct, 0))
			break;
	}
	for (unsigned i = 0; i < fo->nr; i++)
		peer_line_close(call->ct, fo->peers[i].line);
	free(fo);
	*ret = NULL;
	return r;
}
