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

/* Ask for these events of it from now on. 0: for none, errors included. */
void end_want(struct relay *rl, struct end *e, uint32_t events);
void end_close(struct relay *rl, struct end *e);
/* One more of a counter of the view. */
void relay_count(struct relay *rl, uint64_t *which);
/* The addresses of a member, or of none that is known but by the one that was asked for. */
void relay_find(struct relay *rl, const struct netaddr *host, uint16_t port,
		struct relay_target *ret);

/* ---- relay_call.c: all of it of the thread, but for relay_socket() ---- */
void callers_answer(struct relay *rl);
void caller_event(struct relay *rl, struct end *e);
/* Time has passed; how many there are. */
unsigned callers_tick(struct relay *rl);
void callers_free(struct relay *rl);

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
/* Something of it is under way that may take too long: a call, bytes, its end. */
bool bond_waits(const struct bond *b);
unsigned bond_ways(const struct bond *b);	/* that are connected */
void bond_free(struct relay *rl, struct bond *b);

/* ---- relay_way.c ---- */

struct way {
	struct end e;
	bool connecting;
	bool readable;			/* epoll has said so, and no read has come short since */
	struct netaddr to;		/* that was called; nothing where it called */
	uint64_t until_ms;		/* of connecting; without a socket: not called before */
	uint64_t moved_ms;		/* when it last took bytes, or had none to take */
	unsigned hello_left;
	uint8_t hello[BOND_HELLO];
	struct bond_tx tx;
	struct bond_rx rx;
};

struct bond {
	struct bond_hello hello;
	struct relay_target to;		/* of a bond that was called from here */
	bool calls;			/* made here: it calls its ways anew */
	bool stranger;			/* called from an address of no member */
	bool answer;			/* CONNECT waits for an answer */
	bool had_way;
	bool over;
	struct end local;
	bool local_connecting;
	bool local_full;		/* it takes no more bytes just now */
	bool given_all;			/* the other side's end has been delivered */
	uint64_t call_ms;		/* ways are not looked for before */
	uint64_t ended_ms;		/* when one of the directions ended, 0: not yet */
	struct bond_out out;
	uint64_t expect;		/* bytes delivered to the local end */
	struct way *way[RELAY_WAYS_MAX];
};

struct way *way_new(struct bond *b);		/* NULL: no memory */
void way_call(struct relay *rl, struct bond *b, unsigned at);
/* It is connected: from here on it takes part. */
void way_up(struct bond *b, struct way *w);
/* It fails or is of no use any more: closed; one of ours is called again. */
void way_lost(struct relay *rl, struct bond *b, unsigned at);
bool way_is_up(const struct way *w);		/* NULL is none */
/* It has something to send, and has not taken a byte for a while. */
bool way_stands_still(const struct bond *b, const struct way *w, uint64_t now_ms);
/* As much as it takes now. */
void way_send(struct relay *rl, struct bond *b, unsigned at);
void way_set_options(int fd);

#endif
