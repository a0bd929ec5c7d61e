// SPDX-License-Identifier: GPL-2.0
/*
 * The ship thread of an active copy: it hears the tap, lets every peer send what
 * it can, gives the tap back what all have, and notices who is late.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/store/active_internal.h"

#define LOOP_DEPTH	512
#define TICK_MS		100
#define BUSY_MS		10		/* a send may get stuck while the ring fills */
#define JOIN_NEAR	(1u << 20)	/* a copy this close to the end may join */
#define RESTART_MS	250		/* between two restarts of the log, doubled … */
#define RESTART_MS_MAX	32000
#define RESTART_CALM_MS	10000		/* … until it was calm for so long */

/* ---- the tap --------------------------------------------------------------- */

static void poll_done(struct loop_op *op, int res)
{
	struct active *a = (struct active *)((char *)op - offsetof(struct active, poll_op));

	a->poll_armed = false;
}

/*
 * The tap's file stays readable from a change of state until INFO has told it:
 * without this every poll would end at once, and the thread never sleep again.
 */
static void see_state(struct active *a)
{
	uint64_t gen = __atomic_load_n(&a->view->hdr->state_gen, __ATOMIC_ACQUIRE);
	struct dagtap_info info;

	if (gen != a->seen_gen && !a->conf.ops->info(a->conf.tap, &info))
		a->seen_gen = info.state_gen;
}

static void tick_done(struct loop_op *op, int res)
{
}

/* Lock held. One call into the module for whatever has moved. */
static void ack_tap(struct active *a)
{
	struct window *w = &a->w;
	uint64_t f, k, c;
	int rc;

	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		w->copy[i].held = peer_held(&a->peers[i]);
	w->commit = active_commit(a);
	f = a->spool_busy ? w->freed : window_free_lsn(w);
	k = window_ack_lsn(w);
	c = window_clear_lsn(w);
	if (f == a->acked_free && k == a->acked_ack && c == a->acked_clear)
		return;
	rc = a->conf.ops->ack(a->conf.tap, f, k, c);
	if (rc) {
		active_set_error(a, "the tap refuses an ack: %s", strerror(-rc));
		return;
	}
	w->freed = a->acked_free = f;
	w->acked = a->acked_ack = k;
	if (latency_due(&a->latency, LATENCY_ACK, k))
		latency_pass(&a->latency, LATENCY_ACK, k, active_wall_ns());
	if (c > w->cleared)
		a->bits_gone = c;	/* by what the copies have, not where a log begins anew */
	w->cleared = a->acked_clear = c;
	if (!a->spooling && w->freed > a->oldest) {
		struct seglog_info info;

		/* Segments that end where the ring begins still feed a copy. */
		seglog_info(a->conf.spool, &info);
		if (info.end_lsn < w->freed)
			a->oldest = w->freed;
	}
}

/* Lock held. The ring, or the peers' hold on it, stands still while it fills. */
static void relieve_ring(struct active *a, uint64_t now)
{
	uint64_t commit = active_commit(a), size = a->view->size;

	if (commit - a->w.freed < size / 4 * 3)
		return;
	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		struct peer *p = &a->peers[i];

		if (p->state == PEER_STREAM && now - p->moved_ms > a->stuck_ms &&
		    peer_held(p) < a->w.freed + size / 8 && a->w.spooled > peer_held(p))
			peer_close(p, "too slow for the ring, goes on from the spool");
	}
}

/* Lock held. May the ring be emptied: nobody reads it, nobody needs it? */
static bool ring_unused(const struct active *a, uint64_t commit)
{
	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		const struct window_copy *c = &a->w.copy[i];

		if (peer_held(&a->peers[i]) != WINDOW_NONE)
			return false;
		if (c->in_use && !c->given_up && c->known && a->peers[i].state == PEER_STREAM &&
		    c->durable < commit && a->spool_end < commit)
			return false;
	}
	return true;
}

