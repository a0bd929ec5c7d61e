/* SPDX-License-Identifier: GPL-2.0 */
/*
 * lease - until when a host may write, and from when another may take over. Pure.
 *
 * The holder counts from before it sent the renewal (t0), the observer from when
 * it saw it (t_seen >= commit >= t0). With clocks whose rates differ by at most
 * rho from real time:
 *	holder    writes until t0 + L(1 - rho)
 *	observer  claims from  t_seen + L(1 + rho) + eps
 * so the claim comes after the last write, whatever the clocks' offsets are.
 * Times are CLOCK_BOOTTIME in ns: a suspended host counts the time it slept.
 * Gray, Cheriton: Leases (SOSP 1989).
 */
#ifndef DAG_LEASE_H
#define DAG_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/group/state.h"

#define LEASE_RHO_PPM		10000	/* 1 %: quartz is within 100 ppm */
#define LEASE_MS_MAX		600000
#define LEASE_EPS_MS		10	/* scheduling of the observer */

/* "lan" (20/200, 100, 850), "wan" (100/1000, 400, 4000), "fast" (15/150, 100, 600);
 * heartbeat 100, 400, 50 ms. -EINVAL: no such profile. */
int lease_profile_named(const char *name, struct group_profile *ret);
/* "lan", "wan", "fast", or "custom". */
const char *lease_profile_name(const struct group_profile *p);
/*
 * May these stand together? -EINVAL and why not, with the value that would do:
 * L(1-rho) > 2.5 engine elections + P + round trip, election >= 5 engine heartbeats,
 * at least three periods within L, nothing 0.
 */
int lease_profile_check(const struct group_profile *p, uint32_t round_trip_ms, char *err, size_t errlen);

uint64_t lease_deadline_ns(const struct group_profile *p, uint64_t t0_ns);
uint64_t lease_claim_ns(const struct group_profile *p, uint64_t seen_ns);

/* The lease of one host, as one observer sees it. */
struct lease_watch {
	bool known;		/* seen to change or to be there since we watch */
	uint64_t rev, fence;
	uint64_t seen_ns;
	bool released;
	uint32_t lease_ms;	/* the holder counts on so much, if the profile says less */
};

/* What was read at now_ns; a revision that is not newer changes nothing. True: it is new. */
bool lease_watch_note(struct lease_watch *w, uint64_t rev, uint64_t fence, bool released, uint64_t now_ns);
/* May the host's stores be claimed at now_ns? A host never seen: not before a
 * whole lease has been watched from the first note on. */
bool lease_watch_over(const struct lease_watch *w, const struct group_profile *p, uint64_t now_ns);

#endif
