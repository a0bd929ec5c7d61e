/* SPDX-License-Identifier: GPL-2.0 */
/*
 * invite - invitations of hosts: one-time tokens that a member gives out which holds the
 * group's authority; the host joins there.
 *
 * A token is dag1/GROUP-UUID/MEMBER/ADDRESS/PORT/CA-FINGERPRINT/SECRET. Only the
 * secret's SHA-256 is kept (state_dir/invites.json); it is good once and for
 * 24 hours. The listener (port + 1) is open while an invitation stands.
 */
#ifndef DAG_INVITE_H
#define DAG_INVITE_H

#include <stdint.h>

#include "daemon/group/state.h"

#define INVITE_SECONDS	86400
#define INVITES_MAX	GROUP_MEMBERS_MAX
#define INVITE_TOKEN_MAX 512

struct control;
struct rpc_call;
struct json_object;

/* What the host is to be. */
enum invite_as { INVITE_MEMBER, INVITE_WITNESS, INVITE_ALTERNATE };

struct invite_token {
	char group[37];
	char member[64];
	char address[64];
	uint16_t port;
	char fingerprint[65];
	char secret[33];
};

/* Pure. -EINVAL: not a token. */
int invite_token_parse(const char *text, struct invite_token *ret);
void invite_token_format(const struct invite_token *tk, char ret[INVITE_TOKEN_MAX]);

/* Remember an invitation, replacing one of the same name; gives its secret. */
int invite_make(struct rpc_call *call, const struct group_member *mb, enum invite_as as,
		char ret_secret[33]);
/* [{member, address, port, expires}]; appended to array. */
void invite_list(struct control *ct, struct json_object *array);
int invite_drop(struct control *ct, const char *member);
/* This host is in no group any more. */
void invite_drop_all(struct control *ct);

#endif
