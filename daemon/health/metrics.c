// SPDX-License-Identifier: GPL-2.0
#include "daemon/health/metrics.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

/* All samples of a metric stand together, so there is a loop for each. */
static void head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP dag_%s %s\n# TYPE dag_%s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and newline are escaped, other controls left out. */
static void put_label(FILE *out, const char *name, const char *value, bool first)
{
	fprintf(out, "%s%s=\"", first ? "" : ",", name);
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			fprintf(out, "\\%c", *value);
		else if (*value == '\n')
			fputs("\\n", out);
		else if ((unsigned char)*value >= ' ' && *value != 127)
			fputc(*value, out);
	}
	fputc('"', out);
}

/* NAME VALUE ... NULL */
static void put_labels(FILE *out, va_list ap)
{
	const char *name;
	bool first = true;

	while ((name = va_arg(ap, const char *))) {
		if (first)
			fputc('{', out);
		put_label(out, name, va_arg(ap, const char *), first);
		first = false;
	}
	if (!first)
		fputc('}', out);
}

static void put_number(FILE *out, double value)
{
	if (isnan(value) || isinf(value))
		fputs(isnan(value) ? " NaN\n" : value > 0 ? " +Inf\n" : " -Inf\n", out);
	else
		fprintf(out, " %.15g\n", value);
}

static void sample(FILE *out, const char *name, double value, ...)
{
	va_list ap;

	fprintf(out, "dag_%s", name);
	va_start(ap, value);
	put_labels(out, ap);
	va_end(ap);
	put_number(out, value);
}

/* sum_ns UINT64_MAX: it is not counted. member "": no such label. */
static void histogram(FILE *out, const char *name, const char *store, const char *member,
		      const uint64_t bucket[LATENCY_BUCKETS], uint64_t sum_ns)
{
	uint64_t n = 0;

	for (int i = 0; i < LATENCY_BUCKETS; i++) {
		char le[32] = "+Inf";

		n += bucket[i];
		if (i < LATENCY_BUCKETS - 1)
			snprintf(le, sizeof(le), "%.15g", (1ull << i) / 1e6);
		fprintf(out, "dag_%s_bucket{", name);
		put_label(out, "store", store, true);
		if (member[0])
			put_label(out, "copy", member, false);
		put_label(out, "le", le, false);
		fputc('}', out);
		put_number(out, n);
	}
	for (int k = sum_ns == UINT64_MAX; k < 2; k++) {
		fprintf(out, "dag_%s_%s{", name, k ? "count" : "sum");
		put_label(out, "store", store, true);
		if (member[0])
			put_label(out, "copy", member, false);
		fputc('}', out);
		put_number(out, k ? (double)n : sum_ns / 1e9);
	}
}

/* ---- families ------------------------------------------------------------------- */

static void write_member(const struct metrics_snapshot *s, FILE *out)
{
	head(out, "build_info", "gauge", "Version of dagd.");
	sample(out, "build_info", 1, "version", s->version, "member", s->member, "group", s->group, NULL);
	head(out, "uptime_seconds", "gauge", "Since this daemon started.");
	sample(out, "uptime_seconds", s->uptime_s, NULL);
	head(out, "events_total", "counter", "Events of the history since the start, by kind.");
	for (unsigned i = 0; i < s->nr_kinds; i++)
		sample(out, "events_total", s->kinds[i].count, "kind", s->kinds[i].kind, NULL);
	if (!s->grouped)
		return;
	head(out, "may_activate", "gauge", "1: stores may be activated here (activation mode).");
	sample(out, "may_activate", s->may_activate, NULL);
	if (!s->quorum)
		return;
	head(out, "lease_margin_seconds", "gauge", "Until this member's lease ends; 0 or less: it "
	     "holds none.");
	sample(out, "lease_margin_seconds", s->lease_margin_s, NULL);
	head(out, "engine_age_seconds", "gauge", "Since a majority answered; -1: never yet.");
	sample(out, "engine_age_seconds", s->engine_age_s, NULL);
	head(out, "engine_voters", "gauge", "Voters of the engine.");
	sample(out, "engine_voters", s->voters, NULL);
}

#define EACH_COPY(metric, type, help, if_, value) do {					\
	head(out, metric, type, help);							\
	for (unsigned i = 0; i < s->nr_copies; i++) {					\
		const struct metrics_copy *c = &s->copies[i];				\
		if (if_)								\
			sample(out, metric, value, "store", c->store, "copy", c->member, NULL);	\
	}										\
} while (0)

