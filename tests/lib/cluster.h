/* SPDX-License-Identifier: GPL-2.0 */
/*
 * cluster - members of a group in one program: the daemon's own copies, logs,
 * replay and TLS over loopback, on memory taps and regular files.
 */
#ifndef DAG_CLUSTER_H
#define DAG_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/store/stores.h"
#include "tests/lib/engine_mem.h"
#include "tests/lib/tap_mem.h"

#define CLUSTER_NODES	3

struct cluster_conf {
	const char *dir;		/* files below; NULL: $TMPDIR or /tmp */
	unsigned nodes;			/* <= CLUSTER_NODES */
	unsigned copies;		/* the first so many have one; 0: all */
	uint64_t sectors;
	uint32_t ring_mib, segment_mib;
	uint64_t quota_bytes;
	uint32_t mode;			/* enum dagtap_mode */
	bool ack_durable;
	uint32_t min_in_sync, late_ms_max, full_timeout_ms;
	unsigned answer_ms;		/* a member that is called takes so long */
	enum stream_security security;
	enum dag_codec codec;		/* that an active offers */
	unsigned no_codec;		/* bits of nodes that take none */
	enum loop_backend backend;
};

struct node {
	struct cluster *cl;
	unsigned host;
	char name[8], dir[128], device[160], creds_dir[64];
	struct creds *creds;
	int listen_fd;
	uint16_t port;
	pthread_t acceptor;
	volatile bool cut, acceptor_stop;
	bool held_back;			/* at its next start it may activate nothing */
	pthread_mutex_t apply_lock, accept_lock, link_lock;
	struct stores *ss;		/* under both of the first two */
	int links[16];			/* dup'ed sockets, to be shut down by a cut */
	unsigned nr_links;
};

struct cluster {
	struct cluster_conf conf;
	struct engine_mem em;
	uint8_t uuid[16];
	char dir[128], ca_dir[64];
	struct node node[CLUSTER_NODES];
};

/* All nodes run, node 0 is active in epoch 1. 0 or -errno. */
int cluster_start(struct cluster *cl, const struct cluster_conf *conf);
void cluster_stop(struct cluster *cl);

int node_start(struct node *n);
void node_stop(struct node *n);			/* as the daemon stops */
void node_crash(struct node *n);		/* power cut: ring and lease are gone */
void node_cut(struct node *n, bool cut);	/* its links, both ways */

/* Give a node a copy, or take it away. */
int cluster_add_copy(struct cluster *cl, unsigned node);
int cluster_edit(struct cluster *cl, int (*edit)(struct group_store *st, void *ctx), void *ctx);
struct group_store cluster_store(struct cluster *cl);
/* Drain, agree, open there. */
int cluster_move(struct cluster *cl, unsigned from, unsigned to, char *err, size_t errlen);

int cluster_open(struct cluster *cl, unsigned node, struct tap_mem_dev **ret);
/* Fields of `about` in the status that `asked` gives; 0 and "" if there is none. */
uint64_t cluster_u64(struct cluster *cl, unsigned asked, unsigned about, const char *field);
void cluster_text(struct cluster *cl, unsigned asked, unsigned about, const char *field,
		  char *ret, size_t len);
/* Until the field of `about`, as node `asked` sees it, is the text: 0, -ETIMEDOUT. */
int cluster_await(struct cluster *cl, unsigned asked, unsigned about, const char *field,
		  const char *text, unsigned timeout_ms);
/* Until both devices are equal: 0, -ETIMEDOUT. Nobody may be writing. */
int cluster_equal(struct cluster *cl, unsigned a, unsigned b, unsigned timeout_ms);
void cluster_nap(unsigned ms);

#endif
