// SPDX-License-Identifier: GPL-2.0
/*
 * The active copy's daemon: opens, ships, lets acks through by ship/window.c,
 * changes the in-sync set, moves away, and goes on under the next epoch where a
 * copy has promised it.
 */
#include <errno.h>
#include <string.h>

#include "tests/sim/sim.h"

#define RETRY		(150 * MS)
#define SILENT		(700 * MS)
#define MOVE_MS		(2000 * MS)
#define NEAR		65536		/* bytes behind that may join */
#define LSN_STEP	(1u << 20)

void active_stop(struct copy *c)
{
	c->run = false;
	for (int i = 0; i < HOSTS_MAX; i++)
		c->peers[i] = (struct peer){ 0 };
}

static int window_slot(int self, int peer)
{
	return peer > self ? peer - 1 : peer;
}

/* ---- transactions of the store ---------------------------------------------------------- */

static struct ereq *txn_new(struct host *h, int store, void (*done)(struct ereq *r))
{
	const struct snap *s = engine_peek(h->id);
	struct ereq *r;

	if (!s)
		return NULL;
	r = ereq_new(EREQ_STORE, h->id, done);
	r->store = store;
	r->next[store] = s->stores[store];
	r->expect_epoch = h->copy[store].tap.active ? h->copy[store].tap.epoch :
						      host_store(h, store)->epoch;
	r->expect_version[store] = s->stores[store].version;
	r->tag = h->copy[store].tap.life;
	return r;
}

/* What a transaction tells its host: the state is read again in any case. */
static void look(struct ereq *r)
{
	struct host *h = &hosts[r->host];

	if (r->rc != -EAGAIN && r->rc != -EBUSY)
		host_read(h);
}

/* ---- opening -------------------------------------------------------------------------------- */

static void start_window(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	const struct group_store *st = host_store(h, store);

	window_init(&c->w, chain_end(store, c->tap.tip), chain_end(store, c->tap.tip));
	c->w.acked = c->tap.acked;
	c->w.commit_mode = st->mode != DAGTAP_MODE_ASYNC;
	c->w.ack_durable = st->ack_durable;
	c->w.min_in_sync = st->min_in_sync;
	c->w.late_ms_max = st->late_ms_max;
	for (int p = 0; p < nr_members; p++) {
		struct group_copy *cp = group_find_copy((struct group_store *)st, host_name(p));
		struct window_copy *wc = &c->w.copy[window_slot(h->id, p)];

		if (p == h->id || !cp)
			continue;
		wc->in_use = true;
		wc->in_sync = cp->in_sync;
	}
	c->run = true;
	c->active_since = now;
}

static void opened(int id, void *arg, uint64_t store, uint64_t rc)
{
	struct host *h = &hosts[id];
	struct copy *c = &h->copy[store];
	const struct copystate_epoch *last = &c->want.history[c->want.nr_history - 1];
	int log = c->tap.active ? c->tap.tip : c->image >= 0 ? c->image : c->log;

	c->opening = false;
	if (rc || host_store(h, store)->epoch != last->epoch || !host_leased(h) || !h->ready ||
	    !dac_may_activate(&h->dac))
		return;
	active_stop(c);
	c->fenced_by = 0;
	c->move_to = -1;
	c->move_out = false;	/* what an earlier life had asked is nobody's answer now */
	tap_open(h, store, last->epoch, log, last->first_lsn);
	if (chain_end(store, log) != last->first_lsn)
		c->gap = last->first_lsn;
	c->oldest = percent(50) ? last->first_lsn : c->gap;
	c->broken = c->seeding = c->former = c->was_active = false;
	c->image = -1;
	start_window(h, store);
}

static void open_at(struct host *h, int store, const struct copystate_data *was, uint64_t start)
{
	struct copy *c = &h->copy[store];
	struct copystate_data d = *was;
	uint32_t epoch = host_store(h, store)->epoch;

	while (d.nr_history && (d.history[d.nr_history - 1].epoch >= epoch ||
				d.history[d.nr_history - 1].first_lsn >= start))
		d.nr_history--;
	if (d.nr_history == DAG_HISTORY_MAX)
		memmove(d.history, d.history + 1, --d.nr_history * sizeof(d.history[0]));
	d.history[d.nr_history].epoch = epoch;
	d.history[d.nr_history++].first_lsn = start;
	d.promised_epoch = epoch;
	c->want = d;
	c->opening = true;
	c->conn = 0;	/* the receiver has ended before the state is touched (local.c) */
	copy_save(h, store, &d, opened);
}

static void store_txn_done(struct ereq *r)
{
	hosts[r->host].copy[r->store].touch_out = false;
	look(r);
}

