/* SPDX-License-Identifier: GPL-2.0 */
/*
 * control_pair - two members in one process, on 127.0.0.1 and 127.0.0.2: real
 * sockets, TLS, state files and verbs; the stores below are a fake that remembers
 * what it was told, so that a move can be made to fail at each step. It takes the
 * place of the real ones, so it is included, by one file of a program.
 */
#ifndef DAG_TEST_CONTROL_PAIR_H
#define DAG_TEST_CONTROL_PAIR_H

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <time.h>
#include <unistd.h>

#include "daemon/group/renewal.h"
#include "daemon/control/control.h"
#include "daemon/control/history.h"
#include "daemon/control/control_int.h"
#include "daemon/control/rpc.h"
#include "daemon/group/engine.h"
#include "daemon/group/state_json.h"
#include "daemon/store/passive_point.h"
#include "daemon/store/stores.h"
#include "daemon/store/stores_metrics.h"
#include "daemon/tap/dm.h"
#include "daemon/tap/tap.h"

/* tests run side by side, each in a process of its own; a join uses port + 1 */
#define PORT	(10000 + getpid() * 2 % 20000)

/* ---- the fake ----------------------------------------------------------- */

struct stores {
	char self[64];
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct group_state gs;
	int drained, reopened, forgotten;
	int held, let_go;
	uint64_t kept_from, kept_to;
};

static int drain_answer, wait_answer, point_error;
static struct point_status point_answer;
static const char *volatile sick_member = "";	/* its copies are Failed */

int stores_create(const struct stores_conf *conf, struct stores **ret)
{
	struct stores *ss = calloc(1, sizeof(*ss));

	snprintf(ss->self, sizeof(ss->self), "%s", conf->self);
	pthread_mutex_init(&ss->lock, NULL);
	pthread_cond_init(&ss->wake, NULL);
	group_state_init(&ss->gs);
	*ret = ss;
	return 0;
}

void stores_destroy(struct stores *ss)
{
	group_state_free(&ss->gs);
	free(ss);
}

void stores_apply(struct stores *ss, const struct group_state *gs)
{
	pthread_mutex_lock(&ss->lock);
	group_state_copy(&ss->gs, gs);
	pthread_mutex_unlock(&ss->lock);
}

void stores_accept(struct stores *ss, struct stream *st, const struct dag_hello *hello)
{
	stream_close(st);
}

int stores_drain(struct stores *ss, const uint8_t uuid[16], const char *target, uint64_t replayed_lsn,
		 unsigned timeout_ms, uint64_t *ret_end_lsn, char *err, size_t errlen)
{
	ss->drained++;
	*ret_end_lsn = 4096;
	if (drain_answer)
		snprintf(err, errlen, "the copy does not come along");
	return drain_answer;
}

int stores_reopen(struct stores *ss, const uint8_t uuid[16], char *err, size_t errlen)
{
	ss->reopened++;
	return 0;
}

int stores_wait_active(struct stores *ss, const uint8_t uuid[16], uint32_t epoch,
		       unsigned timeout_ms, char *err, size_t errlen)
{
	struct group_store *st;
	int r = -ETIMEDOUT;

	/* the state may be on its way: another thread has learnt it */
	for (unsigned ms = 0; ms < 5000; ms += 10) {
		pthread_mutex_lock(&ss->lock);
		st = group_find_store_uuid(&ss->gs, uuid);
		r = wait_answer ? wait_answer : -ETIMEDOUT;
		if (!wait_answer && st && st->epoch == epoch && !strcmp(st->active, ss->self))
			r = 0;
		pthread_mutex_unlock(&ss->lock);
		if (!r || wait_answer)
			break;
		usleep(10000);
	}
	if (r)
		snprintf(err, errlen, "it does not serve");
	return r;
}

int stores_prepare_copy(struct stores *ss, const struct group_store *st, const struct group_copy *cp,
			bool force, char *err, size_t errlen)
{
	return 0;
}

int stores_forget_copy(struct stores *ss, const uint8_t uuid[16], char *err, size_t errlen)
{
	ss->forgotten++;
	return 0;
}

int stores_mark(struct stores *ss, const uint8_t uuid[16], const char *name, uint64_t *ret_lsn)
{
	*ret_lsn = 64;
	return 0;
}

