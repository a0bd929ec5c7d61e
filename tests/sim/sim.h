/* SPDX-License-Identifier: GPL-2.0 */
/*
 * sim - many hosts, their clocks, network, disks and an engine in one thread,
 * driven by a seed. The decisions are those of the product: lease, dac, candidate,
 * takeover, quorum, window, resume, the copystate codec. What stands around them
 * (timers, messages, disks) is modelled here; the rules that the product's shells
 * must keep to stand in daemon/group/takeover.h.
 *
 * A host is a module (tap: gate, ring, survives the daemon) and a daemon. Times are
 * ns; `now` is reference time that no host can read, host_now() its own clock.
 */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/candidate.h"
#include "daemon/group/dac.h"
#include "daemon/group/engine.h"
#include "daemon/group/lease.h"
#include "daemon/group/quorum.h"
#include "daemon/group/takeover.h"
#include "daemon/ship/frame.h"
#include "daemon/ship/resume.h"
#include "daemon/ship/window.h"
#include "daemon/store/copystate.h"

#define MS		1000000ull
#define SEC		(1000 * MS)
#define HOSTS_MAX	17		/* 16 members and the witness */
#define STORES_MAX	3
#define ENGINES		2		/* the second: after a restore, generation 2 */
#define NEVER		UINT64_MAX

/* ---- world.c: scheduler, chance, trace ---------------------------------------- */

enum scope { SCOPE_WORLD, SCOPE_MODULE, SCOPE_DAEMON };
typedef void (*event_fn)(int host, void *arg, uint64_t a, uint64_t b);

extern uint64_t now, events;
extern bool tracing;

void world_init(uint64_t seed);
/* fn(host, arg, a, b) at time `at`; dropped when the host's module or daemon is
 * another one by then, put off while it is paused. arg is freed after it. */
