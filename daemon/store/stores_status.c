// SPDX-License-Identifier: GPL-2.0
/* What stores_status() tells of each copy; the fields stand in stores.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "daemon/group/state_json.h"
#include "daemon/health/copystatus.h"
#include "daemon/store/passive_fork.h"
#include "daemon/store/stepper.h"
#include "daemon/store/stores_internal.h"

static void put_s(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value));
}

static void put_u(struct json_object *o, const char *key, uint64_t value)
{
	json_object_object_add(o, key, json_object_new_int64((int64_t)value));
}

static void put_f(struct json_object *o, const char *key, double value)
{
	json_object_object_add(o, key, json_object_new_double(value));
}

static void put_b(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

static uint64_t behind(uint64_t head, uint64_t tail)
{
	return head > tail ? head - tail : 0;
}

/* seq counts modulo 2^32; a tail that never reported is as far as the head. */
static uint32_t behind_seq(uint32_t head, uint32_t tail)
{
	return head - tail < 1u << 31 ? head - tail : 0;
}

static void put_time(struct json_object *o, const char *key, uint64_t ns)
{
	time_t s = ns / 1000000000;
	char text[48] = "";
	struct tm tm;

	if (ns && gmtime_r(&s, &tm)) {
		size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);

		snprintf(text + n, sizeof(text) - n, ".%03uZ", (unsigned)(ns / 1000000 % 1000));
	}
	put_s(o, key, text);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Age of what a queue waits for: nothing waits, no age. */
static double seconds(bool waits, uint64_t newer_ns, uint64_t older_ns)
{
	if (!waits || !older_ns || newer_ns <= older_ns)
		return 0;
	return (newer_ns - older_ns) / 1e9;
}

/* The numbers stand in memory: a disk that hangs does not make us wait for them. */
static uint64_t space_left(const char *dir)
{
	struct statvfs vfs;

	return statvfs(dir, &vfs) ? 0 : (uint64_t)vfs.f_bavail * vfs.f_frsize;
}

/* What is agreed of the copy, beside its state. */
static void put_agreed(struct json_object *o, const struct group_copy *cp)
{
	put_b(o, "suspended", cp && cp->suspended);
	put_b(o, "activation_blocked", cp && cp->activation_blocked);
	put_f(o, "replay_lag_seconds", cp ? cp->replay_lag_ms / 1e3 : 0);
	put_f(o, "truncation_lag_seconds", cp ? cp->truncation_lag_ms / 1e3 : 0);
	put_s(o, "lag", cp && cp->lag_off ? "off" : "on");
	put_s(o, "device", cp ? cp->device : "");
	put_s(o, "log_dir", cp ? cp->log_dir : "");
	put_s(o, "comment", cp ? cp->comment : "");
}

/* Tails of the log that became no part of the store, kept on this member. */
static void put_branches(struct json_object *o, const struct local *lo)
{
	struct json_object *list = json_object_new_array();

	for (unsigned i = 0; i < lo->nr_branches; i++) {
		const struct branch *b = &lo->branches[i];
		struct json_object *e = json_object_new_object();

		put_u(e, "epoch", b->epoch);
		put_u(e, "first_lsn", b->first_lsn);
		put_u(e, "end_lsn", b->end_lsn);
		put_u(e, "bytes", b->end_lsn - b->first_lsn);
		json_object_array_add(list, e);
	}
	json_object_object_add(o, "branches", list);
}

/* Of the connection that stands; the ratio is of all that went over it. */
static void put_packed(struct json_object *o, enum dag_codec codec, bool refused,
		       const struct compress_count *n)
{
	put_s(o, "compression", refused ? "none (not taken there)" : compress_name(codec));
	if (codec == DAG_CODEC_NONE)
		return;
	put_u(o, "compression_log_bytes", n->raw_bytes);
	put_u(o, "compression_wire_bytes", n->wire_bytes);
	put_f(o, "compression_ratio", n->wire_bytes ? (double)n->raw_bytes / n->wire_bytes : 1);
}

