// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/manager.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/control/control_int.h"
#include "daemon/control/dacfile.h"
#include "daemon/control/history.h"
#include "daemon/control/takeover_rpc.h"
#include "daemon/control/takeover_tell.h"
#include "daemon/group/dac.h"
#include "daemon/group/managership.h"
#include "daemon/group/renewal.h"
#include "daemon/group/takeover.h"
#include "daemon/net/heartbeat_udp.h"

#define WORKERS		8
#define JOBS_MAX	64	/* two stores of 16 copies at once wait for nobody */
#define TICK_MS_MIN	20
#define TICK_MS_MAX	200
#define TICKS		5	/* within a lease's period, the measure of all that is awaited */
#define CONFIRM_MS	500
#define WISHES_MAX	1024	/* of one turn: a broken machine must not spin */

/* What one worker is to ask. */
struct job {
	char host[64];			/* whose take-over it serves */
	struct takeover_action what;
};

/* One other member, and the machine that watches it. */
struct seat {
	struct takeover t;
	struct takeover_store *stores;	/* NULL: seat is free */
	enum takeover_phase told;
	uint64_t told_rev;		/* nobody could take over after this one: in the history */
	struct engine_host host;
	bool live;
};

struct manager {
	struct control *ct;
	struct engine *engine;
	struct renewal *renewal;
	pthread_mutex_t lock;
	pthread_cond_t wake, work;	/* the thread; the workers */
	pthread_t thread, workers[WORKERS];
	bool stop, fresh;
	unsigned long turns;		/* atomic */
	bool leaving;			/* the daemon stops: no role is taken any more */
	struct group_state gs;
	struct dac dac;
	uint64_t said;			/* by the heartbeats: generation, bit */
	bool allowed;			/* told to the stores */
	struct engine_host *hosts;
	struct seat seats[GROUP_MEMBERS_MAX];
	uint64_t seats_of;		/* generation: each counts its leases' revisions anew */
	struct job jobs[JOBS_MAX];
	unsigned job_head, nr_jobs;
};

static uint64_t boot_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

/* ---- seats ---------------------------------------------------------------- */

static struct seat *seat_of(struct manager *mg, const char *host)
{
	for (int i = 0; i < GROUP_MEMBERS_MAX; i++)
		if (mg->seats[i].stores && !strcmp(mg->seats[i].t.host, host))
			return &mg->seats[i];
	return NULL;
}

static void seat_leave(struct seat *se)
{
	free(se->stores);
	memset(se, 0, sizeof(*se));
}

static void seat_take(struct manager *mg, const char *host)
{
	for (int i = 0; i < GROUP_MEMBERS_MAX; i++) {
		struct seat *se = &mg->seats[i];

		if (se->stores)
			continue;
		se->stores = calloc(GROUP_STORES_MAX, sizeof(*se->stores));
		if (se->stores)
			takeover_init(&se->t, host, se->stores);
		else
			log_err("member=%s msg=\"out of memory, its lease is not watched\"", host);
		return;
	}
}

static void take_state(struct manager *mg)
{
	const char *self = mg->ct->cf->member;

	mg->fresh = false;
	for (int i = 0; i < GROUP_MEMBERS_MAX; i++)
		if (mg->seats[i].stores && (mg->seats_of != mg->gs.generation ||
					    !group_find_member(&mg->gs, mg->seats[i].t.host)))
			seat_leave(&mg->seats[i]);
	mg->seats_of = mg->gs.generation;
	for (uint32_t i = 0; i < mg->gs.nr_members; i++) {
		const char *name = mg->gs.members[i].name;

		if (strcmp(name, self) && !seat_of(mg, name))
			seat_take(mg, name);
	}
	dac_update(&mg->dac, &mg->gs, self);
}

static void read_leases(struct manager *mg, uint64_t now)
{
	unsigned n = mg->engine->ops->hosts(mg->engine, mg->hosts, GROUP_MEMBERS_MAX);

	for (unsigned i = 0; i < n; i++) {
		struct seat *se = seat_of(mg, mg->hosts[i].member);

		if (!se)
			continue;
		se->host = mg->hosts[i];
		takeover_lease(&se->t, &se->host, now);
		/* one that was not read yet is not gone */
		se->live = !se->t.watch.released &&
			   (!se->t.watch.known ||
			    !lease_watch_over(&se->t.watch, &se->t.profile, now));
	}
}

