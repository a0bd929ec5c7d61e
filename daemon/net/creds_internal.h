/* SPDX-License-Identifier: GPL-2.0 */
/*
 * creds_internal - what creds.c, creds_ca.c and the streams share.
 */
#ifndef DAG_CREDS_INTERNAL_H
#define DAG_CREDS_INTERNAL_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "daemon/net/creds.h"

#define CREDS_NAME_MAX	64	/* of CN and O, RFC 5280 */
#define CREDS_CA_CRT	"ca.crt"
#define CREDS_CA_KEY	"ca.key"
#define CREDS_CRT	"member.crt"
#define CREDS_KEY	"member.key"
#define CREDS_CRL	"crl.pem"

/* Read only after creds_load(), but for the list: any number of threads. */
struct creds {
	X509 *ca, *crt;
	EVP_PKEY *key;
	pthread_mutex_t crl_lock;
	X509_CRL *crl;			/* of the CA; NULL: none is known */
	char group[CREDS_NAME_MAX + 1];
	char member[CREDS_NAME_MAX + 1];
};

/* Text of the oldest error of this thread's OpenSSL queue; empties it. */
const char *creds_ssl_error(void);

/* The one O or CN of a subject; -EBADMSG if there is none, two, or a NUL in it. */
int creds_subject(const X509_NAME *name, int nid, char ret[CREDS_NAME_MAX + 1]);
bool creds_name_valid(const char *name);

/* Files below dir. A file is not there: -ENOENT without a log line. */
int creds_file_read(const char *dir, const char *file, bool secret, char **ret_text);
int creds_dir_make(const char *dir);
int creds_file_write(const char *dir, const char *file, int mode, const char *text, size_t len);

int creds_crt_parse(const char *what, const char *pem, X509 **ret);
int creds_key_load(const char *dir, const char *file, EVP_PKEY **ret);
/* Make a P-256 key and store it. */
int creds_key_make(const char *dir, const char *file, EVP_PKEY **ret);
int creds_crt_pem(X509 *crt, char **ret_pem);

/* Dates and the CA's signature; what: the certificate's file, for the log. */
int creds_verify(const char *what, X509 *ca, X509 *crt);
int creds_verify_ca(const char *what, X509 *ca);

int creds_serial_of(const X509 *crt, char ret[CREDS_SERIAL_MAX]);
/* CA and key of the directory, which must be this group's. -ENOENT: no authority here. */
int creds_authority_load(const char *dir, const char *group_uuid, X509 **ret_ca,
			 EVP_PKEY **ret_key);
/* Take crl.pem if it is the CA's. */
void creds_crl_load(const char *dir, struct creds *creds);
bool creds_revoked(const struct creds *creds, X509 *crt);

#endif
