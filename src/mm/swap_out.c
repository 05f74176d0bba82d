/* SPDX-License-Identifier: MIT */
/*
 * swap_out.c - pages that leave memory for their slots.
 *
 *	     entries          page                                slot
 *	1    P P              locked                              -
 *	2    P P              locked, cached, dirty               no entry
 *	3    S S  (revoked)   locked, cached, dirty               2 entries      faults on S find the page and wait for its lock
 *	4    S S              locked, being written               2 entries
 *	5    S S              free                                2 entries
 *
 * A page that was read in and not written since has its slot still: step 2 and the transfer are left out. One whose words are all equal
 * is not written either: its slot remembers the word. Nor is one that a pool in memory takes (zswap.h).
 *
 * Pages of shared memory go the same way, but that their entries become empty, and that it is the index of their object that says the
 * slot: from step 4 on, so until then they are the object's and not cached (shmem_swap.h).
 *
 * An entry is replaced only while nobody but entries, cache and caller has the page: pins are taken under page_table_lock, so that is
 * exact. Contents are looked at when all entries are gone and processors have forgotten them.
 *
 * Spaces and families are only tried for: a fault that is out of memory comes here too, and may have some of them. A table that several
 * spaces share is copied for the space first, since what is resident is counted by space; one that very many share stays.
 */
#include <sched.h>

#include "ageing.h"
#include "block.h"
#include "rmap.h"
#include "shmem_swap.h"
#include "swap_cache.h"
#include "workingset.h"
#include "zap.h"
#include "zswap.h"

#define SWAP_OUT_PAGES	  512u
#define SPACES		  4u /* whose page_table_lock is held at a time */
#define TRIES		  32
#define TABLE_SHARERS_MAX 64 /* 64 copies of a table are an eighth of what it maps */

/* One batch on its way. */
struct leaving {
	struct mm_host *host;
	struct anon_vma *family; /* its root's lock is held; NULL: none */
	struct address_space
		*object; /* its i_mmap_lock is held, and a page of it locked; NULL: none. Not both */
	unsigned int nr_spaces;
	struct space {
		struct mm *mm; /* page_table_lock is held */
		struct gather gather;
	} space[SPACES];
};

static bool try_hard(pthread_mutex_t *lock)
{
	for (unsigned int i = 0; i < TRIES; i++) {
		if (!pthread_mutex_trylock(lock))
			return true;
		sched_yield();
	}
	return false;
}

/* --- spaces and families ------------------------------------------------------------------------------------------- */

/* Tables may have been replaced: processors forget the old ones before others may change entries. */
static void leave_spaces(struct leaving *l)
{
	while (l->nr_spaces) {
		struct space *s = &l->space[--l->nr_spaces];
		gather_end(&s->gather);
		pthread_mutex_unlock(&s->mm->page_table_lock);
	}
}

static struct gather *enter_space(struct leaving *l, struct mm *mm)
{
	for (unsigned int i = 0; i < l->nr_spaces; i++)
		if (l->space[i].mm == mm)
			return &l->space[i].gather;
	if (l->nr_spaces == SPACES)
		leave_spaces(l);
	if (!try_hard(&mm->page_table_lock))
		return NULL;
	struct space *s = &l->space[l->nr_spaces++];
	s->mm = mm;
	gather_begin(&s->gather, mm);
	return &s->gather;
}

static void leave_areas(struct leaving *l)
{
	leave_spaces(l);
	if (l->object)
		pthread_mutex_unlock(&l->object->i_mmap_lock);
	l->object = NULL;
	if (!l->family)
		return;
	anon_vma_unlock(l->family);
	anon_vma_put(l->host, l->family);
	l->family = NULL;
}

static bool enter_family(struct leaving *l, struct anon_vma *av)
{
	if (l->family && l->family->root == av->root)
		return true;
	leave_areas(l);
	if (!try_hard(&av->root->lock))
		return false;
	atomic_fetch_add(&av->refs, 1);
	l->family = av;
	return true;
}

