/* SPDX-License-Identifier: GPL-2.0 */
/*
 * history - what this member decided and did, and why: lines of JSON in
 * STATE_DIR/history.jsonl, rotated at 4 MiB, four files kept.
 *
 * Each line: seq, time (RFC 3339, UTC, ms), member, kind, store ("": none), text,
 * and the fields that its kind has. Whoever adds one does not wait for the disk: a
 * thread writes. What does not fit into its queue is counted and said so.
 *
 * Kinds: activation, alert, move, move-at, mount, dismount, address, step-failed, step-lost,
 * fence, lease-lost, member-join, member-remove, authority, member-set, group-set, maintenance,
 * redistribute,
 * store-create, store-remove, store-set, copy-add, copy-remove, copy-suspend,
 * copy-resume, copy-seed, copy-set, copy-open, copy-close, lag, branch-drop, redundancy,
 * network, peer, refused, tap, daemon, overflow.
 */
#ifndef DAG_HISTORY_H
#define DAG_HISTORY_H

#include <json-c/json.h>
#include <stdint.h>

struct history;

#define HISTORY_FILE_BYTES	(4u << 20)
#define HISTORY_FILES		4
#define HISTORY_LINE_MAX	65536

/* Continues what is in dir. */
int history_open(const char *dir, const char *member, struct history **ret);
/* Writes what is queued. NULL is fine, here and below. */
void history_close(struct history *h);

/*
 * Add an event. fields: an object with what the kind has, NULL: nothing; it is
 * consumed. The same "refused", "network" or "tap" within a minute counts up only.
 */
void history_add(struct history *h, const char *kind, const char *store, struct json_object *fields,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

struct history_filter {
	const char *store, *kind;	/* NULL: all */
	uint64_t since_ms;		/* of CLOCK_REALTIME; 0: all */
	uint64_t after_seq;		/* 0: all */
	unsigned max;			/* the newest so many; 0: 10000 */
};
/* Events that pass, oldest first, as objects at the end of list. */
int history_read(struct history *h, const struct history_filter *f, struct json_object *list);
uint64_t history_last_seq(struct history *h);
/* Events since this start by kind, also those that were held back as repeated or found no
 * room: how many kinds, at most max. */
struct history_count {
	char kind[24];
	uint64_t count;
};
unsigned history_counts(struct history *h, struct history_count *ret, unsigned max);
/*
 * The line of the first event after *seq, without its newline (malloc'ed), and *seq
 * moves on; NULL: none came within timeout_ms. *ret_missed: so many were gone.
 */
char *history_next(struct history *h, uint64_t *seq, unsigned timeout_ms, uint64_t *ret_missed);

#endif
