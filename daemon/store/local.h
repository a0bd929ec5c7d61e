/* SPDX-License-Identifier: GPL-2.0 */
/*
 * local - one store's copy on this member: tap, log, state, and the active or
 * passive half that runs on them. Called by one thread at a time (stores.c).
 */
#ifndef DAG_LOCAL_H
#define DAG_LOCAL_H

#include "daemon/log/branch.h"
#include "daemon/ship/regionset.h"
#include "daemon/store/active.h"
#include "daemon/store/attempt.h"
#include "daemon/store/diskwatch.h"
#include "daemon/store/passive.h"
#include "daemon/store/stores.h"

enum local_role { LOCAL_NONE, LOCAL_ACTIVE, LOCAL_PASSIVE };

struct local {
	char name[STORE_NAME_MAX];
	uint8_t uuid[16];
	struct group_copy cp;
	enum local_role role;
	uint32_t epoch;			/* as active: of the activation that runs */
	struct tap *tap;
	struct dagtap_attach at;
	struct copystate *state;
	struct seglog *log;
	struct active *active;
	struct passive *passive;
	struct diskwatch disk;
	int error;			/* why it does not run; 0 */
	char error_text[200];
	bool unfit;			/* what it is made of is not there, or not ours */
	bool unmapped;			/* by local_forget */
	uint64_t retry_ms;		/* not before, after an error */
	uint64_t gate_since_ms;		/* the gate of gate_epoch does not open; 0: it does */
	uint32_t gate_epoch;
	uint32_t barred;		/* epoch whose gate is not to be opened; 0: none */
	struct attempt gate;		/* after the store was passed on for that */
	struct stepper *steps;		/* NULL: it has none */
	bool fenced;			/* seen; until it serves again */
	bool soon;			/* reconcile again in a moment */
	struct regionset tail;		/* what an activation at a point gives up; bits NULL: not told */
	uint64_t replay_since_ms;	/* an activation waits for its replay; 0: none */
	enum lag_cause lag_cause;	/* as passive: as the history was told last */
	uint64_t lag_space_ms;		/* … that space is short; 0: never */
	bool bits_forgotten;		/* as passive: the tap was told that it is whole */
	struct branch branches[BRANCHES_MAX];	/* as of the last tick */
	unsigned nr_branches;
	uint64_t activations;		/* begun here by this daemon */
	uint32_t counted_epoch;		/* the newest of them; 0: not active now */
};

/* What a copy needs to know of its daemon. */
struct local_env {
	const struct stores_conf *conf;
	const struct group_state *gs;
	const uint8_t *group;		/* uuid, 16 bytes */
	bool held_back;			/* nothing may be activated (group/dac.h) */
};

/* Bring the copy to what the agreed state wants; errors stay in lo->error. */
void local_reconcile(struct local *lo, const struct local_env *env, struct group_store *st);
/* Stop its threads, detach. keep_role: an active device in use stays active. */
void local_close(struct local *lo, const struct stores_conf *conf, bool keep_role);
/* Once a second: truncation, retries, what there is of branches. */
void local_tick(struct local *lo, const struct stores_conf *conf);
void local_error(struct local *lo, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Ask the group for the next epoch, IF `epoch` stands and self is active: the copy
 * goes on under it. -ESTALE: the store belongs to somebody else now.
 */
int local_ask_epoch(struct engine *en, const uint8_t uuid[16], uint32_t epoch, const char *self,
		    char *err, size_t errlen);

/* local_steps.c */
/* The gate is open: mount it and so on, as agreed. */
void local_steps_up(struct local *lo, const struct local_env *env, const struct group_store *st);
/* The gate is shut: take down what is up. True: it is. st NULL: the copy goes away. */
bool local_steps_cleared(struct local *lo, const struct local_env *env, const struct group_store *st);
/* True: the lease ended, and steps are up still, so the gate must stay shut. */
bool local_steps_fenced(struct local *lo, const struct local_env *env, const struct group_store *st);

/* local_make.c */
/* Whatever is not open yet of state, log and tap; errors stay in lo->error. */
int local_open(struct local *lo, const struct local_env *env, const struct group_store *st);
/* Format metadata, make log directory and state. */
int local_prepare(const struct stores_conf *conf, const struct group_store *st,
		  const struct group_copy *cp, bool force, char *err, size_t errlen);
/* Unmap and empty the log directory. */
int local_forget(struct local *lo, const struct stores_conf *conf, char *err, size_t errlen);

#endif
