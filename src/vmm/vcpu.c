/* SPDX-License-Identifier: MIT */
/*
 * vcpu.c - making processors, who owns them, and their vector state. See run.c for running them.
 *
 * A vCPU lives until its machine does (KVM cannot destroy one), so those without an owner wait in a pool.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm.h"

#define MSR_STAR   0xc0000081u
#define MSR_LSTAR  0xc0000082u
#define MSR_CSTAR  0xc0000083u
#define MSR_SFMASK 0xc0000084u

#define CR0_USER   0x80050033ull /* PG AM WP NE ET MP PE */
#define EFER_USER  0xd01ull	 /* NXE LMA LME SCE */

_Thread_local struct vcpu *current_vcpu;

static void write_gdt(struct vcpu *v)
{
	uint64_t *gdt = (uint64_t *)(void *)(v->data + CPU_GDT);
	uint64_t tss = v->data_va + CPU_TSS;

	gdt[GUEST_KERNEL_CS / 8] = 0x00af9b000000ffff;
	gdt[GUEST_KERNEL_DS / 8] = 0x00cf93000000ffff;
	/* No 32-bit code segment: in compatibility mode AMD's SYSCALL would enter ring 0 by another door. */
	gdt[GUEST_USER_DS / 8] = 0x00cff3000000ffff;
	gdt[GUEST_USER_CS / 8] = 0x00affb000000ffff;
	gdt[GUEST_TSS / 8] =
		0x67 | (tss & 0xffffff) << 16 | 0x8bull << 40 | (tss >> 24 & 0xff) << 56; /* busy */
	gdt[GUEST_TSS / 8 + 1] = tss >> 32;
}

#define TSS_RSP0  0x04
#define TSS_IST1  0x24
#define TSS_IOMAP 0x66
#define TSS_LIMIT 0x67 /* the I/O bitmap begins behind it: no port is open to CPL3 */

static void write_tss(struct vcpu *v)
{
	const uint64_t stack[] = {v->data_va + CPU_IST_DF, v->data_va + CPU_IST_NMI, v->data_va + CPU_IST_MC,
				  v->data_va + CPU_IST_DB};
	uint64_t rsp0 = v->data_va + CPU_RSP0;
	uint16_t iomap = TSS_LIMIT + 1;
	char *tss = v->data + CPU_TSS;

	memcpy(tss + TSS_RSP0, &rsp0, sizeof(rsp0));
	memcpy(tss + TSS_IST1, stack, sizeof(stack));
	memcpy(tss + TSS_IOMAP, &iomap, sizeof(iomap));
}

static struct kvm_segment segment(uint16_t selector, bool code)
{
	return (struct kvm_segment){.limit = 0xffffffff,
				    .selector = selector,
				    .type = code ? 11 : 3,
				    .present = 1,
				    .dpl = selector & 3,
				    .db = !code,
				    .s = 1,
				    .l = code,
				    .g = 1};
}

/* Data segments as Linux leaves them: null, which 64-bit code does not notice. */
static struct kvm_segment null_segment(void)
{
	return (struct kvm_segment){.unusable = 1};
}

static void fill_sregs(struct vcpu *v, struct kvm_sregs *s)
{
	s->cr0 = CR0_USER;
	s->cr4 = v->vm->cr4;
	s->efer = EFER_USER;
	s->gdt = (struct kvm_dtable){.base = v->data_va + CPU_GDT, .limit = CPU_TSS - 1};
	s->idt = (struct kvm_dtable){.base = v->vm->idt, .limit = PAGE_SIZE - 1};
	s->tr = (struct kvm_segment){.base = v->data_va + CPU_TSS,
				     .limit = TSS_LIMIT,
				     .selector = GUEST_TSS,
				     .type = 11,
				     .present = 1};
	s->ldt = (struct kvm_segment){.unusable = 1};
	s->ds = s->es = s->fs = s->gs = null_segment();
	s->cr3 = v->vm->kernel_root;
	v->user = v->kernel = *s;
	v->user.cs = segment(GUEST_USER_CS, true);
	v->user.ss = segment(GUEST_USER_DS, false);
	v->kernel.cs = segment(GUEST_KERNEL_CS, true);
	v->kernel.ss = segment(GUEST_KERNEL_DS, false);
}

static int set_msrs(struct vcpu *v)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[4];
	} msrs = {.head.nmsrs = 4,
		  .entry = {{.index = MSR_STAR,
			     .data = (uint64_t)GUEST_USER32_CS << 48 | (uint64_t)GUEST_KERNEL_CS << 32},
			    {.index = MSR_LSTAR, .data = v->vm->lstar},
			    {.index = MSR_CSTAR, .data = v->vm->lstar},
			    {.index = MSR_SFMASK, .data = SYSCALL_FLAGS}}};

	v->lstar = v->vm->lstar;
	return ioctl(v->fd, KVM_SET_MSRS, &msrs) == 4 ? 0 : -EIO;
}

