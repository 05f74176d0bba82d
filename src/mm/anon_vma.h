/* SPDX-License-Identifier: MIT */
/*
 * anon_vma.h - from an anonymous page back to the areas that may map it.
 *
 * A page belongs to an anon_vma: the one that its area had when the page was made. An area is linked to its own anon_vma and
 * to those of the areas it was forked from, since it may still map their pages; each link is an anon_vma_chain, which lies
 * in the area's list and in the anon_vma's tree, by the page indices that the area covers. After a fork of a fork:
 *
 *	            anon_vma 1 (root)     anon_vma 2           anon_vma 3
 *	area 1          chain
 *	area 2          chain               chain                               a page of anon_vma 2 can be in areas 2 and 3
 *	area 3          chain               chain                chain
 *
 *   A1  every area that maps a page of an anon_vma has a chain to it, whose interval holds the page's index
 *   A2  vma->anon_vma is set when the area has chains, and one of them leads to it; its new pages belong to it
 *   A3  the anon_vmas of one area have the same root; a parent is nearer to the root
 *   A4  num_children counts the anon_vmas whose parent this is (a root is its own), num_active_vmas the areas whose own it is
 *
 * Reuse: an area that would be alike its neighbour but for access takes the neighbour's, so that they can become one
 * again. A child takes an ancestor's that no area has for its own and that has at most one child, so that a row of forks in
 * which each parent ends does not grow a tree: each anon_vma has two children or an area of its own.
 *
 * Locking: the root's lock guards the trees and counts of the whole family. An area's list of chains changes under
 * mmap_lock for writing, or for reading when it is empty, with page_table_lock. An anon_vma is freed after the readers of kmem that
 * could have found it in a page.
 * Rank: LOCK_ANON_VMA, inside LOCK_IMMAP, outside LOCK_PTL.
 * Not here: the walk from a page (rmap.h).
 */
#ifndef LODGE_MM_ANON_VMA_H
#define LODGE_MM_ANON_VMA_H

#include "interval_tree.h"
#include "mm.h"

struct anon_vma {
	struct anon_vma *root;	 /* (C) */
	struct anon_vma *parent; /* (C) itself in a root */
	pthread_mutex_t lock;	 /* the root's is used */
	_Atomic uint32_t refs; /* (A) one for the tree, one per other member of the family in a root; walks */
	uint32_t num_children; /* (root's lock) */
	uint32_t num_active_vmas;  /* (root's lock) */
	struct interval_tree tree; /* (root's lock) chains */
};

struct anon_vma_chain {
	struct interval_node node; /* (root's lock) in the anon_vma's tree; first: a node is a chain */
	struct vma *vma;
	struct anon_vma *anon_vma;
	struct list_head same_vma; /* the area's chains, the newest first */
};

static inline struct anon_vma *vma_anon_vma(const struct vma *vma)
{
	return __atomic_load_n(&vma->anon_vma, __ATOMIC_ACQUIRE);
}

static inline void anon_vma_lock(struct anon_vma *av)
{
	pthread_mutex_lock(&av->root->lock);
}

static inline void anon_vma_unlock(struct anon_vma *av)
{
	pthread_mutex_unlock(&av->root->lock);
}

/*
 * Sees to it that the area has an anon_vma, before its first anonymous page: a neighbour's, or a new one. mmap_lock is held, for
 * reading is enough. 0 or -ENOMEM.
 */
int anon_vma_prepare(struct vma *vma);

/* Links dst, which has no chains, to everything that src is linked to. 0, or -ENOMEM and dst has none. */
int anon_vma_clone(struct vma *dst, const struct vma *src);

/* Links a child's area to all that the parent's is linked to and gives it an anon_vma of its own. 0 or -ENOMEM as above. */
int anon_vma_fork(struct vma *child, const struct vma *parent);

/* Takes every link of the area away; the last one frees the anon_vma. The area maps no anonymous page any more. */
void anon_vma_unlink(struct vma *vma);

/* Gives `into`, which covers the range of `from` already, the links of `from` if it has none. They are mergeable. */
void anon_vma_merge(struct vma *into, struct vma *from);

/* Whether two areas can become one as far as their anonymous pages go. */
bool anon_vma_mergeable(const struct vma *a, const struct vma *b);

/*
 * Cloning that cannot fail: reserve appends as many chains to `spare` as `src` has, clone_spare takes them from there.
 */
int anon_vma_reserve(struct mm_host *h, struct list_head *spare, const struct vma *src);
void anon_vma_clone_spare(struct vma *dst, const struct vma *src, struct list_head *spare);
void anon_vma_unreserve(struct mm_host *h, struct list_head *spare);

/* Takes the area's intervals out of, and puts them back into, the trees of all its anon_vmas. Under the lock. */
void anon_vma_interval_remove(struct vma *vma);
void anon_vma_interval_insert(struct vma *vma);

/* A reference to the anon_vma of a page that the caller holds, or NULL: the page is not anonymous or not mapped. */
struct anon_vma *page_get_anon_vma(const struct page *page);
void anon_vma_put(struct mm_host *h, struct anon_vma *av);

/* Whether a walk from an anonymous page comes to `address` in this area, to which it is linked. */
bool anon_vma_reaches(const struct vma *vma, const struct page *page, gva_t address);

/* A2, A3 and the area's intervals; returns what is wrong, or NULL. */
const char *anon_vma_check(struct vma *vma);

#endif
