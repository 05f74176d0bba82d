/* SPDX-License-Identifier: MIT */
/* boot.c - see boot.h. */
#include "boot.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "kvm.h"
#include "../mm/quiet_thread.h"

#define MAX_CPUID   256
#define STACK_BYTES (128u << 10)

/* --- the processor ------------------------------------------------------------------------------------------------------- */

static const struct kvm_cpuid_entry2 *cpuid_leaf(const struct vm *vm, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < vm->cpuid->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &vm->cpuid->entries[i];
		if (e->function == function && e->index == index)
			return e;
	}
	return NULL;
}

#define CR4_PAE		 (1u << 5)
#define CR4_PGE		 (1u << 7)
#define CR4_OSFXSR	 (1u << 9)
#define CR4_OSXMMEXCPT	 (1u << 10)
#define CR4_UMIP	 (1u << 11)
#define CR4_OSXSAVE	 (1u << 18)

#define XCR0_X87_SSE_AVX 0x07u
#define XCR0_AVX512	 0xe0u

/* Hardware enforces CR4 and XCR0, so they say exactly what CPUID offers. */
static void choose_features(struct vm *vm)
{
	const struct kvm_cpuid_entry2 *f1 = cpuid_leaf(vm, 1, 0), *f7 = cpuid_leaf(vm, 7, 0),
				      *fd = cpuid_leaf(vm, 13, 0);

	vm->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
	if (f7 && (f7->ecx & (1u << 2)))
		vm->cr4 |= CR4_UMIP;
	if (f7 && (f7->ebx & 1u))
		vm->cr4 |= CR4_FSGSBASE;
	if (f1 && (f1->ecx & (1u << 26)) && fd) {
		vm->cr4 |= CR4_OSXSAVE;
		vm->xcr0 = fd->eax & XCR0_X87_SSE_AVX;
		if ((fd->eax & XCR0_AVX512) == XCR0_AVX512 && (vm->xcr0 & 4))
			vm->xcr0 |= XCR0_AVX512;
	}
}

static int read_cpuid(struct vm *vm)
{
	vm->cpuid = calloc(1, sizeof(*vm->cpuid) + MAX_CPUID * sizeof(vm->cpuid->entries[0]));
	if (!vm->cpuid)
		return -ENOMEM;
	vm->cpuid->nent = MAX_CPUID;
	return ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, vm->cpuid) ? -errno : 0;
}

static int boot(struct vm *vm)
{
	int err = read_cpuid(vm);

	if (err)
		return err;
	choose_features(vm);
	return vcpu_prepare(vm);
}

/* --- who does it --------------------------------------------------------------------------------------------------------- */

void boot_init(struct boot *b)
{
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->done, NULL);
	atomic_store(&b->state, BOOT_DUE);
}

void boot_destroy(struct boot *b)
{
	if (b->has_thread)
		pthread_join(b->thread, NULL);
	pthread_cond_destroy(&b->done);
	pthread_mutex_destroy(&b->lock);
}

/* True for one caller. */
static bool claim(struct boot *b)
{
	int due = BOOT_DUE;

	return atomic_compare_exchange_strong(&b->state, &due, BOOT_BEGUN);
}

static void *boot_main(void *arg)
{
	struct vm *vm = arg;
	struct boot *b = &vm->boot;

	arena_touch_first(vm->arena);
	if (!claim(b))
		return NULL;
	int err = boot(vm);
	pthread_mutex_lock(&b->lock);
	b->error = err;
	atomic_store(&b->state, BOOT_DONE);
	pthread_cond_broadcast(&b->done);
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

int boot_finish(struct vm *vm)
{
	struct boot *b = &vm->boot;

	pthread_mutex_lock(&b->lock);
	if (claim(b)) {
		b->error = boot(vm);
		atomic_store(&b->state, BOOT_DONE);
	}
	while (atomic_load(&b->state) != BOOT_DONE)
		pthread_cond_wait(&b->done, &b->lock);
	int err = b->error;
	pthread_mutex_unlock(&b->lock);
	return err;
}

/* The cores that we may use but for the one that we are on; false: there is none that nobody wants. */
static bool find_core(const struct vm *vm, cpu_set_t *others)
{
	unsigned int nr;
	int here = sched_getcpu();

	if (here < 0 || sched_getaffinity(0, sizeof(*others), others))
		return false;
	nr = (unsigned int)CPU_COUNT(others);
	CPU_CLR((unsigned int)here, others);
	return nr > 1 && cores_are_free(vm, nr);
}

void boot_start(struct vm *vm)
{
	cpu_set_t others;

	if (find_core(vm, &others))
		vm->boot.has_thread =
			!quiet_thread_create_on(&vm->boot.thread, STACK_BYTES, 0, &others, boot_main, vm);
}
