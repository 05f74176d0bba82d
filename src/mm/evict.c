/* SPDX-License-Identifier: MIT */
/* evict.c - one turn of the hand. See evict.h. */
#include "ageing.h"
#include "evict.h"
#include "lock.h"
#include "page_lock.h"
#include "pagewalk.h"
#include "rmap.h"
#include "swap_cache.h"
#include "zap.h"

/* A piece of the walk: one hold of page_table_lock, in one space. */
struct piece {
	struct evict *e;
	struct mm *mm;
	bool areas;	  /* mmap_lock is held for reading */
	struct vma *area; /* the last one looked up */
	gva_t next;	  /* where the next piece begins; 0: nowhere */
	unsigned int nr_tables;
	struct gather gather;
};

/* What a turn has found. A reference for each: that of the entry it had, or one more. */
struct found {
	unsigned int nr_taken, nr_asked;
	struct page *taken[EVICT_BATCH]; /* nobody maps them any more */
	struct page *asked[EVICT_BATCH]; /* to be asked for by the reverse map */
};

struct turn {
	struct piece piece;
	struct found found;
	bool closed; /* what comes next is for a batch of its own */
};

/* Entries that are looked at with one hold of page_table_lock. */
#define PIECE_TABLES 64
#define LOOK_AHEAD   8 /* entries whose frames are on their way from memory */

/* --- the walk ------------------------------------------------------------------------------------------------------- */

static struct vma *area_at(struct piece *p, gva_t address)
{
	if (!p->area || address < p->area->start || address >= p->area->end)
		p->area = vma_find(&p->mm->vmas, address);
	return p->area && p->area->start <= address ? p->area : NULL;
}

/* Of the kind that is wanted, the account's own, and held by nobody who is not an entry. */
static bool is_candidate(const struct evict *e, const struct page *page)
{
	uint32_t flags = atomic_load_explicit(&page->flags, memory_order_relaxed);
	const uint32_t never =
		PG_RESERVED | PG_HUGETLB | PG_TABLE | PG_SLAB | PG_BLOCK | PG_WRITEBACK | PG_LOCKED;

	if (page->memcg != e->cg || (flags & never))
		return false;
	if (e->type == RECLAIM_LAZYFREE)
		return (flags & PG_LAZYFREE) && page_anon(page) && atomic_load(&page->mapcount) == 1;
	if (e->type == RECLAIM_ANON)
		return (page_anon(page) ||
			(flags & (PG_CACHE | PG_SWAPBACKED)) == (PG_CACHE | PG_SWAPBACKED)) &&
		       atomic_load(&page->refs) ==
			       atomic_load(&page->mapcount) + !!(flags & (PG_SWAPCACHE | PG_CACHE));
	return (flags & (PG_CACHE | PG_SWAPBACKED)) == PG_CACHE &&
	       atomic_load(&page->refs) == atomic_load(&page->mapcount) + 1;
}

static bool full(const struct turn *t)
{
	const struct evict *e = t->piece.e;

	return t->closed ||
	       t->found.nr_taken + t->found.nr_asked + (e->type == RECLAIM_LAZYFREE ? e->nr_freed : 0) >=
		       e->wanted;
}

/* The entry goes, unless a processor has set one of these bits in it meanwhile. */
static bool clear_entry(struct turn *t, pte_t *slot, gva_t address, const struct page *page, pte_t unless)
{
	struct piece *p = &t->piece;
	pte_t old = pte_exchange(slot, 0);

	if (old & unless) {
		pte_set(slot, old);
		return false;
	}
	if (old & PTE_PRESENT)
		gather_entry(&p->gather, slot, address);
	atomic_fetch_sub_explicit(&p->mm->rss[page_counter(page)], 1, memory_order_relaxed);
	return true;
}

/* Its reference is the turn's. It was used after all: false, and it stays. */
static bool take_entry(struct turn *t, pte_t *slot, gva_t address, struct page *page)
{
	if (!clear_entry(t, slot, address, page, t->piece.e->mm ? 0 : PTE_ACCESSED))
		return false;
	atomic_fetch_sub(&page->mapcount, 1);
	t->found.taken[t->found.nr_taken++] = page;
	return true;
}