int stores_point_hold(struct stores *ss, const uint8_t uuid[16], const char *at, unsigned ms,
		      struct point_status *ret, char *err, size_t errlen)
{
	ss->held++;
	*ret = point_answer;
	if (point_error)
		snprintf(err, errlen, "the point is replayed already");
	return point_error;
}

int stores_point_keep(struct stores *ss, const uint8_t uuid[16], uint64_t lsn, uint64_t end_lsn,
		      char *err, size_t errlen)
{
	ss->kept_from = lsn;
	ss->kept_to = end_lsn;
	return 0;
}

void stores_point_release(struct stores *ss, const uint8_t uuid[16])
{
	ss->let_go++;
}

struct json_object *stores_status(struct stores *ss)
{
	struct json_object *list = json_object_new_array();
	uint32_t i, k;

	pthread_mutex_lock(&ss->lock);
	for (i = 0; i < ss->gs.nr_stores; i++) {
		struct group_store *st = &ss->gs.stores[i];
		bool active = !strcmp(st->active, ss->self);

		for (k = 0; k < st->nr_copies; k++) {
			struct json_object *obj;

			if (!active && strcmp(st->copies[k].member, ss->self))
				continue;
			obj = json_object_new_object();
			json_object_object_add(obj, "store", json_object_new_string(st->name));
			json_object_object_add(obj, "member",
					       json_object_new_string(st->copies[k].member));
			json_object_object_add(obj, "status", json_object_new_string(
					       strcmp(st->copies[k].member, sick_member) ?
					       "Healthy" : "Failed"));
			json_object_object_add(obj, "link", json_object_new_string("stream"));
			json_object_array_add(list, obj);
		}
	}
	pthread_mutex_unlock(&ss->lock);
	return list;
}

/* No store here has steps, but one that fails can be had. */
static int hold_answer, steps_answer;

int stores_hold(struct stores *ss, const uint8_t uuid[16], const char *reason, unsigned timeout_ms,
		char *err, size_t errlen)
{
	if (hold_answer)
		snprintf(err, errlen, "mount /srv is not undone: busy");
	return hold_answer;
}

void stores_release(struct stores *ss, const uint8_t uuid[16])
{
}

void stores_retry(struct stores *ss, const uint8_t uuid[16], bool forget)
{
}

int stores_wait_steps(struct stores *ss, const uint8_t uuid[16], bool up, unsigned timeout_ms,
		      char *err, size_t errlen)
{
	/* the second member's */
	if (!steps_answer || strcmp(ss->self, "node2"))
		return 0;
	snprintf(err, errlen, "mount /srv failed: no such file system");
	return steps_answer;
}

unsigned stores_metrics(struct stores *ss, struct stores_metric *ret, unsigned max)
{
	return 0;
}

int stores_catch_up(struct stores *ss, const uint8_t uuid[16], unsigned ms)
{
	return 0;
}

int stores_others(struct stores *ss, const uint8_t uuid[16], bool few, uint64_t low_lsn)
{
	return 0;
}

int stores_retry_copy(struct stores *ss, const uint8_t uuid[16])
{
	return -ENOENT;
}

struct forks *stores_forks(struct stores *ss, const uint8_t uuid[16], char *err, size_t errlen)
{
	snprintf(err, errlen, "its copy here is a fake");
	return NULL;
}

void stores_sync(struct stores *ss)
{
}

unsigned stores_failed(struct stores *ss, struct stores_failure *ret, unsigned max)
{
	return 0;
}

unsigned stores_gates_failed(struct stores *ss, struct stores_failure *ret, unsigned max)
{
	return 0;
}

int stores_bar(struct stores *ss, const uint8_t uuid[16], uint32_t epoch)
{
	return -EBUSY;
}

void stores_unbar(struct stores *ss, const uint8_t uuid[16], bool passed)
{
}

void stores_allow(struct stores *ss, bool may_activate)
{
}

unsigned stores_facts(struct stores *ss, struct engine_fact *ret, unsigned max)
{
	return 0;
}

bool stores_settled(struct stores *ss, struct group_state *gs)
{
	return true;
}

bool stores_shut(struct stores *ss)
{
	return true;
}

int stores_seal(struct stores *ss, const uint8_t uuid[16], uint32_t epoch, struct candidate *ret)
{
	return -ENOENT;
}

int stores_fetch(struct stores *ss, const uint8_t uuid[16], const struct group_member *from,
		 uint64_t up_to_lsn, unsigned timeout_ms)
{
	return -ENOENT;
}

