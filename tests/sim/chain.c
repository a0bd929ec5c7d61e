// SPDX-License-Identifier: GPL-2.0
/* Records as a tree: the parent is the record before. Jump pointers make the way
 * to an ancestor logarithmic (Myers 1983). */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

#define NODES_MAX	200000

struct node {
	int parent, jump;
	uint32_t depth, epoch;
	uint64_t end;
};

static struct node nodes[STORES_MAX][NODES_MAX];
static int nr_nodes[STORES_MAX];

void chain_init(void)
{
	for (int i = 0; i < STORES_MAX; i++) {
		nodes[i][0] = (struct node){ 0 };
		nr_nodes[i] = 1;
	}
}

uint64_t chain_end(int store, int node)
{
	return nodes[store][node].end;
}

uint32_t chain_epoch(int store, int node)
{
	return nodes[store][node].epoch;
}

int chain_append(int store, int parent, uint32_t epoch, uint64_t start, uint64_t bytes)
{
	struct node *n = nodes[store], *p = &n[parent], *j = &n[p->jump];
	int id = nr_nodes[store]++;

	if (id >= NODES_MAX) {
		fprintf(stderr, "sim: too many records\n");
		exit(2);
	}
	n[id].parent = parent;
	n[id].depth = p->depth + 1;
	n[id].epoch = epoch;
	n[id].end = start + bytes;
	n[id].jump = p->depth - j->depth == j->depth - n[j->jump].depth ? j->jump : parent;
	return id;
}

static int up(int store, int log, uint32_t depth)
{
	struct node *n = nodes[store];

	while (n[log].depth > depth)
		log = n[n[log].jump].depth >= depth ? n[log].jump : n[log].parent;
	return log;
}

bool chain_has(int store, int log, int node)
{
	const struct node *n = nodes[store];

	return n[log].depth >= n[node].depth && up(store, log, n[node].depth) == node;
}

int chain_cut(int store, int log, uint64_t lsn)
{
	struct node *n = nodes[store];

	while (n[log].end > lsn)
		log = n[n[log].jump].end > lsn ? n[log].jump : n[log].parent;
	return log;
}

unsigned chain_len(int store, int from, int to)
{
	return nodes[store][to].depth - nodes[store][from].depth;
}
