// SPDX-License-Identifier: GPL-2.0
/*
 * Everything that could hang is done by a program in a process of its own:
 * mount(8) and umount(8), which also know helpers and leave a note for systemd
 * (_netdev: unmounted before dagd ends), systemctl(1), the executable.
 */
#include "daemon/store/step_run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "daemon/log.h"
#include "daemon/net/service_addr.h"
#include "daemon/store/child.h"
#include "daemon/store/mounts.h"

#define PATH_USUAL	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define CHECK_MS	10000
#define SAYS		200

/* ---- programs ------------------------------------------------------------ */

/* 0, or -errno with the cause in why: its status, its last line. */
static int run(const struct step_env *env, char *const *argv, char *const *envp, unsigned timeout_ms,
	       char *why, size_t len)
{
	char path[300], *plain[3] = { path, (char *)"LC_ALL=C.UTF-8", NULL };
	struct child_conf conf = {
		.name = env->store, .argv = argv, .envp = envp ? envp : plain,
		.timeout_ms = timeout_ms, .cancel_fd = env->cancel_fd,
	};
	char last[SAYS];
	int rc;

	snprintf(path, sizeof(path), "PATH=%s", env->path ? env->path : PATH_USUAL);
	rc = child_run(&conf, last, sizeof(last));
	if (rc == -ETIMEDOUT)
		snprintf(why, len, "not done in %u ms, killed; see the log of dagd%s%s", timeout_ms,
			 last[0] ? "; it said: " : "", last);
	else if (rc < 0)
		snprintf(why, len, "%s: %s", argv[0], strerror(-rc));
	else if (rc)
		snprintf(why, len, "%s%sstatus %d", last, last[0] ? "; " : "", rc);
	return rc > 0 ? -EIO : rc;
}

static void next(char *why, size_t len, const char *what)
{
	size_t at = strlen(why);

	if (at < len)
		snprintf(why + at, len - at, "; %s", what);
}

/* ---- mount --------------------------------------------------------------- */

static int device_number(const char *device, unsigned *ret_major, unsigned *ret_minor)
{
	struct stat st;

	if (stat(device, &st))
		return -errno;
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;
	*ret_major = major(st.st_rdev);
	*ret_minor = minor(st.st_rdev);
	return 0;
}

static int mounted_at(const char *device, struct mount_at *ret)
{
	unsigned maj = 0, min = 0;
	int rc = device_number(device, &maj, &min);

	return rc ? rc : mounts_of_device(maj, min, true, ret);
}