/* Other engines know no leases: planned moves only, and nothing to wait for. */
static bool has_quorum(const struct manager *mg)
{
	return !strcmp(mg->gs.engine, "etcd");
}

/* ---- who acts first --------------------------------------------------------- */

static bool live(struct manager *mg, const char *name)
{
	struct seat *se = seat_of(mg, name);

	return !strcmp(name, mg->ct->cf->member) || (se && se->live);
}

/* By member of the state. */
static void who_lives(struct manager *mg, bool ret[GROUP_MEMBERS_MAX])
{
	for (uint32_t i = 0; i < mg->gs.nr_members; i++)
		ret[i] = live(mg, mg->gs.members[i].name);
}

static unsigned rank_of_self(struct manager *mg)
{
	bool lives[GROUP_MEMBERS_MAX];

	who_lives(mg, lives);
	return manager_rank(&mg->gs, mg->ct->cf->member, lives);
}

struct manager_edit {
	const char *from, *to;
};

static int edit_manager(struct group_state *gs, void *ctx)
{
	const struct manager_edit *e = ctx;

	if (strcmp(gs->manager, e->from))
		return -ESTALE;
	snprintf(gs->manager, sizeof(gs->manager), "%s", e->to);
	return 0;
}

static void become_manager(struct manager *mg)
{
	char from[sizeof(mg->gs.manager)], err[200];
	struct manager_edit e = { .from = from, .to = mg->ct->cf->member };
	int r;

	if (mg->leaving || !strcmp(mg->gs.manager, e.to) || (mg->gs.manager[0] && live(mg, mg->gs.manager)) ||
	    rank_of_self(mg))
		return;
	snprintf(from, sizeof(from), "%s", mg->gs.manager);
	pthread_mutex_unlock(&mg->lock);
	r = mg->engine->ops->txn_group(mg->engine, edit_manager, &e, err, sizeof(err));
	pthread_mutex_lock(&mg->lock);
	if (!r)
		log_notice("group=%s manager=%s former=%s", mg->gs.name, e.to, from);
}

int manager_give(struct manager *mg, const char *from, char *err, size_t errlen)
{
	char was[sizeof(mg->gs.manager)], to[sizeof(mg->gs.manager)];
	struct manager_edit e = { .from = was, .to = to };
	bool lives[GROUP_MEMBERS_MAX];
	const char *name;
	int r;

	pthread_mutex_lock(&mg->lock);
	who_lives(mg, lives);
	for (uint32_t i = 0; i < mg->gs.nr_members; i++)
		lives[i] = lives[i] && control_may_take(mg->ct, mg->gs.members[i].name);
	name = has_quorum(mg) && !strcmp(mg->gs.manager, from) ?
	       manager_successor(&mg->gs, from, lives) : NULL;
	snprintf(was, sizeof(was), "%s", from);
	snprintf(to, sizeof(to), "%s", name ? name : "");
	pthread_mutex_unlock(&mg->lock);
	if (!to[0])
		return 0;
	r = mg->engine->ops->txn_group(mg->engine, edit_manager, &e, err, errlen);
	if (!r)
		log_notice("manager=%s former=%s", to, from);
	return r == -ESTALE ? 0 : r;
}

void manager_leave(struct manager *mg)
{
	char err[200] = "";
	int r;

	pthread_mutex_lock(&mg->lock);
	mg->leaving = true;
	pthread_mutex_unlock(&mg->lock);
	r = manager_give(mg, mg->ct->cf->member, err, sizeof(err));
	if (r)
		log_warn("manager msg=\"role not given on, it ends with the lease\" err=\"%s\"",
			 err[0] ? err : strerror(-r));
}

/* ---- wishes --------------------------------------------------------------------- */

static void answer(struct manager *mg, const struct job *job, int rc, const struct candidate *report)
{
	struct seat *se = seat_of(mg, job->host);

	if (!se)
		return;
	if (job->what.wish == WISH_SEAL)
		takeover_sealed(&se->t, job->what.uuid, job->what.member, rc, report, boot_ns());
	else
		takeover_fetched(&se->t, job->what.uuid, rc, report, boot_ns());
	pthread_cond_signal(&mg->wake);
}

