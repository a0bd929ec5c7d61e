// SPDX-License-Identifier: GPL-2.0
/*
 * dagd - one process per member: configuration, protection, signals, orderly end.
 *
 * The beat of the lease's renewal feeds the watchdog of systemd: a daemon that hangs
 * is better restarted. A thread listens to the module's events. Everything else
 * belongs to the member.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/control/events.h"
#include "daemon/control/history.h"
#include "daemon/group/renewal.h"
#include "daemon/member.h"
#include "daemon/tap/fsfree.h"
#include "daemon/tap/tap.h"
#include "include/dag/version.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER	57
#endif

struct dagd {
	struct config cf;
	const char *conf_path;
	struct member *member;
	int stop_fd;
	pthread_t event_thread;
};

static void usage(FILE *out)
{
	fprintf(out, "usage: dagd [--config FILE] [--check-config] [--help] [--version]\n"
		"\n"
		"The daemon of a member of a database availability group.\n"
		"\n"
		"  --config FILE    read FILE instead of " CONFIG_PATH "\n"
		"  --check-config   read the configuration, say what is wrong, and end\n"
		"  --version        print the version\n"
		"\n"
		"Normally started by systemd: systemctl enable --now dagd\n");
}

/* ---- memory, priority --------------------------------------------------- */

/*
 * The daemon stands in the way of write-back: it must neither be paged out nor
 * killed for memory, nor wait for write-back itself. Each is best effort.
 */
static void harden(void)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	char failed[128] = "";
	int fd;

	if (setrlimit(RLIMIT_MEMLOCK, &unlimited))
		strcat(failed, " memlock-limit");
	/* on fault: big buffers that are never touched cost nothing */
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		strcat(failed, " mlockall");
	if (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0))
		strcat(failed, " io-flusher");
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "-1000", 5) != 5)
		strcat(failed, " oom-score");
	if (fd >= 0)
		close(fd);
	if (failed[0])
		log_warn("dagd msg=\"protection refused:%s\" next=\"run as root, LimitMEMLOCK=infinity\"",
			 failed);
}

/* ---- the module's events ------------------------------------------------- */

/* One line of the history for many sectors. */
static void remember(struct dagd *dd, const struct tap_event *ev, const char *value)
{
	bool named = ev->event == DAGTAP_EV_STATE || ev->event == DAGTAP_EV_ROLE;
	struct json_object *fields = json_object_new_object();

	json_object_object_add(fields, "value", json_object_new_string(value));
	history_add(member_history(dd->member), "tap", ev->name, fields, "%s%s%s",
		    tap_event_name(ev->event), named ? " " : "", named ? value : "");
}

static int log_event(const struct tap_event *ev, void *ctx)
{
	bool bad = ev->event != DAGTAP_EV_STATE && ev->event != DAGTAP_EV_ROLE;
	char value[64];

	tap_event_value(ev, value, sizeof(value));
	remember(ctx, ev, value);
	log_msg(bad ? LOG_LV_WARN : LOG_LV_INFO, "tap store=%s event=%s %s", ev->name,
		tap_event_name(ev->event), value);
	return 0;
}

static bool stop_within(struct dagd *dd, int ms)
{
	struct pollfd pfd = { .fd = dd->stop_fd, .events = POLLIN };

	return poll(&pfd, 1, ms) > 0;
}

static void *event_thread(void *arg)
{
	struct dagd *dd = arg;

	/* the module may be loaded after us, and again after an unload */
	do {
		events_listen(dd->stop_fd, log_event, dd);
	} while (!stop_within(dd, 5000));
	return NULL;
}

/* ---- signals and watchdog ------------------------------------------------ */

static void reload(struct dagd *dd)
{
	struct config cf;
	char err[400];

	if (config_load(dd->conf_path, false, &cf, err, sizeof(err))) {
		log_warn("dagd msg=\"reload refused\" err=\"%s\"", err);
		return;
	}
	log_set_level(cf.log_level);
	log_notice("dagd msg=\"log level reloaded, the rest needs a restart\" level=%d", cf.log_level);
}

/* Returns at SIGTERM or SIGINT. */
static void serve_signals(struct dagd *dd, int sig_fd)
{
	struct pollfd pfd = { .fd = sig_fd, .events = POLLIN };
	unsigned long seen = 0;
	uint64_t watchdog_us = 0;
	int timeout = -1;

	if (sd_watchdog_enabled(0, &watchdog_us) > 0)
		timeout = watchdog_us / 3000;
	for (;;) {
		struct signalfd_siginfo si;
		int n = poll(&pfd, 1, timeout);

		if (n > 0 && read(sig_fd, &si, sizeof(si)) == sizeof(si)) {
			if (si.ssi_signo != SIGHUP)
				return;
			reload(dd);
		} else if (renewal_beats(member_renewal(dd->member)) != seen) {
			seen = renewal_beats(member_renewal(dd->member));
			sd_notify(0, "WATCHDOG=1");
		}
	}
}

static int block_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int run(struct dagd *dd)
{
	int sig_fd = block_signals();
	struct member_conf mc = { .cf = &dd->cf, .tap = &tap_kernel_ops };
	uint64_t one = 1;
	int r;

	harden();
	dd->stop_fd = eventfd(0, EFD_CLOEXEC);
	r = dd->stop_fd < 0 ? -errno : member_start(&mc, &dd->member);
	if (!r)
		r = -pthread_create(&dd->event_thread, NULL, event_thread, dd);
	if (r) {
		log_err("dagd msg=\"not started\" err=\"%s\"", strerror(-r));
		return EXIT_FAILURE;	/* the threads end with the process */
	}
	log_notice("dagd version=%s member=%s address=%s port=%u msg=started", DAG_VERSION,
		   dd->cf.member, dd->cf.address[0] ? dd->cf.address : "any", dd->cf.port);
	sd_notify(0, "READY=1");
	serve_signals(dd, sig_fd);
	sd_notify(0, "STOPPING=1");
	log_notice("dagd msg=stopping");
	if (write(dd->stop_fd, &one, sizeof(one)) < 0)
		return EXIT_FAILURE;
	pthread_join(dd->event_thread, NULL);
	member_stop(dd->member);
	close(dd->stop_fd);
	close(sig_fd);
	log_notice("dagd msg=stopped");
	return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, 'k' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ }
	};
	static struct dagd dd;
	bool check = false, given = false;
	char err[400];
	int c;

	/* not for people: the daemon runs itself to ask a file system that may hang */
	if (argc > 1 && !strcmp(argv[1], FSFREE_OPTION))
		return fsfree_main(argc - 2, argv + 2);
	dd.conf_path = CONFIG_PATH;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			dd.conf_path = optarg;
			given = true;
			break;
		case 'k':
			check = true;
			break;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		case 'v':
			printf("dagd %s\n", DAG_VERSION);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return 2;
	}
	if (config_load(dd.conf_path, !given, &dd.cf, err, sizeof(err))) {
		fprintf(stderr, "dagd: %s\n", err);
		return EXIT_FAILURE;
	}
	if (check) {
		printf("dagd: %s: ok, member %s\n", dd.conf_path, dd.cf.member);
		return EXIT_SUCCESS;
	}
	log_set_level(dd.cf.log_level);
	return run(&dd);
}
