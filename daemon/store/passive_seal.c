// SPDX-License-Identifier: GPL-2.0
/*
 * A passive copy before somebody takes its store over: it promises the new epoch
 * and tells what it has. From the promise on no stream of a lower epoch begins,
 * and the one that ran has ended, so what is told stays true until the next
 * active calls.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "daemon/log.h"
#include "daemon/store/passive_internal.h"

#define SETTLE_MS	2000	/* a log disk that needs longer is no help */

static void edit_promise(struct copystate_data *d, void *ctx)
{
	d->promised_epoch = *(uint32_t *)ctx;
}

/*
 * What was acknowledged as received is in memory only: it must reach the
 * segments before this copy may say where it ends. Nothing is taken back when
 * that fails, so that a later call can still succeed.
 */
static int wait_durable(struct passive *p)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += SETTLE_MS / 1000;
	pthread_mutex_lock(&p->lock);
	while (!rc && p->durable < p->received && !passive_log_failed(p))
		rc = -pthread_cond_clockwait(&p->cond, &p->lock, CLOCK_MONOTONIC, &until);
	if (p->durable >= p->received)
		rc = 0;
	else if (p->error)
		rc = p->error;
	pthread_mutex_unlock(&p->lock);
	return rc;
}

int passive_seal(struct passive *p, uint32_t epoch)
{
	struct copystate_data d;
	uint64_t end;
	int rc = 0;

	pthread_mutex_lock(&p->conn_lock);
	copystate_get(p->conf.state, &d);
	if (d.promised_epoch > epoch) {
		rc = -ESTALE;
		goto out;
	}
	if (d.promised_epoch < epoch) {
		/* Durable before the stream ends: there is no moment at which the
		 * active could call again under its old epoch. */
		rc = copystate_update(p->conf.state, edit_promise, &epoch);
		if (rc)
			goto out;
		passive_stop_receiver(p);
		log_notice("store=%s epoch=%u promised, no lower one is served", p->name, epoch);
	} else if (p->epoch < epoch) {
		passive_stop_receiver(p);
	}
	rc = wait_durable(p);
	if (rc) {
		pthread_mutex_lock(&p->lock);
		end = p->received - p->durable;
		pthread_mutex_unlock(&p->lock);
		log_err("store=%s %llu bytes that were acknowledged are not durable: %s", p->name,
			(unsigned long long)end, strerror(-rc));
	}
out:
	pthread_mutex_unlock(&p->conn_lock);
	return rc;
}

/* ---- report ---------------------------------------------------------------- */

/* The epoch that wrote the byte before end. */
static uint32_t epoch_at(const struct copystate_data *d, const struct seglog_info *info, uint64_t end)
{
	uint32_t epoch = 0;

	if (info->end_lsn > info->first_lsn && info->end_lsn == end)
		return info->end_epoch;
	for (uint32_t i = 0; i < d->nr_history; i++)
		if (d->history[i].first_lsn < end)
			epoch = d->history[i].epoch;
	return epoch;
}

static enum candidate_status status_of(const struct passive_status *st)
{
	switch (st->state) {
	case DAG_COPY_HEALTHY:
		return st->connected ? CAND_HEALTHY : CAND_DISCONNECTED_HEALTHY;
	case DAG_COPY_RESYNCHRONIZING:
		return st->connected ? CAND_OTHER : CAND_DISCONNECTED_RESYNC;
	default:
		return CAND_OTHER;
	}
}

/* seq counts modulo 2^32. */
static uint32_t behind_seq(uint32_t head, uint32_t tail)
{
	return head - tail < 1u << 31 ? head - tail : 0;
}

void passive_report(struct passive *p, struct candidate *ret)
{
	struct passive_status st;
	struct copystate_data d;
	struct seglog_info info;

	passive_status(p, &st);
	copystate_get(p->conf.state, &d);
	seglog_info(p->conf.log, &info);
	ret->end_lsn = st.durable_lsn;
	ret->log_epoch = epoch_at(&d, &info, st.durable_lsn);
	ret->status = status_of(&st);
	/* Only the active knows how many records it has: what it said at its call, in
	 * blocks. The replay queue is exact. */
	ret->copy_queue = st.active_end_lsn > st.durable_lsn ?
			  (st.active_end_lsn - st.durable_lsn + DAGTAP_BLOCK - 1) / DAGTAP_BLOCK : 0;
	ret->replay_queue = st.durable_lsn > st.replayed_lsn ?
			    behind_seq(st.seq, st.replayed_seq) : 0;
	ret->blocked = d.activation_blocked;
	pthread_mutex_lock(&p->lock);
	/* Since this start nobody has brought it up to an active's end: it may lack what
	 * it had acknowledged as received. */
	ret->unconfirmed = !p->active_end || p->received < p->active_end;
	/* A seed that is whole in the log is applied by the replay up to the end. */
	ret->whole = p->have_image && !p->direct && !p->need_seed && p->hold == PASSIVE_NONE &&
		     d.inconsistent_until <= p->durable;
	pthread_mutex_unlock(&p->lock);
}
