// SPDX-License-Identifier: GPL-2.0
/* The copy of the agreed state, fed with answers of the right etcd and of others. */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/group/etcd_view.h"

#define UUID	"00112233-4455-6677-8899-aabbccddeeff"

static struct etcd_view vw;
static char err[200];

static void begin(void)
{
	cr_assert_eq(etcd_view_init(&vw), 0);
	strcpy(vw.uuid, UUID);
}

static void put(struct etcd_kv *kv, const char *what, char *value, uint64_t mod)
{
	char key[VIEW_KEY_MAX];

	etcd_key(UUID, what, NULL, key);
	snprintf(kv->key, sizeof(kv->key), "%s", key);
	kv->value = value;
	kv->len = strlen(value);
	kv->mod = mod;
}

/* All keys of a group without stores, as this etcd would have them. */
static int read_from(uint64_t cluster, uint64_t generation, bool full)
{
	struct etcd_reply rp = { .cluster = cluster, .revision = 5, .nr = 2 };
	struct group_state gs;
	char text[24];
	int r;

	cr_assert_eq(group_state_init(&gs), 0);
	strcpy(gs.name, "g");
	strcpy(gs.uuid, UUID);
	strcpy(gs.founder, "a");
	gs.generation = generation;
	gs.version = 1;
	rp.kv = calloc(2, sizeof(*rp.kv));
	snprintf(text, sizeof(text), "%" PRIu64, generation);
	put(&rp.kv[0], "generation", strdup(text), 2);
	put(&rp.kv[1], "group", etcd_group_value(&gs, "t"), 3);
	r = etcd_view_read(&vw, &rp, full, 1, err, sizeof(err));
	etcd_reply_free(&rp);
	group_state_free(&gs);
	return r;
}

Test(etcd_view, a_restored_group_is_followed_and_the_former_is_not)
{
	begin();
	cr_assert_gt(read_from(7, 1, true), 0);
	cr_assert_eq(vw.cluster, 7);
	cr_assert_eq(read_from(8, 2, false), -EREMCHG);
	cr_assert_gt(read_from(8, 2, true), 0);
	cr_assert_eq(vw.generation, 2);
	cr_assert_eq(vw.cluster, 8);
	cr_assert_eq(read_from(7, 1, false), -EREMCHG);
	cr_assert_eq(read_from(7, 1, true), -ESTALE);
	cr_assert_eq(read_from(9, 2, true), -ESTALE, "another cluster of this generation");
	cr_assert_eq(vw.cluster, 8);
	etcd_view_free(&vw);
}

/* Its own former majority answers as well as ever: it must not keep a host back. */
Test(etcd_view, one_that_goes_on_believes_the_later_generation_only)
{
	begin();
	cr_assert_gt(read_from(7, 1, true), 0);
	vw.least = 2;
	cr_assert_eq(read_from(7, 1, false), -EREMCHG);
	cr_assert_eq(read_from(7, 1, true), -ESTALE);
	cr_assert(strstr(err, "the group is at 2"), "%s", err);
	cr_assert_eq(vw.generation, 1);
	cr_assert_gt(read_from(8, 2, true), 0);
	cr_assert_eq(vw.generation, 2);
	cr_assert_geq(read_from(8, 2, false), 0);
	etcd_view_free(&vw);
}
