# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# PostgreSQL with pgbench inside the lab's guests. What counts is the promise of
# a commit: pgbench logs (client, number) of each transaction that the server
# has acknowledged, and the transaction itself has written the same into the
# table `acked`; after whatever happened, no logged one may be missing there.
#
# Needs lib.sh. The database is in $PG_DIR/pg, on the store that is tested.

PG_BIN=/usr/lib/postgresql/15/bin
PG_DIR=${PG_DIR:-/srv/store}
PG_RUN=${PG_RUN:-/run/lab-pg}
# Where clients find the server: its socket, or an address that follows the store.
PG_HOST=${PG_HOST:-$PG_RUN}

pg_as()
{
	(cd /tmp && exec setpriv --reuid postgres --regid postgres \
		--init-groups "$@")
}

# pg_unpack: put the cluster of tests/lab/pgdata into $PG_DIR.
pg_unpack()
{
	[ -e "$DAG/build/lab/pgdata.tar" ] ||
		die "run tests/lab/pgdata on the host first"
	tar -C "$PG_DIR" --no-same-owner -xf "$DAG/build/lab/pgdata.tar" &&
		chown -R postgres:postgres "$PG_DIR/pg" &&
		chmod 700 "$PG_DIR/pg" && sync -f "$PG_DIR"
}

# pg_prepare: a file system with the cluster on the store, for clients of the lab's
# network; pg_steps: dagd mounts it, starts the server, puts its address up. Both need
# dag.sh.
pg_prepare()
{
	mkfs.ext4 -q "$dev" && mkdir -p "$PG_DIR" && mount "$dev" "$PG_DIR" && pg_unpack &&
		echo 'host all all 10.91.0.0/16 trust' >>"$PG_DIR/pg/pg_hba.conf" &&
		umount "$PG_DIR"
}

pg_steps()
{
	"$dagctl" store set "$store" --mount-point "$PG_DIR" --fs-type ext4 \
		--exec "$DAG/tests/lab/pg-hook" --service-address "eth0=$PG_HOST/24"
}

pg_start()
{
	mkdir -p "$PG_RUN" && chown postgres "$PG_RUN" &&
		rm -f "$PG_DIR/pg/postmaster.pid" &&
		pg_as $PG_BIN/pg_ctl -D "$PG_DIR/pg" -w -t 120 \
			-l "$PG_RUN/log" -o "-k $PG_RUN -h '${PG_LISTEN:-}'" start >/dev/null
}

# pg_stop [MODE]: fast, or immediate, which is a crash of the database.
pg_stop()
{
	pg_as $PG_BIN/pg_ctl -D "$PG_DIR/pg" -w -t 120 -m "${1:-fast}" stop \
		>/dev/null
}

pg_sql()
{
	pg_as $PG_BIN/psql -h "$PG_HOST" -U postgres -X -A -t -q \
		-v ON_ERROR_STOP=1 "$@" postgres
}

# pg_bench RUN CLIENTS SECONDS: pgbench's own transaction and the insert of its
# number. Returns pgbench's status; RUN tells runs apart. A client that waits for an
# answer sees only by its probes that the server is gone, or that its address moved.
pg_bench()
{
	local run=$1

	mkdir -p "$PG_RUN/bench" && chown postgres "$PG_RUN/bench"
	cat >"$PG_RUN/bench/$run.sql" <<-'END'
		\set n :n + 1
		\set aid random(1, 100000)
		\set tid random(1, 10)
		\set delta random(-5000, 5000)
		BEGIN;
		UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
		UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
		INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, 1, :aid, :delta, CURRENT_TIMESTAMP);
		INSERT INTO acked VALUES (:run, :client_id, :n);
		END;
	END
	pg_as $PG_BIN/pgbench -h "$PG_HOST" -U postgres -n -M prepared \
		-c "$2" -j 1 -T "$3" -D "run=$run" -D n=0 -l \
		--log-prefix="$PG_RUN/bench/ack.$run" \
		-f "$PG_RUN/bench/$run.sql" \
		"dbname=postgres keepalives_idle=3 keepalives_interval=1 keepalives_count=7" \
		>"$PG_RUN/bench/out.$run" 2>&1
}

# pg_acked: every transaction that any run of this guest saw acknowledged, as
# lines "run client n".
pg_acked()
{
	local f run

	for f in "$PG_RUN"/bench/ack.*; do
		[ -e "$f" ] || continue
		run=${f##*/ack.}
		run=${run%%.*}
		# A last line that was cut off is no acknowledgement.
		awk -v run="$run" 'NF >= 6 { print run, $1, $2 }' "$f"
	done
}

# pg_missing FILE: those lines of FILE (from pg_acked) that the table lacks. A table that
# cannot be read is a line of its own: neither all nor nothing is missing.
pg_missing()
{
	sort "$1" >"$PG_RUN/want"
	if ! pg_sql -F ' ' -c 'select run, client, n from acked' >"$PG_RUN/table"; then
		echo "not known: the table cannot be read"
		return
	fi
	sort "$PG_RUN/table" >"$PG_RUN/have"
	comm -23 "$PG_RUN/want" "$PG_RUN/have"
}