/* Nobody but the entry has the page: it is freed when processors have forgotten it. Written again: it is like any other. */
static void take_lazyfree(struct turn *t, pte_t *slot, gva_t address, struct page *page)
{
	struct evict *e = t->piece.e;

	e->nr_scanned++;
	if (atomic_load(&page->refs) != 1)
		return;
	if (!clear_entry(t, slot, address, page, PTE_DIRTY)) {
		atomic_fetch_and(&page->flags, ~(uint32_t)PG_LAZYFREE);
		return;
	}
	atomic_fetch_sub(&page->mapcount, 1);
	gather_page(&t->piece.gather, page);
	e->nr_freed++;
}

/* In memory, and this space does not map it: it was read along with others, or others who mapped it are gone. */
static void look_at_cached(struct turn *t, swp_entry_t entry)
{
	struct evict *e = t->piece.e;
	struct page *page = swap_cache_find(e->host, entry);

	if (!page)
		return;
	if (!atomic_load(&page->mapcount) && page->memcg == e->cg && page_age(page, e->cg) >= e->min_age) {
		e->nr_scanned++;
		t->found.asked[t->found.nr_asked++] = page;
	} else {
		page_put(e->host->frames, page);
	}
}

static void look_at(struct turn *t, pte_t *slot, gva_t address, bool own_table)
{
	struct piece *p = &t->piece;
	pte_t pte = pte_read(slot);

	if (entry_type(pte) == ENTRY_SWAP && p->e->type == RECLAIM_ANON)
		look_at_cached(t, pte_to_swp_entry(pte));
	if (!pte_present(pte) || (pte & PTE_SPECIAL))
		return;
	struct page *page = pfn_to_page(p->mm->frames, pte_pfn(pte));
	if (page_age(page, p->e->cg) < p->e->min_age || !is_candidate(p->e, page))
		return;
	if (p->e->type == RECLAIM_LAZYFREE) {
		if (own_table)
			take_lazyfree(t, slot, address, page);
		return;
	}
	p->e->nr_scanned++;
	const struct vma *area = p->areas ? area_at(p, address) : NULL;
	if (((pte & PTE_ACCESSED) && !p->e->mm) || (area && (area->flags & VM_LOCKED))) {
		page_stamp_used(page);
		return;
	}
	if (area && own_table && atomic_load(&page->mapcount) == 1 && p->e->type == RECLAIM_FILE) {
		if (!take_entry(t, slot, address, page))
			page_stamp(page);
		return;
	}
	if (p->e->mm && (atomic_load(&page->mapcount) > 1 || !own_table))
		return; /* others map it, and did not say anything */
	page_get(page);
	t->found.asked[t->found.nr_asked++] = page;
}

/* Frames were last used by other processors, so each is a wait for memory. */
static void prefetch(const struct piece *p, pte_t pte)
{
	if (pte_present(pte) && !(pte & PTE_SPECIAL))
		__builtin_prefetch(pfn_to_page(p->mm->frames, pte_pfn(pte)), 1);
}

static bool look_at_table(void *ctx, pte_t *pmd, gva_t address, gva_t end)
{
	struct turn *t = ctx;
	struct piece *p = &t->piece;
	pte_t *slot = page_address(p->mm->frames, pgtable_below(&p->mm->pgt, pte_read(pmd)));
	bool own = !pgtable_shared(&p->mm->pgt, pte_read(pmd));

	if (p->next)
		return true;
	if (p->nr_tables++ == PIECE_TABLES)
		p->next = address;
	for (gva_t at = address; at < end && !p->next; at += PAGE_SIZE) {
		if (at + LOOK_AHEAD * PAGE_SIZE < end)
			prefetch(p, slot[level_index(at, 0) + LOOK_AHEAD]);
		if (full(t))
			p->next = at;
		else
			look_at(t, &slot[level_index(at, 0)], at, own);
	}
	return true;
}

