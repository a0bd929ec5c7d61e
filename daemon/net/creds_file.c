// SPDX-License-Identifier: GPL-2.0
/* creds_file - the files of credentials, whole or as they were, and the PEM in them. */
#include "daemon/net/creds_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/safefile.h"

#define FILE_LEN_MAX	65536

const char *creds_ssl_error(void)
{
	unsigned long e = ERR_get_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;

	ERR_clear_error();
	return text ? text : "no reason given";
}

/* A key with a passphrase must not make the daemon ask for it on a terminal. */
static int no_passphrase(char *buf, int size, int rw, void *arg)
{
	(void)buf;
	(void)size;
	(void)rw;
	(void)arg;
	return -1;
}

int creds_file_read(const char *dir, const char *file, bool secret, char **ret_text)
{
	char path[PATH_MAX], *text = NULL;
	struct stat st;
	ssize_t n = 0;
	size_t len = 0;
	int fd, rc;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		rc = -errno;
		if (rc != -ENOENT)
			log_err("creds: file=%s cannot be opened error=\"%s\"", path, strerror(-rc));
		return rc;
	}
	rc = -errno;
	if (fstat(fd, &st) < 0)
		goto out;
	rc = -EPERM;
	if (secret && st.st_mode & 077) {
		log_err("creds: file=%s mode=%o is open to others than its owner, want mode=600",
			path, (unsigned)st.st_mode & 07777);
		goto out;
	}
	rc = -ENOMEM;
	text = malloc(FILE_LEN_MAX + 1);
	if (!text)
		goto out;
	while (len < FILE_LEN_MAX && (n = read(fd, text + len, FILE_LEN_MAX - len)) > 0)
		len += n;
	rc = n < 0 ? -errno : len == FILE_LEN_MAX ? -EFBIG : 0;
	text[len] = 0;
	if (rc < 0)
		log_err("creds: file=%s cannot be read error=\"%s\"", path, strerror(-rc));
out:
	close(fd);
	if (rc < 0)
		free(text);
	else
		*ret_text = text;
	return rc;
}

int creds_dir_make(const char *dir)
{
	char parent[PATH_MAX];
	int rc;

	if (mkdir(dir, 0700) < 0) {
		if (errno == EEXIST)
			return 0;
		rc = -errno;
	} else {
		snprintf(parent, sizeof(parent), "%s/..", dir);
		rc = safefile_sync_dir(parent);
	}
	if (rc < 0)
		log_err("creds: dir=%s cannot be made error=\"%s\"", dir, strerror(-rc));
	return rc;
}

int creds_file_write(const char *dir, const char *file, int mode, const char *text, size_t len)
{
	char path[PATH_MAX];
	int rc;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	rc = safefile_replace(path, (mode_t)mode, text, len);
	if (rc < 0)
		log_err("creds: file=%s cannot be written error=\"%s\"", path, strerror(-rc));
	return rc;
}

int creds_crt_parse(const char *what, const char *pem, X509 **ret)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	X509 *crt = bio ? PEM_read_bio_X509(bio, NULL, no_passphrase, NULL) : NULL;

	BIO_free(bio);
	if (!crt) {
		log_err("creds: file=%s is no certificate cause=\"%s\"", what, creds_ssl_error());
		return -EBADMSG;
	}
	*ret = crt;
	return 0;
}

int creds_key_load(const char *dir, const char *file, EVP_PKEY **ret)
{
	char *pem;
	BIO *bio;
	EVP_PKEY *key;
	int rc = creds_file_read(dir, file, true, &pem);

	if (rc < 0)
		return rc;
	bio = BIO_new_mem_buf(pem, -1);
	key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
	BIO_free(bio);
	explicit_bzero(pem, strlen(pem));
	free(pem);
	if (!key) {
		log_err("creds: file=%s/%s is no private key cause=\"%s\"", dir, file,
			creds_ssl_error());
		return -EBADMSG;
	}
	*ret = key;
	return 0;
}

int creds_key_make(const char *dir, const char *file, EVP_PKEY **ret)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	BIO *bio = BIO_new(BIO_s_secmem());
	char *text;
	long len;
	int rc = -ENOMEM;

	if (!key || !bio || !PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) {
		log_err("creds: no key could be made cause=\"%s\"", creds_ssl_error());
		goto out;
	}
	len = BIO_get_mem_data(bio, &text);
	rc = creds_file_write(dir, file, 0600, text, len);
out:
	BIO_free(bio);
	if (rc < 0)
		EVP_PKEY_free(key);
	else
		*ret = key;
	return rc;
}

int creds_crt_pem(X509 *crt, char **ret_pem)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text, *pem = NULL;
	long len;

	if (bio && PEM_write_bio_X509(bio, crt)) {
		len = BIO_get_mem_data(bio, &text);
		pem = strndup(text, len);
	}
	BIO_free(bio);
	if (!pem)
		return -ENOMEM;
	*ret_pem = pem;
	return 0;
}
