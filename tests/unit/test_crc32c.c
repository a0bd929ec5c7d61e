// SPDX-License-Identifier: GPL-2.0
/* crc32c: published vectors, and every implementation against bit by bit. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include <dag/crc32c.h>

#include "daemon/log/crc32c_impl.h"

static uint32_t bitwise(uint32_t reg, const uint8_t *p, size_t len)
{
	while (len--) {
		reg ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			reg = (reg >> 1) ^ (reg & 1 ? 0x82f63b78u : 0);
	}
	return reg;
}

Test(crc32c, vectors_of_rfc3720)
{
	uint8_t buf[32];

	cr_assert_eq(dag_crc32c(0, "123456789", 9), 0xe3069283u);
	cr_assert_eq(dag_crc32c(0, "", 0), 0);
	memset(buf, 0, sizeof(buf));
	cr_assert_eq(dag_crc32c(0, buf, 32), 0x8a9136aau);
	memset(buf, 0xff, sizeof(buf));
	cr_assert_eq(dag_crc32c(0, buf, 32), 0x62a8ab43u);
	for (int i = 0; i < 32; i++)
		buf[i] = i;
	cr_assert_eq(dag_crc32c(0, buf, 32), 0x46dd794eu);
	for (int i = 0; i < 32; i++)
		buf[i] = 31 - i;
	cr_assert_eq(dag_crc32c(0, buf, 32), 0x113fdb5cu);
}

Test(crc32c, implementations_agree_at_every_length_and_offset)
{
	static const size_t edges[] = { 767, 768, 769, 4031, 4032, 4033, 4096, 4800, 8191,
					24575, 24576, 24584, 65536, 100003 };
	struct crc32c_impl impl[3];
	unsigned n = crc32c_impls(impl);
	uint8_t *buf = malloc(1 << 17);

	srand(7);
	for (int i = 0; i < 1 << 17; i++)
		buf[i] = rand();
	for (unsigned k = 0; k < n; k++) {
		for (size_t len = 0; len < 300; len++)
			for (size_t off = 0; off < 9; off++)
				cr_assert_eq(impl[k].update(~0u, buf + off, len),
					     bitwise(~0u, buf + off, len), "%s %zu+%zu",
					     impl[k].name, off, len);
		for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++)
			cr_assert_eq(impl[k].update(0x12345678, buf + 3, edges[i]),
				     bitwise(0x12345678, buf + 3, edges[i]), "%s %zu",
				     impl[k].name, edges[i]);
	}
	free(buf);
}

Test(crc32c, continues_over_any_cut)
{
	uint8_t buf[5000];
	uint32_t whole;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = i * 31 + (i >> 8);
	whole = dag_crc32c(0, buf, sizeof(buf));
	for (size_t cut = 0; cut <= sizeof(buf); cut += 7)
		cr_assert_eq(dag_crc32c(dag_crc32c(0, buf, cut), buf + cut, sizeof(buf) - cut), whole);
}
