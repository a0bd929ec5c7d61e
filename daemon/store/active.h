/* SPDX-License-Identifier: GPL-2.0 */
/*
 * active - the copy that serves: takes the log from the tap's ring and ships it.
 *
 * Threads: the ship thread owns the loop, the tap's acks and every peer's
 * connection; the disk thread writes the spool, reads it back for copies that
 * lag; the agree thread asks the group for changes of the in-sync set; the seeder
 * logs regions. What may be freed, acked and cleared is decided in ship/window.c.
 *
 * Invariants: W1-W4 of ship/window.h, and
 *  A1 a copy enters the agreed in-sync set after acks wait for it (window.h, W3) and
 *     leaves it before a commit is acknowledged without it;
 *  A2 bytes of the ring go to the socket as they are (through a packer, where a codec
 *     is agreed); the ship thread allocates nothing and makes no system call per record.
 */
#ifndef DAG_ACTIVE_H
#define DAG_ACTIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/group/engine.h"
#include "daemon/log/seglog.h"
#include "daemon/net/stream.h"
#include "daemon/net/way.h"
#include "daemon/ship/compress.h"
#include "daemon/ship/frame.h"
#include "daemon/ship/latency.h"
#include "daemon/store/copystate.h"
#include "daemon/tap/tap.h"

struct active;

struct active_conf {
	const char *self;		/* all strings are copied */
	const char *name;
	uint8_t uuid[16];
	uint8_t group[16];
	uint64_t group_generation;
	uint32_t epoch;
	uint64_t sectors;
	uint32_t region_bytes;
	const struct tap_ops *ops;
	struct tap *tap;		/* in role active; the caller's, outlives us */
	struct copystate *state;	/* the caller's */
	struct seglog *spool;		/* the caller's */
	struct engine *engine;
	const struct creds *creds;
	enum stream_security security;
	enum dag_codec codec;		/* where no way says */
	bool ktls;
	enum loop_backend backend;
	uint32_t park_timeout_ms;
	way_finder way;			/* to a member; NULL: its address in the state */
	void *way_ctx;
};

struct active_peer_status {
	char member[64];
	bool connected;
	bool segment_mode;		/* fed from the spool */
	bool in_sync;
	bool given_up;			/* waits for its regions */
	enum dag_copy_state state;
	struct frame_ack ack;
	uint64_t sent_lsn;
	char network[32];		/* that the connection goes by; "": none has a name */
	char security[64];
	enum dag_codec codec;		/* of the log on this connection */
	bool codec_refused;		/* one was offered, the copy there takes none */
	struct compress_count packed;	/* by this connection */
	char error[160];
};

struct active_status {
	uint32_t epoch;
	uint64_t commit_lsn, commit_seq, commit_time_ns, freed_lsn, ack_lsn;
	uint64_t ring_bytes, spool_bytes;
	uint32_t tap_state, mode;
	bool seeding;
	uint64_t seed_done, seed_total;
	uint64_t seed_unused;		/* of seed_done, not read: unused by the file system */
	uint64_t seeds;			/* sessions begun by this active */
	double seed_rate;		/* bytes per second, of late */
	uint64_t seed_rate_limit;	/* 0: none */
	char error[160];
	unsigned nr_peers;
	struct active_peer_status peer[GROUP_MEMBERS_MAX];
	struct loop_stats loop;
};

/* Time from the commit in the ring to each stage, for the metrics. */
struct active_latency {
	struct latency_hist ack;
	unsigned nr_peers;
	struct {
		char member[64];
		struct latency_hist ship, durable;
	} peer[GROUP_MEMBERS_MAX];
};

int active_start(const struct active_conf *conf, const struct group_state *gs, struct active **ret);
/* Ends the connections and threads; role and ring of the tap stay as they are. */
void active_stop(struct active *a);
/* Members, copies, mode changed. */
void active_update(struct active *a, const struct group_state *gs);
void active_status(struct active *a, struct active_status *ret);
void active_latency(struct active *a, struct active_latency *ret);
/*
 * Shut the gate (role passive) and wait until target has everything, and has replayed
 * it up to replayed_lsn (UINT64_MAX: all); connected others get a moment too.
 * *ret_closed says whether the gate is shut.
 */
int active_drain(struct active *a, const char *target, uint64_t replayed_lsn, unsigned timeout_ms,
		 uint64_t *ret_end_lsn, bool *ret_closed, char *err, size_t errlen);
/*
 * A higher epoch begins in the running log: between the two calls nothing is
 * sent, so that no connection of the old epoch carries a record of the new one;
 * then every copy is called under the epoch that is given.
 */
void active_turn_begin(struct active *a);
void active_turn_end(struct active *a, uint32_t epoch);
int active_mark(struct active *a, const char *name, uint64_t *ret_lsn);

#endif
