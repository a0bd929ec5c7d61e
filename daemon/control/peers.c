// SPDX-License-Identifier: GPL-2.0
/*
 * peers - what this member says to the others.
 *
 * A thread per other member: every 2 s, and at once after a change here, it asks
 * for the digest of the other's state; where digests differ both exchange their
 * whole state and each takes what is newer. That is also the heartbeat which
 * `status` shows. How to ask another member is in peer_line.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/control/authority.h"
#include "daemon/control/control_int.h"
#include "daemon/control/manager.h"
#include "include/dag/version.h"

#define BEAT_MS		2000
#define ANSWER_MS	5000

struct peer {
	struct control *ct;
	char name[64];			/* "": slot is free */
	struct group_member at;
	bool wanted, kicked;
	int fd;				/* of the connection in use, -1 */
	struct peer_view view;
	uint64_t last_ok_ns;		/* CLOCK_BOOTTIME; 0: never */
};

struct peers {
	pthread_mutex_t lock;
	pthread_cond_t wake;		/* kicked, unwanted, or a thread ended */
	bool stopping;
	unsigned threads;
	struct peer slots[GROUP_MEMBERS_MAX];
};

/* ---- the thread of a member ------------------------------------------- */

static int beat(struct peer *pr, struct stream *st, struct json_object **ret, char *err, size_t errlen)
{
	struct json_object *params = json_object_new_object();
	char *line;
	int r;

	json_object_object_add(params, "version", json_object_new_string(DAG_VERSION));
	line = rpc_request_line("peer.heartbeat", params, 1, 0);
	json_object_put(params);
	r = line ? peer_transact(st, line, ANSWER_MS, NULL, ret, err, errlen) : -ENOMEM;
	free(line);
	return r;
}

static uint64_t own_digest(struct control *ct)
{
	struct group_state gs;
	uint64_t digest = 0;

	if (group_state_init(&gs))
		return 0;
	if (!ct->engine->ops->snapshot(ct->engine, &gs))
		digest = group_state_digest(&gs);
	group_state_free(&gs);
	return digest;
}

/* Which generation it is in, and whether it may activate (group/dac.h). */
static void tell_manager(struct peer *pr, struct json_object *beat_result)
{
	char err[64];
	uint64_t generation;
	int bit;

	if (!pr->ct->manager || !json_object_object_get_ex(beat_result, "dac", NULL))
		return;
	bit = rpc_bool(beat_result, "dac", err, sizeof(err));
	if (bit >= 0 && !rpc_u64(beat_result, "generation", INT64_MAX, &generation, err, sizeof(err)))
		manager_heard(pr->ct->manager, pr->name, generation, bit);
}

static int talk(struct peer *pr, struct stream **st, char *err, size_t errlen)
{
	struct peers *ps = pr->ct->peers;
	struct json_object *result = NULL, *val;
	const char *text = "0", *version = "";
	uint64_t digest, t0;
	bool authority;
	int r;

	if (!*st) {
		r = peer_open(pr->ct, &pr->at, st, err, errlen);
		if (r == -EKEYREVOKED)
			control_refused(pr->ct, pr->name);
		if (r)
			return r;
		pthread_mutex_lock(&ps->lock);
		pr->fd = stream_fd(*st);
		pthread_mutex_unlock(&ps->lock);
	}
	t0 = peer_now_ns();
	r = beat(pr, *st, &result, err, errlen);
	if (r)
		return r;
	if (json_object_object_get_ex(result, "digest", &val))
		text = json_object_get_string(val);
	if (json_object_object_get_ex(result, "version", &val))
		version = json_object_get_string(val);
	authority = rpc_bool(result, "authority", err, errlen) == 1;
	tell_manager(pr, result);
	digest = strtoull(text ? text : "0", NULL, 16);
	pthread_mutex_lock(&ps->lock);
	pr->last_ok_ns = peer_now_ns();
	pr->view.rtt_ms = (pr->last_ok_ns - t0) / 1e6;
	pr->view.digest = digest;
	pr->view.authority = authority;
	snprintf(pr->view.version, sizeof(pr->view.version), "%s", version ? version : "");
	pthread_mutex_unlock(&ps->lock);
	json_object_put(result);
	if (authority)
		authority_fetch(pr->ct, &pr->at);
	if (digest != own_digest(pr->ct))
		r = peer_swap_states(pr->ct, *st, ANSWER_MS, err, errlen);
	return r;
}

/* Note how it went; say it when it changes. */
static void note(struct peer *pr, int r, const char *err)
{
	struct peers *ps = pr->ct->peers;
	bool was;

	pthread_mutex_lock(&ps->lock);
	was = pr->view.reachable;
	pr->view.reachable = !r;
	snprintf(pr->view.error, sizeof(pr->view.error), "%s", r ? err : "");
	pthread_mutex_unlock(&ps->lock);
	if (!r && !was)
		log_notice("member=%s msg=reachable address=%s", pr->name, pr->at.address);
	else if (r && was)
		log_warn("member=%s msg=unreachable err=\"%s\"", pr->name, err);
}

