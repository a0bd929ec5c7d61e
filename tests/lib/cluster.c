// SPDX-License-Identifier: GPL-2.0
#include "tests/lib/cluster.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/group/uuid.h"
#include "daemon/ship/frame.h"
#include "tests/lib/certs.h"

#define GROUP		"5f0c7a52-9d6e-4a53-8a1c-0d6f5b1f3c11"
#define REGION_BYTES	65536u
#define HELLO_MS	3000

void cluster_nap(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

/* ---- links -------------------------------------------------------------- */

static void remember_link(struct node *n, int fd)
{
	pthread_mutex_lock(&n->link_lock);
	if (n->nr_links == sizeof(n->links) / sizeof(n->links[0])) {
		close(n->links[0]);
		memmove(n->links, n->links + 1, --n->nr_links * sizeof(n->links[0]));
	}
	n->links[n->nr_links++] = dup(fd);
	pthread_mutex_unlock(&n->link_lock);
}

static void break_links(struct node *n)
{
	pthread_mutex_lock(&n->link_lock);
	while (n->nr_links) {
		shutdown(n->links[--n->nr_links], SHUT_RDWR);
		close(n->links[n->nr_links]);
	}
	pthread_mutex_unlock(&n->link_lock);
}

/* A cut node takes no connection; one that calls out is cut at the other end. */
static bool is_cut(struct node *n, const struct stream *st)
{
	for (unsigned i = 0; i < n->cl->conf.nodes; i++)
		if (!strcmp(n->cl->node[i].name, stream_peer(st)) && n->cl->node[i].cut)
			return true;
	return n->cut;
}

static void serve(struct node *n, int fd)
{
	struct stream_conf sc = { .creds = n->creds, .security = n->cl->conf.security,
				  .timeout_ms = HELLO_MS, .ktls = true };
	struct dag_hello hello;
	struct stream *st;

	remember_link(n, fd);
	if (stream_accept(&sc, fd, &st))
		return;
	if (is_cut(n, st) || stream_read_full(st, &hello, sizeof(hello), HELLO_MS)) {
		stream_close(st);
		return;
	}
	cluster_nap(n->cl->conf.answer_ms);
	pthread_mutex_lock(&n->accept_lock);
	if (n->ss)
		stores_accept(n->ss, st, &hello);
	else
		stream_close(st);
	pthread_mutex_unlock(&n->accept_lock);
}

static void *acceptor(void *arg)
{
	struct node *n = arg;

	while (!n->acceptor_stop) {
		struct pollfd p = { .fd = n->listen_fd, .events = POLLIN };
		int fd;

		if (poll(&p, 1, 50) <= 0)
			continue;
		fd = accept4(n->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		if (n->cut || !n->ss)
			close(fd);
		else
			serve(n, fd);
	}
	return NULL;
}

static int listen_here(struct node *n)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);

	n->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (n->listen_fd < 0 || bind(n->listen_fd, (struct sockaddr *)&sin, sizeof(sin)) ||
	    listen(n->listen_fd, 16) || getsockname(n->listen_fd, (struct sockaddr *)&sin, &len))
		return -errno;
	n->port = ntohs(sin.sin_port);
	return -pthread_create(&n->acceptor, NULL, acceptor, n);
}

void node_cut(struct node *n, bool cut)
{
	n->cut = cut;
	if (!cut)
		return;
	/* Links that it took, and those that others took from it. */
	for (unsigned i = 0; i < n->cl->conf.nodes; i++)
		break_links(&n->cl->node[i]);
}

/* ---- nodes --------------------------------------------------------------- */

int node_start(struct node *n)
{
	struct cluster *cl = n->cl;
	struct stores_conf sc = {
		.self = n->name, .engine = &cl->em.engine, .creds = n->creds,
		.tap = &tap_mem_host_ops[n->host], .security = cl->conf.security, .ktls = true,
		.codec = cl->conf.codec, .no_codec = cl->conf.no_codec >> n->host & 1,
		.backend = cl->conf.backend, .park_timeout_ms = 5000,
		.receive_ring_bytes = 8 << 20, .state_dir = n->dir,
	};
	struct group_state gs;
	struct stores *ss;
	int rc;

	sc.tap->lease(1, DAGTAP_LEASE_FOREVER);
	rc = stores_create(&sc, &ss);
	if (rc)
		return rc;
	stores_allow(ss, !n->held_back);
	pthread_mutex_lock(&n->apply_lock);
	pthread_mutex_lock(&n->accept_lock);
	n->ss = ss;
	pthread_mutex_unlock(&n->accept_lock);
	if (!group_state_init(&gs)) {
		cl->em.engine.ops->snapshot(&cl->em.engine, &gs);
		stores_apply(ss, &gs);
		group_state_free(&gs);
	}
	pthread_mutex_unlock(&n->apply_lock);
	return 0;
}