static bool enter_object(struct leaving *l, struct address_space *as)
{
	if (l->object == as)
		return true;
	leave_areas(l);
	if (!try_hard(&as->i_mmap_lock))
		return false;
	l->object = as;
	return true;
}

/* --- entries ------------------------------------------------------------------------------------------------------- */

static bool hook_agrees(struct vma *vma, gva_t address, struct page *page)
{
	return !vma->vm_ops || !vma->vm_ops->swapout || vma->vm_ops->swapout(vma, address, page);
}

/* Of an object of shared memory, as long as it is not cached for a slot. */
static bool is_shmem(const struct page *page)
{
	return (atomic_load(&page->flags) & (PG_CACHE | PG_SWAPBACKED)) == (PG_CACHE | PG_SWAPBACKED);
}

/* Nobody but entries, the cache and the caller. */
static bool is_unpinned(const struct page *page)
{
	bool cached = atomic_load(&page->flags) & (PG_SWAPCACHE | PG_CACHE);

	return atomic_load(&page->refs) == atomic_load(&page->mapcount) + cached + 1;
}

/* The slot of level 0 in a table of the space's own; NULL: the page must stay. */
static pte_t *own_slot(struct mm *mm, pte_t *slot, gva_t address, struct gather *g)
{
	if (atomic_load(&pgtable_page(&mm->pgt, slot)->refs) > TABLE_SHARERS_MAX)
		return NULL;
	page_alloc_begin_reserve();
	slot = pgtable_own(mm, address, g);
	page_alloc_end_reserve();
	return slot;
}

/*
 * The entry's reference goes at once: the caller's and the cache's keep the frame until processors have forgotten it. An entry of shared
 * memory becomes empty.
 */
static void replace_entry(struct mm *mm, struct page *page, pte_t *slot, gva_t address, struct gather *g)
{
	bool shmem = is_shmem(page);
	pte_t pte = shmem ? 0 : swp_entry_to_pte(page_swap_entry(page));

	if (!shmem)
		swap_dup(mm->host, page_swap_entry(page));
	if (pte_exchange(slot, pte) & PTE_PRESENT)
		gather_entry(g, slot, address);
	atomic_fetch_sub(&page->mapcount, 1);
	atomic_fetch_sub(&page->refs, 1);
	atomic_fetch_sub_explicit(&mm->rss[page_counter(page)], 1, memory_order_relaxed);
	if (shmem)
		return;
	atomic_fetch_add_explicit(&mm->rss[MM_SWAPENTS], 1, memory_order_relaxed);
	swap_note_space(mm);
}

static bool maps(const struct mm *mm, pte_t pte, const struct page *page)
{
	return pte_present(pte) && !(pte & PTE_SPECIAL) && pte_pfn(pte) == page_to_pfn(mm->frames, page);
}

/* The page's place in one area. False: it has to stay. */
static bool unmap_from(struct leaving *l, struct page *page, struct vma *vma)
{
	struct mm *mm = vma->mm;
	gva_t address = vma->start + ((page->index - vma->pgoff) << PAGE_SHIFT);
	struct gather *g = enter_space(l, mm);

	if (!g)
		return false;
	pte_t *slot = pgtable_find(&mm->pgt, address);
	if (!slot || !maps(mm, pte_read(slot), page))
		return true;
	if ((__atomic_load_n(&vma->flags, __ATOMIC_RELAXED) & VM_LOCKED) || atomic_load(&mm->forking))
		return false;
	slot = own_slot(mm, slot, address, g);
	if (!slot || !is_unpinned(page) || !hook_agrees(vma, address, page))
		return false;
	replace_entry(mm, page, slot, address, g);
	return true;
}

static bool unmap_family(struct leaving *l, struct page *page, const struct anon_vma *av)
{
	struct interval_node *node;
	bool more = true;

	for (node = interval_tree_first(&av->tree, page->index, page->index); node && more;
	     node = interval_tree_next(node, page->index, page->index))
		more = unmap_from(l, page, list_entry(node, struct anon_vma_chain, node)->vma);
	return more;
}

