/* SPDX-License-Identifier: GPL-2.0 */
/*
 * bond - one stream of bytes that goes over several connections (ways) at once. Pure:
 * formats, what is to be sent on each way, and putting it together at the other end.
 *
 * Each way carries all of the stream in frames that say where in it they belong; the
 * receiver takes what is new from whichever way brings it first. So a way that is lost,
 * in one direction or in both, costs no time and no byte as long as another is there.
 * The last BOND_RING bytes are kept: a way that is added later begins with them.
 *
 * Invariants:
 *  B1 what is delivered is the stream, each byte once and in order: a frame's bytes
 *     below the end of what was delivered are dropped, one that begins above it waits;
 *  B2 a way that has not sent what the ring no longer holds is of no use any more
 *     (bond_tx_lost): it must be ended, and not be fed with what comes after;
 *  B3 input is the network's: whatever it is, it is an error or it is delivered within
 *     fixed memory. (What the stream carries is TLS between the ends: bytes that were
 *     made up end it.)
 */
#ifndef DAG_BOND_H
#define DAG_BOND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BOND_HELLO	64
#define BOND_HEADER	16
#define BOND_FRAME_MAX	16384
#define BOND_RING	131072		/* a power of two */
#define BOND_VERSION	1

/* Which port of the other end the stream goes to. */
enum bond_to { BOND_TO_CLIENT, BOND_TO_PEER };

/* What the caller of a way says first. */
struct bond_hello {
	uint8_t id[16];			/* of the bond, chosen at random */
	uint8_t host[16];		/* configured address of who is called (struct netaddr) */
	uint16_t port;			/* its port */
	enum bond_to to;
	bool joins;			/* the bond is there already; else it may be made */
};

void bond_hello_encode(const struct bond_hello *bh, uint8_t ret[BOND_HELLO]);
/* -EBADMSG: no hello; -EPROTONOSUPPORT: of another version. */
int bond_hello_decode(const uint8_t raw[BOND_HELLO], struct bond_hello *ret);

/* ---- sending ---- */

/* What one end has to say: the stream's last bytes. */
struct bond_out {
	uint8_t *ring;			/* BOND_RING bytes */
	uint64_t head;			/* end of the stream so far */
	bool ended;			/* nothing will come after head */
};

/* Where one way is in it. */
struct bond_tx {
	uint64_t pos;			/* next byte of the stream to send */
	uint8_t header[BOND_HEADER];
	unsigned header_left;		/* of the frame that is being sent */
	unsigned left;
	bool ended;			/* the end has been sent, too */
};

/* A way that joins: from the oldest byte that is kept. */
void bond_tx_init(struct bond_tx *tx, const struct bond_out *bo);
bool bond_tx_lost(const struct bond_tx *tx, const struct bond_out *bo);	/* B2 */
/* What to send now: the number of pieces, 0 to 3; the bytes stay where they are until
 * head moves on. A new frame is begun where none is under way. */
unsigned bond_tx_next(struct bond_tx *tx, const struct bond_out *bo, struct iovec ret[3]);
/* So many bytes of it were sent. */
void bond_tx_sent(struct bond_tx *tx, size_t n);
bool bond_tx_pending(const struct bond_tx *tx, const struct bond_out *bo);
/* Room to read the stream's next bytes into: pieces, 0 to 2, so that a way which is at
 * `pos` loses nothing; then so many were read. */
unsigned bond_out_room(const struct bond_out *bo, uint64_t pos, struct iovec ret[2]);
void bond_out_add(struct bond_out *bo, size_t n);

/* ---- receiving ---- */

enum bond_rx_state {
	BOND_RX_READ,			/* wants bytes of the way */
	BOND_RX_GIVE,			/* has bytes that are next in the stream */
	BOND_RX_AHEAD,			/* has bytes that come later: other ways first */
	BOND_RX_END,			/* the stream ends here */
};

struct bond_rx {
	uint8_t header[BOND_HEADER];
	unsigned header_got;
	unsigned left;			/* of the frame, not read yet */
	bool end;			/* this frame is the end */
	uint64_t at;			/* place in the stream of buf[0] */
	unsigned len;			/* of buf */
	unsigned skip;			/* of them, delivered already */
	uint8_t buf[BOND_FRAME_MAX];
};

/* What this way is good for when `expect` bytes have been delivered. Drops what was. */
enum bond_rx_state bond_rx_look(struct bond_rx *rx, uint64_t expect);
/* BOND_RX_READ: where to, how many at most; then so many were read: -EBADMSG, not ours. */
size_t bond_rx_space(struct bond_rx *rx, uint8_t **ret);
int bond_rx_add(struct bond_rx *rx, size_t n);
/* BOND_RX_GIVE: the bytes; so many were delivered (the caller adds them to expect). */
size_t bond_rx_bytes(const struct bond_rx *rx, const uint8_t **ret);
void bond_rx_given(struct bond_rx *rx, size_t n);

#endif
