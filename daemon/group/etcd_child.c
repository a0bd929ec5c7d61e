// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/etcd_child.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control/rpc.h"
#include "daemon/group/state_json.h"
#include "daemon/log.h"
#include "daemon/net/creds_internal.h"

#define MEMBER_FILE	"member.json"
#define BEGUN_FILE	"begun"	/* there was data of it once */
#define LOG_BYTES_MAX	(1u << 20)
#define PAUSE_MS_MIN	200
#define PAUSE_MS_MAX	10000
#define WELL_MS		60000		/* up for so long: the next pause is short again */
#define TERM_MS		5000		/* it hands its leadership over */
#define KILL_MS		5000
#define VERSION_MS	10000
#define QUOTA_BYTES	"1073741824"

struct etcd_child {
	char dir[300], creds_dir[300], name[64];
	char version[32];		/* "": not known yet */
	pthread_mutex_t order;		/* one begin, end or change of times at once */
	pthread_mutex_t lock;
	pthread_cond_t changed;		/* the thread has done what was asked */
	struct etcd_child_start start;
	bool wanted, restart, stop, abandon;
	uint64_t asked, done;		/* turns of the thread */
	struct etcd_child_view view;
	int kick_fd;
	pthread_t thread;

	/* of the thread */
	pid_t pid;
	int pidfd;
	bool own;			/* a child in the sense of wait() */
	uint64_t since_ms, pause_ms, not_before_ms;
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- names --------------------------------------------------------------- */

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

/* ---- version ------------------------------------------------------------- */

int etcd_version_check(const char *version, char *err, size_t errlen)
{
	unsigned major, minor, patch;

	if (sscanf(version, "%u.%u.%u", &major, &minor, &patch) != 3) {
		snprintf(err, errlen, "etcd: version '%.32s' is not understood", version);
		return -EOPNOTSUPP;
	}
	if (major == 3 && minor == 5 && patch <= 5) {
		snprintf(err, errlen, "etcd %u.%u.%u can lose data (3.5.0 to 3.5.5 can); install "
			 "another version of etcd-server", major, minor, patch);
		return -EOPNOTSUPP;
	}
	if (major != 3 || minor < 4 || (minor == 4 && patch < 22)) {
		snprintf(err, errlen, "etcd %u.%u.%u is not supported; install etcd-server 3.4.22 or "
			 "later of version 3", major, minor, patch);
		return -EOPNOTSUPP;
	}
	return 0;
}

static int spawn(pid_t *ret, char *const argv[], const int out_fd)
{
	char arch[64] = "PATH=/usr/bin:/bin", *env[3] = { "PATH=/usr/bin:/bin", NULL, NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	struct utsname un;
	sigset_t none, all;
	int r;

	/* only amd64 is a tested platform of etcd 3.4; others must be asked for */
	if (!uname(&un) && !strcmp(un.machine, "aarch64")) {
		snprintf(arch, sizeof(arch), "ETCD_UNSUPPORTED_ARCH=arm64");
		env[1] = arch;
	}
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
				 POSIX_SPAWN_SETSID);
	r = posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&fa, out_fd, 1);
	if (!r)
		r = posix_spawn_file_actions_adddup2(&fa, out_fd, 2);
	if (!r)
		r = posix_spawn_file_actions_addclosefrom_np(&fa, 3);
	if (!r)
		r = posix_spawn(ret, argv[0], &fa, &attr, argv, env);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return -r;
}

/* What it writes until it ends, at most size - 1 bytes. */
static int read_output(int fd, char *buf, size_t size)
{
	uint64_t end = now_ms() + VERSION_MS, now;
	size_t len = 0;

	while ((now = now_ms()) < end && len + 1 < size) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		ssize_t n;

		if (poll(&pfd, 1, end - now) <= 0)
			continue;
		n = read(fd, buf + len, size - 1 - len);
		if (n <= 0)
			break;
		len += n;
	}
	buf[len] = '\0';
	return len ? 0 : -EIO;
}

