// SPDX-License-Identifier: GPL-2.0
/*
 * Packs of the log. The first byte chooses the codec, whether a head is put before the
 * rest that fits it (so that the codecs are reached), and in what pieces it comes. What
 * is accepted stays within its bounds; what went in by a packer comes out again.
 */
#include <endian.h>
#include <string.h>

#include "daemon/ship/compress.h"
#include "include/dag/crc32c.h"
#include "tests/fuzz/fuzz.h"

static struct packer *packers[DAG_CODECS];

static size_t give(struct unpacker *up, const uint8_t *data, size_t size)
{
	size_t room;
	void *to = unpacker_room(up, &room);

	FUZZ_CHECK(room);
	size = size < room ? size : room;
	memcpy(to, data, size);
	unpacker_put(up, size);
	return size;
}

static int take(struct unpacker *up, const uint8_t *expect, size_t *at)
{
	const void *log;
	size_t len;
	int rc;

	while ((rc = unpacker_next(up, &log, &len)) > 0) {
		FUZZ_CHECK(len && len <= DAG_PACK_RAW_MAX);
		FUZZ_CHECK(!expect || !memcmp(expect + *at, log, len));
		*at += len;
		unpacker_take(up, len);
	}
	FUZZ_CHECK(!rc || unpacker_why(up)[0]);
	return rc;
}

static void hostile(enum dag_codec codec, const uint8_t *data, size_t size, bool mend, size_t piece)
{
	struct unpacker *up;
	struct dag_pack head = { htole32(DAG_PACK_MAGIC), 0, htole32((uint32_t)size), 0 };
	size_t at = 0, n = 0;
	int rc = 0;

	if (unpacker_create(codec, &up))
		return;
	if (mend && size > 2) {
		head.raw_bytes = htole32(1 + (data[0] | data[1] << 8 | (data[2] & 1) << 16));
		head.crc = htole32(dag_crc32c(0, &head, offsetof(struct dag_pack, crc)));
		give(up, (const uint8_t *)&head, sizeof(head));
	}
	while (!rc && n < size) {
		n += give(up, data + n, size - n < piece ? size - n : piece);
		rc = take(up, NULL, &at);
	}
	unpacker_free(up);
}

static void there_and_back(enum dag_codec codec, const uint8_t *data, size_t size, bool squeeze)
{
	struct unpacker *up;
	const void *pack;
	size_t at = 0, n = 0, len;

	if ((!packers[codec] && packer_create(codec, &packers[codec])) || unpacker_create(codec, &up))
		return;
	len = packer_pack(packers[codec], data, size, squeeze, &pack);
	FUZZ_CHECK(len <= size + sizeof(struct dag_pack));
	while (n < len)
		n += give(up, (const uint8_t *)pack + n, len - n);
	FUZZ_CHECK(!take(up, data, &at) && at == size);
	unpacker_free(up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum dag_codec codec;

	if (size < 2 || size > DAG_PACK_RAW_MAX)
		return 0;
	codec = data[0] & 1 ? DAG_CODEC_ZSTD : DAG_CODEC_LZ4;
	hostile(codec, data + 1, size - 1, data[0] & 2, 1 + (data[0] >> 4) * 97u);
	there_and_back(codec, data + 1, size - 1, data[0] & 4);
	return 0;
}
