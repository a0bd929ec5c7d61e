// SPDX-License-Identifier: GPL-2.0
#include "daemon/ship/frame.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "include/dag/crc32c.h"
#include "include/uapi/dagtap.h"

static bool is_zero(const void *p, size_t len)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < len; i++)
		if (b[i])
			return false;
	return true;
}

/* Every frame ends with the crc of all that stands before it. */
static __le32 seal(const void *frame, size_t crc_off)
{
	return htole32(dag_crc32c(0, frame, crc_off));
}

static int check(const void *frame, size_t crc_off, __le32 crc)
{
	return le32toh(crc) == dag_crc32c(0, frame, crc_off) ? 0 : -EBADMSG;
}

static bool lsn_ok(uint64_t lsn)
{
	return lsn % DAGTAP_ALIGN == 0;
}

void frame_hello_encode(const struct frame_hello *in, struct dag_hello *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->magic = htole32(DAG_WIRE_MAGIC);
	ret->version = htole32(DAG_WIRE_VERSION);
	memcpy(ret->group, in->group, 16);
	ret->kind = htole32(in->kind);
	ret->flags = htole32(in->codecs);
	ret->group_generation = htole64(in->group_generation);
	memcpy(ret->store, in->store, 16);
	ret->epoch = htole32(in->epoch);
	ret->nr_history = htole32(in->nr_history);
	ret->oldest_lsn = htole64(in->oldest_lsn);
	ret->end_lsn = htole64(in->end_lsn);
	ret->nonce = htole32(in->nonce);
	for (uint32_t i = 0; i < in->nr_history; i++) {
		ret->history[i].epoch = htole32(in->history[i].epoch);
		ret->history[i].first_lsn = htole64(in->history[i].first_lsn);
	}
	ret->crc = seal(ret, offsetof(struct dag_hello, crc));
}

static int history_decode(const struct dag_hello *in, struct frame_hello *ret)
{
	for (uint32_t i = 0; i < ret->nr_history; i++) {
		struct frame_epoch *e = &ret->history[i];

		e->epoch = le32toh(in->history[i].epoch);
		e->first_lsn = le64toh(in->history[i].first_lsn);
		if (in->history[i].rsvd || !lsn_ok(e->first_lsn))
			return -EINVAL;
		if (i && (e->epoch <= e[-1].epoch || e->first_lsn < e[-1].first_lsn))
			return -EINVAL;
		if (e->epoch > ret->epoch)
			return -EINVAL;
	}
	if (!is_zero(in->history + ret->nr_history,
		     (DAG_HISTORY_MAX - ret->nr_history) * sizeof(in->history[0])))
		return -EINVAL;
	return 0;
}

/* What is said about a store where none is meant was meant for somebody else. */
static bool names_store(const struct frame_hello *h)
{
	return !is_zero(h->store, sizeof(h->store)) || h->epoch || h->nr_history ||
	       h->oldest_lsn || h->end_lsn;
}

int frame_hello_decode(const struct dag_hello *in, struct frame_hello *ret)
{
	struct frame_hello h = { 0 };
	int rc;

	if (le32toh(in->magic) != DAG_WIRE_MAGIC)
		return -EPROTO;
	if (le32toh(in->version) != DAG_WIRE_VERSION)
		return -EPROTONOSUPPORT;
	rc = check(in, offsetof(struct dag_hello, crc), in->crc);
	if (rc)
		return rc;
	h.codecs = le32toh(in->flags);
	if (h.codecs & ~DAG_HELLO_CODECS || in->rsvd0 || !is_zero(in->rsvd, sizeof(in->rsvd)))
		return -EPROTO;
	memcpy(h.group, in->group, 16);
	h.kind = le32toh(in->kind);
	h.group_generation = le64toh(in->group_generation);
	memcpy(h.store, in->store, 16);
	h.epoch = le32toh(in->epoch);
	h.nr_history = le32toh(in->nr_history);
	h.oldest_lsn = le64toh(in->oldest_lsn);
	h.end_lsn = le64toh(in->end_lsn);
	h.nonce = le32toh(in->nonce);
	if (h.kind < DAG_KIND_RPC || h.kind > DAG_KIND_FETCH)
		return -EINVAL;
	if (h.nr_history > DAG_HISTORY_MAX || !lsn_ok(h.oldest_lsn) || !lsn_ok(h.end_lsn) ||
	    h.oldest_lsn > h.end_lsn)
		return -EINVAL;
	if ((h.kind == DAG_KIND_RPC && names_store(&h)) || (h.kind != DAG_KIND_LOG && h.codecs))
		return -EINVAL;
	rc = history_decode(in, &h);
	if (rc)
		return rc;
	*ret = h;
	return 0;
}

void frame_welcome_encode(const struct frame_welcome *in, struct dag_welcome *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->magic = htole32(DAG_WIRE_MAGIC);
	ret->version = htole32(DAG_WIRE_VERSION);
	ret->refusal = htole32(in->refusal);
	ret->nonce = htole32(in->nonce);
	ret->epoch = htole32(in->epoch);
	ret->resume = htole32(in->resume);
	ret->resume_lsn = htole64(in->resume_lsn);
	ret->have_lsn = htole64(in->have_lsn);
	ret->received_lsn = htole64(in->received_lsn);
	ret->durable_lsn = htole64(in->durable_lsn);
	ret->replayed_lsn = htole64(in->replayed_lsn);
	memcpy(ret->seed, in->seed, 16);
	ret->seed_lsn = htole64(in->seed_lsn);
	ret->seed_cursor = htole64(in->seed_cursor);
	ret->codec = htole32(in->codec);
	ret->crc = seal(ret, offsetof(struct dag_welcome, crc));
}

