// SPDX-License-Identifier: GPL-2.0
/*
 * The command line of dagctl: every verb of its table, every kind of option.
 * The table names functions that talk to the daemon; here they are empty.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "tools/cli.c"
#include "tools/fmt.c"
#include "tools/verbs.c"

#define EMPTY(name)	int name(struct cmd *cmd) { return 0; }
EMPTY(cmd_group_create) EMPTY(cmd_group_show) EMPTY(cmd_group_set) EMPTY(cmd_group_join)
EMPTY(cmd_member_add) EMPTY(cmd_member_list) EMPTY(cmd_member_remove)
EMPTY(cmd_witness_set) EMPTY(cmd_witness_show) EMPTY(cmd_witness_remove)
EMPTY(cmd_preflight)
EMPTY(cmd_network_list) EMPTY(cmd_network_set) EMPTY(cmd_network_rediscover)
EMPTY(cmd_network_status)
EMPTY(cmd_store_create) EMPTY(cmd_store_list) EMPTY(cmd_store_show) EMPTY(cmd_store_set)
EMPTY(cmd_store_move) EMPTY(cmd_store_remove) EMPTY(cmd_mark)
EMPTY(cmd_copy_add) EMPTY(cmd_copy_status) EMPTY(cmd_copy_suspend) EMPTY(cmd_copy_resume)
EMPTY(cmd_copy_remove) EMPTY(cmd_copy_seed) EMPTY(cmd_copy_set)
EMPTY(cmd_status) EMPTY(cmd_watch) EMPTY(cmd_test) EMPTY(cmd_metrics)
EMPTY(cmd_log_list) EMPTY(cmd_log_dump) EMPTY(cmd_log_verify)
EMPTY(cmd_events_list) EMPTY(cmd_events_follow)
EMPTY(cmd_group_redistribute) EMPTY(cmd_member_set) EMPTY(cmd_member_maintenance)
EMPTY(cmd_group_stop) EMPTY(cmd_group_start) EMPTY(cmd_group_restore)
EMPTY(cmd_store_mount) EMPTY(cmd_store_dismount)
EMPTY(cmd_copy_open) EMPTY(cmd_copy_close)
EMPTY(cmd_branch_list) EMPTY(cmd_branch_dump) EMPTY(cmd_branch_extract) EMPTY(cmd_branch_drop)

#define WORDS_MAX	32

static char err[256];

/* Split at spaces; find the verb and parse: cli_parse()'s answer, 1: no verb. */
static int parse(const char *line, struct cmd *cmd)
{
	static char copy[512];
	char *words[WORDS_MAX], **argv = words, *next = copy;
	const struct cli_verb *v;
	int argc = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	while (next && argc < WORDS_MAX)
		words[argc++] = strsep(&next, " ");
	memset(cmd, 0, sizeof(*cmd));
	err[0] = '\0';
	v = cli_find(verbs, &argc, &argv, cmd, err, sizeof(err));
	return v ? cli_parse(v, argc, argv, cmd, err, sizeof(err)) : 1;
}

static void expect(const char *line, const char *json)
{
	struct json_object *want = json_tokener_parse(json);
	struct cmd cmd;

	cr_assert_eq(parse(line, &cmd), 0, "%s: %s", line, err);
	cr_assert(json_object_equal(cmd.params, want), "%s: %s", line,
		  json_object_to_json_string(cmd.params));
	json_object_put(want);
	json_object_put(cmd.params);
}

static void refuse(const char *line, const char *reason)
{
	struct cmd cmd;

	cr_assert_neq(parse(line, &cmd), 0, "%s: accepted", line);
	cr_assert_not_null(strstr(err, reason), "%s: %s", line, err);
	json_object_put(cmd.params);
}

