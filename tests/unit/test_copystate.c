// SPDX-License-Identifier: GPL-2.0
/* What a copy remembers: codec, torn and strange blocks, threads. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/store/copystate.h"
#include "include/dag/crc32c.h"
#include "tests/lib/tmpdir.h"

static const uint8_t uuid[16] = "copy of a store";
static char *dir;
static const char *path;
static struct copystate *cs;

static void set_up(void)
{
	log_set_level(LOG_LV_ERR - 1);
	dir = tmpdir_make(NULL);
	path = strdup(tmpdir_path(dir, "state"));
}

static void tear_down(void)
{
	copystate_close(cs);
	free((char *)path);
	tmpdir_remove(dir);
}

TestSuite(copystate, .init = set_up, .fini = tear_down);

static struct copystate_data sample(uint64_t version)
{
	struct copystate_data d = {
		.version = version, .promised_epoch = 7, .suspended = true,
		.failed_suspended = true, .replayed_lsn = 64 * 9, .replayed_crc = 0xabcdef01,
		.inconsistent_until = 128 * 9, .seed = { 1, 2, 3 }, .seed_begin_lsn = 4,
		.seed_end_lsn = 5, .seed_hold_lsn = 6, .bits_since_lsn = 11, .gap_lsn = 12,
		.have_image = true, .branch = true, .branch_id = 6,
		.nr_history = COPYSTATE_HISTORY_MAX,
	};

	memcpy(d.uuid, uuid, 16);
	for (unsigned i = 0; i < d.nr_history; i++)
		d.history[i] = (struct copystate_epoch){ .epoch = i + 1, .first_lsn = i * 640 };
	memset(d.comment, 'x', COPYSTATE_COMMENT_MAX);
	return d;
}

static void same(const struct copystate_data *a, const struct copystate_data *b)
{
	uint8_t x[COPYSTATE_BLOCK], y[COPYSTATE_BLOCK];

	copystate_encode(a, x);
	copystate_encode(b, y);
	cr_assert_arr_eq(x, y, COPYSTATE_BLOCK);
}

Test(copystate, codec_round_trip)
{
	struct copystate_data d = sample(3), e;
	uint8_t b[COPYSTATE_BLOCK];

	copystate_encode(&d, b);
	cr_assert_eq(copystate_decode(b, uuid, &e), 0);
	same(&d, &e);
	cr_assert_eq(e.seed_hold_lsn, 6);
	cr_assert_eq(e.bits_since_lsn, 11);
	cr_assert_eq(e.gap_lsn, 12);
	cr_assert_eq(strlen(e.comment), COPYSTATE_COMMENT_MAX);
	cr_assert(e.suspended && e.failed_suspended && e.have_image && !e.activation_blocked);
	cr_assert(e.branch && e.branch_id == 6);
	cr_assert_eq(copystate_decode(b, (const uint8_t *)"another store...", &e), -EUCLEAN);
}

/* One without a name would take any seed for its cure. */
Test(copystate, a_branch_has_a_name_and_an_image)
{
	struct copystate_data d = sample(3), e;
	uint8_t b[COPYSTATE_BLOCK];

	d.inconsistent_until = UINT64_MAX;
	cr_assert_not(copystate_former(&d));
	d.branch_id = 0;
	copystate_encode(&d, b);
	cr_assert_eq(copystate_decode(b, uuid, &e), -EBADMSG);
	d.branch_id = 1;
	d.have_image = false;
	copystate_encode(&d, b);
	cr_assert_eq(copystate_decode(b, uuid, &e), -EBADMSG);
	copystate_end_branch(&d);
	d.have_image = true;
	copystate_encode(&d, b);
	cr_assert_eq(copystate_decode(b, uuid, &e), 0);
	cr_assert(copystate_former(&e) && !e.branch_id);
}

Test(copystate, codec_refuses_damage)
{
	struct copystate_data d = sample(3), e;
	uint8_t b[COPYSTATE_BLOCK];

	copystate_encode(&d, b);
	for (size_t bit = 0; bit < sizeof(b) * 8; bit++) {
		int rc;

		if (bit / 8 >= 8 && bit / 8 < 12)	/* the format: below */
			continue;
		b[bit / 8] ^= 1 << bit % 8;
		rc = copystate_decode(b, uuid, &e);
		cr_assert_eq(rc, -EBADMSG, "bit %zu: %d", bit, rc);
		b[bit / 8] ^= 1 << bit % 8;
	}
	b[8]++;
	cr_assert_eq(copystate_decode(b, uuid, &e), -EPROTONOSUPPORT);
	d.history[5].epoch = 1;
	copystate_encode(&d, b);
	cr_assert_eq(copystate_decode(b, uuid, &e), -EBADMSG);
	d = sample(3);
	d.nr_history = COPYSTATE_HISTORY_MAX + 1;
	copystate_encode(&d, b);
	cr_assert_eq(copystate_decode(b, uuid, &e), -EBADMSG);
}

