/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the etcd engine share. Nothing else includes this. */
#ifndef DAG_ENGINE_ETCD_INT_H
#define DAG_ENGINE_ETCD_INT_H

#include <pthread.h>

#include "daemon/group/engine_etcd.h"
#include "daemon/group/etcd_http.h"
#include "daemon/group/etcd_view.h"

#define HANDLES_MAX	8
#define TAG_MAX		96

struct relay;

struct engine_etcd {
	struct engine en;
	char state_dir[300], creds_dir[300], self[64], url[ETCD_URLS_MAX];
	struct etcd_endpoints *ee;
	struct etcd_child *child;	/* NULL: the user's etcd */
	struct relay *relay;		/* with lock; NULL: not needed (yet) */

	pthread_mutex_t lock;		/* of all that follows */
	pthread_cond_t wake;
	struct etcd_view vw;		/* uuid "": no group */
	struct group_state hint;	/* what a member said of newer endpoints; uuid "" : none */
	bool confirmed;			/* by a majority, since the start */
	bool asked_all;			/* the next read is of all keys */
	uint64_t contact_ns;		/* when a majority last answered, 0: never */
	char error[200];		/* of the last failure */
	uint64_t accepted;		/* fence, 0: none */
	uint64_t count;			/* of renewals, for the value to change */
	uint32_t granted_ms;		/* lease of the renewal before this one; 0: not known */
	unsigned nr_facts;
	struct engine_fact facts[GROUP_STORES_MAX];
	bool stop, dirty, kicked;
	bool restoring;			/* our etcd is ahead of the copy */
	uint64_t tags;
	uint64_t tag_seed;

	pthread_mutex_t save_lock;	/* of the copy on disk */
	pthread_mutex_t renew_lock;	/* of the handle, and one renewal at once */
	struct etcd_http *renew_eh;
	struct { struct etcd_http *eh; bool busy; } handles[HANDLES_MAX];
	pthread_cond_t handle_free;
	pthread_t poll_thread, save_thread;
	bool threads;

	/* of engine_etcd_tend.c */
	pthread_mutex_t tend_lock;
	struct { char name[64]; uint64_t since_ms; } silent[GROUP_MEMBERS_MAX + 1];
	unsigned voters, learners;	/* counted lately; with lock */
	struct etcd_members counted;	/* they; with lock */
	bool counted_well;
	char lame[64];			/* did not come along as a learner */
	uint64_t lame_until_ms;
	uint64_t learner;		/* that is waited for, and since when */
	uint64_t learner_since_ms;
	char tend_said[128];
	uint64_t useless_since_ms;	/* our etcd is no voter any more; with lock */
};

static inline struct engine_etcd *to_etcd(struct engine *en)
{
	return (struct engine_etcd *)en;
}

/* ---- engine_etcd.c ---- */
uint64_t etcd_boot_ns(void);
/* A handle for one conversation. NULL: closing, or no memory. */
struct etcd_http *etcd_handle_get(struct engine_etcd *ee);
void etcd_handle_put(struct engine_etcd *ee, struct etcd_http *eh);
/* The copy is as new as a majority knew at the time of the call. -EAGAIN: not reached. */
int etcd_refresh(struct engine_etcd *ee, struct etcd_http *eh, unsigned timeout_ms);
/* The same, asking again and elsewhere until then. */
int etcd_refresh_within(struct engine_etcd *ee, struct etcd_http *eh, unsigned timeout_ms);
/* Put what this process has just committed into the copy; with the lock. Bits of VIEW_*. */
int etcd_put_in(struct engine_etcd *ee, const char *key, const char *value, uint64_t mod);
/* A majority answered a question sent at t0. With the lock. */
void etcd_note_contact(struct engine_etcd *ee, uint64_t t0_ns);
/* The state has changed: endpoints, copy on disk, whoever listens. Without the lock. */
void etcd_state_changed(struct engine_etcd *ee);
unsigned etcd_attempt_ms(struct engine_etcd *ee);	/* with the lock */
/* Write the copy to disk, now. */
int etcd_save(struct engine_etcd *ee);

/* ---- engine_etcd_ends.c ---- */
/* Has a member told of a state that is newer than the copy? With the lock. */
bool etcd_hint_newer(struct engine_etcd *ee);
void etcd_set_endpoints(struct engine_etcd *ee);	/* with the lock */
/* The relay is there if this member needs one, and knows where the others are by this
 * state. With the lock. */
void etcd_relay_follow(struct engine_etcd *ee, struct group_state *gs);
/* For etcd_endpoints_socket(); ctx: the engine. */
int etcd_socket(void *ctx, struct sockaddr *to, socklen_t *tolen);

/* ---- engine_etcd_txn.c ---- */
int etcd_txn_group_op(struct engine *en, int (*edit)(struct group_state *gs, void *ctx), void *ctx,
		      char *err, size_t errlen);
int etcd_txn_store_op(struct engine *en, const uint8_t uuid[16], uint32_t expect_epoch,
		      int (*edit)(struct group_store *st, void *ctx), void *ctx, char *err,
		      size_t errlen);
int etcd_claim_op(struct engine *en, const struct engine_claim *claim,
		  int (*edit)(struct group_state *gs, void *ctx), void *ctx, char *err,
		  size_t errlen);

/* ---- engine_etcd_lease.c ---- */
int etcd_renew_op(struct engine *en, uint64_t *ret_deadline_boot_ns, uint64_t *ret_fence);
void etcd_facts_op(struct engine *en, const struct engine_fact *facts, unsigned nr);
int etcd_fence_op(struct engine *en, uint64_t *ret);
int etcd_accept_fence_op(struct engine *en, uint64_t fence);
int etcd_release_op(struct engine *en);
unsigned etcd_hosts_op(struct engine *en, struct engine_host *ret, unsigned max);

/* ---- engine_etcd_tend.c ---- */
/* Does etcd count this host among its members? 1, 0, or -errno: not known. */
int etcd_counted(struct engine_etcd *ee);

/* ---- engine_etcd_found.c ---- */
/* The first state of a group: start the cluster, put the keys in. */
int etcd_found(struct engine_etcd *ee, const struct group_state *gs, char *err, size_t errlen);
/* The same with all that a later generation goes on with. */
int etcd_restore_op(struct engine *en, const struct group_state *gs, char *err, size_t errlen);
/* By which etcd tells the clusters of one group apart: its generations. */
void etcd_token(const struct group_state *gs, char ret[40]);

#endif
