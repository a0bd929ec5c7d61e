/* SPDX-License-Identifier: GPL-2.0 */
/*
 * move_point - what a move to a point of the target's log asks of the target before it is
 * agreed (verb_point.c there), and what it says of what is given up.
 */
#ifndef DAG_MOVE_POINT_H
#define DAG_MOVE_POINT_H

#include <stdint.h>

#include "daemon/control/control_int.h"

struct peer_line;

struct move_point {
	const char *at;			/* NULL: everything is moved */
	uint64_t lsn, time_ns;
	uint64_t end_lsn, end_ns;	/* of the log; in the end where the gate was shut */
	bool held;			/* the target holds, and is to be released */
};

/* Find the point and hold the target's replay at it, for so long. */
int move_point_hold(struct rpc_call *call, struct peer_line *line, const uint8_t uuid[16],
		    struct move_point *mp, uint64_t ms);
/* Until all before it is replayed there; renews the hold. */
int move_point_reach(struct rpc_call *call, struct peer_line *line, const uint8_t uuid[16],
		     struct move_point *mp, uint64_t ms, uint64_t timeout_ms);
/* The gate is shut, the target has all up to mp->end_lsn: it keeps what is given up. */
int move_point_keep(struct rpc_call *call, struct peer_line *line, const uint8_t uuid[16],
		    struct move_point *mp, uint64_t timeout_ms);
/* It did not come to that; harmless at any time. */
void move_point_release(struct rpc_call *call, struct peer_line *line, const uint8_t uuid[16],
			struct move_point *mp);

/* Seconds between the point and the end; 0 where the times are not known. */
double move_point_seconds(const struct move_point *mp);
/* point_lsn, point_time, given_up_bytes, given_up_seconds */
void move_point_fields(struct json_object *obj, const struct move_point *mp);

#endif
