/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the control share. Nothing else includes this. */
#ifndef DAG_CONTROL_INT_H
#define DAG_CONTROL_INT_H

#include <json-c/json.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/control/control.h"
#include "daemon/control/rpc.h"
#include "daemon/group/state.h"
#include "daemon/net/creds.h"
#include "daemon/net/stream.h"
#include "daemon/store/stores.h"

#define ERR_BYTES	1024

struct handover;
struct heartbeats;
struct listeners;
struct manager;
struct networks;
struct peers;
struct invites;
struct history;
struct health_snapshot;
struct health_watch;
struct serve_metrics;

/* Open connections of one kind: bounded, and cut at the end. */
#define CONNS_MAX	128
struct conns {
	pthread_mutex_t lock;
	pthread_cond_t none;
	int fds[CONNS_MAX];		/* -1: in use, no fd yet; 0: free */
	unsigned nr, max;
	bool closing;
};

struct control {
	const struct config *cf;
	struct engine *engine;
	const struct tap_ops *tap;
	char creds_dir[300];

	/* Held for reading while the stores or credentials are used. */
	pthread_rwlock_t use;
	struct stores *stores;		/* NULL: no group */
	struct creds *creds;
	char crl[GROUP_CRL_MAX];	/* taken by creds; the apply thread's */
	uint64_t authority_next_ns;	/* not asked for before; CLOCK_BOOTTIME, atomic */
	bool refused;			/* another member calls our certificate revoked; atomic */
	uint64_t generation;		/* that the stores were made in; the apply thread's */
	bool stopped;			/* group stop: no stores here; with `use` */

	pthread_mutex_t lock;
	pthread_cond_t wake;
	uint64_t changes;		/* made, told to `apply` */
	uint64_t applied;
	bool stopping;

	int stop_fd;			/* readable (eventfd) once stopping */
	pthread_t apply_thread, unix_thread, tcp_thread, voters_thread;
	int unix_fd, unix_ro_fd, tcp_fd;
	struct conns unix_conns, shakes, rpcs;
	struct listeners *listeners;	/* of the replication port, beside tcp_fd */
	struct peers *peers;
	struct invites *invites;
	struct renewal *renewal;
	struct history *history;	/* NULL: none is kept */
	struct stepper *group_addr;	/* the apply thread's; NULL: never had one here */
	struct heartbeats *heartbeats;	/* the apply thread's: control_heartbeats() */
	struct networks *networks;
	struct handover *handover;	/* beside the manager */
	struct health_watch *health_watch;
	struct serve_metrics *metrics;	/* NULL: not served */
	uint64_t started_ns;		/* CLOCK_BOOTTIME */
	struct manager *manager;	/* from start to stop; NULL: the engine knows no leases */
};

/* One request in progress. */
struct rpc_call {
	struct control *ct;
	const struct rpc_request *rq;
	struct json_object *params;	/* rq's */
	const char *peer;		/* member that asks; NULL: UNIX socket */
	bool read_only;			/* came over the read-only socket */
	bool sealed;			/* came by TLS: nobody else reads the answer */
	/* Send a progress line; -errno when the asker is gone. NULL: nobody listens. */
	int (*send)(void *out, const char *line);
	void *out;
	char err[ERR_BYTES];
};

typedef int (*rpc_handler)(struct rpc_call *call, struct json_object **ret);

/* ---- control.c ---- */
/* Begin to use the stores: NULL and call->err if there is no group. */
struct stores *control_use(struct rpc_call *call);
void control_unuse(struct control *ct);
/* Snapshot of the state; -ENOENT with a message if there is no group. */
int control_state(struct rpc_call *call, struct group_state *ret);
/* Tell `apply` of a change and wait until it is done with it. */
void control_changed(void *ctx);
void control_wait_applied(struct control *ct);
/* May stores be activated here (datacenter activation mode)? */
void control_allow(struct control *ct, bool may);
/* Another member has refused our certificate as revoked. The voters' thread has `apply`
 * look at it each second, as long as it is so. */
void control_refused(struct control *ct, const char *member);
/* NULL: the group has no key for them. */
struct heartbeats *control_heartbeats(struct control *ct);
/* Does the member answer now? */
bool control_reachable(struct control *ct, const char *member);
/* And is it able to activate something, as far as it says itself? */
bool control_may_take(struct control *ct, const char *member);
/* Wait until stopping or ms have passed: true when stopping. */
bool control_sleep(struct control *ct, unsigned ms);

/* ---- conns.c ---- */
void conns_init(struct conns *cs, unsigned max);
int conns_enter(struct conns *cs, int fd);	/* slot, or -EBUSY, -ESHUTDOWN */
/* The connection has this fd now; -ESHUTDOWN: end it. */
int conns_set(struct conns *cs, int slot, int fd);
void conns_leave(struct conns *cs, int slot);
void conns_close(struct conns *cs);		/* cut all, wait until all have left */
/* Start a detached thread with a small stack. */
int thread_detached(void *(*fn)(void *), void *arg);

