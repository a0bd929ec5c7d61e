// SPDX-License-Identifier: GPL-2.0
/* etcd_start: where etcd listens, by what it calls others, what is kept of it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/group/etcd_start.h"

static struct etcd_child_start member(const char *address)
{
	struct etcd_child_start st = { .port = 64327, .token = "t", .id = 0xfedcba9876543210u,
				       .existing = true, .heartbeat_ms = 20, .election_ms = 200 };
	char url[ETCD_URL_MAX];

	snprintf(st.address, sizeof(st.address), "%s", address);
	etcd_peer_url(address, st.port, url);
	cr_assert_eq(etcd_cluster_add(st.cluster, "node1", url), 0);
	return st;
}

static bool has(const struct etcd_args *a, const char *arg)
{
	for (unsigned i = 0; i < a->n; i++)
		if (!strcmp(a->v[i], arg))
			return true;
	return false;
}

/* Only the relay may stand between it and the others; the URLs stay the members'. */
Test(etcd_start, listens_on_the_loopback)
{
	struct etcd_child_start st = member("10.0.0.1");
	struct etcd_args a;

	etcd_args_make(&a, &st, "/d", "/c", "node1", "3.4.23");
	cr_assert_not(a.broken);
	cr_assert_null(a.v[a.n]);
	cr_assert(has(&a, "--listen-client-urls=https://127.0.0.1:64329"));
	cr_assert(has(&a, "--listen-peer-urls=https://127.0.0.1:64330"));
	cr_assert(has(&a, "--advertise-client-urls=https://10.0.0.1:64329"));
	cr_assert(has(&a, "--initial-advertise-peer-urls=https://10.0.0.1:64330"));
	cr_assert(has(&a, "--initial-cluster=node1=https://10.0.0.1:64330"));
	cr_assert(has(&a, "--client-cert-auth=true") && has(&a, "--peer-client-cert-auth=true"));
	cr_assert(has(&a, "--client-crl-file=/c/crl.pem") && has(&a, "--peer-crl-file=/c/crl.pem"));
	cr_assert_str_eq(a.proxy, "HTTPS_PROXY=http://127.0.0.1:64332");
	etcd_args_free(&a);
	st = member("fd00::1");
	etcd_args_make(&a, &st, "/d", "/c", "node1", "3.5.9");
	cr_assert(has(&a, "--initial-advertise-peer-urls=https://[fd00::1]:64330"));
	cr_assert(has(&a, "--listen-peer-urls=https://127.0.0.1:64330"));
	etcd_args_free(&a);
}

Test(etcd_start, members_of_one_host_are_called_directly)
{
	struct etcd_child_start st = member("127.0.0.1");
	char listen[ETCD_URL_MAX];
	struct etcd_args a;

	cr_assert(!etcd_relayed("127.0.0.1") && !etcd_relayed("127.1.2.3") && !etcd_relayed("::1"));
	cr_assert(etcd_relayed("10.0.0.1") && etcd_relayed("fd00::1"));
	etcd_args_make(&a, &st, "/d", "/c", "node1", "3.4.23");
	etcd_arg_listen(&st, listen);
	cr_assert_str_eq(listen, "--listen-peer-urls=https://127.0.0.1:64330");
	cr_assert(has(&a, listen));
	cr_assert_str_eq(a.proxy, "");
	etcd_args_free(&a);
}

Test(etcd_start, is_kept)
{
	struct etcd_child_start st = member("10.0.0.1"), back;
	char dir[] = "/tmp/dag-start-XXXXXX", path[64];
	FILE *f;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/%s", dir, ETCD_MEMBER_FILE);
	memset(&back, 0, sizeof(back));
	cr_assert_eq(etcd_start_load(dir, &back), -ENOENT);
	cr_assert_eq(etcd_start_save(dir, &st), 0);
	cr_assert_eq(etcd_start_load(dir, &back), 0);
	cr_assert(!strcmp(back.address, st.address) && back.port == st.port && back.id == st.id);
	cr_assert(!strcmp(back.cluster, st.cluster) && back.existing);
	cr_assert(back.heartbeat_ms == 20 && back.election_ms == 200);
	/* a port that leaves no room for the others is none, and so is half a file */
	st.port = 65533;
	cr_assert_eq(etcd_start_save(dir, &st), 0);
	cr_assert_eq(etcd_start_load(dir, &back), -EINVAL);
	cr_assert_eq(back.port, 64327, "untouched");
	cr_assert_eq(truncate(path, 40), 0);
	cr_assert_eq(etcd_start_load(dir, &back), -EINVAL);
	f = fopen(path, "w");
	cr_assert_not_null(f);
	fputs("{}", f);
	fclose(f);
	cr_assert_eq(etcd_start_load(dir, &back), -EINVAL);
	unlink(path);
	rmdir(dir);
}
