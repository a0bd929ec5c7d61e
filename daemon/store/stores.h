/* SPDX-License-Identifier: GPL-2.0 */
/*
 * stores - the copies that live on this member, kept as the agreed state wants.
 *
 * stores_apply() is told each new state; it starts, changes and stops copies
 * until they fit: active here (tap, shipping) or passive here (receive, log,
 * replay). It never decides who is active. Calls come from control threads and
 * may block for the time that is said.
 */
#ifndef DAG_STORES_H
#define DAG_STORES_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/group/candidate.h"
#include "daemon/group/engine.h"
#include "daemon/group/state.h"
#include "daemon/net/stream.h"
#include "daemon/net/way.h"
#include "include/dag/wire.h"

struct stores;
struct history;
struct point_status;		/* daemon/store/passive_point.h */
struct tap_ops;			/* daemon/tap/tap.h: the module, or memory in tests */
struct forkdev_ops;		/* daemon/fork/forkdev.h */
struct forks;			/* daemon/store/passive_fork.h */

struct stores_conf {
	const char *self;		/* member name */
	struct engine *engine;
	const struct creds *creds;
	const struct tap_ops *tap;
	const struct forkdev_ops *forks;	/* NULL: dm with the module, else none */
	enum stream_security security;
	enum dag_codec codec;		/* of the log, where no way says */
	bool no_codec;			/* none is taken from others */
	bool ktls;
	enum loop_backend backend;
	uint32_t park_timeout_ms;
	uint64_t receive_ring_bytes;	/* per passive copy, power of two */
	const char *state_dir;
	uint32_t step_retry_ms;		/* first delay after steps that failed; 0: 60 s */
	struct history *history;	/* may be NULL */
	way_finder way;			/* to a member; NULL: its address in the state */
	void *way_ctx;
};

int stores_create(const struct stores_conf *conf, struct stores **ret);
/* Closes every gate in order; actives become passive in the module. */
void stores_destroy(struct stores *ss);

/* The agreed state changed. Errors of single stores show in their status. */
void stores_apply(struct stores *ss, const struct group_state *gs);

/* ---- for the lease (group/renewal.h); none of them waits ---- */
/* Ends of the logs of the stores that are active here; how many. */
unsigned stores_facts(struct stores *ss, struct engine_fact *ret, unsigned max);
/* Is everything shut here that is another's, or was since? gs: read after the fence. */
bool stores_settled(struct stores *ss, struct group_state *gs);
/* Can no store here write, as the module says? Of the lease's end it needs not know
 * itself: writes that wait for the lease are none. */
bool stores_shut(struct stores *ss);
/* Datacenter activation mode: at first yes. */
void stores_allow(struct stores *ss, bool may_activate);

/* Stores that are active here and whose local writes or metadata failed; how many. */
unsigned stores_troubled(struct stores *ss, uint8_t (*ret)[16], unsigned max);

/* For how long the disk below a store that is active here has ended no request, at most
 * over all of them; 0: all work. name: of that store. One caller at a time. */
uint64_t stores_hung_ms(struct stores *ss, uint64_t now_ms, char name[STORE_NAME_MAX]);

/* A member's KIND_LOG connection after its hello was read; takes over st. */
void stores_accept(struct stores *ss, struct stream *st, const struct dag_hello *hello);

/*
 * First half of a planned move, on the active: shut the gate, ship everything to
 * `target`, and have it replayed there up to replayed_lsn (UINT64_MAX: all). Returns 0 with the end LSN; on failure or time-out
 * the caller reopens with stores_reopen(). progress(done, total) in bytes.
 */
int stores_drain(struct stores *ss, const uint8_t uuid[16], const char *target, uint64_t replayed_lsn,
		 unsigned timeout_ms, uint64_t *ret_end_lsn, char *err, size_t errlen);
/* The move did not happen: go on here under the (new) agreed epoch. */
int stores_reopen(struct stores *ss, const uint8_t uuid[16], char *err, size_t errlen);
/* Wait until this member serves the store at that epoch: 0, -ETIMEDOUT, error. */
int stores_wait_active(struct stores *ss, const uint8_t uuid[16], uint32_t epoch, unsigned timeout_ms,
		       char *err, size_t errlen);

/*
 * Before a take-over (group/takeover.h, T2): this member's passive copy promises
 * the epoch, durably; a stream of a lower one ends, and none is accepted or
 * acknowledged any more. *ret tells what the copy has: whole, log_epoch, end_lsn
 * (durable), status, queues, blocked; reachable and sealed are set, what the
 * agreed state knows of the member is left to the caller. Calling again is
 * harmless. -ESTALE: a higher epoch is promised; -EBUSY: active here; -ENOENT: no
 * copy; -EAGAIN: it is starting; else why its log cannot be trusted to be whole.
 */
int stores_seal(struct stores *ss, const uint8_t uuid[16], uint32_t epoch, struct candidate *ret);
/* The same report without a promise; what it tells may change at once. */
int stores_report(struct stores *ss, const uint8_t uuid[16], struct candidate *ret);

/*
 * Steps of an activation (store/steps.h). They run by themselves as the agreed
 * state says; a store that has none counts as up and as down.
 */
/* Take them down and keep them down until stores_release() or the end of the
 * activation. -ENOTRECOVERABLE: one did not, err says which; all are up again. */
int stores_hold(struct stores *ss, const uint8_t uuid[16], const char *reason, unsigned timeout_ms,
		char *err, size_t errlen);