/* Of a file: the entry goes, the pages are then nobody's and go as such. What is used after all is mapped again by its next fault. */
static void look_at_file_block(struct piece *p, pte_t *slot, gva_t address, unsigned int level)
{
	const struct vma *area = p->areas ? area_at(p, address) : NULL;

	if (area && !(area->flags & VM_LOCKED))
		zap_cache_huge(&p->gather, slot, address, level);
}

/* All of its pages go, in one batch: the next one, if others are in this. swap_out cuts it; what is left is as old. */
static void look_at_anon_block(struct turn *t, struct page *head, gva_t address, gva_t end)
{
	struct evict *e = t->piece.e;

	if (!page_anon(head) || (atomic_load(&head->flags) & PG_HUGETLB) ||
	    atomic_load(&head->block_mapcount) != 1)
		return;
	t->closed = t->found.nr_asked + ((end - address) >> PAGE_SHIFT) > EVICT_BATCH;
	if (t->closed) {
		t->piece.next = address;
		return;
	}
	for (gva_t at = address; at < end; at += PAGE_SIZE) {
		struct page *page = &head[level_index(at, 0)];
		e->nr_scanned++;
		page_stamp_old(page, e->min_age);
		page_get(page);
		t->found.asked[t->found.nr_asked++] = page;
	}
}

static void look_at_huge(void *ctx, pte_t *slot, gva_t address, gva_t end, unsigned int level)
{
	struct turn *t = ctx;
	struct piece *p = &t->piece;
	pte_t pte = pte_read(slot);

	if (p->next || level != 1 || (pte & PTE_SPECIAL) || ((pte & PTE_ACCESSED) && !p->e->mm))
		return;
	struct page *head = pfn_to_page(p->mm->frames, pte_pfn(pte));
	if (head->memcg != p->e->cg || page_age(head, p->e->cg) < p->e->min_age)
		return;
	if (p->e->type == RECLAIM_FILE)
		look_at_file_block(p, slot, address, level);
	else if (p->e->type == RECLAIM_ANON)
		look_at_anon_block(t, head, address, end);
}

/* Walks [from, end) of a space until the batch is full; returns where it stopped, 0 at the end. */
static gva_t walk_space(struct turn *t, struct mm *mm, gva_t from, gva_t end)
{
	static const struct pte_walk_ops ops = {.huge = look_at_huge, .table = look_at_table};
	struct piece *p = &t->piece;

	do {
		p->mm = mm;
		p->areas = !pthread_rwlock_tryrdlock(&mm->mmap_lock);
		p->area = NULL;
		p->next = 0;
		p->nr_tables = 0;
		gather_begin(&p->gather, mm);
		pthread_mutex_lock(&mm->page_table_lock);
		if (!atomic_load(&mm->forking))
			pte_walk(mm, from, end, &ops, t);
		pthread_mutex_unlock(&mm->page_table_lock);
		if (p->areas)
			pthread_rwlock_unlock(&mm->mmap_lock);
		gather_end(&p->gather);
		from = p->next;
	} while (from && !full(t));
	return from;
}

/* The space that the hand points to, with the caller as a user; the first one, from its beginning, when that one is gone. */
static struct mm *space_at_hand(struct evict *e, struct reclaim_hand *hand)
{
	struct mm *mm = NULL;

	while ((mm = mm_next_with_frames_of(e->host, e->cg, mm)))
		if (mm == hand->mm)
			return mm;
	hand->address = 0;
	return mm_next_with_frames_of(e->host, e->cg, NULL);
}

/* Once around at most: the space that the hand is in comes last again, up to where it was. */
static void find_pages(struct turn *t)
{
	struct evict *e = t->piece.e;
	struct reclaim_hand *hand = &e->cg->ageing.hand[e->type];
	struct mm *mm = space_at_hand(e, hand);
	const struct mm *first = mm; /* compared, no more */
	gva_t from = hand->address, last = from;
	bool again = false;

	while (!full(t) && (mm || !again)) {
		bool end = again && mm == first;
		if (mm) {
			hand->mm = mm;
			hand->address = walk_space(t, mm, from, end ? last : TASK_SIZE);
		}
		if (end || full(t))
			break;
		again |= !mm;
		from = 0;
		mm = mm_next_with_frames_of(e->host, e->cg, mm);
	}
	mmput(mm);
	e->dry = !full(t);
}

