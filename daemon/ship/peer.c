// SPDX-License-Identifier: GPL-2.0
/*
 * One passive copy as the active sees it: connect, send, take acks.
 *
 * A connector thread (TLS blocks) brings a connection up to the welcome; from
 * there the ship thread sends the log, one growing send at a time: from the ring
 * while the bytes stand there (stream mode), else from the spool (segment mode).
 * A peer that breaks is connected again after RETRY_MS.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "daemon/log.h"
#include "daemon/store/active_internal.h"

#define RETRY_MS	500
#define SOON_MS		100
#define CONNECT_MS	3000
#define WELCOME_MS	15000	/* the copy may have to finish a batch first */

/* ---- connector thread --------------------------------------------------- */

struct connector {
	struct active *a;
	struct peer *p;
	struct stream_conf sc;
	struct way way;
	struct frame_hello hello;
	struct regionset set;	/* that came with the welcome */
	struct packer *packer;
	enum dag_codec codec;	/* offered; then: taken */
	char member[64];
	char error[160];
	bool soon;
};

static void fill_hello(struct active *a, struct frame_hello *h)
{
	struct copystate_data d;
	uint32_t skip;

	copystate_get(a->conf.state, &d);
	memset(h, 0, sizeof(*h));
	memcpy(h->group, a->conf.group, 16);
	h->kind = DAG_KIND_LOG;
	h->group_generation = a->conf.group_generation;
	memcpy(h->store, a->conf.uuid, 16);
	h->epoch = a->conf.epoch;
	h->oldest_lsn = a->oldest;
	h->end_lsn = active_commit(a);
	if (getrandom(&h->nonce, sizeof(h->nonce), 0) != sizeof(h->nonce))
		h->nonce = (uint32_t)active_now_ms();
	skip = d.nr_history > DAG_HISTORY_MAX ? d.nr_history - DAG_HISTORY_MAX : 0;
	for (uint32_t i = skip; i < d.nr_history; i++)
		h->history[h->nr_history++] =
			(struct frame_epoch){ d.history[i].epoch, d.history[i].first_lsn };
}

/* The regions in which the copy's device differs; no more than our device has. */
static int read_set(struct connector *c, struct stream *st)
{
	struct dag_region_set head;
	uint64_t bytes;
	int rc = stream_read_full(st, &head, sizeof(head), WELCOME_MS);

	rc = rc ? rc : regionset_decode(&head, c->a->conf.sectors, &c->set);
	if (rc)
		return rc;
	bytes = regionset_bytes(c->set.regions);
	c->set.bits = malloc(bytes);
	if (!c->set.bits)
		return -ENOMEM;
	rc = stream_read_full(st, c->set.bits, bytes, WELCOME_MS + (unsigned)(bytes >> 10));
	return rc ? rc : regionset_check(&c->set);
}

/* What was offered, or none: all memory that packing takes is there from now on. */
static int take_codec(struct connector *c, const struct frame_welcome *w)
{
	int rc = -EPROTO;

	if (w->codec == DAG_CODEC_NONE || w->codec == c->codec)
		rc = w->codec ? packer_create(w->codec, &c->packer) : 0;
	if (rc)
		snprintf(c->error, sizeof(c->error), "greeting: codec %s: %s",
			 compress_name(w->codec), strerror(-rc));
	else
		c->codec = w->codec;
	return rc;
}

