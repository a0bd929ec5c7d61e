// SPDX-License-Identifier: GPL-2.0
/*
 * creds_ca - the authority's side: make it (the founder), sign members; and
 * the member's: make a key and a request.
 *
 * Happy path: founder creds_ca_create(); member creds_request() -> PEM goes to
 * who invited it by the join's own way -> creds_sign() -> back -> creds_install().
 *
 * Failure modes: a request that names somebody else, another group or another
 * kind of key is refused with -EACCES; a half-made CA (key without certificate
 * after a crash) is made anew, since nothing can have been signed by it.
 */
#include "daemon/net/creds_internal.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"

#define CA_CN		"dag group authority"
#define BACKDATE_S	3600	/* clocks of members differ before they agree */
#define DAYS_MAX	36500u

bool creds_name_valid(const char *name)
{
	size_t len = name ? strlen(name) : 0, i;

	if (!len || len > CREDS_NAME_MAX)
		return false;
	for (i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return false;
	return true;
}

static int name_set(X509_NAME *name, const char *o, const char *cn)
{
	if (!X509_NAME_add_entry_by_NID(name, NID_organizationName, MBSTRING_ASC,
					(const unsigned char *)o, -1, -1, 0) ||
	    !X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_ASC,
					(const unsigned char *)cn, -1, -1, 0))
		return -EINVAL;
	return 0;
}

static int serial_set(X509 *crt)
{
	unsigned char raw[16];
	BIGNUM *bn = NULL;
	int rc = -EIO;

	if (RAND_bytes(raw, sizeof(raw)) != 1)
		return rc;
	bn = BN_bin2bn(raw, sizeof(raw), NULL);
	if (bn && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(crt)))
		rc = 0;
	BN_free(bn);
	return rc;
}

static int ext_add(X509 *crt, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	int ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, issuer, crt, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(crt, ext, -1);
	X509_EXTENSION_free(ext);
	return ok ? 0 : -EINVAL;
}

/* Takes over value. */
static bool names_push(GENERAL_NAMES *names, int type, ASN1_STRING *value)
{
	GENERAL_NAME *gn = GENERAL_NAME_new();

	if (!gn || !value) {
		GENERAL_NAME_free(gn);
		ASN1_STRING_free(value);
		return false;
	}
	GENERAL_NAME_set0_value(gn, type, value);
	if (sk_GENERAL_NAME_push(names, gn))
		return true;
	GENERAL_NAME_free(gn);
	return false;
}

static ASN1_STRING *dns_name(const char *member)
{
	ASN1_IA5STRING *name = ASN1_IA5STRING_new();

	if (name && !ASN1_STRING_set(name, member, -1)) {
		ASN1_IA5STRING_free(name);
		name = NULL;
	}
	return name;
}

/*
 * Name and address of a member, for those who verify whom they called by that (the
 * engine, its clients). Built piece by piece: a name is not to be parsed as more.
 */
static int alt_names_add(X509 *crt, const char *member, const char *address)
{
	GENERAL_NAMES *names = GENERAL_NAMES_new();
	bool ok = names && names_push(names, GEN_DNS, dns_name(member));

	if (ok && address[0])
		ok = names_push(names, GEN_IPADD, a2i_IPADDRESS(address));
	if (ok)
		ok = X509_add1_ext_i2d(crt, NID_subject_alt_name, names, 0, 0) == 1;
	GENERAL_NAMES_free(names);
	return ok ? 0 : -EINVAL;
}

