// SPDX-License-Identifier: GPL-2.0
/*
 * beatnode STATE SELF - the heartbeats of one member, without the rest of a daemon.
 *
 * STATE is an agreed state (JSON) with networks or addresses to find them from. Says
 * on standard output what it sees, with the time in ms:
 *	MS links LIST			interfaces, at the start and when they change
 *	MS path MEMBER NETWORK up|down
 *	MS route MEMBER NETWORK		log and calls go there now; "-": nowhere
 *	MS refused FROM COUNT WHY
 * Ends with SIGTERM.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/net/heartbeat_udp.h"
#include "daemon/net/links.h"

static struct heartbeats *hs;

static unsigned long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

static void on_path(void *ctx, const char *member, const struct net_path *at, bool up)
{
	printf("%llu path %s %s %s\n", now_ms(), member, at->network[0] ? at->network : "-",
	       up ? "up" : "down");
}

static void on_moved(void *ctx, const char *member)
{
	struct net_path np;
	bool none = heartbeats_route(hs, member, &np);

	printf("%llu route %s %s\n", now_ms(), member, none || !np.network[0] ? "-" : np.network);
}

static void on_refused(void *ctx, const char *from, const char *why, uint64_t count)
{
	printf("%llu refused %s %llu %s\n", now_ms(), from, (unsigned long long)count, why);
}

static void on_links(void *ctx)
{
	struct netif ni[NETIFS_MAX];
	char list[GROUP_LIST_MAX];
	int n = links_scan(ni, NETIFS_MAX);

	netifs_format(ni, n > 0 ? n : 0, list, sizeof(list));
	printf("%llu links %s\n", now_ms(), list);
}

static int read_state(const char *path, struct group_state *gs)
{
	char *text = calloc(1, 1 << 20), err[200];
	FILE *f = fopen(path, "r");
	int r = -1;

	if (f && text && fread(text, 1, (1 << 20) - 1, f) > 0 && !group_state_init(gs)) {
		r = group_state_from_json(text, gs, err, sizeof(err));
		if (r)
			fprintf(stderr, "beatnode: %s: %s\n", path, err);
	}
	if (f)
		fclose(f);
	free(text);
	return r;
}

int main(int argc, char **argv)
{
	struct heartbeats_conf conf = { .path = on_path, .moved = on_moved, .refused = on_refused };
	struct links_conf lc = { .changed = on_links };
	struct group_member *self;
	struct group_state gs;
	struct links *ln;
	sigset_t set;
	int sig;

	if (argc != 3 || read_state(argv[1], &gs)) {
		fprintf(stderr, "usage: beatnode STATE SELF\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	self = group_find_member(&gs, argv[2]);
	if (!self)
		return 2;
	network_discover(&gs, false);
	conf.self = self->name;
	conf.port = self->port;
	conf.bind = "";
	if (heartbeats_start(&conf, &hs) || heartbeats_update(hs, &gs) || links_start(&lc, &ln)) {
		fprintf(stderr, "beatnode: cannot start\n");
		return 1;
	}
	on_links(NULL);
	sigwait(&set, &sig);
	links_stop(ln);
	heartbeats_stop(hs);
	group_state_free(&gs);
	return 0;
}
