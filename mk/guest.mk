# SPDX-License-Identifier: MIT
#
# make guest-programs   what tests run under lodge, from tests/guest/prog: static programs
# make guest-tests      what runs them: tests/guest/*_test.c, as a user would, through the command
# make check-guest      both, run
#
# Guest programs are built as users build theirs: no sanitizers, no flags of ours but the warnings.

guest_dir = $(B)/guest
guest_flags = -std=gnu11 -D_GNU_SOURCE $(WARN) -O2 -g -fno-strict-aliasing

# Built in ways of their own, below.
guest_special = hello_c anon_mmap
guest_sources = $(filter-out $(guest_special),$(basename $(notdir $(wildcard tests/guest/prog/*.c tests/guest/prog/*.S))))
guest_programs = $(addprefix $(guest_dir)/,$(guest_sources) hello_glibc hello_musl hello_pie hello_dynamic hello_dynamic_musl \
	hello_dynamic_fixed anon_mmap)

$(guest_dir)/%: tests/guest/prog/%.c $(wildcard tests/guest/prog/*.h)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(guest_flags) -static -pthread -o $@ $< -lm

$(guest_dir)/%: tests/guest/prog/%.S
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) -nostdlib -static -Wl,-z,noexecstack -o $@ $<

$(guest_dir)/hello_glibc $(guest_dir)/hello_musl $(guest_dir)/hello_pie $(guest_dir)/hello_dynamic \
		$(guest_dir)/hello_dynamic_musl $(guest_dir)/hello_dynamic_fixed: tests/guest/prog/hello_c.c
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(guest_cc) $(guest_flags) $(guest_link) -o $@ $<

$(guest_dir)/hello_glibc: guest_cc = $(CC)
$(guest_dir)/hello_glibc: guest_link = -static
$(guest_dir)/hello_musl: guest_cc = musl-gcc
$(guest_dir)/hello_musl: guest_link = -static
$(guest_dir)/hello_pie: guest_cc = $(CC)
$(guest_dir)/hello_pie: guest_link = -static-pie -fPIE
$(guest_dir)/hello_dynamic: guest_cc = $(CC)
$(guest_dir)/hello_dynamic: guest_link =
$(guest_dir)/hello_dynamic_musl: guest_cc = musl-gcc
$(guest_dir)/hello_dynamic_musl: guest_link = -pie -fPIE
$(guest_dir)/hello_dynamic_fixed: guest_cc = $(CC)
$(guest_dir)/hello_dynamic_fixed: guest_link = -no-pie -fno-pie

# Linked at the traditional address: its listing is compared line by line.
$(guest_dir)/anon_mmap: tests/guest/prog/anon_mmap.c
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(guest_flags) -static -no-pie -fno-pie -o $@ $<

guest_test_names = $(basename $(notdir $(wildcard tests/guest/*_test.c)))
guest_tests = $(addprefix $(B)/tests/guest/,$(guest_test_names))

$(B)/tests/guest/%_test: tests/guest/%_test.c tests/guest/harness.c tests/guest/harness.h
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	$(Q)$(CC) $(CFLAGS_ALL) -o $@ $< tests/guest/harness.c $(LDFLAGS_ALL) -lcmocka

.PHONY: guest-programs guest-tests check-guest
guest-programs: $(guest_programs)
guest-tests: $(guest_tests)

check-guest: $(B)/lodge guest-programs guest-tests
	@failed=; \
	for t in $(guest_tests); do \
		LODGE=$(B)/lodge LODGE_GUESTS=$(guest_dir) $$t || failed="$$failed $$t"; \
	done; \
	test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }
