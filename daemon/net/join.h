/* SPDX-License-Identifier: GPL-2.0 */
/*
 * join - the one TLS connection whose client has no certificate yet.
 *
 * A host that was invited knows the fingerprint of the group's CA and a secret.
 * It takes the server for genuine if the chain ends in that CA; the server takes
 * the client for genuine by the secret, which is sent only after that. Blocking,
 * one deadline for the whole connection.
 */
#ifndef DAG_JOIN_H
#define DAG_JOIN_H

#include <stddef.h>
#include <sys/socket.h>

struct ssl_ctx_st;
struct join_conn;

/* Server side: member.crt, member.key and ca.crt of dir. Free by join_ctx_free. */
int join_ctx(const char *dir, struct ssl_ctx_st **ret);
void join_ctx_free(struct ssl_ctx_st *ctx);
/* Takes over fd, also on failure. */
int join_accept(struct ssl_ctx_st *ctx, int fd, unsigned timeout_ms, struct join_conn **ret);
/* -EKEYREJECTED: whoever answers is not of that CA. */
int join_connect(const struct sockaddr *to, socklen_t tolen, const char *fingerprint,
		 unsigned timeout_ms, struct join_conn **ret);
/* A line without its \n: length, 0 at the end, -EMSGSIZE, -ETIMEDOUT, -errno. */
int join_read_line(struct join_conn *jc, char *buf, size_t cap);
int join_write(struct join_conn *jc, const char *text);
void join_close(struct join_conn *jc);

#endif
