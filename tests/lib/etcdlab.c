// SPDX-License-Identifier: GPL-2.0
#include "tests/lib/etcdlab.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/group/engine_etcd_tend.h"
#include "daemon/group/etcd_http.h"
#include "daemon/group/etcd_proc.h"
#include "daemon/group/lease.h"
#include "tests/lib/certs.h"

#define NEED(ok) need(ok, #ok, __LINE__)

static const char *lab_dir;		/* of the test that runs */

/* Every etcd whose data is below the lab's directory, and no other. */
static void kill_all(void)
{
	char path[64], buf[512], want[128];
	DIR *dir = lab_dir ? opendir("/proc") : NULL;
	struct dirent *de;

	snprintf(want, sizeof(want), "--data-dir=%s/", lab_dir ? lab_dir : "");
	while (dir && (de = readdir(dir))) {
		int pid = atoi(de->d_name);
		size_t n = 0, at;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
		f = pid > 0 ? fopen(path, "re") : NULL;
		if (f) {
			n = fread(buf, 1, sizeof(buf) - 1, f);
			fclose(f);
		}
		buf[n] = '\0';
		at = strlen(buf) + 1;
		if (at < n && !strcmp(buf, ETCD_PROGRAM) && !strncmp(buf + at, want, strlen(want)))
			kill(pid, SIGKILL);
	}
	if (dir)
		closedir(dir);
}

static void need(int ok, const char *what, int line)
{
	if (ok)
		return;
	fprintf(stderr, "etcdlab:%d: %s failed, errno %d\n", line, what, errno);
	kill_all();
	abort();
}

uint64_t etcdlab_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

void etcdlab_nap(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000l };

	while (nanosleep(&ts, &ts))
		;
}

static int port_free(unsigned port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, r;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	r = bind(fd, (struct sockaddr *)&in, sizeof(in));
	close(fd);
	return !r;
}

/* Below the range that the kernel gives out by itself. */
static uint16_t find_port(void)
{
	static unsigned next;
	unsigned tries;

	if (!next)
		next = 10000 + getpid() * 16u % 20000;
	for (tries = 0; tries < 1000; tries++) {
		unsigned port = next;

		next = next + 4 > 31000 ? 10000 : next + 4;
		if (port_free(port) && port_free(port + 2) && port_free(port + 3))
			return port;
	}
	NEED(0);
	return 0;
}

void etcdlab_start(struct etcdlab *lab, unsigned nr)
{
	unsigned i;

	signal(SIGPIPE, SIG_IGN);
	memset(lab, 0, sizeof(*lab));
	strcpy(lab->dir, "/tmp/dag-etcd-XXXXXX");
	NEED(mkdtemp(lab->dir) != NULL);
	lab_dir = lab->dir;
	snprintf(lab->ca_dir, sizeof(lab->ca_dir), "%s/ca", lab->dir);
	NEED(!certs_group(lab->ca_dir, ETCDLAB_UUID));
	lab->nr = nr;
	for (i = 0; i < nr; i++) {
		struct etcdlab_node *n = &lab->node[i];

		snprintf(n->name, sizeof(n->name), "node%u", i + 1);
		snprintf(n->state_dir, sizeof(n->state_dir), "%s/%s", lab->dir, n->name);
		snprintf(n->creds_dir, sizeof(n->creds_dir), "%s/creds", n->state_dir);
		NEED(!mkdir(n->state_dir, 0700));
		NEED(!certs_join(lab->ca_dir, n->creds_dir, ETCDLAB_UUID, n->name));
		n->port = find_port();
	}
}

pid_t etcdlab_pid(struct etcdlab *lab, unsigned node)
{
	struct engine_health h;
	struct engine *en = lab->node[node].en;

	en->ops->health(en, &h);
	return h.pid;
}

void etcdlab_stop(struct etcdlab *lab)
{
	char cmd[160];
	unsigned i;

	for (i = 0; i < lab->nr; i++) {
		pid_t pid = lab->node[i].en ? etcdlab_pid(lab, i) : 0;

		if (pid)
			kill(pid, SIGCONT);	/* one that was stopped could not end */
		if (lab->node[i].en)
			etcdlab_close(lab, i);
	}
	kill_all();
	snprintf(cmd, sizeof(cmd), "rm -rf %s", lab->dir);
	NEED(!system(cmd));
}

