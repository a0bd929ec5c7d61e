# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# The whole product inside the lab's guests: daemon under a small supervisor,
# group, store and copies. Needs lib.sh. State and segments of a member stand on
# its log disk, so that they outlive the guest; the store is called s1 and lies
# on the data disk.

dagctl=$DAG/build/dagctl
dag_home=/srv/dag
dag_conf=/run/dag.conf
store=${store:-s1}
dev=/dev/mapper/$store
lower=${lower:-/dev/vda}
repl=10.92.0.$NODE

# dag_disk: the log disk, formatted at the first boot.
dag_disk()
{
	mkdir -p $dag_home
	[ "$BOOT" -gt 1 ] || mkfs.ext4 -q -F /dev/vdb
	mount /dev/vdb $dag_home
	mkdir -p $dag_home/state
}

# dag_configure [LINE]...: dag.conf with more lines.
dag_configure()
{
	{
		echo "member = node$NODE"
		echo "address = $repl"
		echo "state_dir = $dag_home/state"
		printf '%s\n' "$@"
	} >$dag_conf
}

# The supervisor, in place of systemd: runs dagd again until dagd_stop. Before
# the scripts' questions, which would take an emulated CPU from it. Its
# file descriptors are its own, or a caller's pipe would never end.
dagd_loop()
{
	while [ ! -e /run/dagd.stop ]; do
		nice -n -10 "$DAG/build/dagd" --config $dag_conf &
		echo $! >/run/dagd.pid
		wait $! || :
		echo "supervisor: dagd ended, status $?"
		[ -e /run/dagd.stop ] || sleep 0.5
	done
}

dagd_start()
{
	rm -f /run/dagd.stop
	dagd_loop >>"$LAB/dagd.node$NODE.log" 2>&1 </dev/null &
	dagd_supervisor=$!
	wait_for 60 "$dagctl" --version
	wait_for 60 [ -S /run/dag/control.sock ]
}

dagd_pid()
{
	cat /run/dagd.pid
}

# dagd_stop [SIGNAL]: end it for good.
dagd_stop()
{
	touch /run/dagd.stop
	kill -s "${1:-TERM}" "$(dagd_pid)" && wait "$dagd_supervisor"
}

# dag_up [CONF LINE]...: everything of a member that is not agreed.
dag_up()
{
	dag_disk && dag_configure "$@" && module_load && dagd_start
}

# copy_json: a line of JSON for each copy. One call costs an emulated guest half
# a second, so ask once for many keys.
copy_json()
{
	"$dagctl" copy status "$store" --json | tr -d '\n' |
		sed 's/}[[:space:]]*,/}\n/g'
}

# json_value MEMBER KEY: out of copy_json's lines on standard input.
json_value()
{
	grep "\"member\": *\"$1\"" |
		sed -n "s/.*\"$2\": *\"\{0,1\}\([^\",}]*\).*/\1/p" |
		sed 's/ *$//'
}

json_of()
{
	copy_json | json_value "$1" "$2"
}

copy_is()
{
	[ "$(json_of "$1" status)" = "$2" ]
}

# Nothing is under way between the active and the copy on MEMBER.
copy_drained()
{
	local json

	json=$(copy_json)
	[ "$(json_value "$1" copy_queue_bytes <<<"$json")" = 0 ] &&
		[ "$(json_value "$1" replay_queue_bytes <<<"$json")" = 0 ] &&
		[ "$(json_value "$1" status <<<"$json")" = Healthy ]
}

copy_in_sync()
{
	[ "$(json_of "$1" in_sync)" = true ]
}

# group_up [CREATE-OPTION]...: node 1 makes the group and the store, the others
# join and add their copies; returns when all copies are Healthy.
group_up()
{
	local n token

	if [ "$NODE" -eq 1 ]; then
		"$dagctl" group create lab --engine file || return 1
		for ((n = 2; n <= NODES; n++)); do
			token=$("$dagctl" member add "node$n" --address "10.92.0.$n" |
				grep -o 'dag1/[^ "]*') || return 1
			lab put "token$n" "$token"
			lab get "joined$n" 120 >/dev/null
		done
		store_up "$@" || return 1
		lab put store-made 1
	else
		token=$(lab get "token$NODE" 120) &&
			"$dagctl" group join <<<"$token" || return 1
		lab put "joined$NODE" 1
	fi
}

