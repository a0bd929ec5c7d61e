/* SPDX-License-Identifier: GPL-2.0 */
/*
 * checks - is the group healthy? (semantics 36) Each check is a function of a
 * snapshot and nothing else; it adds a finding for each fault, with the effect and
 * the command that mends it, and none where all is well.
 */
#ifndef DAG_HEALTH_CHECKS_H
#define DAG_HEALTH_CHECKS_H

#include "daemon/health/report.h"

struct health_check {
	const char *name;		/* NULL: end */
	const char *question;		/* that "ok" answers */
	void (*run)(const struct health_snapshot *s, struct health_report *r);
};

/* All of them, in the order in which they are read. */
extern const struct health_check health_checks[];

/* Where the daemon that was asked did not answer, that is the one finding. */
void health_run(const struct health_snapshot *s, struct health_report *ret);

/* checks_member.c */
void check_service(const struct health_snapshot *s, struct health_report *r);
void check_members(const struct health_snapshot *s, struct health_report *r);
void check_listener(const struct health_snapshot *s, struct health_report *r);
void check_version(const struct health_snapshot *s, struct health_report *r);
void check_module(const struct health_snapshot *s, struct health_report *r);
void check_clock(const struct health_snapshot *s, struct health_report *r);
void check_certificate(const struct health_snapshot *s, struct health_report *r);
void check_space(const struct health_snapshot *s, struct health_report *r);
void check_maintenance(const struct health_snapshot *s, struct health_report *r);
/* checks_group.c */
void check_quorum(const struct health_snapshot *s, struct health_report *r);
void check_authority(const struct health_snapshot *s, struct health_report *r);
void check_quorum_model(const struct health_snapshot *s, struct health_report *r);
void check_witness(const struct health_snapshot *s, struct health_report *r);
void check_manager(const struct health_snapshot *s, struct health_report *r);
void check_lease(const struct health_snapshot *s, struct health_report *r);
void check_activation_mode(const struct health_snapshot *s, struct health_report *r);
void check_networks(const struct health_snapshot *s, struct health_report *r);
/* checks_store.c */
void check_availability(const struct health_snapshot *s, struct health_report *r);
void check_redundancy(const struct health_snapshot *s, struct health_report *r);
void check_in_sync(const struct health_snapshot *s, struct health_report *r);
void check_takeover(const struct health_snapshot *s, struct health_report *r);
void check_steps(const struct health_snapshot *s, struct health_report *r);
void check_log(const struct health_snapshot *s, struct health_report *r);
/* checks_copy.c */
void check_suspended(const struct health_snapshot *s, struct health_report *r);
void check_failed(const struct health_snapshot *s, struct health_report *r);
void check_misconfigured(const struct health_snapshot *s, struct health_report *r);
void check_initializing(const struct health_snapshot *s, struct health_report *r);
void check_disconnected(const struct health_snapshot *s, struct health_report *r);
void check_seeding(const struct health_snapshot *s, struct health_report *r);
void check_copy_queue(const struct health_snapshot *s, struct health_report *r);
void check_replay_queue(const struct health_snapshot *s, struct health_report *r);
void check_branches(const struct health_snapshot *s, struct health_report *r);

#endif
