// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/engine_etcd_tend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/group/engine_etcd_int.h"
#include "daemon/group/quorum.h"
#include "daemon/log.h"

#define ASK_MS		2000
#define CHANGE_MS	5000	/* of the membership: etcd checks that it is healthy first */
#define LEARN_MS	60000	/* a learner comes along in that time, or loses its place */
#define LAME_MS		600000	/* and gets none for so long */
#define END_AFTER_MS	5000	/* no voter for so long: its data goes */

static uint64_t now_ms(void)
{
	return etcd_boot_ns() / 1000000u;
}

/* One turn. */
struct turn {
	struct engine_etcd *ee;
	struct etcd_http *eh;
	struct group_state gs;
	struct etcd_members ms;		/* newer than gs */
};

/* ---- who is who ------------------------------------------------------------ */

/* Peer URL of a member or the witness; false: no such. */
static bool peer_url_of(struct group_state *gs, const char *name, char ret[ETCD_URL_MAX])
{
	struct group_member *mb = group_find_member(gs, name);

	if (mb)
		etcd_peer_url(mb->address, mb->port, ret);
	else if (gs->witness.name[0] && !strcmp(gs->witness.name, name))
		etcd_peer_url(gs->witness.address, gs->witness.port, ret);
	else
		return false;
	return true;
}

static struct etcd_member *in_cluster(struct turn *t, const char *name)
{
	char url[ETCD_URL_MAX];
	unsigned i;

	if (!peer_url_of(&t->gs, name, url))
		return NULL;
	for (i = 0; i < t->ms.nr; i++)
		if (!strcmp(t->ms.list[i].peer_url, url))
			return &t->ms.list[i];
	/* one whose address has changed since */
	for (i = 0; i < t->ms.nr; i++)
		if (!strcmp(t->ms.list[i].name, name))
			return &t->ms.list[i];
	return NULL;
}

/* Name in the group of one in etcd; one that is in the group no more: its own. */
static const char *name_of(struct turn *t, const struct etcd_member *em)
{
	char url[ETCD_URL_MAX];
	uint32_t i;

	for (i = 0; i < t->gs.nr_members; i++) {
		etcd_peer_url(t->gs.members[i].address, t->gs.members[i].port, url);
		if (!strcmp(url, em->peer_url))
			return t->gs.members[i].name;
	}
	if (t->gs.witness.name[0]) {
		etcd_peer_url(t->gs.witness.address, t->gs.witness.port, url);
		if (!strcmp(url, em->peer_url))
			return t->gs.witness.name;
	}
	return em->name;
}

static void turn_end(struct turn *t)
{
	if (!t)
		return;
	group_state_free(&t->gs);
	if (t->eh)
		etcd_handle_put(t->ee, t->eh);
	free(t);
}

/*
 * The group, then etcd's members: both the newest. etcd answers the second from what
 * it has applied itself, so the one that has just answered a linearizable read is asked.
 */
static int turn_begin(struct engine_etcd *ee, struct turn **ret)
{
	struct turn *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->ee = ee;
	t->eh = etcd_handle_get(ee);
	r = t->eh ? etcd_refresh_within(ee, t->eh, ASK_MS) : -ESHUTDOWN;
	if (!r) {
		pthread_mutex_lock(&ee->lock);
		r = group_state_copy(&t->gs, &ee->vw.gs);
		pthread_mutex_unlock(&ee->lock);
	}
	if (!r)
		r = etcd_refresh_within(ee, t->eh, ASK_MS);
	if (!r) {
		char url[ETCD_URL_MAX];

		snprintf(url, sizeof(url), "%s", etcd_http_asked(t->eh));
		etcd_http_only(t->eh, url);
		r = etcd_member_list(t->eh, ASK_MS, &t->ms);
		etcd_http_only(t->eh, "");
	}
	if (r)
		turn_end(t);
	else
		*ret = t;
	return r;
}

