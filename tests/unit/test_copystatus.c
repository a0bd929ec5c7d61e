// SPDX-License-Identifier: GPL-2.0
/*
 * Every status of semantics 25: once by the facts alone, and once by members in one
 * program that are brought into it. A thread asks both members all the time and
 * remembers what it was told.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/health/copystatus.h"
#include "daemon/store/passive_internal.h"
#include "daemon/store/stores_internal.h"
#include "tests/lib/cluster.h"

#define MIB	2048ull		/* sectors */

TestSuite(copystatus, .timeout = 110);

/* ---- by the facts ------------------------------------------------------------- */

static void is(struct copy_view v, enum copy_status want)
{
	enum copy_status got = copy_status_of(&v);

	cr_assert_eq(got, want, "%s instead of %s", copy_status_name(got), copy_status_name(want));
}

#define PASSIVE(s, ...)	((struct copy_view){ .running = true, .state = (s), __VA_ARGS__ })
#define ACTIVE(s, ...)	((struct copy_view){ .active = true, .running = true, .own = true, \
					     .steps = (s), __VA_ARGS__ })

Test(copystatus, each_by_its_facts)
{
	is(ACTIVE(STEPS_MOUNTED), COPY_MOUNTED);
	is(ACTIVE(STEPS_DISMOUNTED), COPY_DISMOUNTED);
	is(ACTIVE(STEPS_MOUNTING), COPY_MOUNTING);
	is(ACTIVE(STEPS_DISMOUNTING), COPY_DISMOUNTING);
	is(ACTIVE(STEPS_MOUNTED, .seeds_others = true), COPY_SEEDING_SOURCE);
	is(ACTIVE(STEPS_MOUNTED, .seeds_others = true, .tap_failed = true), COPY_FAILED);
	is((struct copy_view){ .active = true, .own = true }, COPY_MOUNTING);
	is((struct copy_view){ .own = true }, COPY_INITIALIZING);
	is((struct copy_view){ .own = true, .error = -EIO }, COPY_FAILED);
	is((struct copy_view){ .own = true, .error = -ENOENT, .unfit = true }, COPY_MISCONFIGURED);
	is((struct copy_view){ .own = true, .error = -EIO, .suspended = true }, COPY_SUSPENDED);
	is(PASSIVE(DAG_COPY_HEALTHY, .connected = true), COPY_HEALTHY);
	is(PASSIVE(DAG_COPY_HEALTHY), COPY_DISCONNECTED_AND_HEALTHY);
	is(PASSIVE(DAG_COPY_HEALTHY, .suspended = true), COPY_SUSPENDED);
	is(PASSIVE(DAG_COPY_SUSPENDED), COPY_SUSPENDED);
	is(PASSIVE(DAG_COPY_RESYNCHRONIZING, .connected = true), COPY_RESYNCHRONIZING);
	is(PASSIVE(DAG_COPY_RESYNCHRONIZING), COPY_DISCONNECTED_AND_RESYNCHRONIZING);
	is(PASSIVE(DAG_COPY_SEEDING, .connected = true), COPY_SEEDING);
	is(PASSIVE(DAG_COPY_SEEDING), COPY_DISCONNECTED_AND_RESYNCHRONIZING);
	is(PASSIVE(DAG_COPY_FAILED), COPY_FAILED);
	is(PASSIVE(DAG_COPY_FAILED, .suspended = true), COPY_SUSPENDED);
	is(PASSIVE(DAG_COPY_FAILED_SUSPENDED), COPY_FAILED_AND_SUSPENDED);
	is(PASSIVE(DAG_COPY_FAILED_SUSPENDED, .suspended = true), COPY_FAILED_AND_SUSPENDED);
	is(PASSIVE(DAG_COPY_INITIALIZING, .connected = true), COPY_INITIALIZING);
	is(PASSIVE(DAG_COPY_INITIALIZING, .own = true), COPY_INITIALIZING);
	is(PASSIVE(DAG_COPY_INITIALIZING), COPY_SERVICE_DOWN);
}

