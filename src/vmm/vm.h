/* SPDX-License-Identifier: MIT */
/*
 * vm.h - the one virtual machine of a host: memory slots, the kernel half that all spaces share, and what this KVM is.
 */
#ifndef LODGE_VMM_VM_H
#define LODGE_VMM_VM_H

#include "../mm/mm.h"

struct vm;
struct arena;

struct vm_platform {
	bool shadow;	      /* the MMU caches entries beyond a TLB flush: revoking needs pokes */
	bool syscall_cpl3;    /* SYSCALL leaves CPL at 3: it arrives as a fault on LSTAR */
	bool fsgsbase;	      /* guests may use rdfsbase and kin */
	uint64_t xcr0;	      /* vector state that guests may use */
	uint32_t xsave_bytes; /* size of a full XSAVE area */
};

/* Why a machine could not be made, for a message: errno and what was tried. */
struct vm_error {
	int error; /* positive errno */
	const char *what;
};

/* Opens /dev/kvm and creates the machine over `arena`, which it will give memory slots. NULL: *err says why. */
struct vm *vm_create(struct arena *arena, struct vm_error *err);
/* Ends a machine whose spaces are gone. Returns the objects of the core that were not: 0. */
uint64_t vm_destroy(struct vm *vm);

/* The mm_host of this machine: spaces made from it run on its vCPUs. */
struct mm_host *vm_mm_host(struct vm *vm);

/*
 * When this returns, every other processor that ran in the space has left the guest since, or entered it anew: what it does
 * next comes after what the caller did before.
 */
void vm_barrier(struct vm *vm, struct mm *mm);

/*
 * Every processor that is in the guest leaves it before it does anything else there; its owner sees TRAP_KICK. Any thread that does not
 * run in the guest itself.
 */
void vm_kick_all(struct vm *vm);

/* What the machine is. Runs the self-test at the first call if it has not run yet; 0 or -errno. */
int vm_platform(struct vm *vm, struct vm_platform *p);

/* --- call sites that were rewritten: sites.c ----------------------------------------------------------------------------- */

/* Is there any rewritten site? */
bool sites_exist(struct vm *vm);

/*
 * Pages of the space in [start, end) are as their files have them, and stay so while others use it than one task (mm_users). By that task, or by
 * one of the others. Takes mmap_lock.
 */
void sites_undo(struct mm *mm, gva_t start, gva_t end);

/* How many pages that was done to. */
uint64_t sites_nr_undone(struct vm *vm);

#endif
