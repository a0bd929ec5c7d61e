// SPDX-License-Identifier: GPL-2.0
/* A host: its clock, its daemon's life, lease and heartbeats. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define TICK		(20 * MS)
#define POLL		(60 * MS)
#define RENEW_AGAIN	(30 * MS)

struct host hosts[HOSTS_MAX];
int nr_hosts, nr_members, nr_stores;

const char *host_name(int h)
{
	static char names[HOSTS_MAX][8];

	snprintf(names[h], sizeof(names[h]), "m%d", h);
	return names[h];
}

int host_id(const char *name)
{
	return atoi(name + 1);
}

/* CLOCK_BOOTTIME: runs on while the host is paused, never steps. */
uint64_t host_now(const struct host *h)
{
	return h->offset + now + (int64_t)now / 1000000 * h->rate_ppm;
}

bool host_leased(const struct host *h)
{
	return host_now(h) < h->deadline;
}

const struct group_store *host_store(const struct host *h, int store)
{
	return &h->snap->stores[store];
}

void store_uuid(int store, uint8_t uuid[16])
{
	memset(uuid, 0, 16);
	uuid[0] = store + 1;
}

/* ---- state ------------------------------------------------------------------------ */

static uint64_t versions(const struct snap *s)
{
	uint64_t n = s->gs.version;

	for (int i = 0; i < nr_stores; i++)
		n += s->stores[i].version;
	return n;
}

/* Takes the reference. Of one engine a state with more versions is the newer one. */
int host_set_state(struct host *h, struct snap *s)
{
	if (h->snap && (h->snap->gs.generation > s->gs.generation ||
			(h->snap->gs.generation == s->gs.generation &&
			 versions(h->snap) >= versions(s)))) {
		snap_put(s);
		return 0;
	}
	snap_put(h->snap);
	h->snap = s;
	dac_update(&h->dac, &s->gs, host_name(h->id));
	for (int v = 0; v < nr_members; v++)
		if (v != h->id)
			takeover_state(&h->to[v], &s->gs);
	return 1;
}

static void read_done(struct ereq *r)
{
	struct host *h = &hosts[r->host];

	h->reading = false;
	if (r->rc)
		return;
	host_set_state(h, snap_get(r->snap));
	h->fence = r->leases[h->id].fence;
	/* Under the fence that was read with it: nothing of what is not ours stays open. */
	for (int i = 0; i < nr_stores; i++)
		if (h->copy[i].tap.active && strcmp(host_store(h, i)->active, host_name(h->id)))
			tap_close(h, i);
	h->ready = true;
	h->next_renew = host_now(h);
}

void host_read(struct host *h)
{
	if (h->reading)
		return;
	h->reading = true;
	engine_ask(ereq_new(EREQ_READ, h->id, read_done));
}

/* ---- lease ------------------------------------------------------------------------- */

static void renew_done(struct ereq *r)
{
	struct host *h = &hosts[r->host];
	const struct group_profile *p = &h->snap->gs.profile;

	h->renewing = false;
	h->next_renew = r->sent_local + p->lease_period_ms * MS;
	if (!r->rc) {
		uint64_t deadline = lease_deadline_ns(p, r->sent_local);

		if (deadline > h->deadline)
			h->deadline = deadline;
	} else if (r->rc == -ESTALE) {
		trace("%s was fenced", host_name(h->id));
		h->ready = false;
	} else {
		h->next_renew = host_now(h) + RENEW_AGAIN;
	}
}

static void renew(struct host *h)
{
	struct ereq *r = ereq_new(EREQ_RENEW, h->id, renew_done);

	r->fence = h->fence;
	for (int i = 0; i < nr_stores; i++) {
		const struct tap *t = &h->copy[i].tap;

		if (!t->active)
			continue;
		store_uuid(i, r->facts[r->nr_facts].store);
		r->facts[r->nr_facts++].commit_lsn = chain_end(i, t->tip);
	}
	h->renewing = true;
	engine_ask(r);
}

