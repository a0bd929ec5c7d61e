// SPDX-License-Identifier: GPL-2.0
/*
 * dagctl branch list|dump|extract|drop: the tails of former actives. list and drop
 * ask the daemon; dump and extract read the segments on this host themselves.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>

#include "daemon/log/branch_content.h"
#include "daemon/log/logdump.h"
#include "tools/client.h"
#include "tools/fmt.h"
#include "tools/verbs.h"

/* ---- list ---------------------------------------------------------------------- */

static void print_table(struct json_object *list)
{
	static const char *const head[] = { "STORE", "MEMBER", "BRANCH", "LOG", "WRITES", "CHANGED",
					    "ON DISK", "KEPT SINCE" };
	struct table *tb = table_new(8);

	table_row(tb, head);
	for (size_t i = 0; i < obj_len(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);
		char bytes[32], disk[32], writes[32] = "?", changed[96] = "?", size[32];

		fmt_bytes(obj_int(o, "bytes"), bytes);
		fmt_bytes(obj_int(o, "disk_bytes"), disk);
		if (obj_bool(o, "counted")) {
			fmt_bytes(obj_int(o, "changed_bytes"), size);
			snprintf(writes, sizeof(writes), "%lld", (long long)obj_int(o, "writes"));
			snprintf(changed, sizeof(changed), "%s in %lld region%s", size,
				 (long long)obj_int(o, "regions"),
				 obj_int(o, "regions") == 1 ? "" : "s");
		}
		table_row(tb, (const char *[]){ obj_str(o, "store"), obj_str(o, "member"),
			  obj_str(o, "branch"), bytes, writes, changed, disk, obj_str(o, "kept_time") });
	}
	table_print(tb, stdout);
}

static void print_one(struct json_object *o)
{
	struct json_object *ranges = obj_get(o, "ranges");
	char text[32];

	printf("%s\\%s %s\n", obj_str(o, "store"), obj_str(o, "member"), obj_str(o, "branch"));
	fmt_bytes(obj_int(o, "bytes"), text);
	printf("  %-12s epoch %lld, LSN %lld to %lld (%s)\n", "log", (long long)obj_int(o, "epoch"),
	       (long long)obj_int(o, "first_lsn"), (long long)obj_int(o, "end_lsn"), text);
	fmt_bytes(obj_int(o, "disk_bytes"), text);
	printf("  %-12s %s since %s\n", "on disk", text, obj_str(o, "kept_time"));
	if (!obj_bool(o, "counted")) {
		printf("  %-12s not counted in time, or damaged; dagctl branch dump on %s reads it\n",
		       "content", obj_str(o, "member"));
		return;
	}
	fmt_bytes(obj_int(o, "written_bytes"), text);
	printf("  %-12s %s to %s\n", "written", obj_str(o, "first_time"), obj_str(o, "last_time"));
	printf("  %-12s %lld records, %lld writes of %s\n", "content", (long long)obj_int(o, "records"),
	       (long long)obj_int(o, "writes"), text);
	fmt_bytes(obj_int(o, "changed_bytes"), text);
	printf("  %-12s %s in %lld regions, %lld ranges%s\n", "changed", text,
	       (long long)obj_int(o, "regions"), (long long)obj_int(o, "nr_ranges"),
	       obj_int(o, "nr_ranges") ? ":" : "");
	for (size_t i = 0; i < obj_len(ranges); i++) {
		struct json_object *e = json_object_array_get_idx(ranges, i);

		printf("    sector %lld + %lld\n", (long long)obj_int(e, "sector"),
		       (long long)obj_int(e, "sectors"));
	}
	if ((size_t)obj_int(o, "nr_ranges") > obj_len(ranges))
		printf("    and %lld more\n",
		       (long long)(obj_int(o, "nr_ranges") - (int64_t)obj_len(ranges)));
}

