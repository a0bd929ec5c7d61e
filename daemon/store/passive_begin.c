// SPDX-License-Identifier: GPL-2.0
/*
 * How an active's connection begins at a passive copy: what is still worth
 * something here is decided with the hello (ship/resume.c), log and state are
 * made to fit, durably and in an order that a crash may cut anywhere, and the
 * welcome says from where the stream comes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/log/branch.h"
#include "daemon/ship/resume.h"
#include "daemon/store/passive_internal.h"

void passive_stop_receiver(struct passive *p)
{
	if (!p->receiver_runs)
		return;
	pthread_mutex_lock(&p->lock);
	p->conn_stop = true;
	passive_wake_receiver(p);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->receiver, NULL);
	p->receiver_runs = false;
	p->conn_stop = false;
}

struct begin {
	const struct frame_hello *hello;
	const struct resume_plan *plan;
	uint64_t start;		/* of a stream that does not go on; 0: it does */
	bool seeding;		/* a seed that has begun goes on */
};

static void take_history(struct copystate_data *d, const struct frame_hello *hello)
{
	d->promised_epoch = hello->epoch;
	d->nr_history = 0;
	for (uint32_t i = 0; i < hello->nr_history && i < COPYSTATE_HISTORY_MAX; i++) {
		d->history[i].epoch = hello->history[i].epoch;
		d->history[i].first_lsn = hello->history[i].first_lsn;
		d->nr_history++;
	}
}

static void no_seed(struct copystate_data *d)
{
	memset(d->seed, 0, sizeof(d->seed));
	d->seed_begin_lsn = d->seed_hold_lsn = 0;
}

static void edit_begin(struct copystate_data *d, void *ctx)
{
	const struct begin *b = ctx;

	take_history(d, b->hello);
	if (b->plan->verdict == RESUME_LOG && b->seeding)
		return;
	no_seed(d);
	if (b->plan->verdict == RESUME_REGIONS || b->plan->verdict == RESUME_BRANCH) {
		d->seed_begin_lsn = b->start;
		d->seed_hold_lsn = b->plan->cut_lsn;
	}
}

/* Nothing that is here counts any more. Without a history the next call, should
 * we not get to the end of begin_full(), asks for everything again. */
static void edit_forget(struct copystate_data *d, void *ctx)
{
	const struct begin *b = ctx;

	no_seed(d);
	copystate_end_branch(d);
	d->promised_epoch = b->hello->epoch;
	d->nr_history = 0;
	d->have_image = false;
	d->inconsistent_until = UINT64_MAX;
	d->replayed_lsn = b->start;
	d->replayed_crc = 0;
}

/* Lock held, replay stopped: the log begins where the stream begins. */
static int begin_full(struct passive *p, const struct begin *b)
{
	int rc;

	rc = copystate_update(p->conf.state, edit_forget, (void *)b);
	rc = rc ? rc : seglog_reset(p->conf.log, b->start);
	rc = rc ? rc : copystate_update(p->conf.state, edit_begin, (void *)b);
	if (rc)
		return rc;
	p->hold = PASSIVE_NONE;
	p->jump = 0;
	p->branch_id = 0;
	p->direct = p->need_seed = true;
	p->have_image = p->former = false;
	p->replayed = b->start;
	p->replayed_seq = 0;
	p->error = 0;
	memset(&p->seed, 0, sizeof(p->seed));
	return 0;
}

static int begin_regions(struct passive *p, const struct begin *b)
{
	struct seglog_info info;
	bool gone;
	int rc = 0;

	seglog_info(p->conf.log, &info);
	/* A second gap, and what was before the first is replayed and recycled, or
	 * nothing came after it: nothing of the log is of use. */
	gone = b->plan->cut_lsn < info.first_lsn;
	/* The log first: no crash may leave the new history beside what is of the old
	 * one, which would be taken for a part of it. */
	if (gone) {
		memset(&p->seed, 0, sizeof(p->seed));
		rc = seglog_reset(p->conf.log, b->start);
	} else if (b->plan->cut_lsn < info.end_lsn) {
		rc = seglog_truncate_after(p->conf.log, b->plan->cut_lsn);
	}
	rc = rc ? rc : copystate_update(p->conf.state, edit_begin, (void *)b);
	rc = rc || gone ? rc : seglog_begin(p->conf.log, b->start);
	if (rc)
		return rc;
	p->hold = b->plan->cut_lsn;
	p->jump = b->start;
	p->need_seed = true;
	memset(&p->seed, 0, sizeof(p->seed));
	return 0;
}

