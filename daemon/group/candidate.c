// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/candidate.h"

#include <stdio.h>
#include <string.h>

#define COPY_QUEUE_MAX		10	/* records; semantics 27 */
#define REPLAY_QUEUE_MAX	50
#define SEGMENTS_GOOD		6	/* semantics 26 */
#define SEGMENTS_BEST		12
#define UNKNOWN			UINT64_MAX

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t max64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static bool acks_wait(const struct candidate_rule *rule)
{
	return rule->mode != DAGTAP_MODE_ASYNC;
}

bool candidate_position(const struct candidate *c, const struct candidate_rule *rule, uint64_t *ret_lsn)
{
	if (c->log_epoch >= rule->epoch || (c->in_sync && acks_wait(rule))) {
		*ret_lsn = c->end_lsn;
		return true;
	}
	if (!rule->start_lsn || c->log_epoch + 1 < rule->epoch)
		return false;
	*ret_lsn = min64(c->end_lsn, rule->start_lsn);
	return true;
}

/* > 0: a has more of the ended epoch's log than b. */
static int compare_log(const struct candidate *a, const struct candidate *b,
		       const struct candidate_rule *rule)
{
	uint64_t pa = 0, pb = 0;
	bool ka = candidate_position(a, rule, &pa), kb = candidate_position(b, rule, &pb);

	if (ka != kb)
		return ka ? 1 : -1;
	if (pa != pb)
		return pa > pb ? 1 : -1;
	if (a->log_epoch != b->log_epoch)
		return a->log_epoch > b->log_epoch ? 1 : -1;
	/* Equal where positions are known: what is beyond is a tail of nobody's. */
	if (ka || a->end_lsn == b->end_lsn)
		return 0;
	return a->end_lsn > b->end_lsn ? 1 : -1;
}

int candidate_source(const struct candidate *cands, unsigned n, const struct candidate_rule *rule)
{
	int best = -1;

	for (unsigned i = 0; i < n; i++) {
		if (!cands[i].reachable || !cands[i].sealed || !cands[i].whole)
			continue;
		if (best < 0 || compare_log(&cands[i], &cands[best], rule) > 0)
			best = i;
	}
	return best;
}

/* Bytes that are lost if c is activated after the last logs were fetched. */
static uint64_t lost_bytes(const struct candidate *c, int source, const struct candidate *cands,
			   const struct candidate_rule *rule)
{
	uint64_t known = max64(rule->known_lsn, rule->start_lsn), pos, most;

	if (!candidate_position(c, rule, &pos))
		return UNKNOWN;
	/* A tail of its own must go first, which only a seed from an active does. */
	if (pos == c->end_lsn && source >= 0 && candidate_position(&cands[source], rule, &most))
		pos = max64(pos, most);
	return known > pos ? known - pos : 0;
}

static const char *member_reason(const struct candidate *c, const struct candidate_rule *rule)
{
	if (rule->only[0] && strcmp(rule->only, c->member))
		return "another target was asked for";
	if (c->ended)
		return "its lease has ended";
	if (c->stopped)
		return "member is stopped";
	if (!c->reachable)
		return "not reachable";
	if (c->maintenance)
		return "member is in maintenance";
	if (c->policy == POLICY_BLOCKED)
		return "activation policy of the member is Blocked";
	if (c->policy != POLICY_UNRESTRICTED && c->policy != POLICY_INTRASITE)
		return "activation policy of the member is not known here";
	if (c->policy == POLICY_INTRASITE && strcmp(c->site, rule->old_site))
		return "activation policy is IntraSiteOnly and the site is another";
	if (c->max_active && c->active_now >= c->max_active && !rule->skip_max_active)
		return "member has its maximum of active stores";
	return NULL;
}

static const char *copy_reason(const struct candidate *c, const struct candidate_rule *rule)
{
	if (c->blocked)
		return "activation of the copy is blocked";
	if (c->failed && !rule->failed_too)
		return "was tried a short time ago and could not be activated";
	if (rule->client_above && c->client <= rule->client_above)
		return "its client network is no better";
	if (!c->sealed)
		return "has not promised the new epoch";
	if (!c->whole)
		return "its image is not whole";
	if (c->status == CAND_OTHER && !rule->skip_health)
		return "is not Healthy";
	if (!acks_wait(rule) || rule->best_effort)
		return NULL;
	if (!c->in_sync)
		return "not in the in-sync set, acknowledged commits may be missing";
	if (!rule->ack_durable && c->unconfirmed)
		return "started anew since, acknowledged commits may be missing";
	return NULL;
}