int cmd_branch_list(struct cmd *cmd)
{
	bool full = obj_bool(cmd->params, "full");
	struct json_object *res = NULL, *list, *silent;

	json_object_object_del(cmd->params, "full");
	if (client_call(cmd, "branch.list", cmd->params, &res))
		return EXIT_FAILURE;
	list = obj_get(res, "branches");
	silent = obj_get(res, "silent");
	if (cmd->json)
		print_json(res);
	else if (full)
		for (size_t i = 0; i < obj_len(list); i++)
			print_one(json_object_array_get_idx(list, i));
	else
		print_table(list);
	for (size_t i = 0; !cmd->json && i < obj_len(silent); i++)
		fprintf(stderr, "dagctl: member %s does not answer; what it keeps is missing\n",
			json_object_get_string(json_object_array_get_idx(silent, i)));
	json_object_put(res);
	return EXIT_SUCCESS;
}

/* ---- what it holds --------------------------------------------------------------- */

/* The branch that is named, and the log directory that it lies in. */
static int find_here(struct cmd *cmd, struct branch *ret, char *dir, size_t len)
{
	const char *store = obj_str(cmd->params, "store"), *name = obj_str(cmd->params, "branch");
	struct branch list[BRANCHES_MAX], want;
	unsigned n;

	if (branch_parse(name, &want)) {
		fail("branch %s: not the name of one; see dagctl branch list", name);
		return EXIT_USAGE;
	}
	if (log_dir_of(cmd, store, dir, len))
		return EXIT_FAILURE;
	n = branch_list(dir, list, BRANCHES_MAX);
	for (unsigned i = 0; i < n; i++) {
		if (list[i].epoch != want.epoch || list[i].first_lsn != want.first_lsn)
			continue;
		*ret = list[i];
		return 0;
	}
	return fail("store %s: no %s in %s; dagctl branch list %s says which member keeps it", store,
		    name, dir, store);
}

int cmd_branch_dump(struct cmd *cmd)
{
	bool end = obj_get(cmd->params, "to") != NULL;
	uint64_t to = end ? (uint64_t)obj_int(cmd->params, "to") : UINT64_MAX;
	char dir[4096], path[sizeof(dir) + BRANCH_NAME_BYTES], name[BRANCH_NAME_BYTES];
	struct branch b;
	int r = find_here(cmd, &b, dir, sizeof(dir));

	if (r)
		return r;
	branch_name(&b, name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	r = logdump_dir(path, stdout, cmd->json, obj_int(cmd->params, "from"), to);
	return r ? fail("%s: %s", path, strerror(-r)) : EXIT_SUCCESS;
}

/* Bytes of the store, by the daemon. */
static int store_bytes(struct cmd *cmd, const char *store, uint64_t *ret)
{
	struct json_object *params = json_object_new_object(), *st = NULL;
	int r;

	json_object_object_add(params, "store", json_object_new_string(store));
	r = client_call(cmd, "store.show", params, &st);
	*ret = r ? 0 : (uint64_t)obj_int(st, "bytes");
	json_object_put(params);
	json_object_put(st);
	return r;
}

static int open_new(const char *path, uint64_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return -fail("%s: %s; name a file that is not there yet", path, strerror(errno));
	if (ftruncate(fd, bytes)) {
		fail("%s: %s", path, strerror(errno));
		close(fd);
		unlink(path);
		return -EXIT_FAILURE;
	}
	return fd;
}

/* An image of just that size; a device that is in use is refused by the kernel. */
static int open_image(const char *path, uint64_t bytes)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	uint64_t have;

	if (fd >= 0 && !fstat(fd, &st) && S_ISBLK(st.st_mode)) {
		close(fd);
		fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
	}
	if (fd < 0)
		return -fail("%s: %s", path, strerror(errno));
	if (fstat(fd, &st)) {
		fail("%s: %s", path, strerror(errno));
		close(fd);
		return -EXIT_FAILURE;
	}
	have = st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &have))
		have = 0;
	if (have != bytes) {
		fail("%s: has %llu bytes, the store %llu; it must be an image of the store", path,
		     (unsigned long long)have, (unsigned long long)bytes);
		close(fd);
		return -EXIT_FAILURE;
	}
	return fd;
}

