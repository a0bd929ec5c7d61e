// SPDX-License-Identifier: GPL-2.0
#include "daemon/store/stepper.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/control/history.h"
#include "daemon/group/state_json.h"
#include "daemon/log.h"
#include "daemon/net/service_addr.h"
#include "daemon/safefile.h"
#include "daemon/store/step_run.h"

#define CHECK_MS	10000
#define FORCE_MS	10000		/* a step down may take that long when the gate is shut */
#define FILE_MAX	65536

struct stepper {
	char *store, *device, *member, *file, *path;
	struct history *history;
	unsigned check_ms;
	uint32_t retry_ms;
	char boot[40];
	pthread_t thread;
	unsigned refs;			/* atomic */

	pthread_mutex_t lock;
	pthread_cond_t cond;		/* a new goal, a step ended, stop */
	struct steps s;			/* s.up: changed by the thread alone */
	struct stepper_goal goal;	/* its texts are below */
	char mount_point[GROUP_PATH_MAX + 1], reason[64], hold_reason[64];
	bool have_goal, held, stop;
	bool verify;			/* s.up comes from the file */
	bool busy;
	char running[300];
	char lost[STEP_WHY_MAX];	/* what does not stand any more */
	struct attempt attempt;		/* outlives the role: others ask for it */
	uint32_t failed_plan;
	int cancel;			/* eventfd */

	/* the thread's own */
	struct announce *announce[STEPS_ADDRESSES_MAX];
	struct json_object *timeline;	/* of acts since the last report; NULL: none */
	uint64_t begin_ms, check_at;
	enum steps_state reported;
};

/* ---- the file ------------------------------------------------------------------ */

static void read_boot(char ret[40])
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f || !fgets(ret, 40, f))
		strcpy(ret, "unknown");
	ret[strcspn(ret, "\n")] = '\0';
	if (f)
		fclose(f);
}

/* A service that cannot be remembered is better than none: go on, and say it. */
static void save(struct stepper *sp)
{
	struct json_object *o;
	const char *text;
	int rc;

	if (!sp->s.up.nr) {
		if (unlink(sp->file) && errno != ENOENT)
			log_err("store=%s file=%s err=\"%m\"", sp->store, sp->file);
		return;
	}
	o = steps_up_to_obj(&sp->s, sp->boot);
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	rc = safefile_replace(sp->file, 0600, text, strlen(text));
	if (rc)
		log_err("store=%s file=%s msg=\"what is up is not remembered\" err=\"%s\"",
			sp->store, sp->file, strerror(-rc));
	json_object_put(o);
}

static void load(struct stepper *sp)
{
	int fd = open(sp->file, O_RDONLY | O_CLOEXEC), rc = 0;
	char *buf = malloc(FILE_MAX), err[160] = "";
	struct json_object *o = NULL;
	ssize_t n = -1;

	if (fd >= 0 && buf)
		n = read(fd, buf, FILE_MAX);
	if (n >= 0) {
		o = json_parse_strict(buf, (size_t)n, err, sizeof(err));
		rc = o ? steps_up_from_obj(o, sp->boot, &sp->s) : -EINVAL;
	}
	if (rc)
		log_err("store=%s file=%s msg=\"not valid, what is up is not known\" err=\"%s\"",
			sp->store, sp->file, err);
	sp->verify = sp->s.up.nr;
	json_object_put(o);
	free(buf);
	if (fd >= 0)
		close(fd);
}

bool stepper_left(const char *file)
{
	return !access(file, F_OK);
}

/* ---- neighbours ------------------------------------------------------------------ */

static void keep_announce(struct stepper *sp, struct announce *an)
{
	for (int i = 0; an && i < STEPS_ADDRESSES_MAX; i++) {
		if (sp->announce[i])
			continue;
		sp->announce[i] = an;
		return;
	}
	announce_free(an);
}

static void hush(struct stepper *sp)
{
	for (int i = 0; i < STEPS_ADDRESSES_MAX; i++) {
		announce_free(sp->announce[i]);
		sp->announce[i] = NULL;
	}
}