static int exts_add(X509 *crt, X509 *issuer, const char *cn, const char *address)
{
	bool ca = crt == issuer;
	int rc = ext_add(crt, issuer, NID_basic_constraints,
			 ca ? "critical,CA:TRUE,pathlen:0" : "critical,CA:FALSE");

	if (rc == 0)
		rc = ext_add(crt, issuer, NID_key_usage,
			     ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
	if (rc == 0 && !ca)
		rc = ext_add(crt, issuer, NID_ext_key_usage, "serverAuth,clientAuth");
	if (rc == 0)
		rc = ext_add(crt, issuer, NID_subject_key_identifier, "hash");
	if (rc == 0)
		rc = ext_add(crt, issuer, NID_authority_key_identifier, "keyid:always");
	if (rc == 0 && !ca)
		rc = alt_names_add(crt, cn, address);
	return rc;
}

/* issuer NULL: of itself. */
static int crt_make(const char *o, const char *cn, const char *address, EVP_PKEY *pub,
		    X509 *issuer, EVP_PKEY *issuer_key, unsigned days, X509 **ret)
{
	X509 *crt = X509_new();
	int rc = -ENOMEM;

	if (!crt || !X509_set_version(crt, X509_VERSION_3) || !X509_set_pubkey(crt, pub))
		goto out;
	rc = serial_set(crt);
	if (rc == 0)
		rc = name_set(X509_get_subject_name(crt), o, cn);
	if (rc < 0)
		goto out;
	if (!issuer)
		issuer = crt;
	rc = -ENOMEM;
	if (!X509_set_issuer_name(crt, X509_get_subject_name(issuer)) ||
	    !X509_time_adj_ex(X509_getm_notBefore(crt), 0, -BACKDATE_S, NULL) ||
	    !X509_time_adj_ex(X509_getm_notAfter(crt), days, 0, NULL))
		goto out;
	rc = exts_add(crt, issuer, cn, address);
	if (rc == 0 && !X509_sign(crt, issuer_key, EVP_sha256()))
		rc = -EIO;
out:
	if (rc < 0) {
		log_err("creds: certificate for member=%s cannot be made cause=\"%s\"", cn,
			creds_ssl_error());
		X509_free(crt);
		return rc;
	}
	*ret = crt;
	return 0;
}

int creds_ca_create(const char *dir, const char *group_uuid, unsigned days)
{
	EVP_PKEY *key = NULL;
	X509 *crt = NULL;
	char *pem = NULL;
	int rc;

	if (!creds_name_valid(group_uuid) || !days || days > DAYS_MAX)
		return -EINVAL;
	rc = creds_dir_make(dir);
	if (rc < 0)
		return rc;
	rc = creds_file_read(dir, CREDS_CA_CRT, false, &pem);
	if (rc == 0)
		rc = -EEXIST;
	if (rc != -ENOENT)
		goto out;
	rc = creds_key_make(dir, CREDS_CA_KEY, &key);
	if (rc == 0)
		rc = crt_make(group_uuid, CA_CN, "", key, NULL, key, days, &crt);
	free(pem);
	pem = NULL;
	if (rc == 0)
		rc = creds_crt_pem(crt, &pem);
	if (rc == 0)
		rc = creds_file_write(dir, CREDS_CA_CRT, 0644, pem, strlen(pem));
out:
	free(pem);
	X509_free(crt);
	EVP_PKEY_free(key);
	return rc;
}

static int csr_pem(X509_REQ *req, char **ret_pem)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text, *pem = NULL;
	long len;

	if (bio && PEM_write_bio_X509_REQ(bio, req)) {
		len = BIO_get_mem_data(bio, &text);
		pem = strndup(text, len);
	}
	BIO_free(bio);
	if (!pem)
		return -ENOMEM;
	*ret_pem = pem;
	return 0;
}

int creds_request(const char *dir, const char *group_uuid, const char *member, char **ret_csr_pem)
{
	X509_REQ *req = NULL;
	EVP_PKEY *key = NULL;
	int rc;

	if (!creds_name_valid(group_uuid) || !creds_name_valid(member))
		return -EINVAL;
	rc = creds_dir_make(dir);
	if (rc < 0)
		return rc;
	/* keep a key: its certificate stays valid until the new one is there */
	rc = creds_key_load(dir, CREDS_KEY, &key);
	if (rc == -ENOENT)
		rc = creds_key_make(dir, CREDS_KEY, &key);
	if (rc < 0)
		return rc;
	req = X509_REQ_new();
	rc = req ? name_set(X509_REQ_get_subject_name(req), group_uuid, member) : -ENOMEM;
	if (rc == 0 && (!X509_REQ_set_version(req, X509_REQ_VERSION_1) ||
			!X509_REQ_set_pubkey(req, key) || !X509_REQ_sign(req, key, EVP_sha256())))
		rc = -EIO;
	if (rc == 0)
		rc = csr_pem(req, ret_csr_pem);
	if (rc < 0)
		log_err("creds: request for member=%s cannot be made cause=\"%s\"", member,
			creds_ssl_error());
	X509_REQ_free(req);
	EVP_PKEY_free(key);
	return rc;
}

