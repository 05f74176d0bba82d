/* SPDX-License-Identifier: MIT */
/*
 * check_host.c - mm_check_host: recounts every frame of a host against all of its spaces.
 *
 *   H1  mapcount is the number of entries of level 0 that map a frame, where a table that several spaces share counts once
 *   H2  block_mapcount is the number of huge entries that map a block, and only blocks are mapped so
 *   H3  refs is mapcount, and one for the block, and one for the cache, and the pins that spaces tell of
 *   H4  a table has as many references as entries point to it
 *   H5  the account of each space's memcg is the number of frames that it pays for
 *   H6  a walk from a frame finds as many entries as spaces show of it
 *   H7  the count of a swap slot is the number of entries that say it, in tables, a shared one's once, and indices of shared memory; its cached page and the slot say each other
 *
 *   H8  pools of compressed pages have what slots say (C1 of zswap.h), and are as zpool.h says
 *
 * Not here: what one space can tell by itself (check.c).
 */
#include <stdlib.h>

#include "block.h"
#include "rmap.h"
#include "shmem_swap.h"
#include "swap_cache.h"
#include "zswap.h"

/* What was found of one frame. */
struct found {
	uint32_t entries; /* in distinct tables; of a table page: entries that point to it */
	uint32_t huge;	  /* of the head of a block: in distinct tables */
	uint32_t views;	  /* entries in all spaces */
};

struct host_check {
	struct mm_host *h;
	struct mm *mm;
	void (*complain)(const char *what, uint64_t where);
	unsigned int bad;
	struct found *found;		   /* by frame */
	uint32_t *slots[MAX_SWAP_DEVICES]; /* entries by slot */
	uint64_t excess;		   /* references that nothing explains */
	uint64_t compressed;		   /* slots whose pages are in pools */
};

static void fail(struct host_check *c, const char *what, pfn_t pfn)
{
	c->bad++;
	if (c->complain)
		c->complain(what, pfn << PAGE_SHIFT);
}

static void see_huge(struct host_check *c, pte_t pte, bool first_time)
{
	pfn_t head = pte_pfn(pte);

	if (pte & PTE_SPECIAL)
		return;
	c->found[head].huge += first_time;
	for (unsigned int i = 0; i < BLOCK_PAGES; i++)
		c->found[head + i].views++;
}

static void see_swap(struct host_check *c, swp_entry_t entry)
{
	if (!c->slots[swp_device(entry)])
		fail(c, "entry says a slot of no device", 0);
	else
		c->slots[swp_device(entry)][swp_slot(entry)]++;
}

static void see_entry(struct host_check *c, pte_t pte, bool first_time)
{
	if (entry_type(pte) == ENTRY_SWAP && first_time)
		see_swap(c, pte_to_swp_entry(pte));
	if (entry_type(pte) == ENTRY_MIGRATION)
		fail(c, "entry waits for a page that nobody moves", entry_offset(pte));
	if (!pte_present(pte) || (pte & PTE_SPECIAL))
		return;
	c->found[pte_pfn(pte)].entries += first_time;
	c->found[pte_pfn(pte)].views++;
}

static void see_table(struct host_check *c, struct page *table, unsigned int level, bool first_time)
{
	const pte_t *entry = page_address(c->h->frames, table);
	unsigned int nr = level + 1 == c->mm->pgt.levels ? PTRS_PER_TABLE / 2 : PTRS_PER_TABLE;

	for (unsigned int i = 0; i < nr; i++) {
		pte_t pte = pte_read(&entry[i]);

		if (pte_none(pte))
			continue;
		if (!level) {
			see_entry(c, pte, first_time);
		} else if (pte_huge(pte)) {
			see_huge(c, pte, first_time);
		} else {
			struct page *below = pgtable_below(&c->mm->pgt, pte);
			bool fresh = !c->found[pte_pfn(pte)].entries++;
			see_table(c, below, level - 1, fresh);
		}
	}
}

static void see_space(struct host_check *c, struct mm *mm)
{
	c->mm = mm;
	pthread_mutex_lock(&mm->page_table_lock);
	c->found[page_to_pfn(c->h->frames, mm->pgt.root)].entries++;
	see_table(c, mm->pgt.root, mm->pgt.levels - 1, true);
	pthread_mutex_unlock(&mm->page_table_lock);
}

/* Huge entries, and the object of shared hugetlb memory. */
static uint32_t block_users(const struct host_check *c, const struct page *head)
{
	bool object = (atomic_load(&head->flags) & PG_HUGETLB) && page_mapping(head);

	return c->found[page_to_pfn(c->h->frames, head)].huge + object;
}

static void check_guest_frame(struct host_check *c, pfn_t pfn)
{
	struct page *page = pfn_to_page(c->h->frames, pfn);
	const struct found *seen = &c->found[pfn];
	uint32_t refs = atomic_load(&page->refs), flags = atomic_load(&page->flags);
	uint32_t explained = seen->entries + !!(flags & (PG_BLOCK | PG_HUGETLB)) +
			     !!(flags & (PG_CACHE | PG_SWAPCACHE)) + !!(flags & PG_PRIVATE);

	if (flags & (PG_RESERVED | PG_BAD))
		return;
	if (!refs && !(seen->entries | seen->views))
		return;
	if (atomic_load(&page->mapcount) != seen->entries)
		fail(c, "mapcount differs from the entries", pfn);
	if (refs < explained)
		fail(c, "frame has fewer references than users", pfn);
	else
		c->excess += refs - explained;
	struct page *head = block_head(c->h->frames, page);
	uint32_t huge = block_users(c, head);
	if (!(flags & PG_BLOCK) != !huge)
		fail(c, huge ? "huge entry maps a frame outside a block" : "block that no entry maps", pfn);
	if (huge && atomic_load(&head->block_mapcount) != huge)
		fail(c, "block_mapcount differs from the huge entries", pfn);
	if (seen->views && rmap_count(c->h, page) != seen->views)
		fail(c, "walk from the frame finds another number of entries", pfn);
}