static int greet(struct connector *c, struct stream *st, struct frame_welcome *ret)
{
	struct dag_hello hello;
	struct dag_welcome welcome;
	int rc;

	if (strcmp(stream_peer(st), c->member)) {
		snprintf(c->error, sizeof(c->error), "its certificate is for %.63s", stream_peer(st));
		return -EPERM;
	}
	/* Only now, so that little has come behind the end it names when it answers;
	 * ring and spool keep that. */
	pthread_mutex_lock(&c->a->lock);
	fill_hello(c->a, &c->hello);
	c->a->w.copy[c->p->slot].promised = c->hello.end_lsn;
	pthread_mutex_unlock(&c->a->lock);
	if (c->codec != DAG_CODEC_NONE)
		c->hello.codecs = DAG_HELLO_CODEC(c->codec);
	frame_hello_encode(&c->hello, &hello);
	rc = stream_write_full(st, &hello, sizeof(hello), CONNECT_MS);
	rc = rc ? rc : stream_read_full(st, &welcome, sizeof(welcome), WELCOME_MS);
	rc = rc ? rc : frame_welcome_decode(&welcome, ret);
	if (rc) {
		snprintf(c->error, sizeof(c->error), "greeting: %s", strerror(-rc));
		return rc;
	}
	if (ret->durable_lsn > ret->resume_lsn || ret->replayed_lsn > ret->durable_lsn) {
		snprintf(c->error, sizeof(c->error), "greeting: it has more than it asks for");
		return -EPROTO;
	}
	if (ret->nonce != c->hello.nonce) {
		snprintf(c->error, sizeof(c->error), "greeting: an answer to another call");
		return -EPROTO;
	}
	if (ret->refusal == DAG_REFUSE_EPOCH && ret->epoch > c->hello.epoch) {
		pthread_mutex_lock(&c->a->lock);
		if (ret->epoch > c->a->promised)
			c->a->promised = ret->epoch;
		pthread_cond_broadcast(&c->a->cond);
		pthread_mutex_unlock(&c->a->lock);
	}
	if (ret->refusal != DAG_OK) {
		c->soon = ret->refusal == DAG_REFUSE_NOT_READY;
		snprintf(c->error, sizeof(c->error), "%s", frame_refusal_text(ret->refusal));
		return -ECONNREFUSED;
	}
	rc = take_codec(c, ret);
	if (rc || ret->resume != DAG_RESUME_BRANCH)
		return rc;
	rc = read_set(c, st);
	if (rc)
		snprintf(c->error, sizeof(c->error), "greeting: its set of regions: %s",
			 strerror(-rc));
	return rc;
}

static void *connector_main(void *arg)
{
	struct connector *c = arg;
	struct active *a = c->a;
	struct peer *p = c->p;
	struct frame_welcome w;
	struct stream *st = NULL;
	int rc;

	rc = stream_connect(&c->sc, (struct sockaddr *)&c->way.to, c->way.tolen,
			    c->way.fromlen ? (struct sockaddr *)&c->way.from : NULL, c->way.fromlen,
			    &st);
	if (rc)
		snprintf(c->error, sizeof(c->error), "connect: %s", strerror(-rc));
	else
		rc = greet(c, st, &w);
	if (rc && st) {
		stream_close(st);
		st = NULL;
	}
	pthread_mutex_lock(&a->lock);
	if (rc) {
		if (strcmp(p->error, c->error))
			log_warn("store=%s peer=%s %s", a->name, c->member, c->error);
		snprintf(p->error, sizeof(p->error), "%s", c->error);
		p->state = PEER_IDLE;
		a->w.copy[p->slot].promised = WINDOW_NONE;
		/* The agreed state is on its way there, or the copy is about to start. */
		p->retry_ms = active_now_ms() + (c->soon ? SOON_MS : RETRY_MS);
	} else {
		p->codec_refused = p->way.codec != DAG_CODEC_NONE && c->codec == DAG_CODEC_NONE;
		p->fresh_packer = c->packer;
		p->fresh_codec = c->codec;
		c->packer = NULL;
		p->fresh = st;
		p->welcome = w;
		regionset_free(&p->fresh_set);
		p->fresh_set = c->set;
		c->set = (struct regionset){ 0 };
		p->fresh_epoch = c->hello.epoch;
		p->fresh_ready = true;
		snprintf(p->security, sizeof(p->security), "%s", stream_describe(st));
	}
	a->connecting--;
	active_kick(a);
	pthread_cond_broadcast(&a->cond);
	pthread_mutex_unlock(&a->lock);
	regionset_free(&c->set);
	packer_free(c->packer);
	free(c);
	return NULL;
}

