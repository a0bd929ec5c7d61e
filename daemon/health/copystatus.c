// SPDX-License-Identifier: GPL-2.0
#include "daemon/health/copystatus.h"

#include <errno.h>
#include <string.h>

static const char *const names[COPY_STATUSES] = {
	[COPY_MOUNTED] = "Mounted",
	[COPY_DISMOUNTED] = "Dismounted",
	[COPY_MOUNTING] = "Mounting",
	[COPY_DISMOUNTING] = "Dismounting",
	[COPY_HEALTHY] = "Healthy",
	[COPY_INITIALIZING] = "Initializing",
	[COPY_RESYNCHRONIZING] = "Resynchronizing",
	[COPY_SEEDING] = "Seeding",
	[COPY_SEEDING_SOURCE] = "SeedingSource",
	[COPY_SUSPENDED] = "Suspended",
	[COPY_FAILED] = "Failed",
	[COPY_FAILED_AND_SUSPENDED] = "FailedAndSuspended",
	[COPY_DISCONNECTED_AND_HEALTHY] = "DisconnectedAndHealthy",
	[COPY_DISCONNECTED_AND_RESYNCHRONIZING] = "DisconnectedAndResynchronizing",
	[COPY_SERVICE_DOWN] = "ServiceDown",
	[COPY_MISCONFIGURED] = "Misconfigured",
};

const char *copy_status_name(enum copy_status status)
{
	return status < COPY_STATUSES ? names[status] : "Unknown";
}

enum copy_status copy_status_parse(const char *name)
{
	enum copy_status s;

	for (s = 0; s < COPY_STATUSES; s++)
		if (!strcmp(names[s], name))
			break;
	return s;
}

bool copy_status_healthy(enum copy_status status)
{
	return status == COPY_HEALTHY || status == COPY_MOUNTED || status == COPY_SEEDING_SOURCE;
}

bool copy_error_unfit(int error)
{
	switch (-error) {
	case ENOENT:
	case ENOTDIR:
	case ENOTBLK:
	case ENODEV:
	case ENXIO:
	case EINVAL:
	case ERANGE:
	case EILSEQ:		/* the metadata is of another store */
	case EUCLEAN:		/* … or none of ours */
	case EPROTO:
	case EPROTONOSUPPORT:	/* the module, or the format, is another version */
		return true;
	default:
		return false;
	}
}

static enum copy_status stopped(const struct copy_view *v)
{
	if (v->error)
		return v->unfit ? COPY_MISCONFIGURED : COPY_FAILED;
	return v->active ? COPY_MOUNTING : COPY_INITIALIZING;
}

static enum copy_status active(const struct copy_view *v)
{
	if (v->tap_failed)
		return COPY_FAILED;
	if (v->seeds_others)
		return COPY_SEEDING_SOURCE;
	switch (v->steps) {
	case STEPS_MOUNTED: return COPY_MOUNTED;
	case STEPS_MOUNTING: return COPY_MOUNTING;
	case STEPS_DISMOUNTING: return COPY_DISMOUNTING;
	default: return COPY_DISMOUNTED;
	}
}

/* A copy of which nothing was heard: only its own member can say that it starts. */
static enum copy_status passive(const struct copy_view *v)
{
	switch (v->state) {
	case DAG_COPY_HEALTHY:
		return v->connected ? COPY_HEALTHY : COPY_DISCONNECTED_AND_HEALTHY;
	case DAG_COPY_RESYNCHRONIZING:
		return v->connected ? COPY_RESYNCHRONIZING : COPY_DISCONNECTED_AND_RESYNCHRONIZING;
	case DAG_COPY_SEEDING:
		return v->connected ? COPY_SEEDING : COPY_DISCONNECTED_AND_RESYNCHRONIZING;
	case DAG_COPY_FAILED:
		return COPY_FAILED;
	default:
		return v->connected || v->own ? COPY_INITIALIZING : COPY_SERVICE_DOWN;
	}
}

enum copy_status copy_status_of(const struct copy_view *v)
{
	if (!v->active && v->running && v->state == DAG_COPY_FAILED_SUSPENDED)
		return COPY_FAILED_AND_SUSPENDED;
	if (!v->active && (v->suspended || (v->running && v->state == DAG_COPY_SUSPENDED)))
		return COPY_SUSPENDED;
	if (!v->running)
		return stopped(v);
	return v->active ? active(v) : passive(v);
}
