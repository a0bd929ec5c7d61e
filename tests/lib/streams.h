/* SPDX-License-Identifier: GPL-2.0 */
/*
 * streams - streams between two members over loopback, for tests: their
 * credentials, what they log, and the ends of a connection.
 */
#ifndef DAG_TESTS_STREAMS_H
#define DAG_TESTS_STREAMS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/net/stream.h"

#define STREAMS_GROUP	"5f0c7a52-9d6e-4a53-8a1c-0d6f5b1f3c11"
#define STREAMS_OTHER	"a9b0d1c2-1111-4222-8333-944445555666"

extern char streams_ca_dir[64];
extern struct creds *streams_one, *streams_two;

/* .init and .fini of a suite; the end fails when file descriptors leaked. */
void streams_setup(void);
void streams_teardown(void);
/* What went to standard error since the start, and how often text is in it. */
char *streams_log(void);
int streams_log_lines(const char *text);

struct stream_conf streams_plain(void);
struct stream_conf streams_tls(bool ktls);
uint64_t streams_now_ms(void);

/* A listening socket on loopback and its address. */
int streams_listen(struct sockaddr_in *ret);
/* Connect a (member one) to b (member two); the test fails if pair() cannot. */
void streams_dial(struct stream_conf ca, struct stream_conf cb, int *rca, int *rcb,
		  struct stream **a, struct stream **b);
void streams_pair(struct stream_conf conf, struct stream **a, struct stream **b);

#endif
