// SPDX-License-Identifier: GPL-2.0
#include "daemon/health/checks.h"

#include <string.h>

const struct health_check health_checks[] = {
	{ "service", "does the daemon here answer", check_service },
	{ "members", "do all members answer", check_members },
	{ "listener", "do they take connections on the replication port", check_listener },
	{ "version", "do they run the same version", check_version },
	{ "module", "is the tap there", check_module },
	{ "clock", "do their clocks agree", check_clock },
	{ "certificate", "are their certificates good for some time", check_certificate },
	{ "space", "is there room for logs and state", check_space },
	{ "maintenance", "is nobody kept out by hand", check_maintenance },
	{ "quorum", "is there a majority, and one to spare", check_quorum },
	{ "authority", "could hosts be invited if one member died", check_authority },
	{ "quorum-model", "do those vote that should", check_quorum_model },
	{ "witness", "is the witness there, if one is needed", check_witness },
	{ "manager", "is there one that decides", check_manager },
	{ "lease", "may the members write", check_lease },
	{ "activation-mode", "may stores be activated", check_activation_mode },
	{ "networks", "are the networks up", check_networks },
	{ "availability", "are the stores served", check_availability },
	{ "redundancy", "do two healthy copies exist of each", check_redundancy },
	{ "in-sync", "can commits be acknowledged", check_in_sync },
	{ "takeover", "could another member take over", check_takeover },
	{ "steps", "did the steps of their activation succeed", check_steps },
	{ "log", "is the log kept", check_log },
	{ "suspended", "is no copy suspended", check_suspended },
	{ "failed", "has no copy failed", check_failed },
	{ "misconfigured", "is all there that copies are made of", check_misconfigured },
	{ "initializing", "have all copies begun", check_initializing },
	{ "disconnected", "are all copies connected", check_disconnected },
	{ "seeding", "is no copy being seeded or resynchronised", check_seeding },
	{ "copy-queue", "does shipping keep up", check_copy_queue },
	{ "replay-queue", "does replay keep up", check_replay_queue },
	{ "branches", "is no tail of a former active left", check_branches },
	{ NULL, NULL, NULL }
};

void health_run(const struct health_snapshot *s, struct health_report *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!s->service) {
		check_service(s, ret);
		return;
	}
	for (unsigned i = 0; health_checks[i].name; i++)
		health_checks[i].run(s, ret);
}
