// SPDX-License-Identifier: GPL-2.0
/*
 * CRC-32C by whatever the processor offers, chosen at the first call.
 *
 * The crc32 instruction has a latency of three cycles and a throughput of one,
 * so the x86 code runs it over three neighbouring blocks at once and joins the
 * three registers: that of a block is moved over the n bytes behind it by a
 * carry-less multiplication with x^(8n - 33), the 33 being what crc32 of the
 * 64-bit product adds. Three lengths of blocks cover a large write, a page and
 * the rest.
 */
#include "daemon/log/crc32c_impl.h"

#include <endian.h>
#include <pthread.h>
#include <string.h>

#include <dag/crc32c.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#include <asm/hwcap.h>
#endif

#define POLY 0x82f63b78u	/* reflected: bit 31 is x^0 */

static uint32_t slice[8][256];

static void slice_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = (c >> 1) ^ (c & 1 ? POLY : 0);
		slice[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int t = 1; t < 8; t++)
			slice[t][i] = (slice[t - 1][i] >> 8) ^ slice[0][slice[t - 1][i] & 0xff];
}

static uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static uint32_t update_table(uint32_t c, const uint8_t *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8) {
		uint64_t v = load64(p) ^ c;

		c = slice[7][v & 0xff] ^ slice[6][(v >> 8) & 0xff] ^
		    slice[5][(v >> 16) & 0xff] ^ slice[4][(v >> 24) & 0xff] ^
		    slice[3][(v >> 32) & 0xff] ^ slice[2][(v >> 40) & 0xff] ^
		    slice[1][(v >> 48) & 0xff] ^ slice[0][v >> 56];
	}
	for (; len; p++, len--)
		c = (c >> 8) ^ slice[0][(c ^ *p) & 0xff];
	return c;
}

#if defined(__x86_64__)
#define X86 __attribute__((target("sse4.2,pclmul")))

static struct join {
	size_t block;		/* bytes of one of the three */
	uint32_t over1, over2;	/* moves a register over one, two blocks */
} joins[] = { { .block = 8192 }, { .block = 1344 }, { .block = 256 } };

/* x^n modulo the polynomial, reflected */
static uint32_t x_power(uint64_t n)
{
	uint32_t c = 1u << 31;

	while (n--)
		c = (c >> 1) ^ (c & 1 ? POLY : 0);
	return c;
}

static void joins_init(void)
{
	for (size_t i = 0; i < sizeof(joins) / sizeof(joins[0]); i++) {
		joins[i].over1 = x_power(8 * joins[i].block - 33);
		joins[i].over2 = x_power(16 * joins[i].block - 33);
	}
}

X86 static uint32_t move_over(uint32_t c, uint32_t power)
{
	__m128i prod = _mm_clmulepi64_si128(_mm_cvtsi32_si128(c), _mm_cvtsi32_si128(power), 0);

	return _mm_crc32_u64(0, _mm_cvtsi128_si64(prod));
}

X86 static uint32_t three_blocks(uint32_t c, const uint8_t *p, const struct join *j)
{
	const size_t n = j->block;
	uint64_t a = c, b = 0, d = 0;

	for (size_t i = 0; i < n; i += 8) {
		a = _mm_crc32_u64(a, load64(p + i));
		b = _mm_crc32_u64(b, load64(p + n + i));
		d = _mm_crc32_u64(d, load64(p + 2 * n + i));
	}
	return move_over(a, j->over2) ^ move_over(b, j->over1) ^ (uint32_t)d;
}

X86 static uint32_t update_sse42(uint32_t c, const uint8_t *p, size_t len)
{
	uint64_t wide;

	for (size_t i = 0; i < sizeof(joins) / sizeof(joins[0]); i++) {
		const struct join *j = &joins[i];

		for (; len >= 3 * j->block; p += 3 * j->block, len -= 3 * j->block)
			c = three_blocks(c, p, j);
	}
	for (wide = c; len >= 8; p += 8, len -= 8)
		wide = _mm_crc32_u64(wide, load64(p));
	for (c = (uint32_t)wide; len; p++, len--)
		c = _mm_crc32_u8(c, *p);
	return c;
}
#endif

#if defined(__aarch64__)
__attribute__((target("+crc")))
static uint32_t update_armv8(uint32_t c, const uint8_t *p, size_t len)
{
	for (; len >= 8; p += 8, len -= 8)
		c = __crc32cd(c, load64(p));
	for (; len; p++, len--)
		c = __crc32cb(c, *p);
	return c;
}
#endif

static crc32c_fn best;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static unsigned impls_fill(struct crc32c_impl *ret_impl)
{
	unsigned n = 0;

#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
		ret_impl[n++] = (struct crc32c_impl){ "sse4.2", update_sse42 };
#elif defined(__aarch64__)
	if (getauxval(AT_HWCAP) & HWCAP_CRC32)
		ret_impl[n++] = (struct crc32c_impl){ "armv8", update_armv8 };
#endif
	ret_impl[n++] = (struct crc32c_impl){ "table", update_table };
	return n;
}

static void crc32c_init(void)
{
	struct crc32c_impl impl[3];

	slice_init();
#if defined(__x86_64__)
	joins_init();
#endif
	impls_fill(impl);
	__atomic_store_n(&best, impl[0].update, __ATOMIC_RELEASE);
}

unsigned crc32c_impls(struct crc32c_impl ret_impl[3])
{
	pthread_once(&once, crc32c_init);
	return impls_fill(ret_impl);
}

uint32_t dag_crc32c(uint32_t crc, const void *buf, size_t len)
{
	crc32c_fn update = __atomic_load_n(&best, __ATOMIC_ACQUIRE);

	if (!update) {
		pthread_once(&once, crc32c_init);
		update = best;
	}
	return ~update(~crc, buf, len);
}