Test(copystatus, names_are_those_of_the_reference)
{
	static const char *const all[] = {
		"Mounted", "Dismounted", "Mounting", "Dismounting", "Healthy", "Initializing",
		"Resynchronizing", "Seeding", "SeedingSource", "Suspended", "Failed",
		"FailedAndSuspended", "DisconnectedAndHealthy", "DisconnectedAndResynchronizing",
		"ServiceDown", "Misconfigured",
	};

	cr_assert_eq(sizeof(all) / sizeof(all[0]), COPY_STATUSES);
	for (size_t i = 0; i < COPY_STATUSES; i++)
		cr_assert_str_eq(copy_status_name(copy_status_parse(all[i])), all[i]);
	cr_assert_eq(copy_status_parse("healthy"), COPY_STATUSES);
	cr_assert_eq(copy_status_parse(""), COPY_STATUSES);
}

/* ---- by members that are brought into it ------------------------------------------ */

static struct cluster cl;
static struct tap_mem_dev *dev;
static uint8_t block[65536];
static pthread_t looker;
static volatile bool look_stop;
static pthread_mutex_t look_lock = PTHREAD_MUTEX_INITIALIZER;	/* nodes stay while held */
static volatile bool seen[2][COPY_STATUSES];	/* of the copy on node 0, 1; by whom ever */
static char unknown[64];

static void look_at(unsigned asked)
{
	struct json_object *all, *o, *v;

	if (!cl.node[asked].ss)
		return;
	all = stores_status(cl.node[asked].ss);
	for (size_t i = 0; i < json_object_array_length(all); i++) {
		enum copy_status s;
		unsigned of;

		o = json_object_array_get_idx(all, i);
		json_object_object_get_ex(o, "member", &v);
		of = strcmp(json_object_get_string(v), cl.node[0].name) != 0;
		json_object_object_get_ex(o, "status", &v);
		s = copy_status_parse(json_object_get_string(v));
		if (s < COPY_STATUSES)
			seen[of][s] = true;
		else
			snprintf(unknown, sizeof(unknown), "%s", json_object_get_string(v));
	}
	json_object_put(all);
}

static void *look_main(void *arg)
{
	while (!look_stop) {
		pthread_mutex_lock(&look_lock);
		look_at(0);
		look_at(1);
		pthread_mutex_unlock(&look_lock);
		usleep(500);
	}
	return NULL;
}

static void down(unsigned node)
{
	pthread_mutex_lock(&look_lock);
	node_stop(&cl.node[node]);
	pthread_mutex_unlock(&look_lock);
}

static void up(unsigned node)
{
	pthread_mutex_lock(&look_lock);
	cr_assert_eq(node_start(&cl.node[node]), 0);
	pthread_mutex_unlock(&look_lock);
}

/* Forget what was seen, then wait for it anew. */
static void reaches(unsigned node, enum copy_status want)
{
	for (unsigned i = 0; i < 20000 && !seen[node][want]; i++)
		usleep(1000);
	for (int i = 0; getenv("DAG_TEST_VERBOSE") && !seen[node][want] && i < COPY_STATUSES; i++)
		fprintf(stderr, "%s %d\n", copy_status_name(i), seen[node][i]);
	cr_assert(seen[node][want], "node %u was never %s", node, copy_status_name(want));
}

static void forget(void)
{
	pthread_mutex_lock(&look_lock);
	memset((void *)seen, 0, sizeof(seen));
	pthread_mutex_unlock(&look_lock);
}

static void begin(unsigned copies, uint64_t quota)
{
	struct cluster_conf conf = {
		.nodes = 2, .copies = copies, .sectors = 64 * MIB, .ring_mib = 4,
		.segment_mib = 4, .late_ms_max = 2000, .full_timeout_ms = 2000,
		.quota_bytes = quota,
	};
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (!getenv("DAG_TEST_VERBOSE"))
		dup2(fd, STDERR_FILENO);
	close(fd);
	cr_assert_eq(cluster_start(&cl, &conf), 0);
	cr_assert_eq(cluster_open(&cl, 0, &dev), 0);
	look_stop = false;
	pthread_create(&looker, NULL, look_main, NULL);
}

static void end(void)
{
	look_stop = true;
	pthread_join(looker, NULL);
	cr_assert_str_empty(unknown);
	tap_mem_dev_close(dev);
	cluster_stop(&cl);
}

static void write_many(unsigned n, unsigned step)
{
	while (n--) {
		memset(block, n, sizeof(block));
		cr_assert_eq(tap_mem_write(dev, (uint64_t)n * step % (63 * MIB), block, sizeof(block),
					   false), 0);
	}
}

static int edit_suspend(struct group_store *st, void *ctx)
{
	st->copies[1].suspended = *(bool *)ctx;
	return 0;
}

