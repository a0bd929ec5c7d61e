/* SPDX-License-Identifier: GPL-2.0 */
/*
 * metrics - what a monitoring system collects, as text in Prometheus' exposition
 * format 0.0.4. Pure: a snapshot of this member in, text out. Names and labels stand in
 * dagd(8); a metric keeps its name and unit once it has been released.
 */
#ifndef DAG_METRICS_H
#define DAG_METRICS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "daemon/group/state.h"
#include "daemon/ship/latency.h"

#define METRICS_PATHS_MAX	1024
#define METRICS_KINDS_MAX	48
#define METRICS_TYPE		"text/plain; version=0.0.4; charset=utf-8"

/* A copy as this member sees it: its own, and all of a store that is active here. */
struct metrics_copy {
	char store[STORE_NAME_MAX], member[64], role[16], status[40];
	bool queues;			/* the copy queue is known */
	bool packed;			/* the log goes there compressed; the two below are known */
	double packed_log, packed_wire;
	bool replay;			/* the replay queue is */
	double copy_records, copy_bytes, copy_seconds;
	double replay_records, replay_bytes, replay_seconds;
	bool late;			/* the copy is this member's and passive: the next two are */
	double lag_seconds, late_seconds;
	bool connected, in_sync, healthy;
	double log_bytes, space_left, seed_done, seed_total, seed_unused;
	bool shipped;			/* from here: the two histograms */
	struct latency_hist ship, durable;
};

/* A store that is active here. */
struct metrics_store {
	char name[STORE_NAME_MAX];
	uint32_t epoch;
	uint64_t activations;		/* here, since the daemon started */
	struct latency_hist ack;
	bool tap;			/* the module answered */
	struct dagtap_info info;
	uint64_t write[LATENCY_BUCKETS], hold[LATENCY_BUCKETS];	/* of info */
};

struct metrics_health {
	char name[STORE_NAME_MAX];
	unsigned healthy;
	bool alert;
};

struct metrics_path {
	char peer[64], network[32], local[64], remote[64];
	bool up;
	double rtt_s;			/* < 0: not known */
	double loss;			/* 0..1 */
};

struct metrics_kind {
	char kind[24];
	uint64_t count;
};

struct metrics_snapshot {
	char version[32], member[64], group[16];
	double uptime_s;
	bool grouped;
	bool quorum;
	double lease_margin_s;		/* until the deadline; meaningful with quorum */
	bool may_activate;
	double engine_age_s;		/* < 0: no majority has answered yet */
	unsigned voters;
	unsigned nr_copies, nr_stores, nr_health, nr_paths, nr_kinds;
	struct metrics_copy *copies;
	struct metrics_store stores[GROUP_STORES_MAX];
	struct metrics_health health[GROUP_STORES_MAX];
	struct metrics_path paths[METRICS_PATHS_MAX];
	struct metrics_kind kinds[METRICS_KINDS_MAX];
};

void metrics_write(const struct metrics_snapshot *s, FILE *out);

#endif
