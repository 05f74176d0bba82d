# SPDX-License-Identifier: MIT
#
# make bench             every case of bench/cases.c; a fresh $(B)/bench/results.jsonl
# make bench CASE=name   one case; replaces the lines of that case there
#
# docs/benchmarks.md says what the cases mean. Programs are static and built as users build theirs.

bench_dir = $(B)/bench
bench_flags = -std=gnu11 -D_GNU_SOURCE $(WARN) -O2 -g -fno-strict-aliasing
bench_driver_objects = $(patsubst %,$(bench_dir)/%.o,bench cases result side)
bench_programs = $(patsubst bench/prog/%.c,$(bench_dir)/%,$(wildcard bench/prog/*.c)) $(bench_dir)/floor \
		 $(bench_dir)/core_fault $(bench_dir)/kmalloc $(bench_dir)/pages $(bench_dir)/vma \
		 $(bench_dir)/core_ladder $(bench_dir)/core_fork $(bench_dir)/core_clone $(bench_dir)/core_reclaim $(bench_dir)/swapdev $(bench_dir)/snapshot $(bench_dir)/uffd
ifneq ($(shell command -v musl-gcc 2>/dev/null),)
bench_programs += $(bench_dir)/hello_musl
endif
bench_programs += $(bench_dir)/swapwaits.sh $(bench_dir)/overshoot.sh
ifneq ($(shell command -v redis-benchmark 2>/dev/null),)
bench_programs += $(bench_dir)/redis.sh
endif

$(bench_dir)/%.o: bench/%.c
	@mkdir -p $(@D)
	@echo "  CC    $@"
	$(Q)$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(bench_dir)/bench: $(bench_driver_objects)
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^

$(bench_dir)/%: bench/prog/%.c $(wildcard bench/prog/*.h)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(bench_flags) -static -pthread -o $@ $<

# Where a kernel has room for them, as libraries are: call sites there can be rewritten.
$(bench_dir)/calls $(bench_dir)/getppid: $(bench_dir)/%: bench/prog/%.c $(wildcard bench/prog/*.h)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(bench_flags) -fPIE -static-pie -pthread -o $@ $<

$(bench_dir)/floor: bench/floor.c bench/prog/clock.h
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(bench_flags) -static -o $@ $<

$(bench_dir)/hello_musl: bench/prog/hello.c
	@mkdir -p $(@D)
	musl-gcc $(bench_flags) -static -o $@ $<

$(bench_dir)/%.sh: bench/prog/%.sh
	@mkdir -p $(@D)
	$(Q)install -m 755 $< $@

# Not static: the peers are preloaded.
$(bench_dir)/kmalloc: $(bench_dir)/kmalloc.o $(B)/liblodge-mm.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^

$(bench_dir)/swapdev $(bench_dir)/snapshot $(bench_dir)/uffd: $(bench_dir)/%: $(bench_dir)/%.o $(B)/liblodge.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LDLIBS_LODGE)

# What else a program over the core is made of.
$(bench_dir)/vma: $(bench_dir)/textbook.o
$(bench_dir)/core_fault $(bench_dir)/core_ladder $(bench_dir)/core_fork $(bench_dir)/core_clone $(bench_dir)/core_reclaim: $(bench_dir)/core.o

$(bench_dir)/core_fault $(bench_dir)/core_ladder $(bench_dir)/core_fork $(bench_dir)/core_clone $(bench_dir)/core_reclaim $(bench_dir)/pages $(bench_dir)/vma: $(bench_dir)/%: $(bench_dir)/%.o $(B)/liblodge-mm.a
	@echo "  LINK  $@"
	$(Q)$(CC) $(LDFLAGS_ALL) -static -o $@ $(filter %.o,$^) $(filter %.a,$^)

# The file that filemap reads, half a gigabyte: made when the benchmarks are run, not when they are built.
$(bench_dir)/filemap.data: $(bench_dir)/filedata
	$(Q)$(bench_dir)/filedata $@

.PHONY: bench bench-programs
bench-programs: $(bench_dir)/bench $(bench_programs)

bench: $(B)/lodge bench-programs $(bench_dir)/filemap.data
	@$(bench_dir)/bench $(B)/lodge $(bench_dir) $(bench_dir)/results.jsonl $(CASE)
