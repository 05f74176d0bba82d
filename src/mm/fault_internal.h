/* SPDX-License-Identifier: MIT */
/*
 * fault_internal.h - what the branches of the fault ladder share: the state of one fault, and windows.
 *
 * Each branch is a file: fault_anon.c, fault_file.c, fault_wp.c; fault.c leads to them.
 */
#ifndef LODGE_MM_FAULT_INTERNAL_H
#define LODGE_MM_FAULT_INTERNAL_H

#include "fault.h"
#include "gather.h"
#include "rmap.h"
#include "zap.h"

/* The state of one fault, threaded through its steps. */
struct fault {
	struct mm *mm;
	struct vma *vma;
	gva_t address; /* of the page */
	unsigned int flags;
	gva_t wanted_end; /* 0: a fault of the guest; else how far a window should go */
	pte_t *slot;	  /* its entry; page_table_lock is held while it is used */
	pte_t orig;
	pte_t swapped;		 /* what the entry was, of a page in a slot */
	bool in_order;		 /* a row of faults on such pages: swap_readahead.h */
	uint64_t major_since_ns; /* when it began to wait for a device; 0: it did not */
	bool dirtied;		 /* a page of a file became dirty: see to its being written */
	struct vm_fault vmf;	 /* what the operations of the area see of it */
	bool took_table;	 /* its table was shared with other spaces, or had been */
	struct gather gather;	 /* ended before page_table_lock is released */
};

/* A range of pages that one fault maps. */
struct window {
	gva_t start, end;
};

static inline void fault_count(struct mm *mm, enum fault_leaf leaf)
{
	atomic_fetch_add_explicit(&mm->faults[leaf], 1, memory_order_relaxed);
}

static inline bool fault_wants_write(const struct fault *f)
{
	return f->flags & FAULT_FLAG_WRITE;
}

static inline bool pte_is_zero_page(pte_t pte)
{
	return pte_present(pte) && (pte & PTE_SPECIAL);
}

/* The entry of another page of the fault's table. */
static inline pte_t *fault_slot_at(const struct fault *f, gva_t address)
{
	return f->slot + ((int64_t)(address - f->address) >> PAGE_SHIFT);
}

/* The aligned block of nr pages around the fault, clipped to the area. */
struct window fault_block(const struct fault *f, uint64_t nr);

/* Adds to a counter of resident pages and follows with the peak. */
void rss_add(struct mm *mm, enum mm_counter c, int64_t n);

/* A page came back from its slot. `waited`: for a device, whoever asked that. */
void fault_count_swap(struct mm *mm, bool waited);

/* fault_anon.c. page_table_lock is held. */
enum vm_fault_result do_anonymous_page(struct fault *f);
/* Puts zeroed pages under the window that fault-around chooses: in the place of nothing, or of the zero page. */
enum vm_fault_result fault_map_anon(struct fault *f);
/*
 * The pages that a write to private memory gets along with its own; updates the area's memory of it. Where pages are copied, what
 * counts as dense is what has been copied already.
 */
struct window fault_window(struct fault *f);
/* A block of frames from the nodes that the area's policy says, or the space's. NULL: no memory. */
struct page *fault_alloc_by_policy(struct vma *vma, gva_t address, gfp_t gfp, unsigned int order);
/* A charged frame with a copy of `from`, which is not mapped anywhere yet. NULL: no memory. */
struct page *fault_copy_page(struct mm *mm, const struct page *from);
/* Makes a page that nobody else knows the area's own and maps it. */
void fault_install_anon(struct fault *f, gva_t address, struct page *page);

/*
 * fault_huge.c. page_table_lock is held, f->slot not looked for yet. True: resolved. False: nothing is mapped there by a huge entry
 * that the ladder may not split, and small pages are to serve.
 */
bool do_huge_fault(struct fault *f);

/* fault_file_huge.c. The same for an area over a file. */
bool do_huge_file(struct fault *f);
/* False: whatever the cache holds, do_huge_file will not. */
bool fault_takes_file_block(const struct fault *f);

/* fault_file.c. A page that is in the cache and marked is about to be mapped: reads ahead. Without page_table_lock. */
void fault_read_ahead_marked(struct fault *f);

/* Called without page_table_lock, since the file may have to be read. */
enum vm_fault_result do_fault(struct fault *f);

/* Asks the area's operations before `page` becomes writable; without page_table_lock. */
enum vm_fault_result fault_mkwrite(struct fault *f, struct page *page);

/* False: the page left the cache while nobody looked; its entries are about to go, and the access comes again. */
static inline bool fault_page_is_current(const struct fault *f, const struct page *page)
{
	return !f->vma->mapping || page_mapping(page) == f->vma->mapping;
}

/*
 * fault_huge.c, with page_table_lock. Private memory without a file, in which the aligned 2 MiB around `address` lie; a block for there, charged
 * and counted as mapped by one huge entry (gfp: __GFP_ZERO or 0; NULL: there is none); and that entry.
 */
bool fault_area_takes_block(const struct vma *vma, gva_t address);
struct page *fault_alloc_block(const struct vma *vma, gva_t address, gfp_t gfp);
void fault_map_block(struct vma *vma, pte_t *pmd, struct page *head);

/* Whether 2 MiB of private memory may be mapped at once there, because somebody asked for that. fault_huge.c */
bool fault_takes_block(const struct fault *f);

/*
 * fault_swap_huge.c. page_table_lock is held; f->slot and f->orig say a slot. True: 2 MiB came back. False: page by page, then; the lock
 * may have been released meanwhile, and f->slot, looked up anew, may hold something else, or be NULL for want of memory.
 */
bool do_swap_block(struct fault *f);

/* fault_swap.c. Called with page_table_lock, which it releases. */
enum vm_fault_result do_swap_page(struct fault *f);

/* fault_wp.c. page_table_lock is held, but for the time of page_mkwrite. */
enum vm_fault_result do_wp_page(struct fault *f);

#endif
