#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 1 -d 128 -m 1200 -t 200
#
# The log of a busy ext4, cut at many records, mounts and passes its checker
# each time.
set -eu
. "$DAG/tests/lab/lib.sh"
. "$DAG/tests/lab/tap.sh"
. "$DAG/tests/lab/tap-cuts.sh"

need dmsetup mkfs.ext4 e2fsck
tap_cuts ext4 65536 50 e2fsck -fn
finish