static void ask_epoch(struct host *h, int store, bool anew, uint64_t end)
{
	struct ereq *r = txn_new(h, store, store_txn_done);

	if (!r)
		return;
	r->expect_epoch = host_store(h, store)->epoch;
	if (anew) {
		takeover_edit_anew(&r->next[store], &end);
	} else {
		r->next[store].epoch++;
		r->next[store].start_lsn = 0;
	}
	h->copy[store].touch_out = true;
	engine_ask(r);
}

static void try_open(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	const struct group_store *st = host_store(h, store);
	uint64_t end = chain_end(store, c->image >= 0 ? c->image : c->log);
	struct copystate_data d;
	uint8_t uuid[16];
	int rc;

	if (c->opening || c->busy || c->touch_out || c->flush_runs || c->slots.writing)
		return;
	store_uuid(store, uuid);
	slots_read(&c->slots, uuid, &d);
	/* Its ring is gone, under this epoch or before it came to open it. */
	if ((d.nr_history && d.history[d.nr_history - 1].epoch == st->epoch) ||
	    (c->former && d.promised_epoch > st->epoch) ||
	    (c->former && st->start_lsn)) {
		ask_epoch(h, store, false, 0);
		return;
	}
	if (d.promised_epoch > st->epoch) {	/* sealed since, for another take-over */
		ask_epoch(h, store, true, end);
		return;
	}
	if (!st->start_lsn) {
		open_at(h, store, &d, c->broken ? (end / LSN_STEP + 2) * LSN_STEP : end);
		return;
	}
	rc = c->broken ? -ENODATA : takeover_fit(st->start_lsn, end);
	if (rc == -EAGAIN)
		ask_epoch(h, store, true, end);
	else if (rc)
		violation("%s won store %d epoch %u at lsn %llu but ends at %llu", host_name(h->id),
			  store, st->epoch, (unsigned long long)st->start_lsn,
			  (unsigned long long)end);
	else
		open_at(h, store, &d, st->start_lsn);
}

/* ---- in-sync set ------------------------------------------------------------------------------ */

static void sync_done(struct ereq *r)
{
	struct host *h = &hosts[r->host];
	struct copy *c = &h->copy[r->store];
	int p = r->victim;
	struct window_copy *wc = &c->w.copy[window_slot(h->id, p)];

	if (!c->run || c->tap.life != r->tag)
		return;
	c->peers[p].txn_out = false;
	if (!r->rc) {
		wc->in_sync = c->peers[p].txn > 0;
		wc->joining = false;
	}
	c->peers[p].txn = 0;
	look(r);
}

static void change_sync(struct host *h, int store, int p)
{
	struct copy *c = &h->copy[store];
	struct ereq *r = txn_new(h, store, sync_done);

	if (!r)
		return;
	r->victim = p;
	group_find_copy(&r->next[store], host_name(p))->in_sync = c->peers[p].txn > 0;
	c->peers[p].txn_out = true;
	engine_ask(r);
}

/* As active_update() does: a state, perhaps an old one, takes no copy out. */
static void update_sync(struct host *h, int store)
{
	const struct group_store *st = host_store(h, store);
	struct copy *c = &h->copy[store];

	for (uint32_t i = 0; i < st->nr_copies; i++) {
		int p = host_id(st->copies[i].member);
		struct window_copy *wc = &c->w.copy[window_slot(h->id, p)];

		if (p == h->id)
			continue;
		if (st->copies[i].in_sync)
			wc->in_sync = true;
		else if (!c->peers[p].txn)
			wc->joining = wc->in_sync;
	}
}

static void watch_sync(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	int late;

	update_sync(h, store);
	late = window_late(&c->w, host_now(h) / MS);
	if (!c->w.commit_mode)
		return;
	for (int p = 0; p < nr_members; p++) {
		int slot = window_slot(h->id, p);
		struct window_copy *wc = &c->w.copy[slot];
		struct peer *pe = &c->peers[p];

		if (p == h->id || !wc->in_use)
			continue;
		if (slot == late && !pe->txn)
			pe->txn = -1;
		if (!pe->txn && !wc->in_sync && pe->state == PEER_STREAM && pe->healthy &&
		    window_may_join(&c->w, slot, NEAR))
			wc->in_sync = wc->joining = true;
		if (!pe->txn && wc->joining && window_joined(&c->w, slot))
			pe->txn = 1;
		if (pe->txn && !pe->txn_out)
			change_sync(h, store, p);
	}
}

/* ---- shipping ---------------------------------------------------------------------------------- */

static void close_peer(struct host *h, struct peer *pe)
{
	pe->state = PEER_IDLE;
	pe->retry = host_now(h) + RETRY;
}

