/* SPDX-License-Identifier: MIT */
/*
 * floor.c - the least that a KVM program can do, as a measure for what lodge does beyond it.
 *
 *	floor once	makes a machine with 16 MiB and one processor, runs one OUT at ring 0, ends
 *	floor vcpu	prints "* us", making one more processor in such a machine and giving it its registers
 *	floor exits [N]	prints "* ns", the round trip from CPL3 to user space and back by an OUT; of N of them, 1 if left out
 *
 * There are no interrupts, no CPUID and no system calls in this guest, and nothing is checked but the exit.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "prog/clock.h"
#include "prog/median.h"

#define MEMORY_BYTES	   (16ul << 20)
#define BATCH		   1000
#define MEASURE_NS	   200000000u
#define VCPUS		   15

/* Guest-physical addresses, which are virtual ones too. */
#define PML4		   0x1000u
#define PDPT		   0x2000u
#define PD		   0x3000u
#define GDT		   0x4000u
#define TSS		   0x5000u /* its I/O bitmap is all zero: every port is open to CPL3 */
#define CODE		   0x10000u
#define PORT		   0x40u

#define TSS_IOMAP	   0x66u
#define TSS_LIMIT	   0xffu

#define ENTRY_FLAGS	   0x67u /* present, writable, user, accessed, dirty */
#define ENTRY_HUGE	   0x80u

#define SELECTOR_USER_CODE 0x1bu
#define SELECTOR_USER_DATA 0x23u
#define SELECTOR_CODE	   0x08u
#define SELECTOR_DATA	   0x10u
#define SELECTOR_TSS	   0x28u

struct machine {
	char *memory;
	int kvm_fd, vm_fd, vcpu_fd, nr_vcpus;
	struct kvm_run *run;
};

static int failed(const char *what)
{
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	return -1;
}

static void write_u64(struct machine *m, unsigned int gpa, uint64_t value)
{
	memcpy(m->memory + gpa, &value, sizeof(value));
}

static void write_memory(struct machine *m)
{
	static const uint8_t loop[] = {0xe6, PORT, 0xeb, 0xfc}; /* 1: out %al, $PORT; jmp 1b */
	const uint16_t iomap = TSS_IOMAP + 2;

	write_u64(m, PML4, PDPT | ENTRY_FLAGS);
	write_u64(m, PDPT, PD | ENTRY_FLAGS);
	for (unsigned int i = 0; i < MEMORY_BYTES >> 21; i++)
		write_u64(m, PD + 8 * i, (uint64_t)i << 21 | ENTRY_FLAGS | ENTRY_HUGE);
	write_u64(m, GDT + 0x08, 0x00af9b000000ffff);
	write_u64(m, GDT + 0x10, 0x00cf93000000ffff);
	write_u64(m, GDT + 0x18, 0x00affb000000ffff);
	write_u64(m, GDT + 0x20, 0x00cff3000000ffff);
	write_u64(m, GDT + 0x28, TSS_LIMIT | (uint64_t)TSS << 16 | 0x8bull << 40);
	memcpy(m->memory + TSS + TSS_IOMAP, &iomap, sizeof(iomap));
	memcpy(m->memory + CODE, loop, sizeof(loop));
}

static int machine_create(struct machine *m)
{
	m->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m->kvm_fd < 0)
		return failed("/dev/kvm");
	do /* creating a machine is interrupted by signals */
		m->vm_fd = ioctl(m->kvm_fd, KVM_CREATE_VM, 0);
	while (m->vm_fd < 0 && errno == EINTR);
	if (m->vm_fd < 0)
		return failed("KVM_CREATE_VM");
	m->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m->memory == MAP_FAILED)
		return failed("mmap");
	struct kvm_userspace_memory_region region = {.memory_size = MEMORY_BYTES,
						     .userspace_addr = (uintptr_t)m->memory};
	if (ioctl(m->vm_fd, KVM_SET_USER_MEMORY_REGION, &region))
		return failed("KVM_SET_USER_MEMORY_REGION");
	write_memory(m);
	return 0;
}

