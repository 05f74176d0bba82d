/* SPDX-License-Identifier: MIT */
/*
 * selftest.c - what the machine's MMU does, found out by trying.
 *
 * A scratch space with one page of code and one of data: touch the data, clear its entry, flush as hardware wants it, and
 * touch again. Hardware faults; a shadow MMU still reads the page, and must forget it by a poke. A SYSCALL then tells
 * whether it enters ring 0. The code ends with hlt, which at CPL3 is a #GP: no system call is needed to come back.
 */
#include <errno.h>
#include <string.h>

#include "kvm.h"

#define CODE_VA 0x200000ull
#define DATA_VA 0x201000ull

static const uint8_t code[] = {
	0x8a, 0x03, /* 0: mov (%rbx), %al */
	0xf4,	    /* hlt */
	0x0f, 0x05, /* 3: syscall */
	0xf4,
};

#define ENTRY_READ    0
#define ENTRY_SYSCALL 3

struct selftest {
	struct vm *vm;
	struct vcpu *v;
	struct pgtable pt;
	struct page *code, *data;
	pte_t *slot; /* of DATA_VA */
};

static int build(struct selftest *s)
{
	struct frames *f = &s->vm->arena->frames;
	int err = pgtable_init(&s->pt, f, NULL, 4, s->vm->mm_host.kernel_entry);

	if (err)
		return err;
	pte_t *code_slot = pgtable_alloc(&s->pt, CODE_VA);
	s->slot = pgtable_alloc(&s->pt, DATA_VA);
	s->code = page_alloc(f, GFP_TABLE | __GFP_ZERO, 0);
	s->data = page_alloc(f, GFP_TABLE | __GFP_ZERO, 0);
	if (!code_slot || !s->slot || !s->code || !s->data)
		return -ENOMEM;
	memcpy(page_address(f, s->code), code, sizeof(code));
	pte_set(code_slot, pte_make(page_to_pfn(f, s->code), PTE_PRESENT | PTE_USER | PTE_ACCESSED));
	return 0;
}

/* The tables' frames were shadowed: they wait in quarantine like any freed table. */
static void take_down(struct selftest *s)
{
	struct frames *f = &s->vm->arena->frames;
	struct page *table, *next;
	struct list_head freed;

	list_init(&freed);
	pgtable_unlink(&s->pt, CODE_VA, DATA_VA + PAGE_SIZE, 0, 0, &freed);
	if (s->pt.root)
		list_add_tail(&s->pt.root->node, &freed);
	list_for_each_entry_safe (table, next, &freed, node) {
		list_del(&table->node);
		atomic_fetch_or(&table->flags,
				PG_RESERVED); /* a handful of frames, kept until the machine goes */
	}
	if (s->code)
		page_put(f, s->code);
	if (s->data)
		page_put(f, s->data);
}

static void map_data(struct selftest *s, bool present)
{
	uint64_t flags = PTE_PRESENT | PTE_USER | PTE_ACCESSED | PTE_NX;

	pte_set(s->slot, present ? pte_make(page_to_pfn(s->pt.frames, s->data), flags) : 0);
}

/* Runs from `entry` with what is in the thunk so far in front; returns the vector of the exit, 256 for a SYSCALL, or -EIO. */
static int run(struct selftest *s, unsigned int entry, struct thunk *t)
{
	struct vcpu *v = s->v;
	struct cpu_regs regs = {.rip = CODE_VA + entry, .rflags = 2, .rbx = DATA_VA};
	struct kvm_sync_regs *sync = vcpu_sync(v);

	thunk_iretq(t);
	sync->sregs = v->kernel;
	sync->sregs.cr3 = page_to_gpa(s->pt.frames, s->pt.root);
	memcpy(&sync->regs, &regs, sizeof(sync->regs));
	sync->regs.rip = t->va;
	sync->regs.rsp = thunk_frame(v, &regs);
	v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	int err;
	do {
		set_immediate_exit(v, false); /* a kick waits, and must not stop this for good */
		err = vcpu_enter_past_nmis(v);
		v->run->kvm_dirty_regs = 0;
	} while (err == -EINTR);
	set_immediate_exit(v, atomic_load(&v->kicked));
	if (err || v->run->exit_reason != KVM_EXIT_IO)
		return -EIO;
	return v->run->io.size == 4 ? 256 : v->run->io.port;
}

enum flush { FLUSH_NONE, FLUSH_CR3, FLUSH_POKE };

static int read_data(struct selftest *s, enum flush how)
{
	struct thunk t;
	gpa_t gpa = (gpa_t)((char *)s->slot - s->vm->arena->base);

	thunk_begin(&t, s->v);
	if (how == FLUSH_POKE)
		thunk_poke(&t, (uint32_t)gpa);
	if (how != FLUSH_NONE)
		thunk_reload_cr3(&t);
	return run(s, ENTRY_READ, &t);
}

#define VECTOR_GP 13
#define VECTOR_PF 14

/* What a cleared entry takes to be forgotten; MMU_UNKNOWN: nothing that we know helps. */
static enum mmu_kind probe_mmu(struct selftest *s)
{
	struct thunk t;

	map_data(s, true);
	if (read_data(s, FLUSH_NONE) != VECTOR_GP)
		return MMU_UNKNOWN;
	map_data(s, false);
	int seen = read_data(s, FLUSH_CR3);
	if (seen == VECTOR_PF)
		return MMU_HARDWARE;
	if (seen != VECTOR_GP || read_data(s, FLUSH_POKE) != VECTOR_PF)
		return MMU_UNKNOWN;
	thunk_begin(&t, s->v);
	return run(s, ENTRY_SYSCALL, &t) == VECTOR_PF ? MMU_PVM : MMU_SHADOW;
}

int selftest_run(struct vm *vm, struct vcpu *v)
{
	struct selftest s = {.vm = vm, .v = v};
	enum mmu_kind kind = MMU_UNKNOWN;

	if (!build(&s))
		kind = probe_mmu(&s);
	take_down(&s);
	v->root = 0;
	atomic_store(&vm->mmu_kind, (int)kind);
	return kind == MMU_UNKNOWN ? -EIO : 0;
}