/* ---- marks ------------------------------------------------------------------ */

struct mark {
	const char *name;
	bool voter;
	uint64_t version;		/* of the group as it was read */
};

static int edit_mark(struct group_state *gs, void *ctx)
{
	const struct mark *mk = ctx;
	struct group_member *mb = group_find_member(gs, mk->name);

	if (gs->version != mk->version)
		return -ESTALE;
	if (mb)
		mb->voter = mk->voter;
	else if (!strcmp(gs->witness.name, mk->name))
		gs->witness.voter = mk->voter;
	return 0;
}

static bool has_mark(struct group_state *gs, const char *name)
{
	struct group_member *mb = group_find_member(gs, name);

	if (mb)
		return mb->voter;
	return gs->witness.name[0] && !strcmp(gs->witness.name, name) && gs->witness.voter;
}

static bool planned(const struct quorum_plan *plan, const char *name)
{
	unsigned i;

	for (i = 0; i < plan->nr; i++)
		if (!strcmp(plan->voter[i], name))
			return true;
	return false;
}

static int set_mark(struct turn *t, const char *name, bool voter)
{
	struct mark mk = { name, voter, t->gs.version };
	char err[200];
	int r;

	r = etcd_txn_group_op(&t->ee->en, edit_mark, &mk, err, sizeof(err));
	if (r && r != -ESTALE)
		log_warn("engine member=%s msg=\"mark of voter not changed\" err=\"%s\"", name, err);
	return r;
}

/* A mark that etcd knows nothing of (any more), and the plan neither. V1. */
static int clear_marks(struct turn *t, const struct quorum_plan *plan)
{
	const char *name = NULL;
	uint32_t i;

	for (i = 0; !name && i <= t->gs.nr_members; i++) {
		const char *one = i < t->gs.nr_members ? t->gs.members[i].name :
							 t->gs.witness.name;

		if (has_mark(&t->gs, one) && !planned(plan, one) && !in_cluster(t, one))
			name = one;
	}
	return name ? set_mark(t, name, false) ? -EAGAIN : 1 : 0;
}

/* ---- plan ------------------------------------------------------------------- */

static uint64_t silent_ms(struct engine_etcd *ee, const char *name, bool alive)
{
	const unsigned nr = sizeof(ee->silent) / sizeof(ee->silent[0]);
	unsigned i, at = nr;

	for (i = 0; i < nr; i++) {
		if (!strcmp(ee->silent[i].name, name))
			break;
		if (!ee->silent[i].name[0] && at == nr)
			at = i;
	}
	if (i == nr && alive)
		return 0;
	if (i == nr) {
		if (at == nr)
			at = 0;
		i = at;
		snprintf(ee->silent[i].name, sizeof(ee->silent[i].name), "%s", name);
		ee->silent[i].since_ms = now_ms();
	}
	if (alive) {
		ee->silent[i].name[0] = '\0';
		return 0;
	}
	return now_ms() - ee->silent[i].since_ms;
}

static bool is_lame(struct engine_etcd *ee, const char *name)
{
	return name[0] && !strcmp(ee->lame, name) && now_ms() < ee->lame_until_ms;
}

/*
 * The plan for the group as it is: votes count where etcd has them; nobody silent gets
 * one; one that has been silent for long loses it if another takes its place, so that
 * the number of votes does not shrink.
 */
static int make_plan(struct turn *t, bool (*alive)(void *ctx, const char *name), void *ctx,
		     struct quorum_plan *ret)
{
	struct group_state gs = { .stores = NULL }, *try = &gs;
	struct quorum_plan without;
	uint32_t i;
	int r;