static int vcpu_create(struct machine *m)
{
	int run_bytes = ioctl(m->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	m->vcpu_fd = ioctl(m->vm_fd, KVM_CREATE_VCPU, m->nr_vcpus++);
	if (run_bytes < 0 || m->vcpu_fd < 0)
		return failed("KVM_CREATE_VCPU");
	m->run = mmap(NULL, (size_t)run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu_fd, 0);
	return m->run == MAP_FAILED ? failed("mmap of the processor") : 0;
}

static struct kvm_segment segment(uint16_t selector, uint8_t type)
{
	return (struct kvm_segment){.limit = 0xffffffff,
				    .selector = selector,
				    .type = type,
				    .present = 1,
				    .dpl = selector & 3,
				    .db = type == 3,
				    .s = 1,
				    .l = type == 11,
				    .g = 1};
}

/* 64-bit mode at CODE. */
static int vcpu_setup(struct machine *m, int user)
{
	struct kvm_regs regs = {.rip = CODE, .rflags = 2};
	struct kvm_sregs s;

	if (ioctl(m->vcpu_fd, KVM_GET_SREGS, &s))
		return failed("KVM_GET_SREGS");
	s.cr0 = 0x80050033; /* PG AM WP NE ET MP PE */
	s.cr3 = PML4;
	s.cr4 = 0x20;	/* PAE */
	s.efer = 0x500; /* LMA LME */
	s.gdt = (struct kvm_dtable){.base = GDT, .limit = 0x37};
	s.tr = (struct kvm_segment){
		.base = TSS, .limit = TSS_LIMIT, .selector = SELECTOR_TSS, .type = 11, .present = 1};
	s.cs = segment(user ? SELECTOR_USER_CODE : SELECTOR_CODE, 11);
	s.ds = s.es = s.fs = s.gs = s.ss = segment(user ? SELECTOR_USER_DATA : SELECTOR_DATA, 3);
	if (ioctl(m->vcpu_fd, KVM_SET_SREGS, &s))
		return failed("KVM_SET_SREGS");
	return ioctl(m->vcpu_fd, KVM_SET_REGS, &regs) ? failed("KVM_SET_REGS") : 0;
}

static int run_to_exit(struct machine *m)
{
	if (ioctl(m->vcpu_fd, KVM_RUN, 0))
		return failed("KVM_RUN");
	if (m->run->exit_reason == KVM_EXIT_IO && m->run->io.port == PORT)
		return 0;
	fprintf(stderr, "floor: exit reason %u\n", m->run->exit_reason);
	return -1;
}

static int measure_exits(struct machine *m, double times)
{
	uint64_t start = clock_now_ns(), spent, exits = 0;

	do {
		for (int i = 0; i < BATCH; i++)
			if (run_to_exit(m))
				return -1;
		exits += BATCH;
		spent = clock_now_ns() - start;
	} while (spent < MEASURE_NS);
	printf("* %.1f\n", times * (double)spent / (double)exits);
	return 0;
}

/* They go with the machine. */
static int measure_vcpus(struct machine *m)
{
	double us[VCPUS];

	for (int i = 0; i < VCPUS; i++) {
		uint64_t begin = clock_now_ns();
		if (vcpu_create(m) || vcpu_setup(m, 1))
			return -1;
		us[i] = (double)(clock_now_ns() - begin) / 1000;
	}
	printf("* %.1f\n", median(us, VCPUS));
	return 0;
}

int main(int argc, char **argv)
{
	struct machine m = {.vcpu_fd = -1};
	int vcpus = argc == 2 && !strcmp(argv[1], "vcpu");
	int exits = argc >= 2 && argc <= 3 && !strcmp(argv[1], "exits");
	double times = argc == 3 ? strtod(argv[2], NULL) : 1;

	if (!exits && !vcpus && (argc != 2 || strcmp(argv[1], "once") != 0))
		return 2;
	if (vcpus)
		return machine_create(&m) || measure_vcpus(&m);
	if (machine_create(&m) || vcpu_create(&m) || vcpu_setup(&m, exits) || run_to_exit(&m))
		return 1;
	return exits && measure_exits(&m, times) ? 1 : 0;
}