void at(uint64_t when, enum scope scope, int host, event_fn fn, void *arg, uint64_t a, uint64_t b);
bool world_step(uint64_t until);	/* false: nothing before `until` */
uint64_t world_hash(void);
uint64_t chance(uint64_t below);	/* 0..below-1 */
bool percent(unsigned p);
bool permille(unsigned p);
uint64_t between(uint64_t lo, uint64_t hi);
void trace(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void trace_dump(void);
/* An invariant does not hold: the first one is kept. */
void violation(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
extern char violated[256];

/* ---- chain.c: logs as paths in a tree of records ------------------------------- */

/* A log is named by its last record; equal prefixes are the same records. 0: empty. */
uint64_t chain_end(int store, int node);
uint32_t chain_epoch(int store, int node);
void chain_init(void);
/* Begins at start (a gap is allowed), `bytes` long. */
int chain_append(int store, int parent, uint32_t epoch, uint64_t start, uint64_t bytes);
bool chain_has(int store, int log, int node);	/* is node in the log? */
int chain_cut(int store, int log, uint64_t lsn);	/* the part that ends at or before lsn */
unsigned chain_len(int store, int from, int to);	/* records of `to` beyond `from` */

/* ---- net.c ------------------------------------------------------------------------ */

enum msg_type {
	MSG_HEARTBEAT, MSG_HELLO, MSG_WELCOME, MSG_DATA, MSG_ACK,
	MSG_SEAL, MSG_SEALED, MSG_FETCH, MSG_FETCH_FROM, MSG_FETCH_DATA, MSG_FETCHED,
};

struct msg {
	enum msg_type type;
	int from, store;
	uint64_t conn;
	uint64_t generation;
	bool bit;
	uint32_t epoch;
	int rc, node, prev;
	int about, peer;		/* host of a take-over; other host of a fetch */
	uint64_t round;
	enum dag_resume resume;
	bool healthy, seeded;
	uint64_t received, durable, replayed, have;
	struct candidate report;
	struct frame_hello hello;
};

extern unsigned net_loss, net_dup, net_slow;	/* permille */
void net_init(void);
void net_cut(int from, int to, bool cut);
bool net_up(int a, int b);			/* both ways */
void net_heal(void);
/* A datagram or question: may be lost, doubled, overtaken. m is copied. */
void net_send(int from, int to, const struct msg *m);
/* On a connection: in order, or it breaks. */
uint64_t conn_new(void);
void conn_send(int from, int to, const struct msg *m);

/* ---- disk.c ------------------------------------------------------------------------ */

extern unsigned disk_error, disk_stall;		/* permille */
uint64_t disk_ns(int host);
int disk_rc(int host);
/* The durable state of a copy, in two blocks that a crash may tear. */
struct slots {
	uint8_t block[2][COPYSTATE_BLOCK];
	unsigned slot;
	bool writing;
	struct copystate_data next;
	uint32_t promised;		/* what stands in the good block */
};
void slots_init(struct slots *s, const uint8_t uuid[16]);
void slots_read(const struct slots *s, const uint8_t uuid[16], struct copystate_data *ret);
void slots_begin(struct slots *s, const struct copystate_data *next);
void slots_end(struct slots *s);		/* it is durable */
void slots_crash(struct slots *s);		/* torn, old or new */

/* ---- engine.c ----------------------------------------------------------------------- */

struct snap {			/* one version of the agreed state; never changes */
	unsigned refs;
	struct group_state gs;
	struct group_store stores[STORES_MAX];
};
struct lease_rec {
	uint64_t rev, fence;
	bool released;
	unsigned nr_facts;
	struct engine_fact facts[STORES_MAX];
};

enum ereq_kind { EREQ_READ, EREQ_RENEW, EREQ_RELEASE, EREQ_STORE, EREQ_CLAIM };
struct ereq {
	enum ereq_kind kind;
	int engine, host, store;
	uint64_t fence, round;
	unsigned nr_facts;
	struct engine_fact facts[STORES_MAX];
	uint32_t expect_epoch;
	uint64_t expect_version[STORES_MAX];
	bool changed[STORES_MAX];
	struct group_store next[STORES_MAX];
	int victim;			/* CLAIM */
	uint64_t victim_rev, victim_fence, generation;	/* victim_rev: of a RELEASE too */
	uint64_t sent_local, dinc;	/* when and in which life it was asked */
	/* answer; snap and leases of a READ */
	int rc;
	bool answered;
	struct snap *snap;
	struct lease_rec leases[HOSTS_MAX];
	void (*done)(struct ereq *r);
	uint64_t tag;
	unsigned refs;
};

void engine_init(int e, const struct group_state *gs, const struct group_store *stores);
struct ereq *ereq_new(enum ereq_kind kind, int host, void (*done)(struct ereq *r));
/* The state that a transaction of this host reads before it compares; NULL: unreachable. */
const struct snap *engine_peek(int host);
void engine_ask(struct ereq *r);
/* What a voter near the host knows: may be old. False: none answers. */
bool engine_stale(int host, struct snap **ret, struct lease_rec leases[HOSTS_MAX]);
const struct snap *engine_truth(int e);
void snap_put(struct snap *s);
struct snap *snap_get(struct snap *s);
/* Members' part of the state: who is stopped. */
void engine_start_member(int e, int host);

/* ---- hosts ---------------------------------------------------------------------------- */

struct flush { int node; uint64_t done; };

struct tap {			/* the module's part of a store */
	bool active, shut;
	uint32_t epoch;
	int tip;		/* on the way to the disk */
	int completed;		/* told to the application */
	int settled;		/* flushed on the local disk */
	uint64_t acked;
	int flush[4];
	unsigned nr_flush;
	uint64_t life;		/* +1 at each opening */
};

enum peer_state { PEER_IDLE, PEER_CONNECTING, PEER_STREAM };
struct peer {
	enum peer_state state;
	uint64_t conn, heard, retry, moved;
	int sent;
	int txn;		/* 0, +1, -1: wanted or under way */
	bool txn_out, healthy, resync;
};

struct copy {			/* a store on a host */
	bool configured;
	struct tap tap;
	/* on disk */
	struct slots slots;
	int log;		/* durable log */
	int image;		/* REGIONS: the image that stands while seeding; -1: none */
	bool seeding, broken;	/* broken: device is no image of anything */
	bool was_active, former;	/* last here; and not ended in order */
	int replayed;
	uint64_t gap;		/* the log has a hole before this LSN */
	/* daemon, passive */
	uint64_t conn;
	uint32_t conn_epoch;
	int conn_from;
	int tip, flushing;
	int seed_end;		/* the seed is whole when the log has this; -1: not here yet */
	bool flush_runs, settle_wait;
	bool unconfirmed;
	struct msg *pending;	/* seal or hello while the log settles */
	bool busy;
	bool hello_wait;
	struct copystate_data want;
	/* daemon, active */
	bool run, opening, touch_out, touched;
	struct window w;
	struct peer peers[HOSTS_MAX];
	uint64_t oldest;	/* the log can be sent from here */
	uint32_t fenced_by;	/* a copy promised this one */
	int move_to;		/* -1: none */
	uint64_t move_since;
	bool move_out, move_sent;
	uint64_t active_since;
};

struct host {
	int id;
	bool up, daemon, member;
	uint64_t inc, dinc, paused_until, daemon_paused_until;
	int64_t rate_ppm;
	uint64_t offset;
	uint64_t deadline;		/* the module's, by its clock */
	int engine;
	/* daemon */
	bool ready, reading;
	uint64_t fence;
	bool renewing;
	uint64_t next_renew, next_poll, next_beat;
	struct snap *snap;
	struct dac dac;
	uint64_t heard[HOSTS_MAX];
	uint64_t round;
	struct takeover to[HOSTS_MAX];
	struct copy copy[STORES_MAX];
};

extern struct host hosts[HOSTS_MAX];
extern int nr_hosts, nr_members, nr_stores;
extern int newest_engine;

const char *host_name(int h);
int host_id(const char *name);
uint64_t host_now(const struct host *h);
void host_boot(struct host *h);
void host_crash(struct host *h);
void host_start_daemon(struct host *h);
void host_kill_daemon(struct host *h);
void host_recv(int to, const struct msg *m);
void host_read(struct host *h);
bool host_leased(const struct host *h);
int host_set_state(struct host *h, struct snap *s);
const struct group_store *host_store(const struct host *h, int store);
void store_uuid(int store, uint8_t uuid[16]);

/* shell.c: the take-over's wishes */
void shell_tick(struct host *h);
void shell_lease(struct host *h, const struct lease_rec *leases);
void shell_recv(struct host *h, const struct msg *m);

/* tap.c: the module and the application on it */
bool tap_gate(const struct host *h, int store);
void tap_open(struct host *h, int store, uint32_t epoch, int log, uint64_t start);
void tap_close(struct host *h, int store);
void tap_ack(struct host *h, int store, uint64_t lsn);

/* active.c */
void active_stop(struct copy *c);
void active_tick(struct host *h, int store);
void active_recv(struct host *h, const struct msg *m);
void active_move(struct host *h, int store, int target);

/* passive.c */
void passive_init(struct host *h, int store);
void passive_crash(struct host *h, int store);
void passive_daemon_gone(struct host *h, int store);
void passive_recv(struct host *h, const struct msg *m);
void passive_tick(struct host *h, int store);
void passive_report(struct host *h, int store, struct candidate *ret);
void passive_demoted(struct host *h, int store);
/* Make *next durable, then call fn. */
void copy_save(struct host *h, int store, const struct copystate_data *next, event_fn fn);

/* check.c */
void check_init(void);
void check_every(void);
void check_append(int host, int store, uint32_t epoch);
void check_open(int host, int store);
void check_complete(int host, int store, uint32_t epoch, int node, bool commit);
void check_committed(int engine, const struct snap *was, const struct snap *is, const struct ereq *r);
void check_ack_sent(int host, int store);
void check_report(int host, int store, uint32_t epoch);
bool check_whole(char *why, unsigned len);
void check_restored(int store, const struct group_store *gst, int begin);
int check_content(const struct copy *c);

/* fault.c */
void fault_init(void);
void fault_end(void);

/* restore.c: a majority is lost for good, or so a person believes */
void restore_init(void);
void restore_cut(void);		/* the lost side stays cut off */
void restore_end(void);

#endif
