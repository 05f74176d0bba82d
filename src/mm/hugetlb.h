/* SPDX-License-Identifier: MIT */
/*
 * hugetlb.h - MAP_HUGETLB: areas whose pages are 2 MiB, from the account's pool (hugetlb_pool.h), never split.
 *
 * The object behind such an area is a file without a name, private or shared. Its blocks:
 *
 *   private   anonymous memory of the area, copied whole on a write after a fork
 *   shared    found by index in the object, which counts as one more user of each (block_mapcount)
 *
 * Reservations. Unless MAP_NORESERVE was said, each 2 MiB of the object has one from mmap on, which ends with the first touch; a bit for
 * each stands in `reserved`. Those of a private object are for the space that mapped it, not for its children; what is left of them goes
 * with the areas, or, shared, with the object. A touch without one takes a block that nobody has reserved, or is SIGBUS.
 *
 * Locking: object->lock, inside page_table_lock, outside pool->lock. Not here: sizes other than 2 MiB.
 */
#ifndef LODGE_MM_HUGETLB_H
#define LODGE_MM_HUGETLB_H

#include "fault.h"

/* mm_mmap for MAP_HUGETLB | MAP_ANONYMOUS: lengths are rounded up to 2 MiB. */
int64_t hugetlb_mmap(struct mm *mm, const struct mmap_request *r);

/* The branch of the fault ladder (hugetlb_fault in Linux). Callers hold what handle_mm_fault asks for. */
enum vm_fault_result hugetlb_fault(struct vma *vma, gva_t address, unsigned int flags);

/* A block of the area's own with the contents of another, mapped by nobody else. NULL: the pool has none. page_table_lock is held. */
struct page *hugetlb_copy(struct vma *vma, gva_t address, const struct page *from);

/* What MADV_DONTNEED took away is reserved again for whom it was, if there is enough. */
void hugetlb_restore(struct vma *vma, gva_t start, gva_t end);

static inline bool vma_is_hugetlb(const struct vma *vma)
{
	return vma->flags & VM_HUGETLB;
}

#endif
