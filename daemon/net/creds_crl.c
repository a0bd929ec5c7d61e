// SPDX-License-Identifier: GPL-2.0
/*
 * creds_crl - the list of certificates that the group's CA has revoked.
 *
 * The agreed state carries the whole list, signed: a member believes the CA and nobody
 * else, whoever brings it. Our own handshakes look in the list in memory, etcd reads
 * crl.pem in each of its own. What etcd 3.4.23 does with that file was tried: no file or
 * a damaged one refuses everybody, so it is replaced whole and made before etcd starts;
 * nextUpdate is not looked at, so a list does not go stale, and is that of the CA.
 */
#include "daemon/net/creds_internal.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"

/* A certificate is signed for 10 years: what was revoked before that has ended. */
#define KEEP_DAYS	3700

/* ---- text and PEM --------------------------------------------------------- */

static int crl_parse(const char *text, X509_CRL **ret)
{
	size_t len = strlen(text);
	unsigned char *der = malloc(len + 1);
	const unsigned char *p = der;
	X509_CRL *crl = NULL;
	int n = -1;

	if (!der)
		return -ENOMEM;
	if (len && len % 4 == 0)
		n = EVP_DecodeBlock(der, (const unsigned char *)text, (int)len);
	if (n > 0)
		crl = d2i_X509_CRL(NULL, &p, n);
	ERR_clear_error();
	/* EVP_DecodeBlock counts the padding as bytes */
	if (crl && n - (p - der) > 2) {
		X509_CRL_free(crl);
		crl = NULL;
	}
	free(der);
	if (!crl)
		return -EBADMSG;
	*ret = crl;
	return 0;
}

static int crl_format(X509_CRL *crl, char *ret, size_t cap)
{
	unsigned char *der = NULL;
	int n = i2d_X509_CRL(crl, &der), rc = 0;

	if (n <= 0)
		rc = -ENOMEM;
	else if ((size_t)(n + 2) / 3 * 4 + 1 > cap)
		rc = -ENOSPC;
	else
		EVP_EncodeBlock((unsigned char *)ret, der, n);
	OPENSSL_free(der);
	return rc;
}

static int crl_write(const char *dir, X509_CRL *crl)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;
	int rc = -ENOMEM;

	if (bio && PEM_write_bio_X509_CRL(bio, crl)) {
		len = BIO_get_mem_data(bio, &text);
		rc = creds_file_write(dir, CREDS_CRL, 0644, text, len);
	}
	BIO_free(bio);
	return rc;
}

/* -ENOENT: no file, or none that can be read. */
static int crl_read(const char *dir, X509_CRL **ret)
{
	char *pem;
	BIO *bio;
	int rc = creds_file_read(dir, CREDS_CRL, false, &pem);

	if (rc < 0)
		return -ENOENT;
	bio = BIO_new_mem_buf(pem, -1);
	*ret = bio ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	free(pem);
	ERR_clear_error();
	return *ret ? 0 : -ENOENT;
}

static bool crl_is_of(X509_CRL *crl, X509 *ca)
{
	bool is = !X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(ca)) &&
		  X509_CRL_verify(crl, X509_get0_pubkey(ca)) == 1;

	ERR_clear_error();
	return is;
}

/* ---- make ------------------------------------------------------------------ */

static int crl_new(X509 *issuer, X509_CRL **ret)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);

	if (!crl || !now || !X509_CRL_set_version(crl, X509_CRL_VERSION_2) ||
	    !X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer)) ||
	    !X509_CRL_set1_lastUpdate(crl, now) ||
	    !X509_CRL_set1_nextUpdate(crl, X509_get0_notAfter(issuer))) {
		X509_CRL_free(crl);
		crl = NULL;
	}
	ASN1_TIME_free(now);
	*ret = crl;
	return crl ? 0 : -ENOMEM;
}

static bool has_ended(const X509_REVOKED *rev)
{
	int days, secs;

	return ASN1_TIME_diff(&days, &secs, X509_REVOKED_get0_revocationDate(rev), NULL) &&
	       days > KEEP_DAYS;
}

/* Takes over rev. */
static int push(X509_CRL *crl, X509_REVOKED *rev)
{
	if (rev && X509_CRL_add0_revoked(crl, rev))
		return 0;
	X509_REVOKED_free(rev);
	return -ENOMEM;
}

static int copy_entries(X509_CRL *to, X509_CRL *from)
{
	STACK_OF(X509_REVOKED) *list = X509_CRL_get_REVOKED(from);
	int rc = 0;

	for (int i = 0; rc == 0 && i < sk_X509_REVOKED_num(list); i++)
		if (!has_ended(sk_X509_REVOKED_value(list, i)))
			rc = push(to, X509_REVOKED_dup(sk_X509_REVOKED_value(list, i)));
	return rc;
}

static int add_serial(X509_CRL *crl, const ASN1_INTEGER *serial)
{
	X509_REVOKED *rev = X509_REVOKED_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	int rc = -ENOMEM;

	if (rev && now && X509_REVOKED_set_serialNumber(rev, (ASN1_INTEGER *)serial) &&
	    X509_REVOKED_set_revocationDate(rev, now)) {
		rc = push(crl, rev);
		rev = NULL;
	}
	X509_REVOKED_free(rev);
	ASN1_TIME_free(now);
	return rc;
}

