// SPDX-License-Identifier: GPL-2.0
/* dagctl branch and log list, asked of two members whose log directories are real. */
#include <endian.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "daemon/log/branch.h"
#include "tests/lib/control_pair.h"
#include "tests/lib/logmake.h"

#define LSN0	(64ull * 5000)
#define SECTORS	2048

TestSuite(branch_rpc, .init = setup, .fini = teardown, .timeout = 90);

static char said[65536], log_dirs[3][300], name[BRANCH_NAME_BYTES];
static struct logmake m;
static uint64_t tail;

static int edit_dirs(struct group_store *st, void *ctx)
{
	for (uint32_t i = 0; i < st->nr_copies; i++)
		snprintf(st->copies[i].log_dir, sizeof(st->copies[i].log_dir), "%s",
			 log_dirs[i + 1]);
	return 0;
}

static bool has_dirs(struct group_state *gs)
{
	return !strcmp(gs->stores[0].copies[1].log_dir, log_dirs[2]);
}

/* node2 keeps a tail of two writes to one region. */
static void make_tail(void)
{
	struct engine *en = members[1].en;
	struct seglog_conf conf = { .seg_bytes = 4u << 20, .uuid = { 9, 9 } };
	struct seglog_ring ring;
	struct seglog *seglog;
	char err[256];

	make_store();
	for (int i = 1; i < 3; i++)
		snprintf(log_dirs[i], sizeof(log_dirs[i]), "%s/log%d", dir, i);
	cr_assert_eq(en->ops->txn_store(en, pg, 1, edit_dirs, NULL, err, sizeof(err)), 0, "%s", err);
	wait_state(2, has_dirs);
	conf.dir = log_dirs[2];
	logmake_init(&m, 8u << 20, LSN0);
	logmake_epoch(&m, 1);
	logmake_extent(&m, DAGTAP_REC_DATA, 0, 8, 1);
	tail = m.lsn;
	logmake_extent(&m, DAGTAP_REC_DATA, 64, 8, 2);
	logmake_extent(&m, DAGTAP_REC_DATA, 68, 8, 3);
	ring = logmake_ring(&m);
	cr_assert_eq(seglog_open(&conf, &seglog), 0);
	cr_assert_eq(seglog_reset(seglog, LSN0), 0);
	cr_assert_eq(seglog_append(seglog, &ring, LSN0, m.lsn), 0);
	cr_assert_eq(branch_keep(seglog, tail), 1);
	seglog_close(seglog);
	branch_name(&(struct branch){ .epoch = 1, .first_lsn = tail }, name);
}