/* In how many ms the next is due, at most `ms`. */
static unsigned tick_announces(struct stepper *sp, unsigned ms)
{
	for (int i = 0; i < STEPS_ADDRESSES_MAX; i++) {
		unsigned due = sp->announce[i] ? announce_tick(sp->announce[i]) : ms;

		if (!due) {
			announce_free(sp->announce[i]);
			sp->announce[i] = NULL;
		} else if (due < ms) {
			ms = due;
		}
	}
	return ms;
}

/* ---- one act ----------------------------------------------------------------------- */

static void note_act(struct stepper *sp, enum steps_act act, const struct step *step, uint64_t begin,
		     int rc, const char *why)
{
	struct json_object *o = json_object_new_object();

	if (!sp->timeline)
		sp->timeline = json_object_new_array();
	json_object_object_add(o, "step", json_object_new_string(step_kind_name(step->kind)));
	json_object_object_add(o, "what", json_object_new_string(step->what));
	json_object_object_add(o, "way", json_object_new_string(act == STEPS_DO ? "up" : "down"));
	json_object_object_add(o, "at_ms", json_object_new_int64((int64_t)(begin - sp->begin_ms)));
	json_object_object_add(o, "ms", json_object_new_int64((int64_t)(now_ms() - begin)));
	if (rc)
		json_object_object_add(o, "error", json_object_new_string(why[0] ? why : strerror(-rc)));
	json_object_array_add(sp->timeline, o);
	if (rc && rc != -ECANCELED)
		log_err("store=%s step=%s what=\"%s\" way=%s err=\"%s\"", sp->store,
			step_kind_name(step->kind), step->what, act == STEPS_DO ? "up" : "down",
			why[0] ? why : strerror(-rc));
	else
		log_info("store=%s step=%s what=\"%s\" way=%s ms=%llu%s", sp->store,
			 step_kind_name(step->kind), step->what, act == STEPS_DO ? "up" : "down",
			 (unsigned long long)(now_ms() - begin), rc ? " msg=cancelled" : "");
}

/* Lock held; for the act that begins now. */
static struct step_env env_of(struct stepper *sp, char reason[64], char mount_point[GROUP_PATH_MAX + 1])
{
	struct step_env env = {
		.store = sp->store, .member = sp->member, .device = sp->device, .path = sp->path,
		.reason = reason, .mount_point = mount_point, .cancel_fd = sp->cancel,
		.epoch = sp->s.epoch, .force = sp->s.force,
		.timeout_ms = sp->goal.timeout_ms ? sp->goal.timeout_ms : STEP_TIMEOUT_MS,
	};
	eventfd_t ignored;

	strcpy(reason, sp->held && !sp->s.force ? sp->hold_reason : sp->reason);
	strcpy(mount_point, sp->mount_point);
	if (env.force && env.timeout_ms > FORCE_MS)
		env.timeout_ms = FORCE_MS;
	eventfd_read(sp->cancel, &ignored);	/* it was for what ran before */
	return env;
}

/* Lock held, and let go of meanwhile. */
static void perform(struct stepper *sp, enum steps_act act, unsigned index)
{
	char why[STEP_WHY_MAX] = "", reason[64], mount_point[GROUP_PATH_MAX + 1];
	struct step step = act == STEPS_DO ? sp->s.want.step[index] : sp->s.up.step[index];
	struct announce *an = NULL;
	struct step_env env;
	uint64_t begin = now_ms();
	bool ours = false, found, was_failed;
	int rc;

	found = act == STEPS_DO && step.kind == STEP_ADDRESS &&
		!service_addr_there(step.what, &ours) && !ours;
	if (act == STEPS_DO)
		steps_begun(&sp->s, index, found);
	env = env_of(sp, reason, mount_point);
	snprintf(sp->running, sizeof(sp->running), "%s %s", step_kind_name(step.kind), step.what);
	sp->busy = true;
	if (!sp->timeline)
		sp->begin_ms = begin;
	pthread_mutex_unlock(&sp->lock);

	if (act == STEPS_DO) {
		save(sp);
		rc = step_do(&env, &step, &an, why, sizeof(why));
		keep_announce(sp, an);
	} else {
		if (step.kind == STEP_ADDRESS)
			hush(sp);
		rc = step_undo(&env, &step, why, sizeof(why));
	}
	note_act(sp, act, &step, begin, rc, why);

	pthread_mutex_lock(&sp->lock);
	was_failed = sp->s.up_failed;
	steps_ended(&sp->s, act, &step, rc, why[0] ? why : strerror(-rc));
	if (sp->s.up_failed && !was_failed) {
		attempt_failed(&sp->attempt, sp->retry_ms, now_ms());
		sp->failed_plan = steps_plan_crc(&sp->s.want);
	}
	sp->running[0] = '\0';
	sp->busy = false;
	pthread_mutex_unlock(&sp->lock);
	save(sp);
	pthread_mutex_lock(&sp->lock);
	pthread_cond_broadcast(&sp->cond);
}