	r = group_state_copy(try, &t->gs);
	if (r)
		return r;
	if (is_lame(t->ee, try->witness.name) && !in_cluster(t, try->witness.name))
		try->witness.name[0] = '\0';
	for (i = 0; i < try->nr_members; i++) {
		struct group_member *mb = &try->members[i];
		struct etcd_member *em = in_cluster(t, mb->name);
		bool self = !strcmp(mb->name, t->ee->self);
		uint64_t ms = silent_ms(t->ee, mb->name, self || alive(ctx, mb->name));

		mb->voter = em && !em->learner;
		if (!mb->voter && (ms > TEND_SILENT_MS || (!em && is_lame(t->ee, mb->name))))
			mb->stopped = true;
	}
	quorum_plan(try, ret);
	for (i = 0; i < try->nr_members; i++) {
		struct group_member *mb = &try->members[i];

		if (!mb->voter || mb->stopped || silent_ms(t->ee, mb->name, false) < TEND_DEAD_MS)
			continue;
		mb->stopped = true;
		quorum_plan(try, &without);
		if (without.nr >= ret->nr)
			*ret = without;
		else
			mb->stopped = false;
	}
	group_state_free(try);
	return 0;
}

/* ---- steps ------------------------------------------------------------------ */

/* etcd waits for some seconds of health between two changes: not worth a line each. */
static void say_once(struct turn *t, const char *name, const char *what)
{
	char text[sizeof(t->ee->tend_said)];

	snprintf(text, sizeof(text), "%.63s %s", name, what);
	if (!strcmp(text, t->ee->tend_said))
		return;
	strcpy(t->ee->tend_said, text);
	log_info("engine member=%s msg=\"%s\" err=\"%s\"", name, what, etcd_http_error(t->eh));
}

static int take_away(struct turn *t, const struct etcd_member *em)
{
	char name[64];
	int r;

	snprintf(name, sizeof(name), "%s", name_of(t, em));
	r = etcd_member_remove(t->eh, em->id, CHANGE_MS);
	if (r) {
		say_once(t, name, "vote not taken away yet");
		return r;
	}
	log_notice("engine member=%s id=%016" PRIx64 " msg=\"%s\"", name, em->id,
		   em->learner ? "is not to vote after all" : "votes no more");
	if (has_mark(&t->gs, name))
		set_mark(t, name, false);	/* if not now, the next turn does it */
	return 1;
}

/* One that was added: until it has caught up, nothing else is done. */
static int help_learner(struct turn *t, const struct etcd_member *em, const struct quorum_plan *plan)
{
	const char *name = name_of(t, em);
	struct etcd_members *ms;
	int r;

	if (!planned(plan, name))
		return take_away(t, em);
	if (!has_mark(&t->gs, name))
		return set_mark(t, name, true) ? -EAGAIN : 1;
	if (t->ee->learner != em->id) {
		t->ee->learner = em->id;
		t->ee->learner_since_ms = now_ms();
	}
	if (now_ms() - t->ee->learner_since_ms > LEARN_MS) {
		snprintf(t->ee->lame, sizeof(t->ee->lame), "%s", name);
		t->ee->lame_until_ms = now_ms() + LAME_MS;
		return take_away(t, em);
	}
	ms = malloc(sizeof(*ms));
	r = ms ? etcd_member_promote(t->eh, em->id, CHANGE_MS, ms) : -ENOMEM;
	free(ms);
	if (!r)
		log_notice("engine member=%s id=%016" PRIx64 " msg=\"votes\"", name, em->id);
	else
		log_debug("engine member=%s msg=\"does not vote yet\" err=\"%s\"", name,
			  etcd_http_error(t->eh));
	return 1;	/* not yet is soon: the turns stay short */
}

static int give(struct turn *t, const char *name)
{
	struct etcd_members *ms;
	char url[ETCD_URL_MAX];
	int r;

	if (!peer_url_of(&t->gs, name, url))
		return -ENOENT;
	r = set_mark(t, name, true);	/* V2 */
	if (r)
		return r;
	ms = malloc(sizeof(*ms));
	r = ms ? etcd_member_add(t->eh, url, true, CHANGE_MS, ms) : -ENOMEM;
	free(ms);
	if (r)
		say_once(t, name, "not added yet");
	else
		log_notice("engine member=%s msg=\"is to vote\"", name);
	return r ? r : 1;
}

