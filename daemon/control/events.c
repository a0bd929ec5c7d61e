// SPDX-License-Identifier: GPL-2.0
#include "daemon/control/events.h"

#include <errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

struct listener {
	int (*cb)(const struct tap_event *ev, void *ctx);
	void *ctx;
	int ended;
};

static const char *const event_names[] = {
	[DAGTAP_EV_STATE] = "state", [DAGTAP_EV_ROLE] = "role",
	[DAGTAP_EV_LEASE_LOST] = "lease-lost", [DAGTAP_EV_RING_FULL] = "ring-full",
	[DAGTAP_EV_IO_ERROR] = "io-error", [DAGTAP_EV_META_ERROR] = "meta-error",
};

static const char *const state_names[] = { "detached", "logging", "full", "tracking", "lease",
					   "failed" };
static const char *const role_names[] = { "passive", "active", "fenced" };

#define COUNT(a)	(sizeof(a) / sizeof((a)[0]))

const char *tap_event_name(uint32_t event)
{
	return event < COUNT(event_names) && event_names[event] ? event_names[event] : "unknown";
}

void tap_event_value(const struct tap_event *ev, char *ret, size_t len)
{
	if (ev->event == DAGTAP_EV_STATE && ev->value < COUNT(state_names))
		snprintf(ret, len, "state=%s", state_names[ev->value]);
	else if (ev->event == DAGTAP_EV_ROLE && ev->value < COUNT(role_names))
		snprintf(ret, len, "role=%s", role_names[ev->value]);
	else if (ev->event == DAGTAP_EV_IO_ERROR)
		snprintf(ret, len, "sector=%llu", (unsigned long long)ev->value);
	else
		snprintf(ret, len, "value=%llu", (unsigned long long)ev->value);
}

static int on_message(struct nl_msg *msg, void *arg)
{
	static struct nla_policy policy[DAGTAP_A_COUNT] = {
		[DAGTAP_A_UUID] = { .type = NLA_UNSPEC, .minlen = 16 },
		[DAGTAP_A_NAME] = { .type = NLA_STRING, .maxlen = 128 },
		[DAGTAP_A_EVENT] = { .type = NLA_U32 },
		[DAGTAP_A_VALUE] = { .type = NLA_U64 },
	};
	struct nlattr *attrs[DAGTAP_A_COUNT];
	struct listener *ls = arg;
	struct tap_event ev = { .event = 0 };

	if (genlmsg_parse(nlmsg_hdr(msg), 0, attrs, DAGTAP_A_COUNT - 1, policy) < 0 ||
	    !attrs[DAGTAP_A_EVENT] || !attrs[DAGTAP_A_UUID])
		return NL_SKIP;
	memcpy(ev.uuid, nla_data(attrs[DAGTAP_A_UUID]), 16);
	if (attrs[DAGTAP_A_NAME])
		snprintf(ev.name, sizeof(ev.name), "%.*s", nla_len(attrs[DAGTAP_A_NAME]),
			 (const char *)nla_data(attrs[DAGTAP_A_NAME]));
	ev.event = nla_get_u32(attrs[DAGTAP_A_EVENT]);
	if (attrs[DAGTAP_A_VALUE])
		ev.value = nla_get_u64(attrs[DAGTAP_A_VALUE]);
	if (!ls->ended)
		ls->ended = ls->cb(&ev, ls->ctx);
	return NL_OK;
}

static int subscribe(struct nl_sock *sk)
{
	int grp;

	if (genl_connect(sk))
		return -ENOTCONN;
	grp = genl_ctrl_resolve_grp(sk, DAGTAP_GENL_NAME, DAGTAP_GENL_GROUP);
	if (grp < 0)
		return -ENOENT;
	nl_socket_disable_seq_check(sk);
	return nl_socket_add_membership(sk, grp) ? -EPERM : 0;
}

int events_listen(int stop_fd, int (*cb)(const struct tap_event *ev, void *ctx), void *ctx)
{
	struct listener ls = { .cb = cb, .ctx = ctx };
	struct nl_sock *sk = nl_socket_alloc();
	struct pollfd pfd[2];
	int r;

	if (!sk)
		return -ENOMEM;
	r = subscribe(sk);
	if (!r)
		nl_socket_modify_cb(sk, NL_CB_VALID, NL_CB_CUSTOM, on_message, &ls);
	pfd[0] = (struct pollfd){ .fd = stop_fd, .events = POLLIN };
	pfd[1] = (struct pollfd){ .fd = nl_socket_get_fd(sk), .events = POLLIN };
	while (!r && !ls.ended) {
		if (poll(pfd, 2, -1) < 0 && errno != EINTR)
			r = -errno;
		else if (stop_fd >= 0 && pfd[0].revents)
			break;
		else if (pfd[1].revents)
			nl_recvmsgs_default(sk);	/* an overrun loses events, no more */
	}
	nl_socket_free(sk);
	return r ? r : ls.ended;
}
