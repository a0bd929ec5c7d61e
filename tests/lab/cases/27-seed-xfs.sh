#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -c 1 -d 160 -l 640 -m 768 -t 400
#
# A full seed leaves out what xfs does not use, while it is written to (seed.sh).
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
. "$DAG/tests/lab/seed.sh"
need mkfs.xfs xfs_repair

case $NODE in
1) seed_node1 mkfs.xfs --unsupported -q -f ;;
2) seed_node2 xfs_repair -n ;;
esac
dag_finish