/* True: a path is known to be good. Else *ret has the configured addresses. */
static bool find_way(const struct peer *p, struct way *ret)
{
	const struct active_conf *cf = &p->a->conf;

	if (cf->way && !cf->way(cf->way_ctx, p->member, ret))
		return ret->sure;
	memset(ret, 0, sizeof(*ret));
	ret->security = cf->security;
	ret->codec = cf->codec;
	ret->to = p->addr;
	ret->tolen = p->addrlen;
	return false;
}

/*
 * Another network is the one to take, be it that this one failed or that a better
 * one is back, or another codec: connect anew. What the copy has not got is sent again.
 */
static void change_way(struct peer *p)
{
	struct way way;

	if (!find_way(p, &way))
		return;
	if (way_equal(&way, &p->way) && way.codec == p->way.codec) {
		p->way.seed_only = way.seed_only;
		return;
	}
	if (way_equal(&way, &p->way)) {
		peer_close(p, "another compression is wanted");
		p->retry_ms = 0;
		return;
	}
	log_notice("store=%s peer=%s msg=reroute from=%s to=%s", p->a->name, p->member,
		   p->way.network[0] ? p->way.network : "none", way.network[0] ? way.network : "none");
	peer_close(p, "goes by another network");
	p->retry_ms = 0;
}

static void start_connector(struct peer *p)
{
	struct active *a = p->a;
	struct connector *c = calloc(1, sizeof(*c));
	pthread_attr_t attr;
	pthread_t t;

	p->retry_ms = active_now_ms() + RETRY_MS;
	if (!c)
		return;
	find_way(p, &p->way);
	c->a = a;
	c->p = p;
	c->sc = (struct stream_conf){ .creds = a->conf.creds, .security = p->way.security,
				       .timeout_ms = CONNECT_MS, .ktls = a->conf.ktls };
	c->way = p->way;
	c->codec = p->way.codec;
	snprintf(c->member, sizeof(c->member), "%s", p->member);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &attr, connector_main, c)) {
		free(c);
	} else {
		p->state = PEER_CONNECTING;
		a->connecting++;
	}
	pthread_attr_destroy(&attr);
}

/* ---- acks ---------------------------------------------------------------- */

static void arm_recv(struct peer *p)
{
	int rc = stream_recv(p->stream, p->a->loop, &p->recv_op,
			     (uint8_t *)&p->frame + p->frame_have,
			     sizeof(p->frame) - p->frame_have);

	if (rc)
		peer_close(p, strerror(-rc));
}

static void take_ack(struct peer *p)
{
	struct active *a = p->a;
	struct window_copy *c = &a->w.copy[p->slot];
	struct frame_ack ack;
	uint64_t before = c->received + c->durable;
	int rc = frame_ack_decode(&p->frame, &ack);

	a->w.commit = active_commit(a);
	if (!rc)
		rc = window_report(&a->w, p->slot, ack.received_lsn, ack.durable_lsn,
				   ack.replayed_lsn);
	if (rc) {
		log_err("store=%s peer=%s bad ack: %s", a->name, p->member, strerror(-rc));
		peer_close(p, "bad ack");
		return;
	}
	if (c->received + c->durable != before) {
		c->late_since_ms = 0;
		p->moved_ms = active_now_ms();
	}
	if (latency_due(&p->latency, LATENCY_DURABLE, ack.durable_lsn))
		latency_pass(&p->latency, LATENCY_DURABLE, ack.durable_lsn, active_wall_ns());
	if (ack.state == DAG_COPY_HEALTHY)
		window_healthy(&a->w, p->slot);
	p->ack = ack;
	pthread_cond_broadcast(&a->moved);
}

