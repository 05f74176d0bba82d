/* SPDX-License-Identifier: MIT */
/*
 * vma.h - the areas of an address space: a list in address order and a red-black tree over the same nodes.
 *
 *   V1  areas are page aligned, not empty, and do not overlap
 *   V2  the list and the tree hold the same areas in the same order
 *   V3  subtree_gap is the largest gap in front of any area of the subtree (stack guard gaps counted as used)
 *   V4  no two neighbours could have been merged, except where an operation failed half way
 * Locking: mm->mmap_lock; writing for anything that changes the tree. A change of an area takes its own lock, too (vma_lock.h).
 */
#ifndef LODGE_MM_VMA_H
#define LODGE_MM_VMA_H

#include <stdatomic.h>

#include "interval_tree.h"
#include "list.h"
#include "mempolicy.h"
#include "readahead.h"
#include "types.h"

struct anon_vma;
struct backing;
struct mm;
struct page;
struct address_space;

/* Linux's bits, so that the dumps read alike. */
#define VM_READ		0x00000001ul
#define VM_WRITE	0x00000002ul
#define VM_EXEC		0x00000004ul
#define VM_SHARED	0x00000008ul
#define VM_MAYREAD	0x00000010ul
#define VM_MAYWRITE	0x00000020ul
#define VM_MAYEXEC	0x00000040ul
#define VM_MAYSHARE	0x00000080ul
#define VM_GROWSDOWN	0x00000100ul
#define VM_MAYBE_GUARD	0x00000800ul /* guard entries may lie in it */
#define VM_PFNMAP	0x00000400ul /* frames without struct page */
#define VM_LOCKED	0x00002000ul
#define VM_IO		0x00004000ul
#define VM_SEQ_READ	0x00008000ul
#define VM_RAND_READ	0x00010000ul
#define VM_DONTCOPY	0x00020000ul /* a child does not get it */
#define VM_DONTEXPAND	0x00040000ul
#define VM_LOCKONFAULT	0x00080000ul
#define VM_ACCOUNT	0x00100000ul /* counts against the commit limit */
#define VM_NORESERVE	0x00200000ul
#define VM_HUGETLB	0x00400000ul
#define VM_SYNC		0x00800000ul
#define VM_WIPEONFORK	0x02000000ul /* a child gets it empty */
#define VM_DONTDUMP	0x04000000ul
#define VM_MIXEDMAP	0x10000000ul
#define VM_HUGEPAGE	0x20000000ul
#define VM_NOHUGEPAGE	0x40000000ul
#define VM_MERGEABLE	0x80000000ul
#define VM_DROPPABLE	(1ull << 40)
#define VM_SEALED	(1ull << 42)
#define VM_PROGRAM	(1ull << 57) /* not Linux's: a segment, whose file nobody changes while it is mapped */

#define VM_ACCESS_FLAGS (VM_READ | VM_WRITE | VM_EXEC)
#define VM_LOCKED_MASK	(VM_LOCKED | VM_LOCKONFAULT)

/* Such an area is never joined with another, nor locked: its pages are not for the core to manage. */
#define VM_SPECIAL	(VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP)

/* What a stack has besides its access. */
#define VM_STACK_FLAGS	(VM_GROWSDOWN | VM_ACCOUNT)

enum vm_fault_result {
	VM_FAULT_DONE,
	VM_FAULT_OOM,
	VM_FAULT_SIGBUS,
	VM_FAULT_SIGSEGV, /* a guard */
	VM_FAULT_RETRY,	  /* the page is moving: handle_mm_fault waits and tries again */
};

/* One fault, as the operations of its area see it. */
struct vm_fault {
	struct vma *vma;
	gva_t address;	    /* of the page */
	uint64_t pgoff;	    /* of the page in the object */
	unsigned int flags; /* FAULT_FLAG_ */
	struct page *
		page; /* fault: stores it here, with a reference, or has filled the entry; page_mkwrite: what will be written */
	bool major; /* fault: something was read for it */
};

/*
 * What an area does in place of anonymous memory. Any member may be NULL; without fault an empty entry is SIGBUS. None is called with page_table_lock
 * held but map_pages, swapout and swapin; open and close are called with mmap_lock held for writing.
 */
struct vm_operations {
	void (*open)(struct vma *vma);	/* another area shows the same thing now: a part cut off, a copy */
	void (*close)(struct vma *vma); /* and now one less: it is about to be freed */
	enum vm_fault_result (*fault)(struct vm_fault *vmf);
	/* Around a page that fault found: maps those of pages [first, last] that need no waiting (fault_map_around). */
	void (*map_pages)(struct vm_fault *vmf, uint64_t first, uint64_t last);
	/* A page of a shared area is about to become writable. Without this it is writable from the first read on. */
	enum vm_fault_result (*page_mkwrite)(struct vm_fault *vmf);
	/* A private page of the area is about to go to swap: false, and it stays. And one came back. */
	bool (*swapout)(struct vma *vma, gva_t address, struct page *page);
	void (*swapin)(struct vma *vma, gva_t address, struct page *page);
	/* Whether the area may be cut at `address`: 0 or -errno. NULL: anywhere. */
	int (*may_split)(const struct vma *vma, gva_t address);
	/* Bytes of a page of the area; NULL: PAGE_SIZE. */
	uint64_t (*pagesize)(const struct vma *vma);
} __randomize_layout;

