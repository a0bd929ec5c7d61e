/* SPDX-License-Identifier: GPL-2.0 */
/* What active*.c, spool.c, seeder.c and ship/peer.c share: one active copy. */
#ifndef DAG_ACTIVE_INTERNAL_H
#define DAG_ACTIVE_INTERNAL_H

#include <pthread.h>
#include <sys/socket.h>

#include "daemon/ship/latency.h"
#include "daemon/ship/regionset.h"
#include "daemon/ship/window.h"
#include "daemon/store/active.h"
#include "daemon/store/pace.h"

#define SEND_MAX	(1u << 20)
#define FEED_BYTES	(1u << 20)
#define ZSENDS		16
#define SEED_SETS	3	/* copies' region sets in one seed */

enum peer_state { PEER_IDLE, PEER_CONNECTING, PEER_STREAM, PEER_CLOSING };

struct peer;

/* One send from the ring: with zero copy its bytes are in use beyond done(). */
struct zsend {
	struct loop_op op;
	struct peer *peer;
	uint64_t lsn;
	bool in_use;
};

struct peer {
	struct active *a;
	unsigned slot;			/* in window.copy */
	char member[64];
	struct sockaddr_storage addr;	/* as configured */
	socklen_t addrlen;
	struct way way;			/* of the connection, and of the next */
	bool wanted;			/* configured and not suspended */
	enum peer_state state;
	uint64_t retry_ms;		/* when to connect again */
	char error[160];

	/* ship thread only, while PEER_STREAM or PEER_CLOSING */
	struct stream *stream;
	uint64_t sent;			/* next byte for the socket */
	uint64_t begun;			/* end of the newest send that was begun */
	bool sending;
	uint64_t moved_ms;		/* when its acks last moved */
	bool close_wanted;
	bool segment_mode;
	struct zsend zsend[ZSENDS];
	struct loop_op feed_op, recv_op;
	struct packer *packer;		/* NULL: the log goes as it is; under lock */
	enum dag_codec codec;
	struct loop_op pack_op;		/* of the pack that is sent … */
	const uint8_t *pack_at;
	size_t pack_left;
	uint32_t pack_raw;		/* … and stands for so much of the log, … */
	bool pack_fed;			/* … out of feed */
	struct dag_ack frame;
	size_t frame_have;
	bool seeded;			/* the session that runs is for it; under lock */
	uint64_t seed_rate;		/* as agreed for its seed; 0: the store's; under lock */
	bool seed_whole;		/* as agreed; under lock */
	uint32_t seed_request;		/* as agreed; under lock */
	bool seed_begun;		/* one, since that was agreed; under lock */
	struct regionset set;		/* as it told us, of its branch; id 0: none; under lock */

	/* feed: disk thread fills while `feed_ask`, ship thread sends */
	uint8_t *feed;
	bool feed_ask;
	int64_t feed_len;		/* bytes in feed, or -errno */
	size_t feed_off;

	/* handed over by the connector, under lock */
	struct stream *fresh;
	struct frame_welcome welcome;
	uint32_t fresh_epoch;		/* of the hello that it answers */
	bool fresh_ready;
	struct regionset fresh_set;
	struct packer *fresh_packer;
	enum dag_codec fresh_codec;
	char security[64];
	bool codec_refused;		/* one was offered, the copy there takes none */

	/* the ship thread writes, any may read the histograms */
	struct latency latency;

	/* for status and decisions, under lock */
	struct frame_ack ack;
	bool connected;
	int txn;			/* wanted change of the in-sync set: +1, -1 */
};

struct seed_want {
	bool pending;
	uint64_t since;			/* 0: everything */
	uint64_t first;			/* sectors below are there */
};

struct active {
	struct active_conf conf;
	char *self, *name;
	const struct tap_view *view;
	struct loop *loop;

	pthread_mutex_t lock;
	pthread_cond_t cond;		/* work for disk thread or seeder; connectors */
	pthread_cond_t moved;		/* an ack came: for those who drain */
	bool stop, failed;
	char error[160];

	struct window w;		/* under lock; the ship thread writes */
	struct peer peers[WINDOW_COPIES_MAX];
	unsigned connecting;		/* connector threads alive */
	uint64_t oldest;		/* feed goes back to here */
	uint32_t mode;
	bool turning;			/* the epoch changes: nothing is sent */
	uint32_t promised;		/* highest epoch that a copy refused us with */
	uint64_t ask_ms;		/* next question for an epoch, or end of a seed, not before */

