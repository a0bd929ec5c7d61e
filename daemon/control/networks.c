// SPDX-License-Identifier: GPL-2.0
/*
 * The thread here scans when the kernel says that something changed, or when the
 * state shows another list than ours, and writes one transaction if there is news.
 * Without a quorum it tries again; until then the others know our former list.
 */
#include "daemon/control/networks.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/group/network.h"
#include "daemon/net/heartbeat_udp.h"
#include "daemon/net/links.h"

#define RETRY_MS	2000

struct networks {
	struct control *ct;
	struct links *links;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop, on;			/* on: the group has heartbeats */
	bool dirty;			/* the list may not be what the state says */
	char published[GROUP_LIST_MAX];	/* ours, in the state */
	struct group_state gs;		/* without its stores */
	char service[GROUP_STORES_MAX * 64];	/* addresses of stores and the group */
};

/* ---- what is ours ------------------------------------------------------------- */

/* Addresses that come and go with a store or the manager's role are no path. */
static void service_addresses(const struct group_state *gs, char *ret, size_t len)
{
	size_t at = 0;
	uint32_t i;

	ret[0] = '\0';
	if (gs->address[0])
		at = snprintf(ret, len, "group=%s ", gs->address);
	for (i = 0; i < gs->nr_stores && at < len; i++)
		if (!gs->stores[i].removed && gs->stores[i].addresses[0])
			at += snprintf(ret + at, len - at, "%s ", gs->stores[i].addresses);
}

/* In the list with blanks between, whatever their interface is? */
static bool listed(const char *list, const struct netaddr *na)
{
	struct netif ni[GROUP_STORES_MAX];
	unsigned nr = netifs_parse(list, ni, GROUP_STORES_MAX);

	while (nr--)
		if (netaddr_equal(&ni[nr].addr, na))
			return true;
	return false;
}

bool networks_local(const struct control *ct)
{
	struct netaddr own;

	return !netaddr_parse(ct->cf->address, &own) && netaddr_is_loopback(&own);
}

static int own_list(struct control *ct, const char *service, char ret[GROUP_LIST_MAX])
{
	struct netif ni[64], kept[NETIFS_MAX];
	int i, n = links_scan(ni, 64);
	unsigned nr = 0, fit;

	ret[0] = '\0';
	if (n < 0 || networks_local(ct))
		return n < 0 ? n : 0;
	for (i = 0; i < n && nr < NETIFS_MAX; i++)
		if (!listed(service, &ni[i].addr))
			kept[nr++] = ni[i];
	fit = netifs_format(kept, nr, ret, GROUP_LIST_MAX);
	if (fit < nr || i < n)
		log_warn("networks msg=\"more addresses than can be published\" left_out=%d",
			 (int)(nr - fit) + n - i);
	return 0;
}

/* ---- into the state -------------------------------------------------------------- */

struct publication {
	const char *self, *list;
	char serial[CREDS_SERIAL_MAX];	/* of our certificate; "": not known */
	bool force;
};

static int edit_publish(struct group_state *gs, void *ctx)
{
	const struct publication *pb = ctx;
	struct group_member *mb = group_find_member(gs, pb->self);
	bool changed;

	if (!mb)
		return -ENOENT;
	changed = strcmp(mb->addresses, pb->list);
	if (changed) {
		memset(mb->addresses, 0, sizeof(mb->addresses));
		strcpy(mb->addresses, pb->list);
	}
	/* one that joined under an older dagd: said by itself, as its addresses */
	if (!mb->serial[0] && pb->serial[0]) {
		memcpy(mb->serial, pb->serial, sizeof(mb->serial));
		changed = true;
	}
	changed |= network_discover(gs, pb->force);
	return changed ? 0 : -EALREADY;
}

static int publish(struct networks *nw, bool force, char *err, size_t errlen)
{
	struct control *ct = nw->ct;
	struct publication pb = { .self = ct->cf->member, .force = force };
	char list[GROUP_LIST_MAX], *service = malloc(sizeof(nw->service));
	int r;

	if (!service)
		return -ENOMEM;
	pthread_mutex_lock(&nw->lock);
	memcpy(service, nw->service, sizeof(nw->service));
	pthread_mutex_unlock(&nw->lock);
	r = own_list(ct, service, list);
	free(service);
	if (r) {
		snprintf(err, errlen, "interfaces cannot be read: %s", strerror(-r));
		return r;
	}
	pb.list = list;
	pthread_rwlock_rdlock(&ct->use);
	if (!ct->creds || creds_own_serial(ct->creds, pb.serial))
		pb.serial[0] = '\0';
	pthread_rwlock_unlock(&ct->use);
	r = ct->engine->ops->txn_group(ct->engine, edit_publish, &pb, err, errlen);
	if (!r)
		log_notice("networks msg=published list=\"%s\"", list);
	return r == -EALREADY ? 0 : r;
}