int stores_report(struct stores *ss, const uint8_t uuid[16], struct candidate *ret)
{
	return -ENOENT;
}

uint64_t stores_hung_ms(struct stores *ss, uint64_t now_ms, char name[STORE_NAME_MAX])
{
	return 0;
}

unsigned stores_troubled(struct stores *ss, uint8_t (*ret)[16], unsigned max)
{
	return 0;
}


int dm_dev_get(const char *name, struct dm_dev *ret)
{
	memset(ret, 0, sizeof(*ret));
	return 0;
}

/* ---- two members -------------------------------------------------------- */

static const struct tap_ops no_tap = { .name = "none" };

static struct member {
	struct config cf;
	struct engine *en;
	struct renewal *rn;
	struct history *history;
	struct control *ct;
} members[3];

static inline int no_lease(uint64_t fence, uint64_t deadline_boot_ns)
{
	return 0;
}

/* For members that are started from now on; 0: as by default, and no metrics. */
static unsigned alert_s, metrics_port;

static char dir[64];
static char message[1024];

static inline void start(int i)
{
	struct member *mb = &members[i];
	struct control_conf cc = { .cf = &mb->cf, .tap = &no_tap };
	char path[400];
	struct engine_file_conf ec = { .path = path, .self = mb->cf.member, .lease_ms = 1000 };
	struct renewal_conf rc = { .lease = no_lease, .period_ms = 100 };

	config_defaults(&mb->cf);
	snprintf(mb->cf.member, sizeof(mb->cf.member), "node%d", i);
	snprintf(mb->cf.address, sizeof(mb->cf.address), "127.0.0.%d", i);
	snprintf(mb->cf.state_dir, sizeof(mb->cf.state_dir), "%s/s%d", dir, i);
	snprintf(mb->cf.run_dir, sizeof(mb->cf.run_dir), "%.50s/r%d", dir, i);
	mb->cf.port = PORT;
	mb->cf.ktls = false;
	mb->cf.metrics_port = metrics_port ? metrics_port + i : 0;
	if (alert_s)
		mb->cf.redundancy_alert_s = mb->cf.redundancy_repeat_s = alert_s;
	mkdir(mb->cf.state_dir, 0700);
	snprintf(path, sizeof(path), "%s/group.json", mb->cf.state_dir);
	cr_assert_eq(engine_file_open(&ec, &mb->en), 0);
	rc.engine = cc.engine = mb->en;
	cr_assert_eq(renewal_start(&rc, &mb->rn), 0);
	cc.renewal = mb->rn;
	cr_assert_eq(history_open(mb->cf.state_dir, mb->cf.member, &mb->history), 0);
	cc.history = mb->history;
	cr_assert_eq(control_start(&cc, &mb->ct), 0);
}

static inline void stop(int i)
{
	control_stop(members[i].ct);
	history_close(members[i].history);
	renewal_stop(members[i].rn);
	members[i].en->ops->close(members[i].en);
}

static inline void setup(void)
{
	log_set_level(getenv("DAG_TEST_VERBOSE") ? LOG_LV_DEBUG : LOG_LV_ERR);
	signal(SIGPIPE, SIG_IGN);	/* as dagd does */
	drain_answer = wait_answer = hold_answer = steps_answer = 0;
	strcpy(dir, "/tmp/dag-control-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	start(1);
	start(2);
}

static inline void teardown(void)
{
	char cmd[128];

	stop(1);
	stop(2);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	cr_assert_eq(system(cmd), 0);
}


/* One raw line to a member; the final answer. */
static inline struct rpc_answer ask_line(int i, const char *line)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct rpc_answer an = { .kind = RPC_ERROR };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char err[256], *buf = NULL;
	size_t cap = 0;
	ssize_t n;
	FILE *f;

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/control.sock", members[i].cf.run_dir);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	cr_assert_eq(write(fd, line, strlen(line)), (ssize_t)strlen(line));
	f = fdopen(fd, "r");
	do {
		n = getline(&buf, &cap, f);
		cr_assert_gt(n, 0, "%s: no answer", line);
		cr_assert_eq(rpc_answer_parse(buf, n, &an, err, sizeof(err)), 0, "%s", buf);
		if (an.kind == RPC_PROGRESS)
			json_object_put(an.value);
	} while (an.kind == RPC_PROGRESS);
	fclose(f);
	free(buf);
	return an;
}