/* Not in the group any more, or silent for a while. */
static bool is_gone(struct turn *t, const struct etcd_member *em)
{
	const char *name = name_of(t, em);
	char url[ETCD_URL_MAX];

	return !peer_url_of(&t->gs, name, url) ||
	       (strcmp(name, t->ee->self) && group_find_member(&t->gs, name) &&
		silent_ms(t->ee, name, false) > TEND_SILENT_MS);
}

/* One that etcd counts and the group does not. */
static const struct etcd_member *removed(struct turn *t)
{
	char url[ETCD_URL_MAX];
	unsigned i;

	for (i = 0; i < t->ms.nr; i++)
		if (!peer_url_of(&t->gs, name_of(t, &t->ms.list[i]), url))
			return &t->ms.list[i];
	return NULL;
}

/*
 * The new one first, so that the votes do not become fewer. etcd adds nobody while one
 * that it counts is dead: if that is one which was removed from the group, it goes first
 * after all. (etcd lets no vote go that the majority needs.)
 */
static int give_for(struct turn *t, const char *name)
{
	const struct etcd_member *em = removed(t);
	int r = give(t, name);

	return r < 0 && em ? take_away(t, em) : r;
}

static int step(struct turn *t, const struct quorum_plan *plan)
{
	char have[ETCD_MEMBERS_MAX][64], name[64];
	unsigned i, nr = 0, pass;
	int r;

	for (i = 0; i < t->ms.nr; i++)
		if (t->ms.list[i].learner)
			return help_learner(t, &t->ms.list[i], plan);
	/* The dead lose their vote before the living: etcd refuses the other way round. */
	for (pass = 0; pass < 2; pass++)
		for (i = 0; i < t->ms.nr; i++)
			if (is_gone(t, &t->ms.list[i]) == !pass)
				snprintf(have[nr++], sizeof(have[0]), "%s",
					 name_of(t, &t->ms.list[i]));
	r = quorum_step(plan, (const char (*)[64])have, nr, name);
	if (r > 0)
		return give_for(t, name);
	for (i = 0; r < 0 && i < t->ms.nr; i++)
		if (!strcmp(name_of(t, &t->ms.list[i]), name))
			return take_away(t, &t->ms.list[i]);
	return clear_marks(t, plan);
}

int engine_etcd_tend(struct engine *en, bool (*alive)(void *ctx, const char *name), void *ctx)
{
	struct engine_etcd *ee = to_etcd(en);
	struct quorum_plan plan;
	struct turn *t;
	int r;

	if (!ee->child)
		return 0;	/* the user's etcd has the user's voters */
	pthread_mutex_lock(&ee->tend_lock);
	r = turn_begin(ee, &t);
	if (!r) {
		r = make_plan(t, alive, ctx, &plan);
		if (!r)
			r = step(t, &plan);
		turn_end(t);
	}
	pthread_mutex_unlock(&ee->tend_lock);
	return r;
}

/* ---- this host's own --------------------------------------------------------- */

static int begin_own(struct turn *t, const struct etcd_member *em)
{
	struct etcd_child_start *st = calloc(1, sizeof(*st));
	struct group_member *mb = group_find_member(&t->gs, t->ee->self);
	char err[300] = "";
	unsigned i;
	int r = 0;

	if (!st)
		return -ENOMEM;
	snprintf(st->address, sizeof(st->address), "%s", mb ? mb->address : t->gs.witness.address);
	st->port = mb ? mb->port : t->gs.witness.port;
	etcd_token(&t->gs, st->token);
	st->existing = true;
	st->id = em->id;
	st->heartbeat_ms = t->gs.profile.engine_heartbeat_ms;
	st->election_ms = t->gs.profile.engine_election_ms;
	for (i = 0; !r && i < t->ms.nr; i++)
		r = etcd_cluster_add(st->cluster, t->ms.list[i].name[0] ? t->ms.list[i].name :
				     name_of(t, &t->ms.list[i]), t->ms.list[i].peer_url);
	if (!r)
		r = etcd_child_begin(t->ee->child, st, err, sizeof(err));
	if (r)
		log_err("engine msg=\"own voter not started\" err=\"%s\"", err[0] ? err : strerror(-r));
	free(st);
	return r ? r : 1;
}

