/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dacfile - the activation mode's bit over a restart of the daemon, not of the host:
 * a file in the run directory that names the boot and the group's generation.
 */
#ifndef DAG_DACFILE_H
#define DAG_DACFILE_H

#include <stdbool.h>
#include <stdint.h>

void dacfile_store(const char *run_dir, uint64_t generation);
bool dacfile_holds(const char *run_dir, uint64_t generation);

#endif
