/* SPDX-License-Identifier: GPL-2.0 */
/*
 * creds - the group's own certificate authority and a member's key.
 *
 * Files of a directory (0700): ca.crt, ca.key (founder only), member.crt,
 * member.key (0600). Keys: ECDSA P-256. Subject: O = group uuid, CN = member.
 */
#ifndef DAG_CREDS_H
#define DAG_CREDS_H

#include <stddef.h>
#include <stdint.h>

struct creds;

/* Make a CA in dir; -EEXIST if there is one. days: of validity. */
int creds_ca_create(const char *dir, const char *group_uuid, unsigned days);
/*
 * Make member.key and a signing request (PEM, malloc'ed) for it. A key that is
 * there is kept, so that a renewal never leaves key and certificate apart.
 */
int creds_request(const char *dir, const char *group_uuid, const char *member, char **ret_csr_pem);
/*
 * Sign a request with the CA in dir; refuses another O or CN than given. The name
 * and the numeric address ("": none) become its alternative names, whatever the
 * request asks for.
 */
int creds_sign(const char *dir, const char *group_uuid, const char *member, const char *address,
	       const char *csr_pem, unsigned days, char **ret_crt_pem);
/*
 * Store what the founder sent: own certificate and the CA's. Checked before;
 * each file durable and atomic, member.crt last. -EEXIST: this host is the
 * founder of another group.
 */
int creds_install(const char *dir, const char *crt_pem, const char *ca_pem);
/* The CA's certificate as PEM (malloc'ed). */
int creds_ca_pem(const char *dir, char **ret_pem);
/*
 * SHA-256 of the CA's public key (DER SubjectPublicKeyInfo) as 64 hex digits +
 * NUL: part of a join token.
 */
int creds_ca_fingerprint(const char *ca_pem, char ret[65]);

/*
 * Load and check (key matches, chain, dates); errors are logged with the file:
 * -ENOENT missing, -EPERM a key open to others, -EBADMSG not PEM, -EKEYREJECTED
 * anything wrong with what is in it.
 */
int creds_load(const char *dir, struct creds **ret);
void creds_free(struct creds *creds);
/* Seconds until the own certificate or the CA's ends, whichever is first; <= 0: it has. */
int64_t creds_seconds_left(const struct creds *creds);
const char *creds_member(const struct creds *creds);
const char *creds_group(const struct creds *creds);

#endif