static int open_target(struct cmd *cmd, const struct branch *b, uint64_t bytes, char *ret_path,
		       size_t len)
{
	const char *to = obj_str(cmd->params, "to"), *onto = obj_str(cmd->params, "onto");
	char text[1024];

	if (!*to == !*onto) {
		fail("branch extract: either --to FILE or --onto IMAGE");
		return -EXIT_USAGE;
	}
	snprintf(ret_path, len, "%s", *to ? to : onto);
	if (*to)
		return open_new(to, bytes);
	snprintf(text, sizeof(text), "This writes over %s what the branch wrote. It becomes what the former "
		 "active had only if it is the store as it was at LSN %llu.", onto,
		 (unsigned long long)b->first_lsn);
	return agreed(cmd, text) ? open_image(onto, bytes) : -EXIT_FAILURE;
}

int cmd_branch_extract(struct cmd *cmd)
{
	const char *store = obj_str(cmd->params, "store");
	char dir[4096], path[4096], size[32];
	struct branch_content c;
	struct branch b;
	uint64_t bytes;
	int r = find_here(cmd, &b, dir, sizeof(dir)), fd;

	if (r)
		return r;
	if (store_bytes(cmd, store, &bytes))
		return EXIT_FAILURE;
	fd = open_target(cmd, &b, bytes, path, sizeof(path));
	if (fd < 0)
		return -fd;
	r = branch_extract(dir, &b, fd, bytes / 512);
	close(fd);
	if (r)
		return fail("%s: %s: %s; what comes before is written", path,
			    obj_str(cmd->params, "branch"),
			    r == -EBADMSG ? "a record is damaged" : strerror(-r));
	branch_content(dir, &b, 0, &c);
	fmt_bytes(extents_sectors(&c.changed) * 512, size);
	fprintf(stderr, "%s: %s in %zu ranges; all else is %s\n", path, size, c.changed.nr,
		*obj_str(cmd->params, "to") ? "a hole, not the store's content" : "as it was");
	branch_content_free(&c);
	return EXIT_SUCCESS;
}

/* ---- drop ------------------------------------------------------------------------ */

/* Which member keeps it, unless that was said; *ret_o: what is known of it. */
static int find_member(struct cmd *cmd, struct json_object *res, struct json_object **ret_o)
{
	const char *member = obj_str(cmd->params, "member"), *name = obj_str(cmd->params, "branch");
	struct json_object *list = obj_get(res, "branches");
	int found = 0;

	for (size_t i = 0; i < obj_len(list); i++) {
		struct json_object *o = json_object_array_get_idx(list, i);

		if (strcmp(obj_str(o, "branch"), name) || (*member && strcmp(obj_str(o, "member"), member)))
			continue;
		*ret_o = o;
		found++;
	}
	if (!found)
		return fail("store %s: no member that answers keeps %s; see dagctl branch list",
			    obj_str(cmd->params, "store"), name);
	if (found > 1)
		return fail("store %s: several members keep a %s; say which with --member",
			    obj_str(cmd->params, "store"), name);
	return 0;
}

int cmd_branch_drop(struct cmd *cmd)
{
	struct json_object *params = json_object_new_object(), *res = NULL, *o = NULL, *done = NULL;
	char text[512], disk[32], member[128];
	int r;

	json_object_object_add(params, "store", json_object_get(obj_get(cmd->params, "store")));
	r = client_call(cmd, "branch.list", params, &res) ? EXIT_FAILURE : find_member(cmd, res, &o);
	if (!r) {
		fmt_bytes(obj_int(o, "disk_bytes"), disk);
		snprintf(member, sizeof(member), "%s", obj_str(o, "member"));
		snprintf(text, sizeof(text), "This removes %s of store %s on %s for good: %s, %lld writes that "
			 "no copy of the store has.", obj_str(o, "branch"), obj_str(o, "store"), member,
			 disk, (long long)obj_int(o, "writes"));
		json_object_object_add(cmd->params, "member", json_object_new_string(member));
		r = agreed(cmd, text) ? 0 : EXIT_FAILURE;
	}
	if (!r && client_call(cmd, "branch.drop", cmd->params, &done))
		r = EXIT_FAILURE;
	if (!r && cmd->json)
		print_json(done);
	else if (!r)
		printf("store %s: %s on %s dropped, %s freed\n", obj_str(cmd->params, "store"),
		       obj_str(done, "branch"), member, disk);
	json_object_put(params);
	json_object_put(res);
	json_object_put(done);
	return r;
}