static int begin_branch(struct passive *p, const struct begin *b, uint64_t id)
{
	int rc = passive_branch_turn(p, b->hello->epoch, b->plan->cut_lsn, id);

	rc = rc ? rc : seglog_reset(p->conf.log, b->start);
	rc = rc ? rc : copystate_update(p->conf.state, edit_begin, (void *)b);
	if (rc)
		return rc;
	p->jump = b->start;
	p->error = 0;
	return 0;
}

static int begin_log(struct passive *p, const struct begin *b)
{
	struct seglog_info info;
	int rc = 0;

	seglog_info(p->conf.log, &info);
	if (b->plan->cut_lsn < info.end_lsn) {
		log_notice("store=%s log is cut at lsn=%llu, %llu bytes: %s", p->name,
			   (unsigned long long)b->plan->cut_lsn,
			   (unsigned long long)(info.end_lsn - b->plan->cut_lsn), b->plan->why);
		rc = seglog_truncate_after(p->conf.log, b->plan->cut_lsn);
	}
	return rc ? rc : copystate_update(p->conf.state, edit_begin, (void *)b);
}

void passive_start_inspect(struct passive *p, uint32_t epoch_max, uint64_t from)
{
	struct seglog_info info;

	seglog_info(p->conf.log, &info);
	p->in = (struct inspect){
		.ring = { .base = p->ring, .size = p->ring_size },
		.next = from,
		.sectors = p->conf.sectors,
		.tag = p->conf.tag,
		.epoch_max = epoch_max,
		.epoch = info.end_lsn > info.first_lsn ? info.end_epoch : 0,
		.prev_crc = info.end_crc,
		.any_prev = !info.end_crc,
		.seq = p->seq,
		.time_ns = p->inspected_time_ns,
		.resync_bytes = p->seed.resync_base + p->seed.done,
		.resync_sector = p->seed.cursor,
	};
	p->received = p->durable = from;
}

/* set: of the regions that are known to differ, if the image is a branch; id 0: none. */
static void make_plan(struct passive *p, const struct frame_hello *hello,
		      const struct regionset *set, struct resume_plan *plan)
{
	struct frame_epoch history[COPYSTATE_HISTORY_MAX];
	struct copystate_data d;
	struct seglog_info info;
	struct resume_copy rc;

	copystate_get(p->conf.state, &d);
	seglog_info(p->conf.log, &info);
	for (uint32_t i = 0; i < d.nr_history; i++)
		history[i] = (struct frame_epoch){ d.history[i].epoch, d.history[i].first_lsn };
	p->replayed = d.replayed_lsn;
	rc = (struct resume_copy){
		.have_image = p->have_image,
		.have_lsn = p->replayed,
		.end_lsn = info.end_lsn > p->replayed ? info.end_lsn : p->replayed,
		.seeding = p->need_seed && d.nr_history && (!p->branch_id || p->jump),
		.inconsistent = d.inconsistent_until > d.replayed_lsn && !p->branch_id,
		.former = p->former,
		.branch = p->branch_id,
		.known_lsn = set->bits ? d.bits_since_lsn : UINT64_MAX,
		.nr_history = d.nr_history,
		.history = history,
	};
	/* It wrote all of its epochs: their end here is wherever others have it. */
	if (p->former)
		rc.end_lsn = UINT64_MAX & ~(uint64_t)(DAGTAP_ALIGN - 1);
	resume_decide(hello, &rc, plan);
	/* A second gap before the first was closed: the image still ends there. */
	if (plan->verdict == RESUME_REGIONS && p->hold != PASSIVE_NONE)
		plan->cut_lsn = p->hold;
}

/*
 * What the log holds behind the last common LSN is about to go: it may be all
 * that is left of writes that an application has seen to succeed.
 */
static int keep_tail(struct passive *p, const struct resume_plan *plan)
{
	struct copystate_data d;
	int rc;

	copystate_get(p->conf.state, &d);
	if (!d.nr_history)
		return 0;	/* new, or to be seeded anew: nothing can be said of it */
	rc = branch_keep(p->conf.log, plan->common_lsn);
	return rc < 0 ? rc : 0;
}

