/* SPDX-License-Identifier: GPL-2.0 */
/*
 * httpreq - the little of HTTP/1 that a scrape needs: is this a GET of /metrics? Pure,
 * and nothing of the request is kept. What is not understood is refused, not guessed.
 */
#ifndef DAG_HTTPREQ_H
#define DAG_HTTPREQ_H

#include <stdbool.h>
#include <stddef.h>

#define HTTPREQ_MAX	4096	/* of request line and headers */

/*
 * httpreq_judge - what to answer to the first len bytes of a request: 0, more must come;
 * else the status: 200 (GET or HEAD of /metrics), 400 what is no HTTP, 403 a Host that is
 * another's, 404, 405 another method, 413 a body, 414 and 431 too long, 505.
 * any_host false: only localhost and numeric addresses are taken as Host, so that no
 * page in a browser on this host can read it through a name of its own.
 */
int httpreq_judge(const char *buf, size_t len, bool any_host, bool *ret_head);
const char *httpreq_reason(int status);

#endif
