/* SPDX-License-Identifier: GPL-2.0 */
/*
 * etcd_child - the etcd that dagd runs for itself: a voter of the group's engine.
 *
 * It has its own directory, ports (the member's + 2 for clients, + 3 for peers) and
 * the group's certificates; the distribution's etcd is another one. A thread starts
 * it, and again with a growing pause when it has died. It is in a session of its own
 * and outlives a dagd that was killed: the next one finds it by its data directory
 * and goes on with it. An orderly stop ends it.
 *
 * What it was started with is kept in DIR/member.json; without that file there is no
 * child. DIR/log is bounded.
 */
#ifndef DAG_ETCD_CHILD_H
#define DAG_ETCD_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/group/etcd_json.h"
#include "daemon/group/state.h"

#define ETCD_PROGRAM	"/usr/bin/etcd"
#define ETCD_CLUSTER_MAX 2048

struct etcd_child;

struct etcd_child_conf {
	const char *dir;		/* made if it is not there */
	const char *creds_dir;
	const char *name;		/* of the member */
};

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

struct etcd_child_view {
	bool wanted;			/* there is a member.json */
	uint64_t id;			/* in it */
	char token[40];
	pid_t pid;			/* 0: not running */
	bool lost;			/* it has run, and its data is not there any more */
	bool adopted;			/* started by a dagd before this one */
	unsigned starts;		/* by this dagd */
	char error[160];		/* of the last end, "": none */
};

/* https://ADDRESS:PORT of a member's etcd, from its address and its port. */
void etcd_client_url(const char *address, uint16_t port, char ret[ETCD_URL_MAX]);
void etcd_peer_url(const char *address, uint16_t port, char ret[ETCD_URL_MAX]);
/* NAME=PEER-URL appended to a list of them; -E2BIG. */
int etcd_cluster_add(char cluster[ETCD_CLUSTER_MAX], const char *name, const char *peer_url);

/* May this version be used? -EOPNOTSUPP and why not. Pure. */
int etcd_version_check(const char *version, char *err, size_t errlen);
/* Of the installed one: 0, -ENOENT, -EOPNOTSUPP, with a message for people. */
int etcd_version_installed(char ret_version[32], char *err, size_t errlen);

/* Begins with what member.json says, if there is one. */
int etcd_child_open(const struct etcd_child_conf *conf, struct etcd_child **ret);
/* Ends the child in order, its data stays. */
void etcd_child_close(struct etcd_child *ec);
/* Leave the child running: for tests of what comes after a kill -9 of dagd. */
void etcd_child_abandon(struct etcd_child *ec);
/*
 * Take part from now on; durable when 0 is returned. Data of the same group and id is
 * gone on with, any other is removed: a voter must never forget while it is one, and
 * the cluster gives a host another id only after the old one is no voter any more.
 * With the same id, the list of the cluster is taken anew for one that does not run:
 * what etcd has once begun with it keeps itself.
 */
int etcd_child_begin(struct etcd_child *ec, const struct etcd_child_start *start, char *err,
		     size_t errlen);
/* No voter any more: end it, remove its data. */
int etcd_child_end(struct etcd_child *ec);
/* Other times from the next start on; restarts it if they differ. */
int etcd_child_times(struct etcd_child *ec, uint32_t heartbeat_ms, uint32_t election_ms);
void etcd_child_look(struct etcd_child *ec, struct etcd_child_view *ret);

#endif
