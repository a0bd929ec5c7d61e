# SPDX-License-Identifier: GPL-2.0
# dag: database availability groups for Linux block stores.
#
# Targets
#   all        daemon, tool and test programs (default)
#   kmod       dagtap.ko for each kernel of KVERS
#   check      install what is missing, run every suite, print "N passed, N failed"
#   unit       unit tests; unit-asan: the same under ASan, UBSan and LSan
#   sim        SEEDS (10000) groups of the simulator from SEED_BASE (1) on
#   sim-mutants  each deliberate fault of tests/sim/mutants must be found by it
#   lab        the suites that need real kernels (QEMU)
#   lab-debug  the tap's cases on a kernel with KASAN, lockdep, kmemleak, ...; it is
#              built first (tests/lab/debug-kernel)
#   demo       three guests, PostgreSQL, a planned move, a kill and its take-over
#   bench      figures: tap, commit, replay, shipping
#   install    DESTDIR, PREFIX honoured
# Variables
#   V=1        show the commands
#   D=asan     build with sanitizers, into build-asan/
#   C=1        run sparse over the module
#   UNIT_SKIP=... unit tests to leave out
#   KVERS=...  kernel releases to build the module for
#   CC, CFLAGS, LDFLAGS as usual

PREFIX	?= /usr/local
SBINDIR	?= $(PREFIX)/sbin
MANDIR	?= $(PREFIX)/share/man
SYSCONFDIR ?= /etc
VERSION	:= $(shell sed -n 's/^\#define DAG_VERSION[[:space:]]*"\(.*\)"/\1/p' include/dag/version.h)

ifeq ($(D),asan)
B	:= build-asan
SAN	:= -fsanitize=address,undefined -fno-sanitize-recover=undefined
else
B	:= build
SAN	:=
endif