/* The copy opened at points of its log. */
static void put_forks(struct json_object *o, const struct local *lo)
{
	struct forks *fk = passive_forks(lo->passive);
	struct json_object *list = json_object_new_array();
	struct fork_info info[FORKS_MAX];
	unsigned n = fk ? forks_list(fk, info, FORKS_MAX) : 0;

	forks_put(fk);
	for (unsigned i = 0; i < n; i++) {
		struct json_object *e = json_object_new_object();

		put_s(e, "name", info[i].name);
		put_s(e, "device", info[i].path);
		put_u(e, "lsn", info[i].lsn);
		put_time(e, "time", info[i].time_ns);
		put_time(e, "opened_time", info[i].opened_ns);
		put_b(e, "writable", info[i].writable);
		put_b(e, "opening", info[i].opening);
		put_u(e, "space_bytes", info[i].space);
		put_u(e, "used_bytes", info[i].used);
		put_s(e, "error", !info[i].error ? "" : info[i].error == -ENOSPC ?
		      "more was overwritten than it has space for" : strerror(-info[i].error));
		json_object_array_add(list, e);
	}
	json_object_object_add(o, "forks", list);
}

/* ---- the active, and its copies as their acks say -------------------------------- */

static struct json_object *peer_obj(const struct group_store *st, const struct active_status *as,
				    const struct active_peer_status *ps)
{
	struct json_object *o = json_object_new_object();
	const struct frame_ack *k = &ps->ack;
	const struct group_copy *cp = group_find_copy((struct group_store *)st, ps->member);
	bool copying = as->commit_lsn > k->received_lsn, replaying = k->received_lsn > k->replayed_lsn;
	const struct copy_view v = {
		.running = true,
		.suspended = cp && cp->suspended,
		.state = ps->state,
		.connected = ps->connected,
	};

	put_s(o, "store", st->name);
	put_s(o, "member", ps->member);
	put_s(o, "role", "passive");
	put_s(o, "status", copy_status_name(copy_status_of(&v)));
	put_s(o, "link", !ps->connected ? "down" : ps->segment_mode ? "segment" : "stream");
	put_s(o, "network", ps->network);
	put_s(o, "tls", ps->security);
	put_packed(o, ps->codec, ps->codec_refused, &ps->packed);
	put_u(o, "epoch", k->epoch);
	put_u(o, "generated_lsn", as->commit_lsn);
	put_u(o, "sent_lsn", ps->sent_lsn);
	put_u(o, "inspected_lsn", k->received_lsn);
	put_u(o, "durable_lsn", k->durable_lsn);
	put_u(o, "replayed_lsn", k->replayed_lsn);
	put_u(o, "copy_queue_records", copying ? behind_seq(as->commit_seq, k->seq) : 0);
	put_u(o, "copy_queue_bytes", behind(as->commit_lsn, k->received_lsn));
	put_f(o, "copy_queue_seconds", seconds(copying, now_ns(), k->inspected_time_ns));
	put_u(o, "replay_queue_records", replaying ? behind_seq(k->seq, k->replayed_seq) : 0);
	put_u(o, "replay_queue_bytes", behind(k->received_lsn, k->replayed_lsn));
	put_f(o, "replay_queue_seconds",
	      seconds(replaying, k->inspected_time_ns, k->replayed_time_ns));
	put_time(o, "last_generated_time", as->commit_time_ns);
	put_time(o, "last_inspected_time", k->inspected_time_ns);
	put_time(o, "last_replayed_time", k->replayed_time_ns);
	put_u(o, "log_bytes", k->log_bytes);
	put_u(o, "space_left", k->space_left);
	put_b(o, "in_sync", ps->in_sync);
	put_u(o, "seed_done", k->seed_done);
	put_u(o, "seed_total", k->seed_total);
	put_u(o, "seed_unused", as->seeding ? as->seed_unused : 0);
	put_f(o, "seed_rate", as->seed_rate);
	put_u(o, "seed_rate_limit", as->seed_rate_limit);
	put_f(o, "seed_left_seconds", as->seed_rate > 0 && k->seed_total > k->seed_done ?
	      (k->seed_total - k->seed_done) / as->seed_rate : 0);
	put_s(o, "error", ps->given_up ? "spool exceeded, waits for its regions" : ps->error);
	put_agreed(o, cp);
	return o;
}

