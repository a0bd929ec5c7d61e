// SPDX-License-Identifier: GPL-2.0
/*
 * A passive copy that must be seeded: what it holds back, and how the seed gets
 * onto the device.
 *
 * A copy that has an image stays that image: the replay holds at the gap, and
 * what arrives behind it - RESYNC records and new writes - is staged in the
 * segments. When SEED_END is durable, copystate says "inconsistent until there",
 * then the replay runs through. A crash in between replays again from
 * replayed_lsn. A copy without an image, or without room to stage, applies what
 * comes at once and is inconsistent until the end.
 */
#include <errno.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/store/passive_internal.h"

static const uint8_t no_id[16];

/*
 * Does a seed of the regions changed since from_lsn, from sector arg on, mend us? The
 * regions of a branch have been changed by us, the active knows of them only what we
 * told it: a seed that does not name our set was begun for another copy.
 */
static bool covers(const struct passive *p, const struct dagtap_state_payload *sp)
{
	uint64_t since = le64toh(sp->from_lsn);
	bool ours = !p->branch_id;

	if (le64toh(sp->arg) > p->seed.cursor)
		return false;
	if (!since)
		return true;
	for (unsigned i = 0; i < sizeof(sp->sets) / sizeof(sp->sets[0]); i++)
		ours |= le64toh(sp->sets[i]) == p->branch_id;
	return ours && !p->direct && since <= p->hold;
}

static void edit_seed(struct copystate_data *d, void *ctx)
{
	const struct passive *p = ctx;

	memcpy(d->seed, p->seed.id, 16);
}

static int seed_begins(struct passive *p, const struct dagtap_state_payload *sp)
{
	struct passive_seed before = p->seed;
	int rc;

	if (!p->need_seed || !covers(p, sp))
		return 0;
	p->seed = (struct passive_seed){
		.total = le64toh(sp->bytes),
		.resync_base = p->in.resync_bytes,
	};
	memcpy(p->seed.id, sp->uuid, 16);
	rc = copystate_update(p->conf.state, edit_seed, p);
	if (rc)
		p->seed = before;
	else
		log_notice("store=%s seed begins bytes=%llu staged=%s", p->name,
			   (unsigned long long)p->seed.total, p->direct ? "no" : "yes");
	return rc;
}

static uint64_t rec_end(const struct dagtap_rec *rec)
{
	return le64toh(rec->lsn) + sizeof(*rec) +
	       ((le32toh(rec->payload) + DAGTAP_ALIGN - 1) & ~(uint64_t)(DAGTAP_ALIGN - 1));
}

int seeding_record(struct passive *p, const struct dagtap_rec *rec, const void *payload)
{
	struct dagtap_state_payload sp;

	if (rec->type != DAGTAP_REC_STATE)
		return 0;
	memcpy(&sp, payload, sizeof(sp));
	switch (rec->kind) {
	case DAGTAP_STATE_GAP:
		if (p->hold == PASSIVE_NONE && !p->direct) {
			p->hold = le64toh(rec->lsn);
			log_notice("store=%s lsn=%llu gap in the log, replay holds here", p->name,
				   (unsigned long long)p->hold);
		}
		p->point.hold = PASSIVE_NONE;	/* no image any more */
		/* A seed that ran when writes went unlogged is not whole. */
		p->need_seed = true;
		memset(&p->seed, 0, sizeof(p->seed));
		return 0;
	case DAGTAP_STATE_SEED_BEGIN:
		return seed_begins(p, &sp);
	case DAGTAP_STATE_SEED_END:
		if (p->need_seed && memcmp(p->seed.id, no_id, 16) &&
		    !memcmp(p->seed.id, sp.uuid, 16))
			p->seed.end_lsn = rec_end(rec);
		return 0;
	}
	return 0;
}

/* ---- after a restart --------------------------------------------------- */

static int recover_record(void *ctx, const struct dagtap_rec *rec, const void *payload)
{
	struct passive *p = ctx;

	if (rec->type == DAGTAP_REC_RESYNC) {
		p->in.resync_bytes += (uint64_t)le32toh(rec->sectors) * DAGTAP_SECTOR;
		/* Of another copy's seed it says nothing about ours. */
		if (memcmp(p->seed.id, no_id, 16))
			p->seed.cursor = le64toh(rec->sector) + le32toh(rec->sectors);
		return 0;
	}
	return seeding_record(p, rec, payload);
}

