/* SPDX-License-Identifier: MIT */
/* fault.h - the fault ladder, for the rest of the core. */
#ifndef LODGE_MM_FAULT_H
#define LODGE_MM_FAULT_H

#include "mm.h"

/* Linux's numbers, so that traces read alike. */
#define FAULT_FLAG_WRITE       0x01u
#define FAULT_FLAG_USER	       0x40u
#define FAULT_FLAG_INSTRUCTION 0x100u
#define FAULT_FLAG_FORCE       0x10000u /* ours: a write that the area does not allow to the guest itself */

/*
 * Makes the page at `address`, which lies in `vma` and whose access the area allows, present and if need be writable.
 * wanted_end, when not 0, says that everything up to there will be asked for: as much of it is mapped as one step can.
 * mmap_lock is held for reading or writing.
 */
enum vm_fault_result handle_mm_fault(struct vma *vma, gva_t address, unsigned int flags, gva_t wanted_end);

/* What the processor may do with a page of an area, without PTE_WRITE. */
uint64_t vma_pte_flags(uint64_t vm_flags);

/*
 * For map_pages: maps `page`, whose reference it takes over, as page `pgoff` of the object, unless something is mapped there.
 */
void fault_map_around(struct vm_fault *vmf, uint64_t pgoff, struct page *page);

/* True when writes to pages of the area are announced to page_mkwrite. */
bool vma_wants_mkwrite(const struct vma *vma);

/* True when an access of this kind is what the area allows. */
bool vma_allows(const struct vma *vma, unsigned int fault_flags);

#endif