struct engine *etcdlab_open(struct etcdlab *lab, unsigned node)
{
	struct etcdlab_node *n = &lab->node[node];
	struct engine_etcd_conf conf = { .state_dir = n->state_dir, .creds_dir = n->creds_dir,
					 .self = n->name, .url = "" };

	NEED(!engine_etcd_open(&conf, &n->en));
	return n->en;
}

void etcdlab_close(struct etcdlab *lab, unsigned node)
{
	struct engine *en = lab->node[node].en;

	lab->node[node].en = NULL;
	en->ops->close(en);
}

void etcdlab_crash(struct etcdlab *lab, unsigned node)
{
	engine_etcd_abandon(lab->node[node].en);
	lab->node[node].en = NULL;
}

struct founding {
	struct etcdlab *lab;
	unsigned members;
	const char *profile;
};

static int edit_found(struct group_state *gs, void *ctx)
{
	const struct founding *f = ctx;
	unsigned i;

	strcpy(gs->name, "lab");
	strcpy(gs->uuid, ETCDLAB_UUID);
	gs->generation = 1;
	strcpy(gs->founder, "node1");
	for (i = 0; i < f->members; i++) {
		struct group_member *mb = &gs->members[gs->nr_members++];

		strcpy(mb->name, f->lab->node[i].name);
		strcpy(mb->address, "127.0.0.1");
		mb->port = f->lab->node[i].port;
	}
	return lease_profile_named(f->profile, &gs->profile);
}

void etcdlab_found(struct etcdlab *lab, unsigned members, const char *profile)
{
	struct founding f = { lab, members, profile };
	struct engine *en = etcdlab_open(lab, 0);
	char err[500];
	int r = en->ops->txn_group(en, edit_found, &f, err, sizeof(err));

	if (r)
		fprintf(stderr, "found: %s\n", err);
	NEED(!r);
}

void etcdlab_join(struct etcdlab *lab, unsigned node)
{
	struct engine *en = etcdlab_open(lab, node), *first = lab->node[0].en;
	struct group_state gs;

	NEED(!group_state_init(&gs));
	NEED(!first->ops->snapshot(first, &gs));
	NEED(!en->ops->learn(en, &gs));
	NEED(!en->ops->confirm(en, 30000));
	group_state_free(&gs);
}

/* A client beside the engines, and the one etcd that it asks. */
static void lab_client(struct etcdlab *lab, struct etcd_endpoints **ret_ee, struct etcd_http **ret_eh)
{
	struct etcd_tls tls;

	snprintf(tls.ca, sizeof(tls.ca), "%s/ca.crt", lab->node[0].creds_dir);
	snprintf(tls.cert, sizeof(tls.cert), "%s/member.crt", lab->node[0].creds_dir);
	snprintf(tls.key, sizeof(tls.key), "%s/member.key", lab->node[0].creds_dir);
	NEED(!etcd_endpoints_create(&tls, ret_ee) && !etcd_http_open(*ret_ee, false, ret_eh));
}

static void lab_ask(struct etcdlab *lab, struct etcd_http *eh, unsigned node)
{
	char url[ETCD_URL_MAX];

	etcd_client_url("127.0.0.1", lab->node[node].port, url);
	etcd_http_only(eh, url);
}

static struct engine *engine_of(struct etcdlab *lab, const char *name)
{
	unsigned i;

	for (i = 0; i < lab->nr; i++)
		if (!strcmp(lab->node[i].name, name))
			return lab->node[i].en;
	return NULL;
}

static bool lab_alive(void *ctx, const char *member)
{
	return engine_of(ctx, member) != NULL;
}

void etcdlab_tend(struct etcdlab *lab, unsigned node)
{
	unsigned i;

	engine_etcd_tend(lab->node[node].en, lab_alive, lab);
	for (i = 0; i < lab->nr; i++)
		if (lab->node[i].en)
			engine_etcd_care(lab->node[i].en);
}

unsigned etcdlab_voters(struct etcdlab *lab, unsigned node)
{
	struct engine *en = lab->node[node].en;
	struct group_state gs;
	unsigned n = 0, i;

	NEED(!group_state_init(&gs));
	NEED(!en->ops->snapshot(en, &gs));
	for (i = 0; i < gs.nr_members; i++)
		n += gs.members[i].voter;
	group_state_free(&gs);
	return n;
}

