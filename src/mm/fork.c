/* SPDX-License-Identifier: MIT */
/*
 * fork.c - a second space with the same contents, at the cost of its tables.
 *
 * Every table of level 0 below which all areas are simply copied is shared with the child (pgtable.h: T1-T3): two entries and a
 * count per 2 MiB, however much of it is there. Who writes first copies the table, and then the page. Only these go entry by entry:
 * ranges with areas that the child does not get, or gets empty, and tables with pages that are pinned - whoever pinned them for the
 * parent must find them in the parent, so the child gets a copy at once.
 * Areas that are shared with others anyway are not copied at all: the child finds their pages when it touches them, and the parent
 * keeps its right to write.
 *
 * What the parent wrote since its last fork both will write again soon: stack, data, the heap's end. Sharing the table that has it would
 * cost each of them a fault, a table and revocations, and a fault more for every few pages. So if few pages of a table are writable, and
 * nobody else runs in the parent, the child gets a table of its own with copies of these (mm_fork_ahead); the parent keeps its right to
 * write, and nothing is revoked.
 *
 * Names follow Linux: dup_mm, dup_mmap, copy_page_range and so on down to copy_present_pte; mm_host.fork_trace hears them.
 *
 * A fork that fails leaves a parent whose tables are shared with nobody: it takes them back when it writes.
 *
 * All areas are linked before the first table is shared, for it may serve several of them: a page that moves meanwhile is looked for in
 * areas, the parent's before the child's, so that what is copied of it is found later.
 *
 * Locking: both mmap_locks for writing, and both page_table_locks around everything that entries mean; the parent's first.
 */
#include <errno.h>
#include <string.h>

#include "account.h"
#include "area.h"
#include "block.h"
#include "fault_internal.h"
#include "huge.h"
#include "hugetlb.h"
#include "memcg.h"
#include "pagewalk.h"
#include "retry.h"
#include "rmap.h"
#include "swap_cache.h"
#include "vma_lock.h"
#include "vmscan.h"
#include "zap.h"

#define NO_TABLE 1ull /* no table begins there */

struct fork {
	struct mm *parent, *child;
	bool whole;	       /* a clone: all areas, as they are */
	const struct vma *vma; /* the parent's, that is being copied */
	struct vma *copy;      /* the child's */
	struct gather gather;  /* what the parent's processors must forget */
	struct gather unheard; /* the child's: no processor runs in it yet */
	uint64_t ahead_pages;  /* how many may be copied that nobody has pinned */
	gva_t ahead_table;     /* what the table covers that is being copied for their sake */
	int err;
};

static void trace(const struct fork *f, const char *function, gva_t address)
{
	const struct mm_host *h = f->parent->host;

	if (h->fork_trace)
		h->fork_trace(h->fork_trace_ctx, function, address);
}

/* --- what the child gets of 2 MiB ------------------------------------------------------------------------------------------------ */

enum plan {
	PLAN_SHARE, /* the table itself */
	PLAN_COPY,  /* entry by entry, each as its area wants it */
	PLAN_LEAVE, /* nothing: it comes by faults */
};

/* An area of shared pages has an anon_vma when there are guards in it. */
static bool left_to_faults(const struct vma *vma)
{
	return (vma->flags & VM_SHARED) && vma->mapping && !vma_anon_vma(vma) &&
	       !(vma->flags & (VM_PFNMAP | VM_MIXEDMAP | VM_HUGETLB));
}

static bool is_withheld(const struct fork *f, const struct vma *vma)
{
	return !f->whole && (vma->flags & (VM_DONTCOPY | VM_WIPEONFORK));
}

static enum plan plan_of_areas(const struct fork *f, gva_t address)
{
	gva_t start = address & PMD_MASK, end = start + PMD_SIZE;
	enum plan plan = PLAN_LEAVE;

	for (const struct vma *v = vma_find(&f->parent->vmas, start); v && v->start < end; v = v->next) {
		if (is_withheld(f, v))
			return PLAN_COPY;
		if (!left_to_faults(v))
			plan = PLAN_SHARE;
	}
	return plan;
}

/* Somebody holds the page who is not an entry. What is held for a moment only counts too: that costs a copy, no more. */
static bool is_pinned(struct page *page)
{
	return page_anon(page) && atomic_load(&page->refs) > atomic_load(&page->mapcount) +
								     (page_in_block(page) ? 1 : 0) +
								     (page_in_swap_cache(page) ? 1 : 0);
}

