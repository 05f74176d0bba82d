/* SPDX-License-Identifier: MIT */
/*
 * hugetlb.h - areas whose pages are 2 MiB, from the account's pool (hugetlb_pool.h), never split: MAP_HUGETLB, memfds and System V
 * segments of such pages.
 *
 *   private   anonymous memory of the area, copied whole on a write after a fork; of a file also the file's own blocks, to be read
 *   shared    blocks found by index in the object (hugetlb_object.h), which counts as one more user of each (block_mapcount)
 *
 * A touch of what nobody promised takes a block that nobody has reserved, or is SIGBUS; so is one behind the end of a file.
 *
 * Locking: as for all faults. Not here: sizes other than 2 MiB.
 */
#ifndef LODGE_MM_HUGETLB_H
#define LODGE_MM_HUGETLB_H

#include "fault.h"

/* mm_mmap for MAP_HUGETLB | MAP_ANONYMOUS, or for a file of such pages: lengths are rounded up to 2 MiB. */
int64_t hugetlb_mmap(struct mm *mm, const struct mmap_request *r);

/* The branch of the fault ladder (hugetlb_fault in Linux). Callers hold what handle_mm_fault asks for. */
enum vm_fault_result hugetlb_fault(struct vma *vma, gva_t address, unsigned int flags);

/* A block of the area's own with the contents of another, mapped by nobody else. NULL: the pool has none. page_table_lock is held. */
struct page *hugetlb_copy(struct vma *vma, gva_t address, const struct page *from);

/* What MADV_DONTNEED took away is reserved again for whom it was, if there is enough. */
void hugetlb_restore(struct vma *vma, gva_t start, gva_t end);

extern const struct vm_operations hugetlb_vm_ops;

/* What the objects' backing_ops have. */
int hugetlb_file_mmap(struct backing *b, struct vma *vma);
int64_t hugetlb_get_unmapped_area(struct backing *b, struct mm *mm, const struct unmapped_request *r);

static inline bool vma_is_hugetlb(const struct vma *vma)
{
	return vma->flags & VM_HUGETLB;
}

#endif
