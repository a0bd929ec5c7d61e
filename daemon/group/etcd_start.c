// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/etcd_start.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control/rpc.h"
#include "daemon/group/etcd_proc.h"
#include "daemon/group/state_json.h"
#include "daemon/log.h"
#include "daemon/net/creds_internal.h"
#include "daemon/net/relay.h"

#define QUOTA_BYTES	"1073741824"

static void url_of(const char *address, unsigned port, char ret[ETCD_URL_MAX])
{
	bool v6 = strchr(address, ':');

	snprintf(ret, ETCD_URL_MAX, "https://%s%.64s%s:%u", v6 ? "[" : "", address, v6 ? "]" : "", port);
}

void etcd_client_url(const char *address, uint16_t port, char ret[ETCD_URL_MAX])
{
	url_of(address, port + 2u, ret);
}

void etcd_peer_url(const char *address, uint16_t port, char ret[ETCD_URL_MAX])
{
	url_of(address, port + 3u, ret);
}

int etcd_cluster_add(char cluster[ETCD_CLUSTER_MAX], const char *name, const char *peer_url)
{
	size_t at = strlen(cluster);
	int n = snprintf(cluster + at, ETCD_CLUSTER_MAX - at, "%s%s=%s", at ? "," : "", name, peer_url);

	if (n < (int)(ETCD_CLUSTER_MAX - at))
		return 0;
	cluster[at] = '\0';
	return -E2BIG;
}

bool etcd_relayed(const char *address)
{
	struct netaddr na;

	return !netaddr_parse(address, &na) && !netaddr_is_loopback(&na);
}

/* ---- member.json --------------------------------------------------------- */

int etcd_start_save(const char *dir, const struct etcd_child_start *st)
{
	struct json_object *obj = json_object_new_object();
	const char *text;
	char id[20];
	int r;

	snprintf(id, sizeof(id), "%016" PRIx64, st->id);
	json_object_object_add(obj, "address", json_object_new_string(st->address));
	json_object_object_add(obj, "port", json_object_new_int(st->port));
	json_object_object_add(obj, "token", json_object_new_string(st->token));
	json_object_object_add(obj, "cluster", json_object_new_string(st->cluster));
	json_object_object_add(obj, "id", json_object_new_string(id));
	json_object_object_add(obj, "existing", json_object_new_boolean(st->existing));
	json_object_object_add(obj, "heartbeat_ms", json_object_new_int64(st->heartbeat_ms));
	json_object_object_add(obj, "election_ms", json_object_new_int64(st->election_ms));
	text = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PRETTY |
					      JSON_C_TO_STRING_NOSLASHESCAPE);
	r = creds_file_write(dir, ETCD_MEMBER_FILE, 0600, text, strlen(text));
	json_object_put(obj);
	return r;
}

int etcd_start_load(const char *dir, struct etcd_child_start *ret)
{
	struct etcd_child_start st = { .port = 0 };
	const char *address, *token, *cluster, *id;
	uint64_t port, beat, election;
	struct json_object *obj;
	char err[256], *text;
	int existing, r;

	r = creds_file_read(dir, ETCD_MEMBER_FILE, false, &text);
	if (r)
		return r;
	obj = json_parse_strict(text, strlen(text), err, sizeof(err));
	free(text);
	r = obj ? 0 : -EINVAL;
	if (!r && (rpc_str(obj, "address", &address, err, sizeof(err)) ||
		   rpc_str(obj, "token", &token, err, sizeof(err)) ||
		   rpc_str(obj, "cluster", &cluster, err, sizeof(err)) ||
		   rpc_str(obj, "id", &id, err, sizeof(err)) || strlen(id) != 16 ||
		   rpc_u64(obj, "port", UINT16_MAX - RELAY_PORT_ADD, &port, err, sizeof(err)) ||
		   rpc_u64(obj, "heartbeat_ms", 60000, &beat, err, sizeof(err)) ||
		   rpc_u64(obj, "election_ms", 60000, &election, err, sizeof(err)) ||
		   strlen(address) >= sizeof(st.address) || strlen(token) >= sizeof(st.token) ||
		   strlen(cluster) >= sizeof(st.cluster)))
		r = -EINVAL;
	existing = r ? 0 : rpc_bool(obj, "existing", err, sizeof(err));
	if (!r && existing >= 0) {
		strcpy(st.address, address);
		strcpy(st.token, token);
		strcpy(st.cluster, cluster);
		st.id = strtoull(id, NULL, 16);
		st.port = port;
		st.existing = existing;
		st.heartbeat_ms = beat;
		st.election_ms = election;
		*ret = st;
	} else {
		log_err("engine file=%s/%s msg=\"damaged\" next=\"remove the member and let it join again\"",
			dir, ETCD_MEMBER_FILE);
		r = -EINVAL;
	}
	json_object_put(obj);
	return r;
}

/* ---- the command line ---------------------------------------------------- */

