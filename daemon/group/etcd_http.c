// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/etcd_http.h"
#include "daemon/clock.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AVOID_MS_MIN	1000
#define AVOID_MS_MAX	8000
#define CONNECT_PART	2	/* of the time of an attempt, where there are other endpoints */
#define ANSWER_STEP	65536

struct endpoint {
	char url[ETCD_URL_MAX];
	uint64_t bad_until_ms;		/* CLOCK_MONOTONIC; 0: well */
	unsigned avoid_ms;
};

struct etcd_endpoints {
	struct etcd_tls tls;
	int (*open)(void *ctx, struct sockaddr *to, socklen_t *tolen);	/* NULL: as usual */
	void *open_ctx;
	pthread_mutex_t lock;
	unsigned nr;
	struct endpoint list[ETCD_ENDPOINTS_MAX];
};

struct answer {
	char *text;
	size_t len, size;
};

struct etcd_http {
	struct etcd_endpoints *ee;
	CURL *curl;
	struct curl_slist *headers;
	bool urgent, serial;		/* serial: this call is of a serializable read */
	struct answer an;
	long status;			/* of the last answer, 0: none */
	char only[ETCD_URL_MAX];
	char asked[ETCD_URL_MAX];
	char detail[CURL_ERROR_SIZE];
	char err[512];
};

/* ---- endpoints ----------------------------------------------------------- */

int etcd_endpoints_create(const struct etcd_tls *tls, struct etcd_endpoints **ret)
{
	struct etcd_endpoints *ee = calloc(1, sizeof(*ee));

	if (!ee)
		return -ENOMEM;
	ee->tls = *tls;
	pthread_mutex_init(&ee->lock, NULL);
	*ret = ee;
	return 0;
}

void etcd_endpoints_free(struct etcd_endpoints *ee)
{
	if (!ee)
		return;
	pthread_mutex_destroy(&ee->lock);
	free(ee);
}

void etcd_endpoints_socket(struct etcd_endpoints *ee,
			   int (*open)(void *ctx, struct sockaddr *to, socklen_t *tolen), void *ctx)
{
	ee->open = open;
	ee->open_ctx = ctx;
}

static struct endpoint *find(struct endpoint *list, unsigned nr, const char *url)
{
	unsigned i;

	for (i = 0; i < nr; i++)
		if (!strcmp(list[i].url, url))
			return &list[i];
	return NULL;
}

void etcd_endpoints_set(struct etcd_endpoints *ee, const char urls[][ETCD_URL_MAX], unsigned nr)
{
	struct endpoint list[ETCD_ENDPOINTS_MAX], *known;
	unsigned i, n = 0;

	pthread_mutex_lock(&ee->lock);
	for (i = 0; i < nr && n < ETCD_ENDPOINTS_MAX; i++) {
		if (find(list, n, urls[i]))
			continue;
		memset(&list[n], 0, sizeof(list[n]));
		snprintf(list[n].url, sizeof(list[n].url), "%s", urls[i]);
		known = find(ee->list, ee->nr, urls[i]);
		if (known)
			list[n] = *known;
		n++;
	}
	memcpy(ee->list, list, n * sizeof(list[0]));
	ee->nr = n;
	pthread_mutex_unlock(&ee->lock);
}

/*
 * The best endpoint that was not tried in this call: a well one by preference,
 * else the one that will be tried again first. One that has been avoided long
 * enough counts as well, except for those in a hurry, and for reads that an etcd
 * answers by itself: one that is cut off from its cluster answers them all the time.
 */