/* ---- serve_unix.c, serve_tcp.c ---- */
int serve_unix_open(struct control *ct);
void *serve_unix_thread(void *arg);
void serve_unix_close(struct control *ct);
int serve_tcp_open(struct control *ct);
void *serve_tcp_thread(void *arg);
void serve_tcp_close(struct control *ct);
/* Listen on all addresses of this member's networks: where only one is configured,
 * the others could not reach it by another network. Soon, by the listener's thread. */
void serve_tcp_listen(struct control *ct, struct group_state *gs);

/* ---- dispatch.c ---- */
/* Answer one line with lines through send(). Returns send()'s result. */
int dispatch_line(struct control *ct, const char *line, size_t len, const char *peer,
		  bool read_only, bool sealed, int (*send)(void *out, const char *line), void *out);
/* Set call->err and return code. */
int call_fail(struct rpc_call *call, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int call_progress(struct rpc_call *call, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with an object of any kind, which is consumed. */
int call_progress_obj(struct rpc_call *call, struct json_object *obj);
/* Have another method done, here or where it belongs; call->err says why not. */
int dispatch_call(struct rpc_call *call, const char *method, struct json_object *params,
		  struct json_object **ret);
/* params.store (name or uuid) in gs: NULL and call->err. */
struct group_store *call_store(struct rpc_call *call, struct group_state *gs);

/* ---- peers.c ---- */
int peers_start(struct control *ct);
void peers_stop(struct control *ct);		/* waits for their threads */
/* The state changed: talk to the members in it (NULL: none), push it to them. */
void peers_sync(struct control *ct, struct group_state *gs);
/* The way to the member has changed: connect anew. */
void peers_moved(struct control *ct, const char *member);
struct peer_view {
	bool reachable;
	double age_seconds;		/* since it last answered; < 0: never */
	double rtt_ms;
	char error[256];
	char version[32];
	uint64_t digest;
	bool authority;			/* it holds it, as it says */
};
void peers_view(struct control *ct, const char *member, struct peer_view *ret);

/* ---- peer_line.c ---- */
struct stream;
uint64_t peer_now_ns(void);			/* CLOCK_BOOTTIME */
/* A connection to this member, greeted. err: why not. */
int peer_open(struct control *ct, const struct group_member *mb, struct stream **ret,
	      char *err, size_t errlen);
/* The same by TLS, whatever the policy is. */
int peer_open_sealed(struct control *ct, const struct group_member *mb, struct stream **ret,
		     char *err, size_t errlen);
/*
 * One request, one answer; progress lines are passed to call's asker (call: NULL
 * is fine). Returns 0 with the result, or the other side's error with its message.
 */
int peer_transact(struct stream *st, const char *request, unsigned timeout_ms,
		  struct rpc_call *call, struct json_object **ret, char *err, size_t errlen);
/* Send our whole state, take what is newer there. */
int peer_swap_states(struct control *ct, struct stream *st, unsigned timeout_ms, char *err,
		     size_t errlen);
/* Ask another member; progress lines go to call's asker. err in call->err. */
int peer_call(struct rpc_call *call, const char *member, const char *method,
	      struct json_object *params, unsigned timeout_ms, struct json_object **ret);
/* The same over a connection that was opened before, for calls in a hurry. */
struct peer_line;
int peer_line_open(struct rpc_call *call, const char *member, struct peer_line **ret);
int peer_line_call(struct peer_line *pl, struct rpc_call *call, const char *method,
		   struct json_object *params, unsigned timeout_ms, struct json_object **ret);
void peer_line_close(struct control *ct, struct peer_line *pl);	/* NULL is fine */
/* Push our state to one member and take what it has, now. */
int peer_exchange(struct rpc_call *call, const char *member, unsigned timeout_ms);
/* Push our state, which does not name it any more, to a former member, whose
 * certificate is revoked by now. */
int peer_tell_removed(struct rpc_call *call, const struct group_member *mb);

/* ---- invite.c: invitations of hosts that are not members yet ---- */
int invites_start(struct control *ct);
void invites_stop(struct control *ct);

/* ---- voters.c ---- */
int voters_start(struct control *ct);
void voters_stop(struct control *ct);		/* after stopping was said */

/* ---- verb_*.c: the handlers ---- */
int verb_group_create(struct rpc_call *call, struct json_object **ret);
int verb_group_show(struct rpc_call *call, struct json_object **ret);
/* The profile as the call's parameters want it; -EINVAL: they cannot stand together. */
int call_profile(struct rpc_call *call, struct group_profile *p);
int verb_group_set(struct rpc_call *call, struct json_object **ret);
/* For group show. */
void group_settings_add(const struct group_state *gs, struct json_object *obj);
int verb_group_join(struct rpc_call *call, struct json_object **ret);
struct json_object *members_obj(struct rpc_call *call, const struct group_state *gs);
/* All copies, or those of one store, as the members that answer see them. */
struct json_object *copies_obj(struct rpc_call *call, struct group_state *gs, const char *only);
/* Fill a zeroed snapshot of the whole group, as this member sees it; asks the others. */
int health_collect(struct rpc_call *call, struct group_state *gs, struct health_snapshot *s);
int verb_metrics(struct rpc_call *call, struct json_object **ret);
int verb_health_test(struct rpc_call *call, struct json_object **ret);
int verb_health_local(struct rpc_call *call, struct json_object **ret);
int verb_witness_set(struct rpc_call *call, struct json_object **ret);
int verb_witness_show(struct rpc_call *call, struct json_object **ret);
int verb_witness_remove(struct rpc_call *call, struct json_object **ret);
int verb_member_add(struct rpc_call *call, struct json_object **ret);
int verb_member_list(struct rpc_call *call, struct json_object **ret);
int verb_member_remove(struct rpc_call *call, struct json_object **ret);
int verb_store_create(struct rpc_call *call, struct json_object **ret);
int verb_store_list(struct rpc_call *call, struct json_object **ret);
int verb_store_show(struct rpc_call *call, struct json_object **ret);
int verb_store_set(struct rpc_call *call, struct json_object **ret);
int verb_store_move(struct rpc_call *call, struct json_object **ret);
int verb_store_mount(struct rpc_call *call, struct json_object **ret);
int verb_store_dismount(struct rpc_call *call, struct json_object **ret);
int verb_store_remove(struct rpc_call *call, struct json_object **ret);
int verb_store_mark(struct rpc_call *call, struct json_object **ret);
int verb_store_wait_active(struct rpc_call *call, struct json_object **ret);
int verb_member_set(struct rpc_call *call, struct json_object **ret);
int verb_member_maintenance(struct rpc_call *call, struct json_object **ret);
int verb_group_stop(struct rpc_call *call, struct json_object **ret);
int verb_group_start(struct rpc_call *call, struct json_object **ret);
int verb_group_restore(struct rpc_call *call, struct json_object **ret);
int verb_group_survey(struct rpc_call *call, struct json_object **ret);
int verb_group_redistribute(struct rpc_call *call, struct json_object **ret);
int verb_events_local(struct rpc_call *call, struct json_object **ret);
int verb_events_list(struct rpc_call *call, struct json_object **ret);
int verb_events_follow(struct rpc_call *call, struct json_object **ret);
int verb_copy_add(struct rpc_call *call, struct json_object **ret);
int verb_copy_commit(struct rpc_call *call, struct json_object **ret);
int verb_copy_forget(struct rpc_call *call, struct json_object **ret);
int verb_copy_suspend(struct rpc_call *call, struct json_object **ret);
int verb_copy_resume(struct rpc_call *call, struct json_object **ret);
int verb_copy_remove(struct rpc_call *call, struct json_object **ret);
int verb_copy_retry(struct rpc_call *call, struct json_object **ret);
int verb_copy_set(struct rpc_call *call, struct json_object **ret);
int verb_copy_catch_up(struct rpc_call *call, struct json_object **ret);

/* verb_point.c */
int verb_point_hold(struct rpc_call *call, struct json_object **ret);
int verb_point_keep(struct rpc_call *call, struct json_object **ret);
int verb_point_release(struct rpc_call *call, struct json_object **ret);
int verb_copy_seed(struct rpc_call *call, struct json_object **ret);
int verb_copy_open(struct rpc_call *call, struct json_object **ret);
int verb_copy_close(struct rpc_call *call, struct json_object **ret);
int verb_copy_local(struct rpc_call *call, struct json_object **ret);
int verb_copy_status(struct rpc_call *call, struct json_object **ret);
int verb_copy_seal(struct rpc_call *call, struct json_object **ret);
int verb_copy_report(struct rpc_call *call, struct json_object **ret);
int verb_copy_fetch(struct rpc_call *call, struct json_object **ret);
int verb_branch_local(struct rpc_call *call, struct json_object **ret);
int verb_branch_list(struct rpc_call *call, struct json_object **ret);
int verb_branch_drop(struct rpc_call *call, struct json_object **ret);
int verb_network_list(struct rpc_call *call, struct json_object **ret);
int verb_network_set(struct rpc_call *call, struct json_object **ret);
int verb_network_rediscover(struct rpc_call *call, struct json_object **ret);
int verb_network_rescan(struct rpc_call *call, struct json_object **ret);
int verb_network_status(struct rpc_call *call, struct json_object **ret);
int verb_status(struct rpc_call *call, struct json_object **ret);
int verb_peer_heartbeat(struct rpc_call *call, struct json_object **ret);
int verb_peer_state(struct rpc_call *call, struct json_object **ret);
int verb_peer_authority(struct rpc_call *call, struct json_object **ret);

#endif