static void poll(struct host *h)
{
	struct lease_rec leases[HOSTS_MAX];
	struct snap *s;

	if (!engine_stale(h->id, &s, leases))
		return;
	host_set_state(h, s);
	shell_lease(h, leases);
}

static void beat(struct host *h)
{
	struct msg m = { .type = MSG_HEARTBEAT, .generation = h->dac.generation,
			 .bit = dac_may_activate(&h->dac) };

	for (int i = 0; i < nr_hosts; i++)
		if (i != h->id)
			net_send(h->id, i, &m);
}

/* ---- daemon --------------------------------------------------------------------------- */

static void tick(int id, void *arg, uint64_t a, uint64_t b)
{
	struct host *h = &hosts[id];
	uint64_t t = host_now(h);

	at(now + TICK, SCOPE_DAEMON, id, tick, NULL, 0, 0);
	if (t >= h->next_beat) {
		h->next_beat = t + h->snap->gs.profile.heartbeat_ms * MS;
		beat(h);
	}
	if (!h->member || h->dac.highest > h->dac.generation)
		return;		/* an old generation waits for a person */
	if (!h->ready) {
		host_read(h);
		return;
	}
	if (!h->renewing && t >= h->next_renew)
		renew(h);
	if (t >= h->next_poll) {
		h->next_poll = t + POLL;
		poll(h);
	}
	shell_tick(h);
	for (int i = 0; i < nr_stores; i++) {
		if (!h->copy[i].configured)
			continue;
		active_tick(h, i);
		passive_tick(h, i);
	}
}

void host_start_daemon(struct host *h)
{
	trace("%s daemon starts", host_name(h->id));
	h->daemon = true;
	h->dinc++;
	h->ready = h->reading = h->renewing = false;
	h->daemon_paused_until = 0;
	h->next_renew = h->next_poll = h->next_beat = 0;
	memset(h->heard, 0, sizeof(h->heard));
	dac_init(&h->dac, h->snap->gs.generation, false);
	dac_update(&h->dac, &h->snap->gs, host_name(h->id));
	at(now + chance(TICK), SCOPE_DAEMON, h->id, tick, NULL, 0, 0);
	shell_tick(NULL);	/* nothing is asked any more */
	for (int v = 0; v < nr_members; v++)
		takeover_init(&h->to[v], host_name(v), h->to[v].stores);
}

void host_kill_daemon(struct host *h)
{
	if (!h->daemon)
		return;
	trace("%s daemon dies", host_name(h->id));
	h->daemon = false;
	h->dinc++;
	for (int i = 0; i < nr_stores; i++)
		passive_daemon_gone(h, i);
}

void host_boot(struct host *h)
{
	trace("%s boots", host_name(h->id));
	h->up = true;
	h->paused_until = 0;
	h->offset = chance(1000 * SEC);
	h->deadline = 0;
	host_start_daemon(h);
}

void host_crash(struct host *h)
{
	if (!h->up)
		return;
	trace("%s crashes", host_name(h->id));
	for (int i = 0; i < nr_stores; i++)
		slots_crash(&h->copy[i].slots);
	host_kill_daemon(h);
	h->up = false;
	h->inc++;
	h->deadline = 0;
	for (int i = 0; i < nr_stores; i++)
		passive_crash(h, i);
}

static void hear(struct host *h, const struct msg *m)
{
	h->heard[m->from] = host_now(h);
	dac_heard(&h->dac, host_name(m->from), m->generation, m->bit);
	dac_update(&h->dac, &h->snap->gs, host_name(h->id));
}

void host_recv(int to, const struct msg *m)
{
	struct host *h = &hosts[to];

	switch (m->type) {
	case MSG_HEARTBEAT:
		hear(h, m);
		break;
	case MSG_WELCOME:
	case MSG_ACK:
		active_recv(h, m);
		break;
	case MSG_SEALED:
	case MSG_FETCHED:
		shell_recv(h, m);
		break;
	default:
		passive_recv(h, m);
	}
}