int etcd_version_installed(char ret_version[32], char *err, size_t errlen)
{
	char *argv[] = { ETCD_PROGRAM, "--version", NULL }, text[512] = "", *at;
	int fds[2], r;
	pid_t pid;

	if (access(ETCD_PROGRAM, X_OK)) {
		snprintf(err, errlen, "%s: %s; install the package etcd-server", ETCD_PROGRAM,
			 strerror(errno));
		return -ENOENT;
	}
	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	r = spawn(&pid, argv, fds[1]);
	close(fds[1]);
	if (!r) {
		r = read_output(fds[0], text, sizeof(text));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	close(fds[0]);
	at = strstr(text, "etcd Version: ");
	if (r || !at) {
		snprintf(err, errlen, "%s --version: %s", ETCD_PROGRAM, r ? strerror(-r) : "no version");
		return -EOPNOTSUPP;
	}
	at += strlen("etcd Version: ");
	at[strcspn(at, " \r\n")] = '\0';
	snprintf(ret_version, 32, "%.31s", at);
	return etcd_version_check(ret_version, err, errlen);
}

/* ---- member.json --------------------------------------------------------- */

static int start_save(struct etcd_child *ec, const struct etcd_child_start *st)
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
	r = creds_file_write(ec->dir, MEMBER_FILE, 0600, text, strlen(text));
	json_object_put(obj);
	return r;
}

static int start_load(struct etcd_child *ec, struct etcd_child_start *ret)
{
	struct etcd_child_start st = { .port = 0 };
	const char *address, *token, *cluster, *id;
	uint64_t port, beat, election;
	struct json_object *obj;
	char err[256], *text;
	int existing, r;

	r = creds_file_read(ec->dir, MEMBER_FILE, false, &text);
	if (r)
		return r;
	obj = json_parse_strict(text, strlen(text), err, sizeof(err));
	free(text);
	r = obj ? 0 : -EINVAL;
	if (!r && (rpc_str(obj, "address", &address, err, sizeof(err)) ||
		   rpc_str(obj, "token", &token, err, sizeof(err)) ||
		   rpc_str(obj, "cluster", &cluster, err, sizeof(err)) ||
		   rpc_str(obj, "id", &id, err, sizeof(err)) || strlen(id) != 16 ||
		   rpc_u64(obj, "port", UINT16_MAX - 3, &port, err, sizeof(err)) ||
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
			ec->dir, MEMBER_FILE);
		r = -EINVAL;
	}
	json_object_put(obj);
	return r;
}

/* ---- the process --------------------------------------------------------- */

#define ARGS_MAX	48

struct args {
	char *v[ARGS_MAX];
	unsigned n;
	bool broken;
};