int networks_rediscover(struct networks *nw, char *err, size_t errlen)
{
	return publish(nw, true, err, errlen);
}

static void wait_ms(struct networks *nw, unsigned ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	while (!nw->stop)
		if (pthread_cond_timedwait(&nw->wake, &nw->lock, &until))
			break;
}

static void *networks_main(void *arg)
{
	struct networks *nw = arg;
	char err[ERR_BYTES], told[ERR_BYTES] = "";

	pthread_mutex_lock(&nw->lock);
	while (!nw->stop) {
		int r;

		if (!nw->on || !nw->dirty) {
			pthread_cond_wait(&nw->wake, &nw->lock);
			continue;
		}
		nw->dirty = false;
		pthread_mutex_unlock(&nw->lock);
		err[0] = '\0';
		r = publish(nw, false, err, sizeof(err));
		if (r && strcmp(told, err[0] ? err : strerror(-r))) {
			snprintf(told, sizeof(told), "%s", err[0] ? err : strerror(-r));
			log_warn("networks msg=\"addresses not published\" err=\"%s\"", told);
		} else if (!r) {
			told[0] = '\0';
		}
		pthread_mutex_lock(&nw->lock);
		if (r) {
			nw->dirty = true;
			wait_ms(nw, RETRY_MS);
		}
	}
	pthread_mutex_unlock(&nw->lock);
	return NULL;
}

static void links_changed(void *ctx)
{
	struct networks *nw = ctx;

	pthread_mutex_lock(&nw->lock);
	nw->dirty = true;
	pthread_cond_broadcast(&nw->wake);
	pthread_mutex_unlock(&nw->lock);
}

void networks_apply(struct networks *nw, struct group_state *gs)
{
	const struct group_member *mb = group_find_member(gs, nw->ct->cf->member);
	bool was_on;

	pthread_mutex_lock(&nw->lock);
	was_on = nw->on;
	nw->on = mb && gs->heartbeat_key[0];
	nw->gs = *gs;
	nw->gs.nr_stores = nw->gs.room = 0;
	nw->gs.stores = NULL;
	service_addresses(gs, nw->service, sizeof(nw->service));
	/* at the start, and where another member's transaction undid ours */
	if (nw->on && (!was_on || strcmp(mb->addresses, nw->published)))
		nw->dirty = true;
	snprintf(nw->published, sizeof(nw->published), "%s", mb ? mb->addresses : "");
	pthread_cond_broadcast(&nw->wake);
	pthread_mutex_unlock(&nw->lock);
	serve_tcp_listen(nw->ct, gs);
}

/* ---- ways -------------------------------------------------------------------------- */

/*
 * Plain only where this host's configuration and the group's policy both say so.
 * Without networks there is no policy, and the configuration alone counts. With the
 * lock.
 */
static enum stream_security security_of(struct networks *nw, const struct netaddr *a,
					const struct netaddr *b)
{
	struct group_state *gs = &nw->gs;

	if (nw->ct->cf->security == STREAM_TLS || !gs->nr_networks)
		return nw->ct->cf->security;
	return network_policy(gs->encryption, network_same_subnet(gs, a, b), false) ? STREAM_TLS :
	       STREAM_PLAIN;
}

enum stream_security networks_security(struct control *ct, int fd)
{
	struct sockaddr_storage here, there;
	socklen_t hlen = sizeof(here), tlen = sizeof(there);
	struct netaddr a, b;
	enum stream_security ret;

	if (ct->cf->security == STREAM_TLS || getsockname(fd, (struct sockaddr *)&here, &hlen) ||
	    getpeername(fd, (struct sockaddr *)&there, &tlen) ||
	    netaddr_from_sockaddr((struct sockaddr *)&here, &a) ||
	    netaddr_from_sockaddr((struct sockaddr *)&there, &b))
		return STREAM_TLS;
	pthread_mutex_lock(&ct->networks->lock);
	ret = security_of(ct->networks, &a, &b);
	pthread_mutex_unlock(&ct->networks->lock);
	return ret;
}

/* Between the configured addresses. With the lock. */
static int configured_way(struct networks *nw, const struct group_member *mb, struct way *ret)
{
	const struct group_member *self = group_find_member(&nw->gs, nw->ct->cf->member);
	const char *own = nw->ct->cf->address[0] || !self ? nw->ct->cf->address : self->address;
	struct netaddr to, from;

	if (netaddr_parse(mb->address, &to))
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	ret->tolen = netaddr_to_sockaddr(&to, mb->port, &ret->to);
	if (!netaddr_parse(own, &from) && netaddr_is_v4(&from) == netaddr_is_v4(&to))
		ret->fromlen = netaddr_to_sockaddr(&from, 0, &ret->from);
	return 0;
}

