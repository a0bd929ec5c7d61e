/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The implementations behind dag_crc32c(), for the test that holds them against
 * each other. Each takes and returns the raw register, not the finalised value.
 */
#ifndef DAG_CRC32C_IMPL_H
#define DAG_CRC32C_IMPL_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t (*crc32c_fn)(uint32_t reg, const uint8_t *p, size_t len);

struct crc32c_impl {
	const char *name;
	crc32c_fn update;
};

/* Those this machine can run, fastest first; returns how many (1..3). */
unsigned crc32c_impls(struct crc32c_impl ret_impl[3]);

#endif