# The kernel of tests/lab/debug-kernel is one of them, where it has been built.
DEBUGK	:= build/lab/debug-kernel/lib/modules
KVERS	?= $(patsubst /lib/modules/%/build,%,$(wildcard /lib/modules/*/build)) $(notdir $(wildcard $(DEBUGK)/*))
kdir	= $(or $(wildcard $(DEBUGK)/$(1)/build),/lib/modules/$(1)/build)
PKGS	:= liburing openssl libcurl liblz4 libzstd libnl-3.0 libnl-genl-3.0 libnl-route-3.0 json-c libsystemd devmapper
CC	?= gcc
CFLAGS	?= -O2 -g
WARN	:= -Wall -Wextra -Wshadow -Wvla -Wmissing-prototypes -Wstrict-prototypes -Wno-unused-parameter -Werror
ALL_CFLAGS := -std=gnu11 -D_GNU_SOURCE -I. -Iinclude $(WARN) $(SAN) $(CFLAGS) $(shell pkg-config --cflags $(PKGS))
LIBS	:= -Wl,--as-needed $(shell pkg-config --libs $(PKGS)) -laio -lpthread
Q	:= $(if $(V),,@)
say	= $(if $(V),,@printf '  %-7s %s\n' "$(1)" "$(2)")

# The core of the module is plain C: the same files are linked into the daemon's
# memory tap, the unit tests and the fuzzers.
CORE_SRC := $(wildcard kmod/core/*.c)
LIB_SRC	:= $(filter-out daemon/main.c,$(wildcard daemon/*.c daemon/*/*.c))
TOOL_SRC := $(wildcard tools/*.c)
UNIT_SRC := $(wildcard tests/unit/test_*.c)
PROG_SRC := $(wildcard tests/tools/*.c)
MEM_SRC	:= $(wildcard tests/lib/*.c)

obj	= $(patsubst %.c,$(B)/%.o,$(1))
LIB	:= $(B)/libdag.a
TLIB	:= $(B)/libdagtest.a
UNIT	:= $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(UNIT_SRC))
PROGS	:= $(patsubst tests/tools/%.c,$(B)/tests/tools/%,$(PROG_SRC))
BINS	:= $(if $(wildcard daemon/main.c),$(B)/dagd) $(if $(TOOL_SRC),$(B)/dagctl)
KMODS	:= $(foreach k,$(KVERS),build/kmod-$(k)/dagtap.ko)

all: $(BINS) $(PROGS)

$(B)/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(call obj,$(LIB_SRC) $(CORE_SRC))
	$(call say,AR,$@)
	$(Q)rm -f $@; ar rcs $@ $^

$(TLIB): $(call obj,$(MEM_SRC))
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D); rm -f $@; ar rcs $@ $^

$(B)/dagd: $(B)/daemon/main.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/dagctl: $(call obj,$(TOOL_SRC)) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(TLIB) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) -lcriterion

$(B)/tests/tools/%: $(B)/tests/tools/%.o $(TLIB) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# They run dagctl, which lies beside the directory of the tests.
$(addprefix $(B)/tests/unit/,test_health_rpc test_branch_rpc): | $(B)/dagctl

# Its devices are files: what asks the kernel about them is answered by itself.
$(B)/tests/tools/memnode: LDFLAGS += -Wl,--wrap=blockdev_size,--wrap=blockdev_signature \
	-Wl,--wrap=blockdev_use,--wrap=dm_dev_get,--wrap=diskwatch_read \
	-Wl,--wrap=clock_gettime,--wrap=gettimeofday,--wrap=time \
	-Wl,--wrap=pwrite,--wrap=pwritev2,--wrap=fsync,--wrap=fdatasync

# No wait of theirs may end by the wall clock (tests/lib/clock_guard.c).
$(addprefix $(B)/tests/,tools/memnode unit/test_stores unit/test_return): \
	LDFLAGS += -Wl,--wrap=pthread_cond_timedwait

kmod: $(KMODS)

# Kbuild writes beside its sources: each kernel gets a copy, so that one checkout
# serves several kernels at once.
KMOD_SRC := $(wildcard kmod/*.c kmod/*.h kmod/core/*.c kmod/core/*.h kmod/Kbuild include/uapi/*.h)
build/kmod-%/dagtap.ko: $(KMOD_SRC)
	$(call say,KMOD,$*)
	$(Q)mkdir -p build/kmod-$*/include && cp -r kmod/. build/kmod-$*/ && cp -r include/uapi build/kmod-$*/include/
	$(Q)$(MAKE) $(if $(V),,-s) -C $(call kdir,$*) M=$(CURDIR)/build/kmod-$* $(if $(C),C=2 CF=-D__CHECK_ENDIAN__) modules

unit: $(UNIT)
	$(Q)tests/run-unit $(filter-out $(addprefix $(B)/tests/unit/,$(UNIT_SKIP)),$(UNIT))

unit-asan:
	$(Q)$(MAKE) D=asan unit

unit-bins: $(UNIT)

SEEDS	?= 10000
SEED_BASE ?= 1
SIM_SRC	:= $(wildcard tests/sim/*.c)

$(B)/tests/sim/sim: $(call obj,$(SIM_SRC)) $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

sim: $(B)/tests/sim/sim
	$(Q)$(B)/tests/sim/sim -n $(SEEDS) -s $(SEED_BASE)

sim-mutants:
	$(Q)tests/sim/run-mutants -n $(SEEDS) -s $(SEED_BASE)

check:
	$(Q)scripts/install-deps
	$(Q)tests/check

lab: all kmod
	$(Q)tests/lab/suite

lab-debug:
	$(Q)tests/lab/debug-kernel
	$(Q)$(MAKE) all kmod
	$(Q)LAB_SLOW=$${LAB_SLOW:-8} tests/lab/suite -k debug '1?-tap-*'

demo:
	$(Q)scripts/install-deps
	$(Q)$(MAKE) all kmod
	$(Q)scripts/demo

bench: all kmod
	$(Q)tests/bench/run

install: all
	$(Q)install -d $(DESTDIR)$(SBINDIR) $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man7 $(DESTDIR)$(MANDIR)/man8
	$(Q)install -m 755 $(B)/dagd $(B)/dagctl $(DESTDIR)$(SBINDIR)/
	$(Q)install -m 644 Documentation/man/*.5 $(DESTDIR)$(MANDIR)/man5/
	$(Q)install -m 644 Documentation/man/*.7 $(DESTDIR)$(MANDIR)/man7/
	$(Q)install -m 644 Documentation/man/*.8 $(DESTDIR)$(MANDIR)/man8/
	$(Q)install -D -m 644 tools/completion/dagctl.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dagctl
	$(Q)install -D -m 644 tools/systemd/dagd.service $(DESTDIR)$(PREFIX)/lib/systemd/system/dagd.service
	$(Q)install -D -m 644 tools/systemd/dag.modules-load.conf $(DESTDIR)$(PREFIX)/lib/modules-load.d/dag.conf
	$(Q)install -D -m 644 tools/systemd/60-dag.rules $(DESTDIR)$(PREFIX)/lib/udev/rules.d/60-dag.rules
	$(Q)install -d $(DESTDIR)/usr/src/dagtap-$(VERSION)/include
	$(Q)cp -r kmod/. $(DESTDIR)/usr/src/dagtap-$(VERSION)/ && cp -r include/uapi $(DESTDIR)/usr/src/dagtap-$(VERSION)/include/

clean:
	$(Q)rm -rf build build-asan

.PHONY: all kmod check unit unit-asan unit-bins sim sim-mutants lab lab-debug demo bench install clean
.SECONDARY:
-include $(shell find $(B) -name '*.d' -not -path '*/kmod-*' 2>/dev/null)