static bool pick(struct etcd_http *eh, uint64_t tried, unsigned *ret_at, char ret[ETCD_URL_MAX],
		 bool *ret_others)
{
	struct etcd_endpoints *ee = eh->ee;
	uint64_t best_bad = 0, now = now_ms();
	unsigned i, left = 0;
	int best = -1;

	pthread_mutex_lock(&ee->lock);
	for (i = 0; i < ee->nr; i++) {
		uint64_t until = ee->list[i].bad_until_ms;

		if (tried >> i & 1)
			continue;
		left++;
		if (!eh->urgent && !eh->serial && until <= now)
			until = 0;
		if (best < 0 || until < best_bad) {
			best = i;
			best_bad = until;
		}
	}
	if (best >= 0) {
		strcpy(ret, ee->list[best].url);
		*ret_at = best;
		*ret_others = left > 1;
	}
	pthread_mutex_unlock(&ee->lock);
	return best >= 0;
}

static void mark(struct etcd_endpoints *ee, const char *url, bool well)
{
	struct endpoint *ep;

	pthread_mutex_lock(&ee->lock);
	ep = find(ee->list, ee->nr, url);
	if (ep && well) {
		ep->bad_until_ms = 0;
		ep->avoid_ms = 0;
	} else if (ep) {
		ep->avoid_ms = ep->avoid_ms ? ep->avoid_ms * 2 : AVOID_MS_MIN;
		if (ep->avoid_ms > AVOID_MS_MAX)
			ep->avoid_ms = AVOID_MS_MAX;
		ep->bad_until_ms = now_ms() + ep->avoid_ms;
	}
	pthread_mutex_unlock(&ee->lock);
}

/* ---- a handle ------------------------------------------------------------ */

static size_t take_bytes(char *bytes, size_t size, size_t nmemb, void *ctx)
{
	struct answer *an = ctx;
	size_t len = size * nmemb;

	if (len > ETCD_ANSWER_MAX - an->len)
		return 0;	/* curl ends the transfer */
	if (an->len + len > an->size) {
		size_t want = an->len + len + ANSWER_STEP;
		char *text = realloc(an->text, want);

		if (!text)
			return 0;
		an->text = text;
		an->size = want;
	}
	memcpy(an->text + an->len, bytes, len);
	an->len += len;
	return len;
}

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct etcd_http *eh = ctx;
	socklen_t len = to->addrlen;
	int fd = eh->ee->open(eh->ee->open_ctx, &to->addr, &len);

	if (fd == -ENOENT)
		return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
	to->family = to->addr.sa_family;
	to->addrlen = len;
	return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* What never changes. The environment's proxies are not for this. */
static bool prepare(struct etcd_http *eh)
{
	const struct etcd_tls *tls = &eh->ee->tls;
	CURL *c = eh->curl;
	bool ok;

	ok = !curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) &&
	     !curl_easy_setopt(c, CURLOPT_PROXY, "") &&
	     !curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") &&
	     !curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) &&
	     !curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
	     !curl_easy_setopt(c, CURLOPT_TCP_NODELAY, 1L) &&
	     !curl_easy_setopt(c, CURLOPT_MAXCONNECTS, 8L) &&
	     !curl_easy_setopt(c, CURLOPT_ERRORBUFFER, eh->detail) &&
	     !curl_easy_setopt(c, CURLOPT_HTTPHEADER, eh->headers) &&
	     !curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_bytes) &&
	     !curl_easy_setopt(c, CURLOPT_WRITEDATA, &eh->an) &&
	     !curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L) &&
	     !curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L) &&
	     !curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (ok && eh->ee->open)
		ok = !curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_socket) &&
		     !curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, eh);
	if (ok && tls->ca[0])
		ok = !curl_easy_setopt(c, CURLOPT_CAINFO, tls->ca) &&
		     !curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	if (ok && tls->cert[0])
		ok = !curl_easy_setopt(c, CURLOPT_SSLCERT, tls->cert) &&
		     !curl_easy_setopt(c, CURLOPT_SSLKEY, tls->key);
	return ok;
}

