/* SPDX-License-Identifier: MIT */
/*
 * vm.c - the machine: KVM's file descriptors, memory slots, and the kernel half that every space maps.
 *
 * The image is one block of frames at the bottom of the table zone:
 *	frame 0		entry code (src/guest/entry.S)
 *	frame 1		IDT
 *	frame 2		PDPT of the kernel half: [0] data window, [1] text window
 *	frame 3, 4	their PDs: 2 MiB pages over guest-physical 0..1 GiB, data RW+NX, text R+X
 *	frame 5		a root with the kernel half only
 *	frame 6, 7	code of gates (src/guest/gate.S)
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm.h"

#define IMAGE_ORDER 3

/* Three pages below 4 GiB that VT-x without unrestricted guest wants; no slot is there. */
#define TSS_ADDR    0xfffbd000ul

extern const char entry_stubs[], entry_lstar[], entry_done[], entry_end[];

static int add_slot(void *ctx, gpa_t gpa, void *hva, uint64_t bytes)
{
	struct vm *vm = ctx;
	struct kvm_userspace_memory_region r = {.slot = atomic_fetch_add(&vm->nr_slots, 1),
						.guest_phys_addr = gpa,
						.memory_size = bytes,
						.userspace_addr = (uintptr_t)hva};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r) ? -errno : 0;
}

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, type;
	uint16_t offset_mid;
	uint32_t offset_high, zero;
};

#define GATE_INTERRUPT	    0x8e /* present, DPL 0 */
#define GATE_INTERRUPT_CPL3 0xee

static uint8_t gate_ist(unsigned int vector)
{
	switch (vector) {
	case 8:
		return 1;
	case 2:
		return 2;
	case 18:
		return 3;
	case 1:
		return 4;
	default:
		return 0;
	}
}

static void write_idt(struct vm *vm, struct gate *idt)
{
	for (unsigned int i = 0; i < 256; i++) {
		gva_t handler = vm->stubs + i * ENTRY_STUB_BYTES;
		bool user = i == 3 || i == 4; /* int3 and into are for everybody */
		idt[i] = (struct gate){.offset_low = (uint16_t)handler,
				       .selector = GUEST_KERNEL_CS,
				       .ist = gate_ist(i),
				       .type = user ? GATE_INTERRUPT_CPL3 : GATE_INTERRUPT,
				       .offset_mid = (uint16_t)(handler >> 16),
				       .offset_high = (uint32_t)(handler >> 32)};
	}
}

static void write_windows(struct vm *vm, pfn_t image)
{
	pte_t *pdpt = pfn_address(&vm->arena->frames, image + 2);
	pte_t *data = pdpt + PTRS_PER_TABLE, *text = data + PTRS_PER_TABLE;
	pte_t common = PTE_PRESENT | PTE_ACCESSED | PTE_HUGE | PTE_GLOBAL;

	pdpt[0] = pte_make(image + 3, PTE_PRESENT | PTE_WRITE | PTE_ACCESSED);
	pdpt[1] = pte_make(image + 4, PTE_PRESENT | PTE_WRITE | PTE_ACCESSED);
	for (uint64_t i = 0; i < PTRS_PER_TABLE; i++) {
		data[i] = pte_make(i * PMD_PAGES, common | PTE_WRITE | PTE_DIRTY | PTE_NX);
		text[i] = pte_make(i * PMD_PAGES, common);
	}
}

static int make_image(struct vm *vm)
{
	struct frames *f = &vm->arena->frames;
	struct page *image = page_alloc(f, GFP_TABLE | __GFP_ZERO, IMAGE_ORDER);

	if (!image)
		return -ENOMEM;
	for (unsigned int i = 0; i < 1u << IMAGE_ORDER; i++)
		atomic_fetch_or(&image[i].flags, PG_RESERVED);
	gpa_t gpa = page_to_gpa(f, image);
	vm->image = image;
	vm->stubs = KERNEL_TEXT_BASE + gpa;
	vm->lstar = vm->stubs + (uint64_t)(entry_lstar - entry_stubs);
	vm->done = vm->stubs + (uint64_t)(entry_done - entry_stubs);
	vm->idt = KERNEL_DATA_BASE + gpa + PAGE_SIZE;
	memcpy(page_address(f, image), entry_stubs, (size_t)(entry_end - entry_stubs));
	write_idt(vm, (struct gate *)page_address(f, image + 1));
	write_windows(vm, page_to_pfn(f, image));
	vm->mm_host.kernel_entry =
		pte_make(page_to_pfn(f, image) + 2, PTE_PRESENT | PTE_WRITE | PTE_ACCESSED);
	vm->kernel_root = gpa + 5 * PAGE_SIZE;
	gate_write_code(vm, image + 6, image + 7);
	((pte_t *)page_address(f, image + 5))[PTRS_PER_TABLE / 2] = vm->mm_host.kernel_entry;
	return 0;
}

#define NEEDED_SYNC (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS)

