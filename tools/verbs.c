// SPDX-License-Identifier: GPL-2.0
#include "tools/verbs.h"

#define OPT_END		{ NULL, CLI_FLAG, NULL, NULL, NULL, false, NULL }
#define NO_ARGS		{ { NULL, NULL, false } }
#define ONE(n, k)	{ { n, k, false }, { NULL, NULL, false } }
#define MAYBE(n, k)	{ { n, k, true }, { NULL, NULL, false } }
#define TWO(n, k, m, l)	{ { n, k, false }, { m, l, false }, { NULL, NULL, false } }

#define MEMBER_REQ { "--member", CLI_TEXT, "MEMBER", "member", "member that holds the copy", true, NULL }
#define DEVICES(meta_help) \
	{ "--device", CLI_PATH, "DEV", "device", "block device for the data", true, NULL }, \
	{ "--meta-device", CLI_PATH, "DEV", "meta_device", meta_help, false, NULL }, \
	{ "--log-dir", CLI_PATH, "DIR", "log_dir", \
	  "directory of the log segments (state_dir/log/STORE)", false, NULL }
#define SETTINGS \
	{ "--mode", CLI_WORD, "MODE", "mode", "async: never wait for copies; commit: flushes and " \
	  "FUA writes wait; sync: every write waits", false, "async|commit|sync" }, \
	{ "--ack", CLI_WORD, "WHEN", "ack", "commits wait until a copy has it received or durable", \
	  false, "received|durable" }, \
	{ "--min-in-sync", CLI_UINT, "N", "min_in_sync", "copies besides the active that commits " \
	  "need", false, NULL }, \
	{ "--late", CLI_DURATION, "TIME", "late_ms", "a copy that is later leaves the in-sync set", \
	  false, NULL }, \
	{ "--full-timeout", CLI_DURATION, "TIME", "full_timeout_ms", "ring full for that long: track " \
	  "changed regions instead", false, NULL }, \
	{ "--segment-mib", CLI_UINT, "N", "segment_mib", "size of a log segment", false, NULL }, \
	{ "--quota", CLI_SIZE, "SIZE", "quota", "of each log directory, 0: none", false, NULL }, \
	{ "--seed-rate", CLI_RATE, "RATE", "seed_rate", "bytes a second that seeds read at most: " \
	  "50MiB; none (none)", false, NULL }

/* Of a group: its profile, or single values of it. */
#define OPT_TIMES \
	{ "--heartbeat", CLI_DURATION, "TIME", "heartbeat_ms", "between two heartbeats of a path", false, \
	  NULL }, \
	{ "--lease", CLI_DURATION, "TIME", "lease_ms", "how long a member may write after its last " \
	  "renewal", false, NULL }, \
	{ "--lease-period", CLI_DURATION, "TIME", "lease_period_ms", "between two renewals", false, NULL }, \
	{ "--engine-heartbeat", CLI_DURATION, "TIME", "engine_heartbeat_ms", "between two signs of " \
	  "life of the engine's leader", false, NULL }, \
	{ "--engine-election", CLI_DURATION, "TIME", "engine_election_ms", "silence after which the " \
	  "engine elects", false, NULL }

static const struct cli_opt group_create_opts[] = {
	{ "--engine", CLI_WORD, "KIND", "engine", "where the state is agreed: etcd, by a majority of "
	  "the members; file, without one, for planned moves only (etcd)", false, "etcd|file" },
	{ "--engine-url", CLI_TEXT, "URLS", "engine_url", "with etcd: endpoints of one that runs "
	  "already, instead of dagd's own", false, NULL },
	{ "--profile", CLI_WORD, "PROFILE", "profile", "with etcd: lease and heartbeats for a local or "
	  "a wide network, or faster (lan)", false, "lan|wan|fast" },
	OPT_TIMES,
	{ "--address", CLI_TEXT, "ADDRESS", "address", "replication address of this member (dag.conf)",
	  false, NULL },
	OPT_END
};

