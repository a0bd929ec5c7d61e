// SPDX-License-Identifier: GPL-2.0
/* A passive copy: hello, log, acks; seal and fetch of a take-over. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

/* ---- what is on the disk ------------------------------------------------------------ */

static void state_of(struct host *h, int store, struct copystate_data *ret)
{
	uint8_t uuid[16];

	store_uuid(store, uuid);
	slots_read(&h->copy[store].slots, uuid, ret);
}

static void saved(int id, void *arg, uint64_t store, uint64_t fn)
{
	struct copy *c = &hosts[id].copy[store];
	int rc = disk_rc(id);

	if (!rc)
		slots_end(&c->slots);
	c->slots.writing = false;
	((event_fn)(uintptr_t)fn)(id, NULL, store, (uint64_t)(int64_t)rc);
}

void copy_save(struct host *h, int store, const struct copystate_data *next, event_fn fn)
{
	slots_begin(&h->copy[store].slots, next);
	at(now + disk_ns(h->id), SCOPE_DAEMON, h->id, saved, NULL, store, (uintptr_t)fn);
}

static void forget_daemon(struct copy *c)
{
	c->conn = 0;
	c->tip = c->log;
	c->seed_end = -1;
	c->flush_runs = c->settle_wait = c->busy = c->hello_wait = false;
	free(c->pending);
	c->pending = NULL;
	c->unconfirmed = true;
	c->opening = c->touch_out = c->touched = false;
	c->fenced_by = 0;
	c->move_to = -1;
	c->move_out = c->move_sent = false;
	active_stop(c);
}

void passive_init(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	uint8_t uuid[16];

	free(c->pending);
	memset(c, 0, sizeof(*c));
	store_uuid(store, uuid);
	slots_init(&c->slots, uuid);
	c->image = -1;
	forget_daemon(c);
}

/* A system call that runs ends before the process is gone. */
void passive_daemon_gone(struct host *h, int store)
{
	struct copy *c = &h->copy[store];

	if (c->slots.writing)
		slots_end(&c->slots);
	if (c->flush_runs && percent(50))
		c->log = c->flushing;
	forget_daemon(c);
}

void passive_crash(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	struct tap *t = &c->tap;

	if (t->active) {
		uint64_t lo = chain_end(store, t->settled), hi = chain_end(store, t->tip);

		c->log = chain_cut(store, t->tip, between(lo, hi));
		if (!chain_has(store, c->log, t->settled))
			c->log = t->settled;
		c->broken = c->seeding = c->former = true;	/* the device ran ahead of its log */
		c->image = -1;
	}
	c->tip = c->log;
	t->active = t->shut = false;
	t->life++;
}

/* Closed in order: the device holds the log to its end. */
void passive_demoted(struct host *h, int store)
{
	struct copy *c = &h->copy[store];

	c->log = c->tip = c->replayed = c->tap.tip;
	c->image = -1;
	c->seeding = c->broken = c->former = false;
	c->was_active = true;
	c->conn = 0;
	c->unconfirmed = false;
}

/* Did the next epoch begin just where our log ends? Else the device holds more. */
static void end_active(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	const struct group_store *st = host_store(h, store);
	struct copystate_data d;

	if (!c->was_active)
		return;
	state_of(h, store, &d);
	c->was_active = false;
	c->former = d.history[d.nr_history - 1].epoch + 1 != st->epoch ||
		    st->start_lsn != chain_end(store, c->log);
	c->broken = c->seeding = c->former;
}

static int content(const struct copy *c)
{
	return c->image >= 0 ? c->image : c->log;
}

void passive_report(struct host *h, int store, struct candidate *ret)
{
	struct copy *c = &h->copy[store];
	struct copystate_data d;

	state_of(h, store, &d);
	memset(ret, 0, sizeof(*ret));
	ret->whole = !c->broken && !c->tap.active;
	ret->unconfirmed = c->unconfirmed;
	ret->status = c->seeding ? CAND_DISCONNECTED_RESYNC : CAND_DISCONNECTED_HEALTHY;
	ret->log_epoch = d.nr_history ? d.history[d.nr_history - 1].epoch : 0;
	ret->end_lsn = chain_end(store, content(c));
	for (int i = 0; i < nr_stores; i++)
		ret->active_now += h->copy[i].tap.active;
}

/* ---- answers ---------------------------------------------------------------------------- */

static void welcome(struct host *h, const struct msg *q, int rc, uint32_t epoch)
{
	struct msg m = { .type = MSG_WELCOME, .store = q->store, .conn = q->conn, .rc = rc,
			 .epoch = epoch };

	conn_send(h->id, q->from, &m);
}