static void *worker_main(void *arg)
{
	struct manager *mg = arg;

	pthread_mutex_lock(&mg->lock);
	while (!mg->stop) {
		struct candidate report = { .status = CAND_OTHER };
		struct job job;
		int rc;

		if (!mg->nr_jobs) {
			pthread_cond_wait(&mg->work, &mg->lock);
			continue;
		}
		job = mg->jobs[mg->job_head];
		mg->job_head = (mg->job_head + 1) % JOBS_MAX;
		mg->nr_jobs--;
		pthread_mutex_unlock(&mg->lock);
		rc = job.what.wish == WISH_SEAL ?
			takeover_rpc_seal(mg->ct, &job.what, &report) :
			takeover_rpc_fetch(mg->ct, &job.what, &report);
		if (rc)
			log_warn("member=%s msg=\"%s of epoch %u refused\" err=\"%s\"",
				 job.what.member, job.what.wish == WISH_SEAL ? "promise" : "fetch",
				 job.what.epoch, strerror(-rc));
		pthread_mutex_lock(&mg->lock);
		answer(mg, &job, rc, &report);
	}
	pthread_mutex_unlock(&mg->lock);
	return NULL;
}

static void queue_job(struct manager *mg, struct seat *se, const struct takeover_action *what)
{
	struct job job = { .what = *what };

	snprintf(job.host, sizeof(job.host), "%s", se->t.host);
	if (mg->nr_jobs == JOBS_MAX) {
		answer(mg, &job, -EBUSY, NULL);
		return;
	}
	mg->jobs[(mg->job_head + mg->nr_jobs++) % JOBS_MAX] = job;
	pthread_cond_signal(&mg->work);
}

static void tell_claim(struct manager *mg, struct seat *se, int rc, const char *err)
{
	const struct takeover *t = &se->t;

	if (rc) {
		log_warn("host=%s msg=\"claim refused\" err=\"%s\"", t->host,
			 err[0] ? err : strerror(-rc));
		return;
	}
	log_notice("host=%s msg=\"its stores were taken over\" ms=%llu", t->host,
		   (unsigned long long)(t->times.claimed - t->times.seen) / 1000000);
	for (unsigned i = 0; i < t->nr_stores; i++)
		takeover_tell(mg->ct->history, &mg->gs, t, &t->stores[i]);
}

/* A round that ended without a claim: said once for each time that the lease ended. */
static void tell_nobody(struct manager *mg, struct seat *se)
{
	if (se->t.phase != TAKEOVER_DONE || se->t.times.claimed || se->told_rev == se->t.claim_rev)
		return;
	se->told_rev = se->t.claim_rev;
	for (unsigned i = 0; i < se->t.nr_stores; i++)
		if (!se->t.stores[i].held && se->t.stores[i].winner < 0)
			takeover_tell(mg->ct->history, &mg->gs, &se->t, &se->t.stores[i]);
}

/* With the lock: answers that come meanwhile wait. */
static void do_claim(struct manager *mg, struct seat *se)
{
	struct engine_claim claim = {
		.host = se->t.host,
		.lease_rev = se->t.claim_rev,
		.fence = se->t.claim_fence,
		.generation = se->t.generation,
	};
	char err[400] = "";
	int rc;

	rc = mg->engine->ops->claim(mg->engine, &claim, takeover_edit, &se->t, err, sizeof(err));
	takeover_claimed(&se->t, rc, boot_ns());
	tell_claim(mg, se, rc, err);
	if (!rc)
		control_changed(mg->ct);
}

/* Unconfirmed news would be no news: the machine asks again then. */
static bool recheck(struct manager *mg, struct seat *se)
{
	if (mg->engine->ops->confirm(mg->engine, CONFIRM_MS) ||
	    mg->engine->ops->snapshot(mg->engine, &mg->gs))
		return false;
	read_leases(mg, boot_ns());
	takeover_state(&se->t, &mg->gs);
	return true;
}

static void step(struct manager *mg, struct seat *se, const struct takeover_view *view, uint64_t now)
{
	struct takeover_action what;

	for (int i = 0; i < WISHES_MAX; i++) {
		takeover_step(&se->t, view, now, &what);
		switch (what.wish) {
		case WISH_NONE:
			tell_nobody(mg, se);
			if (se->t.phase != se->told &&
			    !(se->told_rev && se->told_rev == se->t.claim_rev))
				log_info("host=%s takeover=%s", se->t.host, se->t.why);
			se->told = se->t.phase;
			return;
		case WISH_SEAL:
		case WISH_FETCH:
			queue_job(mg, se, &what);
			break;
		case WISH_CLAIM:
			do_claim(mg, se);
			break;
		case WISH_RECHECK:
			if (!recheck(mg, se))
				return;
			now = boot_ns();
			break;
		}
	}
}