/* 0 or the error's code, its text in message; the result in *ret if wanted. */
static inline int ask(int i, const char *method, const char *params, struct json_object **ret)
{
	struct json_object *obj = json_tokener_parse(params);
	char *line = rpc_request_line(method, obj, 1, 0);
	struct rpc_answer an = ask_line(i, line);

	free(line);
	json_object_put(obj);
	message[0] = '\0';
	if (an.kind == RPC_ERROR) {
		snprintf(message, sizeof(message), "%s", an.message);
		return an.code;
	}
	if (ret)
		*ret = an.value;
	else
		json_object_put(an.value);
	return 0;
}

static inline const char *text_of(struct json_object *obj, const char *key)
{
	struct json_object *val = NULL;

	json_object_object_get_ex(obj, key, &val);
	return val ? json_object_get_string(val) : "";
}

static inline void invite(int via, char *ret, size_t len)
{
	struct json_object *obj = NULL;

	cr_assert_eq(ask(via, "member.add", "{\"name\":\"node2\",\"address\":\"127.0.0.2\"}", &obj), 0,
		     "%s", message);
	snprintf(ret, len, "{\"token\":\"%s\"}", text_of(obj, "token"));
	json_object_put(obj);
}

static inline void wait_state(int i, bool (*is)(struct group_state *gs))
{
	struct group_state gs;
	int tries;
	bool ok = false;

	cr_assert_eq(group_state_init(&gs), 0);
	for (tries = 0; tries < 200 && !ok; tries++) {
		cr_assert_eq(members[i].en->ops->snapshot(members[i].en, &gs), 0);
		ok = is(&gs);
		if (!ok)
			usleep(50000);
	}
	group_state_free(&gs);
	cr_assert(ok, "node%d: the state did not come", i);
}

static inline void wait_reachable(int i, const char *member)
{
	struct json_object *obj, *list, *val;
	int tries;
	size_t k;
	bool ok = false;

	for (tries = 0; tries < 200 && !ok; tries++) {
		cr_assert_eq(ask(i, "member.list", "{}", &obj), 0);
		json_object_object_get_ex(obj, "members", &list);
		for (k = 0; k < json_object_array_length(list); k++) {
			struct json_object *mb = json_object_array_get_idx(list, k);

			json_object_object_get_ex(mb, "reachable", &val);
			if (!strcmp(text_of(mb, "name"), member))
				ok = json_object_get_boolean(val);
		}
		json_object_put(obj);
		if (!ok)
			usleep(50000);
	}
	cr_assert(ok, "%s stays unreachable from node%d", member, i);
}

static inline void make_group(void)
{
	char token[600];

	cr_assert_eq(ask(1, "group.create", "{\"name\":\"lab\",\"engine\":\"file\"}", NULL), 0, "%s", message);
	invite(1, token, sizeof(token));
	cr_assert_eq(ask(2, "group.join", token, NULL), 0, "%s", message);
	wait_reachable(1, "node2");
	wait_reachable(2, "node1");
}

static const uint8_t pg[16] = { 9, 9 };

static inline int edit_pg(struct group_store *st, void *ctx)
{
	int i;

	strcpy(st->name, "pg");
	st->sectors = 2048;
	st->region_bytes = 65536;
	st->ring_mib = st->segment_mib = 64;
	st->full_timeout_ms = 5000;
	st->epoch = 1;
	strcpy(st->active, "node1");
	for (i = 0; i < 2; i++) {
		snprintf(st->copies[i].member, sizeof(st->copies[i].member), "node%d", i + 1);
		strcpy(st->copies[i].device, "/dev/x");
		strcpy(st->copies[i].meta_device, "/dev/x");
		strcpy(st->copies[i].log_dir, "/l");
	}
	st->nr_copies = 2;
	return 0;
}

static inline bool has_pg(struct group_state *gs)
{
	return group_find_store(gs, "pg");
}

static inline bool pg_on_2(struct group_state *gs)
{
	struct group_store *st = group_find_store(gs, "pg");

	return st && st->epoch == 2 && !strcmp(st->active, "node2");
}

static inline void make_store(void)
{
	struct engine *en = members[1].en;
	char err[256];

	make_group();
	cr_assert_eq(en->ops->txn_store(en, pg, 0, edit_pg, NULL, err, sizeof(err)), 0, "%s", err);
	wait_state(2, has_pg);
}

#endif
