/* SPDX-License-Identifier: MIT */
/*
 * move_pages.c - pages of a space that are asked to another node: move_pages, migrate_pages, mbind with MPOL_MF_MOVE.
 *
 * A page moves by page_migrate, one at a time and with no lock of the space held but while it is looked up; what is pinned, or lies in
 * a huge page, stays where it is.
 */
#include <errno.h>

#include "block.h"
#include "lock.h"
#include "migrate.h"
#include "move_pages.h"
#include "page_alloc.h"

#define ATTEMPTS 10 /* as Linux */

/* The page under an address with a reference, and whether others map it; or NULL and *err: -EFAULT, -ENOENT. */
static struct page *find_page(struct mm *mm, gva_t address, bool *shared, int *err)
{
	struct page *page = NULL;
	pte_t *slot;

	*err = -EFAULT;
	mm_read_lock(mm);
	if (vma_find_intersection(&mm->vmas, address, address + 1)) {
		pthread_mutex_lock(&mm->page_table_lock);
		pte_t pte = pgtable_translate(&mm->pgt, address, &slot);
		if (!pte_present(pte))
			*err = -ENOENT;
		else if (!(pte & PTE_SPECIAL)) { /* the zero page and a device's are nobody's */
			page = pfn_to_page(mm->frames, pte_pfn(pte));
			page_get(page);
			*shared = page_total_mapcount(mm->frames, page) > 1 ||
				  atomic_load(&pgtable_page(&mm->pgt, slot)->refs) > 1;
		}
		pthread_mutex_unlock(&mm->page_table_lock);
	}
	mm_read_unlock(mm);
	return page;
}

int mm_page_node(struct mm *mm, gva_t address)
{
	bool shared;
	int err;
	struct page *page = find_page(mm, page_align_down(address), &shared, &err);

	if (!page)
		return err;
	int node = (int)page_zone(mm->frames, page)->node;
	page_put(mm->frames, page);
	return node;
}

static int migrate_to(struct mm *mm, struct page *from, unsigned int node)
{
	struct mempolicy policy = {.mode = MPOL_BIND, .nodes = (nodemask_t)1 << node};
	const struct alloc_task task = {.policy = &policy};
	int err = -EAGAIN;

	struct page *to = page_alloc_task(mm->frames, &task, GFP_HIGHUSER_MOVABLE, 0);
	if (!to)
		return -ENOMEM;
	for (unsigned int i = 0; i < ATTEMPTS && err == -EAGAIN; i++)
		err = page_migrate(mm->host, from, to);
	if (err)
		page_put(mm->frames, to);
	return err == -EAGAIN ? -EBUSY : err;
}

int mm_move_page(struct mm *mm, gva_t address, unsigned int node, enum move_whose whose)
{
	bool shared;
	int err;
	struct page *page = find_page(mm, page_align_down(address), &shared, &err);

	if (!page)
		return err;
	if (page_zone(mm->frames, page)->node == node)
		err = (int)node;
	else if (whose == MOVE_OWN && shared)
		err = -EACCES;
	else if (page_in_block(page))
		err = -EBUSY;
	else
		err = migrate_to(mm, page, node);
	page_put(mm->frames, page);
	return err ? err : (int)node;
}

/* The area at or above `at`: false when there is none. */
static bool next_area(struct mm *mm, gva_t at, gva_t *start, gva_t *end)
{
	mm_read_lock(mm);
	const struct vma *vma = vma_find(&mm->vmas, at);
	if (vma) {
		*start = max_u64(at, vma->start);
		*end = vma->end;
	}
	mm_read_unlock(mm);
	return vma;
}

uint64_t mm_move_nodes(struct mm *mm, gva_t first, gva_t last, nodemask_t from, nodemask_t to,
		       enum move_whose whose)
{
	gva_t start = 0, end = first;
	uint64_t failed = 0;

	while (end < last && next_area(mm, end, &start, &end) && start < last) {
		for (gva_t at = start; at < min_u64(end, last); at += PAGE_SIZE) {
			int node = mm_page_node(mm, at);
			if (node < 0 || !(from >> node & 1) || (to >> node & 1))
				continue;
			/* The n-th of the one goes to the n-th of the other, and round again. */
			unsigned int nth = (unsigned int)__builtin_popcount(from & ((1u << node) - 1));
			nodemask_t left = to;
			for (nth %= (unsigned int)__builtin_popcount(to); nth; nth--)
				left &= left - 1;
			failed += mm_move_page(mm, at, (unsigned int)__builtin_ctz(left), whose) < 0;
		}
	}
	return failed;
}
