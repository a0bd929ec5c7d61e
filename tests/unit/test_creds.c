// SPDX-License-Identifier: GPL-2.0
/*
 * A group's authority, joining it, and every way its files can be wrong.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/certs.h"

#define GROUP	"5f0c7a52-9d6e-4a53-8a1c-0d6f5b1f3c11"
#define OTHER	"a9b0d1c2-1111-4222-8333-944445555666"

static char ca_dir[64], dir[64], log_path[96];
static int log_fd;

/* What the daemon logs goes to a file, to be looked at. */
static void setup(void)
{
	certs_dir(ca_dir);
	certs_dir(dir);
	snprintf(log_path, sizeof(log_path), "%s.log", dir);
	log_fd = open(log_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	dup2(log_fd, STDERR_FILENO);
	cr_assert_eq(certs_group(ca_dir, GROUP), 0);
}

static void teardown(void)
{
	certs_remove(ca_dir);
	certs_remove(dir);
	close(log_fd);
	unlink(log_path);
}

static bool logged(const char *text)
{
	static char buf[16384];
	ssize_t n = pread(log_fd, buf, sizeof(buf) - 1, 0);

	buf[n < 0 ? 0 : n] = 0;
	return strstr(buf, text) != NULL;
}

static void path_of(char *ret, const char *d, const char *file)
{
	snprintf(ret, 256, "%s/%s", d, file);
}

TestSuite(creds, .init = setup, .fini = teardown);

Test(creds, founder_and_member)
{
	char path[256], fp[65], fp2[65], *pem, *pem2;
	struct creds *c = NULL;
	struct stat st;

	cr_assert_eq(certs_join(ca_dir, dir, GROUP, "node1"), 0);
	cr_assert_eq(creds_load(dir, &c), 0);
	cr_assert_str_eq(creds_member(c), "node1");
	cr_assert_str_eq(creds_group(c), GROUP);
	creds_free(c);
	path_of(path, dir, CREDS_KEY);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	path_of(path, ca_dir, CREDS_CA_KEY);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	/* the founder is a member in the same directory */
	cr_assert_eq(certs_join(ca_dir, ca_dir, GROUP, "founder"), 0);
	cr_assert_eq(creds_load(ca_dir, &c), 0);
	creds_free(c);
	cr_assert_eq(creds_ca_pem(ca_dir, &pem), 0);
	cr_assert_eq(creds_ca_pem(dir, &pem2), 0);
	cr_assert_str_eq(pem, pem2);
	cr_assert_eq(creds_ca_fingerprint(pem, fp), 0);
	cr_assert_eq(creds_ca_fingerprint(pem2, fp2), 0);
	cr_assert_eq(strlen(fp), 64);
	cr_assert_str_eq(fp, fp2);
	free(pem);
	free(pem2);
	cr_assert_eq(creds_ca_create(ca_dir, GROUP, 10), -EEXIST);
}

/* The engine and its clients verify a member by these; a name must not become two. */
Test(creds, alternative_names)
{
	char *csr = NULL, *crt = NULL;
	X509 *x = NULL;

	cr_assert_eq(creds_request(dir, GROUP, "n,DNS:evil", &csr), 0);
	cr_assert_eq(creds_sign(ca_dir, GROUP, "n,DNS:evil", "fd00::7", csr, 1, &crt), 0);
	cr_assert_eq(creds_crt_parse("crt", crt, &x), 0);
	cr_assert_eq(X509_check_ip_asc(x, "fd00::7", 0), 1);
	cr_assert_eq(X509_check_ip_asc(x, "fd00::8", 0), 0);
	cr_assert_eq(X509_check_host(x, "evil", 0, 0, NULL), 0);
	X509_free(x);
	free(crt);
	crt = NULL;
	cr_assert_eq(creds_sign(ca_dir, GROUP, "n,DNS:evil", "", csr, 1, &crt), 0);
	free(crt);
	crt = NULL;
	cr_assert_lt(creds_sign(ca_dir, GROUP, "n,DNS:evil", "not an address", csr, 1, &crt), 0);
	free(csr);
	cr_assert_eq(creds_request(dir, GROUP, "node1", &csr), 0);
	cr_assert_eq(creds_sign(ca_dir, GROUP, "node1", "10.0.0.1", csr, 1, &crt), 0);
	cr_assert_eq(creds_crt_parse("crt", crt, &x), 0);
	cr_assert_eq(X509_check_ip_asc(x, "10.0.0.1", 0), 1);
	cr_assert_eq(X509_check_host(x, "node1", 0, 0, NULL), 1);
	X509_free(x);
	free(crt);
	free(csr);
}

Test(creds, serials_and_extensions)
{
	struct creds *a, *b;
	const ASN1_INTEGER *sa, *sb;

	cr_assert_eq(certs_join(ca_dir, dir, GROUP, "node1"), 0);
	cr_assert_eq(creds_load(dir, &a), 0);
	cr_assert_eq(certs_join(ca_dir, dir, GROUP, "node1"), 0);
	cr_assert_eq(creds_load(dir, &b), 0);
	sa = X509_get0_serialNumber(a->crt);
	sb = X509_get0_serialNumber(b->crt);
	cr_assert_neq(ASN1_INTEGER_cmp(sa, sb), 0);
	cr_assert_geq(ASN1_STRING_length(sa), 12);
	/* renewal keeps the key */
	cr_assert_eq(EVP_PKEY_eq(a->key, b->key), 1);
	cr_assert(EVP_PKEY_is_a(a->key, "EC"));
	cr_assert_eq(X509_check_ca(a->ca), 1);
	cr_assert_eq(X509_check_ca(a->crt), 0);
	cr_assert_eq(X509_get_extended_key_usage(a->crt), XKU_SSL_SERVER | XKU_SSL_CLIENT);
	cr_assert_eq(X509_get_key_usage(a->ca), KU_KEY_CERT_SIGN | KU_CRL_SIGN);
	creds_free(a);
	creds_free(b);
}

Test(creds, sign_refuses_other_names)
{
	char *csr, *crt = NULL;

	cr_assert_eq(creds_request(dir, GROUP, "mallory", &csr), 0);
	cr_assert_eq(creds_sign(ca_dir, GROUP, "node1", "127.0.0.1", csr, 1, &crt), -EACCES);
	cr_assert(logged("names another member"));
	cr_assert_eq(creds_sign(ca_dir, OTHER, "mallory", "127.0.0.1", csr, 1, &crt), -EACCES);
	free(csr);
	cr_assert_eq(creds_request(dir, OTHER, "node1", &csr), 0);
	cr_assert_eq(creds_sign(ca_dir, GROUP, "node1", "127.0.0.1", csr, 1, &crt), -EACCES);
	cr_assert(logged("names another group"));
	/* a request that was changed on its way */
	csr[strlen(csr) / 2] ^= 1;
	cr_assert_lt(creds_sign(ca_dir, OTHER, "node1", "127.0.0.1", csr, 1, &crt), 0);
	free(csr);
	cr_assert_eq(creds_sign(ca_dir, GROUP, "node1", "127.0.0.1", "no pem", 1, &crt), -EBADMSG);
	cr_assert_null(crt);
	cr_assert_eq(creds_request(dir, GROUP, "", &csr), -EINVAL);
	cr_assert_eq(creds_request(dir, GROUP, "a b", &csr), -EINVAL);
}

Test(creds, load_says_what_is_missing)
{
	struct creds *c = NULL;
	char path[256];

	cr_assert_eq(creds_load(dir, &c), -ENOENT);
	cr_assert(logged("ca.crt is missing"));
	cr_assert_eq(certs_join(ca_dir, dir, GROUP, "node1"), 0);
	path_of(path, dir, CREDS_KEY);
	cr_assert_eq(chmod(path, 0640), 0);
	cr_assert_eq(creds_load(dir, &c), -EPERM);
	cr_assert(logged("mode=640 is open to others"));
	unlink(path);
	cr_assert_eq(creds_load(dir, &c), -ENOENT);
	cr_assert(logged("member.key is missing"));
	cr_assert_null(c);
}

static void expect_refused(struct creds *bad, const char *text)
{
	struct creds *c = NULL;

	certs_store(bad, dir);
	creds_free(bad);
	cr_assert_eq(creds_load(dir, &c), -EKEYREJECTED);
	cr_assert(logged(text), "no \"%s\" in the log", text);
	cr_assert_null(c);
}

Test(creds, expired)
{
	expect_refused(certs_craft(ca_dir, GROUP, "n", -7200, -3600),
		       "member.crt refused cause=\"expired\"");
}

Test(creds, not_yet_valid)
{
	expect_refused(certs_craft(ca_dir, GROUP, "n", 3600, 7200), "not yet valid");
}

Test(creds, another_group)
{
	expect_refused(certs_craft(ca_dir, OTHER, "n", -60, 7200), "is of another group");
}

Test(creds, wrong_ca)
{
	struct creds *bad = certs_craft(ca_dir, GROUP, "n", -60, 7200);
	struct creds *other;
	char ca2[64];

	certs_dir(ca2);
	cr_assert_eq(certs_group(ca2, GROUP), 0);
	other = certs_craft(ca2, GROUP, "n", -60, 7200);
	X509_free(bad->ca);
	bad->ca = other->ca;
	other->ca = NULL;
	creds_free(other);
	certs_remove(ca2);
	expect_refused(bad, "not signed by the group's CA");
}

Test(creds, key_of_another)
{
	struct creds *bad = certs_craft(ca_dir, GROUP, "n", -60, 7200);
	struct creds *other = certs_craft(ca_dir, GROUP, "n", -60, 7200);
	EVP_PKEY *key = bad->key;

	bad->key = other->key;
	other->key = key;
	creds_free(other);
	expect_refused(bad, "member.key does not match");
}

Test(creds, a_member_is_no_ca)
{
	struct creds *bad = certs_craft(ca_dir, GROUP, "n", -60, 7200);

	X509_free(bad->ca);
	bad->ca = bad->crt;
	X509_up_ref(bad->crt);
	expect_refused(bad, "not a CA");
}

Test(creds, install_checks_first)
{
	char ca2[64], *csr, *crt, *ca, *ca_other;
	struct creds *c;

	certs_dir(ca2);
	cr_assert_eq(certs_group(ca2, OTHER), 0);
	cr_assert_eq(creds_ca_pem(ca_dir, &ca), 0);
	cr_assert_eq(creds_ca_pem(ca2, &ca_other), 0);
	cr_assert_eq(creds_request(dir, GROUP, "node1", &csr), 0);
	cr_assert_eq(creds_sign(ca_dir, GROUP, "node1", "127.0.0.1", csr, 30, &crt), 0);
	cr_assert_eq(creds_install(dir, crt, ca_other), -EKEYREJECTED);
	cr_assert_eq(creds_install(dir, "junk", ca), -EBADMSG);
	cr_assert_eq(creds_install(dir, crt, ca), 0);
	cr_assert_eq(creds_install(dir, crt, ca), 0);
	cr_assert_eq(creds_load(dir, &c), 0);
	creds_free(c);
	/* the founder of another group does not lose its authority */
	free(csr);
	free(crt);
	cr_assert_eq(creds_request(ca2, GROUP, "node2", &csr), 0);
	cr_assert_eq(creds_sign(ca_dir, GROUP, "node2", "127.0.0.1", csr, 30, &crt), 0);
	cr_assert_eq(creds_install(ca2, crt, ca), -EEXIST);
	free(csr);
	free(crt);
	free(ca);
	free(ca_other);
	certs_remove(ca2);
}

/* ---- the authority goes on, and revokes ------------------------------------ */

Test(creds, authority_is_taken_if_it_is_the_groups)
{
	char ca2[64], path[256], *pem, *other;
	struct stat st;

	certs_dir(ca2);
	cr_assert_eq(certs_group(ca2, GROUP), 0);
	cr_assert_eq(certs_join(ca_dir, dir, GROUP, "node2"), 0);
	cr_assert(creds_authority_held(ca_dir) && !creds_authority_held(dir));
	cr_assert_eq(creds_authority_pem(ca_dir, &pem), 0);
	cr_assert_eq(creds_authority_pem(ca2, &other), 0);
	cr_assert_eq(creds_authority_install(dir, other), -EKEYREJECTED);
	cr_assert_eq(creds_authority_install(dir, "junk"), -EBADMSG);
	cr_assert(!creds_authority_held(dir));
	cr_assert_eq(creds_authority_install(dir, pem), 0);
	path_of(path, dir, CREDS_CA_KEY);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert(!logged("PRIVATE"));
	/* it signs from now on */
	cr_assert_eq(certs_join(dir, ca2, GROUP, "node3"), -EEXIST, "ca2 has another authority");
	creds_authority_wipe(pem);
	creds_authority_wipe(other);
	certs_remove(ca2);
	certs_dir(ca2);
	cr_assert_eq(certs_join(dir, ca2, GROUP, "node3"), 0);
	certs_remove(ca2);
}

/* The loaded credentials of a member that has just joined, and its serial number. */
static struct creds *joined(const char *member, char serial[CREDS_SERIAL_MAX])
{
	struct creds *c;

	cr_assert_eq(certs_join(ca_dir, dir, GROUP, member), 0);
	cr_assert_eq(creds_load(dir, &c), 0);
	cr_assert_eq(creds_own_serial(c, serial), 0);
	return c;
}

Test(creds, revoked_is_what_the_ca_says)
{
	char serial[CREDS_SERIAL_MAX], serial2[CREDS_SERIAL_MAX], crl[8192], crl2[8192], ca2[64];
	struct creds *a = joined("node1", serial), *b = joined("node2", serial2), *c;

	cr_assert_eq(creds_crl_add(ca_dir, GROUP, "", "", crl, sizeof(crl)), 0);
	cr_assert_eq(creds_crl_take(b, crl), 0);
	cr_assert(!creds_revoked(b, a->crt) && !creds_revoked(b, b->crt));
	cr_assert_eq(creds_crl_add(ca_dir, GROUP, crl, serial, crl2, sizeof(crl2)), 0);
	cr_assert_eq(creds_crl_take(b, crl2), 0);
	cr_assert(creds_revoked(b, a->crt) && !creds_revoked(b, b->crt));
	/* once more is once; nobody is forgotten by the next */
	cr_assert_eq(creds_crl_add(ca_dir, GROUP, crl2, serial, crl, sizeof(crl)), 0);
	cr_assert_str_eq(crl, crl2);
	cr_assert_eq(creds_crl_add(ca_dir, GROUP, crl2, serial2, crl, sizeof(crl)), 0);
	cr_assert_eq(creds_crl_take(a, crl), 0);
	cr_assert(creds_revoked(a, a->crt) && creds_revoked(a, b->crt));
	/* kept for the next start */
	cr_assert_eq(creds_crl_store(dir, crl), 0);
	cr_assert_eq(creds_load(dir, &c), 0);
	cr_assert(creds_revoked(c, a->crt) && creds_revoked(c, b->crt));
	creds_free(c);
	/* another CA's, even of the same name, and bytes that are none */
	certs_dir(ca2);
	cr_assert_eq(certs_group(ca2, GROUP), 0);
	cr_assert_eq(creds_crl_add(ca2, GROUP, "", "", crl2, sizeof(crl2)), 0);
	cr_assert_eq(creds_crl_take(a, crl2), -EKEYREJECTED);
	cr_assert_eq(creds_crl_store(dir, crl2), -EKEYREJECTED);
	cr_assert_eq(creds_crl_add(ca_dir, GROUP, crl2, serial, crl, sizeof(crl)), -EBADMSG);
	cr_assert_eq(creds_crl_take(a, "Zm9v"), -EBADMSG);
	cr_assert_eq(creds_crl_take(a, ""), -EBADMSG);
	cr_assert_eq(creds_crl_add(ca_dir, GROUP, "", "not hex", crl, sizeof(crl)), -EINVAL);
	cr_assert_eq(creds_crl_add(ca_dir, GROUP, "", "-17", crl, sizeof(crl)), -EINVAL);
	cr_assert(creds_revoked(a, a->crt), "what was taken stays");
	/* without the key there is no list to be made */
	cr_assert_eq(creds_crl_add(dir, GROUP, "", serial, crl, sizeof(crl)), -ENOENT);
	creds_free(a);
	creds_free(b);
	certs_remove(ca2);
}

/* etcd needs a file; it is not the CA's, so nobody else believes it. */
Test(creds, a_first_list_revokes_nothing)
{
	char serial[CREDS_SERIAL_MAX], crl[8192], path[256];
	struct creds *a = joined("node1", serial), *c;
	struct stat st, st2;

	path_of(path, dir, CREDS_CRL);
	cr_assert_eq(creds_crl_ensure(dir), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(creds_load(dir, &c), 0);
	cr_assert_null(c->crl);
	creds_free(c);
	cr_assert_eq(creds_crl_add(ca_dir, GROUP, "", serial, crl, sizeof(crl)), 0);
	cr_assert_eq(creds_crl_store(dir, crl), 0);
	cr_assert_eq(creds_crl_ensure(dir), 0);
	cr_assert_eq(creds_load(dir, &c), 0);
	cr_assert(creds_revoked(c, a->crt));
	creds_free(c);
	/* what is there is not written again, a damaged one is */
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(creds_crl_store(dir, crl), 0);
	cr_assert_eq(stat(path, &st2), 0);
	cr_assert_eq(st.st_ino, st2.st_ino);
	cr_assert_eq(truncate(path, 60), 0);
	cr_assert_eq(creds_crl_store(dir, crl), 0);
	cr_assert_eq(creds_load(dir, &c), 0);
	cr_assert(creds_revoked(c, a->crt));
	creds_free(c);
	creds_free(a);
}

Test(creds, a_list_that_does_not_fit)
{
	char crl[2048] = "", next[2048], serial[CREDS_SERIAL_MAX];
	unsigned n;
	int rc = 0;

	for (n = 0; !rc && n < 100; n++) {
		snprintf(serial, sizeof(serial), "%032X", n + 1);
		rc = creds_crl_add(ca_dir, GROUP, crl, serial, next, sizeof(next));
		if (!rc)
			strcpy(crl, next);
	}
	cr_assert_eq(rc, -ENOSPC);
	cr_assert_gt(n, 20);
	/* the list that there was is whole */
	cr_assert_eq(creds_crl_add(ca_dir, GROUP, crl, "", next, sizeof(next)), 0);
	cr_assert_str_eq(crl, next);
}