void stores_release(struct stores *ss, const uint8_t uuid[16]);
/* A failed activation is tried again, once. forget: a person wants it (attempt.h). */
void stores_retry(struct stores *ss, const uint8_t uuid[16], bool forget);
/* Until none is under way: 0; -ENOTRECOVERABLE: it is not as asked, err says why. */
int stores_wait_steps(struct stores *ss, const uint8_t uuid[16], bool up, unsigned timeout_ms,
		      char *err, size_t errlen);
/* Until all of stores_apply() before has been looked at. */
void stores_sync(struct stores *ss);

struct stores_failure {
	uint8_t uuid[16];
	uint32_t epoch;
	uint64_t retry_ms;		/* it may be tried here again then; 0: now */
	char reason[400];		/* "mount /srv/pg failed: cause; what to do" */
};
/* Stores that are active here and whose steps were tried once and failed: the
 * manager tries another candidate. Returns how many, at most max. */
unsigned stores_failed(struct stores *ss, struct stores_failure *ret, unsigned max);

/* Stores that are agreed to be active here and whose gate does not open; how many. */
unsigned stores_gates_failed(struct stores *ss, struct stores_failure *ret, unsigned max);
/* The gate of this epoch was never opened here, and is not until stores_unbar(). passed:
 * the store is another's now, and for a while this copy is no candidate. -EBUSY: it was. */
int stores_bar(struct stores *ss, const uint8_t uuid[16], uint32_t epoch);
void stores_unbar(struct stores *ss, const uint8_t uuid[16], bool passed);

/*
 * A sealed copy pulls the records that it lacks up to that LSN from another
 * sealed member's copy, through inspection, durably. Errors: passive_fetch().
 */
int stores_fetch(struct stores *ss, const uint8_t uuid[16], const struct group_member *from,
		 uint64_t up_to_lsn, unsigned timeout_ms);

/* Format metadata, make log directory and copystate; refuses a device in use. */
int stores_prepare_copy(struct stores *ss, const struct group_store *st, const struct group_copy *cp,
			bool force, char *err, size_t errlen);
/* Undo it: device-mapper target away, log directory emptied; data stays. */
int stores_forget_copy(struct stores *ss, const uint8_t uuid[16], char *err, size_t errlen);
/* A copy that has failed for too long is tried again. -ENOENT: none of ours is passive. */
int stores_retry_copy(struct stores *ss, const uint8_t uuid[16]);
/* passive_catch_up(), passive_others(); -ENOENT: none of ours is passive. */
int stores_catch_up(struct stores *ss, const uint8_t uuid[16], unsigned ms);
int stores_others(struct stores *ss, const uint8_t uuid[16], bool few, uint64_t low_lsn);
/*
 * Before a move to this member's passive copy as of a point (store/passive_point.h):
 *  - hold: its replay goes on to what `at` names, or to the LSN that is held already, and
 *    stands there for so long; err says what can be reached;
 *  - keep: all of the log is here, and nothing of it is replayed beyond lsn. What stands
 *    between is kept as a branch, and told to the activation that follows;
 *  - release: there is none. What was kept goes.
 */
int stores_point_hold(struct stores *ss, const uint8_t uuid[16], const char *at, unsigned ms,
		      struct point_status *ret, char *err, size_t errlen);
int stores_point_keep(struct stores *ss, const uint8_t uuid[16], uint64_t lsn, uint64_t end_lsn,
		      char *err, size_t errlen);
void stores_point_release(struct stores *ss, const uint8_t uuid[16]);
/*
 * What opens this member's passive copy, for forks_put(); it stays good though the copy
 * is stopped. NULL: err says why there is none.
 */
struct forks *stores_forks(struct stores *ss, const uint8_t uuid[16], char *err, size_t errlen);
/* A named point in the log. */
int stores_mark(struct stores *ss, const uint8_t uuid[16], const char *name, uint64_t *ret_lsn);

/*
 * Status of all copies that this member knows of, as a JSON array of objects:
 *   store, member, role ("active"/"passive"), status (semantics 25), mode,
 *   link ("stream", "segment", "down"), network, tls,
 *   epoch, generated_lsn, sent_lsn, inspected_lsn, durable_lsn, replayed_lsn,
 *   copy_queue_records, copy_queue_bytes, copy_queue_seconds,
 *   replay_queue_records, replay_queue_bytes, replay_queue_seconds,
 *   last_generated_time, last_inspected_time, last_replayed_time (RFC 3339),
 *   log_bytes, space_left, in_sync, suspended, activation_blocked,
 *   replay_lag_seconds, truncation_lag_seconds, lag ("on", "off"), device, log_dir,
 *   seed_done, seed_total, seed_unused (of seed_done, not read: no file system uses it),
 *   seed_rate (of late), seed_rate_limit (0: none), seed_left_seconds, error, comment,
 *   branches (of this member: epoch, first_lsn, end_lsn, bytes);
 *   of a passive, by its member alone: lag_state ("held", "played-down", "none"),
 *   lag_cause (of replay/lag.h, "": none), replay_late_seconds (what may be replayed
 *   has waited for so long);
 *   forks (of this member: name, device, lsn, time, opened_time, writable, opening,
 *   space_bytes, used_bytes, error);
 *   of the active: steps (Mounted …, "": none), step (that runs), steps_failed
 *   steps_retry_seconds: its steps failed here, it is no candidate for so long
 * The active's member reports itself and every passive copy (from their acks);
 * a passive's member reports its own.
 */
struct json_object *stores_status(struct stores *ss);

#endif
