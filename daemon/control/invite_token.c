// SPDX-License-Identifier: GPL-2.0
/* invite_token - the text of a token. Pure. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/invite.h"
#include "daemon/group/uuid.h"

#define FIELDS	7

static bool is_hex(const char *s, size_t len)
{
	size_t i;

	if (strlen(s) != len)
		return false;
	for (i = 0; i < len; i++)
		if (!isxdigit((unsigned char)s[i]))
			return false;
	return true;
}

static int check_fields(char *const f[FIELDS], struct invite_token *ret)
{
	uint8_t bin[16];
	char *end;
	long port = strtol(f[4], &end, 10);

	if (strcmp(f[0], "dag1") || uuid_parse_text(f[1], bin) ||
	    !group_name_valid(f[2], sizeof(ret->member) - 1) ||
	    strlen(f[3]) >= sizeof(ret->address) ||
	    (inet_pton(AF_INET, f[3], bin) != 1 && inet_pton(AF_INET6, f[3], bin) != 1) ||
	    !isdigit((unsigned char)f[4][0]) || *end || port < 1 || port > UINT16_MAX ||
	    !is_hex(f[5], 64) || !is_hex(f[6], 32))
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	strcpy(ret->group, f[1]);
	strcpy(ret->member, f[2]);
	strcpy(ret->address, f[3]);
	ret->port = port;
	strcpy(ret->fingerprint, f[5]);
	strcpy(ret->secret, f[6]);
	return 0;
}

int invite_token_parse(const char *text, struct invite_token *ret)
{
	char copy[INVITE_TOKEN_MAX], *next = copy, *f[FIELDS];
	size_t len = strlen(text);
	int i;

	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	for (i = 0; i < FIELDS; i++) {
		f[i] = strsep(&next, "/");
		if (!f[i])
			return -EINVAL;
	}
	return next ? -EINVAL : check_fields(f, ret);
}

void invite_token_format(const struct invite_token *tk, char ret[INVITE_TOKEN_MAX])
{
	snprintf(ret, INVITE_TOKEN_MAX, "dag1/%s/%s/%s/%u/%s/%s", tk->group, tk->member,
		 tk->address, tk->port, tk->fingerprint, tk->secret);
}
