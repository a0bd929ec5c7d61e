// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/authority.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/control_int.h"
#include "daemon/control/history.h"

#define FETCH_MS	5000
#define AGAIN_NS	(30ull * 1000000000)	/* after a try that failed */

bool authority_held(const struct control *ct)
{
	return creds_authority_held(ct->creds_dir);
}

static bool is_for_all(const struct group_state *gs)
{
	return !strcmp(gs->engine, "etcd");
}

void authority_place(struct control *ct, struct group_state *gs, char ret[64])
{
	struct peer_view pv;
	uint32_t i;

	ret[0] = '\0';
	if (!is_for_all(gs)) {
		if (strcmp(gs->founder, ct->cf->member))
			memcpy(ret, gs->founder, sizeof(gs->founder));
		return;
	}
	for (i = 0; i < gs->nr_members && !ret[0] && !authority_held(ct); i++) {
		peers_view(ct, gs->members[i].name, &pv);
		if (pv.reachable && pv.authority)
			memcpy(ret, gs->members[i].name, sizeof(gs->members[i].name));
	}
}

/* ---- from member to member ------------------------------------------------- */

/* Is the member one that is to have it? A majority must have confirmed the state. */
static int check_holder(struct control *ct, const char *member)
{
	struct group_state gs;
	int r = group_state_init(&gs);

	if (r)
		return r;
	r = ct->engine->ops->snapshot(ct->engine, &gs);
	if (!r && (gs.unconfirmed || !is_for_all(&gs)))
		r = -EAGAIN;
	if (!r && !group_find_member(&gs, member))
		r = -EPERM;
	group_state_free(&gs);
	return r;
}

int verb_peer_authority(struct rpc_call *call, struct json_object **ret)
{
	struct control *ct = call->ct;
	char *pem = NULL;
	int r;

	if (!call->sealed)
		return call_fail(call, -EPERM, "authority: not over a connection without TLS");
	r = check_holder(ct, call->peer);
	if (!r)
		r = creds_authority_pem(ct->creds_dir, &pem);
	if (r)
		return call_fail(call, r, "authority: not given to %s: %s", call->peer, strerror(-r));
	*ret = json_object_new_object();
	json_object_object_add(*ret, "key", json_object_new_string(pem));
	creds_authority_wipe(pem);
	log_notice("authority member=%s msg=given", call->peer);
	history_add(ct->history, "authority", "", NULL, "the group's authority given to %s", call->peer);
	return 0;
}

static int fetch(struct control *ct, const struct group_member *from, char *err, size_t errlen)
{
	struct json_object *result = NULL, *key;
	struct stream *st;
	char *line;
	int r;

	r = peer_open_sealed(ct, from, &st, err, errlen);
	if (r)
		return r;
	line = rpc_request_line("peer.authority", NULL, 1, 0);
	r = line ? peer_transact(st, line, FETCH_MS, NULL, &result, err, errlen) : -ENOMEM;
	free(line);
	stream_close(st);
	if (!r && json_object_object_get_ex(result, "key", &key) && json_object_get_string(key))
		r = creds_authority_install(ct->creds_dir, json_object_get_string(key));
	else if (!r)
		r = -EPROTO;
	json_object_put(result);
	return r;
}

void authority_fetch(struct control *ct, const struct group_member *from)
{
	uint64_t now = peer_now_ns(), next = __atomic_load_n(&ct->authority_next_ns, __ATOMIC_RELAXED);
	char err[ERR_BYTES] = "";
	int r;

	if (now < next || authority_held(ct) || check_holder(ct, ct->cf->member))
		return;
	/* one thread of those that talk to the others */
	if (!__atomic_compare_exchange_n(&ct->authority_next_ns, &next, now + AGAIN_NS, false,
					 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		return;
	r = fetch(ct, from, err, sizeof(err));
	if (r) {
		log_warn("authority from=%s msg=\"not had\" err=\"%s\"", from->name,
			 err[0] ? err : strerror(-r));
		return;
	}
	log_notice("authority from=%s msg=held", from->name);
	history_add(ct->history, "authority", "", NULL, "holds the group's authority, from %s",
		    from->name);
}

/* ---- revocation ------------------------------------------------------------- */

int authority_revoke(const struct control *ct, struct group_state *gs, const char *serial)
{
	char *crl;
	int r;

	if (!serial[0])
		return -ENODATA;
	crl = malloc(sizeof(gs->crl));
	if (!crl)
		return -ENOMEM;
	r = creds_crl_add(ct->creds_dir, gs->uuid, gs->crl, serial, crl, sizeof(gs->crl));
	if (!r) {
		memset(gs->crl, 0, sizeof(gs->crl));
		strcpy(gs->crl, crl);
	}
	free(crl);
	return r;
}

void authority_apply(struct control *ct, const struct group_state *gs)
{
	struct engine_health h = { .kind = "" };

	if (gs->unconfirmed || !gs->crl[0] || !ct->creds || !strcmp(ct->crl, gs->crl))
		return;
	if (!creds_crl_take(ct->creds, gs->crl))
		log_info("authority msg=\"list of revoked certificates taken\"");
	strcpy(ct->crl, gs->crl);
	if (ct->engine->ops->health)
		ct->engine->ops->health(ct->engine, &h);
	if (strcmp(h.kind, "etcd") || gs->engine_url[0])
		creds_crl_store(ct->creds_dir, gs->crl);
}

void authority_store(struct control *ct, const struct group_state *gs, bool settled)
{
	if (!gs->unconfirmed && gs->crl[0] && settled)
		creds_crl_store(ct->creds_dir, gs->crl);
}