static bool holds_pinned(const struct mm *mm, const pte_t *table)
{
	bool found = false;

	for (unsigned int i = 0; i < PTRS_PER_TABLE && !found; i++) {
		pte_t pte = pte_read(&table[i]);
		if (pte_present(pte) && !(pte & PTE_SPECIAL))
			found = is_pinned(pfn_to_page(mm->frames, pte_pfn(pte)));
	}
	return found;
}

static bool block_holds_pinned(struct page *head)
{
	bool found = false;

	for (unsigned int i = 0; i < BLOCK_PAGES && !found; i++)
		found = is_pinned(&head[i]);
	return found;
}

/* --- entry by entry ---------------------------------------------------------------------------------------------------------------- */

static void rss_less(struct fork *f, pte_t pte, int64_t nr)
{
	atomic_fetch_sub(&f->child->rss[entry_counter(f->parent, pte)], nr);
}

/* copy_present_page: an entry for the child's own copy of a page; 0: no memory. */
static pte_t copy_page(struct fork *f, pte_t pte, gva_t address)
{
	struct mm *mm = f->child;
	struct page *from = pfn_to_page(mm->frames, pte_pfn(pte));
	struct page *page = fault_copy_page(mm, from);

	if (!page)
		return 0;
	page_add_new_anon_rmap(page, f->copy, address);
	return pte_make(page_to_pfn(mm->frames, page), pte & ~PTE_PFN_MASK);
}

/* A page that the parent's pins are on. */
static pte_t copy_pinned(struct fork *f, pte_t pte, gva_t address)
{
	pte_t copy = copy_page(f, pte, address);

	if (!copy)
		f->err = -ENOMEM;
	return copy;
}

/* Written since the last fork, and without a slot, which both would share. */
static bool is_hot(const struct mm *mm, pte_t pte)
{
	if (!(pte & PTE_PRESENT) || (pte & PTE_SPECIAL) || !pte_write(pte))
		return false;
	struct page *page = pfn_to_page(mm->frames, pte_pfn(pte));
	return page_anon(page) && !page_in_swap_cache(page);
}

static bool is_copied_ahead(const struct fork *f, gva_t address)
{
	return f->ahead_table == (address & PMD_MASK);
}

/* One that is written soon. Where memory is short it is shared as others are: 0. */
static pte_t copy_hot(struct fork *f, pte_t pte, gva_t address)
{
	if (!is_copied_ahead(f, address) || !f->ahead_pages || !is_hot(f->parent, pte))
		return 0;
	pte_t copy = copy_page(f, pte, address);
	f->ahead_pages -= !!copy;
	return copy;
}

static pte_t copy_present_pte(struct fork *f, pte_t *slot, gva_t address)
{
	pte_t pte = pte_read(slot);
	struct page *page = pfn_to_page(f->parent->frames, pte_pfn(pte));

	trace(f, "copy_present_pte", address);
	if (pte & PTE_SPECIAL)
		return pte;
	if (is_pinned(page))
		return copy_pinned(f, pte, address);
	pte_t copy = copy_hot(f, pte, address);
	if (copy)
		return copy;
	if (page_anon(page) && pte_write(pte)) {
		pte = __atomic_and_fetch(slot, ~PTE_WRITE, __ATOMIC_ACQ_REL);
		gather_entry(&f->gather, slot, address);
	}
	page_get(page);
	atomic_fetch_add(&page->mapcount, 1);
	return pte;
}

/* It came with a table that the child got whole. */
static bool child_has(const struct fork *f, gva_t address)
{
	const pte_t *slot = pgtable_find(&f->child->pgt, address);

	return slot && !pte_none(pte_read(slot));
}

/* An entry of an area that the child gets without its contents. */
static void leave_entry(void *ctx, pte_t *slot, gva_t address)
{
	struct fork *f = ctx;
	pte_t pte = pte_read(slot);

	if (child_has(f, address))
		return;
	if (entry_is_counted(pte))
		rss_less(f, pte, 1);
}

static void copy_entry(void *ctx, pte_t *slot, gva_t address)
{
	struct fork *f = ctx;
	if (child_has(f, address))
		return;
	pte_t *to = f->err ? NULL : pgtable_own(f->child, address, &f->unheard);

	if (!to) {
		f->err = -ENOMEM;
		return;
	}
	pte_t pte = pte_read(slot);
	if (pte_present(pte)) {
		pte = copy_present_pte(f, slot, address);
	} else if (entry_type(pte) == ENTRY_MIGRATION) {
		pte &= ~ENTRY_WRITABLE;
		pte_set(slot, pte);
	} else if (entry_type(pte) == ENTRY_SWAP) {
		swap_dup(f->child->host, pte_to_swp_entry(pte));
	}
	pte_set(to, pte);
}

