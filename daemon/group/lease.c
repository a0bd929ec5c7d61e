// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/lease.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PPM		1000000u
#define ELECTION_BEATS	5	/* engine heartbeats within one election time */
#define ELECTION_WORST	5 / 2	/* of the election time: measured 2.5 and 1.9 times */
#define LEASE_PERIODS	3	/* renewals within one lease: two may be lost */

static const struct {
	const char *name;
	struct group_profile profile;
} profiles[] = {
	{ "lan", { 20, 200, 100, 850, 100 } },
	{ "wan", { 100, 1000, 400, 4000, 400 } },
	{ "fast", { 15, 150, 100, 600, 50 } },
};

#define NR_PROFILES	(sizeof(profiles) / sizeof(profiles[0]))

int lease_profile_named(const char *name, struct group_profile *ret)
{
	for (size_t i = 0; i < NR_PROFILES; i++) {
		if (strcmp(profiles[i].name, name))
			continue;
		*ret = profiles[i].profile;
		return 0;
	}
	return -EINVAL;
}

const char *lease_profile_name(const struct group_profile *p)
{
	for (size_t i = 0; i < NR_PROFILES; i++) {
		const struct group_profile *q = &profiles[i].profile;

		if (p->engine_heartbeat_ms == q->engine_heartbeat_ms &&
		    p->engine_election_ms == q->engine_election_ms &&
		    p->lease_period_ms == q->lease_period_ms && p->lease_ms == q->lease_ms &&
		    p->heartbeat_ms == q->heartbeat_ms)
			return profiles[i].name;
	}
	return "custom";
}

/* Lowest lease that does: L(1 - rho) above what a renewal may take. */
static uint64_t least_lease_ms(const struct group_profile *p, uint32_t round_trip_ms)
{
	uint64_t need = (uint64_t)p->engine_election_ms * ELECTION_WORST + p->lease_period_ms + round_trip_ms;
	uint64_t least = need * PPM / (PPM - LEASE_RHO_PPM) + 1;
	uint64_t periods = (uint64_t)LEASE_PERIODS * p->lease_period_ms;

	return least > periods ? least : periods;
}

int lease_profile_check(const struct group_profile *p, uint32_t round_trip_ms, char *err, size_t errlen)
{
	uint64_t election = (uint64_t)ELECTION_BEATS * p->engine_heartbeat_ms, least;

	if (!p->engine_heartbeat_ms || !p->engine_election_ms || !p->lease_period_ms ||
	    !p->lease_ms || !p->heartbeat_ms) {
		snprintf(err, errlen, "no time of a profile may be 0 ms");
		return -EINVAL;
	}
	if (p->engine_election_ms < election) {
		snprintf(err, errlen, "engine election %u ms is too short for engine heartbeat %u ms: "
			 "%llu ms or more", p->engine_election_ms, p->engine_heartbeat_ms,
			 (unsigned long long)election);
		return -EINVAL;
	}
	least = least_lease_ms(p, round_trip_ms);
	if (p->lease_ms < least) {
		snprintf(err, errlen, "lease %u ms is too short for election %u ms, period %u ms and "
			 "round trip %u ms: %llu ms or more", p->lease_ms, p->engine_election_ms,
			 p->lease_period_ms, round_trip_ms, (unsigned long long)least);
		return -EINVAL;
	}
	return 0;
}

/* lease_ms * 1000000 ns / ms * share ppm / 1000000 ppm */
static uint64_t lease_share_ns(const struct group_profile *p, uint32_t ppm)
{
	return (uint64_t)p->lease_ms * ppm;
}

uint64_t lease_deadline_ns(const struct group_profile *p, uint64_t t0_ns)
{
	return t0_ns + lease_share_ns(p, PPM - LEASE_RHO_PPM);
}

uint64_t lease_claim_ns(const struct group_profile *p, uint64_t seen_ns)
{
	return seen_ns + lease_share_ns(p, PPM + LEASE_RHO_PPM) + LEASE_EPS_MS * 1000000ull;
}

bool lease_watch_note(struct lease_watch *w, uint64_t rev, uint64_t fence, bool released, uint64_t now_ns)
{
	if (w->known && rev <= w->rev && fence <= w->fence)
		return false;
	/* A release is a revision like any other; a stale one says nothing. */
	if (!w->known || rev >= w->rev)
		w->released = released;
	if (!w->known || rev > w->rev)
		w->rev = rev;
	if (!w->known || fence > w->fence)
		w->fence = fence;
	w->known = true;
	w->seen_ns = now_ns;
	return true;
}

bool lease_watch_over(const struct lease_watch *w, const struct group_profile *p, uint64_t now_ns)
{
	struct group_profile eff = *p;

	/* the group's lease may have become shorter since this one was given */
	if (w->lease_ms > eff.lease_ms)
		eff.lease_ms = w->lease_ms;
	return w->known && (w->released || now_ns >= lease_claim_ns(&eff, w->seen_ns));
}
