// SPDX-License-Identifier: GPL-2.0
/*
 * HMAC (RFC 2104) over OpenSSL's SHA-256, with both keyed states prepared: a
 * datagram costs two copies of a small struct and no allocation, where EVP_MAC of
 * OpenSSL 3.0 allocates for each. The functions it needs are marked deprecated in
 * favour of EVP, hence the define.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "daemon/group/beat.h"

#include <endian.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct dag_beat) == 216, "datagram size");
_Static_assert(offsetof(struct dag_beat, mac) == 216 - DAG_BEAT_MAC, "the MAC is last");
_Static_assert(SHA256_DIGEST_LENGTH == DAG_BEAT_MAC, "MAC size");

#define INTERVAL_MS_MAX	60000

struct beat_key {
	SHA256_CTX inner, outer;
};

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int beat_key_new(const char *hex, struct beat_key **ret)
{
	uint8_t block[SHA256_CBLOCK] = { 0 };
	struct beat_key *key;
	size_t i;

	if (strlen(hex) != 2 * BEAT_KEY_BYTES)
		return -EINVAL;
	for (i = 0; i < BEAT_KEY_BYTES; i++) {
		int hi = digit(hex[2 * i]), lo = digit(hex[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return -EINVAL;
		block[i] = hi << 4 | lo;
	}
	key = malloc(sizeof(*key));
	if (!key)
		return -ENOMEM;
	for (i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36;
	SHA256_Init(&key->inner);
	SHA256_Update(&key->inner, block, sizeof(block));
	for (i = 0; i < sizeof(block); i++)
		block[i] ^= 0x36 ^ 0x5c;
	SHA256_Init(&key->outer);
	SHA256_Update(&key->outer, block, sizeof(block));
	OPENSSL_cleanse(block, sizeof(block));
	*ret = key;
	return 0;
}

void beat_key_free(struct beat_key *key)
{
	if (key)
		OPENSSL_cleanse(key, sizeof(*key));
	free(key);
}

static void mac(const struct beat_key *key, const struct dag_beat *raw, uint8_t ret[DAG_BEAT_MAC])
{
	SHA256_CTX ctx = key->inner;

	SHA256_Update(&ctx, raw, offsetof(struct dag_beat, mac));
	SHA256_Final(ret, &ctx);
	ctx = key->outer;
	SHA256_Update(&ctx, ret, DAG_BEAT_MAC);
	SHA256_Final(ret, &ctx);
}

void beat_encode(const struct beat *b, struct beat_key *key, struct dag_beat *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->magic = htole32(DAG_BEAT_MAGIC);
	ret->version = htole32(DAG_BEAT_VERSION);
	memcpy(ret->group, b->group, sizeof(ret->group));
	memcpy(ret->sender, b->sender, strnlen(b->sender, sizeof(ret->sender) - 1));
	memcpy(ret->from, b->from.b, 16);
	memcpy(ret->to, b->to.b, 16);
	ret->boot = htole64(b->boot);
	ret->seq = htole64(b->seq);
	ret->sent_ns = htole64(b->sent_ns);
	ret->echo_boot = htole64(b->echo_boot);
	ret->echo_ns = htole64(b->echo_ns);
	ret->echo_held_ns = htole64(b->echo_held_ns);
	ret->generation = htole64(b->generation);
	ret->flags = htole32(b->flags);
	ret->interval_ms = htole32(b->interval_ms);
	mac(key, ret, ret->mac);
}

/* A name that ends, has no control characters, and nothing behind its end. */
static int name_ok(const char name[64])
{
	size_t len = strnlen(name, 64), i;

	if (!len || len == 64)
		return 0;
	for (i = 0; i < len; i++)
		if ((unsigned char)name[i] <= 0x20 || name[i] == 0x7f)
			return 0;
	for (; i < 64; i++)
		if (name[i])
			return 0;
	return 1;
}

int beat_decode(const void *buf, size_t len, const uint8_t group[16], struct beat_key *key,
		struct beat *ret)
{
	uint8_t want[DAG_BEAT_MAC];
	struct dag_beat raw;
	struct beat b;

	if (len != sizeof(raw))
		return -EBADMSG;
	memcpy(&raw, buf, sizeof(raw));
	if (le32toh(raw.magic) != DAG_BEAT_MAGIC || le32toh(raw.version) != DAG_BEAT_VERSION)
		return -EBADMSG;
	if (memcmp(raw.group, group, sizeof(raw.group)))
		return -EXDEV;
	mac(key, &raw, want);
	if (CRYPTO_memcmp(want, raw.mac, sizeof(want)))
		return -EKEYREJECTED;
	memset(&b, 0, sizeof(b));
	memcpy(b.group, raw.group, sizeof(b.group));
	memcpy(b.sender, raw.sender, sizeof(b.sender));
	memcpy(b.from.b, raw.from, 16);
	memcpy(b.to.b, raw.to, 16);
	b.boot = le64toh(raw.boot);
	b.seq = le64toh(raw.seq);
	b.sent_ns = le64toh(raw.sent_ns);
	b.echo_boot = le64toh(raw.echo_boot);
	b.echo_ns = le64toh(raw.echo_ns);
	b.echo_held_ns = le64toh(raw.echo_held_ns);
	b.generation = le64toh(raw.generation);
	b.flags = le32toh(raw.flags);
	b.interval_ms = le32toh(raw.interval_ms);
	if (!name_ok(b.sender) || !b.boot || !b.seq || b.seq > INT64_MAX || b.sent_ns > INT64_MAX ||
	    b.echo_ns > INT64_MAX || b.echo_held_ns > INT64_MAX || b.generation > INT64_MAX ||
	    b.flags & ~DAG_BEAT_FLAGS || !b.interval_ms || b.interval_ms > INTERVAL_MS_MAX)
		return -EBADMSG;
	*ret = b;
	return 0;
}
