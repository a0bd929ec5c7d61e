// SPDX-License-Identifier: GPL-2.0
#include "daemon/ship/resume.h"

#include <stdio.h>
#include <string.h>

static uint64_t epoch_end(const struct frame_epoch *h, uint32_t n, uint32_t i, uint64_t end)
{
	/* An epoch may be known before its first byte is there. */
	return i + 1 < n && h[i + 1].first_lsn < end ? h[i + 1].first_lsn : end;
}

uint64_t resume_common(const struct frame_hello *hello, const struct resume_copy *copy)
{
	for (uint32_t c = copy->nr_history; c-- > 0;) {
		const struct frame_epoch *mine = &copy->history[c];

		for (uint32_t a = hello->nr_history; a-- > 0;) {
			const struct frame_epoch *his = &hello->history[a];
			uint64_t m, h;

			if (his->epoch != mine->epoch || his->first_lsn != mine->first_lsn)
				continue;
			m = epoch_end(copy->history, copy->nr_history, c, copy->end_lsn);
			h = epoch_end(hello->history, hello->nr_history, a, hello->end_lsn);
			return m < h ? m : h;
		}
	}
	return 0;
}

static void plan(struct resume_plan *p, enum resume_verdict verdict, uint64_t from, uint64_t cut,
		 const char *why)
{
	p->verdict = verdict;
	p->from_lsn = from;
	p->cut_lsn = cut;
	snprintf(p->why, sizeof(p->why), "%s", why);
}

/*
 * Within an epoch the active's log only grows. A call that knows less of the epoch
 * than has arrived here was sent before what arrived: its connection was given up
 * and another one was faster. Taken at its word it would cut what has been
 * acknowledged, or throw the image away.
 */
static bool stale(const struct frame_hello *hello, const struct resume_copy *copy)
{
	const struct frame_epoch *his, *mine;

	if (!hello->nr_history || !copy->nr_history)
		return false;
	his = &hello->history[hello->nr_history - 1];
	mine = &copy->history[copy->nr_history - 1];
	return his->epoch == mine->epoch && his->first_lsn == mine->first_lsn &&
	       hello->end_lsn < copy->end_lsn;
}

/*
 * The device differs from the log at `at` in regions that are known, and in no other:
 * none of the changes behind `at` was made before known_lsn. So they can be mended
 * together with what the active has changed since.
 */
static void mend_branch(const struct frame_hello *hello, const struct resume_copy *copy,
			uint64_t at, struct resume_plan *ret)
{
	ret->diverged = true;
	if (at && at >= copy->known_lsn)
		plan(ret, RESUME_BRANCH, hello->end_lsn, at,
		     "it was active; its intent regions say where it differs");
	else
		plan(ret, RESUME_FULL, hello->end_lsn, at,
		     copy->former ? "it was active until it was fenced" :
				    "the histories part before its intent regions begin");
}

void resume_decide(const struct frame_hello *hello, const struct resume_copy *copy,
		   struct resume_plan *ret)
{
	uint64_t common = resume_common(hello, copy);
	/* Part of a seed may stand in the tail that must go: without it the seed is
	 * never whole. */
	bool torn = (copy->seeding || copy->inconsistent) && common < copy->end_lsn;

	memset(ret, 0, sizeof(*ret));
	ret->common_lsn = common;
	if (stale(hello, copy)) {
		plan(ret, RESUME_STALE, copy->end_lsn, copy->end_lsn,
		     "the call is older than the log that is here");
		return;
	}
	if (copy->former) {
		mend_branch(hello, copy, common, ret);
		return;
	}
	if (!copy->have_image && !copy->seeding && !copy->inconsistent) {
		plan(ret, RESUME_FULL, hello->end_lsn, copy->end_lsn, "new copy");
		return;
	}
	if (common >= hello->oldest_lsn && common <= hello->end_lsn && common >= copy->have_lsn &&
	    common && !torn && (!copy->branch || (copy->seeding && common >= copy->known_lsn))) {
		plan(ret, RESUME_LOG, common, common,
		     common < copy->end_lsn ? "tail of the log has diverged" : "log goes on");
		return;
	}
	if (!copy->have_image || copy->inconsistent) {
		plan(ret, RESUME_FULL, hello->end_lsn, copy->end_lsn,
		     torn ? "the log of a broken seed has diverged" :
			    "the seed was broken and the log between is gone");
		return;
	}
	if (copy->branch) {
		mend_branch(hello, copy, common < copy->have_lsn ? common : copy->have_lsn, ret);
		return;
	}
	if (common < copy->have_lsn) {
		ret->diverged = true;
		plan(ret, RESUME_FULL, hello->end_lsn, copy->have_lsn,
		     "the device holds writes that the active does not know");
		return;
	}
	plan(ret, RESUME_REGIONS, hello->end_lsn, common,
	     "the log that this copy misses is gone");
}
