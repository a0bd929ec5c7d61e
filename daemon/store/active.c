// SPDX-License-Identifier: GPL-2.0
/*
 * The active copy: how it starts, changes and stops, and what others see of it.
 * The invariants stand in active.h; the ship thread is in active_ship.c, a
 * planned end in active_drain.c.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store/active_internal.h"

#define STUCK_MS_MAX	2000
/* The gap that begins an epoch stands so far behind the end of the log before. */
#define GAP_BEHIND	(sizeof(struct dagtap_rec) + sizeof(struct dagtap_state_payload))

uint64_t active_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

uint64_t active_wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

uint64_t active_commit(const struct active *a)
{
	return __atomic_load_n(&a->view->hdr->commit_lsn, __ATOMIC_ACQUIRE);
}

/* A time that may be of other records than the LSN is not taken. */
void active_probe(const struct active *a, struct latency *l, uint64_t at, unsigned stages)
{
	uint64_t lsn, ns;

	if (l->waits)
		return;
	lsn = active_commit(a);
	ns = __atomic_load_n(&a->view->hdr->commit_time_ns, __ATOMIC_ACQUIRE);
	if (lsn > at && active_commit(a) == lsn)
		latency_begin(l, lsn, ns, stages);
}

void active_kick(struct active *a)
{
	pthread_cond_broadcast(&a->cond);
	if (a->loop)
		loop_wake(a->loop);
}

void active_set_error(struct active *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->error, sizeof(a->error), fmt, ap);
	va_end(ap);
	log_err("store=%s %s", a->name, a->error);
}

/* ---- configuration --------------------------------------------------------- */

int active_addr(const struct group_member *m, struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, m->address, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(m->port);
		*ret_len = sizeof(*in);
		return 0;
	}
	if (inet_pton(AF_INET6, m->address, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(m->port);
		*ret_len = sizeof(*in6);
		return 0;
	}
	return -EINVAL;
}

struct peer *active_peer(struct active *a, const char *member)
{
	for (unsigned i = 0; i < WINDOW_COPIES_MAX; i++)
		if (a->peers[i].member[0] && !strcmp(a->peers[i].member, member))
			return &a->peers[i];
	return NULL;
}

/* The member's slot, a new one if it has none; NULL: all are taken. */
static struct peer *peer_take(struct active *a, const char *member)
{
	struct peer *empty = NULL, *p = active_peer(a, member);

	if (p)
		return p;
	for (unsigned i = 0; i < WINDOW_COPIES_MAX && !empty; i++)
		if (!a->peers[i].member[0])
			empty = &a->peers[i];
	if (!empty)
		return NULL;
	if (!empty->feed)
		empty->feed = malloc(FEED_BYTES);
	if (!empty->feed)
		return NULL;
	empty->a = a;
	empty->slot = empty - a->peers;
	snprintf(empty->member, sizeof(empty->member), "%s", member);
	memset(&empty->latency, 0, sizeof(empty->latency));
	return empty;
}

static void drop_missing(struct active *a, struct group_store *st)
{
	for (unsigned i = 0; i < WINDOW_COPIES_MAX; i++) {
		struct peer *p = &a->peers[i];

		if (!p->member[0] || group_find_copy(st, p->member))
			continue;
		p->wanted = false;
		a->w.copy[i].in_use = a->w.copy[i].in_sync = a->w.copy[i].joining = false;
		if (p->state == PEER_IDLE && !p->fresh_ready) {
			window_forget(&a->w, i);
			regionset_free(&p->set);
			p->member[0] = 0;
		}
	}
}

/* How its seed is to go. A rate that is new holds until a seed that goes by it has ended. */
static void take_seed(const struct active *a, struct peer *p, const struct group_copy *cp)
{
	if (p->seed_request != cp->seed_request)
		p->seed_begun = false;
	else if (!p->seed_rate && cp->seed_rate)
		p->seed_begun = p->seeded && a->w.copy[p->slot].missing;
	p->seed_request = cp->seed_request;
	p->seed_rate = cp->seed_rate;
	p->seed_whole = cp->seed_whole;
}

static void set_mode(struct active *a, const struct group_store *st)
{
	struct dagtap_mode_set ms = {
		.mode = st->mode,
		.full_timeout_ms = st->full_timeout_ms ? st->full_timeout_ms : 1000,
		.park_timeout_ms = a->conf.park_timeout_ms,
	};
	int rc;

	a->w.commit_mode = st->mode != DAGTAP_MODE_ASYNC;
	a->w.ack_durable = st->ack_durable;
	a->w.min_in_sync = st->min_in_sync;
	a->w.late_ms_max = st->late_ms_max ? st->late_ms_max : 2000;
	a->mode = st->mode;
	/* A copy that comes again costs more than writers that wait a moment, but the
	 * tap must not give the log up for its sake. */
	a->stuck_ms = ms.full_timeout_ms / 2 < STUCK_MS_MAX ? ms.full_timeout_ms / 2 : STUCK_MS_MAX;
	rc = a->conf.ops->mode(a->conf.tap, &ms);
	if (rc)
		active_set_error(a, "the tap refuses the mode: %s", strerror(-rc));
}

