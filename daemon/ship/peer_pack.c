// SPDX-License-Identifier: GPL-2.0
/*
 * The log to a passive copy with which a codec was agreed: pieces of ring or feed go
 * through the packer, and what it made of one is sent before the next is taken. The
 * packer's buffer holds the bytes, so neither ring nor feed is in use by a send.
 */
#include "daemon/store/active_internal.h"

static void send_rest(struct peer *p)
{
	int rc = stream_send(p->stream, p->a->loop, &p->pack_op, p->pack_at, p->pack_left, false);

	if (rc)
		peer_after_send(p, rc);
}

/* Lock held: all of the pack is out. */
static void pack_sent(struct peer *p)
{
	p->sent += p->pack_raw;
	if (!p->pack_fed)
		return;
	p->feed_off += p->pack_raw;
	if ((int64_t)p->feed_off == p->feed_len)
		p->feed_off = p->feed_len = 0;
}

static void pack_done(struct loop_op *op, int res)
{
	struct peer *p = (struct peer *)((char *)op - offsetof(struct peer, pack_op));

	pthread_mutex_lock(&p->a->lock);
	if (res > 0) {
		p->pack_at += res;
		p->pack_left -= res;
	}
	if (res > 0 && p->pack_left && p->state == PEER_STREAM) {
		send_rest(p);
	} else {
		if (res > 0 && !p->pack_left)
			pack_sent(p);
		peer_after_send(p, res);
		peer_pump(p);
	}
	pthread_mutex_unlock(&p->a->lock);
}

void peer_pack_init(struct peer *p)
{
	p->pack_op.done = pack_done;
}

void peer_pack_send(struct peer *p, const uint8_t *raw, uint64_t len, bool fed)
{
	bool squeeze = !p->way.seed_only || p->ack.state != DAG_COPY_HEALTHY;
	const void *pack;

	if (len > DAG_PACK_RAW_MAX)
		len = DAG_PACK_RAW_MAX;
	if (!fed)
		peer_probe(p);
	p->pack_left = packer_pack(p->packer, raw, len, squeeze, &pack);
	p->pack_at = pack;
	p->pack_raw = (uint32_t)len;
	p->pack_fed = fed;
	p->sending = true;
	peer_time_ship(p, p->sent + len);
	send_rest(p);
}
