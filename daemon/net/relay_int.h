/* SPDX-License-Identifier: GPL-2.0 */
/* What the files of the relay share. Nothing else includes this. */
#ifndef DAG_RELAY_INT_H
#define DAG_RELAY_INT_H

#include <pthread.h>

#include "daemon/net/bond.h"
#include "daemon/net/relay.h"

#define BONDS_MAX	256
#define CALLERS_MAX	64
#define DIALS_MAX	32
#define CONNECT_MAX	1024		/* bytes of a CONNECT */
#define STRANGERS_MAX	32		/* bonds, and callers, from addresses of no member */

struct bond;

enum end_kind { END_LISTEN, END_KICK, END_CALLER, END_LOCAL, END_WAY };

/* A descriptor in the epoll set. */
struct end {
	enum end_kind kind;
	int fd;				/* -1: none */
	uint32_t want;			/* events asked for; 0: it is not in the set */
	struct bond *bond;		/* of a local end or a way */
};

/* Has called and not said yet what it is. */
struct caller {
	struct end e;
	uint64_t until_ms;
	bool stranger;
	unsigned got;
	char buf[CONNECT_MAX];
};

/* What relay_socket() has prepared: who calls from this port of the loopback means him. */
struct dial {
	uint16_t from;
	uint64_t until_ms;
	struct netaddr host;
	uint16_t port;
};

struct relay {
	uint16_t port;
	int epoll_fd;
	struct end listener, kick;
	pthread_t thread;
	uint8_t seed[8];
	uint64_t ids;

	/* of the thread */
	struct caller *callers[CALLERS_MAX];
	struct bond *bonds[BONDS_MAX];

	pthread_mutex_t lock;		/* of what follows */
	bool stop;
	struct relay_target self;
	unsigned nr;
	struct relay_target list[RELAY_TARGETS_MAX];
	struct dial dials[DIALS_MAX];	/* from 0: none */
	struct relay_view view;
};

uint64_t relay_now_ms(void);
/* Ask for these events of it from now on. 0: for none, errors included. */
void end_want(struct relay *rl, struct end *e, uint32_t events);
void end_close(struct relay *rl, struct end *e);
/* The addresses of a member, or of none that is known but by the one that was asked for. */
void relay_find(struct relay *rl, const struct netaddr *host, uint16_t port,
		struct relay_target *ret);

/* ---- relay_bond.c: all of it of the thread ---- */
/* A bond to another relay, with a local end that is connected (fd, taken over).
 * answer: it waits for the answer to its CONNECT. -errno: fd is closed. */
int bond_call(struct relay *rl, int fd, const struct relay_target *to, enum bond_to what,
	      bool answer);
/* A way that another relay has called by: fd is taken over. */
int bond_answer(struct relay *rl, int fd, const struct bond_hello *bh, bool stranger);
void bond_event(struct relay *rl, struct end *e, uint32_t events);
/* Time has passed: retries, what stands still. */
void bond_tick(struct relay *rl, struct bond *b);
bool bond_is_over(const struct bond *b);
unsigned bond_ways(const struct bond *b);	/* that are connected */
void bond_free(struct relay *rl, struct bond *b);

#endif