static void recv_done(struct loop_op *op, int res)
{
	struct peer *p = (struct peer *)((char *)op - offsetof(struct peer, recv_op));
	struct active *a = p->a;

	pthread_mutex_lock(&a->lock);
	if (res <= 0) {
		peer_close(p, res ? strerror(-res) : "closed by the copy");
	} else if (p->state == PEER_STREAM) {
		p->frame_have += res;
		if (p->frame_have == sizeof(p->frame)) {
			p->frame_have = 0;
			take_ack(p);
		}
		if (p->state == PEER_STREAM)
			arm_recv(p);
	}
	pthread_mutex_unlock(&a->lock);
}

/* ---- sending ------------------------------------------------------------- */

uint64_t peer_held(const struct peer *p)
{
	uint64_t low = WINDOW_NONE;

	if (!p->member[0])	/* it was let go when it held nothing */
		return WINDOW_NONE;
	for (int i = 0; i < ZSENDS; i++)
		if (p->zsend[i].in_use && p->zsend[i].lsn < low)
			low = p->zsend[i].lsn;
	return low;
}

void peer_after_send(struct peer *p, int res)
{
	p->sending = false;
	if (res <= 0)
		peer_close(p, res ? strerror(-res) : "connection ended");
}

static void zsend_done(struct loop_op *op, int res)
{
	struct zsend *z = (struct zsend *)((char *)op - offsetof(struct zsend, op));
	struct peer *p = z->peer;

	pthread_mutex_lock(&p->a->lock);
	if (res > 0)
		p->sent += res;
	if (!op->held)
		z->in_use = false;
	peer_after_send(p, res);
	peer_pump(p);
	pthread_mutex_unlock(&p->a->lock);
}

static void zsend_released(struct loop_op *op)
{
	struct zsend *z = (struct zsend *)((char *)op - offsetof(struct zsend, op));

	pthread_mutex_lock(&z->peer->a->lock);
	z->in_use = false;
	if (z->peer->stream)	/* else it was reset, and this is the end of it */
		stream_zc_released(z->peer->stream, op);
	peer_pump(z->peer);
	pthread_mutex_unlock(&z->peer->a->lock);
}

static void feed_done(struct loop_op *op, int res)
{
	struct peer *p = (struct peer *)((char *)op - offsetof(struct peer, feed_op));

	pthread_mutex_lock(&p->a->lock);
	if (res > 0) {
		p->sent += res;
		p->feed_off += res;
		if ((int64_t)p->feed_off == p->feed_len)
			p->feed_off = p->feed_len = 0;
	}
	peer_after_send(p, res);
	peer_pump(p);
	pthread_mutex_unlock(&p->a->lock);
}

void peer_probe(struct peer *p)
{
	active_probe(p->a, &p->latency, p->begun, 1u << LATENCY_SHIP | 1u << LATENCY_DURABLE);
}

/* A send up to `end` begins: that it ended may be told after the copy's ack for it. */
void peer_time_ship(struct peer *p, uint64_t end)
{
	p->begun = end;
	if (latency_due(&p->latency, LATENCY_SHIP, end))
		latency_pass(&p->latency, LATENCY_SHIP, end, active_wall_ns());
}

/*
 * What a send holds is kept from the last record boundary that is known to lie
 * below it: only there may the ring be freed and the spool begin.
 */
static uint64_t hold_from(const struct peer *p)
{
	uint64_t received = p->a->w.copy[p->slot].received;

	return received > p->a->w.freed ? received : p->a->w.freed;
}

