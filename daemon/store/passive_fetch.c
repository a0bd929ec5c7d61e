// SPDX-License-Identifier: GPL-2.0
/*
 * The last logs: a copy that shall take over, but has less than another, gets the
 * rest from there. Both have promised the same epoch, so neither log moves; both
 * histories must agree up to the puller's end. What arrives is inspected as if an
 * active had sent it, and records of the promised epoch itself are refused: they
 * would come from a winner.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/ship/resume.h"
#include "daemon/store/passive_internal.h"

#define FEED_BYTES	(1u << 20)
#define FEED_MS		30000
#define FRAME_MS	3000

static unsigned left_ms(uint64_t until)
{
	uint64_t now = now_ms();

	return now < until ? until - now : 1;	/* 0 is for ever */
}

/* What we have, as a hello: the same frame from both ends. */
static void fill_hello(struct passive *p, struct frame_hello *h)
{
	struct copystate_data d;
	struct seglog_info info;
	uint32_t skip;

	copystate_get(p->conf.state, &d);
	seglog_info(p->conf.log, &info);
	memset(h, 0, sizeof(*h));
	h->kind = DAG_KIND_FETCH;
	memcpy(h->store, p->conf.uuid, 16);
	h->epoch = d.promised_epoch;
	pthread_mutex_lock(&p->lock);
	h->end_lsn = p->durable;
	pthread_mutex_unlock(&p->lock);
	h->oldest_lsn = info.first_lsn < h->end_lsn ? info.first_lsn : h->end_lsn;
	skip = d.nr_history > DAG_HISTORY_MAX ? d.nr_history - DAG_HISTORY_MAX : 0;
	for (uint32_t i = skip; i < d.nr_history; i++)
		h->history[h->nr_history++] =
			(struct frame_epoch){ d.history[i].epoch, d.history[i].first_lsn };
}

/* Is all that b has a beginning of what a has? */
static bool goes_on(const struct frame_hello *a, const struct frame_hello *b)
{
	struct resume_copy copy = {
		.end_lsn = b->end_lsn,
		.nr_history = b->nr_history,
		.history = b->history,
	};

	return b->end_lsn && a->end_lsn >= b->end_lsn && resume_common(a, &copy) == b->end_lsn;
}

/* ---- the one that has more ----------------------------------------------------- */

static void send_log(struct passive *p, struct stream *st, uint64_t from, uint64_t end)
{
	uint64_t until = now_ms() + FEED_MS;
	uint8_t *buf = malloc(FEED_BYTES);
	int64_t got = 0;
	int rc = 0;

	while (buf && !rc && from < end) {
		got = seglog_read(p->conf.log, from, buf, end - from < FEED_BYTES ? end - from
									       : FEED_BYTES);
		if (got <= 0)
			break;
		rc = stream_write_full(st, buf, got, left_ms(until));
		from += got;
	}
	free(buf);
	if (from < end)
		log_info("store=%s peer=%s took the last logs up to lsn=%llu of %llu", p->name,
			 stream_peer(st), (unsigned long long)from, (unsigned long long)end);
}

void passive_feed(struct passive *p, struct stream *st, const struct frame_hello *hello)
{
	struct frame_welcome w = { .nonce = hello->nonce, .resume = DAG_RESUME_LOG };
	struct frame_hello mine;
	struct dag_welcome welcome;
	struct dag_hello raw;
	int rc;

	fill_hello(p, &mine);
	memcpy(mine.group, hello->group, 16);
	mine.group_generation = hello->group_generation;
	if (hello->epoch != mine.epoch)
		w.refusal = hello->epoch < mine.epoch ? DAG_REFUSE_EPOCH : DAG_REFUSE_NOT_READY;
	else if (p->former || p->branch_id || !goes_on(&mine, hello) || hello->end_lsn < mine.oldest_lsn)
		w.refusal = DAG_REFUSE_HISTORY;
	w.epoch = mine.epoch;
	w.resume_lsn = hello->end_lsn;
	w.received_lsn = w.durable_lsn = mine.end_lsn;
	frame_welcome_encode(&w, &welcome);
	rc = stream_write_full(st, &welcome, sizeof(welcome), FRAME_MS);
	if (w.refusal != DAG_OK)
		log_warn("store=%s peer=%s gets no last logs: %s", p->name, stream_peer(st),
			 frame_refusal_text(w.refusal));
	if (!rc && w.refusal == DAG_OK) {
		frame_hello_encode(&mine, &raw);
		rc = stream_write_full(st, &raw, sizeof(raw), FRAME_MS);
		if (!rc)
			send_log(p, st, hello->end_lsn, mine.end_lsn);
	}
	stream_close(st);
}

/* ---- the one that has less ------------------------------------------------------ */

/* Nothing has been changed here when this fails. */
static int greet(struct passive *p, const struct passive_source *from, struct stream *st,
		 struct frame_hello *mine, struct frame_hello *ret_his, uint64_t until)
{
	struct frame_welcome w;
	struct dag_welcome welcome;
	struct dag_hello raw;
	int rc;