static void send_ack(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	struct msg m = { .type = MSG_ACK, .store = store, .conn = c->conn, .epoch = c->conn_epoch };

	if (!c->conn)
		return;
	m.node = c->log;
	m.received = chain_end(store, c->tip);
	m.durable = chain_end(store, c->log);
	m.replayed = chain_end(store, c->seeding ? 0 : c->replayed);
	if (m.replayed > m.durable)
		m.replayed = m.durable;
	m.healthy = !c->seeding;
	check_ack_sent(h->id, store);
	conn_send(h->id, c->conn_from, &m);
}

static void sealed(struct host *h, const struct msg *q, int rc)
{
	struct msg m = { .type = q->type == MSG_SEAL ? MSG_SEALED : MSG_FETCHED, .store = q->store,
			 .epoch = q->epoch, .about = q->about, .round = q->round, .rc = rc };

	passive_report(h, q->store, &m.report);
	net_send(h->id, q->from, &m);
}

/* ---- log ----------------------------------------------------------------------------------- */

static void settle_done(struct host *h, int store);
static void start_flush(struct host *h, int store);

/* The end of the seed is durable: the copy's content is the active's. */
static void finish_seed(struct copy *c, int store)
{
	if (!c->seeding || c->seed_end < 0 || !chain_has(store, c->log, c->seed_end))
		return;
	c->seeding = c->broken = false;
	c->image = -1;
	c->replayed = c->log;
	c->seed_end = -1;
}

static void flush_done(int id, void *arg, uint64_t store, uint64_t node)
{
	struct host *h = &hosts[id];
	struct copy *c = &h->copy[store];

	c->flush_runs = false;
	if (disk_rc(id)) {
		/* What could not be written is asked for again; it may have been
		 * acknowledged as received. */
		c->unconfirmed = true;
		c->tip = c->log;
		c->conn = 0;
		c->seed_end = -1;
	} else {
		c->log = c->flushing;
		finish_seed(c, store);
	}
	if (c->settle_wait) {
		start_flush(h, store);
		if (!c->flush_runs)
			settle_done(h, store);
		return;
	}
	if (c->pending && c->pending->type == MSG_FETCH && c->log == c->tip) {
		struct msg *q = c->pending;

		c->pending = NULL;
		sealed(h, q, 0);
		free(q);
	}
	send_ack(h, store);
}

static void start_flush(struct host *h, int store)
{
	struct copy *c = &h->copy[store];

	if (c->flush_runs || c->tip == c->log)
		return;
	c->flush_runs = true;
	c->flushing = c->tip;
	at(now + disk_ns(h->id), SCOPE_DAEMON, h->id, flush_done, NULL, store, 0);
}

static void on_data(struct host *h, const struct msg *m)
{
	struct copy *c = &h->copy[m->store];

	if (!c->conn || m->conn != c->conn || m->prev != c->tip ||
	    chain_epoch(m->store, m->node) > c->conn_epoch)
		return;
	c->tip = m->node;
	if (m->seeded && c->seeding)
		c->seed_end = c->tip;
	finish_seed(c, m->store);
	/* An older image beside a seed that is not whole yet is not at the active's end. */
	if (!c->seeding && chain_end(m->store, c->tip) >= m->have)
		c->unconfirmed = false;
	start_flush(h, m->store);
	send_ack(h, m->store);
}

/* ---- a question that waits until the log has settled ------------------------------------------ */

static void seal_saved(int id, void *arg, uint64_t store, uint64_t rc);
static void hello_saved(int id, void *arg, uint64_t store, uint64_t rc);

/* The connection ends; nothing more is received; what was received gets to the disk. */
static void settle(struct host *h, const struct msg *m)
{
	struct copy *c = &h->copy[m->store];

	free(c->pending);
	c->pending = malloc(sizeof(*m));
	*c->pending = *m;
	c->busy = true;
	c->conn = 0;
	c->settle_wait = true;
	start_flush(h, m->store);
	if (!c->flush_runs)
		settle_done(h, m->store);
}

static void end_busy(struct copy *c)
{
	free(c->pending);
	c->pending = NULL;
	c->busy = false;
}

static void begin_seal(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	struct copystate_data d;

	state_of(h, store, &d);
	if (d.promised_epoch >= c->pending->epoch) {
		seal_saved(h->id, NULL, store, d.promised_epoch > c->pending->epoch ?
			   (uint64_t)(int64_t)-ESTALE : 0);
		return;
	}
	d.promised_epoch = c->pending->epoch;
	copy_save(h, store, &d, seal_saved);
}

static void seal_saved(int id, void *arg, uint64_t store, uint64_t rc)
{
	struct copy *c = &hosts[id].copy[store];

	sealed(&hosts[id], c->pending, (int)(int64_t)rc);
	end_busy(c);
}

