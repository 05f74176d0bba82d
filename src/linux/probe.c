/* SPDX-License-Identifier: MIT */
/*
 * probe.c - what this machine offers, row by row.
 *
 * A probe only asks: it creates a descriptor, reads an answer, closes it. The one exception makes a machine to learn how
 * guests behave on it (vm_platform), the same way as a host does. Each question is put bare to the kernel here, even
 * those of KVM and userfaultfd, because the rooms below answer for a whole machine and not for its parts.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../include/lodge.h"
#include "../uffd/arena.h"
#include "../vmm/vm.h"

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00) /* Linux 6.1 */
#endif

#define KVM_API	     12
#define SYNC_NEEDED  (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS)
#define PROBE_MEMORY (1ull << 30)

/* What the rows about the machine share; asked once. */
struct machine {
	int kvm_fd; /* or -errno */
	int api;
	int error; /* 0: platform is valid; otherwise a positive errno */
	const char *what;
	struct vm_platform platform;
};

#define FOUND(row, ...)	 snprintf((row)->found, sizeof((row)->found), __VA_ARGS__)
#define REMEDY(row, ...) snprintf((row)->remedy, sizeof((row)->remedy), __VA_ARGS__)

/* --- the machine ------------------------------------------------------------------------------------------------ */

static void ask_platform(struct machine *m)
{
	struct vm_error why = {0, NULL};
	struct arena arena;
	int ret = arena_init(&arena, &(struct arena_setup){.max_bytes = PROBE_MEMORY});

	if (ret) {
		m->error = -ret;
		m->what = "guest memory";
		return;
	}
	struct vm *vm = vm_create(&arena, &why);
	if (vm) {
		m->error = -vm_platform(vm, &m->platform);
		m->what = "self-test of the machine";
		vm_destroy(vm);
	} else {
		m->error = why.error ? why.error : ENODEV;
		m->what = why.what ? why.what : "KVM";
	}
	arena_destroy(&arena);
}

static void machine_open(struct machine *m)
{
	memset(m, 0, sizeof(*m));
	m->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm_fd < 0) {
		m->kvm_fd = -errno;
		m->error = errno;
		m->what = "/dev/kvm";
		return;
	}
	m->api = ioctl(m->kvm_fd, KVM_GET_API_VERSION, 0);
	ask_platform(m);
}

static void machine_close(struct machine *m)
{
	if (m->kvm_fd >= 0)
		close(m->kvm_fd);
}

static void probe_kvm(struct lodge_feature *row, const struct machine *m)
{
	row->ok = m->kvm_fd >= 0 && m->api == KVM_API && !m->error;
	if (row->ok)
		FOUND(row, "API version %d, %s", m->api, m->platform.shadow ? "shadow (PVM)" : "hardware");
	else if (m->kvm_fd >= 0 && m->api != KVM_API)
		FOUND(row, "API version %d", m->api);
	else
		FOUND(row, "%s: %s", m->what, strerror(m->error));
	if (row->ok)
		return;
	if (m->kvm_fd == -EACCES || m->kvm_fd == -EPERM)
		REMEDY(row, "join the group that owns /dev/kvm (usermod -aG kvm USER, then log in again), or "
			    "run as root");
	else if (m->kvm_fd < 0)
		REMEDY(row, "enable virtualisation in the firmware, then modprobe kvm_intel or kvm_amd; "
			    "in a container, pass --device /dev/kvm");
	else
		REMEDY(row, "a newer kernel, or more memory");
}

static void probe_sync_regs(struct lodge_feature *row, const struct machine *m)
{
	int have = m->kvm_fd >= 0 ? ioctl(m->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) : -1;

	row->ok = have > 0 && (have & SYNC_NEEDED) == SYNC_NEEDED;
	if (have >= 0)
		FOUND(row, "KVM_CAP_SYNC_REGS %#x", (unsigned int)have);
	if (!row->ok)
		REMEDY(row, "Linux 4.17 or newer");
}

static void probe_syscall(struct lodge_feature *row, const struct machine *m)
{
	row->ok = !m->error;
	if (row->ok)
		FOUND(row, "%s",
		      m->platform.syscall_cpl3 ? "stays in ring 3 and arrives as a page fault"
					       : "enters ring 0");
	else
		REMEDY(row, "see kvm");
}

static void probe_vector(struct lodge_feature *row, const struct machine *m)
{
	row->ok = !m->error;
	if (row->ok)
		FOUND(row, "xcr0 %#" PRIx64 ", %u bytes%s", m->platform.xcr0, m->platform.xsave_bytes,
		      m->platform.fsgsbase ? ", fsgsbase" : "");
	if (!row->ok)
		REMEDY(row, "see kvm");
}

/* --- the host's kernel ------------------------------------------------------------------------------------------ */

/* The first line of a small file, without its newline; false when it cannot be read. */
static bool read_line(const char *path, char *line, size_t bytes)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(line, (int)bytes, f);

	if (f)
		fclose(f);
	if (ok)
		line[strcspn(line, "\n")] = '\0';
	return ok;
}

