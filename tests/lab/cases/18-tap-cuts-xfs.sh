#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 128 -m 1200 -t 200
#
# The log of a busy xfs, cut at many records, mounts and passes its checker
# each time. A small file system, which mkfs.xfs makes for tests only, is mounted
# and checked so much faster that there can be as many cuts as for ext4.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/tap.sh"
. "$DAG/tests/lab/tap-cuts.sh"

need dmsetup mkfs.xfs xfs_repair
mkfs_options=--unsupported
tap_cuts xfs 65536 50 xfs_repair -n
finish
