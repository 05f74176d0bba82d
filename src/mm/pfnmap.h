/* SPDX-License-Identifier: MIT */
/*
 * pfnmap.h - areas over frames that are not the core's to count: a device's memory, mapped at once.
 *
 * Entries of such an area are special: no mapcount, no reference, no rss. They are made when the area is, by the largest entries that
 * addresses and frames are aligned for (4 KiB, 2 MiB, 1 GiB), so that no access faults; once they are gone (a truncation by the device)
 * an access is SIGBUS, unless the area's operations have a fault().
 */
#ifndef LODGE_MM_PFNMAP_H
#define LODGE_MM_PFNMAP_H

#include "mm.h"

/*
 * Maps `bytes` at `start`, in `vma`, to the frames from `pfn` on. `cache`: PTE_PCD and PTE_PWT as the device wants them. The area
 * becomes VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP. For backing_ops.mapped: mmap_lock is held for writing and nothing is mapped
 * there. 0, -EINVAL (not aligned, not in the area, or part of a private area that may be written), -ENOMEM with nothing mapped.
 */
int remap_pfn_range(struct vma *vma, gva_t start, pfn_t pfn, uint64_t bytes, uint64_t cache);

#endif
