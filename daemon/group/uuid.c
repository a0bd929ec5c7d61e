// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/uuid.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_dash(int i)
{
	return i == 8 || i == 13 || i == 18 || i == 23;
}

void uuid_format(const uint8_t uuid[16], char ret[UUID_TEXT])
{
	static const char hex[] = "0123456789abcdef";
	int i, n = 0;

	for (i = 0; i < 16; i++) {
		if (is_dash(n))
			ret[n++] = '-';
		ret[n++] = hex[uuid[i] >> 4];
		ret[n++] = hex[uuid[i] & 15];
	}
	ret[n] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int uuid_parse_text(const char *text, uint8_t ret[16])
{
	uint8_t out[16] = { 0 };
	int i, n = 0;

	if (strlen(text) != UUID_TEXT - 1)
		return -EINVAL;
	for (i = 0; i < UUID_TEXT - 1; i++) {
		int d;

		if (is_dash(i)) {
			if (text[i] != '-')
				return -EINVAL;
			continue;
		}
		d = hex_digit(text[i]);
		if (d < 0)
			return -EINVAL;
		out[n / 2] |= n & 1 ? d : d << 4;
		n++;
	}
	memcpy(ret, out, sizeof(out));
	return 0;
}

void uuid_from_random(uint8_t uuid[16])
{
	uuid[6] = (uuid[6] & 0x0f) | 0x40;
	uuid[8] = (uuid[8] & 0x3f) | 0x80;
}