static const struct cli_opt group_set_opts[] = {
	{ "--profile", CLI_WORD, "PROFILE", "profile", "times that fit together: lan 0.85 s lease, wan "
	  "4 s, fast 0.6 s", false, "lan|wan|fast" },
	OPT_TIMES,
	{ "--encryption", CLI_WORD, "WHEN", "encryption", "of connections made from now on, between "
	  "members whose dag.conf says security = plain", false, "disabled|enabled|inter-subnet" },
	{ "--compression", CLI_WORD, "WHEN", "compression", "of the log; seed-only: while a copy is "
	  "not whole (inter-subnet)", false, "disabled|enabled|inter-subnet|seed-only" },
	{ "--codec", CLI_WORD, "CODEC", "codec", "what compresses it: lz4, cheap; zstd, smaller", false,
	  "lz4|zstd" },
	{ "--dac", CLI_WORD, "YN", "dac", "datacenter activation mode", false, "on|off" },
	{ "--address", CLI_TEXT, "ADDRESS", "address", "[IFACE=]ADDRESS[/PREFIX] that follows the "
	  "manager; none: no such address", false, NULL },
	OPT_END
};

static const struct cli_opt group_join_opts[] = {
	{ "--token-file", CLI_PATH, "FILE", "token_file", "file with the token; - or none: standard "
	  "input", false, NULL },
	{ "--force", CLI_FLAG, NULL, "force", "though the host is not fit (dagctl preflight)", false, NULL },
	OPT_END
};

static const struct cli_opt member_add_opts[] = {
	{ "--address", CLI_TEXT, "ADDRESS", "address", "its replication address", true, NULL },
	{ "--port", CLI_UINT, "PORT", "port", "its replication port (64327)", false, NULL },
	{ "--site", CLI_TEXT, "SITE", "site", "where it stands", false, NULL },
	{ "--token-out", CLI_PATH, "FILE", "token_out", "write the token to FILE, mode 0600", false,
	  NULL },
	OPT_END
};

static const struct cli_opt store_create_opts[] = {
	DEVICES("metadata on a device of its own; the data device keeps its content"),
	SETTINGS,
	{ "--ring-mib", CLI_UINT, "N", "ring_mib", "memory ring of the log, power of two (64)", false,
	  NULL },
	{ "--region-kib", CLI_UINT, "N", "region_kib", "size of a tracked region, power of two "
	  "(1024)", false, NULL },
	{ "--member", CLI_TEXT, "MEMBER", "member", "create it there (this member)", false, NULL },
	{ "--force", CLI_FLAG, NULL, "force", "use the device though it holds something", false, NULL },
	OPT_END
};

static const struct cli_opt store_set_opts[] = {
	SETTINGS,
	{ "--mount-point", CLI_TEXT, "DIR", "mount_point", "mount it there when it becomes active; "
	  "none: do not", false, NULL },
	{ "--fs-type", CLI_TEXT, "TYPE", "fs_type", "type of its file system (found out)", false, NULL },
	{ "--mount-options", CLI_TEXT, "OPTIONS", "mount_options", "as for mount -o", false, NULL },
	{ "--exec", CLI_TEXT, "PATH", "exec", "executable that is told start and stop", false, NULL },
	{ "--unit", CLI_TEXT, "UNIT", "unit", "unit of systemd that is started and stopped", false,
	  NULL },
	{ "--service-address", CLI_TEXT, "LIST", "addresses", "[IFACE=]ADDRESS[/PREFIX]..., with "
	  "blanks between, that follow it", false, NULL },
	{ "--step-timeout", CLI_DURATION, "TIME", "step_timeout_ms", "limit of each of these steps "
	  "(60s)", false, NULL },
	{ "--activate-at-start", CLI_WORD, "YN", "activate_at_start", "is it activated by itself",
	  false, "yes|no" },
	{ "--client-failover", CLI_WORD, "YN", "client_failover", "does it leave a member that loses its "
	  "client network (yes)", false, "yes|no" },
	OPT_END
};

#define YES { "--yes", CLI_FLAG, NULL, "yes", "do not ask", false, NULL }

