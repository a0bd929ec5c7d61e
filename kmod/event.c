// SPDX-License-Identifier: GPL-2.0
/*
 * Events for whoever listens: generic netlink, family "dagtap". An event is a
 * hint to look, so it may be merged with a later one of its kind: posting sets a
 * bit and keeps the newest value (for I/O errors the first one not yet told), a
 * worker sends, ten times a second at most per store.
 */
#include <net/genetlink.h>

#include "tap.h"

#define EVENT_INTERVAL	(HZ / 10)

static const struct genl_multicast_group event_groups[] = {
	{ .name = DAGTAP_GENL_GROUP },
};

static struct genl_family event_family = {
	.name = DAGTAP_GENL_NAME,
	.version = DAGTAP_GENL_VERSION,
	.maxattr = DAGTAP_A_COUNT - 1,
	.module = THIS_MODULE,
	.mcgrps = event_groups,
	.n_mcgrps = ARRAY_SIZE(event_groups),
};

/* Callable with s->lock held, in interrupts. */
void event_post(struct store *s, u32 event, u64 value)
{
	unsigned long due = READ_ONCE(s->event_sent) + EVENT_INTERVAL;

	if (event != DAGTAP_EV_IO_ERROR || !(s->event_mask & BIT(event)))
		s->event_value[event] = value;
	s->event_mask |= BIT(event);
	queue_delayed_work(tap_wq, &s->event_work,
			   s->event_sent && time_before(jiffies, due) ? due - jiffies : 0);
}

static void send(struct store *s, u32 event, u64 value)
{
	struct sk_buff *skb = genlmsg_new(NLMSG_GOODSIZE, GFP_NOIO);
	void *hdr;

	if (!skb)
		return;
	hdr = genlmsg_put(skb, 0, 0, &event_family, 0, DAGTAP_CMD_EVENT);
	if (!hdr)
		goto free;
	if (nla_put(skb, DAGTAP_A_UUID, sizeof(s->uuid), s->uuid) ||
	    nla_put_string(skb, DAGTAP_A_NAME, s->name) ||
	    nla_put_u32(skb, DAGTAP_A_EVENT, event) ||
	    nla_put_u64_64bit(skb, DAGTAP_A_VALUE, value, DAGTAP_A_PAD))
		goto free;
	genlmsg_end(skb, hdr);
	/* -ESRCH: nobody listens. */
	genlmsg_multicast(&event_family, skb, 0, 0, GFP_NOIO);
	return;
free:
	nlmsg_free(skb);
}

void event_worker(struct work_struct *work)
{
	struct store *s = container_of(work, struct store, event_work.work);
	u64 value[ARRAY_SIZE(s->event_value)];
	u32 mask, event;

	spin_lock_irq(&s->lock);
	mask = s->event_mask;
	memcpy(value, s->event_value, sizeof(value));
	s->event_mask = 0;
	s->event_sent = jiffies;
	spin_unlock_irq(&s->lock);
	for (event = 1; event < ARRAY_SIZE(value); event++)
		if (mask & BIT(event))
			send(s, event, value[event]);
}

int event_init(void)
{
	return genl_register_family(&event_family);
}

void event_exit(void)
{
	genl_unregister_family(&event_family);
}