/* --- by tables ----------------------------------------------------------------------------------------------------------------------- */

static bool is_left(const struct fork *f, gva_t address)
{
	return is_withheld(f, f->vma) || (left_to_faults(f->vma) && !is_copied_ahead(f, address));
}

/* copy_pte_range for what cannot be shared. */
static void copy_entries(struct fork *f, gva_t address, gva_t end)
{
	static const struct pte_walk_ops leave = {.pte = leave_entry}, copy = {.pte = copy_entry};

	if (is_left(f, address)) {
		pte_walk(f->parent, address, end, &leave, f);
		return;
	}
	trace(f, "copy_pte_range", address);
	if (!pgtable_own(f->parent, address, &f->gather))
		f->err = -ENOMEM;
	else
		pte_walk(f->parent, address, end, &copy, f);
}

/* Nothing below an entry that lets nobody write was written. */
static bool has_few_hot(const struct fork *f, pte_t pmd)
{
	const pte_t *table = pfn_address(f->parent->frames, pte_pfn(pmd));
	uint64_t hot = 0;

	if (!f->ahead_pages || !pte_write(pmd))
		return false;
	for (unsigned int i = 0; i < PTRS_PER_TABLE && hot <= f->ahead_pages; i++)
		hot += is_hot(f->parent, pte_read(&table[i]));
	return hot && hot <= f->ahead_pages;
}

/* What the areas before made of the same table decides, for pins come and go. */
static bool copy_table(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	struct fork *f = ctx;
	enum plan plan = plan_of_areas(f, address);
	const pte_t *there = pgtable_find_pmd(&f->child->pgt, address);
	pte_t has = there ? pte_read(there) : 0;
	const pte_t *table = pfn_address(f->parent->frames, pte_pfn(pte_read(pmd)));

	if (f->err || (pte_table(has) && !pte_write(has)))
		return true;
	if (plan == PLAN_SHARE && !pte_table(has) && has_few_hot(f, pte_read(pmd))) {
		f->ahead_table = address & PMD_MASK;
		plan = PLAN_COPY;
	}
	if (plan == PLAN_SHARE &&
	    (pte_table(has) || (atomic_load(&f->parent->nr_pins) && holds_pinned(f->parent, table))))
		plan = PLAN_COPY;
	if (plan != PLAN_SHARE) {
		copy_entries(f, address, end);
		return true;
	}
	pte_t *to = pgtable_alloc_pmd(&f->child->pgt, address);
	trace(f, "copy_pmd_range", address);
	if (!to)
		f->err = -ENOMEM;
	else if (pgtable_share(f->child, pmd, to))
		gather_entry_at(&f->gather, pmd, address, 1);
	return true;
}

/* A huge entry of the area alone: the child gets the same, and neither may write a block without a look at who else has it. */
static void copy_whole(struct fork *f, pte_t *slot, gva_t address, unsigned int level)
{
	pte_t pte = pte_read(slot);
	pte_t *to = pgtable_alloc_level(&f->child->pgt, address, level);

	trace(f, level == 1 ? "copy_huge_pmd" : "copy_huge_pud", address);
	if (!to) {
		f->err = -ENOMEM;
		return;
	}
	if (!(pte & PTE_SPECIAL)) {
		block_get(pfn_to_page(f->parent->frames, pte_pfn(pte)));
		if (pte_write(pte)) {
			pte = __atomic_and_fetch(slot, ~PTE_WRITE, __ATOMIC_ACQ_REL);
			gather_entry_at(&f->gather, slot, address, level);
		}
	}
	pte_set(to, pte);
}

/* A pinned block of the pool is never split: the child gets a copy of all of it. */
static void copy_hugetlb(struct fork *f, pte_t pte, gva_t address)
{
	pte_t *to = pgtable_alloc_pmd(&f->child->pgt, address);
	struct page *from = pfn_to_page(f->parent->frames, pte_pfn(pte));
	struct page *copy = to ? hugetlb_copy(f->copy, address, from) : NULL;

	if (copy)
		pte_set(to, pte_make(page_to_pfn(f->child->frames, copy), pte & ~PTE_PFN_MASK));
	else
		f->err = -ENOMEM;
}

