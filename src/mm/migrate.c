/* SPDX-License-Identifier: MIT */
/* migrate.c - see migrate.h for the steps. */
#include <errno.h>
#include <string.h>

#include "fault.h"
#include "filemap.h"
#include "migrate.h"
#include "page_lock.h"
#include "rmap.h"
#include "swap_cache.h"
#include "zap.h"

struct migration {
	struct mm_host *host;
	struct page *from, *to;
	struct anon_vma *anon_vma; /* of an anonymous page: one reference */
	struct address_space *mapping;
};

/* --- step 2 -------------------------------------------------------------------------------------------------------- */

/* In a table that spaces share the entry was replaced for all of them; each has to be told. */
static bool block_entry(void *ctx, const struct rmap_hit *hit, struct gather *g)
{
	struct migration *m = ctx;

	if (hit->level)
		return true; /* part of a block by now, whose reference keeps it here */
	gather_entry(g, hit->slot, hit->address);
	if (!pte_present(hit->pte))
		return true;
	pte_t wait = entry_make(ENTRY_MIGRATION, pte_pfn(hit->pte)), old = hit->pte;
	wait |= (pte_t)page_counter(m->from) << ENTRY_COUNTER_SHIFT;
	while (!__atomic_compare_exchange_n(hit->slot, &old, wait | (pte_write(old) ? ENTRY_WRITABLE : 0),
					    false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
	atomic_fetch_sub(&m->from->mapcount, 1);
	gather_page(g, m->from);
	return true;
}

static void block_entries(struct migration *m)
{
	struct rmap_walk w = {.fn = block_entry, .ctx = m, .anon_vma = m->anon_vma};

	rmap_walk(m->host, m->from, &w);
}

/* --- step 4 -------------------------------------------------------------------------------------------------------- */

static pte_t new_entry(const struct migration *m, const struct vma *vma, const struct page *page, pte_t wait)
{
	uint64_t vm_flags = __atomic_load_n(&vma->flags, __ATOMIC_RELAXED);
	pte_t pte = pte_make(page_to_pfn(m->host->frames, page), PTE_ACCESSED);

	if (!(vm_flags & VM_ACCESS_FLAGS))
		return pte | PTE_PROTNONE;
	pte |= vma_pte_flags(vm_flags);
	return (wait & ENTRY_WRITABLE) && (vm_flags & VM_WRITE) ? pte | PTE_WRITE | PTE_DIRTY : pte;
}

/* Whoever copies a shared table meanwhile takes the right to write from what waits in it: that must not come back. */
static bool settle_entry(void *ctx, const struct rmap_hit *hit, struct gather *g)
{
	struct migration *m = ctx;
	struct page *page = m->to ? m->to : m->from;
	pte_t wait = hit->pte;

	(void)g; /* an entry that only gains rights */
	if (pte_present(wait))
		return true;
	page_get(page);
	atomic_fetch_add(&page->mapcount, 1);
	while (!__atomic_compare_exchange_n(hit->slot, &wait, new_entry(m, hit->vma, page, wait), false,
					    __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
	return true;
}

static void settle_entries(struct migration *m)
{
	struct rmap_walk w = {.fn = settle_entry, .ctx = m, .anon_vma = m->anon_vma};

	rmap_walk(m->host, m->from, &w);
}

/* --- step 3 -------------------------------------------------------------------------------------------------------- */

#define MOVED_FLAGS                                                                                   \
	(PG_REFERENCED | PG_UPTODATE | PG_DIRTY | PG_LRU | PG_ACTIVE | PG_PRIVATE | PG_MAPPEDTODISK | \
	 PG_READAHEAD | PG_SWAPBACKED | PG_CACHE)

/*
 * While entries of a page are replaced one by one, its mapcount is one more than there are: else the space whose entry is left, or back
 * already, would take itself for the page's only user and write to what another space is about to see again.
 */
static void hold_mapcount(struct page *page)
{
	atomic_fetch_add(&page->mapcount, 1);
}

static void release_mapcount(struct page *page)
{
	atomic_fetch_sub(&page->mapcount, 1);
}

/* True: the caller's and the cache's were the only references, and from now on there is none to be had. */
static bool freeze(struct page *page, uint32_t expected)
{
	return atomic_load(&page->mapcount) == 1 && atomic_compare_exchange_strong(&page->refs, &expected, 0);
}

static void copy_page(struct migration *m)
{
	struct frames *f = m->host->frames;

	memcpy(page_address(f, m->to), page_address(f, m->from), PAGE_SIZE);
	m->to->index = m->from->index;
	m->to->memcg = m->from->memcg;
	m->to->generation = m->from->generation;
	atomic_fetch_or(&m->to->flags, atomic_load(&m->from->flags) & MOVED_FLAGS);
	__atomic_store_n(&m->to->mapping, m->from->mapping, __ATOMIC_RELEASE);
}

static int replace_anon(struct migration *m)
{
	if (!freeze(m->from, 1))
		return -EAGAIN;
	copy_page(m);
	return 0;
}

/* Under the lock that everybody takes who looks for the page in the cache, so that none finds one half copied. */
static int replace_cached(struct migration *m)
{
	struct address_space *as = m->mapping;
	int err = -EAGAIN;

	pthread_mutex_lock(&as->lock);
	if (radix_find(&as->pages, m->from->index) == m->from && freeze(m->from, 2)) {
		copy_page(m);
		page_get(m->to); /* the cache's */
		radix_replace(&as->pages, m->to->index, m->to);
		err = 0;
	}
	pthread_mutex_unlock(&as->lock);
	return err;
}

/* --- the steps ----------------------------------------------------------------------------------------------------- */

/* Held by nobody but its users and the caller, as far as can be told without stopping them. */
static bool looks_movable(const struct page *page)
{
	uint32_t cached = atomic_load(&page->flags) & PG_CACHE ? 1 : 0;

	return !(atomic_load(&page->flags) & (PG_WRITEBACK | PG_RESERVED)) &&
	       atomic_load(&page->refs) == atomic_load(&page->mapcount) + cached + 1;
}

static int move_locked(struct migration *m)
{
	if (!looks_movable(m->from))
		return -EBUSY;
	hold_mapcount(m->from);
	hold_mapcount(m->to);
	block_entries(m);
	int err = m->mapping ? replace_cached(m) : replace_anon(m);
	if (err) {
		release_mapcount(m->to);
		m->to = NULL;
	}
	settle_entries(m);
	if (!err)
		release_mapcount(m->to);
	release_mapcount(m->from);
	return err;
}

/* The old frame has nothing of its past; whoever waited for it finds the new one. */
static void retire(struct page *page)
{
	page->memcg = NULL;
	__atomic_store_n(&page->mapping, NULL, __ATOMIC_RELAXED);
	atomic_fetch_and(&page->flags, PG_LOCKED | PG_WAITERS);
	atomic_store(&page->refs, 1);
}

int page_migrate(struct mm_host *h, struct page *from, struct page *to)
{
	struct migration m = {.host = h, .from = from, .to = to};
	int err = -EAGAIN;

	if (!page_trylock(from))
		return -EAGAIN;
	page_lock(to); /* nobody else knows it */
	m.mapping = page_mapping(from);
	if (!m.mapping && page_anon(from))
		m.anon_vma = page_get_anon_vma(from);
	if (m.mapping || m.anon_vma)
		err = move_locked(&m);
	if (!err)
		retire(from);
	if (m.anon_vma)
		anon_vma_put(h, m.anon_vma);
	page_unlock(to);
	swap_cache_unlock(h, from);
	if (!err)
		page_put(h->frames, to);
	return err;
}

int page_migrate_held(void *ctx, struct page *from, struct page *to)
{
	struct mm_host *h = ctx;

	/* What nobody maps yet has one owner, who counts on that. */
	if (!page_mapping_word(from) || !page_get_unless_zero(from))
		return -EAGAIN;
	int err = page_migrate(h, from, to);
	if (err)
		page_put(h->frames, from);
	return err;
}