/* Opens KVM and checks that it can do what is needed. NULL, or what failed with *error set. */
static const char *open_kvm(struct vm *vm, int *error)
{
	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	*error = errno;
	if (vm->kvm_fd < 0)
		return "open /dev/kvm";
	*error = ENODEV;
	if (ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
		return "KVM API version";
	if ((ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS) & NEEDED_SYNC) != NEEDED_SYNC)
		return "KVM_CAP_SYNC_REGS";
	if (!ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_IMMEDIATE_EXIT))
		return "KVM_CAP_IMMEDIATE_EXIT";
	do /* creating a machine is interrupted by signals */
		vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	while (vm->fd < 0 && errno == EINTR);
	*error = errno;
	if (vm->fd < 0)
		return "KVM_CREATE_VM";
	ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDR); /* VT-x only; others refuse, which is fine */
	int run_bytes = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	*error = errno;
	if (run_bytes < (int)sizeof(struct kvm_run))
		return "KVM_GET_VCPU_MMAP_SIZE";
	vm->run_bytes = (uint32_t)run_bytes;
	int xsave = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	vm->xsave_bytes = xsave > (int)sizeof(struct kvm_xsave) ? (uint32_t)xsave : sizeof(struct kvm_xsave);
	return NULL;
}

static const char *build(struct vm *vm, int *error)
{
	const char *what = open_kvm(vm, error);
	int err;

	if (what)
		return what;
	vm->arena->add_slot = add_slot;
	vm->arena->slot_ctx = vm;
	err = mm_host_init(&vm->mm_host, &vm->arena->frames, &vm_mmu_ops, vm);
	if (err)
		vm->mm_host.frames = NULL; /* there is nothing to destroy */
	else
		err = make_image(vm);
	*error = -err;
	return err ? "guest memory" : NULL;
}

struct vm *vm_create(struct arena *arena, struct vm_error *err)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	const char *what = "memory";
	int error = ENOMEM;

	if (vm) {
		vm->kvm_fd = vm->fd = -1;
		vm->load_fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
		vm->tasks_fd = open("/proc/self/task", O_PATH | O_DIRECTORY | O_CLOEXEC);
		vm->arena = arena;
		pthread_mutex_init(&vm->lock, NULL);
		pthread_mutex_init(&vm->poke_lock, NULL);
		boot_init(&vm->boot);
		pthread_mutex_init(&vm->gate_lock, NULL);
		pthread_mutex_init(&vm->patch_lock, NULL);
		list_init(&vm->stale);
		what = build(vm, &error);
		if (!what) {
			boot_start(vm);
			return vm;
		}
		vm_destroy(vm);
	}
	if (err)
		*err = (struct vm_error){error, what};
	return NULL;
}

uint64_t vm_destroy(struct vm *vm)
{
	uint64_t leaked = 0;

	if (!vm)
		return 0;
	boot_destroy(&vm->boot);
	vcpu_destroy_all(vm);
	shootdown_destroy(vm);
	if (vm->mm_host.frames)
		leaked = mm_host_destroy(&vm->mm_host);
	if (vm->image)
		page_free_block(&vm->arena->frames, vm->image, IMAGE_ORDER);
	vm->arena->add_slot = NULL;
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	if (vm->load_fd >= 0)
		close(vm->load_fd);
	if (vm->tasks_fd >= 0)
		close(vm->tasks_fd);
	free(vm->cpuid);
	pthread_mutex_destroy(&vm->lock);
	pthread_mutex_destroy(&vm->poke_lock);
	pthread_mutex_destroy(&vm->gate_lock);
	pthread_mutex_destroy(&vm->patch_lock);
	free(vm);
	return leaked;
}

struct mm_host *vm_mm_host(struct vm *vm)
{
	return &vm->mm_host;
}

/* What the host itself enabled: where guests run natively at CPL3, this is what they have. */
static uint64_t host_xcr0(void)
{
	uint32_t low, high;

	if (!__builtin_cpu_supports("avx")) /* which implies that xgetbv is there */
		return 3;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

int vm_platform(struct vm *vm, struct vm_platform *p)
{
	struct vcpu *v = current_vcpu;
	int err = boot_finish(vm);

	if (!err && atomic_load(&vm->mmu_kind) == MMU_UNKNOWN) {
		bool borrowed = !v;
		if (v)
			vcpu_recall(v);
		err = borrowed ? vcpu_get(vm, &v) : 0;
		if (!err) {
			err = selftest_run(vm, v);
			if (borrowed)
				vcpu_put(v);
		}
	}
	int kind = atomic_load(&vm->mmu_kind);
	*p = (struct vm_platform){.shadow = kind == MMU_SHADOW || kind == MMU_PVM,
				  .syscall_cpl3 = kind == MMU_PVM,
				  .fsgsbase = kind == MMU_PVM || (vm->cr4 & CR4_FSGSBASE),
				  .xcr0 = kind == MMU_PVM ? host_xcr0() : vm->xcr0,
				  .xsave_bytes = vm->xsave_bytes};
	return err;
}