int seeding_recover(struct passive *p)
{
	struct copystate_data d;
	struct seglog_info info;
	uint64_t from;
	int rc;

	copystate_get(p->conf.state, &d);
	seglog_info(p->conf.log, &info);
	p->have_image = d.have_image;
	p->former = copystate_former(&d);
	p->branch_id = d.branch_id;
	p->direct = !d.have_image || (!d.branch && d.inconsistent_until == UINT64_MAX);
	/* A crash before the log was begun anew there: it goes on as it was. */
	if (info.end_lsn < d.seed_begin_lsn || (d.branch && !passive_branch_seeded(&d, &info)))
		d.seed_begin_lsn = 0;
	p->need_seed = p->direct || d.branch || d.seed_begin_lsn;
	if (d.branch) {
		p->jump = d.seed_begin_lsn;
		p->hold = d.replayed_lsn;
	} else if (d.seed_begin_lsn > d.replayed_lsn && !p->direct) {
		/* The log jumps: what stands before the jump may be applied. */
		p->jump = d.seed_begin_lsn;
		p->hold = d.seed_hold_lsn;
	}
	if (p->former)
		return 0;	/* what its log holds was written here, not received */
	if (p->direct)
		memcpy(p->seed.id, d.seed, 16);
	from = p->jump ? p->jump : d.replayed_lsn;
	if (from < info.first_lsn)
		from = info.first_lsn;
	if (from >= info.end_lsn)
		return 0;
	rc = seglog_walk(p->conf.log, from, info.end_lsn, recover_record, p);
	p->seed.done = p->in.resync_bytes - p->seed.resync_base;
	return rc < 0 ? rc : 0;
}

/* ---- the end of a seed -------------------------------------------------- */

struct finish {
	uint64_t jump, end;
};

static void edit_finish(struct copystate_data *d, void *ctx)
{
	const struct finish *f = ctx;

	if (f->jump) {
		d->replayed_lsn = f->jump;
		d->replayed_crc = 0;
	}
	d->inconsistent_until = f->end;
	d->have_image = true;
	copystate_end_branch(d);
	d->seed_begin_lsn = d->seed_hold_lsn = 0;
	memset(d->seed, 0, sizeof(d->seed));
}

/* Behind a jump the replay starts anew: what lies before it is on the device. */
static int cross_jump(struct passive *p, const struct finish *f)
{
	struct replay *rp = p->replay;
	int rc;

	if (!rp)
		return -EAGAIN;
	passive_lag_apply(p);	/* what must be repaired has no lag */
	pthread_mutex_unlock(&p->lock);
	rc = replay_wait(rp, p->hold, 60000);
	pthread_mutex_lock(&p->lock);
	if (rc)
		return rc;
	passive_stop_replay(p);
	rc = copystate_update(p->conf.state, edit_finish, (void *)f);
	if (!rc)
		p->replayed = f->jump;
	return rc ? rc : passive_start_replay(p);
}

int seeding_finish(struct passive *p)
{
	struct finish f = { .jump = p->jump, .end = p->seed.end_lsn };
	int rc;

	if (f.jump)
		rc = cross_jump(p, &f);
	else
		rc = copystate_update(p->conf.state, edit_finish, &f);
	if (rc) {
		passive_error(p, rc, "cannot begin to apply the seed");
		return rc;
	}
	log_notice("store=%s seed is whole, applied until lsn=%llu", p->name,
		   (unsigned long long)f.end);
	p->hold = PASSIVE_NONE;
	p->jump = 0;
	p->branch_id = 0;
	p->need_seed = p->direct = false;
	p->have_image = true;
	memset(&p->seed, 0, sizeof(p->seed));
	return 0;
}

static void edit_unstage(struct copystate_data *d, void *ctx)
{
	const struct finish *f = ctx;

	if (f->jump) {
		d->replayed_lsn = f->jump;
		d->replayed_crc = 0;
	}
	d->inconsistent_until = UINT64_MAX;
	d->have_image = false;
	copystate_end_branch(d);
	d->seed_begin_lsn = d->seed_hold_lsn = 0;
}

int seeding_unstage(struct passive *p)
{
	struct finish f = { .jump = p->jump };
	struct replay *rp = p->replay;
	int rc;

	if (!rp)
		return -EAGAIN;
	/* One that is to come would be of regions only: the active must hear of it. */
	if (!memcmp(p->seed.id, no_id, 16)) {
		p->conn_stop = true;
		passive_wake_receiver(p);
	}
	log_warn("store=%s no room to stage the seed: the older image is given up, the copy is "
		 "not eligible until the seed ends", p->name);
	if (f.jump) {
		/* What lies before the jump is covered by the seed all the same. */
		passive_lag_apply(p);
		pthread_mutex_unlock(&p->lock);
		rc = replay_wait(rp, p->hold, 60000);
		pthread_mutex_lock(&p->lock);
		if (rc)
			return rc;
		passive_stop_replay(p);
	}
	rc = copystate_update(p->conf.state, edit_unstage, &f);
	if (f.jump) {
		if (!rc)
			p->replayed = f.jump;
		rc = rc ? rc : passive_start_replay(p);
	}
	if (rc)
		return rc;
	p->hold = PASSIVE_NONE;
	p->jump = 0;
	p->branch_id = 0;
	p->direct = true;
	return 0;
}