static void global_init(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

int etcd_http_open(struct etcd_endpoints *ee, bool urgent, struct etcd_http **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct etcd_http *eh = calloc(1, sizeof(*eh));

	if (!eh)
		return -ENOMEM;
	pthread_once(&once, global_init);
	eh->ee = ee;
	eh->urgent = urgent;
	eh->curl = curl_easy_init();
	eh->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (!eh->curl || !eh->headers || !prepare(eh)) {
		etcd_http_close(eh);
		return -ENOMEM;
	}
	*ret = eh;
	return 0;
}

void etcd_http_close(struct etcd_http *eh)
{
	if (!eh)
		return;
	curl_easy_cleanup(eh->curl);
	curl_slist_free_all(eh->headers);
	free(eh->an.text);
	free(eh);
}

const char *etcd_http_error(const struct etcd_http *eh)
{
	return eh->err;
}

const char *etcd_http_asked(const struct etcd_http *eh)
{
	return eh->asked;
}

void etcd_http_avoid(struct etcd_http *eh)
{
	if (!eh->only[0])
		mark(eh->ee, eh->asked, false);
}

void etcd_http_only(struct etcd_http *eh, const char *url)
{
	snprintf(eh->only, sizeof(eh->only), "%s", url);
}

/* Has a byte of the request left? If in doubt, it has. */
static bool was_sent(CURL *c)
{
	curl_off_t began = 0;
	long bytes = 0;

	if (curl_easy_getinfo(c, CURLINFO_REQUEST_SIZE, &bytes) ||
	    curl_easy_getinfo(c, CURLINFO_PRETRANSFER_TIME_T, &began))
		return true;
	return bytes || began;
}

/* Statuses with which etcd says that it has not done it, and will not. */
static bool is_refusal(long status)
{
	return status == 400 || status == 401 || status == 403 || status == 404 ||
	       status == 412 || status == 429;
}

static int attempt(struct etcd_http *eh, const char *url, const char *path, const char *body,
		   uint64_t timeout_ms, bool others)
{
	uint64_t connect_ms = others ? timeout_ms / CONNECT_PART : timeout_ms;
	char full[ETCD_URL_MAX + 64], what[200];
	CURLcode rc;

	snprintf(full, sizeof(full), "%s%s", url, path);
	snprintf(eh->asked, sizeof(eh->asked), "%s", url);
	eh->an.len = 0;
	eh->status = 0;
	eh->detail[0] = '\0';
	if (curl_easy_setopt(eh->curl, CURLOPT_URL, full) ||
	    curl_easy_setopt(eh->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body)) ||
	    curl_easy_setopt(eh->curl, CURLOPT_POSTFIELDS, body) ||
	    curl_easy_setopt(eh->curl, CURLOPT_TIMEOUT_MS, (long)timeout_ms) ||
	    curl_easy_setopt(eh->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect_ms ? connect_ms : 1)))
		return -ENOTCONN;
	rc = curl_easy_perform(eh->curl);
	if (rc) {
		snprintf(eh->err, sizeof(eh->err), "%s: %s", url,
			 eh->detail[0] ? eh->detail : curl_easy_strerror(rc));
		return was_sent(eh->curl) ? -EAGAIN : -ENOTCONN;
	}
	curl_easy_getinfo(eh->curl, CURLINFO_RESPONSE_CODE, &eh->status);
	if (eh->status == 200)
		return 0;
	etcd_error_text(eh->an.text ? eh->an.text : "", eh->an.len, what, sizeof(what));
	snprintf(eh->err, sizeof(eh->err), "%s: %s (status %ld)", url, what, eh->status);
	return is_refusal(eh->status) ? -EREMOTEIO : -EAGAIN;
}

/* keys: a question about keys, which an etcd that is well answers with 200. */
static int call(struct etcd_http *eh, const char *path, const char *body, bool keys,
		unsigned timeout_ms)
{
	uint64_t tried = 0, now = now_ms(), end = now + timeout_ms;
	char url[ETCD_URL_MAX];
	int r = -ENOTCONN;
	bool others;
	unsigned at;

	snprintf(eh->err, sizeof(eh->err), "no endpoint is known");
	eh->asked[0] = '\0';
	if (eh->only[0])
		return attempt(eh, eh->only, path, body, timeout_ms, false);
	while (r == -ENOTCONN && now < end && pick(eh, tried, &at, url, &others)) {
		r = attempt(eh, url, path, body, end - now, others);
		/* a good answer is not known to be one before it is parsed */
		if (r && r != -EREMOTEIO && (keys || !eh->status))
			mark(eh->ee, url, false);
		tried |= 1ull << at;
		now = now_ms();
	}
	return r;
}

