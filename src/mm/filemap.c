/* SPDX-License-Identifier: MIT */
/* filemap.c - the page cache of one file. See filemap.h. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "ageing.h"
#include "lock_rank.h"
#include "mm.h"
#include "page_lock.h"
#include "page_reporting.h"
#include "shmem_swap.h"
#include "truncate.h"
#include "workingset.h"
#include "writeback.h"

#define READ_PAGES 512 /* most that one read brings */

void address_space_init(struct address_space *as, struct mm_host *h, struct backing *host, bool shmem)
{
	memset(as, 0, sizeof(*as));
	pthread_rwlock_init(&as->io_lock, NULL);
	pthread_mutex_init(&as->lock, NULL);
	lock_set_rank(&as->lock, LOCK_CACHE);
	pthread_mutex_init(&as->wb_lock, NULL);
	list_init(&as->dirty_node);
	radix_init(&as->pages, &h->node_cache);
	pthread_mutex_init(&as->i_mmap_lock, NULL);
	lock_set_rank(&as->i_mmap_lock, LOCK_IMMAP);
	interval_tree_init(&as->i_mmap);
	as->mm_host = h;
	as->host = host;
	as->shmem = shmem;
	pthread_mutex_lock(&h->mappings_lock);
	list_add(&as->mapping_node, shmem ? &h->shmem_mappings : &h->mappings);
	pthread_mutex_unlock(&h->mappings_lock);
}

struct page *filemap_find(struct address_space *as, uint64_t index)
{
	pthread_mutex_lock(&as->lock);
	struct page *page = radix_find(&as->pages, index);
	if (page) {
		page_get(page);
		page_stamp_used(page);
	}
	pthread_mutex_unlock(&as->lock);
	return page;
}

static struct page *cache_page_alloc(struct address_space *as, struct memcg *cg)
{
	if (!memcg_charge(cg, 1))
		return NULL;
	struct page *page = page_alloc(as->mm_host->frames, GFP_HIGHUSER_MOVABLE | __GFP_ZERO, 0);
	if (!page) {
		memcg_uncharge(cg, 1);
		return NULL;
	}
	page_set_memcg(page, cg);
	return page;
}

/* What a page of the file is to workingset.h. */
static uint64_t workingset_key(const struct address_space *as, uint64_t index)
{
	return (uintptr_t)as + index * 0x9e3779b97f4a7c15ull;
}

/*
 * Makes a filled page visible; *result is the page that is in the tree now, with a reference for the caller: the given one, or another that
 * was faster. -ENOMEM; -EAGAIN: there is the number of a slot; in both cases the page is gone.
 */
static int cache_add(struct address_space *as, uint64_t index, struct page *page, struct page **result)
{
	struct frames *f = as->mm_host->frames;
	struct radix_entry there;
	int err = 0;

	pthread_mutex_lock(&as->lock);
	if (radix_find_entry(&as->pages, index, &there))
		err = there.is_number ? -EAGAIN : 0;
	else
		err = radix_insert(&as->pages, index, page);
	bool added = !err && !there.page;
	if (added) {
		page->mapping = as;
		page->index = index;
		atomic_fetch_or(&page->flags,
				PG_CACHE | PG_UPTODATE | (as->shmem ? PG_SWAPBACKED : PG_MAPPEDTODISK));
	}
	if (added && !as->shmem && page->memcg)
		workingset_refault(f, page->memcg, RECLAIM_FILE, workingset_key(as, index));
	*result = err ? NULL : added ? page : there.page;
	if (!err)
		page_get(*result);
	pthread_mutex_unlock(&as->lock);
	if (!added)
		page_put(f, page);
	return err;
}

static int64_t read_until_end(struct backing *b, char *buffer, uint64_t bytes, uint64_t offset)
{
	uint64_t done = 0;

	while (done < bytes) {
		ssize_t n = b->ops->read(b, buffer + done, bytes - done, offset + done);
		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += (uint64_t)n;
	}
	return done ? (int64_t)done : -ENXIO;
}

/*
 * Fills [0, bytes) at buffer from the file; what lies beyond its end stays as it is. -ENXIO: nothing of it exists. Where the first page
 * was here a while ago, it is for want of memory that `cg` waits.
 */
