// SPDX-License-Identifier: GPL-2.0
#include "daemon/systemd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/store/child.h"

#define ASK_MS	2000

/* The last line of its answer. */
static bool ask(char *const *argv, char *ret, size_t len)
{
	char *envp[] = { (char *)"PATH=/usr/bin:/bin", (char *)"LC_ALL=C", NULL };
	struct child_conf conf = {
		.name = "-", .argv = argv, .envp = envp, .timeout_ms = ASK_MS, .cancel_fd = -1,
	};

	ret[0] = '\0';
	return !access("/run/systemd/system", F_OK) && child_run(&conf, ret, len) >= 0;
}

bool systemd_host_stops(void)
{
	char *argv[] = { (char *)"systemctl", (char *)"is-system-running", NULL };
	char last[64];

	return ask(argv, last, sizeof(last)) && !strcmp(last, "stopping");
}

bool systemd_is_restart(const char *line, const char *unit)
{
	char name[128], type[32];

	return sscanf(line, "%*u %127s %31s", name, type) == 2 && !strcmp(name, unit) &&
	       !strcmp(type, "restart");
}

bool systemd_restarts(const char *unit)
{
	char *argv[] = {
		(char *)"systemctl", (char *)"list-jobs", (char *)"--no-legend", (char *)"--plain",
		(char *)unit, NULL
	};
	char last[256];

	return ask(argv, last, sizeof(last)) && systemd_is_restart(last, unit);
}