Test(cli, every_verb)
{
	expect("group create lab --address 10.0.0.1", "{\"name\":\"lab\",\"address\":\"10.0.0.1\"}");
	expect("group show", "{}");
	expect("group set --profile wan --lease 2s --heartbeat 100ms --dac off --encryption enabled",
	       "{\"profile\":\"wan\",\"lease_ms\":2000,\"heartbeat_ms\":100,\"dac\":\"off\","
	       "\"encryption\":\"enabled\"}");
	expect("group join --token-file /t", "{\"token_file\":\"/t\"}");
	expect("group join --token-file -", "{\"token_file\":\"-\"}");
	expect("member add n2 --address 10.0.0.2 --port 7 --site a --token-out /t",
	       "{\"name\":\"n2\",\"address\":\"10.0.0.2\",\"port\":7,\"site\":\"a\",\"token_out\":\"/t\"}");
	expect("member list", "{}");
	expect("member remove n2", "{\"name\":\"n2\"}");
	expect("store create pg --device /dev/vdb --meta-device /dev/vdc --log-dir /l --mode commit "
	       "--ack durable --min-in-sync 1 --late 5s --full-timeout 2s --segment-mib 32 --quota 10G "
	       "--ring-mib 64 --region-kib 128 --member n1 --force",
	       "{\"name\":\"pg\",\"device\":\"/dev/vdb\",\"meta_device\":\"/dev/vdc\",\"log_dir\":\"/l\","
	       "\"mode\":\"commit\",\"ack\":\"durable\",\"min_in_sync\":1,\"late_ms\":5000,"
	       "\"full_timeout_ms\":2000,\"segment_mib\":32,\"quota\":10737418240,\"ring_mib\":64,"
	       "\"region_kib\":128,\"member\":\"n1\",\"force\":true}");
	expect("preflight --device /dev/vdb --config /c", "{\"device\":\"/dev/vdb\",\"config\":\"/c\"}");
	expect("group join --force", "{\"force\":true}");
	expect("network list", "{}");
	expect("network set net-1 --rename gold --subnets 10.1.0.0/24,fd00::/64 --client off "
	       "--replication on --ignore off",
	       "{\"name\":\"net-1\",\"rename\":\"gold\",\"subnets\":\"10.1.0.0/24,fd00::/64\","
	       "\"client\":\"off\",\"replication\":\"on\",\"ignore\":\"off\"}");
	expect("network rediscover --auto", "{\"auto\":true}");
	expect("network status --member n2", "{\"member\":\"n2\"}");
	expect("store list", "{}");
	expect("store show pg", "{\"store\":\"pg\"}");
	expect("store set pg --mode=async --quota=0", "{\"store\":\"pg\",\"mode\":\"async\",\"quota\":0}");
	expect("store move pg --to n2 --timeout 5m --unmount",
	       "{\"store\":\"pg\",\"to\":\"n2\",\"timeout_ms\":300000,\"unmount\":true}");
	expect("store remove pg", "{\"store\":\"pg\"}");
	expect("copy add pg --member n2 --device /dev/vdb --preference 2",
	       "{\"store\":\"pg\",\"member\":\"n2\",\"device\":\"/dev/vdb\",\"preference\":2}");
	expect("copy status", "{}");
	expect("copy status pg --full", "{\"store\":\"pg\",\"full\":true}");
	expect("copy suspend pg --member n2 --comment x --activation-only",
	       "{\"store\":\"pg\",\"member\":\"n2\",\"comment\":\"x\",\"activation_only\":true}");
	expect("copy resume pg --member n2 --replication-only",
	       "{\"store\":\"pg\",\"member\":\"n2\",\"replication_only\":true}");
	expect("copy remove pg --member n2", "{\"store\":\"pg\",\"member\":\"n2\"}");
	expect("copy seed pg --member n2 --rate 1MiB/s", "{\"store\":\"pg\",\"member\":\"n2\",\"rate\":1048576}");
	expect("copy set pg --member n2 --whole off", "{\"store\":\"pg\",\"member\":\"n2\",\"whole\":\"off\"}");
	expect("store set pg --seed-rate none", "{\"store\":\"pg\",\"seed_rate\":0}");
	expect("copy seed pg --member n2 --wait", "{\"store\":\"pg\",\"member\":\"n2\",\"wait\":true}");
	expect("test", "{}");
	expect("test pg", "{\"store\":\"pg\"}");
	expect("metrics", "{}");
	expect("test --all", "{\"all\":true}");
	expect("status", "{}");
	expect("watch --interval 500ms --count 3", "{\"interval\":0.5,\"count\":3}");
	expect("log list pg", "{\"dir\":\"pg\"}");
	expect("log dump /d --from 64 --to 128", "{\"dir\":\"/d\",\"from\":64,\"to\":128}");
	expect("log verify /d", "{\"dir\":\"/d\"}");
	expect("mark pg before", "{\"store\":\"pg\",\"name\":\"before\"}");
	expect("mark pg -- --odd", "{\"store\":\"pg\",\"name\":\"--odd\"}");
	expect("events follow", "{}");
	expect("events follow --module --store pg", "{\"module\":true,\"store\":\"pg\"}");
	expect("events list --store pg --kind move --since 2h --max 5",
	       "{\"store\":\"pg\",\"kind\":\"move\",\"since\":\"2h\",\"max\":5}");
	expect("group redistribute --deviation 50 --dry-run", "{\"deviation\":50,\"dry_run\":true}");
	expect("member set n2 --site a --policy blocked --dial lossless --max-active 4 "
	       "--max-preferred-active 2", "{\"name\":\"n2\",\"site\":\"a\",\"policy\":\"blocked\","
	       "\"dial\":\"lossless\",\"max_active\":4,\"max_preferred_active\":2}");
	expect("member maintenance start", "{\"action\":\"start\"}");
	expect("member maintenance stop n2", "{\"action\":\"stop\",\"name\":\"n2\"}");
	expect("store mount pg", "{\"store\":\"pg\"}");
	expect("store dismount pg", "{\"store\":\"pg\"}");
	expect("store set pg --mount-point /srv/pg --fs-type ext4 --mount-options noatime --exec /h "
	       "--unit a.service --service-address eth0=10.0.0.9/24 --step-timeout 30s "
	       "--activate-at-start no --client-failover no",
	       "{\"store\":\"pg\",\"mount_point\":\"/srv/pg\",\"fs_type\":\"ext4\","
	       "\"mount_options\":\"noatime\",\"exec\":\"/h\",\"unit\":\"a.service\","
	       "\"addresses\":\"eth0=10.0.0.9/24\",\"step_timeout_ms\":30000,"
	       "\"activate_at_start\":\"no\",\"client_failover\":\"no\"}");
	expect("store move pg --to n2 --comment why --skip-health --skip-lag --skip-maximum-active",
	       "{\"store\":\"pg\",\"to\":\"n2\",\"comment\":\"why\",\"skip_health\":true,"
	       "\"skip_lag\":true,\"skip_maximum_active\":true}");
}