static int dagctl(int i, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Exit status of dagctl, without a terminal; what it prints stands in `said`. */
static int dagctl(int i, const char *fmt, ...)
{
	char self[256], args[600], cmd[1300], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	int status;
	va_list ap;
	FILE *f;

	cr_assert_gt(n, 0);
	self[n] = '\0';
	for (int k = 0; k < 3; k++) {	/* BUILD/tests/unit/test_branch_rpc */
		slash = strrchr(self, '/');
		cr_assert_not_null(slash);
		*slash = '\0';
	}
	va_start(ap, fmt);
	vsnprintf(args, sizeof(args), fmt, ap);
	va_end(ap);
	snprintf(cmd, sizeof(cmd), "timeout 60 %s/dagctl --socket %s/control.sock %s 2>&1 </dev/null",
		 self, members[i].cf.run_dir, args);
	f = popen(cmd, "r");
	said[fread(said, 1, sizeof(said) - 1, f)] = '\0';
	status = pclose(f);
	cr_assert(WIFEXITED(status), "%s: %s", cmd, said);
	return WEXITSTATUS(status);
}

static void says(const char *text)
{
	cr_assert_not_null(strstr(said, text), "'%s' is not in: %s", text, said);
}

Test(branch_rpc, any_member_lists_them)
{
	make_tail();
	cr_assert_eq(dagctl(1, "branch list"), 0, "%s", said);
	says(name);
	says("node2");
	says("6 KiB in 1 region");
	cr_assert_eq(dagctl(1, "branch list pg --full"), 0, "%s", said);
	says("2 writes of 8 KiB");
	says("sector 64 + 12");
	cr_assert_eq(dagctl(2, "branch list pg --json"), 0, "%s", said);
	says("\"changed_bytes\": 6144");
	cr_assert_eq(dagctl(1, "branch list nosuch"), 1, "%s", said);
	says("no such store");
}

Test(branch_rpc, dropped_only_when_somebody_says_so)
{
	struct branch list[BRANCHES_MAX];

	make_tail();
	cr_assert_eq(dagctl(1, "branch drop pg %s", name), 1, "%s", said);
	says("--yes");
	cr_assert_eq(branch_list(log_dirs[2], list, BRANCHES_MAX), 1);
	cr_assert_eq(dagctl(1, "branch drop pg branch-7-64 --yes"), 1, "%s", said);
	cr_assert_eq(dagctl(1, "branch drop pg %s --member node1 --yes", name), 1, "%s", said);
	cr_assert_eq(dagctl(1, "branch drop pg ../../x --yes"), 1, "%s", said);
	cr_assert_eq(branch_list(log_dirs[2], list, BRANCHES_MAX), 1);
	cr_assert_eq(dagctl(1, "branch drop pg %s --yes", name), 0, "%s", said);
	says("dropped");
	cr_assert_eq(branch_list(log_dirs[2], list, BRANCHES_MAX), 0);
	cr_assert_eq(dagctl(1, "events list --kind branch-drop"), 0, "%s", said);
	says(name);
	says("node2");
}

Test(branch_rpc, a_name_is_no_path)
{
	char victim[100];

	snprintf(victim, sizeof(victim), "%s/victim", dir);
	cr_assert_eq(mkdir(victim, 0700), 0);
	make_tail();
	cr_assert_neq(ask(2, "branch.drop", "{\"store\":\"pg\",\"branch\":\"../victim\"}", NULL), 0);
	cr_assert_neq(ask(2, "branch.drop", "{\"store\":\"pg\",\"branch\":\".\"}", NULL), 0);
	cr_assert_neq(ask(2, "branch.drop", "{\"store\":\"pg\",\"branch\":\"branch-1-64/..\"}", NULL), 0);
	cr_assert_eq(rmdir(victim), 0);
}

Test(branch_rpc, its_member_reads_it)
{
	char file[400], more[400];
	uint8_t got[12 * 512], want[12 * 512];
	struct stat st;
	int fd;

	make_tail();
	cr_assert_eq(dagctl(1, "branch dump pg %s", name), 1, "%s", said);
	cr_assert_eq(dagctl(2, "branch dump pg %s", name), 0, "%s", said);
	says("data sector=64 sectors=8");
	snprintf(file, sizeof(file), "%s/tail.img", dir);
	cr_assert_eq(dagctl(2, "branch extract pg %s", name), 2, "%s", said);
	cr_assert_eq(dagctl(2, "branch extract pg %s --to %s", name, file), 0, "%s", said);
	says("a hole, not the store's content");
	fd = open(file, O_RDONLY);
	cr_assert_eq(fstat(fd, &st), 0);
	cr_assert_eq(st.st_size, SECTORS * 512);
	cr_assert_eq(pread(fd, got, sizeof(got), 64 * 512), sizeof(got));
	close(fd);
	logmake_copy(&m, tail + 64, want, 4 * 512);
	logmake_copy(&m, tail + 2 * 64 + 8 * 512, want + 4 * 512, 8 * 512);
	cr_assert_arr_eq(got, want, sizeof(got));
	cr_assert_eq(dagctl(2, "branch extract pg %s --to %s", name, file), 1, "%s", said);
	says("not there yet");
	/* over an image: only of the store's size, and only if somebody says so */
	snprintf(more, sizeof(more), "%s/small.img", dir);
	fd = open(more, O_RDWR | O_CREAT, 0600);
	close(fd);
	cr_assert_eq(dagctl(2, "branch extract pg %s --onto %s", name, file), 1, "%s", said);
	says("--yes");
	cr_assert_eq(dagctl(2, "branch extract pg %s --onto %s --yes", name, more), 1, "%s", said);
	says("has 0 bytes");
	cr_assert_eq(dagctl(2, "branch extract pg %s --onto %s --yes", name, file), 0, "%s", said);
	says("as it was");
}

Test(branch_rpc, log_list_tells_the_points)
{
	make_tail();
	/* the fake copies have no queues: nothing can be reached, and that is said */
	cr_assert_eq(dagctl(2, "log list pg"), 0, "%s", said);
	says("points: none here");
	cr_assert_eq(dagctl(2, "log list pg --json"), 0, "%s", said);
	says("\"points\": null");
	says("\"segments\"");
}
