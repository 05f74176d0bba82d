/* SPDX-License-Identifier: MIT */
/*
 * check.c - mm_check: recounts a space and compares.
 *
 *   M1  the areas obey V1-V3 (vma.h), no two neighbours could be one (but after a fork), and the counts of account.h are their sums
 *   M2  every entry lies in an area, allows no more than the area does, and maps an allocated frame
 *   M3  a private area maps its own anonymous pages writable or cache pages read-only; a shared one maps its object's pages
 *   M4  walks from a page find every entry that maps it: A1-A3 (anon_vma.h), i_mmap
 *   M5  rss equals the entries by kind; every table page is reachable and counted
 *   M6  T1-T3 (pgtable.h), and K1-K3 (block.h) as far as one space shows them
 */
#include "block.h"
#include "lock.h"
#include "page_lock.h"
#include "rmap.h"
#include "vma_merge.h"
#include "zap.h"

struct check {
	struct mm *mm;
	void (*complain)(const char *what, uint64_t where);
	unsigned int bad;
	int64_t rss[NR_MM_COUNTERS];
	uint64_t nr_tables;
};

static void fail(struct check *c, const char *what, uint64_t where)
{
	c->bad++;
	if (c->complain)
		c->complain(what, where);
}

static const char *check_page(struct check *c, const struct vma *vma, pte_t pte, struct page *page,
			      gva_t address)
{
	uint32_t flags = atomic_load(&page->flags);

	if (!atomic_load(&page->refs) || !page_total_mapcount(c->mm->frames, page))
		return "entry maps a frame without a reference or mapcount";
	if (!zone_is_guest(page_zone_type(page)) || flags & (PG_BUDDY | PG_TABLE | PG_SLAB | PG_RESERVED))
		return "entry maps a frame that is not a guest's";
	if (vma_is_anonymous(vma) && !page_anon(page))
		return "anonymous area maps a page of a mapping";
	if (page_anon(page) && !anon_vma_reaches(vma, page, address))
		return "area maps an anonymous page that no walk finds there";
	if (vma->mapping && !page_anon(page) && page_mapping(page) != vma->mapping)
		return "area maps a page of another mapping";
	if ((vma->flags & VM_SHARED) && page_anon(page))
		return "shared area maps an anonymous page";
	/* The entry itself, or the table that is shared, may say so; what counts is what both allow. */
	if (pte_write(pte) && !(vma->flags & VM_SHARED) &&
	    (!page_anon(page) || !page_is_exclusive(c->mm->frames, page)))
		return "private area may write a page that others see";
	return NULL;
}

static const char *check_rights(const struct vma *vma, pte_t pte)
{
	if ((pte & PTE_PRESENT) && !(pte & PTE_USER))
		return "entry not for the user";
	if ((pte & PTE_PRESENT) && !(vma->flags & VM_ACCESS_FLAGS))
		return "entry present in an area without access";
	if (pte_write(pte) && !(vma->flags & VM_WRITE))
		return "entry writable in a read-only area";
	if ((pte & PTE_PRESENT) && !(pte & PTE_NX) && !(vma->flags & VM_EXEC))
		return "entry executable in an area that is not";
	if ((pte & PTE_SPECIAL) && pte_write(pte) && !(vma->flags & VM_SHARED))
		return "private area may write a frame that is not its own";
	return NULL;
}

static const char *check_swap(struct check *c, const struct vma *vma, pte_t pte)
{
	if (!swap_device_of(c->mm->host, pte_to_swp_entry(pte)))
		return "entry says a slot of no device";
	if (!swap_count(c->mm->host, pte_to_swp_entry(pte)))
		return "entry says a slot that counts none";
	return vma_anon_vma(vma) ? NULL : "swapped page in an area without anonymous pages";
}

/* False also while another space, which shares the table, sees the end of the move. */
static bool nobody_moves(const struct page *page, const pte_t *slot, pte_t pte)
{
	return !page_locked(page) && pte_read(slot) == pte;
}

/* A page that is moving is resident, and locked until the move is over. */
static const char *check_special(struct check *c, const struct vma *vma, const pte_t *slot, pte_t pte)
{
	const struct page *page = pfn_to_page(c->mm->frames, entry_offset(pte));

	switch (entry_type(pte)) {
	case ENTRY_MIGRATION:
		c->rss[entry_counter(c->mm, pte)]++;
		return nobody_moves(page, slot, pte) ? "entry waits for a page that nobody moves" : NULL;
	case ENTRY_SWAP:
		c->rss[MM_SWAPENTS]++;
		return check_swap(c, vma, pte);
	case ENTRY_GUARD:
	case ENTRY_POISON:
		return NULL;
	default:
		return "entry neither empty nor present";
	}
}

static const char *check_entry(struct check *c, const struct vma *vma, const pte_t *slot, pte_t pte,
			       gva_t address)
{
	if (!vma)
		return "entry outside every area";
	if (!pte_present(pte))
		return check_special(c, vma, slot, pte);
	const char *what = check_rights(vma, pte);
	if (what || (pte & PTE_SPECIAL))
		return what;
	struct page *page = pfn_to_page(c->mm->frames, pte_pfn(pte));
	c->rss[page_counter(page)]++;
	return check_page(c, vma, pte, page, address);
}

