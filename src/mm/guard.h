/* SPDX-License-Identifier: MIT */
/*
 * guard.h - pages that nobody may touch, without an area of their own (MADV_GUARD_INSTALL, Linux 6.13).
 *
 * A guard is an entry (ENTRY_GUARD). It outlives whatever empties or protects pages, moves with mremap and is inherited by fork;
 * guard_remove and unmapping take it away. mmap_lock is held, for reading at least.
 */
#ifndef LODGE_MM_GUARD_H
#define LODGE_MM_GUARD_H

#include "mm.h"

/* Puts guards over [start, end) of `vma`, whose pages go. 0, -ENOMEM with nothing changed, -EINVAL for an area that takes none. */
int guard_install(struct vma *vma, gva_t start, gva_t end);

/* Empties the entries of [start, end) that are guards. 0, -ENOMEM with nothing changed, -EINVAL as above. */
int guard_remove(struct vma *vma, gva_t start, gva_t end);

#endif