static void write_copies(const struct metrics_snapshot *s, FILE *out)
{
	head(out, "copy_status", "gauge", "1, with the status of the copy as a label.");
	for (unsigned i = 0; i < s->nr_copies; i++) {
		const struct metrics_copy *c = &s->copies[i];

		sample(out, "copy_status", 1, "store", c->store, "copy", c->member, "role", c->role,
		       "status", c->status, NULL);
	}
	EACH_COPY("copy_healthy", "gauge", "1: the copy is Healthy, Mounted or SeedingSource.", true,
		  c->healthy);
	EACH_COPY("copy_queue_records", "gauge", "Records generated and not yet inspected.", c->queues,
		  c->copy_records);
	EACH_COPY("copy_queue_bytes", "gauge", "Bytes generated and not yet inspected.", c->queues,
		  c->copy_bytes);
	EACH_COPY("copy_queue_seconds", "gauge", "Age of what the copy queue waits for.", c->queues,
		  c->copy_seconds);
	EACH_COPY("replay_queue_records", "gauge", "Records inspected and not yet replayed.", c->replay,
		  c->replay_records);
	EACH_COPY("replay_queue_bytes", "gauge", "Bytes inspected and not yet replayed.", c->replay,
		  c->replay_bytes);
	EACH_COPY("replay_queue_seconds", "gauge", "Age of what the replay queue waits for.", c->replay,
		  c->replay_seconds);
	EACH_COPY("replay_lag_seconds", "gauge", "Replay lag as agreed, also while it is off.", c->late,
		  c->lag_seconds);
	EACH_COPY("replay_late_seconds", "gauge", "How long what may be replayed waits; a lag is no delay.",
		  c->late, c->late_seconds);
	EACH_COPY("copy_connected", "gauge", "1: the log's connection stands.", c->replay, c->connected);
	EACH_COPY("copy_in_sync", "gauge", "1: commits wait for this copy.", c->queues, c->in_sync);
	EACH_COPY("copy_sent_log_bytes", "gauge", "Bytes of the log that this connection has compressed.",
		  c->packed, c->packed_log);
	EACH_COPY("copy_sent_wire_bytes", "gauge", "Bytes that it sent for them.", c->packed,
		  c->packed_wire);
	EACH_COPY("copy_log_bytes", "gauge", "Bytes in segments of its log directory.", true,
		  c->log_bytes);
	EACH_COPY("copy_log_space_left_bytes", "gauge", "Room in the file system of the log directory.",
		  true, c->space_left);
	EACH_COPY("copy_seed_done_bytes", "gauge", "Of the seed that runs.", c->seed_total > 0,
		  c->seed_done);
	EACH_COPY("copy_seed_unused_bytes", "gauge", "Of what is done: not used by the file system, and "
		  "not read.", c->seed_total > 0, c->seed_unused);
	EACH_COPY("copy_seed_total_bytes", "gauge", "Of the seed that runs.", c->seed_total > 0,
		  c->seed_total);
	head(out, "ship_seconds", "histogram", "From the commit in the ring until it was handed to the "
	     "copy's connection (sampled).");
	for (unsigned i = 0; i < s->nr_copies; i++)
		if (s->copies[i].shipped)
			histogram(out, "ship_seconds", s->copies[i].store, s->copies[i].member,
				  s->copies[i].ship.bucket, s->copies[i].ship.sum_ns);
	head(out, "durable_seconds", "histogram", "From the commit in the ring until the copy said that it "
	     "is durable there (sampled).");
	for (unsigned i = 0; i < s->nr_copies; i++)
		if (s->copies[i].shipped)
			histogram(out, "durable_seconds", s->copies[i].store, s->copies[i].member,
				  s->copies[i].durable.bucket, s->copies[i].durable.sum_ns);
}

#define EACH_STORE(metric, type, help, if_, value) do {					\
	head(out, metric, type, help);							\
	for (unsigned i = 0; i < s->nr_stores; i++) {					\
		const struct metrics_store *st = &s->stores[i];				\
		if (if_)								\
			sample(out, metric, value, "store", st->name, NULL);		\
	}										\
} while (0)