static void copy_huge(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level)
{
	struct fork *f = ctx;
	pte_t pte = pte_read(slot);
	bool counted = !(pte & PTE_SPECIAL), whole = end - address == 1ull << level_shift(level);

	if (f->err)
		return;
	if (is_left(f, address)) {
		if (counted)
			rss_less(f, pte, (int64_t)((end - address) >> PAGE_SHIFT));
		return;
	}
	if (counted && atomic_load(&f->parent->nr_pins) &&
	    block_holds_pinned(pfn_to_page(f->parent->frames, pte_pfn(pte))))
		whole = false;
	if (whole || (f->vma->flags & (VM_HUGETLB | VM_MAYSHARE)) == (VM_HUGETLB | VM_MAYSHARE))
		copy_whole(f, slot, address, level);
	else if (vma_is_hugetlb(f->vma))
		copy_hugetlb(f, pte, address);
	else
		copy_entries(f, address, end);
}

static void copy_page_range(struct fork *f)
{
	static const struct pte_walk_ops ops = {.huge = copy_huge, .table = copy_table};

	trace(f, "copy_page_range", f->vma->start);
	pte_walk(f->parent, f->vma->start, f->vma->end, &ops, f);
}

/* --- areas ----------------------------------------------------------------------------------------------------------------------------- */

/* The child's area, linked and accounted; without pages. */
static struct vma *dup_area(struct fork *f, const struct vma *vma)
{
	struct mm *mm = f->child;

	if ((vma->flags & VM_ACCOUNT) && !vm_enough_memory(mm, vma_pages(vma)))
		return NULL;
	struct vma *copy = kmem_cache_alloc(&mm->host->vma_cache);
	if (!copy)
		return NULL;
	vma_copy(copy, vma);
	copy->mm = mm;
	if (!f->whole)
		copy->flags &= ~VM_LOCKED_MASK;
	copy->window_end = 0;
	copy->anon_vma = NULL;
	list_init(&copy->anon_vma_chain);
	if ((f->whole || !(vma->flags & VM_WIPEONFORK)) && anon_vma_fork(copy, vma)) {
		kmem_cache_free(&mm->host->vma_cache, copy);
		return NULL;
	}
	area_hold_mapping(copy);
	area_link(mm, copy);
	vm_stat_account(mm, copy->flags, (int64_t)vma_pages(copy));
	return copy;
}

static bool is_given(const struct fork *f, const struct vma *vma)
{
	return f->whole || !(vma->flags & VM_DONTCOPY);
}

static int dup_areas(struct fork *f)
{
	const struct vma *vma;

	vma_for_each (vma, &f->parent->vmas)
		if (is_given(f, vma) && !dup_area(f, vma))
			return -ENOMEM;
	return 0;
}

/*
 * The child begins with the parent's counts, and loses what it does not get. So no entry of the parent's may turn from one that counts as
 * this into one that counts as that, until all are copied.
 */
static void freeze_counters(struct fork *f)
{
	pthread_mutex_lock(&f->parent->page_table_lock);
	atomic_store(&f->parent->forking, true);
	for (enum mm_counter c = 0; c < NR_MM_COUNTERS; c++)
		atomic_store(&f->child->rss[c], mm_counter(f->parent, c));
	pthread_mutex_unlock(&f->parent->page_table_lock);
	swap_fork(f->child, f->parent);
}

/* An area that the child does not get at all has pages that are not the child's either. */
static int copy_areas(struct fork *f)
{
	struct vma *vma, *copy = f->child->vmas.first;

	vma_for_each (vma, &f->parent->vmas) {
		f->vma = vma;
		f->copy = is_given(f, vma) ? copy : NULL;
		copy = f->copy ? copy->next : copy;
		pthread_mutex_lock(&f->parent->page_table_lock);
		lock_nested(&f->child->page_table_lock);
		copy_page_range(f);
		pthread_mutex_unlock(&f->child->page_table_lock);
		gather_flush(&f->gather);
		pthread_mutex_unlock(&f->parent->page_table_lock);
		if (f->err)
			return f->err;
	}
	return 0;
}

static int dup_mmap(struct fork *f)
{
	struct vma *vma;

	trace(f, "dup_mmap", 0);
	vma_for_each (vma, &f->parent->vmas) /* a table that is shared may serve several of them */
		vma_write_lock(vma);
	freeze_counters(f);
	int err = dup_areas(f) ? -ENOMEM : copy_areas(f);
	atomic_store(&f->parent->forking, false);
	return err;
}

