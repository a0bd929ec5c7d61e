/* SPDX-License-Identifier: GPL-2.0 */
/* The one place that names the version of daemon, tool and module package. */
#ifndef DAG_VERSION_H
#define DAG_VERSION_H

#define DAG_VERSION	"0.1.0"

#endif