void active_update(struct active *a, const struct group_state *cgs)
{
	struct group_state *gs = (struct group_state *)cgs;
	struct group_store *st = group_find_store_uuid(gs, a->conf.uuid);

	if (!st)
		return;
	pthread_mutex_lock(&a->lock);
	for (uint32_t i = 0; i < st->nr_copies; i++) {
		const struct group_copy *cp = &st->copies[i];
		const struct group_member *m = group_find_member(gs, cp->member);
		struct peer *p;

		if (!strcmp(cp->member, a->self) || !m)
			continue;
		p = peer_take(a, cp->member);
		if (!p || active_addr(m, &p->addr, &p->addrlen))
			continue;
		p->wanted = !cp->suspended && !m->stopped;
		take_seed(a, p, cp);
		a->w.copy[p->slot].in_use = true;
		/* Only change_sync() lets acks go on without a copy: this state may be
		 * older than what it has agreed on. */
		if (cp->in_sync)
			a->w.copy[p->slot].in_sync = true;
		else if (!p->txn)
			a->w.copy[p->slot].joining = a->w.copy[p->slot].in_sync;
	}
	a->seed_rate = st->seed_rate;
	drop_missing(a, st);
	set_mode(a, st);
	active_kick(a);
	pthread_mutex_unlock(&a->lock);
}

/* ---- epoch ----------------------------------------------------------------- */

void active_turn_begin(struct active *a)
{
	pthread_mutex_lock(&a->lock);
	a->turning = true;
	pthread_mutex_unlock(&a->lock);
}

void active_turn_end(struct active *a, uint32_t epoch)
{
	pthread_mutex_lock(&a->lock);
	if (epoch != a->conf.epoch)
		for (int i = 0; i < WINDOW_COPIES_MAX; i++)
			a->peers[i].close_wanted = a->peers[i].state == PEER_STREAM;
	a->conf.epoch = epoch;
	a->turning = false;
	active_kick(a);
	pthread_mutex_unlock(&a->lock);
}

/* ---- life ------------------------------------------------------------------ */

static void active_free(struct active *a)
{
	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		regionset_free(&a->peers[i].fresh_set);
		regionset_free(&a->peers[i].set);
		free(a->peers[i].feed);
	}
	pthread_cond_destroy(&a->moved);
	pthread_cond_destroy(&a->cond);
	pthread_mutex_destroy(&a->lock);
	if (a->seed_cancel >= 0)
		close(a->seed_cancel);
	free(a->self);
	free(a->name);
	free(a);
}

/* Where the log begins for a copy that calls. */
static void find_oldest(struct active *a)
{
	struct seglog_info info;

	seglog_info(a->conf.spool, &info);
	a->oldest = a->w.freed;
	a->spool_end = a->w.freed;
	if (info.end_lsn > info.first_lsn && info.end_lsn >= a->w.freed &&
	    info.end_lsn <= active_commit(a)) {
		uint64_t next, first = info.first_lsn;

		while (!seglog_next_start(a->conf.spool, first + 1, &next) && next < info.end_lsn &&
		       next > first)
			first = next;
		a->oldest = first;
		a->spool_end = info.end_lsn;
	}
}

/* A part of the log begins with all cleared below its first LSN, which says nothing; what
 * is beyond that was let go by the copies' acks. */
static uint64_t cleared_by_acks(const struct copystate_data *d, uint64_t cleared)
{
	for (uint32_t i = d->nr_history; i-- > 0;)
		if (d->history[i].first_lsn <= cleared)
			return cleared > d->history[i].first_lsn ? cleared : 0;
	return cleared;
}

/* The module remembers what it was told; an ack may never go back. */
static int take_tap(struct active *a)
{
	struct dagtap_info info;
	int rc = a->conf.ops->info(a->conf.tap, &info);

	if (rc)
		return rc;
	a->view = a->conf.ops->view(a->conf.tap);
	window_init(&a->w, info.freed_lsn, info.commit_lsn);
	a->w.acked = a->acked_ack = info.ack_lsn;
	a->w.cleared = a->acked_clear = info.clear_lsn;
	a->acked_free = info.freed_lsn;
	a->seen_gen = info.state_gen;
	return 0;
}