/* A gate at CPL3 returns by a jump, which restores no flags: of those that SYSCALL could take away it stops at TF alone. */
int vcpu_set_lstar(struct vcpu *v, gva_t lstar)
{
	bool jumps = lstar != v->vm->lstar && atomic_load(&v->vm->mmu_kind) == MMU_PVM;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[2];
	} msrs = {.head.nmsrs = 2,
		  .entry = {{.index = MSR_LSTAR, .data = lstar},
			    {.index = MSR_SFMASK, .data = jumps ? FLAG_TF : SYSCALL_FLAGS}}};

	if (lstar == v->lstar)
		return 0;
	v->lstar = lstar;
	return ioctl(v->fd, KVM_SET_MSRS, &msrs) == 2 ? 0 : -EIO;
}

/*
 * Guests read the host's own time stamp counter, which is what struct vvar is about. KVM before Linux 5.16 does not let us ask for that:
 * guests then see a counter of their own, far from what is there, and make system calls for the time.
 */
static void share_tsc(struct vcpu *v)
{
	const uint64_t offset = 0;
	struct kvm_device_attr attr = {.group = KVM_VCPU_TSC_CTRL,
				       .attr = KVM_VCPU_TSC_OFFSET,
				       .addr = (uintptr_t)&offset};

	ioctl(v->fd, KVM_SET_DEVICE_ATTR, &attr);
}

static int set_xcr0(struct vcpu *v)
{
	struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs[0] = {.xcr = 0, .value = v->vm->xcr0}};

	if (!v->vm->xcr0)
		return 0;
	return ioctl(v->fd, KVM_SET_XCRS, &xcrs) ? -errno : 0;
}

static int setup(struct vcpu *v)
{
	struct frames *f = &v->vm->arena->frames;
	struct kvm_sregs sregs;

	v->area = page_alloc(f, GFP_TABLE | __GFP_ZERO, 1);
	if (!v->area)
		return -ENOMEM;
	for (unsigned int i = 0; i < 2; i++)
		atomic_fetch_or(&v->area[i].flags, PG_RESERVED);
	v->data = page_address(f, v->area);
	v->data_va = KERNEL_DATA_BASE + page_to_gpa(f, v->area);
	v->text_va = KERNEL_TEXT_BASE + page_to_gpa(f, v->area);
	v->run = mmap(NULL, v->vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return -errno;
	}
	if (ioctl(v->fd, KVM_SET_CPUID2, v->vm->cpuid) || ioctl(v->fd, KVM_GET_SREGS, &sregs))
		return -errno;
	write_gdt(v);
	v->cpu = -1;
	write_tss(v);
	fill_sregs(v, &sregs);
	if (ioctl(v->fd, KVM_SET_SREGS, &v->user))
		return -errno;
	v->run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	share_tsc(v);
	int err = set_xcr0(v);
	return err ? err : set_msrs(v);
}

static void destroy(struct vcpu *v)
{
	runner_destroy(&v->runner);
	if (v->run)
		munmap(v->run, v->vm->run_bytes);
	if (v->fd >= 0)
		close(v->fd);
	if (v->area)
		page_free_block(&v->vm->arena->frames, v->area, 1);
	free(v);
}

static int create(struct vm *vm, struct vcpu **result)
{
	struct vcpu *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->vm = vm;
	runner_init(&v->runner);
	pthread_mutex_lock(&vm->lock);
	v->id = vm->nr_vcpus++;
	pthread_mutex_unlock(&vm->lock);
	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)v->id);
	int err = v->fd < 0 ? -errno : setup(v);
	if (err) {
		destroy(v);
		return err;
	}
	pthread_mutex_lock(&vm->lock);
	v->next_all = vm->all;
	vm->all = v;
	pthread_mutex_unlock(&vm->lock);
	*result = v;
	return 0;
}

void vcpu_destroy_all(struct vm *vm)
{
	while (vm->all) {
		struct vcpu *v = vm->all;
		vm->all = v->next_all;
		destroy(v);
	}
	vm->idle = NULL;
}

static void push_idle(struct vcpu *v)
{
	pthread_mutex_lock(&v->vm->lock);
	v->next_idle = v->vm->idle;
	v->vm->idle = v;
	pthread_mutex_unlock(&v->vm->lock);
}

int vcpu_prepare(struct vm *vm)
{
	struct vcpu *v;
	int err = create(vm, &v);

	if (!err)
		push_idle(v);
	return err;
}