void node_stop(struct node *n)
{
	struct stores *ss = n->ss;

	if (!ss)
		return;
	pthread_mutex_lock(&n->apply_lock);
	pthread_mutex_lock(&n->accept_lock);
	n->ss = NULL;
	pthread_mutex_unlock(&n->accept_lock);
	pthread_mutex_unlock(&n->apply_lock);
	stores_destroy(ss);
}

void node_crash(struct node *n)
{
	tap_mem_crash_host(n->host);
	node_stop(n);
}

static void changed(void *ctx)
{
	struct cluster *cl = ctx;
	struct group_state gs;

	if (group_state_init(&gs))
		return;
	cl->em.engine.ops->snapshot(&cl->em.engine, &gs);
	for (unsigned i = 0; i < cl->conf.nodes; i++) {
		struct node *n = &cl->node[i];

		pthread_mutex_lock(&n->apply_lock);
		if (n->ss)
			stores_apply(n->ss, &gs);
		pthread_mutex_unlock(&n->apply_lock);
	}
	group_state_free(&gs);
}

static int make_file(const char *path, uint64_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc = 0;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes))
		rc = -errno;
	close(fd);
	return rc;
}

/* No extent of a seed is all zero, and no two devices begin as the same. */
static int make_device(const struct node *n, uint64_t bytes)
{
	uint8_t stamp = n->host + 1;
	int rc = make_file(n->device, bytes), fd;

	if (rc)
		return rc;
	fd = open(n->device, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (uint64_t at = 0; at < bytes && !rc; at += 4096)
		rc = pwrite(fd, &stamp, 1, (off_t)at) == 1 ? 0 : -EIO;
	close(fd);
	return rc;
}

static int make_node(struct cluster *cl, unsigned i)
{
	struct node *n = &cl->node[i];
	char base[100], meta[192];
	int rc;

	memcpy(base, cl->dir, sizeof(base));
	base[sizeof(base) - 1] = 0;
	n->cl = cl;
	n->host = i;
	n->name[0] = (char)('a' + i);
	pthread_mutex_init(&n->apply_lock, NULL);
	pthread_mutex_init(&n->accept_lock, NULL);
	pthread_mutex_init(&n->link_lock, NULL);
	snprintf(n->dir, sizeof(n->dir), "%s/%c", base, 'a' + i);
	snprintf(n->device, sizeof(n->device), "%s/%c/device", base, 'a' + i);
	snprintf(meta, sizeof(meta), "%s/%c/meta", base, 'a' + i);
	if (mkdir(n->dir, 0700))
		return -errno;
	certs_dir(n->creds_dir);
	rc = certs_join(cl->ca_dir, n->creds_dir, GROUP, n->name);
	rc = rc ? rc : creds_load(n->creds_dir, &n->creds);
	rc = rc ? rc : make_device(n, cl->conf.sectors * 512);
	rc = rc ? rc : make_file(meta, 1 << 20);
	return rc ? rc : listen_here(n);
}

/* ---- the agreed state ------------------------------------------------------ */

static void fill_copy(struct cluster *cl, unsigned i, struct group_copy *cp)
{
	struct node *n = &cl->node[i];

	memset(cp, 0, sizeof(*cp));
	snprintf(cp->member, sizeof(cp->member), "%s", n->name);
	snprintf(cp->device, sizeof(cp->device), "%s", n->device);
	snprintf(cp->meta_device, sizeof(cp->meta_device), "%s/meta", n->dir);
	snprintf(cp->log_dir, sizeof(cp->log_dir), "%s/log", n->dir);
	cp->preference = i + 1;
}

static int fill_store(struct cluster *cl)
{
	struct group_store *st = group_add_store(&cl->em.gs, cl->uuid);

	if (!st)
		return -ENOSPC;
	snprintf(st->name, sizeof(st->name), "s1");
	memcpy(st->uuid, cl->uuid, 16);
	st->sectors = cl->conf.sectors;
	st->region_bytes = REGION_BYTES;
	st->ring_mib = cl->conf.ring_mib;
	st->segment_mib = cl->conf.segment_mib;
	st->quota_bytes = cl->conf.quota_bytes;
	st->mode = cl->conf.mode;
	st->ack_durable = cl->conf.ack_durable;
	st->min_in_sync = cl->conf.min_in_sync;
	st->late_ms_max = cl->conf.late_ms_max;
	st->full_timeout_ms = cl->conf.full_timeout_ms;
	st->epoch = 1;
	st->version = 1;
	snprintf(st->active, sizeof(st->active), "%s", cl->node[0].name);
	st->nr_copies = cl->conf.copies;
	for (unsigned i = 0; i < st->nr_copies; i++)
		fill_copy(cl, i, &st->copies[i]);
	return 0;
}

static int fill_group(struct cluster *cl)
{
	struct group_state *gs = &cl->em.gs;

	snprintf(gs->name, sizeof(gs->name), "g");
	snprintf(gs->uuid, sizeof(gs->uuid), "%s", GROUP);
	gs->generation = gs->version = 1;
	snprintf(gs->founder, sizeof(gs->founder), "a");
	gs->nr_members = cl->conf.nodes;
	for (unsigned i = 0; i < cl->conf.nodes; i++) {
		struct group_member *m = &gs->members[i];

		memcpy(m->name, cl->node[i].name, sizeof(cl->node[i].name));
		snprintf(m->address, sizeof(m->address), "127.0.0.1");
		m->port = cl->node[i].port;
	}
	return fill_store(cl);
}

/* Also before the node runs: that needs no more than its configuration. */
static int prepare(struct cluster *cl, unsigned i)
{
	struct group_store st = cluster_store(cl);
	struct group_copy cp;
	char err[256] = "";
	int rc;

	fill_copy(cl, i, &cp);
	rc = stores_prepare_copy(cl->node[i].ss, &st, &cp, true, err, sizeof(err));
	if (rc)
		fprintf(stderr, "prepare %s: %s\n", cl->node[i].name, err);
	return rc;
}

struct group_store cluster_store(struct cluster *cl)
{
	struct group_store st;

	pthread_mutex_lock(&cl->em.lock);
	st = *group_find_store_uuid(&cl->em.gs, cl->uuid);
	pthread_mutex_unlock(&cl->em.lock);
	return st;
}

int cluster_edit(struct cluster *cl, int (*edit)(struct group_store *st, void *ctx), void *ctx)
{
	char err[160];

	return cl->em.engine.ops->txn_store(&cl->em.engine, cl->uuid, cluster_store(cl).epoch, edit,
					    ctx, err, sizeof(err));
}

static int edit_add(struct group_store *st, void *ctx)
{
	struct node *n = ctx;

	fill_copy(n->cl, n->host, &st->copies[st->nr_copies++]);
	return 0;
}

int cluster_add_copy(struct cluster *cl, unsigned i)
{
	int rc = prepare(cl, i);

	return rc ? rc : cluster_edit(cl, edit_add, &cl->node[i]);
}

struct move {
	const char *to;
	uint64_t start;
};

static int edit_move(struct group_store *st, void *ctx)
{
	const struct move *m = ctx;

	st->epoch++;
	st->start_lsn = m->start;
	snprintf(st->active, sizeof(st->active), "%s", m->to);
	return 0;
}

int cluster_move(struct cluster *cl, unsigned from, unsigned to, char *err, size_t errlen)
{
	struct move m = { .to = cl->node[to].name };
	int rc;

	rc = stores_drain(cl->node[from].ss, cl->uuid, m.to, UINT64_MAX, 20000, &m.start, err,
			  errlen);
	rc = rc ? rc : cluster_edit(cl, edit_move, &m);
	return rc ? rc : stores_wait_active(cl->node[to].ss, cl->uuid, cluster_store(cl).epoch, 20000,
					    err, errlen);
}

/* ---- life -------------------------------------------------------------------- */

int cluster_start(struct cluster *cl, const struct cluster_conf *conf)
{
	const char *base = conf->dir ? conf->dir : getenv("TMPDIR");
	char err[200];
	int rc;

	memset(cl, 0, sizeof(*cl));
	cl->conf = *conf;
	if (!cl->conf.copies)
		cl->conf.copies = conf->nodes;
	memcpy(cl->uuid, "dag-cluster-test", 16);
	snprintf(cl->dir, sizeof(cl->dir), "%s/dag-cluster-XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(cl->dir))
		return -errno;
	certs_dir(cl->ca_dir);
	rc = certs_group(cl->ca_dir, GROUP);
	rc = rc ? rc : engine_mem_init(&cl->em);
	for (unsigned i = 0; i < conf->nodes && !rc; i++)
		rc = make_node(cl, i);
	rc = rc ? rc : fill_group(cl);
	cl->em.engine.changed = changed;
	cl->em.engine.ctx = cl;
	/* Prepared first: a node that starts finds its copy whole. */
	for (unsigned i = 0; i < conf->nodes && !rc; i++) {
		struct stores_conf sc = { .tap = &tap_mem_host_ops[i], .self = cl->node[i].name };

		rc = stores_create(&sc, &cl->node[i].ss);
		if (!rc && i < cl->conf.copies)
			rc = prepare(cl, i);
		node_stop(&cl->node[i]);
		rc = rc ? rc : node_start(&cl->node[i]);
	}
	return rc ? rc : stores_wait_active(cl->node[0].ss, cl->uuid, 1, 10000, err, sizeof(err));
}

static void remove_tree(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[512];

	while (d && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(path, sizeof(path), "%.200s/%.255s", dir, e->d_name);
		if (e->d_type == DT_DIR)
			remove_tree(path);
		else
			unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

void cluster_stop(struct cluster *cl)
{
	for (unsigned i = 0; i < cl->conf.nodes; i++)
		node_stop(&cl->node[i]);
	for (unsigned i = 0; i < cl->conf.nodes; i++) {
		struct node *n = &cl->node[i];

		tap_mem_crash_host(i);
		n->acceptor_stop = true;
		if (n->acceptor)
			pthread_join(n->acceptor, NULL);
		break_links(n);
		if (n->listen_fd > 0)
			close(n->listen_fd);
		if (n->creds)
			creds_free(n->creds);
		if (n->creds_dir[0])
			certs_remove(n->creds_dir);
	}
	certs_remove(cl->ca_dir);
	engine_mem_free(&cl->em);
	remove_tree(cl->dir);
}

int cluster_open(struct cluster *cl, unsigned i, struct tap_mem_dev **ret)
{
	return tap_mem_dev_open(i, cl->uuid, ret);
}

/* ---- looking ------------------------------------------------------------------ */

static struct json_object *find(struct json_object *all, const char *member)
{
	for (size_t i = 0; all && i < json_object_array_length(all); i++) {
		struct json_object *o = json_object_array_get_idx(all, i), *m;

		if (json_object_object_get_ex(o, "member", &m) &&
		    !strcmp(json_object_get_string(m), member))
			return o;
	}
	return NULL;
}

void cluster_text(struct cluster *cl, unsigned asked, unsigned about, const char *field,
		  char *ret, size_t len)
{
	struct json_object *all = stores_status(cl->node[asked].ss), *o, *v;

	ret[0] = 0;
	o = find(all, cl->node[about].name);
	if (o && json_object_object_get_ex(o, field, &v))
		snprintf(ret, len, "%s", json_object_get_string(v));
	json_object_put(all);
}

uint64_t cluster_u64(struct cluster *cl, unsigned asked, unsigned about, const char *field)
{
	char text[32];

	cluster_text(cl, asked, about, field, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

int cluster_await(struct cluster *cl, unsigned asked, unsigned about, const char *field,
		  const char *text, unsigned timeout_ms)
{
	uint64_t until = now_ms() + timeout_ms;
	char now[128];

	do {
		cluster_text(cl, asked, about, field, now, sizeof(now));
		if (!strcmp(now, text))
			return 0;
		cluster_nap(20);
	} while (now_ms() < until);
	fprintf(stderr, "%s of %s as %s sees it: %s, not %s\n", field, cl->node[about].name,
		cl->node[asked].name, now, text);
	return -ETIMEDOUT;
}

static int64_t first_difference(const char *a, const char *b, uint64_t bytes)
{
	static uint8_t x[1 << 16], y[1 << 16];
	int fa = open(a, O_RDONLY | O_CLOEXEC), fb = open(b, O_RDONLY | O_CLOEXEC);
	int64_t at = -1;

	for (uint64_t off = 0; off < bytes && at < 0; off += sizeof(x))
		if (pread(fa, x, sizeof(x), (off_t)off) != pread(fb, y, sizeof(y), (off_t)off) ||
		    memcmp(x, y, sizeof(x)))
			at = (int64_t)off;
	close(fa);
	close(fb);
	return at;
}

int cluster_equal(struct cluster *cl, unsigned a, unsigned b, unsigned timeout_ms)
{
	uint64_t until = now_ms() + timeout_ms;
	int64_t at;

	do {
		at = first_difference(cl->node[a].device, cl->node[b].device, cl->conf.sectors * 512);
		if (at < 0)
			return 0;
		cluster_nap(50);
	} while (now_ms() < until);
	fprintf(stderr, "devices of %s and %s differ at sector %lld\n", cl->node[a].name,
		cl->node[b].name, (long long)at / 512);
	return -ETIMEDOUT;
}
