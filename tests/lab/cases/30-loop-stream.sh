#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 64 -l 64 -t 200
#
# The unit tests of loop and stream on the kernels that we support: the host's
# own kernel has other io_uring flags, and no kernel TLS. `make unit-bins` first.
set -eu
. "$DAG/tests/lab/lib.sh"

bin=$DAG/build/tests/unit
[ -x "$bin/test_loop" ] && [ -x "$bin/test_stream" ] ||
	die "no unit tests: run make unit-bins first"
cd /run

slow=${LAB_SLOW:-1}
check "loop on $(uname -r)" timeout $((80 * slow)) "$bin/test_loop" --timeout $((60 * slow))
modprobe tls
check "stream with kernel TLS on $(uname -r)" \
	timeout $((100 * slow)) "$bin/test_stream" --timeout $((90 * slow))
check "kernel TLS was used for sending" \
	sh -c 'awk "/^TlsTxSw/ { n = \$2 } END { exit !(n > 0) }" /proc/net/tls_stat'
finish