struct vma {
	gva_t start, end; /* end is the first byte after */
	uint64_t flags;	  /* VM_ */
	uint64_t pgoff; /* offset in the file, in pages; anonymous: start >> PAGE_SHIFT when it was mapped */
	struct mm *mm;
	struct backing *file;	       /* the mapped file, or NULL; one reference */
	struct address_space *mapping; /* where shared or file pages come from, or NULL: private anonymous */
	const struct vm_operations *vm_ops; /* NULL: anonymous */
	void *private_data;		    /* of vm_ops */
	const char *name; /* of a special mapping, or NULL; static storage. [heap] and [stack]: mm_vma_name */
	/* Fault-around: where the last window ended and how wide it was; see fault.c. */
	gva_t window_end;
	uint32_t window_pages;
	/* (page_table_lock) What the last fault on a swapped page brought along; see swap_readahead.h. */
	gva_t swap_window_start;
	uint32_t swap_window_pages;
	uint32_t swap_ahead_pages; /* right behind it, that have been asked for as well */
	uint16_t swap_row;	   /* faults right behind the window before, one after the other */
	uint16_t swap_patience;	 /* windows that have to be used in full before a wider one is tried again */
	struct file_ra_state ra; /* (mapping->lock) of an area over a file */
	struct anon_vma
		*anon_vma; /* whose new anonymous pages are; NULL before the first one. See anon_vma.h */
	struct list_head anon_vma_chain; /* struct anon_vma_chain, the newest first */
	struct mempolicy_setting policy; /* {0}: the space's. See mbind.c */
	struct vma *prev, *next;
	struct rb_node rb;
	uint64_t subtree_gap;
	/* From here on not copied with the rest: see vma_copy. */
	struct interval_node shared; /* (mapping->i_mmap_lock) in mapping->i_mmap, if there is a mapping */
	/* vma_lock.h */
	_Atomic uint32_t lock_readers;
	_Atomic uint64_t lock_seq; /* of the mm_write_lock that locked the area last */
	bool detached;
};

static inline uint64_t vma_pages(const struct vma *vma)
{
	return (vma->end - vma->start) >> PAGE_SHIFT;
}

/* The page of the file or object that `address`, inside the area, shows. */
static inline uint64_t vma_linear_index(const struct vma *vma, gva_t address)
{
	return vma->pgoff + ((address - vma->start) >> PAGE_SHIFT);
}

static inline bool vma_is_anonymous(const struct vma *vma)
{
	return !vma->vm_ops;
}

/* A private mapping that may be written: its writes never reach the file. */
static inline bool is_cow_mapping(uint64_t flags)
{
	return (flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
}

/* Start of the area with the guard gap that a stack keeps below it. */
gva_t vma_start_gap(const struct vma *vma);

struct vma_tree {
	struct rb_root root;
	struct vma *first;
	gva_t highest_end;
	uint64_t nr;
};

void vma_tree_init(struct vma_tree *t);

/* The first area with end > address, or NULL. */
struct vma *vma_find(const struct vma_tree *t, gva_t address);

/* The first area that overlaps [start, end), or NULL. */
struct vma *vma_find_intersection(const struct vma_tree *t, gva_t start, gva_t end);

/* The last area of the tree, or NULL. */
struct vma *vma_last(const struct vma_tree *t);

/* Links an area that overlaps no other. */
void vma_link(struct vma_tree *t, struct vma *vma);
void vma_unlink(struct vma_tree *t, struct vma *vma);

/* Moves the bounds of a linked area, within the gaps around it. */
void vma_resize(struct vma_tree *t, struct vma *vma, gva_t start, gva_t end);

/* What vma_gap_* looks for. */
struct vma_gap {
	uint64_t length;	     /* bytes, page aligned, not 0 */
	gva_t low_limit, high_limit; /* the whole range must lie within [low_limit, high_limit) */
};

/* The highest (lowest) free range that fits, or -ENOMEM as a negative value. */
int64_t vma_gap_topdown(const struct vma_tree *t, const struct vma_gap *gap);
int64_t vma_gap_bottomup(const struct vma_tree *t, const struct vma_gap *gap);

/* Number of violations of V1-V3. */
unsigned int vma_tree_check(const struct vma_tree *t, void (*complain)(const char *what, uint64_t where));

#define vma_for_each(vma, tree) for (vma = (tree)->first; vma; vma = vma->next)

#endif
