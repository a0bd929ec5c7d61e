// SPDX-License-Identifier: GPL-2.0
/*
 * An activation at a point P of the log, which a move has agreed on: the device is the
 * log up to P, and what stands between P and the epoch's first LSN, E, is given up.
 *
 * LSNs do not go back: the epoch begins at E, where the logs of all copies end, as after
 * any planned move, so no history parts and no log is cut. That the device is an older
 * one is told as after a crash that left regions unlogged: by the tap's intent bits of
 * the regions that the tail changes, and by a GAP at the begin of the epoch.
 *
 * Invariant: from before the gate opens, and over any crash, this device differs from the
 * log at E in nothing but regions whose intent bit is on disk; a bit that was SET goes
 * only when the region has been resynchronised, and is durable at every configured copy
 * (ship/window.h, W4). No copy replays beyond the GAP before it has all of them (P4). So
 * each is made equal by those regions, the former active like the others, and none is
 * taken for equal.
 *
 * Order, each step durable before the next:
 *   1 agreed: {epoch, active, start E, point P}; nobody but this copy stands at P, so
 *     nobody else is in sync, nor a candidate before it knows the epoch;
 *   2 the replay has ended at P, by the state of the copy. Where it has not, because a
 *     hold was lost, nothing is given up: an epoch at E is agreed on;
 *   3 the intent bits;
 *   4 the state: the epoch, and where its gap is (active.c);
 *   5 the module opens the gate, with the GAP.
 * A crash before 5 begins again at 2; one after it is a crash of any active.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/store/local_internal.h"
#include "daemon/store/passive_point.h"

#define REGIONS_CALL	(8u << 20)	/* bits per ioctl */

static uint64_t replay_target(const struct group_store *st)
{
	return group_store_at_point(st) ? st->point_lsn : st->start_lsn;
}

bool local_must_replay(struct local *lo, const struct group_store *st)
{
	struct copystate_data d;
	struct seglog_info info;

	if (lo->role != LOCAL_NONE || lo->at.role != DAGTAP_ROLE_PASSIVE || !st->start_lsn)
		return false;
	copystate_get(lo->state, &d);
	seglog_info(lo->log, &info);
	return d.have_image && !d.branch && !copystate_former(&d) && d.nr_history &&
	       d.replayed_lsn < replay_target(st) && info.end_lsn >= st->start_lsn &&
	       d.inconsistent_until <= info.end_lsn;
}

static int edit_again(struct group_store *st, void *ctx)
{
	st->epoch++;	/* start and point stay */
	return 0;
}

/* Sealed since for a take-over that may still come: what it promised holds for its own. */
static int agree_again(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	struct engine *en = env->conf->engine;
	char err[160] = "";
	int rc = en->ops->txn_store(en, st->uuid, st->epoch, edit_again, NULL, err, sizeof(err));

	if (rc)
		local_error(lo, rc, "cannot begin a higher epoch at the point: %s", err);
	return rc ? rc : -EAGAIN;
}

int local_point_check(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	struct copystate_data d;
	struct seglog_info info;

	copystate_get(lo->state, &d);
	seglog_info(lo->log, &info);
	if (!d.have_image || d.inconsistent_until > d.replayed_lsn || info.end_lsn < st->start_lsn ||
	    d.replayed_lsn < st->point_lsn) {
		local_error(lo, -EUCLEAN, "copy is not whole, it may not be activated");
		return -EUCLEAN;
	}
	if (d.replayed_lsn > st->point_lsn || info.end_lsn > st->start_lsn) {
		log_err("store=%s lsn=%llu the point cannot be had any more, the copy is at lsn=%llu: it "
			"serves its end, nothing is given up", lo->name,
			(unsigned long long)st->point_lsn, (unsigned long long)d.replayed_lsn);
		return local_agree_anew(lo, env, st, info.end_lsn);
	}
	return d.promised_epoch > st->epoch ? agree_again(lo, env, st) : 0;
}

int local_point_leave(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	int rc = passive_point_go(lo->passive, st->point_lsn);

	if (rc == -ERANGE) {
		log_err("store=%s lsn=%llu the replay has passed the point: the copy serves its end, nothing "
			"is given up", lo->name, (unsigned long long)st->point_lsn);
		return local_agree_anew(lo, env, st, st->start_lsn);
	}
	if (rc)
		local_error(lo, rc, "copy is not whole, it may not be activated");
	return rc;
}

void local_point_keep(struct local *lo, const struct group_store *st)
{
	regionset_free(&lo->tail);
	passive_point_take(lo->passive, st->point_lsn, st->start_lsn, &lo->tail);
}

/* What a daemon that died was told is found again; else every region may differ. */
static int find_tail(struct local *lo, const struct group_store *st, const struct dagtap_info *info)
{
	int rc;

	if (lo->tail.bits && lo->tail.regions == info->regions &&
	    lo->tail.region_bytes == info->region_bytes)
		return 0;
	regionset_free(&lo->tail);
	rc = point_tail(lo->cp.log_dir, st->point_lsn, st->start_lsn, info->dev_sectors,
			info->region_bytes, &lo->tail);
	if (!rc || rc == -ENOMEM)
		return rc;
	log_warn("store=%s lsn=%llu..%llu the log does not tell what was changed: all is seeded", lo->name,
		 (unsigned long long)st->point_lsn, (unsigned long long)st->start_lsn);
	lo->tail.regions = info->regions;
	lo->tail.region_bytes = info->region_bytes;
	lo->tail.bits = malloc(regionset_bytes(info->regions) + 8);
	if (!lo->tail.bits)
		return -ENOMEM;
	memset(lo->tail.bits, 0xff, regionset_bytes(info->regions));
	/* and none beyond the device */
	if (info->regions % 8)
		lo->tail.bits[info->regions / 8] = (1 << info->regions % 8) - 1;
	return 0;
}

int local_point_mark(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	struct dagtap_info info;
	int rc = env->conf->tap->info(lo->tap, &info);

	rc = rc ? rc : find_tail(lo, st, &info);
	for (uint64_t r = 0; r < info.regions && !rc; r += REGIONS_CALL) {
		struct dagtap_regions rg = {
			.first = r,
			.count = info.regions - r < REGIONS_CALL ? info.regions - r : REGIONS_CALL,
			.bitmap = (uintptr_t)(lo->tail.bits + r / 8),
			.flags = DAGTAP_REGIONSF_SET,
		};

		rc = env->conf->tap->regions(lo->tap, &rg);
	}
	if (rc) {
		local_error(lo, rc, "what is given up cannot be marked");
		return rc;
	}
	log_notice("store=%s lsn=%llu..%llu is given up, %llu regions of %llu are to be seeded", lo->name,
		   (unsigned long long)st->point_lsn, (unsigned long long)st->start_lsn,
		   (unsigned long long)regionset_count(&lo->tail), (unsigned long long)info.regions);
	regionset_free(&lo->tail);
	return 0;
}
