/* SPDX-License-Identifier: GPL-2.0 */
/*
 * etcd_start - with what an etcd of ours is started: names, ports, the cluster; kept in
 * DIR/member.json.
 *
 * It listens on the loopback only, and what it says to others goes through the relay
 * (net/relay.h), over all networks; the URLs that are known in the cluster say which
 * member is meant. A member whose address is on the loopback (a test on one host) has
 * no relay: its etcd is called directly.
 */
#ifndef DAG_ETCD_START_H
#define DAG_ETCD_START_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/etcd_json.h"

#define ETCD_MEMBER_FILE "member.json"
#define ETCD_CLUSTER_MAX 2048
#define ETCD_ARGS_MAX	48
#define ETCD_CRL_ARG_MAX 360

/* How it takes part. */
struct etcd_child_start {
	char address[64];
	uint16_t port;			/* of the member */
	char token[40];			/* uuid of the group */
	char cluster[ETCD_CLUSTER_MAX];	/* NAME=URL,... with itself */
	bool existing;			/* joins; else it founds the cluster */
	uint64_t id;			/* that the cluster has given it; 0: founds it */
	uint32_t heartbeat_ms, election_ms;
};

/* https://ADDRESS:PORT of a member's etcd, from its address and its port. */
void etcd_client_url(const char *address, uint16_t port, char ret[ETCD_URL_MAX]);
void etcd_peer_url(const char *address, uint16_t port, char ret[ETCD_URL_MAX]);
/* NAME=PEER-URL appended to a list of them; -E2BIG. */
int etcd_cluster_add(char cluster[ETCD_CLUSTER_MAX], const char *name, const char *peer_url);
/* Do connections to and from a member with this address go through the relay? */
bool etcd_relayed(const char *address);

/* member.json in the directory, durably; -ENOENT: there is none, -EINVAL: damaged. */
int etcd_start_save(const char *dir, const struct etcd_child_start *st);
int etcd_start_load(const char *dir, struct etcd_child_start *ret);

struct etcd_args {
	char *v[ETCD_ARGS_MAX];		/* NULL at the end */
	unsigned n;
	bool broken;			/* no memory, or too many */
	char proxy[64];			/* of its environment, "": none */
};

/* The command line of etcd in that version. */
void etcd_args_make(struct etcd_args *a, const struct etcd_child_start *st, const char *dir,
		    const char *creds_dir, const char *name, const char *version);
void etcd_args_free(struct etcd_args *a);
/* Those that say where it listens for others and which certificates are revoked: by
 * them an etcd that was started by an older dagd is told from one that can be gone on
 * with. */
void etcd_arg_listen(const struct etcd_child_start *st, char ret[ETCD_URL_MAX]);
void etcd_arg_crl(const char *creds_dir, char ret[ETCD_CRL_ARG_MAX]);

#endif