/* ---- the thread -------------------------------------------------------------------- */

/* What our heartbeats say. */
static void tell_others(struct manager *mg)
{
	struct heartbeats *hs = control_heartbeats(mg->ct);
	uint64_t say = mg->gs.generation * 2 + mg->dac.bit;

	if (!hs || mg->said == say)
		return;
	mg->said = say;
	heartbeats_set(hs, mg->gs.generation, mg->dac.bit, 0);
}

static void allow_stores(struct manager *mg)
{
	bool may = !has_quorum(mg) || dac_may_activate(&mg->dac);

	if (may == mg->allowed)
		return;
	mg->allowed = may;
	log_notice("member=%s dac=%d %s", mg->ct->cf->member, may, mg->dac.why);
	if (may && has_quorum(mg))
		dacfile_store(mg->ct->cf->run_dir, mg->gs.generation);
	pthread_mutex_unlock(&mg->lock);
	control_allow(mg->ct, may);
	pthread_mutex_lock(&mg->lock);
}

static void turn(struct manager *mg)
{
	uint64_t now = boot_ns();
	struct takeover_view view = {
		.gs = &mg->gs,
		.self = mg->ct->cf->member,
	};

	if (mg->fresh || mg->seats_of != mg->gs.generation)
		take_state(mg);
	if (!mg->gs.uuid[0])
		return;
	tell_others(mg);
	allow_stores(mg);
	/* the witness knows who may activate, and takes nothing over */
	if (!has_quorum(mg) || !group_find_member(&mg->gs, mg->ct->cf->member))
		return;
	read_leases(mg, now);
	/* Who is cut off from the group himself decides nothing about others. */
	view.may_activate = mg->allowed && renewal_holds(mg->renewal);
	if (view.may_activate)
		become_manager(mg);
	view.rank = rank_of_self(mg);
	for (uint32_t i = 0; i < mg->gs.nr_members; i++)
		view.reachable[i] = control_may_take(mg->ct, mg->gs.members[i].name);
	for (int i = 0; i < GROUP_MEMBERS_MAX; i++)
		if (mg->seats[i].stores)
			step(mg, &mg->seats[i], &view, now);
}

static unsigned tick_ms(const struct manager *mg)
{
	unsigned ms = mg->gs.profile.lease_period_ms / TICKS;

	return ms < TICK_MS_MIN ? TICK_MS_MIN : ms > TICK_MS_MAX ? TICK_MS_MAX : ms;
}

static void *manager_main(void *arg)
{
	struct manager *mg = arg;
	struct timespec until;

	pthread_mutex_lock(&mg->lock);
	while (!mg->stop) {
		turn(mg);
		__atomic_fetch_add(&mg->turns, 1, __ATOMIC_RELAXED);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += tick_ms(mg) * 1000000l;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		if (!mg->stop)
			pthread_cond_timedwait(&mg->wake, &mg->lock, &until);
	}
	pthread_mutex_unlock(&mg->lock);
	return NULL;
}

/* ---- life ----------------------------------------------------------------------------- */

int manager_start(struct control *ct, struct renewal *rn, struct manager **ret)
{
	struct manager *mg = calloc(1, sizeof(*mg));
	pthread_condattr_t attr;
	int r;

	if (!mg)
		return -ENOMEM;
	mg->ct = ct;
	mg->engine = ct->engine;
	mg->renewal = rn;
	mg->hosts = calloc(GROUP_MEMBERS_MAX, sizeof(*mg->hosts));
	if (!mg->hosts || group_state_init(&mg->gs)) {
		free(mg->hosts);
		free(mg);
		return -ENOMEM;
	}
	pthread_mutex_init(&mg->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&mg->wake, &attr);
	pthread_condattr_destroy(&attr);
	pthread_cond_init(&mg->work, NULL);
	r = -pthread_create(&mg->thread, NULL, manager_main, mg);
	for (int i = 0; !r && i < WORKERS; i++)
		r = -pthread_create(&mg->workers[i], NULL, worker_main, mg);
	if (r) {
		log_err("manager msg=\"cannot start threads\"");
		abort();
	}
	*ret = mg;
	return 0;
}

