/* SPDX-License-Identifier: GPL-2.0 */
/*
 * candidate - which copy is activated (semantics 26-29). Pure.
 *
 * In commit and sync mode only copies of the in-sync set qualify: each of them
 * holds every acknowledged commit, so nothing acknowledged is lost by
 * construction; a person may override (best_effort). In async mode the dial says
 * how much may be lost, against what the old active last told the group.
 */
#ifndef DAG_CANDIDATE_H
#define DAG_CANDIDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/group/state.h"

/* A copy's statuses that matter here; the rest cannot be activated. */
enum candidate_status {
	CAND_HEALTHY, CAND_DISCONNECTED_HEALTHY, CAND_DISCONNECTED_RESYNC, CAND_SEEDING_SOURCE,
	CAND_OTHER,
};

struct candidate {
	char member[64];
	char site[32];
	bool reachable;			/* its report is of now */
	bool sealed;			/* promise of the new epoch is durable there */
	bool whole;			/* image and log are consistent to end_lsn */
	bool unconfirmed;		/* no active has brought it up to its end since its daemon
					 * started or its log failed: what it had received, not
					 * durably, may be gone */
	bool in_sync;
	bool blocked;			/* of the copy */
	bool lagged;			/* replays late by intent, as agreed */
	bool maintenance, stopped;	/* of the member */
	bool failed;			/* its steps failed a short time ago (store/attempt.h) */
	bool ended;			/* its lease has ended: it is the one that is replaced */
	uint32_t policy, dial;		/* of the member */
	uint32_t preference;
	enum candidate_status status;
	uint32_t log_epoch;		/* newest epoch of its history: an active of it called,
					 * so the log is a prefix of that epoch's log */
	uint64_t end_lsn;		/* inspected and durable */
	uint64_t copy_queue, replay_queue;	/* records, from the last ack */
	int client;			/* enum client_state of the member (clientnet.h) */
	uint32_t active_now, max_active, max_preferred;
};

struct candidate_rule {
	uint32_t mode;			/* enum dagtap_mode of the store */
	bool ack_durable;		/* commits waited for durable, else for received */
	uint32_t epoch;			/* the one that has ended, and … */
	uint64_t start_lsn;		/* … where it began; 0: not known */
	uint64_t known_lsn;		/* the old active's last word; 0: none */
	uint64_t segment_bytes;
	char old_site[32];		/* of the old active */
	int client_above;		/* the active lost its client network: who is better */
	bool skip_health, skip_lag, skip_max_active;
	bool failed_too;		/* the store is down: one that failed is better than none */
	bool best_effort;		/* a person takes the loss */
	char only[64];			/* a person named the target; "": any */
};

#define CANDIDATE_WHY_MAX	128
struct candidate_verdict {
	unsigned index;			/* into the candidates */
	bool eligible;
	uint64_t lost_bytes;		/* at most; 0 in commit mode from the in-sync set */
	char why[CANDIDATE_WHY_MAX];	/* "not reachable", "in-sync, ends at lsn=..." */
};

/*
 * candidate_rank - all n candidates, best first; those that are not eligible come
 * last, each with the reason. Order: those whose steps failed last; below max_preferred before above it; tiers of
 * semantics 27; most of the ended epoch's log; preference; name. Where every
 * eligible one has the dial Lossless, preference comes before the log. What a
 * reachable copy has more can be fetched, so the dial counts that as not lost.
 * Returns the number of eligible ones.
 */
unsigned candidate_rank(const struct candidate *cands, unsigned n, const struct candidate_rule *rule,
			struct candidate_verdict *ret);
/*
 * candidate_position - up to where the copy's log is the log of the ended epoch.
 * A copy that this epoch's active never reached may have a tail of its own beyond
 * start_lsn, which does not count. False: it cannot be told, an epoch between is
 * not known to the copy. Copies of the in-sync set were all in one place when the
 * epoch began.
 */
bool candidate_position(const struct candidate *c, const struct candidate_rule *rule, uint64_t *ret_lsn);
/* Who has the most log among the reachable, sealed, whole copies, eligible or not:
 * the source of the last logs. -1: nobody. */
int candidate_source(const struct candidate *cands, unsigned n, const struct candidate_rule *rule);

#endif
