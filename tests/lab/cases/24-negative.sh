#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -d 64 -l 512 -t 400
#
# What must be refused: strangers and garbage on the replication port, a second
# daemon, a host without an invitation, a token used twice. And what must still
# work: everything, where the administrator has switched io_uring off.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
need fio openssl

port=64327
slow=${LAB_SLOW:-1}

# Where the kernel has the switch (6.6 and later) it is used, else dag.conf's.
no_uring()
{
	if [ -e /proc/sys/kernel/io_uring_disabled ]; then
		echo 2 >/proc/sys/kernel/io_uring_disabled
		dag_up
	else
		dag_up "io = posix"
	fi
}

# No descriptor of dagd is a ring.
without_uring()
{
	! ls -l "/proc/$(dagd_pid)/fd" | grep -q io_uring
}

garbage()
{
	local i

	for i in 1 2 3; do
		head -c $((i * 500)) /dev/urandom |
			timeout $((5 * slow)) busybox nc node2-repl $port || :
	done
	: | timeout $((5 * slow)) busybox nc node2-repl $port || :
}

# A certificate that some other authority has made for an expected name.
stranger()
{
	openssl req -x509 -newkey ed25519 -nodes -days 2 -subj /CN=node1 \
		-keyout /run/x.key -out /run/x.crt 2>/dev/null &&
		head -c 640 /dev/zero | timeout $((10 * slow)) openssl s_client -tls1_3 \
			-quiet -connect node2-repl:$port -cert /run/x.crt -key /run/x.key
}

nameless()
{
	head -c 640 /dev/zero | timeout $((10 * slow)) openssl s_client -tls1_3 -quiet \
		-connect node2-repl:$port
}

old_tls()
{
	timeout $((10 * slow)) openssl s_client -tls1_2 -connect node2-repl:$port </dev/null
}

# told CMD...: CMD fails, because the other side has sent it an alert.
told()
{
	! "$@" >/run/told 2>&1 && cat /run/told && grep -qi alert /run/told
}

second_daemon()
{
	timeout $((20 * slow)) "$DAG/build/dagd" --config $dag_conf
}

# A daemon that waits for whoever is silent would be held up by a scanner.
answers()
{
	timeout $((10 * slow)) "$dagctl" status
}

bad_config()
{
	echo "lease_ms = soon" >/run/bad.conf
	timeout $((10 * slow)) "$DAG/build/dagd" --config /run/bad.conf 2>&1 | grep 'bad.conf:1'
}

log_lines()
{
	wc -l <"$LAB/dagd.node2.log"
}

node1()
{
	local lines

	vital "node1: daemon runs without io_uring" no_uring
	check "a second dagd is refused" refuse second_daemon
	check "a bad configuration is refused with its line" bad_config
	check "a join without an invitation is refused" refuse \
		"$dagctl" group join <<<"dag1/x/y"
	vital "node1: group and store" group_up --mode commit
	lab barrier copied
	check "node1: no ring is open" without_uring
	check "node2: joined with a token that is good once" refuse \
		"$dagctl" group join <<<"$(lab get token2)"
	lines=$(log_lines)
	check "garbage is sent" garbage
	check "a foreign certificate is refused" told stranger
	check "no certificate is refused" told nameless
	check "TLS 1.2 is refused" told old_tls
	check "node2: refusals are logged, and not over and over" \
		[ $(($(log_lines) - lines)) -le 30 ]
	check "node1: dagd answers" answers
	check "the copy is as Healthy as before" wait_for 30 copy_is node2 Healthy
	check "fio with fsync over libaio" fio --filename="$dev" --direct=1 \
		--ioengine=libaio --iodepth=8 --bs=4k --rw=randwrite --size=32m \
		--io_size=4m --fsync=16 --name=posix
	check "everything is on node2" wait_for 90 all_drained
	lab barrier written
	check "node1: devices equal" devices_equal end
	vital "move without io_uring" "$dagctl" store move "$store" --to node2
	lab barrier moved
	check "node1: dagd ends in order" dagd_stop
}

node2()
{
	vital "node2: daemon runs without io_uring" no_uring
	vital "node2: joins" group_up
	vital "node2: copy is Healthy" copy_up
	lab barrier copied
	lab barrier written
	check "node2: no ring is open" without_uring
	check "node2: devices equal" devices_equal end
	lab barrier moved
	check "node2: writes after the move" dd if=/dev/urandom of="$dev" bs=1M \
		count=4 oflag=direct conv=fsync status=none
	check "node2: dagd ends in order" dagd_stop
}

"node$NODE"
dag_finish