void manager_stop(struct manager *mg)
{
	pthread_mutex_lock(&mg->lock);
	mg->stop = true;
	pthread_cond_broadcast(&mg->wake);
	pthread_cond_broadcast(&mg->work);
	pthread_mutex_unlock(&mg->lock);
	pthread_join(mg->thread, NULL);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(mg->workers[i], NULL);
	for (int i = 0; i < GROUP_MEMBERS_MAX; i++)
		seat_leave(&mg->seats[i]);
	pthread_cond_destroy(&mg->wake);
	pthread_cond_destroy(&mg->work);
	pthread_mutex_destroy(&mg->lock);
	group_state_free(&mg->gs);
	free(mg->hosts);
	free(mg);
}

void manager_apply(struct manager *mg, const struct group_state *gs)
{
	bool first;

	pthread_mutex_lock(&mg->lock);
	first = !mg->gs.uuid[0] || mg->gs.generation != gs->generation;
	if (group_state_copy(&mg->gs, gs)) {
		log_err("out of memory, the newest group state is not watched");
	} else {
		if (first) {
			dac_init(&mg->dac, gs->generation, gs->no_dac);
			/* a daemon that restarts knows what its host knew */
			if (dacfile_holds(mg->ct->cf->run_dir, gs->generation))
				dac_confirm(&mg->dac);
		}
		mg->dac.off = gs->no_dac;
		mg->fresh = true;
	}
	pthread_cond_signal(&mg->wake);
	pthread_mutex_unlock(&mg->lock);
}

void manager_heard(struct manager *mg, const char *member, uint64_t generation, bool dac)
{
	pthread_mutex_lock(&mg->lock);
	if (mg->gs.uuid[0]) {
		dac_heard(&mg->dac, member, generation, dac);
		dac_update(&mg->dac, &mg->gs, mg->ct->cf->member);
	}
	pthread_mutex_unlock(&mg->lock);
}

void manager_dac(struct manager *mg, uint64_t *ret_generation, bool *ret_bit)
{
	pthread_mutex_lock(&mg->lock);
	*ret_generation = mg->gs.generation;
	*ret_bit = mg->gs.uuid[0] && mg->dac.bit;
	pthread_mutex_unlock(&mg->lock);
}

void manager_confirm(struct manager *mg)
{
	pthread_mutex_lock(&mg->lock);
	dac_confirm(&mg->dac);
	pthread_cond_signal(&mg->wake);
	pthread_mutex_unlock(&mg->lock);
}

unsigned long manager_turns(struct manager *mg)
{
	return __atomic_load_n(&mg->turns, __ATOMIC_RELAXED);
}

bool manager_allows(struct manager *mg)
{
	bool may;

	pthread_mutex_lock(&mg->lock);
	may = mg->allowed || (mg->gs.uuid[0] && !has_quorum(mg));
	pthread_mutex_unlock(&mg->lock);
	return may;
}

struct json_object *manager_status(struct manager *mg)
{
	struct json_object *obj = json_object_new_object(), *hosts = json_object_new_array();
	uint64_t now = boot_ns(), deadline = renewal_deadline_ns(mg->renewal);

	pthread_mutex_lock(&mg->lock);
	json_object_object_add(obj, "quorum", json_object_new_boolean(has_quorum(mg)));
	json_object_object_add(obj, "manager", json_object_new_string(mg->gs.manager));
	json_object_object_add(obj, "may_activate", json_object_new_boolean(mg->allowed));
	json_object_object_add(obj, "dac", json_object_new_string(mg->dac.why));
	json_object_object_add(obj, "lease_ms", json_object_new_int64(
		deadline == DAGTAP_LEASE_FOREVER ? -1 : ((int64_t)(deadline - now)) / 1000000));
	for (int i = 0; i < GROUP_MEMBERS_MAX; i++) {
		struct seat *se = &mg->seats[i];
		struct json_object *h;

		if (!se->stores)
			continue;
		h = json_object_new_object();
		json_object_object_add(h, "member", json_object_new_string(se->t.host));
		json_object_object_add(h, "live", json_object_new_boolean(se->live));
		json_object_object_add(h, "seen_ms", json_object_new_int64(
			se->t.watch.known ? (int64_t)(now - se->t.watch.seen_ns) / 1000000 : -1));
		json_object_object_add(h, "waits", json_object_new_string(se->t.why));
		json_object_array_add(hosts, h);
	}
	pthread_mutex_unlock(&mg->lock);
	json_object_object_add(obj, "hosts", hosts);
	return obj;
}