Test(copystate, pick)
{
	struct copystate_data d = sample(3), n = sample(4), e;
	uint8_t b[2][COPYSTATE_BLOCK];
	unsigned slot;

	copystate_encode(&d, b[0]);
	copystate_encode(&n, b[1]);
	cr_assert_eq(copystate_pick((const uint8_t(*)[COPYSTATE_BLOCK])b, uuid, &e, &slot), 0);
	cr_assert_eq(slot, 1);
	/* torn anywhere: the other one */
	for (size_t cut = 0; cut < COPYSTATE_BLOCK; cut += 8) {
		copystate_encode(&n, b[1]);
		memset(b[1] + cut, 0x77, COPYSTATE_BLOCK - cut);
		cr_assert_eq(copystate_pick((const uint8_t(*)[COPYSTATE_BLOCK])b, uuid, &e, &slot), 0);
		cr_assert_eq(slot, 0);
		cr_assert_eq(e.version, 3);
	}
	memset(b[0], 0, COPYSTATE_BLOCK);
	cr_assert_eq(copystate_pick((const uint8_t(*)[COPYSTATE_BLOCK])b, uuid, &e, &slot), -EBADMSG);
	copystate_encode(&n, b[0]);
	copystate_encode(&d, b[1]);
	b[1][8]++;
	cr_assert_eq(copystate_pick((const uint8_t(*)[COPYSTATE_BLOCK])b, uuid, &e, &slot),
		     -EPROTONOSUPPORT);
}

static void add_one(struct copystate_data *data, void *ctx)
{
	data->replayed_lsn += 64;
	data->uuid[0] = 0;		/* is not for edit() to change */
}

Test(copystate, file_keeps_what_was_updated)
{
	struct copystate_data d;

	cr_assert_eq(copystate_open(path, uuid, false, &cs), -ENOENT);
	cr_assert_eq(copystate_open(path, uuid, true, &cs), 0);
	for (int i = 1; i <= 5; i++) {
		cr_assert_eq(copystate_update(cs, add_one, NULL), 0);
		copystate_close(cs);
		cs = NULL;
		cr_assert_eq(copystate_open(path, uuid, false, &cs), 0);
		copystate_get(cs, &d);
		cr_assert_eq(d.replayed_lsn, i * 64);
		cr_assert_eq(d.version, i + 1);
	}
	copystate_close(cs);
	cs = NULL;
	cr_assert_eq(copystate_open(path, (const uint8_t *)"another store...", true, &cs), -EUCLEAN);
}

Test(copystate, damaged_file_is_not_made_anew)
{
	int fd, rc;

	cr_assert_eq(copystate_open(path, uuid, true, &cs), 0);
	copystate_close(cs);
	cs = NULL;
	fd = open(path, O_WRONLY);
	cr_assert_eq(ftruncate(fd, 20), 0);
	close(fd);
	rc = copystate_open(path, uuid, true, &cs);
	cr_assert_eq(rc, -EBADMSG, "%d", rc);
}

Test(copystate, failed_update_changes_nothing)
{
	struct rlimit lim = { 0, RLIM_INFINITY }, old;
	struct copystate_data d;

	cr_assert_eq(copystate_open(path, uuid, true, &cs), 0);
	cr_assert_eq(copystate_update(cs, add_one, NULL), 0);
	getrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &lim);
	cr_assert_eq(copystate_update(cs, add_one, NULL), -EFBIG);
	lim.rlim_cur = old.rlim_cur;
	setrlimit(RLIMIT_FSIZE, &lim);
	copystate_get(cs, &d);
	cr_assert_eq(d.replayed_lsn, 64);
	cr_assert_eq(copystate_update(cs, add_one, NULL), 0);
}

static void *updater(void *arg)
{
	for (int i = 0; i < 20; i++)
		if (copystate_update(cs, add_one, NULL))
			return (void *)1;
	return NULL;
}

Test(copystate, threads)
{
	struct copystate_data d;
	pthread_t t[3];
	void *bad;

	cr_assert_eq(copystate_open(path, uuid, true, &cs), 0);
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, updater, NULL);
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], &bad);
		cr_assert_null(bad);
	}
	copystate_get(cs, &d);
	cr_assert_eq(d.replayed_lsn, 60 * 64);
	cr_assert_eq(d.version, 61);
}
