# SPDX-License-Identifier: MIT
#
# make run       install what is missing, build, run a real program under lodge
# make check     all tests            make check-svm   the KVM tests on emulated AMD hardware
# make check-traps  the guests once more with --traps=poll and exit
# make san       the same under sanitizers            make fuzz   bounded fuzzing
# make bench     ratios against native and peers      make bench CASE=name
# make tidy      layering, names, format, static checks
# make soak      guests with four times their memory, on swap that fails; SOAK_SECONDS (1200)
# make soak-snapshots  real programs saved at random points and gone on with, ROUNDS (100) of each
# make features  the checklist rows shown by the last test run
# make install   command, library, header, man pages under PREFIX
#
# Every file below src/ belongs to a room; a room may include only itself and the rooms below it (tests/tidy-includes).

B ?= build
ifeq ($(origin CC),default)
CC = gcc
endif
PREFIX ?= /usr/local
OPT ?= -O2 -g
# V=1 shows commands.
Q = $(if $(V),,@)
SAN ?=

WARN = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-align \
       -Wwrite-strings -Wvla -Wundef -Wno-missing-field-initializers
CFLAGS_ALL = -std=gnu11 -D_GNU_SOURCE -pthread -fno-strict-aliasing -fstack-protector-strong $(WARN) $(OPT) $(SAN) $(CFLAGS)
LDFLAGS_ALL = -pthread $(SAN) $(lock_wrap) $(LDFLAGS)
# Debug builds check the order of locks (src/mm/lock_rank.h).
lock_wrap = $(if $(findstring LODGE_DEBUG,$(OPT)),$(patsubst %,-Wl$(comma)--wrap=pthread_mutex_%,lock trylock unlock))
comma = ,
# What whoever links liblodge.a needs besides; the core alone needs nothing.
LDLIBS_LODGE = -luring -lxxhash -lzstd -llz4

rooms = mm uffd vmm linux guest
sources = $(foreach r,$(rooms),$(wildcard src/$(r)/*.c src/$(r)/*.S))
objects = $(patsubst src/%,$(B)/%.o,$(sources))
mm_objects = $(filter $(B)/mm/%,$(objects))
cli_objects = $(patsubst src/%,$(B)/%.o,$(wildcard src/cli/*.c))

.PHONY: all lib
all: $(B)/lodge $(B)/liblodge.a $(B)/liblodge-mm.a
lib: $(B)/liblodge.a

$(B)/%.c.o: src/%.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(B)/%.S.o: src/%.S
	@mkdir -p $(@D)
	@echo "  CC    $<"
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# The vDSO runs in guests: no flags of ours but the warnings, nothing of the C library's.
vdso_flags = -std=gnu11 $(WARN) -O2 -fPIC -ffreestanding -fno-builtin -fno-stack-protector -fno-strict-aliasing -mno-sse \
	     -fasynchronous-unwind-tables -fcf-protection=none -nostdlib -shared -Wl,-soname=linux-vdso.so.1 -Wl,--hash-style=both \
	     -Wl,--build-id=sha1 -Wl,--eh-frame-hdr -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack -Wl,-Bsymbolic -Wl,--no-undefined -s

$(B)/guest/vdso.so: $(wildcard src/guest/vdso/*) src/guest/abi.h
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(vdso_flags) -T src/guest/vdso/vdso.lds -o $@ $(filter %.c %/note.S,$^)

$(B)/guest/vdso_image.S.o: CFLAGS_ALL += -Wa,-I$(B)
$(B)/guest/vdso_image.S.o: $(B)/guest/vdso.so

# The core alone: no KVM, no userfaultfd, no Linux calls of a guest.
$(B)/liblodge-mm.a: $(mm_objects)
	@rm -f $@
	@echo "  AR    $@"
	$(Q)$(AR) rcs $@ $^

$(B)/liblodge.a: $(objects)
	@rm -f $@
	@echo "  AR    $@"
	$(Q)$(AR) rcs $@ $^

# Static, because loading a library takes a tenth of the time that a small program runs; sanitizers do not allow it.
$(B)/lodge: $(cli_objects) $(B)/liblodge.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) $(if $(SAN),,-static-pie) -o $@ $^ $(LDLIBS_LODGE)

-include $(shell find $(B) -name '*.d' 2>/dev/null)

-include mk/deps.mk
-include mk/tests.mk
-include mk/bench.mk
-include mk/install.mk

.PHONY: clean
clean:
	rm -rf build