/* A huge entry lies in one area, for whatever cuts areas cuts it; its frames are a block, or nobody's. */
static const char *check_huge(struct check *c, gva_t address, pte_t pte, unsigned int level)
{
	uint64_t span = 1ull << level_shift(level);
	struct vma *vma = vma_find_intersection(&c->mm->vmas, address, address + span);

	if (!vma || vma->start > address || vma->end < address + span)
		return "huge entry not within one area";
	const char *what = check_rights(vma, pte);
	if (what || (pte & PTE_SPECIAL))
		return what;
	struct page *head = pfn_to_page(c->mm->frames, pte_pfn(pte));
	if (level != 1 || block_head(c->mm->frames, head) != head)
		return "huge entry maps what cannot be a block";
	for (unsigned int i = 0; i < BLOCK_PAGES && !what; i++) {
		what = page_in_block(&head[i]) ? check_page(c, vma, pte, &head[i], address + i * PAGE_SIZE)
					       : "huge entry maps a frame outside a block";
		c->rss[page_counter(&head[i])]++;
	}
	return what;
}

static void check_table(struct check *c, struct page *table, unsigned int level, gva_t base, bool writable);

/* An entry of a level above 0. */
static const char *check_upper(struct check *c, pte_t pte, unsigned int level, gva_t address, bool writable)
{
	if (pte_none(pte))
		return NULL;
	if (pte_huge(pte))
		return check_huge(c, address, writable ? pte : pte & ~PTE_WRITE, level);
	if (!pte_table(pte))
		return "upper entry neither empty nor a table nor huge";
	struct page *table = pgtable_below(&c->mm->pgt, pte);
	c->nr_tables++;
	check_table(c, table, level - 1, address, writable && pte_write(pte));
	if (pte_write(pte) && pgtable_shared(&c->mm->pgt, pte))
		return "entry lets write through a shared table";
	if (level > 1 && (!pte_write(pte) || pgtable_shared(&c->mm->pgt, pte)))
		return "table of an upper level is shared or read-only";
	return NULL;
}

static void check_table(struct check *c, struct page *table, unsigned int level, gva_t base, bool writable)
{
	const pte_t *entry = page_address(c->mm->frames, table);
	unsigned int nr = level + 1 == c->mm->pgt.levels ? PTRS_PER_TABLE / 2 : PTRS_PER_TABLE;

	if (!(atomic_load(&table->flags) & PG_TABLE) || !atomic_load(&table->refs))
		fail(c, "table page is not marked as one", base);
	for (unsigned int i = 0; i < nr; i++) {
		pte_t pte = pte_read(&entry[i]);
		gva_t address = base + ((uint64_t)i << level_shift(level));
		const char *what = NULL;
		if (level)
			what = check_upper(c, pte, level, address, writable);
		else if (!pte_none(pte))
			what = check_entry(c,
					   vma_find_intersection(&c->mm->vmas, address, address + PAGE_SIZE),
					   &entry[i], writable || !pte_present(pte) ? pte : pte & ~PTE_WRITE,
					   address);
		if (what)
			fail(c, what, address);
	}
}

/* A stack that grew down to another area stays apart from it. */
static bool could_merge(const struct vma *a, const struct vma *b)
{
	return b && !(b->flags & VM_GROWSDOWN) && vma_mergeable(a, b) && vma_removable(a) && vma_removable(b);
}

/* Recounts what account.h counts. */
static void check_accounts(struct check *c)
{
	const struct mm *mm = c->mm;
	struct vma *vma;
	uint64_t total = 0, locked = 0, committed = 0, by_kind = 0;

	vma_for_each (vma, &mm->vmas) {
		total += vma_pages(vma);
		locked += vma->flags & VM_LOCKED ? vma_pages(vma) : 0;
		committed += vma->flags & VM_ACCOUNT ? vma_pages(vma) : 0;
		bool exec = (vma->flags & (VM_EXEC | VM_WRITE)) == VM_EXEC;
		bool data = (vma->flags & (VM_WRITE | VM_SHARED)) == VM_WRITE;
		by_kind += (vma->flags & VM_GROWSDOWN) || exec || data ? vma_pages(vma) : 0;
	}
	if (total != mm->total_vm_pages)
		fail(c, "total_vm differs from the areas", total);
	if (locked != mm->locked_vm_pages)
		fail(c, "locked_vm differs from the areas", locked);
	if (committed != mm->committed_pages)
		fail(c, "committed pages differ from the areas", committed);
	if (by_kind != mm->data_vm_pages + mm->exec_vm_pages + mm->stack_vm_pages)
		fail(c, "data_vm, exec_vm and stack_vm differ from the areas", by_kind);
}

static void check_areas(struct check *c)
{
	struct vma *vma;

	c->bad += vma_tree_check(&c->mm->vmas, c->complain);
	vma_for_each (vma, &c->mm->vmas) {
		if (vma->mm != c->mm || vma->end > c->mm->task_size)
			fail(c, "area of another space or beyond its end", vma->start);
		const char *wrong = vma_interval_check(vma);
		if (wrong)
			fail(c, wrong, vma->start);
		if (!c->mm->forked && could_merge(vma, vma->next))
			fail(c, "two areas that should be one", vma->start);
		if (vma->flags & VM_ACCESS_FLAGS & ~(vma->flags >> 4))
			fail(c, "area allows what it never may", vma->start);
	}
	check_accounts(c);
}

unsigned int mm_check(struct mm *mm, void (*complain)(const char *what, uint64_t where))
{
	struct check c = {.mm = mm, .complain = complain};

	mm_read_lock(mm);
	check_areas(&c);
	pthread_mutex_lock(&mm->page_table_lock);
	check_table(&c, mm->pgt.root, mm->pgt.levels - 1, 0, true);
	for (unsigned int i = 0; i < NR_MM_COUNTERS; i++)
		if (c.rss[i] != mm_counter(mm, i))
			fail(&c, "rss differs from the entries", i);
	if (c.nr_tables != mm->pgt.nr_tables)
		fail(&c, "table pages differ from their count", c.nr_tables);
	pthread_mutex_unlock(&mm->page_table_lock);
	mm_read_unlock(mm);
	return c.bad;
}
