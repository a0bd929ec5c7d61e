// SPDX-License-Identifier: GPL-2.0
#include "daemon/ship/compress.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lz4.h>
#define ZSTD_STATIC_LINKING_ONLY	/* contexts in memory of ours: nothing is allocated later */
#include <zstd.h>

#include "include/dag/crc32c.h"

#define HEAD		sizeof(struct dag_pack)
#define PACK_MAX	(HEAD + DAG_PACK_RAW_MAX)
#define IN_BYTES	(2 * PACK_MAX)	/* the rest of one pack, and what comes with it */
/* Faster than the network it is for; higher levels are not, for a few per cent. */
#define ZSTD_LEVEL	1

struct packer {
	enum dag_codec codec;
	void *work;			/* of the codec */
	ZSTD_CCtx *zstd;		/* in it */
	struct compress_count count;
	uint8_t out[PACK_MAX];
};

struct unpacker {
	enum dag_codec codec;
	void *work;
	ZSTD_DCtx *zstd;
	size_t at, have;		/* in[at .. have) came and was not looked at */
	const uint8_t *log;		/* in `in` or `raw`: to be taken */
	size_t log_len;
	struct compress_count count;
	char why[96];			/* "": all is well */
	uint8_t in[IN_BYTES];
	uint8_t raw[DAG_PACK_RAW_MAX];
};

static const char *const names[DAG_CODECS] = {
	[DAG_CODEC_NONE] = "none",
	[DAG_CODEC_LZ4] = "lz4",
	[DAG_CODEC_ZSTD] = "zstd",
};

const char *compress_name(enum dag_codec codec)
{
	return codec < DAG_CODECS ? names[codec] : "unknown";
}

int compress_parse(const char *name, enum dag_codec *ret)
{
	unsigned i;

	for (i = 0; i < DAG_CODECS; i++) {
		if (strcmp(name, names[i]))
			continue;
		*ret = i;
		return 0;
	}
	return -EINVAL;
}

enum dag_codec compress_choose(uint32_t offered)
{
	if (offered & DAG_HELLO_CODEC(DAG_CODEC_ZSTD))
		return DAG_CODEC_ZSTD;
	return offered & DAG_HELLO_CODEC(DAG_CODEC_LZ4) ? DAG_CODEC_LZ4 : DAG_CODEC_NONE;
}

/* ---- packing ---------------------------------------------------------------- */

int packer_create(enum dag_codec codec, struct packer **ret)
{
	size_t bytes = codec == DAG_CODEC_ZSTD ? ZSTD_estimateCCtxSize(ZSTD_LEVEL) :
						 (size_t)LZ4_sizeofState();
	struct packer *pk;

	if (codec != DAG_CODEC_LZ4 && codec != DAG_CODEC_ZSTD)
		return -EINVAL;
	pk = calloc(1, sizeof(*pk));
	if (!pk)
		return -ENOMEM;
	pk->codec = codec;
	pk->work = malloc(bytes);
	if (pk->work && codec == DAG_CODEC_ZSTD)
		pk->zstd = ZSTD_initStaticCCtx(pk->work, bytes);
	if (!pk->work || (codec == DAG_CODEC_ZSTD && !pk->zstd)) {
		packer_free(pk);
		return -ENOMEM;
	}
	*ret = pk;
	return 0;
}

void packer_free(struct packer *pk)
{
	if (!pk)
		return;
	free(pk->work);
	free(pk);
}

/* Fewer than len bytes, or 0: it does not get smaller. */
static size_t squeezed(struct packer *pk, const void *raw, size_t len)
{
	char *to = (char *)pk->out + HEAD;
	size_t n;
	int k;

	if (pk->codec == DAG_CODEC_ZSTD) {
		n = ZSTD_compressCCtx(pk->zstd, to, len - 1, raw, len, ZSTD_LEVEL);
		return ZSTD_isError(n) ? 0 : n;
	}
	k = LZ4_compress_fast_extState(pk->work, raw, to, (int)len, (int)len - 1, 1);
	return k > 0 ? (size_t)k : 0;
}

size_t packer_pack(struct packer *pk, const void *raw, size_t len, bool squeeze, const void **ret)
{
	struct dag_pack head = { .magic = htole32(DAG_PACK_MAGIC) };
	size_t n = squeeze && len > 1 ? squeezed(pk, raw, len) : 0;

	if (!n) {
		memcpy(pk->out + HEAD, raw, len);
		n = len;
	}
	head.raw_bytes = htole32((uint32_t)len);
	head.wire_bytes = htole32((uint32_t)n);
	head.crc = htole32(dag_crc32c(0, &head, offsetof(struct dag_pack, crc)));
	memcpy(pk->out, &head, HEAD);
	pk->count.raw_bytes += len;
	pk->count.wire_bytes += HEAD + n;
	*ret = pk->out;
	return HEAD + n;
}

