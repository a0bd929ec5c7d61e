// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/invite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control/authority.h"
#include "daemon/control/control_int.h"
#include "daemon/control/history.h"
#include "daemon/group/state_json.h"
#include "daemon/net/creds_internal.h"
#include "daemon/net/join.h"

#define FILE_NAME	"invites.json"
#define JOIN_MS		10000
#define JOIN_LINE_MAX	65536
#define CRT_DAYS	3650

struct invite {
	struct group_member at;
	char hash[65];
	int64_t expires;		/* CLOCK_REALTIME seconds */
	enum invite_as as;
};

struct invites {
	struct control *ct;
	pthread_mutex_t lock;
	struct invite list[INVITES_MAX];
	unsigned nr;
	int kick_fd, listen_fd;
	struct conns conns;
	pthread_t thread;
};

struct joiner {
	struct invites *iv;
	int fd, slot;
};

static void to_hex(const uint8_t *bin, size_t len, char *ret)
{
	size_t i;

	for (i = 0; i < len; i++)
		sprintf(ret + 2 * i, "%02x", bin[i]);
}

static void hash_of(const char *secret, char ret[65])
{
	uint8_t md[SHA256_DIGEST_LENGTH];

	SHA256((const unsigned char *)secret, strlen(secret), md);
	to_hex(md, sizeof(md), ret);
}

/* ---- the list, with the lock held --------------------------------------- */

static struct json_object *invite_obj(const struct invite *in)
{
	struct json_object *obj = group_member_to_obj(&in->at);

	json_object_object_add(obj, "expires", json_object_new_int64(in->expires));
	json_object_object_add(obj, "witness", json_object_new_boolean(in->as == INVITE_WITNESS));
	json_object_object_add(obj, "alternate", json_object_new_boolean(in->as == INVITE_ALTERNATE));
	return obj;
}

static int save(struct invites *iv)
{
	struct json_object *obj = json_object_new_object(), *list = json_object_new_array();
	const char *text;
	unsigned i;
	int r;

	for (i = 0; i < iv->nr; i++) {
		struct json_object *one = invite_obj(&iv->list[i]);

		json_object_object_add(one, "hash", json_object_new_string(iv->list[i].hash));
		json_object_array_add(list, one);
	}
	json_object_object_add(obj, "invites", list);
	text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY);
	r = creds_file_write(iv->ct->cf->state_dir, FILE_NAME, 0600, text, strlen(text));
	json_object_put(obj);
	return r;
}

static void remove_at(struct invites *iv, unsigned i)
{
	iv->list[i] = iv->list[--iv->nr];
}

static void drop_expired(struct invites *iv)
{
	bool any = false;
	unsigned i;

	for (i = iv->nr; i-- > 0;) {
		if (iv->list[i].expires > time(NULL))
			continue;
		log_notice("invite member=%s msg=expired", iv->list[i].at.name);
		remove_at(iv, i);
		any = true;
	}
	if (any)
		save(iv);
}

static int find_name(struct invites *iv, const char *member)
{
	unsigned i;

	for (i = 0; i < iv->nr; i++)
		if (!strcmp(iv->list[i].at.name, member))
			return i;
	return -1;
}

static int load_one(struct json_object *obj, struct invite *ret)
{
	char err[256];
	const char *hash;
	uint64_t expires;

	if (group_member_from_obj(obj, &ret->at, err, sizeof(err)) ||
	    rpc_str(obj, "hash", &hash, err, sizeof(err)) ||
	    rpc_u64(obj, "expires", INT64_MAX, &expires, err, sizeof(err)) || strlen(hash) != 64)
		return -EINVAL;
	ret->as = rpc_bool(obj, "witness", err, sizeof(err)) == 1 ? INVITE_WITNESS :
		  rpc_bool(obj, "alternate", err, sizeof(err)) == 1 ? INVITE_ALTERNATE : INVITE_MEMBER;
	strcpy(ret->hash, hash);
	ret->expires = expires;
	return 0;
}