Test(cli, common_options)
{
	struct cmd cmd;

	cr_assert_eq(parse("--json --socket /s status", &cmd), 0, "%s", err);
	cr_assert(cmd.json);
	cr_assert_str_eq(cmd.socket, "/s");
	json_object_put(cmd.params);
	cr_assert_eq(parse("status --socket /s --json", &cmd), 0, "%s", err);
	cr_assert(cmd.json);
	json_object_put(cmd.params);
	cr_assert_eq(parse("store create --help", &cmd), 0, "help needs no arguments");
	cr_assert(cmd.help);
	json_object_put(cmd.params);
}

Test(cli, refused)
{
	refuse("store", "incomplete");
	refuse("store explode", "unknown command");
	refuse("nonsense", "unknown");
	refuse("--nonsense", "unknown option");
	refuse("store create", "NAME is missing");
	refuse("store create pg", "--device DEV is missing");
	refuse("store create pg --device", "needs a value");
	refuse("store create pg --device /d --mode fast", "async|commit|sync");
	refuse("store create pg --device /d --mode sy", "async|commit|sync");
	refuse("store create pg --device /d --mode=", "async|commit|sync");
	refuse("store create pg --device /d --ring-mib -1", "not a number");
	refuse("store create pg --device /d --ring-mib 1x", "not a number");
	refuse("store create pg --device /d --ring-mib 99999999999999999999", "not a number");
	refuse("store create pg --device /d --quota much", "not a size");
	refuse("store create pg --device /d --device /e", "twice");
	refuse("store create pg x --device /d", "unexpected argument");
	refuse("store create pg --device /d --force=1", "takes no value");
	refuse("store move pg --to n2 --timeout soon", "not a time");
	refuse("store move pg", "--to MEMBER is missing");
	refuse("store move pg --to n2 --at", "--at");
	refuse("copy seed pg", "--member MEMBER is missing");
	refuse("mark pg", "NAME is missing");
	refuse("store set pg --activate-at-start maybe", "yes|no");
	refuse("store set pg --client-failover maybe", "yes|no");
	refuse("member maintenance", "start|stop is missing");
	refuse("member set n2 --policy some", "unrestricted|intrasite|blocked");
	refuse("status --full", "unknown option");
}