static void __attribute__((format(printf, 2, 3))) arg(struct args *a, const char *fmt, ...)
{
	va_list ap;

	if (a->n + 1 == ARGS_MAX) {
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

static void args_free(struct args *a)
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

static void make_args(struct etcd_child *ec, const struct etcd_child_start *st, struct args *a)
{
	char client[ETCD_URL_MAX], peer[ETCD_URL_MAX];
	unsigned minor = minor_of(ec->version);

	etcd_client_url(st->address, st->port, client);
	etcd_peer_url(st->address, st->port, peer);
	arg(a, "%s", ETCD_PROGRAM);
	arg(a, "--data-dir=%s/data", ec->dir);
	arg(a, "--name=%s", ec->name);
	arg(a, "--listen-client-urls=%s", client);
	arg(a, "--advertise-client-urls=%s", client);
	arg(a, "--listen-peer-urls=%s", peer);
	arg(a, "--initial-advertise-peer-urls=%s", peer);
	arg(a, "--initial-cluster=%s", st->cluster);
	arg(a, "--initial-cluster-token=%s", st->token);
	arg(a, "--initial-cluster-state=%s", st->existing ? "existing" : "new");
	arg(a, "--cert-file=%s/%s", ec->creds_dir, CREDS_CRT);
	arg(a, "--key-file=%s/%s", ec->creds_dir, CREDS_KEY);
	arg(a, "--trusted-ca-file=%s/%s", ec->creds_dir, CREDS_CA_CRT);
	arg(a, "--client-cert-auth=true");
	arg(a, "--peer-cert-file=%s/%s", ec->creds_dir, CREDS_CRT);
	arg(a, "--peer-key-file=%s/%s", ec->creds_dir, CREDS_KEY);
	arg(a, "--peer-trusted-ca-file=%s/%s", ec->creds_dir, CREDS_CA_CRT);
	arg(a, "--peer-client-cert-auth=true");
	/* a host may call from another of its addresses; the certificate says who it is */
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

/* Is this process our etcd? By its command line: program and data directory. */
static bool is_ours(struct etcd_child *ec, pid_t pid)
{
	char path[64], want[340], buf[8192];
	size_t n, at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	n = fread(buf, 1, sizeof(buf) - 1, f);
	fclose(f);
	buf[n] = '\0';
	if (strcmp(buf, ETCD_PROGRAM))
		return false;
	snprintf(want, sizeof(want), "--data-dir=%s/data", ec->dir);
	for (at = strlen(buf) + 1; at < n; at += strlen(buf + at) + 1)
		if (!strcmp(buf + at, want))
			return true;
	return false;
}

/* One that a former dagd left running. */
static bool adopt(struct etcd_child *ec)
{
	DIR *dir = opendir("/proc");
	struct dirent *de;
	int fd = -1;

	while (dir && fd < 0 && (de = readdir(dir))) {
		pid_t pid = isdigit((unsigned char)de->d_name[0]) ? atoi(de->d_name) : 0;

		if (pid <= 0 || !is_ours(ec, pid))
			continue;
		fd = pidfd_open(pid, 0);
		/* it may have ended, and the number be another's, before it was opened */
		if (fd >= 0 && !is_ours(ec, pid)) {
			close(fd);
			fd = -1;
		}
		if (fd >= 0) {
			ec->pid = pid;
			ec->pidfd = fd;
			ec->own = false;
			ec->since_ms = now_ms();
		}
	}
	if (dir)
		closedir(dir);
	return fd >= 0;
}

static int open_log(struct etcd_child *ec)
{
	char path[320];

	snprintf(path, sizeof(path), "%s/log", ec->dir);
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* Keep the log small: its second half goes on, in a file beside. */
static void bound_log(struct etcd_child *ec)
{
	char path[320], old[330], *buf;
	struct stat st;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/log", ec->dir);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &st) || st.st_size < LOG_BYTES_MAX)
		goto out;
	buf = malloc(LOG_BYTES_MAX / 2);
	if (!buf)
		goto out;
	n = pread(fd, buf, LOG_BYTES_MAX / 2, st.st_size - LOG_BYTES_MAX / 2);
	if (n > 0) {
		int to;

		snprintf(old, sizeof(old), "%s.old", path);
		to = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		if (to >= 0 && write(to, buf, n) != n)
			log_debug("engine file=%s err=\"%m\"", old);
		if (to >= 0)
			close(to);
	}
	free(buf);
	/* etcd appends: it goes on at the beginning */
	if (ftruncate(fd, 0))
		log_warn("engine file=%s msg=\"not truncated\" err=\"%m\"", path);
out:
	close(fd);
}

static bool is_there(struct etcd_child *ec, const char *file)
{
	char path[340];

	snprintf(path, sizeof(path), "%s/%s", ec->dir, file);
	return !access(path, F_OK);
}

/* etcd has made its data: from now on it must not start without. */
static void note_begun(struct etcd_child *ec)
{
	if (!is_there(ec, BEGUN_FILE) && is_there(ec, "data/member/wal"))
		creds_file_write(ec->dir, BEGUN_FILE, 0600, "1\n", 2);
}

static int launch(struct etcd_child *ec, const struct etcd_child_start *st, char *err, size_t errlen)
{
	struct args a = { .n = 0 };
	pid_t pid;
	int fd, r;

	/* each time: it may have been upgraded */
	r = etcd_version_installed(ec->version, err, errlen);
	if (r)
		return r;
	if (is_there(ec, BEGUN_FILE) && !is_there(ec, "data/member/wal")) {
		snprintf(err, errlen, "%s/data: is gone; etcd must not vote without it", ec->dir);
		pthread_mutex_lock(&ec->lock);
		ec->view.lost = true;
		pthread_mutex_unlock(&ec->lock);
		return -ENODATA;
	}
	fd = open_log(ec);
	if (fd < 0) {
		r = -errno;
		snprintf(err, errlen, "%s/log: %s", ec->dir, strerror(-r));
		return r;
	}
	make_args(ec, st, &a);
	r = a.broken ? -ENOMEM : spawn(&pid, a.v, fd);
	args_free(&a);
	close(fd);
	if (!r) {
		ec->pidfd = pidfd_open(pid, 0);
		if (ec->pidfd < 0) {
			r = -errno;
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
	}
	if (r) {
		snprintf(err, errlen, "etcd not started: %s", strerror(-r));
		return r;
	}
	ec->pid = pid;
	ec->own = true;
	ec->since_ms = now_ms();
	return 0;
}

static bool has_ended(struct etcd_child *ec, int timeout_ms)
{
	struct pollfd pfd = { .fd = ec->pidfd, .events = POLLIN };

	return poll(&pfd, 1, timeout_ms) > 0;
}

static void reap(struct etcd_child *ec, char *ret, size_t len)
{
	int status = 0;

	snprintf(ret, len, "etcd has ended");
	if (ec->own && waitpid(ec->pid, &status, 0) == ec->pid) {
		if (WIFSIGNALED(status))
			snprintf(ret, len, "etcd was ended by signal %d", WTERMSIG(status));
		else
			snprintf(ret, len, "etcd has ended with status %d, see %.100s/log",
				 WEXITSTATUS(status), ec->dir);
	}
	close(ec->pidfd);
	ec->pidfd = -1;
	ec->pid = 0;
}

static void put_down(struct etcd_child *ec)
{
	char ignored[160];

	if (!ec->pid)
		return;
	pidfd_send_signal(ec->pidfd, SIGTERM, NULL, 0);
	if (!has_ended(ec, TERM_MS)) {
		log_warn("engine pid=%d msg=\"does not stop, killed\"", ec->pid);
		pidfd_send_signal(ec->pidfd, SIGKILL, NULL, 0);
		has_ended(ec, KILL_MS);
	}
	reap(ec, ignored, sizeof(ignored));
}

/* ---- the thread ---------------------------------------------------------- */

static void note(struct etcd_child *ec, const char *error)
{
	pthread_mutex_lock(&ec->lock);
	ec->view.pid = ec->pid;
	ec->view.adopted = ec->pid && !ec->own;
	if (error)
		snprintf(ec->view.error, sizeof(ec->view.error), "%.*s",
			 (int)sizeof(ec->view.error) - 1, error);
	pthread_mutex_unlock(&ec->lock);
}

static void try_start(struct etcd_child *ec, const struct etcd_child_start *st)
{
	char err[480];

	if (adopt(ec)) {
		log_notice("engine pid=%d msg=\"etcd runs on from before\"", ec->pid);
		note(ec, "");
		return;
	}
	ec->pause_ms = ec->pause_ms ? ec->pause_ms * 2 : PAUSE_MS_MIN;
	if (ec->pause_ms > PAUSE_MS_MAX)
		ec->pause_ms = PAUSE_MS_MAX;
	ec->not_before_ms = now_ms() + ec->pause_ms;
	if (launch(ec, st, err, sizeof(err))) {
		log_err("engine msg=\"not started\" err=\"%s\" again_ms=%llu", err,
			(unsigned long long)ec->pause_ms);
		note(ec, err);
		return;
	}
	log_notice("engine pid=%d version=%s msg=\"etcd started\"", ec->pid, ec->version);
	pthread_mutex_lock(&ec->lock);
	ec->view.starts++;
	pthread_mutex_unlock(&ec->lock);
	note(ec, NULL);
}

static void check_child(struct etcd_child *ec)
{
	char why[160];

	if (has_ended(ec, 0)) {
		reap(ec, why, sizeof(why));
		log_err("engine msg=\"%s\"", why);
		note(ec, why);
	} else if (ec->pause_ms && now_ms() - ec->since_ms > WELL_MS) {
		ec->pause_ms = 0;
		note(ec, "");
	}
	note_begun(ec);
	bound_log(ec);
}

static int wait_ms(struct etcd_child *ec)
{
	uint64_t now = now_ms();

	if (ec->pid || ec->not_before_ms > now + 1000)
		return 1000;
	return ec->not_before_ms > now ? ec->not_before_ms - now : 0;
}

static void *child_thread(void *arg_)
{
	struct etcd_child *ec = arg_;
	struct etcd_child_start *st = malloc(sizeof(*st));
	bool wanted, restart, stop, abandon;
	uint64_t asked, n;

	if (!st)
		abort();
	for (;;) {
		struct pollfd pfd[2] = { { .fd = ec->kick_fd, .events = POLLIN },
					 { .fd = ec->pidfd, .events = POLLIN } };

		pthread_mutex_lock(&ec->lock);
		*st = ec->start;
		wanted = ec->wanted;
		restart = ec->restart;
		ec->restart = false;
		stop = ec->stop;
		abandon = ec->abandon;
		asked = ec->asked;
		pthread_mutex_unlock(&ec->lock);
		if (abandon)
			break;
		if (ec->pid)
			check_child(ec);
		/* not wanted, and yet one may run that a former dagd should have ended */
		if (!wanted && !ec->pid)
			adopt(ec);
		if (stop || !wanted || restart)
			put_down(ec);
		if (restart)
			ec->pause_ms = ec->not_before_ms = 0;
		if (!stop && wanted && !ec->pid && now_ms() >= ec->not_before_ms)
			try_start(ec, st);
		note(ec, NULL);
		pthread_mutex_lock(&ec->lock);
		ec->done = asked;
		pthread_cond_broadcast(&ec->changed);
		pthread_mutex_unlock(&ec->lock);
		if (stop)
			break;
		pfd[1].fd = ec->pidfd;
		if (poll(pfd, 2, wanted ? wait_ms(ec) : -1) > 0 && pfd[0].revents &&
		    read(ec->kick_fd, &n, sizeof(n)) < 0)
			log_err("engine err=\"%m\"");
	}
	if (ec->pidfd >= 0)
		close(ec->pidfd);
	free(st);
	return NULL;
}

/* With the lock: wake the thread and wait until it has acted on what is set now. */
static void turn(struct etcd_child *ec)
{
	uint64_t one = 1, want = ++ec->asked;

	if (write(ec->kick_fd, &one, sizeof(one)) < 0)
		abort();	/* cannot be: the counter is far from full */
	while (ec->done < want)
		pthread_cond_wait(&ec->changed, &ec->lock);
}

/* ---- for others ---------------------------------------------------------- */

int etcd_child_open(const struct etcd_child_conf *conf, struct etcd_child **ret)
{
	struct etcd_child *ec = calloc(1, sizeof(*ec));
	int r;

	if (!ec)
		return -ENOMEM;
	snprintf(ec->dir, sizeof(ec->dir), "%s", conf->dir);
	snprintf(ec->creds_dir, sizeof(ec->creds_dir), "%s", conf->creds_dir);
	snprintf(ec->name, sizeof(ec->name), "%s", conf->name);
	ec->pidfd = -1;
	pthread_mutex_init(&ec->order, NULL);
	pthread_mutex_init(&ec->lock, NULL);
	pthread_cond_init(&ec->changed, NULL);
	ec->kick_fd = eventfd(0, EFD_CLOEXEC);
	r = ec->kick_fd < 0 ? -errno : creds_dir_make(ec->dir);
	if (!r)
		r = start_load(ec, &ec->start);
	ec->wanted = ec->view.wanted = !r;
	if (!r || r == -ENOENT || r == -EINVAL)
		r = -pthread_create(&ec->thread, NULL, child_thread, ec);
	if (r) {
		if (ec->kick_fd >= 0)
			close(ec->kick_fd);
		free(ec);
		return r;
	}
	*ret = ec;
	return 0;
}

static void close_thread(struct etcd_child *ec, bool abandon)
{
	uint64_t one = 1;

	pthread_mutex_lock(&ec->lock);
	if (abandon)
		ec->abandon = true;
	else
		ec->stop = true;
	pthread_mutex_unlock(&ec->lock);
	if (write(ec->kick_fd, &one, sizeof(one)) < 0)
		abort();
	pthread_join(ec->thread, NULL);
	close(ec->kick_fd);
	pthread_mutex_destroy(&ec->order);
	pthread_mutex_destroy(&ec->lock);
	pthread_cond_destroy(&ec->changed);
	free(ec);
}

void etcd_child_close(struct etcd_child *ec)
{
	if (ec)
		close_thread(ec, false);
}

void etcd_child_abandon(struct etcd_child *ec)
{
	if (ec)
		close_thread(ec, true);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path) && errno != ENOENT ? -errno : 0;
}

static int remove_data(struct etcd_child *ec)
{
	char path[320];
	int r;

	snprintf(path, sizeof(path), "%s/%s", ec->dir, BEGUN_FILE);
	if (unlink(path) && errno != ENOENT)
		return -errno;
	ec->view.lost = false;
	snprintf(path, sizeof(path), "%s/data", ec->dir);
	r = nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	if (r == -1 && errno == ENOENT)
		return 0;
	return r == -1 ? -errno : r;
}

int etcd_child_begin(struct etcd_child *ec, const struct etcd_child_start *start, char *err,
		     size_t errlen)
{
	char version[32];
	int r;

	r = etcd_version_installed(version, err, errlen);
	if (r)
		return r;
	pthread_mutex_lock(&ec->order);
	pthread_mutex_lock(&ec->lock);
	if (ec->wanted && ec->start.id == start->id && !strcmp(ec->start.token, start->token)) {
		if (!ec->view.pid && strcmp(ec->start.cluster, start->cluster)) {
			r = start_save(ec, start);
			if (!r)
				ec->start = *start;
		}
		turn(ec);
		goto out;
	}
	/* what it has is of another group, or of a voter that is none any more */
	ec->wanted = false;
	turn(ec);
	r = remove_data(ec);
	if (!r)
		r = start_save(ec, start);
	if (r) {
		snprintf(err, errlen, "%s: %s", ec->dir, strerror(-r));
		goto out;
	}
	ec->start = *start;
	ec->wanted = ec->view.wanted = true;
	ec->restart = true;
	turn(ec);
out:
	pthread_mutex_unlock(&ec->lock);
	pthread_mutex_unlock(&ec->order);
	return r;
}

int etcd_child_end(struct etcd_child *ec)
{
	char path[320];
	int r = 0;

	snprintf(path, sizeof(path), "%s/%s", ec->dir, MEMBER_FILE);
	pthread_mutex_lock(&ec->order);
	pthread_mutex_lock(&ec->lock);
	ec->wanted = ec->view.wanted = false;
	turn(ec);
	if (unlink(path) && errno != ENOENT)
		r = -errno;
	if (!r)
		r = remove_data(ec);
	pthread_mutex_unlock(&ec->lock);
	pthread_mutex_unlock(&ec->order);
	return r;
}

int etcd_child_times(struct etcd_child *ec, uint32_t heartbeat_ms, uint32_t election_ms)
{
	struct etcd_child_start *st = malloc(sizeof(*st));
	int r = 0;

	if (!st)
		return -ENOMEM;
	pthread_mutex_lock(&ec->order);
	pthread_mutex_lock(&ec->lock);
	*st = ec->start;
	if (ec->wanted && (st->heartbeat_ms != heartbeat_ms || st->election_ms != election_ms)) {
		st->heartbeat_ms = heartbeat_ms;
		st->election_ms = election_ms;
		r = start_save(ec, st);
		if (!r) {
			ec->start = *st;
			ec->restart = true;
			turn(ec);
		}
	}
	pthread_mutex_unlock(&ec->lock);
	pthread_mutex_unlock(&ec->order);
	free(st);
	return r;
}

void etcd_child_look(struct etcd_child *ec, struct etcd_child_view *ret)
{
	pthread_mutex_lock(&ec->lock);
	*ret = ec->view;
	ret->id = ec->start.id;
	memcpy(ret->token, ec->start.token, sizeof(ret->token));
	pthread_mutex_unlock(&ec->lock);
}
