#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# lab: -n 3 -c 1 -d 160 -l 512 -m 768 -t 900
#
# As case 50, but the host that serves is not killed: its CPUs stop for longer than its
# lease and go on in mid-write, all its cables are pulled, its daemon is stopped. In
# each case another serves, what the former one still writes fails, nothing that was
# acknowledged is lost, and when the fault ends it is a Healthy copy.
KINDS="pause cut stop"
. "$DAG/tests/lab/cases/50-failover.sh"