static const struct cli_opt store_move_opts[] = {
	{ "--to", CLI_TEXT, "MEMBER", "to", "member that becomes active", true, NULL },
	{ "--at", CLI_TEXT, "POINT", "at", "as of that point of its log, which it has not replayed yet: LSN, "
	  "name of a mark, -10min or '2026-01-31 18:00'; what came later is given up", false, NULL },
	YES,
	{ "--timeout", CLI_DURATION, "TIME", "timeout_ms", "for shipping and replaying the rest (60s)",
	  false, NULL },
	{ "--unmount", CLI_FLAG, NULL, "unmount", "unmount the store on the active first", false, NULL },
	{ "--comment", CLI_TEXT, "TEXT", "comment", "why, at most 512 characters, for the history",
	  false, NULL },
	{ "--skip-health", CLI_FLAG, NULL, "skip_health", "begin though the copy is not Healthy, and "
	  "wait until it is", false, NULL },
	{ "--skip-lag", CLI_FLAG, NULL, "skip_lag", "begin though the copy is far behind or lagged",
	  false, NULL },
	{ "--skip-maximum-active", CLI_FLAG, NULL, "skip_maximum_active", "let the member have more "
	  "active stores than it may", false, NULL },
	OPT_END
};

static const struct cli_opt member_set_opts[] = {
	{ "--site", CLI_TEXT, "SITE", "site", "where it stands", false, NULL },
	{ "--policy", CLI_WORD, "POLICY", "policy", "may copies there be activated by themselves: "
	  "always, within the site, never", false, "unrestricted|intrasite|blocked" },
	{ "--dial", CLI_WORD, "DIAL", "dial", "how much may be lost at that: 6, 0, 12 segments, any",
	  false, "good|lossless|best|best-effort" },
	{ "--max-active", CLI_UINT, "N", "max_active", "stores active there at most, 0: any number",
	  false, NULL },
	{ "--max-preferred-active", CLI_UINT, "N", "max_preferred_active", "more than that only if no "
	  "other member can, 0: any number", false, NULL },
	OPT_END
};

static const struct cli_opt redistribute_opts[] = {
	{ "--deviation", CLI_UINT, "PERCENT", "deviation", "a member may have that much more than the "
	  "mean (20)", false, NULL },
	{ "--dry-run", CLI_FLAG, NULL, "dry_run", "say what would be moved, and move nothing", false,
	  NULL },
	OPT_END
};

#define EVENT_FILTER \
	{ "--store", CLI_TEXT, "STORE", "store", "only of that store", false, NULL }, \
	{ "--kind", CLI_TEXT, "KIND", "kind", "only that kind: activation, move, mount, dismount, " \
	  "step-failed, fence ...", false, NULL }

static const struct cli_opt events_list_opts[] = {
	EVENT_FILTER,
	{ "--since", CLI_TEXT, "TIME", "since", "from then on: 2h, or 2026-01-31 18:00", false, NULL },
	{ "--max", CLI_UINT, "N", "max", "the newest N (1000)", false, NULL },
	OPT_END
};

static const struct cli_opt events_follow_opts[] = {
	EVENT_FILTER,
	{ "--module", CLI_FLAG, NULL, "module", "what the module here tells, without dagd", false, NULL },
	OPT_END
};

#define LAGS \
	{ "--replay-lag", CLI_DURATION, "TIME", "replay_lag_ms", "replay what is received so much " \
	  "later, 0 to 14d", false, NULL }, \
	{ "--truncation-lag", CLI_DURATION, "TIME", "truncation_lag_ms", "keep the log so much longer " \
	  "after that, 0 to 14d", false, NULL }

#define SEED_RATE { "--rate", CLI_RATE, "RATE", "rate", "bytes a second that this seed reads at most: " \
	"50MiB, or none (that of the store)", false, NULL }

#define SEED_WHOLE { "--whole", CLI_WORD, "YN", "whole", "seed it also with what the file system on the " \
	"store does not use: the devices are equal then (off)", false, "on|off" }

static const struct cli_opt copy_add_opts[] = {
	{ "--member", CLI_TEXT, "MEMBER", "member", "member that gets the copy (this one)", false, NULL },
	DEVICES("metadata on a device of its own"),
	{ "--preference", CLI_UINT, "N", "preference", "order of activation, from 1 (last)", false,
	  NULL },
	LAGS,
	SEED_RATE,
	SEED_WHOLE,
	{ "--force", CLI_FLAG, NULL, "force", "use the device though it holds something", false, NULL },
	OPT_END
};

static const struct cli_opt copy_status_opts[] = {
	{ "--full", CLI_FLAG, NULL, "full", "everything that is known of each copy", false, NULL },
	OPT_END
};

