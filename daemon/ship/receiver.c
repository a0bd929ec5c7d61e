// SPDX-License-Identifier: GPL-2.0
/*
 * The receiver of a passive copy: one connection, one thread, one loop.
 *
 * Bytes go from the socket straight to their place in the receive ring (LSN
 * modulo size), are inspected there, and the log thread is told. Acks go back on
 * the same connection: one when something moved and none is on its way, and one
 * a second. What is only received is told at once where commits wait for that,
 * else with the next durable batch: an ack for each receive would cost both ends
 * as many system calls as the data. A full ring stops the receiving: TCP then
 * stops the active, which spools.
 *
 * Where a codec was agreed the bytes come in packs: they go from the socket into the
 * unpacker, and what it makes of them to the same places. A pack that is none ends the
 * connection as a bad record does; what was inspected before it stays.
 */
#include <errno.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/store/passive_internal.h"

#define RECV_MAX	(1u << 20)
#define ACK_PERIOD_MS	1000

struct receiver {
	struct passive *p;
	struct loop *loop;
	struct loop_op recv, send, timer;
	uint64_t recv_lsn;		/* next byte from the socket */
	struct dag_ack frame;
	size_t frame_sent;
	uint64_t acked_received, acked_durable, acked_replayed;
	bool ack_due, ended;
};

static struct receiver *of(struct loop_op *op, size_t offset)
{
	return (struct receiver *)((char *)op - offset);
}

void receiver_fill_ack(struct passive *p, struct frame_ack *ret)
{
	struct passive_status st;

	passive_status(p, &st);
	*ret = (struct frame_ack){
		.state = st.state,
		.epoch = st.epoch,
		.seq = st.seq,
		.replayed_seq = st.replayed_seq,
		.error = st.error ? -st.error : 0,
		.received_lsn = st.received_lsn,
		.durable_lsn = st.durable_lsn,
		.replayed_lsn = st.replayed_lsn < st.durable_lsn ? st.replayed_lsn : st.durable_lsn,
		.inspected_time_ns = st.inspected_time_ns,
		.replayed_time_ns = st.replayed_time_ns,
		.log_bytes = st.log_bytes,
		.space_left = st.space_left,
		.seed_done = st.seed_done,
		.seed_total = st.seed_total,
	};
}

static void end(struct receiver *r, const char *why, int error)
{
	if (r->ended)
		return;
	r->ended = true;
	if (error)
		log_warn("store=%s peer=%s connection ends: %s: %s", r->p->name, r->p->peer, why,
			 strerror(-error));
	else
		log_info("store=%s peer=%s connection ends: %s", r->p->name, r->p->peer, why);
}

/* ---- receiving -------------------------------------------------------- */