/* ---- what is up, is it still? ---------------------------------------------------------- */

/* Lock held, and let go of meanwhile. first: what does not stand is to be done again. */
static void check(struct stepper *sp, bool first)
{
	char why[STEP_WHY_MAX], reason[64], mount_point[GROUP_PATH_MAX + 1], lost[STEP_WHY_MAX] = "";
	struct step_env env = env_of(sp, reason, mount_point);
	struct step step;
	int rc;

	sp->busy = true;
	for (unsigned i = 0; i < sp->s.up.nr && !sp->stop && sp->s.goal_up; i++) {
		step = sp->s.up.step[i];
		pthread_mutex_unlock(&sp->lock);
		rc = step_check(&env, &step, why, sizeof(why));
		pthread_mutex_lock(&sp->lock);
		if (rc != -ENOENT)
			continue;
		if (!lost[0])
			snprintf(lost, sizeof(lost), "%s %.100s %.250s", step_kind_name(step.kind),
				 step.what, why);
		if (first || step.kind == STEP_ADDRESS)
			steps_gone(&sp->s, i--);
	}
	if (first)
		lost[0] = '\0';
	if (lost[0] && strcmp(lost, sp->lost)) {
		log_warn("store=%s msg=\"step lost\" err=\"%s\"", sp->store, lost);
		history_add(sp->history, "step-lost", sp->store, NULL, "%s", lost);
	}
	strcpy(sp->lost, lost);
	sp->check_at = now_ms() + sp->check_ms;
	sp->busy = false;
	pthread_cond_broadcast(&sp->cond);
}

/* ---- the thread -------------------------------------------------------------------------- */

/* Lock held: nothing is left to do. Tell how it went, if anything was done. */
static void report(struct stepper *sp)
{
	enum steps_state state = steps_state(&sp->s);
	struct json_object *fields;
	const char *kind;

	if (!sp->timeline)
		return;
	fields = json_object_new_object();
	json_object_object_add(fields, "epoch", json_object_new_int64(sp->s.epoch));
	json_object_object_add(fields, "reason", json_object_new_string(
			       sp->held ? sp->hold_reason : sp->reason));
	json_object_object_add(fields, "ms", json_object_new_int64((int64_t)(now_ms() - sp->begin_ms)));
	json_object_object_add(fields, "steps", sp->timeline);
	if (sp->s.error[0])
		json_object_object_add(fields, "error", json_object_new_string(sp->s.error));
	sp->timeline = NULL;
	kind = sp->s.up_failed || sp->s.down_failed ? "step-failed" :
	       state != STEPS_MOUNTED ? "dismount" :
	       sp->reported != STEPS_MOUNTED ? "mount" : "address";
	sp->reported = state;
	if (state == STEPS_MOUNTED && sp->s.goal_up)
		attempt_clear(&sp->attempt);
	log_notice("store=%s epoch=%u steps=%s reason=%s%s%s%s", sp->store, sp->s.epoch,
		   steps_state_name(state), sp->held ? sp->hold_reason : sp->reason,
		   sp->s.error[0] ? " err=\"" : "", sp->s.error, sp->s.error[0] ? "\"" : "");
	history_add(sp->history, kind, sp->store, fields, "%s%s%s", steps_state_name(state),
		    sp->s.error[0] ? ": " : "", sp->s.error);
	pthread_cond_broadcast(&sp->cond);
}