static const struct cli_opt copy_suspend_opts[] = {
	MEMBER_REQ,
	{ "--comment", CLI_TEXT, "TEXT", "comment", "why, at most 512 characters", false, NULL },
	{ "--activation-only", CLI_FLAG, NULL, "activation_only", "ship and replay on, but do not "
	  "activate it", false, NULL },
	OPT_END
};

static const struct cli_opt copy_resume_opts[] = {
	MEMBER_REQ,
	{ "--replication-only", CLI_FLAG, NULL, "replication_only", "keep activation blocked", false,
	  NULL },
	OPT_END
};

static const struct cli_opt copy_set_opts[] = {
	MEMBER_REQ,
	LAGS,
	{ "--lag", CLI_WORD, "WORD", "lag", "off: replay at once, but remember the lags; on: hold them "
	  "again", false, "on|off" },
	SEED_RATE,
	SEED_WHOLE,
	OPT_END
};

static const struct cli_opt copy_remove_opts[] = { MEMBER_REQ, OPT_END };

static const struct cli_opt copy_seed_opts[] = {
	MEMBER_REQ,
	SEED_RATE,
	SEED_WHOLE,
	{ "--wait", CLI_FLAG, NULL, "wait", "show progress until the copy is healthy", false, NULL },
	OPT_END
};

static const struct cli_opt copy_open_opts[] = {
	{ "--at", CLI_TEXT, "POINT", "at", "LSN, name of a mark, -10min or '2026-01-31 18:00' (the newest "
	  "point)", false, NULL },
	{ "--writable", CLI_FLAG, NULL, "writable", "a scratch copy that may be written to; it ends when it "
	  "is closed", false, NULL },
	{ "--name", CLI_TEXT, "NAME", "name", "of the device (STORE-fork1)", false, NULL },
	{ "--space", CLI_SIZE, "SIZE", "space", "in the log directory, for what is overwritten meanwhile "
	  "(1G, or what the store needs at most)", false, NULL },
	OPT_END
};

static const struct cli_opt copy_close_opts[] = {
	{ "--force", CLI_FLAG, NULL, "force", "though it is in use: who uses it gets errors", false, NULL },
	OPT_END
};

static const struct cli_opt watch_opts[] = {
	{ "--interval", CLI_SECONDS, "TIME", "interval", "between two views (2s)", false, NULL },
	{ "--count", CLI_UINT, "N", "count", "end after N views", false, NULL },
	OPT_END
};

static const struct cli_opt log_dump_opts[] = {
	{ "--from", CLI_UINT, "LSN", "from", "first record (0)", false, NULL },
	{ "--to", CLI_UINT, "LSN", "to", "records below (end)", false, NULL },
	OPT_END
};

static const struct cli_opt network_set_opts[] = {
	{ "--rename", CLI_TEXT, "NAME", "rename", "give it another name", false, NULL },
	{ "--subnets", CLI_TEXT, "LIST", "subnets", "its subnets, with commas between; they leave the "
	  "networks they were in; empty: remove the network", false, NULL },
	{ "--client", CLI_WORD, "YN", "client", "the network that users come by; there is one", false,
	  "on|off" },
	{ "--replication", CLI_WORD, "YN", "replication", "the log may go over it; a client network "
	  "without it is used for want of another", false, "on|off" },
	{ "--ignore", CLI_WORD, "YN", "ignore", "nothing goes over it, no heartbeats either", false,
	  "on|off" },
	{ "--compression", CLI_WORD, "CODEC", "compression", "of the log over it, always; group: as group "
	  "set says", false, "group|off|lz4|zstd" },
	OPT_END
};

static const struct cli_opt network_rediscover_opts[] = {
	{ "--auto", CLI_FLAG, NULL, "auto", "forget what was set by hand, and keep finding them", false,
	  NULL },
	OPT_END
};

static const struct cli_opt network_status_opts[] = {
	{ "--member", CLI_TEXT, "MEMBER", "member", "as that member sees them (this one)", false, NULL },
	OPT_END
};

static const struct cli_opt preflight_opts[] = {
	{ "--device", CLI_PATH, "DEV", "device", "a device that a store is to have", false, NULL },
	{ "--config", CLI_PATH, "FILE", "config", "the daemon's configuration (/etc/dag/dag.conf)", false,
	  NULL },
	OPT_END
};