/* --- what was found ------------------------------------------------------------------------------------------------- */

/* Asks every entry, and takes them all. False: it was used, or it may not go. */
static bool unmap(struct evict *e, struct page *page)
{
	if (page_referenced(e->host, page)) {
		page_stamp_used(page);
		return false;
	}
	if (!page_trylock(page))
		return false;
	bool gone = try_to_unmap(e->host, page);
	page_unlock(page);
	if (!gone)
		page_stamp(page); /* locked, or in a table that spaces share: not to be asked again soon */
	return gone;
}

static void take_asked(struct evict *e, struct found *found)
{
	for (unsigned int i = 0; i < found->nr_asked; i++) {
		if (unmap(e, found->asked[i]))
			found->taken[found->nr_taken++] = found->asked[i];
		else
			page_put(e->host->frames, found->asked[i]);
	}
}

/*
 * Those that several have and nobody used, and those that one has: he was asked. The references go over to swap_out. What it leaves
 * counts as used, or the hand would meet it again and again.
 */
static void swap_asked(struct evict *e, struct found *found)
{
	unsigned int nr = 0;

	for (unsigned int i = 0; i < found->nr_asked; i++) {
		struct page *page = found->asked[i];
		bool used = !e->mm && atomic_load(&page->mapcount) > 1 && page_referenced(e->host, page);
		page_stamp(page);
		if (used)
			page_put(e->host->frames, page);
		else
			found->asked[nr++] = page;
	}
	e->nr_freed += swap_out(e->host, found->asked, nr);
}

static bool is_dirty(const struct page *page)
{
	return atomic_load(&page->flags) & PG_DIRTY;
}

/* Writes the run of dirty neighbours that begins at page[0]; returns how many pages that were. */
static unsigned int write_run(struct page **page, unsigned int nr)
{
	struct address_space *as = filemap_get_mapping(page[0]);
	uint64_t first = page[0]->index;
	unsigned int n = 1;

	if (!as)
		return 1;
	while (n < nr && page_mapping(page[n]) == as && page[n]->index == first + n && is_dirty(page[n]))
		n++;
	writeback_range(as, first, first + n - 1);
	backing_put(as->host);
	return n;
}

static void drop_taken(struct evict *e, struct found *found)
{
	for (unsigned int i = 0; i < found->nr_taken;)
		i += is_dirty(found->taken[i]) ? write_run(&found->taken[i], found->nr_taken - i) : 1;
	for (unsigned int i = 0; i < found->nr_taken; i++) {
		e->nr_freed += filemap_evict(found->taken[i]);
		page_put(e->host->frames, found->taken[i]);
	}
}

static void settle(struct evict *e, struct found *found)
{
	if (e->type == RECLAIM_ANON)
		swap_asked(e, found);
	else
		take_asked(e, found);
	drop_taken(e, found);
	frames_count(e->host->frames, e->type == RECLAIM_FILE ? PGSCAN_FILE : PGSCAN_ANON, e->nr_scanned);
	frames_count(e->host->frames, e->type == RECLAIM_FILE ? PGSTEAL_FILE : PGSTEAL_ANON, e->nr_freed);
	if (e->type == RECLAIM_LAZYFREE)
		frames_count(e->host->frames, PGLAZYFREED, e->nr_freed);
}

void evict_turn(struct evict *e)
{
	struct turn t = {.piece.e = e};

	find_pages(&t);
	settle(e, &t.found);
	e->cg->ageing.nr_evicted += e->nr_freed;
}

void evict_range(struct evict *e)
{
	struct turn t = {.piece.e = e};
	gva_t next = walk_space(&t, e->mm, e->start, e->end);

	settle(e, &t.found);
	e->start = next ? next : e->end;
}
