/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the core needs from where it runs: the kernel module, or a program in
 * user space (unit tests, fuzzers, the memory tap). Everything else in core/ is
 * plain C that allocates nothing, locks nothing and reads no clock.
 */
#ifndef DAGTAP_CORE_PORT_H
#define DAGTAP_CORE_PORT_H

#ifdef __KERNEL__

#include <linux/types.h>
#include <linux/crc32c.h>
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <asm/byteorder.h>

/* The finalised, chainable form that user space has in include/dag/crc32c.h. */
static inline __u32 dag_crc32c(__u32 crc, const void *data, size_t bytes)
{
	return ~crc32c(~crc, data, bytes);
}

#else

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <linux/types.h>

#include "dag/crc32c.h"

#ifndef le64_to_cpu
#define le16_to_cpu(x)	le16toh(x)
#define le32_to_cpu(x)	le32toh(x)
#define le64_to_cpu(x)	le64toh(x)
#define cpu_to_le16(x)	htole16(x)
#define cpu_to_le32(x)	htole32(x)
#define cpu_to_le64(x)	htole64(x)
#endif

#endif /* __KERNEL__ */

#include "uapi/dagtap.h"

#define DAGTAP_ROUND_UP(x, align) \
	(((x) + ((align) - 1)) & ~((__u64)(align) - 1))

#endif
