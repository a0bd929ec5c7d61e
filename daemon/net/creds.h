/* SPDX-License-Identifier: GPL-2.0 */
/*
 * creds - the group's own certificate authority and a member's key.
 *
 * Files of a directory (0700): ca.crt, ca.key (where the authority is held),
 * member.crt, member.key (0600), crl.pem. Keys: ECDSA P-256. Subject: O = group uuid,
 * CN = member.
 */
#ifndef DAG_CREDS_H
#define DAG_CREDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct creds;

#define CREDS_SERIAL_MAX	41	/* hex digits of a serial number, and NUL */

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
 * Store what was sent at the join: own certificate and the CA's. Checked before;
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
/* Serial number of a certificate; random, 128 bits: no two that sign give out the same. */
int creds_serial(const char *crt_pem, char ret[CREDS_SERIAL_MAX]);

/*
 * The authority: who has its key can sign members and revoke. The key comes from
 * another member over a connection that nobody else reads; it is checked against ca.crt
 * and durable when 0 is returned. The text is secret: creds_authority_wipe().
 */
bool creds_authority_held(const char *dir);
int creds_authority_pem(const char *dir, char **ret_pem);
int creds_authority_install(const char *dir, const char *pem);
void creds_authority_wipe(char *pem);

/*
 * Revocation: the CA's signed list of the serial numbers that it has revoked, as text
 * without line ends (base64 of DER) for the agreed state. crl "": none yet; serial "":
 * the list as it is, an empty one if there is none. -ENOENT: the authority is not here;
 * -EBADMSG: crl is not this CA's; -ENOSPC: does not fit cap.
 */
int creds_crl_add(const char *dir, const char *group_uuid, const char *crl, const char *serial,
		  char *ret, size_t cap);
/* Refuse by this list from now on, in every handshake with these credentials. */
int creds_crl_take(struct creds *creds, const char *crl);
/* crl.pem, for etcd and for the next creds_load(); nothing is written if it is there. */
int creds_crl_store(const char *dir, const char *crl);
/*
 * etcd refuses everybody without the file: where there is none yet, one that revokes
 * nothing and is signed by the member itself. etcd reads the list and not the signature;
 * nobody else takes it for the CA's.
 */
int creds_crl_ensure(const char *dir);

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
/* Of the own certificate, as creds_serial(). */
int creds_own_serial(const struct creds *creds, char ret[CREDS_SERIAL_MAX]);
const char *creds_group(const struct creds *creds);

#endif
