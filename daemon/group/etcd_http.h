/* SPDX-License-Identifier: GPL-2.0 */
/*
 * etcd_http - questions to etcd's JSON gateway over TLS with both sides' certificates.
 *
 * A set of endpoints is shared by the threads of an engine; each thread has a
 * handle of its own with connections that stay open. One call makes one attempt
 * at the best endpoint; one that did not answer is avoided for a while, at first
 * a second, then longer; a serializable read, which an etcd without a cluster answers
 * too, proves nothing for it. Only where nothing was sent yet is the next one tried in
 * the same call. So 0 and every error except -EAGAIN are certain:
 *
 *	0		answered
 *	-EAGAIN		asked, and no valid answer: it may have been done, or be done later
 *	-ENOTCONN	nobody could be asked
 *	-EREMOTEIO	refused by etcd, nothing was done; the reason is in err
 */
#ifndef DAG_ETCD_HTTP_H
#define DAG_ETCD_HTTP_H

#include <sys/socket.h>

#include "daemon/group/etcd_json.h"

#define ETCD_ENDPOINTS_MAX	40

struct etcd_endpoints;
struct etcd_http;

/* Files in PEM; "": none of it (an etcd of the user's without TLS, or without
 * certificates of clients). */
struct etcd_tls {
	char ca[320], cert[320], key[320];
};

int etcd_endpoints_create(const struct etcd_tls *tls, struct etcd_endpoints **ret);
void etcd_endpoints_free(struct etcd_endpoints *ee);
/*
 * How to connect: open() returns a socket and may change where it is to be connected
 * (sockaddr_storage); -ENOENT: as usual, or another -errno. Set before the first handle
 * is opened.
 */
void etcd_endpoints_socket(struct etcd_endpoints *ee,
			   int (*open)(void *ctx, struct sockaddr *to, socklen_t *tolen), void *ctx);
/* The first ones are preferred. What is known of those that stay is kept. */
void etcd_endpoints_set(struct etcd_endpoints *ee, const char urls[][ETCD_URL_MAX], unsigned nr);

/* urgent: never the one to find out whether a bad endpoint is well again, where there
 * is another. For one thread at a time. */
int etcd_http_open(struct etcd_endpoints *ee, bool urgent, struct etcd_http **ret);
void etcd_http_close(struct etcd_http *eh);		/* NULL is fine */
/* Why the last call failed; the endpoint that it asked. */
const char *etcd_http_error(const struct etcd_http *eh);
const char *etcd_http_asked(const struct etcd_http *eh);
/* The last answer was whole and is of no use: its endpoint is avoided, as if it were bad. */
void etcd_http_avoid(struct etcd_http *eh);
/* Only this endpoint from now on; "": all again. */
void etcd_http_only(struct etcd_http *eh, const char *url);

int etcd_range(struct etcd_http *eh, const char *key, const char *end, bool serializable,
	       uint64_t min_mod, unsigned timeout_ms, struct etcd_reply *ret);
int etcd_txn(struct etcd_http *eh, struct etcd_txn *tx, unsigned timeout_ms, struct etcd_reply *ret);
int etcd_member_list(struct etcd_http *eh, unsigned timeout_ms, struct etcd_members *ret);
int etcd_member_add(struct etcd_http *eh, const char *peer_url, bool learner, unsigned timeout_ms,
		    struct etcd_members *ret);
int etcd_member_promote(struct etcd_http *eh, uint64_t id, unsigned timeout_ms,
			struct etcd_members *ret);
int etcd_member_remove(struct etcd_http *eh, uint64_t id, unsigned timeout_ms);
int etcd_status(struct etcd_http *eh, unsigned timeout_ms, struct etcd_status *ret);

#endif
