/* SPDX-License-Identifier: MIT */
/* shmem_swap.c - see shmem_swap.h. */
#include "shmem_swap.h"

#include <errno.h>

#include "ageing.h"
#include "mm.h"
#include "swap_cache.h"
#include "swap_read.h"
#include "vmscan.h"
#include "workingset.h"

#define FIRST_WINDOW 8u

/* A page on its way back, and those that come along. */
struct bring {
	struct address_space *as;
	struct memcg *cg;
	uint64_t index;
	bool all;	   /* who asks goes through the object: the others are his soon */
	bool asked;	   /* for the page itself, which nobody else had done */
	unsigned int main; /* which of them is the one at index */
	unsigned int nr;
	struct along {
		uint64_t index;
		swp_entry_t entry;
		struct page *page;
	} at[SWAP_AROUND_PAGES]; /* by slot, so that those that lie together are read together */
};

/* --- which ---------------------------------------------------------------------------------------------------------- */

/* Of those that came along last time, how many were used since. */
static unsigned int last_used(const struct address_space *as)
{
	unsigned int used = 0;

	for (uint64_t i = 0; i < as->swap_window_pages; i++)
		used += radix_find(&as->pages, as->swap_window_start + i) != NULL;
	return used;
}

/* As swap_readahead.c chooses by the entries of an area. */
static void choose_window(struct bring *b)
{
	struct address_space *as = b->as;
	unsigned int used = last_used(as), nr = as->swap_window_pages, wide = nr ? nr : 1;

	b->all = nr && b->index == as->swap_window_start + nr;
	if (!nr)
		wide = FIRST_WINDOW;
	else if (b->all || (used > 1 && (used - 1) * 2 >= nr - 1))
		wide = (unsigned int)min_u64(wide * 2ull, SWAP_AROUND_PAGES);
	else if (used <= 1)
		wide = (unsigned int)max_u64(wide / 2, 1);
	wide = (unsigned int)min_u64(wide, atomic_load_explicit(&as->mm_host->swap.around_pages,
								memory_order_relaxed));
	as->swap_window_start = b->all ? b->index : b->index & ~(uint64_t)(wide - 1);
	as->swap_window_pages = wide;
}

static void add(struct bring *b, uint64_t index, swp_entry_t entry)
{
	unsigned int i = b->nr++;

	for (; i && b->at[i - 1].entry.val > entry.val; i--)
		b->at[i] = b->at[i - 1];
	b->at[i] = (struct along){.index = index, .entry = entry};
}

/* Those of the device that the page itself is on, which is held. */
static void collect(struct bring *b, swp_entry_t entry)
{
	uint64_t first = b->as->swap_window_start, nr = b->as->swap_window_pages;
	struct radix_entry e;

	for (uint64_t at = first; at - first < nr; at++)
		if (radix_find_entry(&b->as->pages, at, &e) && e.is_number && e.number != SHMEM_POISON &&
		    swp_device((swp_entry_t){e.number}) == swp_device(entry))
			add(b, at, (swp_entry_t){e.number});
	for (unsigned int i = 0; i < b->nr; i++)
		b->main = b->at[i].index == b->index ? i : b->main;
}

/* Its page is cached: nothing is read, and nothing comes along. */
static bool collect_cached(struct bring *b, swp_entry_t entry)
{
	struct page *page = swap_cache_find(b->as->mm_host, entry);

	if (!page)
		return false;
	add(b, b->index, entry);
	b->at[0].page = page;
	return true;
}

