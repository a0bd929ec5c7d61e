// SPDX-License-Identifier: GPL-2.0
#include "daemon/group/balance.h"

#include <stdint.h>
#include <string.h>

struct plan {
	const struct balance_store *stores;
	const struct balance_member *members;
	unsigned n, nr_members, limit;
	unsigned *target;
	unsigned count[GROUP_MEMBERS_MAX];
};

static bool has_room(const struct plan *p, unsigned member)
{
	uint32_t max = p->members[member].max_active;

	return !max || p->count[member] < max;
}

static const struct balance_copy *copy_at(const struct balance_store *st, unsigned member)
{
	for (unsigned i = 0; i < st->nr; i++)
		if (st->copy[i].member == member)
			return &st->copy[i];
	return NULL;
}

/* The most preferred eligible copy with room, beyond `after` in preference. */
static const struct balance_copy *best(const struct plan *p, const struct balance_store *st)
{
	const struct balance_copy *found = NULL;

	for (unsigned i = 0; i < st->nr; i++) {
		const struct balance_copy *c = &st->copy[i];

		if (c->eligible && has_room(p, c->member) &&
		    (!found || c->preference < found->preference))
			found = c;
	}
	return found;
}

static void by_preference(struct plan *p)
{
	for (unsigned s = 0; s < p->n; s++) {
		const struct balance_copy *c = best(p, &p->stores[s]);

		p->target[s] = c ? c->member : p->stores[s].active;
		p->count[p->target[s]]++;
	}
}

/*
 * The cheapest step towards the limit: one store off a member above it, to one that
 * stays within it; least loss of preference first, then the least loaded.
 */
static bool relieve(struct plan *p)
{
	unsigned from = 0, to = 0, store = p->n;
	uint64_t cost = UINT64_MAX;

	for (unsigned s = 0; s < p->n; s++) {
		const struct balance_copy *now = copy_at(&p->stores[s], p->target[s]);

		if (p->count[p->target[s]] <= p->limit)
			continue;
		for (unsigned i = 0; i < p->stores[s].nr; i++) {
			const struct balance_copy *c = &p->stores[s].copy[i];
			uint64_t step;

			if (!c->eligible || c->member == p->target[s] ||
			    p->count[c->member] >= p->limit || !has_room(p, c->member))
				continue;
			step = (uint64_t)(now && c->preference > now->preference ?
					  c->preference - now->preference : 0) << 32 |
			       p->count[c->member];
			if (step >= cost)
				continue;
			cost = step;
			store = s;
			from = p->target[s];
			to = c->member;
		}
	}
	if (store == p->n)
		return false;
	p->target[store] = to;
	p->count[from]--;
	p->count[to]++;
	return true;
}

void balance_plan(const struct balance_store *stores, unsigned n, const struct balance_member *members,
		  unsigned nr_members, int deviation, unsigned *ret_target)
{
	struct plan p = {
		.stores = stores, .members = members, .n = n, .nr_members = nr_members,
		.target = ret_target,
	};

	by_preference(&p);
	if (deviation < 0 || !nr_members)
		return;
	/* rounded up: a mean of 1.2 lets everybody have 2 */
	p.limit = ((uint64_t)n * (100 + (unsigned)deviation) + 100ull * nr_members - 1) /
		  (100ull * nr_members);
	while (relieve(&p))
		;
}

unsigned balance_order(const struct balance_store *store, const struct balance_member *members,
		       unsigned ret_members[GROUP_MEMBERS_MAX])
{
	uint64_t rank[GROUP_MEMBERS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < store->nr; i++) {
		const struct balance_copy *c = &store->copy[i];
		const struct balance_member *mb = &members[c->member];
		uint64_t mine;
		unsigned at;

		if (!c->eligible || c->member == store->active ||
		    (mb->max_active && mb->active_now >= mb->max_active))
			continue;
		mine = (uint64_t)(mb->max_preferred && mb->active_now >= mb->max_preferred) << 32 |
		       c->preference;
		for (at = n; at && rank[at - 1] > mine; at--) {
			rank[at] = rank[at - 1];
			ret_members[at] = ret_members[at - 1];
		}
		rank[at] = mine;
		ret_members[at] = c->member;
		n++;
	}
	return n;
}
