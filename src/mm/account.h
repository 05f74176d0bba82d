/* SPDX-License-Identifier: MIT */
/*
 * account.h - what a space has mapped, locked and promised, and the limits on it.
 *
 *   A1  total_vm, data_vm, exec_vm, stack_vm and locked_vm are sums over the areas (mm_check recounts them)
 *   A2  committed_pages of a space is the sum of its VM_ACCOUNT areas; that of its memcg and of the host are sums over spaces
 * Frames in use are another matter: memcg.h.
 * Locking: mmap_lock for writing; the sums over spaces are atomic.
 */
#ifndef LODGE_MM_ACCOUNT_H
#define LODGE_MM_ACCOUNT_H

#include "mm.h"

/* /proc/sys/vm/overcommit_memory */
enum overcommit_mode { OVERCOMMIT_GUESS, OVERCOMMIT_ALWAYS, OVERCOMMIT_NEVER };

/* nr_pages with these VM_ flags came to the space (or, negative, went): A1 and A2 follow. */
void vm_stat_account(struct mm *mm, uint64_t vm_flags, int64_t nr_pages);

/* False when nr_pages more with these flags would pass RLIMIT_AS or RLIMIT_DATA. */
bool may_expand_vm(const struct mm *mm, uint64_t vm_flags, uint64_t nr_pages);

/*
 * True when the overcommit policy lets the space promise nr_pages more: in mode OVERCOMMIT_GUESS whatever the machine has as
 * frames, in mode OVERCOMMIT_NEVER what is left of vm_commit_limit less the reserves.
 */
bool vm_enough_memory(const struct mm *mm, uint64_t nr_pages);

/* Pages that the spaces of this account may promise together in mode OVERCOMMIT_NEVER. */
uint64_t vm_commit_limit(const struct mm *mm);

/* Whether private pages of these flags are promised: those that can be written and were not said to need no promise. */
static inline bool vm_accountable(uint64_t vm_flags)
{
	return (vm_flags & (VM_NORESERVE | VM_SHARED | VM_WRITE | VM_HUGETLB)) == VM_WRITE;
}

/* False when the space may lock nothing at all. */
bool can_do_mlock(const struct mm *mm);

/* False when nr_pages more with these flags would pass RLIMIT_MEMLOCK. */
bool mlock_future_ok(const struct mm *mm, uint64_t vm_flags, uint64_t nr_pages);

#endif
