// SPDX-License-Identifier: GPL-2.0
/*
 * A copy that was active and comes back: its device is not the log up to anywhere,
 * but the log up to the last common LSN, changed in regions that the tap's intent
 * bits name. The active knows the regions that changed on its side since then; told
 * of ours, it seeds both, and nothing else has to travel.
 *
 * Why the bits are enough. A bit is on disk before the write that needs it is
 * submitted, and is cleared only for writes that every configured copy has durably
 * (ship/window.h, W4) and that a flush has put on this device (kmod/meta.c). Who
 * serves now is one of those copies, or was made equal to one, so what it has in
 * common with us reaches beyond every write whose bit is clear. Before bits_since_lsn
 * the bits know nothing: there our device is what we replayed, and the common LSN
 * must not lie below.
 *
 * Order, each step durable before the next:
 *   1 the tail of our log is kept (log/branch.h);
 *   2 the state says: the image is a branch at the common LSN, with the history up to
 *     there. From here on it is nobody's prefix, and our log is worth nothing;
 *   3 the log is begun anew where the stream begins;
 *   4 the state takes the active's history and the place of the seed.
 * A crash behind 2 finds a branch without a seed, and an active that calls then is
 * answered as before. The bits stay until the copy is Healthy (local_tick).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/store/passive_internal.h"
#include "include/dag/crc32c.h"

#define REGIONS_CALL	(8u << 20)	/* bits per ioctl */

static int read_bits(struct passive *p, struct regionset *s)
{
	int rc = 0;

	for (uint64_t r = 0; r < s->regions && !rc; r += REGIONS_CALL) {
		uint64_t n = s->regions - r < REGIONS_CALL ? s->regions - r : REGIONS_CALL;
		struct dagtap_regions rg = {
			.first = r,
			.count = n,
			.bitmap = (uintptr_t)(s->bits + r / 8),
		};

		rc = p->conf.ops->regions(p->conf.tap, &rg);
	}
	return rc;
}

/*
 * The member and the epoch in which it was active: never twice, not even where two sides
 * of a group that was restored have counted the same epochs.
 */
static uint64_t set_id(const struct passive *p, uint32_t epoch)
{
	const char *self = p->conf.self ? p->conf.self : "";

	return (uint64_t)dag_crc32c(0, self, strlen(self)) << 32 | epoch;
}

int passive_branch_set(struct passive *p, struct regionset *ret)
{
	struct regionset s = { 0 };
	struct dagtap_info info;
	struct copystate_data d;
	int rc;

	if (!p->conf.tap)
		return -ENOENT;
	rc = p->conf.ops->info(p->conf.tap, &info);
	if (rc)
		return rc;
	copystate_get(p->conf.state, &d);
	/* Bits of another epoch are not of this image. */
	s.id = d.branch_id;
	if (p->former && d.nr_history)
		s.id = set_id(p, d.history[d.nr_history - 1].epoch);
	if (!s.id || (uint32_t)s.id != info.epoch || info.dev_sectors != p->conf.sectors ||
	    info.role != DAGTAP_ROLE_PASSIVE)
		return -EUCLEAN;
	s.regions = info.regions;
	s.region_bytes = info.region_bytes;
	s.bits = calloc(1, regionset_bytes(s.regions) + 8);
	if (!s.bits)
		return -ENOMEM;
	rc = read_bits(p, &s);
	if (rc) {
		regionset_free(&s);
		return rc;
	}
	*ret = s;
	return 0;
}

/* ---- from active to branch ------------------------------------------------- */

struct turn {
	uint64_t at;		/* last common LSN */
	uint64_t id;
	uint32_t epoch;		/* of who calls */
};

static void edit_turn(struct copystate_data *d, void *ctx)
{
	const struct turn *t = ctx;

	d->branch = d->have_image = true;
	d->branch_id = t->id;
	d->inconsistent_until = UINT64_MAX;
	d->replayed_lsn = t->at;
	d->replayed_crc = 0;
	memset(d->seed, 0, sizeof(d->seed));
	d->seed_begin_lsn = d->seed_hold_lsn = 0;
	d->promised_epoch = t->epoch;
	while (d->nr_history && d->history[d->nr_history - 1].first_lsn >= t->at)
		d->nr_history--;
}

int passive_branch_turn(struct passive *p, uint32_t epoch, uint64_t at, uint64_t id)
{
	struct turn t = { .at = at, .epoch = epoch, .id = id };
	int rc = copystate_update(p->conf.state, edit_turn, &t);

	if (rc)
		return rc;
	p->branch_id = t.id;
	p->former = p->direct = false;
	p->have_image = p->need_seed = true;
	p->replayed = p->hold = at;
	p->replayed_seq = 0;
	p->jump = 0;
	memset(&p->seed, 0, sizeof(p->seed));
	return 0;
}

bool passive_branch_seeded(const struct copystate_data *d, const struct seglog_info *info)
{
	return d->branch && d->seed_begin_lsn && info->first_lsn == d->seed_begin_lsn &&
	       info->end_lsn >= info->first_lsn;
}

int passive_branch_send(struct passive *p, struct stream *st, const struct regionset *set)
{
	uint64_t bytes = regionset_bytes(set->regions);
	struct dag_region_set head;
	int rc;

	regionset_encode(set, &head);
	rc = stream_write_full(st, &head, sizeof(head), 2000);
	/* A slow line takes a megabyte a second. */
	rc = rc ? rc : stream_write_full(st, set->bits, bytes, 2000 + (unsigned)(bytes >> 10));
	if (!rc)
		log_notice("store=%s peer=%s is told of %llu regions of %llu that differ", p->name,
			   stream_peer(st), (unsigned long long)regionset_count(set),
			   (unsigned long long)set->regions);
	return rc;
}