Test(cli, every_verb_has_help)
{
	const struct cli_verb *v;

	for (v = verbs; v->noun; v++) {
		cr_assert_not_null(v->run, "%s %s", v->noun, v->verb);
		cr_assert_not_null(v->summary, "%s %s", v->noun, v->verb);
		cr_assert_eq(strncmp(v->examples, "dagctl ", 7) && strncmp(v->examples, "ssh ", 4), 0);
		cr_assert_eq(v->examples[strlen(v->examples) - 1], '\n');
	}
}

Test(cli, sizes_and_times)
{
	uint64_t n = 0;

	cr_assert_eq(cli_size("4096", &n), 0);
	cr_assert_eq(n, 4096);
	cr_assert_eq(cli_size("1.5GiB", &n), 0);
	cr_assert_eq(n, 3ull << 29);
	cr_assert_eq(cli_size("2T", &n), 0);
	cr_assert_eq(n, 2ull << 40);
	cr_assert_eq(cli_size("-1", &n), -EINVAL);
	cr_assert_eq(cli_size("", &n), -EINVAL);
	cr_assert_eq(cli_size("0x10", &n), -EINVAL);
	cr_assert_eq(cli_size("1Q", &n), -EINVAL);
	cr_assert_eq(cli_size("99999999T", &n), -ERANGE);
	cr_assert_eq(cli_rate("50MiB/s", &n), 0);
	cr_assert_eq(n, 50 << 20);
	cr_assert_eq(cli_rate("1.5M", &n), 0);
	cr_assert_eq(n, 3 << 19);
	cr_assert_eq(cli_rate("none", &n), 0);
	cr_assert_eq(n, 0);
	cr_assert_eq(cli_rate("/s", &n), -EINVAL);
	cr_assert_eq(cli_rate("5MiB/min", &n), -EINVAL);
	cr_assert_eq(cli_duration("10", &n), 0);
	cr_assert_eq(n, 10000);
	cr_assert_eq(cli_duration("250ms", &n), 0);
	cr_assert_eq(n, 250);
	cr_assert_eq(cli_duration("14d", &n), 0);
	cr_assert_eq(n, 14ull * 86400000);
	cr_assert_eq(cli_duration("nan", &n), -EINVAL);
}

Test(fmt, units)
{
	char text[32];

	fmt_bytes(0, text);
	cr_assert_str_eq(text, "0 B");
	fmt_bytes(1536, text);
	cr_assert_str_eq(text, "1.5 KiB");
	fmt_bytes(64ull << 20, text);
	cr_assert_str_eq(text, "64 MiB");
	fmt_bytes(UINT64_MAX, text);
	cr_assert_str_eq(text, "16384 PiB");
	fmt_seconds(0.34, text);
	cr_assert_str_eq(text, "0.3 s");
	fmt_seconds(-1, text);
	cr_assert_str_eq(text, "0.0 s");
	fmt_seconds(61, text);
	cr_assert_str_eq(text, "1 min 1 s");
	fmt_seconds(90000, text);
	cr_assert_str_eq(text, "1 d 1 h");
}

Test(fmt, table_is_aligned)
{
	struct table *tb = table_new(2);
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	table_row(tb, (const char *[]){ "A", "B" });
	table_row(tb, (const char *[]){ "\xc3\xa4\xc3\xa4\xc3\xa4", "x" });
	table_print(tb, f);
	fclose(f);
	cr_assert_str_eq(text, "A    B\n\xc3\xa4\xc3\xa4\xc3\xa4  x\n");
	free(text);
}
