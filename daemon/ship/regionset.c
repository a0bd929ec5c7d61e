// SPDX-License-Identifier: GPL-2.0
#include "daemon/ship/regionset.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "include/dag/crc32c.h"
#include "kmod/core/region.h"

uint64_t regionset_bytes(uint64_t regions)
{
	return regions / 8 + !!(regions % 8);
}

static bool has(const struct regionset *set, uint64_t r)
{
	return set->bits[r / 8] >> r % 8 & 1;
}

void regionset_encode(const struct regionset *set, struct dag_region_set *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->magic = htole32(DAG_SET_MAGIC);
	ret->region_bytes = htole32(set->region_bytes);
	ret->id = htole64(set->id);
	ret->regions = htole64(set->regions);
	ret->bits_crc = htole32(dag_crc32c(0, set->bits, regionset_bytes(set->regions)));
	ret->crc = htole32(dag_crc32c(0, ret, offsetof(struct dag_region_set, crc)));
}

int regionset_decode(const struct dag_region_set *head, uint64_t sectors, struct regionset *ret)
{
	struct regionset s = {
		.id = le64toh(head->id),
		.regions = le64toh(head->regions),
		.region_bytes = le32toh(head->region_bytes),
		.crc = le32toh(head->bits_crc),
	};
	__u64 regions;

	if (le32toh(head->magic) != DAG_SET_MAGIC)
		return -EPROTO;
	if (le32toh(head->crc) != dag_crc32c(0, head, offsetof(struct dag_region_set, crc)))
		return -EBADMSG;
	for (size_t i = 0; i < sizeof(head->rsvd); i++)
		if (head->rsvd[i])
			return -EPROTO;
	if (!s.id || dagtap_region_count(sectors, s.region_bytes, &regions) || s.regions != regions)
		return -EINVAL;
	*ret = s;
	return 0;
}

int regionset_check(const struct regionset *set)
{
	uint64_t bytes = regionset_bytes(set->regions);

	if (dag_crc32c(0, set->bits, bytes) != set->crc)
		return -EBADMSG;
	if (set->regions % 8 && set->bits[bytes - 1] >> set->regions % 8)
		return -EINVAL;
	return 0;
}

void regionset_merge(const struct regionset *set, uint8_t *bits, uint64_t regions,
		     uint32_t region_bytes)
{
	for (uint64_t r = 0; r < set->regions; r++) {
		uint64_t first, last;

		if (!(r % 8) && !set->bits[r / 8]) {
			r += 7;
			continue;
		}
		if (!has(set, r))
			continue;
		first = r * set->region_bytes / region_bytes;
		last = ((r + 1) * set->region_bytes - 1) / region_bytes;
		for (; first <= last && first < regions; first++)
			bits[first / 8] |= (uint8_t)(1u << first % 8);
	}
}

uint64_t regionset_count(const struct regionset *set)
{
	uint64_t n = 0;

	for (uint64_t r = 0; r < set->regions; r++)
		n += has(set, r);
	return n;
}

void regionset_free(struct regionset *set)
{
	free(set->bits);
	*set = (struct regionset){ 0 };
}