static void unmap_shmem(struct leaving *l, struct page *page, struct address_space *as)
{
	struct interval_node *node;
	bool more = true;

	if (!atomic_load(&page->mapcount) || !enter_object(l, as))
		return;
	for (node = interval_tree_first(&as->i_mmap, page->index, page->index); node && more;
	     node = interval_tree_next(node, page->index, page->index))
		more = unmap_from(l, page, list_entry(node, struct vma, shared));
}

static void unmap(struct leaving *l, struct page *page)
{
	if (is_shmem(page)) {
		unmap_shmem(l, page, page_mapping(page));
		return;
	}
	struct anon_vma *av = page_get_anon_vma(page);

	if (!av)
		return;
	if (enter_family(l, av))
		unmap_family(l, page, av);
	anon_vma_put(l->host, av);
}

/* --- blocks -------------------------------------------------------------------------------------------------------- */

static bool split_entry(void *ctx, const struct rmap_hit *hit, struct gather *g)
{
	(void)ctx;
	if (hit->level != 1)
		return true;
	if (__atomic_load_n(&hit->vma->flags, __ATOMIC_RELAXED) & VM_LOCKED)
		return false;
	bool split = pgtable_own(hit->vma->mm, hit->address, g);
	gather_flush(g);
	return split;
}

/* Huge entries of the page's block become small ones, in all spaces. False: some stayed. */
static bool split_block(struct mm_host *h, struct page *page)
{
	struct rmap_walk w = {.fn = split_entry};

	page_alloc_begin_reserve();
	rmap_walk(h, page, &w);
	page_alloc_end_reserve();
	return !page_in_block(page);
}

/* --- one page ------------------------------------------------------------------------------------------------------ */

/*
 * May a cached page go to the slot that it has? Not to one that took no write; nor, while the device is being given up, what was brought
 * back from it and is mapped, or the device would never be. Those get another slot, so that what comes back has somewhere to go. What
 * other entries say of the old one stays true if it holds the page: then they have a copy of their own from here on.
 */
static bool slot_serves(struct mm_host *h, struct page *page)
{
	swp_entry_t entry = page_swap_entry(page);
	struct swap_device *d = swap_device_of(h, entry);
	bool dirty = atomic_load(&page->flags) & PG_DIRTY, mapped = atomic_load(&page->mapcount);

	pthread_mutex_lock(&d->map.lock);
	const struct swap_slot *slot = &d->map.slot[swp_slot(entry)];
	bool failed = slot->flags & SLOT_FAILED, leaves = d->map.closed && !d->is_image,
	     stuck = slot->count && (failed || dirty);
	pthread_mutex_unlock(&d->map.lock);
	return (!failed && !(leaves && mapped)) || (!stuck && swap_cache_move(h, page));
}

/* Steps 1 and 2; false: the page stays, and is not locked. A page of an object is cached only when it leaves that. */
static bool prepare(struct mm_host *h, struct page *page)
{
	if (!page_trylock(page))
		return false;
	bool goes = !(atomic_load(&page->flags) & (PG_RESERVED | PG_HUGETLB)) &&
		    (!page_in_block(page) || split_block(h, page)) && is_unpinned(page);
	if (goes && is_shmem(page))
		goes = page->memcg && !atomic_load(&page_mapping(page)->unevictable) &&
		       swap_cache_reserve(h, page);
	else if (goes && page_in_swap_cache(page))
		goes = (atomic_load(&page->flags) & PG_UPTODATE) && slot_serves(h, page);
	else
		goes = goes && page_anon(page) && atomic_load(&page->mapcount) &&
		       swap_cache_add_new(h, page->memcg, page);
	if (!goes)
		swap_cache_unlock(h, page);
	return goes;
}

static bool all_words_equal(const uint64_t *word)
{
	for (unsigned int i = 1; i < PAGE_SIZE / sizeof(*word); i++)
		if (word[i] != word[0])
			return false;
	return true;
}

