# SPDX-License-Identifier: MIT
# How tests are built and run. Every tests/unit/X_test.c is one cmocka executable $(B)/tests/X_test over the core alone;
# one that includes a header of a higher room is linked with the whole library. mk/guest.mk builds $(guest_tests), which drive
# $(B)/lodge, and the $(guest_programs) that they run.
# A name in brackets at the end of a test's title is the checklist row that it shows.

T = $(B)/tests
RESULTS = $(B)/results
LDLIBS_TEST = -lcmocka

sim_objects = $(patsubst %.c,$(T)/%.o,sim/sim_cpu.c sim/sim_tlb.c sim/sim_audit.c sim/fixture.c sim/failnth.c sim/disk.c sim/avl.c sim/sim_swap.c sim/sim_compress.c)
history_objects = $(patsubst %.c,$(T)/%.o,sim/history.c sim/model.c sim/model_words.c sim/world.c sim/world_check.c sim/world_restore.c sim/world_swap.c)
unit_tests = $(patsubst tests/unit/%.c,$(T)/%,$(wildcard tests/unit/*_test.c))
fuzzers = $(patsubst tests/fuzz/%.c,$(T)/fuzz_%,$(wildcard tests/fuzz/*.c))
history = $(T)/history_test

# Tests that need more than the core.
whole_tests := $(patsubst tests/unit/%.c,$(T)/%,$(shell grep -lE '^\#include ".*(linux|vmm|uffd|cli|guest)/|lodge\.h' \
	tests/unit/*_test.c 2>/dev/null))
core_tests = $(filter-out $(whole_tests),$(unit_tests))

-include mk/guest.mk

run_tests = @LODGE=$(B)/lodge LODGE_GUESTS=$(guest_dir) tests/run-tests $(RESULTS)

$(T)/%.o: tests/%.c
	@mkdir -p $(@D)
	@echo "  CC    $@"
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# Position of the pattern's stem differs per kind, hence static rules.
$(core_tests): $(T)/%: $(T)/unit/%.o $(sim_objects) $(B)/liblodge-mm.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_TEST)

$(whole_tests): $(T)/%: $(T)/unit/%.o $(sim_objects) $(B)/liblodge.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_TEST) $(LDLIBS_LODGE)

$(history): $(history_objects) $(sim_objects) $(B)/liblodge-mm.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_TEST)

$(fuzzers): $(T)/fuzz_%: $(T)/fuzz/%.o $(sim_objects) $(B)/liblodge.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_TEST) $(LDLIBS_LODGE)

# The core built anew with six block orders instead of eleven.
order6_test = $(T)/page_order6_test
$(order6_test): tests/order6/page_order6_test.c tests/sim/sim_cpu.c tests/sim/sim_tlb.c $(wildcard src/mm/*.c) $(wildcard src/mm/*.h)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(CFLAGS_ALL) -DMAX_ORDER=6 -o $@ $(filter %.c,$^) $(LDFLAGS_ALL) $(LDLIBS_TEST)

.PHONY: check check-all check-core san fuzz features tidy test-programs

test-programs: $(unit_tests) $(order6_test) $(history) $(guest_tests)

# Whatever is missing is installed first: the rest is a make of its own, because packages bring compilers.
check: deps
	@$(MAKE) --no-print-directory check-all

check-all: all test-programs $(guest_programs)
	$(run_tests) $(unit_tests) $(order6_test) $(history) $(guest_tests)

# The core's tests alone: quick, no KVM.
check-core: $(core_tests) $(order6_test) $(history)
	$(run_tests) $(core_tests) $(order6_test) $(history)

# The threaded tests; everything else has nothing for the thread sanitizer to see.
THREADED = lazy stress swap_stress vma_lock rmap_stress fork_stress kmem_stress page_stress vmm khugepaged spaces_stress page_reporting stall traps_switch swapoff

SAN_ADDRESS = B=build/asan SAN="-fsanitize=address,undefined -fno-sanitize-recover=all" OPT="-O1 -g -DLODGE_DEBUG"
SAN_THREAD = B=build/tsan SAN="-fsanitize=thread" OPT="-O1 -g -DLODGE_DEBUG"

san:
	ASAN_OPTIONS=detect_leaks=1 $(MAKE) $(SAN_ADDRESS) check
	$(MAKE) $(SAN_THREAD) check-threads

.PHONY: check-threads
threaded_tests = $(filter $(patsubst %,$(T)/%_test,$(THREADED)),$(unit_tests))
check-threads: $(threaded_tests) $(guest_dir)/snap_work $(guest_dir)/working_set
	$(run_tests) $(threaded_tests)

# How system calls travel is chosen by load: some of what runs guests once more, each way by itself.
traps_tests = $(addprefix $(T)/guest/,run_test interrupt_test proc_test rw_test restore_test) $(T)/space_clone_test

.PHONY: check-traps
check-traps: all $(traps_tests) $(guest_programs)
	@LODGE_TRAPS=poll LODGE=$(B)/lodge LODGE_GUESTS=$(guest_dir) tests/run-tests $(B)/results-poll $(traps_tests)
	@LODGE_TRAPS=exit LODGE=$(B)/lodge LODGE_GUESTS=$(guest_dir) tests/run-tests $(B)/results-exit $(traps_tests)

# Guests with four times their memory, on swap that fails.
SOAK_SECONDS ?= 1200

.PHONY: soak
soak: $(B)/lodge $(guest_dir)/working_set $(T)/swapoff_test
	@tests/soak $(B)/lodge $(guest_dir) $(T)/swapoff_test $(SOAK_SECONDS)

# FUZZ_SECONDS is shared out among the fuzzers; the histories get most of it.
FUZZ_SECONDS ?= 60

fuzz: $(history) $(fuzzers) $(guest_dir)/fuzz_syscalls
	@FUZZ_SECONDS=$(FUZZ_SECONDS) LODGE_GUESTS=$(guest_dir) tests/run-fuzz $(history) $(fuzzers)

# Real programs saved at random points, ROUNDS of each; SEED repeats a run.
ROUNDS ?= 100

.PHONY: soak-snapshots
soak-snapshots: $(B)/lodge $(guest_dir)/snap_work $(T)/guest/snapshot_rounds_test
	LODGE=$(B)/lodge LODGE_GUESTS=$(guest_dir) ROUNDS=$(ROUNDS) $(T)/guest/snapshot_rounds_test

features:
	@tests/features $(RESULTS)

c_files = $(shell find src include tests bench examples -name '*.[ch]' 2>/dev/null)
clang_warnings = -Weverything -Wno-unknown-warning-option -Wno-padded -Wno-declaration-after-statement -Wno-gnu -Wno-reserved-identifier \
	-Wno-reserved-macro-identifier -Wno-disabled-macro-expansion -Wno-unsafe-buffer-usage -Wno-covered-switch-default \
	-Wno-sign-conversion -Wno-implicit-int-conversion -Wno-switch-enum -Wno-language-extension-token \
	-Wno-vla -Wno-cast-qual -Wno-atomic-implicit-seq-cst -Wno-shorten-64-to-32 -Wno-gnu-designator \
	-Wno-c99-designator -Wno-implicit-fallthrough -Wno-assign-enum -Wno-packed -Wno-bad-function-cast \
	-Wno-format-nonliteral -Wno-missing-noreturn -Wno-missing-variable-declarations -Wno-pre-c2x-compat -Wno-c2x-compat

tidy: all
	tests/tidy-includes
	B=$(B) tests/tidy-names
	clang-format --dry-run -Werror $(c_files)
	set -e; for f in $(filter %.c,$(sources)) $(wildcard src/cli/*.c); do \
		clang -fsyntax-only -std=gnu11 -D_GNU_SOURCE -Werror $(WARN) $(clang_warnings) $$f; done
	cppcheck --quiet --std=c11 --language=c --enable=warning,portability --inline-suppr --error-exitcode=1 \
		--suppress=missingIncludeSystem --suppress=comparePointers --suppress=internalAstError --suppress=unusedStructMember -D__x86_64__ -D_GNU_SOURCE src

# The tests that need KVM, on emulated AMD hardware (tests/svm/README.md): nested paging and stock shadow paging side by side,
# since each machine is emulated by one thread.
SVM = $(B)/svm
svm_tests = $(T)/vmm_test $(addprefix $(T)/guest/,run_test hostile_test applets_test)
svm_roots = $(B)/lodge $(guest_dir) $(svm_tests) tests/run-tests $(wildcard /usr/include/linux)
# Both of its processors are one thread of the host: none is ever free, which --traps=auto cannot know. vmm_test polls all the same.
svm_environment = LODGE_TRAPS=exit LODGE=$(abspath $(B)/lodge) LODGE_GUESTS=$(abspath $(guest_dir)) LODGE_REQUIRE_KVM=1 LODGE_EMULATED=1

.PHONY: check-svm check-svm-all check-svm-npt1 check-svm-npt0
check-svm: deps
	@$(MAKE) --no-print-directory check-svm-all

check-svm-all: all $(svm_tests) $(guest_programs)
	@tests/svm/fetch-kernel $(SVM)
	@$(MAKE) --no-print-directory -j2 -O check-svm-npt1 check-svm-npt0

check-svm-npt1 check-svm-npt0: check-svm-npt%:
	@echo "emulated SVM, npt=$*"
	@tests/svm/run --npt $* --timeout 540 --kernel $(SVM) $(foreach r,$(svm_roots),--root $(abspath $(r))) -- \
		/bin/env $(svm_environment) /bin/sh -c "cd $(CURDIR) && tests/run-tests /tmp/results $(abspath $(svm_tests))"
