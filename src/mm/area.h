/* SPDX-License-Identifier: MIT */
/* area.h - splitting, merging and unmapping areas: the steps that mmap, munmap, mprotect, mremap and brk share. */
#ifndef LODGE_MM_AREA_H
#define LODGE_MM_AREA_H

#include "account.h"

/*
 * What cutting [start, end) out of its areas takes, had before anything changes so that it cannot fail half way: an area, and
 * links to the anon_vmas, for each cut. spare_get returns 0 or -ENOMEM; spare_put returns what was not used.
 */
struct spare_areas {
	struct vma *vma[2];
	struct list_head chains; /* struct anon_vma_chain */
};

void spare_none(struct spare_areas *s);
int spare_get(struct mm *mm, struct spare_areas *s, gva_t start, gva_t end);
void spare_put(struct mm *mm, struct spare_areas *s);

/*
 * A new area goes into the space, one that has no pages any more out of it: for lookups and for walks from a page.
 * A change of bounds moves pgoff along, so that a page that stays keeps its index.
 */
void area_link(struct mm *mm, struct vma *vma);
void area_unlink(struct mm *mm, struct vma *vma);
/* The first half of area_unlink: no lookup finds the area, walks from its pages do until vma_interval_remove. */
void area_leave(struct mm *mm, struct vma *vma);
void area_resize(struct mm *mm, struct vma *vma, gva_t start, gva_t end);

/* Cuts `vma` at `address`, which lies inside it; the upper part becomes a new area, which is returned. */
struct vma *area_split(struct mm *mm, struct vma *vma, gva_t address, struct spare_areas *s);

/* Takes the references that a copy of an area needs; vma_free drops them. */
void area_hold_mapping(struct vma *vma);

/*
 * Gives the part [start, end) of `vma` other flags and policy, cutting or joining areas as needed. Returns the area that holds the
 * part now, which may be larger, or NULL, with nothing changed: no memory, or too many areas. The counts of account.h follow.
 */
struct area_change {
	uint64_t flags;
	struct mempolicy_setting policy;
};

struct vma *area_change(struct mm *mm, struct vma *vma, gva_t start, gva_t end, struct area_change to);

/* The same with the policy that it has. */
struct vma *area_modify(struct mm *mm, struct vma *vma, gva_t start, gva_t end, uint64_t flags);

/* Joins `vma` with its neighbours where nothing tells them apart; returns the area that holds it now. */
struct vma *area_merge(struct mm *mm, struct vma *vma);

/* How many areas more there are when [start, end) becomes an area of its own: 0, 1 or 2. */
unsigned int area_cuts(const struct mm *mm, gva_t start, gva_t end);

/* Sees to it that unmapping [start, end) cannot fail: spares for area_cuts, tables that end at its edges. 0 or -ENOMEM. */
int area_unmap_prepare(struct mm *mm, gva_t start, gva_t end, struct spare_areas *s);

/* Takes [start, end) out of the space; area_unmap_prepare went before. */
void area_unmap(struct mm *mm, gva_t start, gva_t end, struct spare_areas *s);

/* What the operations of an area say to its being cut where [start, end) begins and ends inside it: 0 or -errno. */
int area_may_cut(const struct vma *vma, gva_t start, gva_t end);

/*
 * Whether [start, end) may be unmapped: -EPERM when some of it is sealed, -ENOMEM when a hole in the middle of an area would
 * make one area too many.
 */
int area_may_unmap(const struct mm *mm, gva_t start, gva_t end);

/* VM_READ, VM_WRITE and VM_EXEC for PROT_ bits. */
uint64_t prot_vm_flags(unsigned int prot);

/* Checks a guest's range as munmap and kin do and rounds its length: 0, or -EINVAL. */
int check_range(const struct mm *mm, gva_t start, uint64_t *length);

#endif