static const char *tap_state_name(uint32_t state)
{
	static const char *const names[] = {
		"detached", "logging", "full", "tracking", "lease", "failed",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

/* Mounted and so on; the error of a step, unless there is a worse one. */
static void put_steps(struct json_object *o, const struct local *lo,
		      const struct active_status *as)
{
	const char *error = lo->error ? lo->error_text : as->error;
	struct stepper_status s = { .state = STEPS_MOUNTED };
	struct copy_view v = {
		.active = true,
		.running = true,
		.own = true,
		.tap_failed = as->tap_state == DAGTAP_ST_FAILED,
		.seeds_others = as->seeding,
	};

	if (lo->steps)
		stepper_status(lo->steps, &s);
	v.steps = s.state;
	put_s(o, "status", copy_status_name(copy_status_of(&v)));
	put_s(o, "steps", lo->steps ? steps_state_name(s.state) : "");
	put_s(o, "step", s.running);
	put_b(o, "steps_failed", s.failed);
	if (s.failures)
		put_f(o, "steps_retry_seconds", s.retry_ms / 1e3);
	put_s(o, "error", error[0] ? error : s.error);
}

static struct json_object *active_obj(const struct stores *ss, const struct group_store *st,
				      const struct local *lo, const struct active_status *as)
{
	struct json_object *o = json_object_new_object();

	put_s(o, "store", st->name);
	put_s(o, "member", ss->self);
	put_s(o, "role", "active");
	put_steps(o, lo, as);
	put_s(o, "mode", group_mode_name(as->mode));
	put_s(o, "tap_state", tap_state_name(as->tap_state));
	put_u(o, "epoch", as->epoch);
	put_u(o, "generated_lsn", as->commit_lsn);
	put_u(o, "generated_records", as->commit_seq);
	put_u(o, "inspected_lsn", as->commit_lsn);
	put_u(o, "durable_lsn", as->commit_lsn);
	put_u(o, "replayed_lsn", as->commit_lsn);
	put_u(o, "acked_lsn", as->ack_lsn);
	put_u(o, "ring_bytes", as->ring_bytes);
	put_u(o, "ring_used", behind(as->commit_lsn, as->freed_lsn));
	put_u(o, "spool_bytes", as->spool_bytes);
	put_u(o, "quota_bytes", st->quota_bytes);
	put_b(o, "tracking", as->tap_state == DAGTAP_ST_TRACKING);
	put_time(o, "last_generated_time", as->commit_time_ns);
	put_time(o, "last_inspected_time", as->commit_time_ns);
	put_u(o, "log_bytes", as->spool_bytes);
	put_u(o, "space_left", space_left(lo->cp.log_dir));
	put_u(o, "seed_done", as->seed_done);
	put_u(o, "seed_total", as->seed_total);
	put_u(o, "seeds", as->seeds);
	put_u(o, "seed_unused", as->seed_unused);
	put_f(o, "seed_rate", as->seed_rate);
	put_u(o, "seed_rate_limit", as->seed_rate_limit);
	put_u(o, "loop_rounds", as->loop.rounds);
	put_u(o, "loop_sends", as->loop.sends);
	put_u(o, "loop_bytes_sent", as->loop.bytes_sent);
	put_agreed(o, &lo->cp);
	put_branches(o, lo);
	return o;
}

static void add_active(struct stores *ss, const struct group_store *st, struct local *lo,
		       struct json_object *list)
{
	struct active_status as;

	active_status(lo->active, &as);
	json_object_array_add(list, active_obj(ss, st, lo, &as));
	for (unsigned i = 0; i < as.nr_peers; i++)
		json_object_array_add(list, peer_obj(st, &as, &as.peer[i]));
}

/* ---- a passive copy as it sees itself ------------------------------------------------ */

/* By which network the active is reached from here, as the heartbeats say. */
static void put_network(struct stores *ss, const struct passive_status *p, struct json_object *o)
{
	struct way way = { .network = "" };

	if (p->connected && ss->conf.way && ss->conf.way(ss->conf.way_ctx, p->peer, &way))
		way.network[0] = '\0';
	put_s(o, "network", way.network);
}

/* What becomes of the lag that is agreed, and how far the replay is behind that. */
static void put_lag(struct json_object *o, const struct passive_status *p)
{
	put_s(o, "lag_state", p->lag_held ? "held" : p->lag_cause != LAG_NONE ? "played-down" : "none");
	put_s(o, "lag_cause", p->lag_cause == LAG_NONE ? "" : lag_cause_name(p->lag_cause));
	put_f(o, "replay_late_seconds", p->lag_late_ms / 1e3);
}

static void add_passive(struct stores *ss, const struct group_store *st, struct local *lo,
			struct json_object *list)
{
	struct json_object *o = json_object_new_object();
	struct stepper_status steps;
	struct passive_status p;
	struct copy_view v;
	uint64_t head;
	bool replaying;

	passive_status(lo->passive, &p);
	v = (struct copy_view){ .running = true, .own = true, .suspended = lo->cp.suspended,
				.state = p.state, .connected = p.connected };
	head = p.received_lsn > p.active_end_lsn ? p.received_lsn : p.active_end_lsn;
	replaying = p.received_lsn > p.replayed_lsn;
	put_s(o, "store", st->name);
	put_s(o, "member", ss->self);
	put_s(o, "role", "passive");
	put_s(o, "status", copy_status_name(copy_status_of(&v)));
	put_s(o, "link", p.connected ? "stream" : "down");
	put_network(ss, &p, o);
	put_s(o, "tls", p.security);
	put_packed(o, p.codec, false, &p.packed);
	put_u(o, "epoch", p.epoch);
	put_u(o, "generated_lsn", head);
	put_u(o, "inspected_lsn", p.received_lsn);
	put_u(o, "durable_lsn", p.durable_lsn);
	put_u(o, "replayed_lsn", p.replayed_lsn);
	put_u(o, "copy_queue_bytes", behind(head, p.received_lsn));
	put_u(o, "replay_queue_records", replaying ? behind_seq(p.seq, p.replayed_seq) : 0);
	put_u(o, "replay_queue_bytes", behind(p.received_lsn, p.replayed_lsn));
	put_f(o, "replay_queue_seconds",
	      seconds(replaying, p.inspected_time_ns, p.replayed_time_ns));
	put_time(o, "last_inspected_time", p.inspected_time_ns);
	put_time(o, "last_replayed_time", p.replayed_time_ns);
	put_u(o, "log_bytes", p.log_bytes);
	put_u(o, "space_left", p.space_left);
	put_u(o, "seed_done", p.seed_done);
	put_u(o, "seed_total", p.seed_total);
	put_b(o, "staged", p.staged_since_lsn != UINT64_MAX);
	put_lag(o, &p);
	put_branches(o, lo);
	put_forks(o, lo);
	if (lo->steps) {
		stepper_status(lo->steps, &steps);
		if (steps.retry_ms)
			put_f(o, "steps_retry_seconds", steps.retry_ms / 1e3);
	}
	put_s(o, "error", lo->error ? lo->error_text : p.error_text);
	put_agreed(o, &lo->cp);
	json_object_array_add(list, o);
}

/* A copy that does not run: why. */
static void add_stopped(struct stores *ss, const struct group_store *st, const struct local *lo,
			struct json_object *list)
{
	struct json_object *o = json_object_new_object();
	const struct copy_view v = {
		.active = !strcmp(st->active, ss->self),
		.own = true,
		.suspended = lo->cp.suspended,
		.error = lo->error,
		.unfit = lo->unfit,
	};

	put_s(o, "store", st->name);
	put_s(o, "member", ss->self);
	put_s(o, "role", v.active ? "active" : "passive");
	put_s(o, "status", copy_status_name(copy_status_of(&v)));
	put_s(o, "link", "down");
	put_s(o, "error", lo->error_text);
	put_agreed(o, &lo->cp);
	json_object_array_add(list, o);
}

struct json_object *stores_status(struct stores *ss)
{
	struct json_object *list = json_object_new_array();

	pthread_rwlock_rdlock(&ss->lock);
	for (uint32_t i = 0; i < ss->gs.nr_stores; i++) {
		const struct group_store *st = &ss->gs.stores[i];
		struct local *lo = stores_find(ss, st->uuid);

		if (st->removed || !lo)
			continue;
		if (lo->active)
			add_active(ss, st, lo, list);
		else if (lo->passive)
			add_passive(ss, st, lo, list);
		else
			add_stopped(ss, st, lo, list);
	}
	pthread_rwlock_unlock(&ss->lock);
	return list;
}