static void hello(struct host *h, int store, int p)
{
	struct copy *c = &h->copy[store];
	struct peer *pe = &c->peers[p];
	struct msg m = { .type = MSG_HELLO, .store = store, .epoch = c->tap.epoch };
	struct copystate_data d;
	uint8_t uuid[16];

	store_uuid(store, uuid);
	slots_read(&c->slots, uuid, &d);
	m.generation = h->snap->gs.generation;
	m.node = c->tap.tip;
	m.hello.epoch = c->tap.epoch;
	m.hello.oldest_lsn = c->oldest;
	m.hello.end_lsn = chain_end(store, c->tap.tip);
	for (uint32_t i = 0; i < d.nr_history; i++)
		m.hello.history[m.hello.nr_history++] =
			(struct frame_epoch){ d.history[i].epoch, d.history[i].first_lsn };
	m.conn = pe->conn = conn_new();
	pe->state = PEER_CONNECTING;
	pe->heard = host_now(h);
	conn_send(h->id, p, &m);
}

static void send_log(struct host *h, int store, int p)
{
	struct copy *c = &h->copy[store];
	struct peer *pe = &c->peers[p];
	struct msg m = { .type = MSG_DATA, .store = store, .conn = pe->conn };

	/* A seed ends when all it needs has been sent. */
	m.seeded = !pe->healthy && pe->resync && host_now(h) > pe->moved + 200 * MS && percent(20);
	if (pe->sent == c->tap.tip && !m.seeded)
		return;
	m.prev = pe->sent;
	m.node = pe->sent = c->tap.tip;
	m.have = chain_end(store, c->tap.tip);
	conn_send(h->id, p, &m);
}

static void ship(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	uint64_t t = host_now(h);

	for (int p = 0; p < nr_members; p++) {
		struct peer *pe = &c->peers[p];

		if (p == h->id || !c->w.copy[window_slot(h->id, p)].in_use)
			continue;
		if (pe->state == PEER_IDLE && t >= pe->retry)
			hello(h, store, p);
		else if (pe->state != PEER_IDLE && t > pe->heard + SILENT)
			close_peer(h, pe);
		else if (pe->state == PEER_STREAM)
			send_log(h, store, p);
	}
}

static void on_welcome(struct host *h, const struct msg *m)
{
	struct copy *c = &h->copy[m->store];
	struct peer *pe = &c->peers[m->from];
	struct window_copy *wc = &c->w.copy[window_slot(h->id, m->from)];

	if (m->rc) {
		if (m->rc == DAG_REFUSE_EPOCH && m->epoch > c->fenced_by)
			c->fenced_by = m->epoch;
		close_peer(h, pe);
		return;
	}
	if (!chain_has(m->store, c->tap.tip, m->node))
		violation("store %d: the log of %s goes on at %s where it is not its log", m->store,
			  host_name(h->id), host_name(m->from));
	pe->state = PEER_STREAM;
	pe->sent = m->node;
	pe->healthy = m->healthy;
	pe->resync = !m->healthy;
	pe->moved = host_now(h);
	wc->known = false;
	wc->missing = !m->healthy;
	wc->missing_since = m->have;
	c->w.commit = chain_end(m->store, c->tap.tip);
	window_report(&c->w, window_slot(h->id, m->from), m->received, m->durable, 0);
}

static void on_ack(struct host *h, const struct msg *m)
{
	struct copy *c = &h->copy[m->store];
	struct peer *pe = &c->peers[m->from];
	int slot = window_slot(h->id, m->from);
	struct window_copy *wc = &c->w.copy[slot];

	if (!chain_has(m->store, c->tap.tip, m->node))
		violation("store %d: %s acks what is not the log of %s", m->store,
			  host_name(m->from), host_name(h->id));
	c->w.commit = chain_end(m->store, c->tap.tip);
	if (m->received > wc->received || m->durable > wc->durable)
		wc->late_since_ms = 0;
	if (window_report(&c->w, slot, m->received, m->durable, m->replayed)) {
		close_peer(h, pe);
		return;
	}
	pe->healthy = m->healthy;
	if (m->healthy)
		wc->missing = false;
}

void active_recv(struct host *h, const struct msg *m)
{
	struct copy *c = &h->copy[m->store];
	struct peer *pe = &c->peers[m->from];

	if (!c->run || pe->state == PEER_IDLE || pe->conn != m->conn)
		return;
	pe->heard = host_now(h);
	if (m->type == MSG_WELCOME)
		on_welcome(h, m);
	else if (pe->state == PEER_STREAM)
		on_ack(h, m);
}

/* ---- planned move --------------------------------------------------------------------------------- */

void active_move(struct host *h, int store, int target)
{
	struct copy *c = &h->copy[store];

	if (!c->run || c->move_to >= 0 || target == h->id || c->fenced_by ||
	    c->peers[target].state != PEER_STREAM || !c->peers[target].healthy || !host_leased(h))
		return;
	trace("%s moves store %d to %s", host_name(h->id), store, host_name(target));
	c->move_to = target;
	c->move_since = now;
	c->move_sent = false;
	c->tap.shut = true;
}