int active_start(const struct active_conf *conf, const struct group_state *gs, struct active **ret)
{
	struct active *a = calloc(1, sizeof(*a));
	struct copystate_data d;
	int rc;

	if (!a)
		return -ENOMEM;
	a->conf = *conf;
	a->self = strdup(conf->self);
	a->name = strdup(conf->name);
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->cond, NULL);
	pthread_cond_init(&a->moved, NULL);
	a->seed_cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!a->self || !a->name || a->seed_cancel < 0) {
		active_free(a);
		return -ENOMEM;
	}
	rc = take_tap(a);
	if (rc) {
		active_free(a);
		return rc;
	}
	find_oldest(a);
	copystate_get(conf->state, &d);
	a->bits_gone = cleared_by_acks(&d, a->w.cleared);
	if (d.gap_lsn)
		window_gap(&a->w, d.gap_lsn - GAP_BEHIND, d.gap_lsn);
	active_update(a, gs);
	rc = -pthread_create(&a->ship_thread, NULL, active_ship_main, a);
	if (rc) {
		active_free(a);
		return rc;
	}
	if (pthread_create(&a->disk_thread, NULL, spool_main, a) ||
	    pthread_create(&a->agree_thread, NULL, agree_main, a) ||
	    pthread_create(&a->seed_thread, NULL, seeder_main, a)) {
		/* Out of threads: nothing of the store can work, the process ends. */
		log_err("store=%s cannot create threads: %m", a->name);
		abort();
	}
	*ret = a;
	return 0;
}

void active_stop(struct active *a)
{
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	active_kick(a);
	pthread_mutex_unlock(&a->lock);
	eventfd_write(a->seed_cancel, 1);
	pthread_join(a->seed_thread, NULL);
	pthread_join(a->disk_thread, NULL);
	pthread_join(a->agree_thread, NULL);
	pthread_join(a->ship_thread, NULL);
	pthread_mutex_lock(&a->lock);
	while (a->connecting)
		pthread_cond_wait(&a->cond, &a->lock);
	pthread_mutex_unlock(&a->lock);
	for (int i = 0; i < WINDOW_COPIES_MAX; i++)
		if (a->peers[i].fresh)
			stream_close(a->peers[i].fresh);
	active_free(a);
}

/* ---- status ------------------------------------------------------------------ */

void active_status(struct active *a, struct active_status *ret)
{
	const struct dagtap_ring_hdr *h = a->view->hdr;
	struct seglog_info info;

	memset(ret, 0, sizeof(*ret));
	seglog_info(a->conf.spool, &info);
	pthread_mutex_lock(&a->lock);
	ret->epoch = a->conf.epoch;
	ret->commit_lsn = active_commit(a);
	ret->commit_seq = h->commit_seq;
	ret->commit_time_ns = h->commit_time_ns;
	ret->freed_lsn = a->w.freed;
	ret->ack_lsn = a->w.acked;
	ret->ring_bytes = a->view->size;
	ret->spool_bytes = info.bytes;
	ret->tap_state = h->state;
	ret->mode = a->mode;
	ret->seeding = a->seed_runs;
	ret->seed_done = a->seed_done;
	ret->seed_total = a->seed_total;
	ret->seed_unused = a->seed_unused;
	ret->seeds = a->seeds;
	if (a->seed_runs) {
		ret->seed_rate = meter_rate(&a->seed_meter, a->seed_done, active_now_ms());
		ret->seed_rate_limit = seeder_rate(a);
	}
	snprintf(ret->error, sizeof(ret->error), "%s", a->error);
	ret->loop = a->stats;
	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		const struct peer *p = &a->peers[i];
		struct active_peer_status *ps = &ret->peer[ret->nr_peers];

		if (!p->member[0] || !a->w.copy[i].in_use)
			continue;
		ret->nr_peers++;
		snprintf(ps->member, sizeof(ps->member), "%s", p->member);
		ps->connected = p->connected;
		ps->segment_mode = p->segment_mode;
		ps->in_sync = a->w.copy[i].in_sync && !a->w.copy[i].joining;
		ps->given_up = a->w.copy[i].given_up;
		ps->state = p->ack.state;
		ps->ack = p->ack;
		ps->sent_lsn = p->sent;
		if (p->connected)
			memcpy(ps->network, p->way.network, sizeof(ps->network));
		snprintf(ps->security, sizeof(ps->security), "%s", p->security);
		ps->codec_refused = p->connected && p->codec_refused;
		if (p->connected && p->packer) {
			ps->codec = p->codec;
			ps->packed = packer_count(p->packer);
		}
		snprintf(ps->error, sizeof(ps->error), "%s", p->connected ? "" : p->error);
	}
	pthread_mutex_unlock(&a->lock);
}

void active_latency(struct active *a, struct active_latency *ret)
{
	struct latency_hist h[LATENCY_STAGES];

	memset(ret, 0, sizeof(*ret));
	latency_read(&a->latency, h);
	ret->ack = h[LATENCY_ACK];
	pthread_mutex_lock(&a->lock);	/* names and slots */
	for (int i = 0; i < WINDOW_COPIES_MAX; i++) {
		const struct peer *p = &a->peers[i];

		if (!p->member[0] || !a->w.copy[i].in_use)
			continue;
		latency_read(&p->latency, h);
		snprintf(ret->peer[ret->nr_peers].member, sizeof(p->member), "%s", p->member);
		ret->peer[ret->nr_peers].ship = h[LATENCY_SHIP];
		ret->peer[ret->nr_peers++].durable = h[LATENCY_DURABLE];
	}
	pthread_mutex_unlock(&a->lock);
}