/* Lock held: the log was given up, begin it again; the ring is emptied by it. */
static void leave_tracking(struct active *a, uint64_t now)
{
	struct dagtap_restart rs = { 0 };
	uint64_t commit = active_commit(a);
	int rc;

	if (a->spool_busy || !ring_unused(a, commit) || now < a->restart_ms)
		return;
	rc = a->conf.ops->restart(a->conf.tap, &rs);
	if (rc == -EALREADY)
		return;
	if (rc) {
		active_set_error(a, "cannot leave tracking: %s", strerror(-rc));
		return;
	}
	log_notice("store=%s tracking ends: log goes on at lsn=%llu, dirty regions are seeded",
		   a->name, (unsigned long long)rs.start_lsn);
	/* A load that the copies cannot follow would come back at once: wait longer
	 * each time, so that the seeds in between get somewhere. */
	if (now - a->restart_ms > RESTART_CALM_MS)
		a->restart_wait_ms = RESTART_MS;
	else if (a->restart_wait_ms < RESTART_MS_MAX)
		a->restart_wait_ms *= 2;
	a->restart_ms = now + a->restart_wait_ms;
	if (a->spool_end < rs.start_lsn || !a->spooling) {
		a->spooling = false;
		a->oldest = rs.start_lsn;
		a->spool_end = rs.start_lsn;
	}
	a->w.freed = a->w.spooled = a->w.acked = a->w.cleared = rs.start_lsn;
	a->acked_free = a->acked_ack = a->acked_clear = rs.start_lsn;
	window_gap(&a->w, commit, rs.start_lsn);
	a->seed_mark = true;
	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		struct window_copy *c = &a->w.copy[i];
		struct peer *p = &a->peers[i];

		p->seeded = false;	/* a gap ends what it has of a seed */
		if (c->promised < a->oldest)
			c->promised = WINDOW_NONE;
		if (rs.start_lsn != commit)
			peer_close(p, "the log has a gap");
		if (p->state == PEER_STREAM && c->in_use)
			seeder_want(a, c->missing_since, 0);	/* others call again */
	}
	active_kick(a);
}

/* ---- decisions ------------------------------------------------ */

static void watch_sync(struct active *a, uint64_t now)
{
	int late = window_late(&a->w, now);

	if (late >= 0 && !a->peers[late].txn) {
		log_warn("store=%s peer=%s is late, commits wait", a->name, a->peers[late].member);
		a->peers[late].txn = -1;
		pthread_cond_broadcast(&a->cond);
	}
	if (!a->w.commit_mode)
		return;
	for (unsigned i = 0; i < WINDOW_COPIES_MAX; i++) {
		struct peer *p = &a->peers[i];

		if (!p->txn && !a->w.copy[i].in_sync && p->state == PEER_STREAM &&
		    p->ack.state == DAG_COPY_HEALTHY && window_may_join(&a->w, i, JOIN_NEAR))
			a->w.copy[i].in_sync = a->w.copy[i].joining = true;
		if (!p->txn && a->w.copy[i].joining && window_joined(&a->w, i)) {
			p->txn = 1;
			pthread_cond_broadcast(&a->cond);
		}
	}
}

/* Lock held. */
static void tick(struct active *a)
{
	uint64_t now = active_now_ms();
	uint32_t state = __atomic_load_n(&a->view->hdr->state, __ATOMIC_ACQUIRE);

	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		struct peer *p = &a->peers[i];

		if (p->close_wanted) {
			p->close_wanted = false;
			peer_close(p, a->w.copy[i].given_up ? "given up" : "a new epoch begins");
			p->retry_ms = now;
		}
		if (p->wanted || p->state != PEER_IDLE || p->fresh_ready)
			peer_tick(p, now);
	}
	if (state == DAGTAP_ST_TRACKING)
		leave_tracking(a, now);
	watch_sync(a, now);
	ack_tap(a);
	relieve_ring(a, now);
	loop_stats(a->loop, &a->stats);
}