static const struct cli_opt test_opts[] = {
	{ "--all", CLI_FLAG, NULL, "all", "all members and stores (what concerns this member)", false,
	  NULL },
	OPT_END
};

static const struct cli_opt no_opts[] = { OPT_END };


static const struct cli_opt group_stop_opts[] = {
	{ "--site", CLI_TEXT, "SITE", "site", "all members of this site, instead of a NAME", false, NULL },
	{ "--configuration-only", CLI_FLAG, NULL, "configuration_only", "they do not answer: only write "
	  "it down", false, NULL },
	{ "--force", CLI_FLAG, NULL, "force", "also where a store cannot be moved away", false, NULL },
	YES,
	OPT_END
};

static const struct cli_opt group_start_opts[] = {
	{ "--site", CLI_TEXT, "SITE", "site", "all members of this site, instead of a NAME", false, NULL },
	{ "--activate", CLI_FLAG, NULL, "activate", "say that the group has not gone on elsewhere: this "
	  "member may activate stores", false, NULL },
	YES,
	OPT_END
};

static const struct cli_opt group_restore_opts[] = {
	{ "--dry-run", CLI_FLAG, NULL, "dry_run", "show what it would do, and what may be lost", false,
	  NULL },
	{ "--confirm", CLI_TEXT, "GROUP", "confirm", "the group's name, instead of typing it", false,
	  NULL },
	OPT_END
};

static const struct cli_opt witness_set_opts[] = {
	{ "--address", CLI_TEXT, "ADDRESS", "address", "its replication address", true, NULL },
	{ "--port", CLI_UINT, "PORT", "port", "its replication port (this member's)", false, NULL },
	{ "--alternate", CLI_FLAG, NULL, "alternate", "votes only after a group restore that finds the "
	  "witness lost", false, NULL },
	{ "--token-out", CLI_PATH, "FILE", "token_out", "write the token to this file, mode 0600", false,
	  NULL },
	OPT_END
};

static const struct cli_opt witness_remove_opts[] = {
	{ "--alternate", CLI_FLAG, NULL, "alternate", "the alternate, instead of the witness", false, NULL },
	OPT_END
};

static const struct cli_opt member_remove_opts[] = {
	{ "--configuration-only", CLI_FLAG, NULL, "configuration_only", "it is dead: take its copies and "
	  "its vote out of the group too", false, NULL },
	{ "--force", CLI_FLAG, NULL, "force", "with that: also stores that it alone had", false, NULL },
	OPT_END
};

static const struct cli_opt branch_list_opts[] = {
	{ "--full", CLI_FLAG, NULL, "full", "also which sectors were written", false, NULL },
	OPT_END
};

static const struct cli_opt branch_extract_opts[] = {
	{ "--to", CLI_PATH, "FILE", "to", "new file, as large as the store: what was written in its "
	  "place, holes elsewhere", false, NULL },
	{ "--onto", CLI_PATH, "IMAGE", "onto", "write it over an image or device of the store as it was "
	  "where the branch begins", false, NULL },
	YES,
	OPT_END
};

static const struct cli_opt branch_drop_opts[] = {
	{ "--member", CLI_TEXT, "MEMBER", "member", "member that keeps it (found out)", false, NULL },
	YES,
	OPT_END
};

