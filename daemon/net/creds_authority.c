// SPDX-License-Identifier: GPL-2.0
/*
 * creds_authority - the key of the group's CA, on its way from one member to another.
 */
#include "daemon/net/creds_internal.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"

bool creds_authority_held(const char *dir)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/%s", dir, CREDS_CA_KEY);
	return !access(path, F_OK);
}

int creds_authority_pem(const char *dir, char **ret_pem)
{
	return creds_file_read(dir, CREDS_CA_KEY, true, ret_pem);
}

void creds_authority_wipe(char *pem)
{
	if (pem)
		explicit_bzero(pem, strlen(pem));
	free(pem);
}

/* A passphrase is not asked for. */
static int none(char *buf, int size, int rw, void *arg)
{
	(void)buf;
	(void)size;
	(void)rw;
	(void)arg;
	return -1;
}

int creds_authority_install(const char *dir, const char *pem)
{
	EVP_PKEY *key = NULL;
	X509 *ca = NULL;
	char *text = NULL;
	BIO *bio;
	int rc = creds_file_read(dir, CREDS_CA_CRT, false, &text);

	if (rc == 0)
		rc = creds_crt_parse(CREDS_CA_CRT, text, &ca);
	free(text);
	if (rc < 0)
		return rc;
	bio = BIO_new_mem_buf(pem, -1);
	key = bio ? PEM_read_bio_PrivateKey(bio, NULL, none, NULL) : NULL;
	BIO_free(bio);
	if (!key)
		rc = -EBADMSG;
	else if (X509_check_private_key(ca, key) != 1)
		rc = -EKEYREJECTED;
	ERR_clear_error();
	if (rc == 0)
		rc = creds_file_write(dir, CREDS_CA_KEY, 0600, pem, strlen(pem));
	else
		log_err("creds: received authority refused error=\"%s\"", strerror(-rc));
	EVP_PKEY_free(key);
	X509_free(ca);
	return rc;
}
