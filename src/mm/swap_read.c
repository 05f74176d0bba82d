/* SPDX-License-Identifier: MIT */
/* swap_read.c - see swap_read.h. */
#include "swap_read.h"

#include "mm.h"
#include "swap_cache.h"
#include "workingset.h"
#include "zswap.h"

/* A slot that remembers a word instead of a page. */
static bool fill_from_word(struct mm_host *h, swp_entry_t entry, struct page *page)
{
	struct swap_map *m = &swap_device_of(h, entry)->map;
	uint64_t *word = page_address(h->frames, page);

	pthread_mutex_lock(&m->lock);
	struct swap_slot slot = m->slot[swp_slot(entry)];
	pthread_mutex_unlock(&m->lock);
	if (!(slot.flags & SLOT_SAME))
		return false;
	for (unsigned int i = 0; i < PAGE_SIZE / sizeof(*word); i++)
		word[i] = slot.value;
	atomic_fetch_or(&page->flags, PG_UPTODATE);
	frames_count(h->frames, SWPIN_ZERO, 1);
	return true;
}

int swap_read(struct mm_host *h, struct memcg *cg, swp_entry_t entry, struct page *page,
	      struct swap_plug *plug)
{
	int err = swap_cache_add(h, entry, page);

	if (err)
		return err;
	if (fill_from_word(h, entry, page)) {
		page_unlock(page);
		return 0;
	}
	workingset_refault(h->frames, cg, RECLAIM_ANON, entry.val);
	enum zswap_found found = zswap_load(h, entry, page);
	if (found == ZSWAP_DAMAGED)
		swap_cache_remove(h, page); /* as if a device could not read it */
	if (found != ZSWAP_NONE) {
		swap_cache_unlock(h, page);
		return SWAP_READ_UNPACKED;
	}
	page_get(page);
	swap_plug_add(plug, page);
	return SWAP_READ_UNDER_WAY;
}