/* --- the space -------------------------------------------------------------------------------------------------------------------------- */

/* Layout, limits and what the loader left; of a child's not what is locked, nor that future areas be. */
static void copy_fields(const struct fork *f)
{
	const struct mm *from = f->parent;
	struct mm *to = f->child;

	to->mmap_base = from->mmap_base;
	to->task_size = from->task_size;
	to->start_code = from->start_code;
	to->end_code = from->end_code;
	to->start_data = from->start_data;
	to->end_data = from->end_data;
	to->start_brk = from->start_brk;
	to->brk = from->brk;
	to->forked = true;
	to->start_stack = from->start_stack;
	to->arg_start = from->arg_start;
	to->arg_end = from->arg_end;
	to->env_start = from->env_start;
	to->env_end = from->env_end;
	memcpy(to->saved_auxv, from->saved_auxv, sizeof(to->saved_auxv));
	to->nr_auxv_words = from->nr_auxv_words;
	to->def_flags = f->whole ? from->def_flags : from->def_flags & VM_NOHUGEPAGE;
	to->get_unmapped_area = from->get_unmapped_area;
	to->stack_limit_bytes = from->stack_limit_bytes;
	to->as_limit_bytes = from->as_limit_bytes;
	to->data_limit_bytes = from->data_limit_bytes;
	to->memlock_limit_bytes = from->memlock_limit_bytes;
	to->privileged = from->privileged;
	to->supply = supply_get(from->supply);
	to->mmap_min_addr = from->mmap_min_addr;
	to->max_map_count = from->max_map_count;
	to->fault_around_pages = from->fault_around_pages;
	mm_set_mempolicy(to, mm_mempolicy(from));
	atomic_store(&to->membarrier_state, atomic_load(&from->membarrier_state));
}

/* Into f->child, which is empty and unseen; it is gone when that fails. */
static int dup_mm(struct fork *f)
{
	trace(f, "dup_mm", 0);
	copy_fields(f);
	gather_begin(&f->gather, f->parent);
	gather_begin(&f->unheard, f->child);
	mm_write_lock_nested(f->child); /* who looks through all spaces can find it by now */
	int err = dup_mmap(f);
	mm_write_unlock(f->child);
	gather_end(&f->gather);
	gather_end(&f->unheard);
	atomic_store(&f->child->peak_rss, mm_rss_pages(f->child));
	if (err)
		mmput(f->child);
	else
		mm_show(f->child);
	return err;
}

static int duplicate(struct fork *f, struct mm **child)
{
	if (!f->child)
		return -ENOMEM;
	memcg_keep_reserve(f->parent->memcg);
	memcg_keep_reserve(f->child->memcg);
	mm_write_lock(f->parent);
	int err = dup_mm(f);
	mm_write_unlock(f->parent);
	if (!err)
		*child = f->child;
	return err;
}

int mm_fork_ahead(struct mm *parent, uint64_t ahead_pages, struct mm **child)
{
	struct retry retry = retry_begin(parent->host, parent->memcg);
	struct fork f;
	bool less;
	int err;

	do {
		f = (struct fork){.parent = parent,
				  .child = mm_create_unseen(parent->host, parent->memcg),
				  .ahead_pages = ahead_pages,
				  .ahead_table = NO_TABLE};
		err = duplicate(&f, child);
		less = err && ahead_pages; /* copies may have taken what tables need */
		ahead_pages = 0;
	} while (less || retry_with_room(&retry, err));
	return err;
}

int mm_fork(struct mm *parent, struct mm **child)
{
	return mm_fork_ahead(parent, 0, child);
}

int mm_clone(struct mm *from, struct memcg *account, struct mm **clone)
{
	struct retry of_from = retry_begin(from->host, from->memcg),
		     of_account = retry_begin(from->host, account ? account : from->memcg);
	struct fork f;
	int err;

	atomic_store(&from->memcg->cloned, true); /* whatever it had of others, these know already */
	do {
		f = (struct fork){.parent = from, .whole = true, .ahead_table = NO_TABLE};
		f.child = account ? mm_create_unseen(from->host, account) : mm_create_alike(from);
		err = duplicate(&f, clone);
	} while (retry_with_room(&of_from, err) || retry_with_room(&of_account, err));
	return err;
}