int frame_welcome_decode(const struct dag_welcome *in, struct frame_welcome *ret)
{
	struct frame_welcome w = { 0 };
	int rc;

	if (le32toh(in->magic) != DAG_WIRE_MAGIC)
		return -EPROTO;
	if (le32toh(in->version) != DAG_WIRE_VERSION)
		return -EPROTONOSUPPORT;
	rc = check(in, offsetof(struct dag_welcome, crc), in->crc);
	if (rc)
		return rc;
	if (!is_zero(in->rsvd, sizeof(in->rsvd)))
		return -EPROTO;
	w.refusal = le32toh(in->refusal);
	w.nonce = le32toh(in->nonce);
	w.epoch = le32toh(in->epoch);
	w.resume = le32toh(in->resume);
	w.resume_lsn = le64toh(in->resume_lsn);
	w.have_lsn = le64toh(in->have_lsn);
	w.received_lsn = le64toh(in->received_lsn);
	w.durable_lsn = le64toh(in->durable_lsn);
	w.replayed_lsn = le64toh(in->replayed_lsn);
	memcpy(w.seed, in->seed, 16);
	w.seed_lsn = le64toh(in->seed_lsn);
	w.seed_cursor = le64toh(in->seed_cursor);
	w.codec = le32toh(in->codec);
	if (w.refusal >= DAG_REFUSALS || w.codec >= DAG_CODECS)
		return -EINVAL;
	if (w.refusal == DAG_OK && (w.resume < DAG_RESUME_LOG || w.resume > DAG_RESUME_BRANCH))
		return -EINVAL;
	if (!lsn_ok(w.resume_lsn) || !lsn_ok(w.have_lsn) || !lsn_ok(w.received_lsn) ||
	    !lsn_ok(w.durable_lsn) || !lsn_ok(w.replayed_lsn) || !lsn_ok(w.seed_lsn))
		return -EINVAL;
	*ret = w;
	return 0;
}

void frame_ack_encode(const struct frame_ack *in, struct dag_ack *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->magic = htole32(DAG_ACK_MAGIC);
	ret->state = htole32(in->state);
	ret->epoch = htole32(in->epoch);
	ret->seq = htole32(in->seq);
	ret->received_lsn = htole64(in->received_lsn);
	ret->durable_lsn = htole64(in->durable_lsn);
	ret->replayed_lsn = htole64(in->replayed_lsn);
	ret->replayed_seq = htole32(in->replayed_seq);
	ret->error = htole32(in->error);
	ret->inspected_time_ns = htole64(in->inspected_time_ns);
	ret->replayed_time_ns = htole64(in->replayed_time_ns);
	ret->log_bytes = htole64(in->log_bytes);
	ret->space_left = htole64(in->space_left);
	ret->seed_done = htole64(in->seed_done);
	ret->seed_total = htole64(in->seed_total);
	ret->crc = seal(ret, offsetof(struct dag_ack, crc));
}

int frame_ack_decode(const struct dag_ack *in, struct frame_ack *ret)
{
	struct frame_ack a = { 0 };
	int rc;

	if (le32toh(in->magic) != DAG_ACK_MAGIC)
		return -EPROTO;
	rc = check(in, offsetof(struct dag_ack, crc), in->crc);
	if (rc)
		return rc;
	if (!is_zero(in->rsvd, sizeof(in->rsvd)))
		return -EPROTO;
	a.state = le32toh(in->state);
	a.epoch = le32toh(in->epoch);
	a.seq = le32toh(in->seq);
	a.received_lsn = le64toh(in->received_lsn);
	a.durable_lsn = le64toh(in->durable_lsn);
	a.replayed_lsn = le64toh(in->replayed_lsn);
	a.replayed_seq = le32toh(in->replayed_seq);
	a.error = le32toh(in->error);
	a.inspected_time_ns = le64toh(in->inspected_time_ns);
	a.replayed_time_ns = le64toh(in->replayed_time_ns);
	a.log_bytes = le64toh(in->log_bytes);
	a.space_left = le64toh(in->space_left);
	a.seed_done = le64toh(in->seed_done);
	a.seed_total = le64toh(in->seed_total);
	if (a.state >= DAG_COPY_STATES || !lsn_ok(a.received_lsn) || !lsn_ok(a.durable_lsn) ||
	    !lsn_ok(a.replayed_lsn))
		return -EINVAL;
	if (a.durable_lsn > a.received_lsn || a.replayed_lsn > a.durable_lsn)
		return -EINVAL;
	*ret = a;
	return 0;
}

const char *frame_refusal_text(enum dag_refusal refusal)
{
	static const char *const text[DAG_REFUSALS] = {
		[DAG_OK] = "accepted",
		[DAG_REFUSE_VERSION] = "other protocol version",
		[DAG_REFUSE_GROUP] = "other group or group generation",
		[DAG_REFUSE_STORE] = "no copy of the store there",
		[DAG_REFUSE_EPOCH] = "fenced: a higher epoch is known there",
		[DAG_REFUSE_BUSY] = "another sender of this epoch is connected",
		[DAG_REFUSE_SUSPENDED] = "the copy is suspended",
		[DAG_REFUSE_NOT_READY] = "the copy is not ready",
		[DAG_REFUSE_MEMBER] = "the certificate is not the active member's",
		[DAG_REFUSE_HISTORY] = "the log there does not go on from this end",
	};

	return refusal < DAG_REFUSALS ? text[refusal] : "unknown refusal";
}