/* After parsing: a server that talks nonsense is as good as none. */
static int judge(struct etcd_http *eh, int r)
{
	if (!eh->only[0] && (r || !eh->serial))
		mark(eh->ee, eh->asked, !r);
	return r ? -EAGAIN : 0;
}

static int ask_reply(struct etcd_http *eh, const char *path, const char *body, unsigned timeout_ms,
		     struct etcd_reply *ret)
{
	int r;

	if (!body)
		return -ENOMEM;
	r = call(eh, path, body, true, timeout_ms);
	if (r)
		return r;
	return judge(eh, etcd_reply_parse(eh->an.text ? eh->an.text : "", eh->an.len, ret, eh->err,
					  sizeof(eh->err)));
}

int etcd_range(struct etcd_http *eh, const char *key, const char *end, bool serializable,
	       uint64_t min_mod, unsigned timeout_ms, struct etcd_reply *ret)
{
	char *body = etcd_range_text(key, end, serializable, min_mod);
	int r;

	eh->serial = serializable;
	r = ask_reply(eh, "/v3/kv/range", body, timeout_ms, ret);
	eh->serial = false;
	free(body);
	return r;
}

int etcd_txn(struct etcd_http *eh, struct etcd_txn *tx, unsigned timeout_ms, struct etcd_reply *ret)
{
	return ask_reply(eh, "/v3/kv/txn", etcd_txn_text(tx), timeout_ms, ret);
}

static int ask_members(struct etcd_http *eh, const char *path, const char *body, unsigned timeout_ms,
		       struct etcd_members *ret)
{
	int r;

	if (!body)
		return -ENOMEM;
	r = call(eh, path, body, false, timeout_ms);
	if (r)
		return r;
	return judge(eh, etcd_members_parse(eh->an.text ? eh->an.text : "", eh->an.len, ret,
					    eh->err, sizeof(eh->err)));
}

int etcd_member_list(struct etcd_http *eh, unsigned timeout_ms, struct etcd_members *ret)
{
	return ask_members(eh, "/v3/cluster/member/list", "{}", timeout_ms, ret);
}

int etcd_member_add(struct etcd_http *eh, const char *peer_url, bool learner, unsigned timeout_ms,
		    struct etcd_members *ret)
{
	char *body = etcd_member_add_text(peer_url, learner);
	int r = ask_members(eh, "/v3/cluster/member/add", body, timeout_ms, ret);

	free(body);
	return r;
}

int etcd_member_promote(struct etcd_http *eh, uint64_t id, unsigned timeout_ms,
			struct etcd_members *ret)
{
	char *body = etcd_member_id_text(id);
	int r = ask_members(eh, "/v3/cluster/member/promote", body, timeout_ms, ret);

	free(body);
	return r;
}

int etcd_member_remove(struct etcd_http *eh, uint64_t id, unsigned timeout_ms)
{
	struct etcd_members *ms = malloc(sizeof(*ms));
	char *body = etcd_member_id_text(id);
	int r = ms ? ask_members(eh, "/v3/cluster/member/remove", body, timeout_ms, ms) : -ENOMEM;

	free(body);
	free(ms);
	return r;
}

int etcd_status(struct etcd_http *eh, unsigned timeout_ms, struct etcd_status *ret)
{
	int r = call(eh, "/v3/maintenance/status", "{}", false, timeout_ms);

	if (r)
		return r;
	return judge(eh, etcd_status_parse(eh->an.text ? eh->an.text : "", eh->an.len, ret, eh->err,
					   sizeof(eh->err)));
}
