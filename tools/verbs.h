/* SPDX-License-Identifier: GPL-2.0 */
/* verbs - all commands of dagctl, and the functions that run them. */
#ifndef DAGCTL_VERBS_H
#define DAGCTL_VERBS_H

#include <json-c/json.h>

#include "tools/cli.h"

extern const struct cli_verb verbs[];	/* noun NULL ends it */

/* cmd_group.c */
int cmd_group_create(struct cmd *cmd);
int cmd_group_show(struct cmd *cmd);
int cmd_group_set(struct cmd *cmd);
int cmd_group_join(struct cmd *cmd);
int cmd_group_redistribute(struct cmd *cmd);
/* cmd_life.c */
int cmd_group_stop(struct cmd *cmd);
int cmd_group_start(struct cmd *cmd);
int cmd_group_restore(struct cmd *cmd);
/* cmd_member.c */
int invite_host(struct cmd *cmd, const char *method);
int cmd_witness_set(struct cmd *cmd);
int cmd_witness_show(struct cmd *cmd);
int cmd_witness_remove(struct cmd *cmd);
int cmd_member_add(struct cmd *cmd);
int cmd_member_list(struct cmd *cmd);
int cmd_member_remove(struct cmd *cmd);
int cmd_member_set(struct cmd *cmd);
int cmd_member_maintenance(struct cmd *cmd);
void print_members(struct json_object *members, struct json_object *invited);
/* cmd_network.c */
int cmd_network_list(struct cmd *cmd);
int cmd_network_set(struct cmd *cmd);
int cmd_network_rediscover(struct cmd *cmd);
int cmd_network_status(struct cmd *cmd);
/* cmd_store.c */
int cmd_store_create(struct cmd *cmd);
int cmd_store_list(struct cmd *cmd);
int cmd_store_show(struct cmd *cmd);
int cmd_store_set(struct cmd *cmd);
int cmd_store_move(struct cmd *cmd);
int cmd_store_mount(struct cmd *cmd);
int cmd_store_dismount(struct cmd *cmd);
int cmd_store_remove(struct cmd *cmd);
int cmd_mark(struct cmd *cmd);
void print_stores(struct json_object *stores);
/* cmd_copy.c */
int cmd_copy_add(struct cmd *cmd);
int cmd_copy_status(struct cmd *cmd);
int cmd_copy_open(struct cmd *cmd);
int cmd_copy_close(struct cmd *cmd);
int cmd_copy_suspend(struct cmd *cmd);
int cmd_copy_resume(struct cmd *cmd);
int cmd_copy_remove(struct cmd *cmd);
int cmd_copy_set(struct cmd *cmd);
int cmd_copy_seed(struct cmd *cmd);
void print_copies(struct json_object *copies);
/* cmd_preflight.c */
int cmd_preflight(struct cmd *cmd);
/* cmd_status.c */
int cmd_status(struct cmd *cmd);
int cmd_watch(struct cmd *cmd);
/* cmd_health.c */
#define EXIT_UNKNOWN	3
int cmd_test(struct cmd *cmd);
int cmd_metrics(struct cmd *cmd);
/* cmd_log.c */
int cmd_log_list(struct cmd *cmd);
int cmd_log_dump(struct cmd *cmd);
int cmd_log_verify(struct cmd *cmd);
/* The log directory of a store's copy on this host; 0, or the error was printed. */
int log_dir_of(struct cmd *cmd, const char *store, char *ret, size_t len);
/* cmd_branch.c */
int cmd_branch_list(struct cmd *cmd);
int cmd_branch_dump(struct cmd *cmd);
int cmd_branch_extract(struct cmd *cmd);
int cmd_branch_drop(struct cmd *cmd);
/* cmd_events.c */
int cmd_events_list(struct cmd *cmd);
int cmd_events_follow(struct cmd *cmd);

#endif