/* Lock held: until there may be something to do. */
static void rest(struct stepper *sp)
{
	struct timespec until;
	uint64_t now = now_ms();
	unsigned ms;

	if (sp->s.goal_up && sp->s.up.nr && now >= sp->check_at) {
		check(sp, false);
		return;
	}
	ms = sp->s.goal_up && sp->s.up.nr ? (unsigned)(sp->check_at - now) : sp->check_ms;
	ms = tick_announces(sp, ms);
	until = clock_after_ms(ms);
	pthread_cond_timedwait(&sp->cond, &sp->lock, &until);
}

static void *stepper_main(void *arg)
{
	struct stepper *sp = arg;
	enum steps_act act;
	unsigned index;

	pthread_mutex_lock(&sp->lock);
	while (!sp->stop) {
		if (sp->have_goal && sp->verify && sp->s.goal_up) {
			sp->verify = false;
			check(sp, true);
			continue;
		}
		act = sp->have_goal ? steps_next(&sp->s, &index) : STEPS_REST;
		if (act != STEPS_REST) {
			perform(sp, act, index);
			continue;
		}
		report(sp);
		rest(sp);
	}
	pthread_mutex_unlock(&sp->lock);
	return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void destroy(struct stepper *sp)
{
	hush(sp);
	json_object_put(sp->timeline);
	if (sp->cancel >= 0)
		close(sp->cancel);
	pthread_mutex_destroy(&sp->lock);
	pthread_cond_destroy(&sp->cond);
	free(sp->store);
	free(sp->device);
	free(sp->member);
	free(sp->file);
	free(sp->path);
	free(sp);
}

int stepper_create(const struct stepper_conf *conf, struct stepper **ret)
{
	struct stepper *sp = calloc(1, sizeof(*sp));
	pthread_condattr_t attr;
	char dir[400], *slash;
	int rc = 0;

	if (!sp)
		return -ENOMEM;
	sp->store = strdup(conf->store);
	sp->device = strdup(conf->device);
	sp->member = strdup(conf->member);
	sp->file = strdup(conf->file);
	sp->path = conf->path ? strdup(conf->path) : NULL;
	sp->history = conf->history;
	sp->check_ms = conf->check_ms ? conf->check_ms : CHECK_MS;
	sp->retry_ms = conf->retry_ms;
	sp->refs = 1;
	sp->cancel = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&sp->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&sp->cond, &attr);
	pthread_condattr_destroy(&attr);
	if (!sp->store || !sp->device || !sp->member || !sp->file || sp->cancel < 0)
		rc = -ENOMEM;
	if (!rc) {
		snprintf(dir, sizeof(dir), "%s", sp->file);
		slash = strrchr(dir, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(dir, 0700) && errno != EEXIST)
			log_warn("store=%s dir=%s err=\"%m\"", sp->store, dir);
		read_boot(sp->boot);
		load(sp);
		rc = -pthread_create(&sp->thread, NULL, stepper_main, sp);
	}
	if (rc) {
		destroy(sp);
		return rc;
	}
	*ret = sp;
	return 0;
}

struct stepper *stepper_ref(struct stepper *sp)
{
	__atomic_fetch_add(&sp->refs, 1, __ATOMIC_RELAXED);
	return sp;
}

void stepper_put(struct stepper *sp)
{
	if (!sp || __atomic_sub_fetch(&sp->refs, 1, __ATOMIC_ACQ_REL))
		return;
	pthread_mutex_lock(&sp->lock);
	sp->stop = true;
	eventfd_write(sp->cancel, 1);
	pthread_cond_broadcast(&sp->cond);
	pthread_mutex_unlock(&sp->lock);
	pthread_join(sp->thread, NULL);
	destroy(sp);
}

/* ---- the goal -------------------------------------------------------------------------------- */

static bool same_plan(const struct steps_plan *a, const struct steps_plan *b)
{
	return a->nr == b->nr && !memcmp(a->step, b->step, a->nr * sizeof(a->step[0]));
}