Test(copystatus, from_the_first_seed_to_a_cut_and_a_suspension)
{
	bool yes = true, no = false;

	begin(1, 0);
	write_many(900, 128);
	reaches(0, COPY_MOUNTED);
	node_cut(&cl.node[1], true);
	cr_assert_eq(cluster_add_copy(&cl, 1), 0);
	reaches(1, COPY_SERVICE_DOWN);	/* says the active, that has not heard of it yet */
	reaches(1, COPY_INITIALIZING);	/* says the copy */
	node_cut(&cl.node[1], false);
	reaches(0, COPY_SEEDING_SOURCE);
	reaches(1, COPY_SEEDING);
	reaches(1, COPY_HEALTHY);
	node_cut(&cl.node[1], true);
	reaches(1, COPY_DISCONNECTED_AND_HEALTHY);
	node_cut(&cl.node[1], false);
	cr_assert_eq(cluster_edit(&cl, edit_suspend, &yes), 0);
	reaches(1, COPY_SUSPENDED);
	forget();
	cr_assert_eq(cluster_edit(&cl, edit_suspend, &no), 0);
	reaches(1, COPY_HEALTHY);
	end();
}

Test(copystatus, past_the_quota)
{
	begin(2, 16 << 20);
	reaches(1, COPY_HEALTHY);
	down(1);
	write_many(900, 128);
	forget();
	up(1);
	reaches(1, COPY_RESYNCHRONIZING);
	node_cut(&cl.node[1], true);
	reaches(1, COPY_DISCONNECTED_AND_RESYNCHRONIZING);
	node_cut(&cl.node[1], false);
	forget();
	reaches(1, COPY_HEALTHY);
	end();
}

Test(copystatus, what_it_is_made_of_is_gone)
{
	char away[200];

	begin(2, 0);
	reaches(1, COPY_HEALTHY);
	down(1);
	snprintf(away, sizeof(away), "%s.away", cl.node[1].device);
	cr_assert_eq(rename(cl.node[1].device, away), 0);
	up(1);
	reaches(1, COPY_MISCONFIGURED);
	forget();
	cr_assert_eq(rename(away, cl.node[1].device), 0);
	reaches(1, COPY_HEALTHY);	/* by itself */
	end();
}

/* ---- Failed, and for how long --------------------------------------------------- */

static struct passive *passive_of(unsigned node)
{
	return stores_find(cl.node[node].ss, cl.uuid)->passive;
}

/* The disk below the copy fails each time that it is tried. */
static void fail_until(enum copy_status want)
{
	for (int i = 0; i < 2000 && !seen[1][want]; i++) {
		struct passive *p = passive_of(1);

		pthread_mutex_lock(&p->lock);
		p->replay_stopped = true;
		if (!p->error)
			passive_error(p, -EIO, "replay stops at lsn=4096");
		pthread_mutex_unlock(&p->lock);
		usleep(5000);
	}
	reaches(1, want);
}

Test(copystatus, failed_retries_itself_and_ends_as_failed_and_suspended)
{
	char text[200];
	uint64_t lsn;

	begin(2, 0);
	reaches(1, COPY_HEALTHY);
	fail_until(COPY_FAILED);
	forget();
	reaches(1, COPY_HEALTHY);	/* it retried, and the disk works again */
	passive_of(1)->conf.failed_ms_max = 1500;
	fail_until(COPY_FAILED_AND_SUSPENDED);
	/* it stays so over a restart, says why, and takes nothing */
	down(1);
	forget();
	up(1);
	reaches(1, COPY_FAILED_AND_SUSPENDED);
	cluster_text(&cl, 1, 1, "error", text, sizeof(text));
	cr_assert_str_eq(text, "replay stops at lsn=4096");
	lsn = cluster_u64(&cl, 1, 1, "inspected_lsn");
	write_many(20, 128);
	cluster_nap(1500);
	cr_assert_eq(cluster_u64(&cl, 1, 1, "inspected_lsn"), lsn);
	cr_assert(!seen[1][COPY_HEALTHY]);
	/* a person has mended it */
	cr_assert_eq(stores_retry_copy(cl.node[1].ss, cl.uuid), 0);
	cr_assert_eq(stores_retry_copy(cl.node[0].ss, cl.uuid), -ENOENT);
	reaches(1, COPY_HEALTHY);
	cr_assert_eq(cluster_equal(&cl, 0, 1, 20000), 0);
	end();
}