struct compress_count packer_count(const struct packer *pk)
{
	return pk->count;
}

/* ---- unpacking -------------------------------------------------------------- */

int unpacker_create(enum dag_codec codec, struct unpacker **ret)
{
	size_t bytes = ZSTD_estimateDCtxSize();
	struct unpacker *up;

	if (codec != DAG_CODEC_LZ4 && codec != DAG_CODEC_ZSTD)
		return -EINVAL;
	up = calloc(1, sizeof(*up));
	if (!up)
		return -ENOMEM;
	up->codec = codec;
	if (codec == DAG_CODEC_ZSTD) {
		up->work = malloc(bytes);
		up->zstd = up->work ? ZSTD_initStaticDCtx(up->work, bytes) : NULL;
		if (!up->zstd) {
			unpacker_free(up);
			return -ENOMEM;
		}
	}
	*ret = up;
	return 0;
}

void unpacker_free(struct unpacker *up)
{
	if (!up)
		return;
	free(up->work);
	free(up);
}

void *unpacker_room(struct unpacker *up, size_t *ret_len)
{
	/* what is still to be taken may stand there */
	if (up->at && !up->log_len) {
		memmove(up->in, up->in + up->at, up->have - up->at);
		up->have -= up->at;
		up->at = 0;
	}
	*ret_len = sizeof(up->in) - up->have;
	return up->in + up->have;
}

void unpacker_put(struct unpacker *up, size_t len)
{
	up->have += len;
	up->count.wire_bytes += len;
}

static int fail(struct unpacker *up, const char *why)
{
	snprintf(up->why, sizeof(up->why), "%s", why);
	return -EBADMSG;
}

static int read_head(struct unpacker *up, size_t *ret_raw, size_t *ret_wire)
{
	struct dag_pack head;

	memcpy(&head, up->in + up->at, HEAD);
	if (le32toh(head.magic) != DAG_PACK_MAGIC)
		return fail(up, "no pack begins here");
	if (le32toh(head.crc) != dag_crc32c(0, &head, offsetof(struct dag_pack, crc)))
		return fail(up, "checksum of a pack's head");
	*ret_raw = le32toh(head.raw_bytes);
	*ret_wire = le32toh(head.wire_bytes);
	if (!*ret_raw || *ret_raw > DAG_PACK_RAW_MAX || !*ret_wire || *ret_wire > *ret_raw)
		return fail(up, "size of a pack");
	return 0;
}

/* Exactly raw_len bytes, or nothing that counts. */
static int expand(struct unpacker *up, const uint8_t *from, size_t wire_len, size_t raw_len)
{
	size_t n;
	int k;

	if (up->codec == DAG_CODEC_ZSTD) {
		n = ZSTD_decompressDCtx(up->zstd, up->raw, raw_len, from, wire_len);
		return !ZSTD_isError(n) && n == raw_len ? 0 : fail(up, "a pack that is not zstd");
	}
	k = LZ4_decompress_safe((const char *)from, (char *)up->raw, (int)wire_len, (int)raw_len);
	return k >= 0 && (size_t)k == raw_len ? 0 : fail(up, "a pack that is not lz4");
}

int unpacker_next(struct unpacker *up, const void **ret, size_t *ret_len)
{
	size_t raw_len, wire_len;
	int rc;

	if (up->why[0])
		return -EBADMSG;
	if (!up->log_len) {
		if (up->have - up->at < HEAD)
			return 0;
		rc = read_head(up, &raw_len, &wire_len);
		if (rc)
			return rc;
		if (up->have - up->at < HEAD + wire_len)
			return 0;
		up->log = up->in + up->at + HEAD;
		if (wire_len < raw_len) {
			rc = expand(up, up->log, wire_len, raw_len);
			if (rc)
				return rc;
			up->log = up->raw;
		}
		up->at += HEAD + wire_len;
		up->log_len = raw_len;
		up->count.raw_bytes += raw_len;
	}
	*ret = up->log;
	*ret_len = up->log_len;
	return 1;
}

void unpacker_take(struct unpacker *up, size_t len)
{
	up->log += len;
	up->log_len -= len;
}

const char *unpacker_why(const struct unpacker *up)
{
	return up->why;
}

struct compress_count unpacker_count(const struct unpacker *up)
{
	return up->count;
}