static int64_t read_fully(struct backing *b, char *buffer, uint64_t bytes, uint64_t offset, struct memcg *cg)
{
	bool recent = cg && workingset_is_recent(cg, workingset_key(&b->cache, offset >> PAGE_SHIFT));

	if (recent)
		stall_begin(&cg->stall);
	int64_t n = read_until_end(b, buffer, bytes, offset);
	if (recent)
		stall_end(&cg->stall);
	return n;
}

/* A new page with what the file has there, or with zeroes, in the cache; io_lock is held for reading. 0 or -errno. */
static int fill_page(struct address_space *as, uint64_t index, struct memcg *cg, struct page **result)
{
	if (as->shmem && index >= BYTES_TO_PAGES((uint64_t)as->host->ops->size(as->host)))
		return -ENXIO;
	struct page *page = cache_page_alloc(as, cg);
	if (!page)
		return -ENOMEM;
	if (!as->shmem) {
		char *to = page_address(as->mm_host->frames, page);
		int64_t n = read_fully(as->host, to, PAGE_SIZE, index << PAGE_SHIFT, cg);
		if (n < 0) {
			page_put(as->mm_host->frames, page);
			return (int)n;
		}
	}
	return cache_add(as, index, page, result);
}

int filemap_get_locked(struct address_space *as, uint64_t index, struct memcg *cg, struct page **result)
{
	*result = filemap_find(as, index);
	if (*result)
		return 0;
	if (shmem_is_away(as, index))
		return -EAGAIN;
	struct page *page = cache_page_alloc(as, cg);
	return page ? cache_add(as, index, page, result) : -ENOMEM;
}

int filemap_get(struct address_space *as, uint64_t index, struct memcg *cg, struct page **result, bool *major)
{
	int err = 0;

	*major = false;
	*result = filemap_find(as, index);
	do {
		if (!*result && as->shmem)
			err = shmem_find(as, index, cg, result, major);
		if (*result || err)
			return err;
		*major |= !as->shmem;
		pthread_rwlock_rdlock(&as->io_lock);
		err = fill_page(as, index, cg, result);
		pthread_rwlock_unlock(&as->io_lock);
	} while (err == -EAGAIN && as->shmem);
	return err;
}

/* Moves *index up to the next page below `end` that is missing: how many are so in a row from there on, at most READ_PAGES. */
static unsigned int missing_run(struct address_space *as, uint64_t *index, uint64_t end)
{
	unsigned int n = 0;

	pthread_mutex_lock(&as->lock);
	while (*index < end && radix_find(&as->pages, *index))
		++*index;
	while (n < READ_PAGES && *index + n < end && !radix_find(&as->pages, *index + n))
		n++;
	pthread_mutex_unlock(&as->lock);
	return n;
}

/* A charged block of up to 2^*order frames, less where memory is broken up: *order says. NULL: none. */
static struct page *alloc_run(struct address_space *as, struct memcg *cg, unsigned int *order)
{
	struct page *block = NULL;

	if (memcg_room(cg) < 2ull << *order || !memcg_charge(cg, 1ull << *order))
		return NULL;
	unsigned int charged = 1u << *order;
	while (!(block = page_alloc(as->mm_host->frames, *order ? GFP_TRANSHUGE_LIGHT : GFP_HIGHUSER_MOVABLE,
				    *order)) &&
	       *order)
		--*order;
	uint64_t unused = charged - (block ? 1u << *order : 0);
	if (unused)
		memcg_uncharge(cg, unused);
	return block;
}

/* Reads up to a power of two of missing pages into one block; returns how many pages it dealt with, 0 to give up. */
static unsigned int read_run(struct address_space *as, uint64_t index, unsigned int nr, struct memcg *cg)
{
	struct frames *f = as->mm_host->frames;
	unsigned int order = 31u - (unsigned int)__builtin_clz(nr);
	struct page *block = alloc_run(as, cg, &order);

	if (!block)
		return 0;
	nr = 1u << order;
	char *buffer = page_address(f, block);
	int64_t bytes = read_fully(as->host, buffer, nr * PAGE_SIZE, index << PAGE_SHIFT, cg);
	unsigned int filled = bytes > 0 ? (unsigned int)BYTES_TO_PAGES(bytes) : 0;
	if (filled)
		memset(buffer + bytes, 0, filled * PAGE_SIZE - (uint64_t)bytes);
	for (unsigned int i = 0; i < nr; i++) {
		page_set_memcg(&block[i], cg);
		struct page *page = &block[i];
		if (i >= filled || !cache_add(as, index + i, &block[i], &page))
			page_put(f, page);
	}
	return filled == nr ? nr : 0;
}

