#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 2 -c 1 -d 160 -l 640 -m 768 -t 400
#
# A full seed leaves out what ext4 does not use, while it is written to (seed.sh).
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/dag.sh"
. "$DAG/tests/lab/seed.sh"
need mkfs.ext4 e2fsck

case $NODE in
1) seed_node1 mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 ;;
2) seed_node2 e2fsck -fn ;;
esac
dag_finish