/* What cannot be read is dropped: the worst is that a host must be invited again. */
static void load(struct invites *iv)
{
	struct json_object *obj, *list;
	char err[256], *text;
	size_t i;

	if (creds_file_read(iv->ct->cf->state_dir, FILE_NAME, true, &text))
		return;
	obj = json_parse_strict(text, strlen(text), err, sizeof(err));
	free(text);
	if (!obj || !json_object_object_get_ex(obj, "invites", &list) ||
	    !json_object_is_type(list, json_type_array)) {
		log_warn("invite file=%s/%s msg=\"damaged, ignored\"", iv->ct->cf->state_dir,
			 FILE_NAME);
	} else {
		for (i = 0; i < json_object_array_length(list) && iv->nr < INVITES_MAX; i++)
			if (!load_one(json_object_array_get_idx(list, i), &iv->list[iv->nr]))
				iv->nr++;
	}
	json_object_put(obj);
}

/* ---- for the verbs ------------------------------------------------------ */

int invite_make(struct rpc_call *call, const struct group_member *mb, enum invite_as as,
		char ret_secret[33])
{
	struct invites *iv = call->ct->invites;
	struct invite in = { .at = *mb, .as = as, .expires = time(NULL) + INVITE_SECONDS };
	uint64_t one = 1;
	uint8_t bin[16];
	int r, at;

	if (getrandom(bin, sizeof(bin), 0) != sizeof(bin))
		return call_fail(call, -EIO, "member %s: no random bytes", mb->name);
	to_hex(bin, sizeof(bin), ret_secret);
	hash_of(ret_secret, in.hash);
	pthread_mutex_lock(&iv->lock);
	drop_expired(iv);
	at = find_name(iv, mb->name);
	if (at >= 0)
		remove_at(iv, at);
	if (iv->nr == INVITES_MAX) {
		r = call_fail(call, -ENOSPC, "member %s: %u invitations are open; wait for them or "
			      "take one back with dagctl member remove", mb->name, iv->nr);
	} else {
		iv->list[iv->nr++] = in;
		r = save(iv);
		if (r) {
			iv->nr--;
			call_fail(call, r, "member %s: invitation not stored in %s: %s", mb->name,
				  call->ct->cf->state_dir, strerror(-r));
		}
	}
	pthread_mutex_unlock(&iv->lock);
	if (!r && write(iv->kick_fd, &one, sizeof(one)) < 0)
		r = -errno;
	return r;
}

void invite_list(struct control *ct, struct json_object *array)
{
	struct invites *iv = ct->invites;
	unsigned i;

	pthread_mutex_lock(&iv->lock);
	drop_expired(iv);
	for (i = 0; i < iv->nr; i++)
		json_object_array_add(array, invite_obj(&iv->list[i]));
	pthread_mutex_unlock(&iv->lock);
}

int invite_drop(struct control *ct, const char *member)
{
	struct invites *iv = ct->invites;
	int at, r = -ENOENT;

	pthread_mutex_lock(&iv->lock);
	at = find_name(iv, member);
	if (at >= 0) {
		remove_at(iv, at);
		r = save(iv);
	}
	pthread_mutex_unlock(&iv->lock);
	return r;
}

void invite_drop_all(struct control *ct)
{
	struct invites *iv = ct->invites;

	pthread_mutex_lock(&iv->lock);
	if (iv->nr) {
		iv->nr = 0;
		save(iv);
	}
	pthread_mutex_unlock(&iv->lock);
}

/* ---- the listener --------------------------------------------------------- */

/* Who is let in, with the serial number of what was signed for it. */
struct entry {
	struct control *ct;
	const struct group_member *mb;
};

/* What it had before is revoked: it has lost it, or it would not ask for another. */
static void supersede(const struct entry *en, struct group_state *gs, const char *former)
{
	if (strcmp(former, en->mb->serial))
		authority_revoke(en->ct, gs, former);
}