/*
 * V3. etcd counts on a voter here whose data is gone. Raft must not hear of it again
 * under that id: it may have promised what it does not remember.
 */
static int give_up_own(struct turn *t, const struct etcd_member *em)
{
	int r;

	r = etcd_child_end(t->ee->child);
	if (!r)
		r = etcd_member_remove(t->eh, em->id, CHANGE_MS);
	if (r)
		say_once(t, t->ee->self, "its data is gone, its vote not taken away yet");
	else
		log_warn("engine member=%s id=%016" PRIx64 " msg=\"data is gone, the vote is given up\"",
			 t->ee->self, em->id);
	return r ? r : 1;
}

/* Is this host to vote? One that has left the group does while etcd counts on it
 * (engine_etcd_counted). With the lock. */
static bool is_to_vote(struct engine_etcd *ee)
{
	struct group_state *gs = &ee->vw.gs;

	if (!group_find_member(gs, ee->self) && strcmp(gs->witness.name, ee->self))
		return true;
	return has_mark(&ee->vw.gs, ee->self);
}

/* A restore has left it out: what it has of the former generation stays. With the lock. */
static bool is_stopped(struct engine_etcd *ee)
{
	const struct group_member *self = group_find_member(&ee->vw.gs, ee->self);

	return self && self->stopped;
}

static int end_own(struct engine_etcd *ee)
{
	struct etcd_http *eh = etcd_handle_get(ee);
	bool vote = true;
	int r;

	if (!eh)
		return -ESHUTDOWN;
	r = etcd_refresh_within(ee, eh, ASK_MS);
	etcd_handle_put(ee, eh);
	if (r)
		return r;
	pthread_mutex_lock(&ee->lock);
	vote = is_to_vote(ee);
	pthread_mutex_unlock(&ee->lock);
	if (vote)
		return 0;
	log_notice("engine msg=\"this host votes no more, its etcd ends\"");
	r = etcd_child_end(ee->child);
	return r ? r : 1;
}

int etcd_counted(struct engine_etcd *ee)
{
	struct etcd_child_view cv;
	struct turn *t;
	unsigned i;
	int r;

	if (!ee->child)
		return 0;
	etcd_child_look(ee->child, &cv);
	if (!cv.wanted)
		return 0;
	r = turn_begin(ee, &t);
	if (r)
		return r;
	for (i = 0; i < t->ms.nr && !r; i++)
		r = (cv.id && t->ms.list[i].id == cv.id) || !strcmp(t->ms.list[i].name, ee->self);
	turn_end(t);
	return r;
}

/* For people: whom one of etcd's members counts. */
static void count_voters(struct engine_etcd *ee)
{
	struct etcd_members *ms = malloc(sizeof(*ms));
	struct etcd_http *eh = etcd_handle_get(ee);
	unsigned voters = 0, learners = 0, i;
	bool well = ms && eh && !etcd_member_list(eh, ASK_MS, ms);

	for (i = 0; well && i < ms->nr; i++)
		ms->list[i].learner ? learners++ : voters++;
	pthread_mutex_lock(&ee->lock);
	ee->voters = voters;
	ee->learners = learners;
	ee->counted_well = well;
	if (well)
		ee->counted = *ms;
	pthread_mutex_unlock(&ee->lock);
	if (eh)
		etcd_handle_put(ee, eh);
	free(ms);
}

