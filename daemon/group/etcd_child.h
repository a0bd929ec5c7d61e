/* SPDX-License-Identifier: GPL-2.0 */
/*
 * etcd_child - the etcd that dagd runs for itself: a voter of the group's engine.
 *
 * It has its own directory, ports (the member's + 2 for clients, + 3 for peers, on the
 * loopback: etcd_start.h) and the group's certificates; the distribution's etcd is
 * another one. A thread starts it, and again with a growing pause when it has died. It
 * is in a session of its own and outlives a dagd that was killed: the next one finds it
 * by its data directory and goes on with it. An orderly stop ends it.
 *
 * What it was started with is kept in DIR/member.json; without that file there is no
 * child. DIR/log is bounded.
 */
#ifndef DAG_ETCD_CHILD_H
#define DAG_ETCD_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/group/etcd_start.h"
#include "daemon/group/state.h"

struct etcd_child;

struct etcd_child_conf {
	const char *dir;		/* made if it is not there */
	const char *creds_dir;
	const char *name;		/* of the member */
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
/* on: the cluster has let it go, so once it has ended it is not started again. Until off,
 * or the next begin or end. */
void etcd_child_rest(struct etcd_child *ec, bool on);
/* Other times from the next start on; restarts it if they differ. */
int etcd_child_times(struct etcd_child *ec, uint32_t heartbeat_ms, uint32_t election_ms);
void etcd_child_look(struct etcd_child *ec, struct etcd_child_view *ret);

#endif
