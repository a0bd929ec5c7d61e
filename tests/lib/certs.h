/* SPDX-License-Identifier: GPL-2.0 */
/*
 * certs - groups, members and deliberately wrong certificates for tests.
 */
#ifndef DAG_TESTS_CERTS_H
#define DAG_TESTS_CERTS_H

#include "daemon/net/creds_internal.h"

/* A new directory below the temporary one; ends the process if it cannot. */
void certs_dir(char ret[64]);
void certs_remove(const char *dir);

/* The founder's authority in dir; a member of it, by request, sign, install. */
int certs_group(const char *dir, const char *group);
int certs_join(const char *ca_dir, const char *dir, const char *group, const char *member);

/* A member's credentials as nobody should sign them: any subject and dates. */
struct creds *certs_craft(const char *ca_dir, const char *o, const char *cn,
			  long from_s, long to_s);
/* Store them as files of a member. */
void certs_store(const struct creds *c, const char *dir);

#endif