static int serial_parse(const char *text, ASN1_INTEGER **ret)
{
	BIGNUM *bn = NULL;
	size_t len = strlen(text);

	*ret = NULL;
	if (len && len < CREDS_SERIAL_MAX && BN_hex2bn(&bn, text) == (int)len &&
	    !BN_is_negative(bn))
		*ret = BN_to_ASN1_INTEGER(bn, NULL);
	BN_free(bn);
	ERR_clear_error();
	return *ret ? 0 : -EINVAL;
}

static int make(X509 *ca, EVP_PKEY *key, X509_CRL *old, const ASN1_INTEGER *serial,
		X509_CRL **ret)
{
	X509_CRL *crl;
	int rc = crl_new(ca, &crl);

	if (rc == 0 && old)
		rc = copy_entries(crl, old);
	if (rc == 0 && serial)
		rc = add_serial(crl, serial);
	if (rc == 0 && (!X509_CRL_sort(crl) || !X509_CRL_sign(crl, key, EVP_sha256())))
		rc = -EIO;
	if (rc < 0)
		X509_CRL_free(crl);
	else
		*ret = crl;
	return rc;
}

int creds_crl_add(const char *dir, const char *group_uuid, const char *text, const char *serial,
		  char *ret, size_t cap)
{
	X509_CRL *old = NULL, *crl = NULL;
	ASN1_INTEGER *number = NULL;
	X509_REVOKED *found = NULL;
	EVP_PKEY *key = NULL;
	X509 *ca = NULL;
	int rc = creds_authority_load(dir, group_uuid, &ca, &key);

	if (rc == 0 && serial[0])
		rc = serial_parse(serial, &number);
	if (rc == 0 && text[0])
		rc = crl_parse(text, &old);
	if (rc == 0 && old && !crl_is_of(old, ca))
		rc = -EBADMSG;
	if (rc == 0 && old && number)
		X509_CRL_get0_by_serial(old, &found, number);
	if (rc == 0 && old && (!number || found))
		rc = crl_format(old, ret, cap);
	else if (rc == 0)
		rc = make(ca, key, old, number, &crl);
	if (rc == 0 && crl)
		rc = crl_format(crl, ret, cap);
	if (rc < 0 && rc != -ENOENT)
		log_err("creds: serial=%s not revoked error=\"%s\"", serial, strerror(-rc));
	X509_CRL_free(old);
	X509_CRL_free(crl);
	ASN1_INTEGER_free(number);
	EVP_PKEY_free(key);
	X509_free(ca);
	return rc;
}

/* ---- use ------------------------------------------------------------------- */

static void crl_swap(struct creds *c, X509_CRL *crl)
{
	pthread_mutex_lock(&c->crl_lock);
	X509_CRL_free(c->crl);
	c->crl = crl;
	pthread_mutex_unlock(&c->crl_lock);
}

int creds_crl_take(struct creds *c, const char *text)
{
	X509_CRL *crl;
	int rc = crl_parse(text, &crl);

	if (rc == 0 && !crl_is_of(crl, c->ca)) {
		X509_CRL_free(crl);
		rc = -EKEYREJECTED;
	}
	if (rc < 0)
		log_err("creds: list of revoked certificates refused error=\"%s\"", strerror(-rc));
	else
		crl_swap(c, crl);
	return rc;
}

void creds_crl_load(const char *dir, struct creds *c)
{
	X509_CRL *crl;

	if (crl_read(dir, &crl))
		return;
	if (crl_is_of(crl, c->ca))
		crl_swap(c, crl);
	else
		X509_CRL_free(crl);
}

bool creds_revoked(const struct creds *creds, X509 *crt)
{
	struct creds *c = (struct creds *)creds;
	X509_REVOKED *found = NULL;

	pthread_mutex_lock(&c->crl_lock);
	if (c->crl)
		X509_CRL_get0_by_serial(c->crl, &found, X509_get_serialNumber(crt));
	pthread_mutex_unlock(&c->crl_lock);
	return found;
}

int creds_crl_store(const char *dir, const char *text)
{
	X509_CRL *crl = NULL, *there = NULL;
	char *pem = NULL;
	X509 *ca = NULL;
	int rc = crl_parse(text, &crl);

	if (rc == 0)
		rc = creds_file_read(dir, CREDS_CA_CRT, false, &pem);
	if (rc == 0)
		rc = creds_crt_parse(CREDS_CA_CRT, pem, &ca);
	if (rc == 0 && !crl_is_of(crl, ca))
		rc = -EKEYREJECTED;
	if (rc < 0)
		log_err("creds: file=%s/%s not written error=\"%s\"", dir, CREDS_CRL, strerror(-rc));
	else if (crl_read(dir, &there) || X509_CRL_match(there, crl))
		rc = crl_write(dir, crl);
	X509_CRL_free(there);
	X509_CRL_free(crl);
	X509_free(ca);
	free(pem);
	return rc;
}

int creds_crl_ensure(const char *dir)
{
	X509_CRL *crl = NULL;
	EVP_PKEY *key = NULL;
	char *pem = NULL;
	X509 *crt = NULL;
	int rc;

	if (!crl_read(dir, &crl)) {
		X509_CRL_free(crl);
		return 0;
	}
	rc = creds_file_read(dir, CREDS_CRT, false, &pem);
	if (rc == 0)
		rc = creds_crt_parse(CREDS_CRT, pem, &crt);
	if (rc == 0)
		rc = creds_key_load(dir, CREDS_KEY, &key);
	if (rc == 0)
		rc = make(crt, key, NULL, NULL, &crl);
	if (rc == 0)
		rc = crl_write(dir, crl);
	X509_CRL_free(crl);
	X509_free(crt);
	EVP_PKEY_free(key);
	free(pem);
	return rc;
}