	/* ship thread */
	struct loop_op poll_op, timer_op;
	bool poll_armed;
	uint64_t last_commit;
	uint64_t seen_gen;		/* state_gen that INFO told last */
	uint64_t restart_ms, restart_wait_ms;	/* log restarts not before; step */
	uint32_t stuck_ms;		/* no ack that moves so long, while the ring fills */
	uint64_t acked_free, acked_ack, acked_clear;
	struct latency latency;		/* LATENCY_ACK of all copies together */

	/* disk thread */
	pthread_t ship_thread, disk_thread, agree_thread, seed_thread;
	bool spooling;
	bool spool_busy;		/* it reads the ring without the lock */
	uint64_t spool_end;

	/* seeder */
	struct seed_want want;
	bool seed_runs;
	/* Of regions written below this LSN, bits may be cleared: all copies had that durably.
	 * One that has less, because its log was lost, is not mended by them. */
	uint64_t bits_gone;
	bool seed_mark;			/* the tap waits for a SEED_END since the last gap */
	uint8_t seed_id[16];
	uint64_t seed_since, seed_first, seed_begin;
	uint64_t seed_sets[SEED_SETS];	/* ids; 0: none */
	uint64_t seed_done, seed_total, seed_start_ms;
	uint64_t seed_rate;		/* as agreed for the store; 0: no limit */
	struct meter seed_meter;
	uint64_t seed_unused;		/* of seed_done: not read, for no file system needs it */
	bool seed_leaves_out;		/* … as this session does, or may */
	int seed_cancel;		/* eventfd, readable: stop */
	uint64_t seeds;			/* sessions begun */
	struct loop_stats stats;
};

/* Where a member takes connections; -EINVAL: its address is none. */
int active_addr(const struct group_member *m, struct sockaddr_storage *ret, socklen_t *ret_len);
uint64_t active_now_ms(void);
uint64_t active_commit(const struct active *a);
uint64_t active_wall_ns(void);		/* CLOCK_REALTIME, as the records' times */
/* Begin to time the end of the log, if the stages have not passed it: they are at `at`. */
void active_probe(const struct active *a, struct latency *l, uint64_t at, unsigned stages);
void active_kick(struct active *a);	/* lock held: wake ship and disk threads */
void active_set_error(struct active *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Lock held: what is known of this member's copy; NULL: it has none. */
struct peer *active_peer(struct active *a, const char *member);

/* active_drain.c: after role PASSIVE, did the log end in order at `end`? */
bool active_closed(const struct tap_view *v, uint64_t end, uint32_t epoch);

/* active_ship.c: the ship thread */
void *active_ship_main(void *arg);

/* ship/peer.c; ship thread, lock held */
void peer_tick(struct peer *p, uint64_t now_ms);	/* connect, take over, close */
void peer_pump(struct peer *p);
void peer_probe(struct peer *p);
void peer_close(struct peer *p, const char *why);
bool peer_idle(const struct peer *p);
uint64_t peer_held(const struct peer *p);
void peer_time_ship(struct peer *p, uint64_t end);	/* a send up to `end` begins */
void peer_after_send(struct peer *p, int res);		/* what a send ended with */

/* ship/peer_pack.c; ship thread, lock held */
void peer_pack_init(struct peer *p);			/* while nothing is in flight */
/* Send a piece of it as a pack; fed: it stands in feed, else in the ring. */
void peer_pack_send(struct peer *p, const uint8_t *raw, uint64_t len, bool fed);

/* spool.c: the disk thread */
void *spool_main(void *arg);
/* Lock held. The ring is half full and the copies do not empty it. */
bool spool_wanted(const struct active *a, uint64_t commit);

/* agree.c */
void *agree_main(void *arg);

/* seeder.c */
void *seeder_main(void *arg);
/* Lock held: bytes a second that the session may read; 0: no limit. */
uint64_t seeder_rate(const struct active *a);
/* Lock held: a copy needs the regions changed since, from sector first on. */
void seeder_want(struct active *a, uint64_t since, uint64_t first);
/* Lock held: sectors below need not be seeded; a gap that the copy has still to meet
 * undoes what it has of a seed. */
uint64_t seeder_first(const struct active *a, const struct frame_welcome *w);
/* Lock held: the session that runs, or ran, is all that this copy waits for. set: id of
 * the one that came with its welcome; 0: none. whole: it is to have everything. */
bool seeder_serves(const struct active *a, const struct frame_welcome *w, uint64_t set, bool whole);

#endif