void filemap_readahead(struct address_space *as, uint64_t index, uint64_t nr_pages, struct memcg *cg)
{
	int64_t size = as->shmem ? -1 : as->host->ops->size(as->host);

	if (size < 0 || index >= BYTES_TO_PAGES(size))
		return;
	uint64_t end = index + min_u64(nr_pages, BYTES_TO_PAGES(size) - index);
	unsigned int run;
	while ((run = missing_run(as, &index, end))) {
		pthread_rwlock_rdlock(&as->io_lock);
		unsigned int done = read_run(as, index, run, cg);
		pthread_rwlock_unlock(&as->io_lock);
		if (!done)
			return;
		index += done;
	}
}

void filemap_mark_readahead(struct address_space *as, uint64_t index)
{
	pthread_mutex_lock(&as->lock);
	struct page *page = radix_find(&as->pages, index);
	if (page)
		atomic_fetch_or(&page->flags, PG_READAHEAD);
	pthread_mutex_unlock(&as->lock);
}

unsigned int filemap_find_batch(struct address_space *as, uint64_t *index, uint64_t last, struct page **page,
				unsigned int max)
{
	unsigned int nr = 0;

	pthread_mutex_lock(&as->lock);
	while (nr < max && *index <= last && (page[nr] = radix_next(&as->pages, index)) && *index <= last) {
		page_get(page[nr++]);
		++*index;
	}
	pthread_mutex_unlock(&as->lock);
	return nr;
}

/* Takes a page out of the tree; the cache's reference goes to the caller. The lock is held. */
static void take_out(struct address_space *as, uint64_t index, struct page *page)
{
	radix_remove(&as->pages, index);
	uint32_t was = atomic_fetch_and(&page->flags,
					~(uint32_t)(PG_CACHE | PG_DIRTY | PG_WRITEBACK | PG_READAHEAD));
	if (was & PG_DIRTY)
		writeback_account(as->mm_host, -1);
	__atomic_store_n(&page->mapping, NULL, __ATOMIC_RELEASE);
}

/* Whoever moves the page needs its mapping to be there until then. The lock is released meanwhile. */
static void wait_for_mover(struct address_space *as, struct page *page)
{
	pthread_mutex_unlock(&as->lock);
	page_wait_unlocked(page);
	pthread_mutex_lock(&as->lock);
}

/* One reference is the tree's: any other is a pin or a mapping. */
static bool is_idle(const struct page *page)
{
	uint32_t flags = atomic_load(&page->flags);

	return atomic_load(&page->refs) == 1 && !(flags & (PG_DIRTY | PG_WRITEBACK));
}

/* Which pages of a range go: all, or those that are idle (and, where cg is not NULL, that it pays for, and that are old enough). */
struct drop {
	bool all;
	const struct memcg *cg;
	unsigned int min_age;
};

static bool may_drop(const struct page *page, const struct drop *what)
{
	return is_idle(page) &&
	       (!what->cg || (page->memcg == what->cg && page_age(page, what->cg) >= what->min_age));
}

/* The lock is held. */
static bool drop_page(struct address_space *as, uint64_t index, struct page *page, const struct drop *what)
{
	if (!page_trylock(page))
		return false;
	bool goes = what->all || may_drop(page, what);
	if (goes)
		take_out(as, index, page);
	page_unlock(page);
	if (goes)
		page_put(as->mm_host->frames, page);
	return goes;
}

