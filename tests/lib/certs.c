// SPDX-License-Identifier: GPL-2.0
/*
 * certs - see certs.h. Crafts with the library directly, since creds_sign()
 * rightly refuses what the tests need.
 */
#include "tests/lib/certs.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void need(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "certs: %s failed\n", what);
	abort();
}

void certs_dir(char ret[64])
{
	strcpy(ret, "/tmp/dag-creds-XXXXXX");
	need(mkdtemp(ret) != NULL, "mkdtemp");
}

void certs_remove(const char *dir)
{
	static const char *const files[] = { CREDS_CA_CRT, CREDS_CA_KEY, CREDS_CRT, CREDS_KEY,
					    CREDS_CRL };
	char path[256];
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		unlink(path);
	}
	rmdir(dir);
}

int certs_group(const char *dir, const char *group)
{
	return creds_ca_create(dir, group, 3650);
}

int certs_join(const char *ca_dir, const char *dir, const char *group, const char *member)
{
	char *csr = NULL, *crt = NULL, *ca = NULL;
	int rc = creds_request(dir, group, member, &csr);

	if (rc == 0)
		rc = creds_sign(ca_dir, group, member, "127.0.0.1", csr, 365, &crt);
	if (rc == 0)
		rc = creds_ca_pem(ca_dir, &ca);
	if (rc == 0)
		rc = creds_install(dir, crt, ca);
	free(csr);
	free(crt);
	free(ca);
	return rc;
}

static void add_ext(X509 *crt, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	need(ext && X509_add_ext(crt, ext, -1), "extension");
	X509_EXTENSION_free(ext);
}

struct creds *certs_craft(const char *ca_dir, const char *o, const char *cn,
			  long from_s, long to_s)
{
	struct creds *c = calloc(1, sizeof(*c));
	X509_NAME *name;
	EVP_PKEY *ca_key;
	char *pem;

	need(c && creds_ca_pem(ca_dir, &pem) == 0, "ca");
	need(creds_crt_parse("ca", pem, &c->ca) == 0, "ca parse");
	need(creds_key_load(ca_dir, CREDS_CA_KEY, &ca_key) == 0, "ca key");
	c->key = EVP_EC_gen("P-256");
	c->crt = X509_new();
	X509_set_version(c->crt, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(c->crt), 7);
	X509_set_pubkey(c->crt, c->key);
	name = X509_get_subject_name(c->crt);
	X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, (const void *)o, -1, -1, 0);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const void *)cn, -1, -1, 0);
	X509_set_issuer_name(c->crt, X509_get_subject_name(c->ca));
	X509_gmtime_adj(X509_getm_notBefore(c->crt), from_s);
	X509_gmtime_adj(X509_getm_notAfter(c->crt), to_s);
	add_ext(c->crt, NID_basic_constraints, "critical,CA:FALSE");
	add_ext(c->crt, NID_key_usage, "critical,digitalSignature");
	add_ext(c->crt, NID_ext_key_usage, "serverAuth,clientAuth");
	need(X509_sign(c->crt, ca_key, EVP_sha256()) > 0, "sign");
	EVP_PKEY_free(ca_key);
	free(pem);
	need(creds_subject(X509_get_subject_name(c->ca), NID_organizationName, c->group) == 0,
	     "subject");
	snprintf(c->member, sizeof(c->member), "%s", cn);
	return c;
}

void certs_store(const struct creds *c, const char *dir)
{
	char *text, *ca, *crt;
	BIO *bio = BIO_new(BIO_s_mem());
	long len;

	need(PEM_write_bio_PrivateKey(bio, c->key, NULL, NULL, 0, NULL, NULL), "key pem");
	len = BIO_get_mem_data(bio, &text);
	need(creds_file_write(dir, CREDS_KEY, 0600, text, len) == 0, "key file");
	BIO_free(bio);
	need(creds_crt_pem(c->ca, &ca) == 0 && creds_crt_pem(c->crt, &crt) == 0, "crt pem");
	need(creds_file_write(dir, CREDS_CA_CRT, 0644, ca, strlen(ca)) == 0, "ca file");
	need(creds_file_write(dir, CREDS_CRT, 0644, crt, strlen(crt)) == 0, "crt file");
	free(ca);
	free(crt);
}
