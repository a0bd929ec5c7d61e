// SPDX-License-Identifier: GPL-2.0
/* Two members' credentials, what they log, and streams between them over loopback. */
#include "tests/lib/streams.h"

#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/certs.h"

char streams_ca_dir[64];
static char dir1[64], dir2[64], log_path[96];
static int log_fd, fds_before;
struct creds *streams_one, *streams_two;

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

void streams_setup(void)
{
	certs_dir(streams_ca_dir);
	certs_dir(dir1);
	certs_dir(dir2);
	snprintf(log_path, sizeof(log_path), "%s.log", dir1);
	log_fd = open(log_path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
	dup2(log_fd, STDERR_FILENO);
	cr_assert_eq(certs_group(streams_ca_dir, STREAMS_GROUP), 0);
	cr_assert_eq(certs_join(streams_ca_dir, dir1, STREAMS_GROUP, "one"), 0);
	cr_assert_eq(certs_join(streams_ca_dir, dir2, STREAMS_GROUP, "two"), 0);
	cr_assert_eq(creds_load(dir1, &streams_one), 0);
	cr_assert_eq(creds_load(dir2, &streams_two), 0);
	fds_before = count_fds();
}

void streams_teardown(void)
{
	cr_assert_eq(count_fds(), fds_before, "leaked file descriptors");
	creds_free(streams_one);
	creds_free(streams_two);
	certs_remove(streams_ca_dir);
	certs_remove(dir1);
	certs_remove(dir2);
	close(log_fd);
	unlink(log_path);
}

char *streams_log(void)
{
	static char buf[16384];
	ssize_t n = pread(log_fd, buf, sizeof(buf) - 1, 0);

	buf[n < 0 ? 0 : n] = 0;
	return buf;
}

int streams_log_lines(const char *text)
{
	const char *p = streams_log();
	int n = 0;

	while ((p = strstr(p, text))) {
		n++;
		p++;
	}
	return n;
}

struct stream_conf streams_plain(void)
{
	return (struct stream_conf){ .creds = NULL, .security = STREAM_PLAIN, .timeout_ms = 30000,
				     .ktls = false };
}

struct stream_conf streams_tls(bool ktls)
{
	return (struct stream_conf){ .creds = NULL, .security = STREAM_TLS, .timeout_ms = 30000,
				     .ktls = ktls };
}

uint64_t streams_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

struct dial {
	struct stream_conf conf;
	struct sockaddr_in to;
	struct stream *st;
	int rc;
};

static void *dial_main(void *arg)
{
	struct dial *d = arg;
	struct sockaddr_in from = { .sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	d->rc = stream_connect(&d->conf, (void *)&d->to, sizeof(d->to), (void *)&from,
			       sizeof(from), &d->st);
	return NULL;
}

int streams_listen(struct sockaddr_in *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	cr_assert_eq(bind(fd, (void *)ret, sizeof(*ret)), 0);
	cr_assert_eq(listen(fd, 4), 0);
	cr_assert_eq(getsockname(fd, (void *)ret, &len), 0);
	return fd;
}

/* Connect a (member streams_one) to b (member streams_two). */
void streams_dial(struct stream_conf ca, struct stream_conf cb, int *rca, int *rcb,
		 struct stream **a, struct stream **b)
{
	struct dial d = { .conf = ca };
	pthread_t th;
	int l = streams_listen(&d.to), fd;

	if (!d.conf.creds)
		d.conf.creds = streams_one;
	if (!cb.creds)
		cb.creds = streams_two;
	cr_assert_eq(pthread_create(&th, NULL, dial_main, &d), 0);
	fd = accept(l, NULL, NULL);
	cr_assert_geq(fd, 0);
	*rcb = stream_accept(&cb, fd, b);
	pthread_join(th, NULL);
	close(l);
	*rca = d.rc;
	*a = d.st;
}

void streams_pair(struct stream_conf conf, struct stream **a, struct stream **b)
{
	int rca, rcb;

	streams_dial(conf, conf, &rca, &rcb, a, b);
	cr_assert(rca == 0 && rcb == 0, "connect %d accept %d: %s", rca, rcb, streams_log());
}
