// SPDX-License-Identifier: GPL-2.0
/*
 * creds - load, check and install a member's certificate.
 *
 * Everything that can be wrong with the files is found here, before a
 * connection is tried, and said with the file and the cause.
 */
#include "daemon/net/creds_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"

int creds_subject(const X509_NAME *name, int nid, char ret[CREDS_NAME_MAX + 1])
{
	int at = X509_NAME_get_index_by_NID(name, nid, -1), len;
	unsigned char *utf8;
	ASN1_STRING *data;

	if (at < 0 || X509_NAME_get_index_by_NID(name, nid, at) >= 0)
		return -EBADMSG;
	data = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
	len = ASN1_STRING_to_UTF8(&utf8, data);
	if (len < 0)
		return -EBADMSG;
	if (!len || len > CREDS_NAME_MAX || memchr(utf8, 0, len)) {
		OPENSSL_free(utf8);
		return -EBADMSG;
	}
	memcpy(ret, utf8, len);
	ret[len] = 0;
	OPENSSL_free(utf8);
	return creds_name_valid(ret) ? 0 : -EBADMSG;
}

static int verify_purpose(X509_STORE *store, X509 *crt, int purpose)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int err = X509_V_ERR_OUT_OF_MEM;

	if (ctx && X509_STORE_CTX_init(ctx, store, crt, NULL)) {
		if (purpose)
			X509_STORE_CTX_set_purpose(ctx, purpose);
		X509_verify_cert(ctx);
		err = X509_STORE_CTX_get_error(ctx);
	}
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

static int verify_error(const char *what, int err)
{
	const char *cause;

	switch (err) {
	case X509_V_OK:
		return 0;
	case X509_V_ERR_CERT_HAS_EXPIRED:
		cause = "expired";
		break;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		cause = "not yet valid, or this host's clock is wrong";
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		cause = "not signed by the group's CA";
		break;
	default:
		cause = X509_verify_cert_error_string(err);
	}
	log_err("creds: file=%s refused cause=\"%s\"", what, cause);
	return -EKEYREJECTED;
}

int creds_verify(const char *what, X509 *ca, X509 *crt)
{
	X509_STORE *store = X509_STORE_new();
	int err = X509_V_ERR_OUT_OF_MEM;

	if (store && X509_STORE_add_cert(store, ca)) {
		err = verify_purpose(store, crt, X509_PURPOSE_SSL_SERVER);
		if (err == X509_V_OK)
			err = verify_purpose(store, crt, X509_PURPOSE_SSL_CLIENT);
	}
	X509_STORE_free(store);
	return verify_error(what, err);
}

int creds_verify_ca(const char *what, X509 *ca)
{
	X509_STORE *store;
	int err = X509_V_ERR_OUT_OF_MEM;

	if (X509_check_ca(ca) != 1) {
		log_err("creds: file=%s refused cause=\"not a CA\"", what);
		return -EKEYREJECTED;
	}
	store = X509_STORE_new();
	if (store && X509_STORE_add_cert(store, ca)) {
		X509_STORE_set_flags(store, X509_V_FLAG_CHECK_SS_SIGNATURE);
		err = verify_purpose(store, ca, 0);
	}
	X509_STORE_free(store);
	return verify_error(what, err);
}

static int load_crt(const char *dir, const char *file, X509 **ret)
{
	char *pem, path[1024];
	int rc = creds_file_read(dir, file, false, &pem);

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	if (rc == -ENOENT)
		log_err("creds: file=%s is missing", path);
	if (rc < 0)
		return rc;
	rc = creds_crt_parse(path, pem, ret);
	free(pem);
	return rc;
}

static int check_names(const char *dir, struct creds *c)
{
	X509_NAME *ca = X509_get_subject_name(c->ca), *own = X509_get_subject_name(c->crt);
	char group[CREDS_NAME_MAX + 1];

	if (creds_subject(ca, NID_organizationName, c->group) < 0) {
		log_err("creds: file=%s/%s names no group in its O", dir, CREDS_CA_CRT);
		return -EKEYREJECTED;
	}
	if (creds_subject(own, NID_commonName, c->member) < 0) {
		log_err("creds: file=%s/%s names no member in its CN", dir, CREDS_CRT);
		return -EKEYREJECTED;
	}
	if (creds_subject(own, NID_organizationName, group) < 0 || strcmp(group, c->group)) {
		log_err("creds: file=%s/%s is of another group than file=%s/%s", dir,
			CREDS_CRT, dir, CREDS_CA_CRT);
		return -EKEYREJECTED;
	}
	return 0;
}

static int check_key(const char *dir, X509 *crt, EVP_PKEY *key)
{
	if (X509_check_private_key(crt, key) == 1)
		return 0;
	ERR_clear_error();
	log_err("creds: file=%s/%s does not match file=%s/%s", dir, CREDS_KEY, dir, CREDS_CRT);
	return -EKEYREJECTED;
}