static void make_plan(struct host *h, int store, const struct frame_hello *hello,
		      struct resume_plan *plan)
{
	struct copy *c = &h->copy[store];
	struct frame_epoch history[COPYSTATE_HISTORY_MAX];
	struct copystate_data d;
	struct resume_copy rc;

	state_of(h, store, &d);
	for (uint32_t i = 0; i < d.nr_history; i++)
		history[i] = (struct frame_epoch){ d.history[i].epoch, d.history[i].first_lsn };
	rc = (struct resume_copy){
		.former = c->former,
		.have_image = !c->broken,
		.have_lsn = chain_end(store, c->image >= 0 ? c->image : c->replayed),
		.seeding = c->seeding && d.nr_history,
		.inconsistent = c->broken,
		.nr_history = d.nr_history,
		.history = history,
	};
	rc.end_lsn = chain_end(store, c->log);
	if (rc.end_lsn < rc.have_lsn)
		rc.end_lsn = rc.have_lsn;
	resume_decide(hello, &rc, plan);
}

static void take_plan(struct host *h, int store, const struct msg *q)
{
	struct copy *c = &h->copy[store];

	if (q->resume == DAG_RESUME_LOG)
		return;
	if (q->resume == DAG_RESUME_FULL) {
		c->broken = true;
		c->former = false;
		c->image = -1;
		c->replayed = q->node;
	} else if (c->image < 0) {
		c->image = chain_cut(store, c->log, q->have);
		if (chain_end(store, c->image) < chain_end(store, c->replayed))
			c->image = c->replayed;
	}
	c->seeding = true;
	c->seed_end = -1;
	c->gap = chain_end(store, q->node);
	c->log = c->tip = q->node;
}

static void take_history(struct copystate_data *d, const struct frame_hello *his)
{
	d->nr_history = his->nr_history;
	for (uint32_t i = 0; i < d->nr_history; i++) {
		d->history[i].epoch = his->history[i].epoch;
		d->history[i].first_lsn = his->history[i].first_lsn;
	}
}

static void begin_hello(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	const struct msg *q = c->pending;
	struct copystate_data d;
	struct resume_plan plan;

	end_active(h, store);
	make_plan(h, store, &q->hello, &plan);
	if (plan.verdict == RESUME_STALE) {
		welcome(h, q, DAG_REFUSE_NOT_READY, 0);
		end_busy(c);
		return;
	}
	if (plan.verdict == RESUME_LOG)
		c->log = c->tip = chain_cut(store, c->log, plan.cut_lsn);
	/* The log first: a crash may not leave the new history beside the old log. */
	c->pending->resume = plan.verdict == RESUME_LOG ? DAG_RESUME_LOG :
			     plan.verdict == RESUME_REGIONS ? DAG_RESUME_REGIONS : DAG_RESUME_FULL;
	c->pending->have = plan.cut_lsn;
	take_plan(h, store, q);
	state_of(h, store, &d);
	d.promised_epoch = q->epoch;
	take_history(&d, &q->hello);
	c->want = d;
	copy_save(h, store, &d, hello_saved);
}

/* The state is durable: now the log may begin anew. */
static void hello_saved(int id, void *arg, uint64_t store, uint64_t rc)
{
	struct host *h = &hosts[id];
	struct copy *c = &h->copy[store];
	const struct msg *q = c->pending;
	struct msg m = { .type = MSG_WELCOME, .store = store, .conn = q->conn };

	if (rc) {
		welcome(h, q, DAG_REFUSE_NOT_READY, 0);
		end_busy(c);
		return;
	}
	c->conn = q->conn;
	c->conn_from = q->from;
	c->conn_epoch = q->epoch;
	if (chain_end(store, c->tip) >= q->hello.end_lsn && q->resume == DAG_RESUME_LOG)
		c->unconfirmed = false;
	m.resume = q->resume;
	m.node = c->tip;
	m.healthy = !c->seeding;
	m.have = c->broken ? 0 : chain_end(store, content(c));
	m.received = m.durable = chain_end(store, c->log);
	m.epoch = q->epoch;
	trace("%s store %d welcomes %s epoch %u resume %d at %llu", host_name(id), (int)store,
	      host_name(q->from), q->epoch, q->resume, (unsigned long long)m.received);
	check_ack_sent(id, store);
	conn_send(id, q->from, &m);
	end_busy(c);
}

static void settle_done(struct host *h, int store)
{
	struct copy *c = &h->copy[store];

	c->settle_wait = false;
	c->tip = c->log;
	c->seed_end = -1;
	if (c->pending->type == MSG_SEAL)
		begin_seal(h, store);
	else
		begin_hello(h, store);
}

/* ---- questions --------------------------------------------------------------------------------- */