static uint64_t dial_bytes(uint32_t dial, const struct candidate_rule *rule)
{
	switch (dial) {
	case DIAL_GOOD: return SEGMENTS_GOOD * rule->segment_bytes;
	case DIAL_BEST: return SEGMENTS_BEST * rule->segment_bytes;
	case DIAL_BEST_EFFORT: return UNKNOWN;
	default: return 0;
	}
}

static void judge(const struct candidate *c, const struct candidate *cands, int source,
		  const struct candidate_rule *rule, struct candidate_verdict *v)
{
	const char *reason = member_reason(c, rule);

	if (!reason)
		reason = copy_reason(c, rule);
	if (reason) {
		snprintf(v->why, sizeof(v->why), "%s", reason);
		return;
	}
	if (acks_wait(rule) && c->in_sync) {
		v->eligible = true;
		snprintf(v->why, sizeof(v->why), "in-sync, ends at lsn=%llu",
			 (unsigned long long)c->end_lsn);
		return;
	}
	v->lost_bytes = lost_bytes(c, source, cands, rule);
	v->eligible = rule->best_effort || v->lost_bytes <= dial_bytes(c->dial, rule);
	if (v->lost_bytes == UNKNOWN)
		snprintf(v->why, sizeof(v->why), "ends at lsn=%llu of epoch %u, the loss is not known",
			 (unsigned long long)c->end_lsn, c->log_epoch);
	else
		snprintf(v->why, sizeof(v->why), "ends at lsn=%llu of epoch %u, %llu bytes %s",
			 (unsigned long long)c->end_lsn, c->log_epoch,
			 (unsigned long long)v->lost_bytes,
			 v->eligible ? "may be lost" : "lost are more than its dial allows");
}

/* 0 is best; semantics 27. */
static int tier(const struct candidate *c, const struct candidate_rule *rule)
{
	bool copied = c->copy_queue < COPY_QUEUE_MAX, replayed = c->replay_queue < REPLAY_QUEUE_MAX;

	/* A queue that a lag holds may take long to replay: never the same as others. */
	if (rule->skip_lag)
		return c->lagged && !replayed;
	if (copied && replayed)
		return 0;
	return replayed ? 1 : copied ? 2 : 3;
}

static bool beyond_preferred(const struct candidate *c)
{
	return c->max_preferred && c->active_now >= c->max_preferred;
}

/* Does a come before b? Both are eligible or both are not. */
static bool before(const struct candidate *a, const struct candidate *b,
		   const struct candidate_rule *rule, bool lossless)
{
	int by_log = compare_log(a, b, rule);

	if (a->failed != b->failed)
		return b->failed;
	if (beyond_preferred(a) != beyond_preferred(b))
		return beyond_preferred(b);
	if (tier(a, rule) != tier(b, rule))
		return tier(a, rule) < tier(b, rule);
	if (lossless && a->preference != b->preference)
		return a->preference < b->preference;
	if (by_log)
		return by_log > 0;
	if (a->preference != b->preference)
		return a->preference < b->preference;
	return strcmp(a->member, b->member) < 0;
}

unsigned candidate_rank(const struct candidate *cands, unsigned n, const struct candidate_rule *rule,
			struct candidate_verdict *ret)
{
	int source = candidate_source(cands, n, rule);
	unsigned eligible = 0;
	bool lossless = true;

	for (unsigned i = 0; i < n; i++) {
		struct candidate_verdict v = { .index = i };

		judge(&cands[i], cands, source, rule, &v);
		ret[i] = v;
		if (!v.eligible)
			continue;
		eligible++;
		lossless = lossless && cands[i].dial == DIAL_LOSSLESS;
	}
	for (unsigned i = 1; i < n; i++) {	/* at most 16 */
		struct candidate_verdict v = ret[i];
		unsigned j = i;

		for (; j > 0; j--) {
			const struct candidate_verdict *u = &ret[j - 1];

			if (u->eligible != v.eligible ? u->eligible :
			    !before(&cands[v.index], &cands[u->index], rule, lossless))
				break;
			ret[j] = *u;
		}
		ret[j] = v;
	}
	return eligible;
}
