// SPDX-License-Identifier: GPL-2.0
#include "daemon/net/bond.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define HELLO_MAGIC	"dagbond"	/* with its NUL */
#define FLAG_END	1u

/* ---- formats ------------------------------------------------------------- */

struct hello_raw {
	char magic[8];
	uint16_t version;		/* little endian, as all that follows */
	uint16_t port;
	uint8_t to, joins;
	uint8_t rsvd[18];		/* 0 */
	uint8_t id[16];
	uint8_t host[16];
};

_Static_assert(sizeof(struct hello_raw) == BOND_HELLO, "hello");

struct frame_raw {
	uint64_t at;
	uint32_t len;
	uint32_t flags;
};

_Static_assert(sizeof(struct frame_raw) == BOND_HEADER, "frame");

void bond_hello_encode(const struct bond_hello *bh, uint8_t ret[BOND_HELLO])
{
	struct hello_raw raw = { .magic = HELLO_MAGIC, .version = htole16(BOND_VERSION),
				 .port = htole16(bh->port), .to = bh->to, .joins = bh->joins };

	memcpy(raw.id, bh->id, sizeof(raw.id));
	memcpy(raw.host, bh->host, sizeof(raw.host));
	memcpy(ret, &raw, sizeof(raw));
}

int bond_hello_decode(const uint8_t from[BOND_HELLO], struct bond_hello *ret)
{
	static const uint8_t zero[sizeof(((struct hello_raw *)0)->rsvd)];
	struct hello_raw raw;

	memcpy(&raw, from, sizeof(raw));
	if (memcmp(raw.magic, HELLO_MAGIC, sizeof(raw.magic)))
		return -EBADMSG;
	if (le16toh(raw.version) != BOND_VERSION)
		return -EPROTONOSUPPORT;
	if (raw.to > BOND_TO_PEER || raw.joins > 1 || memcmp(raw.rsvd, zero, sizeof(zero)))
		return -EBADMSG;
	memcpy(ret->id, raw.id, sizeof(ret->id));
	memcpy(ret->host, raw.host, sizeof(ret->host));
	ret->port = le16toh(raw.port);
	ret->to = raw.to;
	ret->joins = raw.joins;
	return 0;
}

/* ---- sending ------------------------------------------------------------- */

static uint64_t oldest(const struct bond_out *bo)
{
	return bo->head > BOND_RING ? bo->head - BOND_RING : 0;
}

/* Up to len bytes of the ring from `pos` on, in one piece or two. */
static unsigned pieces(const struct bond_out *bo, uint64_t pos, size_t len, struct iovec *ret)
{
	size_t at = pos % BOND_RING, first = BOND_RING - at < len ? BOND_RING - at : len;

	if (!len)
		return 0;
	ret[0].iov_base = bo->ring + at;
	ret[0].iov_len = first;
	if (first == len)
		return 1;
	ret[1].iov_base = bo->ring;
	ret[1].iov_len = len - first;
	return 2;
}

void bond_tx_init(struct bond_tx *tx, const struct bond_out *bo)
{
	memset(tx, 0, sizeof(*tx));
	tx->pos = oldest(bo);
}

bool bond_tx_lost(const struct bond_tx *tx, const struct bond_out *bo)
{
	return tx->pos < oldest(bo);
}

bool bond_tx_pending(const struct bond_tx *tx, const struct bond_out *bo)
{
	return tx->header_left || tx->left || tx->pos < bo->head || (bo->ended && !tx->ended);
}

static void begin_frame(struct bond_tx *tx, const struct bond_out *bo)
{
	uint64_t len = bo->head - tx->pos;
	struct frame_raw raw = { .at = htole64(tx->pos) };

	tx->left = len < BOND_FRAME_MAX ? len : BOND_FRAME_MAX;
	if (!len) {
		raw.flags = htole32(FLAG_END);
		tx->ended = true;
	}
	raw.len = htole32(tx->left);
	memcpy(tx->header, &raw, sizeof(raw));
	tx->header_left = BOND_HEADER;
}

unsigned bond_tx_next(struct bond_tx *tx, const struct bond_out *bo, struct iovec ret[3])
{
	unsigned n = 0;

	if (!bond_tx_pending(tx, bo))
		return 0;
	if (!tx->header_left && !tx->left)
		begin_frame(tx, bo);
	if (tx->header_left) {
		ret[n].iov_base = tx->header + BOND_HEADER - tx->header_left;
		ret[n++].iov_len = tx->header_left;
	}
	return n + pieces(bo, tx->pos, tx->left, ret + n);
}

void bond_tx_sent(struct bond_tx *tx, size_t n)
{
	size_t of_header = n < tx->header_left ? n : tx->header_left;

	tx->header_left -= of_header;
	n -= of_header;
	tx->left -= n;
	tx->pos += n;
}

unsigned bond_out_room(const struct bond_out *bo, uint64_t pos, struct iovec ret[2])
{
	uint64_t used = bo->head > pos ? bo->head - pos : 0;

	return used >= BOND_RING ? 0 : pieces(bo, bo->head, BOND_RING - used, ret);
}

void bond_out_add(struct bond_out *bo, size_t n)
{
	bo->head += n;
}

/* ---- receiving ----------------------------------------------------------- */

enum bond_rx_state bond_rx_look(struct bond_rx *rx, uint64_t expect)
{
	uint64_t at = rx->at + rx->skip;

	if (rx->header_got < BOND_HEADER)
		return BOND_RX_READ;
	if (rx->end)
		return at > expect ? BOND_RX_AHEAD : BOND_RX_END;
	if (at < expect) {
		uint64_t old = expect - at, have = rx->len - rx->skip;

		rx->skip += old < have ? old : have;
		at = rx->at + rx->skip;
	}
	if (rx->skip < rx->len)
		return at > expect ? BOND_RX_AHEAD : BOND_RX_GIVE;
	/* all of the buffer is done with */
	rx->at = at;
	rx->len = rx->skip = 0;
	if (!rx->left)
		rx->header_got = 0;
	return BOND_RX_READ;
}

size_t bond_rx_space(struct bond_rx *rx, uint8_t **ret)
{
	if (rx->header_got < BOND_HEADER) {
		*ret = rx->header + rx->header_got;
		return BOND_HEADER - rx->header_got;
	}
	*ret = rx->buf;
	return rx->left;	/* of a frame: it fits */
}

static int take_header(struct bond_rx *rx)
{
	struct frame_raw raw;
	uint32_t len, flags;

	memcpy(&raw, rx->header, sizeof(raw));
	len = le32toh(raw.len);
	flags = le32toh(raw.flags);
	if (flags & ~FLAG_END || len > BOND_FRAME_MAX || !len != !!(flags & FLAG_END) ||
	    le64toh(raw.at) > UINT64_MAX / 2)
		return -EBADMSG;
	rx->at = le64toh(raw.at);
	rx->len = rx->skip = 0;
	rx->left = len;
	rx->end = flags & FLAG_END;
	return 0;
}

int bond_rx_add(struct bond_rx *rx, size_t n)
{
	if (rx->header_got < BOND_HEADER) {
		rx->header_got += n;
		return rx->header_got == BOND_HEADER ? take_header(rx) : 0;
	}
	rx->len = n;
	rx->left -= n;
	return 0;
}

size_t bond_rx_bytes(const struct bond_rx *rx, const uint8_t **ret)
{
	*ret = rx->buf + rx->skip;
	return rx->len - rx->skip;
}

void bond_rx_given(struct bond_rx *rx, size_t n)
{
	rx->skip += n;
}