/* Is it in the group, by its address, or by its name if that has changed since? */
static bool is_ours(struct group_state *gs, const struct etcd_member *em)
{
	char url[ETCD_URL_MAX];
	uint32_t i;

	for (i = 0; i < gs->nr_members; i++) {
		etcd_peer_url(gs->members[i].address, gs->members[i].port, url);
		if (!strcmp(url, em->peer_url) || !strcmp(gs->members[i].name, em->name))
			return true;
	}
	etcd_peer_url(gs->witness.address, gs->witness.port, url);
	return gs->witness.name[0] &&
	       (!strcmp(url, em->peer_url) || !strcmp(gs->witness.name, em->name));
}

bool engine_etcd_settled(struct engine *en, struct group_state *gs)
{
	struct engine_etcd *ee = to_etcd(en);
	bool settled;
	unsigned i;

	pthread_mutex_lock(&ee->lock);
	settled = ee->child && ee->counted_well;
	for (i = 0; settled && i < ee->counted.nr; i++)
		settled = is_ours(gs, &ee->counted.list[i]);
	pthread_mutex_unlock(&ee->lock);
	return settled;
}

/* One that is to vote no more ends by itself when the cluster lets it go; then there is
 * nothing to wait for, and it is not started again. */
static bool is_over(const struct engine_etcd *ee, const struct etcd_child_view *cv)
{
	return !cv->pid || now_ms() - ee->useless_since_ms > END_AFTER_MS;
}

int engine_etcd_care(struct engine *en)
{
	struct engine_etcd *ee = to_etcd(en);
	struct etcd_child_view cv;
	struct etcd_member *em;
	struct turn *t;
	uint32_t beat, election;
	bool vote, known, former, founder;
	char token[40];
	int r = 0;

	if (!ee->child)
		return 0;
	etcd_child_look(ee->child, &cv);
	pthread_mutex_lock(&ee->lock);
	known = ee->vw.uuid[0] && ee->confirmed && !ee->restoring;
	vote = is_to_vote(ee);
	etcd_token(&ee->vw.gs, token);
	former = cv.wanted && strcmp(cv.token, token) && !is_stopped(ee);
	beat = ee->vw.gs.profile.engine_heartbeat_ms;
	election = ee->vw.gs.profile.engine_election_ms;
	if (!known || vote || !cv.wanted)
		ee->useless_since_ms = 0;
	else if (!ee->useless_since_ms)
		ee->useless_since_ms = now_ms();
	pthread_mutex_unlock(&ee->lock);
	if (!known)
		return 0;
	pthread_mutex_lock(&ee->lock);
	if (!ee->relay)
		etcd_relay_follow(ee, &ee->vw.gs);
	pthread_mutex_unlock(&ee->lock);
	count_voters(ee);
	if (former) {
		log_notice("engine msg=\"the group was restored, the former etcd ends\"");
		r = etcd_child_end(ee->child);
		return r ? r : 1;
	}
	if (cv.wanted)
		etcd_child_rest(ee->child, !vote);
	if (!vote)
		return cv.wanted && is_over(ee, &cv) ? end_own(ee) : 0;
	if (cv.wanted && cv.pid)
		return etcd_child_times(ee->child, beat, election);
	/*
	 * A founder's own one has no id to go by, and needs none: it votes from the
	 * beginning. Where etcd counts a learner here, that one was removed since, and
	 * this host is to vote again.
	 */
	founder = cv.wanted && !cv.id && !cv.lost;
	r = turn_begin(ee, &t);
	if (r)
		return r;
	em = in_cluster(t, ee->self);
	if (!has_mark(&t->gs, ee->self))
		;	/* it has left meanwhile, or is about to */
	else if (founder && !(em && em->learner))
		;	/* it starts by itself */
	else if (em && !em->learner && (cv.lost || !cv.wanted || cv.id != em->id))
		r = give_up_own(t, em);
	else if (em)
		r = begin_own(t, em);
	turn_end(t);
	return r;
}