#define ETCD_ARGS_MAX	48

struct args {
	char *v[ETCD_ARGS_MAX];
	unsigned n;
	bool broken;
};

static void __attribute__((format(printf, 2, 3))) arg(struct etcd_args *a, const char *fmt, ...)
{
	va_list ap;

	if (a->n + 1 == ETCD_ARGS_MAX) {
		a->broken = true;
		return;
	}
	va_start(ap, fmt);
	if (vasprintf(&a->v[a->n], fmt, ap) < 0)
		a->broken = true;
	else
		a->n++;
	va_end(ap);
	a->v[a->n] = NULL;
}

void etcd_args_free(struct etcd_args *a)
{
	while (a->n)
		free(a->v[--a->n]);
}

static unsigned minor_of(const char *version)
{
	unsigned minor = 0;

	sscanf(version, "%*u.%u", &minor);
	return minor;
}

void etcd_arg_listen(const struct etcd_child_start *st, char ret[ETCD_URL_MAX])
{
	char url[ETCD_URL_MAX];

	etcd_peer_url(etcd_relayed(st->address) ? "127.0.0.1" : st->address, st->port, url);
	snprintf(ret, ETCD_URL_MAX, "--listen-peer-urls=%.200s", url);
}

void etcd_arg_crl(const char *creds_dir, char ret[ETCD_CRL_ARG_MAX])
{
	snprintf(ret, ETCD_CRL_ARG_MAX, "--peer-crl-file=%s/%s", creds_dir, CREDS_CRL);
}

void etcd_args_make(struct etcd_args *a, const struct etcd_child_start *st, const char *dir,
		    const char *creds_dir, const char *name, const char *version)
{
	char client[ETCD_URL_MAX], here[ETCD_URL_MAX], peer[ETCD_URL_MAX], listen[ETCD_URL_MAX];
	char crl[ETCD_CRL_ARG_MAX];
	unsigned minor = minor_of(version);
	bool relayed = etcd_relayed(st->address);

	memset(a, 0, sizeof(*a));
	if (relayed)
		snprintf(a->proxy, sizeof(a->proxy), "HTTPS_PROXY=http://127.0.0.1:%u",
			 st->port + RELAY_PORT_ADD);
	etcd_client_url(st->address, st->port, client);
	etcd_client_url(relayed ? "127.0.0.1" : st->address, st->port, here);
	etcd_arg_listen(st, listen);
	etcd_peer_url(st->address, st->port, peer);
	arg(a, "%s", ETCD_PROGRAM);
	arg(a, "--data-dir=%s/data", dir);
	arg(a, "--name=%s", name);
	arg(a, "--listen-client-urls=%s", here);
	arg(a, "--advertise-client-urls=%s", client);
	arg(a, "%s", listen);
	arg(a, "--initial-advertise-peer-urls=%s", peer);
	arg(a, "--initial-cluster=%s", st->cluster);
	arg(a, "--initial-cluster-token=%s", st->token);
	arg(a, "--initial-cluster-state=%s", st->existing ? "existing" : "new");
	arg(a, "--cert-file=%s/%s", creds_dir, CREDS_CRT);
	arg(a, "--key-file=%s/%s", creds_dir, CREDS_KEY);
	arg(a, "--trusted-ca-file=%s/%s", creds_dir, CREDS_CA_CRT);
	arg(a, "--client-cert-auth=true");
	arg(a, "--client-crl-file=%s/%s", creds_dir, CREDS_CRL);
	arg(a, "--peer-cert-file=%s/%s", creds_dir, CREDS_CRT);
	arg(a, "--peer-key-file=%s/%s", creds_dir, CREDS_KEY);
	arg(a, "--peer-trusted-ca-file=%s/%s", creds_dir, CREDS_CA_CRT);
	arg(a, "--peer-client-cert-auth=true");
	etcd_arg_crl(creds_dir, crl);
	arg(a, "%s", crl);
	/* they all call from the loopback; the certificate says who it is */
	arg(a, minor < 6 ? "--experimental-peer-skip-client-san-verification=true" :
		"--peer-skip-client-san-verification=true");
	arg(a, "--heartbeat-interval=%u", st->heartbeat_ms);
	arg(a, "--election-timeout=%u", st->election_ms);
	/* one that comes back must not unseat a leader that is well */
	arg(a, "--pre-vote=true");
	if (minor == 4)
		arg(a, "--enable-v2=false");
	arg(a, "--quota-backend-bytes=%s", QUOTA_BYTES);
	arg(a, "--auto-compaction-mode=revision");
	arg(a, "--auto-compaction-retention=1000");
	arg(a, "--snapshot-count=10000");
	/* all stores of a host change hands in one transaction */
	arg(a, "--max-txn-ops=512");
	arg(a, "--max-request-bytes=8388608");
	arg(a, "--logger=zap");
	arg(a, "--log-outputs=stderr");
	arg(a, "--log-level=error");
}