static uint64_t drop_range(struct address_space *as, uint64_t first, uint64_t last, struct drop what)
{
	uint64_t dropped = 0, index = first;
	struct radix_entry e;

	pthread_mutex_lock(&as->lock);
	while (index <= last && radix_next_entry(&as->pages, &index, &e) && index <= last) {
		if (e.is_number && what.all) {
			radix_remove(&as->pages, index);
			shmem_forget(as, e.number);
		} else if (e.page && drop_page(as, index, e.page, &what)) {
			dropped++;
		} else if (e.page && what.all) {
			wait_for_mover(as, e.page);
			continue;
		}
		if (++index == 0)
			break;
	}
	pthread_mutex_unlock(&as->lock);
	page_reporting_notify(as->mm_host->frames);
	return dropped;
}

uint64_t filemap_drop(struct address_space *as, uint64_t first, uint64_t last)
{
	return drop_range(as, first, last, (struct drop){0});
}

uint64_t filemap_drop_charged(struct address_space *as, uint64_t first, uint64_t last, const struct memcg *cg,
			      unsigned int min_age)
{
	return drop_range(as, first, last, (struct drop){.cg = cg, .min_age = min_age});
}

/* It goes for want of room, and may come back. */
static void note_eviction(struct address_space *as, const struct page *page)
{
	if (page->memcg && !as->shmem)
		workingset_evict(page->memcg, workingset_key(as, page->index));
}

/* While it is locked it stays in the cache that it is in, and the cache with it. */
bool filemap_evict(struct page *page)
{
	bool gone = false;

	if (!page_trylock(page))
		return false;
	struct address_space *as = page_mapping(page);
	if (as) {
		pthread_mutex_lock(&as->lock);
		gone = atomic_load(&page->refs) == 2 && !atomic_load(&page->mapcount) &&
		       !(atomic_load(&page->flags) & (PG_DIRTY | PG_WRITEBACK));
		if (gone) {
			note_eviction(as, page);
			take_out(as, page->index, page);
		}
		pthread_mutex_unlock(&as->lock);
	}
	page_unlock(page);
	if (gone)
		page_put(as->mm_host->frames, page);
	return gone;
}

struct address_space *filemap_get_mapping(struct page *page)
{
	if (!page_trylock(page))
		return NULL;
	struct address_space *as = page_mapping(page);
	if (as && !backing_get_live(as->host))
		as = NULL;
	page_unlock(page);
	return as;
}

bool filemap_next(struct address_space *as, uint64_t *index)
{
	pthread_mutex_lock(&as->lock);
	bool found = radix_next(&as->pages, index);
	pthread_mutex_unlock(&as->lock);
	return found;
}

void filemap_remove(struct address_space *as, uint64_t first, uint64_t last)
{
	drop_range(as, first, last, (struct drop){.all = true});
}

void address_space_destroy(struct address_space *as)
{
	pthread_mutex_lock(&as->mm_host->mappings_lock);
	list_del(&as->mapping_node);
	pthread_mutex_unlock(&as->mm_host->mappings_lock);
	filemap_remove(as, 0, ~0ull);
	writeback_forget(as);
	pthread_mutex_destroy(&as->lock);
	pthread_mutex_destroy(&as->wb_lock);
	pthread_rwlock_destroy(&as->io_lock);
	pthread_mutex_destroy(&as->i_mmap_lock);
}

