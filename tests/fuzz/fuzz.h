/* SPDX-License-Identifier: GPL-2.0 */
/*
 * One harness, two drivers: libFuzzer's, or standalone.c where there is no clang.
 * A harness ends the process when an invariant breaks.
 */
#ifndef DAG_FUZZ_H
#define DAG_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(cond) do { if (!(cond)) abort(); } while (0)

#endif