static void write_stores(const struct metrics_snapshot *s, FILE *out)
{
	EACH_STORE("activations_total", "counter", "Activations on this member since the start.", true,
		   st->activations);
	EACH_STORE("store_epoch", "gauge", "Epoch in which the store is active here; 0: it is not.",
		   true, st->epoch);
	head(out, "ack_seconds", "histogram", "From the commit in the ring until the tap was told that "
	     "the mode is satisfied (sampled).");
	for (unsigned i = 0; i < s->nr_stores; i++)
		if (s->stores[i].epoch)
			histogram(out, "ack_seconds", s->stores[i].name, "", s->stores[i].ack.bucket,
				  s->stores[i].ack.sum_ns);
	head(out, "tap_write_seconds", "histogram", "All writes, from their submission to their end, by "
	     "the module.");
	for (unsigned i = 0; i < s->nr_stores; i++)
		if (s->stores[i].tap)
			histogram(out, "tap_write_seconds", s->stores[i].name, "",
				  s->stores[i].write, UINT64_MAX);
	head(out, "tap_hold_seconds", "histogram", "Commits that waited for copies, by the module.");
	for (unsigned i = 0; i < s->nr_stores; i++)
		if (s->stores[i].tap)
			histogram(out, "tap_hold_seconds", s->stores[i].name, "",
				  s->stores[i].hold, UINT64_MAX);
	EACH_STORE("tap_writes_total", "counter", "Writes to the store.", st->tap, st->info.writes);
	EACH_STORE("tap_write_bytes_total", "counter", "Bytes written to the store.", st->tap,
		   st->info.write_bytes);
	EACH_STORE("tap_flushes_total", "counter", "Flushes of the store.", st->tap, st->info.flushes);
	EACH_STORE("tap_stalls_total", "counter", "Times a write waited for ring space.", st->tap,
		   st->info.stalls);
	EACH_STORE("tap_io_errors_total", "counter", "Writes that failed on the disk below.", st->tap,
		   st->info.io_errors);
	EACH_STORE("tap_held", "gauge", "Commits that wait for copies now.", st->tap, st->info.held);
	EACH_STORE("tap_parked", "gauge", "Writes that wait for the lease now.", st->tap, st->info.parked);
	EACH_STORE("tap_tracking", "gauge", "1: the log was given up, only regions are kept.", st->tap,
		   st->info.state == DAGTAP_ST_TRACKING);
	EACH_STORE("ring_bytes", "gauge", "Size of the ring.", st->tap, st->info.ring_bytes);
	EACH_STORE("ring_used_bytes", "gauge", "Bytes of the ring that copies still need.", st->tap,
		   st->info.commit_lsn - st->info.freed_lsn);
	EACH_STORE("regions_dirty", "gauge", "Regions with an intent bit.", st->tap,
		   st->info.regions_dirty);
}

static void write_health(const struct metrics_snapshot *s, FILE *out)
{
	head(out, "store_healthy_copies", "gauge", "Healthy copies in the group, as seen from here.");
	for (unsigned i = 0; i < s->nr_health; i++)
		sample(out, "store_healthy_copies", s->health[i].healthy, "store", s->health[i].name, NULL);
	head(out, "redundancy_alert", "gauge", "1: fewer than two healthy copies for too long.");
	for (unsigned i = 0; i < s->nr_health; i++)
		sample(out, "redundancy_alert", s->health[i].alert, "store", s->health[i].name, NULL);
}

static void write_paths(const struct metrics_snapshot *s, FILE *out)
{
	head(out, "network_path_up", "gauge", "1: heartbeats come and go on this path.");
	for (unsigned i = 0; i < s->nr_paths; i++) {
		const struct metrics_path *p = &s->paths[i];

		sample(out, "network_path_up", p->up, "peer", p->peer, "network", p->network, "local",
		       p->local, "remote", p->remote, NULL);
	}
	head(out, "network_loss_ratio", "gauge", "Of the last 64 heartbeats of a path, 0 to 1.");
	for (unsigned i = 0; i < s->nr_paths; i++) {
		const struct metrics_path *p = &s->paths[i];

		sample(out, "network_loss_ratio", p->loss, "peer", p->peer, "network", p->network, "local",
		       p->local, "remote", p->remote, NULL);
	}
	head(out, "network_rtt_seconds", "gauge", "Round trip of heartbeats, smoothed.");
	for (unsigned i = 0; i < s->nr_paths; i++) {
		const struct metrics_path *p = &s->paths[i];

		if (p->rtt_s >= 0)
			sample(out, "network_rtt_seconds", p->rtt_s, "peer", p->peer, "network",
			       p->network, "local", p->local, "remote", p->remote, NULL);
	}
}

void metrics_write(const struct metrics_snapshot *s, FILE *out)
{
	write_member(s, out);
	if (!s->grouped)
		return;
	write_copies(s, out);
	write_stores(s, out);
	write_health(s, out);
	write_paths(s, out);
}