/* What a request asks for must be what the founder has let in. */
static const char *csr_refusal(X509_REQ *req, const char *group_uuid, const char *member)
{
	const X509_NAME *subject = X509_REQ_get_subject_name(req);
	EVP_PKEY *key = X509_REQ_get0_pubkey(req);
	char o[CREDS_NAME_MAX + 1], cn[CREDS_NAME_MAX + 1], curve[64];
	size_t len;

	if (!key || !EVP_PKEY_is_a(key, "EC") ||
	    !EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve,
					    sizeof(curve), &len) ||
	    strcmp(curve, "prime256v1"))
		return "its key is not ECDSA P-256";
	if (X509_REQ_verify(req, key) != 1)
		return "it is not signed by its own key";
	if (creds_subject(subject, NID_organizationName, o) < 0 || strcmp(o, group_uuid))
		return "it names another group";
	if (creds_subject(subject, NID_commonName, cn) < 0 || strcmp(cn, member))
		return "it names another member";
	return NULL;
}

static int csr_parse(const char *pem, const char *group_uuid, const char *member,
		     X509_REQ **ret)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509_REQ *req = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
	const char *refusal;

	BIO_free(bio);
	if (!req) {
		log_err("creds: request of member=%s cannot be read cause=\"%s\"", member,
			creds_ssl_error());
		return -EBADMSG;
	}
	refusal = csr_refusal(req, group_uuid, member);
	ERR_clear_error();
	if (refusal) {
		log_err("creds: request of member=%s refused cause=\"%s\"", member, refusal);
		X509_REQ_free(req);
		return -EACCES;
	}
	*ret = req;
	return 0;
}

int creds_authority_load(const char *dir, const char *group_uuid, X509 **ret_ca,
			 EVP_PKEY **ret_key)
{
	char o[CREDS_NAME_MAX + 1], *pem = NULL;
	int rc = creds_file_read(dir, CREDS_CA_CRT, false, &pem);

	if (rc == 0)
		rc = creds_crt_parse(CREDS_CA_CRT, pem, ret_ca);
	free(pem);
	if (rc == 0)
		rc = creds_verify_ca(CREDS_CA_CRT, *ret_ca);
	if (rc == 0)
		rc = creds_key_load(dir, CREDS_CA_KEY, ret_key);
	if (rc == -ENOENT)
		log_err("creds: dir=%s has no authority", dir);
	if (rc < 0)
		return rc;
	if (X509_check_private_key(*ret_ca, *ret_key) != 1) {
		log_err("creds: file=%s/%s does not match file=%s/%s", dir, CREDS_CA_KEY,
			dir, CREDS_CA_CRT);
		ERR_clear_error();
		return -EKEYREJECTED;
	}
	if (creds_subject(X509_get_subject_name(*ret_ca), NID_organizationName, o) < 0 ||
	    strcmp(o, group_uuid)) {
		log_err("creds: file=%s/%s is of another group than group=%s", dir,
			CREDS_CA_CRT, group_uuid);
		return -EACCES;
	}
	return 0;
}

int creds_sign(const char *dir, const char *group_uuid, const char *member, const char *address,
	       const char *csr, unsigned days, char **ret_crt_pem)
{
	X509 *ca = NULL, *crt = NULL;
	EVP_PKEY *key = NULL;
	X509_REQ *req = NULL;
	int rc;

	if (!creds_name_valid(group_uuid) || !creds_name_valid(member) || !days ||
	    days > DAYS_MAX)
		return -EINVAL;
	rc = creds_authority_load(dir, group_uuid, &ca, &key);
	if (rc == 0)
		rc = csr_parse(csr, group_uuid, member, &req);
	if (rc == 0)
		rc = crt_make(group_uuid, member, address, X509_REQ_get0_pubkey(req), ca, key, days,
			      &crt);
	if (rc == 0)
		rc = creds_crt_pem(crt, ret_crt_pem);
	X509_REQ_free(req);
	X509_free(crt);
	X509_free(ca);
	EVP_PKEY_free(key);
	return rc;
}