static int open_userfaultfd(const char **how)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), dev;

	*how = "userfaultfd(2)";
	if (fd >= 0)
		return fd;
	dev = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (dev < 0)
		return -1;
	*how = "/dev/userfaultfd";
	fd = ioctl(dev, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	close(dev);
	return fd;
}

static void probe_userfaultfd(struct lodge_feature *row, const struct machine *m)
{
	struct uffdio_api api = {.api = UFFD_API};
	const char *how;
	int fd = open_userfaultfd(&how);

	(void)m;
	row->ok = fd >= 0 && !ioctl(fd, UFFDIO_API, &api);
	if (row->ok)
		FOUND(row, "%s, features %#llx", how, (unsigned long long)api.features);
	else
		FOUND(row, "%s", strerror(errno));
	if (!row->ok)
		REMEDY(row, "run as root, or sysctl vm.unprivileged_userfaultfd=1, or give access to "
			    "/dev/userfaultfd");
	if (fd >= 0)
		close(fd);
}

static void probe_io_uring(struct lodge_feature *row, const struct machine *m)
{
	struct io_uring_params params = {0};
	int fd = (int)syscall(SYS_io_uring_setup, 1, &params);

	(void)m;
	row->ok = fd >= 0;
	if (row->ok)
		FOUND(row, "features %#x", params.features);
	else
		FOUND(row, "%s", strerror(errno));
	if (!row->ok)
		REMEDY(row, "Linux 5.1 or newer, sysctl kernel.io_uring_disabled=0, and no seccomp filter "
			    "against it");
	if (fd >= 0)
		close(fd);
}

static void probe_thp(struct lodge_feature *row, const struct machine *m)
{
	char line[80];

	(void)m;
	if (!read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof(line)))
		snprintf(line, sizeof(line), "not in this kernel");
	row->ok = strstr(line, "[always]") || strstr(line, "[madvise]");
	FOUND(row, "%s", line);
	if (!row->ok)
		REMEDY(row, "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
}

static void probe_hugetlb(struct lodge_feature *row, const struct machine *m)
{
	char line[64];

	(void)m;
	if (!read_line("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", line, sizeof(line)))
		snprintf(line, sizeof(line), "no");
	row->ok = line[0] >= '1' && line[0] <= '9';
	FOUND(row, "%s pages of 2 MiB reserved", line);
	if (!row->ok)
		REMEDY(row, "sysctl vm.nr_hugepages=N");
}

static void probe_seccomp(struct lodge_feature *row, const struct machine *m)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	(void)m;
	row->ok = !syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
	FOUND(row, "%s", row->ok ? "filters that end the process" : strerror(errno));
	if (!row->ok)
		REMEDY(row, "a kernel with CONFIG_SECCOMP_FILTER, Linux 4.14 or newer");
}

static void probe_landlock(struct lodge_feature *row, const struct machine *m)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	(void)m;
	row->ok = version > 0;
	if (row->ok)
		FOUND(row, "ABI version %ld", version);
	else
		FOUND(row, "%s", strerror(errno));
	if (!row->ok)
		REMEDY(row, "Linux 5.13 or newer with landlock in CONFIG_LSM or the boot parameter lsm=");
}

static void probe_memlock(struct lodge_feature *row, const struct machine *m)
{
	struct rlimit limit;

	(void)m;
	row->ok = !getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur > 0;
	if (limit.rlim_cur == RLIM_INFINITY)
		FOUND(row, "unlimited");
	else
		FOUND(row, "%llu KiB", (unsigned long long)limit.rlim_cur >> 10);
	if (!row->ok)
		REMEDY(row, "ulimit -l, or memlock in /etc/security/limits.conf");
}

/* --- the rows --------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int required;
	const char *purpose;
	void (*fn)(struct lodge_feature *row, const struct machine *m);
} probes[] = {
	{"kvm", 1, "runs guests: /dev/kvm, its rights, and how it translates guest addresses", probe_kvm},
	{"sync_regs", 1, "registers in and out of a guest without extra calls", probe_sync_regs},
	{"syscall", 1, "how a guest's system calls reach lodge; both ways are handled", probe_syscall},
	{"vector state", 1, "vector registers that guests may use", probe_vector},
	{"thp", 0, "huge pages behind guest memory: fewer and cheaper faults", probe_thp},
	{"hugetlb", 0, "not used by this version", probe_hugetlb},
	{"userfaultfd", 0, "lodge restore: memory that comes in blocks when it is touched",
	 probe_userfaultfd},
	{"io_uring", 0, "swap (--swap): transfers that go on by themselves", probe_io_uring},
	{"seccomp", 0, "not used by this version", probe_seccomp},
	{"landlock", 0, "not used by this version", probe_landlock},
	{"memlock", 0, "not used by this version", probe_memlock},
};

int lodge_probe(struct lodge_feature *rows, int max)
{
	const int nr = (int)ARRAY_SIZE(probes);
	struct machine m;

	machine_open(&m);
	for (int i = 0; i < nr && i < max; i++) {
		rows[i] = (struct lodge_feature){
			.name = probes[i].name,
			.required = probes[i].required,
			.purpose = probes[i].purpose,
		};
		probes[i].fn(&rows[i], &m);
	}
	machine_close(&m);
	return nr;
}