static void send_ring(struct peer *p, uint64_t commit)
{
	const struct tap_view *v = p->a->view;
	uint64_t off = p->sent & (v->size - 1), len = commit - p->sent;
	struct zsend *z = NULL;
	int rc;

	if (len > v->size - off)
		len = v->size - off;
	if (p->packer) {
		peer_pack_send(p, v->base + off, len, false);
		return;
	}
	for (int i = 0; i < ZSENDS && !z; i++)
		if (!p->zsend[i].in_use)
			z = &p->zsend[i];
	if (!z)
		return;		/* every slot waits for a notification */
	if (len > SEND_MAX)
		len = SEND_MAX;
	z->in_use = true;
	z->lsn = hold_from(p);
	p->sending = true;
	peer_probe(p);
	peer_time_ship(p, p->sent + len);
	rc = stream_send(p->stream, p->a->loop, &z->op, v->base + off, len, true);
	if (rc) {
		z->in_use = false;
		peer_after_send(p, rc);
	}
}

static void send_feed(struct peer *p)
{
	int rc;

	if (p->feed_len < 0) {
		log_warn("store=%s peer=%s lsn=%llu cannot be fed from the spool: %s", p->a->name,
			 p->member, (unsigned long long)p->sent, strerror(-(int)p->feed_len));
		p->a->w.copy[p->slot].given_up = true;
		p->feed_len = 0;
		peer_close(p, "the log it needs is gone");
		return;
	}
	if (!p->feed_len) {
		if (!p->feed_ask) {
			p->feed_ask = true;
			pthread_cond_broadcast(&p->a->cond);
		}
		return;
	}
	if (p->feed_ask)
		return;
	if (p->packer) {
		peer_pack_send(p, p->feed + p->feed_off, p->feed_len - p->feed_off, true);
		return;
	}
	p->sending = true;
	peer_time_ship(p, p->sent + (p->feed_len - p->feed_off));
	rc = stream_send(p->stream, p->a->loop, &p->feed_op, p->feed + p->feed_off,
			 p->feed_len - p->feed_off, false);
	if (rc)
		peer_after_send(p, rc);
}

void peer_pump(struct peer *p)
{
	struct active *a = p->a;
	uint64_t commit = active_commit(a);
	bool segment;

	if (p->state != PEER_STREAM || p->sending || p->close_wanted || a->turning)
		return;
	segment = p->feed_len || p->feed_ask || p->sent < a->w.freed;
	if (segment != p->segment_mode) {
		p->segment_mode = segment;
		log_info("store=%s peer=%s mode=%s", a->name, p->member,
			 segment ? "segment" : "stream");
	}
	if (segment)
		send_feed(p);
	else if (p->sent < commit)
		send_ring(p, commit);
}

/* ---- life of a connection ------------------------------------------------ */

void peer_close(struct peer *p, const char *why)
{
	struct active *a = p->a;

	if (p->state != PEER_STREAM)
		return;
	if (!a->stop)
		log_warn("store=%s peer=%s connection ends: %s", a->name, p->member, why);
	snprintf(p->error, sizeof(p->error), "%s", why);
	p->state = PEER_CLOSING;
	p->connected = false;
	p->retry_ms = active_now_ms() + RETRY_MS;
	stream_shutdown(p->stream, a->loop);
}

bool peer_idle(const struct peer *p)
{
	for (int i = 0; i < ZSENDS; i++)
		if (p->zsend[i].op.busy)
			return false;
	/* At the end the disk thread may be gone before it has fed: nobody reads then. */
	return !p->feed_op.busy && !p->pack_op.busy && !p->recv_op.busy && (!p->feed_ask || p->a->stop);
}

/* Reset the socket: only then do notifications of unsent bytes come. */
static void finish_close(struct peer *p)
{
	if (!peer_idle(p))
		return;
	if (p->stream) {
		stream_abort(p->stream);
		p->stream = NULL;
	}
	if (peer_held(p) != WINDOW_NONE)
		return;
	p->sending = false;
	p->feed_len = p->feed_off = 0;
	packer_free(p->packer);
	p->packer = NULL;
	p->state = PEER_IDLE;
}

/* Where the copy wants to begin must be something that we still have. */
static bool can_feed(const struct active *a, const struct frame_welcome *w)
{
	return w->resume_lsn >= a->oldest && w->resume_lsn <= active_commit(a);
}