static void check_slot(struct host_check *c, const struct swap_device *d, uint64_t at)
{
	const struct swap_slot *slot = &d->map.slot[at];

	if (slot->count != c->slots[d->index][at])
		fail(c, "count of a swap slot differs from the entries that say it", at);
	if (slot->page && (!page_in_swap_cache(slot->page) ||
			   page_swap_entry(slot->page).val != swp_entry(d->index, at).val))
		fail(c, "cached page of a swap slot says another", at);
	if (!zswap_check_slot(slot, swp_entry(d->index, at)))
		fail(c, "pool of compressed pages lacks what a swap slot says", at);
	c->compressed += (slot->flags & SLOT_COMPRESSED) != 0;
	if (slot->page && !slot->count && !page_total_mapcount(c->h->frames, slot->page))
		fail(c, "cached page that nobody has", at);
}

static void see_objects(struct host_check *c)
{
	struct address_space *as;
	struct radix_entry e;

	pthread_mutex_lock(&c->h->mappings_lock);
	list_for_each_entry (as, &c->h->shmem_mappings, mapping_node) {
		pthread_mutex_lock(&as->lock);
		for (uint64_t at = 0; radix_next_entry(&as->pages, &at, &e); at++)
			if (e.is_number && e.number != SHMEM_POISON)
				see_swap(c, (swp_entry_t){e.number});
		pthread_mutex_unlock(&as->lock);
	}
	pthread_mutex_unlock(&c->h->mappings_lock);
}

static bool begin_slots(struct host_check *c)
{
	bool good = true;

	for (unsigned int i = 0; i < MAX_SWAP_DEVICES; i++) {
		const struct swap_device *d = c->h->swap.device[i];
		if (d)
			good = (c->slots[i] = calloc(d->map.nr_slots, sizeof(*c->slots[i]))) && good;
	}
	return good;
}

static void end_slots(struct host_check *c)
{
	for (unsigned int i = 0; i < MAX_SWAP_DEVICES; i++) {
		struct swap_device *d = c->h->swap.device[i];
		for (uint64_t at = 0; d && c->slots[i] && at < d->map.nr_slots; at++)
			check_slot(c, d, at);
		c->bad += d ? swap_map_check(&d->map, c->complain) : 0;
		free(c->slots[i]);
	}
}

static void check_table_frame(struct host_check *c, pfn_t pfn)
{
	const struct page *page = pfn_to_page(c->h->frames, pfn);

	if (c->found[pfn].entries && atomic_load(&page->refs) != c->found[pfn].entries)
		fail(c, "references of a table differ from the entries that point to it", pfn);
}

static void check_frames(struct host_check *c)
{
	struct frames *f = c->h->frames;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++) {
		const struct zone *z = &f->zone[i];

		for (pfn_t pfn = z->start_pfn; pfn < z->fresh_pfn; pfn++) {
			if (z->type == ZONE_TABLE)
				check_table_frame(c, pfn);
			else if (zone_is_guest(z->type))
				check_guest_frame(c, pfn);
		}
	}
}

static void check_account(struct host_check *c, const struct memcg *cg)
{
	const struct frames *f = c->h->frames;
	uint64_t charged = 0, pool = 0;

	for (unsigned int i = 0; i < f->nr_nodes * NR_ZONES; i++) {
		const struct zone *z = &f->zone[i];

		for (pfn_t pfn = z->start_pfn; z->type != ZONE_OBJECT && pfn < z->fresh_pfn; pfn++) {
			const struct page *page = pfn_to_page(f, pfn);
			bool ours = atomic_load(&page->refs) && page->memcg == cg;
			charged += ours;
			pool += ours && (atomic_load(&page->flags) & PG_PRIVATE);
		}
	}
	if (pool != atomic_load(&cg->zpool.nr_frames))
		fail(c, "pool of compressed pages differs from its frames", pool);
	if (charged != atomic_load(&cg->usage_pages))
		fail(c, "account differs from the frames it pays for", charged);
}

/* Each slot finds its object, and there are as many: so each object has its slot. */
static void check_pools(struct host_check *c, struct mm *const *space, unsigned int nr)
{
	struct zswap_view v;

	zswap_view(c->h, &v);
	if (c->compressed != v.pages)
		fail(c, "pools have other pages than slots say", v.pages);
	for (unsigned int i = 0; i < nr; i++)
		c->bad += zpool_check(&space[i]->memcg->zpool, space[i]->memcg, c->complain);
}

unsigned int mm_check_host(struct mm_host *h, struct mm *const *space, unsigned int nr,
			   void (*complain)(const char *what, uint64_t where))
{
	struct host_check c = {.h = h, .complain = complain};
	uint64_t pins = 0;

	c.found = calloc(h->frames->max_pfn, sizeof(*c.found));
	if (!c.found || !begin_slots(&c))
		return 1;
	for (unsigned int i = 0; i < nr; i++) {
		see_space(&c, space[i]);
		pins += atomic_load(&space[i]->nr_pins);
	}
	see_objects(&c);
	check_frames(&c);
	end_slots(&c);
	c.excess += atomic_load(&h->frames->zero_page->refs) - 1;
	if (c.excess != pins)
		fail(&c, "references that nobody holds", c.excess);
	for (unsigned int i = 0; i < nr; i++)
		check_account(&c, space[i]->memcg);
	check_pools(&c, space, nr);
	free(c.found);
	return c.bad;
}