static const char *plan_text(enum resume_verdict verdict)
{
	switch (verdict) {
	case RESUME_LOG: return "log";
	case RESUME_REGIONS: return "changed regions";
	case RESUME_BRANCH: return "changed regions of both";
	default: return "full seed";
	}
}

static enum dag_resume resume_now(const struct passive *p)
{
	if (!p->need_seed)
		return DAG_RESUME_LOG;
	if (p->direct)
		return DAG_RESUME_FULL;
	return p->branch_id ? DAG_RESUME_BRANCH : DAG_RESUME_REGIONS;
}

/*
 * Lock held: decide, make the log and the state fit, fill in the welcome and, of a
 * branch, the set that follows it; that is the caller's to free.
 */
static int begin(struct passive *p, const struct frame_hello *hello, struct frame_welcome *w,
		 struct regionset *set)
{
	struct resume_plan plan;
	struct begin b = { .hello = hello, .plan = &plan, .seeding = p->need_seed };
	int rc;

	if (p->former || p->branch_id) {
		rc = passive_branch_set(p, set);
		if (rc)
			log_warn("store=%s what differs cannot be told: %s", p->name, strerror(-rc));
	}
	make_plan(p, hello, set, &plan);
	if (plan.verdict == RESUME_STALE) {
		log_notice("store=%s epoch=%u refused: %s", p->name, hello->epoch, plan.why);
		return -EAGAIN;
	}
	if (plan.verdict != RESUME_LOG)
		b.start = plan.from_lsn;
	log_notice("store=%s epoch=%u %s from lsn=%llu: %s", p->name, hello->epoch,
		   plan_text(plan.verdict), (unsigned long long)plan.from_lsn, plan.why);
	rc = keep_tail(p, &plan);
	if (rc)
		return rc;
	switch (plan.verdict) {
	case RESUME_LOG: rc = begin_log(p, &b); break;
	case RESUME_REGIONS: rc = begin_regions(p, &b); break;
	case RESUME_BRANCH: rc = begin_branch(p, &b, set->id); break;
	default: rc = begin_full(p, &b); break;
	}
	if (rc)
		return rc;
	passive_start_inspect(p, hello->epoch, plan.from_lsn);
	p->epoch = hello->epoch;
	w->resume = resume_now(p);
	w->resume_lsn = plan.from_lsn;
	w->have_lsn = p->hold != PASSIVE_NONE ? p->hold : p->replayed;
	w->received_lsn = w->durable_lsn = plan.from_lsn;
	w->replayed_lsn = p->replayed < plan.from_lsn ? p->replayed : plan.from_lsn;
	memcpy(w->seed, p->seed.id, 16);
	w->seed_cursor = p->seed.cursor;
	return 0;
}

static enum dag_refusal may_begin(struct passive *p, const struct frame_hello *hello)
{
	struct copystate_data d;

	copystate_get(p->conf.state, &d);
	if (hello->epoch < d.promised_epoch)
		return DAG_REFUSE_EPOCH;
	if (p->suspended || d.suspended || p->given_up)
		return DAG_REFUSE_SUSPENDED;
	if (passive_log_failed(p) || !p->replay)
		return DAG_REFUSE_NOT_READY;
	return DAG_OK;
}

static void send_welcome(struct passive *p, struct stream *st, const struct frame_welcome *w,
			 int *ret)
{
	struct dag_welcome frame;

	frame_welcome_encode(w, &frame);
	*ret = stream_write_full(st, &frame, sizeof(frame), 2000);
	if (w->refusal != DAG_OK)
		log_warn("store=%s peer=%s refused: %s", p->name, stream_peer(st),
			 frame_refusal_text(w->refusal));
}

/* Of those offered; none, if there is no memory for it: the log comes as it is then. */
static enum dag_codec take_codec(struct passive *p, const struct frame_hello *hello,
				 struct unpacker **ret)
{
	enum dag_codec codec = p->conf.no_codec ? DAG_CODEC_NONE : compress_choose(hello->codecs);

	if (codec != DAG_CODEC_NONE && unpacker_create(codec, ret))
		codec = DAG_CODEC_NONE;
	pthread_mutex_lock(&p->lock);
	p->codec = codec;
	p->packed = (struct compress_count){ 0 };
	pthread_mutex_unlock(&p->lock);
	return codec;
}

