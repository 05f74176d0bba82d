/* SPDX-License-Identifier: MIT */
/* fault.h - the fault ladder, for the rest of the core. */
#ifndef LODGE_MM_FAULT_H
#define LODGE_MM_FAULT_H

#include "mm.h"

/* Linux's numbers, so that traces read alike. */
#define FAULT_FLAG_WRITE       0x01u
#define FAULT_FLAG_USER	       0x40u
#define FAULT_FLAG_INSTRUCTION 0x100u
#define FAULT_FLAG_POPULATE    0x10000u /* ours: map the widest window, it will all be wanted */

enum vm_fault_result {
	VM_FAULT_DONE,
	VM_FAULT_OOM,
	VM_FAULT_SIGBUS,
};

/*
 * Makes the page at `address`, which lies in `vma` and whose access the area allows, present and if need be writable.
 * mmap_lock is held for reading or writing.
 */
enum vm_fault_result handle_mm_fault(struct vma *vma, gva_t address, unsigned int flags);

/* What the processor may do with a page of an area, without PTE_WRITE. */
uint64_t vma_pte_flags(uint64_t vm_flags);

/* True when an access of this kind is what the area allows. */
bool vma_allows(const struct vma *vma, unsigned int fault_flags);

#endif