unsigned etcdlab_real_voters(struct etcdlab *lab, unsigned node)
{
	struct etcd_members *ms = malloc(sizeof(*ms));
	struct etcd_endpoints *ee;
	struct etcd_http *eh;
	unsigned n = 0, i;

	NEED(ms != NULL);
	lab_client(lab, &ee, &eh);
	lab_ask(lab, eh, node);
	if (!etcd_member_list(eh, 1000, ms))
		for (i = 0; i < ms->nr; i++)
			n += !ms->list[i].learner;
	etcd_http_close(eh);
	etcd_endpoints_free(ee);
	free(ms);
	return n;
}

void etcdlab_grow(struct etcdlab *lab, unsigned voters)
{
	uint64_t end = etcdlab_now_ns() + 60000000000ull;

	while (etcdlab_real_voters(lab, 0) < voters) {
		NEED(etcdlab_now_ns() < end);
		etcdlab_tend(lab, 0);
		etcdlab_nap(100);
	}
}

int etcdlab_leader(struct etcdlab *lab)
{
	struct etcd_endpoints *ee;
	struct etcd_http *eh;
	struct etcd_status st;
	int leader = -1;
	unsigned i;

	lab_client(lab, &ee, &eh);
	for (i = 0; i < lab->nr; i++) {
		lab_ask(lab, eh, i);
		if (!etcd_status(eh, 500, &st) && st.leader && st.leader == st.member)
			leader = i;
	}
	etcd_http_close(eh);
	etcd_endpoints_free(ee);
	return leader;
}

void etcdlab_kill(struct etcdlab *lab, unsigned node, int sig)
{
	pid_t pid = etcdlab_pid(lab, node);

	NEED(pid > 0);
	NEED(!kill(pid, sig));
}

pid_t etcdlab_wait_pid(struct etcdlab *lab, unsigned node, pid_t before)
{
	uint64_t end = etcdlab_now_ns() + 30000000000ull;
	pid_t pid;

	while (!(pid = etcdlab_pid(lab, node)) || pid == before) {
		NEED(etcdlab_now_ns() < end);
		etcdlab_nap(20);
	}
	return pid;
}

void etcdlab_wait_whole(struct etcdlab *lab)
{
	uint64_t end = etcdlab_now_ns() + 30000000000ull;
	struct etcd_endpoints *ee;
	struct etcd_http *eh;
	unsigned well = 0, i;

	lab_client(lab, &ee, &eh);
	while (well < lab->nr) {
		NEED(etcdlab_now_ns() < end);
		etcdlab_nap(100);
		for (i = well = 0; i < lab->nr; i++) {
			struct etcd_status st;

			lab_ask(lab, eh, i);
			well += !etcd_status(eh, 1000, &st) && st.leader;
		}
	}
	etcd_http_close(eh);
	etcd_endpoints_free(ee);
}

int etcdlab_renew(struct engine *en, uint64_t *ret_deadline_ns, uint64_t *ret_fence)
{
	uint64_t end = etcdlab_now_ns() + 20000000000ull;
	int r;

	while ((r = en->ops->renew(en, ret_deadline_ns, ret_fence)) == -EAGAIN &&
	       etcdlab_now_ns() < end)
		etcdlab_nap(50);
	return r;
}

int etcdlab_take_lease(struct engine *en, uint64_t *ret_fence)
{
	uint64_t end = etcdlab_now_ns() + 20000000000ull, deadline, fence;
	int r;

	while ((r = en->ops->fence(en, &fence)) == -EAGAIN && etcdlab_now_ns() < end)
		etcdlab_nap(50);
	if (!r)
		r = en->ops->accept_fence(en, fence);
	return r ? r : etcdlab_renew(en, &deadline, ret_fence);
}

uint64_t etcdlab_renewal_gap_ns(struct engine *en, unsigned rounds, unsigned at, pid_t pid, int sig)
{
	uint64_t last = etcdlab_now_ns(), gap = 0, deadline, fence;
	unsigned i;

	for (i = 0; i < rounds; i++) {
		uint64_t t0 = etcdlab_now_ns();

		if (i == at && pid > 0)
			kill(pid, sig);
		if (!en->ops->renew(en, &deadline, &fence)) {
			if (t0 - last > gap)
				gap = t0 - last;
			last = t0;
		}
		etcdlab_nap(50);
	}
	return etcdlab_now_ns() - last > gap ? etcdlab_now_ns() - last : gap;
}
