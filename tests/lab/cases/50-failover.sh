#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 3 -c 1 -d 160 -l 512 -m 768 -t 900
#
# Automatic activation: three members agree in their own etcd, two hold a copy of a
# store with PostgreSQL on it. The machine that serves is killed in mid-transaction,
# again and again; the other mounts the store, starts the database and takes the
# service address, without a hand. Node 3 is the client: what it saw acknowledged may
# never be missing, and the killed machine comes back as a Healthy copy.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
PG_HOST=10.91.0.100
. "$DAG/tests/lab/pg.sh"

rounds=${ROUNDS:-3}
read -r -a kinds <<<"${KINDS:-kill}"
bench_run=0

# A commit from the client, through the service address.
writable()
{
	PGCONNECT_TIMEOUT=2 pg_sql -c "insert into acked values (0, $bench_run, $RANDOM)"
}

# pgbench ends with each loss of the server and is started again: another run.
bench_on()
{
	while [ ! -e /run/bench.stop ]; do
		bench_run=$((bench_run + 1))
		pg_bench $bench_run 2 600 || :
		sleep 0.5
	done
}

more_acked()
{
	[ "$(pg_acked | wc -l)" -gt "$1" ]
}

healthy_again()
{
	copy_is "node$1" Healthy && copy_in_sync "node$1"
}

# What its dagd is to do: run, stop (SIGSTOP), or end. Its host looks there, and says
# when it is so.
daemon_state()
{
	echo "$2" >"$LAB/daemon.$1.new" && mv "$LAB/daemon.$1.new" "$LAB/daemon.$1"
}

daemon_is()
{
	[ "$(cat "$LAB/daemon.$1.now" 2>/dev/null)" = "$2" ]
}

# strike KIND NODE, then mend KIND NODE when another serves. A host that is killed
# comes up again by itself.
strike()
{
	case $1 in
	kill) lab restart "$2" ;;
	pause) lab pause "$2" ;;
	cut) lab cut "$2" all ;;
	stop) daemon_state "$2" stop && wait_for 20 daemon_is "$2" stop ;;
	esac
}

mend()
{
	case $1 in
	pause) lab resume "$2" ;;
	cut) lab heal "$2" all ;;
	stop) daemon_state "$2" run ;;
	esac
}

one_round()
{
	local kind=${kinds[($1 - 1) % ${#kinds[@]}]} old new t0

	old=$(active_now)
	check "round $1: transactions run on node$old" \
		wait_for 60 more_acked "$(pg_acked | wc -l)"
	sleep "$((1 + RANDOM % 4)).$((RANDOM % 10))"
	t0=$(now_ms)
	check "round $1: $kind of node$old" strike "$kind" "$old"
	check "round $1: the client can write again" wait_for 90 writable
	say "round $1: $(($(now_ms) - t0)) ms from the $kind of node$old to a commit"
	new=$(active_now)
	check "round $1: another member is active ($old -> $new)" [ "$new" != "$old" ]
	mend "$kind" "$old"
	check "round $1: node$old is Healthy again without a hand" \
		wait_for 180 healthy_again "$old"
}

client()
{
	local i

	vital "node3: daemon runs" dag_up
	vital "node3: joins" quorum_up
	lab barrier copied
	check "three members vote in the engine" wait_for 120 quorum_votes
	lab barrier ready
	check "the store can be written through its address" wait_for 120 writable
	bench_on &
	bench=$!
	for ((i = 1; i <= rounds && lab_failed == 0; i++)); do
		one_round "$i"
	done
	touch /run/bench.stop
	while kill -0 $bench 2>/dev/null; do
		pkill pgbench || :	# one may just have been started
		sleep 1
	done
	pg_acked >/run/acked
	say "$(wc -l </run/acked) acknowledged transactions"
	check "there are some" [ -s /run/acked ]
	check "the database answers" wait_for 120 writable
	pg_missing /run/acked >/run/missing
	check "no acknowledged transaction is missing" [ ! -s /run/missing ]
	head -n 5 /run/missing
	"$dagctl" events list --kind activation || :
	daemon_state 1 end
	daemon_state 2 end
	lab barrier end
	dagd_stop
}

# A copy's host: whatever happens to it, it only runs its daemon.
host()
{
	local state

	vital "node$NODE: daemon runs (boot $BOOT)" dag_up
	if [ "$BOOT" -eq 1 ]; then
		vital "node$NODE: in the group" quorum_up --late 5s \
			--ring-mib 16 --segment-mib 16 --quota 128MiB
		[ "$NODE" -eq 1 ] || vital "node$NODE: copy is Healthy" copy_up
		lab barrier copied
		if [ "$NODE" -eq 1 ]; then
			vital "file system and database on the store" pg_prepare
			vital "steps of the store" pg_steps
		fi
		lab barrier ready
	fi
	until state=$(cat "$LAB/daemon.$NODE" 2>/dev/null); [ "$state" = end ]; do
		case $state in
		stop) kill -STOP "$(dagd_pid)" || : ;;
		*) kill -CONT "$(dagd_pid)" || : ;;
		esac
		daemon_is "$NODE" "$state" || echo "$state" >"$LAB/daemon.$NODE.now"
		sleep 0.5
	done
	lab barrier end
	dagd_stop || :
}

if [ "$NODE" -eq 3 ]; then client; else host; fi
dag_finish