/* Lock held. What runs ends at once where it goes the wrong way, or too slowly. */
static void apply(struct stepper *sp, const struct steps_plan *plan, bool again)
{
	bool up = sp->goal.up && !sp->held, was_up = sp->s.goal_up, was_force = sp->s.force;

	steps_goal(&sp->s, plan, up, sp->goal.force, sp->goal.epoch, again);
	if (sp->busy && ((was_up && !up) || (sp->goal.force && !was_force)))
		eventfd_write(sp->cancel, 1);
	if (!up)
		sp->lost[0] = '\0';
	pthread_cond_broadcast(&sp->cond);
}

void stepper_set(struct stepper *sp, const struct stepper_goal *goal)
{
	bool again;

	pthread_mutex_lock(&sp->lock);
	/* Whoever mends the steps of a store that failed wants them to be tried. */
	again = sp->s.up_failed && !same_plan(goal->plan, &sp->s.want);
	if (again)
		attempt_clear(&sp->attempt);
	if (goal->up != sp->goal.up || goal->force != sp->goal.force ||
	    goal->epoch != sp->goal.epoch || !sp->have_goal)
		snprintf(sp->reason, sizeof(sp->reason), "%s", goal->reason);
	snprintf(sp->mount_point, sizeof(sp->mount_point), "%s", goal->mount_point);
	sp->goal = *goal;
	sp->have_goal = true;
	apply(sp, goal->plan, again);
	pthread_mutex_unlock(&sp->lock);
}

void stepper_hold(struct stepper *sp, const char *reason)
{
	pthread_mutex_lock(&sp->lock);
	sp->held = true;
	snprintf(sp->hold_reason, sizeof(sp->hold_reason), "%s", reason);
	apply(sp, NULL, true);
	pthread_mutex_unlock(&sp->lock);
}

void stepper_release(struct stepper *sp)
{
	pthread_mutex_lock(&sp->lock);
	if (sp->held) {
		sp->held = false;
		apply(sp, NULL, false);
	}
	pthread_mutex_unlock(&sp->lock);
}

void stepper_retry(struct stepper *sp, bool forget)
{
	pthread_mutex_lock(&sp->lock);
	if (forget)
		attempt_clear(&sp->attempt);
	if (sp->s.up_failed || sp->s.down_failed)
		apply(sp, NULL, true);
	pthread_mutex_unlock(&sp->lock);
}

/* ---- looking ---------------------------------------------------------------------------------- */

/* Lock held. */
static bool settled(const struct stepper *sp)
{
	unsigned index;

	return !sp->busy && !(sp->verify && sp->s.goal_up) &&
	       steps_next(&sp->s, &index) == STEPS_REST;
}

int stepper_wait(struct stepper *sp, bool up, unsigned timeout_ms, char *err, size_t errlen)
{
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000 + 1;
	pthread_mutex_lock(&sp->lock);
	while (!rc && !settled(sp))
		rc = -pthread_cond_timedwait(&sp->cond, &sp->lock, &until);
	if (rc)
		snprintf(err, errlen, "%s is still under way", sp->running[0] ? sp->running : "a step");
	else if (up ? steps_state(&sp->s) != STEPS_MOUNTED : sp->s.up.nr) {
		rc = -ENOTRECOVERABLE;
		snprintf(err, errlen, "%s", sp->s.error[0] ? sp->s.error : up ? "it is not to be mounted" :
			 "it is to be mounted");
	}
	pthread_mutex_unlock(&sp->lock);
	return rc;
}

void stepper_status(struct stepper *sp, struct stepper_status *ret)
{
	pthread_mutex_lock(&sp->lock);
	ret->state = steps_state(&sp->s);
	ret->failed = sp->s.goal_up && sp->s.up_failed;
	ret->epoch = sp->s.epoch;
	ret->failures = sp->attempt.failures;
	ret->retry_ms = attempt_left_ms(&sp->attempt, now_ms());
	ret->failed_plan = sp->failed_plan;
	strcpy(ret->running, sp->running);
	snprintf(ret->error, sizeof(ret->error), "%s", sp->s.error[0] ? sp->s.error : sp->lost);
	pthread_mutex_unlock(&sp->lock);
}

bool stepper_is_down(struct stepper *sp)
{
	bool down;

	pthread_mutex_lock(&sp->lock);
	down = !sp->s.up.nr && !sp->busy;
	pthread_mutex_unlock(&sp->lock);
	return down;
}
