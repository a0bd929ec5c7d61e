// SPDX-License-Identifier: GPL-2.0
/* What goes wrong, and the moves that an administrator asks for. */
#include <string.h>

#include "tests/sim/sim.h"

static bool over;
static unsigned calm;		/* mean ms between two faults */

static void heal_links(int h, void *arg, uint64_t a, uint64_t b)
{
	if (over)
		return;
	net_heal();
	restore_cut();
}

static void cut_links(void)
{
	int h = chance(nr_hosts), o = chance(nr_hosts);
	unsigned kind = chance(4);

	trace("cut %u %s %s", kind, host_name(h), host_name(o));
	switch (kind) {
	case 0:
		net_cut(h, o, true);
		break;
	case 1:
		net_cut(h, o, true);
		net_cut(o, h, true);
		break;
	case 2:				/* alone, perhaps in one direction only */
		for (int i = 0, out = percent(70), in = !out || percent(70); i < nr_hosts; i++) {
			if (out)	/* and nothing is healed by it */
				net_cut(h, i, true);
			if (in)
				net_cut(i, h, true);
		}
		break;
	default:			/* two halves */
		for (int i = 0; i < nr_hosts; i++)
			for (int k = 0; k < nr_hosts; k++)
				if ((i <= h) != (k <= h))
					net_cut(i, k, true);
	}
	at(now + between(100 * MS, 6 * SEC), SCOPE_WORLD, 0, heal_links, NULL, 0, 0);
}

static void calm_net(int h, void *arg, uint64_t a, uint64_t b)
{
	net_loss = net_dup = net_slow = 0;
}

static void rough_net(void)
{
	trace("rough network");
	net_loss = chance(200);
	net_dup = chance(100);
	net_slow = chance(150);
	at(now + between(200 * MS, 5 * SEC), SCOPE_WORLD, 0, calm_net, NULL, 0, 0);
}

static void calm_disk(int h, void *arg, uint64_t a, uint64_t b)
{
	disk_error = disk_stall = 0;
}

static void rough_disk(void)
{
	trace("rough disks");
	disk_error = percent(50) ? chance(100) : 0;
	disk_stall = percent(50) ? chance(300) : 0;
	at(now + between(200 * MS, 4 * SEC), SCOPE_WORLD, 0, calm_disk, NULL, 0, 0);
}

static void boot(int h, void *arg, uint64_t a, uint64_t b)
{
	if (!hosts[h].up)
		host_boot(&hosts[h]);
}

static void start_daemon(int h, void *arg, uint64_t a, uint64_t b)
{
	if (hosts[h].up && !hosts[h].daemon)
		host_start_daemon(&hosts[h]);
}

static void crash(int h)
{
	if (!hosts[h].up)
		return;
	host_crash(&hosts[h]);
	at(now + between(50 * MS, percent(30) ? 1500 * MS : 12 * SEC), SCOPE_WORLD, h, boot, NULL, 0, 0);
}

static void pause_host(int h, bool daemon)
{
	uint64_t until = now + between(50 * MS, percent(50) ? 2500 * MS : 8 * SEC);

	trace("%s %s pauses for %llu ms", host_name(h), daemon ? "daemon" : "host",
	      (unsigned long long)((until - now) / MS));
	if (daemon)
		hosts[h].daemon_paused_until = until;
	else
		hosts[h].paused_until = until;
}

static void released(struct ereq *r)
{
	host_kill_daemon(&hosts[r->host]);
	at(now + between(500 * MS, 8 * SEC), SCOPE_WORLD, r->host, start_daemon, NULL, 0, 0);
}

static void release(struct ereq *r, void (*done)(struct ereq *r))
{
	struct host *h = &hosts[r->host];
	struct ereq *rr;

	if (r->rc) {
		done(r);
		return;
	}
	rr = ereq_new(EREQ_RELEASE, h->id, done);
	rr->fence = h->fence;
	rr->victim_rev = r->leases[h->id].rev;
	engine_ask(rr);
}