int creds_load(const char *dir, struct creds **ret)
{
	struct creds *c = calloc(1, sizeof(*c));
	char path[1024];
	int rc;

	if (!c)
		return -ENOMEM;
	pthread_mutex_init(&c->crl_lock, NULL);
	rc = load_crt(dir, CREDS_CA_CRT, &c->ca);
	if (rc == 0)
		rc = load_crt(dir, CREDS_CRT, &c->crt);
	if (rc < 0)
		goto out;
	rc = creds_key_load(dir, CREDS_KEY, &c->key);
	if (rc == -ENOENT)
		log_err("creds: file=%s/%s is missing", dir, CREDS_KEY);
	if (rc < 0)
		goto out;
	snprintf(path, sizeof(path), "%s/%s", dir, CREDS_CA_CRT);
	rc = creds_verify_ca(path, c->ca);
	snprintf(path, sizeof(path), "%s/%s", dir, CREDS_CRT);
	if (rc == 0)
		rc = creds_verify(path, c->ca, c->crt);
	if (rc == 0)
		rc = check_key(dir, c->crt, c->key);
	if (rc == 0)
		rc = check_names(dir, c);
	if (rc == 0)
		creds_crl_load(dir, c);
out:
	if (rc < 0)
		creds_free(c);
	else
		*ret = c;
	return rc;
}

void creds_free(struct creds *c)
{
	if (!c)
		return;
	X509_free(c->ca);
	X509_free(c->crt);
	EVP_PKEY_free(c->key);
	X509_CRL_free(c->crl);
	pthread_mutex_destroy(&c->crl_lock);
	free(c);
}

static int64_t seconds_left(const X509 *crt)
{
	int days, secs;

	/* from now */
	if (!ASN1_TIME_diff(&days, &secs, NULL, X509_get0_notAfter(crt)))
		return 0;
	return (int64_t)days * 86400 + secs;
}

int64_t creds_seconds_left(const struct creds *c)
{
	int64_t own = seconds_left(c->crt), ca = seconds_left(c->ca);

	return own < ca ? own : ca;
}

const char *creds_member(const struct creds *c)
{
	return c->member;
}

int creds_own_serial(const struct creds *c, char ret[CREDS_SERIAL_MAX])
{
	return creds_serial_of(c->crt, ret);
}

const char *creds_group(const struct creds *c)
{
	return c->group;
}

/* An authority that this host has the key of is not to be lost to another. */
static int check_own_ca(const char *dir, X509 *ca)
{
	EVP_PKEY *key = NULL;
	int rc = creds_key_load(dir, CREDS_CA_KEY, &key);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	if (X509_check_private_key(ca, key) != 1) {
		log_err("creds: dir=%s has the authority of another group", dir);
		rc = -EEXIST;
	}
	ERR_clear_error();
	EVP_PKEY_free(key);
	return rc;
}

int creds_install(const char *dir, const char *crt_pem, const char *ca_pem)
{
	struct creds c = { 0 };
	int rc;

	rc = creds_crt_parse("received " CREDS_CA_CRT, ca_pem, &c.ca);
	if (rc == 0)
		rc = creds_crt_parse("received " CREDS_CRT, crt_pem, &c.crt);
	if (rc == 0)
		rc = creds_key_load(dir, CREDS_KEY, &c.key);
	if (rc == 0)
		rc = creds_verify_ca("received " CREDS_CA_CRT, c.ca);
	if (rc == 0)
		rc = creds_verify("received " CREDS_CRT, c.ca, c.crt);
	if (rc == 0)
		rc = check_key(dir, c.crt, c.key);
	if (rc == 0)
		rc = check_names(dir, &c);
	if (rc == 0)
		rc = check_own_ca(dir, c.ca);
	/* member.crt last: with it the member is complete */
	if (rc == 0)
		rc = creds_file_write(dir, CREDS_CA_CRT, 0644, ca_pem, strlen(ca_pem));
	if (rc == 0)
		rc = creds_file_write(dir, CREDS_CRT, 0644, crt_pem, strlen(crt_pem));
	X509_free(c.ca);
	X509_free(c.crt);
	EVP_PKEY_free(c.key);
	return rc;
}

int creds_ca_pem(const char *dir, char **ret_pem)
{
	X509 *ca = NULL;
	int rc = load_crt(dir, CREDS_CA_CRT, &ca);

	if (rc == 0)
		rc = creds_crt_pem(ca, ret_pem);
	X509_free(ca);
	return rc;
}

int creds_ca_fingerprint(const char *ca_pem, char ret[65])
{
	unsigned char *der = NULL, md[SHA256_DIGEST_LENGTH];
	X509 *ca = NULL;
	int rc, len, i;

	rc = creds_crt_parse("received " CREDS_CA_CRT, ca_pem, &ca);
	if (rc < 0)
		return rc;
	len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(ca), &der);
	if (len > 0 && EVP_Digest(der, len, md, NULL, EVP_sha256(), NULL) == 1) {
		for (i = 0; i < SHA256_DIGEST_LENGTH; i++)
			sprintf(ret + 2 * i, "%02x", md[i]);
	} else {
		rc = -EBADMSG;
	}
	OPENSSL_free(der);
	X509_free(ca);
	return rc;
}

int creds_serial_of(const X509 *crt, char ret[CREDS_SERIAL_MAX])
{
	BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(crt), NULL);
	char *hex = bn ? BN_bn2hex(bn) : NULL;
	int rc = hex ? 0 : -ENOMEM;

	if (hex && snprintf(ret, CREDS_SERIAL_MAX, "%s", hex) >= CREDS_SERIAL_MAX)
		rc = -EBADMSG;
	OPENSSL_free(hex);
	BN_free(bn);
	return rc;
}

int creds_serial(const char *crt_pem, char ret[CREDS_SERIAL_MAX])
{
	X509 *crt = NULL;
	int rc = creds_crt_parse("signed " CREDS_CRT, crt_pem, &crt);

	if (rc == 0)
		rc = creds_serial_of(crt, ret);
	X509_free(crt);
	return rc;
}