static bool peers_closed(const struct active *a)
{
	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		if (a->peers[i].state != PEER_IDLE || a->peers[i].fresh_ready)
			return false;
	return !a->connecting;
}

/*
 * Every copy has a send under way, whose end takes along what has come meanwhile,
 * and the ring has room: new records need not wake us. Lock held.
 */
static bool sends_will_do(const struct active *a)
{
	bool any = false;

	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		if (a->peers[i].state != PEER_STREAM)
			continue;
		if (!a->peers[i].sending)
			return false;
		any = true;
	}
	return any && !a->spooling && active_commit(a) - a->w.freed < a->view->size / 2;
}

/*
 * Ask for a wake-up, then look once more: a record may have come in between. Who
 * is awake, or busy without us, asks for none, so that no writer has to give one.
 */
static int fall_asleep(struct active *a, bool busy)
{
	if (busy)
		return BUSY_MS;
	__atomic_store_n(&a->view->user->want_wakeup, 1, __ATOMIC_SEQ_CST);
	return active_commit(a) == a->last_commit ? TICK_MS : 0;
}

static void awake(struct active *a)
{
	__atomic_store_n(&a->view->user->want_wakeup, 0, __ATOMIC_RELAXED);
}

/* Lock held. Begin to time what has come since we looked last. */
static void probe(struct active *a)
{
	active_probe(a, &a->latency, a->w.acked, 1u << LATENCY_ACK);
	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		if (a->peers[i].state == PEER_STREAM)
			peer_probe(&a->peers[i]);
}

static void pump_all(struct active *a)
{
	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		if (a->peers[i].state == PEER_STREAM)
			peer_pump(&a->peers[i]);
	if (!a->spool_busy && spool_wanted(a, active_commit(a)))
		pthread_cond_broadcast(&a->cond);
}

static void ship_loop(struct active *a)
{
	bool busy;
	int rc;

	for (;;) {
		pthread_mutex_lock(&a->lock);
		a->last_commit = active_commit(a);
		probe(a);
		tick(a);
		pump_all(a);
		if (a->stop && peers_closed(a)) {
			pthread_mutex_unlock(&a->lock);
			break;
		}
		busy = sends_will_do(a);
		pthread_mutex_unlock(&a->lock);
		see_state(a);
		if (!a->poll_armed && !loop_poll(a->loop, &a->poll_op,
						 a->conf.ops->fd(a->conf.tap), POLLIN | POLLPRI))
			a->poll_armed = true;
		rc = loop_run(a->loop, fall_asleep(a, busy));
		awake(a);
		if (rc < 0 && rc != -EINTR && rc != -ETIME) {
			log_err("store=%s loop: %s", a->name, strerror(-rc));
			break;
		}
	}
}

void *active_ship_main(void *arg)
{
	struct active *a = arg;
	struct loop *loop;
	int rc = loop_create(a->conf.backend, LOOP_DEPTH, &loop);

	pthread_setname_np(pthread_self(), "dag-ship");
	if (rc) {
		pthread_mutex_lock(&a->lock);
		a->failed = true;
		active_set_error(a, "cannot create a loop: %s", strerror(-rc));
		pthread_mutex_unlock(&a->lock);
		return NULL;
	}
	if (loop_register(loop, a->view->file, a->view->file_bytes))
		log_info("store=%s the ring is not registered, sends are not fixed", a->name);
	a->poll_op.done = poll_done;
	a->timer_op.done = tick_done;
	pthread_mutex_lock(&a->lock);
	a->loop = loop;
	pthread_mutex_unlock(&a->lock);
	ship_loop(a);
	pthread_mutex_lock(&a->lock);
	a->loop = NULL;
	pthread_mutex_unlock(&a->lock);
	loop_cancel(loop, &a->poll_op);
	while (a->poll_armed)
		if (loop_run(loop, 1000) < 0)
			break;
	loop_destroy(loop);
	return NULL;
}