int receiver_state(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	struct passive *p = ctx;
	int rc;

	pthread_mutex_lock(&p->lock);
	rc = seeding_record(p, rec, payload);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

size_t receiver_room(struct passive *p, uint64_t lsn)
{
	uint64_t limit, len, off = lsn & (p->ring_size - 1);

	pthread_mutex_lock(&p->lock);
	limit = p->durable + p->ring_size;
	pthread_mutex_unlock(&p->lock);
	len = limit - lsn;
	if (len > p->ring_size - off)
		len = p->ring_size - off;
	if (len > RECV_MAX)
		len = RECV_MAX;
	if (len && lsn + len > p->ring_size) {
		pthread_rwlock_rdlock(&p->replay_lock);
		if (p->replay)
			replay_unpin(p->replay, lsn + len - p->ring_size);
		pthread_rwlock_unlock(&p->replay_lock);
	}
	return len;
}

void receiver_publish(struct passive *p)
{
	pthread_mutex_lock(&p->lock);
	p->received = p->in.next;
	p->seq = p->in.seq;
	p->inspected_time_ns = p->in.time_ns;
	if (p->need_seed && p->seed.total) {
		p->seed.done = p->in.resync_bytes - p->seed.resync_base;
		p->seed.cursor = p->in.resync_sector;
	}
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
}

static bool inspect_more(struct receiver *r)
{
	struct passive *p = r->p;
	uint64_t before = p->in.next;
	int rc = inspect_feed(&p->in, r->recv_lsn, receiver_state, p);

	if (p->in.next != before)
		receiver_publish(p);
	if (!rc)
		return true;
	log_err("store=%s peer=%s lsn=%llu record refused: %s", p->name, p->peer,
		(unsigned long long)p->in.next, rc == -EBADMSG ? p->in.why : strerror(-rc));
	end(r, "refused record", rc);
	return false;
}

/* What the unpacker has goes into the ring, as far as there is room. 0: all of it did,
 * more is to be received. */
static int unpack(struct receiver *r)
{
	struct passive *p = r->p;
	const void *log;
	size_t len, room;
	int rc;

	while ((rc = unpacker_next(p->unpacker, &log, &len)) > 0) {
		room = receiver_room(p, r->recv_lsn);
		if (!room)
			break;		/* the log thread wakes us */
		if (len > room)
			len = room;
		memcpy((uint8_t *)p->ring + (r->recv_lsn & (p->ring_size - 1)), log, len);
		unpacker_take(p->unpacker, len);
		r->recv_lsn += len;
		if (!inspect_more(r))
			return -EBADMSG;
	}
	pthread_mutex_lock(&p->lock);
	p->packed = unpacker_count(p->unpacker);
	pthread_mutex_unlock(&p->lock);
	if (rc < 0) {
		log_err("store=%s peer=%s lsn=%llu pack refused: %s", p->name, p->peer,
			(unsigned long long)r->recv_lsn, unpacker_why(p->unpacker));
		end(r, "refused pack", rc);
	}
	return rc;
}

static void arm_packed(struct receiver *r)
{
	size_t room;
	void *to;
	int rc;

	if (unpack(r))
		return;
	to = unpacker_room(r->p->unpacker, &room);
	rc = stream_recv(r->p->stream, r->loop, &r->recv, to, room);
	if (rc)
		end(r, "receive", rc);
}

static void arm_recv(struct receiver *r)
{
	struct passive *p = r->p;
	size_t room;
	int rc;

	if (r->recv.busy || r->ended)
		return;
	if (p->unpacker) {
		arm_packed(r);
		return;
	}
	room = receiver_room(p, r->recv_lsn);
	if (!room)
		return;		/* the log thread wakes us */
	rc = stream_recv(p->stream, r->loop, &r->recv,
			 (uint8_t *)p->ring + (r->recv_lsn & (p->ring_size - 1)), room);
	if (rc)
		end(r, "receive", rc);
}

static void recv_done(struct loop_op *op, int res)
{
	struct receiver *r = of(op, offsetof(struct receiver, recv));

	if (res <= 0) {
		end(r, res ? "receive" : "closed by the active", res);
		return;
	}
	if (r->p->unpacker) {
		unpacker_put(r->p->unpacker, res);
	} else {
		r->recv_lsn += res;
		if (!inspect_more(r))
			return;
	}
	arm_recv(r);
}

/* ---- acks ------------------------------------------------------------- */

static void send_rest(struct receiver *r)
{
	int rc = stream_send(r->p->stream, r->loop, &r->send,
			     (uint8_t *)&r->frame + r->frame_sent,
			     sizeof(r->frame) - r->frame_sent, false);

	if (rc)
		end(r, "send", rc);
}

static void maybe_ack(struct receiver *r)
{
	struct passive *p = r->p;
	struct frame_ack ack;
	bool moved;

	if (r->send.busy || r->ended)
		return;
	pthread_mutex_lock(&p->lock);
	moved = p->durable != r->acked_durable || p->replayed != r->acked_replayed ||
		(p->ack_received && p->received != r->acked_received);
	pthread_mutex_unlock(&p->lock);
	if (!moved && !r->ack_due)
		return;
	receiver_fill_ack(p, &ack);
	frame_ack_encode(&ack, &r->frame);
	r->acked_received = ack.received_lsn;
	r->acked_durable = ack.durable_lsn;
	r->acked_replayed = ack.replayed_lsn;
	r->ack_due = false;
	r->frame_sent = 0;
	send_rest(r);
}

static void send_done(struct loop_op *op, int res)
{
	struct receiver *r = of(op, offsetof(struct receiver, send));

	if (res <= 0) {
		end(r, "send", res ? res : -EPIPE);
		return;
	}
	r->frame_sent += res;
	if (r->frame_sent < sizeof(r->frame))
		send_rest(r);
	else
		maybe_ack(r);
}

static void timer_done(struct loop_op *op, int res)
{
	struct receiver *r = of(op, offsetof(struct receiver, timer));

	if (r->ended)
		return;
	r->ack_due = true;
	loop_timer(r->loop, &r->timer, ACK_PERIOD_MS);
}

/* ---- thread ----------------------------------------------------------- */

static bool must_stop(struct passive *p)
{
	bool stop;

	pthread_mutex_lock(&p->lock);
	stop = p->conn_stop || p->stop || p->suspended || p->given_up;
	pthread_mutex_unlock(&p->lock);
	return stop;
}

static void set_loop(struct passive *p, struct loop *loop, bool connected)
{
	pthread_mutex_lock(&p->lock);
	p->loop = loop;
	p->connected = connected;
	pthread_mutex_unlock(&p->lock);
}

static void run(struct receiver *r)
{
	int rc;

	r->ack_due = true;
	loop_timer(r->loop, &r->timer, ACK_PERIOD_MS);
	while (!r->ended) {
		arm_recv(r);
		maybe_ack(r);
		rc = loop_run(r->loop, -1);
		if (rc < 0 && rc != -EINTR)
			end(r, "loop", rc);
		if (must_stop(r->p))
			end(r, "stopped here", 0);
	}
	stream_shutdown(r->p->stream, r->loop);
	loop_cancel(r->loop, &r->timer);
	while (r->recv.busy || r->send.busy || r->timer.busy)
		if (loop_run(r->loop, 1000) < 0)
			break;
}

void *receiver_main(void *arg)
{
	struct passive *p = arg;
	struct receiver r = {
		.p = p,
		.recv_lsn = p->in.next,
		.recv.done = recv_done,
		.send.done = send_done,
		.timer.done = timer_done,
	};
	int rc = loop_create(p->conf.backend, 8, &r.loop);

	pthread_setname_np(pthread_self(), "dag-receive");
	if (rc) {
		log_err("store=%s cannot create a loop: %s", p->name, strerror(-rc));
		goto out;
	}
	set_loop(p, r.loop, true);
	run(&r);
	set_loop(p, NULL, false);
	loop_destroy(r.loop);
out:
	stream_close(p->stream);
	p->stream = NULL;
	unpacker_free(p->unpacker);
	p->unpacker = NULL;
	return NULL;
}