static int find_way(struct control *ct, const char *member, const struct group_member *mb,
		    struct way *ret)
{
	struct heartbeats *hs = control_heartbeats(ct);
	struct networks *nw = ct->networks;
	struct netaddr to, from;
	int r = 0;

	if (!hs || heartbeats_way(hs, member, ret))
		ret->tolen = 0;
	pthread_mutex_lock(&nw->lock);
	if (!ret->tolen) {
		mb = mb ? mb : group_find_member(&nw->gs, member);
		r = mb ? configured_way(nw, mb, ret) : -ENOENT;
	}
	if (!r) {
		memset(&from, 0, sizeof(from));
		netaddr_from_sockaddr((struct sockaddr *)&ret->to, &to);
		if (ret->fromlen)
			netaddr_from_sockaddr((struct sockaddr *)&ret->from, &from);
		ret->security = security_of(nw, &from, &to);
		ret->codec = nw->ct->cf->compression ?
			     network_codec(&nw->gs, &from, &to, &ret->seed_only) : DAG_CODEC_NONE;
	}
	pthread_mutex_unlock(&nw->lock);
	return r;
}

int networks_find_way(void *ctx, const char *member, struct way *ret)
{
	return find_way(ctx, member, NULL, ret);
}

int networks_way(struct control *ct, const struct group_member *mb, struct way *ret)
{
	return find_way(ct, mb->name, mb, ret);
}

/* ---- what the heartbeats tell ------------------------------------------------------- */

void networks_path(void *ctx, const char *member, const struct net_path *at, bool up)
{
	struct control *ct = ctx;
	char local[NETADDR_TEXT], remote[NETADDR_TEXT];
	struct json_object *obj = json_object_new_object();

	netaddr_format(&at->local, local);
	netaddr_format(&at->remote, remote);
	json_object_object_add(obj, "peer", json_object_new_string(member));
	json_object_object_add(obj, "network", json_object_new_string(at->network));
	json_object_object_add(obj, "local", json_object_new_string(local));
	json_object_object_add(obj, "remote", json_object_new_string(remote));
	json_object_object_add(obj, "up", json_object_new_boolean(up));
	history_add(ct->history, "network", "", obj, "path to %s over %s is %s", member,
		    at->network[0] ? at->network : "the configured addresses", up ? "up" : "down");
}

/* Log connections look for themselves (ship/peer.c); calls are told. */
void networks_moved(void *ctx, const char *member)
{
	struct control *ct = ctx;
	struct json_object *obj;
	struct way way;

	peers_moved(ct, member);
	if (networks_find_way(ct, member, &way) || !way.sure)
		return;
	obj = json_object_new_object();
	json_object_object_add(obj, "peer", json_object_new_string(member));
	json_object_object_add(obj, "network", json_object_new_string(way.network));
	history_add(ct->history, "network", "", obj, "%s is reached over %s", member,
		    way.network[0] ? way.network : "the configured addresses");
}

void networks_refused(void *ctx, const char *from, const char *why, uint64_t count)
{
	struct control *ct = ctx;
	struct json_object *obj = json_object_new_object();

	json_object_object_add(obj, "from", json_object_new_string(from));
	json_object_object_add(obj, "why", json_object_new_string(why));
	json_object_object_add(obj, "count", json_object_new_int64(count));
	history_add(ct->history, "refused", "", obj, "heartbeat from %s: %s", from, why);
}

/* ---- life -------------------------------------------------------------------------- */

int networks_start(struct control *ct, struct networks **ret)
{
	struct networks *nw = calloc(1, sizeof(*nw));
	struct links_conf conf = { .ctx = nw, .changed = links_changed };
	pthread_condattr_t attr;
	int r;

	if (!nw)
		return -ENOMEM;
	nw->ct = ct;
	pthread_mutex_init(&nw->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&nw->wake, &attr);
	pthread_condattr_destroy(&attr);
	r = -pthread_create(&nw->thread, NULL, networks_main, nw);
	if (r) {
		free(nw);
		return r;
	}
	/* without it changes are seen at the next start, and by rediscover */
	if (links_start(&conf, &nw->links))
		log_warn("networks msg=\"changes of interfaces are not seen\"");
	*ret = nw;
	return 0;
}

void networks_stop(struct networks *nw)
{
	if (!nw)
		return;
	links_stop(nw->links);
	pthread_mutex_lock(&nw->lock);
	nw->stop = true;
	pthread_cond_broadcast(&nw->wake);
	pthread_mutex_unlock(&nw->lock);
	pthread_join(nw->thread, NULL);
	pthread_cond_destroy(&nw->wake);
	pthread_mutex_destroy(&nw->lock);
	free(nw);
}