static void stop_read(struct ereq *r)
{
	release(r, released);
}

static bool busy(const struct host *h)
{
	return !h->up || !h->daemon || !h->ready || !h->member || h->paused_until > now ||
	       h->daemon_paused_until > now;
}

/* A clean stop of the daemon: stores closed, lease given up. One thread renews and
 * releases, so no answer to a renewal comes after it (group/renewal.c, R3). */
static void stop(int id)
{
	struct host *h = &hosts[id];

	if (busy(h) || h->renewing || h->reading || h->next_renew == UINT64_MAX)
		return;
	trace("%s stops in order", host_name(id));
	for (int i = 0; i < nr_stores; i++)
		tap_close(h, i);
	h->ready = false;
	h->deadline = 0;
	h->next_renew = UINT64_MAX;
	h->reading = true;		/* no way back into the lease */
	engine_ask(ereq_new(EREQ_READ, id, stop_read));
}

static void take_up(int id, void *arg, uint64_t a, uint64_t b)
{
	hosts[id].next_renew = host_now(&hosts[id]);
}

static void let_go_done(struct ereq *r)
{
	at(now + between(1, 4 * SEC), SCOPE_DAEMON, r->host, take_up, NULL, 0, 0);
}

static void let_go_read(struct ereq *r)
{
	release(r, let_go_done);
}

/* A disk hangs: its gate cannot be shut, so the module's lease ends first, then it is
 * released. The disk answers later, and the lease is taken up. */
static void let_go(int id)
{
	struct host *h = &hosts[id];

	if (busy(h) || h->renewing || h->next_renew == UINT64_MAX)
		return;
	trace("%s lets its lease go", host_name(id));
	h->deadline = 0;
	h->next_renew = UINT64_MAX;
	engine_ask(ereq_new(EREQ_READ, id, let_go_read));
}

static void move(void)
{
	int store = chance(nr_stores), target = chance(nr_members);

	for (int h = 0; h < nr_members; h++)
		if (hosts[h].daemon && hosts[h].copy[store].run && hosts[target].copy[store].configured &&
		    hosts[h].paused_until <= now && hosts[h].daemon_paused_until <= now)
			active_move(&hosts[h], store, target);
}

static void fault(int x, void *arg, uint64_t a, uint64_t b)
{
	int h = chance(nr_hosts);

	if (over)
		return;
	at(now + between(1, 2 * calm * MS), SCOPE_WORLD, 0, fault, NULL, 0, 0);
	if (percent(40)) {		/* the active ones are worth more */
		int store = chance(nr_stores);

		for (int i = 0; i < nr_members; i++)
			if (hosts[i].copy[store].tap.active)
				h = i;
	}
	switch (chance(13)) {
	case 0: case 1: crash(h); break;
	case 2: host_kill_daemon(&hosts[h]);
		at(now + between(20 * MS, 3 * SEC), SCOPE_WORLD, h, start_daemon, NULL, 0, 0);
		break;
	case 3: pause_host(h, false); break;
	case 4: pause_host(h, true); break;
	case 5: case 6: case 7: cut_links(); break;
	case 8: rough_net(); break;
	case 9: rough_disk(); break;
	case 10: stop(h); break;
	case 11: let_go(h); break;
	default: move();
	}
}

void fault_init(void)
{
	over = false;
	disk_error = disk_stall = 0;
	calm = between(200, 3000);
	restore_init();
	at(now + between(500 * MS, 3 * SEC), SCOPE_WORLD, 0, fault, NULL, 0, 0);
}

void fault_end(void)
{
	trace("no more faults");
	over = true;
	net_heal();
	disk_error = disk_stall = 0;
	for (int h = 0; h < nr_hosts; h++) {
		hosts[h].paused_until = hosts[h].daemon_paused_until = 0;
		if (!hosts[h].up)
			host_boot(&hosts[h]);
		else if (!hosts[h].daemon)
			host_start_daemon(&hosts[h]);
	}
	restore_end();
}