static void move_done(struct ereq *r)
{
	struct host *h = &hosts[r->host];
	struct copy *c = &h->copy[r->store];

	if (c->tap.life != r->tag)
		return;
	c->move_out = false;
	trace("%s move of store %d: %d", host_name(h->id), r->store, r->rc);
	if (!r->rc)
		tap_close(h, r->store);
	look(r);
}

static bool at_end(const struct host *h, int store, int p)
{
	const struct copy *c = &h->copy[store];
	const struct window_copy *wc = &c->w.copy[window_slot(h->id, p)];

	return c->peers[p].state == PEER_STREAM && c->peers[p].healthy && wc->known && !wc->missing &&
	       wc->durable == chain_end(store, c->tap.tip);
}

static void move_on(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	struct group_store *st;
	struct ereq *r;

	if (c->move_out)
		return;
	/* Once asked there is no way back: it may land at any time. */
	if (!c->move_sent && (now > c->move_since + MOVE_MS || !host_leased(h))) {
		c->move_to = -1;
		c->tap.shut = false;
		return;
	}
	if (!c->move_sent && !at_end(h, store, c->move_to))
		return;
	r = txn_new(h, store, move_done);
	if (!r)
		return;
	st = &r->next[store];
	st->epoch = c->tap.epoch + 1;
	st->start_lsn = chain_end(store, c->tap.tip);
	strcpy(st->active, host_name(c->move_to));
	for (uint32_t i = 0; i < st->nr_copies; i++) {
		int p = host_id(st->copies[i].member);

		st->copies[i].in_sync = p == h->id || p == c->move_to || at_end(h, store, p);
	}
	c->move_out = c->move_sent = true;
	engine_ask(r);
}

/* ---- the next epoch in place --------------------------------------------------------------------------- */

/* A copy has promised a higher epoch to a take-over that did not come about. */
static void bump(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	struct ereq *r;

	if (c->touch_out || c->move_to >= 0)
		return;
	r = txn_new(h, store, store_txn_done);
	if (!r)
		return;
	trace("%s store %d goes on under epoch %u", host_name(h->id), store, c->fenced_by);
	c->tap.shut = true;	/* the epoch ends where the log ends now */
	r->next[store].epoch = c->fenced_by;
	r->next[store].start_lsn = chain_end(store, c->tap.tip);
	c->touch_out = true;
	engine_ask(r);
}

static void reopen(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	struct copystate_data d;
	uint8_t uuid[16];

	if (c->opening || c->slots.writing)
		return;
	c->tap.shut = true;
	store_uuid(store, uuid);
	slots_read(&c->slots, uuid, &d);
	open_at(h, store, &d, chain_end(store, c->tap.tip));
}

/* After a start of the daemon nobody knows what it had asked for: a transaction of
 * ours makes what may still land compare in vain. */
static void touch_done(struct ereq *r)
{
	struct copy *c = &hosts[r->host].copy[r->store];

	c->touch_out = false;
	if (!r->rc && c->tap.life == r->tag) {
		c->touched = true;
		c->tap.shut = false;
	}
	look(r);
}

static void touch(struct host *h, int store)
{
	struct ereq *r;

	if (h->copy[store].touch_out)
		return;
	r = txn_new(h, store, touch_done);
	if (!r)
		return;
	h->copy[store].touch_out = true;
	engine_ask(r);
}

/* ---- time passes ------------------------------------------------------------------------------------------ */

static void tick_open(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	uint64_t lsn;

	if (!c->run) {
		if (c->touched)
			start_window(h, store);
		else
			touch(h, store);
		return;
	}
	c->w.commit = chain_end(store, c->tap.tip);
	ship(h, store);
	if (c->move_to >= 0) {
		move_on(h, store);
		return;
	}
	watch_sync(h, store);
	if (c->fenced_by > c->tap.epoch && host_leased(h))
		bump(h, store);
	lsn = window_ack_lsn(&c->w);
	if (lsn > c->w.acked) {
		c->w.acked = lsn;
		tap_ack(h, store, lsn);
	}
}

void active_tick(struct host *h, int store)
{
	struct copy *c = &h->copy[store];
	const struct group_store *st = host_store(h, store);
	bool ours = !strcmp(st->active, host_name(h->id));

	if (c->tap.active && st->epoch > c->tap.epoch && !ours)
		tap_close(h, store);
	if (!ours)
		return;
	if (c->tap.active && st->epoch == c->tap.epoch)
		tick_open(h, store);
	else if (!dac_may_activate(&h->dac) || !host_leased(h))
		return;
	else if (c->tap.active && st->epoch > c->tap.epoch)
		reopen(h, store);
	else if (!c->tap.active)
		try_open(h, store);
}