static void fill_witness(const struct entry *en, struct group_state *gs, struct group_witness *wt)
{
	const struct group_member *mb = en->mb;

	supersede(en, gs, wt->serial);
	snprintf(wt->serial, sizeof(wt->serial), "%s", mb->serial);
	snprintf(wt->name, sizeof(wt->name), "%s", mb->name);
	snprintf(wt->address, sizeof(wt->address), "%s", mb->address);
	wt->port = mb->port;
}

/* One that was a member before stays what it was, above all a voter of the engine. */
static int edit_add(struct group_state *gs, void *ctx)
{
	const struct entry *en = ctx;
	const struct group_member *mb = en->mb;
	struct group_member *there = group_find_member(gs, mb->name);

	if (there) {
		supersede(en, gs, there->serial);
		memcpy(there->serial, mb->serial, sizeof(there->serial));
		memcpy(there->address, mb->address, sizeof(there->address));
		memcpy(there->site, mb->site, sizeof(there->site));
		there->port = mb->port;
		return 0;
	}
	if (!strcmp(gs->witness.name, mb->name) || !strcmp(gs->alternate.name, mb->name))
		return -EEXIST;
	if (gs->nr_members == GROUP_MEMBERS_MAX)
		return -ENOSPC;
	gs->members[gs->nr_members++] = *mb;
	return 0;
}

static int edit_add_witness(struct group_state *gs, void *ctx)
{
	const struct entry *en = ctx;
	const struct group_member *mb = en->mb;
	struct group_witness *wt = &gs->witness;

	if (group_find_member(gs, mb->name) || !strcmp(gs->alternate.name, mb->name) ||
	    (wt->name[0] && strcmp(wt->name, mb->name)))
		return -EEXIST;
	fill_witness(en, gs, wt);
	return 0;
}

static int edit_add_alternate(struct group_state *gs, void *ctx)
{
	const struct entry *en = ctx;
	const struct group_member *mb = en->mb;
	struct group_witness *wt = &gs->alternate;

	if (group_find_member(gs, mb->name) || !strcmp(gs->witness.name, mb->name) ||
	    (wt->name[0] && strcmp(wt->name, mb->name)))
		return -EEXIST;
	fill_witness(en, gs, wt);
	return 0;
}

/*
 * Use up the invitation that the secret belongs to. It is gone, durably, before
 * anything is given for it.
 */
static int redeem(struct invites *iv, const char *secret, const char *member, const char *address,
		  struct group_member *ret, enum invite_as *ret_as, const char **ret_why)
{
	char hash[65];
	int at = -1, r;
	unsigned i;

	hash_of(secret, hash);
	pthread_mutex_lock(&iv->lock);
	drop_expired(iv);
	for (i = 0; i < iv->nr; i++)
		if (!CRYPTO_memcmp(iv->list[i].hash, hash, 64))
			at = i;
	r = -EACCES;
	if (at < 0) {
		*ret_why = "token is unknown, used up or expired; invite the host again with "
			   "dagctl member add";
	} else if (strcmp(iv->list[at].at.name, member)) {
		*ret_why = "token is for another member name";
	} else if (address[0] && strcmp(iv->list[at].at.address, address)) {
		*ret_why = "address in dag.conf is not the one the host was invited with";
	} else {
		*ret = iv->list[at].at;
		*ret_as = iv->list[at].as;
		remove_at(iv, at);
		r = save(iv);
		*ret_why = "who invited it cannot write its state directory";
	}
	pthread_mutex_unlock(&iv->lock);
	return r;
}

