/* SPDX-License-Identifier: MIT */
/* shmem_shrink.c - see shmem_shrink.h. */
#include "shmem_shrink.h"

#include "ageing.h"
#include "mm.h"
#include "shmem_swap.h"
#include "swap_cache.h"

#define BATCH 128u

struct shrink {
	struct mm_host *host;
	struct memcg *cg;
	unsigned int min_age;
	uint64_t wanted, looks, gone;
	unsigned int nr, nr_refused;
	struct page *page[BATCH]; /* a reference each */
	uint64_t refused[BATCH];  /* indices of pages that their slots did not take */
};

static bool is_idle(const struct shrink *s, const struct page *page, uint32_t refs)
{
	return page->memcg == s->cg && !atomic_load(&page->mapcount) && atomic_load(&page->refs) == refs &&
	       !(atomic_load(&page->flags) & (PG_LOCKED | PG_WRITEBACK)) &&
	       page_age(page, s->cg) >= s->min_age;
}

/* In memory, though the index says its slot. */
static void look_at_cached(struct shrink *s, uint64_t index, swp_entry_t entry)
{
	struct page *page = swap_cache_find(s->host, entry);

	if (!page)
		return;
	bool idle = is_idle(s, page, 2), dirty = atomic_load(&page->flags) & PG_DIRTY;
	if (idle && !dirty) {
		s->page[s->nr++] = page;
		return;
	}
	if (idle)
		s->refused[s->nr_refused++] = index;
	page_put(s->host->frames, page);
}

/* Fills the batch from *index on; false: the object has no more. */
static bool collect(struct shrink *s, struct address_space *as, uint64_t *index)
{
	struct radix_entry e;
	bool more = true;

	s->nr = s->nr_refused = 0;
	pthread_mutex_lock(&as->lock);
	while (s->nr < BATCH && s->nr_refused < BATCH && s->gone + s->nr < s->wanted && s->looks) {
		more = radix_next_entry(&as->pages, index, &e);
		if (!more)
			break;
		s->looks--;
		if (e.is_number && e.number != SHMEM_POISON) {
			look_at_cached(s, *index, (swp_entry_t){e.number});
		} else if (e.page && is_idle(s, e.page, 1)) {
			page_get(e.page);
			s->page[s->nr++] = e.page;
		}
		++*index;
	}
	pthread_mutex_unlock(&as->lock);
	return more;
}

static void give_back(const struct shrink *s, struct address_space *as)
{
	for (unsigned int i = 0; i < s->nr_refused; i++) {
		struct page *page = NULL;
		bool major;
		shmem_find(as, s->refused[i], s->cg, &page, &major);
		if (page)
			page_put(s->host->frames, page);
	}
}

static bool is_enough(const struct shrink *s)
{
	return s->gone >= s->wanted || !s->looks;
}

/* Once around, from where the last one left off. */
static void shrink_object(struct shrink *s, struct address_space *as)
{
	uint64_t index = atomic_load(&as->shrink_next), start = index;
	bool wrapped = false;

	while (!is_enough(s) && !(wrapped && index >= start)) {
		bool more = collect(s, as, &index);
		s->gone += swap_out(s->host, s->page, s->nr);
		give_back(s, as);
		if (more)
			continue;
		if (wrapped)
			break;
		wrapped = true;
		index = 0;
	}
	atomic_store(&as->shrink_next, index);
}

uint64_t shmem_shrink(struct mm_host *h, struct memcg *cg, uint64_t nr_pages, unsigned int min_age,
		      uint64_t looks)
{
	struct shrink s = {.host = h, .cg = cg, .wanted = nr_pages, .looks = looks, .min_age = min_age};
	uint64_t pass = atomic_fetch_add(&h->shrink_pass, 1) + 1;
	struct address_space *as;

	while (!is_enough(&s) && (as = shmem_next_object(h, pass))) {
		if (!atomic_load(&as->unevictable))
			shrink_object(&s, as);
		backing_put(as->host);
	}
	return s.gone;
}
