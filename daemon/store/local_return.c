// SPDX-License-Identifier: GPL-2.0
/*
 * The end of an active copy. After a planned move the device is the log up to its
 * end, and so is the copy that took over. Otherwise another member took over from
 * a place that may lie below our end: the device then holds writes that are no
 * part of the store any more. What the ring still holds of them goes to the
 * segments, to be kept as a branch when the new active has called and it is known
 * where the histories part (passive_begin.c). Until it has been made equal again
 * the copy is not whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store/active_internal.h"
#include "daemon/store/local_internal.h"

#define PIECE	(2u << 20)	/* half the least segment */

/* replayed_lsn may only say what a power cut leaves there. */
static int flush_device(const char *device)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd))
		rc = -errno;
	close(fd);
	return rc;
}

static void edit_demoted(struct copystate_data *d, void *ctx)
{
	d->replayed_lsn = *(uint64_t *)ctx;
	d->replayed_crc = 0;
	d->inconsistent_until = 0;
	d->have_image = true;
}

/*
 * Did the next epoch begin just where our log ends, and is all of the log on the device?
 * Then nothing of it is lost. A write that the disk refused is in the log and at the
 * copies, and not here.
 */
static bool in_order(const struct local *lo, const struct tap_view *v, const struct group_store *st,
		     const struct dagtap_info *info)
{
	uint64_t end = info->commit_lsn;

	if (lo->at.epoch + 1 != st->epoch)
		return false;
	if (!st->start_lsn && !strcmp(st->active, lo->cp.member))
		return true;	/* it goes on here */
	return !info->regions_failed && st->start_lsn == end && active_closed(v, end, lo->at.epoch);
}

/* What only the ring holds: behind the spool, if that reaches it. */
static int keep_ring(struct local *lo, const struct tap_view *v, const struct dagtap_info *info)
{
	struct seglog_ring ring = { .base = v->base, .size = v->size };
	uint64_t from = info->freed_lsn, to;
	struct seglog_info si;
	int rc = 0;

	if (from == info->commit_lsn)
		return 0;	/* it is empty, or gone with the host's power */
	seglog_info(lo->log, &si);
	if (si.end_lsn >= from && si.end_lsn <= info->commit_lsn)
		from = si.end_lsn;
	else if (si.end_lsn > si.first_lsn && si.end_lsn < from)
		rc = seglog_begin(lo->log, from);
	else
		rc = seglog_reset(lo->log, from);
	for (; !rc && from < info->commit_lsn; from = to) {
		to = seglog_piece(&ring, from, info->commit_lsn, PIECE);
		rc = seglog_append(lo->log, &ring, from, to);
	}
	return rc;
}

int local_leave_active(struct local *lo, const struct local_env *env, const struct group_store *st)
{
	const struct tap_ops *ops = env->conf->tap;
	struct dagtap_role_set rs = { .role = DAGTAP_ROLE_PASSIVE };
	struct dagtap_info info;
	int rc;

	rc = ops->role(lo->tap, &rs);
	if (rc) {
		local_error(lo, rc, "the tap does not close");
		return rc;
	}
	if (lo->active)
		active_stop(lo->active);
	lo->active = NULL;
	lo->role = LOCAL_NONE;
	rc = ops->info(lo->tap, &info);
	if (rc) {
		local_error(lo, rc, "the tap does not answer");
		return rc;
	}
	if (in_order(lo, ops->view(lo->tap), st, &info)) {
		rc = flush_device(lo->cp.device);
		rc = rc ? rc : copystate_update(lo->state, edit_demoted, &info.commit_lsn);
		rc = rc ? rc : seglog_reset(lo->log, info.commit_lsn);
	} else {
		log_warn("store=%s epoch=%u ended at lsn=%llu, epoch %u of %s begins at lsn=%llu, "
			 "%llu regions failed",
			 lo->name, lo->at.epoch, (unsigned long long)info.commit_lsn, st->epoch,
			 st->active, (unsigned long long)st->start_lsn,
			 (unsigned long long)info.regions_failed);
		rc = keep_ring(lo, ops->view(lo->tap), &info);
	}
	if (rc) {
		local_error(lo, rc, "the end of the log cannot be kept in %s", lo->cp.log_dir);
		return rc;
	}
	lo->at.role = DAGTAP_ROLE_PASSIVE;
	return 0;
}