/* With all directories above; what is there stays. */
static int make_directory(const char *path)
{
	char part[GROUP_PATH_MAX + 1];
	struct stat st;

	snprintf(part, sizeof(part), "%s", path);
	for (char *p = part + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (mkdir(part, 0755) && errno != EEXIST)
		return -errno;
	return stat(part, &st) ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

/* 1: the device is there already; 0: the place is free. */
static int look_at_place(const struct step_env *env, const char *path, char *why, size_t len)
{
	struct mount_at *at = malloc(sizeof(*at));
	char *real = NULL;
	int rc = at ? make_directory(path) : -ENOMEM;

	if (rc) {
		snprintf(why, len, "%s; make it a directory", strerror(-rc));
		goto out;
	}
	real = realpath(path, NULL);
	if (!real) {
		rc = -errno;
		snprintf(why, len, "%s", strerror(-rc));
	} else if (!mounted_at(env->device, at)) {
		rc = !strcmp(at->path, real) ? 1 : -EBUSY;
		if (rc < 0)
			snprintf(why, len, "%s is mounted at %.100s; unmount it there", env->device,
				 at->path);
	} else if (!mounts_at_path(real, at)) {
		rc = -EBUSY;
		snprintf(why, len, "%.100s is mounted there; unmount it, or choose another mount "
			 "point with dagctl store set", at->source);
	}
out:
	free(real);
	free(at);
	return rc;
}

static int do_mount(const struct step_env *env, const struct step *step, char *why, size_t len)
{
	char options[GROUP_PATH_MAX + 16], *argv[10];
	int rc, n = 0;

	rc = look_at_place(env, step->what, why, len);
	if (rc)
		return rc > 0 ? 0 : rc;
	snprintf(options, sizeof(options), "%s%s_netdev", step->options, step->options[0] ? "," : "");
	argv[n++] = (char *)"mount";
	if (step->fs_type[0]) {
		argv[n++] = (char *)"-t";
		argv[n++] = (char *)step->fs_type;
	}
	argv[n++] = (char *)"-o";
	argv[n++] = options;
	argv[n++] = (char *)"--";
	argv[n++] = (char *)env->device;
	argv[n++] = (char *)step->what;
	argv[n] = NULL;
	rc = run(env, argv, NULL, env->timeout_ms, why, len);
	if (rc)
		next(why, len, "check file system and options, see dmesg");
	return rc;
}

/* Everywhere it is mounted, the newest first. */
static int undo_mount(const struct step_env *env, const struct step *step, char *why, size_t len)
{
	struct mount_at *at = malloc(sizeof(*at));
	char *argv[] = { (char *)"umount", (char *)"--", NULL, NULL };
	char *lazy[] = { (char *)"umount", (char *)"-l", (char *)"--", NULL, NULL };
	int rc = at ? 0 : -ENOMEM;

	for (int i = 0; !rc && i < 64 && !mounted_at(env->device, at); i++) {
		argv[2] = lazy[3] = at->path;
		rc = run(env, argv, NULL, env->timeout_ms, why, len);
		if (rc && rc != -ECANCELED && env->force) {
			log_warn("store=%s mount=%s msg=\"lazy unmount\" err=\"%s\"", env->store,
				 at->path, why);
			rc = run(env, lazy, NULL, env->timeout_ms, why, len);
		}
	}
	free(at);
	if (rc)
		next(why, len, "find who uses it with fuser -vm");
	return rc;
}

static int check_mount(const struct step_env *env, const struct step *step, char *why, size_t len)
{
	struct mount_at *at = malloc(sizeof(*at));
	int rc = at ? mounted_at(env->device, at) : -ENOMEM;

	if (rc == -ENOENT)
		snprintf(why, len, "is not mounted any more; run dagctl store mount %s", env->store);
	free(at);
	return rc;
}

/* ---- executable ----------------------------------------------------------- */

#define VARS	9

static int run_exec(const struct step_env *env, const struct step *step, const char *action,
		    unsigned timeout_ms, char *why, size_t len)
{
	char text[VARS][GROUP_PATH_MAX + 64], *envp[VARS + 1], *argv[] = { (char *)step->what, NULL };
	const struct { const char *key, *value; } vars[] = {
		{ "PATH", env->path ? env->path : PATH_USUAL }, { "DAG_STORE", env->store },
		{ "DAG_DEVICE", env->device }, { "DAG_MEMBER", env->member },
		{ "DAG_ACTION", action }, { "DAG_REASON", env->reason },
		{ "DAG_MOUNT_POINT", env->mount_point }, { "LC_ALL", "C.UTF-8" },
	};

	for (unsigned i = 0; i < VARS - 1; i++) {
		snprintf(text[i], sizeof(text[i]), "%s=%s", vars[i].key, vars[i].value);
		envp[i] = text[i];
	}
	snprintf(text[VARS - 1], sizeof(text[0]), "DAG_EPOCH=%u", env->epoch);
	envp[VARS - 1] = text[VARS - 1];
	envp[VARS] = NULL;
	return run(env, argv, envp, timeout_ms, why, len);
}

/* It runs as root: nobody else may have a say in what it does. */
static int check_file(const char *path, char *why, size_t len)
{
	struct stat st;

	if (stat(path, &st)) {
		snprintf(why, len, "%s; install it on every member", strerror(errno));
		return -ENOENT;
	}
	if (!S_ISREG(st.st_mode) || !(st.st_mode & 0100)) {
		snprintf(why, len, "is not a file that can be executed; see chmod(1)");
		return -EACCES;
	}
	if (st.st_uid || (st.st_mode & 0022)) {
		snprintf(why, len, "can be changed by others than root; see chown(1), chmod(1)");
		return -EPERM;
	}
	return 0;
}

static int do_exec(const struct step_env *env, const struct step *step, char *why, size_t len)
{
	int rc = check_file(step->what, why, len);

	if (rc)
		return rc;
	rc = run_exec(env, step, "start", env->timeout_ms, why, len);
	if (rc)
		next(why, len, "mend what it says, then dagctl store mount");
	return rc;
}

static int undo_exec(const struct step_env *env, const struct step *step, char *why, size_t len)
{
	int rc = check_file(step->what, why, len);

	if (!rc)
		rc = run_exec(env, step, "stop", env->timeout_ms, why, len);
	if (rc)
		next(why, len, "stop by hand what it has started");
	return rc;
}

/* ---- unit ------------------------------------------------------------------ */

static int systemctl(const struct step_env *env, const char *verb, const char *unit,
		     unsigned timeout_ms, char *why, size_t len)
{
	char *argv[] = { (char *)"systemctl", (char *)"--no-ask-password", (char *)verb, (char *)"--",
			 (char *)unit, NULL };

	return run(env, argv, NULL, timeout_ms, why, len);
}

static int do_unit(const struct step_env *env, const struct step *step, char *why, size_t len)
{
	int rc = systemctl(env, "start", step->what, env->timeout_ms, why, len);

	if (rc)
		next(why, len, "see systemctl status and journalctl -u");
	return rc;
}

/* The kill of a hanging unit is systemd's; it must not take the store's time. */
static int undo_unit(const struct step_env *env, const struct step *step, char *why, size_t len)
{
	char ignored[STEP_WHY_MAX];
	int rc = systemctl(env, "stop", step->what, env->timeout_ms, why, len);

	if (rc && rc != -ECANCELED && env->force) {
		log_warn("store=%s unit=%s msg=killed err=\"%s\"", env->store, step->what, why);
		return systemctl(env, "kill", step->what, CHECK_MS, ignored, sizeof(ignored)) ? rc : 0;
	}
	if (rc)
		next(why, len, "see systemctl status and journalctl -u");
	return rc;
}

static int check_unit(const struct step_env *env, const struct step *step, unsigned timeout_ms,
		      char *why, size_t len)
{
	int rc = systemctl(env, "is-active", step->what, timeout_ms, why, len);

	if (rc == -EIO)		/* it has answered: not active */
		rc = -ENOENT;
	if (rc == -ENOENT)
		next(why, len, "see systemctl status");
	return rc;
}

/* ---- all -------------------------------------------------------------------- */

int step_do(const struct step_env *env, const struct step *step, struct announce **ret_an, char *why,
	    size_t len)
{
	*ret_an = NULL;
	why[0] = '\0';
	switch (step->kind) {
	case STEP_MOUNT:
		return do_mount(env, step, why, len);
	case STEP_EXEC:
		return do_exec(env, step, why, len);
	case STEP_UNIT:
		return do_unit(env, step, why, len);
	case STEP_ADDRESS:
		return service_addr_up(step->what, ret_an, why, len);
	}
	return -EINVAL;
}

int step_undo(const struct step_env *env, const struct step *step, char *why, size_t len)
{
	why[0] = '\0';
	switch (step->kind) {
	case STEP_MOUNT:
		return undo_mount(env, step, why, len);
	case STEP_EXEC:
		return undo_exec(env, step, why, len);
	case STEP_UNIT:
		return undo_unit(env, step, why, len);
	case STEP_ADDRESS:
		return step->found ? 0 : service_addr_down(step->what, why, len);
	}
	return -EINVAL;
}

int step_check(const struct step_env *env, const struct step *step, char *why, size_t len)
{
	unsigned ms = env->timeout_ms < CHECK_MS ? env->timeout_ms : CHECK_MS;
	int rc;

	why[0] = '\0';
	switch (step->kind) {
	case STEP_MOUNT:
		return check_mount(env, step, why, len);
	case STEP_EXEC:
		rc = run_exec(env, step, "check", ms, why, len);
		return rc == -EIO ? -ENOENT : rc;
	case STEP_UNIT:
		return check_unit(env, step, ms, why, len);
	case STEP_ADDRESS:
		rc = service_addr_there(step->what, NULL);
		if (rc == -ENOENT)
			snprintf(why, len, "is not there any more");
		return rc;
	}
	return -EINVAL;
}