static struct json_object *welcome(struct control *ct, struct group_member *mb, enum invite_as as,
				   const char *csr, const char **ret_why)
{
	static int (*const edits[])(struct group_state *gs, void *ctx) = {
		[INVITE_MEMBER] = edit_add,
		[INVITE_WITNESS] = edit_add_witness,
		[INVITE_ALTERNATE] = edit_add_alternate,
	};
	struct entry en = { ct, mb };
	struct json_object *obj = NULL;
	struct group_state gs;
	char err[256], *crt = NULL, *ca = NULL;
	int r;

	*ret_why = "who invited it failed; see the log there";
	r = group_state_init(&gs);
	if (r)
		return NULL;
	r = ct->engine->ops->snapshot(ct->engine, &gs);
	if (!r)
		r = creds_sign(ct->creds_dir, gs.uuid, mb->name, mb->address, csr, CRT_DAYS, &crt);
	if (!r)
		r = creds_serial(crt, mb->serial);
	if (!r)
		r = creds_ca_pem(ct->creds_dir, &ca);
	if (!r)
		r = ct->engine->ops->txn_group(ct->engine, edits[as], &en, err,
					       sizeof(err));
	if (!r)
		r = ct->engine->ops->snapshot(ct->engine, &gs);
	if (!r) {
		obj = json_object_new_object();
		json_object_object_add(obj, "crt", json_object_new_string(crt));
		json_object_object_add(obj, "ca", json_object_new_string(ca));
		json_object_object_add(obj, "state", group_state_to_obj(&gs));
	} else {
		log_err("invite member=%s err=\"%s\"", mb->name, strerror(-r));
	}
	free(crt);
	free(ca);
	group_state_free(&gs);
	return obj;
}

static void serve_join(struct invites *iv, struct join_conn *jc)
{
	const char *secret, *member, *csr, *address = "", *why = "not a join request";
	struct json_object *rq = NULL, *obj = NULL;
	struct group_member mb;
	char err[256], *line = NULL, *buf = malloc(JOIN_LINE_MAX);
	enum invite_as as = INVITE_MEMBER;
	int n;

	n = buf ? join_read_line(jc, buf, JOIN_LINE_MAX) : -ENOMEM;
	if (n > 0)
		rq = json_parse_strict(buf, n, err, sizeof(err));
	/* a PEM has newlines: taken by hand, not by rpc_str() */
	if (rq && !rpc_str(rq, "secret", &secret, err, sizeof(err)) &&
	    !rpc_str(rq, "member", &member, err, sizeof(err)) &&
	    !rpc_str_opt(rq, "address", &address, err, sizeof(err)) &&
	    json_object_object_get_ex(rq, "csr", &obj)) {
		csr = json_object_get_string(obj);
		obj = NULL;
		if (csr && !redeem(iv, secret, member, address, &mb, &as, &why))
			obj = welcome(iv->ct, &mb, as, csr, &why);
	}
	if (obj) {
		log_notice("member=%s address=%s msg=joined", mb.name, mb.address);
		history_add(iv->ct->history, "member-join", "", NULL, "%s joined, address %s", mb.name,
			    mb.address);
		line = rpc_result_line(obj, 0);
	} else {
		log_warn("join msg=refused why=\"%s\"", why);
		history_add(iv->ct->history, "refused", "", NULL, "join: %s", why);
		line = rpc_error_line(-EACCES, why, 0);
	}
	if (line)
		join_write(jc, line);
	json_object_put(obj);
	json_object_put(rq);
	free(line);
	free(buf);
}

static void *joiner_thread(void *arg)
{
	struct joiner *jn = arg;
	struct invites *iv = jn->iv;
	struct ssl_ctx_st *ctx = NULL;
	struct join_conn *jc = NULL;
	int r;

	r = join_ctx(iv->ct->creds_dir, &ctx);
	if (r)
		close(jn->fd);
	else
		r = join_accept(ctx, jn->fd, JOIN_MS, &jc);
	if (!r)
		serve_join(iv, jc);
	join_close(jc);
	join_ctx_free(ctx);
	conns_leave(&iv->conns, jn->slot);
	free(jn);
	return NULL;
}

