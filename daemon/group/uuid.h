/* SPDX-License-Identifier: GPL-2.0 */
/* uuid - 16 bytes and their text of 36 characters. Pure. */
#ifndef DAG_UUID_H
#define DAG_UUID_H

#include <stdint.h>

#define UUID_TEXT	37	/* with the NUL */

void uuid_format(const uint8_t uuid[16], char ret[UUID_TEXT]);
/* Strict: 8-4-4-4-12 hex digits and nothing else; else -EINVAL. */
int uuid_parse_text(const char *text, uint8_t ret[16]);
/* Make random bytes a version 4 uuid. */
void uuid_from_random(uint8_t uuid[16]);

#endif
