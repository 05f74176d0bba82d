# SPDX-License-Identifier: MIT
#
# make deps      Debian packages for everything: building, make run, make check, make tidy, make check-svm
# make run       what building needs alone, then a real program under lodge against itself without
#
# Both do nothing, at once, when nothing is missing.

run_packages = gcc libc6-dev liburing-dev libxxhash-dev libzstd-dev liblz4-dev busybox-static
check_packages = libcmocka-dev sqlite3 stress-ng python3 perl redis-server redis-tools git openssl openssh-client lua5.4 make curl dash bash musl-tools clang clang-format clang-tidy cppcheck qemu-system-x86 cpio xz-utils
bench_packages = fio libjemalloc2 libmimalloc2.0 libtcmalloc-minimal4

# $(call install_packages,NAMES): as root installs those that are missing, else says how.
define install_packages
	@command -v dpkg-query >/dev/null || { echo "make deps: not a Debian system; needed: $(1)" >&2; exit 1; }; \
	missing=; \
	for p in $(1); do \
		case "$$(dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null)" in \
		installed) ;; \
		*) missing="$$missing $$p" ;; \
		esac; \
	done; \
	test -n "$$missing" || exit 0; \
	if [ "$$(id -u)" != 0 ]; then \
		echo "make deps: packages are missing; run: sudo apt-get install -y --no-install-recommends$$missing" >&2; \
		exit 1; \
	fi; \
	apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing
endef

.PHONY: deps deps-run
deps:
	$(call install_packages,$(run_packages) $(check_packages) $(bench_packages))

deps-run:
	$(call install_packages,$(run_packages))

# $(call compare,OPTIONS,COMMAND): a command of busybox without and with lodge, byte for byte.
define compare
	@busybox $(2) > $(B)/run.native
	@$(B)/lodge run $(1) -- busybox $(2) > $(B)/run.lodge
	@cmp $(B)/run.native $(B)/run.lodge
	@echo "identical: busybox $(firstword $(2)), $$(wc -c < $(B)/run.lodge) bytes of output"
endef

run_files = Makefile LICENSE $(sort $(wildcard src/*/*.c src/*/*.h include/*.h))
run_script = '{ words += NF; count[length($$0)]++ } END { for (n in count) print n, count[n]; print NR, words }'

.PHONY: run
run: deps-run
	@$(MAKE) --no-print-directory all
	$(call compare,,sha256sum $(run_files))
	$(call compare,--stats,awk $(run_script) $(run_files))