/* What there is at the index: a page or a hole (0), or -EIO. -EAGAIN: it is in a slot, whose device is held, with what comes along. */
static int look(struct bring *b, struct page **page, struct swap_device **d)
{
	struct address_space *as = b->as;
	struct radix_entry e;
	int err = 0;

	pthread_mutex_lock(&as->lock);
	radix_find_entry(&as->pages, b->index, &e);
	*page = e.page;
	if (e.page) {
		page_get(e.page);
		page_stamp(e.page);
	} else if (e.is_number && e.number == SHMEM_POISON) {
		err = -EIO;
	} else if (e.is_number && b->cg) {
		err = -EAGAIN;
		*d = swap_hold(as->mm_host, (swp_entry_t){e.number});
		if (!collect_cached(b, (swp_entry_t){e.number})) {
			choose_window(b);
			collect(b, (swp_entry_t){e.number});
		}
	}
	pthread_mutex_unlock(&as->lock);
	return err;
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

static struct page *new_page(const struct bring *b, gfp_t gfp)
{
	if (!memcg_charge(b->cg, 1))
		return NULL;
	struct page *page = page_alloc(b->as->mm_host->frames, gfp, 0);
	if (!page) {
		memcg_uncharge(b->cg, 1);
		return NULL;
	}
	page_set_memcg(page, b->cg);
	page_trylock(page); /* nobody else knows it */
	return page;
}

/* 0, -ENOMEM, or -EAGAIN: somebody else has it cached by now, or it is not there any more. */
static int read_one(struct bring *b, unsigned int i, gfp_t gfp, struct swap_plug *plug, bool *major)
{
	struct mm_host *h = b->as->mm_host;
	struct page *page = new_page(b, gfp);

	if (!page)
		return -ENOMEM;
	int err = swap_read(h, b->cg, b->at[i].entry, page, plug);
	if (err < 0) {
		page_unlock(page);
		page_put(h->frames, page);
		return -EAGAIN;
	}
	*major |= err > 0;
	b->at[i].page = page;
	return 0;
}

/* Those that come along stay where they are when there is no memory at hand. */
static int read_all(struct bring *b, bool *major)
{
	struct mm_host *h = b->as->mm_host;
	struct swap_plug plug;
	uint64_t ahead = 0;
	bool other = false;
	int err = 0;

	if (b->at[b->main].page)
		return 0;
	b->asked = true;
	swap_plug_begin(&plug, h, SWAP_READ);
	for (unsigned int i = 0; i < b->nr && !err; i++) {
		if (i == b->main)
			err = read_one(b, i, GFP_HIGHUSER_MOVABLE, &plug, major);
		else if (memcg_room(b->cg) > 1)
			ahead += !read_one(b, i, GFP_HIGHUSER_MOVABLE & ~__GFP_DIRECT_RECLAIM, &plug, &other);
	}
	swap_plug_end(&plug);
	frames_count(h->frames, SWAP_RA, ahead);
	return err;
}

/* --- back into the object ------------------------------------------------------------------------------------------- */

static bool is_filled(const struct page *page, swp_entry_t entry)
{
	return page_in_swap_cache(page) && page_swap_entry(page).val == entry.val &&
	       (atomic_load(&page->flags) & PG_UPTODATE);
}

/* The page is locked. */
static bool take_in(struct address_space *as, const struct along *a)
{
	struct page *page = a->page;
	struct radix_entry e;

	if (!is_filled(page, a->entry))
		return false;
	pthread_mutex_lock(&as->lock);
	bool same = radix_find_entry(&as->pages, a->index, &e) && e.is_number && e.number == a->entry.val;
	if (same) {
		radix_replace(&as->pages, a->index, page);
		page->index = a->index;
		swap_cache_give(as->mm_host, page);
		atomic_fetch_or(&page->flags, PG_CACHE | PG_SWAPBACKED);
		__atomic_store_n(&page->mapping, as, __ATOMIC_RELEASE);
		page_stamp(page);
	}
	pthread_mutex_unlock(&as->lock);
	return same;
}

/* Of the page itself: 0, -EIO (or nobody will miss it), or -EAGAIN. */
static int settle(struct bring *b, unsigned int i)
{
	struct page *page = b->at[i].page;

	if (!page_wait_or_stop(page, b->as->mm_host->is_dying))
		return -EIO;
	page_lock(page);
	bool in = take_in(b->as, &b->at[i]), filled = atomic_load(&page->flags) & PG_UPTODATE;
	swap_cache_unlock(b->as->mm_host, page);
	return in ? 0 : b->asked && !filled ? -EIO : -EAGAIN;
}

static int bring(struct bring *b, struct page **page, bool *major)
{
	struct mm_host *h = b->as->mm_host;
	bool recent = workingset_is_recent(b->cg, b->at[b->main].entry.val);

	if (recent)
		stall_begin(&b->cg->stall);
	int err = read_all(b, major);
	if (!err)
		err = settle(b, b->main);
	if (recent)
		stall_end(&b->cg->stall);
	for (unsigned int i = 0; i < b->nr; i++) {
		if (!b->at[i].page)
			continue;
		if (i != b->main && b->all)
			settle(b, i);
		if (i == b->main && !err) {
			*page = b->at[i].page;
			continue;
		}
		swap_cache_drop(h, b->at[i].page);
		page_put(h->frames, b->at[i].page);
	}
	return err;
}

int shmem_find(struct address_space *as, uint64_t index, struct memcg *cg, struct page **page, bool *major)
{
	int err;

	*major = false;
	do {
		struct bring b = {.as = as, .cg = cg, .index = index};
		struct swap_device *d;
		err = look(&b, page, &d);
		if (err != -EAGAIN)
			return err;
		err = bring(&b, page, major);
		swap_unhold(d);
	} while (err == -EAGAIN);
	return err;
}

/* --- what there is -------------------------------------------------------------------------------------------------- */

bool shmem_look(struct address_space *as, uint64_t index, struct page **page)
{
	struct radix_entry e;

	pthread_mutex_lock(&as->lock);
	radix_find_entry(&as->pages, index, &e);
	*page = e.page;
	if (e.page) {
		page_get(e.page);
		page_stamp(e.page);
	}
	pthread_mutex_unlock(&as->lock);
	return e.is_number;
}

bool shmem_is_away(struct address_space *as, uint64_t index)
{
	struct radix_entry e;

	pthread_mutex_lock(&as->lock);
	radix_find_entry(&as->pages, index, &e);
	pthread_mutex_unlock(&as->lock);
	return e.is_number;
}

struct memcg *shmem_get_memcg(struct address_space *as, uint64_t index)
{
	struct memcg *cg = NULL;
	struct radix_entry e;

	pthread_mutex_lock(&as->lock);
	if (radix_find_entry(&as->pages, index, &e) && e.is_number && e.number != SHMEM_POISON)
		cg = swap_get_memcg(as->mm_host, (swp_entry_t){e.number});
	pthread_mutex_unlock(&as->lock);
	return cg;
}

bool shmem_is_cached(struct address_space *as, uint64_t index)
{
	struct page *page = NULL;
	struct radix_entry e;

	pthread_mutex_lock(&as->lock);
	if (radix_find_entry(&as->pages, index, &e) && e.is_number && e.number != SHMEM_POISON)
		page = swap_cache_find(as->mm_host, (swp_entry_t){e.number});
	pthread_mutex_unlock(&as->lock);
	if (page)
		page_put(as->mm_host->frames, page);
	return page;
}

void shmem_bring(struct address_space *as, uint64_t first, uint64_t last, struct memcg *cg,
		 uint64_t least_room)
{
	struct page *page;
	bool major;

	for (uint64_t at = first; at <= last && __atomic_load_n(&as->pages.nr_numbers, __ATOMIC_RELAXED) &&
				  memcg_room(cg) > least_room;
	     at++)
		if (shmem_is_away(as, at) && !shmem_find(as, at, cg, &page, &major) && page)
			page_put(as->mm_host->frames, page);
}

/* --- leaving -------------------------------------------------------------------------------------------------------- */

bool shmem_exchange(struct mm_host *h, struct page *page)
{
	struct address_space *as = page_mapping(page);

	pthread_mutex_lock(&as->lock);
	bool goes = atomic_load(&page->refs) == 2 && !atomic_load(&page->mapcount);
	if (goes) {
		radix_set_number(&as->pages, page->index, page_swap_entry(page).val);
		atomic_fetch_and(&page->flags, ~(uint32_t)(PG_CACHE | PG_SWAPBACKED | PG_READAHEAD));
		swap_cache_take(h, page);
		__atomic_store_n(&page->mapping, NULL, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&as->lock);
	if (!goes)
		swap_cache_unreserve(h, page);
	return goes;
}

void shmem_forget(struct address_space *as, uint64_t number)
{
	if (number != SHMEM_POISON)
		swap_put(as->mm_host, (swp_entry_t){number});
}

/* --- swapoff -------------------------------------------------------------------------------------------------------- */

struct address_space *shmem_next_object(struct mm_host *h, uint64_t pass)
{
	struct address_space *as, *found = NULL;

	pthread_mutex_lock(&h->mappings_lock);
	list_for_each_entry (as, &h->shmem_mappings, mapping_node) {
		if (as->shrink_pass >= pass)
			continue;
		as->shrink_pass = pass;
		if (!backing_get_live(as->host))
			continue;
		found = as;
		break;
	}
	pthread_mutex_unlock(&h->mappings_lock);
	return found;
}

/* The next index from *index on whose slot is on the device, and the account that has it; NULL: there is none. */
static struct memcg *next_on(struct address_space *as, const struct swap_device *d, uint64_t *index,
			     swp_entry_t *entry)
{
	struct memcg *cg = NULL;
	struct radix_entry e;

	pthread_mutex_lock(&as->lock);
	for (; radix_next_entry(&as->pages, index, &e); ++*index) {
		*entry = (swp_entry_t){e.number};
		if (!e.is_number || e.number == SHMEM_POISON || swp_device(*entry) != d->index)
			continue;
		cg = swap_get_memcg(as->mm_host, *entry);
		break;
	}
	pthread_mutex_unlock(&as->lock);
	return cg;
}

/* What nobody can read any more. */
static void poison(struct address_space *as, uint64_t index, swp_entry_t entry)
{
	struct radix_entry e;

	pthread_mutex_lock(&as->lock);
	bool same = radix_find_entry(&as->pages, index, &e) && e.is_number && e.number == entry.val;
	if (same)
		radix_set_number(&as->pages, index, SHMEM_POISON);
	pthread_mutex_unlock(&as->lock);
	if (same)
		swap_put(as->mm_host, entry);
}

/* Others go for it, if they can. */
static int bring_back(struct address_space *as, uint64_t index, struct memcg *cg)
{
	struct page *page = NULL;
	unsigned int attempts = 0;
	bool major;
	int err;

	do
		err = shmem_find(as, index, cg, &page, &major);
	while (err == -ENOMEM && memcg_make_room(as->mm_host, cg, true, attempts++));
	if (page)
		page_put(as->mm_host->frames, page);
	return err;
}

static int unuse_object(struct swap_device *d, struct address_space *as)
{
	struct memcg *cg;
	swp_entry_t entry;
	uint64_t at = 0;
	int err = 0;

	for (; err != -ENOMEM && (cg = next_on(as, d, &at, &entry)); at++) {
		err = bring_back(as, at, cg);
		memcg_put(cg);
		if (err == -EIO)
			poison(as, at, entry);
	}
	return err == -ENOMEM ? err : 0;
}

int shmem_unuse(struct swap_device *d)
{
	uint64_t pass = atomic_fetch_add(&d->host->shrink_pass, 1) + 1;
	struct address_space *as;
	int err = 0;

	while (!err && (as = shmem_next_object(d->host, pass))) {
		if (__atomic_load_n(&as->pages.nr_numbers, __ATOMIC_RELAXED))
			err = unuse_object(d, as);
		backing_put(as->host);
	}
	return err;
}