/* --- dirty pages -------------------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool filemap_set_dirty(struct page *page)
{
	struct address_space *as = page_mapping(page);
	bool newly = false;

	if (!as || as->shmem || (atomic_load(&page->flags) & PG_DIRTY))
		return false;
	pthread_mutex_lock(&as->lock);
	if (page_mapping(page) == as && !(atomic_fetch_or(&page->flags, PG_DIRTY) & PG_DIRTY)) {
		if (!radix_tagged(&as->pages, RADIX_DIRTY))
			as->dirtied_ns = now_ns();
		radix_tag_set(&as->pages, page->index, RADIX_DIRTY);
		writeback_enlist(as);
		writeback_account(as->mm_host, 1);
		newly = true;
	}
	pthread_mutex_unlock(&as->lock);
	return newly;
}

bool filemap_is_dirty(struct address_space *as)
{
	pthread_mutex_lock(&as->lock);
	bool dirty = radix_tagged(&as->pages, RADIX_DIRTY) || radix_tagged(&as->pages, RADIX_WRITEBACK);
	pthread_mutex_unlock(&as->lock);
	return dirty;
}

uint64_t filemap_nr_pages(struct address_space *as)
{
	pthread_mutex_lock(&as->lock);
	uint64_t nr = as->pages.nr_pages;
	pthread_mutex_unlock(&as->lock);
	return nr;
}

uint64_t filemap_nr_swapped(struct address_space *as)
{
	pthread_mutex_lock(&as->lock);
	uint64_t nr = as->pages.nr_numbers;
	pthread_mutex_unlock(&as->lock);
	return nr;
}

/* The next page of the cache from *index on, up to `last`, with a reference; NULL: none. */
static struct page *next_page(struct address_space *as, uint64_t *index, uint64_t last)
{
	pthread_mutex_lock(&as->lock);
	struct page *page = radix_next(&as->pages, index);
	if (page && *index <= last)
		page_get(page);
	else
		page = NULL;
	pthread_mutex_unlock(&as->lock);
	return page;
}

void filemap_refresh(struct address_space *as, uint64_t start, uint64_t end)
{
	struct frames *f = as->mm_host->frames;
	struct page *page;

	if (start >= end)
		return;
	for (uint64_t index = start >> PAGE_SHIFT; (page = next_page(as, &index, (end - 1) >> PAGE_SHIFT));
	     index++) {
		uint64_t at = index << PAGE_SHIFT, from = max_u64(at, start),
			 to = min_u64(at + PAGE_SIZE, end);
		char *bytes = (char *)page_address(f, page) + (from - at);
		int64_t n = read_fully(as->host, bytes, to - from, from, NULL);
		if (n == -ENXIO)
			n = 0;
		if (n >= 0) /* the file may end in between */
			memset(bytes + n, 0, to - from - (uint64_t)n);
		page_put(f, page);
	}
}

int filemap_punch(struct address_space *as, uint64_t first, uint64_t last)
{
	struct backing *b = as->host;

	if (!b->ops->punch)
		return -EOPNOTSUPP;
	pthread_rwlock_wrlock(&as->io_lock);
	int err = b->ops->punch(b, first << PAGE_SHIFT, (last - first + 1) << PAGE_SHIFT);
	if (!err)
		truncate_range(as, first, last);
	pthread_rwlock_unlock(&as->io_lock);
	return err;
}

unsigned int filemap_check(struct address_space *as)
{
	unsigned int bad;
	uint64_t index = 0, dirty = 0;
	struct page *page;

	pthread_mutex_lock(&as->lock);
	bad = radix_check(&as->pages);
	for (; (page = radix_next(&as->pages, &index)); index++) {
		uint32_t flags = atomic_load(&page->flags);
		uint64_t at = index;
		bad += !(flags & PG_CACHE) || page_mapping(page) != as || page->index != index;
		bad += !!(flags & PG_DIRTY) !=
		       (radix_next_tagged(&as->pages, &at, RADIX_DIRTY) && at == index);
		dirty += !!(flags & PG_DIRTY);
	}
	pthread_mutex_unlock(&as->lock);
	return bad + (dirty && list_empty(&as->dirty_node));
}

/* --- the file ----------------------------------------------------------------------------------------------------- */

void backing_init(struct backing *b, struct mm_host *h, const struct backing_ops *ops)
{
	b->ops = ops;
	atomic_store(&b->refs, 1);
	address_space_init(&b->cache, h, b, !ops->read);
}

bool backing_get_live(struct backing *b)
{
	uint32_t refs = atomic_load(&b->refs);

	while (refs && !atomic_compare_exchange_weak(&b->refs, &refs, refs + 1))
		;
	return refs;
}

void backing_put(struct backing *b)
{
	uint32_t refs = atomic_load(&b->refs);

	do {
		if (refs == 1) /* while it can still be kept: see backing_ops.write */
			writeback_range(&b->cache, 0, ~0ull);
	} while (!atomic_compare_exchange_strong(&b->refs, &refs, refs - 1));
	if (refs != 1)
		return;
	address_space_destroy(&b->cache);
	b->ops->release(b);
}