static void on_hello(struct host *h, const struct msg *m)
{
	struct copy *c = &h->copy[m->store];
	const struct group_store *st = host_store(h, m->store);
	struct copystate_data d;

	state_of(h, m->store, &d);
	if (m->generation != h->snap->gs.generation)
		welcome(h, m, DAG_REFUSE_GROUP, 0);
	else if (m->epoch < d.promised_epoch)
		welcome(h, m, DAG_REFUSE_EPOCH, d.promised_epoch);
	else if (!h->ready || c->busy || c->tap.active || c->opening || st->epoch < m->epoch)
		welcome(h, m, DAG_REFUSE_NOT_READY, 0);
	else if (st->epoch > m->epoch || strcmp(st->active, host_name(m->from)))
		welcome(h, m, DAG_REFUSE_MEMBER, 0);
	else
		settle(h, m);
}

static void on_seal(struct host *h, const struct msg *m)
{
	struct copy *c = &h->copy[m->store];
	const struct group_store *st = host_store(h, m->store);

	if (m->generation != h->snap->gs.generation)
		return;
	if (st->epoch >= m->epoch || c->tap.active || c->opening || c->busy || c->slots.writing) {
		sealed(h, m, -EBUSY);
		return;
	}
	settle(h, m);
}

static void on_fetch(struct host *h, const struct msg *m)
{
	struct copy *c = &h->copy[m->store];
	struct msg q = { .type = MSG_FETCH_FROM, .store = m->store, .epoch = m->epoch,
			 .round = m->round, .generation = m->generation };
	struct copystate_data d;

	state_of(h, m->store, &d);
	if (m->generation != h->snap->gs.generation || d.promised_epoch != m->epoch || c->busy ||
	    c->tap.active || c->opening || c->seeding || host_store(h, m->store)->epoch >= m->epoch) {
		sealed(h, m, -EBUSY);
		return;
	}
	free(c->pending);
	c->pending = malloc(sizeof(*m));
	*c->pending = *m;
	net_send(h->id, m->peer, &q);
}

static void on_fetch_from(struct host *h, const struct msg *m)
{
	struct copy *c = &h->copy[m->store];
	struct msg a = { .type = MSG_FETCH_DATA, .store = m->store, .round = m->round,
			 .node = c->log, .epoch = m->epoch };
	struct copystate_data d;

	state_of(h, m->store, &d);
	for (uint32_t i = 0; i < d.nr_history; i++)
		if (d.history[i].first_lsn < chain_end(m->store, c->log))
			a.hello.history[a.hello.nr_history++] =
				(struct frame_epoch){ d.history[i].epoch, d.history[i].first_lsn };
	if (d.promised_epoch == m->epoch && !c->seeding && !c->broken && !c->busy && !c->tap.active)
		net_send(h->id, m->from, &a);
}

static void end_fetch(struct host *h, struct copy *c, int rc)
{
	sealed(h, c->pending, rc);
	end_busy(c);
}

/* Its history is durable before its log comes. */
static void fetch_saved(int id, void *arg, uint64_t store, uint64_t rc)
{
	struct copy *c = &hosts[id].copy[store];

	if (rc) {
		end_fetch(&hosts[id], c, (int)(int64_t)rc);
		return;
	}
	c->busy = false;
	c->tip = c->pending->node;
	start_flush(&hosts[id], store);
}

static void on_fetch_data(struct host *h, const struct msg *m)
{
	struct copy *c = &h->copy[m->store];
	struct copystate_data d;

	if (!c->pending || c->pending->type != MSG_FETCH || c->pending->round != m->round ||
	    c->busy || c->tap.active || c->opening || host_store(h, m->store)->epoch >= m->epoch)
		return;
	if (!chain_has(m->store, m->node, c->log)) {	/* it would have to cut */
		end_fetch(h, c, -EINVAL);
		return;
	}
	c->busy = true;
	c->pending->node = m->node;
	state_of(h, m->store, &d);
	take_history(&d, &m->hello);
	copy_save(h, m->store, &d, fetch_saved);
}

void passive_recv(struct host *h, const struct msg *m)
{
	if (!h->copy[m->store].configured)
		return;
	switch (m->type) {
	case MSG_HELLO: on_hello(h, m); break;
	case MSG_DATA: on_data(h, m); break;
	case MSG_SEAL: on_seal(h, m); break;
	case MSG_FETCH: on_fetch(h, m); break;
	case MSG_FETCH_FROM: on_fetch_from(h, m); break;
	case MSG_FETCH_DATA: on_fetch_data(h, m); break;
	default: break;
	}
}

/* Replay follows the log; acks go out even when nothing moves. */
void passive_tick(struct host *h, int store)
{
	struct copy *c = &h->copy[store];

	if (c->tap.active)
		return;
	if (!c->seeding && !c->broken && percent(30))
		c->replayed = c->log;
	start_flush(h, store);
	if (percent(10))
		send_ack(h, store);
}
