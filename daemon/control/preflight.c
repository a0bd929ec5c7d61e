// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/preflight.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control/blockdev.h"

#define MIB		(1u << 20)
#define SPACE_LEAST	(64ull * MIB)	/* a segment */
#define SPACE_GOOD	(4096ull * MIB)

const char *preflight_level_name(enum preflight_level level)
{
	static const char *const names[] = { "ok", "warn", "fail" };

	return names[level];
}

void preflight_add(struct preflight *pf, const char *name, enum preflight_level level,
		   const char *next, const char *fmt, ...)
{
	struct preflight_result *r;
	va_list ap;

	if (pf->nr == sizeof(pf->res) / sizeof(pf->res[0]))
		return;
	r = &pf->res[pf->nr++];
	r->name = name;
	r->level = level;
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
	snprintf(r->next, sizeof(r->next), "%s", level == PREFLIGHT_OK ? "" : next);
}

/* First lines of what a program says, stderr too, as one line; its exit status, or -1. */
static int ask(const char *command, char *ret, size_t len)
{
	FILE *f = popen(command, "re");
	size_t n;
	int status;

	ret[0] = '\0';
	if (!f)
		return -1;
	n = fread(ret, 1, len - 1, f);
	ret[n] = '\0';
	/* not SIGPIPE for the program: read to its end */
	while (fgetc(f) != EOF)
		;
	status = pclose(f);
	while (n && ret[n - 1] == '\n')
		ret[--n] = '\0';
	for (; n; n--)
		if (ret[n - 1] == '\n')
			ret[n - 1] = ' ';
	return status >= 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- kernel and module --------------------------------------------------------- */

static void kernel(struct preflight *pf, char release[65])
{
	unsigned major = 0, minor = 0;
	struct utsname un;

	uname(&un);
	snprintf(release, 65, "%s", un.release);
	sscanf(un.release, "%u.%u", &major, &minor);
	preflight_add(pf, "kernel", major > 6 || (major == 6 && minor >= 1) ? PREFLIGHT_OK :
		      PREFLIGHT_FAIL, "boot a kernel of Debian 12 or later", "Linux %s%s", un.release,
		      major > 6 || (major == 6 && minor >= 1) ? "" : "; 6.1 is the oldest that is "
		      "supported");
}

static void module(const struct preflight_conf *conf, struct preflight *pf, const char *release)
{
	char path[128], next[160], why[256];
	bool loaded = !access("/sys/module/dagtap", F_OK), headers;

	snprintf(path, sizeof(path), "/lib/modules/%s/build", release);
	headers = !access(path, F_OK);
	snprintf(next, sizeof(next), "apt install linux-headers-%s", release);
	preflight_add(pf, "headers", headers ? PREFLIGHT_OK : PREFLIGHT_WARN, next, "headers of %s are "
		      "%s", release, headers ? "there" : "not there; the module cannot be built for "
		      "this kernel");
	if (conf->no_module || loaded) {
		preflight_add(pf, "module", PREFLIGHT_OK, "", loaded ? "dagtap is loaded" :
			      "dagtap is not needed here");
		return;
	}
	if (geteuid()) {
		preflight_add(pf, "module", PREFLIGHT_WARN, "run it as root", "dagtap is not loaded, and "
			      "only root can try");
		return;
	}
	if (!ask("modprobe dagtap 2>&1", why, sizeof(why)))
		preflight_add(pf, "module", PREFLIGHT_OK, "", "dagtap has been loaded");
	else if (strstr(why, "Key was rejected"))
		preflight_add(pf, "module", PREFLIGHT_FAIL, "sign the module with a key that is enrolled "
			      "(mokutil --import), or turn secure boot off", "dagtap is not signed for "
			      "this host's secure boot");
	else
		preflight_add(pf, "module", PREFLIGHT_FAIL, "dkms install dagtap, then modprobe dagtap",
			      "dagtap cannot be loaded: %.200s", why[0] ? why : "modprobe says nothing");
}

/* ---- engine --------------------------------------------------------------------- */

enum preflight_level preflight_engine(const char *text, char *why, size_t len)
{
	const char *at = strstr(text, "etcd Version: ");
	unsigned a = 0, b = 0, c = 0;

	if (!at || sscanf(at + 14, "%u.%u.%u", &a, &b, &c) != 3) {
		snprintf(why, len, "etcd does not say its version");
		return PREFLIGHT_FAIL;
	}
	/* 3.5.0 to 3.5.2 could lose what they had answered for, and 3.5.5 is the first
	 * that checks itself for it at the start */
	if (a == 3 && b == 5 && c <= 5) {
		snprintf(why, len, "etcd %u.%u.%u may damage its data", a, b, c);
		return PREFLIGHT_FAIL;
	}
	if (a < 3 || (a == 3 && (b < 4 || (b == 4 && c < 22)))) {
		snprintf(why, len, "etcd %u.%u.%u is older than 3.4.22", a, b, c);
		return PREFLIGHT_FAIL;
	}
	snprintf(why, len, "etcd %u.%u.%u", a, b, c);
	return PREFLIGHT_OK;
}

static void engine(struct preflight *pf)
{
	char text[512], why[128];
	enum preflight_level level;

	if (ask("timeout 10 etcd --version 2>&1", text, sizeof(text)) == 127 || !text[0]) {
		preflight_add(pf, "engine", PREFLIGHT_WARN, "apt install etcd-server (its own service "
			      "may stay disabled)", "etcd is not installed: this host can be a member "
			      "but have no vote");
		return;
	}
	level = preflight_engine(text, why, sizeof(why));
	preflight_add(pf, "engine", level, "install another version of etcd-server", "%s", why);
}

/* ---- clock, space, device, neighbours ---------------------------------------------- */

static void clock_check(struct preflight *pf)
{
	struct timex tx = { .modes = 0 };
	int state = adjtimex(&tx);
	time_t now = time(NULL);

	if (now < 1735689600)	/* 2025: certificates would not be valid yet */
		preflight_add(pf, "clock", PREFLIGHT_FAIL, "set it; apt install chrony", "the clock is "
			      "years behind");
	else if (state < 0 || state == TIME_ERROR || tx.status & STA_UNSYNC)
		preflight_add(pf, "clock", PREFLIGHT_WARN, "apt install chrony", "the clock is not "
			      "synchronised; leases do not need it, the times of the history do");
	else
		preflight_add(pf, "clock", PREFLIGHT_OK, "", "synchronised, within %ld ms",
			      tx.maxerror / 1000);
}

static void space(const struct preflight_conf *conf, struct preflight *pf)
{
	char path[256], *slash;
	struct statvfs sv;
	uint64_t free_bytes;

	snprintf(path, sizeof(path), "%s", conf->cf->state_dir);
	/* it is made at the first start */
	while (statvfs(path, &sv)) {
		slash = strrchr(path, '/');
		if (errno != ENOENT || !slash) {
			preflight_add(pf, "space", PREFLIGHT_FAIL, "see the directory", "%s: %s",
				      conf->cf->state_dir, strerror(errno));
			return;
		}
		if (slash == path)
			slash++;
		*slash = '\0';
	}
	free_bytes = (uint64_t)sv.f_bavail * sv.f_frsize;
	preflight_add(pf, "space", free_bytes < SPACE_LEAST ? PREFLIGHT_FAIL : free_bytes < SPACE_GOOD ?
		      PREFLIGHT_WARN : PREFLIGHT_OK, "put a file system of 4 GiB or more there, apart "
		      "from the root's, or give stores a --log-dir elsewhere", "%llu MiB free for logs "
		      "and metadata in %s", (unsigned long long)free_bytes / MIB, conf->cf->state_dir);
}

static void device(const struct preflight_conf *conf, struct preflight *pf)
{
	char err[256], type[64];
	uint64_t bytes;
	int r;

	if (!conf->device)
		return;
	if (blockdev_size(conf->device, &bytes, err, sizeof(err))) {
		preflight_add(pf, "device", PREFLIGHT_FAIL, "unmount it, or take it out of what uses it "
			      "(lsblk shows)", "%s: %s", conf->device, err);
		return;
	}
	r = blockdev_signature(conf->device, type, sizeof(type));
	preflight_add(pf, "device", r > 0 ? PREFLIGHT_WARN : PREFLIGHT_OK, "if what it holds is to stay, "
		      "give the store a --meta-device; else --force", "%s: %llu MiB, %s%s", conf->device,
		      (unsigned long long)bytes / MIB, r > 0 ? "holds " : "empty", r > 0 ? type : "");
}

/* Is a program of that name running? */
static bool runs(const char *name)
{
	DIR *d = opendir("/proc");
	struct dirent *de;
	bool found = false;

	while (d && !found && (de = readdir(d))) {
		char path[300], comm[32] = "";
		FILE *f;

		if (de->d_name[0] < '0' || de->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", de->d_name);
		f = fopen(path, "re");
		if (f && fgets(comm, sizeof(comm), f)) {
			comm[strcspn(comm, "\n")] = '\0';
			found = !strcmp(comm, name);
		}
		if (f)
			fclose(f);
	}
	if (d)
		closedir(d);
	return found;
}

static void neighbours(struct preflight *pf)
{
	static const char *const managers[] = { "corosync", "pacemakerd", "keepalived", "rgmanager" };
	bool found = false;
	size_t i;

	for (i = 0; i < sizeof(managers) / sizeof(managers[0]); i++) {
		if (!runs(managers[i]))
			continue;
		found = true;
		preflight_add(pf, "conflict", PREFLIGHT_FAIL, "let one of the two manage this host's "
			      "mounts and addresses, and stop the other", "%s is running", managers[i]);
	}
	if (!access("/sys/module/drbd", F_OK)) {
		found = true;
		preflight_add(pf, "conflict", PREFLIGHT_WARN, "no device may be in both; drbdadm status "
			      "shows", "drbd is loaded");
	}
	if (!found)
		preflight_add(pf, "conflict", PREFLIGHT_OK, "", "no other cluster software is running");
}

/* ---- all ------------------------------------------------------------------------------ */

enum preflight_level preflight_run(const struct preflight_conf *conf, struct preflight *ret)
{
	enum preflight_level worst = PREFLIGHT_OK;
	char release[65];
	unsigned i;

	memset(ret, 0, sizeof(*ret));
	kernel(ret, release);
	module(conf, ret, release);
	engine(ret);
	preflight_ports(conf, ret);
	preflight_names(conf, ret);
	clock_check(ret);
	preflight_networks(conf, ret);
	space(conf, ret);
	device(conf, ret);
	neighbours(ret);
	for (i = 0; i < ret->nr; i++)
		if (ret->res[i].level > worst)
			worst = ret->res[i].level;
	return worst;
}

struct json_object *preflight_to_obj(const struct preflight *pf)
{
	struct json_object *obj = json_object_new_object(), *list = json_object_new_array();
	enum preflight_level worst = PREFLIGHT_OK;
	unsigned i;

	for (i = 0; i < pf->nr; i++) {
		const struct preflight_result *r = &pf->res[i];
		struct json_object *one = json_object_new_object();

		json_object_object_add(one, "name", json_object_new_string(r->name));
		json_object_object_add(one, "result",
				       json_object_new_string(preflight_level_name(r->level)));
		json_object_object_add(one, "text", json_object_new_string(r->text));
		json_object_object_add(one, "next", json_object_new_string(r->next));
		json_object_array_add(list, one);
		if (r->level > worst)
			worst = r->level;
	}
	json_object_object_add(obj, "worst", json_object_new_string(preflight_level_name(worst)));
	json_object_object_add(obj, "checks", list);
	return obj;
}