/* Its vector state is whatever it was, or that of a processor that was reset. */
static int take(struct vm *vm, struct vcpu **result)
{
	int err = boot_finish(vm);

	if (err)
		return err;
	pthread_mutex_lock(&vm->lock);
	struct vcpu *v = vm->idle;
	if (v)
		vm->idle = v->next_idle;
	pthread_mutex_unlock(&vm->lock);
	err = v ? 0 : create(vm, &v);
	if (err)
		return err;
	v->root = 0;
	atomic_store(&v->kicked, false);
	set_immediate_exit(v, false);
	v->stats = (struct vcpu_stats){0};
	v->traps = VCPU_TRAPS_EXIT;
	mailbox_reset(v);
	memset(v->site, 0, sizeof(v->site));
	v->vdso_pfn = 0;
	v->hottest.after = 0;
	atomic_fetch_add(&vm->nr_active, 1);
	*result = v;
	return 0;
}

/* `err` is how its vector state was set. */
static int taken(struct vcpu *v, int err, struct vcpu **result)
{
	v->used = true;
	if (err < 0)
		vcpu_put(v);
	else
		*result = v;
	return err < 0 ? err : 0;
}

int vcpu_take(struct vm *vm, struct vcpu **result)
{
	struct vcpu *v;
	int err = take(vm, &v);

	return err ? err : taken(v, v->used ? vcpu_reset_fpu(v) : 0, result);
}

int vcpu_take_like(struct vcpu *own, struct vcpu **result)
{
	_Alignas(64) uint8_t area[16384];
	int bytes = vcpu_get_xsave(own, area, sizeof(area));
	struct vcpu *v = NULL;
	int err = bytes < 0 ? bytes : take(own->vm, &v);

	return err ? err : taken(v, vcpu_set_xsave(v, area, (size_t)bytes), result);
}

void vcpu_bind(struct vcpu *v)
{
	v->owner = pthread_self();
	current_vcpu = v;
}

int vcpu_get(struct vm *vm, struct vcpu **result)
{
	int err = vcpu_take(vm, result);

	if (!err)
		vcpu_bind(*result);
	return err;
}

void vcpu_put(struct vcpu *v)
{
	struct vm *vm = v->vm;

	vcpu_recall(v);
	if (current_vcpu == v)
		current_vcpu = NULL;
	gate_leave(v);
	runner_forget_owner(&v->runner);
	atomic_store(&v->mm, NULL);
	atomic_fetch_sub(&vm->nr_active, 1);
	push_idle(v);
}

void vcpu_kick(struct vcpu *v)
{
	atomic_store(&v->kicked, true);
	set_immediate_exit(v, true);
	pthread_kill(v->owner, KICK_SIGNAL);
	runner_kick(v);
}

void vm_kick_all(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	for (struct vcpu *v = vm->all; v; v = v->next_all)
		if (atomic_load(&v->in_guest))
			vcpu_kick(v);
	pthread_mutex_unlock(&vm->lock);
}

void vcpu_moved(struct vcpu *v)
{
	atomic_store(&v->moved, true);
}

bool vcpu_is_watched(struct vcpu *v)
{
	return runner_runs(v);
}

int64_t vcpu_more_cpu_ns(struct vcpu *v)
{
	return runner_cpu_ns(v);
}

const struct vcpu_stats *vcpu_stats(struct vcpu *v)
{
	vcpu_recall(v);
	gate_count(v);
	v->stats.poll_ns = runner_owner_ns(v);
	return &v->stats;
}

/* --- vector state ----------------------------------------------------------------------------------------------------- */

#define FCW_DEFAULT   0x37f
#define MXCSR_DEFAULT 0x1f80
#define XSAVE_MXCSR   24 /* offsets in the standard format (Intel SDM vol. 1, 13.4) */
#define XSAVE_BV      512

int vcpu_get_xsave(struct vcpu *v, void *area, size_t bytes)
{
	uint32_t need = v->vm->xsave_bytes;

	vcpu_recall(v);
	if (bytes < need)
		return -ENOSPC;
	unsigned long request = need > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;
	return ioctl(v->fd, request, area) ? -errno : (int)need;
}

int vcpu_set_xsave(struct vcpu *v, const void *area, size_t bytes)
{
	vcpu_recall(v);
	if (bytes < v->vm->xsave_bytes)
		return -EINVAL;
	return ioctl(v->fd, KVM_SET_XSAVE, area) ? -errno : 0;
}

int vcpu_reset_fpu(struct vcpu *v)
{
	char *area = aligned_alloc(64, (v->vm->xsave_bytes + 63u) & ~63u);
	const uint16_t fcw = FCW_DEFAULT;
	const uint32_t mxcsr = MXCSR_DEFAULT;
	const uint64_t present = 3; /* x87 and SSE are in the area; all else takes its initial state */

	if (!area)
		return -ENOMEM;
	memset(area, 0, v->vm->xsave_bytes);
	memcpy(area, &fcw, sizeof(fcw));
	memcpy(area + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
	memcpy(area + XSAVE_BV, &present, sizeof(present));
	int err = vcpu_set_xsave(v, area, v->vm->xsave_bytes);
	free(area);
	return err;
}
