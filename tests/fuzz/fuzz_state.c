// SPDX-License-Identifier: GPL-2.0
/*
 * What a copy keeps and what a group agrees on: a state block that decodes
 * encodes to the same block; JSON that parses gives JSON that parses to the same.
 */
#include <string.h>

#include "daemon/group/state.h"
#include "daemon/store/copystate.h"
#include "tests/fuzz/fuzz.h"

static void block(const uint8_t *data, size_t size)
{
	static const uint8_t uuid[16] = { 0 };
	uint8_t raw[COPYSTATE_BLOCK] = { 0 }, again[COPYSTATE_BLOCK];
	static struct copystate_data d, e;

	memcpy(raw, data, size < sizeof(raw) ? size : sizeof(raw));
	if (copystate_decode(raw, uuid, &d))
		return;
	copystate_encode(&d, again);
	FUZZ_CHECK(!copystate_decode(again, uuid, &e));
}

/* The decoder behind the checksum: encode something, then change a field of it. */
static void fields(const uint8_t *data, size_t size)
{
	static struct copystate_data d, e;
	uint8_t raw[COPYSTATE_BLOCK], again[COPYSTATE_BLOCK];

	memset(&d, 0, sizeof(d));
	memcpy(d.uuid, "0123456789abcdef", 16);
	for (; size >= 9 && d.nr_history < COPYSTATE_HISTORY_MAX; data += 9, size -= 9) {
		d.history[d.nr_history].epoch = d.nr_history + 1 + data[0];
		memcpy(&d.history[d.nr_history++].first_lsn, data + 1, 8);
	}
	memcpy(&d.replayed_lsn, data, size < 8 ? size : 8);
	copystate_encode(&d, raw);
	if (copystate_decode(raw, d.uuid, &e))
		return;
	copystate_encode(&e, again);
	FUZZ_CHECK(!memcmp(raw, again, sizeof(raw)));
}

static void json(const uint8_t *data, size_t size)
{
	struct group_state a, b;
	char *text = malloc(size + 1), *first, *second, err[200];

	FUZZ_CHECK(text && !group_state_init(&a) && !group_state_init(&b));
	memcpy(text, data, size);
	text[size] = 0;
	if (!group_state_from_json(text, &a, err, sizeof(err))) {
		first = group_state_to_json(&a);
		FUZZ_CHECK(first && !group_state_from_json(first, &b, err, sizeof(err)));
		second = group_state_to_json(&b);
		FUZZ_CHECK(second && !strcmp(first, second));
		free(first);
		free(second);
	}
	group_state_free(&a);
	group_state_free(&b);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0]) {
	case 0: block(data + 1, size - 1); break;
	case 1: fields(data + 1, size - 1); break;
	default: json(data, size);
	}
	return 0;
}