/* Only while nothing is in flight: the stream puts its own done() in their place. */
static void init_ops(struct peer *p)
{
	for (int i = 0; i < ZSENDS; i++) {
		p->zsend[i].peer = p;
		p->zsend[i].op.done = zsend_done;
		p->zsend[i].op.released = zsend_released;
	}
	p->feed_op.done = feed_done;
	p->recv_op.done = recv_done;
	peer_pack_init(p);
}

static void take_over(struct peer *p)
{
	struct active *a = p->a;
	struct frame_welcome *w = &p->welcome;
	struct window_copy *c = &a->w.copy[p->slot];
	bool log = w->resume == DAG_RESUME_LOG, full = w->resume == DAG_RESUME_FULL;
	bool late = !can_feed(a, w);

	p->fresh_ready = false;
	c->promised = WINDOW_NONE;
	p->stream = p->fresh;
	p->fresh = NULL;
	p->packer = p->fresh_packer;
	p->codec = p->fresh_codec;
	p->fresh_packer = NULL;
	regionset_free(&p->set);
	p->set = p->fresh_set;
	p->fresh_set = (struct regionset){ 0 };
	if (!p->wanted || a->stop || p->fresh_epoch != a->conf.epoch || late) {
		if (late)
			log_info("store=%s peer=%s lsn=%llu is gone since it was called, calls again",
				 a->name, p->member, (unsigned long long)w->resume_lsn);
		stream_close(p->stream);
		p->stream = NULL;
		packer_free(p->packer);
		p->packer = NULL;
		p->state = PEER_IDLE;
		return;
	}
	init_ops(p);
	latency_forget(&p->latency);
	p->moved_ms = active_now_ms();
	p->state = PEER_STREAM;
	p->connected = true;
	p->error[0] = 0;
	p->sent = p->begun = w->resume_lsn;
	p->frame_have = 0;
	p->feed_len = p->feed_off = 0;
	if (c->known && w->durable_lsn < c->durable)
		log_warn("store=%s peer=%s lsn=%llu..%llu is gone there, it had acknowledged it", a->name,
			 p->member, (unsigned long long)w->durable_lsn, (unsigned long long)c->durable);
	/* The log between what it has and where it resumes is gone for it: its
	 * regions come by the seed, so nothing older is kept for its sake. */
	window_begin(&a->w, p->slot, w->resume_lsn, w->durable_lsn, w->replayed_lsn,
		     log ? WINDOW_NONE : full ? 0 : w->have_lsn);
	log_notice("store=%s peer=%s connected %s compression=%s%s from lsn=%llu resume=%s", a->name,
		   p->member, p->security, compress_name(p->codec),
		   p->codec_refused ? " (the copy there takes none)" : "",
		   (unsigned long long)p->sent,
		   log ? "log" : full ? "full" :
		   w->resume == DAG_RESUME_BRANCH ? "branch" : "regions");
	p->seeded = c->missing && seeder_serves(a, w, p->set.id, p->seed_whole);
	p->seed_begun |= p->seeded;
	if (c->missing && !p->seeded)
		seeder_want(a, c->missing_since, seeder_first(a, w));
	arm_recv(p);
	peer_pump(p);
}

void peer_tick(struct peer *p, uint64_t now_ms)
{
	if (p->fresh_ready && (!p->a->turning || p->a->stop))
		take_over(p);
	if (p->state == PEER_STREAM && (!p->wanted || p->a->stop))
		peer_close(p, "no longer a copy that is shipped to");
	if (p->state == PEER_STREAM)
		change_way(p);
	if (p->state == PEER_CLOSING)
		finish_close(p);
	if (p->state == PEER_IDLE && p->wanted && !p->a->stop && now_ms >= p->retry_ms)
		start_connector(p);
	if (p->state == PEER_STREAM)
		peer_pump(p);
}