static void *peer_thread(void *arg)
{
	struct peer *pr = arg;
	struct control *ct = pr->ct;
	struct peers *ps = ct->peers;
	struct stream *st = NULL;
	struct timespec until;
	char err[256];
	int r;

	pthread_mutex_lock(&ps->lock);
	while (pr->wanted && !ps->stopping) {
		pr->kicked = false;
		pthread_mutex_unlock(&ps->lock);
		r = talk(pr, &st, err, sizeof(err));
		note(pr, r, err);
		pthread_mutex_lock(&ps->lock);
		if (r && st) {
			pr->fd = -1;
			stream_close(st);
			st = NULL;
		}
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += BEAT_MS / 1000;
		while (pr->wanted && !pr->kicked && !ps->stopping)
			if (pthread_cond_timedwait(&ps->wake, &ps->lock, &until))
				break;
	}
	/* From here on the slot is another's. */
	pr->fd = -1;
	pr->name[0] = '\0';
	pthread_mutex_unlock(&ps->lock);
	if (st)
		stream_close(st);
	/* a member whose address changed gets a new thread */
	control_changed(ct);
	pthread_mutex_lock(&ps->lock);
	ps->threads--;
	pthread_cond_broadcast(&ps->wake);
	pthread_mutex_unlock(&ps->lock);
	return NULL;
}

int peers_start(struct control *ct)
{
	struct peers *ps = calloc(1, sizeof(*ps));
	pthread_condattr_t attr;

	if (!ps)
		return -ENOMEM;
	pthread_mutex_init(&ps->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ps->wake, &attr);
	pthread_condattr_destroy(&attr);
	ct->peers = ps;
	return 0;
}

static struct peer *find(struct peers *ps, const char *name)
{
	int i;

	for (i = 0; i < GROUP_MEMBERS_MAX; i++)
		if (!strcmp(ps->slots[i].name, name))
			return &ps->slots[i];
	return NULL;
}

static void unwant(struct peer *pr)
{
	pr->wanted = false;
	if (pr->fd >= 0)
		shutdown(pr->fd, SHUT_RDWR);
}

/* With the lock: a thread for this member, at this address. */
static void want(struct control *ct, const struct group_member *mb)
{
	struct peers *ps = ct->peers;
	struct peer *pr = find(ps, mb->name);

	if (pr && memcmp(&pr->at, mb, sizeof(*mb))) {
		unwant(pr);	/* the next round of sync starts it anew */
		return;
	}
	if (pr)
		return;
	pr = find(ps, "");
	if (!pr)
		return;
	memset(pr, 0, sizeof(*pr));
	pr->ct = ct;
	pr->at = *mb;
	memcpy(pr->name, mb->name, sizeof(pr->name));
	pr->fd = -1;
	pr->view.age_seconds = -1;
	pr->wanted = true;
	if (thread_detached(peer_thread, pr)) {
		log_err("member=%s msg=\"no thread for it\"", mb->name);
		pr->name[0] = '\0';
	} else {
		ps->threads++;
	}
}

void peers_sync(struct control *ct, struct group_state *gs)
{
	struct peers *ps = ct->peers;
	uint32_t i;

	pthread_mutex_lock(&ps->lock);
	for (i = 0; i < GROUP_MEMBERS_MAX; i++) {
		struct peer *pr = &ps->slots[i];

		if (!pr->name[0])
			continue;
		pr->kicked = true;
		if (!gs || !group_find_member(gs, pr->name))
			unwant(pr);
	}
	for (i = 0; gs && i < gs->nr_members; i++)
		if (strcmp(gs->members[i].name, ct->cf->member))
			want(ct, &gs->members[i]);
	pthread_cond_broadcast(&ps->wake);
	pthread_mutex_unlock(&ps->lock);
}

void peers_moved(struct control *ct, const char *member)
{
	struct peers *ps = ct->peers;
	struct peer *pr;

	pthread_mutex_lock(&ps->lock);
	pr = member[0] ? find(ps, member) : NULL;
	if (pr && pr->fd >= 0) {
		shutdown(pr->fd, SHUT_RDWR);
		pr->kicked = true;
		pthread_cond_broadcast(&ps->wake);
	}
	pthread_mutex_unlock(&ps->lock);
}

void peers_stop(struct control *ct)
{
	struct peers *ps = ct->peers;
	int i;

	pthread_mutex_lock(&ps->lock);
	ps->stopping = true;
	for (i = 0; i < GROUP_MEMBERS_MAX; i++)
		if (ps->slots[i].name[0])
			unwant(&ps->slots[i]);
	pthread_cond_broadcast(&ps->wake);
	while (ps->threads)
		pthread_cond_wait(&ps->wake, &ps->lock);
	pthread_mutex_unlock(&ps->lock);
}

void peers_view(struct control *ct, const char *member, struct peer_view *ret)
{
	struct peers *ps = ct->peers;
	struct peer *pr;

	memset(ret, 0, sizeof(*ret));
	ret->age_seconds = -1;
	pthread_mutex_lock(&ps->lock);
	pr = find(ps, member);
	if (pr && member[0]) {
		*ret = pr->view;
		ret->age_seconds = pr->last_ok_ns ? (peer_now_ns() - pr->last_ok_ns) / 1e9 : -1;
	}
	pthread_mutex_unlock(&ps->lock);
}