	if (strcmp(stream_peer(st), from->member))
		return -EPERM;
	memcpy(mine->group, from->group, 16);
	mine->group_generation = from->group_generation;
	if (getrandom(&mine->nonce, sizeof(mine->nonce), 0) != sizeof(mine->nonce))
		mine->nonce = (uint32_t)now_ms();
	frame_hello_encode(mine, &raw);
	rc = stream_write_full(st, &raw, sizeof(raw), left_ms(until));
	rc = rc ? rc : stream_read_full(st, &welcome, sizeof(welcome), left_ms(until));
	rc = rc ? rc : frame_welcome_decode(&welcome, &w);
	if (rc)
		return rc;
	if (w.nonce != mine->nonce)
		return -EPROTO;
	if (w.refusal != DAG_OK) {
		log_warn("store=%s peer=%s refuses the last logs: %s", p->name, from->member,
			 frame_refusal_text(w.refusal));
		return w.refusal == DAG_REFUSE_HISTORY ? -EXDEV : -ECONNREFUSED;
	}
	rc = stream_read_full(st, &raw, sizeof(raw), left_ms(until));
	rc = rc ? rc : frame_hello_decode(&raw, ret_his);
	if (rc)
		return rc;
	if (ret_his->kind != DAG_KIND_FETCH || memcmp(ret_his->store, mine->store, 16) ||
	    ret_his->epoch != mine->epoch || w.resume_lsn != mine->end_lsn)
		return -EPROTO;
	return goes_on(ret_his, mine) ? 0 : -EXDEV;
}

static void edit_history(struct copystate_data *d, void *ctx)
{
	const struct frame_hello *his = ctx;

	d->nr_history = 0;
	for (uint32_t i = 0; i < his->nr_history; i++) {
		if (his->history[i].first_lsn >= his->end_lsn)
			continue;
		d->history[d->nr_history].epoch = his->history[i].epoch;
		d->history[d->nr_history++].first_lsn = his->history[i].first_lsn;
	}
}

/* Until the log thread has moved, or the time is over. */
static int wait_moved(struct passive *p, uint64_t until)
{
	struct timespec ts = clock_after_ms(20);
	int rc = 0;

	if (now_ms() >= until)
		return -ETIMEDOUT;
	pthread_mutex_lock(&p->lock);
	if (passive_log_failed(p))
		rc = p->error;
	else
		pthread_cond_clockwait(&p->cond, &p->lock, CLOCK_MONOTONIC, &ts);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

static int receive(struct passive *p, struct stream *st, uint64_t lsn, uint64_t end, uint64_t until)
{
	int rc = 0;

	while (!rc && lsn < end) {
		size_t room = receiver_room(p, lsn);

		if (!room) {
			rc = wait_moved(p, until);
			continue;
		}
		if (room > end - lsn)
			room = end - lsn;
		rc = stream_read_full(st, (uint8_t *)p->ring + (lsn & (p->ring_size - 1)), room,
				      left_ms(until));
		if (rc)
			break;
		lsn += room;
		rc = inspect_feed(&p->in, lsn, receiver_state, p);
		receiver_publish(p);
		if (rc)
			log_err("store=%s lsn=%llu fetched record refused: %s", p->name,
				(unsigned long long)p->in.next,
				rc == -EBADMSG ? p->in.why : strerror(-rc));
	}
	return rc;
}

/* conn_lock held. */
static int may_fetch(struct passive *p)
{
	int rc = 0;

	pthread_mutex_lock(&p->lock);
	if (p->suspended || p->given_up || p->former || p->direct || p->need_seed || p->hold != PASSIVE_NONE)
		rc = -EUCLEAN;
	else if (passive_log_failed(p) || !p->replay)
		rc = p->error ? p->error : -EAGAIN;
	else if (p->durable < p->received)
		rc = -EAGAIN;	/* sealing it has not succeeded */
	pthread_mutex_unlock(&p->lock);
	return rc;
}

static int fetch(struct passive *p, const struct passive_source *from, uint64_t up_to)
{
	uint64_t until = now_ms() + from->stream->timeout_ms;
	struct frame_hello mine, his;
	struct stream *st;
	int rc;

	fill_hello(p, &mine);
	if (mine.end_lsn >= up_to)
		return 0;
	rc = stream_connect(from->stream, from->addr, from->addrlen, NULL, 0, &st);
	if (rc)
		return rc;
	rc = greet(p, from, st, &mine, &his, until);
	if (!rc && his.end_lsn < up_to)
		rc = -ENODATA;
	rc = rc ? rc : copystate_update(p->conf.state, edit_history, &his);
	if (!rc) {
		pthread_mutex_lock(&p->lock);
		passive_start_inspect(p, mine.epoch - 1, mine.end_lsn);
		pthread_mutex_unlock(&p->lock);
		rc = receive(p, st, mine.end_lsn, up_to, until);
	}
	stream_close(st);
	return rc;
}

int passive_fetch(struct passive *p, const struct passive_source *from, uint64_t up_to)
{
	uint64_t until = now_ms() + from->stream->timeout_ms, durable = 0, received;
	int rc;

	pthread_mutex_lock(&p->conn_lock);
	pthread_mutex_lock(&p->lock);
	rc = p->connected ? -EBUSY : 0;	/* the winner's, it has called already */
	pthread_mutex_unlock(&p->lock);
	if (!rc) {
		passive_stop_receiver(p);
		rc = may_fetch(p);
	}
	rc = rc ? rc : fetch(p, from, up_to);
	do {
		pthread_mutex_lock(&p->lock);
		durable = p->durable;
		received = p->received;
		pthread_mutex_unlock(&p->lock);
	} while (!rc && durable < received && !(rc = wait_moved(p, until)));
	if (!rc && durable < up_to)
		rc = -ENODATA;	/* no record ends there */
	pthread_mutex_unlock(&p->conn_lock);
	if (rc)
		log_warn("store=%s last logs up to lsn=%llu from %s: %s", p->name,
			 (unsigned long long)up_to, from->member, strerror(-rc));
	else
		log_notice("store=%s last logs fetched from %s, end lsn=%llu", p->name, from->member,
			   (unsigned long long)durable);
	return rc;
}