const struct cli_verb verbs[] = {
	{ "group", "create", ONE("NAME", "name"), group_create_opts,
	  "make a new group with this member as its founder",
	  "dagctl group create lab --address 10.92.0.1\n", cmd_group_create },
	{ "group", "show", NO_ARGS, no_opts, "group, members, and whether they answer",
	  "dagctl group show\ndagctl group show --json\n", cmd_group_show },
	{ "group", "set", NO_ARGS, group_set_opts,
	  "change times and policies of the group; what cannot be safe is refused",
	  "dagctl group set --profile wan\n"
	  "dagctl group set --lease 2s --lease-period 300ms\n"
	  "dagctl group set --encryption enabled\n"
	  "dagctl group set --compression enabled --codec zstd\n", cmd_group_set },
	{ "group", "join", NO_ARGS, group_join_opts,
	  "make this host a member, with a token from dagctl member add",
	  "dagctl group join --token-file node2.token\n"
	  "ssh node1 dagctl member add node2 --address 10.92.0.2 | dagctl group join\n",
	  cmd_group_join },
	{ "group", "stop", MAYBE("NAME", "name"), group_stop_opts,
	  "take a member or a site out of service, until group start",
	  "dagctl group stop node3\ndagctl group stop --site north --yes\n"
	  "dagctl group stop node2 --configuration-only\n", cmd_group_stop },
	{ "group", "start", MAYBE("NAME", "name"), group_start_opts,
	  "let stopped members take part again",
	  "dagctl group start node3\ndagctl group start --site north --yes\n"
	  "dagctl group start --activate\n", cmd_group_start },
	{ "group", "restore", NO_ARGS, group_restore_opts,
	  "the majority is lost for good: go on with the members that are left",
	  "dagctl group stop node1 --configuration-only --yes\n"
	  "dagctl group restore --dry-run\ndagctl group restore --confirm lab\n", cmd_group_restore },
	{ "group", "redistribute", NO_ARGS, redistribute_opts,
	  "move stores to their most preferred copies, evenly",
	  "dagctl group redistribute --dry-run\ndagctl group redistribute --deviation 50\n",
	  cmd_group_redistribute },
	{ "member", "add", ONE("NAME", "name"), member_add_opts,
	  "invite a host: gives a token that is good once, for 24 hours",
	  "dagctl member add node2 --address 10.92.0.2\n"
	  "dagctl member add node2 --address 10.92.0.2 --token-out node2.token\n", cmd_member_add },
	{ "witness", "set", ONE("NAME", "name"), witness_set_opts,
	  "invite a host without copies to vote where members are even",
	  "dagctl witness set third --address 10.92.0.9\n"
	  "dagctl witness set fourth --address 10.92.0.10 --alternate\n", cmd_witness_set },
	{ "witness", "show", NO_ARGS, no_opts, "who decides when members are even",
	  "dagctl witness show\n", cmd_witness_show },
	{ "witness", "remove", NO_ARGS, witness_remove_opts, "go on without a witness",
	  "dagctl witness remove\ndagctl witness remove --alternate\n", cmd_witness_remove },
	{ "member", "list", NO_ARGS, no_opts, "members and open invitations",
	  "dagctl member list\n", cmd_member_list },
	{ "member", "remove", ONE("NAME", "name"), member_remove_opts,
	  "take a member that holds no copies, or an invitation, out of the group",
	  "dagctl member remove node3\n"
	  "dagctl member remove node3 --configuration-only\n", cmd_member_remove },
	{ "member", "set", ONE("NAME", "name"), member_set_opts, "change settings of a member",
	  "dagctl member set node2 --policy blocked\n"
	  "dagctl member set node2 --site north --max-active 4\n", cmd_member_set },
	{ "member", "maintenance",
	  { { "start|stop", "action", false }, { "NAME", "name", true }, { NULL, NULL, false } }, no_opts,
	  "block activation on a member and move its stores away; stop: let it be again",
	  "dagctl member maintenance start node2\ndagctl member maintenance stop node2\n",
	  cmd_member_maintenance },
	{ "network", "list", NO_ARGS, no_opts, "networks, their subnets and interfaces, with states",
	  "dagctl network list\ndagctl network list --json\n", cmd_network_list },
	{ "network", "set", ONE("NAME", "name"), network_set_opts,
	  "change a network, or make one; from then on networks are kept by hand",
	  "dagctl network set net-2 --rename backup --replication off\n"
	  "dagctl network set wan --subnets 10.2.0.0/24,10.7.0.0/24\n"
	  "dagctl network set wan --compression zstd\n"
	  "dagctl network set net-3 --ignore on\n", cmd_network_set },
	{ "network", "rediscover", NO_ARGS, network_rediscover_opts,
	  "let all members look at their interfaces again",
	  "dagctl network rediscover\ndagctl network rediscover --auto\n", cmd_network_rediscover },
	{ "network", "status", NO_ARGS, network_status_opts,
	  "heartbeats of each path: state, loss, round trip, and which carries the log",
	  "dagctl network status\ndagctl network status --member node2\n", cmd_network_status },
	{ "store", "create", ONE("NAME", "name"), store_create_opts,
	  "make a store on a block device; it is served as /dev/mapper/NAME",
	  "dagctl store create pg --device /dev/vdb --mode commit\n"
	  "dagctl store create home --device /dev/vg/home --meta-device /dev/vg/home-meta\n",
	  cmd_store_create },
	{ "store", "list", NO_ARGS, no_opts, "all stores", "dagctl store list\n", cmd_store_list },
	{ "store", "show", ONE("STORE", "store"), no_opts, "settings and copies of a store",
	  "dagctl store show pg\n", cmd_store_show },
	{ "store", "set", ONE("STORE", "store"), store_set_opts, "change settings of a store",
	  "dagctl store set pg --mode commit --min-in-sync 1\n"
	  "dagctl store set pg --seed-rate 50MiB\n"
	  "dagctl store set pg --mount-point /srv/pg --fs-type ext4 --mount-options noatime\n"
	  "dagctl store set pg --unit postgresql@15-main.service --service-address 10.91.0.50/24\n",
	  cmd_store_set },
	{ "store", "mount", ONE("STORE", "store"), no_opts,
	  "run the steps of its activation: mount, executable, unit, addresses",
	  "dagctl store mount pg\n", cmd_store_mount },
	{ "store", "dismount", ONE("STORE", "store"), no_opts,
	  "undo them in reverse, and keep it so until store mount",
	  "dagctl store dismount pg\n", cmd_store_dismount },
	{ "store", "move", ONE("STORE", "store"), store_move_opts,
	  "activate a store on another member, without loss, or as of a point of its log",
	  "dagctl store move pg --to node2\n"
	  "dagctl store move pg --to node2 --unmount --timeout 5m\n"
	  "dagctl store move pg --to node2 --comment \"new disks\"\n"
	  "dagctl store move pg --to node3 --at '2026-01-31 17:59:30' --comment \"a table was dropped\"\n",
	  cmd_store_move },
	{ "store", "remove", ONE("STORE", "store"), no_opts,
	  "end a store and empty its logs; the data stays on the devices",
	  "dagctl store remove pg\n", cmd_store_remove },
	{ "copy", "add", ONE("STORE", "store"), copy_add_opts, "add a passive copy of a store",
	  "dagctl copy add pg --member node2 --device /dev/vdb\n"
	  "dagctl copy add pg --member node3 --device /dev/vdb --preference 3\n"
	  "dagctl copy add pg --member node4 --device /dev/vdb --replay-lag 2h --truncation-lag 1d\n",
	  cmd_copy_add },
	{ "copy", "set", ONE("STORE", "store"), copy_set_opts,
	  "change the lags of a copy, or turn them off and on; or how it is seeded",
	  "dagctl copy set pg --member node4 --replay-lag 6h\n"
	  "dagctl copy set pg --member node4 --lag off\n"
	  "dagctl copy set pg --member node2 --rate 20MiB\n", cmd_copy_set },
	{ "copy", "status", MAYBE("STORE", "store"), copy_status_opts,
	  "status and queues of the copies",
	  "dagctl copy status\ndagctl copy status pg --full\n", cmd_copy_status },
	{ "copy", "open", ONE("STORE", "store"), copy_open_opts,
	  "open the passive copy here at a point of its log, as a device, while it follows on",
	  "dagctl copy open pg --at -10min\n"
	  "dagctl copy open pg --at before-upgrade --writable --name pg-test --space 4G\n",
	  cmd_copy_open },
	{ "copy", "close",
	  { { "STORE", "store", false }, { "NAME", "name", true }, { NULL, NULL, false } }, copy_close_opts,
	  "remove such a device and what was written to it",
	  "dagctl copy close pg\ndagctl copy close pg pg-test --force\n", cmd_copy_close },
	{ "copy", "suspend", ONE("STORE", "store"), copy_suspend_opts,
	  "stop shipping to a copy and its replay",
	  "dagctl copy suspend pg --member node2 --comment \"disk swap\"\n", cmd_copy_suspend },
	{ "copy", "resume", ONE("STORE", "store"), copy_resume_opts,
	  "end a suspension; a copy that is FailedAndSuspended tries again",
	  "dagctl copy resume pg --member node2\n", cmd_copy_resume },
	{ "copy", "remove", ONE("STORE", "store"), copy_remove_opts,
	  "end a passive copy and empty its log; the data stays on the device",
	  "dagctl copy remove pg --member node2\n", cmd_copy_remove },
	{ "copy", "seed", ONE("STORE", "store"), copy_seed_opts,
	  "copy the whole store to a passive copy anew",
	  "dagctl copy seed pg --member node2 --wait\n"
	  "dagctl copy seed pg --member node2 --rate 50MiB\n"
	  "dagctl copy seed pg --member node2 --whole on\n", cmd_copy_seed },
	{ "preflight", NULL, NO_ARGS, preflight_opts,
	  "is this host fit to be a member: exit status 0 yes, 3 with warnings, 1 no",
	  "dagctl preflight\ndagctl preflight --device /dev/vdb --json\n", cmd_preflight },
	{ "test", NULL, MAYBE("STORE", "store"), test_opts,
	  "what is wrong, what it means, what to do; exit status for monitoring: 0 ok, 1 warning, 2 "
	  "critical, 3 unknown",
	  "dagctl test\ndagctl test pg\ndagctl test --all --json\n", cmd_test },
	{ "metrics", NULL, NO_ARGS, no_opts,
	  "figures of this member as text for Prometheus, as http://127.0.0.1:64331/metrics gives them",
	  "dagctl metrics\ndagctl metrics | grep queue_seconds\n", cmd_metrics },
	{ "status", NULL, NO_ARGS, no_opts, "the one page: members, stores, copies",
	  "dagctl status\n", cmd_status },
	{ "watch", NULL, NO_ARGS, watch_opts, "the same, live",
	  "dagctl watch --interval 500ms\ndagctl watch --count 3 >log\n", cmd_watch },
	{ "log", "list", ONE("DIR|STORE", "dir"), no_opts,
	  "log segments of a directory or store here; of a passive copy also the points that can be "
	  "reached, and the marks among them",
	  "dagctl log list pg\n", cmd_log_list },
	{ "log", "dump", ONE("DIR|STORE", "dir"), log_dump_opts, "records of the log",
	  "dagctl log dump pg --from 1048576 --to 2097152\n"
	  "dagctl log dump /var/lib/dag/log/pg --json\n", cmd_log_dump },
	{ "log", "verify", ONE("DIR|STORE", "dir"), no_opts,
	  "check every segment, record and checksum",
	  "dagctl log verify /var/lib/dag/log/pg\n", cmd_log_verify },
	{ "branch", "list", MAYBE("STORE", "store"), branch_list_opts,
	  "tails that former actives wrote and nobody else had, kept on all members",
	  "dagctl branch list\ndagctl branch list pg --full\n", cmd_branch_list },
	{ "branch", "dump", TWO("STORE", "store", "BRANCH", "branch"), log_dump_opts,
	  "its records; on the member that keeps it",
	  "dagctl branch dump pg branch-3-1099511627776\n", cmd_branch_dump },
	{ "branch", "extract", TWO("STORE", "store", "BRANCH", "branch"), branch_extract_opts,
	  "the sectors it wrote, into a file or over an image; on the member that keeps it",
	  "dagctl branch extract pg branch-3-1099511627776 --to /var/tmp/pg.tail\n"
	  "dagctl branch extract pg branch-3-1099511627776 --onto /var/tmp/pg.backup\n",
	  cmd_branch_extract },
	{ "branch", "drop", TWO("STORE", "store", "BRANCH", "branch"), branch_drop_opts,
	  "remove it for good, and have its room back",
	  "dagctl branch drop pg branch-3-1099511627776\n"
	  "dagctl branch drop pg branch-3-1099511627776 --member node1 --yes\n", cmd_branch_drop },
	{ "mark", NULL, TWO("STORE", "store", "NAME", "name"), no_opts,
	  "put a named point into the log of a store",
	  "dagctl mark pg before-upgrade\n", cmd_mark },
	{ "events", "list", NO_ARGS, events_list_opts,
	  "the history: every move, mount and refusal of all members that answer",
	  "dagctl events list --since 2h\ndagctl events list --store pg --kind move --json\n",
	  cmd_events_list },
	{ "events", "follow", NO_ARGS, events_follow_opts, "the same, as it happens",
	  "dagctl events follow\ndagctl events follow --module\n", cmd_events_follow },
	{ NULL, NULL, NO_ARGS, NULL, NULL, NULL, NULL }
};
