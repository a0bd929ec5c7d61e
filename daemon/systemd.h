/* SPDX-License-Identifier: GPL-2.0 */
/*
 * systemd - what the service manager is about to do, where there is one. Asked by
 * systemctl, 2 s at most; no answer is no.
 */
#ifndef DAG_SYSTEMD_H
#define DAG_SYSTEMD_H

#include <stdbool.h>

/* Is the host going down? */
bool systemd_host_stops(void);
/* Is the unit being stopped only to be started again? */
bool systemd_restarts(const char *unit);
/* A line of `systemctl list-jobs`: ID UNIT TYPE STATE. Pure. */
bool systemd_is_restart(const char *line, const char *unit);

#endif
