/* SPDX-License-Identifier: GPL-2.0 */
/* CRC-32C (Castagnoli, RFC 3720 B.4), the one checksum from tap to replay. */
#ifndef DAG_CRC32C_H
#define DAG_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * dag_crc32c - checksum of a buffer, continuing `crc` (0 to begin).
 * The result is finalised: dag_crc32c(0, "123456789", 9) == 0xe3069283.
 * Picks SSE4.2, ARMv8 CRC or a table once, at the first call.
 */
uint32_t dag_crc32c(uint32_t crc, const void *buf, size_t len);

#endif