static int edit_reseed(struct group_store *st, void *ctx)
{
	st->copies[1].seed_request++;
	return 0;
}

Test(copystatus, a_seed_mends_failed_and_suspended)
{
	begin(2, 0);
	reaches(1, COPY_HEALTHY);
	passive_of(1)->conf.failed_ms_max = 1500;
	fail_until(COPY_FAILED_AND_SUSPENDED);
	forget();
	cr_assert_eq(cluster_edit(&cl, edit_reseed, NULL), 0);
	reaches(1, COPY_HEALTHY);
	cr_assert_eq(cluster_equal(&cl, 0, 1, 20000), 0);
	end();
}

/* ---- steps of the active ---------------------------------------------------------- */

static int edit_exec(struct group_store *st, void *ctx)
{
	snprintf(st->exec, sizeof(st->exec), "%s", (char *)ctx);
	return 0;
}

static int edit_dismount(struct group_store *st, void *ctx)
{
	st->dismounted = *(bool *)ctx;
	return 0;
}

Test(copystatus, up_and_down)
{
	bool yes = true;
	char path[200];
	FILE *f;

	begin(1, 0);
	snprintf(path, sizeof(path), "%s/step", cl.dir);
	f = fopen(path, "w");
	fputs("#!/bin/sh\nsleep 0.3\n", f);
	fchmod(fileno(f), 0755);
	fclose(f);
	forget();
	cr_assert_eq(cluster_edit(&cl, edit_exec, path), 0);
	reaches(0, COPY_MOUNTING);
	reaches(0, COPY_MOUNTED);
	cr_assert_eq(cluster_edit(&cl, edit_dismount, &yes), 0);
	reaches(0, COPY_DISMOUNTING);
	reaches(0, COPY_DISMOUNTED);
	end();
}

/* ---- what is said of a copy ---------------------------------------------------------- */

/* Semantics 25: what --full shows, by whom it is asked. */
Test(copystatus, every_field_is_there)
{
	static const char *const fields[] = {
		"store", "member", "role", "status", "link", "network", "tls",
		"compression", "epoch",
		"generated_lsn", "sent_lsn", "inspected_lsn", "durable_lsn", "replayed_lsn",
		"copy_queue_records", "copy_queue_bytes", "copy_queue_seconds",
		"replay_queue_records", "replay_queue_bytes", "replay_queue_seconds",
		"last_generated_time", "last_inspected_time", "last_replayed_time", "log_bytes",
		"space_left", "in_sync", "suspended", "activation_blocked", "replay_lag_seconds",
		"truncation_lag_seconds", "lag",
		"device", "log_dir", "comment", "error", "seed_done", "seed_total",
	};
	static const char *const of_the_active[] = {
		"mode", "tap_state", "tracking", "epoch", "generated_lsn", "acked_lsn", "space_left",
		"spool_bytes", "quota_bytes", "ring_bytes", "ring_used", "error", "comment",
		"last_generated_time", "device", "log_dir", "branches",
	};
	char text[300];

	begin(2, 0);
	reaches(1, COPY_HEALTHY);
	write_many(20, 128);
	cr_assert_eq(cluster_equal(&cl, 0, 1, 20000), 0);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		struct json_object *all = stores_status(cl.node[0].ss), *v;

		cr_assert(json_object_object_get_ex(json_object_array_get_idx(all, 1), fields[i], &v),
			  "%s", fields[i]);
		json_object_put(all);
	}
	for (size_t i = 0; i < sizeof(of_the_active) / sizeof(of_the_active[0]); i++) {
		struct json_object *all = stores_status(cl.node[0].ss), *v;

		cr_assert(json_object_object_get_ex(json_object_array_get_idx(all, 0),
						    of_the_active[i], &v), "%s", of_the_active[i]);
		json_object_put(all);
	}
	cr_assert_gt(cluster_u64(&cl, 0, 0, "space_left"), 0);
	cr_assert_gt(cluster_u64(&cl, 0, 1, "sent_lsn"), 0);
	cluster_text(&cl, 0, 1, "last_replayed_time", text, sizeof(text));
	cr_assert_eq(strlen(text), strlen("2026-01-01T00:00:00.000Z"), "%s", text);
	cluster_text(&cl, 0, 1, "device", text, sizeof(text));
	cr_assert_str_eq(text, cl.node[1].device);
	end();
}