/* Is a part of the log gone that somebody may be reading? */
static bool log_lost(struct passive *p, const struct seglog_info *before)
{
	struct seglog_info now;

	seglog_info(p->conf.log, &now);
	return now.end_lsn < before->end_lsn || now.first_lsn != before->first_lsn;
}

void passive_accept(struct passive *p, struct stream *st, const struct frame_hello *hello,
		    enum dag_refusal allowed)
{
	struct frame_welcome w = { .refusal = allowed, .nonce = hello->nonce };
	struct regionset set = { 0 };
	struct unpacker *up = NULL;
	struct seglog_info before;
	struct copystate_data d;
	int rc = 0;

	pthread_mutex_lock(&p->conn_lock);
	if (w.refusal == DAG_OK) {
		pthread_mutex_lock(&p->lock);
		w.refusal = may_begin(p, hello);
		pthread_mutex_unlock(&p->lock);
	}
	if (w.refusal == DAG_OK) {
		/* The newest connection of the rightful active wins: an older one is
		 * what is left of a broken link. */
		passive_stop_receiver(p);
		passive_settle_log(p);
		pthread_mutex_lock(&p->lock);
		passive_stop_replay(p);	/* so that what is replayed is exact */
		seglog_info(p->conf.log, &before);
		rc = begin(p, hello, &w, &set);
		p->log_cuts += log_lost(p, &before);
		if (passive_resume_replay(p))
			rc = rc ? rc : -EIO;
		if (rc)
			w.refusal = DAG_REFUSE_NOT_READY;
		if (rc && rc != -EAGAIN)
			passive_error(p, rc, "cannot begin to receive");
		snprintf(p->peer, sizeof(p->peer), "%s", stream_peer(st));
		snprintf(p->security, sizeof(p->security), "%s", stream_describe(st));
		if (!rc)
			p->active_end = hello->end_lsn;
		pthread_mutex_unlock(&p->lock);
		passive_let_log_go(p);
	}
	copystate_get(p->conf.state, &d);
	w.epoch = d.promised_epoch;
	if (w.refusal == DAG_OK)
		w.codec = take_codec(p, hello, &up);
	send_welcome(p, st, &w, &rc);
	if (w.refusal == DAG_OK && !rc && w.resume == DAG_RESUME_BRANCH)
		rc = passive_branch_send(p, st, &set);
	regionset_free(&set);
	if (w.refusal == DAG_OK && !rc) {
		p->stream = st;
		p->unpacker = up;
		rc = -pthread_create(&p->receiver, NULL, receiver_main, p);
		p->receiver_runs = !rc;
		st = rc ? st : NULL;
		up = rc ? up : NULL;
	}
	unpacker_free(up);
	if (st)
		stream_close(st);
	pthread_mutex_unlock(&p->conn_lock);
}

/* ---- a seed on request --------------------------------------------------- */

static void edit_reseed(struct copystate_data *d, void *ctx)
{
	no_seed(d);
	copystate_end_branch(d);
	d->failed_suspended = false;
	d->comment[0] = '\0';
	d->seed_request = *(uint32_t *)ctx;
	d->have_image = false;
	d->inconsistent_until = UINT64_MAX;
	d->nr_history = 0;	/* nothing is common: the next call ends in a full seed */
}

void passive_reseed(struct passive *p, uint32_t request)
{
	struct copystate_data d;
	int rc;

	copystate_get(p->conf.state, &d);
	if (d.seed_request == request)
		return;
	pthread_mutex_lock(&p->conn_lock);
	passive_stop_receiver(p);
	passive_settle_log(p);
	pthread_mutex_lock(&p->lock);
	passive_stop_replay(p);
	rc = copystate_update(p->conf.state, edit_reseed, &request);
	if (rc) {
		passive_error(p, rc, "cannot store the request for a seed");
	} else {
		log_notice("store=%s a full seed was asked for", p->name);
		p->direct = p->need_seed = true;
		p->replay_stopped |= p->given_up;	/* the next tick tries again */
		p->failed_since_ms = 0;
		p->have_image = p->former = p->given_up = false;
		p->hold = PASSIVE_NONE;
		p->jump = 0;
		p->branch_id = 0;
		memset(&p->seed, 0, sizeof(p->seed));
	}
	passive_resume_replay(p);
	pthread_mutex_unlock(&p->lock);
	passive_let_log_go(p);
	pthread_mutex_unlock(&p->conn_lock);
}