static void accept_joiner(struct invites *iv)
{
	struct joiner *jn = calloc(1, sizeof(*jn));
	int fd = accept4(iv->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0 && jn) {
		jn->iv = iv;
		jn->fd = fd;
		jn->slot = conns_enter(&iv->conns, -1);
		if (jn->slot >= 0 && !thread_detached(joiner_thread, jn))
			return;
		if (jn->slot >= 0)
			conns_leave(&iv->conns, jn->slot);
	}
	if (fd >= 0)
		close(fd);
	free(jn);
}

static int open_listener(struct control *ct)
{
	const char *address = ct->cf->address;
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(ct->cf->port + 1) };
	struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(ct->cf->port + 1) };
	bool v6 = inet_pton(AF_INET6, address[0] ? address : "::", &in6.sin6_addr) == 1;
	int fd, r, one = 1, zero = 0;

	if (!v6)
		inet_pton(AF_INET, address, &in4.sin_addr);
	fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (v6)
		setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	r = v6 ? bind(fd, (struct sockaddr *)&in6, sizeof(in6)) :
		 bind(fd, (struct sockaddr *)&in4, sizeof(in4));
	if (r || listen(fd, 8)) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

/* Open while an invitation stands, closed else. */
static void set_listener(struct invites *iv)
{
	unsigned nr;

	pthread_mutex_lock(&iv->lock);
	drop_expired(iv);
	nr = iv->nr;
	pthread_mutex_unlock(&iv->lock);
	if (nr && iv->listen_fd < 0) {
		iv->listen_fd = open_listener(iv->ct);
		if (iv->listen_fd < 0)
			log_warn("join port=%u msg=\"not open yet\" err=\"%s\"",
				 iv->ct->cf->port + 1, strerror(-iv->listen_fd));
		else
			log_info("join port=%u msg=open invitations=%u", iv->ct->cf->port + 1, nr);
	} else if (!nr && iv->listen_fd >= 0) {
		close(iv->listen_fd);
		iv->listen_fd = -1;
		log_info("join port=%u msg=closed", iv->ct->cf->port + 1);
	}
}

static void *invite_thread(void *arg)
{
	struct invites *iv = arg;
	uint64_t n;

	for (;;) {
		struct pollfd pfd[3] = {
			{ .fd = iv->ct->stop_fd, .events = POLLIN },
			{ .fd = iv->kick_fd, .events = POLLIN },
			{ .fd = -1, .events = POLLIN },
		};

		set_listener(iv);
		pfd[2].fd = iv->listen_fd;
		if (poll(pfd, 3, 5000) < 0 && errno != EINTR)
			break;
		if (pfd[0].revents)
			break;
		if (pfd[1].revents && read(iv->kick_fd, &n, sizeof(n)) < 0)
			break;
		if (pfd[2].revents & POLLIN)
			accept_joiner(iv);
	}
	return NULL;
}

int invites_start(struct control *ct)
{
	struct invites *iv = calloc(1, sizeof(*iv));
	int r;

	if (!iv)
		return -ENOMEM;
	iv->ct = ct;
	iv->listen_fd = -1;
	pthread_mutex_init(&iv->lock, NULL);
	conns_init(&iv->conns, 4);
	iv->kick_fd = eventfd(0, EFD_CLOEXEC);
	load(iv);
	r = iv->kick_fd < 0 ? -errno : -pthread_create(&iv->thread, NULL, invite_thread, iv);
	if (r) {
		if (iv->kick_fd >= 0)
			close(iv->kick_fd);
		free(iv);
		return r;
	}
	ct->invites = iv;
	return 0;
}

void invites_stop(struct control *ct)
{
	struct invites *iv = ct->invites;

	pthread_join(iv->thread, NULL);
	conns_close(&iv->conns);
	if (iv->listen_fd >= 0)
		close(iv->listen_fd);
	close(iv->kick_fd);
	pthread_mutex_destroy(&iv->lock);
	free(iv);
}