static void remember_word(struct mm_host *h, struct page *page, uint64_t word)
{
	swp_entry_t entry = page_swap_entry(page);
	struct swap_map *m = &swap_device_of(h, entry)->map;
	struct swap_slot *slot = &m->slot[swp_slot(entry)];

	pthread_mutex_lock(&m->lock);
	slot->value = word;
	slot->flags |= SLOT_SAME;
	pthread_mutex_unlock(&m->lock);
	atomic_fetch_and(&page->flags, ~(uint32_t)PG_DIRTY);
	frames_count(h->frames, SWPOUT_ZERO, 1);
}

/* Some entries are left. What no entry says yet is not cached after all, lest somebody write to what has a slot (S3). */
static void stay(struct mm_host *h, struct page *page)
{
	if (!swap_count(h, page_swap_entry(page)) && (atomic_load(&page->flags) & PG_DIRTY))
		swap_cache_remove(h, page);
}

/* What does not become small stays where nothing is written, and is not the first to be tried again. */
static bool keep(struct mm_host *h, struct page *page)
{
	page_stamp(page);
	swap_cache_unlock(h, page);
	page_put(h->frames, page);
	return false;
}

/* Steps 4 and 5: what became of the page; its lock and the caller's reference go. True: it goes, too. */
static bool finish(struct mm_host *h, struct page *page, struct swap_plug *plug)
{
	bool shmem = is_shmem(page), goes = shmem ? shmem_exchange(h, page) : !atomic_load(&page->mapcount);

	if (!goes && !shmem) {
		stay(h, page);
	} else if (goes && swap_count(h, page_swap_entry(page))) {
		const uint64_t *word = page_address(h->frames, page);
		bool dirty = atomic_load(&page->flags) & PG_DIRTY;
		workingset_evict(page->memcg, page_swap_entry(page).val);
		if (dirty && all_words_equal(word))
			remember_word(h, page, word[0]);
		else if (dirty && !zswap_store(h, page)) {
			if (swap_device_of(h, page_swap_entry(page))->in_memory)
				return keep(h, page);
			atomic_fetch_or(&page->flags, PG_WRITEBACK);
			atomic_fetch_add(&page->memcg->nr_swap_writes, 1);
			swap_plug_add(plug, page);
			return true;
		}
		goes = swap_cache_evict(h, page);
		if (goes && !dirty)
			frames_count(h->frames, SWPOUT_CLEAN, 1);
	}
	swap_cache_unlock(h, page);
	page_put(h->frames, page);
	return goes;
}

/* --- a batch ------------------------------------------------------------------------------------------------------- */

/* The frames of a block, in order. */
static bool is_whole_block(struct mm_host *h, struct page *const *page, unsigned int nr)
{
	return nr == BLOCK_PAGES && page_in_block(page[0]) && page_anon(page[0]) &&
	       block_head(h->frames, page[0]) == page[0] && page[nr - 1] == page[0] + nr - 1;
}

static unsigned int prepare_all(struct mm_host *h, struct page **page, unsigned int nr)
{
	unsigned int ready = 0;

	for (unsigned int i = 0; i < nr; i++) {
		if (prepare(h, page[i]))
			page[ready++] = page[i];
		else
			page_put(h->frames, page[i]);
	}
	return ready;
}

static uint64_t out_batch(struct mm_host *h, struct page **page, unsigned int nr)
{
	struct leaving l = {.host = h};
	struct swap_plug plug;
	uint64_t gone = 0;

	if (is_whole_block(h, page, nr)) {
		swap_begin_cluster(h, page[0]->memcg);
		frames_count(h->frames, THP_SWPOUT, 1);
	}
	nr = prepare_all(h, page, nr);
	for (unsigned int i = 0; i < nr; i++)
		unmap(&l, page[i]);
	leave_areas(&l);
	swap_plug_begin(&plug, h, SWAP_WRITE);
	for (unsigned int i = 0; i < nr; i++)
		gone += finish(h, page[i], &plug);
	swap_plug_end(&plug);
	return gone;
}

uint64_t swap_out(struct mm_host *h, struct page **page, unsigned int nr)
{
	uint64_t gone = 0;

	for (unsigned int done = 0, part; done < nr; done += part) {
		part = (unsigned int)min_u64(nr - done, SWAP_OUT_PAGES);
		gone += out_batch(h, page + done, part);
	}
	return gone;
}