# quorum_up [CREATE-OPTION]...: like group_up, with three voters; node 1 makes the
# store, copies are added by those who want one. The guests are emulated, three on two
# processors, where a handshake takes a second: so their times are slow ones, too.
quorum_up()
{
	local n token

	if [ "$NODE" -gt 1 ]; then
		token=$(lab get "token$NODE" 180) && "$dagctl" group join <<<"$token" || return 1
		lab put "joined$NODE" 1
		return
	fi
	"$dagctl" group create lab --profile wan --heartbeat 500ms --lease 10s --lease-period 2s \
		--engine-heartbeat 300ms --engine-election 2500ms || return 1
	for n in 2 3; do
		token=$("$dagctl" member add "node$n" --address "10.92.0.$n" |
			grep -o 'dag1/[^ "]*') || return 1
		lab put "token$n" "$token"
		lab get "joined$n" 180 >/dev/null
	done
	store_up --mode commit "$@" || return 1
	lab put store-made 1
}

quorum_votes()
{
	"$dagctl" group show --json | tr -d ' \n' |
		grep -q '"engine_voters":3,"engine_learners":0'
}

active_now()
{
	"$dagctl" store list --json | tr -d ' \n' | sed -n 's/.*"active":"node\([0-9]\)".*/\1/p'
}

store_up()
{
	"$dagctl" store create "$store" --device $lower "$@"
}

# copy_add: add this member's copy, once there is a store. Cases compare devices, so it
# is seeded with what nobody uses, too, unless copy_whole says off.
copy_add()
{
	lab get store-made 180 >/dev/null &&
		wait_for 30 store_known &&
		"$dagctl" copy add "$store" --device $lower --whole "${copy_whole:-on}" "$@"
}

# copy_up: and wait until it is Healthy.
copy_up()
{
	copy_add "$@" && wait_for 120 copy_is "node$NODE" Healthy
}

store_known()
{
	"$dagctl" store list | grep -qw "$store"
}

# Every passive copy is Healthy and holds everything.
all_drained()
{
	local json n

	json=$(copy_json)
	for ((n = 1; n <= NODES; n++)); do
		[ "$(json_value "node$n" role <<<"$json")" != active ] || continue
		[ "$(json_value "node$n" status <<<"$json")" = Healthy ] &&
			[ "$(json_value "node$n" copy_queue_bytes <<<"$json")" = 0 ] &&
			[ "$(json_value "node$n" replay_queue_bytes <<<"$json")" = 0 ] ||
			return 1
	done
}

store_sectors()
{
	"$dagctl" store list --json | tr -d '\n' |
		sed -n 's/.*"sectors": *\([0-9]*\).*/\1/p'
}

# The content of the lower device as the disk has it.
device_sum()
{
	local sectors

	sectors=$(store_sectors) && [ "$sectors" -gt 0 ] || return 1
	blockdev --flushbufs /dev/vda
	dd if=/dev/vda bs=1M iflag=direct,count_bytes status=none \
		count=$((sectors * 512)) | sha256sum | cut -d' ' -f1
}

# devices_equal NAME: all nodes come here; each compares its sum with node 1's.
devices_equal()
{
	local sum

	sum=$(device_sum) && [ -n "$sum" ] || return 1
	lab put "sum.$1.$NODE" "$sum"
	[ "$(lab get "sum.$1.1" 180)" = "$sum" ]
}

# vital NAME CMD...: a check without which the rest of the case means nothing;
# the other nodes need not wait for what will never come.
vital()
{
	local before=$lab_failed n

	check "$@"
	[ "$lab_failed" -gt "$before" ] || return 0
	for ((n = 1; n <= NODES; n++)); do
		[ "$n" -eq "$NODE" ] || lab kill "$n"
	done
	dag_finish
}

# dag_dump: what helps to find out why; for the end of a failed case.
dag_dump()
{
	"$dagctl" copy status "$store" --full || :
	cat /proc/dagtap || :
	tail -n 60 "$LAB"/dagd.node*.log || :
}

dag_finish()
{
	[ "$lab_failed" -eq 0 ] || dag_dump
	finish
}
